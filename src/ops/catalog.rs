//! The backups of several destinations as one catalogue: the same backup in three places is one backup with three copies.

use super::kept::{self, candidate, forget_unwanted, newer_pin};
use super::store::copy_of;
use super::{Context, ListedBackup, Standing};
use crate::catalogue::{
    self, DrillReceipt, DrillResult, Entry, Manifest, PinReceipt, Selector, VerifyReceipt, VerifyResult,
};
use crate::config::{DestinationConfig, DestinationRef, Patience};
use crate::destination::{Backoff, Destination, Drive, Folder, Rclone, Remote, Retrying, S3, Service};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::retention::Candidate;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Opens a destination. Nothing is read or written yet.
pub fn open_destination(ctx: &Context, destination: &DestinationRef) -> Arc<dyn Destination> {
    fn remote<S: Service>(service: S, backoff: Backoff) -> Arc<dyn Destination> {
        Arc::new(Remote::new(Retrying::new(service, backoff)))
    }
    let name = destination.name.clone();
    let backoff = |patience: Patience| {
        let (observer, name) = (Arc::clone(&ctx.observer), name.clone());
        Backoff::new(patience.retry_for, ctx.cancel.clone()).telling(move |error, pause| {
            let seconds = pause.as_secs().max(1);
            observer.observe(&Event::Note(format!("{name}: {}; trying again in {seconds} s", error.one_line())));
        })
    };
    match &destination.config {
        DestinationConfig::Folder { path } => Arc::new(Folder::new(name, path)),
        DestinationConfig::S3(config) => {
            let backoff = backoff(config.patience);
            remote(S3::new(name, (**config).clone(), backoff.clone()), backoff)
        }
        DestinationConfig::Drive(config) => {
            let backoff = backoff(config.patience);
            remote(Drive::new(name, config.clone(), backoff.clone()), backoff)
        }
        DestinationConfig::Rclone(config) => {
            let backoff = backoff(config.patience);
            remote(Rclone::new(name, config.clone(), backoff.clone()), backoff)
        }
    }
}

/// How far a destination is: the nearest copy is read.
fn distance(destination: &DestinationRef) -> u8 {
    match destination.config {
        DestinationConfig::Folder { .. } => 0,
        DestinationConfig::S3(_) => 1,
        DestinationConfig::Drive(_) | DestinationConfig::Rclone(_) => 2,
    }
}

/// `destinations` with the nearest first; equally near ones stay in their order.
pub fn nearest_first(mut destinations: Vec<DestinationRef>) -> Vec<DestinationRef> {
    destinations.sort_by_key(distance);
    destinations
}

/// One backup and where it is.
#[derive(Clone)]
pub struct Backup {
    /// What it is.
    pub manifest: Manifest,
    /// The destinations that hold it, the nearest first.
    pub copies: Vec<Arc<dyn Destination>>,
    /// The destinations of its job that were read, do not hold it, and would keep it.
    pub missing: Vec<String>,
    verified: Option<VerifyReceipt>,
    drilled: Option<DrillReceipt>,
    pub(super) pin: Option<PinReceipt>,
    /// Whether an index spoke for one of its copies.
    indexed: bool,
}

/// The backups of some destinations, as they were when it was read.
pub struct Catalog {
    backups: Vec<Backup>,
    problems: Vec<(String, catalogue::Problem)>,
    unreadable: Vec<(String, Error)>,
}

