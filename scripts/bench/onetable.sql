-- One table of about 1 GB, so that one table alone sets the pace unless it is split.
set timezone = 'UTC';
select (10000000 * :scale)::bigint as rows \gset
create table measurements(id bigint, sensor int, at timestamptz, value double precision, state text, checksum text);
insert into measurements
select g, (g*7919)%5000, '2024-01-01'::timestamptz + (g||' seconds')::interval, ((g*7919)%1000003)/997.0,
       (array['ok','ok','ok','low battery','out of range'])[1+g%5], md5((g%500000)::text)
from generate_series(1::bigint, :rows) g;
alter table measurements add primary key (id);
create index on measurements(sensor, at);
