//! Being killed (fault 5), stopped (36) or started twice (33): whole backups or none, nothing left running, and the next
//! run is as good as the first.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Postgres, Running, Scene, Session};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How soon pgkeep must have ended after a signal: a child gets five seconds to end by itself.
const PROMPT: Duration = Duration::from_secs(10);

/// SplitMix64: as random as this needs, and the same again for the same seed.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `PGKEEP_TEST_SEED`, or by the clock; the seed is printed when the test fails.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("PGKEEP_TEST_SEED").ok().map(|seed| seed.parse().expect("PGKEEP_TEST_SEED"));
        let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
        println!("repeat with PGKEEP_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Up to `limit`, evenly.
    pub(crate) fn duration(&mut self, limit: Duration) -> Duration {
        limit.mul_f64((self.next() >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[test]
fn killed_at_100_random_instants_there_are_whole_backups_or_none() {
    let mut random = Random::seeded();
    let server = Postgres::shared(17);
    let scene = Scene::with_megabytes(server, "instants", 4);
    let begin = Instant::now();
    scene.now().ok();
    let whole_run = begin.elapsed();
    let mut finished = 2;
    let mut cut = 0;
    for instant in 0..100 {
        let delay = random.duration(whole_run.mul_f64(1.1));
        let mut running = scene.now().spawn();
        // Not to wait for something, but to strike at a random instant.
        std::thread::sleep(delay);
        running.kill(Signal::SIGKILL);
        let outcome = running.wait();
        cut += usize::from(outcome.signal.is_some());
        crate::support::wait_until_gone(&scene.db);
        let list = scene.at(["backup", "list"]).json();
        let listed = list["backups"].as_array().unwrap().len();
        assert_eq!(listed, crate::support::backup_dirs(scene.folder()).len(), "instant {instant}, {delay:?}: {list:#}");
        let more = listed - finished;
        assert!(more <= 1 && (more == 1 || outcome.code != Some(0)), "instant {instant}, {delay:?}: {outcome}");
        finished = listed;
    }
    assert!(cut >= 50, "only {cut} of 100 kills came before the end of a run of {whole_run:?}");

    scene.now().ok();
    let backups = crate::support::backup_dirs(scene.folder());
    assert_eq!(backups.len(), finished + 1);
    // What has no mark of a dead writer yet might be another computer's: it must be a day old to be swept.
    for path in remains(&scene.folder()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let unmarked = [".pgkeep-probe.partial-", "..in-progress.partial-", ".catalogue-"];
        let unmarked = unmarked.iter().any(|begin| name.starts_with(begin)) || name.contains(".changed-");
        assert!(unmarked || path.is_dir(), "{} is left after the sweep", path.display());
        let day = Duration::from_secs(25 * 3600);
        std::fs::File::open(&path).unwrap().set_modified(std::time::SystemTime::now() - day).unwrap();
    }
    scene.now().ok();
    assert_eq!(remains(&scene.folder()), Vec::<PathBuf>::new());
    scene.all_intact(finished + 2);
    // Nor is anything left in the temp folder in which libpq was given passwords.
    let temp = crate::support::everything_below(scene.tmp());
    let harmless = |path: &PathBuf| path.is_dir() || path.file_name().unwrap() == "unlocked";
    assert_eq!(temp.into_iter().filter(|path| !harmless(path)).collect::<Vec<_>>(), Vec::<PathBuf>::new());

    let target = format!("{}_again", scene.db);
    let url = server.url(&scene.db);
    scene.at(["restore", "latest", "--into", &target, "--database-url", &url]).ok();
    let orders = "SELECT count(*), md5(string_agg(note, '' ORDER BY id)) FROM orders";
    assert_eq!(server.psql(&target, orders), server.psql(&scene.db, orders));
}

/// What belongs to no finished backup, nor to the index of their list, and hidden files. A folder comes after what is in it.
fn remains(folder: &Path) -> Vec<PathBuf> {
    let backups = crate::support::backup_dirs(folder);
    let mut all = crate::support::everything_below(folder);
    all.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let beside = backups.iter().any(|backup| backup.parent() == path.parent());
        if beside && (name.starts_with("catalogue-") || name.contains(".changed-") && !name.starts_with('.')) {
            return false;
        }
        let inside = backups.iter().any(|backup| path.starts_with(backup) || backup.starts_with(path));
        !inside || name.starts_with('.')
    });
    all.reverse();
    all
}

const SIGNALS: [(Signal, i32); 2] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)];

