//! `pgkeep backup copy`.

use super::{Session, catalog_for, job_of};
use crate::cli::args::CopyArgs;
use crate::cli::{exit, places, tables, voice};
use crate::config::DestinationRef;
use crate::error::{ErrorKind, Result};
use crate::ops::{self, Catalog, CopyOutcome};
use serde_json::json;

/// Copies one backup, or every backup that is missing somewhere.
pub(super) async fn copy(args: &CopyArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    let mut unreadable = false;
    let outcomes = if args.missing {
        let job = args.backup.as_deref();
        if let Some(job) = job {
            places::job(job, config)?;
        }
        let catalog = Catalog::read(session.ctx, &places::look_in(&[], job, config)?, job).await?;
        // What cannot be read cannot be healed either.
        unreadable = catalog.unreadable().iter().any(|(_, error)| error.kind() != ErrorKind::NotFound);
        ops::copy_missing(session.ctx, &catalog).await?
    } else {
        let selector = args.backup.as_deref().unwrap_or_default();
        let to = places::destinations(&args.to, config)?;
        let from = args.from.as_deref().map(|text| DestinationRef::parse(text, config)).transpose()?;
        let catalog = match &from {
            Some(from) => Catalog::read(session.ctx, std::slice::from_ref(from), job_of(selector)?.as_deref()).await?,
            None => catalog_for(selector, &[], session).await?,
        };
        ops::copy(session.ctx, &catalog.find(session.ctx, selector).await?, from.as_ref(), &to).await?
    };
    session.display.pause();
    let text = if outcomes.is_empty() { "nothing is missing\n".to_owned() } else { tables::copied(&outcomes) };
    session.output.text(&text)?;
    for error in outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()) {
        voice::tell(error);
    }
    session.output.json(&json!({ "copies": outcomes }))?;
    Ok(code(&outcomes, unreadable))
}

/// 3 if some of it was done and some was not.
fn code(outcomes: &[CopyOutcome], unreadable: bool) -> u8 {
    let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()).collect();
    let stopped = failures.iter().find(|error| matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated));
    match (stopped, failures.first()) {
        (Some(stopped), _) => stopped.exit_code(),
        (None, Some(first)) if failures.len() == outcomes.len() => first.exit_code(),
        (None, None) if !unreadable => exit::DONE,
        (None, _) => exit::PARTLY,
    }
}
