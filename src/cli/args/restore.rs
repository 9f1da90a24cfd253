//! `pgkeep restore`, `pgkeep drill` and `pgkeep demo`.

use super::backup::BACKUP_HELP;
use super::{At, Url, secret};
use crate::secret::Secret;
use clap::Args;
use std::path::PathBuf;

/// `pgkeep restore`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    #[arg(value_name = "BACKUP", help = BACKUP_HELP)]
    pub(in crate::cli) backup: String,
    /// The database to restore into, which must be new or empty: a name on the server of --database-url, DATABASE_URL,
    /// the backup's job or the PG* environment; or a connection string
    #[arg(long, value_name = "DBNAME|URL", value_parser = secret)]
    pub(in crate::cli) into: Secret,
    #[command(flatten)]
    pub(in crate::cli) url: Url,
    /// Only these tables, with their sequences, indexes and constraints; several times for several. * and ? stand for
    /// characters, and names in double quotes are exact. The database may hold other tables
    #[arg(long, value_name = "SCHEMA.TABLE", conflicts_with_all = ["swap", "keep"])]
    pub(in crate::cli) table: Vec<String>,
    /// Restore the tables into this schema instead of their own
    #[arg(long, value_name = "SCHEMA", requires = "table")]
    pub(in crate::cli) into_schema: Option<String>,
    /// Restore definitions, without rows and without the values of sequences
    #[arg(long, conflicts_with_all = ["data_only", "exclude_table_data"])]
    pub(in crate::cli) schema_only: bool,
    /// Load rows and the values of sequences into tables that are there and empty
    #[arg(long, conflicts_with_all = ["swap", "keep"])]
    pub(in crate::cli) data_only: bool,
    /// Restore these tables without their rows; patterns as with --table
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub(in crate::cli) exclude_table_data: Vec<String>,
    /// Leave out owners: everything belongs to the role that restores
    #[arg(long)]
    pub(in crate::cli) no_owner: bool,
    /// Leave out privileges
    #[arg(long)]
    pub(in crate::cli) no_privileges: bool,
    /// How many sessions load at once, 1 to 64 [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(in crate::cli) jobs: Option<u16>,
    /// Restore beside a live database, then exchange their names; the old one is kept
    #[arg(long)]
    pub(in crate::cli) swap: bool,
    /// Do not dump the restored database and compare it with the backup
    #[arg(long)]
    pub(in crate::cli) no_prove: bool,
    /// Keep a database whose restore failed, to look at it
    #[arg(long)]
    pub(in crate::cli) keep: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep drill`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DrillArgs {
    /// A job, for its newest backup; or an id, the beginning of one, latest, JOB/latest, or JOB@2026-11-20 [default: the
    /// newest backup of every job]
    #[arg(value_name = "JOB|BACKUP")]
    pub(in crate::cli) backup: Option<String>,
    /// ephemeral, for a throwaway server on this computer, or the connection string of a server [default: the job's, or
    /// ephemeral]
    #[arg(long, value_name = "ephemeral|URL", value_parser = secret)]
    pub(in crate::cli) scratch: Option<Secret>,
    /// Leave the restored database behind, to look at it
    #[arg(long)]
    pub(in crate::cli) keep_scratch: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep demo`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoArgs {
    /// Leave everything behind, to look at it
    #[arg(long)]
    pub(in crate::cli) keep: bool,
    /// Where to work [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
