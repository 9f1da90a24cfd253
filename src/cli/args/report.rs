//! `pgkeep report`.

use super::At;
use clap::Args;
use std::path::PathBuf;

/// `pgkeep report`.
#[derive(Debug, Args)]
#[command(after_help = "\
The page is one file for any browser, on paper too: it runs nothing and fetches nothing. Drills of backups that were deleted
since are not in it: their receipts went with them.")]
pub(in crate::cli) struct ReportArgs {
    /// The only job [default: all]
    #[arg(value_name = "JOB")]
    pub(in crate::cli) job: Option<String>,
    /// Where to write the page; what is there is replaced. Not needed with --json
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    /// How many days of drills to tell of
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub(in crate::cli) days: u32,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}
