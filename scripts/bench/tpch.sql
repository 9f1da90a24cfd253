-- TPC-H, from the files of tpchgen-cli in the current folder, with its primary and foreign keys.
set timezone = 'UTC';
create table region(r_regionkey int, r_name char(25), r_comment varchar(152));
create table nation(n_nationkey int, n_name char(25), n_regionkey int, n_comment varchar(152));
create table supplier(s_suppkey int, s_name char(25), s_address varchar(40), s_nationkey int, s_phone char(15),
    s_acctbal numeric(15,2), s_comment varchar(101));
create table customer(c_custkey int, c_name varchar(25), c_address varchar(40), c_nationkey int, c_phone char(15),
    c_acctbal numeric(15,2), c_mktsegment char(10), c_comment varchar(117));
create table part(p_partkey int, p_name varchar(55), p_mfgr char(25), p_brand char(10), p_type varchar(25), p_size int,
    p_container char(10), p_retailprice numeric(15,2), p_comment varchar(23));
create table partsupp(ps_partkey int, ps_suppkey int, ps_availqty int, ps_supplycost numeric(15,2), ps_comment varchar(199));
create table orders(o_orderkey bigint, o_custkey int, o_orderstatus char(1), o_totalprice numeric(15,2), o_orderdate date,
    o_orderpriority char(15), o_clerk char(15), o_shippriority int, o_comment varchar(79));
create table lineitem(l_orderkey bigint, l_partkey int, l_suppkey int, l_linenumber int, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1), l_linestatus char(1),
    l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44));
\copy region from 'region.csv' csv header
\copy nation from 'nation.csv' csv header
\copy supplier from 'supplier.csv' csv header
\copy customer from 'customer.csv' csv header
\copy part from 'part.csv' csv header
\copy partsupp from 'partsupp.csv' csv header
\copy orders from 'orders.csv' csv header
\copy lineitem from 'lineitem.csv' csv header
alter table region add primary key (r_regionkey);
alter table nation add primary key (n_nationkey);
alter table supplier add primary key (s_suppkey);
alter table customer add primary key (c_custkey);
alter table part add primary key (p_partkey);
alter table partsupp add primary key (ps_partkey, ps_suppkey);
alter table orders add primary key (o_orderkey);
alter table lineitem add primary key (l_orderkey, l_linenumber);
alter table nation add foreign key (n_regionkey) references region;
alter table supplier add foreign key (s_nationkey) references nation;
alter table customer add foreign key (c_nationkey) references nation;
alter table partsupp add foreign key (ps_partkey) references part, add foreign key (ps_suppkey) references supplier;
alter table orders add foreign key (o_custkey) references customer;
alter table lineitem add foreign key (l_orderkey) references orders, add foreign key (l_partkey, l_suppkey) references partsupp;
