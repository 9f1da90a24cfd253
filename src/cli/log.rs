//! The log of `pgkeep run` on stderr: one line an event, as text, for the systemd journal, or as JSON.

use super::args::LogForm;
use super::voice;
use super::words::{bytes, counted, printable, seconds};
use crate::clock::Clock;
use crate::config::DrillLevel;
use crate::error::Error;
use crate::ops::{BackupOutcome, BackupStatus, CopyOutcome, DrillOutcome};
use crate::schedule::{Listener, News, What, Why};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error,
    Warning,
    Notice,
    Info,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }

    /// The prefix that the journal reads: sd-daemon(3).
    fn priority(self) -> &'static str {
        match self {
            Self::Error => "<3>",
            Self::Warning => "<4>",
            Self::Notice => "<5>",
            Self::Info => "<6>",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Journal,
    Json,
}

/// See the module.
pub(super) struct Log {
    form: Form,
    /// Only warnings and errors.
    quiet: bool,
    zone: Mutex<Tz>,
    clock: Arc<dyn Clock>,
}

/// One line before it gets its form.
struct Line {
    level: Level,
    event: &'static str,
    message: String,
    fields: Value,
}

impl Log {
    /// A log whose times are those of `zone`.
    pub(super) fn new(form: LogForm, quiet: bool, zone: Tz, clock: Arc<dyn Clock>) -> Self {
        let form = match form {
            LogForm::Json => Form::Json,
            LogForm::Text if os::stderr_is_journal() => Form::Journal,
            LogForm::Text => Form::Text,
        };
        Self { form, quiet, zone: Mutex::new(zone), clock }
    }

