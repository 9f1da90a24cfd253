//! The one error type: what went wrong (kind), with what (message), what to do (hint), and why (source).
//!
//! A message is one lowercase line that names the object; it never repeats its source. `cli` prints the chain and the
//! hint. The kind decides the exit code, in one exhaustive match ([`Error::exit_code`]).

use std::error::Error as StdError;
use std::fmt;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means to the caller, independent of where it arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The command line asks for something impossible or contradictory.
    Usage,
    /// The configuration is wrong; the message lists every problem.
    Config,
    /// A backup, file, database, program or table is not there.
    NotFound,
    /// Something that must be new exists already.
    AlreadyExists,
    /// The operating system, the service or PostgreSQL denied access.
    PermissionDenied,
    /// A server or service cannot be reached, or broke off; trying again may help.
    Unavailable,
    /// No room left at a destination or in a temp folder.
    NoSpace,
    /// Clients and server, or archive and program, do not fit together.
    Version,
    /// pgkeep declines, to protect data: non-empty target, the source itself, a hostile dump.
    Refused,
    /// Stored bytes differ from what their manifest says.
    Damaged,
    /// A verification or drill found a difference.
    Difference,
    /// A drill or check could not run, through no fault of the backup.
    CouldNotRun,
    /// Stored in some destinations, not in all that were asked for.
    Partial,
    /// Another run holds the lock.
    Locked,
    /// Stopped by Ctrl-C.
    Interrupted,
    /// Stopped by SIGTERM, or by the service manager.
    Terminated,
    /// Anything else that failed.
    Failed,
}

/// An error of pgkeep.
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` whose `message` is one lowercase line.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    /// Adds what the user should do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// An I/O error with what was being done, its kind taken from the operating system's.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => ErrorKind::NoSpace,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, doing).caused_by(source)
    }

    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error with another meaning, for callers that know better.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What the user should do next: the outermost hint of the chain.
    pub fn hint_text(&self) -> Option<&str> {
        if let Some(hint) = &self.hint {
            return Some(hint);
        }
        self.source.as_deref()?.downcast_ref::<Self>()?.hint_text()
    }

    /// The exit code for this error, as README.md lists them.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::PermissionDenied
            | ErrorKind::Unavailable
            | ErrorKind::NoSpace
            | ErrorKind::Version
            | ErrorKind::Refused
            | ErrorKind::Failed => 1,
            ErrorKind::Usage | ErrorKind::Config => 2,
            ErrorKind::Partial => 3,
            ErrorKind::Damaged | ErrorKind::Difference => 4,
            ErrorKind::CouldNotRun => 5,
            ErrorKind::Locked => 6,
            ErrorKind::Interrupted => 130,
            ErrorKind::Terminated => 143,
        }
    }

    /// The message and its causes in one line, for JSON and logs.
    pub fn one_line(&self) -> String {
        let mut line = self.message.clone();
        let mut cause = self.source();
        while let Some(next) = cause {
            line.push_str(": ");
            line.push_str(next.to_string().trim_end());
            cause = next.source();
        }
        line.replace('\n', " ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.one_line())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Adds context to foreign errors where they enter.
pub trait Context<T> {
    /// Says what was being done when an I/O error came.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::io(what(), source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_hint_wins_and_an_inner_one_is_found() {
        let inner = Error::new(ErrorKind::NotFound, "no psql").hint("install it");
        let outer = Error::new(ErrorKind::CouldNotRun, "drill could not run").caused_by(inner);
        assert_eq!(outer.hint_text(), Some("install it"));
        assert_eq!(outer.one_line(), "drill could not run: no psql");
        assert_eq!(outer.exit_code(), 5);
    }

    #[test]
    fn a_full_disk_is_told_from_other_io_errors() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(Error::io("cannot write x", full).kind(), ErrorKind::NoSpace);
    }
}
