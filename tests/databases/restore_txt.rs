//! RESTORE.txt, executed as it is printed, with a shell, psql and what unpacks, on a server that has nothing of the source
//! (promise 5: the backup outlives the tool).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Postgres, Stored, assert_same_dump, bin_dir, dump_lines, shell};
use std::process::Command;

/// The commands of RESTORE.txt as they stand there: what is set in by four blanks, with the lines that go on behind a
/// backslash, and those of a here-document.
fn commands(stored: &Stored) -> Vec<String> {
    let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
    let mut commands: Vec<String> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("    ") else { continue };
        let mut command = command.to_owned();
        while command.ends_with('\\') {
            command = format!("{command}\n{}", lines.next().expect("a line behind a backslash"));
        }
        if command.ends_with("<<'END'") {
            for line in lines.by_ref() {
                command = format!("{command}\n{line}");
                if line == "END" {
                    break;
                }
            }
            command.push('\n');
        }
        commands.push(command);
    }
    commands
}

/// Everything about a database that people care for: roles, tables with comments, grants, a view, a function, a trigger.
const RICH: &str = r#"
    CREATE ROLE "the owner" LOGIN PASSWORD 'secret' CONNECTION LIMIT 7;
    CREATE ROLE reader;
    GRANT reader TO "the owner";
    CREATE SCHEMA "odd ""schema" AUTHORIZATION "the owner";
    CREATE TABLE "odd ""schema"."it's -a $table" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "a b" text, c bytea);
    INSERT INTO "odd ""schema"."it's -a $table" ("a b", c)
      SELECT 'row ' || n || E' \t\\ ', decode(md5(n::text), 'hex') FROM generate_series(1, 500) n;
    COMMENT ON TABLE "odd ""schema"."it's -a $table" IS 'it''s\ fine';
    CREATE VIEW v AS SELECT count(*) FROM "odd ""schema"."it's -a $table";
    GRANT SELECT ON v TO reader WITH GRANT OPTION;
    ALTER VIEW v OWNER TO "the owner";
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$;
    CREATE TRIGGER t BEFORE INSERT ON "odd ""schema"."it's -a $table" EXECUTE FUNCTION f();
    ALTER DEFAULT PRIVILEGES FOR ROLE "the owner" GRANT SELECT ON TABLES TO reader;
    SELECT lo_from_bytea(0, 'a photo') \g /dev/null
    CREATE TABLE big AS SELECT n AS id, repeat(md5(n::text), 10) AS t FROM generate_series(1, 30000) n;"#;

/// A database with those, and properties of its own, on a server of its own.
fn source(major: u32, db: &str, options: &str) -> Postgres {
    let server = Postgres::start(major);
    let name = format!("\"{}\"", db.replace('"', "\"\""));
    server.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 {options}"));
    server.psql(db, RICH);
    server.psql(
        "postgres",
        &format!(
            "ALTER DATABASE {name} SET work_mem = '7MB'; ALTER ROLE reader IN DATABASE {name} SET search_path = 'odd \"schema', '$user';
             ALTER DATABASE {name} OWNER TO \"the owner\"; ALTER DATABASE {name} CONNECTION LIMIT 42;
             COMMENT ON DATABASE {name} IS 'it''s \"the\" shop'; REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
             GRANT CONNECT, TEMP ON DATABASE {name} TO reader;"
        ),
    );
    server
}

