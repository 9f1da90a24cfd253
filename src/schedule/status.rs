//! Whether backups and drills are as they should be: pure judgement over what the catalogue and the state folder tell, and
//! the reading of both.

use super::due::{LONGEST_GRACE, SKEW, Timetable, Track, What};
use super::facts::{Drilled, Facts, Taken};
use super::record::Record;
use crate::catalogue::DrillResult;
use crate::config::{Config, Databases, DestinationRef, DrillLevel, JobConfig, Require};
use crate::error::{Error, ErrorKind, Result};
use crate::lock;
use crate::ops::{Catalog, Context};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

#[cfg(test)]
mod tests;

/// The lock of `pgkeep run`: its folder in the state folder, and its name.
const RUN_LOCK: (&str, &str) = ("run", "scheduler");

/// Takes the lock of `pgkeep run`: one for each state folder.
pub fn lock_scheduler(state_dir: &Path) -> Result<lock::Lock> {
    let subject = format!("the scheduler of {}", state_dir.display());
    lock::acquire_for(&state_dir.join(RUN_LOCK.0), RUN_LOCK.1, &subject, "pgkeep run").map_err(|error| {
        if error.kind() != ErrorKind::Locked {
            return error;
        }
        error.hint(
            "one pgkeep run takes care of all jobs; for a second one with other jobs set state_dir to another folder",
        )
    })
}

/// How the newest good backup of a database is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseStatus {
    /// The database.
    pub database: String,
    /// The id of its newest good backup.
    pub backup: Option<String>,
    /// When that was started.
    pub last_backup: Option<DateTime<Utc>>,
    /// Its age in seconds.
    pub last_backup_age_seconds: Option<i64>,
    /// The destinations that hold it.
    pub destinations: Vec<String>,
    /// The destinations that should, and do not.
    pub missing: Vec<String>,
    /// When the newest drill that judged a backup ended.
    pub last_drill: Option<DateTime<Utc>>,
    /// How: `passed` or `failed`.
    pub last_drill_result: Option<&'static str>,
    /// How much it restored and compared.
    pub last_drill_level: Option<DrillLevel>,
    /// Why, unless it passed.
    pub last_drill_reason: Option<String>,
    /// The newest backup of all is known to be damaged.
    pub newest_is_damaged: bool,
}

/// An attempt that failed, and that nothing has made good since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What failed.
    pub what: What,
    /// The due time.
    pub slot: Option<DateTime<Utc>>,
    /// How many attempts of it have failed.
    pub attempts: u32,
    /// When the last one did.
    pub at: DateTime<Utc>,
    /// Why.
    pub error: String,
}

/// What kind of problem it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A backup is overdue.
    BackupOverdue,
    /// A drill is overdue.
    DrillOverdue,
    /// The newest drill failed.
    DrillFailed,
    /// The newest backup is damaged.
    BackupDamaged,
    /// The newest backup is in fewer destinations than `require` asks for.
    TooFewCopies,
    /// The catalogue could not be read.
    Unreadable,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// In words.
    pub message: String,
}

/// How one job is. Of several databases the worst counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// The job.
    pub job: String,
    /// When the newest good backup was started; none if a database has none.
    pub last_backup: Option<DateTime<Utc>>,
    /// Its age in seconds.
    pub last_backup_age_seconds: Option<i64>,
    /// When the newest drill that judged a backup ended; none if a database was never drilled.
    pub last_drill: Option<DateTime<Utc>>,
    /// How: `passed` or `failed`.
    pub last_drill_result: Option<&'static str>,
    /// When the next backup is due; none without a schedule.
    pub next_backup: Option<DateTime<Utc>>,
    /// When the next drill is due; none without a schedule.
    pub next_drill: Option<DateTime<Utc>>,
    /// A backup or a drill is overdue.
    pub overdue: bool,
    /// The backup is.
    pub backup_overdue: bool,
    /// The drill is.
    pub drill_overdue: bool,
    /// Backups of the job are scheduled, or must not be older than something.
    pub watched: bool,
    /// Each database.
    pub databases: Vec<DatabaseStatus>,
    /// Attempts that failed since the last success.
    pub failures: Vec<Failure>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
}

