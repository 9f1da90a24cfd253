-- A database that subscribes to another server. It stands apart from hard.sql because PostgreSQL refuses to drop a database
-- while it has a subscription: to drop this one, first DROP SUBSCRIPTION "hard; subscription".
-- pg_dump writes subscriptions with connect = false, so restoring one neither connects nor starts anything.

SET client_min_messages = error;
CREATE TABLE subscribed (id integer PRIMARY KEY);
CREATE SUBSCRIPTION "hard; subscription" CONNECTION 'host=db.example.invalid password=''a subscription\''s secret'''
    PUBLICATION "some; publication", other WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION "hard; subscription" IS 'a subscription''s comment';
