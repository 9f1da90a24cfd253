//! Making findings, and sizes in their sentences.

use super::service::{Finding, Verdict};
use crate::error::{Error, ErrorKind};

impl Finding {
    /// Something that is as it should be.
    pub fn good(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Good, found: found.into(), fix: None }
    }

    /// Something worth knowing.
    pub fn note(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Note, found: found.into(), fix: None }
    }

    /// Something that should be mended, and how.
    pub fn warning(what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    /// Something that keeps backups from working, and how it is mended.
    pub fn bad(what: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), verdict: Verdict::Bad, found: found.into(), fix: Some(fix.into()) }
    }

    /// A failure, which keeps backups from working: its hint is the fix.
    pub fn failure(what: impl Into<String>, error: &Error) -> Self {
        let fix = error.hint_text().unwrap_or(match error.kind() {
            ErrorKind::PermissionDenied => "let pgkeep do this there, or give it another account or place",
            ErrorKind::Unavailable => "check the service and the way to it, then run the doctor again",
            ErrorKind::NoSpace => "make room there",
            ErrorKind::NotFound => "create it, or correct its name",
            _ => "mend what the message says, then run the doctor again",
        });
        Self::bad(what, error.one_line(), fix)
    }

    /// The same with advice that one may follow.
    #[must_use]
    pub fn advice(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// A size in bytes, in powers of ten as storage is sold: `1.5 GB`.
pub fn size_in_words(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    scaled(bytes, &[" kB", " MB", " GB", " TB", " PB", " EB"])
}

/// A number of 1000 and more in the fitting of `units`, each a thousand of the one before.
pub(crate) fn scaled(number: u64, units: &[&str]) -> String {
    let mut value = number as f64 / 1000.0;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // 999.96 would be shown as 1000.0.
    while value >= 999.5
        && let Some(next) = units.next()
    {
        value /= 1000.0;
        unit = next;
    }
    if value < 99.95 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}
