//! Retention with real backups: after a backup, by hand, for each destination, and beside what is not pgkeep's (faults 29,
//! 30, 31).

use crate::aged::{House, older};
use crate::support::{Pgkeep, backup_dirs, everything_below};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Runs it with a clock that is ahead by `days`, or behind.
fn days_later(command: Pgkeep, days: i64) -> Pgkeep {
    command.through(["faketime", "-f", &format!("{days:+}d")]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

fn reasons(plan: &Value, destination: &str, id: &str) -> Vec<String> {
    let all = plan["plan"].as_array().unwrap();
    let one = all.iter().find(|one| one["destination"] == destination && one["id"] == id);
    let one = one.unwrap_or_else(|| panic!("no {id} in {destination}: {plan:#}"));
    let reasons: Vec<String> = serde_json::from_value(one["reasons"].clone()).unwrap();
    assert_eq!(one["keep"], !reasons.is_empty(), "{one}");
    reasons
}

#[test]
fn a_backup_is_followed_by_pruning_where_it_was_stored() {
    let house = House::with("retention = { within = '7d', at_least = 2 }", "destinations = ['office', 'attic']", "");
    house.fill([1, 2, 5, 8, 9, 29, 31, 32]);
    let (answer, code) = house.pgkeep(["backup", "now", "shop"]).json_with_code();
    let backup = &answer["backups"][0];
    assert_eq!((code, &backup["status"], &backup["pruned"]), (0, &json!("stored"), &json!(5 + 2)), "{answer:#}");
    assert_eq!(house.days("office"), [0, 0, 1, 2, 5], "a week in the office");
    assert_eq!(house.days("attic"), [0, 0, 1, 2, 5, 8, 9, 29], "a month in the attic");

    // Where the new backup is not, nothing goes.
    older(&house.dir("office", 5), 20, |_| {});
    older(&house.dir("attic", 29), 20, |_| {});
    let now = house.pgkeep(["backup", "now", "shop", "--to", "office"]).ok();
    assert!(now.stdout.contains("pruned:     1 older backup\n"), "{now}");
    assert_eq!(house.days("office"), [0, 0, 0, 1, 2, 5]);
    assert!(house.days("attic").contains(&49));
    house.pgkeep(["backup", "now", "shop", "--no-prune"]).ok();
    assert!(house.days("attic").contains(&49));
}

#[test]
fn a_backup_without_a_job_deletes_nothing() {
    let house = House::new("");
    let folder = house.folder("elsewhere");
    let now = || {
        let url = house.server.url(&house.db);
        crate::support::pgkeep()
            .server(house.server)
            .env("DATABASE_URL", url)
            .args(["backup", "now", "--to"])
            .arg(&folder)
            .ok()
    };
    now();
    let newest = backup_dirs(&folder).pop().unwrap();
    for days in [1, 2, 3, 4, 40, 41, 42] {
        older(&newest, days, |_| {});
    }
    now();
    assert_eq!(backup_dirs(&folder).len(), 9);
    // By hand it must be named.
    let prune = |args: &[&str]| crate::support::pgkeep().args(["backup", "prune"]).args(args).arg("--at").arg(&folder);
    prune(&[]).fails(2).explains(&["which job"], "name the one to prune");
    prune(&[&house.db, "--dry-run"]).ok();
    assert_eq!(backup_dirs(&folder).len(), 9);
    let pruned = prune(&[&house.db]).ok();
    assert!(pruned.stdout.contains("deleted 3 backups ("), "{pruned}");
    assert_eq!(backup_dirs(&folder).len(), 6);
    assert_eq!(prune(&[&house.db]).ok().stdout.lines().last(), Some("nothing was deleted"));
}

#[test]
fn the_plan_is_printed_with_its_reasons_and_a_dry_run_deletes_nothing() {
    let house = House::new("retention = { within = '3d', monthly = 2, at_least = 2 }");
    house.fill([1, 2, 10, 100, 101]);
    let before = everything_below(house.configured.path());
    let (plan, code) = house.pgkeep(["backup", "prune", "shop", "--dry-run"]).json_with_code();
    assert_eq!((code, &plan["deleted"], &plan["failed"], &plan["dry_run"]), (0, &json!([]), &json!([]), &json!(true)));
    for place in ["office", "attic"] {
        let of = |days| reasons(&plan, place, &house.id(place, days));
        let newest = of(0);
        assert_eq!(newest[..3], ["within 3d", "newest good", "one of the 2 newest good"]);
        assert!(newest[3].starts_with("monthly 20"), "{newest:?}");
        assert_eq!(of(1)[..2], ["within 3d", "one of the 2 newest good"]);
        assert_eq!(of(101), Vec::<String>::new());
    }
    let text = house.pgkeep(["backup", "prune", "--dry-run"]).ok().stdout;
    assert!(text.contains("in office: 6 backups") && text.contains("in attic: 6 backups"), "{text}");
    assert!(text.contains("no rule keeps it") && text.ends_with("nothing was deleted: this was a dry run\n"), "{text}");
    assert_eq!(everything_below(house.configured.path()), before);

    let ids = |all: &Value, going: &dyn Fn(&Value) -> bool| {
        let all = all.as_array().unwrap().iter().filter(|one| going(one));
        all.map(|one| one["id"].to_string()).collect::<BTreeSet<String>>()
    };
    let planned = ids(&plan["plan"], &|one| one["keep"] == false);
    let done = house.pgkeep(["backup", "prune", "--at", "attic"]).json();
    let deleted = ids(&done["deleted"], &|_| true);
    assert_eq!(planned, deleted);
    assert_eq!(house.days("office").len(), 6, "only the attic was named");
    assert_eq!(house.days("attic").len(), 6 - deleted.len());
}

/// Fault 29.
#[test]
fn backups_that_fail_for_forty_days_cost_no_old_one() {
    let house = House::new("");
    house.fill([1, 2, 3, 4]);
    let before = (house.days("office"), house.days("attic"));
    for days in (5..=40).step_by(7) {
        let now = house.pgkeep(["backup", "now", "shop"]).env("SHOP_URL", "postgres:///shop?host=/nowhere");
        let failed = days_later(now, days).run();
        assert_eq!(failed.code, Some(1), "{failed}");
    }
    assert_eq!((house.days("office"), house.days("attic")), before);
    // And by hand, the floor stays.
    let pruned = days_later(house.pgkeep(["backup", "prune", "shop"]), 60).ok();
    assert!(pruned.stderr.contains("was a clock wrong, or did backups fail?"), "{pruned}");
    assert_eq!(house.days("office"), [0, 1, 2]);
}

/// Fault 29: the first good backups after a long time do not delete those from before it; the next do.
#[test]
fn after_a_long_outage_old_backups_stay_until_enough_new_ones_stand() {
    let house = House::new("");
    house.fill([41, 42, 43, 44, 45]);
    for night in 2..=3 {
        let now = house.pgkeep(["backup", "now", "shop"]).ok();
        assert!(
            now.stderr.contains("old backups are not pruned") && now.stderr.contains("pgkeep backup prune shop"),
            "{now}"
        );
        assert_eq!(house.days("office").len(), 5 + night, "{now}");
    }
    let now = house.pgkeep(["backup", "now", "shop"]).ok();
    assert!(!now.stderr.contains("not pruned"), "{now}");
    assert_eq!(house.days("office"), [0, 0, 0, 0]);
}

/// Fault 30.
#[test]
fn a_clock_that_is_wrong_deletes_nothing() {
    let house = House::new("");
    house.fill([1, 2, 3, 40, 41]);
    let all = house.days("office");
    let back = days_later(house.pgkeep(["backup", "prune", "shop"]), -2).fails(1);
    assert!(back.stderr.contains("nothing is deleted") && back.stderr.contains("set the clock right"), "{back}");
    // The server knows better.
    for (days, way) in [(-1, "behind"), (400, "ahead of")] {
        let now = days_later(house.pgkeep(["backup", "now", "shop", "--to", "attic"]), days);
        let (answer, code) = now.json_with_code();
        let warning = answer["backups"][0]["warnings"].to_string();
        assert!(code == 0 && warning.contains(way) && warning.contains("no old backups are deleted"), "{answer:#}");
        assert_eq!(answer["backups"][0]["pruned"], 0);
    }
    assert_eq!((house.days("office"), house.days("attic").len()), (all, 8));
    // With a backup of the future there, nothing goes until it is gone, and it is said which.
    let id = house.id("attic", -400);
    let refused = house.pgkeep(["backup", "prune", "shop"]).fails(1);
    assert!(refused.stderr.contains(&id) && refused.stderr.contains("folder"), "{refused}");
    assert_eq!((house.days("office").len(), house.days("attic").len()), (4, 8), "the office has none");
}

/// Fault 31.
#[test]
fn jobs_whose_names_begin_alike_and_the_users_own_files_are_left_alone() {
    let house = House::new("[job.shop-trade]\ndatabase_url = { env = 'SHOP_URL' }\ndestinations = ['office', 'attic']");
    house.pgkeep(["backup", "now", "shop-trade"]).ok();
    let theirs = backup_dirs(house.folder("office").join("shop-trade")).pop().unwrap();
    house.fill([1, 2, 3, 40, 41]);
    for days in [1, 2, 3, 40, 41] {
        older(&theirs, days, |_| {});
    }
    let old = backup_dirs(house.folder("office").join("shop")).into_iter().next().unwrap();
    let foreign = [
        house.folder("office").join("notes.txt"),
        house.folder("office").join("shop/photos/1.jpg"),
        house.folder("office").join("shop_20200101_020000.sql.gz"),
        old.join("my notes.txt"),
        old.parent().unwrap().join("20200101T020000Z-abcd/dump.sql"),
    ];
    for file in &foreign {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "mine").unwrap();
    }
    let trade = everything_below(house.folder("office").join("shop-trade"));
    house.pgkeep(["backup", "now", "shop"]).ok();
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert_eq!(everything_below(house.folder("office").join("shop-trade")), trade);
    for file in &foreign {
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine", "{}", file.display());
    }
    assert_eq!(backup_dirs(house.folder("office").join("shop")).len(), 5);
    let left: Vec<_> = everything_below(&old);
    assert_eq!(left, [old.join("my notes.txt")], "of the backup itself nothing is left");
}

#[test]
fn a_damaged_backup_counts_for_nothing() {
    let house = House::with("", "destinations = ['office']", "retention = { within = '1h', at_least = 2 }");
    house.fill([10, 20, 30, 40]);
    for days in [0, 10] {
        let file = std::fs::read_dir(house.dir("office", days)).unwrap().map(|entry| entry.unwrap().path());
        let file =
            file.filter(|path| path.to_string_lossy().contains('_') && path.to_string_lossy().ends_with(".sql.gz"));
        let file = file.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(&file, bytes).unwrap();
    }
    for days in [0, 10] {
        house.pgkeep(["backup", "verify", &house.id("office", days)]).fails(4);
    }
    let plan = house.pgkeep(["backup", "prune", "shop"]).json();
    assert_eq!(reasons(&plan, "office", &house.id("office", 0)), ["within 1h"]);
    assert_eq!(house.days("office"), [0, 20, 30], "{plan:#}");
}

#[test]
fn missing_is_only_what_would_be_kept() {
    let house = House::with("retention = { within = '7d', at_least = 2 }", "destinations = ['attic']", "");
    house.fill([1, 2, 6, 8, 20]);
    // A second destination joins the job.
    let file = house.configured.path().join("pgkeep.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("destinations = ['attic']", "destinations = ['attic', 'office']")).unwrap();
    std::fs::create_dir(house.folder("office")).unwrap();
    let list = house.pgkeep(["backup", "list"]).json();
    let missing: Vec<bool> =
        list["backups"].as_array().unwrap().iter().map(|one| one["missing"] == json!(["office"])).collect();
    assert_eq!(missing, [true, true, true, true, false, false]);
    house.pgkeep(["backup", "copy", "--missing"]).ok();
    assert_eq!(house.days("office"), [0, 1, 2, 6]);
    assert_eq!(house.pgkeep(["backup", "copy", "--missing"]).ok().stdout, "nothing is missing\n");
}

#[test]
fn a_run_that_holds_the_lock_is_not_disturbed() {
    let house = House::new("");
    house.fill([]);
    let state = crate::support::temp_dir();
    let _lock = pgkeep::lock::acquire(state.path(), "shop", "backup").unwrap();
    let prune = || house.pgkeep(["backup", "prune", "shop"]).env("PGKEEP_STATE_DIR", state.path());
    prune().fails(6).explains(&["job shop is locked"], "wait");
    prune().arg("--dry-run").ok();
}
