//! What a report tells, read from the catalogue: every backup, and every drill of the last days.

use crate::catalogue::{DrillReceipt, DrillResult, drills_since};
use crate::cli::voice;
use crate::config::{DestinationRef, DrillLevel};
use crate::destination::{Destination, Key};
use crate::error::{ErrorKind, Result};
use crate::ops::{Backup, Catalog, Context, ListedBackup};
use crate::schedule::{Facts, Problem, Record, Taken, judge};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be reported.
pub(in crate::cli) struct Asked {
    /// Where to look.
    pub(in crate::cli) places: Vec<DestinationRef>,
    /// The only job; `None` for all.
    pub(in crate::cli) job: Option<String>,
    /// How many days of drills.
    pub(in crate::cli) days: u32,
}

/// Everything that the page shows, and the JSON for scripts.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    /// When it was made.
    pub(in crate::cli) generated_at: DateTime<Utc>,
    /// The time zone of the times that people read.
    pub(in crate::cli) timezone: String,
    /// How many days of drills it tells of.
    pub(in crate::cli) days: u32,
    /// The beginning of these.
    pub(in crate::cli) since: DateTime<Utc>,
    /// The jobs by name.
    pub(in crate::cli) jobs: Vec<JobReport>,
    /// What could not be read.
    pub(in crate::cli) unreadable: Vec<Unread>,
}

/// One job.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct JobReport {
    /// Its name.
    pub(in crate::cli) job: String,
    /// What is not as it should be, as `pgkeep status` tells it.
    pub(in crate::cli) problems: Vec<Problem>,
    /// Its databases by name.
    pub(in crate::cli) databases: Vec<DatabaseReport>,
}

/// One database of a job.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct DatabaseReport {
    /// Its name.
    pub(in crate::cli) database: String,
    /// The recovery-time objective of the configuration, in seconds; else that of the newest drill that had one.
    pub(in crate::cli) objective_seconds: Option<u64>,
    /// Its backups, the newest first.
    pub(in crate::cli) backups: Vec<ListedBackup>,
    /// Its drills, the oldest first.
    pub(in crate::cli) drills: Vec<DrillReceipt>,
}

/// A destination, or a folder in it, that could not be read.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Unread {
    /// The destination's name.
    pub(in crate::cli) destination: String,
    /// The folder of the backup, if it is one only.
    pub(in crate::cli) folder: Option<String>,
    /// Why.
    pub(in crate::cli) error: String,
}

/// Reads the catalogue, and the receipts of drills.
pub(in crate::cli) async fn gather(ctx: &Context, asked: &Asked) -> Result<Report> {
    let now = ctx.clock.now();
    let since = now - TimeDelta::days(asked.days.into());
    let catalog = Catalog::read(ctx, &asked.places, asked.job.as_deref()).await?;
    let mut unreadable: Vec<Unread> = Vec::new();
    for (destination, error) in catalog.unreadable() {
        unreadable.push(Unread { destination: destination.clone(), folder: None, error: error.one_line() });
    }
    for (destination, problem) in catalog.problems() {
        let folder = Some(problem.dir.to_string());
        unreadable.push(Unread { destination: destination.clone(), folder, error: problem.error.one_line() });
    }
    let mut jobs: BTreeMap<&str, BTreeMap<&str, Vec<&Backup>>> = BTreeMap::new();
    for name in ctx.config.jobs.keys().filter(|name| asked.job.as_ref().is_none_or(|job| job == *name)) {
        // A job without a backup is the first thing to report.
        jobs.entry(name).or_default();
    }
    for backup in catalog.backups() {
        let of_job = jobs.entry(&backup.manifest.job).or_default();
        of_job.entry(&backup.manifest.database).or_default().push(backup);
    }
    let mut reports = Vec::new();
    for (job, databases) in jobs {
        let mut report =
            JobReport { job: job.to_owned(), problems: problems(ctx, job, &catalog, now)?, databases: Vec::new() };
        for (database, backups) in databases {
            let drills = drills(ctx, &backups, since, &mut unreadable).await?;
            let config = ctx.config.jobs.get(job).and_then(|job| job.drill.as_ref());
            let configured = config.and_then(|drill| drill.max_duration).map(|limit| limit.as_secs());
            report.databases.push(DatabaseReport {
                database: database.to_owned(),
                objective_seconds: configured.or_else(|| drills.iter().rev().find_map(|drill| drill.objective_seconds)),
                backups: backups.iter().rev().map(|backup| backup.listed()).collect(),
                drills,
            });
        }
        reports.push(report);
    }
    let timezone = ctx.config.timezone.name().to_owned();
    Ok(Report { generated_at: now, timezone, days: asked.days, since, jobs: reports, unreadable })
}

