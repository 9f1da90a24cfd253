//! Databases that are not UTF-8, are called strangely, or have settings, owners and privileges of their own; and roles that
//! may do little (faults 10, 13, 15, 16): all of it is backed up, comes back, and is compared.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Postgres, Stored, assert_same_dump, each_major, pgkeep};
use serde_json::json;

/// Backs up, compares the bytes with pg_dump's, drills, and restores beside it with the proof; gives the new database.
#[track_caller]
fn comes_back(server: &Postgres, db: &str) -> (Stored, String) {
    let stored = Stored::of(server, db);
    assert_same_dump(&server.pg_dump(db, []), &stored.gunzip());
    let (report, code) = stored.pgkeep(server, ["drill"]).json_with_code();
    assert_eq!((code, &report["result"]), (0, &json!("passed")), "{report:#}");
    let new = format!("{}_back", db.chars().filter(char::is_ascii_alphanumeric).collect::<String>());
    let (report, code) = stored.pgkeep(server, ["restore", "latest", "--into", &new]).json_with_code();
    assert_eq!((code, &report["proof"]), (0, &json!("passed")), "{report:#}");
    assert_same_dump(&server.pg_dump(db, []), &server.pg_dump(&new, []));
    (stored, new)
}

#[track_caller]
fn same_answer(server: &Postgres, (a, b): (&str, &str), query: &str) {
    assert_eq!(server.psql(a, query), server.psql(b, query), "{query}");
}

const LOCALE: &str = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database \
                      WHERE datname = current_database()";

each_major!(a_latin1_database, |major: u32| {
    let server = Postgres::shared(major);
    let db = server.create_db_with("latin", "ENCODING 'LATIN1' LOCALE 'C'");
    server.load(&db, b"SET client_encoding = 'LATIN1'; CREATE TABLE \"se\xf1or\" (\"a\xf1o\" text DEFAULT '\xbf');
        INSERT INTO \"se\xf1or\" VALUES ('\xe1\xe9\xed\xf3\xfa'), (E'\xff\\t\\\\'); COMMENT ON TABLE \"se\xf1or\" IS '\xa1';");
    let (_, new) = comes_back(server, &db);
    same_answer(server, (&db, &new), LOCALE);
});

