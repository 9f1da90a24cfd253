//! `pgkeep restore`, `pgkeep drill` and `pgkeep demo`.

use super::backup::BACKUP_HELP;
use super::{At, Url, secret};
use crate::secret::Secret;
use clap::Args;
use std::path::PathBuf;

/// `pgkeep restore`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    // Required where nobody can be asked: `usage` decides.
    #[arg(value_name = "BACKUP", help = BACKUP_HELP, required = true)]
    pub(in crate::cli) backup: Option<String>,
    /// The database to restore into, which must be new or empty: a name on the server of --database-url, DATABASE_URL,
    /// the backup's job or the PG* environment; or a connection string
    #[arg(long, value_name = "DBNAME|URL", value_parser = secret, required = true)]
    pub(in crate::cli) into: Option<Secret>,
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
    /// Print the plan and stop
    #[arg(long, visible_alias = "plan")]
    pub(in crate::cli) dry_run: bool,
    /// Do not ask whether to go on: at a terminal that is asked where backup or database were chosen there
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
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
