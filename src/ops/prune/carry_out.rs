//! Carrying out a plan: sweeping, then deleting one backup after the other, whatever becomes of the others.

use super::{Planned, Pruning};
use crate::catalogue;
use crate::destination::{Destination, Key, MANIFEST_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::ops::Context;
use crate::ops::consolidate::{consolidate_at, database_of};
use crate::ops::outcome::{PruneOutcome, PrunedBackup};
use crate::ops::store::copy_of;
use crate::retention::KeepReason;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// What interrupted runs left of `job`. That it cannot be removed is no reason not to take a backup.
pub(in crate::ops) async fn sweep(ctx: &Context, destination: &dyn Destination, job: &str, now: DateTime<Utc>) {
    match destination.sweep(&Key::encode(job), now).await {
        Ok(swept) => {
            for remains in swept {
                let destination = destination.name().to_owned();
                ctx.tell(&Event::Swept { destination, key: remains.name });
            }
        }
        Err(error) => ctx.warn(format!(
            "could not sweep what interrupted runs left in {}: {}",
            destination.name(),
            error.one_line()
        )),
    }
}

impl Pruning {
    /// Removes what interrupted runs left of the job, at the destinations that were planned.
    pub async fn sweep(&self, ctx: &Context) {
        let mut seen = BTreeSet::new();
        for destination in self.judged.iter().filter(|one| seen.insert(one.name())) {
            sweep(ctx, &**destination, &self.job, ctx.clock.now()).await;
        }
    }

    /// Deletes what the plan does not keep, the oldest first. What fails keeps nothing else from being deleted.
    pub async fn carry_out(mut self, ctx: &Context) -> PruneOutcome {
        let plan = self.listed();
        let mut deleted = Vec::new();
        let all = std::mem::take(&mut self.planned);
        let mut gone = BTreeMap::new();
        for planned in all.iter().rev().filter(|planned| !planned.keep) {
            let (destination, manifest) = (&planned.destination, &planned.manifest);
            let place = (destination.name().to_owned(), manifest.database.clone());
            if !gone.contains_key(&place) {
                let found = stand_ins(&all, planned).await;
                gone.insert(place.clone(), found.is_err());
                if let Err(error) = found {
                    self.fail(&**destination, Some(&manifest.database), None, error);
                }
            }
            if gone.get(&place).is_some_and(|gone| *gone) {
                continue;
            }
            let fail = |error| (Some(manifest.database.clone()), Some(manifest.id.clone()), error);
            if ctx.cancel.is_cancelled() {
                self.fail(&**destination, None, None, ctx.cancel.error());
                break;
            }
            let failure = match planned.delete().await {
                Ok(Deleted::Whole) => None,
                Ok(Deleted::Part(error)) => Some(fail(error)),
                Ok(Deleted::PinnedMeanwhile) => {
                    let what = format!("{}: {} was pinned meanwhile and stays", destination.name(), manifest.id);
                    ctx.tell(&Event::Note(what));
                    continue;
                }
                Err(error) => {
                    let (database, id, error) = fail(error);
                    self.fail(&**destination, database.as_deref(), id.as_ref(), error);
                    continue;
                }
            };
            deleted.push(PrunedBackup {
                id: manifest.id.clone(),
                job: manifest.job.clone(),
                database: manifest.database.clone(),
                destination: destination.name().to_owned(),
                started_at: manifest.started_at,
                stored_bytes: manifest.stored_bytes,
            });
            if let Some((database, id, error)) = failure {
                self.fail(&**destination, database.as_deref(), id.as_ref(), error);
            }
        }
        let mut changed = BTreeSet::new();
        for one in &deleted {
            let database = database_of(&one.job, &one.database);
            let destination = self.judged.iter().find(|judged| judged.name() == one.destination);
            if let Some(destination) = destination
                && changed.insert((destination.name(), database.clone()))
            {
                consolidate_at(ctx, [destination], &database).await;
            }
        }
        PruneOutcome { plan, deleted, failed: self.failed }
    }
}

/// That those are there for whose sake `planned` may go: the list may have them from an index, and somebody may have deleted
/// their manifests by hand.
async fn stand_ins(all: &[Planned], planned: &Planned) -> Result<()> {
    let floor = |reason: &KeepReason| {
        matches!(reason, KeepReason::NewestGood | KeepReason::NewestDrilled | KeepReason::AtLeast(_))
    };
    let beside = |other: &&Planned| {
        other.destination.name() == planned.destination.name() && other.manifest.database == planned.manifest.database
    };
    for other in all.iter().filter(beside).filter(|other| other.reasons.iter().any(floor)) {
        let manifest = other.manifest.dir().join(MANIFEST_NAME);
        other.destination.head(&manifest).await.map_err(|error| {
            let message =
                format!("nothing of {} is deleted: {manifest} should be kept, and", planned.manifest.database);
            let message = match error.kind() {
                ErrorKind::NotFound => format!("{message} is not there"),
                _ => format!("{message} cannot be looked at"),
            };
            Error::new(error.kind(), message).caused_by(error).hint("run `pgkeep backup prune` again")
        })?;
    }
    Ok(())
}

enum Deleted {
    Whole,
    Part(Error),
    PinnedMeanwhile,
}

impl Planned {
    async fn delete(&self) -> Result<Deleted> {
        let id = &self.manifest.id;
        let (destination, dir) = (&*self.destination, self.manifest.dir());
        let failed = |error: Error| {
            let message = format!("backup {id} could not be deleted in {}", destination.name());
            let hint = error.hint_text().map(str::to_owned);
            let error = Error::new(error.kind(), message).caused_by(error);
            error.hint(hint.unwrap_or_else(|| "it is whole; the next run tries again".to_owned()))
        };
        // Somebody may have pinned it since the plan was made.
        let pin = catalogue::newest_pin(destination, &dir, id).await.map_err(failed)?;
        if pin.as_ref().is_some_and(|pin| pin.pinned && self.pin.as_ref().is_none_or(|known| pin.at > known.at)) {
            return Ok(Deleted::PinnedMeanwhile);
        }
        let removal = catalogue::remove(destination, &self.manifest).await.map_err(failed)?;
        let left = removal.failed.len();
        let Some((first, error)) = removal.failed.into_iter().next() else { return Ok(Deleted::Whole) };
        let files = if left == 1 { first.to_string() } else { format!("{first} and {} more files", left - 1) };
        let message = format!("backup {id} is deleted in {}, but not {files}", destination.name());
        let error = Error::new(error.kind(), message).caused_by(copy_of(&error));
        Ok(Deleted::Part(error.hint("a later run sweeps them once they are a day old")))
    }
}