/// How everything is.
#[derive(Debug, Serialize)]
pub struct StatusOutcome {
    /// The jobs by name.
    pub jobs: Vec<JobStatus>,
    /// Whether `pgkeep run` is at work with this state folder; none where that cannot be found out.
    pub running: Option<bool>,
    /// Its process, as far as it says.
    pub run: Option<String>,
    /// The destinations that could not be read, with the reason.
    pub unreadable: Vec<Unreadable>,
}

/// A destination that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Its name.
    pub destination: String,
    /// Why.
    pub error: String,
}

/// Judges `job`, by what the catalogue tells (`Err`: why it cannot be read) and what the state folder remembers.
/// `config` is `None` for a job that is not configured, of which nothing is due.
pub fn judge(
    job: &str,
    config: Option<&JobConfig>,
    zone: chrono_tz::Tz,
    facts: Result<&Facts, &str>,
    record: &Record,
    now: DateTime<Utc>,
) -> Result<JobStatus> {
    let databases = config.map_or(&Databases::All, |config| &config.databases);
    let drill = config.and_then(|config| config.drill.as_ref());
    let jitter = config.and_then(|config| config.jitter);
    let table = |schedule| Timetable::new(job, schedule, jitter, zone);
    let mut backups = config.and_then(|config| config.schedule.as_ref()).map(table).transpose()?;
    let mut drills = drill.and_then(|drill| drill.schedule.as_ref()).map(table).transpose()?;
    let overdue_after = config.and_then(|config| config.overdue_after);
    let mut status = JobStatus {
        job: job.to_owned(),
        last_backup: None,
        last_backup_age_seconds: None,
        last_drill: None,
        last_drill_result: None,
        next_backup: backups.as_mut().and_then(|table| table.around(now).1),
        next_drill: drills.as_mut().and_then(|table| table.around(now).1),
        overdue: false,
        backup_overdue: false,
        drill_overdue: false,
        watched: backups.is_some() || overdue_after.is_some(),
        databases: Vec::new(),
        failures: Vec::new(),
        problems: Vec::new(),
    };
    let facts = match facts {
        Ok(facts) => facts,
        Err(why) => {
            status.failures = failures(record, None);
            status.tell(ProblemKind::Unreadable, format!("the catalogue cannot be read: {why}"));
            return Ok(status);
        }
    };
    status.databases = facts.databases(databases).into_iter().map(|name| database(facts, name, now)).collect();
    // Which of all databases still exist only the server knows: the one that was backed up last counts.
    let worst = |of: fn(&DatabaseStatus) -> Option<DateTime<Utc>>| {
        let times = status.databases.iter().map(of);
        if matches!(databases, Databases::All) { times.max().flatten() } else { times.min().flatten() }
    };
    (status.last_backup, status.last_drill) = (worst(|one| one.last_backup), worst(|one| one.last_drill));
    status.last_backup_age_seconds = status.last_backup.map(|at| (now - at).num_seconds());
    let failed = status.databases.iter().any(|one| one.last_drill_result == Some("failed"));
    status.last_drill_result = status.last_drill.map(|_| if failed { "failed" } else { "passed" });
    status.failures = failures(record, Some(facts));

    let good = facts.good();
    let left_out = |table: Option<&mut Timetable>| {
        // A limit says nothing about a database that is no longer stored, where others are.
        let slot = graced(table.filter(|_| overdue_after.is_some())?, now)?;
        let due = due(slot, zone);
        let left_out = unfinished(databases, &record.backup, slot) && !record.backup.remembers(slot, false, now);
        left_out.then(|| format!("backup overdue: of what was due at {due} not every database was stored"))
    };
    let backup_done = |slot| good.backup_done(databases, slot, now) && !unfinished(databases, &record.backup, slot);
    if let Some(why) = overdue(
        ("backup", overdue_after, status.last_backup.filter(|at| *at <= now + SKEW)),
        backups.as_mut(),
        |slot| backup_done(slot) || record.backup.remembers(slot, !facts.complete, now),
        |_| true,
        (now, zone),
    )
    .or_else(|| left_out(backups.as_mut()))
    {
        status.backup_overdue = true;
        status.tell(ProblemKind::BackupOverdue, why);
    }
    let passed = status.databases.iter().map(|one| facts.last_passed(&one.database)).min().flatten();
    if let Some(why) = overdue(
        ("drill", drill.and_then(|drill| drill.overdue_after), passed),
        drills.as_mut(),
        |slot| facts.undrilled(databases, slot, now).is_empty(),
        |slot| facts.drillable(slot) || record.drill.was_tried(slot),
        (now, zone),
    ) {
        status.drill_overdue = true;
        status.tell(ProblemKind::DrillOverdue, why);
    }
    status.overdue = status.backup_overdue || status.drill_overdue;
    let mut told = Vec::new();
    for one in &status.databases {
        if one.last_drill_result == Some("failed") {
            let why = one.last_drill_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let message = format!("the newest drill of database {} failed{why}", one.database);
            told.push((ProblemKind::DrillFailed, message));
        }
        if one.newest_is_damaged {
            told.push((
                ProblemKind::BackupDamaged,
                format!("the newest backup of database {} is damaged", one.database),
            ));
        }
    }
    if let Some(config) = config {
        let grace = |at| backups.as_ref().map_or(LONGEST_GRACE, |table| table.grace(at));
        let short = status.databases.iter().filter_map(|one| too_few(&good, &one.database, config, &grace, now));
        told.extend(short.map(|why| (ProblemKind::TooFewCopies, why)));
    }
    for (kind, message) in told {
        status.tell(kind, message);
    }
    Ok(status)
}

