//! Parallel dumps (`--jobs`): several files, one moment, the same proof; and what can go wrong between their sessions.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{
    Postgres, Scene, Session, Stored, assert_same_dump, each_major, processes_matching, shell, wait_until,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A database with tables of every kind that a parallel dump treats in its own way.
fn large(server: &Postgres) -> String {
    let db = server.create_db("large");
    server.load_sql(&db, "large.sql");
    db
}

/// The names of the data files, as the manifest lists them.
fn data_files(stored: &Stored) -> Vec<String> {
    let manifest = stored.manifest();
    let files = manifest["files"].as_array().unwrap().iter().filter(|file| file["kind"] == "data");
    files.map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

/// For each table of a backup: its columns, rows, and the sum of its fingerprints.
fn tables(entries: &[Value]) -> BTreeMap<String, (Value, u64, u128)> {
    let mut tables: BTreeMap<String, (Value, u64, u128)> = BTreeMap::new();
    for data in entries.iter().map(|entry| &entry["table"]).filter(|data| !data.is_null()) {
        let name = format!("{}.{}", data["schema"], data["table"]);
        let one = tables.entry(name).or_insert_with(|| (data["columns"].clone(), 0, 0));
        assert_eq!(one.0, data["columns"]);
        one.1 += data["rows"].as_u64().unwrap();
        let print = u128::from_str_radix(data["fingerprint"].as_str().unwrap(), 16).unwrap();
        one.2 = one.2.wrapping_add(print);
    }
    tables
}

/// What an entry that has no rows says of itself, wherever it stands.
fn definitions(entries: &[Value]) -> BTreeSet<String> {
    let without = entries.iter().filter(|entry| entry["table"].is_null());
    without
        .map(|entry| {
            format!("{} {} {} {} {}", entry["kind"], entry["schema"], entry["name"], entry["owner"], entry["digest"])
        })
        .collect()
}

each_major!(a_parallel_dump_holds_what_a_plain_one_holds_and_any_machine_restores_it, |major: u32| {
    let server = Postgres::shared(major);
    let db = large(server);
    let plain = Stored::of(server, &db);
    let stored = Stored::with(server, &db, ["--jobs", "3"]);
    let files = data_files(&stored);
    assert_eq!(files.len(), 5, "definitions, three of rows, what comes after them: {files:?}");
    let mut sorted = files.clone();
    sorted.sort();
    assert_eq!(files, sorted);

    let (expected, found) = (plain.entries(), stored.entries());
    assert_eq!(tables(&found), tables(&expected));
    assert_eq!(definitions(&found), definitions(&expected));
    for field in ["tables", "rows", "entries", "large_objects"] {
        assert_eq!(stored.manifest()[field], plain.manifest()[field], "{field}");
    }
    let slices: Vec<&Value> =
        found.iter().filter(|entry| entry["table"]["table"] == "big").map(|entry| &entry["table"]["slice"]).collect();
    assert!(slices.len() > 3 && slices.contains(&&json!([1, slices.len()])), "{slices:?}");

    // RESTORE.txt's own commands, then a dump of what they made.
    let restored = server.create_db("by_hand");
    let glob = files[0].replace(".00.", ".*.");
    shell(server, &stored.dir(), &format!("gunzip -c {glob} | psql -X -v ON_ERROR_STOP=1 -d {restored}"));
    assert_same_dump(&server.pg_dump(&db, ["--section=pre-data"]), &server.pg_dump(&restored, ["--section=pre-data"]));
    assert_same_dump(
        &server.pg_dump(&db, ["--section=post-data"]),
        &server.pg_dump(&restored, ["--section=post-data"]),
    );
    assert_eq!(tables(&Stored::of(server, &restored).entries()), tables(&expected));
    let text = std::fs::read_to_string(stored.dir().join("RESTORE.txt")).unwrap();
    let check: String = text
        .lines()
        .skip_while(|line| !line.contains("sha256sum"))
        .take_while(|line| *line != "END")
        .fold(String::new(), |script, line| script + line + "\n")
        + "END\n";
    assert_eq!(
        shell(server, &stored.dir(), &check).lines().filter(|line| line.ends_with(": OK")).count(),
        5,
        "{check}"
    );

    let (report, code) = stored.pgkeep(server, ["backup", "verify", "latest"]).json_with_code();
    assert_eq!((code, &report["backups"][0]["result"]), (0, &json!("intact")), "{report:#}");
    let (report, code) = stored.pgkeep(server, ["drill"]).json_with_code();
    assert_eq!((code, &report["result"], &report["differences"]), (0, &json!("passed"), &json!([])), "{report:#}");
    assert_eq!(report["tables_compared"], stored.manifest()["tables"]);
    assert_eq!(report["rows_compared"], stored.manifest()["rows"]);
});

#[test]
fn all_files_are_of_one_moment_however_much_is_written_meanwhile() {
    let server = Postgres::shared(17);
    let accounts =
        "CREATE TABLE a AS SELECT i AS id, 1000 AS money, repeat('x', 200) AS filler FROM generate_series(1, 20000) i;
        CREATE TABLE b AS SELECT * FROM a; ALTER TABLE a ADD PRIMARY KEY (id); ALTER TABLE b ADD PRIMARY KEY (id);";
    let scene = Scene::with(server, "moment", accounts);
    let transfer = "DO $$ BEGIN FOR i IN 1..1000000 LOOP
          UPDATE a SET money = money - 1 WHERE id = 1 + i::bigint * 7919 % 20000;
          UPDATE b SET money = money + 1 WHERE id = 1 + i::bigint * 104729 % 20000;
          COMMIT;
          PERFORM pg_sleep(0.0001); END LOOP; END $$";
    let mut writer = server.client("psql", &scene.db).args(["-Xqc", transfer]).spawn().unwrap();
    let spent = "SELECT count(*) > 100 FROM a WHERE money < 1000";
    wait_until("money moves", || server.psql(&scene.db, spent) == "t");
    for round in 0..3 {
        scene.now().args(["--jobs", "3", "--compression", "zstd:1"]).ok();
        let target = format!("{}_{round}", scene.db);
        scene.at(["restore", "latest", "--into", &target, "--database-url", &server.url("postgres")]).ok();
        let sum = "SELECT (SELECT sum(money) FROM a) + (SELECT sum(money) FROM b), (SELECT count(*) FROM a WHERE money < 1000) > 0";
        assert_eq!(server.psql(&target, sum), "40000000|t");
        server.psql("postgres", &format!("DROP DATABASE \"{target}\""));
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

/// A scene whose parallel dump takes some seconds, for it is compressed slowly, and more than pipes and buffers hold.
fn slow(server: &Postgres) -> Scene<'_> {
    Scene::with_megabytes(server, "slow", 28)
}

const SLOWLY: [&str; 4] = ["--jobs", "2", "--compression", "zstd:19"];

/// Whether two sessions read rows of `db`: then every session of the dump has its locks.
fn copying(db: &str) -> String {
    format!("SELECT count(*) >= 2 FROM pg_stat_activity WHERE datname = '{db}' AND query LIKE 'copy (select%'")
}

#[test]
fn a_truncate_that_comes_in_the_middle_waits_for_the_end() {
    let server = Postgres::shared(17);
    let scene = slow(server);
    let rows = server.psql(&scene.db, "SELECT count(*) FROM orders");
    let mut running = scene.now().args(SLOWLY).spawn();
    wait_until("rows are read", || {
        assert!(!running.has_ended(), "{}", running.stderr());
        server.psql("postgres", &copying(&scene.db)) == "t"
    });
    let mut truncate = server.client("psql", &scene.db).args(["-Xqc", "TRUNCATE orders"]).spawn().unwrap();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(truncate.wait().unwrap().success());
    assert_eq!(server.psql(&scene.db, "SELECT count(*) FROM orders"), "0");
    let target = format!("{}_again", scene.db);
    scene.at(["restore", "latest", "--into", &target, "--database-url", &server.url("postgres")]).ok();
    assert_eq!(server.psql(&target, "SELECT count(*) FROM orders"), rows);
}

#[test]
fn whoever_waits_for_a_lock_between_the_sessions_goes_first() {
    let server = Postgres::shared(17);
    let scene = slow(server);
    // Locks of the snapshot alone: then an exclusive one waits, before the other sessions have asked for theirs. The
    // lock on pg_class keeps them from reading which tables there are.
    let catalogue =
        Session::hold(server, &scene.db, "LOCK TABLE pg_catalog.pg_partitioned_table IN ACCESS EXCLUSIVE MODE");
    let mut running = scene.now().args(SLOWLY).spawn();
    let held = format!(
        "SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
         WHERE a.datname = '{}' AND l.mode = 'AccessShareLock' AND l.granted AND a.query LIKE '%pg_partitioned_table%'",
        scene.db
    );
    wait_until("the snapshot is held", || {
        assert!(!running.has_ended(), "{}", running.stderr());
        server.psql("postgres", &held) == "t"
    });
    let mut alter =
        server.client("psql", &scene.db).args(["-Xqc", "ALTER TABLE orders ADD COLUMN later int"]).spawn().unwrap();
    let waits = format!(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'ALTER%' AND wait_event_type = 'Lock'",
        scene.db
    );
    wait_until("the change waits", || server.psql("postgres", &waits) == "t");
    drop(catalogue);
    running.until_stderr("beginning again");
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(alter.wait().unwrap().success());
    scene.all_intact(2);
}

#[test]
fn a_session_that_the_server_ends_ends_the_dump_whichever_it_is() {
    let server = Postgres::shared(17);
    let scene = slow(server);
    // The one that holds the snapshot is idle in its transaction while two others copy.
    for (which, said) in
        [("query LIKE 'copy (select%'", "psql failed"), ("state = 'idle in transaction'", "the session that kept")]
    {
        let mut running = scene.now().args(SLOWLY).spawn();
        wait_until("rows are read", || {
            assert!(!running.has_ended(), "{}", running.stderr());
            server.psql("postgres", &copying(&scene.db)) == "t"
        });
        let end = format!(
            "SELECT count(*) > 0 FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = '{}' AND {which} LIMIT 1) t",
            scene.db
        );
        assert_eq!(server.psql("postgres", &end), "t", "{which}");
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stderr.contains(said), "{outcome}");
        scene.nothing_is_left();
    }
}

/// Fault 10: the session that holds the snapshot is idle for as long as the others read.
#[test]
fn time_limits_of_the_role_end_no_session_of_a_parallel_dump() {
    let server = Postgres::shared(17);
    let scene = slow(server);
    let role = format!("hasty_{}", scene.db);
    server.psql("postgres", &format!("CREATE ROLE {role} SUPERUSER LOGIN"));
    let limits =
        ["statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout", "idle_session_timeout"];
    for limit in limits {
        server.psql("postgres", &format!("ALTER ROLE {role} SET {limit} = '300ms'"));
    }
    scene.now_of(&server.url_as(&role, &scene.db)).args(SLOWLY).ok();
    server.psql("postgres", &format!("DROP ROLE {role}"));
    scene.all_intact(2);
}

#[test]
fn a_lock_that_somebody_keeps_is_not_waited_for_beyond_the_limit() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "locked");
    let config = format!(
        "[destination.here]\ntype = \"folder\"\npath = {:?}\n[job.shop]\ndatabase_url = {{ env = \"DATABASE_URL\" }}\n\
         destinations = [\"here\"]\njobs = 2\nlock_wait_timeout = \"1s\"\n",
        scene.folder()
    );
    let file = scene.work().join("pgkeep.toml");
    std::fs::write(&file, config).unwrap();
    let now =
        || scene.pgkeep().arg("--config").arg(&file).env("DATABASE_URL", server.url(&scene.db)).args(["backup", "now"]);
    let holder = Session::hold(server, &scene.db, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE");
    let outcome = now().fails(1);
    outcome.explains(&["lock timeout"], "lock_wait_timeout");
    assert!(outcome.stderr.contains(&format!("pid {}", holder.pid)), "{outcome}");
    drop(holder);
    now().ok();
    let dir = crate::support::backup_dirs(scene.folder().join("shop")).pop().unwrap();
    let data = |path: &PathBuf| path.to_string_lossy().contains(".sql.gz") && !path.ends_with("globals.sql.gz");
    assert_eq!(crate::support::everything_below(dir).iter().filter(|path| data(path)).count(), 3);
}

