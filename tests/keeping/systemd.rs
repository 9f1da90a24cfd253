//! systemd's units as systemd itself reads them: no complaint, little exposure, the times that were meant; and what a backup
//! and a drill ask of the kernel is what the units let them ask.

use crate::support::{Postgres, pgkeep, temp_dir};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const UNITS: [&str; 5] = [
    "pgkeep.service",
    "pgkeep-backup@.service",
    "pgkeep-backup@.timer",
    "pgkeep-drill@.service",
    "pgkeep-drill@.timer",
];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// `systemd-analyze` in English, its output without colours.
pub(crate) fn analyze(args: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(args).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("SYSTEMD_COLORS", "0");
    command.output().unwrap_or_else(|error| panic!("systemd-analyze: {error}: run scripts/test.sh --setup"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The complaints of `systemd-analyze verify`: unknown keys are only told, and do not change its exit code.
pub(crate) fn complaints(units: &[PathBuf]) -> String {
    let paths: Vec<&str> = units.iter().map(|path| path.to_str().unwrap()).collect();
    let output = analyze(&[&["verify", "--man=no"], paths.as_slice()].concat());
    let complaints = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.success() || !complaints.is_empty(), "{output:?}");
    complaints
}

/// The units of `folder` below systemd/ in a folder of their own, with a program that is there.
fn copies(of: &str, into: &Path) -> Vec<PathBuf> {
    let copy = |name: &str| {
        let from = source(of).join(name);
        let from = if from.exists() { from } else { source(name) };
        let text = std::fs::read_to_string(from).unwrap();
        let path = into.join(name);
        std::fs::write(&path, text.replace("/usr/local/bin/pgkeep", env!("CARGO_BIN_EXE_pgkeep"))).unwrap();
        path
    };
    UNITS.map(copy).into()
}

#[test]
fn systemd_has_nothing_to_complain_about() {
    for folder in ["", "user"] {
        let dir = temp_dir();
        assert_eq!(complaints(&copies(folder, dir.path())), "", "systemd/{folder}");
    }
}

#[test]
fn a_unit_with_a_mistake_is_complained_about() {
    for (right, wrong) in [
        ("NoNewPrivileges=yes", "NoNewPrivilege=yes"),
        ("Type=notify", "Type=notified"),
        ("--config", "\"--config"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@no-such-set"),
    ] {
        let dir = temp_dir();
        let unit = copies("", dir.path()).remove(0);
        let text = std::fs::read_to_string(&unit).unwrap();
        assert!(text.contains(right));
        std::fs::write(&unit, text.replacen(right, wrong, 1)).unwrap();
        assert_ne!(complaints(&[unit]), "", "{wrong}");
    }
}

/// The number in `→ Overall exposure level for pgkeep.service: 1.5 OK`.
pub(crate) fn exposure(unit: &Path) -> f64 {
    let output = analyze(&["security", "--offline=true", "--no-pager", unit.to_str().unwrap()]);
    let table = text(&output.stdout);
    let line = table.lines().find(|line| line.contains("Overall exposure level"));
    let level = line.and_then(|line| line.rsplit_once(": ")).and_then(|(_, rest)| rest.split(' ').next());
    level.and_then(|level| level.parse().ok()).unwrap_or_else(|| panic!("no level in {output:?}"))
}

#[test]
fn the_services_are_little_exposed() {
    let dir = temp_dir();
    for unit in copies("", dir.path()).iter().filter(|path| path.extension().unwrap() == "service") {
        let level = exposure(unit);
        assert!(level <= 3.0, "{}: {level}", unit.display());
    }
    // The measure itself tells a bare service from these.
    let bare = dir.path().join("bare.service");
    std::fs::write(&bare, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(exposure(&bare) > 9.0);
}

/// The next three times of a timer, as systemd works them out.
fn next(timer: &str) -> Vec<String> {
    let text_of = std::fs::read_to_string(source(timer)).unwrap();
    let calendar = text_of.lines().find_map(|line| line.strip_prefix("OnCalendar=")).expect("OnCalendar");
    let output = analyze(&["calendar", "--iterations=3", "--base-time=2026-11-20 12:00:00", calendar]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let table = text(&output.stdout);
    let times = table.lines().filter(|line| line.contains("Next elapse:") || line.contains("Iter. #"));
    times.map(|line| line.split_once(": ").unwrap().1.trim().to_owned()).collect()
}

#[test]
fn backups_are_daily_at_two_and_drills_on_sundays() {
    let two = ["Sat 2026-11-21 02:00:00 UTC", "Sun 2026-11-22 02:00:00 UTC", "Mon 2026-11-23 02:00:00 UTC"];
    assert_eq!(next("pgkeep-backup@.timer"), two);
    let four = ["Sun 2026-11-22 04:00:00 UTC", "Sun 2026-11-29 04:00:00 UTC", "Sun 2026-12-06 04:00:00 UTC"];
    assert_eq!(next("pgkeep-drill@.timer"), four);
    for timer in ["pgkeep-backup@.timer", "pgkeep-drill@.timer"] {
        assert!(std::fs::read_to_string(source(timer)).unwrap().contains("\nPersistent=yes\n"), "{timer}");
    }
}

/// The system calls of a set, as this systemd knows them.
fn calls_of(set: &str) -> BTreeSet<String> {
    let output = analyze(&["syscall-filter", set]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    let mut calls = BTreeSet::new();
    for word in table.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if word.starts_with('@') {
            calls.extend(calls_of(word));
        } else {
            calls.insert(word.to_owned());
        }
    }
    calls
}

/// What the `SystemCallFilter=` lines of the service leave.
fn allowed_calls() -> BTreeSet<String> {
    let unit = std::fs::read_to_string(source("pgkeep.service")).unwrap();
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match line.strip_prefix('~') {
            None => allowed.extend(line.split(' ').flat_map(calls_of)),
            Some(denied) => {
                let denied: BTreeSet<String> = denied.split(' ').flat_map(calls_of).collect();
                allowed.retain(|call| !denied.contains(call));
            }
        }
    }
    assert!(allowed.contains("read") && !allowed.contains("mount"), "{allowed:?}");
    allowed
}

#[test]
fn a_backup_and_a_drill_ask_of_the_kernel_only_what_the_services_may() {
    let server = Postgres::shared(17);
    let db = server.create_db("kernel");
    server.psql(&db, "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
    let home = temp_dir();
    let log = |name: &str| home.path().join(name);
    let traced = |name: &str| {
        let log = log(name).display().to_string();
        pgkeep().server(server).through(["strace", "-f", "-qq", "-s", "0", "-o", &log])
    };
    let to = home.path().join("backups").display().to_string();
    traced("backup").args(["backup", "now", "--to", &to, "--database-url", &server.url(&db)]).ok();
    traced("drill").args(["drill", "latest", "--at", &to]).ok();

    let allowed = allowed_calls();
    let families: BTreeSet<&str> = ["AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"].into();
    // Made by root alone, so as to be root no longer for PostgreSQL's programs; the services run as a user.
    let roots = ["setuid", "setgid", "setgroups", "setresuid", "setresgid", "chown", "fchown", "fchownat", "lchown"];
    let mut denied = BTreeSet::new();
    let mut seen = 0;
    for name in ["backup", "drill"] {
        let trace = text(&std::fs::read(log(name)).unwrap());
        for line in trace.lines() {
            let rest = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
            let Some((call, args)) = rest.split_once('(') else { continue };
            if !call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || args.contains("ENOSYS") {
                continue;
            }
            seen += 1;
            let as_root = nix::unistd::geteuid().is_root() && roots.contains(&call);
            let family = args.split(',').next().unwrap_or_default();
            let makes_code = (call == "mmap" && args.contains("PROT_WRITE|PROT_EXEC"))
                || (matches!(call, "mprotect" | "pkey_mprotect") && args.contains("PROT_EXEC"));
            let foreign = call == "socket" && !families.contains(family);
            if makes_code || foreign || !(allowed.contains(call) || as_root) {
                denied.insert(format!("{name}: {call}({args}"));
            }
        }
    }
    assert!(seen > 1000, "strace saw {seen} calls");
    assert!(denied.is_empty(), "the services would be denied:\n{}", denied.into_iter().collect::<Vec<_>>().join("\n"));
}