impl JobStatus {
    fn tell(&mut self, kind: ProblemKind, message: String) {
        self.problems.push(Problem { kind, message });
    }
}

impl Facts {
    /// The backups that are not known to be damaged.
    fn good(&self) -> Self {
        let taken = self.taken.iter().filter(|taken| !taken.damaged).cloned().collect();
        Self { taken, complete: self.complete }
    }

    /// When the newest drill that passed ended.
    fn last_passed(&self, database: &str) -> Option<DateTime<Utc>> {
        let of =
            self.taken.iter().filter(|taken| taken.database == database).filter_map(|taken| taken.drilled.as_ref());
        of.filter(|drill| drill.result == DrillResult::Passed).map(|drill| drill.finished_at).max()
    }
}

/// All databases of a server were begun and not finished.
fn unfinished(databases: &Databases, track: &Track, slot: DateTime<Utc>) -> bool {
    *databases == Databases::All && track.is_unfinished(slot)
}

fn database(facts: &Facts, name: &str, now: DateTime<Utc>) -> DatabaseStatus {
    let of_it = || facts.taken.iter().filter(|taken| taken.database == name);
    let good: Option<&Taken> = of_it().rfind(|taken| !taken.damaged);
    let drilled: Option<&Drilled> = facts.last_drill(name);
    DatabaseStatus {
        database: name.to_owned(),
        backup: good.map(|taken| taken.id.clone()),
        last_backup: good.map(|taken| taken.started_at),
        last_backup_age_seconds: good.map(|taken| (now - taken.started_at).num_seconds()),
        destinations: good.map(|taken| taken.places.clone()).unwrap_or_default(),
        missing: good.map(|taken| taken.missing.clone()).unwrap_or_default(),
        last_drill: drilled.map(|drill| drill.finished_at),
        last_drill_result: drilled.map(|drill| match drill.result {
            DrillResult::Passed => "passed",
            DrillResult::Failed | DrillResult::CouldNotRun => "failed",
        }),
        last_drill_level: drilled.map(|drill| drill.level),
        last_drill_reason: drilled.and_then(|drill| drill.reason.clone()),
        newest_is_damaged: of_it().next_back().is_some_and(|taken| taken.damaged),
    }
}

