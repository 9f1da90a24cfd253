//! Pruning as the last step of a run of backups: only what this run replaced with something newer, and never its failure.

use super::{PrunePlace, PruneRequest, Pruning};
use crate::destination::Destination;
use crate::id::BackupId;
use crate::ops::kept::retention_at;
use crate::ops::outcome::{BackupOutcome, BackupStatus, DestinationOutcome};
use crate::ops::{BackupRequest, Context};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How far the clocks of this computer and of the server may be apart before neither is trusted with deleting.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(15);

/// What to tell if this computer's clock, which names backups and decides which are old, is far from the server's.
pub(in crate::ops) fn clocks_differ(here: DateTime<Utc>, server: DateTime<Utc>) -> Option<String> {
    let apart = here.signed_duration_since(server);
    if apart.abs() <= CLOCKS_APART {
        return None;
    }
    let (minutes, way) = (apart.num_minutes().abs(), if apart > TimeDelta::zero() { "ahead of" } else { "behind" });
    Some(format!(
        "this computer's clock is {minutes} minutes {way} the database server's, so no old backups are deleted: set it right"
    ))
}

/// Prunes every database that was stored as its job requires, at those destinations where this very backup was stored: a
/// run that stored nothing new deletes nothing old.
pub(in crate::ops) async fn prune_after(
    ctx: &Context,
    request: &BackupRequest,
    destinations: &[Arc<dyn Destination>],
    outcomes: &mut [BackupOutcome],
    in_time: &BTreeSet<String>,
) {
    let Some(job) = request.job.clone() else { return };
    let mut places = Vec::new();
    for (reference, destination) in request.destinations.iter().zip(destinations) {
        let stored = |outcome: &&BackupOutcome| {
            let here = |one: &DestinationOutcome| one.name == reference.name && one.status == BackupStatus::Stored;
            outcome.failure.is_none() && in_time.contains(&outcome.database) && outcome.destinations.iter().any(here)
        };
        let only: BTreeMap<String, BackupId> = outcomes
            .iter()
            .filter(stored)
            .filter_map(|outcome| Some((outcome.database.clone(), outcome.id.clone()?)))
            .collect();
        // For how long backups stay in a place that only the command line named, nobody said.
        let configured = ctx.config.destinations.values().any(|config| *config == reference.config);
        if configured && !only.is_empty() {
            let (destination, retention) = (Arc::clone(destination), retention_at(ctx, &job, reference));
            places.push(PrunePlace { destination, retention, only: Some(only) });
        }
    }
    if places.is_empty() {
        return;
    }
    // A destination that failed in this run is not waited for again to ask for pins that only it knows: it keeps those.
    let counts = after_backup(ctx, &PruneRequest { job, places, others: Vec::new() }).await;
    for outcome in outcomes {
        outcome.pruned = counts.get(&outcome.database).copied().unwrap_or(0);
    }
}

/// Prunes after a run of backups that holds the job's lock. Whatever fails is a warning: the backup is taken. Returns how
/// many were deleted of each database, all destinations together.
async fn after_backup(ctx: &Context, request: &PruneRequest) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut pruning = match Pruning::plan_locked(ctx, request).await {
        Ok(pruning) => pruning,
        Err(error) => {
            ctx.warn(format!("old backups of {} were not pruned: {}", request.job, error.one_line()));
            return counts;
        }
    };
    for hold in pruning.holds() {
        ctx.warn(format!(
            "old backups are not pruned: {hold} If all is well, run: pgkeep backup prune {}",
            request.job
        ));
    }
    pruning.respect_holds();
    let outcome = pruning.carry_out(ctx).await;
    for failure in &outcome.failed {
        let hint = failure.failure.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
        ctx.warn(format!("pruning {}: {}{hint}", failure.destination, failure.error));
    }
    for gone in &outcome.deleted {
        *counts.entry(gone.database.clone()).or_default() += 1;
    }
    counts
}
