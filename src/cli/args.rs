//! The command line as clap reads it: exactly the commands that this version has, with their help.

mod auth;
mod backup;
mod doctor;
mod keep;
mod report;
mod restore;
mod run;
mod service;

pub(super) use auth::{AuthCommand, GdriveArgs};
pub(super) use backup::{
    AdoptArgs, BackupCommand, CopyArgs, DiffArgs, FetchArgs, ListArgs, NowArgs, ShowArgs, VerifyArgs,
};
pub(super) use doctor::DoctorArgs;
pub(super) use keep::{GuardArgs, PinArgs, PruneArgs};
pub(super) use report::ReportArgs;
pub(super) use restore::{DemoArgs, DrillArgs, RestoreArgs};
pub(super) use run::{LogForm, RunArgs, StatusArgs};
pub(super) use service::{InstallArgs, ServiceCommand, ServicePlace, UninstallArgs};

use crate::secret::Secret;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Keeps PostgreSQL databases safe, and proves it.
#[derive(Debug, Parser)]
#[command(
    name = "pgkeep",
    version,
    propagate_version = false,
    about = "PostgreSQL backups that are streamed, verified, restored and proved",
    after_help = EXIT_CODES,
    max_term_width = 110
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done                                    4 a verification or drill found a difference
  1 failed                                  5 a drill or check could not run
  2 wrong usage or configuration            6 another run holds the lock
  3 stored in some destinations, not all    130 interrupted, 143 terminated
Of several outcomes the gravest decides: 143, 130, 4, 1, 2, 5, 6, 3, then 0.

Environment:
  DATABASE_URL     the database, where --database-url is not given; empty counts as not set
  PGKEEP_CONFIG    the configuration file, where --config is not given
  PGKEEP_BIN_DIR   the folder of PostgreSQL's programs, where neither --bin-dir nor the configuration names one
  PGHOST, ...      libpq's own variables, where nothing else says which server";

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The configuration file, instead of looking for pgkeep.toml
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(super) config: Option<PathBuf>,
    /// One JSON document on stdout and nothing else there, also when it fails
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(super) json: bool,
    /// No progress: only warnings and errors on stderr
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(super) quiet: bool,
    /// The only folder in which PostgreSQL's programs are looked for
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(super) bin_dir: Option<PathBuf>,
}

/// What pgkeep can do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take backups, and look at those there are
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Restore a backup into a new database, and prove that it is the same
    Restore(RestoreArgs),
    /// Restore backups into a scratch and compare: proves that they can be restored
    Drill(DrillArgs),
    /// Take backups and drills when they are due, until stopped
    Run(RunArgs),
    /// Show of each job the last backup and drill, and what is overdue
    Status(StatusArgs),
    /// Write a page about the backups and drills of the last weeks, with their times and what failed
    Report(ReportArgs),
    /// Look for whatever would keep backups and drills from working, and say how to mend it
    Doctor(DoctorArgs),
    /// Take a backup, run a command, and if it fails say how to restore
    Guard(GuardArgs),
    /// Show a backup, its verification and a drill on a throwaway server
    Demo(DemoArgs),
    /// Get permission for a cloud storage
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Let the system start pgkeep: systemd on Linux, the Task Scheduler on Windows
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where backups are looked for.
#[derive(Debug, Args)]
pub(super) struct At {
    /// Where to look: a configured name or a folder; repeat it for several, the nearest first [default: the
    /// destinations of the job, or all configured ones]
    #[arg(long, value_name = "DEST")]
    pub(super) at: Vec<String>,
}

/// The server, where it is given.
#[derive(Debug, Args)]
pub(super) struct Url {
    /// The connection string [default: DATABASE_URL from the environment]. Other users of this computer can read the
    /// arguments of a running program, a password in a URL among them: better set DATABASE_URL
    #[arg(long, value_name = "URL", value_parser = secret)]
    pub(super) database_url: Option<Secret>,
}

// clap wants a fallible parser; this one takes every text out of reach of `Debug` at once.
#[allow(clippy::unnecessary_wraps)]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_are_understood_before_and_after_the_command() {
        for line in ["pgkeep --json --quiet backup list", "pgkeep backup list --json -q"] {
            let cli = parse(line).unwrap();
            assert!(cli.global.json && cli.global.quiet, "{line}");
        }
    }

    #[test]
    fn backup_now_takes_jobs_and_several_destinations() {
        for line in ["pgkeep backup now shop crm --to ./a ./b", "pgkeep backup now shop crm --to ./a --to ./b"] {
            let Command::Backup(BackupCommand::Now(now)) = parse(line).unwrap().command else { panic!("{line}") };
            assert_eq!(now.jobs, ["shop", "crm"]);
            assert_eq!(now.to, ["./a", "./b"]);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "pgkeep backup now --pin --keep 90d",
            "pgkeep backup verify",
            "pgkeep backup pin",
            "pgkeep guard",
            "pgkeep guard shop",
            "pgkeep guard shop ls",
            "pgkeep backup verify latest --all",
            "pgkeep restore latest",
            "pgkeep backup fetch latest",
            "pgkeep",
            "pgkeep backup",
            "pgkeep auth",
            "pgkeep auth gdrive --client-id x",
            "pgkeep auth gdrive --client a --client-id b --client-secret-file c",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn commands_of_later_versions_do_not_exist() {
        assert!(parse("pgkeep init").is_err());
    }

    #[test]
    fn a_connection_string_is_not_shown_by_debug() {
        let cli = parse("pgkeep backup now --database-url postgres://a:hunter2@h/d").unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
        let cli = parse("pgkeep restore latest --into postgres://a:hunter2@h/d").unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
        let cli = parse("pgkeep drill --scratch postgres://a:hunter2@h/d").unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }
}
