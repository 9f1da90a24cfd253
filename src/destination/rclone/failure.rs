//! What a failed rclone meant: by its exit code (rclone.org/docs, "Exit code"), and by its words where the code says nothing.

use crate::error::{Error, ErrorKind};
use crate::process::Status;

/// Words of the services and of the system, lowercase, and what they mean. The first that occurs decides.
const WORDS: [(ErrorKind, &[&str]); 6] = [
    (
        ErrorKind::NoSpace,
        &[
            "no space left",
            "disk full",
            "disk quota exceeded",
            "insufficient storage",
            "insufficient_space",
            "insufficient space",
            "not enough space",
            "storagequotaexceeded",
            "storage quota",
            "quotalimitreached",
            "quota limit reached",
            "over quota",
            "quotaexceeded",
        ],
    ),
    (
        ErrorKind::Unavailable,
        &["rate limit", "ratelimit", "too many requests", "slowdown", "slow down", "too_many_write_operations"],
    ),
    // What does not become right by trying again, though it comes along with words that would.
    (ErrorKind::Failed, &["x509:", "certificate"]),
    (
        ErrorKind::PermissionDenied,
        &[
            "unable to decrypt configuration",
            "couldn't decrypt configuration",
            "unable to authenticate",
            "knownhosts:",
            "permission denied",
            "access denied",
            "accessdenied",
            "access_denied",
            "unauthorized",
            "unauthenticated",
            "forbidden",
            "invalid_grant",
            "invalid_token",
            "invalid_access_token",
            "expired_access_token",
            "empty token found",
            "invalidaccesskeyid",
            "signaturedoesnotmatch",
            "invalid credentials",
            "authentication failed",
            "login incorrect",
            "read-only file system",
            "ssh agent requested",
        ],
    ),
    (
        ErrorKind::Unavailable,
        &[
            "connection refused",
            "connection reset",
            "connection lost",
            "connection closed",
            "closed network connection",
            "server closed",
            "broken pipe",
            "timeout",
            "timed out",
            "deadline exceeded",
            "no such host",
            "server misbehaving",
            "temporary failure",
            "temporarily unavailable",
            "service unavailable",
            "network is unreachable",
            "no route to host",
            "unexpected eof",
            ": eof",
            "internal server error",
            "bad gateway",
            "gateway time",
        ],
    ),
    (ErrorKind::NotFound, &["directory not found", "object not found", "file not found", "no such file or directory"]),
];

/// What became of an rclone that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it means.
    pub(super) kind: ErrorKind,
    /// rclone's own last word.
    pub(super) reason: String,
}

impl Failure {
    /// What `status` means.
    pub(super) fn of(status: &Status) -> Self {
        let messages = messages(&status.stderr);
        let reason = reason(&messages, &status.describe());
        Self { kind: kind(status.exit.code(), &messages), reason }
    }

    /// The error for what rclone was doing; `doing` is one lowercase line that names the object.
    pub(super) fn error(self, doing: impl Into<String>) -> Error {
        let error = Error::new(self.kind, doing).caused_by(Error::new(self.kind, self.reason.clone()));
        let reason = self.reason.to_lowercase();
        match self.kind {
            ErrorKind::PermissionDenied if reason.contains("decrypt") => {
                error.hint("set config_password to the password of rclone's configuration file")
            }
            ErrorKind::PermissionDenied if reason.contains("knownhosts") => {
                error.hint("the server's key is not the known one; find out why before you trust it")
            }
            ErrorKind::PermissionDenied => {
                error.hint("try `rclone lsd REMOTE:` and, if it fails too, renew the sign-in with `rclone config`")
            }
            ErrorKind::NoSpace => error.hint("free some space at the remote, or choose another destination"),
            ErrorKind::Config => error.hint("look at this destination's `options`"),
            _ => error,
        }
    }
}

