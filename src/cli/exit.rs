//! Exit codes: the code of each outcome, and which of several decides.
//!
//! The table is the README's; errors know their own code ([`Error::exit_code`]).

use crate::error::{Error, ErrorKind};
use crate::ops::{BackupOutcome, BackupStatus, DrillOutcome, Proof, RestoreOutcome, VerifyOutcome, VerifyStatus};

/// Done.
pub(super) const DONE: u8 = 0;

/// Some of it was done, some not.
pub(super) const PARTLY: u8 = 3;

/// From the gravest to the lightest. A stop comes first, since what followed it says little; then a backup that is known
/// to be bad, what failed, what could not even begin, and what was done in part.
const PRECEDENCE: [u8; 8] = [143, 130, 4, 1, 2, 5, 6, 3];

/// The code of a run with several outcomes: the gravest of theirs.
pub(super) fn gravest(codes: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |code: u8| match code {
        DONE => PRECEDENCE.len() + 1,
        // A code that nobody knows is a failure that nobody has ranked yet.
        _ => PRECEDENCE.iter().position(|known| *known == code).unwrap_or(PRECEDENCE.len()),
    };
    codes.into_iter().min_by_key(|code| rank(*code)).unwrap_or(DONE)
}

/// The code of one database's backup. Stored in enough destinations is done, as the job's `require` says.
pub(super) fn of_backup(outcome: &BackupOutcome) -> u8 {
    match (&outcome.failure, outcome.status) {
        (Some(error), _) => error.exit_code(),
        (None, BackupStatus::Failed) => 1,
        (None, _) => DONE,
    }
}

/// The code of one verification.
pub(super) fn of_verify(outcome: &VerifyOutcome) -> u8 {
    match outcome.result {
        VerifyStatus::Intact => DONE,
        VerifyStatus::Damaged | VerifyStatus::Missing => 4,
    }
}

/// The error of a restored database that is not what was backed up.
pub(super) fn of_restore(outcome: &RestoreOutcome) -> Option<Error> {
    match outcome.proof {
        Proof::Passed | Proof::Skipped => None,
        Proof::Failed => {
            let message = match outcome.differences.len() {
                0 => format!("the restored database {} could not be proved equal to the backup", outcome.database),
                1 => format!("the restored database {} differs from the backup in one place", outcome.database),
                many => format!("the restored database {} differs from the backup in {many} places", outcome.database),
            };
            let hint = "do not put it into use before you understand the differences; `pgkeep backup verify` tells whether \
                        the stored backup is whole";
            Some(Error::new(ErrorKind::Difference, message).hint(hint))
        }
    }
}

/// The code of one drill: a failed one is 4, one that could not run 5.
pub(super) fn of_drill(outcome: &DrillOutcome) -> u8 {
    match (outcome.result.as_str(), &outcome.failure) {
        ("passed", None) => DONE,
        (_, Some(error)) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => error.exit_code(),
        ("failed", _) => 4,
        ("could_not_run", _) => 5,
        // No third answer may look like a success.
        (_, failure) => failure.as_ref().map_or(1, Error::exit_code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_comes_before_every_failure_and_a_failure_before_a_part() {
        assert_eq!(gravest([]), 0);
        assert_eq!(gravest([0, 0]), 0);
        assert_eq!(gravest([0, 3, 0]), 3);
        assert_eq!(gravest([3, 6]), 6);
        assert_eq!(gravest([6, 1, 3]), 1);
        assert_eq!(gravest([5, 4]), 4);
        assert_eq!(gravest([1, 130, 4]), 130);
        assert_eq!(gravest([130, 143]), 143);
        assert_eq!(gravest([0, 77]), 77);
    }

    fn drill(result: &str, failure: Option<ErrorKind>) -> u8 {
        of_drill(&crate::cli::samples::drill(result, failure.map(|kind| Error::new(kind, "x"))))
    }

    #[test]
    fn the_three_answers_of_a_drill_have_three_codes() {
        assert_eq!(drill("passed", None), 0);
        assert_eq!(drill("failed", Some(ErrorKind::Failed)), 4);
        assert_eq!(drill("failed", None), 4);
        assert_eq!(drill("could_not_run", Some(ErrorKind::NoSpace)), 5);
        assert_eq!(drill("could_not_run", Some(ErrorKind::Interrupted)), 130);
        assert_eq!(drill("something new", None), 1);
    }

    #[test]
    fn enough_destinations_are_success_and_too_few_are_not() {
        let mut backup = crate::cli::samples::backup();
        backup.status = BackupStatus::Partial;
        assert_eq!(of_backup(&backup), 0);
        backup.failure = Some(Error::new(ErrorKind::Partial, "stored in one of two destinations"));
        assert_eq!(of_backup(&backup), 3);
        backup.failure = None;
        backup.status = BackupStatus::Failed;
        assert_eq!(of_backup(&backup), 1);
    }

    #[test]
    fn a_failed_proof_is_a_difference() {
        let mut restore = crate::cli::samples::restore();
        assert!(of_restore(&restore).is_none());
        restore.proof = Proof::Failed;
        assert_eq!(of_restore(&restore).unwrap().exit_code(), 4);
    }
}
