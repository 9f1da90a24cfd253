-- Tables large enough to leave pg_dump's hands in a parallel dump, and whatever could make their rows come out otherwise.
CREATE SCHEMA "Odd $.* schema";

-- Split into slices: some twenty megabytes, with holes where rows were deleted and moved, and a dropped column.
CREATE TABLE big (gone text, id bigint PRIMARY KEY, note text, at timestamptz, amount numeric, doc jsonb, raw bytea);
INSERT INTO big SELECT 'x', i, md5(i::text), timestamptz '2026-01-01 00:00+00' + i * interval '1 minute', i / 7.0,
    jsonb_build_object('n', i, 'tab', E'a\tb\\c\n'), decode(md5(i::text), 'hex') FROM generate_series(1, 120000) i;
ALTER TABLE big DROP COLUMN gone;
DELETE FROM big WHERE id % 10 = 3;
UPDATE big SET note = E'\\.' WHERE id % 1000 = 1;
UPDATE big SET note = NULL WHERE id % 1000 = 2;
UPDATE big SET note = '' WHERE id % 1000 = 4;
UPDATE big SET note = E'first\nsecond\\.\n\\.\n' WHERE id % 1000 = 5;

-- Long values that are stored apart, so that few pages hold most of the bytes.
CREATE TABLE "Odd $.* schema"."Docs ""quoted"" ñandú" (id int, "Select" text, "tab col" int DEFAULT 3);
ALTER TABLE "Odd $.* schema"."Docs ""quoted"" ñandú" ALTER "Select" SET STORAGE EXTERNAL;
INSERT INTO "Odd $.* schema"."Docs ""quoted"" ñandú" SELECT i, repeat(md5(i::text), 300), i FROM generate_series(1, 800) i;

-- Generated columns are not dumped; identity columns are.
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, filler text);
INSERT INTO made (a, filler) SELECT i, repeat('y', 200) FROM generate_series(1, 3000) i;

-- Parents and children: each has rows of its own.
CREATE TABLE parent (id int, filler text);
CREATE TABLE child (extra int) INHERITS (parent);
INSERT INTO parent SELECT i, repeat('p', 300) FROM generate_series(1, 1000) i;
INSERT INTO child SELECT i, repeat('c', 300), -i FROM generate_series(1, 1000) i;

-- Partitions by range, and by the hash of an enum, which pg_dump writes through their parent.
CREATE TABLE days (at date, filler text) PARTITION BY RANGE (at);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE days_2 PARTITION OF days DEFAULT;
INSERT INTO days SELECT date '2026-01-01' + i % 365, repeat('d', 100) FROM generate_series(1, 8000) i;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE moods (m mood, filler text) PARTITION BY HASH (m);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT (ARRAY['sad', 'ok', 'happy'])[1 + i % 3]::mood, repeat('m', 300) FROM generate_series(1, 2000) i;

CREATE UNLOGGED TABLE hasty (id int, filler text);
INSERT INTO hasty SELECT i, repeat('h', 300) FROM generate_series(1, 1000) i;
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE guarded (id int, filler text);
INSERT INTO guarded SELECT i, repeat('g', 300) FROM generate_series(1, 1000) i;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON guarded USING (false);

CREATE SEQUENCE numbers;
SELECT setval('numbers', 4711);
SELECT lo_from_bytea(0, decode(repeat(md5(i::text), 200), 'hex')) FROM generate_series(1, 3) i;
CREATE INDEX ON big (note);
CREATE MATERIALIZED VIEW sums AS SELECT id % 10 AS digit, sum(amount) FROM big GROUP BY 1;
