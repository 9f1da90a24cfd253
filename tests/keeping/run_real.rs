//! `pgkeep run` itself, on a real PostgreSQL: killed, stopped, started twice, overtaken by its own schedule, with a clock
//! that was moved, a configuration that changes, and a service manager that listens (faults 33 to 36).
#![cfg(unix)]

use crate::support::{
    Configured, Outcome, Pgkeep, Postgres, Running, Session, backup_dirs, fake_bin_dir, processes_matching, temp_dir,
    wait_until, wait_until_gone,
};
use chrono::{DateTime, Utc};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How soon pgkeep must have ended after a signal: a child gets five seconds to end by itself.
const PROMPT: Duration = Duration::from_secs(15);

/// A database and a configuration with one job, `shop`, that stores it in the folder `office`.
struct Site {
    server: &'static Postgres,
    db: String,
    home: Configured,
}

impl Site {
    fn new(hint: &str, job: &str) -> Self {
        let server = Postgres::shared(17);
        let db = server.create_db(hint);
        server.psql(&db, "CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 1000) i");
        let home = Configured::new("");
        let site = Self { server, db, home };
        site.configure(job);
        site
    }

    fn configure(&self, job: &str) {
        let text = format!(
            "[destination.office]\ntype = 'folder'\npath = 'office'\n[destination.attic]\ntype = 'folder'\npath = 'attic'\n\
             [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\n{}{job}\n",
            if job.contains("destinations") { "" } else { "destinations = ['office']\n" }
        );
        std::fs::write(self.home.path().join("pgkeep.toml"), text).unwrap();
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn pgkeep<const N: usize>(&self, args: [&str; N]) -> Pgkeep {
        let command = self.home.pgkeep(args).server(self.server).env("SHOP_URL", self.server.url(&self.db));
        command.env("PGKEEP_STATE_DIR", self.state())
    }

    fn run(&self) -> Running {
        self.pgkeep(["run"]).spawn()
    }

    fn manifests(&self) -> Vec<Value> {
        let folder = self.home.path().join("office");
        if !folder.exists() {
            return Vec::new();
        }
        let read = |dir: PathBuf| serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
        let mut all: Vec<Value> = backup_dirs(folder).into_iter().map(read).collect();
        all.sort_by_key(|manifest| time(manifest, "started_at"));
        all
    }

    fn until_backups(&self, running: &mut Running, count: usize) {
        wait_until_long(&format!("{count} backups"), || {
            assert!(!running.has_ended(), "it ended: {}", running.stderr());
            self.manifests().len() >= count
        });
    }

    /// No slot twice, nothing at the same time, and nothing left running.
    fn each_slot_once(&self) -> Vec<DateTime<Utc>> {
        wait_until_gone(&self.db);
        let manifests = self.manifests();
        let slots: Vec<DateTime<Utc>> = manifests.iter().map(|one| time(one, "scheduled_for")).collect();
        let mut different = slots.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), slots.len(), "a slot was done twice: {slots:?}");
        for pair in manifests.windows(2) {
            assert!(time(&pair[0], "finished_at") <= time(&pair[1], "started_at"), "{pair:#?}");
        }
        slots
    }
}

fn time(manifest: &Value, field: &str) -> DateTime<Utc> {
    manifest[field].as_str().unwrap_or_else(|| panic!("no {field} in {manifest:#}")).parse().unwrap()
}

fn wait_until_long(what: &str, happened: impl FnMut() -> bool) {
    let within = crate::support::processes::wait_until_within(Duration::from_secs(120), happened);
    assert!(within, "waited in vain for {what}");
}

fn stop(mut running: Running, signal: Signal) -> Outcome {
    let begin = Instant::now();
    running.kill(signal);
    let outcome = running.wait();
    assert!(begin.elapsed() < PROMPT, "{signal} took {:?}: {outcome}", begin.elapsed());
    outcome
}

/// A random time up to `limit`, told where the test fails.
fn random(limit: Duration) -> Duration {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    let time = limit.mul_f64((u64::from_le_bytes(bytes) >> 11) as f64 / (1_u64 << 53) as f64);
    println!("after {time:?}");
    time
}

