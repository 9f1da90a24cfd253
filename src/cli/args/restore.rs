//! `pgkeep restore`, `pgkeep drill` and `pgkeep demo`.

use super::backup::BACKUP_HELP;
use super::{At, Url, secret};
use crate::config::{self, DrillLevel};
use crate::secret::Secret;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
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
    /// Leave out owners: everything belongs to the role that restores
    #[arg(long)]
    pub(in crate::cli) no_owner: bool,
    /// Leave out privileges
    #[arg(long)]
    pub(in crate::cli) no_privileges: bool,
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
#[command(after_help = "\
Levels: restore restores everything and counts the rows of each table; sample restores all definitions and the rows of some
tables, the smallest among them, and compares these; prove restores and compares everything.")]
pub(in crate::cli) struct DrillArgs {
    /// A job, for its newest backup, or the one that its drill.backup means; or an id, the beginning of one, latest, JOB/latest, or JOB@2026-11-20 [default: the
    /// newest backup of every job]
    #[arg(value_name = "JOB|BACKUP")]
    pub(in crate::cli) backup: Option<String>,
    /// ephemeral, for a throwaway server on this computer, or the connection string of a server [default: the job's, or
    /// ephemeral]
    #[arg(long, value_name = "ephemeral|URL", value_parser = secret)]
    pub(in crate::cli) scratch: Option<Secret>,
    /// A random older backup of the job, those first that were never drilled
    #[arg(long)]
    pub(in crate::cli) random: bool,
    /// How much is restored and compared: restore, sample or prove [default: the job's, or prove]
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub(in crate::cli) level: Option<DrillLevel>,
    /// How many bytes of SQL a sample restores of the tables' rows, such as 64MiB [default: the job's, or 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = config::size)]
    pub(in crate::cli) sample_size: Option<u64>,
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

/// Reads the words for levels, and shows them where help is asked for.
fn level() -> impl TypedValueParser<Value = DrillLevel> {
    PossibleValuesParser::new(DrillLevel::ALL.map(DrillLevel::name)).try_map(|text| text.parse::<DrillLevel>())
}
