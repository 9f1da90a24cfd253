//! Retention for people: the plan with its reasons, what was deleted, and pins.

use super::{line, table};
use crate::cli::tables::backups::name;
use crate::cli::words::{self, counted, printable};
use crate::ops::{BackupStatus, PinOutcome, PlannedBackup, PrunedBackup};
use chrono::{DateTime, Utc};

/// Each backup, whether it stays, and why: one table for each database at each destination.
pub(in crate::cli) fn plan(planned: &[PlannedBackup], now: DateTime<Utc>) -> String {
    if planned.is_empty() {
        return "no backups\n".to_owned();
    }
    let place = |one: &PlannedBackup| (one.job.clone(), one.database.clone(), one.destination.clone());
    let mut text = String::new();
    for theirs in planned.chunk_by(|a, b| place(a) == place(b)) {
        let Some(first) = theirs.first() else { continue };
        let stay = theirs.iter().filter(|one| one.keep).count();
        let what = format!("{} in {}", name(&first.job, &first.database), printable(&first.destination));
        let all = counted(theirs.len() as u64, "backup", "backups");
        text.push_str(&format!("{what}: {all}, {stay} kept, {} to delete\n", theirs.len() - stay));
        let row = |one: &PlannedBackup| {
            let why = match (one.keep, one.reasons.is_empty()) {
                (false, _) | (true, true) => "no rule keeps it".to_owned(),
                (true, false) => one.reasons.join(", "),
            };
            vec![
                one.id.to_string(),
                words::age(one.started_at, now),
                words::bytes(one.stored_bytes),
                if one.keep { "keep" } else { "DELETE" }.to_owned(),
                why,
            ]
        };
        text.push_str(&table(&["id", "age", "size", "plan", "why"], theirs.iter().map(row), 2));
    }
    text
}

/// What was deleted.
pub(in crate::cli) fn pruned(deleted: &[PrunedBackup], dry_run: bool) -> String {
    match deleted.len() as u64 {
        _ if dry_run => "nothing was deleted: this was a dry run\n".to_owned(),
        0 => "nothing was deleted\n".to_owned(),
        number => {
            let bytes = deleted.iter().map(|one| one.stored_bytes).sum();
            format!("deleted {} ({})\n", counted(number, "backup", "backups"), words::bytes(bytes))
        }
    }
}

/// A backup that was pinned or unpinned; `kept` is until when it would have been kept without this.
pub(in crate::cli) fn pinned(outcome: &PinOutcome, kept: Option<DateTime<Utc>>) -> String {
    let what = if outcome.pinned { "pinned" } else { "unpinned" };
    let mut text = format!("{}: {what}, backup {}\n", name(&outcome.job, &outcome.database), outcome.backup);
    for one in &outcome.destinations {
        let state = match &one.error {
            Some(error) => format!("{}: NOT {what}: {error}", one.name),
            None if one.status == BackupStatus::Failed => format!("{}: NOT {what}", one.name),
            None => one.name.clone(),
        };
        text.push_str(&line("where", &state));
    }
    if let Some(until) = kept {
        text.push_str(&line("note", &format!("--keep until {} does not count any more", until.format("%Y-%m-%d"))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Retention;
    use crate::id::BackupId;
    use crate::ops::DestinationOutcome;
    use crate::retention::{self, Candidate, Condition};
    use std::time::Duration;

    /// Nightly backups of a month, one of them damaged, by a week, a few Sundays and two months.
    #[test]
    fn the_plan_of_a_month_can_be_read() {
        let now: DateTime<Utc> = "2026-11-22T02:00:30Z".parse().unwrap();
        let night = |days: i64| {
            let started_at = now - chrono::TimeDelta::days(days) - chrono::TimeDelta::seconds(30);
            Candidate {
                id: BackupId::new(started_at, 0x7f3a),
                started_at,
                pinned: days == 17,
                keep_until: (days == 20).then(|| started_at + chrono::TimeDelta::days(90)),
                condition: if days == 14 { Condition::Damaged } else { Condition::Good },
                drilled: (days == 9).then_some(started_at),
            }
        };
        let nights: Vec<Candidate> = (0..31).map(night).collect();
        let week = Some(Duration::from_secs(7 * 86_400));
        let policy = Retention { within: week, weekly: 3, monthly: 2, ..Retention::default() };
        let decided = retention::plan(&policy, &nights, now).unwrap();
        assert_eq!(decided.hold, None);
        let planned: Vec<PlannedBackup> = decided
            .decisions
            .into_iter()
            .map(|one| PlannedBackup {
                started_at: one.id.started_at(),
                id: one.id,
                job: "shop".into(),
                database: "spa".into(),
                destination: "office".into(),
                stored_bytes: 210_000_000,
                keep: one.keep,
                reasons: one.reasons.iter().map(ToString::to_string).collect(),
            })
            .collect();
        assert_eq!(plan(&planned, now), include_str!("month.txt"));
        assert_eq!(plan(&[], now), "no backups\n");
    }

    #[test]
    fn what_was_deleted_is_counted() {
        assert_eq!(pruned(&[], false), "nothing was deleted\n");
        assert_eq!(pruned(&[], true), "nothing was deleted: this was a dry run\n");
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        let started_at = id.started_at();
        let (job, database, destination) = ("shop".into(), "spa".into(), "office".into());
        let one = PrunedBackup { id, job, database, destination, started_at, stored_bytes: 210_000_000 };
        assert_eq!(pruned(&[one.clone(), one], false), "deleted 2 backups (420 MB)\n");
    }

    #[test]
    fn a_pin_says_where_it_holds() {
        let place = |name: &str, error: Option<&str>| DestinationOutcome {
            name: name.into(),
            status: if error.is_none() { BackupStatus::Stored } else { BackupStatus::Failed },
            error: error.map(str::to_owned),
        };
        let outcome = PinOutcome {
            backup: "20261122T020000Z-7f3a".parse().unwrap(),
            job: "shop".into(),
            database: "spa".into(),
            pinned: false,
            destinations: vec![place("office", None), place("cloud", Some("no route"))],
            failure: None,
        };
        assert_eq!(
            pinned(&outcome, "2027-01-01T00:00:00Z".parse().ok()),
            "shop/spa: unpinned, backup 20261122T020000Z-7f3a\n  \
               where:      office\n  \
               where:      cloud: NOT unpinned: no route\n  \
               note:       --keep until 2027-01-01 does not count any more\n"
        );
    }
}
