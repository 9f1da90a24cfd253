//! The judgement against cases that were worked out by hand.

use super::*;
use crate::cancel::Cancel;
use crate::clock::FixedClock;
use crate::event::Silent;
use crate::schedule::facts::tests::{at, drilled, taken};

const NOW: &str = "2026-11-22T10:00:00Z";

fn job(keys: &str) -> JobConfig {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgkeep.toml");
    let text = format!(
        "[destination.office]\ntype = 'folder'\npath = 'office'\n[job.shop]\ndestinations = ['office']\n{keys}"
    );
    std::fs::write(&file, text).unwrap();
    Config::read(&file).unwrap().jobs.remove("shop").unwrap()
}

fn judged(keys: &str, taken: Vec<Taken>, now: &str) -> JobStatus {
    let facts = Facts { taken, complete: true };
    judge("shop", Some(&job(keys)), chrono_tz::UTC, Ok(&facts), &Record::new("shop"), at(now)).unwrap()
}

fn kinds(status: &JobStatus) -> Vec<ProblemKind> {
    status.problems.iter().map(|problem| problem.kind).collect()
}

#[test]
fn a_backup_is_overdue_when_its_time_and_an_hour_of_grace_are_over() {
    let yesterday = || vec![taken("shop", "2026-11-21T02:00:03Z", Some("2026-11-21T02:00:00Z"))];
    let nightly = "schedule = '0 2 * * *'";
    assert!(!judged(nightly, yesterday(), "2026-11-22T02:59:59Z").overdue);
    let status = judged(nightly, yesterday(), "2026-11-22T03:00:00Z");
    assert_eq!((status.overdue, kinds(&status)), (true, vec![ProblemKind::BackupOverdue]));
    assert!(status.problems[0].message.contains("it was due at 2026-11-22 02:00:00 UTC"), "{status:?}");
    assert_eq!(status.last_backup_age_seconds, Some(25 * 3600 - 3));
    assert_eq!(status.next_backup, Some(at("2026-11-23T02:00:00Z")));
    let often = "schedule = '*/10 * * * *'";
    let taken_at = |time| vec![taken("shop", time, Some(time))];
    assert!(!judged(often, taken_at("2026-11-22T09:40:00Z"), "2026-11-22T09:54:59Z").overdue);
    assert!(judged(often, taken_at("2026-11-22T09:40:00Z"), "2026-11-22T09:55:00Z").overdue);
}

#[test]
fn a_job_without_a_backup_is_overdue_if_it_has_a_schedule_or_a_limit() {
    for (keys, overdue) in [("schedule = '0 2 * * *'", true), ("overdue_after = '2d'", true), ("", false)] {
        let status = judged(keys, Vec::new(), NOW);
        assert_eq!((status.overdue, status.watched), (overdue, overdue), "{keys}");
    }
}

#[test]
fn a_limit_goes_before_the_schedule_and_damaged_backups_do_not_count() {
    let keys = "schedule = '0 2 * * *'\noverdue_after = '2d'";
    let old = || taken("shop", "2026-11-20T12:00:00Z", None);
    assert!(!judged(keys, vec![old()], NOW).overdue);
    let damaged = Taken { damaged: true, ..taken("shop", "2026-11-22T02:00:00Z", None) };
    let status = judged(keys, vec![old(), damaged.clone()], NOW);
    assert_eq!(status.last_backup, Some(at("2026-11-20T12:00:00Z")));
    assert_eq!((status.overdue, kinds(&status)), (false, vec![ProblemKind::BackupDamaged]));
    assert!(judged(keys, vec![old(), damaged], "2026-11-22T12:00:01Z").overdue);
}

#[test]
fn a_backup_of_the_future_does_not_hide_that_none_is_taken() {
    let ahead = vec![taken("shop", "2027-11-22T02:00:00Z", Some("2027-11-22T02:00:00Z"))];
    for keys in ["schedule = '0 2 * * *'", "overdue_after = '2d'"] {
        assert!(judged(keys, ahead.clone(), NOW).overdue, "{keys}");
    }
}

#[test]
fn of_several_named_databases_the_worst_counts() {
    let keys = "schedule = '0 2 * * *'\ndatabases = ['spa', 'desk']";
    let both = vec![
        taken("desk", "2026-11-20T02:00:00Z", Some("2026-11-20T02:00:00Z")),
        taken("spa", "2026-11-22T02:00:00Z", Some("2026-11-22T02:00:00Z")),
    ];
    let status = judged(keys, both.clone(), NOW);
    assert_eq!((status.overdue, status.last_backup), (true, Some(at("2026-11-20T02:00:00Z"))));
    let status = judged(keys, both[1..].to_vec(), NOW);
    assert_eq!((status.overdue, status.last_backup), (true, None));
}

