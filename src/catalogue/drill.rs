//! Receipts of drills: how a restore ended, how long each of its steps took, and what it found.

use super::list::at_once;
use super::phases::Phases;
use super::receipt::{MOST_FINDINGS, fetch_receipt, receipts_of, shorten, store};
use crate::catalogue::Problem;
use crate::config::DrillLevel;
use crate::destination::{Destination, Key, Object, is_receipt_of};
use crate::error::{ErrorKind, Result};
use crate::event::Phase;
use crate::id::BackupId;
use crate::proof::Difference;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The folder of a backup in which they are.
const FOLDER: &str = "drills";

/// How a drill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrillResult {
    /// Restored, compared, and the same.
    Passed,
    /// Restored with a difference, or not restorable, through the backup's fault.
    Failed,
    /// The drill's own machine was at fault: nothing is known about the backup.
    CouldNotRun,
}

impl DrillResult {
    /// The word for it, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::CouldNotRun => "could_not_run",
        }
    }
}

/// What became of one of the user's own checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOutcome {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub result: DrillResult,
    /// What it should have returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What it returned, or the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
}

/// What a drill found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillReceipt {
    /// [`RECEIPT_FORMAT`].
    pub format: u32,
    /// The backup that was restored.
    pub backup: BackupId,
    /// When the drill began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub result: DrillResult,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The destination whose copy was restored; older receipts do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// How much was restored and compared. Before there were levels it was everything.
    #[serde(default)]
    pub level: DrillLevel,
    /// What was not compared, or not restored, because of the level; each in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// Number of schema objects compared.
    pub objects_compared: u64,
    /// Number of tables compared.
    pub tables_compared: u64,
    /// Number of rows compared.
    pub rows_compared: u64,
    /// What differs; at most 1000 are kept.
    pub differences: Vec<Difference>,
    /// How many more differed.
    #[serde(default)]
    pub differences_left_out: u64,
    /// The user's own checks.
    #[serde(default)]
    pub checks: Vec<CheckOutcome>,
    /// How long each step took, in order.
    #[serde(default)]
    pub phases: Phases,
    /// From the first byte read to a database that can be used, in seconds; 0 if it did not come to that.
    #[serde(default)]
    pub restore_seconds: f64,
    /// The recovery-time objective at that time, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_seconds: Option<u64>,
    /// Where it was restored: `ephemeral`, or the server without its password.
    pub scratch: String,
    /// The program that drilled, e.g. `pgkeep 0.1.0`.
    pub written_by: String,
    /// The computer's name.
    pub host: String,
}

impl DrillReceipt {
    /// From the first byte read to a database that can be used, in seconds; of older receipts by their phases. `None` if it
    /// did not come to that.
    pub fn recovery_seconds(&self) -> Option<f64> {
        if self.restore_seconds > 0.0 {
            return Some(self.restore_seconds);
        }
        self.phases.of(Phase::Analyze).map(|_| self.phases.recovery())
    }
}

/// The newest drill of the backup in `dir` that could run, asked of the destination now.
pub async fn newest_drill_that_ran(
    destination: &dyn Destination,
    dir: &Key,
    backup: &BackupId,
) -> Result<Option<DrillReceipt>> {
    let mut receipts = receipts_of(destination, dir, FOLDER, backup).await?;
    loop {
        match receipts.next::<DrillReceipt>().await? {
            Some(receipt) if receipt.result == DrillResult::CouldNotRun => {}
            other => return Ok(other),
        }
    }
}

