//! The levels of a drill: what each restores and compares, what it must catch, and what it must say it did not see.
#![cfg(unix)]

use crate::drill_catches::damaging;
use crate::support::{Configured, Pgkeep, Postgres, Stored, fake_bin_dir};
use serde_json::Value;
use std::sync::OnceLock;
use tempfile::TempDir;

const MAJOR: u32 = 17;

/// A shop in which a sample could break: lines refer to orders and those to clients, a log to a partitioned table, and a
/// view of two materialized ones divides by the number of lines.
const SHOP: &str = "
    CREATE TABLE clients (id integer PRIMARY KEY, name text);
    CREATE TABLE orders (id integer PRIMARY KEY, client integer REFERENCES clients, at date);
    CREATE TABLE lines (id integer PRIMARY KEY, \"order\" integer NOT NULL, note text);
    ALTER TABLE lines ADD CONSTRAINT \"of an; order\" FOREIGN KEY (\"order\") REFERENCES orders ON DELETE CASCADE;
    COMMENT ON CONSTRAINT \"of an; order\" ON lines IS 'kept with its key';
    CREATE TABLE notes (id integer PRIMARY KEY, note text);
    CREATE TABLE empty (id integer);
    CREATE TABLE events (id integer, body text);
    CREATE TABLE log (id integer, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE log_old PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
    CREATE TABLE log_new PARTITION OF log FOR VALUES FROM ('2025-01-01') TO ('2030-01-01');
    CREATE TABLE log_notes (id integer, at date, FOREIGN KEY (id, at) REFERENCES log);
    INSERT INTO clients SELECT n, 'client ' || n FROM generate_series(1, 50) n;
    INSERT INTO orders SELECT n, n % 50 + 1, '2026-01-01' FROM generate_series(1, 400) n;
    INSERT INTO lines SELECT n, n % 400 + 1, md5(n::text) FROM generate_series(1, 3000) n;
    INSERT INTO notes VALUES (1, 'first'), (2, NULL);
    INSERT INTO events SELECT n, repeat(md5(n::text), 4) FROM generate_series(1, 2000) n;
    INSERT INTO log SELECT n, date '2024-12-01' + n % 60 FROM generate_series(1, 1000) n;
    INSERT INTO log_notes SELECT id, at FROM log WHERE id < 10;
    CREATE INDEX events_by_id ON events (id);
    CREATE MATERIALIZED VIEW lines_each AS SELECT 1000 / (SELECT count(*) FROM lines) AS lines;
    CREATE MATERIALIZED VIEW twice AS SELECT lines * 2 AS lines FROM lines_each;
    CREATE UNIQUE INDEX twice_once ON twice (lines);
    SELECT lo_from_bytea(7001, 'an invoice') \\g /dev/null";

const TABLES: u64 = 9;
const ROWS: u64 = 50 + 400 + 3000 + 2 + 2000 + 1000 + 9;

fn shop() -> &'static Stored {
    static SHOP_BACKUP: OnceLock<Stored> = OnceLock::new();
    SHOP_BACKUP.get_or_init(|| {
        let server = Postgres::shared(MAJOR);
        let db = server.create_db("levels");
        server.psql(&db, SHOP);
        Stored::of(server, &db)
    })
}

fn drill<'a>(args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
    shop().pgkeep(Postgres::shared(MAJOR), ["drill"].into_iter().chain(args))
}

/// Programs whose psql does `damage` to the restored database before pgkeep counts its rows.
fn damaging_before_the_count(damage: &str) -> TempDir {
    let script = format!(
        r#"case "$*" in *"-f -"*) exec "$REAL" "$@" ;; *" -A "*) ;; *) exec "$REAL" "$@" ;; esac
           input=$(mktemp) && cat >"$input"
           if grep -q 'json_build_array((select count' "$input"; then
               "$REAL" -X -q -v ON_ERROR_STOP=1 <<'SQL' >&2 || exit 97
{damage}
SQL
           fi
           "$REAL" "$@" <"$input"
           code=$?
           rm -f "$input"
           exit $code"#
    );
    fake_bin_dir(Postgres::shared(MAJOR).bin_dir(), [("psql", script.as_str())])
}