fn kind(code: Option<i32>, messages: &[(Weight, String)]) -> ErrorKind {
    let said =
        messages.iter().filter(|(weight, _)| *weight != Weight::Aside).map(|(_, message)| message.to_lowercase());
    let said = said.collect::<Vec<_>>().join("\n");
    if said.contains("unknown flag") || said.contains("invalid argument \"") {
        return ErrorKind::Config;
    }
    // A fault of rclone's own also exits with 2.
    if said.contains("panic: ") {
        return ErrorKind::Failed;
    }
    for (kind, words) in WORDS {
        if words.iter().any(|word| said.contains(word)) {
            return kind;
        }
    }
    match code {
        Some(2) => ErrorKind::Config,
        Some(3 | 4) => ErrorKind::NotFound,
        // "Temporary error (one that more retries might fix)".
        Some(5) => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

/// How much a line of rclone's says about why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Nothing: a notice.
    Aside,
    /// An error.
    Error,
    /// The last word.
    Last,
}

/// The lines of stderr: objects of JSON as `--use-json-log` gives them, or text, which older versions mix in.
fn messages(stderr: &str) -> Vec<(Weight, String)> {
    let lines = stderr.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let json = serde_json::from_str::<serde_json::Value>(line).ok();
            let field = |name: &str| Some(json.as_ref()?.get(name)?.as_str()?.to_owned());
            let (level, message) = match (field("level"), field("msg")) {
                (Some(level), Some(message)) => (level, message),
                _ => text_line(line),
            };
            let weight = if message.starts_with("Failed to ") || level == "critical" || level == "fatal" {
                Weight::Last
            } else if level == "error" {
                Weight::Error
            } else {
                Weight::Aside
            };
            (weight, without_paths(&message))
        })
        .collect()
}

/// Takes `2026/11/22 08:50:45 NOTICE: ` and the like off.
fn text_line(line: &str) -> (String, String) {
    let stamp = line.get(..20).filter(|stamp| stamp.bytes().all(|b| b.is_ascii_digit() || b"/: ".contains(&b)));
    let rest = stamp.and_then(|_| line.get(20..)).unwrap_or(line);
    for (level, word) in
        [("notice", "NOTICE: "), ("error", "ERROR : "), ("critical", "CRITICAL: "), ("info", "INFO  : ")]
    {
        if let Some(rest) = rest.strip_prefix(word) {
            let fatal = rest.starts_with("Fatal error: ");
            return (if fatal { "critical" } else { level }.to_owned(), rest.to_owned());
        }
    }
    // Without a word it is what rclone says before it exits, or its usage.
    let last = ["Fatal error: ", "panic: ", "pgkeep: "].iter().any(|begin| rest.starts_with(begin));
    let level = if stamp.is_some() || last { "critical" } else { "notice" };
    (level.to_owned(), rest.to_owned())
}

/// The last of the weightiest lines, without what rclone puts before it; `end` is how it ended, for when it said nothing of
/// that.
fn reason(messages: &[(Weight, String)], end: &str) -> String {
    let Some((weight, message)) = messages.iter().max_by_key(|(weight, _)| *weight) else {
        return end.to_owned();
    };
    if *weight == Weight::Aside {
        return format!("{end}, after {message:?}");
    }
    let mut rest = message.trim();
    if let Some(after) = rest.strip_prefix("Fatal error: ") {
        rest = after;
    }
    if let Some(after) = rest.strip_prefix("Failed to ") {
        // `Failed to cat: ...`, `Failed to cat with 2 errors: last error was: ...`
        if let Some((command, why)) = after.split_once(": ")
            && (command.split(' ').count() == 1 || command.contains(" with "))
        {
            rest = why.strip_prefix("last error was: ").unwrap_or(why);
        }
    }
    rest.chars().take(600).collect()
}

