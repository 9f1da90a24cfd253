//! What must be survived while storing (fault 17): a disk that is full, or fails, at any step. After each there is the
//! whole backup or nothing of it, and the older ones are intact.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Disk, Postgres, Scene};
use std::path::Path;

/// About 1.6 MB when stored.
const ORDERS: &str = "CREATE TABLE orders AS SELECT i AS id, (SELECT string_agg(md5(random()::text || i || j), '') FROM \
                      generate_series(1, 32) j) AS note FROM generate_series(1, 2500) i";

/// tmpfs gives space by pages.
const PAGE: u64 = 4096;

fn pages_below(folder: &Path) -> u64 {
    let files = crate::support::everything_below(folder).into_iter().filter(|path| path.is_file());
    files.map(|path| path.metadata().unwrap().len().div_ceil(PAGE)).sum()
}

#[test]
fn a_disk_that_is_full_at_any_point_gets_the_whole_backup_or_nothing() {
    let disk = Disk::new("size=64m");
    let server = Postgres::shared(17);
    let mut scene = Scene::with_folder(server, "full", ORDERS, disk.path());
    scene.all_intact(1);
    let used = pages_below(disk.path());
    // From nothing to all but one page; near the end each page counts, as there the small files and the manifest come.
    let coarse = (0..12).map(|step| used * step / 12);
    let fine = used.saturating_sub(12)..used;
    let mut refused = 0;
    for free in coarse.chain(fine).chain([used + 8]) {
        disk.remount(&format!("size={}", (pages_below(disk.path()) + free) * PAGE));
        let outcome = scene.now().run();
        if outcome.code == Some(0) {
            scene.all_intact(crate::support::backup_dirs(disk.path()).len());
            scene.remember();
        } else {
            refused += 1;
            assert_eq!(outcome.code, Some(1), "{free} pages free: {outcome}");
            outcome.explains(&["No space left on device"], "free some space");
            scene.nothing_is_left();
        }
    }
    assert!(refused >= 20, "only {refused} runs found the disk full");
    assert!(crate::support::backup_dirs(disk.path()).len() > 1, "no run found room enough");
}

#[test]
fn a_disk_without_inodes_gets_the_whole_backup_or_nothing() {
    let disk = Disk::new("size=64m,nr_inodes=1000");
    let server = Postgres::shared(17);
    let mut scene = Scene::with_folder(server, "inodes", "CREATE TABLE orders AS SELECT 1 AS a", disk.path());
    scene.all_intact(1);
    let mut refused = 0;
    for free in 1..=10 {
        // The root is one too.
        let used = crate::support::everything_below(disk.path()).len() + 1;
        disk.remount(&format!("nr_inodes={}", used + free));
        let outcome = scene.now().run();
        // Looking at what is left writes receipts.
        disk.remount("nr_inodes=1000");
        if outcome.code == Some(0) {
            scene.all_intact(crate::support::backup_dirs(disk.path()).len());
            scene.remember();
        } else {
            refused += 1;
            assert_eq!(outcome.code, Some(1), "{free} inodes free: {outcome}");
            outcome.explains(&["No space left on device"], "free some space");
            scene.nothing_is_left();
        }
    }
    assert!(refused >= 5, "only {refused} runs found the disk full");
    assert!(crate::support::backup_dirs(disk.path()).len() > 1, "no run found room enough");
}

/// strace makes the given system call fail: the `when`-th of each thread.
fn failing(call: &str, error: &str, instants: impl IntoIterator<Item = u32>) {
    let mut scene = Scene::new(Postgres::shared(17), "failing");
    let log = scene.work().join("strace.log");
    let mut injected = 0;
    for when in instants {
        let inject = format!("inject={call}:error={error}:when={when}");
        let trace = format!("trace={call}");
        let strace = ["strace", "-f", "-qq", "-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject];
        let outcome = scene.now().through(strace).run();
        injected += usize::from(std::fs::read_to_string(&log).unwrap().contains("(INJECTED)"));
        if outcome.code == Some(0) {
            scene.all_intact(crate::support::backup_dirs(scene.folder()).len());
            scene.remember();
        } else {
            assert_eq!(outcome.code, Some(1), "{call} {when}: {outcome}");
            let errors = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).count();
            assert_eq!(errors, 1, "{call} {when}: {outcome}");
            assert!(!outcome.stderr.contains("panicked"), "{call} {when}: {outcome}");
            scene.nothing_is_left();
        }
    }
    assert!(injected > 0, "{call} was never made to fail: does the program use it still?");
}

#[test]
fn an_fsync_that_fails_leaves_the_whole_backup_or_nothing() {
    failing("fsync", "EIO", 1..=12);
}

#[test]
fn a_rename_that_fails_leaves_the_whole_backup_or_nothing() {
    failing("rename", "ENOSPC", 1..=2);
}

#[test]
fn a_publishing_rename_that_fails_leaves_the_whole_backup_or_nothing() {
    failing("renameat2", "EIO", 1..=7);
}

#[test]
fn a_folder_that_cannot_be_made_leaves_the_whole_backup_or_nothing() {
    failing("mkdir", "ENOSPC", 1..=4);
}

#[test]
fn a_close_that_fails_leaves_the_whole_backup_or_nothing() {
    failing("close", "EIO", (20..=140).step_by(8));
}

#[test]
fn of_two_destinations_the_one_that_fills_up_drops_out_and_the_other_completes() {
    let disk = Disk::new("size=64m");
    let server = Postgres::shared(17);
    let scene = Scene::with(server, "twofold", ORDERS);
    let small = disk.path().join("small");
    disk.remount("size=1m");
    let url = server.url(&scene.db);
    let both =
        || scene.pgkeep().args(["backup", "now", "--database-url", &url, "--to"]).arg(scene.folder()).arg(&small);
    let (json, code) = both().json_with_code();
    assert_eq!(code, 3, "{json:#}");
    let backup = &json["backups"][0];
    assert_eq!(backup["status"], "partial", "{json:#}");
    let destinations = backup["destinations"].as_array().unwrap();
    let status = |path: &Path| {
        let found = destinations.iter().find(|destination| destination["name"] == path.to_str().unwrap());
        found.unwrap_or_else(|| panic!("{} is not named: {json:#}", path.display()))
    };
    assert_eq!(status(&scene.folder())["status"], "stored", "{json:#}");
    assert_eq!(status(&small)["status"], "failed", "{json:#}");
    assert!(status(&small)["error"].as_str().unwrap().contains("No space left on device"), "{json:#}");
    assert_eq!(crate::support::everything_below(&small), Vec::<std::path::PathBuf>::new());
    scene.all_intact(2);
    let outcome = both().fails(3);
    outcome.explains(&["stored in 1 of 2 destinations", "No space left on device"], "");
    assert_eq!(crate::support::everything_below(scene.tmp()), Vec::<std::path::PathBuf>::new());
}
