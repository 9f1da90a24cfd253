//! Deleting what retention does not keep: a plan for each destination, printed or judged, then carried out.
//!
//! Each destination is asked for what it holds itself; one that cannot be read, or whose listing is not complete, loses
//! nothing. A backup goes by [`catalogue::remove`], its manifest first, so that whatever a failure leaves is no backup and is
//! swept by a later run.

mod after;
mod carry_out;
mod known;

pub(super) use after::{clocks_differ, prune_after};
pub(super) use carry_out::sweep;

use super::kept::retention_at;
use super::outcome::{PlannedBackup, PruneFailure, PruneOutcome};
use super::{Context, open_destination};
use crate::catalogue::{self, Entry, Listing, Manifest, PinReceipt};
use crate::config::{DestinationRef, Retention};
use crate::destination::{Destination, Key, MANIFEST_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use crate::lock::{self, Lock};
use crate::retention::{self, Candidate, KeepReason};
use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use futures_util::future::join_all;
use known::Known;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many objects the service is asked about at once.
const AT_ONCE: usize = 8;

/// A destination that is pruned.
#[derive(Clone)]
pub struct PrunePlace {
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// How long backups are kept there.
    pub retention: Retention,
    /// The databases that are pruned, each with a backup that must be found there; `None` for all databases.
    pub only: Option<BTreeMap<String, BackupId>>,
}

/// What is pruned: the backups of one job.
#[derive(Clone)]
pub struct PruneRequest {
    /// The job's name, configured or not.
    pub job: String,
    /// Where.
    pub places: Vec<PrunePlace>,
    /// Other destinations of the job: a pin that is known there only counts too.
    pub others: Vec<Arc<dyn Destination>>,
}

impl PruneRequest {
    /// Every database of `job` at `at`.
    pub fn new(ctx: &Context, job: &str, at: &[DestinationRef]) -> Self {
        let place = |reference: &DestinationRef| PrunePlace {
            destination: open_destination(ctx, reference),
            retention: retention_at(ctx, job, reference),
            only: None,
        };
        let names = ctx.config.jobs.get(job).into_iter().flat_map(|job| &job.destinations);
        let own = names.filter_map(|name| DestinationRef::parse(name, &ctx.config).ok());
        let others = own.filter(|own| !at.iter().any(|one| one.config == own.config));
        Self {
            job: job.to_owned(),
            places: at.iter().map(place).collect(),
            others: others.map(|reference| open_destination(ctx, &reference)).collect(),
        }
    }
}

/// A plan that can be carried out.
pub struct Pruning {
    job: String,
    planned: Vec<Planned>,
    failed: Vec<PruneFailure>,
    holds: Vec<Hold>,
    /// Destinations of which at least one database was planned.
    judged: Vec<Arc<dyn Destination>>,
    _lock: Option<Lock>,
}

struct Planned {
    destination: Arc<dyn Destination>,
    manifest: Manifest,
    pin: Option<PinReceipt>,
    keep: bool,
    reasons: Vec<KeepReason>,
}

struct Hold {
    destination: String,
    database: String,
    why: String,
}

impl Pruning {
    /// Plans what `request` asks for, holding the job's lock until the plan is dropped or carried out.
    pub async fn plan(ctx: &Context, request: &PruneRequest) -> Result<Self> {
        let lock = lock::acquire(&ctx.state_dir(), &request.job, "prune")?;
        Ok(Self { _lock: Some(lock), ..Self::plan_locked(ctx, request).await? })
    }

    /// The same for a caller that holds the job's lock, or that will only look.
    pub async fn plan_locked(ctx: &Context, request: &PruneRequest) -> Result<Self> {
        let job = Some(request.job.as_str());
        let places = request.places.iter().map(|place| &place.destination);
        let listed = join_all(places.chain(&request.others).map(|one| catalogue::list(one, job))).await;
        ctx.cancel.check()?;
        let mut pruning = Self {
            job: request.job.clone(),
            planned: Vec::new(),
            failed: Vec::new(),
            holds: Vec::new(),
            judged: Vec::new(),
            _lock: None,
        };
        let known = Known::gather(ctx, request, &listed).await;
        for (place, listing) in request.places.iter().zip(listed) {
            match listing {
                Ok(listing) => pruning.judge(ctx, place, listing, &known),
                Err(error) => {
                    let message = format!("nothing is deleted in {}: it cannot be read", place.destination.name());
                    let error = Error::new(error.kind(), message).caused_by(error);
                    pruning.fail(&*place.destination, None, None, error);
                }
            }
        }
        pruning.ask_for_locks(ctx).await;
        ctx.cancel.check()?;
        Ok(pruning)
    }

    /// Plans one destination, each of its databases for itself.
    fn judge(&mut self, ctx: &Context, place: &PrunePlace, listing: Listing, known: &Known) {
        let unclear: BTreeSet<Key> = listing.problems.into_iter().map(|problem| problem.dir).collect();
        let mut databases: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in listing.entries {
            databases.entry(entry.manifest.database.clone()).or_default().push(entry);
        }
        for (database, entries) in databases {
            if let Some(only) = &place.only {
                let Some(id) = only.get(&database) else { continue };
                if !entries.iter().any(|entry| entry.manifest.id == *id) {
                    let name = place.destination.name();
                    let message = format!("nothing is deleted in {name}: it does not show the new backup {id} yet");
                    let error = Error::new(ErrorKind::Unavailable, message);
                    self.fail(&*place.destination, Some(&database), None, error);
                    continue;
                }
            }
            let candidates: Vec<Candidate> = entries.iter().map(|entry| known.candidate(entry)).collect();
            let plan = match retention::plan(&place.retention, &candidates, ctx.clock.now()) {
                Ok(plan) => plan,
                Err(error) => {
                    self.fail(&*place.destination, Some(&database), None, error);
                    continue;
                }
            };
            self.judged.push(Arc::clone(&place.destination));
            if let Some(why) = plan.hold {
                self.holds.push(Hold { destination: place.destination.name().to_owned(), database, why });
            }
            let mut manifests: BTreeMap<BackupId, Manifest> =
                entries.into_iter().map(|entry| (entry.manifest.id.clone(), entry.manifest)).collect();
            for decision in plan.decisions {
                let Some(manifest) = manifests.remove(&decision.id) else { continue };
                let mut planned = Planned {
                    destination: Arc::clone(&place.destination),
                    pin: known.pins.get(&manifest.dir()).cloned(),
                    keep: decision.keep,
                    reasons: decision.reasons,
                    manifest,
                };
                if unclear.contains(&planned.manifest.dir()) {
                    planned.keep_for(KeepReason::Unclear);
                }
                self.planned.push(planned);
            }
        }
    }

    /// Keeps what the service would not delete: without its manifest it would be there all the same, and of no use.
    async fn ask_for_locks(&mut self, ctx: &Context) {
        let now = ctx.clock.now();
        let going = self.planned.iter().enumerate().filter(|(_, planned)| !planned.keep);
        let asked = going.map(|(index, planned)| async move { (index, planned.locked_until(now).await) });
        let answers: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        for (index, answer) in answers {
            let Some(planned) = self.planned.get_mut(index) else { continue };
            match answer {
                Ok(None) => {}
                Ok(Some(until)) => planned.keep_for(KeepReason::LockedUntil(until)),
                Err(error) => {
                    planned.keep_for(KeepReason::Unclear);
                    let (destination, manifest) = (Arc::clone(&planned.destination), planned.manifest.clone());
                    self.fail(&*destination, Some(&manifest.database), Some(&manifest.id), error);
                }
            }
        }
    }

    fn fail(&mut self, destination: &dyn Destination, database: Option<&str>, id: Option<&BackupId>, failure: Error) {
        self.failed.push(PruneFailure {
            id: id.cloned(),
            job: self.job.clone(),
            database: database.map(str::to_owned),
            destination: destination.name().to_owned(),
            error: failure.one_line(),
            failure,
        });
    }

    /// Every backup and what becomes of it: by destination, then database, the newest first.
    pub fn listed(&self) -> Vec<PlannedBackup> {
        self.planned.iter().map(Planned::listed).collect()
    }

    /// What speaks against carrying it out unseen, in whole sentences.
    pub fn holds(&self) -> Vec<String> {
        let sentence = |hold: &Hold| format!("{}/{} in {}: {}", self.job, hold.database, hold.destination, hold.why);
        self.holds.iter().map(sentence).collect()
    }

    /// What was not planned, and why.
    pub fn failed(&self) -> &[PruneFailure] {
        &self.failed
    }

    /// From now on nothing is deleted where something speaks against it.
    fn respect_holds(&mut self) {
        let holds = std::mem::take(&mut self.holds);
        let held = |planned: &Planned| {
            holds.iter().any(|hold| {
                hold.destination == planned.destination.name() && hold.database == planned.manifest.database
            })
        };
        self.planned.retain(|planned| !held(planned));
    }

    /// The plan as an outcome, with nothing deleted.
    pub fn dry_run(self) -> PruneOutcome {
        PruneOutcome { plan: self.listed(), deleted: Vec::new(), failed: self.failed }
    }
}

impl Planned {
    fn keep_for(&mut self, reason: KeepReason) {
        self.keep = true;
        self.reasons.push(reason);
    }

    /// Until when the service refuses to delete its manifest or its files; `None` if it does not at `now`.
    async fn locked_until(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        let dir = self.manifest.dir();
        let files = self.manifest.files.iter().map(|file| dir.child(&file.name));
        let mut latest = None;
        for key in std::iter::once(dir.join(MANIFEST_NAME)).chain(files) {
            match self.destination.locked_until(&key).await {
                Ok(until) => latest = latest.max(until),
                // What is gone already is not locked.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("backup {} stays: it is not known whether it is locked", self.manifest.id);
                    return Err(Error::new(error.kind(), message).caused_by(error));
                }
            }
        }
        Ok(latest.filter(|until| *until > now))
    }

    fn listed(&self) -> PlannedBackup {
        PlannedBackup {
            id: self.manifest.id.clone(),
            job: self.manifest.job.clone(),
            database: self.manifest.database.clone(),
            destination: self.destination.name().to_owned(),
            started_at: self.manifest.started_at,
            stored_bytes: self.manifest.stored_bytes,
            keep: self.keep,
            reasons: self.reasons.iter().map(ToString::to_string).collect(),
        }
    }
}
