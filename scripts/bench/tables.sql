-- Ten thousand small tables, each with a primary key, an index and 20 rows.
set timezone = 'UTC';
select (10000 * :scale)::int as tables \gset
create function make_tables(first int, last int) returns void language plpgsql as $$
begin
    for n in first..last loop
        execute format('create table small_%s(id int primary key, name text not null default %L, amount numeric(10,2), at timestamptz)',
            lpad(n::text, 5, '0'), 'none');
        execute format('insert into small_%1$s select g, %2$L||g, (g*%3$s%%9973)/7.0, ''2024-01-01''::timestamptz + (g*%3$s||'' seconds'')::interval
            from generate_series(1, 20) g', lpad(n::text, 5, '0'), 'row of '||md5(n::text)||' ', n);
        execute format('create index on small_%s(at)', lpad(n::text, 5, '0'));
    end loop;
end $$;
select format('select make_tables(%s, %s)', first, least(first + 499, :tables)) from generate_series(1, :tables, 500) first \gexec
drop function make_tables;