#[test]
fn killed_and_stopped_at_random_instants_every_due_backup_exists_once() {
    const EVERY: i64 = 6;
    let site = Site::new("run_random", "schedule = '@every 6s'");
    let (begin, mut up, mut logs) = (Instant::now(), Vec::new(), String::new());
    while begin.elapsed() < Duration::from_secs(75) {
        let mut running = site.run();
        running.until_stderr("runs 1 job");
        let from = Utc::now();
        // Not to wait for something, but to strike at a random instant.
        std::thread::sleep(random(Duration::from_secs(25)));
        let to = Utc::now();
        if random(Duration::from_secs(1)) < Duration::from_millis(500) {
            running.kill(Signal::SIGKILL);
            logs.push_str(&running.wait().stderr);
        } else {
            let outcome = stop(running, Signal::SIGTERM);
            assert!(matches!(outcome.code, Some(0 | 143)), "{outcome}");
            logs.push_str(&outcome.stderr);
        }
        up.push((from, to));
        wait_until_gone(&site.db);
        std::thread::sleep(random(Duration::from_secs(3)));
    }
    let slots = site.each_slot_once();
    let mut certain = 0;
    for (from, to) in up {
        let mut slot = (from.timestamp() / EVERY + 1) * EVERY;
        while slot + EVERY < to.timestamp() {
            let at = DateTime::from_timestamp(slot, 0).unwrap();
            let written = at.format("%Y-%m-%dT%H:%M:%S+00:00").to_string();
            // On a machine that is slow the one before may still run, which is said; else it must be there.
            let skipped = logs.contains(&format!("due at {written} is skipped"));
            assert!(skipped || slots.contains(&at), "{at} was not done: {slots:?}\n{logs}");
            certain += i32::from(!skipped);
            slot += EVERY;
        }
    }
    assert!(certain >= 2, "only {certain} slots had a quiet interval:\n{logs}");
    let verified = site.pgkeep(["backup", "verify", "--all"]).json();
    assert!(verified["backups"].as_array().unwrap().iter().all(|one| one["result"] == "intact"), "{verified:#}");
}

#[test]
fn a_run_and_a_backup_by_hand_exclude_each_other_and_name_each_other() {
    let site = Site::new("run_locked", "schedule = '0 2 * * *'\nlock_wait_timeout = '10m'");
    let blocker = Session::hold(site.server, &site.db, "LOCK TABLE orders");
    let mut by_hand = site.pgkeep(["backup", "now", "shop"]).spawn();
    wait_until("the lock", || site.state().join("locks/shop.lock").exists());
    let mut running = site.run();
    running.until_stderr("locked by another run");
    let told = running.stderr();
    assert!(told.contains(&format!("backup, pid {},", by_hand.pid())) && told.contains("trying again at"), "{told}");
    let outcome = stop(running, Signal::SIGTERM);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    by_hand.kill(Signal::SIGKILL);
    by_hand.wait();
    wait_until_gone(&site.db);

    let mut running = site.run();
    running.until_stderr("the first backup begins");
    wait_until("the lock", || {
        let note = std::fs::read_to_string(site.state().join("locks/shop.lock")).unwrap_or_default();
        note.contains(&format!("\"pid\":{}", running.pid()))
    });
    let by_hand = site.pgkeep(["backup", "now", "shop"]).fails(6);
    by_hand.explains(&[&format!("backup, pid {},", running.pid())], "its lock ends with it");
    let second = site.pgkeep(["run"]).fails(6);
    second.explains(&[&format!("pgkeep run, pid {},", running.pid())], "state_dir");
    let (status, _) = site.pgkeep(["status"]).json_with_code();
    assert_eq!(status["running"], true, "{status:#}");
    drop(blocker);
    site.until_backups(&mut running, 1);
    stop(running, Signal::SIGTERM);
    assert_eq!(site.pgkeep(["status"]).json()["running"], false);
}

#[test]
fn what_was_missed_while_the_computer_was_off_is_caught_up_once() {
    let site = Site::new("run_missed", "schedule = '0 2 * * *'");
    let mut running = site.run();
    running.until_stderr(" stored in office");
    assert!(running.stderr().contains("the first backup begins"), "{}", running.stderr());
    // It may still be looking what can go, and is then not idle.
    let outcome = stop(running, Signal::SIGTERM);
    assert!(matches!(outcome.code, Some(0 | 143)), "{outcome}");
    for round in 0..2 {
        let later = site.pgkeep(["run"]).through(["faketime", "-f", "+3d"]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let mut running = later.spawn();
        if round == 0 {
            running.until_stderr("begins that was missed at");
            running.until_stderr(" stored in office");
        } else {
            running.until_stderr("runs 1 job");
        }
        // faketime stands before pgkeep: the signal is for that.
        let pids = processes_matching(&site.db);
        let pgkeep = pids.iter().find(|process| process.name == "pgkeep").expect("pgkeep");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pgkeep.pid), Signal::SIGTERM).unwrap();
        let outcome = running.wait();
        assert!(outcome.stderr.contains("ended"), "{outcome}");
        let slots = site.each_slot_once();
        assert_eq!((slots.len(), (slots[1] - slots[0]).num_days()), (2, 3), "{slots:?}");
    }
}

