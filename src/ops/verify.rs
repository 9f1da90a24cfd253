//! Verifying backups: every copy is read again, without PostgreSQL, and the finding is kept beside it.

use super::check::{Checked, Depth, check};
use super::outcome::{VerifyOutcome, VerifyStatus};
use super::{Backup, Context};
use crate::catalogue::{RECEIPT_FORMAT, VerifyReceipt, VerifyResult, write_verify_receipt};
use crate::error::Result;
use crate::event::Event;
use crate::script::Omit;
use std::time::Instant;

/// Re-reads every copy of `backup`: digests and sizes; unless `quick`, every member is unpacked, every row counted and
/// fingerprinted again. What is damaged or missing is an outcome; an error means that a destination could not be read.
pub async fn verify(ctx: &Context, backup: &Backup, quick: bool) -> Result<Vec<VerifyOutcome>> {
    let manifest = &backup.manifest;
    let depth = if quick { Depth::Digests } else { Depth::Rows(Omit::default()) };
    let mut outcomes = Vec::new();
    for copy in &backup.copies {
        let clock = Instant::now();
        let subject = format!("{} in {}", manifest.id, copy.name());
        ctx.tell(&Event::Started { what: "verify", subject });
        let Checked { problems, missing, scans, .. } = check(ctx, copy, manifest, &depth).await?;
        let result = match (problems.is_empty(), missing) {
            (true, _) => VerifyStatus::Intact,
            (false, true) => VerifyStatus::Missing,
            (false, false) => VerifyStatus::Damaged,
        };
        let receipt = VerifyReceipt {
            format: RECEIPT_FORMAT,
            backup: manifest.id.clone(),
            destination: copy.name().to_owned(),
            at: ctx.clock.now(),
            result: if problems.is_empty() { VerifyResult::Intact } else { VerifyResult::Damaged },
            problems: problems.clone(),
        };
        // A quick look at digests is no verification that deserves a receipt, unless it found something.
        if (!quick || !problems.is_empty())
            && let Err(error) = write_verify_receipt(&**copy, &manifest.dir(), &receipt).await
        {
            ctx.warn(format!("the finding could not be kept in {}: {}", copy.name(), error.one_line()));
        }
        outcomes.push(VerifyOutcome {
            id: manifest.id.to_string(),
            job: manifest.job.clone(),
            database: manifest.database.clone(),
            destination: copy.name().to_owned(),
            result,
            problems,
            sql_bytes: scans.iter().map(|scan| scan.sql_bytes).sum(),
            rows: scans.iter().map(|scan| scan.rows).sum(),
            seconds: clock.elapsed().as_secs_f64(),
        });
        ctx.tell(&Event::Finished);
    }
    Ok(outcomes)
}
