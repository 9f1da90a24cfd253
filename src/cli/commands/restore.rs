//! `pgkeep restore`.

use super::{Session, catalog_for};
use crate::cli::args::RestoreArgs;
use crate::cli::{exit, places, tables, voice};
use crate::error::Result;
use crate::ops::{self, PartRequest, RestoreRequest};

/// Restores one backup, and says what to do next.
pub(super) async fn restore(args: &RestoreArgs, session: &Session<'_>) -> Result<u8> {
    let catalog = catalog_for(&args.backup, &args.at.at, session).await?;
    let backup = &catalog.find(session.ctx, &args.backup).await?;
    let config = &session.ctx.config;
    let job = &backup.manifest.job;
    let request = RestoreRequest {
        target: places::target(&args.into, args.url.database_url.as_ref(), job, config)?,
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        jobs: args.jobs.map(usize::from),
        prove: !args.no_prove,
        swap: args.swap,
        keep: args.keep,
        part: PartRequest {
            tables: args.table.clone(),
            schema_only: args.schema_only,
            data_only: args.data_only,
            exclude_table_data: args.exclude_table_data.clone(),
            into_schema: args.into_schema.clone(),
        },
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