#[test]
fn a_sql_ascii_database_with_bytes_of_no_encoding() {
    for major in [14, 18] {
        let server = Postgres::shared(major);
        let db = server.create_db_with("junk", "ENCODING 'SQL_ASCII' LOCALE 'C'");
        server.load(&db, b"CREATE TABLE junk (\"n\xff\xfe\" text); INSERT INTO junk VALUES ('\x80\xff\xc3'), ('\xf0\x9f'), ('\xe1 \xc3\xa1');
            CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''\xfe\xc0''';");
        comes_back(server, &db);
    }
}

#[test]
fn a_japanese_database() {
    let server = Postgres::shared(17);
    let db = server.create_db_with("japanese", "ENCODING 'EUC_JP' LOCALE 'C'");
    server.psql(
        &db,
        "SET client_encoding = 'UTF8'; CREATE TABLE \"予約\" (\"名前\" text);
        INSERT INTO \"予約\" VALUES ('東京'), ('ソ表\\')",
    );
    let (_, new) = comes_back(server, &db);
    same_answer(server, (&db, &new), LOCALE);
}

/// Not every build of PostgreSQL knows ICU.
fn knows_icu(server: &Postgres) -> bool {
    let probe = server.create_db("probe");
    match server.try_psql(&probe, "CREATE COLLATION probe (PROVIDER = icu, LOCALE = 'und')") {
        Ok(_) => true,
        Err(error) => {
            assert!(error.contains("ICU is not supported in this build"), "{error}");
            false
        }
    }
}

#[test]
fn icu_and_builtin_locales() {
    let provider = "SELECT datlocprovider, to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', \
                    to_jsonb(d) ->> 'daticurules' FROM pg_database d WHERE datname = current_database()";
    for (major, options) in [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'es-CO' LOCALE 'C'"),
        (16, "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&a < g' LOCALE 'C'"),
        (17, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"),
        (18, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'"),
        (18, "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn' LOCALE 'C'"),
    ] {
        let server = Postgres::shared(major);
        if options.contains("icu") && !knows_icu(server) {
            continue;
        }
        let db = server.create_db_with("locale", &format!("ENCODING 'UTF8' {options}"));
        server.psql(&db, "CREATE TABLE t (a text PRIMARY KEY); INSERT INTO t VALUES ('a'), ('B'), ('ñ'), ('g')");
        let (_, new) = comes_back(server, &db);
        same_answer(server, (&db, &new), provider);
    }
}

#[test]
fn strange_names_of_databases() {
    let server = Postgres::shared(17);
    let long = format!("{}_63_bytes", "x".repeat(35));
    for hint in
        ["it's", "say \"x\"", "two words", "line\nfeed", "a=b", "-Fc", "../../x", "💶ñ", "UPPER", "50%", "a\\b", &long]
    {
        let db = server.create_db(hint);
        server.psql(&db, "CREATE TABLE t AS SELECT generate_series(1, 9) AS a; COMMENT ON TABLE t IS 'c'");
        let (stored, _) = comes_back(server, &db);
        assert_eq!(stored.manifest()["database"], db);
        // It did not climb out of its folder, and its name is one that every file system takes.
        let inside = stored.dir().strip_prefix(stored.path()).unwrap().to_str().unwrap().to_owned();
        assert_eq!(inside.split('/').count(), 3, "{inside}");
        assert!(inside.chars().all(|c| c.is_ascii_alphanumeric() || "._-%/".contains(c)), "{inside}");
        let list = stored.pgkeep(server, ["backup", "list"]).json();
        assert_eq!(list["backups"][0]["database"], db);
    }
}

#[test]
fn a_name_of_exactly_63_bytes() {
    let server = Postgres::shared(16);
    let db = server.create_db(&"n".repeat(63 - server.create_db("").len()));
    assert_eq!(db.len(), 63);
    server.psql(&db, "CREATE TABLE t AS SELECT 1 AS a");
    let stored = Stored::of(server, &db);
    assert_eq!(stored.manifest()["database"], db);
    stored.pgkeep(server, ["drill"]).ok();
}

#[test]
fn a_database_without_standard_conforming_strings() {
    for major in [14, 18] {
        let server = Postgres::shared(major);
        let db = server.create_db("old_strings");
        server.psql(
            "postgres",
            &format!(
                "ALTER DATABASE {db} SET standard_conforming_strings = off;
            ALTER DATABASE {db} SET escape_string_warning = off; ALTER DATABASE {db} SET backslash_quote = on"
            ),
        );
        server.psql(
            &db,
            "CREATE TABLE t (a text DEFAULT 'it\\'s \\\\ ;--', b text CHECK (b <> '\\n'));
            COMMENT ON TABLE t IS 'ends in \\\\'; INSERT INTO t VALUES ('x\\\\', 'y\\ty'), ('\\\\.', '\\\\N');
            CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT \\'a\\\\\\\\b\\''",
        );
        let (_, new) = comes_back(server, &db);
        assert_eq!(server.psql(&new, "SHOW standard_conforming_strings"), "off");
    }
}

each_major!(what_belongs_to_the_database_itself, |major: u32| {
    let server = Postgres::start(major);
    server.psql("postgres", "CREATE ROLE \"the owner\"; CREATE ROLE reader; CREATE ROLE app LOGIN PASSWORD 'x'");
    let db = server.create_db("own");
    server.psql(
        "postgres",
        &format!(
            r#"
        ALTER DATABASE {db} OWNER TO "the owner";
        ALTER DATABASE {db} SET search_path = "$user", "Odd, schema", public;
        ALTER DATABASE {db} SET bytea_output = 'escape';
        ALTER DATABASE {db} SET timezone = 'America/Bogota';
        ALTER DATABASE {db} SET datestyle = 'German';
        ALTER DATABASE {db} SET custom.value = 'it''s; \ odd';
        ALTER ROLE app IN DATABASE {db} SET search_path = 'app';
        ALTER ROLE app IN DATABASE {db} SET statement_timeout = '3s';
        ALTER DATABASE {db} CONNECTION LIMIT 17;
        REVOKE ALL ON DATABASE {db} FROM PUBLIC;
        GRANT CONNECT ON DATABASE {db} TO reader WITH GRANT OPTION;
        GRANT CREATE, TEMP ON DATABASE {db} TO app;
        COMMENT ON DATABASE {db} IS E'bookings;\n it''s \\ "quoted"';"#
        ),
    );
    server.psql(
        &db,
        r"CREATE TABLE t (b bytea, at timestamptz, d date, i interval, f float8);
        INSERT INTO t VALUES ('\x00ff5c27'::bytea, '2026-11-22 02:00+00', '2026-03-04', '-1 day 3 h', 0.1::float8 / 3)",
    );
    let (_, new) = comes_back(&server, &db);
    for query in [
        "SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database \
         WHERE datname = current_database()",
        "SELECT coalesce(rolname, ''), unnest(setconfig) FROM pg_db_role_setting s LEFT JOIN pg_roles r ON \
         r.oid = setrole WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         ORDER BY 1, 2",
        "SELECT x::text FROM pg_database, unnest(datacl) x WHERE datname = current_database() ORDER BY 1",
    ] {
        same_answer(&server, (&db, &new), query);
    }
});

#[test]
fn timeouts_and_read_only_mode_of_the_role_do_not_reach_the_backup() {
    let server = Postgres::start(18);
    let db = server.create_db("slow");
    server.psql(
        &db,
        "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 400000) n;
        CREATE ROLE careful LOGIN SUPERUSER;
        ALTER ROLE careful SET statement_timeout = '250ms';
        ALTER ROLE careful SET lock_timeout = '250ms';
        ALTER ROLE careful SET transaction_timeout = '250ms';
        ALTER ROLE careful SET idle_in_transaction_session_timeout = '250ms';
        ALTER ROLE careful SET idle_session_timeout = '5s';
        ALTER ROLE careful SET default_transaction_read_only = on;",
    );
    let home = crate::support::temp_dir();
    let url = |db: &str| server.url_as("careful", db);
    let now = pgkeep().server(&server).env("DATABASE_URL", url(&db)).args(["backup", "now", "--to"]);
    now.arg(home.path()).ok();
    // A role that may only read backs up; to restore it must write.
    server.psql("postgres", "ALTER ROLE careful RESET default_transaction_read_only");
    for args in [["restore", "latest", "--into", &url("back")], ["drill", "latest", "--scratch", &url("postgres")]] {
        pgkeep().server(&server).args(args).arg("--at").arg(home.path()).ok();
    }
    assert_eq!(server.psql("back", "SELECT count(*) FROM t"), "400000");
}

#[test]
fn a_plain_role_backs_up_without_passwords_and_is_told_so() {
    for major in [14, 18] {
        let server = Postgres::start(major);
        server.psql(
            "postgres",
            "CREATE ROLE app LOGIN PASSWORD 'hunter2'; CREATE ROLE reader; CREATE DATABASE app OWNER app",
        );
        server.psql(
            "app",
            "SET ROLE app; CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 40) AS a; \
                            GRANT SELECT ON s.t TO reader",
        );
        let home = crate::support::temp_dir();
        let now = pgkeep().server(&server).env("DATABASE_URL", server.url_as("app", "app"));
        let told = now.args(["backup", "now", "--to"]).arg(home.path()).ok();
        assert!(told.stdout.contains("passwords of roles are not in the backup"), "{told}");
        let [dir] = crate::support::backup_dirs(home.path()).try_into().unwrap();
        let manifest = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["globals"], json!({ "status": "without_passwords" }));
        assert!(manifest["warnings"].to_string().contains("passwords"), "{manifest:#}");
        let globals = crate::support::shell(&server, &dir, "gunzip -c globals.sql.gz");
        assert!(globals.contains("CREATE ROLE app;") && !globals.to_lowercase().contains(" password"), "{globals}");
        let drill = pgkeep().server(&server).args(["drill", "--at"]).arg(home.path()).json();
        assert_eq!((&drill["result"], &drill["rows_compared"]), (&json!("passed"), &json!(40)), "{drill:#}");
    }
}
