//! Real dumps, scanned: what the scanner says must be what the server and pg_restore say.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{MAJORS, Postgres};
use pgkeep::script::{Scan, Scanner};
use serde_json::Value;

fn scan(script: &[u8]) -> Scan {
    let mut scanner = Scanner::default();
    script.chunks(65_521).for_each(|piece| scanner.feed(piece));
    scanner.finish()
}

/// The entries that pg_restore lists. It names large objects' content and definitions as pg_dump does, so the numbers are
/// the same; pgkeep's own entries for single large objects come on top.
fn listed(server: &Postgres, db: &str) -> usize {
    let file = crate::support::temp_dir();
    let archive = file.path().join("archive");
    server.pg_dump(db, ["-Fc", "-f", archive.to_str().unwrap()]);
    let output = server.client("pg_restore", db).arg("-l").arg(&archive).output().unwrap();
    assert!(output.status.success());
    output.stdout.split(|&b| b == b'\n').filter(|line| !line.is_empty() && line[0] != b';').count()
}

fn scan_of(server: &Postgres, db: &str) -> Scan {
    let scan = scan(&server.pg_dump(db, []));
    assert_eq!(scan.violations, [], "PostgreSQL {}", server.major());
    assert!(scan.complete, "PostgreSQL {}", server.major());
    let toc = scan.entries.iter().filter(|entry| entry.kind != "LARGE OBJECT").count();
    assert_eq!(toc, listed(server, db), "PostgreSQL {}", server.major());
    scan
}

type Table = (String, String);

/// Columns and rows of each table with data, asked of the server. Rows are unknown where an extension says which count.
fn tables(server: &Postgres, db: &str) -> BTreeMap<Table, (Vec<String>, Option<u64>)> {
    let answer = server.psql(
        db,
        "CREATE FUNCTION pg_temp.rows(s name, t name) RETURNS bigint LANGUAGE plpgsql AS $$
         DECLARE n bigint; BEGIN EXECUTE format('SELECT count(*) FROM ONLY %I.%I', s, t) INTO n; RETURN n; END $$;
         SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname,
             (SELECT coalesce(json_agg(attname ORDER BY attnum), '[]') FROM pg_attribute
              WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''),
             CASE WHEN e.objid IS NULL THEN pg_temp.rows(n.nspname, c.relname) END)), '[]')
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         LEFT JOIN pg_depend e ON e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'
         WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
         AND (e.objid IS NULL OR EXISTS (SELECT FROM pg_extension WHERE c.oid = ANY (extconfig)))",
    );
    let Value::Array(rows) = serde_json::from_str(&answer).unwrap() else { panic!("{answer}") };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // pg_dump writes the rows of a table partitioned by the hash of an enum as rows of the parent.
    let parent = |name: String| if name == "by_enum_0" { "by_enum".to_owned() } else { name };
    rows.iter()
        .map(|row| {
            let columns = row[2].as_array().unwrap().iter().map(text).collect();
            ((text(&row[0]), parent(text(&row[1]))), (columns, row[3].as_u64()))
        })
        .collect()
}

fn assert_tables(server: &Postgres, db: &str, scan: &Scan) {
    let wanted = tables(server, db);
    let data = scan.entries.iter().filter_map(|entry| entry.table);
    let found: BTreeMap<Table, _> = data.map(|t| ((t.schema, t.table), (t.columns, t.rows))).collect();
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, (columns, rows)) in wanted {
        assert_eq!(found[&name].0, columns, "columns of {name:?}");
        assert_eq!(found[&name].1, rows.unwrap_or(found[&name].1), "rows of {name:?}");
    }
    assert_eq!(scan.tables, found.len() as u64);
}

fn names(server: &Postgres, db: &str, sql: &str) -> BTreeSet<String> {
    serde_json::from_str(&server.psql(db, &format!("SELECT coalesce(json_agg(DISTINCT x), '[]') FROM ({sql}) AS q(x)")))
        .unwrap()
}

