//! What Drive's refusals mean: the one place where its codes and reasons become kinds of errors and hints.
//!
//! Source: Google's guide "Resolve errors" for the Drive API, and the reasons that its users report beyond it.

use crate::error::{Error, ErrorKind};
use reqwest::StatusCode;
use serde::Deserialize;

/// How much of Google's own message is repeated, in bytes.
const LONGEST_MESSAGE: usize = 300;

/// A refusal as Google writes it.
#[derive(Debug, Default, Deserialize)]
struct Body {
    #[serde(default)]
    error: Refusal,
}

#[derive(Debug, Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
}

/// The first reason that a refusal gives, such as `notFound`; empty if it gives none.
pub(super) fn reason(body: &[u8]) -> String {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    body.error.errors.into_iter().map(|detail| detail.reason).find(|reason| !reason.is_empty()).unwrap_or_default()
}

/// The error for an answer that is no success. `doing` says what was tried: `cannot look for a/b at office`.
pub(super) fn refused(doing: &str, status: StatusCode, body: &[u8]) -> Error {
    let parsed: Body = serde_json::from_slice(body).unwrap_or_default();
    let reason = reason(body);
    let (kind, hint) = meaning(status, &reason);
    let mut cause = format!("Drive answered {}", status.as_u16());
    if !reason.is_empty() {
        cause.push_str(&format!(", {}", printable(&reason)));
    }
    let message = printable(&parsed.error.message);
    if !message.is_empty() {
        cause.push_str(&format!(": {message}"));
    }
    let error = Error::new(kind, doing).caused_by(cause);
    if let Some(hint) = hint { error.hint(hint) } else { error }
}

fn meaning(status: StatusCode, reason: &str) -> (ErrorKind, Option<&'static str>) {
    match (status.as_u16(), reason) {
        (403, "userRateLimitExceeded" | "rateLimitExceeded") | (408 | 429 | 500..=599, _) => {
            (ErrorKind::Unavailable, None)
        }
        (403, "storageQuotaExceeded") => (
            ErrorKind::NoSpace,
            Some(
                "the account's storage is full; a service account owns none at all, it needs a folder of a shared drive, or \
                 use an account of your own: pgkeep auth gdrive",
            ),
        ),
        (403, "teamDriveFileLimitExceeded" | "numChildrenInNonRootLimitExceeded" | "teamDriveHierarchyTooDeep") => (
            ErrorKind::NoSpace,
            Some("the shared drive or the folder holds as many files as Drive allows; use another one"),
        ),
        (403, "quotaExceeded" | "dailyLimitExceeded" | "dailyLimitExceededUnreg") => (
            ErrorKind::Failed,
            Some("this is a limit by the day: wait until tomorrow, or raise it in Google's console"),
        ),
        (403, reason) if reason.to_ascii_lowercase().starts_with("uploadlimit") => (
            ErrorKind::Failed,
            Some(
                "an account may upload 750 GB a day: wait until tomorrow, or use another account for some of the jobs",
            ),
        ),
        (403, "downloadQuotaExceeded") => {
            (ErrorKind::Failed, Some("the file was downloaded too often today: wait until tomorrow"))
        }
        (403, "accessNotConfigured" | "SERVICE_DISABLED") => (
            ErrorKind::PermissionDenied,
            Some("switch the Google Drive API on for the project of these credentials, in Google's console"),
        ),
        (403, "appNotAuthorizedToFile") => (
            ErrorKind::PermissionDenied,
            Some("pgkeep sees only what it created; use the folder that `pgkeep auth gdrive` makes"),
        ),
        (403, _) => (
            ErrorKind::PermissionDenied,
            Some(
                "give the account the right to write there: Editor of the folder, or Content manager of the shared drive",
            ),
        ),
        (401, _) => (
            ErrorKind::PermissionDenied,
            Some("Google does not accept these credentials; run `pgkeep auth gdrive` again"),
        ),
        (404 | 410, _) => (ErrorKind::NotFound, None),
        (409, _) => (ErrorKind::AlreadyExists, None),
        (416, _) => (ErrorKind::Damaged, None),
        _ => (ErrorKind::Failed, None),
    }
}

