//! What a drill must catch and name: each way in which a restored database may be less than what was backed up (faults 45
//! and 46). The damage is done to the scratch database between the restore and the comparison, by a pg_dump that first
//! runs a statement; in a throwaway cluster and on a scratch server.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::sync::OnceLock;

use crate::support::{Pgkeep, Postgres, Stored};
use serde_json::Value;
use tempfile::TempDir;

const MAJOR: u32 = 17;

const SHOP: &str = "
    CREATE TABLE orders (id serial PRIMARY KEY, client text NOT NULL, total numeric);
    CREATE TABLE archived (id integer, client text NOT NULL, total numeric);
    CREATE TABLE notes (id integer, note text);
    INSERT INTO orders (client, total) SELECT 'client ' || n, n * 1.5 FROM generate_series(1, 500) n;
    INSERT INTO archived SELECT n, 'client ' || n, n * 2 FROM generate_series(1001, 1500) n;
    INSERT INTO notes VALUES (1, 'first'), (2, NULL);
    CREATE INDEX orders_by_client ON orders (client);
    COMMENT ON COLUMN orders.total IS 'in pesos';
    CREATE VIEW big_orders AS SELECT * FROM orders WHERE total > 100;
    CREATE FUNCTION tax(amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT amount * 0.19';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER touch_orders BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
    ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own_notes ON notes USING (id > 0);
    ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0);
    GRANT SELECT ON orders TO pg_monitor;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor;
    SELECT lo_from_bytea(7001, 'an invoice') \\g /dev/null
    SELECT lo_from_bytea(7002, 'another one') \\g /dev/null";

fn shop() -> &'static Stored {
    static SHOP_BACKUP: OnceLock<Stored> = OnceLock::new();
    SHOP_BACKUP.get_or_init(|| {
        let server = Postgres::shared(MAJOR);
        let db = server.create_db("shop");
        server.psql(&db, SHOP);
        server.psql(&db, &format!("ALTER DATABASE {db} SET search_path = public, pg_temp"));
        Stored::of(server, &db)
    })
}

/// Programs whose pg_dump does `damage` to a scratch database before it dumps it.
pub(crate) fn damaging(damage: &str) -> TempDir {
    let script = format!(
        r#"case "$PGDATABASE" in drill | pgkeep_scratch_*)
               "${{REAL%pg_dump}}psql" -X -q -v ON_ERROR_STOP=1 <<'SQL' >&2 || exit 97
{damage}
SQL
           esac
           exec "$REAL" "$@""#
    );
    crate::support::fake_bin_dir(Postgres::shared(MAJOR).bin_dir(), [("pg_dump", script.as_str())])
}

/// Drills the shop in a throwaway cluster and on a scratch server, with `damage` done to both.
#[track_caller]
fn caught(damage: &str, named: &[(&str, &str)]) {
    let (server, programs) = (Postgres::shared(MAJOR), damaging(damage));
    assert_found(shop().pgkeep(server, ["drill", "--scratch", "ephemeral"]).bin_dir(programs.path()), named);
    caught_on_a_server(damage, named);
}

/// Drills the shop on a scratch server only, which is quicker.
#[track_caller]
fn caught_on_a_server(damage: &str, named: &[(&str, &str)]) {
    let (server, programs) = (Postgres::shared(MAJOR), damaging(damage));
    let url = server.url("postgres");
    assert_found(shop().pgkeep(server, ["drill", "--scratch", &url]).bin_dir(programs.path()), named);
}