#[test]
fn a_backup_that_is_longer_than_its_schedule_skips_and_says_so() {
    let site = Site::new("run_long", "schedule = '@every 2s'\nlock_wait_timeout = '10m'");
    let blocker = Session::hold(site.server, &site.db, "LOCK TABLE orders");
    let mut running = site.run();
    running.until_stderr("is skipped: the one due at");
    assert_eq!(site.manifests().len(), 0);
    let dumps = processes_matching(&site.db).iter().filter(|process| process.name == "pg_dump").count();
    assert!(dumps <= 1, "{dumps} dumps at once");
    drop(blocker);
    site.until_backups(&mut running, 2);
    stop(running, Signal::SIGTERM);
    site.each_slot_once();
}

#[test]
fn a_signal_at_any_instant_ends_it_soon_and_leaves_nothing() {
    let site = Site::new("run_signals", "schedule = '@every 2s'");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        for _ in 0..6 {
            let mut running = site.run();
            running.until_stderr("runs 1 job");
            std::thread::sleep(random(Duration::from_millis(2500)));
            let outcome = stop(running, signal);
            let stopped = outcome.stderr.contains("backup stopped");
            let expected = if stopped { code } else { 0 };
            assert_eq!(outcome.code, Some(expected), "{outcome}");
            assert!(outcome.stderr.contains("stopping") && outcome.stderr.trim_end().ends_with("ended"), "{outcome}");
            wait_until_gone(&site.db);
            let unfinished: Vec<PathBuf> = crate::support::everything_below(site.home.path().join("office"))
                .into_iter()
                .filter(|path| path.file_name().unwrap().to_string_lossy().contains(".partial-"))
                .collect();
            assert!(unfinished.is_empty(), "{unfinished:?}");
        }
    }
    site.each_slot_once();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let site = Site::new("run_twice", "schedule = '0 2 * * *'");
    let begun = site.home.path().join("begun");
    let deaf = format!(
        "case \"$*\" in *--version*) exec \"$REAL\" \"$@\";; esac\ntrap '' TERM INT\n: > '{}'\nwhile :; do sleep 0.2; done",
        begun.display()
    );
    let bin = fake_bin_dir(site.server.bin_dir(), [("pg_dump", deaf.as_str())]);
    let mut running = site.pgkeep(["run"]).bin_dir(bin.path()).spawn();
    wait_until_long("pg_dump", || begun.exists());
    running.kill(Signal::SIGTERM);
    running.until_stderr("stopping 1 run");
    let begin = Instant::now();
    running.kill(Signal::SIGTERM);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(143), "{outcome}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    wait_until_gone(&site.db);
}

#[test]
fn a_new_configuration_is_read_on_sighup_and_a_wrong_one_is_not() {
    let site = Site::new("run_reload", "schedule = '0 2 * * *'");
    let mut running = site.run();
    running.until_stderr(" stored in office");
    site.configure("schedule = 'whenever'");
    running.kill(Signal::SIGHUP);
    running.until_stderr("error: the configuration was not read again, the old one goes on");
    assert!(running.stderr().contains("whenever"), "{}", running.stderr());
    site.configure("");
    running.kill(Signal::SIGHUP);
    running.until_stderr("no job has a schedule");
    site.configure("schedule = '@every 2s'");
    running.kill(Signal::SIGHUP);
    running.until_stderr("the configuration was read again: 1 job");
    site.until_backups(&mut running, 3);
    stop(running, Signal::SIGTERM);
    site.each_slot_once();
}

#[test]
fn a_service_manager_hears_everything() {
    let site = Site::new("run_notify", "schedule = '0 2 * * *'");
    let folder = temp_dir();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let until = |needle: &str| {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{needle}: {error}: {heard:?}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            heard.push(message);
            if heard.last().unwrap().contains(needle) {
                return heard;
            }
        }
    };
    let command = site.pgkeep(["run"]).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000000");
    let mut running = command.spawn();
    let heard = until("READY=1");
    assert_eq!(heard, ["READY=1"]);
    until("STATUS=running: backup of shop");
    until("STATUS=idle; next: backup of shop at ");
    let begin = Instant::now();
    for _ in 0..4 {
        until("WATCHDOG=1");
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    running.kill(Signal::SIGHUP);
    let reloading = until("RELOADING=1").pop().unwrap();
    assert!(reloading.contains("\nMONOTONIC_USEC="), "{reloading}");
    until("READY=1");
    running.kill(Signal::SIGTERM);
    until("STOPPING=1");
    assert_eq!(running.wait().code, Some(0));
}

