//! `pgkeep backup prune`, `pin`, `unpin`, and `pgkeep guard`.

use super::backup::BACKUP_HELP;
use super::{At, Url};
use clap::Args;
use std::ffi::OsString;

/// `pgkeep backup prune`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArgs {
    /// The job; with --at also one that is not configured [default: all jobs of the configuration]
    #[arg(value_name = "JOB")]
    pub(in crate::cli) job: Option<String>,
    /// Only print the plan
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep backup pin` and `unpin`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PinArgs {
    #[arg(value_name = "BACKUP", help = BACKUP_HELP)]
    pub(in crate::cli) backup: String,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep guard`.
#[derive(Debug, Args)]
pub(in crate::cli) struct GuardArgs {
    /// The job [default: the one job of the configuration, or the database of DATABASE_URL]
    #[arg(value_name = "JOB")]
    pub(in crate::cli) job: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) url: Url,
    /// Where to: configured names or folders; repeat it for several [default: the job's destinations, or all configured
    /// ones]
    #[arg(long, value_name = "DEST")]
    pub(in crate::cli) to: Vec<String>,
    /// What to call the backup [default: before COMMAND]
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) label: Option<String>,
    /// Keep the backup for so long, such as 90d [default: until it is unpinned]
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) keep: Option<String>,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(in crate::cli) command: Vec<OsString>,
}
