//! Rows 37 to 45 of what must be survived, on the way back: broken, hostile and lying archives, and targets in use.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::path::Path;
use std::sync::OnceLock;

use crate::support::{Forged, Numbers, Postgres, bin_dir, tcp_port_of};
use pgkeep::catalogue::FileKind;
use pgkeep::postgres::Extension;

const SAMPLE: &str = "
    CREATE TABLE orders (id int PRIMARY KEY, what text);
    INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 3000) n;
    CREATE TABLE zones (id int PRIMARY KEY, name text);
    INSERT INTO zones VALUES (1, 'alpha'), (2, 'beta');";

/// One backup of PostgreSQL 17 that every test here copies.
fn sample() -> Forged {
    static SAMPLE_BACKUP: OnceLock<Forged> = OnceLock::new();
    let made = SAMPLE_BACKUP.get_or_init(|| {
        let server = Postgres::shared(17);
        let db = server.create_db("sample");
        server.psql(&db, SAMPLE);
        Forged::back_up(server, &db)
    });
    made.copy()
}

/// A name that no database has yet.
fn fresh(hint: &str) -> String {
    format!("{hint}_{}", std::process::id())
}

fn exists(server: &Postgres, name: &str) -> bool {
    server.psql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")) == "1"
}

/// Without the lines that differ in every dump.
fn dump(server: &Postgres, db: &str) -> String {
    let dump = String::from_utf8(server.pg_dump(db, [])).unwrap();
    dump.lines().filter(|line| !line.starts_with('\\') || *line == "\\.").collect::<Vec<_>>().join("\n")
}

#[test]
fn a_truncated_archive_never_becomes_a_database() {
    let server = Postgres::shared(17);
    let intact = sample();
    let (sql, target) = (intact.sql(), fresh("truncated"));
    let rows = memchr::memmem::find(&sql, b"order 1500\n").unwrap();
    let mut numbers = Numbers(37);
    for round in 0..20 {
        let stored = intact.copy();
        if round % 2 == 0 {
            let data = stored.file(FileKind::Data);
            let bytes = std::fs::read(&data).unwrap();
            std::fs::write(&data, &bytes[..numbers.below(bytes.len() as u64) as usize]).unwrap();
            stored.restore(server, &target).fails(4);
        } else {
            // At the end of a row, in the middle of one, and anywhere: manifest and index fit what is left.
            let end = match round {
                1 => rows + b"order 1500\n".len(),
                3 => rows + 4,
                _ => numbers.below(sql.len() as u64 - 60) as usize,
            };
            stored.forge(&sql[..end]);
            let outcome = stored.restore(server, &target).fails(4);
            assert!(outcome.stderr.contains("does not end as pg_dump ends a dump"), "cut at {end}: {outcome}");
        }
        assert!(!exists(server, &target), "round {round}");
    }
}

#[test]
fn an_error_in_the_middle_names_the_object_and_leaves_no_database() {
    let server = Postgres::start(17);
    let stored = sample();
    stored.forge_replacing("zones_pkey PRIMARY KEY (id)", b"zones_pkey PRIMARY KEY (nope)");
    let target = fresh("middle");
    let outcome = stored.restore(&server, &target).fails(1);
    assert!(outcome.stderr.contains("CONSTRAINT public.zones zones_pkey"), "{outcome}");
    assert!(outcome.stderr.contains("\"nope\""), "{outcome}");
    let ours = "SELECT datname FROM pg_database WHERE datname LIKE 'pgkeep%'";
    assert!(!exists(&server, &target) && server.psql("postgres", ours).is_empty());
    let kept = stored.restore(&server, &target).arg("--keep").fails(1);
    let name = server.psql("postgres", ours);
    assert!(kept.stderr.contains(&name) && !exists(&server, &target), "{kept}");
    assert_eq!(server.psql(&name, "SELECT count(*) FROM orders"), "3000");
    // Its pgkeep has ended, so the next restore takes it away.
    sample().restore(&server, &target).ok();
    assert!(server.psql("postgres", ours).is_empty());
}

