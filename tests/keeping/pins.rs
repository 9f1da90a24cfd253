//! Pins: with the backup and after it, at every copy, and taken back.

use crate::aged::{House, older};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

/// A house with backups of the last days and of long ago.
fn house() -> House {
    let house = House::new("retention = { within = '3d', at_least = 2 }");
    house.fill([1, 2, 10, 20, 30]);
    house
}

fn listed(house: &House, id: &str) -> Value {
    let list = house.pgkeep(["backup", "list"]).json();
    list["backups"].as_array().unwrap().iter().find(|one| one["id"] == id).cloned().unwrap()
}

#[test]
fn a_backup_that_was_pinned_later_stays_everywhere_until_it_is_unpinned() {
    let house = house();
    let id = house.id("office", 20);
    let pinned = house.pgkeep(["backup", "pin", &id]).json();
    assert_eq!((&pinned["pinned"], &pinned["backup"]), (&json!(true), &json!(id)));
    assert_eq!(listed(&house, &id)["pinned"], true);
    assert!(house.pgkeep(["backup", "show", &id]).ok().stdout.contains("never deleted by retention"));
    assert_eq!(house.pgkeep(["backup", "show", &id]).json()["pinned"], true);
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert_eq!((house.days("office"), house.days("attic")), (vec![0, 1, 2, 20], vec![0, 1, 2, 20]));

    house.pgkeep(["backup", "unpin", &id]).ok();
    assert_eq!(listed(&house, &id)["pinned"], false);
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert_eq!((house.days("office"), house.days("attic")), (vec![0, 1, 2], vec![0, 1, 2]));
    assert!(!house.folder("office").join("shop").join(&house.db).join(&id).exists(), "its receipts went with it");
}

#[test]
fn unpin_takes_back_what_the_backup_was_taken_with() {
    let house = house();
    let newest = house.dir("office", 0);
    let until = Utc::now() + TimeDelta::days(70);
    let pinned = older(&newest, 50, |manifest| manifest["pinned"] = json!(true));
    let kept = older(&newest, 60, |manifest| manifest["keep_until"] = json!(until));
    house.pgkeep(["backup", "prune", "shop", "--at", "office"]).ok();
    assert_eq!(house.days("office"), [0, 1, 2, 50, 60]);
    let name = |dir: &std::path::Path| dir.file_name().unwrap().to_str().unwrap().to_owned();
    let told = house.pgkeep(["backup", "unpin", &name(&kept)]).ok();
    assert!(
        told.stdout.contains(&format!("--keep until {} does not count any more", until.format("%Y-%m-%d"))),
        "{told}"
    );
    house.pgkeep(["backup", "unpin", &name(&pinned)]).ok();
    house.pgkeep(["backup", "prune", "shop", "--at", "office"]).ok();
    assert_eq!(house.days("office"), [0, 1, 2]);
}

#[test]
fn keep_and_pin_of_a_new_backup_are_told_in_the_plan() {
    let house = House::new("retention = { within = '1h', at_least = 1 }");
    house.pgkeep(["backup", "now", "shop", "--keep", "90d"]).ok();
    house.pgkeep(["backup", "now", "shop", "--pin"]).ok();
    let plan = house.pgkeep(["backup", "prune", "--dry-run", "--at", "office"]).json();
    let all = plan["plan"].as_array().unwrap();
    let list = house.pgkeep(["backup", "list"]).json();
    let until = list["backups"].as_array().unwrap().iter().find_map(|one| one["keep_until"].as_str()).unwrap();
    for reason in ["pinned".to_owned(), format!("kept until {}", &until[..10])] {
        let with = all.iter().filter(|one| one["reasons"].as_array().unwrap().contains(&json!(reason)));
        assert_eq!(with.count(), 1, "{reason}: {plan:#}");
    }
}

#[test]
fn a_destination_that_is_away_is_told_and_a_pin_elsewhere_counts_there_too() {
    let house = house();
    let id = house.id("office", 20);
    std::fs::rename(house.folder("attic"), house.folder("unplugged")).unwrap();
    let (pinned, code) = house.pgkeep(["backup", "pin", &id]).json_with_code();
    let status = |index: usize| pinned["destinations"][index]["status"].clone();
    assert_eq!((code, status(0), status(1)), (3, json!("stored"), json!("failed")), "{pinned:#}");
    std::fs::rename(house.folder("unplugged"), house.folder("attic")).unwrap();
    // The attic alone does not know of it; the office does.
    house.pgkeep(["backup", "prune", "shop", "--at", "attic"]).ok();
    assert_eq!(house.days("attic"), [0, 1, 2, 20]);
}

#[test]
fn a_copy_is_pinned_as_its_original() {
    let house = house();
    let (pinned, unpinned) = (house.id("office", 20), house.id("office", 30));
    house.pgkeep(["backup", "pin", &pinned]).ok();
    house.pgkeep(["backup", "pin", &unpinned]).ok();
    house.pgkeep(["backup", "unpin", &unpinned]).ok();
    let third = house.folder("third");
    for id in [&pinned, &unpinned] {
        house.pgkeep(["backup", "copy", id, "--to"]).arg(&third).ok();
    }
    let list = house.pgkeep(["backup", "list", "--at"]).arg(&third).json();
    assert_eq!(
        (&list["backups"][0]["pinned"], &list["backups"][1]["pinned"]),
        (&json!(true), &json!(false)),
        "{list:#}"
    );
}

#[test]
fn a_pin_that_cannot_be_read_keeps_its_backup() {
    let house = house();
    let dir = house.dir("office", 20);
    house.pgkeep(["backup", "pin", &house.id("office", 20), "--at", "office"]).ok();
    let pins = dir.join("pins");
    let receipt = std::fs::read_dir(&pins).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&receipt, "{").unwrap();
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert_eq!((house.days("office"), house.days("attic")), (vec![0, 1, 2, 20], vec![0, 1, 2]));
    // Pinned or unpinned again, the newest receipt counts.
    house.pgkeep(["backup", "unpin", &house.id("office", 20), "--at", "office"]).ok();
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert_eq!(house.days("office"), [0, 1, 2]);
}
