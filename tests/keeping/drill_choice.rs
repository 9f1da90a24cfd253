//! Which backup is drilled, and whose copy of it: a random older one, and a destination's own the whole way.
#![cfg(unix)]

use super::aged::{House, manifest};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Changes a byte in the middle of the backup's data file.
fn damage(dir: &Path) {
    let manifest = manifest(dir);
    let files = manifest["files"].as_array().unwrap();
    let data = files.iter().find(|file| file["kind"] == "data").unwrap();
    let path = dir.join(data["name"].as_str().unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn receipts(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("drills")).map_or(0, Iterator::count)
}

fn drilled(house: &House, args: &[&'static str]) -> (Value, i32) {
    house.pgkeep(["drill", "shop"].into_iter().chain(args.iter().copied())).json_with_code()
}

#[test]
fn random_drills_take_each_older_backup_in_turn_and_never_the_newest() {
    let house = House::new("");
    house.fill([3, 6, 9]);
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let (report, code) = drilled(&house, &["--random", "--level", "restore"]);
        assert_eq!(code, 0, "{report:#}");
        seen.insert(report["backup"].as_str().unwrap().to_owned());
    }
    let older: BTreeSet<String> = [3, 6, 9].into_iter().map(|days| house.id("office", days)).collect();
    assert_eq!(seen, older);
    // Without it the newest is drilled.
    let (report, _) = drilled(&house, &["--level", "restore"]);
    assert_eq!(report["backup"].as_str(), Some(house.id("office", 0).as_str()), "{report:#}");
    let outcome = house.pgkeep(["drill", "latest", "--random"]).fails(2);
    assert!(outcome.stderr.contains("--random chooses among the backups of a job"), "{outcome}");
}

#[test]
fn a_damaged_backup_is_no_choice_where_there_is_a_good_one() {
    let house = House::new("drill = { backup = 'random', level = 'restore' }");
    house.fill([3, 6]);
    let bad = house.id("office", 6);
    damage(&house.dir("office", 6));
    damage(&house.dir("attic", 6));
    house.pgkeep(["backup", "verify", &bad]).fails(4);
    for _ in 0..3 {
        let (report, code) = drilled(&house, &[]);
        assert_eq!((code, report["backup"].as_str()), (0, Some(house.id("office", 3).as_str())), "{report:#}");
    }
}

#[test]
fn the_copy_of_a_destination_is_drilled_the_whole_way_and_no_other_stands_in() {
    let house = House::new("drill = { copy = 'attic' }");
    house.pgkeep(["backup", "now", "shop"]).ok();
    let (office, attic) = (house.dir("office", 0), house.dir("attic", 0));
    // The nearer copy does not matter.
    damage(&office);
    let (report, code) = drilled(&house, &[]);
    assert_eq!((code, &report["destination"]), (0, &"attic".into()), "{report:#}");
    assert_eq!((receipts(&office), receipts(&attic)), (0, 1));
    let key = report["receipt"].as_str().unwrap();
    let receipt: Value = serde_json::from_slice(&std::fs::read(house.folder("attic").join(key)).unwrap()).unwrap();
    assert_eq!(receipt["destination"], "attic");
    let phases: Vec<&str> =
        receipt["phases"].as_array().unwrap().iter().map(|one| one["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["fetch", "prepare", "load", "index", "analyze", "prove"]);
    // What a configuration says the command line says over.
    let (report, code) = drilled(&house, &["--at", "office"]);
    assert_eq!((code, &report["destination"]), (4, &"office".into()), "{report:#}");
    damage(&attic);
    damage(&office);
    let (report, code) = drilled(&house, &[]);
    assert_eq!((code, &report["result"], &report["destination"]), (4, &"failed".into(), &"attic".into()), "{report:#}");
}

#[test]
fn a_copy_that_is_not_there_could_not_be_drilled() {
    let house = House::new("drill = { copy = 'attic', level = 'restore' }");
    house.fill([3]);
    // The newest that the attic has.
    std::fs::remove_dir_all(house.dir("attic", 0)).unwrap();
    let (report, code) = drilled(&house, &[]);
    assert_eq!((code, report["backup"].as_str()), (0, Some(house.id("attic", 3).as_str())), "{report:#}");
    let newest = house.id("office", 0);
    let (report, code) = house.pgkeep(["drill", &newest]).json_with_code();
    assert_eq!((code, &report["result"]), (5, &"could_not_run".into()), "{report:#}");
    assert!(report["reason"].as_str().unwrap().contains("is not in attic, whose copy should be drilled"), "{report:#}");
    std::fs::remove_dir_all(house.dir("attic", 3)).unwrap();
    let outcome = house.pgkeep(["drill", "shop"]).fails(5);
    assert!(outcome.stderr.contains("is in attic, whose copy should be drilled"), "{outcome}");
}

#[test]
fn the_scheduler_drills_what_the_job_says() {
    let house = House::new(
        "schedule = '0 0 1 1 *'\ndrill = { schedule = '@every 1s', backup = 'random', copy = 'attic', level = 'sample' }",
    );
    house.fill([3, 6]);
    let mut running = house.pgkeep(["run", "--log", "json"]).spawn();
    for _ in 0..2 {
        running.until_stderr("\"event\":\"drilled\"");
        let done = || [3, 6].into_iter().map(|days| receipts(&house.dir("attic", days))).collect::<Vec<_>>();
        crate::support::wait_until("both older backups are drilled", || done().iter().all(|count| *count > 0));
    }
    running.kill(nix::sys::signal::Signal::SIGTERM);
    let outcome = running.wait();
    assert_eq!(receipts(&house.dir("attic", 0)), 0, "{outcome}");
    assert_eq!(receipts(&house.dir("office", 3)) + receipts(&house.dir("office", 6)), 0, "{outcome}");
    assert!(outcome.stderr.contains("\"level\":\"sample\"") && outcome.stderr.contains("\"destination\":\"attic\""));
}
