//! A restored database in the place of a live one: what is said before, the exchange of names under load and under fire,
//! and the way back. Whatever happens, the name leads to one of the two whole databases.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{
    Forged, Numbers, Outcome, Pgkeep, Postgres, Session, fake_bin_dir, processes_matching, temp_dir, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const NEW: &str =
    "CREATE TABLE zones (id int PRIMARY KEY, name text); INSERT INTO zones VALUES (1, 'new'), (2, 'newer')";
const OLD: &str = "CREATE TABLE zones AS SELECT 9 AS id, 'old' AS name";

/// A server of its own with a backup, and a live database that holds something else.
struct Shop {
    server: Postgres,
    stored: Forged,
    live: String,
}

impl Shop {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[&str]) -> Self {
        let server = Postgres::start_with(17, settings);
        let source = server.create_db("source");
        server.psql(&source, NEW);
        let stored = Forged::back_up(&server, &source);
        let live = server.create_db("live");
        server.psql(&live, OLD);
        server.psql(
            "postgres",
            &format!("COMMENT ON DATABASE {live} IS 'our shop'; ALTER DATABASE {live} SET work_mem = '7MB'"),
        );
        Self { server, stored, live }
    }

    fn swap(&self) -> Pgkeep {
        self.stored.restore(&self.server, &self.live).arg("--swap")
    }

    /// `pgkeep restore --swap-back` or `--finish-swap`.
    fn back(&self, how: &str) -> Pgkeep {
        let url = self.server.url("postgres");
        crate::support::pgkeep().server(&self.server).args([
            "restore",
            how,
            "--into",
            &self.live,
            "--database-url",
            &url,
        ])
    }

    /// `before_<id>`, `undone_<id>`, `restored_<id>`.
    fn beside(&self, word: &str) -> String {
        format!("{}_{word}_{}", self.live, self.stored.id())
    }

    fn databases(&self) -> Vec<String> {
        let query =
            "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1";
        self.server.psql("postgres", query).lines().map(str::to_owned).collect()
    }

    fn names_in(&self, db: &str) -> String {
        self.server.psql(db, "SELECT string_agg(name, ' ' ORDER BY id) FROM zones")
    }

    fn comment_of(&self, db: &str) -> String {
        let query = format!("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{db}'");
        self.server.psql("postgres", &query)
    }

    /// A psql for a `bin_dir` whose pg_dump, once it has written the proof, runs `script`.
    fn behind_the_proof(&self, script: &str) -> tempfile::TempDir {
        let pg_dump =
            format!("case \"$1\" in --version) exec \"$REAL\" \"$@\";; esac\n\"$REAL\" \"$@\" || exit\n{script}");
        fake_bin_dir(self.server.bin_dir(), [("pg_dump", pg_dump.as_str())])
    }
}

#[track_caller]
fn says(outcome: &Outcome, what: &[&str]) {
    for what in what {
        assert!(outcome.stderr.contains(what), "{what:?} is not said: {outcome}");
    }
}