#[test]
fn what_fails_is_tried_again_and_told_by_status() {
    let site = Site::new("run_fails", "schedule = '0 2 * * *'");
    let away = site.server.url("no_such_database");
    let mut running = site.pgkeep(["run", "--log", "json"]).env("SHOP_URL", away).spawn();
    running.until_stderr("\"event\":\"failed\"");
    let outcome = stop(running, Signal::SIGTERM);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let lines: Vec<Value> = outcome.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let failed = lines.iter().find(|line| line["event"] == "failed").unwrap();
    assert_eq!((&failed["job"], &failed["level"], &failed["attempt"]), (&"shop".into(), &"error".into(), &1.into()));
    assert!(failed["error"].as_str().unwrap().contains("no_such_database"), "{failed}");
    let (status, code) = site.pgkeep(["status", "--check"]).json_with_code();
    let job = &status["jobs"][0];
    assert_eq!((code, &job["overdue"], &job["last_backup"]), (1, &true.into(), &Value::Null), "{status:#}");
    assert_eq!(job["failures"][0]["what"], "backup");
    let text = site.pgkeep(["status", "--check"]).fails(1).stdout;
    assert!(text.starts_with("job shop: backup overdue: it was due at "), "{text}");
    let text = site.pgkeep(["status"]).ok().stdout;
    assert!(text.contains("failed:") && text.contains("no_such_database") && text.contains("OVERDUE"), "{text}");
    // Once it was backed up all is well, and the failure is history.
    site.pgkeep(["backup", "now", "shop"]).ok();
    let (status, code) = site.pgkeep(["status", "--check"]).json_with_code();
    let job = &status["jobs"][0];
    assert_eq!((code, &job["overdue"], job["failures"].as_array().unwrap().len()), (0, &false.into(), 0), "{status:#}");
    assert!(job["last_backup_age_seconds"].as_i64().unwrap() < 300 && job["next_backup"].is_string(), "{status:#}");
    assert_eq!(site.pgkeep(["status", "--check"]).ok().stdout, "ok: 1 of 1 watched, nothing is overdue\n");
}

#[test]
fn drills_run_when_they_are_due_and_a_copy_that_was_missing_is_made() {
    let job = "schedule = '@every 3s'\ndestinations = ['office', 'attic']\ndrill = { schedule = '@every 5s' }";
    let site = Site::new("run_drills", job);
    let attic = site.home.path().join("attic");
    std::fs::write(&attic, "a file where the folder should be").unwrap();
    let mut running = site.run();
    running.until_stderr("; not in attic: ");
    running.until_stderr("is not where `require` wants it: stored in 1 of 2 destinations");
    std::fs::remove_file(&attic).unwrap();
    running.until_stderr(", missing in attic, was copied from office");
    running.until_stderr(" passed (");
    stop(running, Signal::SIGTERM);
    site.each_slot_once();
    let status = site.pgkeep(["status"]).json();
    assert_eq!(status["jobs"][0]["last_drill_result"], "passed", "{status:#}");
    assert!(status["jobs"][0]["next_drill"].is_string());
}

#[test]
fn a_configuration_without_schedules_is_refused_with_an_example() {
    let site = Site::new("run_nothing", "");
    site.pgkeep(["run"]).fails(2).explains(&["no job has a schedule"], "schedule = \"0 2 * * *\"");
}

#[test]
fn under_the_journal_lines_have_a_priority_and_no_time() {
    let site = Site::new("run_journal", "schedule = '0 2 * * *'");
    let command = ["/bin/sh", "-c", "export JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) && exec \"$@\"", "sh"];
    let mut running = site.pgkeep(["run"]).through(command).spawn();
    running.until_stderr(" stored in office");
    let outcome = stop(running, Signal::SIGTERM);
    assert!(outcome.stderr.lines().all(|line| line.starts_with('<')), "{outcome}");
    assert!(outcome.stderr.contains("\n<6>job shop: backup 20"), "{outcome}");
}

#[test]
fn status_tells_damage_and_a_catalogue_that_cannot_be_read_apart() {
    let site = Site::new("run_status", "schedule = '0 2 * * *'");
    site.pgkeep(["backup", "now", "shop"]).ok();
    let office = site.home.path().join("office");
    let found = site.pgkeep(["status", "--at"]).arg(&office).json();
    assert_eq!(
        (&found["jobs"][0]["job"], found["jobs"][0]["databases"].as_array().unwrap().len()),
        (&"shop".into(), 1)
    );
    let [dir] = backup_dirs(&office).try_into().unwrap();
    let data = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let data =
        data.into_iter().find(|path| path.to_string_lossy().ends_with(".sql.gz") && !path.ends_with("globals.sql.gz"));
    std::fs::write(data.unwrap(), "damage").unwrap();
    site.pgkeep(["backup", "verify", "--all"]).fails(4);
    let told = site.pgkeep(["status", "--check"]).fails(4);
    assert!(told.stdout.contains("is damaged"), "{told}");
    std::fs::rename(&office, site.home.path().join("elsewhere")).unwrap();
    std::fs::write(&office, "a file where the folder should be").unwrap();
    let told = site.pgkeep(["status", "--check"]).fails(5);
    assert!(told.stdout.contains("cannot be read"), "{told}");
    site.pgkeep(["status", "--at"]).arg(&office).fails(5);
}