#[test]
fn the_hard_schema_is_read_as_the_server_knows_it() {
    for major in MAJORS {
        let server = Postgres::shared(major);
        let db = server.create_db("scan");
        server.load_sql(&db, "hard.sql");
        let scan = scan_of(server, &db);
        assert_tables(server, &db, &scan);

        // Every role that anything in this database depends on, and no other. `postgres` is pinned and has no record.
        let mut roles = names(
            server,
            &db,
            "SELECT rolname FROM pg_shdepend JOIN pg_roles r ON r.oid = refobjid WHERE refclassid = 'pg_authid'::regclass \
             AND deptype IN ('o', 'a', 'r') AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        );
        roles.extend(names(server, &db, "SELECT usename FROM pg_user_mappings WHERE umuser <> 0"));
        roles.insert("postgres".to_owned());
        assert_eq!(scan.roles, roles, "PostgreSQL {major}");

        let values = names(
            server,
            &db,
            "SELECT schemaname || '.' || sequencename || '=' || coalesce(last_value, start_value) || ', ' || \
             (last_value IS NOT NULL) FROM pg_sequences WHERE NOT (schemaname, sequencename) IN \
             (('hard', 'set_not_called')) AND schemaname <> 'ext'",
        );
        let found: BTreeSet<String> = scan
            .entries
            .iter()
            .filter(|entry| entry.kind == "SEQUENCE SET" && entry.name != "set_not_called")
            .filter(|entry| entry.schema.as_deref() != Some("ext"))
            .map(|entry| {
                let value = entry.value.as_deref().unwrap();
                format!("{}.{}={value}", entry.schema.as_deref().unwrap(), entry.name)
            })
            .collect();
        assert_eq!(found, values, "PostgreSQL {major}");
        let uncalled = scan.entries.iter().find(|e| e.kind == "SEQUENCE SET" && e.name == "set_not_called").unwrap();
        assert_eq!(uncalled.value.as_deref(), Some("77, false"));

        let objects: Vec<_> = scan
            .entries
            .iter()
            .filter(|entry| entry.kind == "LARGE OBJECT")
            .map(|entry| (entry.name, entry.owner.unwrap_or_else(|| "nobody".to_owned())))
            .collect();
        let wanted = [("424201", "postgres"), ("424202", "hard_owner"), ("424203", "postgres"), ("424204", "postgres")];
        let wanted = wanted.map(|(name, owner)| (name.to_owned(), owner.to_owned()));
        assert_eq!(objects, wanted, "PostgreSQL {major}");

        // Each table with parents has a digest that the order of its columns does not change; no other has.
        let children = names(
            server,
            &db,
            "SELECT n.nspname || '.' || relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid JOIN pg_namespace n \
             ON n.oid = relnamespace WHERE relkind = 'r' AND NOT relispartition",
        );
        let found: BTreeSet<String> = scan
            .entries
            .iter()
            .filter(|entry| entry.kind == "TABLE" && entry.unordered_digest.is_some())
            .map(|entry| format!("{}.{}", entry.schema.as_deref().unwrap(), entry.name))
            .collect();
        assert_eq!(found, children, "PostgreSQL {major}");
    }
}

#[test]
fn no_strict_beginning_of_a_real_dump_is_complete() {
    let server = Postgres::shared(18);
    let db = server.create_db("cut");
    server.psql(&db, "CREATE TABLE t (a text); INSERT INTO t VALUES ('x'), (E'\\\\.'); CREATE INDEX ON t (a)");
    let dump = server.pg_dump(&db, []);
    let closing = b"-- PostgreSQL database dump complete\n";
    let end = memchr::memmem::find(&dump, closing).unwrap() + closing.len();
    for length in 0..=dump.len() {
        let complete = scan(&dump[..length]).complete;
        assert!(!complete || length >= end, "complete after {length} of {} bytes", dump.len());
    }
    assert!(scan(&dump).complete);
}

/// Every byte but NUL in rows, names and comments, in databases that are not UTF-8.
#[test]
fn databases_that_are_not_utf8_are_read_byte_for_byte() {
    for major in [14, 18] {
        for encoding in ["LATIN1", "SQL_ASCII"] {
            let server = Postgres::shared(major);
            let db = server.create_db_with("bytes", &format!("ENCODING '{encoding}' LOCALE 'C'"));
            let mut script = format!("SET client_encoding = '{encoding}';\nCREATE TABLE \"t\u{1}").into_bytes();
            script.extend_from_slice(
                b"\" (a text, \"\xe9\x27\xff\x5c\" bytea DEFAULT '\\x81');\nINSERT INTO \"t\x01\" VALUES (E'",
            );
            for byte in (1..=255u8).filter(|byte| ![b'\'', b'\\'].contains(byte)) {
                script.push(byte);
            }
            script.extend_from_slice(b"\\\\.\\n'), ('\x81'), ('\x81\\'), ('\xff'';\n\\.\n');\nCOMMENT ON TABLE \"t\x01\" IS '\x81''\x9f\\'';\n\xe9';\n");
            script.extend_from_slice(
                b"CREATE FUNCTION \"f\xe9\"() RETURNS text LANGUAGE sql AS 'SELECT $$\x81\x27\x27;\xff\\$$::text';\n",
            );
            server.load(&db, &script);
            let scan = scan_of(server, &db);
            let table = scan.entries.iter().find_map(|entry| entry.table).unwrap();
            assert_eq!((table.table.as_str(), table.rows), ("t\u{1}", 4), "PostgreSQL {major} {encoding}");
            assert_eq!(table.columns, ["a", "\u{e9}'\u{ff}\\"]);
            assert!(scan.entries.iter().any(|entry| entry.name == "f\u{e9}()"));
        }
    }
}

#[test]
fn a_database_without_standard_strings_is_read_rightly() {
    for major in MAJORS {
        let server = Postgres::shared(major);
        let db = server.create_db("escapes");
        server.psql("postgres", &format!("ALTER DATABASE \"{db}\" SET standard_conforming_strings = off"));
        let script = r#"
            SET escape_string_warning = off;
            CREATE SEQUENCE "s\'; x";
            SELECT nextval(E'"s\\\'; x"');
            CREATE TABLE "t\" (a text DEFAULT E'it''s \\'';--', b bit(3) DEFAULT B'101', c bytea DEFAULT E'\\x5c27');
            INSERT INTO "t\" (a) VALUES (E'\\.'), (E'a\\\\'';\n');
            COMMENT ON TABLE "t\" IS E'ends in a backslash \\';
            COMMENT ON COLUMN "t\".a IS E'quote '' backslash \\'' both \\\\';
            CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS E'BEGIN RETURN ''\\\\;--''; END';
            CREATE FUNCTION g(a text) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT a || E'\\'';' || CASE WHEN true THEN ';' END; END;
            CREATE VIEW v AS SELECT a FROM "t\" WHERE a <> E'\\'';\n--';
            SELECT lo_from_bytea(4711, E'\\\\x00275c');
        "#;
        let script = if major < 14 { script.to_owned() } else { script.replace("SELECT lo", ";SELECT lo") };
        server.load(&db, script.as_bytes());
        let dump = server.pg_dump(&db, []);
        assert!(memchr::memmem::find(&dump, b"SET standard_conforming_strings = off;").is_some());
        let scan = scan_of(server, &db);
        assert_tables(server, &db, &scan);
        assert_eq!((scan.rows, scan.large_objects), (2, 1));
        assert!(scan.entries.iter().any(|entry| entry.value.as_deref() == Some("1, true")));
    }
}

/// psql up to 17 cannot restore this; the backup says so at once, with the name of the trouble.
#[test]
fn a_function_named_begin_is_refused_by_its_name() {
    let server = Postgres::shared(17);
    let db = server.create_db("begin");
    server.psql(&db, "CREATE FUNCTION begin() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
    let scan = scan(&server.pg_dump(&db, []));
    assert!(scan.violations[0].what.contains("BEGIN without quotes"), "{:?}", scan.violations);
}
