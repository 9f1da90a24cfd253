//! Pinning a backup after it was taken, so that retention never deletes it, and unpinning it.
//!
//! Manifests are written once: a receipt beside each copy says what holds since then.

use super::outcome::{BackupStatus, DestinationOutcome, PinOutcome};
use super::store::copy_of;
use super::{Backup, Catalog, Context};
use crate::catalogue::{PinReceipt, RECEIPT_FORMAT, write_pin_receipt};
use crate::error::{Error, ErrorKind, Result};
use crate::process::host_name;
use chrono::TimeDelta;

/// Pins or unpins `backup`, found in `catalog`, at every copy of it.
///
/// A copy that could not be told has its place in the outcome, as has a destination that could not be read and may hold
/// one. Where one copy knows, all readers of the catalogue know, as long as they can read that one.
pub async fn pin(ctx: &Context, catalog: &Catalog, backup: &Backup, pinned: bool) -> Result<PinOutcome> {
    let manifest = &backup.manifest;
    // Later than what it replaces, though this clock may be behind the one of whoever wrote that.
    let at = match &backup.pin {
        Some(before) => ctx.clock.now().max(before.at + TimeDelta::seconds(1)),
        None => ctx.clock.now(),
    };
    let receipt = PinReceipt {
        format: RECEIPT_FORMAT,
        backup: manifest.id.clone(),
        at,
        pinned,
        written_by: format!("pgkeep {}", env!("CARGO_PKG_VERSION")),
        host: host_name().unwrap_or_default(),
    };
    let mut told: Vec<(String, Option<Error>)> = Vec::new();
    for copy in &backup.copies {
        ctx.cancel.check()?;
        let written = write_pin_receipt(&**copy, &manifest.dir(), &receipt).await;
        told.push((copy.name().to_owned(), written.err()));
    }
    let should = ctx.config.jobs.get(&manifest.job).map(|job| job.destinations.as_slice());
    for (name, error) in catalog.unreadable() {
        // A configured place that is not there may be a disk that is not plugged in.
        let may_hold_it = should.map_or(error.kind() != ErrorKind::NotFound, |should| should.contains(name));
        if may_hold_it {
            told.push((name.clone(), Some(copy_of(error))));
        }
    }
    let failures: Vec<&Error> = told.iter().filter_map(|(_, error)| error.as_ref()).collect();
    let what = if pinned { "pinned" } else { "unpinned" };
    let failure = match failures.first() {
        None => None,
        Some(first) if failures.len() == told.len() => Some(copy_of(first)),
        Some(first) => {
            let message = format!(
                "backup {} is {what} in {} of {} destinations",
                manifest.id,
                told.len() - failures.len(),
                told.len()
            );
            let error = Error::new(ErrorKind::Partial, message).caused_by(copy_of(first));
            Some(error.hint("run the same again when all destinations can be written to"))
        }
    };
    let destination = |(name, error): &(String, Option<Error>)| DestinationOutcome {
        name: name.clone(),
        status: if error.is_none() { BackupStatus::Stored } else { BackupStatus::Failed },
        error: error.as_ref().map(Error::one_line),
    };
    Ok(PinOutcome {
        backup: manifest.id.clone(),
        job: manifest.job.clone(),
        database: manifest.database.clone(),
        pinned,
        destinations: told.iter().map(destination).collect(),
        failure,
    })
}
