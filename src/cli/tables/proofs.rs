//! Verifications, restores and drills for people: the result first, what differs next.

use super::backups::name;
use super::{differences, line, table};
use crate::cli::words::{counted, printable, seconds};
use crate::config::DrillLevel;
use crate::ops::{DrillOutcome, Proof, RestoreOutcome, SwapBackOutcome, VerifyOutcome, VerifyStatus};
use crate::process::shell_word;

/// Verified backups, each at each destination.
pub(in crate::cli) fn verified(outcomes: &[VerifyOutcome]) -> String {
    if outcomes.is_empty() {
        return String::new();
    }
    let rows = outcomes.iter().map(|outcome| {
        let result = match outcome.result {
            VerifyStatus::Intact => "intact",
            VerifyStatus::Damaged => "DAMAGED",
            VerifyStatus::Missing => "MISSING",
        };
        let problems = if outcome.problems.is_empty() { String::new() } else { outcome.problems.join("; ") };
        vec![outcome.id.clone(), outcome.destination.clone(), result.to_owned(), seconds(outcome.seconds), problems]
    });
    table(&["id", "destination", "result", "time", "problems"], rows, 0)
}

/// A restore, and what to do next.
pub(in crate::cli) fn restored(outcome: &RestoreOutcome) -> String {
    let mut text = format!("restored {} into {}\n", outcome.backup, printable(&outcome.target));
    let tables = counted(outcome.tables, "table", "tables");
    text.push_str(&line("contents", &format!("{tables}, {}", counted(outcome.rows, "row", "rows"))));
    text.push_str(&line("loaded in", &seconds(outcome.restore_seconds)));
    text.push_str(&line(
        "proof",
        &match outcome.proof {
            Proof::Passed => format!("passed in {}: a dump of it equals the backup", seconds(outcome.prove_seconds)),
            Proof::Failed => "FAILED: a dump of it differs from the backup".to_owned(),
            Proof::Skipped => "skipped: nothing was compared".to_owned(),
        },
    ));
    for adaptation in &outcome.adaptations {
        text.push_str(&line("adapted", &printable(adaptation)));
    }
    for left_out in outcome.parts.iter().flat_map(|parts| &parts.left_out) {
        text.push_str(&line("left out", &printable(left_out)));
    }
    for note in &outcome.notes {
        text.push_str(&line("note", note));
    }
    text.push_str(&differences(&outcome.differences));
    match (&outcome.kept_as, outcome.proof) {
        (None, Proof::Passed | Proof::Skipped) if outcome.parts.is_some() => {
            text.push_str(&format!("next: look at {}\n", printable(&outcome.database)));
        }
        (Some(old), _) => {
            let text_of_old = printable(old);
            text.push_str(&line("old database", &text_of_old));
            let back = format!("pgkeep restore --swap-back --into {}", shell_word(&printable(&outcome.database)));
            text.push_str(&line("back again", &back));
            let next = format!(
                "next: when the new one has proved itself in use: DROP DATABASE \"{}\"\n",
                text_of_old.replace('"', "\"\"")
            );
            text.push_str(&next);
        }
        (None, Proof::Passed | Proof::Skipped) => {
            let database = printable(&outcome.database);
            let next = format!("next: look at {database}; with --swap a restore takes the place of a live database\n");
            text.push_str(&next);
        }
        (None, Proof::Failed) => {}
    }
    text
}

/// A database that has its name back, and what to do next.
pub(in crate::cli) fn swapped_back(outcome: &SwapBackOutcome) -> String {
    let mut text = format!("{} is now what was {}\n", printable(&outcome.target), printable(&outcome.was));
    text.push_str(&line("backup", outcome.backup.as_str()));
    text.push_str(&line("kept", &printable(&outcome.kept_as)));
    let (database, kept) = (shell_word(&printable(&outcome.database)), shell_word(&printable(&outcome.kept_as)));
    text.push_str(&format!(
        "next: look at {database}; back again: pgkeep restore --swap-back --into {database} --kept {kept}\n"
    ));
    text
}