/// Why it is overdue, if it is: `last` is older than `limit`; or, without a limit, the newest slot whose grace is over was
/// not done although it could have been.
fn overdue(
    (what, limit, last): (&str, Option<std::time::Duration>, Option<DateTime<Utc>>),
    table: Option<&mut Timetable>,
    done: impl Fn(DateTime<Utc>) -> bool,
    possible: impl Fn(DateTime<Utc>) -> bool,
    (now, zone): (DateTime<Utc>, chrono_tz::Tz),
) -> Option<String> {
    let passive = if what == "backup" { "good backup" } else { "passed drill" };
    if let Some(limit) = limit {
        let allowed = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        let limit = humantime::format_duration(limit);
        return match last {
            Some(at) if now - at <= allowed => None,
            Some(at) => {
                let age = TimeDelta::seconds((now - at).num_seconds()).to_std().unwrap_or_default();
                let age = humantime::format_duration(age);
                Some(format!("{what} overdue: the last {passive} is {age} old, and at most {limit} are allowed"))
            }
            None => Some(format!("{what} overdue: there is no {passive}")),
        };
    }
    let slot = graced(table?, now)?;
    if done(slot) || !possible(slot) {
        return None;
    }
    let due = due(slot, zone);
    Some(match last {
        Some(_) => format!("{what} overdue: it was due at {due}"),
        None => format!("{what} overdue: it was due at {due}, and there is no {passive}"),
    })
}

/// The newest slot whose grace is over.
fn graced(table: &mut Timetable, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut slot = table.around(now).0?;
    while slot + table.grace(slot) > now {
        slot = table.before(slot)?;
    }
    Some(slot)
}

fn due(slot: DateTime<Utc>, zone: chrono_tz::Tz) -> impl std::fmt::Display {
    slot.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z")
}

/// Why the newest backup of `database` among `good` is not where `require` wants it, if it is not. One that is younger than
/// the grace may still be copied: until then the one before it counts. A destination that was not read may hold it.
fn too_few(
    good: &Facts,
    database: &str,
    config: &JobConfig,
    grace: &impl Fn(DateTime<Utc>) -> TimeDelta,
    now: DateTime<Utc>,
) -> Option<String> {
    let all = config.destinations.len();
    let met = |taken: &Taken| config.require.is_met(all.saturating_sub(taken.missing.len()), all);
    let graced = |taken: &Taken| taken.started_at + grace(taken.started_at) <= now;
    let mut of_it = good.taken.iter().rev().filter(|taken| taken.database == database);
    let taken = of_it.find(|taken| met(taken) || graced(taken)).filter(|taken| !met(taken))?;
    let stored = config.destinations.iter().filter(|name| taken.places.contains(name)).count();
    let asked = match config.require {
        Require::All => all,
        Require::Any => 1,
        Require::AtLeast(least) => least,
    };
    let missing = taken.missing.join(", ");
    Some(format!(
        "the newest backup of database {database} is stored in {stored} of {asked} destinations that require asks for: \
         missing in {missing}"
    ))
}

/// The failed attempts that nothing has made good since.
fn failures(record: &Record, facts: Option<&Facts>) -> Vec<Failure> {
    let since = |what: What, at: DateTime<Utc>| {
        facts.is_some_and(|facts| {
            facts.taken.iter().any(|taken| match what {
                What::Backup => taken.started_at >= at,
                What::Drill => taken.drilled.as_ref().is_some_and(|drill| drill.is_answer() && drill.started_at >= at),
            })
        })
    };
    let of = |what: What| {
        let track = record.of(what);
        let (at, slot) = (track.failed_at?, track.failed_slot);
        let attempts = if track.slot == slot { track.attempts.max(1) } else { 1 };
        let mended = track.done.is_some() && track.done >= slot || since(what, at);
        let error = track.error.clone().unwrap_or_default();
        (!mended).then_some(Failure { what, slot, attempts, at, error })
    };
    What::ALL.into_iter().filter_map(of).collect()
}