#[test]
fn a_drill_that_failed_is_a_problem_of_its_own_and_one_that_could_not_run_is_no_drill() {
    let keys = "schedule = '0 2 * * *'\ndrill = { schedule = '0 4 * * *' }";
    let backups = |result, drilled_at| {
        let early = taken("shop", "2026-11-21T02:00:00Z", None);
        vec![early, drilled(taken("shop", "2026-11-22T02:00:00Z", None), drilled_at, result)]
    };
    let at_four = "2026-11-22T04:00:00Z";
    assert_eq!(kinds(&judged(keys, backups(DrillResult::Passed, at_four), NOW)), []);
    let failed = judged(keys, backups(DrillResult::Failed, at_four), NOW);
    assert_eq!((failed.overdue, kinds(&failed)), (false, vec![ProblemKind::DrillFailed]));
    let could_not = judged(keys, backups(DrillResult::CouldNotRun, at_four), NOW);
    assert_eq!((could_not.drill_overdue, could_not.last_drill), (true, None));
    // Before there was anything to drill, no drill was due.
    let first = vec![taken("shop", "2026-11-22T09:00:00Z", None)];
    assert_eq!(kinds(&judged(keys, first, NOW)), []);
}

#[test]
fn a_drill_has_its_own_limit_which_only_passed_ones_keep() {
    let keys = "drill = { overdue_after = '7d' }";
    let with = |result| vec![drilled(taken("shop", "2026-11-14T02:00:00Z", None), "2026-11-16T04:00:00Z", result)];
    assert_eq!(kinds(&judged(keys, with(DrillResult::Passed), NOW)), []);
    let failed = judged(keys, with(DrillResult::Failed), NOW);
    assert_eq!(kinds(&failed), [ProblemKind::DrillOverdue, ProblemKind::DrillFailed]);
}

#[test]
fn a_failure_is_told_until_something_made_it_good() {
    let mut record = Record::new("shop");
    let slot = at("2026-11-22T02:00:00Z");
    record.backup.begin(slot, slot);
    record.backup.failed(slot, at("2026-11-22T02:00:10Z"), "away".to_owned());
    let judged = |taken: Vec<Taken>, record: &Record| {
        let facts = Facts { taken, complete: true };
        let config = job("schedule = '0 2 * * *'");
        judge("shop", Some(&config), chrono_tz::UTC, Ok(&facts), record, at(NOW)).unwrap().failures
    };
    let before = || vec![taken("shop", "2026-11-21T02:00:00Z", None)];
    let told = judged(before(), &record);
    assert_eq!((told[0].attempts, told[0].slot, told[0].error.as_str()), (1, Some(slot), "away"));
    assert_eq!(judged(vec![taken("shop", "2026-11-22T02:01:10Z", None)], &record), []);
    record.backup.done(slot);
    assert_eq!(judged(before(), &record), []);
}

#[test]
fn nothing_is_known_of_a_catalogue_that_cannot_be_read() {
    let config = job("schedule = '0 2 * * *'");
    let status = judge("shop", Some(&config), chrono_tz::UTC, Err("no"), &Record::new("shop"), at(NOW)).unwrap();
    assert_eq!((status.overdue, kinds(&status)), (false, vec![ProblemKind::Unreadable]));
    assert!(status.next_backup.is_some());
}

/// A home with the job `shop` in `office` and `attic`, that remembers that the backup of 02:00 was done.
fn home() -> (tempfile::TempDir, Context) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgkeep.toml");
    let text = "state_dir = 'state'\n[destination.office]\ntype = 'folder'\npath = 'office'\n\
                [destination.attic]\ntype = 'folder'\npath = 'attic'\n\
                [job.shop]\ndestinations = ['office', 'attic']\nschedule = '0 2 * * *'\n";
    std::fs::write(&file, text).unwrap();
    let ctx = Context {
        config: std::sync::Arc::new(Config::read(&file).unwrap()),
        clock: std::sync::Arc::new(FixedClock(at(NOW))),
        observer: std::sync::Arc::new(Silent),
        cancel: Cancel::new(),
    };
    let mut record = Record::new("shop");
    record.backup.done(at("2026-11-22T02:00:00Z"));
    record.save(&ctx.state_dir()).unwrap();
    (folder, ctx)
}

#[tokio::test]
async fn what_is_remembered_counts_only_where_a_destination_could_not_be_read() {
    let (folder, ctx) = home();
    let overdue = async || {
        let outcome = status(&ctx, &[]).await.unwrap();
        (outcome.jobs[0].backup_overdue, kinds(&outcome.jobs[0]), outcome.unreadable.len())
    };
    let gone = (true, vec![ProblemKind::BackupOverdue], 0);
    assert_eq!(overdue().await, gone, "no place is there");
    std::fs::create_dir(folder.path().join("office")).unwrap();
    assert_eq!(overdue().await, gone, "one place is empty, the other is not there");
    std::fs::write(folder.path().join("attic"), "a file where the folder should be").unwrap();
    assert_eq!(overdue().await, (false, Vec::new(), 1), "the other may hold it");
    std::fs::remove_dir(folder.path().join("office")).unwrap();
    assert_eq!(overdue().await, (false, vec![ProblemKind::Unreadable], 1), "one is not there, the other not read");
}