impl Catalog {
    /// Reads the catalogues of `destinations`, of which the first are the nearest; `job` limits what is read.
    ///
    /// A destination that cannot be read is warned of and left out, for on the day of need the others must do; that none
    /// can be read is an error.
    pub async fn read(ctx: &Context, destinations: &[DestinationRef], job: Option<&str>) -> Result<Self> {
        let mut found: BTreeMap<(DateTime<Utc>, String), Vec<Backup>> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut unreadable = Vec::new();
        let list = async |reference: &DestinationRef| {
            let destination = open_destination(ctx, reference);
            let listing = catalogue::list(&destination, job).await;
            (destination, listing)
        };
        // All at once: one that is far or does not answer costs its own time only.
        let listings = join_all(destinations.iter().map(list)).await;
        ctx.cancel.check()?;
        for (reference, (destination, listing)) in destinations.iter().zip(listings) {
            let listing = match listing {
                Ok(listing) => listing,
                Err(error) => {
                    unreadable.push((reference.name.clone(), error));
                    continue;
                }
            };
            for note in listing.notes {
                ctx.tell(&Event::Note(note));
            }
            problems.extend(listing.problems.into_iter().map(|problem| (reference.name.clone(), problem)));
            for Entry { manifest, verified, drilled, pin, indexed } in listing.entries {
                let key = (manifest.started_at, manifest.dir().to_string());
                let same = found.entry(key).or_default();
                if let Some(backup) = same.iter_mut().find(|backup| backup.manifest == manifest) {
                    backup.copies.push(Arc::clone(&destination));
                    backup.indexed |= indexed;
                    backup.verified = newest(backup.verified.take(), verified, |receipt| receipt.at);
                    backup.drilled = newest(backup.drilled.take(), drilled, |receipt| receipt.started_at);
                    backup.pin = newer_pin(backup.pin.take(), pin);
                } else {
                    let copies = vec![Arc::clone(&destination)];
                    same.push(Backup { manifest, copies, missing: Vec::new(), verified, drilled, pin, indexed });
                }
            }
        }
        if unreadable.len() == destinations.len()
            && let Some((_, error)) = unreadable.pop()
        {
            return Err(error);
        }
        for (name, error) in &unreadable {
            ctx.warn(format!("{name} cannot be read, what it holds is not considered: {}", error.one_line()));
        }
        let read = |name: &String| {
            // A place that is not there yet holds nothing; one that does not answer may hold everything.
            let silent = |(other, error): &(String, Error)| other == name && error.kind() != ErrorKind::NotFound;
            destinations.iter().any(|read| read.name == *name) && !unreadable.iter().any(silent)
        };
        for same in found.values_mut() {
            // Each is verified by its own manifest, and none can stand in for the other.
            if let [first, others @ ..] = same.as_slice()
                && !others.is_empty()
            {
                let places =
                    |backup: &Backup| backup.copies.iter().map(|copy| copy.name()).collect::<Vec<_>>().join(", ");
                let all: Vec<String> = same.iter().map(places).collect();
                ctx.warn(format!(
                    "the manifests of {} differ between {}: one is damaged. `pgkeep backup verify {} --at ...` tells which; \
                     --at chooses the other",
                    first.manifest.dir(),
                    all.join(" and "),
                    first.manifest.id
                ));
            }
            let held: Vec<String> =
                same.iter().flat_map(|backup| &backup.copies).map(|copy| copy.name().to_owned()).collect();
            for backup in same.iter_mut() {
                let Some(job) = ctx.config.jobs.get(&backup.manifest.job) else { continue };
                let absent = job.destinations.iter().filter(|name| read(name) && !held.contains(name));
                backup.missing = absent.cloned().collect();
            }
        }
        let mut backups: Vec<Backup> = found.into_values().flatten().collect();
        forget_unwanted(ctx, &mut backups);
        Ok(Self { backups, problems, unreadable })
    }

    /// The backups, oldest first.
    pub fn backups(&self) -> &[Backup] {
        &self.backups
    }

    /// What is damaged, hostile or from a newer pgkeep: the destination's name, and the folder and error.
    pub fn problems(&self) -> &[(String, catalogue::Problem)] {
        &self.problems
    }

    /// The destinations that could not be read, with the reason.
    pub fn unreadable(&self) -> &[(String, Error)] {
        &self.unreadable
    }

    /// The backup that `selector` means: an id, the beginning of one, `latest`, `JOB/latest`, `JOB@2026-11-20`; as
    /// [`Backup::fresh`] finds it. If it is gone, the next best is taken.
    pub async fn find(&self, ctx: &Context, selector: &str) -> Result<Backup> {
        let selector: Selector = selector.parse()?;
        let unusable = || {
            let Selector::Id(prefix) = &selector else { return None };
            self.problems.iter().find(|(_, problem)| problem.dir.file_name().starts_with(prefix.as_str()))
        };
        let mut candidates: Vec<&Backup> = self.backups.iter().collect();
        let backup = loop {
            let found: &Backup = match catalogue::select(&candidates, &selector, ctx.config.timezone) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(match unusable() {
                        Some((_, problem)) => {
                            let message = format!("backup {} cannot be used", problem.dir);
                            Error::new(ErrorKind::NotFound, message).caused_by(copy_of(&problem.error))
                        }
                        None => error,
                    });
                }
                other => other?,
            };
            if let Some(backup) = found.fresh(ctx).await? {
                break backup;
            }
            candidates.retain(|candidate| !std::ptr::eq(*candidate, found));
        };
        let dir = backup.manifest.dir();
        if !matches!(selector, Selector::Id(_)) {
            // The newest backup may be another than the user believes.
            for (destination, problem) in &self.problems {
                if problem.dir.parent() == dir.parent() && problem.dir.file_name() > dir.file_name() {
                    ctx.warn(format!("{} in {destination} is passed over: {}", problem.dir, problem.error.one_line()));
                }
            }
        }
        Ok(backup)
    }

    /// The backups as `backup list` shows them, newest first.
    pub fn listed(&self) -> Vec<ListedBackup> {
        self.backups.iter().rev().map(Backup::listed).collect()
    }
}

fn newest<T, K: Ord>(a: Option<T>, b: Option<T>, at: impl Fn(&T) -> K) -> Option<T> {
    [a, b].into_iter().flatten().max_by_key(at)
}

impl AsRef<Manifest> for Backup {
    fn as_ref(&self) -> &Manifest {
        &self.manifest
    }
}

impl Backup {
    /// Whether retention never deletes it.
    pub fn pinned(&self) -> bool {
        kept::pinned(&self.manifest, self.pin.as_ref()).0
    }