/// The start of a foreign text, in one line and without control characters.
pub(super) fn printable(text: &str) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() > LONGEST_MESSAGE {
        let end = (0..=LONGEST_MESSAGE).rev().find(|at| clean.is_char_boundary(*at)).unwrap_or(0);
        clean.truncate(end);
    }
    clean.trim().to_owned()
}

/// The error for a request that got no answer, or only a part of one. URLs are left out: they may be credentials.
pub(super) fn unanswered(doing: &str, error: reqwest::Error) -> Error {
    let kind = if error.is_builder() { ErrorKind::Failed } else { ErrorKind::Unavailable };
    Error::new(kind, doing).caused_by(error.without_url())
}

/// The error for an answer that cannot be made sense of.
pub(super) fn nonsense(doing: &str, why: &str) -> Error {
    Error::new(ErrorKind::Failed, doing).caused_by(format!("Drive's answer makes no sense: {why}"))
}

/// The error for a silence of `seconds`.
pub(super) fn silent(doing: &str, seconds: u64) -> Error {
    Error::new(ErrorKind::Unavailable, doing).caused_by(format!("nothing came or went for {seconds} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(reason: &str) -> Vec<u8> {
        let detail = serde_json::json!({ "domain": "global", "reason": reason, "message": "No." });
        serde_json::to_vec(&serde_json::json!({ "error": { "code": 403, "message": "No.", "errors": [detail] } }))
            .unwrap()
    }

    #[test]
    fn codes_and_reasons_become_kinds() {
        use ErrorKind::{AlreadyExists, Damaged, Failed, NoSpace, NotFound, PermissionDenied, Unavailable};
        for (status, reason, kind, hinted) in [
            (403, "userRateLimitExceeded", Unavailable, ""),
            (403, "rateLimitExceeded", Unavailable, ""),
            (429, "", Unavailable, ""),
            (429, "rateLimitExceeded", Unavailable, ""),
            (500, "backendError", Unavailable, ""),
            (503, "", Unavailable, ""),
            (403, "storageQuotaExceeded", NoSpace, "shared drive"),
            (403, "teamDriveFileLimitExceeded", NoSpace, "as many files"),
            (403, "dailyLimitExceeded", Failed, "tomorrow"),
            (403, "uploadLimitExceeded", Failed, "750 GB"),
            (403, "insufficientFilePermissions", PermissionDenied, "Content manager"),
            (403, "accessNotConfigured", PermissionDenied, "API on"),
            (403, "", PermissionDenied, "right to write"),
            (401, "authError", PermissionDenied, "pgkeep auth gdrive"),
            (404, "notFound", NotFound, ""),
            (410, "", NotFound, ""),
            (409, "fileIdInUse", AlreadyExists, ""),
            (416, "", Damaged, ""),
            (400, "badRequest", Failed, ""),
            (302, "", Failed, ""),
        ] {
            let error = refused("cannot store x", StatusCode::from_u16(status).unwrap(), &body(reason));
            assert_eq!(error.kind(), kind, "{status} {reason}");
            assert!(error.hint_text().unwrap_or_default().contains(hinted), "{status} {reason}");
            assert!(error.one_line().starts_with(&format!("cannot store x: Drive answered {status}")), "{error:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_json_has_a_meaning_too() {
        for text in ["", "<html>Service Unavailable</html>", "{\"error\": \"invalid\"}", "[]"] {
            let error = refused("cannot store x", StatusCode::SERVICE_UNAVAILABLE, text.as_bytes());
            assert_eq!(
                (error.kind(), error.one_line().as_str()),
                (ErrorKind::Unavailable, "cannot store x: Drive answered 503")
            );
        }
    }

    #[test]
    fn foreign_messages_are_cut_and_harmless() {
        assert_eq!(printable("a\n\u{1b}[2Jb"), "a  [2Jb");
        assert!(printable(&"é".repeat(1000)).len() <= LONGEST_MESSAGE);
    }
}
