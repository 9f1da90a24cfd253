-- Many small things: 5,000 tables in ten schemas, every second one with a key, most with a row or a few.
-- It commits as it goes; yet pg_dump must lock all tables at once, which takes a server whose max_locks_per_transaction times
-- max_connections allows it (the defaults, 64 and 100, do).

SELECT format('CREATE SCHEMA many_%s', n) FROM generate_series(0, 9) n \gexec
DO $$
BEGIN
    FOR n IN 1..5000 LOOP
        EXECUTE format('CREATE TABLE many_%s.table_%s (id integer%s, v text)', n % 10, n, CASE WHEN n % 2 = 0 THEN ' PRIMARY KEY' ELSE '' END);
        EXECUTE format('INSERT INTO many_%s.table_%s SELECT r, ''row '' || r FROM generate_series(1, %s) r', n % 10, n, n % 4);
        IF n % 250 = 0 THEN
            COMMIT;
        END IF;
    END LOOP;
END
$$;