#[test]
fn a_missing_type_is_named_with_its_table() {
    let server = Postgres::shared(17);
    let stored = sample();
    stored.forge_replacing("    what text", b"    what public.gone");
    let outcome = stored.restore(server, &fresh("no_type")).fails(1);
    assert!(outcome.stderr.contains("TABLE public.orders") && outcome.stderr.contains("public.gone"), "{outcome}");
}

#[test]
fn missing_roles_and_extensions_are_listed_before_anything_is_loaded() {
    let server = Postgres::shared(17);
    let (stored, target) = (sample(), fresh("lacking"));
    stored.change_manifest(|m| m.roles.push("nobody here".to_owned()));
    let outcome = stored.restore(server, &target).fails(1);
    assert!(outcome.stderr.contains("CREATE ROLE \"nobody here\";"), "{outcome}");
    stored.restore(server, &target).args(["--no-owner", "--no-privileges"]).ok();
    let extension = |name: &str| Extension { name: name.to_owned(), version: "1".to_owned() };
    stored.change_manifest(|m| m.extensions.extend([extension("no_such_one"), extension("nor_this")]));
    let outcome = stored.restore(server, &fresh("lacking2")).fails(1);
    assert!(outcome.stderr.contains("no_such_one, nor_this"), "{outcome}");
    let (answer, code) = stored.pgkeep(&["drill", "latest"]).server(server).json_with_code();
    assert_eq!((answer["result"].as_str(), code), (Some("could_not_run"), 5), "{answer}");
}

#[test]
fn a_target_in_use_and_the_source_itself_are_refused_and_untouched() {
    let server = Postgres::start(17);
    let source = server.create_db("source");
    server.psql(&source, SAMPLE);
    let stored = Forged::back_up(&server, &source);
    let other = server.create_db("other");
    server.psql(&other, "CREATE TABLE precious AS SELECT 1 AS a");
    let before = (dump(&server, &source), dump(&server, &other));
    let refused = |into: &str, why: &str| {
        let outcome = stored.restore(&server, into).fails(1);
        assert!(outcome.stderr.contains(why), "{into}: {outcome}");
    };
    refused(&other, "not empty");
    refused(&source, "taken from");
    refused(&server.url(&source), "taken from");
    // The same server under another name: over TCP instead of its socket.
    refused(&format!("postgres://postgres@127.0.0.1:{}/{source}", tcp_port_of(&server)), "taken from");
    assert_eq!((dump(&server, &source), dump(&server, &other)), before);
    let empty = server.create_db("empty");
    stored.restore(&server, &empty).ok();
    assert_eq!(dump(&server, &empty), before.0);
}

#[test]
fn a_swap_replaces_at_once_and_keeps_the_old_one_while_clients_reconnect() {
    let server = Postgres::shared(17);
    let (stored, live) = (sample(), server.create_db("live"));
    server.psql(&live, "CREATE TABLE zones AS SELECT 9 AS id, 'old' AS name");
    let done = std::sync::atomic::AtomicBool::new(false);
    let kept = format!("{live}_before_{}", stored.id());
    let outcome = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // Turned away for a moment is fine; anything but old or new is not.
                    if let Ok(seen) = server.try_psql(&live, "SELECT count(*) FROM zones") {
                        assert!(seen == "1" || seen == "2", "{seen}");
                    }
                }
            });
        }
        let outcome = stored.restore(server, &live).arg("--swap").run();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        outcome
    });
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains(&kept), "{outcome}");
    assert_eq!(server.psql(&live, "SELECT count(*) FROM zones"), "2");
    assert_eq!(server.psql(&kept, "SELECT name FROM zones"), "old");
    // Once more, the name for the old one is taken: said before hours of loading, and nothing is touched.
    let again = stored.restore(server, &live).arg("--swap").fails(1);
    assert!(again.stderr.contains(&kept), "{again}");
    assert_eq!(server.psql(&live, "SELECT count(*) FROM zones"), "2");
}