#[test]
fn a_swap_says_what_it_will_do_and_is_undone_without_a_loss() {
    let shop = Shop::new();
    let before = shop.databases();
    let _app = Session::hold(&shop.server, &shop.live, "SELECT 1");
    let outcome = shop.swap().ok();
    let kept = shop.beside("before");
    says(
        &outcome,
        &["plan: ", &kept, "1 of postgres (fixture)", "settings of", "work_mem=7MB", "our shop", "swap-back"],
    );
    assert!(outcome.stdout.contains(&kept) && outcome.stdout.contains("--swap-back"), "{outcome}");
    assert_eq!((shop.names_in(&shop.live).as_str(), shop.names_in(&kept).as_str()), ("new newer", "old"));
    assert!(shop.comment_of(&kept).contains("as it was before the restore") && shop.comment_of(&shop.live).is_empty());

    let back: Value = shop.back("--swap-back").json();
    let undone = shop.beside("undone");
    assert_eq!((back["database"].as_str(), back["was"].as_str()), (Some(&*shop.live), Some(&*kept)));
    assert_eq!((back["kept_as"].as_str(), back["backup"].as_str()), (Some(&*undone), Some(&*shop.stored.id())));
    assert_eq!((shop.names_in(&shop.live).as_str(), shop.names_in(&undone).as_str()), ("old", "new newer"));
    assert_eq!(shop.comment_of(&shop.live), "our shop");
    assert_eq!(shop.server.psql(&shop.live, "SHOW work_mem"), "7MB");
    let mut all = before;
    all.push(undone.clone());
    all.sort();
    assert_eq!(shop.databases(), all);

    // There is nothing left to undo; what was undone can be had again, by name.
    says(&shop.back("--swap-back").fails(1), &["no database from before a restore", &undone, "--kept"]);
    shop.back("--swap-back").args(["--kept", &undone]).ok();
    assert_eq!(shop.names_in(&shop.live), "new newer");
    shop.back("--swap-back").ok();
    assert_eq!((shop.names_in(&shop.live).as_str(), shop.databases()), ("old", all));
}

#[test]
fn the_newest_of_several_is_put_back_and_nobody_elses_ever() {
    let shop = Shop::new();
    says(&shop.back("--swap-back").fails(1), &["no database from before a restore"]);
    // Of the name that a kept one has, and with the comment of one.
    let theirs = shop.beside("before");
    shop.server.psql("postgres", &format!("CREATE DATABASE \"{theirs}\""));
    says(&shop.back("--swap-back").fails(1), &["no database from before a restore"]);
    says(&shop.back("--swap-back").args(["--kept", &theirs]).fails(1), &["no database that a restore left"]);
    says(&shop.swap().fails(1), &[&theirs]);
    shop.server.psql("postgres", &format!("DROP DATABASE \"{theirs}\""));
    shop.swap().ok();
    let mark = shop.comment_of(&shop.beside("before")).replace('\'', "''");
    shop.server.psql("postgres", &format!("CREATE DATABASE copied; COMMENT ON DATABASE copied IS '{mark}'"));
    says(&shop.back("--swap-back").args(["--kept", "copied"]).fails(1), &["no database that a restore left"]);

    let again = Forged::back_up(&shop.server, &shop.live);
    again.restore(&shop.server, &shop.live).arg("--swap").ok();
    shop.server.psql(&format!("{}_before_{}", shop.live, again.id()), "INSERT INTO zones VALUES (3, 'newest')");
    shop.back("--swap-back").ok();
    assert_eq!(shop.names_in(&shop.live), "new newer newest");
    shop.back("--swap-back").ok();
    assert_eq!(shop.names_in(&shop.live), "old");
}

#[test]
fn what_keeps_a_database_from_being_renamed_is_said_before_anything_is_loaded() {
    let shop = Shop::with(&["max_prepared_transactions=2", "wal_level=logical"]);
    let before = shop.databases();
    let live = &shop.live;
    shop.server.psql(live, "BEGIN; INSERT INTO zones VALUES (1, 'x'); PREPARE TRANSACTION 'two phases'");
    says(&shop.swap().fails(1), &["two phases", "COMMIT PREPARED"]);
    shop.server.psql(live, "ROLLBACK PREPARED 'two phases'");
    shop.server.psql("postgres", "CREATE ROLE restorer LOGIN CREATEDB; CREATE ROLE app LOGIN");
    let url = shop.server.url_as("restorer", "postgres");
    let ordinary = || {
        let run = shop.stored.pgkeep(&["restore", "latest", "--database-url", &url, "--into", live, "--swap"]);
        run.args(["--no-owner", "--no-privileges"]).server(&shop.server)
    };
    says(&ordinary().fails(1), &["restorer may not rename", "belongs to postgres"]);
    assert_eq!(shop.databases(), before);

    // The owner may, and is told whose sessions he may not end. Slots and subscriptions stay behind.
    shop.server.psql(
        "postgres",
        &format!("ALTER DATABASE {live} OWNER TO restorer; ALTER TABLESPACE pg_default OWNER TO postgres"),
    );
    shop.server.psql(live, "SELECT pg_create_logical_replication_slot('reader', 'test_decoding')");
    shop.server.psql(live, "CREATE SUBSCRIPTION news CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)");
    shop.server.psql(live, "GRANT SELECT ON zones TO restorer");
    let other = Session::hold(&shop.server, live, "SELECT 1");
    let outcome = ordinary().args(["--swap-timeout", "1s"]).fails(1);
    says(&outcome, &["restorer may not end these sessions", "pg_signal_backend", "reader", "news"]);
    let waiting = shop.beside("restored");
    says(&outcome, &["it is in use: 1 of postgres (fixture)", &waiting, "--finish-swap"]);
    assert_eq!(shop.names_in(live), "old");
    drop(other);
    let finish = crate::support::pgkeep().server(&shop.server);
    finish.args(["restore", "--finish-swap", "--into", live, "--database-url", &url]).ok();
    assert_eq!(shop.names_in(live), "new newer");
}

