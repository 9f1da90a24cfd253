-- A shop that is mostly indexes: little data, 26 indexes of many kinds. A restore builds them all again.
set timezone = 'UTC';
select (150000 * :scale)::bigint as customers, (800000 * :scale)::bigint as orders \gset
create table customers(id bigint, email text, name text, created_at timestamptz, country char(2), city text, attrs jsonb, biography text);
insert into customers
select g, 'user'||g||'@example.com',
       (array['Ana','Luis','Maria','Jose','Carmen','Pedro'])[1+g%6]||' '||(array['Garcia','Lopez','Perez','Diaz','Ruiz'])[1+g%5],
       '2024-01-01'::timestamptz + (g||' seconds')::interval, (array['CO','PE','MX','AR'])[1+g%4], 'City '||(g*7919)%997,
       jsonb_build_object('tier', g%3, 'optin', g%2=0, 'score', (g*7919)%1000, 'tags', jsonb_build_array('t'||g%17, 'u'||g%23)),
       'likes '||(array['tea','coffee','books','rain','maps'])[1+g%5]||' and '||md5(g::text)
from generate_series(1::bigint, :customers) g;
create table orders(id bigint, customer_id bigint, placed_at timestamptz, paid_at timestamptz, status text, total numeric(12,2), code text, period tstzrange);
insert into orders
select g, 1+(g*7919)%:customers, '2024-01-01'::timestamptz + (g*11||' seconds')::interval,
       case when g%3>0 then '2024-01-02'::timestamptz + (g*11||' seconds')::interval end,
       (array['pending','paid','shipped','cancelled'])[1+g%4], (g%100000)/7.0, upper(md5(g::text)),
       tstzrange('2024-01-01'::timestamptz + (g*11||' seconds')::interval, '2024-01-03'::timestamptz + (g*11||' seconds')::interval)
from generate_series(1::bigint, :orders) g;
create table order_items(order_id bigint, line int, sku text, qty int, price numeric(10,2));
insert into order_items
select g, l, 'SKU-'||((g*31+l*7)%50000), 1+g%5, ((g*13+l)%10000)/9.0
from generate_series(1::bigint, :orders) g, generate_series(1, 2) l;
alter table customers add primary key (id);
create unique index on customers(email);
create unique index on customers(lower(email));
create index on customers(name);
create index on customers(created_at);
create index on customers(country, city);
create index on customers((attrs->>'score'));
create index on customers using gin(attrs);
create index on customers using gin(to_tsvector('simple', biography));
create index on customers using hash(city);
alter table orders add primary key (id), add foreign key (customer_id) references customers;
create index on orders(customer_id, placed_at);
create index on orders(placed_at desc);
create index on orders(paid_at) where paid_at is not null;
create index on orders(status, total);
create index on orders(total);
create unique index on orders(code);
create index on orders(left(code, 6));
create index on orders(customer_id) include (total) where status = 'pending';
create index on orders using brin(placed_at);
create index on orders using gist(period);
alter table order_items add primary key (order_id, line), add foreign key (order_id) references orders;
create index on order_items(sku);
create index on order_items(sku, qty);
create index on order_items(price);
create index on order_items(order_id) where qty > 3;
create index on order_items using brin(order_id);
