//! Faults at every phase of a restore: its children killed, its sessions ended, the server gone, pgkeep itself killed or
//! stopped, the disk full; at each phase as the server sees it, and at random instants (rows 38, 39, 43 to 46).
//!
//! After each the target is whole or not there, what was there is untouched, nothing of ours runs or is left after the
//! next run, and a restore then succeeds. `PGKEEP_TEST_SEED` repeats the instants of a run.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::kill::Random;
use crate::random_schemas::in_parallel;
use crate::support::{Disk, Forged, Outcome, Pgkeep, Postgres, Running, dump_lines, processes_matching, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgkeep::catalogue::FileKind;
use std::time::{Duration, Instant};

const MAJOR: u32 = 17;

/// Every phase lasts: rows are checked slowly, an index is built slowly, keys are checked against many rows.
const SHOP: &str = "
    CREATE FUNCTION public.slow(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN PERFORM pg_sleep(0.004); RETURN n; END $$;
    CREATE TABLE clients (id int PRIMARY KEY, name text, CHECK (public.slow(id) > 0));
    CREATE TABLE orders (id int PRIMARY KEY, client int REFERENCES clients, parent int REFERENCES orders, note text);
    CREATE TABLE items (id serial PRIMARY KEY, main int REFERENCES orders, gift int REFERENCES orders, note text);
    INSERT INTO clients SELECT n, 'client ' || n FROM generate_series(1, 60) n;
    INSERT INTO orders SELECT n, 1 + n % 60, 1 + n / 2, md5(n::text) FROM generate_series(1, 60000) n;
    INSERT INTO items (main, gift, note) SELECT 1 + n % 60000, NULLIF(n, 7), md5(n::text) FROM generate_series(1, 60000) n;
    CREATE INDEX slow_index ON clients (public.slow(id));
    CREATE INDEX ON orders (client);
    CREATE INDEX ON orders (note, client);
    CREATE INDEX ON items (main, note);
    CREATE MATERIALIZED VIEW busy AS SELECT o.id, o.note, count(*) FROM orders o JOIN items i ON i.main = o.id GROUP BY o.id;
    GRANT SELECT ON orders TO pg_monitor;";

/// The phases of a restore by what its sessions do.
const PHASES: [(&str, &str); 7] = [
    ("rows", "%COPY%FROM stdin%"),
    ("primary keys", "%ADD CONSTRAINT%PRIMARY KEY%"),
    ("indexes", "%CREATE INDEX%"),
    ("foreign keys", "%FOREIGN KEY%"),
    ("materialized views", "%REFRESH MATERIALIZED VIEW%"),
    ("statistics", "analyze%"),
    ("proof", "%COPY%TO stdout%"),
];

/// A server with the shop, a backup of it, and a database that is not to be touched.
struct Field {
    server: Postgres,
    source: String,
    other: String,
    stored: Forged,
    expected: Vec<Vec<u8>>,
    precious: Vec<Vec<u8>>,
}

impl Field {
    fn new(sql: &str) -> Self {
        Self::on(Postgres::start_with(MAJOR, &["autovacuum=off"]), sql)
    }

    fn on(server: Postgres, sql: &str) -> Self {
        let (source, other) = (server.create_db("shop"), server.create_db("other"));
        server.psql(&source, sql);
        server.psql(&other, "CREATE TABLE precious AS SELECT n AS a FROM generate_series(1, 100) n");
        let stored = Forged::back_up(&server, &source);
        let (expected, precious) = (sorted(&server, &source), sorted(&server, &other));
        Self { server, source, other, stored, expected, precious }
    }

    fn restore(&self, into: &str) -> Pgkeep {
        in_parallel(self.stored.restore(&self.server, into))
    }

    /// A name that no database has yet.
    fn target(&self) -> String {
        let name = self.server.create_db("target");
        self.server.psql("postgres", &format!("DROP DATABASE {name}"));
        name
    }

    fn exists(&self, name: &str) -> bool {
        self.ask(&format!("SELECT count(*) > 0 FROM pg_database WHERE datname = '{name}'")) == "t"
    }

    fn ask(&self, query: &str) -> String {
        self.server.psql("postgres", query)
    }

    fn scratch(&self) -> String {
        self.ask("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'pgkeep\\_scratch%'")
    }

    /// Waits until a session of the restore does `what`; gives `false` if the restore ends before, or is past it.
    fn until(&self, running: &mut Running, what: &str) -> bool {
        // Asked again and again by the server itself, which sees what lasts a few milliseconds.
        let seen = format!(
            "DO $$ BEGIN FOR attempt IN 1 .. 40 LOOP PERFORM pg_stat_clear_snapshot();
             IF EXISTS (SELECT FROM pg_stat_activity WHERE datname LIKE 'pgkeep\\_scratch%' AND state = 'active'
                 AND query ILIKE '{what}') THEN RAISE EXCEPTION 'seen'; END IF; PERFORM pg_sleep(0.002); END LOOP; END $$"
        );
        while !running.has_ended() {
            if self.server.try_psql("postgres", &seen).is_err_and(|error| error.contains("seen")) {
                return true;
            }
        }
        false
    }

    /// Whole, or not there; nothing else was touched; no program of ours runs. Gives whether it is there.
    #[track_caller]
    fn whole_or_gone(&self, target: &str, outcome: &Outcome, what: &str) -> bool {
        wait_until("the programs of the restore to end", || children(&self.server, None).is_empty());
        let there = self.exists(target);
        if there {
            assert!(sorted(&self.server, target) == self.expected, "{what}: {target} is not whole: {outcome}");
            self.server.psql("postgres", &format!("DROP DATABASE {target}"));
        } else {
            assert_ne!(outcome.code, Some(0), "{what}: {outcome}");
        }
        assert!(sorted(&self.server, &self.other) == self.precious, "{what}: {outcome}");
        there
    }

    /// The next restore succeeds and leaves no database but its own, and the source is what it was.
    #[track_caller]
    fn recovers(&self) {
        let ours = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'pgkeep\\_scratch%'";
        wait_until("the sessions of the dead to end", || self.ask(ours) == "0");
        let target = self.target();
        self.restore(&target).ok();
        assert_eq!(self.scratch(), "", "left behind");
        assert!(sorted(&self.server, &target) == self.expected && sorted(&self.server, &self.source) == self.expected);
    }
}

/// The lines of a dump in a fixed order.
fn sorted(server: &Postgres, db: &str) -> Vec<Vec<u8>> {
    let mut lines = dump_lines(&server.pg_dump(db, []));
    lines.sort();
    lines
}

/// The PostgreSQL programs that pgkeep started for this server, those of one pgkeep or of any.
fn children(server: &Postgres, of: Option<i32>) -> Vec<i32> {
    let found = processes_matching(server.socket_dir().to_str().unwrap()).into_iter();
    let found = found.filter(|process| matches!(process.name.as_str(), "psql" | "pg_dump"));
    // The test's own programs are not pgkeep's.
    let mine = std::process::id().cast_signed();
    found
        .filter(|process| of.map_or(process.parent != mine, |of| process.parent == of))
        .map(|process| process.pid)
        .collect()
}

/// Something that goes wrong while a restore runs.
type Fault = fn(&Field, &mut Running);

fn children_killed(field: &Field, running: &mut Running) {
    for pid in children(&field.server, Some(running.pid())) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn sessions_ended(field: &Field, _: &mut Running) {
    field.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'pgkeep\\_scratch%'");
}

fn server_crashed(field: &Field, _: &mut Running) {
    field.server.crash_and_start();
}

fn killed(_: &Field, running: &mut Running) {
    running.kill(Signal::SIGKILL);
}

fn stopped(_: &Field, running: &mut Running) {
    running.kill(Signal::SIGTERM);
}

/// The fault at every phase; each must have been met at least `least` times.
fn at_every_phase(fault: Fault) {
    let field = Field::new(SHOP);
    for (phase, doing) in PHASES {
        let met = (0..5).any(|_| {
            let target = field.target();
            let mut running = field.restore(&target).spawn();
            let met = field.until(&mut running, doing);
            if met {
                fault(&field, &mut running);
            }
            let outcome = running.wait();
            assert!(met || outcome.code == Some(0), "{phase}: it ended before: {outcome}");
            if !field.whole_or_gone(&target, &outcome, phase) && outcome.signal.is_none() {
                said(&field, &outcome, phase);
            }
            met
        });
        assert!(met, "{phase}: no session was seen at it");
    }
    field.recovers();
}

/// Whoever survives a fault says what happened, once, and cleans up; a server that was gone may have kept it from that,
/// and then it says so.
#[track_caller]
fn said(field: &Field, outcome: &Outcome, phase: &str) {
    let errors = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    assert_eq!(errors, 1, "{phase}: {outcome}");
    let left = field.scratch();
    assert!(left.is_empty() || outcome.stderr.contains("could not be dropped"), "{phase}: {left} is left: {outcome}");
}

#[test]
fn a_child_killed_at_any_phase() {
    at_every_phase(children_killed);
}

#[test]
fn sessions_ended_at_any_phase() {
    at_every_phase(sessions_ended);
}

#[test]
fn a_server_that_crashes_at_any_phase() {
    at_every_phase(server_crashed);
}

#[test]
fn pgkeep_killed_at_any_phase() {
    at_every_phase(killed);
}

#[test]
fn pgkeep_stopped_at_any_phase() {
    at_every_phase(stopped);
}

#[test]
fn any_fault_at_random_instants() {
    let mut random = Random::seeded();
    let field = Field::new(SHOP);
    let begin = Instant::now();
    field.restore(&field.target()).ok();
    let whole = begin.elapsed();
    let faults: [(&str, Fault); 5] = [
        ("children killed", children_killed),
        ("sessions ended", sessions_ended),
        ("server crashed", server_crashed),
        ("pgkeep killed", killed),
        ("pgkeep stopped", stopped),
    ];
    let mut met = 0;
    for round in 0..25 {
        let (name, fault) = faults[round % faults.len()];
        let (target, delay) = (field.target(), random.duration(whole));
        let mut running = field.restore(&target).spawn();
        // Not to wait for something, but to strike at a random instant.
        std::thread::sleep(delay);
        fault(&field, &mut running);
        let outcome = running.wait();
        let what = format!("round {round}, {name} after {delay:?} of {whole:?}");
        met += usize::from(!field.whole_or_gone(&target, &outcome, &what));
    }
    assert!(met > 8, "only {met} of 25 faults came before the end");
    field.recovers();
}

#[test]
fn a_live_database_is_whole_whatever_happens_while_another_takes_its_place() {
    let mut random = Random::seeded();
    let field = Field::new("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5000)");
    let faults: [Fault; 4] = [children_killed, sessions_ended, killed, stopped];
    let (mut kept, mut whole) = (0, Duration::ZERO);
    for round in 0..16 {
        let live = field.server.create_db("live");
        field.server.psql(&live, "CREATE TABLE t AS SELECT 'old' AS a");
        let begin = Instant::now();
        let mut running = field.restore(&live).arg("--swap").spawn();
        if round > 0 {
            std::thread::sleep(random.duration(whole));
            faults[round % faults.len()](&field, &mut running);
        }
        let outcome = running.wait();
        whole = whole.max(begin.elapsed());
        wait_until("the programs of the restore to end", || children(&field.server, None).is_empty());
        let old = field.server.psql(&live, "SELECT count(*) FROM t") == "1";
        kept += usize::from(old);
        if old {
            assert_ne!(outcome.code, Some(0), "round {round}: {outcome}");
            assert_eq!(field.server.psql(&live, "SELECT a FROM t"), "old", "round {round}: {outcome}");
        } else {
            assert!(sorted(&field.server, &live) == field.expected, "round {round}: {outcome}");
            let before = format!("{live}_before_{}", field.stored.id());
            assert_eq!(field.server.psql(&before, "SELECT a FROM t"), "old", "round {round}: {outcome}");
        }
    }
    assert!(kept > 0, "no fault came before the end");
    field.recovers();
}

#[test]
fn a_disk_that_fills_up_anywhere_leaves_no_database() {
    let disk = Disk::new("size=400m");
    let server = Postgres::start_with(MAJOR, &["autovacuum=off"]);
    let place = disk.path().join("tablespace");
    std::fs::create_dir(&place).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(server.socket_dir()).unwrap());
    std::os::unix::fs::chown(&place, Some(owner), None).unwrap();
    server.psql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    let field = Field::on(server, &format!("SET default_tablespace = small; {SHOP}"));
    let used = || {
        let files = crate::support::everything_below(disk.path()).into_iter().filter(|path| path.is_file());
        files.map(|path| path.metadata().unwrap().len().div_ceil(4096)).sum::<u64>()
    };
    let whole = used();
    let mut refused = 0;
    for step in 0..10 {
        // Also what earlier checkpoints have not removed yet.
        field.ask("CHECKPOINT");
        disk.remount(&format!("size={}", (used() + whole * step / 10 + 2) * 4096));
        let target = field.target();
        let outcome = field.restore(&target).run();
        if !field.whole_or_gone(&target, &outcome, &format!("step {step}")) {
            refused += 1;
            outcome.explains(&["No space left on device"], "make room");
            assert_eq!(field.scratch(), "", "step {step}: {outcome}");
        }
    }
    assert!(refused >= 6, "only {refused} restores found the disk full");
    disk.remount("size=400m");
    field.recovers();
}

/// What the restored database lacks, done to it by a pg_dump that first runs a statement; and what is named.
const DAMAGES: [(&str, &str, &str); 7] = [
    ("DELETE FROM items WHERE id = 137", "TABLE DATA", "public.items"),
    ("UPDATE items SET note = note || '.' WHERE id = 4000", "TABLE DATA", "public.items"),
    ("SELECT setval('items_id_seq', 3) \\g /dev/null", "SEQUENCE SET", "public.items_id_seq"),
    ("DROP INDEX slow_index", "INDEX", "public.slow_index"),
    ("REVOKE SELECT ON orders FROM pg_monitor", "ACL", "public.TABLE orders"),
    ("ALTER TABLE items DROP CONSTRAINT items_gift_fkey", "FK CONSTRAINT", "public.items items_gift_fkey"),
    ("REFRESH MATERIALIZED VIEW busy WITH NO DATA", "MATERIALIZED VIEW DATA", "public.busy"),
];

#[test]
fn what_is_missing_after_the_load_is_named_by_the_restore_itself() {
    let field = Field::new(SHOP);
    for (damage, kind, name) in DAMAGES {
        let script = format!(
            "case \"$PGDATABASE\" in pgkeep_scratch_*)\n\"${{REAL%pg_dump}}psql\" -X -q -v ON_ERROR_STOP=1 <<'SQL' >&2 || \
             exit 97\n{damage}\nSQL\nesac\nexec \"$REAL\" \"$@\""
        );
        let programs = crate::support::fake_bin_dir(field.server.bin_dir(), [("pg_dump", script.as_str())]);
        let (report, code) = field.restore(&field.target()).bin_dir(programs.path()).json_with_code();
        let found = &report["differences"][0];
        assert_eq!((code, report["proof"].as_str()), (4, Some("failed")), "{damage}: {report:#}");
        assert_eq!((found["kind"].as_str(), found["name"].as_str()), (Some(kind), Some(name)), "{damage}: {report:#}");
        assert_eq!(report["differences"].as_array().map(Vec::len), Some(1), "{damage}: {report:#}");
    }
}

#[test]
fn a_damaged_member_is_named_with_its_file_and_nothing_is_left() {
    let field = Field::new(SHOP);
    let contents = field.stored.contents();
    let data = field.stored.file(FileKind::Data);
    let file = data.file_name().unwrap().to_str().unwrap().to_owned();
    let intact = std::fs::read(&data).unwrap();
    let members: Vec<(u64, u64)> = contents.files[0]
        .members
        .iter()
        .scan((0, 0), |(stored, sql), member| {
            let place = (*stored + member.stored_bytes / 2, *sql);
            (*stored, *sql) = (*stored + member.stored_bytes, *sql + member.sql_bytes);
            Some(place)
        })
        .collect();
    let mut named = 0;
    for (place, sql) in members {
        let mut damaged = intact.clone();
        damaged[place as usize] ^= 0x10;
        std::fs::write(&data, damaged).unwrap();
        let target = field.target();
        let outcome = field.restore(&target).fails(4);
        assert!(outcome.stderr.contains(&file), "{outcome}");
        // The table whose rows begin in an earlier member and end behind its beginning.
        let entries: Vec<_> = contents.files[0].entries.iter().filter_map(|entry| entry.table).collect();
        if let Some(table) = entries.iter().find(|table| table.start < sql && sql < table.end) {
            assert!(outcome.stderr.contains(&table.name()), "{} at {sql}: {outcome}", table.name());
            named += 1;
        }
        assert!(!field.whole_or_gone(&target, &outcome, "damaged") && field.scratch().is_empty(), "{outcome}");
    }
    assert!(named > 0, "no member begins within a table");
    std::fs::write(&data, intact).unwrap();
    field.recovers();
}
