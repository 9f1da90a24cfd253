//! `pgkeep restore`.

use super::{Session, catalog_for};
use crate::cli::args::RestoreArgs;
use crate::cli::{exit, places, tables, voice};
use crate::error::Result;
use crate::ops::{self, RestoreRequest, SwapBackRequest};

/// Restores one backup, and says what to do next.
pub(super) async fn restore(args: &RestoreArgs, session: &Session<'_>) -> Result<u8> {
    let Some(wanted) = &args.backup else { return swap_back(args, session).await };
    let catalog = catalog_for(wanted, &args.at.at, session).await?;
    let backup = &catalog.find(session.ctx, wanted).await?;
    let config = &session.ctx.config;
    let job = &backup.manifest.job;
    let request = RestoreRequest {
        target: places::target(&args.into, args.url.database_url.as_ref(), job, config)?,
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        jobs: args.jobs.map(usize::from),
        roles: args.role.iter().cloned().collect(),
        create_roles: args.create_roles,
        no_tablespaces: args.no_tablespaces,
        without: args.without.clone(),
        locale: args.locale.clone(),
        prove: !args.no_prove,
        swap: args.swap,
        swap_timeout: args.swap_timeout,
        keep: args.keep,
        bin_dir: config.jobs.get(job).and_then(|job| job.bin_dir.clone()),
    };
    let outcome = ops::restore(session.ctx, backup, &request).await?;
    session.display.pause();
    session.output.text(&tables::restored(&outcome))?;
    session.output.json(&outcome)?;
    let failure = exit::of_restore(&outcome);
    if let Some(error) = &failure {
        voice::tell(error);
    }
    Ok(failure.map_or(exit::DONE, |error| error.exit_code()))
}

/// Undoes the last swap, or finishes one, and says how to go back.
async fn swap_back(args: &RestoreArgs, session: &Session<'_>) -> Result<u8> {
    let request = SwapBackRequest {
        target: places::target(&args.into, args.url.database_url.as_ref(), "", &session.ctx.config)?,
        kept: args.kept.clone(),
        finish: args.finish_swap,
        limit: args.swap_timeout,
        bin_dir: None,
    };
    let outcome = ops::swap_back(session.ctx, &request).await?;
    session.display.pause();
    session.output.text(&tables::swapped_back(&outcome))?;
    session.output.json(&outcome)?;
    Ok(exit::DONE)
}