#[test]
fn a_swap_whose_proof_fails_replaces_nothing() {
    let server = Postgres::shared(17);
    let (stored, live) = (sample(), server.create_db("live"));
    server.psql(&live, "CREATE TABLE zones AS SELECT 9 AS id, 'old' AS name");
    // What the proof dumps differs in one value.
    let lying = r#""$REAL" "$@" | sed 's/\balpha\b/omega/'"#;
    let bin = crate::support::fake_bin_dir(
        server.bin_dir(),
        [("pg_dump", &*format!(r#"case "$1" in --version) exec "$REAL" "$@";; esac; {lying}"#))],
    );
    let outcome = stored.restore(server, &live).bin_dir(bin.path()).arg("--swap").fails(4);
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("public.zones"), "{outcome}");
    assert_eq!(server.psql(&live, "SELECT name FROM zones"), "old");
}

#[test]
fn a_swap_killed_at_any_instant_leaves_a_name_that_works() {
    let server = Postgres::start(17);
    let (stored, live) = (sample(), server.create_db("live"));
    server.psql(&live, "CREATE TABLE zones AS SELECT 9 AS id, 'old' AS name");
    let kept = format!("{live}_before_{}", stored.id());
    let begin = std::time::Instant::now();
    stored.restore(&server, &live).arg("--swap").ok();
    let whole = begin.elapsed();
    let mut numbers = Numbers(39);
    for round in 0..20 {
        if exists(&server, &kept) {
            server.psql("postgres", &format!("DROP DATABASE \"{kept}\" WITH (FORCE)"));
        }
        let mut running = stored.restore(&server, &live).arg("--swap").spawn();
        running.kill_after(whole * numbers.below(1000) as u32 / 1000);
        drop(running.wait());
        // One that creates a database is connected to another.
        let sessions =
            "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'pgkeep%' OR application_name = 'psql'";
        crate::support::wait_until("the sessions of the dead to end", || server.psql("postgres", sessions) == "0");
        let seen = server.psql(&live, "SELECT count(*) FROM zones");
        assert!(seen == "1" || seen == "2", "round {round}: {seen}");
    }
    stored.restore(&server, &fresh("after")).ok();
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE 'pgkeep%'"), "0");
}

#[test]
fn a_newer_dump_is_restored_into_older_servers_without_what_they_do_not_know() {
    for major in [15, 16] {
        let server = Postgres::shared(major);
        let target = fresh("older");
        let outcome = sample().restore(server, &target).bin_dir(&bin_dir("18")).ok();
        assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("transaction_timeout"), "{outcome}");
        assert_eq!(server.psql(&target, "SELECT count(*) FROM orders"), "3000");
    }
}

#[test]
fn a_psql_that_knows_no_restrict_restores_and_is_said_to_be_old() {
    let server = Postgres::shared(16);
    let db = server.create_db("restricted");
    server.psql(&db, SAMPLE);
    let stored = Forged::back_up(server, &db);
    assert!(stored.sql().windows(10).any(|window| window == b"\\restrict "));
    let target = fresh("old_psql");
    let outcome = stored.restore(server, &target).bin_dir(&bin_dir("16.2")).ok();
    assert!(format!("{}{}", outcome.stdout, outcome.stderr).contains("older than August 2025"), "{outcome}");
    assert_eq!(dump(server, &target), dump(server, &db));
}

/// Commands that a psql would run, each put in place of a text of the archive; `@` is a program that leaves a canary.
const HOSTILE: [(&str, &str); 19] = [
    (TOP, "\\! @\n"),
    (TOP, "   \\! @\n"),
    (TOP, "\\copy public.orders (what) from program '@'\n"),
    (TOP, "\\o |@\n"),
    (TOP, "\\setenv X `@`\n"),
    (TOP, "\\set x `@`\n"),
    (TOP, "\\restrict `@`\n"),
    (TOP, "\\restrict a\n\\unrestrict a\n\\! @\n"),
    (TOP, "\\unrestrict a \\! @\n"),
    (TOP, "SELECT 1 \\! @\n;\n"),
    (TOP, "SELECT 1 \\g |@\n"),
    (TOP, "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS $$SELECT 1$$; \\! @\n"),
    (TOP, "CREATE FUNCTION public.f() RETURNS int BEGIN ATOMIC SELECT 1; END; \\! @\n"),
    (TOP, "copy public.orders (what) from program '@';\n"),
    (TOP, "COPY public.orders (what) TO PROGRAM '@';\n"),
    (TOP, "SELECT 'a\0\n\\! @\n';\n"),
    (ROW, "7\torder 7\n\\.\n\\! @\n"),
    (ROW, "7\torder 7\n\\.\r\n\\! @\n"),
    (ROW, "7\t\0\n\\.\n\\! @\n"),
];
const TOP: &str = "SET row_security = off;\n";
const ROW: &str = "7\torder 7\n";

#[test]
fn commands_hidden_in_a_dump_are_refused_before_psql_sees_them() {
    let server = Postgres::shared(17);
    let (intact, target, place) = (sample(), fresh("malicious"), crate::support::temp_dir());
    let canary = place.path().join("canary");
    let program = format!("touch {}", canary.display());
    for (at, command) in HOSTILE {
        let stored = intact.copy();
        stored.forge_replacing(at, command.replace('@', &program).as_bytes());
        let (answer, code) = stored.pgkeep(&["backup", "verify", "latest"]).json_with_code();
        assert_eq!((answer["backups"][0]["result"].as_str(), code), (Some("damaged"), 4), "{command:?}: {answer}");
        for bin in ["18", "16.2"] {
            let outcome = stored.restore(server, &target).bin_dir(&bin_dir(bin)).run();
            assert!(outcome.code != Some(0), "{command:?}: {outcome}");
            assert!(!canary.exists(), "{command:?} was run by psql of {bin}: {outcome}");
        }
        let outcome = stored.restore(server, &target).fails(4);
        assert!(outcome.stderr.contains("holds"), "{command:?}: {outcome}");
        assert!(!exists(server, &target) && !canary.exists(), "{command:?}");
    }
}

#[test]
fn commands_hidden_in_the_globals_are_refused_by_verify_and_drill() {
    let (stored, place) = (sample(), crate::support::temp_dir());
    let canary = place.path().join("canary");
    let sql = format!("CREATE ROLE x; \\! touch {}\n", canary.display());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, sql.as_bytes()).unwrap();
    stored.forge_file(FileKind::Globals, &encoder.finish().unwrap(), sql.len() as u64);
    let outcome = stored.pgkeep(&["backup", "verify", "latest"]).fails(4);
    assert!(outcome.stdout.contains("globals"), "{outcome}");
    stored.pgkeep(&["drill", "latest"]).server(Postgres::shared(17)).fails(4);
    assert!(!canary.exists());
}