/// Every drill of the database's backups at `destination` that began at `since` or later, by the names of their receipts;
/// the oldest first. `folder` is `JOB/DATABASE`. What cannot be read is told with the backup's folder.
pub async fn drills_since(
    destination: &Arc<dyn Destination>,
    folder: &Key,
    since: DateTime<Utc>,
) -> Result<(Vec<DrillReceipt>, Vec<Problem>)> {
    let after = since.format("%Y%m%dT%H%M%SZ").to_string();
    let of_drill = |object: Object| {
        let dir = object.key.parent()?.parent()?;
        let (folder, ..) = is_receipt_of(&dir, &object.key)?;
        let id: BackupId = dir.file_name().parse().ok()?;
        // Names begin with the moment, so that those of a month ago need not be read.
        (folder == FOLDER && object.key.file_name() >= after.as_str()).then_some((dir, id, object))
    };
    let objects: Vec<_> = destination.list(Some(folder)).await?.into_iter().filter_map(of_drill).collect();
    let read = |(dir, id, object): (Key, BackupId, Object)| {
        let destination = Arc::clone(destination);
        async move {
            match fetch_receipt::<DrillReceipt>(&*destination, &object, &id).await {
                Ok(receipt) => Ok(Some(Ok(receipt))),
                // Pruned since the listing.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) if error.kind() == ErrorKind::Unavailable => Err(error),
                Err(error) => Ok(Some(Err(Problem { dir, error }))),
            }
        }
    };
    let (mut receipts, mut problems) = (Vec::new(), Vec::new());
    for read in at_once(objects, read).await?.into_iter().flatten() {
        match read {
            Ok(receipt) => receipts.push(receipt),
            Err(problem) => problems.push(problem),
        }
    }
    receipts.sort_by(|a, b| (a.started_at, &a.backup).cmp(&(b.started_at, &b.backup)));
    problems.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok((receipts, problems))
}

/// Stores `receipt` as `drills/YYYYMMDDTHHMMSSZ.json` below the backup's folder `dir`, named after its beginning.
pub async fn write_drill_receipt(destination: &dyn Destination, dir: &Key, receipt: &DrillReceipt) -> Result<Key> {
    let mut kept = receipt.clone();
    let left_out = kept.differences.len().saturating_sub(MOST_FINDINGS);
    kept.differences.truncate(MOST_FINDINGS);
    kept.differences_left_out = kept.differences_left_out.saturating_add(left_out as u64);
    for difference in &mut kept.differences {
        for text in [&mut difference.kind, &mut difference.name, &mut difference.expected, &mut difference.found] {
            shorten(text);
        }
    }
    kept.checks.truncate(MOST_FINDINGS);
    for check in &mut kept.checks {
        let texts = [Some(&mut check.name), check.expected.as_mut(), check.found.as_mut()];
        texts.into_iter().flatten().for_each(shorten);
    }
    kept.reason.iter_mut().for_each(shorten);
    kept.not_compared.iter_mut().for_each(shorten);
    store(destination, &dir.join(FOLDER), kept.started_at, &kept).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_from_before_there_were_levels_is_one_of_everything() {
        let old = r#"{"format": 1, "backup": "20261122T020000Z-7f3a", "started_at": "2026-11-22T04:00:00Z",
            "finished_at": "2026-11-22T04:01:00Z", "result": "passed", "objects_compared": 3, "tables_compared": 1,
            "rows_compared": 2, "differences": [], "phases": [{"phase": "check", "seconds": 2.0},
            {"phase": "prepare", "seconds": 1.0}, {"phase": "load", "seconds": 4.0}, {"phase": "analyze", "seconds": 0.5},
            {"phase": "prove", "seconds": 9.0}], "scratch": "ephemeral", "written_by": "pgkeep", "host": "office"}"#;
        let mut receipt: DrillReceipt = serde_json::from_str(old).unwrap();
        assert_eq!((receipt.level, receipt.destination.as_deref()), (DrillLevel::Prove, None));
        assert_eq!((receipt.recovery_seconds(), receipt.phases.of(Phase::Fetch)), (Some(7.5), Some(2.0)));
        receipt.restore_seconds = 7.8;
        assert_eq!(receipt.recovery_seconds(), Some(7.8));
        // One that broke off before it could be used measured no recovery.
        let broken = old.replace(r#", {"phase": "analyze", "seconds": 0.5}"#, "").replace("analyze", "other");
        let receipt: DrillReceipt = serde_json::from_str(&broken).unwrap();
        assert_eq!(receipt.recovery_seconds(), None);
    }
}