fn names(report: &Value) -> Vec<(&str, &str)> {
    let differences = report["differences"].as_array().unwrap().iter();
    differences.map(|one| (one["kind"].as_str().unwrap(), one["name"].as_str().unwrap())).collect()
}

fn not_compared(report: &Value) -> String {
    let all = report["not_compared"].as_array().unwrap().iter();
    all.map(|one| one.as_str().unwrap()).collect::<Vec<_>>().join("; ")
}

/// The newest receipt of the shop's backup, which other tests of this file add to: the one that was asked for.
fn receipt(report: &Value) -> Value {
    let key = report["receipt"].as_str().unwrap();
    serde_json::from_slice(&std::fs::read(shop().path().join(key)).unwrap()).unwrap()
}

#[test]
fn each_level_passes_and_says_what_it_left_out() {
    let (report, code) = drill(["--level", "prove"]).json_with_code();
    assert_eq!((code, &report["level"], not_compared(&report).as_str()), (0, &"prove".into(), ""), "{report:#}");
    assert_eq!((&report["tables_compared"], &report["rows_compared"]), (&TABLES.into(), &ROWS.into()), "{report:#}");

    let server = Postgres::shared(MAJOR);
    for scratch in ["ephemeral", &server.url("postgres")] {
        let (report, code) = drill(["--level", "restore", "--scratch", scratch]).json_with_code();
        assert_eq!((code, &report["result"], &report["level"]), (0, &"passed".into(), &"restore".into()), "{report:#}");
        assert_eq!(
            (&report["tables_compared"], &report["rows_compared"]),
            (&TABLES.into(), &ROWS.into()),
            "{report:#}"
        );
        assert!(not_compared(&report).contains("nothing else was compared: no values"), "{report:#}");
        let receipt = receipt(&report);
        assert_eq!((&receipt["level"], &receipt["not_compared"]), (&report["level"], &report["not_compared"]));

        let sample = drill(["--level", "sample", "--sample-size", "30KiB", "--scratch", scratch]);
        let (report, code) = sample.json_with_code();
        assert_eq!((code, &report["result"], &report["level"]), (0, &"passed".into(), &"sample".into()), "{report:#}");
        let (tables, rows) = (report["tables_compared"].as_u64().unwrap(), report["rows_compared"].as_u64().unwrap());
        assert!((2..TABLES).contains(&tables) && (2..ROWS).contains(&rows), "{report:#}");
        let told = not_compared(&report);
        assert!(told.contains(&format!("{} of {TABLES} tables, {} rows", TABLES - tables, ROWS - rows)), "{told}");
        assert!(told.contains("2 materialized views were not filled"), "{told}");
    }
}

#[test]
fn a_sample_of_any_size_can_be_restored() {
    for size in ["0B", "4KiB", "40KiB", "150KiB"] {
        let (report, code) = drill(["--level", "sample", "--sample-size", size]).json_with_code();
        assert_eq!((code, &report["result"]), (0, &"passed".into()), "{size}: {report:#}");
        assert!(report["rows_compared"].as_u64().unwrap() > 0, "{size}: {report:#}");
    }
    let (report, code) = drill(["--level", "sample", "--sample-size", "1GiB"]).json_with_code();
    assert_eq!((code, &report["rows_compared"]), (0, &ROWS.into()), "{report:#}");
    assert_eq!(report["not_compared"], serde_json::json!([]), "{report:#}");
}

#[test]
fn a_sample_of_a_parallel_dump_takes_a_table_in_slices_whole_or_not_at_all() {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("sliced");
    server.psql(&db, SHOP);
    // Large enough for slices.
    server.psql(&db, "CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 60) FROM generate_series(1, 10000) n");
    let stored = Stored::with(server, &db, ["--jobs", "2", "--compression", "zstd"]);
    let slices = stored.entries().iter().filter(|entry| !entry["table"]["slice"].is_null()).count();
    assert!(slices > 1, "{slices} slices");
    for (size, wide) in [("60KiB", false), ("1GiB", true)] {
        let sample = stored.pgkeep(server, ["drill", "--level", "sample", "--sample-size", size]);
        let (report, code) = sample.json_with_code();
        assert_eq!((code, &report["result"]), (0, &"passed".into()), "{report:#}");
        assert_eq!(report["rows_compared"].as_u64().unwrap() >= 10_000, wide, "{report:#}");
    }
    let (report, code) = stored.pgkeep(server, ["drill", "--level", "restore"]).json_with_code();
    assert_eq!((code, &report["rows_compared"]), (0, &(ROWS + 10_000).into()), "{report:#}");
}