/// Cuts URLs down to their host: the rest may be a signature or the address of an upload, which anybody could use.
fn without_paths(message: &str) -> String {
    let mut clean = String::new();
    let mut rest = message;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>".contains(c)).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
        let (host, path) = url.split_at(host_end);
        clean.push_str(host.rsplit('@').next().unwrap_or(host));
        if path.len() > 1 {
            clean.push_str("/...");
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32, stderr: &str) -> (ErrorKind, String) {
        let messages = messages(stderr);
        (kind(Some(code), &messages), reason(&messages, "exit code"))
    }

    const ASIDE: &str =
        r#"{"level":"notice","msg":"No host key validation is being performed. permission denied","time":"x"}"#;

    #[test]
    fn each_exit_code_has_its_meaning() {
        for (code, expected) in [
            (1, ErrorKind::Failed),
            (2, ErrorKind::Config),
            (3, ErrorKind::NotFound),
            (4, ErrorKind::NotFound),
            (5, ErrorKind::Unavailable),
            (6, ErrorKind::Failed),
            (7, ErrorKind::Failed),
            (8, ErrorKind::Failed),
            (9, ErrorKind::Failed),
        ] {
            assert_eq!(of(code, ASIDE).0, expected, "{code}");
        }
    }

    #[test]
    fn the_words_of_new_and_old_versions_are_understood() {
        let json = |message: &str| {
            let line = serde_json::json!({ "level": "notice", "msg": message, "source": "cmd/cmd.go:334" });
            format!("{ASIDE}\n{line}\n")
        };
        for (code, stderr, kind, reason) in [
            (3, json("Failed to lsjson: directory not found"), ErrorKind::NotFound, "directory not found"),
            (
                1,
                json("Failed to rcat with 2 errors: last error was: Update ReadFrom failed: connection lost"),
                ErrorKind::Unavailable,
                "Update ReadFrom failed: connection lost",
            ),
            (
                1,
                "2026/11/22 08:51:19 Failed to create file system for \"b:x\": NewFs: couldn't connect SSH: ssh: handshake \
                 failed: ssh: unable to authenticate, attempted methods [none password]\n"
                    .to_owned(),
                ErrorKind::PermissionDenied,
                "Failed to create file system for \"b:x\": NewFs: couldn't connect SSH: ssh: handshake failed: ssh: unable \
                 to authenticate, attempted methods [none password]",
            ),
            (
                1,
                "Error: unknown flag: --x\nUsage:\n  --ignore-errors  timeout\n\n2026/11/22 08:51:17 NOTICE: Fatal error: \
                 unknown flag: --x\n"
                    .to_owned(),
                ErrorKind::Config,
                "unknown flag: --x",
            ),
            (
                1,
                "2026/11/22 08:50:44 ERROR : x: write /mnt/x: no space left on device\n2026/11/22 08:50:44 Failed to rcat: \
                 write /mnt/x: no space left on device\n"
                    .to_owned(),
                ErrorKind::NoSpace,
                "write /mnt/x: no space left on device",
            ),
            (
                5,
                json("Failed to lsjson: Get \"https://box.example.com/x\": x509: certificate signed by unknown authority"),
                ErrorKind::Failed,
                "Get \"https://box.example.com/...\": x509: certificate signed by unknown authority",
            ),
            (
                1,
                json("Failed to rcat: googleapi: Error 403: Rate Limit Exceeded, forbidden"),
                ErrorKind::Unavailable,
                "googleapi: Error 403: Rate Limit Exceeded, forbidden",
            ),
            (
                2,
                "panic: runtime error: invalid memory address\n[signal SIGSEGV]\n\ngoroutine 1 [running]:\n".to_owned(),
                ErrorKind::Failed,
                "panic: runtime error: invalid memory address",
            ),
        ] {
            assert_eq!(of(code, &stderr), (kind, reason.to_owned()));
        }
    }

    #[test]
    fn an_end_without_words_is_told_all_the_same() {
        assert_eq!(reason(&[], "killed by SIGKILL"), "killed by SIGKILL");
        assert!(reason(&messages(ASIDE), "exit code 9").starts_with("exit code 9, after \"No host key"));
    }

    #[test]
    fn urls_lose_what_could_be_used() {
        let clean =
            without_paths("Put \"https://me:pw@up.example.com:8443/s/abc?sig=1\": EOF, see http://x.example/ now");
        assert_eq!(clean, "Put \"https://up.example.com:8443/...\": EOF, see http://x.example now");
    }
}