/// Runs every command on a server that has nothing of the source, then compares dumps of both databases, their
/// properties with them, and of both servers' roles.
#[track_caller]
fn assert_restores(server: &Postgres, db: &str, stored: &Stored, in_order: bool) {
    let fresh = Postgres::start(server.major());
    let said: Vec<String> = commands(stored).iter().map(|command| shell(&fresh, &stored.dir(), command)).collect();
    assert_eq!(said.len(), 6, "{said:?}");
    assert!(said[0].lines().all(|line| line.ends_with(": OK")) && !said[0].is_empty(), "{said:?}");
    // Under its old name, for a dump with --create tells it.
    fresh.psql("postgres", &format!("ALTER DATABASE restored RENAME TO \"{}\"", db.replace('"', "\"\"")));
    let (expected, found) = (server.pg_dump(db, ["--create"]), fresh.pg_dump(db, ["--create"]));
    assert!(String::from_utf8_lossy(&expected).contains("work_mem"), "the dump tells the properties");
    if in_order {
        assert_same_dump(&expected, &found);
    } else {
        // Several sessions read it, so that rows come back in another order.
        let sorted = |dump: &[u8]| {
            let mut lines = dump_lines(dump);
            lines.sort();
            lines.join(&b'\n')
        };
        assert_same_dump(&sorted(&expected), &sorted(&found));
    }
    let roles = |server: &Postgres| {
        let output = server.client("pg_dumpall", "postgres").arg("--globals-only").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_same_dump(&roles(server), &roles(&fresh));
}

#[test]
fn a_database_with_roles_and_properties_comes_back() {
    let server = source(18, "shop", "");
    assert_restores(&server, "shop", &Stored::of(&server, "shop"), true);
}

#[test]
fn a_zstd_archive_comes_back() {
    let server = source(17, "shop", "");
    let stored = Stored::with(&server, "shop", ["--compression", "zstd:3"]);
    assert!(commands(&stored).iter().any(|command| command.starts_with("zstd -dc ")));
    assert_restores(&server, "shop", &stored, true);
}

#[test]
fn a_parallel_dump_of_several_files_comes_back() {
    let server = source(16, "shop", "");
    let stored = Stored::with(&server, "shop", ["--jobs", "3"]);
    let files = stored.manifest()["files"].as_array().unwrap().iter().filter(|file| file["kind"] == "data").count();
    assert!(files > 2, "{files} files");
    assert_restores(&server, "shop", &stored, false);
}

#[test]
fn a_database_of_an_odd_name_comes_back() {
    for db in ["-x it's \"odd\" $HOME %50 `ls`", "a=b;c"] {
        let server = source(15, db, "");
        assert_restores(&server, db, &Stored::of(&server, db), true);
        assert_restores(&server, db, &Stored::with(&server, db, ["--jobs", "2", "--compression", "zstd"]), false);
    }
}

#[test]
fn a_latin1_database_of_locale_c_comes_back() {
    let server = source(14, "viejo", "ENCODING 'LATIN1' LOCALE 'C'");
    server.psql(
        "viejo",
        "SET client_encoding = 'UTF8'; CREATE TABLE ñandú (año text); INSERT INTO ñandú VALUES ('señal ÿ');",
    );
    assert_restores(&server, "viejo", &Stored::of(&server, "viejo"), true);
}

#[test]
fn windows_has_what_restore_txt_names_instead() {
    let server = source(17, "shop", "");
    for (args, files) in [(&[][..], 1), (&["--jobs", "2"], 4)] {
        let stored = Stored::with(&server, "shop", args.iter().copied());
        let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
        assert!(text.contains("certutil -hashfile FILE SHA256") && text.contains("python -m gzip -d FILE"), "{text}");
        // The same, here: Python unpacks, one psql reads the files in their order.
        let work = crate::support::temp_dir();
        let manifest = stored.manifest();
        let names = manifest["files"].as_array().unwrap().iter().filter(|file| file["kind"] == "data");
        let mut psql = server.client("psql", "postgres");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d"]).arg(format!("restored_{files}"));
        let mut count = 0;
        for name in names.map(|file| file["name"].as_str().unwrap()) {
            std::fs::copy(stored.dir().join(name), work.path().join(name)).unwrap();
            let unpacked = Command::new("python3").args(["-m", "gzip", "-d", name]).current_dir(work.path()).status();
            assert!(unpacked.expect("python3").success());
            psql.arg("-f").arg(work.path().join(name.strip_suffix(".gz").unwrap()));
            count += 1;
        }
        assert_eq!(count, files, "{manifest:#}");
        server.psql("postgres", &format!("CREATE DATABASE restored_{files} TEMPLATE template0"));
        let output = psql.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sorted = |db: &str| {
            let mut lines = dump_lines(&server.pg_dump(db, []));
            lines.sort();
            lines
        };
        assert_eq!(sorted(&format!("restored_{files}")), sorted("shop"));
    }
}

#[test]
fn a_psql_from_before_restrict_stops_before_anything_is_loaded_and_the_text_says_so() {
    let server = source(16, "shop", "");
    let stored = Stored::of(&server, "shop");
    let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
    assert!(text.contains("before August 2025") && text.contains("\\restrict"), "{text}");
    server.psql("postgres", "CREATE DATABASE restored");
    let load = commands(&stored).into_iter().find(|command| command.starts_with("gunzip -c shop")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin_dir("16.2").display());
    let mut sh = Command::new("/bin/sh");
    sh.env_clear().env("PATH", path).envs(server.env("postgres")).env_remove("PGDATABASE");
    let output = sh.args(["-c", &load]).current_dir(stored.dir()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("\\restrict"), "{said}");
    let objects = server.psql("restored", "SELECT count(*) FROM pg_class WHERE oid >= 16384");
    assert_eq!(objects, "0");
}
