//! `pgkeep doctor`.

use super::Url;
use clap::Args;

/// `pgkeep doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(in crate::cli) struct DoctorArgs {
    /// The jobs [default: all jobs of the configuration, and all its destinations]
    #[arg(value_name = "JOB")]
    pub(in crate::cli) jobs: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) url: Url,
    /// The destinations, in place of the configured ones: names, folders or URLs
    #[arg(long, visible_alias = "at", value_name = "DEST", num_args = 1..)]
    pub(in crate::cli) to: Vec<String>,
}

const EXIT_CODES: &str = "\
Every destination is written to, listed, read and cleaned again for real; nothing stays there. A throwaway server is
started as drills do.

Exit codes: 0 only when all is well, notes aside; 1 when there is a warning or something bad.";