#[test]
fn a_decompression_bomb_takes_less_than_128_mib() {
    let stored = sample();
    let bomb = pgkeep::archive::Packer::new(pgkeep::config::Compression::default());
    let bomb = bomb.unwrap().pack(&vec![b'\n'; 512 << 20]).unwrap().to_vec();
    let mut contents = stored.contents();
    let declared = contents.files[0].members.iter().next().unwrap().sql_bytes;
    let only = |sql_bytes| {
        [pgkeep::archive::Member { sql_bytes, stored_bytes: bomb.len() as u64, digest: None }].into_iter().collect()
    };
    contents.files[0].members = only(declared);
    stored.forge_file(FileKind::Data, &bomb, declared);
    stored.forge_contents(&contents);
    assert_damaged_in_little_memory(&stored);
    contents.files[0].members = only(512 << 20);
    stored.forge_contents(&contents);
    stored.forge_file(FileKind::Data, &bomb, 512 << 20);
    assert_damaged_in_little_memory(&stored);
    let index = sample();
    index.forge_file(FileKind::Contents, &bomb, 512 << 20);
    assert_damaged_in_little_memory(&index);
    index.forge_file(FileKind::Contents, b"", u64::MAX);
    assert_damaged_in_little_memory(&index);
    let globals = sample();
    globals.forge_file(FileKind::Globals, &bomb, 512 << 20);
    assert_damaged_in_little_memory(&globals);
}

/// Verifies, and looks at the most memory that it ever held.
fn assert_damaged_in_little_memory(stored: &Forged) {
    let mut running = stored.pgkeep(&["backup", "verify", "latest"]).spawn();
    let most = crate::support::peak_memory(&mut running);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(4), "{outcome}");
    assert!(most < 128 << 20, "{} MiB: {outcome}", most >> 20);
}

