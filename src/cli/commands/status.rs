//! `pgkeep status`.

use super::Session;
use crate::cli::args::StatusArgs;
use crate::cli::words::printable;
use crate::cli::{exit, places, tables, voice};
use crate::error::{Error, ErrorKind, Result};
use crate::schedule::{self, ProblemKind, StatusOutcome};

/// Shows how every job is; with `--check` what is wrong only.
pub(super) async fn status(args: &StatusArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    // Without jobs there is nothing to expect: then what is found counts, where it can be found at all.
    let at = if args.at.at.is_empty() && !config.jobs.is_empty() {
        Vec::new()
    } else {
        places::look_in(&args.at.at, None, config)?
    };
    let outcome = schedule::status(session.ctx, &at).await.map_err(|error| match error.kind() {
        ErrorKind::Interrupted | ErrorKind::Terminated | ErrorKind::Config | ErrorKind::Usage => error,
        // Nothing is known then, which is its own answer.
        _ => Error::new(ErrorKind::CouldNotRun, "the catalogue could not be read").caused_by(error),
    })?;
    session.display.pause();
    if args.check {
        session.output.text(&check(&outcome))?;
    } else {
        let (now, zone) = (session.ctx.clock.now(), config.timezone);
        session.output.text(&tables::status(&outcome, now, zone))?;
        for one in &outcome.unreadable {
            voice::warn(&format!("{} cannot be read: {}", one.destination, one.error));
        }
    }
    session.output.json(&outcome)?;
    Ok(code(&outcome, args.check))
}

/// A line for each problem, or one that says that there is none.
fn check(outcome: &StatusOutcome) -> String {
    let mut text = String::new();
    for job in &outcome.jobs {
        for problem in &job.problems {
            text.push_str(&printable(&format!("job {}: {}", job.job, problem.message)));
            text.push('\n');
        }
    }
    for one in &outcome.unreadable {
        text.push_str(&printable(&format!("destination {} cannot be read: {}", one.destination, one.error)));
        text.push('\n');
    }
    if text.is_empty() {
        let watched = outcome.jobs.iter().filter(|job| job.watched).count();
        text = format!("ok: {} of {} watched, nothing is overdue\n", watched, outcome.jobs.len());
    }
    text
}

/// Without `--check` only that nothing could be found out of a job is a failure.
fn code(outcome: &StatusOutcome, check: bool) -> u8 {
    let problems = outcome.jobs.iter().flat_map(|job| &job.problems);
    let codes = problems.map(|problem| match problem.kind {
        ProblemKind::Unreadable => 5,
        _ if !check => exit::DONE,
        ProblemKind::BackupOverdue | ProblemKind::DrillOverdue | ProblemKind::TooFewCopies => 1,
        ProblemKind::DrillFailed | ProblemKind::BackupDamaged => 4,
    });
    let unread = (check && !outcome.unreadable.is_empty()).then_some(5);
    exit::gravest(codes.chain(unread))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{JobStatus, Problem, Unreadable};

    fn outcome(kinds: &[ProblemKind], unreadable: &[&str]) -> StatusOutcome {
        let problems = kinds.iter().map(|kind| Problem { kind: *kind, message: format!("it is {kind:?}") }).collect();
        let job = JobStatus {
            job: "shop".to_owned(),
            last_backup: None,
            last_backup_age_seconds: None,
            last_drill: None,
            last_drill_result: None,
            next_backup: None,
            next_drill: None,
            overdue: false,
            backup_overdue: false,
            drill_overdue: false,
            watched: true,
            databases: Vec::new(),
            failures: Vec::new(),
            problems,
        };
        let unreadable =
            unreadable.iter().map(|name| Unreadable { destination: (*name).to_owned(), error: "away".to_owned() });
        StatusOutcome { jobs: vec![job], running: Some(false), run: None, unreadable: unreadable.collect() }
    }

    #[test]
    fn the_gravest_problem_decides_and_a_destination_that_is_away_is_one() {
        let codes = |kinds: &[ProblemKind], unreadable: &[&str]| {
            let outcome = outcome(kinds, unreadable);
            (code(&outcome, true), code(&outcome, false))
        };
        assert_eq!(codes(&[], &[]), (0, 0));
        assert_eq!(codes(&[], &["cloud"]), (5, 0));
        assert_eq!(codes(&[ProblemKind::TooFewCopies], &["cloud"]), (1, 0));
        assert_eq!(codes(&[ProblemKind::BackupOverdue, ProblemKind::BackupDamaged], &["cloud"]), (4, 0));
        assert_eq!(codes(&[ProblemKind::Unreadable], &[]), (5, 5));
        let text = check(&outcome(&[ProblemKind::TooFewCopies], &["cloud"]));
        assert_eq!(text, "job shop: it is TooFewCopies\ndestination cloud cannot be read: away\n");
    }
}