#[test]
fn a_sample_catches_what_is_lost_of_definitions_and_of_the_smallest_tables() {
    let sample = |programs: &TempDir| {
        drill(["--level", "sample", "--sample-size", "10KiB"]).bin_dir(programs.path()).json_with_code()
    };
    let cases = [
        ("DROP INDEX events_by_id", ("INDEX", "public.events_by_id")),
        ("UPDATE notes SET note = 'other' WHERE id = 1", ("TABLE DATA", "public.notes")),
        ("ALTER TABLE lines DROP CONSTRAINT \"of an; order\"", ("FK CONSTRAINT", "public.lines of an; order")),
    ];
    for (damage, found) in cases {
        let (report, code) = sample(&damaging(damage));
        assert_eq!(code, 4, "{report:#}");
        assert!(names(&report).contains(&found), "{damage}: {report:#}");
        assert!(report["reason"].as_str().unwrap().contains(found.1), "{report:#}");
    }
}

#[test]
fn level_restore_catches_a_row_or_a_table_that_is_missing() {
    for (damage, name, found) in [
        ("DELETE FROM lines WHERE id = 7", "public.lines", "2999 rows"),
        ("INSERT INTO notes VALUES (3, 'more')", "public.notes", "3 rows"),
        ("DELETE FROM log WHERE id = 500", "public.log", "rows"),
    ] {
        let programs = damaging_before_the_count(damage);
        let (report, code) = drill(["--level", "restore"]).bin_dir(programs.path()).json_with_code();
        assert_eq!((code, &report["result"]), (4, &"failed".into()), "{damage}: {report:#}");
        let [(kind, table)] = names(&report)[..] else { panic!("{damage}: {report:#}") };
        assert!(kind == "TABLE DATA" && table.starts_with(name), "{damage}: {report:#}");
        assert!(report["differences"][0]["found"].as_str().unwrap().contains(found), "{report:#}");
    }
    let programs = damaging_before_the_count("SELECT lo_unlink(7001) \\g /dev/null");
    let (report, code) = drill(["--level", "restore"]).bin_dir(programs.path()).json_with_code();
    assert_eq!((code, names(&report)), (4, vec![("LARGE OBJECT", "all of them")]), "{report:#}");
}

#[test]
fn level_restore_does_not_see_a_changed_value_and_says_so_to_people() {
    let programs = damaging_before_the_count("UPDATE notes SET note = 'other' WHERE id = 1");
    let outcome = drill(["--level", "restore"]).bin_dir(programs.path()).ok();
    assert!(outcome.stdout.contains("level:      restore"), "{outcome}");
    assert!(outcome.stdout.contains("nothing else was compared: no values"), "{outcome}");
    let list = shop().pgkeep(Postgres::shared(MAJOR), ["backup", "list"]).json();
    assert!(list["backups"][0]["drill_level"].is_string(), "{list:#}");
}

#[test]
fn a_database_without_tables_is_proved_at_every_level() {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("no_tables");
    server.psql(&db, "CREATE FUNCTION tax(n numeric) RETURNS numeric LANGUAGE sql AS 'SELECT n * 0.19'");
    let stored = Stored::of(server, &db);
    for level in ["restore", "sample"] {
        let (report, code) = stored.pgkeep(server, ["drill", "--level", level]).json_with_code();
        assert_eq!(code, 0, "{report:#}");
        assert!(report["objects_compared"].as_u64().unwrap() >= 1, "{report:#}");
        let programs = damaging("DROP FUNCTION tax(numeric)");
        let (report, code) =
            stored.pgkeep(server, ["drill", "--level", level]).bin_dir(programs.path()).json_with_code();
        assert_eq!((code, names(&report)), (4, vec![("FUNCTION", "public.tax(numeric)")]), "{report:#}");
    }
}

