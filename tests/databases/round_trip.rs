//! The main job, end to end, on every major version: backed up, listed, shown, verified, fetched, restored and drilled; and
//! each claim checked again with what any machine has: gunzip, sha256sum, psql and pg_dump (faults 13 and 14).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::BTreeSet;

use crate::support::{Postgres, Stored, assert_same_dump, dump_lines, each_major, pgkeep};
use serde_json::{Value, json};

/// A database that holds these scripts of tests/sql.
fn database_of(server: &Postgres, scripts: &[&str]) -> String {
    let db = server.create_db("source");
    for script in scripts {
        server.load(&db, &std::fs::read(crate::support::sql(script)).unwrap());
    }
    db
}

fn hard(server: &Postgres) -> String {
    database_of(server, &["hard.sql", "wide.sql", "subscription.sql"])
}

/// A name for a database that does not exist yet.
fn new_name(server: &Postgres) -> String {
    let db = server.create_db("restored");
    server.psql("postgres", &format!("DROP DATABASE {db}"));
    db
}

/// The rows of every table that pg_dump dumps, counted by the server; an extension's tables are left to the caller.
fn counted(server: &Postgres, db: &str) -> Vec<u64> {
    let tables = "SELECT format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname)
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid >= 16384
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') \\gexec";
    server.psql(db, tables).lines().map(|line| line.parse().unwrap()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The drill must pass, and have compared everything that the manifest counts.
#[track_caller]
fn assert_drilled(stored: &Stored, server: &Postgres) {
    let manifest = stored.manifest();
    let (report, code) = stored.pgkeep(server, ["drill"]).json_with_code();
    assert_eq!((code, &report["result"], &report["differences"]), (0, &json!("passed"), &json!([])), "{report:#}");
    assert_eq!(report["tables_compared"], manifest["tables"]);
    assert_eq!(report["rows_compared"], manifest["rows"]);
    // How pg_dump groups large objects says nothing: each is compared by itself. Of the database itself there are nine.
    let grouping = ["BLOB", "BLOB METADATA", "BLOBS"];
    let entries = stored.entries();
    let single = entries.iter().filter(|entry| !grouping.contains(&entry["kind"].as_str().unwrap())).count() as u64;
    assert_eq!(number(&report["objects_compared"]), single + 9);
    let grouped = entries.len() as u64 - single;
    assert_eq!(single + grouped, number(&manifest["entries"]) + number(&manifest["large_objects"]));
    for field in ["backup", "checks", "restore_seconds", "prove_seconds"] {
        assert!(!report[field].is_null(), "{field}: {report:#}");
    }
    assert!(report["reason"].is_null(), "{report:#}");
}

/// Restores into a new database with the proof; gives its name.
fn restored(stored: &Stored, server: &Postgres) -> String {
    let (db, manifest) = (new_name(server), stored.manifest());
    let (report, code) = stored.pgkeep(server, ["restore", "latest", "--into", &db]).json_with_code();
    assert_eq!((code, &report["proof"], &report["differences"]), (0, &json!("passed"), &json!([])), "{report:#}");
    assert_eq!((&report["tables"], &report["rows"]), (&manifest["tables"], &manifest["rows"]));
    assert_eq!(report["backup"], manifest["id"]);
    assert!(report["target"].as_str().unwrap().contains(&db) && report["restore_seconds"].is_f64(), "{report:#}");
    db
}

each_major!(the_hard_schema_is_backed_up_and_drilled_with_everything_in_it, |major: u32| {
    let server = Postgres::shared(major);
    let db = hard(server);
    let stored = Stored::of(server, &db);
    let manifest = stored.manifest();
    let counts = counted(server, &db);
    let config = "SELECT (SELECT count(*) FROM config.pgkeep_settings) + (SELECT count(*) FROM config.pgkeep_rates \
                  WHERE NOT builtin)";
    let config: u64 = server.psql(&db, config).parse().unwrap();
    assert_eq!(number(&manifest["tables"]), counts.len() as u64 + 2);
    assert_eq!(number(&manifest["rows"]), counts.iter().sum::<u64>() + config);
    assert_eq!(manifest["large_objects"], 4);
    let sequences = "SELECT count(*) FROM pg_class WHERE relkind = 'S'";
    let set = stored.entries().iter().filter(|entry| entry["kind"] == "SEQUENCE SET").count();
    assert_eq!(set.to_string(), server.psql(&db, sequences));
    assert_drilled(&stored, server);
});

each_major!(the_hard_schema_is_restored_and_proved_and_pg_dump_agrees, |major: u32| {
    let server = Postgres::shared(major);
    let db = hard(server);
    let stored = Stored::of(server, &db);
    let source = server.pg_dump(&db, []);
    assert_same_dump(&source, &stored.gunzip());

    let by_hand = server.create_db("by_hand");
    server.load(&by_hand, &stored.gunzip());
    for db in [by_hand, restored(&stored, server)] {
        let set = |dump: &[u8]| dump_lines(dump).into_iter().collect::<BTreeSet<_>>();
        let (a, b) = (set(&source), set(&server.pg_dump(&db, [])));
        let text = |line: &Vec<u8>| String::from_utf8(line.clone()).unwrap();
        // The one table that became a child later has its columns in its parent's order: tests/sql/hard.sql tells.
        let gone: Vec<String> = a.difference(&b).map(text).collect();
        assert_eq!(gone, ["COPY hard.late_child (own, c, b, a) FROM stdin;", "own\t3\tl\t3", "same\t4\tsame\t4"]);
        let new: Vec<String> = b.difference(&a).map(text).collect();
        assert_eq!(new, ["3\tl\t3\town", "4\tsame\t4\tsame", "COPY hard.late_child (a, b, c, own) FROM stdin;"]);
    }
});

#[test]
fn five_thousand_tables_come_back() {
    let server = Postgres::shared(17);
    let db = database_of(server, &["many.sql"]);
    let stored = Stored::of(server, &db);
    assert_eq!(stored.manifest()["tables"], 5000);
    assert_drilled(&stored, server);
}

const SHOP: &str = "
    CREATE TABLE clients (id serial PRIMARY KEY, name text);
    CREATE TABLE bookings (id integer, client integer REFERENCES clients, at timestamptz);
    INSERT INTO clients (name) SELECT 'client ' || n FROM generate_series(1, 300) n;
    INSERT INTO bookings SELECT n, 1 + n % 300, now() FROM generate_series(1, 2000) n;
    SELECT lo_from_bytea(0, 'a photo') \\g /dev/null";

fn shop(server: &Postgres) -> String {
    let db = server.create_db("shop");
    server.psql(&db, SHOP);
    db
}

#[test]
fn backup_now_answers_what_scripts_rely_on() {
    let (server, home) = (Postgres::shared(16), crate::support::temp_dir());
    let db = shop(server);
    let now = pgkeep().server(server).env("DATABASE_URL", server.url(&db)).args(["backup", "now", "--label", "first"]);
    let (answer, code) = now.arg("--to").arg(home.path()).json_with_code();
    assert_eq!(code, 0, "{answer:#}");
    let [backup] = answer["backups"].as_array().unwrap().as_slice() else { panic!("{answer:#}") };
    assert_eq!((&backup["job"], &backup["database"]), (&json!(db), &json!(db)));
    assert_eq!((&backup["status"], &backup["label"]), (&json!("stored"), &json!("first")));
    assert_eq!((&backup["tables"], &backup["rows"], &backup["error"]), (&json!(2), &json!(2300), &Value::Null));
    let place = json!([{ "name": home.path().to_str().unwrap(), "status": "stored", "error": null }]);
    assert_eq!(backup["destinations"], place);
    let [dir] = crate::support::backup_dirs(home.path()).try_into().unwrap();
    assert_eq!(dir, home.path().join(&db).join(&db).join(backup["id"].as_str().unwrap()));
    let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    for field in ["sql_bytes", "stored_bytes"] {
        assert!(number(&backup[field]) > 0 && backup[field] == manifest[field], "{field}: {backup:#}");
    }
    assert!(backup["duration_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn list_show_and_verify_answer_what_scripts_rely_on() {
    let server = Postgres::shared(16);
    let stored = Stored::with(server, &shop(server), ["--pin", "--label", "before the migration"]);
    let manifest = stored.manifest();
    let list = || stored.pgkeep(server, ["backup", "list"]).json()["backups"][0].clone();
    let listed = list();
    for field in ["id", "job", "database", "started_at", "sql_bytes", "stored_bytes"] {
        assert!(!listed[field].is_null() && listed[field] == manifest[field], "{field}: {listed:#}");
    }
    assert_eq!((&listed["label"], &listed["pinned"]), (&json!("before the migration"), &json!(true)));
    assert_eq!(listed["destinations"], json!([stored.path().to_str().unwrap()]));
    assert!(["verified_at", "drilled_at", "drill_result"].iter().all(|field| listed[field].is_null()), "{listed:#}");

    let verified = stored.pgkeep(server, ["backup", "verify", "--all"]).json();
    let [verified] = verified["backups"].as_array().unwrap().as_slice() else { panic!("{verified:#}") };
    assert_eq!((&verified["id"], &verified["result"]), (&manifest["id"], &json!("intact")));
    assert_eq!((&verified["destination"], &verified["problems"]), (&listed["destinations"][0], &json!([])));
    stored.pgkeep(server, ["drill"]).ok();
    let listed = list();
    assert!(listed["verified_at"].is_string() && listed["drilled_at"].is_string(), "{listed:#}");
    assert_eq!(listed["drill_result"], "passed");

    let shown = stored.pgkeep(server, ["backup", "show", "latest"]).json();
    assert_eq!(shown["backup"], manifest);
    let tables = shown["tables"].as_array().unwrap();
    assert_eq!((&tables[0]["table"], &tables[0]["rows"]), (&json!("bookings"), &json!(2000)), "the largest first");
    assert_eq!((&tables[1]["schema"], &tables[1]["table"]), (&json!("public"), &json!("clients")));
}

#[test]
fn what_is_fetched_is_the_archive_byte_for_byte() {
    let server = Postgres::shared(16);
    let stored = Stored::of(server, &shop(server));
    let file = stored.path().join("fetched.sql.gz");
    let path = file.to_str().unwrap().to_owned();
    let fetched = stored.pgkeep(server, ["backup", "fetch", "latest", "-o", &path]).json();
    assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(stored.data()).unwrap());
    assert_eq!(number(&fetched["bytes"]), file.metadata().unwrap().len());
    stored.pgkeep(server, ["backup", "fetch", "latest", "-o", &path]).fails(1);
}

#[test]
fn gzip_sha256sum_and_wc_agree_with_the_manifest() {
    let server = Postgres::shared(17);
    let stored = Stored::of(server, &shop(server));
    let (manifest, dir) = (stored.manifest(), stored.dir());
    let name = stored.data().file_name().unwrap().to_str().unwrap().to_owned();
    crate::support::shell(server, &dir, &format!("gzip -t '{name}' globals.sql.gz contents.json.gz"));
    let bytes = crate::support::shell(server, &dir, &format!("zcat '{name}' | wc -c"));
    assert_eq!(bytes.trim(), manifest["sql_bytes"].to_string());
    let mut total = 0;
    for file in manifest["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        let digest = crate::support::shell(server, &dir, &format!("sha256sum '{name}'"));
        assert_eq!(digest.split(' ').next(), file["sha256"].as_str(), "{name}");
        let size = crate::support::shell(server, &dir, &format!("wc -c < '{name}'"));
        assert_eq!(size.trim(), file["bytes"].to_string(), "{name}");
        total += number(&file["bytes"]);
    }
    assert_eq!(total, number(&manifest["stored_bytes"]));
}

/// Runs the first `steps` of the six commands of RESTORE.txt in order, as they stand there: the lines that are set in.
/// Gives what each said.
fn follow_restore_txt(server: &Postgres, stored: &Stored, steps: usize) -> Vec<String> {
    let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
    let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("    ")).map(str::trim).collect();
    assert_eq!(commands.len(), 6, "{text}");
    commands[..steps].iter().map(|command| crate::support::shell(server, &stored.dir(), command)).collect()
}

each_major!(restore_txt_works_word_for_word, |major: u32| {
    // The other server has none of the roles.
    let (server, fresh) = (Postgres::shared(major), Postgres::start(major));
    let db = hard(server);
    server.psql(&db, &format!("ALTER DATABASE {db} SET work_mem = '7MB'; GRANT TEMP ON DATABASE {db} TO hard_reader"));
    let stored = Stored::of(server, &db);
    // Not the last, ANALYZE: this schema has a type for which PostgreSQL cannot gather statistics.
    let said = follow_restore_txt(&fresh, &stored, 5);
    assert!(said[0].ends_with(": OK\n"), "{said:?}");
    assert_eq!(fresh.psql("restored", "SHOW work_mem"), "7MB");
    assert_eq!(counted(&fresh, "restored").iter().sum::<u64>(), counted(server, &db).iter().sum::<u64>());
    let lines = |dump: &[u8]| dump_lines(dump).len();
    assert_eq!(lines(&fresh.pg_dump("restored", [])), lines(&server.pg_dump(&db, [])));
});

#[test]
fn restore_txt_works_for_a_database_of_an_odd_name() {
    let server = Postgres::shared(15);
    let fresh = Postgres::start(15);
    let db = server.create_db("it's \"odd\" $HOME 50%\n-x");
    server.psql(&db, SHOP);
    let stored = Stored::of(server, &db);
    follow_restore_txt(&fresh, &stored, 6);
    assert_eq!(fresh.psql("restored", "SELECT count(*) FROM bookings"), "2000");
}

#[test]
fn zstd_archives_come_back_and_zstd_reads_them() {
    let server = Postgres::shared(18);
    let db = shop(server);
    let stored = Stored::with(server, &db, ["--compression", "zstd:3"]);
    assert!(stored.data().to_str().unwrap().ends_with(".sql.zst"), "{:?}", stored.data());
    assert_drilled(&stored, server);
    let file = stored.path().join("fetched");
    stored.pgkeep(server, ["backup", "fetch", "latest", "-o", file.to_str().unwrap()]).ok();
    let unpacked = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    assert_same_dump(&server.pg_dump(&db, []), &unpacked);
    let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
    assert!(text.contains("    zstd -dc ") && !text.contains(&format!("gunzip -c {db}")), "{text}");
}