/// Sends the signal to `pid`; pgkeep must end with `code`, promptly, and say so in one line.
#[track_caller]
fn stops(running: Running, pid: i32, signal: Signal, code: i32) {
    let begin = Instant::now();
    kill(Pid::from_raw(pid), signal).unwrap();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(code), "{signal}: {outcome}");
    assert!(begin.elapsed() < PROMPT, "{signal} took {:?}: {outcome}", begin.elapsed());
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{outcome}");
    assert!(outcome.stderr.contains("nothing was left half-done"), "{outcome}");
}

/// Waits until `query`, asked of the server, answers `t`, or panics if the run ends before.
fn until(server: &Postgres, running: &mut Running, query: &str) {
    crate::support::wait_until(query, || {
        assert!(!running.has_ended(), "it ended before: {}", running.stderr());
        server.psql("postgres", query) == "t"
    });
}

/// Somebody waits for a lock in `db`.
fn waits(db: &str) -> String {
    format!(
        "SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
         WHERE NOT granted AND datname = '{db}'"
    )
}

#[test]
fn a_signal_while_the_database_is_inspected_leaves_nothing() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "inspect");
    for (signal, code) in SIGNALS {
        let _blocker = Session::hold(server, &scene.db, "LOCK TABLE pg_catalog.pg_extension");
        let mut running = scene.now().spawn();
        until(server, &mut running, &waits(&scene.db));
        let pid = running.pid();
        stops(running, pid, signal, code);
        scene.nothing_is_left();
    }
}

#[test]
fn a_signal_while_pg_dump_waits_leaves_nothing() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "waiting");
    for (signal, code) in SIGNALS {
        let _blocker = Session::hold(server, &scene.db, "LOCK TABLE orders");
        let mut running = scene.now().spawn();
        until(server, &mut running, &waits(&scene.db));
        let pid = running.pid();
        stops(running, pid, signal, code);
        scene.nothing_is_left();
    }
}

#[test]
fn a_signal_while_rows_are_dumped_leaves_nothing() {
    let scene = Scene::with_megabytes(Postgres::shared(17), "rows", 40);
    for (signal, code) in SIGNALS {
        let mut running = scene.now().spawn();
        crate::support::wait_until("the first stored bytes", || {
            assert!(!running.has_ended(), "it ended before: {}", running.stderr());
            let files = crate::support::everything_below(scene.folder());
            let mut partials = files.iter().filter(|path| path.to_string_lossy().contains(".sql.gz.partial-"));
            partials.any(|path| path.metadata().is_ok_and(|found| found.len() > 0))
        });
        let pid = running.pid();
        stops(running, pid, signal, code);
        scene.nothing_is_left();
    }
}

/// Every fsync takes a while, so that there is time between the archive and the manifest.
#[test]
fn a_signal_while_the_backup_is_published_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "publish");
    let log = scene.work().join("strace.log");
    let slow = ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", "trace=fsync"];
    for (signal, code) in SIGNALS {
        let mut running = scene.now().through(slow.iter().chain(&["-e", "inject=fsync:delay_enter=200000"])).spawn();
        crate::support::wait_until("the archive", || {
            assert!(!running.has_ended(), "it ended before: {}", running.stderr());
            let files = crate::support::everything_below(scene.folder());
            let archives = files.iter().filter(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.ends_with(".sql.gz") && !name.starts_with('.') && name != "globals.sql.gz"
            });
            archives.count() == 2
        });
        let tracer = running.pid();
        let traced = crate::support::processes_matching(scene.folder().to_str().unwrap());
        let pid = traced.iter().find(|process| process.parent == tracer).expect("pgkeep below strace").pid;
        stops(running, pid, signal, code);
        scene.nothing_is_left();
    }
}

