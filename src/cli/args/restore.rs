//! `pgkeep restore`, `pgkeep drill` and `pgkeep demo`.

use super::backup::BACKUP_HELP;
use super::{At, Url, secret};
use crate::config::{self, DrillLevel};
use crate::script::EntryPattern;
use crate::secret::Secret;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use std::time::Duration;

/// `OLD=NEW`. The names of roles hold an equals sign now and then; the first one parts them, and there is `\=` for others.
fn role(text: &str) -> Result<(String, String), String> {
    let place = text.match_indices('=').map(|(at, _)| at).find(|at| !text[..*at].ends_with('\\'));
    let (old, new) = place.map_or((text, ""), |at| (&text[..at], &text[at + 1..]));
    let name = |name: &str| name.replace("\\=", "=");
    match (name(old), name(new)) {
        (old, new) if !old.is_empty() && !new.is_empty() => Ok((old, new)),
        _ => Err("two roles are expected, as in app=app_test".to_owned()),
    }
}

/// A limit of time that is not zero.
fn limit(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(limit) if limit >= Duration::from_secs(1) => Ok(limit),
        Ok(_) => Err("at least 1s is expected".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `pgkeep restore`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RestoreArgs {
    // Not required where somebody can be asked, and not to undo a swap: `usage` decides.
    #[arg(value_name = "BACKUP", help = BACKUP_HELP, required = true)]
    pub(in crate::cli) backup: Option<String>,
    /// The database to restore into, which must be new or empty: a name on the server of --database-url, DATABASE_URL,
    /// the backup's job or the PG* environment; or a connection string
    #[arg(long, value_name = "DBNAME|URL", value_parser = secret, required = true)]
    pub(in crate::cli) into: Option<Secret>,
    #[command(flatten)]
    pub(in crate::cli) url: Url,
    /// Only these tables, with their sequences, indexes and constraints; several times for several. * and ? stand for
    /// characters, and names in double quotes are exact. The database may hold other tables
    #[arg(long, value_name = "SCHEMA.TABLE", conflicts_with_all = ["swap", "keep", "role", "create_roles", "no_tablespaces", "without", "dry_run"])]
    pub(in crate::cli) table: Vec<String>,
    /// Restore the tables into this schema instead of their own
    #[arg(long, value_name = "SCHEMA", requires = "table")]
    pub(in crate::cli) into_schema: Option<String>,
    /// Restore definitions, without rows and without the values of sequences
    #[arg(long, conflicts_with_all = ["data_only", "exclude_table_data"])]
    pub(in crate::cli) schema_only: bool,
    /// Load rows and the values of sequences into tables that are there and empty
    #[arg(long, conflicts_with_all = ["swap", "keep", "role", "create_roles", "no_tablespaces", "without", "dry_run"])]
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
    /// Another role for one of the backup's: owners, grants and policies then name that one; repeat it for several
    #[arg(long, value_name = "OLD=NEW", value_parser = role)]
    pub(in crate::cli) role: Vec<(String, String)>,
    /// Create the roles that the backup names and the server lacks: as its stored globals describe them, never with a
    /// password
    #[arg(long)]
    pub(in crate::cli) create_roles: bool,
    /// Leave out tablespaces: everything is stored in the database's default one, as is always what the server lacks
    #[arg(long)]
    pub(in crate::cli) no_tablespaces: bool,
    /// Leave out entries of a kind, all or one by name, with what is said about them: event-trigger, publication,
    /// extension:file_fdw; repeat it for several
    #[arg(long, value_name = "KIND[:NAME]")]
    pub(in crate::cli) without: Vec<EntryPattern>,
    /// The locale of the new database instead of the backup's, such as C or C.UTF-8
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) locale: Option<String>,
    /// Restore beside a live database, then exchange their names; the old one is kept
    #[arg(long)]
    pub(in crate::cli) swap: bool,
    /// How long the exchange of names may take, while sessions are ended and applications reconnect
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = limit)]
    pub(in crate::cli) swap_timeout: Duration,
    /// Undo the last --swap: the old database gets the name of --into back, the restored one is kept
    #[arg(long, conflicts_with_all = ["backup", "swap", "finish_swap", "role", "create_roles", "without", "locale", "keep"])]
    pub(in crate::cli) swap_back: bool,
    /// Finish a --swap that ran out of time: the restored database that waits gets the name of --into, the old one is kept
    #[arg(long, conflicts_with_all = ["backup", "swap", "role", "create_roles", "without", "locale", "keep"])]
    pub(in crate::cli) finish_swap: bool,
    /// With --swap-back or --finish-swap: which of the databases that a restore left, if not the newest
    #[arg(long, value_name = "DBNAME")]
    pub(in crate::cli) kept: Option<String>,
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
