//! `pgkeep backup adopt`.

use super::Session;
use super::backup::{check_label, keep};
use crate::cli::args::AdoptArgs;
use crate::cli::{exit, places, tables, voice};
use crate::config::{Databases, DestinationRef, JobConfig, Require};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, AdoptOutcome, AdoptRequest};
use serde_json::json;

/// Takes over the files, one after the other.
pub(super) async fn adopt(args: &AdoptArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    check_label(args.label.as_deref())?;
    let keep_for = args.keep.as_deref().map(keep).transpose()?;
    if args.job.trim().is_empty() || args.database.as_deref().is_some_and(|name| name.trim().is_empty()) {
        return Err(Error::new(ErrorKind::Usage, "--job and --database must not be empty"));
    }
    let to = places::destinations(&args.to, config)?;
    // With --to a job need not be configured: its name then only says where the backups are found.
    let job = match config.jobs.get(&args.job) {
        Some(job) => Some(job),
        None if to.is_empty() => Some(places::job(&args.job, config)?),
        None => None,
    };
    let destinations = match job {
        Some(job) if to.is_empty() => {
            job.destinations.iter().map(|name| DestinationRef::parse(name, config)).collect::<Result<_>>()?
        }
        _ => to,
    };
    let request = AdoptRequest {
        files: args.files.clone(),
        job: args.job.clone(),
        database: args.database.clone(),
        otherwise: job.and_then(only_database),
        destinations,
        require: job.map_or(Require::All, |job| job.require),
        compression: job.map(|job| job.compression).unwrap_or_default(),
        taken_at: args.taken_at.clone(),
        label: args.label.clone(),
        pinned: args.pin,
        keep_for,
        dry_run: args.dry_run,
        bin_dir: job.and_then(|job| job.bin_dir.clone()),
    };
    let outcomes = ops::adopt(session.ctx, &request).await?;
    session.display.pause();
    for outcome in &outcomes {
        let told = |warning: &str| session.display.has_told(warning);
        session.output.text(&tables::adopted(outcome, config.timezone, session.ctx.clock.now(), told))?;
        if let Some(error) = &outcome.backup.failure {
            voice::tell(error);
        }
    }
    session.output.json(&json!({ "backups": outcomes }))?;
    Ok(code(&outcomes))
}

/// The one database that a job backs up, where its configuration names it.
fn only_database(job: &JobConfig) -> Option<String> {
    match &job.databases {
        Databases::Named(names) => match names.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        },
        Databases::FromUrl | Databases::All => None,
    }
}

/// 3 if some files were adopted and some were not.
fn code(outcomes: &[AdoptOutcome]) -> u8 {
    let codes: Vec<u8> = outcomes.iter().map(|outcome| exit::of_backup(&outcome.backup)).collect();
    let gravest = exit::gravest(codes.iter().copied());
    let stopped = codes.iter().any(|code| matches!(code, 130 | 143));
    if codes.contains(&exit::DONE) && gravest != exit::DONE && !stopped { exit::PARTLY } else { gravest }
}