#[test]
fn a_signal_while_a_restore_loads_or_proves_leaves_no_database() {
    // Its own, where the only scratch databases are this test's.
    let server = Postgres::start(17);
    let scene = Scene::with_megabytes(&server, "restoring", 40);
    let url = server.url(&scene.db);
    let everything = server.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1");
    for (name, doing) in [("loads", "%COPY % FROM stdin%"), ("proves", "%COPY % TO stdout%")] {
        for (signal, code) in SIGNALS {
            let target = format!("{}_{name}_{code}", scene.db);
            let restore = ["restore", "latest", "--into", &target, "--database-url", &url];
            let mut running = scene.at(restore).spawn();
            let at_work = format!(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname LIKE 'pgkeep\\_scratch%' AND query ILIKE '{doing}' \
                 AND state = 'active'"
            );
            until(&server, &mut running, &at_work);
            let pid = running.pid();
            stops(running, pid, signal, code);
            let left = server.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1");
            assert_eq!(left, everything, "{name}, {signal}");
            scene.nothing_is_left();
        }
    }
}

#[test]
fn a_signal_during_a_drill_leaves_no_server() {
    let scene = Scene::with_megabytes(Postgres::shared(17), "drilled", 16);
    // The throwaway server may run as another user, who must get at its folder.
    std::fs::set_permissions(scene.work(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    std::fs::set_permissions(scene.tmp(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let tmp = scene.tmp().display().to_string();
    for program in ["initdb", "postgres", "psql", "pg_dump"] {
        for (signal, code) in SIGNALS {
            let mut running = scene.at(["drill", "latest"]).spawn();
            let pid = running.pid();
            crate::support::wait_until(program, || {
                assert!(!running.has_ended(), "it ended before {program} ran: {}", running.stderr());
                crate::support::processes_matching(&tmp).iter().any(|process| process.name == program)
            });
            stops(running, pid, signal, code);
            crate::support::wait_until_gone(&tmp);
            scene.nothing_is_left();
        }
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once_and_the_next_one_sweeps() {
    let scene = Scene::new(Postgres::shared(17), "twice");
    let begun = scene.work().join("begun");
    let deaf = format!(
        "case \"$*\" in *--version*) exec \"$REAL\" \"$@\";; esac\ntrap '' TERM INT\n: > '{}'\nwhile :; do sleep 0.2; done",
        begun.display()
    );
    let bin = crate::support::fake_bin_dir(scene.server.bin_dir(), [("pg_dump", deaf.as_str())]);
    for (signal, code) in SIGNALS {
        let mut running = scene.now().bin_dir(bin.path()).spawn();
        crate::support::wait_until("pg_dump", || begun.exists());
        running.kill(signal);
        running.until_stderr("stopping");
        let begin = Instant::now();
        running.kill(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        crate::support::wait_until_gone(&scene.db);
        scene.all_intact(1);
        std::fs::remove_file(&begun).unwrap();
    }
    scene.now().ok();
    scene.all_intact(2);
    let hidden = |path: &Path| path.file_name().unwrap().to_string_lossy().starts_with('.');
    assert!(!crate::support::everything_below(scene.folder()).iter().any(|path| hidden(path)));
}

#[test]
fn of_20_runs_started_at_once_one_runs_and_the_others_name_it() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "parallel");
    let blocker = Session::hold(server, &scene.db, "LOCK TABLE orders");
    let mut runs: Vec<Running> = (0..20).map(|_| scene.now().spawn()).collect();
    crate::support::wait_until("19 of 20 to end", || {
        runs.iter_mut().filter_map(|run| run.has_ended().then_some(())).count() == 19
    });
    let holder = runs.iter_mut().position(|run| !run.has_ended()).unwrap();
    let mut holder = runs.swap_remove(holder);
    let pid = holder.pid();
    for run in runs {
        let outcome = run.wait();
        assert_eq!(outcome.code, Some(6), "{outcome}");
        outcome.explains(&[&format!("backup, pid {pid}, since 20")], "its lock ends with it");
    }
    // The lock ends with its process, however it ends.
    holder.kill(Signal::SIGKILL);
    let outcome = holder.wait();
    assert_eq!(outcome.signal, Some(Signal::SIGKILL as i32), "{outcome}");
    drop(blocker);
    scene.now().ok();
    scene.all_intact(2);
}