#[test]
fn a_drill_that_compared_nothing_does_not_pass() {
    let server = Postgres::shared(17);
    let stored = sample();
    let name = stored.contents().files[0].name.clone();
    let empty = |m: &mut pgkeep::catalogue::Manifest| (m.tables, m.rows, m.entries, m.sql_bytes) = (0, 0, 0, 0);
    let mut contents = stored.contents();
    contents.files[0].entries = pgkeep::script::Entries::new();
    for forged in [contents, pgkeep::archive::Contents::new(Vec::new())] {
        stored.forge_contents(&forged);
        stored.change_manifest(empty);
        let (answer, code) = stored.pgkeep(&["drill", "latest"]).server(server).json_with_code();
        assert_eq!((answer["result"].as_str(), code), (Some("failed"), 4), "{name}: {answer}");
    }
    let db = server.create_db("really_empty");
    let stored = Forged::back_up(server, &db);
    let (answer, code) = stored.pgkeep(&["drill", "latest"]).server(server).json_with_code();
    assert_eq!((answer["result"].as_str(), code), (Some("passed"), 0), "{answer}");
    assert_eq!(answer["tables_compared"], 0);
}

#[test]
fn databases_that_look_like_scratch_are_left_alone_unless_they_are_ours_and_stale() {
    let server = Postgres::start(17);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mark = |pid: u32| {
        let at = "2099-01-01T00:00:00Z";
        format!(r#"{{"pgkeep":"x","token":"t","host":"{}","pid":{pid},"made_at":"{at}"}}"#, host.trim())
    };
    let dead = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let make = |name: &str, comment: &str| {
        server.psql("postgres", &format!("CREATE DATABASE {name}; COMMENT ON DATABASE {name} IS '{comment}'"));
    };
    make("pgkeep_scratch_users", "our own");
    make("pgkeep_scratch_bare", "");
    make("pgkeepxscratchxdead", &mark(dead));
    make("pgkeep_scratch_live", &mark(std::process::id()));
    make("pgkeep_scratch_dead", &mark(dead));
    sample().restore(&server, "anew").ok();
    let left = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'pgkeep%'";
    assert_eq!(
        server.psql("postgres", left).split(' ').collect::<std::collections::BTreeSet<_>>(),
        ["pgkeepxscratchxdead", "pgkeep_scratch_bare", "pgkeep_scratch_live", "pgkeep_scratch_users"].into()
    );
}

#[test]
fn a_restore_without_owners_and_privileges_is_proved_and_belongs_to_who_restores() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE ROLE app; CREATE ROLE restorer LOGIN CREATEDB");
    let db = server.create_db("owned");
    server.psql(&db, SAMPLE);
    server.psql(&db, "ALTER TABLE zones OWNER TO app; GRANT SELECT ON orders TO app");
    let stored = Forged::back_up(&server, &db);
    let url = server.url_as("restorer", "postgres");
    let run = stored.pgkeep(&["restore", "latest", "--database-url", &url, "--into", "mine"]).server(&server);
    let outcome = run.args(["--no-owner", "--no-privileges"]).json_with_code();
    assert_eq!((outcome.0["proof"].as_str(), outcome.1), (Some("passed"), 0), "{}", outcome.0);
    let owners = "SELECT string_agg(DISTINCT tableowner, ' ') FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.psql("mine", owners), "restorer");
}

#[test]
fn the_users_own_psqlrc_and_environment_do_not_disturb_a_restore() {
    let server = Postgres::shared(17);
    let (stored, target) = (sample(), fresh("psqlrc"));
    let run = stored.restore(server, &target);
    let canary = run.home().join("canary");
    let psqlrc = run.home().join(".psqlrc");
    std::fs::write(&psqlrc, format!("\\set ON_ERROR_STOP off\n\\! touch {}\n", canary.display())).unwrap();
    let run = run.env("PSQLRC", &psqlrc).env("PGOPTIONS", "-c statement_timeout=1 -c search_path=nowhere");
    let outcome = run.env("PGDATABASE", "elsewhere").env("PGCLIENTENCODING", "SJIS").env("PGTZ", "Asia/Tokyo").ok();
    assert!(!Path::new(&canary).exists(), "{outcome}");
    assert_eq!(server.psql(&target, "SELECT count(*) FROM orders"), "3000");
}