/// What `pgkeep status` would say is wrong with a configured job.
fn problems(ctx: &Context, name: &str, catalog: &Catalog, now: DateTime<Utc>) -> Result<Vec<Problem>> {
    let Some(job) = ctx.config.jobs.get(name) else { return Ok(Vec::new()) };
    let of_job = catalog.backups().iter().filter(|backup| backup.manifest.job == name);
    let facts = Facts { taken: of_job.map(Taken::from).collect(), complete: catalog.unreadable().is_empty() };
    let record = Record::load(&ctx.state_dir(), name).unwrap_or_else(|error| {
        voice::warn(&error.one_line());
        Record::new(name)
    });
    Ok(judge(name, Some(job), ctx.config.timezone, Ok(&facts), &record, now)?.problems)
}

/// The drills of a database since `since`, from every destination that holds a backup of it.
async fn drills(
    ctx: &Context,
    backups: &[&Backup],
    since: DateTime<Utc>,
    unreadable: &mut Vec<Unread>,
) -> Result<Vec<DrillReceipt>> {
    let mut places: BTreeMap<(&str, Key), &Arc<dyn Destination>> = BTreeMap::new();
    for backup in backups {
        let Some(folder) = backup.manifest.dir().parent() else { continue };
        places.extend(backup.copies.iter().map(|copy| ((copy.name(), folder.clone()), copy)));
    }
    let mut all: BTreeMap<(DateTime<Utc>, String, String), DrillReceipt> = BTreeMap::new();
    for ((name, folder), destination) in places {
        ctx.cancel.check()?;
        let (receipts, problems) = match drills_since(destination, &folder, since).await {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => return Err(error),
            Err(error) => {
                let folder = Some(folder.to_string());
                unreadable.push(Unread { destination: name.to_owned(), folder, error: error.one_line() });
                continue;
            }
        };
        for problem in problems {
            let folder = Some(problem.dir.to_string());
            // The newest one of a backup was read for the list already.
            if !unreadable.iter().any(|one| one.destination == name && one.folder == folder) {
                unreadable.push(Unread { destination: name.to_owned(), folder, error: problem.error.one_line() });
            }
        }
        for mut receipt in receipts {
            receipt.destination.get_or_insert_with(|| name.to_owned());
            all.insert((receipt.started_at, receipt.backup.to_string(), receipt.host.clone()), receipt);
        }
    }
    // A clock that was ahead left what has not happened yet.
    Ok(all.into_values().filter(|receipt| receipt.started_at >= since).collect())
}

impl DatabaseReport {
    /// Drills with this result.
    pub(in crate::cli) fn count(&self, result: DrillResult) -> usize {
        self.drills.iter().filter(|drill| drill.result == result).count()
    }

    /// When each drill began that measured a recovery, how long that took in seconds, and how the drill ended.
    pub(super) fn recoveries(&self) -> Vec<(DateTime<Utc>, f64, DrillResult)> {
        let measured = self.drills.iter().filter(|drill| drill.level != DrillLevel::Sample);
        measured.filter_map(|drill| Some((drill.started_at, drill.recovery_seconds()?, drill.result))).collect()
    }
}

impl Report {
    /// The destinations that could not be read at all.
    pub(in crate::cli) fn silent(&self) -> BTreeSet<&str> {
        let whole = self.unreadable.iter().filter(|one| one.folder.is_none());
        whole.map(|one| one.destination.as_str()).collect()
    }
}
