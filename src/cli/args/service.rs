//! `pgkeep service …`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `pgkeep service …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ServiceCommand {
    /// Write systemd's units and start them, or register a task of Windows
    Install(InstallArgs),
    /// Stop them, and take them away; backups and configuration stay
    Uninstall(UninstallArgs),
}

/// `pgkeep service install`.
#[derive(Debug, Args)]
#[command(after_help = INSTALL_HELP)]
pub(in crate::cli) struct InstallArgs {
    /// These jobs alone, each by a timer of its own, in place of `pgkeep run`; repeat it for several
    #[arg(long, value_name = "JOB")]
    pub(in crate::cli) timer: Vec<String>,
    /// The program to start [default: this one]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) program: Option<PathBuf>,
    /// On Sundays instead of daily
    #[cfg(windows)]
    #[arg(long)]
    pub(in crate::cli) weekly: bool,
    #[command(flatten)]
    pub(in crate::cli) place: ServicePlace,
}

/// `pgkeep service uninstall`.
#[derive(Debug, Args)]
pub(in crate::cli) struct UninstallArgs {
    #[command(flatten)]
    pub(in crate::cli) place: ServicePlace,
}

/// Whose service, and how far to go.
#[derive(Debug, Args)]
pub(in crate::cli) struct ServicePlace {
    /// Your own user's systemd: needs no root
    #[arg(long)]
    pub(in crate::cli) user: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Also what was changed by hand since
    #[arg(long)]
    pub(in crate::cli) force: bool,
    /// A folder that stands for /: files go there, and nothing is run or registered
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) root: Option<PathBuf>,
}

const INSTALL_HELP: &str = "\
Linux: writes the units of `pgkeep run` and of the timers into /etc/systemd/system, with the paths of this program, of its
configuration and of destinations that are folders; makes the user pgkeep, /etc/pgkeep and /etc/pgkeep/credentials; and as
root starts the service, or the timers of --timer (backups daily at 02:00, drills on Sundays at 04:00). Elsewhere it says which
commands remain. A unit that was changed by hand is not overwritten, unless --force says so.

Windows: registers the task pgkeep-daily (or pgkeep-weekly), at 02:00, whether you are logged on or not. Run it in a window
of the administrator.";
