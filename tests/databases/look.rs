//! `backup show --objects` and `backup diff`: what two backups say without any database, checked against what was done to
//! the database between them.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Postgres, Stored, backup_dirs, pgkeep};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Backs up `db` once more, into the folder of `stored`.
fn again<'a>(server: &Postgres, db: &str, stored: &Stored, args: impl IntoIterator<Item = &'a str>) -> String {
    let now = pgkeep().server(server).env("DATABASE_URL", server.url(db)).args(["backup", "now", "--to"]);
    let answer = now.arg(stored.path()).args(args).json();
    answer["backups"][0]["id"].as_str().unwrap().to_owned()
}

fn first(stored: &Stored) -> String {
    stored.manifest()["id"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<String> {
    let name = |one: &Value| match &one["table"] {
        Value::Null => format!("{} {}", one["kind"].as_str().unwrap(), one["name"].as_str().unwrap()),
        _ => one["name"].as_str().unwrap().to_owned(),
    };
    list.as_array().unwrap().iter().map(name).collect()
}

const BEFORE: &str = "
    CREATE TABLE longer AS SELECT n FROM generate_series(1, 1000) n;
    CREATE TABLE other AS SELECT n FROM generate_series(1, 50) n;
    CREATE TABLE wider (a int); INSERT INTO wider VALUES (1);
    CREATE TABLE given (a int); CREATE TABLE gone (a int); INSERT INTO gone VALUES (1);
    CREATE TABLE same AS SELECT n, 'x' || n AS t FROM generate_series(1, 500) n;
    CREATE SEQUENCE counter; SELECT setval('counter', 5) \\g /dev/null
    CREATE VIEW v AS SELECT 1 AS one; CREATE INDEX i ON same (n); CREATE INDEX j ON same (n);
    CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';";

const AFTER: &str = "
    INSERT INTO longer SELECT n FROM generate_series(1, 10) n;
    UPDATE other SET n = 1000 WHERE n = 7;
    ALTER TABLE wider ADD b int; DROP TABLE gone;
    CREATE TABLE new AS SELECT 1 AS a; COMMENT ON TABLE new IS 'new'; GRANT SELECT ON new TO pg_monitor;
    ALTER TABLE given OWNER TO pg_monitor;
    SELECT setval('counter', 9) \\g /dev/null
    CREATE OR REPLACE VIEW v AS SELECT 1 AS one, 2 AS two; DROP INDEX i; CREATE INDEX k ON same (t);
    GRANT SELECT ON same TO pg_monitor;
    CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2';";

#[test]
fn each_change_between_two_backups_is_found_and_nothing_else() {
    let server = Postgres::shared(17);
    let db = server.create_db("diff");
    server.psql(&db, BEFORE);
    let stored = Stored::of(server, &db);
    let a = first(&stored);
    server.psql(&db, AFTER);
    server.psql("postgres", &format!("ALTER DATABASE {db} SET work_mem = '7MB'"));
    // In slices, which are no difference.
    let b = again(server, &db, &stored, ["--jobs", "2"]);

    // No server, and no programs to reach one.
    let look = |args: &[&str]| {
        let command = pgkeep().env("PGKEEP_BIN_DIR", "/nowhere").args(["backup", "diff", &a, &b, "--at"]);
        command.arg(stored.path()).args(args)
    };
    let (diff, code) = look(&[]).json_with_code();
    assert_eq!((code, &diff["a"], &diff["b"]), (0, &json!(a), &json!(b)), "{diff:#}");
    assert_eq!(names(&diff["tables"]["added"]), ["public.new"]);
    assert_eq!(names(&diff["tables"]["removed"]), ["public.gone"]);
    let changed = diff["tables"]["changed"].as_array().unwrap();
    let told: Vec<_> =
        changed.iter().map(|one| json!([one["name"], one["changes"], one["rows_before"], one["rows_after"]])).collect();
    assert_eq!(
        told,
        [
            json!(["public.given", ["owner"], 0, 0]),
            json!(["public.longer", ["rows"], 1000, 1010]),
            json!(["public.other", ["contents"], 50, 50]),
            json!(["public.wider", ["columns", "definition"], 1, 1]),
        ],
        "{diff:#}"
    );
    assert_eq!((&changed[0]["owner_before"], &changed[0]["owner_after"]), (&json!("postgres"), &json!("pg_monitor")));
    assert_eq!(names(&diff["objects"]["added"]), ["INDEX k"]);
    assert_eq!(names(&diff["objects"]["removed"]), ["INDEX i"]);
    let objects = diff["objects"]["changed"].as_array().unwrap();
    let told: Vec<_> = objects.iter().map(|one| json!([one["kind"], one["name"], one["changes"]])).collect();
    assert_eq!(
        told,
        [
            json!(["ACL", "TABLE same", ["privileges"]]),
            json!(["DATABASE", "settings", ["property"]]),
            json!(["FUNCTION", "f()", ["definition"]]),
            json!(["SEQUENCE", "counter", ["value"]]),
            json!(["VIEW", "v", ["definition"]]),
        ],
        "{diff:#}"
    );
    assert_eq!((&objects[3]["before"], &objects[3]["after"]), (&json!("5, true"), &json!("9, true")));
    assert_eq!(diff["same"], 2, "the table called same, and an index: {diff:#}");

    let text = look(&[]).ok().stdout;
    for line in ["rows: 1000 -> 1010", "50 rows, other contents", "owner: postgres -> pg_monitor", "columns: +b"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    look(&["--exit-code"]).fails(4);
    look(&["--exit-code", "--tables", "same"]).ok();
    let (only, _) = look(&["--tables", "public.l*"]).json_with_code();
    assert_eq!(
        (names(&only["tables"]["changed"]), names(&only["objects"]["changed"])),
        (vec!["public.longer".into()], vec![])
    );
    let (only, _) = look(&["--objects"]).json_with_code();
    assert_eq!(
        (only["tables"]["changed"].as_array().unwrap().len(), only["objects"].clone()),
        (0, diff["objects"].clone())
    );
}

#[test]
fn a_restored_database_differs_in_nothing_but_the_order_of_inherited_columns() {
    let server = Postgres::shared(18);
    let db = server.create_db("hard");
    for script in ["hard.sql", "large.sql"] {
        server.load_sql(&db, script);
    }
    let stored = Stored::of(server, &db);
    let (restored, a) = (server.create_db("restored"), first(&stored));
    stored.pgkeep(server, ["restore", "latest", "--into", &restored]).ok();
    let b = again(server, &restored, &stored, ["--jobs", "3"]);
    let (diff, code) = stored.pgkeep(server, ["backup", "diff", &a, &b, "--exit-code"]).json_with_code();
    assert_eq!(code, 0, "{diff:#}");
    assert!(
        diff["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("late_child")),
        "{diff:#}"
    );
    assert!(diff["same"].as_u64().unwrap() > 100, "{diff:#}");
}

#[test]
fn other_majors_are_compared_by_name_and_that_is_said() {
    let (old, new) = (Postgres::shared(14), Postgres::shared(18));
    let (a, b) = (old.create_db("old"), new.create_db("new"));
    for (server, db) in [(old, &a), (new, &b)] {
        server.psql(
            db,
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT a FROM t WHERE a > 0;",
        );
    }
    let stored = Stored::of(old, &a);
    let first = first(&stored);
    let id = again(new, &b, &stored, []);
    let (diff, code) = stored.pgkeep(new, ["backup", "diff", &first, &id, "--tables", "--exit-code"]).json_with_code();
    assert_eq!(code, 0, "{diff:#}");
    assert!(diff["notes"].to_string().contains("compared by name"), "{diff:#}");
    assert_eq!(diff["same"], 1);
}

#[test]
fn every_object_is_listed_once_with_what_its_rows_take() {
    let server = Postgres::shared(16);
    let db = server.create_db("objects");
    server.load_sql(&db, "large.sql");
    let stored = Stored::with(server, &db, ["--jobs", "3"]);
    let show = |args: &[&str]| {
        let command = pgkeep().env("PGKEEP_BIN_DIR", "/nowhere").args(["backup", "show", "latest", "--at"]);
        command.arg(stored.path()).arg("--objects").args(args)
    };
    let shown = show(&[]).json();
    assert_eq!(shown["backup"], stored.manifest()["id"]);
    let objects = shown["objects"].as_array().unwrap();
    let key = |one: &Value| [&one["kind"], &one["schema"], &one["name"]].map(Value::to_string).concat();
    let listed: BTreeSet<String> = objects.iter().map(key).collect();
    assert_eq!(listed.len(), objects.len(), "none twice");
    // All that the index has, but for what fills others.
    let entries = stored.entries();
    let defined: BTreeSet<String> = entries
        .iter()
        .filter(|entry| !["TABLE DATA", "SEQUENCE SET"].contains(&entry["kind"].as_str().unwrap()))
        .map(key)
        .collect();
    assert_eq!(listed, defined);

    let manifest = stored.manifest();
    let sum = |field: &str| objects.iter().filter_map(|one| one[field].as_u64()).sum::<u64>();
    assert_eq!(sum("rows"), manifest["rows"].as_u64().unwrap());
    let (sql, stored_bytes) = (manifest["sql_bytes"].as_u64().unwrap(), manifest["stored_bytes"].as_u64().unwrap());
    assert!(sum("sql_bytes") < sql && sum("sql_bytes") > sql / 2, "{} of {sql}", sum("sql_bytes"));
    assert!(sum("stored_bytes_estimate") < stored_bytes && sum("stored_bytes_estimate") > stored_bytes / 3);
    let big = objects.iter().find(|one| one["name"] == "big").unwrap();
    let by_server = server.psql(
        &db,
        "SELECT (SELECT count(*) FROM big), count(*) FROM information_schema.columns WHERE table_name = 'big'",
    );
    assert_eq!(format!("{}|{}", big["rows"], big["columns"]), by_server);
    assert_eq!(big["fingerprint"].as_str().unwrap().len(), 32);

    let text = show(&[]).ok().stdout;
    assert!(text.lines().filter(|line| line.starts_with("  public.big  ")).count() == 1, "{text}");
    let some = show(&["b*"]).json();
    let some = some["objects"].as_array().unwrap();
    assert!(!some.is_empty() && some.len() < objects.len());
    assert!(some.iter().all(|one| one["name"].as_str().unwrap().starts_with('b')), "{some:#?}");
    assert_eq!(backup_dirs(stored.path()).len(), 1);
}
