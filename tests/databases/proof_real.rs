//! The proof on real databases: what came back whole has no difference, and each thing that was lost or changed has its
//! own, by name.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::Postgres;
use pgkeep::proof::{Comparison, Declared, Rules, compare};
use pgkeep::script::{ColumnOrder, Omit, Scan, Scanner};

/// Beside the hard schema: things that can be changed without changing anything else.
const EXTRA: &str = "
    CREATE TABLE public.left_rows (a integer, b text DEFAULT 'b');
    CREATE TABLE public.right_rows (a integer, b text);
    INSERT INTO public.left_rows SELECT n, 'row ' || n FROM generate_series(1, 100) n;
    INSERT INTO public.right_rows SELECT n, 'row ' || n FROM generate_series(101, 200) n;
    INSERT INTO public.right_rows VALUES (1, 'twice'), (1, 'twice');
    CREATE TABLE public.no_rows (a integer);
    CREATE INDEX right_index ON public.right_rows (a);
    CREATE FUNCTION public.answer() RETURNS integer LANGUAGE sql AS 'SELECT 42';
    CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER some_trigger BEFORE INSERT ON public.right_rows FOR EACH ROW EXECUTE FUNCTION public.nothing();
    CREATE POLICY some_policy ON public.right_rows USING (a > 0);
    COMMENT ON TABLE public.right_rows IS 'a comment';
    GRANT SELECT ON public.right_rows TO hard_reader, hard_owner;
    CREATE SEQUENCE public.counter;
    SELECT setval('public.counter', 500);
    CREATE TYPE public.mood AS ENUM ('sad', 'so', 'glad', 'odd', 'even');
    CREATE TABLE public.moods (m public.mood, n integer) PARTITION BY HASH (m);
    CREATE TABLE public.moods_0 PARTITION OF public.moods FOR VALUES WITH (MODULUS 3, REMAINDER 0);
    CREATE TABLE public.moods_1 PARTITION OF public.moods FOR VALUES WITH (MODULUS 3, REMAINDER 1);
    CREATE TABLE public.moods_2 PARTITION OF public.moods FOR VALUES WITH (MODULUS 3, REMAINDER 2);
    INSERT INTO public.moods SELECT m, n FROM unnest(enum_range(NULL::public.mood)) m, generate_series(1, 7) n;
    -- The publication of all tables wants it.
    ALTER TABLE public.left_rows REPLICA IDENTITY FULL;
    ALTER TABLE public.right_rows REPLICA IDENTITY FULL;
    ALTER TABLE public.moods_0 REPLICA IDENTITY FULL;
    ALTER TABLE public.moods_1 REPLICA IDENTITY FULL;
    ALTER TABLE public.moods_2 REPLICA IDENTITY FULL;
    ALTER TABLE public.moods REPLICA IDENTITY FULL;
";

