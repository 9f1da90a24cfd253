-- The widest table that PostgreSQL allows: 1,600 columns, of several types, and 300 rows with many nulls.

DO $$
BEGIN
    EXECUTE (
        SELECT 'CREATE TABLE wide (' || string_agg(format('column_%s %s', lpad(n::text, 4, '0'), (ARRAY['integer', 'boolean', 'text', '"char"'])[1 + n % 4]), ', ' ORDER BY n) || ')'
        FROM generate_series(1, 1600) n);
    EXECUTE (
        SELECT 'INSERT INTO wide SELECT '
               || string_agg(CASE n % 4 WHEN 0 THEN format('CASE WHEN (r + %s) %% 3 <> 0 THEN r * %s END', n, n)
                                        WHEN 1 THEN format('(r + %s) %% 2 = 0', n)
                                        WHEN 2 THEN format('CASE WHEN (r + %s) %% 50 = 0 THEN chr(9) || r END', n)
                                        ELSE format('CASE WHEN (r + %s) %% 5 <> 0 THEN ''x'' END::"char"', n) END, ', ' ORDER BY n)
               || ' FROM generate_series(1, 300) r'
        FROM generate_series(1, 1600) n);
END
$$;
