-- Wide events: nested jsonb of about 1.5 kB, every fiftieth large enough to be stored out of line; about 500 MB of SQL.
set timezone = 'UTC';
select (300000 * :scale)::bigint as events \gset
create table events(id bigint, ts timestamptz, kind text, payload jsonb);
insert into events
select g, '2024-06-01'::timestamptz + (g||' seconds')::interval, (array['view','click','buy','login'])[1+g%4],
       jsonb_build_object(
           'session', md5((g/20)::text), 'request', md5(g::text)||md5((g+1)::text), 'ip', '10.'||g%255||'.'||g%13||'.'||g%77,
           'agent', jsonb_build_object('name', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)', 'version', g%140,
                                       'languages', jsonb_build_array('es-CO', 'es', 'en')),
           'page', jsonb_build_object('path', '/category/'||g%300||'/product/'||g%5000, 'title', 'Product '||g%5000||' “the best” in town',
                                      'referrer', 'https://www.example.com/search?q='||md5((g%20000)::text)),
           'user', jsonb_build_object('id', (g*7919)%100000, 'name', 'Núñez '||g%977, 'tier', g%3, 'consent', jsonb_build_object('ads', g%2=0, 'mail', g%3=0)),
           'timings', jsonb_build_object('dns', (g*31)%97, 'connect', (g*37)%211, 'first_byte', (g*41)%997, 'load', (g*43)%4001, 'ratio', (g%1000)/7.0),
           'items', (select jsonb_agg(jsonb_build_object('sku', 'SKU-'||(g*31+n*7)%50000, 'qty', 1+n%3, 'price', ((g*13+n)%10000)/100.0,
                                                         'options', jsonb_build_array('size-'||n%5, 'colour-'||n%11)))
                     from generate_series(1, case when g%50=0 then 60 else 4+g%5 end) n),
           'note', case when g%7=0 then E'line one\nline "two"\twith a tab and a back\\slash' end)
from generate_series(1::bigint, :events) g;
alter table events add primary key (id);
create index on events(ts);
create index on events((payload->'user'->>'id'));