/// What is done to the restored database, the statement, and which objects must be named for it, as kind and name.
type Change = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const CHANGES: &[Change] = &[
    ("a row missing", "DELETE FROM left_rows WHERE a = 50", &[("TABLE DATA", "public.left_rows")]),
    ("a row too many", "INSERT INTO no_rows VALUES (NULL)", &[("TABLE DATA", "public.no_rows")]),
    (
        "an equal row missing",
        "DELETE FROM right_rows WHERE ctid = (SELECT min(ctid) FROM right_rows WHERE b = 'twice')",
        &[("TABLE DATA", "public.right_rows")],
    ),
    ("a value changed", "UPDATE left_rows SET b = 'row 51' WHERE a = 50", &[("TABLE DATA", "public.left_rows")]),
    ("a value null", "UPDATE left_rows SET b = NULL WHERE a = 50", &[("TABLE DATA", "public.left_rows")]),
    (
        "values exchanged between rows",
        "UPDATE left_rows SET b = CASE a WHEN 1 THEN 'row 2' ELSE 'row 1' END WHERE a IN (1, 2)",
        &[("TABLE DATA", "public.left_rows")],
    ),
    (
        "two rows swapped between tables",
        "UPDATE left_rows SET a = 150, b = 'row 150' WHERE a = 50; UPDATE right_rows SET a = 50, b = 'row 50' WHERE a = 150",
        &[("TABLE DATA", "public.left_rows"), ("TABLE DATA", "public.right_rows")],
    ),
    ("a row of a partition missing", "DELETE FROM moods WHERE m = 'odd' AND n = 3", &[("TABLE DATA", "public.moods")]),
    ("a sequence behind", "SELECT setval('counter', 499)", &[("SEQUENCE SET", "public.counter")]),
    ("a sequence not called", "SELECT setval('counter', 500, false)", &[("SEQUENCE SET", "public.counter")]),
    ("an index dropped", "DROP INDEX right_index", &[("INDEX", "public.right_index")]),
    ("a grant revoked", "REVOKE SELECT ON right_rows FROM hard_reader", &[("ACL", "public.TABLE right_rows")]),
    ("a comment dropped", "COMMENT ON TABLE right_rows IS NULL", &[("COMMENT", "public.TABLE right_rows")]),
    ("a policy dropped", "DROP POLICY some_policy ON right_rows", &[("POLICY", "public.right_rows some_policy")]),
    ("a trigger dropped", "DROP TRIGGER some_trigger ON right_rows", &[("TRIGGER", "public.right_rows some_trigger")]),
    (
        "a trigger disabled",
        "ALTER TABLE right_rows DISABLE TRIGGER some_trigger",
        &[("TRIGGER", "public.right_rows some_trigger")],
    ),
    ("a table emptied", "TRUNCATE left_rows", &[("TABLE DATA", "public.left_rows")]),
    ("a large object lost", "SELECT lo_unlink(424204)", &[("LARGE OBJECT", "424204")]),
    ("a large object's content changed", "SELECT lo_put(424203, 1000000, 'x')", &[("LARGE OBJECT", "424203")]),
    ("a large object's owner changed", "ALTER LARGE OBJECT 424202 OWNER TO hard_reader", &[("LARGE OBJECT", "424202")]),
    ("an owner changed", "ALTER TABLE no_rows OWNER TO hard_owner", &[("TABLE", "public.no_rows")]),
    (
        "a function's body changed",
        "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT 43'",
        &[("FUNCTION", "public.answer()")],
    ),
    ("a column's default changed", "ALTER TABLE left_rows ALTER b SET DEFAULT 'c'", &[("TABLE", "public.left_rows")]),
];

fn scan(server: &Postgres, db: &str, orders: ColumnOrder) -> Scan {
    let mut scanner = Scanner::new(orders, Omit::default());
    server.pg_dump(db, []).chunks(100_003).for_each(|piece| scanner.feed(piece));
    let scan = scanner.finish();
    assert!(scan.complete && scan.violations.is_empty(), "{:?}", scan.violations);
    scan
}

fn compared(expected: &Scan, found: &Scan) -> Comparison {
    let declared = Declared {
        entries: expected.entries.len() as u64 - expected.large_objects,
        tables: expected.tables,
        rows: expected.rows,
        large_objects: expected.large_objects,
    };
    let rules = Rules { owners: true, privileges: true, definitions: true };
    compare(&expected.entries, &found.entries, declared, rules)
}

fn proved(major: u32) {
    let server = Postgres::shared(major);
    let source = server.create_db("source");
    server.load_sql(&source, "hard.sql");
    server.psql(&source, EXTRA);
    let dump = server.pg_dump(&source, []);
    let expected = scan(server, &source, ColumnOrder::new());
    let orders = || {
        let tables = expected.entries.iter().filter_map(|entry| entry.table);
        tables.map(|t| ((t.schema, t.table), t.columns)).collect()
    };

    let restored = server.create_db("restored");
    server.load(&restored, &dump);
    let whole = compared(&expected, &scan(server, &restored, orders()));
    assert_eq!(whole.differences, [], "PostgreSQL {major}");
    assert_eq!((whole.tables, whole.rows), (expected.tables, expected.rows));
    assert_eq!(whole.notes, ["the columns of hard.late_child come back in the order of its parents"]);

    for (what, change, named) in CHANGES {
        let db = format!("changed_{:x}", std::process::id());
        server.psql("postgres", &format!("CREATE DATABASE {db} TEMPLATE \"{restored}\""));
        server.psql(&db, &format!("SET search_path = public; {change}"));
        let differences = compared(&expected, &scan(server, &db, orders())).differences;
        let found: Vec<_> = differences.iter().map(|d| (d.kind.as_str(), d.name.as_str())).collect();
        assert_eq!(found, *named, "PostgreSQL {major}, {what}: {differences:#?}");
        server.psql("postgres", &format!("DROP DATABASE {db}"));
    }
}

#[test]
fn each_loss_and_each_change_is_named_on_14() {
    proved(14);
}

#[test]
fn each_loss_and_each_change_is_named_on_18() {
    proved(18);
}
