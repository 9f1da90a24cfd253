//! What a drill means: whose fault it was, if anybody's, and the receipt that is kept of it.

use super::{DrillRequest, Findings};
use crate::catalogue::{CheckOutcome, DrillReceipt, DrillResult, RECEIPT_FORMAT};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Context;
use crate::ops::outcome::{CheckAnswer, DrillOutcome};
use crate::postgres::Connection;
use crate::process::host_name;
use crate::proof::Difference;
use chrono::{DateTime, Utc};

/// How many differences and checks a reason names.
const NAMED: usize = 3;

/// How many characters of an answer a reason repeats.
const LONGEST_ANSWER: usize = 100;

/// Whose fault it was, if anybody's.
pub(super) fn judge(run: Result<()>, findings: &Findings) -> (DrillResult, Option<Error>) {
    match run {
        Ok(()) => match what_failed(&findings.comparison.differences, &findings.checks) {
            None => (DrillResult::Passed, None),
            Some(what) => {
                let error = Error::new(ErrorKind::Difference, what);
                let differs = !findings.comparison.differences.is_empty();
                let error = if differs { error.hint("the differences name what did not come back") } else { error };
                (DrillResult::Failed, Some(error))
            }
        },
        // The backup's own fault: its bytes are damaged, or psql stopped at one of its statements.
        Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Failed | ErrorKind::Refused) => {
            let failed = Error::new(ErrorKind::Difference, "the backup could not be restored").caused_by(error);
            (DrillResult::Failed, Some(failed))
        }
        Err(error) => {
            let error = if error.kind() == ErrorKind::CouldNotRun {
                error
            } else {
                Error::new(ErrorKind::CouldNotRun, "the drill could not run").caused_by(error)
            };
            (DrillResult::CouldNotRun, Some(error))
        }
    }
}

/// The differences and failed checks in one line that names them; `None` if there are none.
fn what_failed(differences: &[Difference], checks: &[CheckAnswer]) -> Option<String> {
    let mut parts = Vec::new();
    if !differences.is_empty() {
        let count = differences.len();
        let what = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
        let names = differences.iter().map(|one| format!("{} {}", one.kind, short(&one.name)));
        parts.push(format!("the restored database has {what} from the backup: {}", some_of(names)));
    }
    let failed = checks.iter().filter(|check| check.result != DrillResult::Passed.name());
    let told: Vec<String> = failed
        .map(|check| {
            format!("check {:?} found {} instead of {}", check.name, short(&check.found), short(&check.expected))
        })
        .collect();
    if !told.is_empty() {
        parts.push(some_of(told.into_iter()));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The first few of `names`, and how many more there are.
fn some_of(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_ANSWER) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What is kept of a drill.
pub(super) fn receipt(
    ctx: &Context,
    outcome: &DrillOutcome,
    result: DrillResult,
    started_at: DateTime<Utc>,
    request: &DrillRequest,
) -> DrillReceipt {
    let check = |answer: &CheckAnswer| CheckOutcome {
        name: answer.name.clone(),
        result: match answer.result.as_str() {
            "passed" => DrillResult::Passed,
            "failed" => DrillResult::Failed,
            _ => DrillResult::CouldNotRun,
        },
        expected: Some(answer.expected.clone()),
        found: Some(answer.found.clone()),
    };
    DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: outcome.backup.clone(),
        started_at,
        finished_at: ctx.clock.now(),
        result,
        reason: outcome.reason.clone(),
        destination: Some(outcome.destination.clone()).filter(|name| !name.is_empty()),
        level: outcome.level,
        not_compared: outcome.not_compared.clone(),
        objects_compared: outcome.objects_compared,
        tables_compared: outcome.tables_compared,
        rows_compared: outcome.rows_compared,
        differences: outcome.differences.clone(),
        differences_left_out: 0,
        checks: outcome.checks.iter().map(check).collect(),
        phases: outcome.phases.clone(),
        restore_seconds: outcome.restore_seconds,
        objective_seconds: outcome.objective_seconds,
        scratch: request.server.as_ref().map_or_else(|| "ephemeral".to_owned(), Connection::describe),
        written_by: format!("pgkeep {}", env!("CARGO_PKG_VERSION")),
        host: host_name().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, result: &str) -> CheckAnswer {
        let (expected, found) = ("t".to_owned(), "f".to_owned());
        CheckAnswer { name: name.to_owned(), result: result.to_owned(), expected, found }
    }

    #[test]
    fn what_failed_names_itself_and_a_difference_hides_no_check() {
        let difference = |name: &str| Difference {
            kind: "INDEX".to_owned(),
            name: name.to_owned(),
            expected: "present".to_owned(),
            found: "missing".to_owned(),
        };
        assert_eq!(what_failed(&[], &[check("a", "passed")]), None);
        assert_eq!(
            what_failed(&[difference("public.i")], &[check("a", "passed"), check("b", "failed"), check("c", "failed")])
                .unwrap(),
            "the restored database has 1 difference from the backup: INDEX public.i; check \"b\" found f instead of t, \
             check \"c\" found f instead of t"
        );
        let many: Vec<Difference> = (0..5).map(|n| difference(&format!("i{n}"))).collect();
        assert!(what_failed(&many, &[]).unwrap().ends_with("INDEX i0, INDEX i1, INDEX i2 and 2 more"));
    }
}
