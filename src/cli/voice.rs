//! How errors and warnings speak: what failed, why, and at the end what to do next. On stderr, or as JSON.

use super::words::printable;
use crate::error::{Error, ErrorKind};
use serde_json::{Value, json};
use std::error::Error as _;
use std::io::Write;

/// The error as people read it: `error:`, its causes, its hint.
pub(super) fn human(error: &Error) -> String {
    let mut text = format!("error: {}\n", lines(&error.to_string(), ""));
    let mut cause = error.source();
    while let Some(next) = cause {
        let told = next.to_string();
        let told = told.trim_end();
        if !told.is_empty() {
            text.push_str("  caused by: ");
            text.push_str(&lines(told, "    "));
            text.push('\n');
        }
        cause = next.source();
    }
    if let Some(hint) = error.hint_text() {
        text.push_str("hint: ");
        text.push_str(&lines(hint, "  "));
        text.push('\n');
    }
    text
}

/// The lines of `text`, those after the first indented, with nothing in them that a terminal would obey.
fn lines(text: &str, indent: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join(&format!("\n{indent}"))
}

/// The error as scripts read it.
pub(super) fn machine(error: &Error) -> Value {
    let message = error.one_line();
    json!({ "kind": kind_name(error.kind()), "message": message, "hint": error.hint_text() })
}

/// Tells `error` on stderr.
pub(super) fn tell(error: &Error) {
    stderr(&human(error));
}

/// Tells a warning on stderr.
pub(super) fn warn(warning: &str) {
    stderr(&format!("warning: {}\n", lines(warning, "  ")));
}

/// Writes to stderr. That nobody reads it any more is no reason to stop a backup.
pub(super) fn stderr(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

/// The word for `kind` in JSON.
fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Usage => "usage",
        ErrorKind::Config => "config",
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::PermissionDenied => "permission_denied",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::NoSpace => "no_space",
        ErrorKind::Version => "version",
        ErrorKind::Refused => "refused",
        ErrorKind::Damaged => "damaged",
        ErrorKind::Difference => "difference",
        ErrorKind::CouldNotRun => "could_not_run",
        ErrorKind::Partial => "partial",
        ErrorKind::Locked => "locked",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Terminated => "terminated",
        ErrorKind::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "connection refused");
        let inner = Error::new(ErrorKind::Unavailable, "cannot reach db.example.com:5432").caused_by(refused);
        Error::new(ErrorKind::Failed, "cannot back up shop").caused_by(inner).hint("check the network, then try again")
    }

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        assert_eq!(
            human(&failure()),
            "error: cannot back up shop\n  \
               caused by: cannot reach db.example.com:5432\n  \
               caused by: connection refused\n\
             hint: check the network, then try again\n"
        );
    }

    #[test]
    fn an_error_without_cause_or_hint_is_one_line() {
        assert_eq!(human(&Error::new(ErrorKind::Failed, "no")), "error: no\n");
    }

    #[test]
    fn a_cause_of_several_lines_is_indented_and_cannot_move_the_cursor() {
        let error = Error::new(ErrorKind::Failed, "psql failed").caused_by("one\ntwo \u{1b}[2J\n".to_owned());
        assert_eq!(human(&error), "error: psql failed\n  caused by: one\n    two \\u{1b}[2J\n");
    }

    #[test]
    fn scripts_get_kind_message_and_hint() {
        assert_eq!(
            machine(&failure()),
            json!({
                "kind": "failed",
                "message": "cannot back up shop: cannot reach db.example.com:5432: connection refused",
                "hint": "check the network, then try again",
            })
        );
        assert_eq!(machine(&Error::new(ErrorKind::Usage, "no"))["hint"], Value::Null);
    }
}