/// Reads and judges the jobs of the configuration; with `at` those that have backups there.
pub async fn status(ctx: &Context, at: &[DestinationRef]) -> Result<StatusOutcome> {
    let config = &ctx.config;
    let places = if at.is_empty() { used(config)? } else { at.to_vec() };
    let alone = (at.is_empty() && config.jobs.len() == 1).then(|| config.jobs.keys().next()).flatten();
    let read = Catalog::read(ctx, &places, alone.map(String::as_str)).await;
    let (catalog, failure) = match read {
        Ok(catalog) => (Some(catalog), None),
        // Places that are not there yet hold nothing.
        Err(error) if error.kind() == ErrorKind::NotFound && at.is_empty() => (None, silent_among(ctx, &places).await),
        Err(error) => (None, Some(error)),
    };
    ctx.cancel.check()?;
    let mut facts: BTreeMap<String, Facts> = BTreeMap::new();
    for backup in catalog.iter().flat_map(Catalog::backups) {
        facts.entry(backup.manifest.job.clone()).or_default().taken.push(Taken::from(backup));
    }
    let silent: BTreeMap<&str, &Error> = catalog
        .iter()
        .flat_map(Catalog::unreadable)
        .filter(|(_, error)| error.kind() != ErrorKind::NotFound)
        .map(|(name, error)| (name.as_str(), error))
        .collect();
    let names: BTreeSet<String> =
        if at.is_empty() { config.jobs.keys().cloned().collect() } else { facts.keys().cloned().collect() };
    let state_dir = ctx.state_dir();
    let now = ctx.clock.now();
    let mut jobs = Vec::new();
    for name in &names {
        let job = config.jobs.get(name);
        let record = Record::load(&state_dir, name).unwrap_or_else(|error| {
            ctx.observer.observe(&crate::event::Event::Warning(error.one_line()));
            Record::new(name)
        });
        let why = failure.as_ref().map(Error::one_line).or_else(|| unheard(job?, &silent).filter(|_| at.is_empty()));
        let mut known = facts.remove(name).unwrap_or_default();
        let was_read =
            |name: &String| places.iter().any(|place| place.name == *name) && !silent.contains_key(name.as_str());
        known.complete = failure.is_none() && job.is_some_and(|job| job.destinations.iter().all(was_read));
        let known = why.as_deref().map_or(Ok(&known), Err);
        jobs.push(judge(name, job, config.timezone, known, &record, now)?);
    }
    let mut unreadable: Vec<Unreadable> = silent
        .iter()
        .map(|(name, error)| Unreadable { destination: (*name).to_owned(), error: error.one_line() })
        .collect();
    if let Some(error) = failure {
        if jobs.is_empty() {
            return Err(error);
        }
        let names = places.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(", ");
        unreadable.push(Unreadable { destination: names, error: error.one_line() });
    }
    let (running, run) = match lock::holder(&state_dir.join(RUN_LOCK.0), RUN_LOCK.1) {
        Ok(run) => (Some(run.is_some()), run.filter(|run| !run.is_empty())),
        // The state folder may be another user's: the backups are judged all the same.
        Err(error) => {
            ctx.observer.observe(&crate::event::Event::Warning(error.one_line()));
            (None, None)
        }
    };
    Ok(StatusOutcome { jobs, running, run, unreadable })
}

/// Why one of `places`, of which none could be read, could not be: an error that does not say that it is not there yet.
async fn silent_among(ctx: &Context, places: &[DestinationRef]) -> Option<Error> {
    if places.len() == 1 {
        return None;
    }
    for place in places {
        match Catalog::read(ctx, std::slice::from_ref(place), None).await {
            Err(error) if error.kind() != ErrorKind::NotFound => return Some(error),
            Ok(_) | Err(_) => {}
        }
    }
    None
}

/// Why nothing is known of `job`: none of its destinations could be read.
fn unheard(job: &JobConfig, silent: &BTreeMap<&str, &Error>) -> Option<String> {
    let errors: Option<Vec<&&Error>> = job.destinations.iter().map(|name| silent.get(name.as_str())).collect();
    errors.and_then(|errors| errors.first().map(|error| error.one_line()))
}

/// The destinations of all jobs, the nearest first.
fn used(config: &Config) -> Result<Vec<DestinationRef>> {
    let names: BTreeSet<&String> = config.jobs.values().flat_map(|job| &job.destinations).collect();
    let all = names.into_iter().map(|name| DestinationRef::parse(name, config)).collect::<Result<Vec<_>>>()?;
    Ok(crate::ops::nearest_first(all))
}