    /// Until when retention does not delete it.
    pub fn keep_until(&self) -> Option<DateTime<Utc>> {
        kept::pinned(&self.manifest, self.pin.as_ref()).1
    }

    /// The backup as retention sees it.
    pub(super) fn candidate(&self) -> Candidate {
        let drilled = kept::passed(self.drilled.as_ref());
        candidate(&self.manifest, self.verified.as_ref(), drilled, self.pin.as_ref())
    }

    /// Its newest verification at any destination that was read.
    pub fn verified(&self) -> Option<&VerifyReceipt> {
        self.verified.as_ref()
    }

    /// Its newest drill.
    pub fn drilled(&self) -> Option<&DrillReceipt> {
        self.drilled.as_ref()
    }

    /// What counts of it when a drill chooses one.
    pub fn standing(&self) -> Standing {
        Standing {
            started_at: self.manifest.started_at,
            damaged: self.verified().is_some_and(|receipt| receipt.result == VerifyResult::Damaged),
            drilled_at: self.drilled().filter(|one| one.result != DrillResult::CouldNotRun).map(|one| one.started_at),
        }
    }

    /// The backup as the destination `name` alone has it; `None` if that does not hold it.
    pub fn only_at(&self, name: &str) -> Option<Self> {
        let copy = self.copies.iter().find(|copy| copy.name() == name)?;
        Some(Self { copies: vec![Arc::clone(copy)], ..self.clone() })
    }

    /// The backup as its folders tell it now; for whoever relies on it more than a list does. Where an index spoke for it,
    /// each copy's manifest and receipts are read, and a copy that is not there any more is left out with a warning.
    /// `None` if none is left; an error if that is because none can be read.
    pub async fn fresh(&self, ctx: &Context) -> Result<Option<Self>> {
        if !self.indexed {
            return Ok(Some(self.clone()));
        }
        let dir = self.manifest.dir();
        let reads = join_all(self.copies.iter().map(|copy| catalogue::read_one(copy, &dir))).await;
        ctx.cancel.check()?;
        let mut fresh: Option<Self> = None;
        let mut unreadable = None;
        for (copy, read) in self.copies.iter().zip(reads) {
            let name = copy.name();
            let (entry, problems) = match read {
                Ok(read) => read,
                Err(error) => {
                    ctx.warn(format!("the copy of {dir} in {name} cannot be read: {}", error.one_line()));
                    unreadable.get_or_insert(error);
                    continue;
                }
            };
            for problem in &problems {
                ctx.warn(format!("{dir} in {name}: {}", problem.error.one_line()));
            }
            match (entry, &mut fresh) {
                (None, _) if problems.is_empty() => ctx.warn(format!("{dir} is not in {name} any more")),
                (None, _) => {}
                (Some(Entry { manifest, verified, drilled, pin, .. }), None) => {
                    let copies = vec![Arc::clone(copy)];
                    let missing = self.missing.clone();
                    fresh = Some(Self { manifest, copies, missing, verified, drilled, pin, indexed: false });
                }
                (Some(entry), Some(fresh)) if entry.manifest == fresh.manifest => {
                    fresh.copies.push(Arc::clone(copy));
                    fresh.verified = newest(fresh.verified.take(), entry.verified, |receipt| receipt.at);
                    fresh.drilled = newest(fresh.drilled.take(), entry.drilled, |receipt| receipt.started_at);
                    fresh.pin = newer_pin(fresh.pin.take(), entry.pin);
                }
                (Some(_), Some(_)) => ctx.warn(format!("{dir} in {name} has another manifest than the nearer copy")),
            }
        }
        match (fresh, unreadable) {
            (None, Some(error)) => Err(error),
            (fresh, _) => Ok(fresh),
        }
    }

    /// The backup as `backup list` shows it.
    pub fn listed(&self) -> ListedBackup {
        let manifest = &self.manifest;
        let verify = |result| match result {
            VerifyResult::Intact => "intact",
            VerifyResult::Damaged => "damaged",
        };
        ListedBackup {
            id: manifest.id.clone(),
            job: manifest.job.clone(),
            database: manifest.database.clone(),
            started_at: manifest.started_at,
            sql_bytes: manifest.sql_bytes,
            stored_bytes: manifest.stored_bytes,
            tables: manifest.tables,
            rows: manifest.rows,
            destinations: self.copies.iter().map(|copy| copy.name().to_owned()).collect(),
            missing: self.missing.clone(),
            verified_at: self.verified.as_ref().map(|receipt| receipt.at),
            verify_result: self.verified.as_ref().map(|receipt| verify(receipt.result).to_owned()),
            drilled_at: self.drilled.as_ref().map(|receipt| receipt.finished_at),
            drill_result: self.drilled.as_ref().map(|receipt| receipt.result.name().to_owned()),
            drill_level: self.drilled.as_ref().map(|receipt| receipt.level),
            label: manifest.label.clone(),
            pinned: self.pinned(),
            keep_until: self.keep_until(),
        }
    }
}