/// The drill must fail and name these objects, and no others.
#[track_caller]
fn assert_found(drill: Pgkeep, named: &[(&str, &str)]) {
    let (report, code) = drill.json_with_code();
    assert_eq!((code, report["result"].as_str()), (4, Some("failed")), "{report:#}");
    let found: Vec<(&str, &str)> = report["differences"].as_array().unwrap().iter().map(kind_and_name).collect();
    assert_eq!(found, named, "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("difference"), "{report:#}");
    assert!(report["objects_compared"].as_u64().unwrap() > 25, "{report:#}");
}

fn kind_and_name(difference: &Value) -> (&str, &str) {
    assert_ne!(difference["expected"], difference["found"], "{difference}");
    (difference["kind"].as_str().unwrap(), difference["name"].as_str().unwrap())
}

#[test]
fn an_undamaged_scratch_passes() {
    let (server, programs) = (Postgres::shared(MAJOR), damaging("SELECT"));
    for scratch in ["ephemeral", &server.url("postgres")] {
        let drill = shop().pgkeep(server, ["drill", "--scratch", scratch]).bin_dir(programs.path());
        let (report, code) = drill.json_with_code();
        assert_eq!((code, report["result"].as_str()), (0, Some("passed")), "{report:#}");
        assert_eq!((&report["tables_compared"], &report["rows_compared"]), (&3.into(), &1002.into()), "{report:#}");
    }
}

#[test]
fn one_row_missing() {
    caught("DELETE FROM orders WHERE id = 137", &[("TABLE DATA", "public.orders")]);
}

#[test]
fn one_row_twice() {
    caught_on_a_server("INSERT INTO notes SELECT * FROM notes WHERE id = 1", &[("TABLE DATA", "public.notes")]);
}

#[test]
fn one_value_changed() {
    caught("UPDATE orders SET total = total + 0.01 WHERE id = 400", &[("TABLE DATA", "public.orders")]);
}

#[test]
fn a_null_become_an_empty_text() {
    caught_on_a_server("UPDATE notes SET note = '' WHERE note IS NULL", &[("TABLE DATA", "public.notes")]);
}

#[test]
fn two_values_swapped_between_rows() {
    let swap = "UPDATE orders SET client = CASE id WHEN 1 THEN 'client 2' ELSE 'client 1' END WHERE id IN (1, 2)";
    caught_on_a_server(swap, &[("TABLE DATA", "public.orders")]);
}

#[test]
fn two_rows_swapped_between_tables() {
    let swap = "BEGIN; CREATE TEMP TABLE a AS SELECT * FROM orders WHERE id = 5;
                CREATE TEMP TABLE b AS SELECT * FROM archived WHERE id = 1005;
                DELETE FROM orders WHERE id = 5; DELETE FROM archived WHERE id = 1005;
                INSERT INTO orders SELECT * FROM b; INSERT INTO archived SELECT * FROM a; COMMIT";
    caught(swap, &[("TABLE DATA", "public.archived"), ("TABLE DATA", "public.orders")]);
}

#[test]
fn an_emptied_table() {
    caught("TRUNCATE archived", &[("TABLE DATA", "public.archived")]);
}

#[test]
fn a_dropped_table_with_its_rows() {
    caught_on_a_server("DROP TABLE archived", &[("TABLE", "public.archived"), ("TABLE DATA", "public.archived")]);
}

#[test]
fn a_sequence_behind() {
    caught("SELECT setval('orders_id_seq', 499) \\g /dev/null", &[("SEQUENCE SET", "public.orders_id_seq")]);
}

#[test]
fn a_sequence_that_would_give_its_last_value_again() {
    caught_on_a_server(
        "SELECT setval('orders_id_seq', 500, false) \\g /dev/null",
        &[("SEQUENCE SET", "public.orders_id_seq")],
    );
}

#[test]
fn a_dropped_index() {
    caught("DROP INDEX orders_by_client", &[("INDEX", "public.orders_by_client")]);
}

#[test]
fn a_dropped_primary_key() {
    caught_on_a_server(
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
        &[("CONSTRAINT", "public.orders orders_pkey")],
    );
}

#[test]
fn a_dropped_check_is_a_change_of_its_table() {
    caught_on_a_server("ALTER TABLE orders DROP CONSTRAINT positive", &[("TABLE", "public.orders")]);
}

#[test]
fn a_dropped_grant() {
    caught("REVOKE SELECT ON orders FROM pg_monitor", &[("ACL", "public.TABLE orders")]);
}

#[test]
fn an_additional_grant() {
    caught_on_a_server("GRANT UPDATE ON notes TO PUBLIC", &[("ACL", "public.TABLE notes")]);
}

#[test]
fn a_dropped_default_privilege() {
    let revoke = "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM pg_monitor";
    caught_on_a_server(revoke, &[("DEFAULT ACL", "DEFAULT PRIVILEGES FOR TABLES")]);
}

#[test]
fn a_dropped_comment() {
    caught("COMMENT ON COLUMN orders.total IS NULL", &[("COMMENT", "public.COLUMN orders.total")]);
}

#[test]
fn a_dropped_policy() {
    caught("DROP POLICY own_notes ON notes", &[("POLICY", "public.notes own_notes")]);
}

#[test]
fn row_security_switched_off() {
    caught_on_a_server("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", &[("ROW SECURITY", "public.notes")]);
}

#[test]
fn a_dropped_trigger() {
    caught("DROP TRIGGER touch_orders ON orders", &[("TRIGGER", "public.orders touch_orders")]);
}

#[test]
fn a_disabled_trigger() {
    caught_on_a_server("ALTER TABLE orders DISABLE TRIGGER touch_orders", &[("TRIGGER", "public.orders touch_orders")]);
}

#[test]
fn a_lost_large_object() {
    caught("SELECT lo_unlink(7001) \\g /dev/null", &[("LARGE OBJECT", "7001")]);
}

#[test]
fn one_byte_of_a_large_object_changed() {
    caught_on_a_server("SELECT lo_put(7002, 3, 'X') \\g /dev/null", &[("LARGE OBJECT", "7002")]);
}

#[test]
fn a_changed_owner() {
    caught("ALTER TABLE archived OWNER TO pg_monitor", &[("TABLE", "public.archived")]);
}

#[test]
fn a_changed_function_body() {
    let change = "CREATE OR REPLACE FUNCTION tax(amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE
                  AS 'SELECT amount * 0.16'";
    caught(change, &[("FUNCTION", "public.tax(numeric)")]);
}

#[test]
fn a_changed_view() {
    let change = "CREATE OR REPLACE VIEW big_orders AS SELECT * FROM orders WHERE total >= 100";
    caught_on_a_server(change, &[("VIEW", "public.big_orders")]);
}

#[test]
fn a_setting_of_the_database_that_never_arrived() {
    // As a server would that takes the statement and forgets it.
    let script = r#"case "$*" in
               *VERBOSITY*) exec "$REAL" "$@" ;;
               *) sed '/^ALTER DATABASE .* SET .*search_path/d' | "$REAL" "$@" ;;
           esac"#;
    let server = Postgres::shared(MAJOR);
    let programs = crate::support::fake_bin_dir(server.bin_dir(), [("psql", script)]);
    assert_found(shop().pgkeep(server, ["drill"]).bin_dir(programs.path()), &[("DATABASE", "settings")]);
}

#[test]
fn people_are_told_the_table_and_where_the_receipt_is() {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("told");
    server.psql(&db, "CREATE TABLE bookings (id integer); INSERT INTO bookings VALUES (1), (2)");
    let (stored, programs) = (Stored::of(server, &db), damaging("DELETE FROM bookings WHERE id = 2"));
    let drill = stored.pgkeep(server, ["drill"]).bin_dir(programs.path()).fails(4);
    for word in ["public.bookings", "2 rows", "1 rows"] {
        assert!(drill.stdout.contains(word), "{word}: {drill}");
    }
    assert!(drill.stderr.contains("error: ") && drill.stderr.contains("difference"), "{drill}");
    let receipts = crate::support::everything_below(stored.dir().join("drills"));
    let [receipt] = receipts.try_into().unwrap();
    let receipt: Value = serde_json::from_slice(&std::fs::read(receipt).unwrap()).unwrap();
    assert_eq!(receipt["result"], "failed");
    assert_eq!(receipt["differences"][0]["name"], "public.bookings");
    let list = stored.pgkeep(server, ["backup", "list"]).json();
    assert_eq!(list["backups"][0]["drill_result"], "failed");
}
