//! A drill whose own machine is at fault says so, exit 5, and never that the backup is bad (fault 45); and whatever
//! happens to it, it leaves no scratch behind (fault 44).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::{Configured, Disk, Pgkeep, Postgres, Stored, pgkeep};
use nix::sys::signal::Signal;
use serde_json::Value;

const MAJOR: u32 = 16;

/// Some 7 MB of rows and an extension that not every server has.
fn stored() -> &'static Stored {
    static STORED: OnceLock<Stored> = OnceLock::new();
    STORED.get_or_init(|| {
        let server = Postgres::shared(MAJOR);
        let db = server.create_db("shop");
        server.psql(&db, "CREATE TABLE t AS SELECT n, repeat('x', 60) AS x FROM generate_series(1, 100000) n");
        Stored::of(server, &db)
    })
}

/// A configuration whose scratch clusters and private files go into a folder of its own.
fn configured() -> Configured {
    let configured = Configured::new("temp_dir = 'temp'\n");
    make_open(&configured.path().join("temp"));
    configured
}

fn make_open(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

/// `pgkeep drill` of the stored backup with these programs.
fn drill(configured: &Configured, programs: &Path) -> Pgkeep {
    configured.pgkeep(["drill", "--at"]).arg(stored().path()).bin_dir(programs)
}

/// The answer must be the third one, for this reason; nothing is left in the folder for temporary files.
#[track_caller]
fn could_not_run(drill: Pgkeep, temp: &Path, reason: &str) -> Value {
    let (report, code) = drill.json_with_code();
    assert_eq!((code, report["result"].as_str()), (5, Some("could_not_run")), "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains(reason), "{report:#}");
    assert_eq!(report["differences"], serde_json::json!([]), "{report:#}");
    assert_nothing_left(temp);
    report
}

#[track_caller]
fn assert_nothing_left(temp: &Path) {
    crate::support::wait_until_gone(temp.to_str().unwrap());
    let left = crate::support::everything_below(temp);
    assert!(left.is_empty(), "left: {left:?}");
}

#[track_caller]
fn assert_no_scratch_database(server: &Postgres) {
    assert_eq!(server.psql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'pgkeep%'"), "");
}

#[test]
fn without_server_programs_of_that_major() {
    let programs = crate::support::fake_bin_dir(&crate::support::bin_dir("18"), []);
    for name in ["postgres", "initdb"] {
        std::fs::remove_file(programs.path().join(name)).unwrap();
    }
    let configured = configured();
    could_not_run(drill(&configured, programs.path()), &configured.path().join("temp"), "PostgreSQL 16");
    let told = drill(&configured, programs.path()).fails(5);
    assert!(told.stderr.contains("hint: "), "{told}");
    assert!(told.stderr.contains(programs.path().to_str().unwrap()), "the folder searched: {told}");
}

#[test]
fn with_server_programs_of_another_major_only() {
    let configured = configured();
    let drill = drill(&configured, &crate::support::bin_dir("18"));
    could_not_run(drill, &configured.path().join("temp"), "there is only 18.");
}

#[test]
fn with_an_initdb_that_fails() {
    let programs = crate::support::fake_bin_dir(
        &crate::support::bin_dir("16"),
        [("initdb", r#"case "$*" in --version) exec "$REAL" "$@" ;; esac; echo 'initdb: no memory' >&2; exit 1"#)],
    );
    let configured = configured();
    could_not_run(drill(&configured, programs.path()), &configured.path().join("temp"), "no memory");
}

#[test]
fn with_no_room_for_a_cluster() {
    full_disk("size=8m", "No space left on device");
}

#[test]
fn with_room_for_a_cluster_but_not_for_the_rows() {
    // Where exactly it fills up the server decides: it may stop in the load, or soon after.
    full_disk("size=46m", "the drill could not run");
}

#[track_caller]
fn full_disk(options: &str, reason: &str) {
    let disk = Disk::new(options);
    let configured = Configured::new(&format!("temp_dir = '{}'\n", disk.path().display()));
    could_not_run(drill(&configured, &crate::support::bin_dir("16")), disk.path(), reason);
}

#[test]
fn with_a_temp_folder_that_is_missing() {
    let configured = Configured::new("temp_dir = 'nowhere'\n");
    could_not_run(drill(&configured, &crate::support::bin_dir("16")), &configured.path().join("nowhere"), "nowhere");
}

#[test]
fn without_an_extension_on_the_scratch_server() {
    // adminpack was removed in PostgreSQL 17.
    let (source, target) = (Postgres::shared(MAJOR), Postgres::shared(17));
    let db = source.create_db("packed");
    source.psql(&db, "CREATE EXTENSION adminpack; CREATE TABLE t AS SELECT 1 AS a");
    let stored = Stored::of(source, &db);
    let drill = stored.pgkeep(target, ["drill", "--scratch", &target.url("postgres"), "--json"]).fails(5);
    let report: Value = serde_json::from_str(&drill.stdout).unwrap();
    assert_eq!(report["result"], "could_not_run", "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("lacks extensions: adminpack"), "{report:#}");
    assert!(drill.stderr.contains("hint: install"), "{drill}");
    assert_no_scratch_database(target);
}

#[test]
fn without_an_extension_in_the_installed_server() {
    // The clients from before \restrict come with a server that has no such extension.
    let source = Postgres::shared(MAJOR);
    let db = source.create_db("with_config");
    source.psql(&db, "CREATE EXTENSION pgkeep_config; CREATE TABLE t AS SELECT 1 AS a");
    let (stored, configured) = (Stored::of(source, &db), configured());
    let drill = configured.pgkeep(["drill", "--at"]).arg(stored.path()).bin_dir(&crate::support::bin_dir("16.2"));
    could_not_run(drill, &configured.path().join("temp"), "pgkeep_config");
}

#[test]
fn without_a_role_on_the_scratch_server() {
    let (source, target) = (Postgres::start(18), Postgres::shared(18));
    source.psql("postgres", "CREATE ROLE only_there; CREATE TABLE t (); ALTER TABLE t OWNER TO only_there");
    let stored = Stored::of(&source, "postgres");
    let (report, code) = stored.pgkeep(target, ["drill", "--scratch", &target.url("postgres")]).json_with_code();
    assert_eq!((code, report["result"].as_str()), (5, Some("could_not_run")), "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("lacks roles: only_there"), "{report:#}");
    assert_no_scratch_database(target);
}

#[test]
fn with_a_scratch_server_that_does_not_answer() {
    let nowhere = crate::support::temp_dir();
    let url = format!("postgres://postgres@/postgres?host={}", nowhere.path().display());
    let configured = configured();
    let drill = drill(&configured, &crate::support::bin_dir("16")).args(["--scratch", &url]);
    could_not_run(drill, &configured.path().join("temp"), "could not run");
}

/// A psql that does `then` in the middle of the load: when a part of the script has gone through to the real one, whose
/// process id is `$real`. What is sent goes through at once, for pgkeep waits for answers, and when the real psql ends, so
/// does this.
fn psql_that_in_mid_load(then: &str) -> tempfile::TempDir {
    let script = format!(
        r#"case "$*" in *VERBOSITY*) ;; *) exec "$REAL" "$@" ;; esac
           exec 3<&0
           fifo=$(mktemp -u) && mkfifo "$fifo"
           "$REAL" "$@" <"$fifo" & real=$!
           {{ dd bs=1000 count=300 2>/dev/null; {then}; cat; }} <&3 >"$fifo" & feeder=$!
           exec 3<&-
           trap 'kill $real' INT TERM
           wait $real; code=$?
           kill $feeder 2>/dev/null; rm "$fifo"; exit $code"#
    );
    crate::support::fake_bin_dir(&crate::support::bin_dir("16"), [("psql", script.as_str())])
}

#[test]
fn with_a_psql_that_is_killed() {
    let configured = configured();
    let killed = psql_that_in_mid_load("kill -KILL $real");
    could_not_run(drill(&configured, killed.path()), &configured.path().join("temp"), "loading into");
}

#[test]
fn with_a_psql_that_is_killed_while_it_loads_into_a_scratch_server() {
    let (server, configured) = (Postgres::start(MAJOR), configured());
    let killed = psql_that_in_mid_load("kill -KILL $real");
    let drill = drill(&configured, killed.path()).args(["--scratch", &server.url("postgres")]);
    could_not_run(drill, &configured.path().join("temp"), "loading into");
    assert_no_scratch_database(&server);
}

#[test]
fn with_a_throwaway_server_that_is_killed_in_mid_load() {
    for signal in ["KILL", "QUIT"] {
        // The session may outlive its server by a moment: then what comes next fails.
        let configured = configured();
        let killed = psql_that_in_mid_load(&format!("kill -{signal} $(head -n 1 \"$PGHOST/../data/postmaster.pid\")"));
        could_not_run(drill(&configured, killed.path()), &configured.path().join("temp"), "pgkeep-scratch-");
    }
}

#[test]
fn with_a_session_that_an_administrator_ends() {
    let (server, configured) = (Postgres::start(MAJOR), configured());
    let end = "PGDATABASE=postgres \"$REAL\" -XAtqc \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname LIKE 'pgkeep%'\" </dev/null >/dev/null";
    let killed = psql_that_in_mid_load(end);
    let drill = drill(&configured, killed.path()).args(["--scratch", &server.url("postgres")]);
    could_not_run(drill, &configured.path().join("temp"), "loading into");
    assert_no_scratch_database(&server);
}

#[test]
fn with_a_pg_dump_that_fails_at_the_proof() {
    let script = r#"case "$PGDATABASE" in drill) echo 'pg_dump: out of luck' >&2; exit 1 ;; esac; exec "$REAL" "$@""#;
    let programs = crate::support::fake_bin_dir(&crate::support::bin_dir("16"), [("pg_dump", script)]);
    let configured = configured();
    could_not_run(drill(&configured, programs.path()), &configured.path().join("temp"), "out of luck");
}

/// A backup whose first load into a scratch waits in the middle, and the file that tells when it does.
fn stored_that_waits(configured: &Configured) -> (Stored, PathBuf) {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("waits");
    let reached = configured.path().join("temp/reached");
    server.psql(
        &db,
        &format!(
            "CREATE FUNCTION wait() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                IF current_database() NOT LIKE 'waits%' AND pg_stat_file('{reached}', true) IS NULL THEN
                    COPY (SELECT 1) TO '{reached}';
                    -- A warning reaches nobody once psql is gone, and so ends the session.
                    LOOP RAISE WARNING 'waiting'; PERFORM pg_sleep(0.05); END LOOP;
                END IF;
                RETURN true;
             END $$;
             CREATE TABLE t (a integer CHECK (wait()));
             INSERT INTO t VALUES (1), (2);",
            reached = reached.display()
        ),
    );
    (Stored::of(server, &db), reached)
}

fn drill_of(stored: &Stored, configured: &Configured, scratch: &str) -> Pgkeep {
    let drill = configured.pgkeep(["drill", "--scratch", scratch, "--at"]).arg(stored.path());
    drill.bin_dir(&crate::support::bin_dir("16"))
}

#[test]
fn stopped_in_mid_load_it_leaves_nothing() {
    let (server, configured) = (Postgres::start(MAJOR), configured());
    let (stored, reached) = stored_that_waits(&configured);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for scratch in ["ephemeral", &server.url("postgres")] {
            let mut running = drill_of(&stored, &configured, scratch).spawn();
            crate::support::wait_until("the load to wait", || reached.exists());
            running.kill(signal);
            let outcome = running.wait();
            assert_eq!(outcome.code, Some(code), "{scratch}: {outcome}");
            std::fs::remove_file(&reached).unwrap();
            assert_nothing_left(&configured.path().join("temp"));
            assert_no_scratch_database(&server);
        }
    }
}

#[test]
fn killed_in_mid_load_its_scratch_goes_with_the_next_drill() {
    let (server, configured) = (Postgres::start(MAJOR), configured());
    let temp = configured.path().join("temp");
    let (stored, reached) = stored_that_waits(&configured);
    for scratch in ["ephemeral", &server.url("postgres")] {
        let mut running = drill_of(&stored, &configured, scratch).spawn();
        crate::support::wait_until("the load to wait", || reached.exists());
        running.kill(Signal::SIGKILL);
        // Waits for it, as whoever started it would: until then its number stays taken.
        drop(running);
        crate::support::wait_until_gone(temp.join("pgkeep-scratch-").to_str().unwrap());
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'pgkeep%'";
        crate::support::wait_until("the session to end", || server.psql("postgres", sessions) == "0");
        // This one finds the file, and does not wait.
        drill_of(&stored, &configured, scratch).ok();
        std::fs::remove_file(&reached).unwrap();
    }
    let left = crate::support::everything_below(&temp);
    let clusters: Vec<_> = left.iter().filter(|path| path.to_str().unwrap().contains("pgkeep-scratch-")).collect();
    assert!(clusters.is_empty(), "{clusters:?}");
    assert_no_scratch_database(&server);
}

#[test]
fn a_scratch_that_was_asked_for_stays_also_after_the_next_drill() {
    let (server, configured) = (Postgres::start(MAJOR), configured());
    let programs = crate::support::bin_dir("16");
    let keep = |scratch: &str| {
        let report = drill(&configured, &programs).args(["--keep-scratch", "--scratch", scratch]).json();
        assert_eq!(report["result"], "passed", "{report:#}");
        report["scratch"].as_str().unwrap().to_owned()
    };
    let (cluster, database) = (keep("ephemeral"), keep(&server.url("postgres")));
    for scratch in ["ephemeral", &server.url("postgres")] {
        drill(&configured, &programs).args(["--scratch", scratch]).ok();
    }
    assert!(Path::new(&cluster).join("PG_VERSION").exists(), "{cluster}");
    assert_eq!(server.psql(&database, "SELECT count(*) FROM t"), "100000");
}

#[test]
fn without_any_backup_nothing_was_proved() {
    let empty = crate::support::temp_dir();
    let outcome = pgkeep().args(["drill", "--at"]).arg(empty.path()).run();
    assert!(![Some(0), Some(4)].contains(&outcome.code), "{outcome}");
}
