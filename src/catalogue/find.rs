//! What the user means by `BACKUP`: an id, the beginning of one, the latest, or the newest at or before a moment.

use super::Manifest;
use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use std::collections::BTreeSet;
use std::str::FromStr;

/// How many candidates an error names.
const MOST_CANDIDATES: usize = 10;

/// A moment as the user gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The end of a day in the user's time zone.
    Day(NaiveDate),
    /// A moment.
    Instant(DateTime<Utc>),
}

impl Moment {
    /// Whether `at` is at or before this moment, for a user in `zone`.
    fn includes(self, at: DateTime<Utc>, zone: Tz) -> bool {
        match self {
            Self::Instant(moment) => at <= moment,
            Self::Day(day) => match day.checked_add_days(Days::new(1)) {
                Some(next) => at < start_of(next, zone),
                None => true,
            },
        }
    }
}

/// When `day` begins in `zone`. Where clocks skip midnight it begins later: at the first quarter of an hour there is.
fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    for quarters in 0..=8 {
        match zone.from_local_datetime(&(midnight + TimeDelta::minutes(15 * quarters))) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => return at.to_utc(),
            LocalResult::None => {}
        }
    }
    midnight.and_utc()
}

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one whose id begins so.
    Id(String),
    /// `latest`, `JOB/latest`, `JOB/DATABASE/latest`: the newest.
    Latest {
        /// Of this job.
        job: Option<String>,
        /// Of this database.
        database: Option<String>,
    },
    /// `JOB@2026-11-20`, `JOB/DATABASE@2026-11-20T12:00:00Z`: the newest at or before a moment.
    At {
        /// Of this job.
        job: String,
        /// Of this database.
        database: Option<String>,
        /// The moment.
        moment: Moment,
    },
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, format!("{text:?} names no backup: {why}"))
                .hint("give an id or its beginning, latest, JOB/latest, or JOB@2026-11-20")
        };
        if text == "latest" {
            return Ok(Self::Latest { job: None, database: None });
        }
        if let Some(of) = text.strip_suffix("/latest") {
            let (job, database) = job_and_database(of).ok_or_else(|| wrong("it has no job before the slash"))?;
            return Ok(Self::Latest { job: Some(job), database });
        }
        if let Some((of, moment)) = text.rsplit_once('@') {
            let (job, database) = job_and_database(of).ok_or_else(|| wrong("it has no job before the @"))?;
            let moment = match (moment.parse::<NaiveDate>(), DateTime::parse_from_rfc3339(moment)) {
                (Ok(day), _) if moment.len() == 10 => Moment::Day(day),
                (_, Ok(instant)) => Moment::Instant(instant.to_utc()),
                _ => return Err(wrong("what follows the @ is neither a day nor a time such as 2026-11-20T12:00:00Z")),
            };
            return Ok(Self::At { job, database, moment });
        }
        let of_an_id = |c: char| c.is_ascii_digit() || matches!(c, 'T' | 'Z' | '-' | 'a'..='f');
        if text.is_empty() || text.len() > 21 || !text.chars().all(of_an_id) {
            return Err(wrong("it is neither the beginning of an id nor one of the other forms"));
        }
        Ok(Self::Id(text.to_owned()))
    }
}

fn job_and_database(text: &str) -> Option<(String, Option<String>)> {
    let (job, database) = text.split_once('/').map_or((text, None), |(job, database)| (job, Some(database)));
    let there = !job.is_empty() && database != Some("");
    there.then(|| (job.to_owned(), database.map(str::to_owned)))
}

/// The one of `entries` that `selector` means, for a user in `zone`. The same backup at several destinations is one
/// candidate, of which the first in `entries` is returned.
///
/// `NotFound` if there is none; `Usage` if several are meant, with their names.
pub fn select<'a, E: AsRef<Manifest>>(entries: &'a [E], selector: &Selector, zone: Tz) -> Result<&'a E> {
    match selector {
        Selector::Id(prefix) => by_id(entries, prefix),
        Selector::Latest { job, database } => newest(entries, job.as_deref(), database.as_deref(), |_| true),
        Selector::At { job, database, moment } => {
            newest(entries, Some(job), database.as_deref(), |at| moment.includes(at, zone))
        }
    }
}

fn by_id<'a, E: AsRef<Manifest>>(entries: &'a [E], prefix: &str) -> Result<&'a E> {
    let mut found = entries.iter().filter(|entry| entry.as_ref().id.as_str().starts_with(prefix));
    let Some(first) = found.next() else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no backup whose id begins with {prefix}"))
            .hint("`pgkeep backup list` shows those there are"));
    };
    let dirs: BTreeSet<_> = std::iter::once(first).chain(found).map(|entry| entry.as_ref().dir()).collect();
    if dirs.len() == 1 {
        return Ok(first);
    }
    let listed: Vec<String> = dirs.iter().map(ToString::to_string).collect();
    Err(Error::new(
        ErrorKind::Usage,
        format!("{prefix} is the beginning of {} backups: {}", dirs.len(), some_of(&listed)),
    )
    .hint("give more digits of the id"))
}

fn newest<'a, E: AsRef<Manifest>>(
    entries: &'a [E],
    job: Option<&str>,
    database: Option<&str>,
    when: impl Fn(DateTime<Utc>) -> bool,
) -> Result<&'a E> {
    let of = |entry: &&E| {
        job.is_none_or(|job| entry.as_ref().job == job)
            && database.is_none_or(|database| entry.as_ref().database == database)
    };
    let meant: Vec<&E> = entries.iter().filter(of).collect();
    let kinds: BTreeSet<(&str, &str)> =
        meant.iter().map(|entry| (entry.as_ref().job.as_str(), entry.as_ref().database.as_str())).collect();
    if kinds.len() > 1 {
        let one_job = kinds.iter().map(|(job, _)| job).collect::<BTreeSet<_>>().len() == 1;
        let jobs: BTreeSet<String> = kinds
            .iter()
            .map(|(job, database)| if one_job { format!("{job}/{database}") } else { (*job).to_owned() })
            .collect();
        let listed: Vec<String> = jobs.into_iter().collect();
        let (of_what, form) = if one_job { ("databases", "JOB/DATABASE/latest") } else { ("jobs", "JOB/latest") };
        return Err(Error::new(
            ErrorKind::Usage,
            format!("there are backups of several {of_what}: {}", some_of(&listed)),
        )
        .hint(format!("say which one is meant, as in {form}")));
    }
    let mut best: Option<&E> = None;
    for entry in meant.iter().filter(|entry| when(entry.as_ref().started_at)) {
        let key = |entry: &E| (entry.as_ref().started_at, entry.as_ref().id.clone());
        if best.is_none_or(|best| key(entry) > key(best)) {
            best = Some(entry);
        }
    }
    best.ok_or_else(|| {
        let what = match (job, database) {
            (Some(job), Some(database)) => format!(" of {job}/{database}"),
            (Some(job), None) => format!(" of {job}"),
            (None, _) => String::new(),
        };
        let which = if meant.is_empty() { "there is no backup" } else { "there is no backup so old" };
        Error::new(ErrorKind::NotFound, format!("{which}{what}")).hint("`pgkeep backup list` shows those there are")
    })
}

fn some_of(names: &[String]) -> String {
    let mut text = names.iter().take(MOST_CANDIDATES).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST_CANDIDATES {
        text.push_str(", …");
    }
    text
}
