//! (being written)
use super::{BackupOutcome, Context};
use crate::config::{Compression, Databases, DestinationRef, JobConfig, Require};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Connection;
use std::path::PathBuf;
use std::time::Duration;

/// What is to be backed up, where to, and how.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The job's name; `None` to name it after the database.
    pub job: Option<String>,
    /// The server, and the database if [`Databases::FromUrl`].
    pub connection: Connection,
    /// Which databases.
    pub databases: Databases,
    /// Databases that [`Databases::All`] leaves out.
    pub exclude_databases: Vec<String>,
    /// Where to; at least one.
    pub destinations: Vec<DestinationRef>,
    /// How many of them must succeed.
    pub require: Require,
    /// How the archive is compressed.
    pub compression: Compression,
    /// How long pg_dump waits for a lock on a table.
    pub lock_wait_timeout: Duration,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
    /// What the user calls the backup.
    pub label: Option<String>,
    /// Never deleted by retention.
    pub pinned: bool,
    /// Kept by retention for so long.
    pub keep_for: Option<Duration>,
}

impl BackupRequest {
    /// A backup without configuration: the job is named after the database.
    pub fn ad_hoc(connection: Connection, destinations: Vec<DestinationRef>) -> Self {
        Self {
            job: None,
            connection,
            databases: Databases::FromUrl,
            exclude_databases: Vec::new(),
            destinations,
            require: Require::All,
            compression: Compression::default(),
            lock_wait_timeout: Duration::from_secs(60),
            bin_dir: None,
            label: None,
            pinned: false,
            keep_for: None,
        }
    }

    /// The backup of a configured job, to `to` or, if that is empty, to the job's own destinations.
    pub fn for_job(ctx: &Context, job: &JobConfig, to: Vec<DestinationRef>) -> Result<Self> {
        let connection = match &job.database_url {
            Some(url) => Connection::parse(&url.resolve()?)?,
            None => Connection::from_environment()?,
        };
        let destinations = if to.is_empty() {
            job.destinations.iter().map(|name| DestinationRef::parse(name, &ctx.config)).collect::<Result<_>>()?
        } else {
            to
        };
        Ok(Self {
            job: Some(job.name.clone()),
            connection,
            databases: job.databases.clone(),
            exclude_databases: job.exclude_databases.clone(),
            destinations,
            require: job.require,
            compression: job.compression,
            lock_wait_timeout: job.lock_wait_timeout,
            bin_dir: job.bin_dir.clone(),
            label: job.label.clone(),
            pinned: false,
            keep_for: None,
        })
    }
}

/// Backs up every database of `request`, one after the other. An error means that nothing was begun; what happened to each
/// database is told by its outcome, whose `failure` decides the exit code.
pub async fn backup(_ctx: &Context, _request: &BackupRequest) -> Result<Vec<BackupOutcome>> {
    Err(Error::new(ErrorKind::Failed, "being written"))
}