#[test]
fn a_swap_that_runs_out_of_time_keeps_what_was_restored_and_tells_how_to_finish() {
    let shop = Shop::with(&["max_prepared_transactions=2"]);
    // A transaction that is prepared while the restore is under way.
    let psql = shop.server.bin("psql");
    let (host, live) = (shop.server.socket_dir().display().to_string(), &shop.live);
    let prepare = format!(
        "printf \"BEGIN; INSERT INTO zones VALUES (1, 'x'); PREPARE TRANSACTION 'late';\" | PGHOST='{host}' PGUSER=postgres \
         PGDATABASE='{live}' '{}' -Xq >&2",
        psql.display()
    );
    let bin = shop.behind_the_proof(&prepare);
    let before = shop.databases();
    let outcome = shop.swap().args(["--swap-timeout", "2s"]).bin_dir(bin.path()).fails(1);
    let waiting = shop.beside("restored");
    says(&outcome, &["late", "was not replaced", &waiting]);
    let command = outcome.stderr.rsplit("pgkeep restore ").next().unwrap().trim().to_owned();
    assert_eq!(command, format!("--finish-swap --into {live} --kept {waiting}"), "{outcome}");
    let mut all = before;
    all.push(waiting.clone());
    all.sort();
    assert_eq!(shop.databases(), all);
    shop.server.psql(live, "ROLLBACK PREPARED 'late'");
    assert_eq!((shop.names_in(live).as_str(), shop.comment_of(live).as_str()), ("old", "our shop"));
    // Not the way back: that one was never live.
    shop.back("--swap-back").fails(1);
    let url = shop.server.url("postgres");
    let run = crate::support::pgkeep().server(&shop.server).args(["restore", "--database-url", &url]);
    run.args(command.split(' ')).ok();
    assert_eq!((shop.names_in(live).as_str(), shop.names_in(&shop.beside("before")).as_str()), ("new newer", "old"));
    assert!(shop.comment_of(live).is_empty());
    shop.back("--swap-back").ok();
    assert_eq!(shop.names_in(live), "old");
}

#[test]
fn a_restored_database_whose_proof_failed_takes_no_place_by_itself() {
    let shop = Shop::new();
    let lying = "case \"$1\" in --version) exec \"$REAL\" \"$@\";; esac\n\"$REAL\" \"$@\" | sed 's/newer/other/'";
    let bin = fake_bin_dir(shop.server.bin_dir(), [("pg_dump", lying)]);
    let outcome = shop.swap().bin_dir(bin.path()).fails(4);
    let waiting = shop.beside("restored");
    assert!(outcome.stdout.contains(&waiting), "{outcome}");
    says(&shop.back("--finish-swap").fails(1), &["no restored database that waits", &waiting]);
    assert_eq!((shop.names_in(&shop.live).as_str(), shop.names_in(&waiting).as_str()), ("old", "new newer"));
    shop.back("--finish-swap").args(["--kept", &waiting]).ok();
    assert_eq!(shop.names_in(&shop.live), "new newer");
}