#[test]
fn checks_are_asked_of_all_rows_only_and_a_failing_one_names_itself_everywhere() {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("checks");
    server.psql(&db, "CREATE TABLE bookings AS SELECT n, md5(n::text) FROM generate_series(1, 900) n");
    server.psql(&db, "CREATE TABLE small AS SELECT 1 AS n");
    let check =
        "check = [{ name = 'bookings are recent', sql = 'select count(*) > 1000 from bookings', expect = 't' }]";
    let configured = Configured::new(&format!(
        "[destination.office]\ntype = 'folder'\npath = 'office'\n[job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\n\
         destinations = ['office']\ndrill = {{ level = 'sample', sample_size = '1KiB', {check} }}\n"
    ));
    let pgkeep =
        |args: &[&'static str]| configured.pgkeep(args.iter().copied()).server(server).env("SHOP_URL", server.url(&db));
    pgkeep(&["backup", "now", "shop"]).ok();
    let (report, code) = pgkeep(&["drill", "shop"]).json_with_code();
    assert_eq!(
        (code, &report["level"], &report["checks"]),
        (0, &"sample".into(), &serde_json::json!([])),
        "{report:#}"
    );
    assert!(
        not_compared(&report).contains("not asked, for a sample may lack the rows for them: \"bookings are recent\"")
    );
    for level in ["restore", "prove"] {
        let outcome = pgkeep(&["drill", "shop", "--level", level]).fails(4);
        assert!(outcome.stdout.contains("bookings are recent: FAILED: expected \"t\", found \"f\""), "{outcome}");
        assert!(outcome.stderr.contains("check \"bookings are recent\" found f instead of t"), "{outcome}");
    }
    let status = pgkeep(&["status", "--check"]).fails(4);
    assert!(status.stdout.contains("failed: check \"bookings are recent\" found f instead of t"), "{status}");
    let status = pgkeep(&["status"]).json();
    assert_eq!(status["jobs"][0]["databases"][0]["last_drill_level"], "prove", "{status:#}");
}

#[test]
fn roles_and_tablespaces_of_the_dump_are_made_in_the_throwaway_server() {
    let server = Postgres::start(MAJOR);
    server.psql("postgres", "CREATE ROLE ana; CREATE ROLE \"the 'readers\" NOLOGIN");
    // Within the data folder, which spares a folder of the server's user.
    server.psql("postgres", "SET allow_in_place_tablespaces = on; CREATE TABLESPACE \"fast disk\" LOCATION ''");
    let db = server.create_db("placed");
    server.psql(
        &db,
        "CREATE TABLE t (id integer PRIMARY KEY USING INDEX TABLESPACE \"fast disk\") TABLESPACE \"fast disk\";
         INSERT INTO t SELECT generate_series(1, 300);
         CREATE TABLE big (id integer, pad text) TABLESPACE \"fast disk\";
         INSERT INTO big SELECT n, md5(n::text) FROM generate_series(1, 2000) n;
         CREATE INDEX big_by_id ON big (id) TABLESPACE \"fast disk\";
         CREATE TABLE plain (id integer); CREATE INDEX plain_by_id ON plain (id);
         ALTER TABLE t OWNER TO ana; GRANT SELECT ON t TO \"the 'readers\"",
    );
    let stored = Stored::of(&server, &db);
    for level in ["restore", "sample", "prove"] {
        let drill = stored.pgkeep(&server, ["drill", "--level", level, "--sample-size", "4KiB"]);
        // `--sample-size` goes with the level sample only.
        let drill = if level == "sample" { drill } else { stored.pgkeep(&server, ["drill", "--level", level]) };
        let (report, code) = drill.json_with_code();
        assert_eq!((code, &report["result"]), (0, &"passed".into()), "{level}: {report:#}");
    }
    let programs = fake_bin_dir(
        server.bin_dir(),
        [(
            "pg_dump",
            r#"case "$PGDATABASE" in drill)
            "${REAL%pg_dump}psql" -X -q -v ON_ERROR_STOP=1 -c 'ALTER INDEX big_by_id SET TABLESPACE pg_default' >&2 || exit 97 ;;
          esac
          exec "$REAL" "$@""#,
        )],
    );
    let (report, code) = stored.pgkeep(&server, ["drill"]).bin_dir(programs.path()).json_with_code();
    assert_eq!((code, names(&report)), (4, vec![("INDEX", "public.big_by_id")]), "{report:#}");
}
