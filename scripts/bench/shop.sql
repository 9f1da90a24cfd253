-- A shop: customers, orders, order lines and jsonb events; 670 MB of SQL at scale 1. The same rows each time.
-- psql's variable `scale` is 1, or a small part of it for trying the benchmark out.
set timezone = 'UTC';
select (400000 * :scale)::bigint as customers, (3000000 * :scale)::bigint as orders, (1500000 * :scale)::bigint as events \gset
create table customers(id bigserial primary key, email text unique, name text, created_at timestamptz, country char(2), attrs jsonb);
insert into customers(email, name, created_at, country, attrs)
select 'user'||g||'@example.com',
       (array['Ana','Luis','Maria','Jose','Carmen','Pedro'])[1+g%6]||' '||(array['Garcia','Lopez','Perez','Diaz','Ruiz'])[1+g%5],
       '2024-01-01'::timestamptz + (g||' seconds')::interval, (array['CO','PE','MX','AR'])[1+g%4],
       jsonb_build_object('tier', g%3, 'optin', g%2=0, 'score', (g*7919)%1000)
from generate_series(1::bigint, :customers) g;
create table orders(id bigserial primary key, customer_id bigint references customers, placed_at timestamptz, status text, total numeric(12,2), note text);
insert into orders(customer_id, placed_at, status, total, note)
select 1+(g*7919)%:customers, '2024-01-01'::timestamptz + (g*11||' seconds')::interval,
       (array['pending','paid','shipped','cancelled'])[1+g%4], (g%100000)/7.0,
       case when g%5=0 then 'Deliver to reception, call '||g%997 end
from generate_series(1::bigint, :orders) g;
create table order_items(order_id bigint, line int, sku text, qty int, price numeric(10,2), primary key(order_id, line));
insert into order_items
select g, l, 'SKU-'||((g*31+l*7)%50000), 1+g%5, ((g*13+l)%10000)/9.0
from generate_series(1::bigint, :orders) g, generate_series(1, 2) l;
create table events(id bigint, ts timestamptz, kind text, payload jsonb);
insert into events
select g, '2024-06-01'::timestamptz + (g||' seconds')::interval, (array['view','click','buy','login'])[1+g%4],
       jsonb_build_object('ip', '10.'||g%255||'.'||g%13||'.'||g%77, 'ua', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36',
                          'path', '/p/'||g%5000, 'ref', md5((g%20000)::text))
from generate_series(1::bigint, :events) g;
create index on orders(customer_id);
create index on orders(placed_at);
create index on events(ts);
create index on events using gin(payload jsonb_path_ops);