#[test]
fn a_backup_that_is_stored_in_fewer_destinations_than_required_is_a_problem_after_the_grace() {
    let config = |require: &str| {
        let mut config = job("schedule = '0 2 * * *'");
        config.destinations = ["office", "cloud", "attic"].map(str::to_owned).to_vec();
        config.require = match require {
            "all" => Require::All,
            "any" => Require::Any,
            _ => Require::AtLeast(2),
        };
        config
    };
    let with = |missing: &[&str], mut one: Taken| {
        one.missing = missing.iter().map(|name| (*name).to_owned()).collect();
        one
    };
    let today = || taken("shop", "2026-11-22T02:00:00Z", Some("2026-11-22T02:00:00Z"));
    let yesterday = || taken("shop", "2026-11-21T02:00:00Z", Some("2026-11-21T02:00:00Z"));
    let judged = |require, taken: Vec<Taken>, now| {
        let facts = Facts { taken, complete: true };
        let status =
            judge("shop", Some(&config(require)), chrono_tz::UTC, Ok(&facts), &Record::new("shop"), at(now)).unwrap();
        status.problems.into_iter().map(|problem| (problem.kind, problem.message)).collect::<Vec<_>>()
    };
    let short = |stored: &str| {
        let message = format!("the newest backup of database shop is stored in {stored}");
        vec![(ProblemKind::TooFewCopies, message)]
    };
    let one = || vec![with(&["cloud", "attic"], today())];
    let two = "1 of 2 destinations that require asks for: missing in cloud, attic";
    assert_eq!(judged("2", one(), NOW), short(two));
    assert_eq!(judged("any", one(), NOW), []);
    // The third could not be read, and may hold it.
    assert_eq!(judged("2", vec![with(&["cloud"], today())], NOW), []);
    let all = "1 of 3 destinations that require asks for: missing in cloud";
    assert_eq!(judged("all", vec![with(&["cloud"], today())], NOW), short(all));
    // Within the hour of grace the one before it counts, unless the newest is where it shall be.
    let within = "2026-11-22T02:59:59Z";
    assert_eq!(judged("2", one(), within), []);
    assert_eq!(judged("2", vec![with(&["cloud", "attic"], yesterday()), one().remove(0)], within), short(two));
    assert_eq!(judged("2", vec![with(&["cloud", "attic"], yesterday()), today()], within), []);
}

#[test]
fn a_drill_that_was_tried_stays_overdue_when_what_it_was_due_for_is_pruned() {
    let config = job("schedule = '0 2 * * *'\ndrill = { schedule = '0 4 * * *' }");
    let facts = Facts { taken: vec![taken("shop", "2026-11-22T05:00:00Z", None)], complete: true };
    let judged =
        |record: &Record| kinds(&judge("shop", Some(&config), chrono_tz::UTC, Ok(&facts), record, at(NOW)).unwrap());
    let slot = at("2026-11-22T04:00:00Z");
    let mut record = Record::new("shop");
    assert_eq!(judged(&record), []);
    record.drill.begin(slot, slot);
    assert_eq!(judged(&record), [ProblemKind::DrillOverdue]);
    record.drill.failed(slot, slot, "away".to_owned());
    assert_eq!(judged(&record), [ProblemKind::DrillOverdue]);
    // There was nothing to drill.
    record.drill.done(slot);
    assert_eq!(judged(&record), []);
}

#[test]
fn a_limit_does_not_hide_that_one_of_all_databases_is_not_stored() {
    let config = job("schedule = '0 2 * * *'\ndatabases = 'all'\noverdue_after = '2d'");
    let facts = Facts { taken: vec![taken("spa", "2026-11-22T02:00:05Z", None)], complete: true };
    let judged = |record: &Record, now| {
        let status = judge("shop", Some(&config), chrono_tz::UTC, Ok(&facts), record, at(now)).unwrap();
        status.problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>()
    };
    let slot = at("2026-11-22T02:00:00Z");
    let mut record = Record::new("shop");
    record.backup.done(at("2026-11-21T02:00:00Z"));
    record.backup.begin(slot, slot);
    record.backup.failed(slot, slot, "1 of 2 databases could not be backed up".to_owned());
    assert_eq!(judged(&record, "2026-11-22T02:59:59Z"), Vec::<String>::new());
    let told = "backup overdue: of what was due at 2026-11-22 02:00:00 UTC not every database was stored";
    assert_eq!(judged(&record, NOW), [told]);
    // The next one has begun, and has its grace.
    record.backup.begin(at("2026-11-23T02:00:00Z"), at("2026-11-23T02:00:00Z"));
    assert_eq!(judged(&record, "2026-11-23T02:30:00Z"), [told]);
    record.backup.skip(slot);
    assert_eq!(judged(&record, NOW), Vec::<String>::new());
    record.backup.done(slot);
    assert_eq!(judged(&record, NOW), Vec::<String>::new());
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_looked_at_is_no_reason_to_say_nothing() {
    let (_folder, ctx) = home();
    std::fs::write(ctx.state_dir().join(RUN_LOCK.0), "a file where the folder should be").unwrap();
    let outcome = status(&ctx, &[]).await.unwrap();
    assert_eq!((outcome.running, outcome.jobs.len()), (None, 1));
}
