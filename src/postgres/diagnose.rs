//! What PostgreSQL's programs say when they fail, and what to do about it.

use crate::error::{Error, ErrorKind};
use crate::process::Status;

/// What to do about a program that was killed without a word.
const KILLED: &str = "something on this computer killed it, most often the system because memory ran out; the system's \
                      log tells. Try again";

/// Words in an error message, what they mean, and what to do.
const KNOWN: &[(&[&str], ErrorKind, &str)] = &[
    (
        &[
            "password authentication failed",
            "no password supplied",
            "no pg_hba.conf entry",
            "SASL authentication failed",
        ],
        ErrorKind::PermissionDenied,
        "check user and password in the connection string; special characters in a URL must be percent-encoded",
    ),
    (
        &["could not translate host name", "Name or service not known"],
        ErrorKind::Unavailable,
        "check the host name in the connection string, and that this computer is online",
    ),
    (
        &[
            "Connection refused",
            "No such file or directory\n\tIs the server running",
            "timeout expired",
            "No route to host",
        ],
        ErrorKind::Unavailable,
        "check that the server runs, its host and port, and that no firewall is in between",
    ),
    (
        &["does not support SSL"],
        ErrorKind::PermissionDenied,
        "pgkeep asks remote servers for TLS; if this network is trusted, add sslmode=prefer to the connection string",
    ),
    (
        &["row-level security", "row security policy"],
        ErrorKind::PermissionDenied,
        "a policy would hide rows from this role: dump as the tables' owner or as a role with BYPASSRLS",
    ),
    (
        // pg_dump's own --lock-wait-timeout is a statement timeout around LOCK TABLE.
        &["canceling statement due to lock timeout", "could not obtain lock", "due to statement timeout"],
        ErrorKind::Unavailable,
        "another session holds the lock; try again when it is done, or raise lock_wait_timeout",
    ),
    (
        &[
            "terminating connection due to administrator command",
            "server closed the connection unexpectedly",
            "terminating connection due to conflict with recovery",
            "the database system is shutting down",
            "the database system is starting up",
            "connection to server was lost",
            "conflict with recovery",
        ],
        ErrorKind::Unavailable,
        "the server broke off; its own log tells why. Try again",
    ),
    (
        // What importing a snapshot says where a pooler hands each transaction to another session.
        &["invalid snapshot identifier", "snapshot \""],
        ErrorKind::Unavailable,
        "a parallel dump needs sessions of its own: connect past the pooler (the direct address of the database), or set jobs = 1",
    ),
    (
        &["too many clients", "too many connections", "remaining connection slots"],
        ErrorKind::Unavailable,
        "the server has no connection left for this role; try again, or raise its limit",
    ),
    (&["server version mismatch"], ErrorKind::Version, "install the client programs of the server's version"),
    (
        &["No space left on device", "could not extend file", "Disk quota exceeded"],
        ErrorKind::NoSpace,
        "make room on the server's disk",
    ),
    (
        &["permission denied", "must be owner", "must be superuser"],
        ErrorKind::PermissionDenied,
        "ask for the privilege named",
    ),
];

/// The error for `program` that ended with `status` when it worked on `subject`. Its cause is what PostgreSQL said, in one
/// line.
pub fn diagnose(program: &str, subject: &str, status: &Status) -> Error {
    let said = status.stderr.trim();
    let known = KNOWN.iter().find(|(words, ..)| words.iter().any(|word| said.contains(word)));
    let missing_database = said.contains("database \"") && said.contains("\" does not exist");
    let kind = match known {
        _ if missing_database => ErrorKind::NotFound,
        Some((_, kind, _)) => *kind,
        None => ErrorKind::Failed,
    };
    let error = Error::new(kind, format!("{program} failed on {subject} ({})", status.describe()));
    let error = match known {
        _ if missing_database => error.hint("check the database's name at the end of the connection string"),
        Some((_, _, hint)) => error.hint(*hint),
        None if status.was_killed() => error.hint(KILLED),
        None => error,
    };
    let said = summary(said);
    if said.is_empty() { error } else { error.caused_by(said) }
}

/// The lines of a program's stderr that say what is wrong, joined to one.
pub fn summary(stderr: &str) -> String {
    let telling = |line: &&str| {
        !line.is_empty() && !line.starts_with("LOCATION:") && !line.contains("NOTICE:") && !line.starts_with("CONTEXT:")
    };
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(telling).collect();
    let shown = lines.len().saturating_sub(6);
    lines[shown..].join("; ")
}

/// The SQLSTATE that psql prints with `VERBOSITY=verbose`: `ERROR:  42704: type "x" does not exist`.
pub fn sqlstate(stderr: &str) -> Option<&str> {
    let severities = ["ERROR:  ", "FATAL:  ", "PANIC:  "];
    let rest = severities.iter().find_map(|severity| stderr.split_once(severity)).map(|(_, rest)| rest)?;
    let code = rest.get(..5)?;
    let plausible = code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) && rest.get(5..6) == Some(":");
    plausible.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_found_in_verbose_messages() {
        let said =
            "psql:<stdin>:12: ERROR:  42704: type \"hstore\" does not exist\nLINE 3: a hstore\nLOCATION:  x, y.c:1\n";
        assert_eq!(sqlstate(said), Some("42704"));
        assert_eq!(summary(said), "psql:<stdin>:12: ERROR:  42704: type \"hstore\" does not exist; LINE 3: a hstore");
        assert_eq!(sqlstate("psql: error: connection failed"), None);
        assert_eq!(sqlstate("ERROR:  type does not exist"), None);
    }
}
