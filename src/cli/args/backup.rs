//! `pgkeep backup …`.

use super::{At, PinArgs, PruneArgs, Url};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `pgkeep backup …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum BackupCommand {
    /// Back up now: the named jobs, all jobs of the configuration, or one database
    Now(NowArgs),
    /// List the backups there are
    List(ListArgs),
    /// Show everything about one backup, the largest tables first
    Show(ShowArgs),
    /// Say what differs between two backups: tables, numbers of rows, contents, definitions
    Diff(DiffArgs),
    /// Read backups again and compare every byte, row count and fingerprint with what was dumped
    Verify(VerifyArgs),
    /// Write the archive of a backup to a file, checked
    Fetch(FetchArgs),
    /// Copy a backup to another destination, or all backups to where they are missing
    Copy(CopyArgs),
    /// Delete what retention does not keep: the plan is printed first, with reasons
    Prune(PruneArgs),
    /// Keep a backup from retention until it is unpinned
    Pin(PinArgs),
    /// Let retention delete a backup, whether it was pinned or taken with --pin or --keep
    Unpin(PinArgs),
    /// Take over files that other scripts made with pg_dump: as backups like any other
    Adopt(AdoptArgs),
}

/// `pgkeep backup adopt`.
#[derive(Debug, Args)]
pub(in crate::cli) struct AdoptArgs {
    /// The files: .sql, .sql.gz, .sql.zst, or archives of pg_dump -Fc and -Ft. They are only read
    #[arg(value_name = "FILE", required = true)]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// The job whose backups they become
    #[arg(long, value_name = "JOB")]
    pub(in crate::cli) job: String,
    /// The database that was dumped [default: what the file or its name tells]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) database: Option<String>,
    /// Where to: configured names or folders [default: the job's destinations]
    #[arg(long, value_name = "DEST", num_args = 1..)]
    pub(in crate::cli) to: Vec<String>,
    /// When the one file was dumped, such as 2026-11-20T02:00 [default: what the archive, the file's name, or else the
    /// time the file was last written tells]
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) taken_at: Option<String>,
    /// What to call the backups
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) label: Option<String>,
    /// Never delete the backups by retention
    #[arg(long, conflicts_with = "keep")]
    pub(in crate::cli) pin: bool,
    /// Keep the backups from retention for so long from now, such as 90d
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) keep: Option<String>,
    /// Only say what would be adopted
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

/// `pgkeep backup now`.
#[derive(Debug, Args)]
pub(in crate::cli) struct NowArgs {
    /// The jobs [default: all jobs of the configuration]
    #[arg(value_name = "JOB")]
    pub(in crate::cli) jobs: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) url: Url,
    /// Where to: configured names or folders [default: the job's destinations, or all configured ones]
    #[arg(long, value_name = "DEST", num_args = 1..)]
    pub(in crate::cli) to: Vec<String>,
    /// What to call the backup
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) label: Option<String>,
    /// Never delete the backup by retention
    #[arg(long, conflicts_with = "keep")]
    pub(in crate::cli) pin: bool,
    /// Keep the backup from retention for so long, such as 90d
    #[arg(long, value_name = "DURATION")]
    pub(in crate::cli) keep: Option<String>,
    /// Delete no older backups afterwards
    #[arg(long)]
    pub(in crate::cli) no_prune: bool,
    /// gzip, gzip:1 to gzip:12, zstd, or zstd:1 to zstd:19 [default: the job's, or gzip:5]
    #[arg(long, value_name = "CODEC[:LEVEL]")]
    pub(in crate::cli) compression: Option<String>,
    /// Read rows by so many sessions at once, all of one moment; the backup then consists of several files [default: the
    /// job's, or 1]
    #[arg(long = "jobs", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(in crate::cli) parallel: Option<u8>,
}

/// `pgkeep backup list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// Only the backups of this job
    #[arg(value_name = "JOB")]
    pub(in crate::cli) job: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// What is said of every `BACKUP` argument.
pub(super) const BACKUP_HELP: &str = "An id, the beginning of one, latest, JOB/latest, or JOB@2026-11-20";

/// `pgkeep backup show`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[arg(value_name = "BACKUP", help = BACKUP_HELP)]
    pub(in crate::cli) backup: String,
    /// List every object of the backup instead, or those whose name or schema.name is like PATTERN, in which * stands for
    /// any characters
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, default_missing_value = "*")]
    pub(in crate::cli) objects: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep backup diff`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    #[arg(value_name = "A", help = BACKUP_HELP)]
    pub(in crate::cli) a: String,
    /// The other one, of the same or of another database
    #[arg(value_name = "B")]
    pub(in crate::cli) b: String,
    /// Compare only tables and their rows, or only those whose name or schema.name is like PATTERN
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, default_missing_value = "*")]
    pub(in crate::cli) tables: Option<String>,
    /// Compare only what is no table, or only what has a name like PATTERN
    #[arg(long, value_name = "PATTERN", num_args = 0..=1, default_missing_value = "*")]
    pub(in crate::cli) objects: Option<String>,
    /// End with 4 if anything differs
    #[arg(long)]
    pub(in crate::cli) exit_code: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep backup verify`.
#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[arg(value_name = "BACKUP", help = BACKUP_HELP, required_unless_present = "all", conflicts_with = "all")]
    pub(in crate::cli) backup: Option<String>,
    /// All backups
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Compare sizes and digests only; unpack nothing
    #[arg(long)]
    pub(in crate::cli) quick: bool,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep backup fetch`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FetchArgs {
    #[arg(value_name = "BACKUP", help = BACKUP_HELP)]
    pub(in crate::cli) backup: String,
    /// The file to write; it must not exist
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) at: At,
}

/// `pgkeep backup copy`.
#[derive(Debug, Args)]
pub(in crate::cli) struct CopyArgs {
    /// An id, the beginning of one, latest, JOB/latest, or JOB@2026-11-20; with --missing a job
    #[arg(value_name = "BACKUP", required_unless_present = "missing")]
    pub(in crate::cli) backup: Option<String>,
    /// From where [default: the nearest destination that has it]
    #[arg(long, value_name = "DEST", conflicts_with = "missing")]
    pub(in crate::cli) from: Option<String>,
    /// Where to: configured names, folders or URLs
    #[arg(long, value_name = "DEST", num_args = 1.., required_unless_present = "missing", conflicts_with = "missing")]
    pub(in crate::cli) to: Vec<String>,
    /// Copy every backup to the destinations of its job that do not have it: after one was down
    #[arg(long)]
    pub(in crate::cli) missing: bool,
}