/// Whom a fault strikes.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Terminate,
    Psql,
    Backend,
}

#[test]
fn a_swap_that_is_struck_at_any_instant_leaves_a_name_that_works_and_a_way_back() {
    let shop = Shop::new();
    let place = temp_dir();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let proved: PathBuf = place.path().join("proved");
    let bin = shop.behind_the_proof(&format!("touch '{}'", proved.display()));
    let mut numbers = Numbers(41);
    let mut outcomes = [0, 0];
    for round in 0..24 {
        let fault = [Fault::Kill, Fault::Terminate, Fault::Psql, Fault::Backend][round % 4];
        let _ = std::fs::remove_file(&proved);
        let mut running = shop.swap().bin_dir(bin.path()).spawn();
        wait_until("the proof", || proved.exists() || running.has_ended());
        let delay = Duration::from_millis(numbers.below(120));
        let begin = std::time::Instant::now();
        wait_until("the instant", || begin.elapsed() >= delay || running.has_ended());
        strike(&shop, fault, &mut running);
        let outcome = running.wait();
        // A server that crashed comes back by itself.
        wait_until("the server", || shop.server.try_psql("postgres", "SELECT 1").is_ok());
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'pgkeep%' OR application_name = 'psql'";
        wait_until("the sessions of the dead to end", || shop.server.psql("postgres", ours) == "0");
        let kept = shop.beside("before");
        let exchanged = shop.databases().contains(&kept);
        outcomes[usize::from(exchanged)] += 1;
        println!("round {round}: {fault:?} after {delay:?}, exchanged: {exchanged}, code {:?}", outcome.code);
        let told = format!("round {round}, {fault:?} after {delay:?}, exchanged: {exchanged}: {outcome}");
        if outcome.code == Some(0) {
            assert!(exchanged, "{told}");
        }
        if exchanged {
            assert_eq!(
                (shop.names_in(&shop.live).as_str(), shop.names_in(&kept).as_str()),
                ("new newer", "old"),
                "{told}"
            );
            shop.back("--swap-back").ok();
        }
        assert_eq!(
            (shop.names_in(&shop.live).as_str(), shop.comment_of(&shop.live).as_str()),
            ("old", "our shop"),
            "{told}"
        );
        for left in shop.databases().iter().filter(|name| name.contains("_undone_") || name.contains("_restored_")) {
            shop.server.psql("postgres", &format!("DROP DATABASE \"{left}\""));
        }
    }
    assert!(outcomes[1] > 0, "no exchange was ever done: {outcomes:?}");
    // What the dead left, the next one sweeps.
    shop.swap().ok();
    let scratch = shop.databases().into_iter().filter(|name| name.starts_with("pgkeep")).collect::<Vec<_>>();
    assert!(scratch.is_empty(), "{scratch:?}");
    let damaged = shop.server.log().lines().filter(|line| line.contains("PANIC") || line.contains("corrupt")).count();
    assert_eq!(damaged, 0);
}

fn strike(shop: &Shop, fault: Fault, running: &mut crate::support::Running) {
    match fault {
        Fault::Kill => running.kill(Signal::SIGKILL),
        Fault::Terminate => running.kill(Signal::SIGTERM),
        Fault::Psql => {
            for process in processes_matching(&shop.server.socket_dir().display().to_string()) {
                if process.parent == running.pid() && process.name == "psql" {
                    let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
                }
            }
        }
        Fault::Backend => {
            let query =
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'psql' AND backend_type = 'client backend'";
            for pid in shop.server.try_psql("postgres", query).unwrap_or_default().lines() {
                // SIGKILL of one session makes the whole server start over.
                let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
            }
        }
    }
}
