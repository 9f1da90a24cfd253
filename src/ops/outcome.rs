//! What came of each use-case, as scripts see it in JSON.

use crate::catalogue::Phases;
use crate::config::DrillLevel;
use crate::error::Error;
use crate::id::BackupId;
use crate::proof::Difference;
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// How a backup ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupStatus {
    /// Stored in every destination.
    Stored,
    /// Stored in some.
    Partial,
    /// Stored nowhere.
    Failed,
    /// An adopted file that is stored already: nothing was done.
    There,
    /// With `--dry-run`: nothing was stored.
    Planned,
}

/// What became of a backup at one destination.
#[derive(Debug, Serialize)]
pub struct DestinationOutcome {
    /// The destination's name.
    pub name: String,
    /// `stored` or `failed`.
    pub status: BackupStatus,
    /// Why it failed.
    pub error: Option<String>,
}

/// One database's backup.
#[derive(Debug, Serialize)]
pub struct BackupOutcome {
    /// The backup's id.
    pub id: Option<BackupId>,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// How it ended.
    pub status: BackupStatus,
    /// What the user called it.
    pub label: Option<String>,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of entries of the dump.
    pub entries: u64,
    /// Number of large objects.
    pub large_objects: u64,
    /// Bytes of SQL.
    pub sql_bytes: u64,
    /// Bytes stored in each destination.
    pub stored_bytes: u64,
    /// How long it took.
    pub duration_seconds: f64,
    /// Each destination, in the order asked for.
    pub destinations: Vec<DestinationOutcome>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// How many older backups of this database retention deleted afterwards, all destinations together.
    pub pruned: u64,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// Why it failed, or was stored only in part: decides the exit code.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// A file of another script, and the backup that it became.
#[derive(Debug, Serialize)]
pub struct AdoptOutcome {
    /// The backup.
    #[serde(flatten)]
    pub backup: BackupOutcome,
    /// The file's name, without its folder.
    pub adopted_from: String,
    /// When it was dumped; `None` if that was not found out before it was refused.
    pub taken_at: Option<DateTime<Utc>>,
    /// What told that, in words.
    pub taken_at_from: Option<&'static str>,
    /// What told the database's name, in words.
    pub database_from: Option<&'static str>,
}

/// One line of `backup list`.
#[derive(Debug, Serialize)]
pub struct ListedBackup {
    /// The backup's id.
    pub id: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Bytes of SQL.
    pub sql_bytes: u64,
    /// Bytes stored in each destination.
    pub stored_bytes: u64,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Where it is.
    pub destinations: Vec<String>,
    /// Where it should be by its job's configuration, and is not; among the destinations that were read.
    pub missing: Vec<String>,
    /// When it was last verified.
    pub verified_at: Option<DateTime<Utc>>,
    /// What that found: `intact` or `damaged`.
    pub verify_result: Option<String>,
    /// When it was last drilled.
    pub drilled_at: Option<DateTime<Utc>>,
    /// What that found: `passed`, `failed` or `could_not_run`.
    pub drill_result: Option<String>,
    /// How much that restored and compared.
    pub drill_level: Option<DrillLevel>,
    /// What the user called it.
    pub label: Option<String>,
    /// Never deleted by retention: by its newest pin receipt, else by its manifest.
    pub pinned: bool,
    /// Kept by retention until then.
    pub keep_until: Option<DateTime<Utc>>,
}

/// A backup that was pinned or unpinned.
#[derive(Debug, Serialize)]
pub struct PinOutcome {
    /// The backup's id.
    pub backup: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// Whether it is pinned now.
    pub pinned: bool,
    /// Each destination that holds it or may hold it.
    pub destinations: Vec<DestinationOutcome>,
    /// Why some or all of them were not told: decides the exit code.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// One backup of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedBackup {
    /// The backup's id.
    pub id: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// The destination's name.
    pub destination: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Bytes stored there.
    pub stored_bytes: u64,
    /// Whether it stays.
    pub keep: bool,
    /// Every rule that keeps it; empty if it goes.
    pub reasons: Vec<String>,
}

/// A backup that was deleted at one destination.
#[derive(Debug, Clone, Serialize)]
pub struct PrunedBackup {
    /// The backup's id.
    pub id: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// The destination's name.
    pub destination: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Bytes that it held.
    pub stored_bytes: u64,
}

/// What could not be planned or deleted.
#[derive(Debug, Serialize)]
pub struct PruneFailure {
    /// The backup's id; `None` where nothing of a destination or database could be planned.
    pub id: Option<BackupId>,
    /// The job.
    pub job: String,
    /// The database; `None` for all of the destination.
    pub database: Option<String>,
    /// The destination's name.
    pub destination: String,
    /// Why, in one line.
    pub error: String,
    /// Why: decides the exit code.
    #[serde(skip)]
    pub failure: Error,
}

/// A pruning.
#[derive(Debug, Default, Serialize)]
pub struct PruneOutcome {
    /// Every backup, kept or not, and why.
    pub plan: Vec<PlannedBackup>,
    /// What was deleted.
    pub deleted: Vec<PrunedBackup>,
    /// What was not, though it should have been.
    pub failed: Vec<PruneFailure>,
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyStatus {
    /// It is there now.
    Copied,
    /// It was there already.
    There,
    /// It is not there.
    Failed,
}

/// One backup copied to one destination.
#[derive(Debug, Serialize)]
pub struct CopyOutcome {
    /// The backup's id.
    pub id: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// The destination whose bytes arrived.
    pub from: Option<String>,
    /// The destination that should hold it.
    pub to: String,
    /// How it ended.
    pub status: CopyStatus,
    /// Bytes of the backup.
    pub stored_bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// Why it failed: decides the exit code.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyStatus {
    /// Every byte is as it was stored, and holds what was dumped.
    Intact,
    /// Something is not.
    Damaged,
    /// A file is gone.
    Missing,
}

/// One backup at one destination, verified.
#[derive(Debug, Serialize)]
pub struct VerifyOutcome {
    /// The backup's id, or its folder where the manifest cannot be read.
    pub id: String,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// The destination's name.
    pub destination: String,
    /// What was found.
    pub result: VerifyStatus,
    /// What is wrong, each naming the file and, where it can be told, the table.
    pub problems: Vec<String>,
    /// Bytes of SQL that were read.
    pub sql_bytes: u64,
    /// Number of rows that were counted and fingerprinted again.
    pub rows: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What a proof showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The restored database's dump equals the backup.
    Passed,
    /// It differs.
    Failed,
    /// Nobody asked for a proof.
    Skipped,
}

/// A restore.
#[derive(Debug, Serialize)]
pub struct RestoreOutcome {
    /// The backup.
    pub backup: BackupId,
    /// Into which database, without secrets: `user@host:port/name`.
    pub target: String,
    /// The database's name.
    pub database: String,
    /// Number of tables.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// How long loading took.
    pub restore_seconds: f64,
    /// How long the proof took.
    pub prove_seconds: f64,
    /// What the proof showed.
    pub proof: Proof,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What was left out, reworded or created for this server; each in words.
    pub adaptations: Vec<String>,
    /// What a restore changes by its nature, and what could not be done; each in words.
    pub notes: Vec<String>,
    /// With `--swap`: the name under which the database that was replaced is kept.
    pub kept_as: Option<String>,
    /// Where not all of the backup was asked for: what of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<PartsOutcome>,
}

/// What of a backup was restored, where not all of it was asked for.
#[derive(Debug, Default, Serialize)]
pub struct PartsOutcome {
    /// The tables that were restored or filled, by the names that they have now: `schema.table`, quoted where it must be.
    pub tables: Vec<String>,
    /// What belongs to them and was left out, and why.
    pub left_out: Vec<String>,
}

/// One of the user's own checks.
#[derive(Debug, Serialize)]
pub struct CheckAnswer {
    /// Its name.
    pub name: String,
    /// `passed`, `failed` or `could_not_run`.
    pub result: String,
    /// The answer expected.
    pub expected: String,
    /// The answer found, or the error.
    pub found: String,
}

/// A drill.
#[derive(Debug, Serialize)]
pub struct DrillOutcome {
    /// The backup.
    pub backup: BackupId,
    /// The job.
    pub job: String,
    /// The database.
    pub database: String,
    /// The copy that was restored: the destination's name.
    pub destination: String,
    /// How much was restored and compared.
    pub level: DrillLevel,
    /// `passed`, `failed` or `could_not_run`.
    pub result: String,
    /// Number of objects compared, tables among them.
    pub objects_compared: u64,
    /// Number of tables whose rows were compared.
    pub tables_compared: u64,
    /// Number of rows compared, or at level `restore` counted.
    pub rows_compared: u64,
    /// What was not compared, or not restored, because of the level; each in words.
    pub not_compared: Vec<String>,
    /// What differs.
    pub differences: Vec<Difference>,
    /// The user's own checks.
    pub checks: Vec<CheckAnswer>,
    /// From the first byte read to a database that can be used.
    pub restore_seconds: f64,
    /// How long dumping the scratch and comparing took.
    pub prove_seconds: f64,
    /// The recovery-time objective, in seconds.
    pub objective_seconds: Option<u64>,
    /// How long each step took.
    #[serde(serialize_with = "pairs")]
    pub phases: Phases,
    /// Why it failed or could not run.
    pub reason: Option<String>,
    /// What a restore changes by its nature; each in words.
    pub notes: Vec<String>,
    /// With `--keep-scratch`: where the restored database is.
    pub scratch: Option<String>,
    /// Where the receipt is; `None` if none was written.
    pub receipt: Option<String>,
    /// Why it failed or could not run: decides the exit code.
    #[serde(skip)]
    pub failure: Option<Error>,
}

fn pairs<S: Serializer>(phases: &Phases, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(phases.iter())
}
