//! Restores onto other servers: other major versions, other roles, fewer rights, no such tablespace or locale. Every
//! adaptation is told, and the proof holds with it.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::BTreeSet;

use crate::support::{Forged, MAJORS, Outcome, Pgkeep, Postgres, Stored, bin_dir};
use pgkeep::restore::SETTINGS_WRITTEN;
use pgkeep::script::identifier;
use serde_json::{Value, json};

/// Restores as a new database called `moved`; the proof must pass. Gives the adaptations.
#[track_caller]
fn moved<'a>(stored: &Stored, server: &Postgres, args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let run = stored.pgkeep(server, ["restore", "latest", "--into", "moved"]).bin_dir(&bin_dir("18"));
    let (answer, code) = run.args(args).json_with_code();
    assert_eq!((code, &answer["proof"], &answer["differences"]), (0, &json!("passed"), &json!([])), "{answer:#}");
    told(&answer)
}

fn told(answer: &Value) -> Vec<String> {
    answer["adaptations"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn tells(told: &[String], what: &[&str]) {
    for what in what {
        assert!(told.iter().any(|one| one.contains(what)), "{what:?} is not told: {told:#?}");
    }
}

#[track_caller]
fn says(outcome: &Outcome, what: &[&str]) {
    for what in what {
        assert!(outcome.stderr.contains(what), "{what:?} is not said: {outcome}");
    }
}

fn hard(server: &Postgres) -> String {
    let db = server.create_db("hard");
    server.load_sql(&db, "hard.sql");
    db
}

/// Number of rows of each table, as the server counts them.
fn counted(server: &Postgres, db: &str) -> String {
    let tables = "SELECT format('SELECT %L, count(*) FROM ONLY %I.%I', c.oid::regclass, n.nspname, c.relname)
                  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.oid >= 16384
                  ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\" \\gexec";
    server.psql(db, tables)
}

fn hard_moves(from: u32, to: u32) {
    let (source, target) = (Postgres::shared(from), Postgres::start(to));
    let db = hard(source);
    let stored = Stored::of(source, &db);
    let lacking = stored.pgkeep(&target, ["restore", "latest", "--into", "moved"]).bin_dir(&bin_dir("18")).fails(1);
    says(
        &lacking,
        &["lacks roles", "hard_owner", "Hard \"Quoted\" Role", "CREATE ROLE \"hard;--role\"", "--create-roles"],
    );
    assert_eq!(
        target.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname !~ '^(postgres|template.)$'"),
        "0"
    );
    let told = moved(&stored, &target, ["--create-roles"]);
    tells(&told, &["role created: CREATE ROLE \"hard_owner\";", "GRANT \"hard_owner\" TO \"hard_reader\""]);
    assert!(told.iter().all(|one| one.starts_with("role ")), "{told:#?}");
    assert_eq!(counted(&target, "moved"), counted(source, &db));
}

#[test]
fn the_hard_schema_moves_from_14_to_18() {
    hard_moves(14, 18);
}

#[test]
fn the_hard_schema_moves_from_15_to_17() {
    hard_moves(15, 17);
}

#[test]
fn a_dump_of_18_moves_to_15_without_what_that_does_not_know() {
    let (source, target) = (Postgres::start(18), Postgres::start(15));
    let db = source.create_db("shop");
    source.psql(
        "postgres",
        &format!(
            "CREATE ROLE owner_of_all LOGIN PASSWORD 'secret'; CREATE ROLE reader; CREATE ROLE cleaner; GRANT reader TO cleaner WITH INHERIT FALSE;
             ALTER DATABASE {db} OWNER TO owner_of_all; ALTER DATABASE {db} SET transaction_timeout = '1h';
             ALTER DATABASE {db} SET work_mem = '9MB'; ALTER ROLE reader IN DATABASE {db} SET app.name = 'x'"
        ),
    );
    source.psql(
        &db,
        "CREATE TABLE t (id int PRIMARY KEY, name text NOT NULL, twice int GENERATED ALWAYS AS (id * 2) STORED);
         INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 500) n; ALTER TABLE t OWNER TO owner_of_all;
         CREATE TABLE u (id int REFERENCES t, v jsonb); INSERT INTO u SELECT n, '{}' FROM generate_series(1, 500) n;
         GRANT SELECT, MAINTAIN ON t TO reader; GRANT MAINTAIN ON u TO cleaner; GRANT ALL ON u TO reader;
         ALTER DEFAULT PRIVILEGES GRANT MAINTAIN, INSERT ON TABLES TO cleaner;
         CREATE VIEW v AS SELECT * FROM t; CREATE SEQUENCE s; SELECT nextval('s');
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t TO reader, cleaner USING (id > 3);
         SELECT lo_from_bytea(0, 'a photo') \\g /dev/null
         CREATE PUBLICATION p FOR TABLE t",
    );
    let stored = Stored::of(&source, &db);
    let told = moved(&stored, &target, ["--create-roles"]);
    tells(
        &told,
        &[
            "the database's setting transaction_timeout",
            "SET transaction_timeout",
            "the privilege MAINTAIN in",
            "role created, without its password: CREATE ROLE \"owner_of_all\" LOGIN;",
            "role granted: GRANT \"reader\" TO \"cleaner\";",
        ],
    );
    assert!(!told.join("\n").contains("secret"), "{told:#?}");
    assert_eq!(counted(&target, "moved"), counted(&source, &db));
    assert_eq!(target.psql("moved", "SHOW work_mem"), "9MB");
    assert_eq!(target.psql("moved", "SELECT has_table_privilege('reader', 't', 'select')"), "t");
    let owners = "SELECT tableowner FROM pg_tables WHERE tablename = 't'";
    assert_eq!(target.psql("moved", owners), "owner_of_all");
    assert_eq!(
        target
            .psql("postgres", "SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = 'owner_of_all'"),
        "t|t"
    );
}

#[test]
fn what_every_pg_dump_sets_is_known_to_be_left_out_where_it_must() {
    for major in MAJORS {
        let server = Postgres::shared(major);
        let db = server.create_db("settings");
        server.psql(&db, "CREATE TABLE t (id int PRIMARY KEY); CREATE MATERIALIZED VIEW m AS SELECT * FROM t");
        let dump = String::from_utf8(server.pg_dump(&db, ["--create"])).unwrap();
        let settings = dump.lines().filter_map(|line| line.strip_prefix("SET ")?.split_once(" = "));
        let names: BTreeSet<&str> = settings.map(|(name, _)| name).collect();
        assert!(names.len() >= 11, "{names:?}");
        let strange: Vec<_> = names.into_iter().filter(|name| !SETTINGS_WRITTEN.contains(name)).collect();
        assert!(strange.is_empty(), "pg_dump {major} sets {strange:?}");
    }
}

#[test]
fn names_are_quoted_at_least_where_every_server_quotes_them() {
    for major in MAJORS {
        let words = Postgres::shared(major).psql("postgres", "SELECT word, quote_ident(word) FROM pg_get_keywords()");
        for (word, quoted) in words.lines().filter_map(|line| line.split_once('|')) {
            let ours = identifier(word);
            assert!(ours == quoted || (ours == format!("\"{word}\"") && quoted == word), "{major}: {word} as {ours}");
        }
    }
}

#[test]
fn every_role_of_the_hard_schema_is_mapped_and_the_proof_compares_with_the_mapping() {
    let (source, target) = (Postgres::shared(17), Postgres::start(17));
    let db = hard(source);
    let stored = Stored::of(source, &db);
    let roles: Vec<String> =
        stored.manifest()["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap().to_owned()).collect();
    let odd = ["plain", "User", "o'dd \"one\"", "select", "ñ 💶", "a;b--", "x=y", "eight"];
    let mut args = vec!["--create-roles".to_owned()];
    let mapped = roles.iter().filter(|role| *role != "postgres").zip(odd);
    for (old, new) in mapped.clone() {
        args.extend(["--role".to_owned(), format!("{}={new}", old.replace('=', "\\="))]);
    }
    assert!(args.len() >= 13, "{args:?}");
    let told = moved(&stored, &target, args.iter().map(String::as_str));
    for (old, new) in mapped {
        let exists = |role: &str| {
            target.psql("postgres", &format!("SELECT count(*) FROM pg_roles WHERE rolname = $x${role}$x$")) == "1"
        };
        assert!(exists(new) && !exists(old), "{old} {new}");
        tells(&told, &[&format!("role {old} is {new} here")]);
    }
    assert_eq!(counted(&target, "moved"), counted(source, &db));

    // A grant that is missing is found in spite of the mapping.
    let pg_dump = "case \"$1\" in --version) exec \"$REAL\" \"$@\";; esac\n\"$REAL\" \"$@\" | grep -v 'GRANT .* ON TYPE hard.mood'";
    let bin = crate::support::fake_bin_dir(target.bin_dir(), [("pg_dump", pg_dump)]);
    let run = stored.pgkeep(&target, ["restore", "latest", "--into", "again"]).bin_dir(bin.path()).args(&args);
    let (answer, code) = run.json_with_code();
    assert_eq!((code, answer["differences"].as_array().unwrap().len()), (4, 1), "{answer:#}");
    assert_eq!(answer["differences"][0]["name"], "hard.TYPE mood", "{answer:#}");
}

#[test]
fn two_roles_that_become_one_are_restored_and_it_is_said_what_was_not_compared() {
    let server = Postgres::start(16);
    server.psql("postgres", "CREATE ROLE a; CREATE ROLE b; CREATE ROLE one");
    let db = server.create_db("shop");
    server.psql(
        &db,
        "CREATE TABLE t (id int); ALTER TABLE t OWNER TO a; GRANT SELECT ON t TO b; CREATE TABLE u (id int); ALTER TABLE u OWNER TO b;
         CREATE POLICY p ON t TO a, b USING (id > 0)",
    );
    let stored = Stored::of(&server, &db);
    let run = stored.pgkeep(&server, ["restore", "latest", "--into", "moved", "--role", "a=one", "--role", "b=one"]);
    let (answer, code) = run.json_with_code();
    assert_eq!((code, &answer["proof"]), (0, &json!("passed")), "{answer:#}");
    assert!(answer["notes"].to_string().contains("privileges were not compared"), "{answer:#}");
    let owners = "SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.psql("moved", owners), "one");
    assert_eq!(server.psql("moved", "SELECT roles FROM pg_policies"), "{one}");
    says(
        &stored.pgkeep(&server, ["restore", "latest", "--into", "x", "--role", "zoe=one"]).fails(2),
        &["names no role zoe"],
    );
}

/// A restore as a role that may create databases and nothing else.
fn as_restorer(stored: &Forged, server: &Postgres, into: &str) -> Pgkeep {
    let url = server.url_as("restorer", "postgres");
    stored.pgkeep(&["restore", "latest", "--database-url", &url, "--into", into]).server(server)
}

#[test]
fn a_role_that_may_only_create_databases_is_told_the_options_with_which_it_restores() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE ROLE app; CREATE ROLE restorer LOGIN CREATEDB");
    let db = server.create_db("owned");
    server.psql(
        &db,
        "CREATE EXTENSION citext; CREATE EXTENSION file_fdw; COMMENT ON EXTENSION citext IS 'ours';
         CREATE TABLE t (id int PRIMARY KEY, name citext); INSERT INTO t SELECT n, 'x' || n FROM generate_series(1, 300) n;
         ALTER TABLE t OWNER TO app; CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER watch ON sql_drop EXECUTE FUNCTION f(); COMMENT ON EVENT TRIGGER watch IS 'w';
         ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT SELECT ON TABLES TO restorer",
    );
    let stored = Forged::back_up(&server, &db);
    let before = server.psql("postgres", "SELECT string_agg(datname, ' ') FROM pg_database");
    let outcome = as_restorer(&stored, &server, "mine").fails(1);
    says(
        &outcome,
        &["restorer, which is no superuser", "extension file_fdw needs a superuser", "objects of app", "event trigger"],
    );
    assert_eq!(server.psql("postgres", "SELECT string_agg(datname, ' ') FROM pg_database"), before);
    // The options as they are told, through a shell's eyes.
    let hint = outcome.stderr.lines().last().unwrap();
    let options = hint.strip_prefix("hint: add ").and_then(|rest| rest.split_once(", or restore")).unwrap().0;
    let options: Vec<String> = shell_words(options);
    for option in ["--no-owner", "--no-privileges", "event-trigger", "extension:file_fdw"] {
        assert!(options.iter().any(|word| word == option), "{option}: {options:?}");
    }
    let (answer, code) = as_restorer(&stored, &server, "mine").args(&options).json_with_code();
    assert_eq!((code, &answer["proof"], &answer["differences"]), (0, &json!("passed"), &json!([])), "{answer:#}");
    tells(&told(&answer), &["EVENT TRIGGER watch", "EXTENSION file_fdw", "owners left out"]);
    assert_eq!(server.psql("mine", "SELECT count(*) FROM t"), "300");
    assert_eq!(server.psql("mine", "SELECT tableowner FROM pg_tables WHERE tablename = 't'"), "restorer");
    assert_eq!(server.psql("mine", "SELECT count(*) FROM pg_event_trigger"), "0");
    // Where a service runs the server, its roles may do more than their attributes tell: it is tried.
    server.psql("postgres", "CREATE ROLE rds_superuser");
    let outcome = as_restorer(&stored, &server, "yours").fails(1);
    says(&outcome, &["this server may refuse", "--without event-trigger", "comment:EXTENSION citext", "loading into"]);
    says(&outcome, &["at EXTENSION file_fdw", "--without 'extension:file_fdw'"]);
}

/// The words of a line in which single quotes may stand.
fn shell_words(line: &str) -> Vec<String> {
    let output =
        std::process::Command::new("/bin/sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn roles_are_created_as_the_globals_describe_them_as_far_as_the_creator_may() {
    let (source, target) = (Postgres::start(17), Postgres::start(15));
    source.psql(
        "postgres",
        "CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'canary'; CREATE ROLE app LOGIN CREATEDB NOINHERIT CONNECTION LIMIT 7; CREATE ROLE grp;
         GRANT grp TO app WITH ADMIN OPTION",
    );
    let db = source.create_db("owned");
    source.psql(&db, "CREATE TABLE t (id int); ALTER TABLE t OWNER TO app; GRANT SELECT ON t TO grp, boss");
    let stored = Forged::back_up(&source, &db);
    target.psql("postgres", "CREATE ROLE restorer LOGIN CREATEDB CREATEROLE");
    let run = as_restorer(&stored, &target, "mine").args(["--create-roles", "--role", "postgres=restorer"]);
    let outcome = run.bin_dir(&bin_dir("18")).args(["--no-privileges"]).run();
    let roles = "SELECT rolname, rolsuper, rolcanlogin, rolcreatedb, rolinherit, rolconnlimit FROM pg_roles \
                 WHERE rolname IN ('boss', 'app', 'grp') ORDER BY 1";
    let found = target.psql("postgres", roles);
    assert_eq!(found, "app|f|t|t|f|7\nboss|f|t|f|t|-1\ngrp|f|f|f|t|-1", "{outcome}");
    assert_eq!(target.psql("postgres", "SELECT count(*) FROM pg_authid WHERE rolpassword IS NOT NULL"), "0");
    let member = "SELECT admin_option FROM pg_auth_members WHERE roleid = 'grp'::regrole AND member = 'app'::regrole";
    assert_eq!(target.psql("postgres", member), "t");
    assert!(!format!("{outcome}").contains("canary"), "{outcome}");
    let again = Postgres::start(18);
    let run = stored.restore(&again, "moved").args(["--create-roles"]).bin_dir(&bin_dir("18"));
    let (answer, code) = run.json_with_code();
    assert_eq!((code, &answer["proof"]), (0, &json!("passed")), "{answer:#}");
    assert_eq!(again.psql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'boss'"), "t");
}

#[test]
fn tablespaces_that_the_target_lacks_or_nobody_wants_are_left_out() {
    let source = Postgres::start_with(17, &["allow_in_place_tablespaces=on"]);
    source.psql("postgres", "CREATE TABLESPACE \"Fast one\" LOCATION ''");
    let db = source.create_db("spaced");
    source.psql(
        &db,
        "CREATE TABLE t (id int PRIMARY KEY USING INDEX TABLESPACE \"Fast one\") TABLESPACE \"Fast one\"; CREATE TABLE u (id int);
         INSERT INTO t SELECT generate_series(1, 50); CREATE INDEX i ON u (id) TABLESPACE \"Fast one\"",
    );
    let stored = Stored::of(&source, &db);
    let spaced = "SELECT count(*) FROM pg_class WHERE reltablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'Fast one')";
    let target = Postgres::start(17);
    tells(&moved(&stored, &target, []), &["tablespace Fast one: the database's default"]);
    assert_eq!(moved(&stored, &source, []), Vec::<String>::new());
    assert_eq!(source.psql("moved", spaced), "3");
    source.psql("postgres", "DROP DATABASE moved");
    tells(&moved(&stored, &source, ["--no-tablespaces"]), &["tablespace Fast one"]);
    assert_eq!(source.psql("moved", spaced), "0");
}

#[test]
fn a_locale_that_the_target_lacks_is_said_before_loading_and_another_can_be_chosen() {
    let server = Postgres::start(17);
    let db = server.create_db("shop");
    server.psql(&db, "CREATE TABLE t AS SELECT 'ñ'::text AS a");
    let stored = Forged::back_up(&server, &db);
    let before = server.psql("postgres", "SELECT string_agg(datname, ' ') FROM pg_database");
    stored.change_manifest(|m| {
        "tlh_QO.UTF-8".clone_into(&mut m.properties.collate);
        "tlh_QO.UTF-8".clone_into(&mut m.properties.ctype);
    });
    says(&stored.restore(&server, "moved").fails(1), &["locale tlh_QO.UTF-8", "--locale C.UTF-8"]);
    assert_eq!(server.psql("postgres", "SELECT string_agg(datname, ' ') FROM pg_database"), before);
    let (answer, code) = stored.restore(&server, "moved").args(["--locale", "C"]).json_with_code();
    assert_eq!((code, &answer["proof"]), (0, &json!("passed")), "{answer:#}");
    tells(&told(&answer), &["locale C instead of tlh_QO.UTF-8"]);
    assert_eq!(server.psql("postgres", "SELECT datcollate FROM pg_database WHERE datname = 'moved'"), "C");
    stored.change_manifest(|m| {
        "builtin".clone_into(&mut m.properties.locale_provider);
        m.properties.locale = Some("C.UTF-8".to_owned());
    });
    let older = Postgres::shared(16);
    says(
        &stored.restore(older, "nowhere").bin_dir(&bin_dir("18")).fails(1),
        &["locale C.UTF-8 (builtin)", "PostgreSQL 17"],
    );
}