/// A drill.
pub(in crate::cli) fn drilled(outcome: &DrillOutcome) -> String {
    let result = match outcome.result.as_str() {
        "passed" => "passed",
        "failed" => "FAILED",
        "could_not_run" => "could not run",
        other => other,
    };
    let what = name(&outcome.job, &outcome.database);
    let from = printable(&outcome.destination);
    let mut text = format!("{what}: drill {result}, backup {} from {from}\n", outcome.backup);
    if let Some(reason) = &outcome.reason {
        text.push_str(&line("reason", reason));
    }
    let compared = [
        counted(outcome.objects_compared, "object", "objects"),
        counted(outcome.tables_compared, "table", "tables"),
        counted(outcome.rows_compared, "row", "rows"),
    ];
    if outcome.level != DrillLevel::Prove {
        let level = match outcome.level {
            DrillLevel::Restore => "restore: all was restored, and rows counted",
            DrillLevel::Sample => "sample: the rows of some tables were restored and compared",
            DrillLevel::Prove => "prove",
        };
        text.push_str(&line("level", level));
    }
    text.push_str(&line("compared", &compared.join(", ")));
    for left_out in &outcome.not_compared {
        text.push_str(&line("left out", left_out));
    }
    if outcome.restore_seconds > 0.0 {
        let (restored, proved) = (seconds(outcome.restore_seconds), seconds(outcome.prove_seconds));
        text.push_str(&line("time", &format!("restored in {restored}, proved in {proved}")));
    }
    if !outcome.phases.is_empty() {
        let phases: Vec<String> =
            outcome.phases.iter().map(|(name, took)| format!("{name} {}", seconds(took))).collect();
        text.push_str(&line("phases", &phases.join(", ")));
    }
    for check in &outcome.checks {
        let told = match check.result.as_str() {
            "passed" => format!("{}: passed", check.name),
            "failed" => format!("{}: FAILED: expected {:?}, found {:?}", check.name, check.expected, check.found),
            _ => format!("{}: could not run: {}", check.name, check.found),
        };
        text.push_str(&line("check", &told));
    }
    for note in &outcome.notes {
        text.push_str(&line("note", note));
    }
    if let Some(scratch) = &outcome.scratch {
        text.push_str(&line("scratch", scratch));
    }
    if let Some(receipt) = &outcome.receipt {
        text.push_str(&line("receipt", receipt));
    }
    text.push_str(&differences(&outcome.differences));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use crate::event::Phase;
    use crate::proof::Difference;

    #[test]
    fn a_drill_says_its_result_first_and_what_was_compared() {
        let mut drill = samples::drill("failed", None);
        drill.reason = Some("1 difference".into());
        drill.phases.add(Phase::Load, 10.0);
        drill.phases.add(Phase::Prove, 0.5);
        drill.differences.push(Difference {
            kind: "rows".into(),
            name: "public.orders".into(),
            expected: "3".into(),
            found: "2".into(),
        });
        assert_eq!(
            drilled(&drill),
            "shop: drill FAILED, backup 20261122T020000Z-7f3a from office\n  \
               reason:     1 difference\n  \
               compared:   40 objects, 12 tables, 3.2 M rows\n  \
               time:       restored in 10.0 s, proved in 500 ms\n  \
               phases:     load 10.0 s, prove 500 ms\n  \
               kind  name           expected  found\n  \
               rows  public.orders  3         2\n"
        );
    }

    #[test]
    fn a_drill_of_less_than_everything_says_so() {
        let mut drill = samples::drill("passed", None);
        drill.level = DrillLevel::Restore;
        drill.not_compared.push("no values".into());
        assert_eq!(
            drilled(&drill),
            "shop: drill passed, backup 20261122T020000Z-7f3a from office\n  \
               level:      restore: all was restored, and rows counted\n  \
               compared:   40 objects, 12 tables, 3.2 M rows\n  \
               left out:   no values\n  \
               time:       restored in 10.0 s, proved in 500 ms\n"
        );
    }

    #[test]
    fn a_restore_ends_with_the_next_step() {
        let mut restore = samples::restore();
        assert!(
            restored(&restore)
                .ends_with("next: look at shop_2; with --swap a restore takes the place of a live database\n")
        );
        restore.kept_as = Some("shop_old".into());
        assert!(restored(&restore).ends_with("DROP DATABASE \"shop_old\"\n"));
        restore.kept_as = None;
        restore.proof = Proof::Failed;
        assert!(!restored(&restore).contains("next:"));
    }

    #[test]
    fn a_verification_names_what_is_wrong() {
        let outcome = VerifyOutcome {
            id: "20261122T020000Z-7f3a".into(),
            job: "shop".into(),
            database: "shop".into(),
            destination: "office".into(),
            result: VerifyStatus::Damaged,
            problems: vec!["shop.sql.gz: digest differs".into()],
            sql_bytes: 1,
            rows: 1,
            seconds: 2.0,
        };
        assert_eq!(
            verified(&[outcome]),
            "id                     destination  result   time   problems\n\
             20261122T020000Z-7f3a  office       DAMAGED  2.0 s  shop.sql.gz: digest differs\n"
        );
    }
}