    /// From now on times are those of `zone`.
    pub(super) fn set_zone(&self, zone: Tz) {
        *self.zone.lock().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    fn zone(&self) -> Tz {
        *self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn render(&self, job: Option<&str>, line: Line) -> Option<String> {
        let Line { level, event, message, fields } = line;
        if self.quiet && level > Level::Warning {
            return None;
        }
        let time = stamp(self.clock.now(), self.zone());
        if self.form == Form::Json {
            let mut all = Map::new();
            all.insert("time".into(), time.into());
            all.insert("level".into(), level.name().into());
            all.insert("job".into(), job.into());
            all.insert("event".into(), event.into());
            all.insert("message".into(), message.into());
            if let Value::Object(fields) = fields {
                all.extend(fields);
            }
            return Some(Value::Object(all).to_string());
        }
        let start = if self.form == Form::Journal { level.priority().to_owned() } else { format!("{time} ") };
        let job = job.map(|job| format!("job {job}: ")).unwrap_or_default();
        let word = match level {
            Level::Error | Level::Warning => format!("{}: ", level.name()),
            Level::Notice | Level::Info => String::new(),
        };
        Some(format!("{start}{}", printable(&format!("{job}{word}{message}"))))
    }
}

impl Listener for Log {
    fn tell(&self, job: Option<&str>, news: &News<'_>) {
        for line in lines(news, self.zone()) {
            if let Some(line) = self.render(job, line) {
                voice::stderr(&format!("{line}\n"));
            }
        }
    }
}

/// A moment as logs show it: `2026-11-22T02:00:00-05:00`.
fn stamp(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn lines(news: &News<'_>, zone: Tz) -> Vec<Line> {
    let line = |level, event, message: String, fields| vec![Line { level, event, message, fields }];
    let at = |at: &DateTime<Utc>| stamp(*at, zone);
    match news {
        News::Begun { jobs, next } => {
            let mut message =
                format!("pgkeep {} runs {}", env!("CARGO_PKG_VERSION"), counted(*jobs as u64, "job", "jobs"));
            if let Some((job, what, due)) = next {
                message.push_str(&format!("; next: {what} of {job} at {}", at(due)));
            }
            line(Level::Info, "begun", message, json!({ "jobs": jobs }))
        }
        News::Started { what, slot, why } => {
            let slot = at(slot);
            let message = match why {
                Why::Due => format!("{what} begins, due at {slot}"),
                Why::Missed => format!("{what} begins that was missed at {slot}"),
                Why::First => format!("the first {what} begins, for there is none yet"),
                Why::Again(attempt) => format!("{what} begins, due at {slot}, attempt {attempt}"),
            };
            let (why, attempt) = match why {
                Why::Due => ("due", 1),
                Why::Missed => ("missed", 1),
                Why::First => ("first", 1),
                Why::Again(attempt) => ("again", *attempt),
            };
            let fields = json!({ "what": what, "slot": slot, "why": why, "attempt": attempt });
            line(Level::Info, "started", message, fields)
        }
        News::Stored(outcome) => stored(outcome),
        News::Copied(outcome) => vec![copied(outcome)],
        News::Drilled(outcome) => vec![drilled(outcome)],
        News::NothingToDrill { slot } => {
            let message = format!("nothing to drill: the job had no backup at {}", at(slot));
            line(Level::Warning, "nothing_to_drill", message, json!({ "slot": at(slot) }))
        }
        News::Failed { what, slot, attempts, again_at, error } => {
            let attempt = if *attempts > 1 { format!(" (attempt {attempts})") } else { String::new() };
            let message = format!("{what} failed{attempt}: {}; trying again at {}", told(error), at(again_at));
            let fields = json!({
                "what": what, "slot": at(slot), "attempt": attempts, "again_at": at(again_at),
                "error": error.one_line(), "hint": error.hint_text(),
            });
            line(Level::Error, "failed", message, fields)
        }
        News::Locked { what, again_at, error } => {
            let message = format!("{what} waits: {}; trying again at {}", error.one_line(), at(again_at));
            let fields = json!({ "what": what, "again_at": at(again_at), "error": error.one_line() });
            line(Level::Warning, "locked", message, fields)
        }
        News::Skipped { what, slot, running } => {
            let (slot, running) = (at(slot), at(running));
            let message = format!("{what} due at {slot} is skipped: the one due at {running} still runs");
            let fields = json!({ "what": what, "slot": slot, "running": running });
            line(Level::Warning, "skipped", message, fields)
        }
        News::Waits { what, slot } => {
            let other = if *what == What::Backup { What::Drill } else { What::Backup };
            let message = format!("{what} due at {} waits until the {other} ends", at(slot));
            line(Level::Info, "waits", message, json!({ "what": what, "slot": at(slot) }))
        }
        News::Stopped { what } => {
            let message = format!("{what} stopped, and nothing was left half-done; it is due again at the next start");
            line(Level::Notice, "stopped", message, json!({ "what": what }))
        }
        News::ClockMoved { by } => {
            let moved = seconds(by.abs().num_seconds() as f64);
            let message = if by.num_seconds() > 0 {
                format!("the clock went ahead by {moved}: it was set, or the computer slept")
            } else {
                format!("the clock was set back by {moved}")
            };
            line(Level::Notice, "clock_moved", message, json!({ "seconds": by.num_seconds() }))
        }
        News::Reloaded { jobs } => {
            let message = format!("the configuration was read again: {}", counted(*jobs as u64, "job", "jobs"));
            line(Level::Notice, "reloaded", message, json!({ "jobs": jobs }))
        }
        News::NotReloaded { error } => {
            let message = format!("the configuration was not read again, the old one goes on: {}", told(error));
            line(Level::Error, "not_reloaded", message, json!({ "error": error.one_line(), "hint": error.hint_text() }))
        }
        News::Stopping { running } => {
            let message = if *running == 0 {
                "stopping".to_owned()
            } else {
                format!("stopping {}", counted(*running as u64, "run", "runs"))
            };
            line(Level::Notice, "stopping", message, json!({ "running": running }))
        }
        News::Ended => line(Level::Info, "ended", "ended".to_owned(), json!({})),
        News::Warning(warning) => line(Level::Warning, "warning", (*warning).to_owned(), json!({})),
        News::Note(note) => line(Level::Info, "note", (*note).to_owned(), json!({})),
        News::Swept { destination, key } => {
            let message = format!("removed what an interrupted run left at {destination}: {key}");
            line(Level::Info, "swept", message, json!({ "destination": destination, "key": key }))
        }
    }
}

/// The error and what to do, in one line.
fn told(error: &Error) -> String {
    match error.hint_text() {
        Some(hint) => format!("{} ({hint})", error.one_line()),
        None => error.one_line(),
    }
}

/// ` of DATABASE`, where the job's name does not say it.
fn of_database(job: &str, database: &str) -> String {
    if job == database { String::new() } else { format!(" of {database}") }
}

fn stored(outcome: &BackupOutcome) -> Vec<Line> {
    let whole = outcome.destinations.iter().filter(|place| place.status != BackupStatus::Failed);
    let places: Vec<&str> = whole.map(|place| place.name.as_str()).collect();
    let id = outcome.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut message = format!(
        "backup {id}{} stored in {} ({}, {}, {}, {})",
        of_database(&outcome.job, &outcome.database),
        places.join(", "),
        counted(outcome.tables, "table", "tables"),
        counted(outcome.rows, "row", "rows"),
        bytes(outcome.stored_bytes),
        seconds(outcome.duration_seconds),
    );
    for place in &outcome.destinations {
        if let Some(error) = &place.error {
            message.push_str(&format!("; not in {}: {error}", place.name));
        }
    }
    let partial = outcome.status == BackupStatus::Partial;
    let level = if partial { Level::Warning } else { Level::Info };
    let fields = json!({
        "backup": outcome.id, "database": outcome.database, "status": outcome.status,
        "destinations": outcome.destinations, "tables": outcome.tables, "rows": outcome.rows,
        "sql_bytes": outcome.sql_bytes, "stored_bytes": outcome.stored_bytes,
        "duration_seconds": outcome.duration_seconds, "error": outcome.error,
    });
    let mut lines = vec![Line { level, event: "stored", message, fields }];
    for warning in &outcome.warnings {
        let fields = json!({ "backup": outcome.id, "database": outcome.database });
        lines.push(Line { level: Level::Notice, event: "remark", message: format!("backup {id}: {warning}"), fields });
    }
    lines
}

fn copied(outcome: &CopyOutcome) -> Line {
    let id = &outcome.id;
    let (level, message) = if let Some(error) = &outcome.error {
        (Level::Warning, format!("backup {id} is still missing in {}: {error}", outcome.to))
    } else {
        let from = outcome.from.as_deref().unwrap_or("another destination");
        (Level::Info, format!("backup {id}, missing in {}, was copied from {from}", outcome.to))
    };
    let fields = json!({
        "backup": id, "database": outcome.database, "from": outcome.from, "to": outcome.to,
        "status": outcome.status, "error": outcome.error,
    });
    Line { level, event: "copied", message, fields }
}

fn drilled(outcome: &DrillOutcome) -> Line {
    let subject = format!("drill of {}{}", outcome.backup, of_database(&outcome.job, &outcome.database));
    let passed = outcome.result == "passed";
    let message = if passed {
        let time = seconds(outcome.restore_seconds + outcome.prove_seconds);
        let objects = counted(outcome.objects_compared, "object", "objects");
        let level =
            if outcome.level == DrillLevel::Prove { String::new() } else { format!("at level {}, ", outcome.level) };
        let rows = counted(outcome.rows_compared, "row", "rows");
        format!("{subject} passed ({level}{objects}, {rows} compared, {time})")
    } else {
        format!("{subject} FAILED: {}", outcome.reason.as_deref().unwrap_or("it is not said why"))
    };
    let fields = json!({
        "backup": outcome.backup, "database": outcome.database, "result": outcome.result,
        "level": outcome.level, "destination": outcome.destination, "objects_compared": outcome.objects_compared, "rows_compared": outcome.rows_compared,
        "differences": outcome.differences.len(), "restore_seconds": outcome.restore_seconds,
        "prove_seconds": outcome.prove_seconds, "receipt": outcome.receipt, "reason": outcome.reason,
    });
    Line { level: if passed { Level::Info } else { Level::Error }, event: "drilled", message, fields }
}

#[cfg(unix)]
mod os {
    /// Whether stderr goes to the journal: `JOURNAL_STREAM` names its device and inode (systemd.exec(5)). A terminal that a
    /// service opened inherits the variable, and is no journal.
    pub(super) fn stderr_is_journal() -> bool {
        let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
        let Ok(stat) = nix::sys::stat::fstat(std::io::stderr()) else { return false };
        named.to_str().is_some_and(|named| named == format!("{}:{}", stat.st_dev, stat.st_ino))
    }
}

#[cfg(not(unix))]
mod os {
    pub(super) fn stderr_is_journal() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::error::ErrorKind;

    fn log(form: Form, quiet: bool) -> Log {
        let clock = Arc::new(FixedClock("2026-11-22T07:00:00Z".parse().unwrap()));
        Log { form, quiet, zone: Mutex::new(chrono_tz::America::Bogota), clock }
    }

    fn written(log: &Log, news: &News<'_>) -> Vec<String> {
        lines(news, log.zone()).into_iter().filter_map(|line| log.render(Some("shop"), line)).collect()
    }

    fn failed(error: &Error) -> News<'_> {
        let slot = "2026-11-22T07:00:00Z".parse().unwrap();
        let again_at = "2026-11-22T07:05:00Z".parse().unwrap();
        News::Failed { what: What::Backup, slot, attempts: 2, again_at, error }
    }

    #[test]
    fn a_stored_backup_is_one_clear_line() {
        let outcome = crate::cli::samples::backup();
        let lines = written(&log(Form::Text, false), &News::Stored(&outcome));
        let start = format!("2026-11-22T02:00:00-05:00 job shop: backup {}", outcome.id.as_ref().unwrap());
        assert!(lines[0].starts_with(&start) && lines[0].contains(" stored in "), "{lines:?}");
    }

    #[test]
    fn a_failure_says_why_what_to_do_and_when_it_is_tried_again() {
        let error = Error::new(ErrorKind::Unavailable, "cannot reach db:5432").hint("check the\n\u{1b}[2Jnetwork");
        assert_eq!(
            written(&log(Form::Text, true), &failed(&error)),
            ["2026-11-22T02:00:00-05:00 job shop: error: backup failed (attempt 2): cannot reach db:5432 \
              (check the\\n\\u{1b}[2Jnetwork); trying again at 2026-11-22T02:05:00-05:00"]
        );
        let journal = written(&log(Form::Journal, false), &failed(&error));
        assert!(journal[0].starts_with("<3>job shop: error: backup failed"), "{journal:?}");
        let json: Value = serde_json::from_str(&written(&log(Form::Json, false), &failed(&error))[0]).unwrap();
        assert_eq!(json["time"], "2026-11-22T02:00:00-05:00");
        assert_eq!((&json["level"], &json["job"], &json["event"]), (&json!("error"), &json!("shop"), &json!("failed")));
        assert_eq!((&json["attempt"], &json["hint"]), (&json!(2), &json!("check the\n\u{1b}[2Jnetwork")));
    }

    #[test]
    fn quiet_leaves_warnings_and_errors() {
        let quiet = log(Form::Text, true);
        assert!(written(&quiet, &News::Note("so it is")).is_empty());
        assert_eq!(written(&quiet, &News::Warning("beware")).len(), 1);
    }
}
