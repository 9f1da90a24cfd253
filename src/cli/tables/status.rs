//! `pgkeep status` as people read it: one block a job.

use super::line;
use crate::cli::words::{age, moment, printable};
use crate::config::DrillLevel;
use crate::schedule::{JobStatus, StatusOutcome};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// Every job, and whether `pgkeep run` is at work.
pub(in crate::cli) fn status(outcome: &StatusOutcome, now: DateTime<Utc>, zone: Tz) -> String {
    let mut text: String = outcome.jobs.iter().map(|job| one(job, now, zone)).collect();
    if outcome.jobs.is_empty() {
        text.push_str("there are no jobs and no backups\n");
    }
    let run = match (&outcome.run, outcome.running) {
        (_, None) => "whether pgkeep run is running is not known".to_owned(),
        (_, Some(false)) => "pgkeep run is not running".to_owned(),
        (None, Some(true)) => "pgkeep run is running".to_owned(),
        (Some(run), Some(true)) => format!("pgkeep run is running: {run}"),
    };
    text.push_str(&printable(&run));
    text.push('\n');
    text
}

fn one(job: &JobStatus, now: DateTime<Utc>, zone: Tz) -> String {
    let state = match job.problems.len() {
        0 if !job.watched => "no schedule",
        0 => "ok",
        _ if job.overdue => "OVERDUE",
        _ => "PROBLEM",
    };
    let mut text = format!("{}: {state}\n", printable(&job.job));
    let alone = job.databases.len() == 1;
    for one in &job.databases {
        let of = if alone { String::new() } else { format!("{}: ", one.database) };
        let backup = match one.last_backup {
            None => "none".to_owned(),
            Some(at) => {
                let mut told = format!("{} in {}", moment(at, now, zone), one.destinations.join(", "));
                if !one.missing.is_empty() {
                    told.push_str(&format!(", missing in {}", one.missing.join(", ")));
                }
                told
            }
        };
        text.push_str(&line("backup", &format!("{of}{backup}")));
        let drill = match (one.last_drill, one.last_drill_result) {
            (Some(at), Some(result)) => {
                let level = one.last_drill_level.filter(|level| *level != DrillLevel::Prove);
                let level = level.map(|level| format!(" (level {level})")).unwrap_or_default();
                format!("{result}{level} {}", moment(at, now, zone))
            }
            _ => "never".to_owned(),
        };
        text.push_str(&line("drill", &format!("{of}{drill}")));
    }
    if job.databases.is_empty() {
        text.push_str(&line("backup", "none"));
    }
    for (name, at) in [("next", job.next_backup), ("next drill", job.next_drill)] {
        if let Some(at) = at {
            text.push_str(&line(name, &moment(at, now, zone)));
        }
    }
    for failure in &job.failures {
        let attempts = if failure.attempts > 1 { format!(", {} attempts", failure.attempts) } else { String::new() };
        let told = format!("{} {}{attempts}: {}", failure.what, age(failure.at, now), failure.error);
        text.push_str(&line("failed", &told));
    }
    for problem in &job.problems {
        text.push_str(&line("problem", &problem.message));
    }
    text
}