#[test]
fn killed_at_random_instants_a_parallel_dump_is_whole_or_not_there() {
    let server = Postgres::shared(17);
    let scene = Scene::with_megabytes(server, "kills", 12);
    let begin = std::time::Instant::now();
    scene.now().args(["--jobs", "3"]).ok();
    let whole_run = begin.elapsed();
    let mut random = crate::kill::Random::seeded();
    let (mut there, mut cut) = (2, 0);
    for instant in 0..20 {
        let delay = random.duration(whole_run.mul_f64(1.1));
        let mut running = scene.now().args(["--jobs", "3"]).spawn();
        // Not to wait for something, but to strike at a random instant.
        std::thread::sleep(delay);
        running.kill(nix::sys::signal::Signal::SIGKILL);
        let outcome = running.wait();
        cut += usize::from(outcome.signal.is_some());
        crate::support::wait_until_gone(&scene.db);
        let listed = scene.at(["backup", "list"]).json()["backups"].as_array().unwrap().len();
        let more = listed - there;
        assert!(more <= 1 && (more == 1 || outcome.code != Some(0)), "instant {instant}, {delay:?}: {outcome}");
        there = listed;
    }
    assert!(cut >= 8, "only {cut} of 20 kills came before the end");
    assert!(processes_matching(&scene.db).is_empty());
    scene.all_intact(there);
}
