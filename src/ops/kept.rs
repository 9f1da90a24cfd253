//! What the catalogue says for and against keeping a backup: pins, drills, verifications; and which copies are wanted where.

use super::{Backup, Context};
use crate::catalogue::{DrillReceipt, DrillResult, Manifest, PinReceipt, VerifyReceipt, VerifyResult};
use crate::config::{DestinationRef, Retention};
use crate::retention::{self, Candidate, Condition};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a backup is pinned, and until when it is kept, by its newest pin receipt, else by its manifest.
pub(super) fn pinned(manifest: &Manifest, pin: Option<&PinReceipt>) -> (bool, Option<DateTime<Utc>>) {
    match pin {
        Some(pin) if pin.pinned => (true, manifest.keep_until),
        // Whoever unpins means that the backup may go.
        Some(_) => (false, None),
        None => (manifest.pinned, manifest.keep_until),
    }
}

/// The newer one; of two of the same second the one that keeps.
pub(super) fn newer_pin(a: Option<PinReceipt>, b: Option<PinReceipt>) -> Option<PinReceipt> {
    [a, b].into_iter().flatten().max_by_key(|pin| (pin.at, pin.pinned))
}

/// When `drill` passed, if it did.
pub(super) fn passed(drill: Option<&DrillReceipt>) -> Option<DateTime<Utc>> {
    drill.filter(|drill| drill.result == DrillResult::Passed).map(|drill| drill.finished_at)
}

/// A backup as retention sees it. A failed drill does not make it a bad one: the user's own question may have failed.
pub(super) fn candidate(
    manifest: &Manifest,
    verified: Option<&VerifyReceipt>,
    drilled: Option<DateTime<Utc>>,
    pin: Option<&PinReceipt>,
) -> Candidate {
    let damaged = verified.is_some_and(|receipt| receipt.result == VerifyResult::Damaged);
    let (pinned, keep_until) = pinned(manifest, pin);
    Candidate {
        id: manifest.id.clone(),
        started_at: manifest.started_at,
        pinned,
        keep_until,
        condition: if damaged { Condition::Damaged } else { Condition::Good },
        drilled,
    }
}

/// How long backups of `job` are kept at `place`: a folder that is configured under a name is that destination, however it
/// was given.
pub(super) fn retention_at(ctx: &Context, job: &str, place: &DestinationRef) -> Retention {
    let known = ctx.config.destinations.iter().find(|(_, config)| **config == place.config);
    ctx.config.retention(job, known.map_or(place.name.as_str(), |(name, _)| name.as_str()))
}

/// Takes from `missing` the destinations whose retention would not keep the backup: there it is not missing.
pub(super) fn forget_unwanted(ctx: &Context, backups: &mut [Backup]) {
    let of = |backup: &Backup| (backup.manifest.job.clone(), backup.manifest.database.clone());
    let mut looked_at: BTreeSet<(String, String, String)> = BTreeSet::new();
    for backup in backups.iter() {
        let (job, database) = of(backup);
        looked_at.extend(backup.missing.iter().map(|place| (job.clone(), database.clone(), place.clone())));
    }
    let mut wanted = BTreeMap::new();
    for (job, database, place) in looked_at {
        let theirs = backups.iter().filter(|backup| backup.manifest.job == job && backup.manifest.database == database);
        let there = theirs
            .filter(|backup| backup.missing.contains(&place) || backup.copies.iter().any(|copy| copy.name() == place));
        let candidates: Vec<Candidate> = there.map(Backup::candidate).collect();
        // Where nothing may be deleted, everything is wanted.
        if let Ok(plan) = retention::plan(&ctx.config.retention(&job, &place), &candidates, ctx.clock.now()) {
            let kept = plan.decisions.into_iter().filter(|decision| decision.keep).map(|decision| decision.id);
            wanted.insert((job, database, place), kept.collect::<BTreeSet<_>>());
        }
    }
    for backup in backups {
        let (job, database) = of(backup);
        let id = backup.manifest.id.clone();
        backup.missing.retain(|place| {
            wanted.get(&(job.clone(), database.clone(), place.clone())).is_none_or(|kept| kept.contains(&id))
        });
    }
}
