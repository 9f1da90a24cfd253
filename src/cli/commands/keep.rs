//! `pgkeep backup prune`, `pin` and `unpin`.

use super::{Session, catalog_for};
use crate::cli::args::{PinArgs, PruneArgs};
use crate::cli::{exit, places, tables, voice};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, PruneFailure, PruneOutcome, PruneRequest, Pruning};
use serde_json::{Value, json};

/// Prints what retention keeps and what not, then deletes that.
pub(super) async fn prune(args: &PruneArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    let jobs: Vec<String> = match &args.job {
        Some(job) => {
            // A name that is in no configuration is either a slip, or meant with the place it is in.
            if args.at.at.is_empty() {
                places::job(job, config)?;
            }
            places::refuse_url("a job", job)?;
            vec![job.clone()]
        }
        None => config.jobs.keys().cloned().collect(),
    };
    if jobs.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "it is not known which job is meant")
            .hint("no job is configured; name the one to prune, as in: pgkeep backup prune shop --at ./backups"));
    }
    let mut plans = Vec::new();
    let mut errors = Vec::new();
    for job in &jobs {
        let at = places::look_in(&args.at.at, Some(job), config)?;
        let request = PruneRequest::new(session.ctx, job, &at);
        let planned = if args.dry_run {
            Pruning::plan_locked(session.ctx, &request).await
        } else {
            Pruning::plan(session.ctx, &request).await
        };
        match planned {
            Ok(planned) => plans.push(planned),
            Err(error) if jobs.len() == 1 => return Err(error),
            // A job that is being backed up right now keeps no other from being pruned.
            Err(error) => errors.push(error),
        }
    }
    session.display.pause();
    let warnings: Vec<String> = plans.iter().flat_map(Pruning::holds).collect();
    let listed: Vec<_> = plans.iter().flat_map(Pruning::listed).collect();
    session.output.text(&tables::plan(&listed, session.ctx.clock.now()))?;
    for warning in &warnings {
        voice::warn(warning);
    }
    let mut all = PruneOutcome::default();
    for plan in plans {
        let outcome = if args.dry_run {
            plan.dry_run()
        } else {
            plan.sweep(session.ctx).await;
            plan.carry_out(session.ctx).await
        };
        all.plan.extend(outcome.plan);
        all.deleted.extend(outcome.deleted);
        all.failed.extend(outcome.failed);
    }
    session.display.pause();
    session.output.text(&tables::pruned(&all.deleted, args.dry_run))?;
    for error in errors.iter().chain(all.failed.iter().map(|failed| &failed.failure)) {
        voice::tell(error);
    }
    let mut document = json!(all);
    document["dry_run"] = args.dry_run.into();
    document["warnings"] = warnings.into();
    document["errors"] = errors.iter().map(voice::machine).collect::<Vec<Value>>().into();
    session.output.json(&document)?;
    Ok(exit::gravest(errors.iter().map(Error::exit_code).chain(all.failed.iter().map(code))))
}

/// What was not deleted is a failure, whatever the destination said; a stop is a stop.
fn code(failed: &PruneFailure) -> u8 {
    match failed.failure.kind() {
        ErrorKind::Interrupted | ErrorKind::Terminated => failed.failure.exit_code(),
        _ => 1,
    }
}

/// Pins or unpins a backup at all of its copies.
pub(super) async fn pin(args: &PinArgs, pinned: bool, session: &Session<'_>) -> Result<u8> {
    let catalog = catalog_for(&args.backup, &args.at.at, session).await?;
    let backup = catalog.find(session.ctx, &args.backup).await?;
    let outcome = ops::pin(session.ctx, &catalog, &backup, pinned).await?;
    ops::consolidate(session.ctx, [&backup]).await;
    session.display.pause();
    let kept = backup.keep_until().filter(|until| !pinned && *until > session.ctx.clock.now());
    session.output.text(&tables::pinned(&outcome, kept))?;
    session.output.json(&outcome)?;
    if let Some(error) = &outcome.failure {
        voice::tell(error);
    }
    Ok(outcome.failure.map_or(exit::DONE, |error| error.exit_code()))
}
