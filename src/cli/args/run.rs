//! `pgkeep run` and `pgkeep status`.

use super::At;
use clap::{Args, ValueEnum};

/// `pgkeep run`.
#[derive(Debug, Args)]
#[command(after_help = "\
It logs to stderr. SIGHUP makes it read the configuration again. SIGTERM and Ctrl-C stop what is running and end it: exit code 0
if nothing was running, else 143 or 130; a second one ends it at once.")]
pub(in crate::cli) struct RunArgs {
    /// How the log is written
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogForm::Text)]
    pub(in crate::cli) log: LogForm,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum LogForm {
    /// One line an event, for people; for the systemd journal where that reads it
    Text,
    /// One JSON object a line
    Json,
}

/// `pgkeep status`.
#[derive(Debug, Args)]
#[command(after_help = "\
With --check: 0 all is well, 1 a backup or drill is overdue or in fewer places than required, 4 the newest drill failed or
the newest backup is damaged, 5 a destination could not be read.")]
pub(in crate::cli) struct StatusArgs {
    /// For monitoring: print the problems only, a line each, and exit with a code that is not 0 if there are any
    #[arg(long)]
    pub(in crate::cli) check: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}
