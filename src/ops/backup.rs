//! Taking backups: one job's databases, one after the other, each streamed to all of its destinations at once.

use super::consolidate::{consolidate_at, database_of};
use super::contents::put_contents;
use super::data::{Data, Dump};
use super::dump::Dumper;
use super::globals::dump_globals;
use super::instructions::{database_sql, restore_txt};
use super::outcome::{BackupOutcome, BackupStatus, DestinationOutcome};
use super::parallel::Parallel;
use super::prune::{clocks_differ, prune_after, sweep};
use super::store::{Copies, judge};
use super::{Context, open_destination};
use crate::archive::{Compressors, Contents};
use crate::catalogue::{CompletedBackup, FORMAT, File, FileKind, Globals, Manifest, backup_dir};
use crate::config::{Codec, Compression, Databases, DestinationRef, JobConfig, Require};
use crate::destination::{Destination, Key, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::id::{BackupId, random_u16};
use crate::lock;
use crate::postgres::programs::{find_clients, find_newest_clients};
use crate::postgres::{Client, Connection, Inspection, databases, inspect};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// How many sessions read rows at once: above 1, a parallel dump.
    pub jobs: usize,
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
    /// The due time that the scheduler takes it for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// Deletes afterwards what retention does not keep, for jobs of the configuration. Without one nobody said how long
    /// backups are kept, so nothing goes by itself.
    pub prune: bool,
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
            jobs: 1,
            lock_wait_timeout: Duration::from_secs(60),
            bin_dir: None,
            label: None,
            pinned: false,
            keep_for: None,
            scheduled_for: None,
            prune: false,
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
            jobs: job.jobs as usize,
            lock_wait_timeout: job.lock_wait_timeout,
            bin_dir: job.bin_dir.clone(),
            label: job.label.clone(),
            pinned: false,
            keep_for: None,
            scheduled_for: None,
            prune: true,
        })
    }
}

/// Backs up every database of `request`, one after the other. An error means that nothing was begun; what happened to each
/// database is told by its outcome, whose `failure` decides the exit code.
pub async fn backup(ctx: &Context, request: &BackupRequest) -> Result<Vec<BackupOutcome>> {
    if request.destinations.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no destination is given for the backup")
            .hint("name one with --to, for example --to ./backups"));
    }
    if request.connection.tls_defaulted() {
        ctx.tell(&Event::Note(format!(
            "{} is asked for TLS (sslmode=require), as the connection string does not say",
            request.connection.describe()
        )));
    }
    let search = ctx.search(request.bin_dir.as_deref());
    let client = Client::new(request.connection.clone(), find_newest_clients(&search)?, ctx.temp_dir())?;
    // Any database of the server tells its version; which ones there are, only the server.
    let (client, names) = match &request.databases {
        Databases::FromUrl => (client, Vec::new()),
        Databases::Named(names) => (first_of(&client, names), names.clone()),
        Databases::All => {
            let mut names = databases(&client, &ctx.cancel).await?;
            names.retain(|name| !request.exclude_databases.contains(name));
            (first_of(&client, &names), names)
        }
    };
    let inspection = inspect(&client, &ctx.cancel).await?;
    let client = client.with_programs(find_clients(&search, inspection.server.version_num)?);
    let clients = match request.databases {
        Databases::FromUrl => vec![client],
        Databases::Named(_) | Databases::All => names.iter().map(|name| client.with_database(name)).collect(),
    };
    if clients.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, format!("{} has no database to back up", client_name(request)))
            .hint("check databases and exclude_databases of the job"));
    }
    let _lock = lock::acquire(&ctx.state_dir(), &lock_name(request), "backup")?;
    let destinations: Vec<Arc<dyn Destination>> =
        request.destinations.iter().map(|place| open_destination(ctx, place)).collect();
    let mut outcomes = Vec::new();
    // Of the first database: asking again would cost a small one more than its dump.
    let mut inspection = Some(inspection);
    // Databases whose server agrees with this computer about the time.
    let mut in_time = BTreeSet::new();
    for client in clients {
        let run = Run { ctx, request, client, inspection: inspection.take(), destinations: &destinations };
        let (outcome, clocks_agree) = run.run().await;
        if clocks_agree {
            in_time.insert(outcome.database.clone());
        }
        outcomes.push(outcome);
        if ctx.cancel.is_cancelled() {
            return Ok(outcomes);
        }
    }
    if request.prune {
        prune_after(ctx, request, &destinations, &mut outcomes, &in_time).await;
    }
    for outcome in &outcomes {
        let stored = |at: &&Arc<dyn Destination>| {
            outcome.destinations.iter().any(|done| done.name == at.name() && done.status == BackupStatus::Stored)
        };
        let database = database_of(&outcome.job, &outcome.database);
        consolidate_at(ctx, destinations.iter().filter(stored), &database).await;
    }
    Ok(outcomes)
}

/// The databases of `request` by name, where it does not leave them to the connection string: the server knows which
/// ones "all" are.
pub async fn databases_of(ctx: &Context, request: &BackupRequest) -> Result<Vec<String>> {
    match &request.databases {
        Databases::FromUrl => Ok(Vec::new()),
        Databases::Named(names) => Ok(names.clone()),
        Databases::All => {
            let programs = find_newest_clients(&ctx.search(request.bin_dir.as_deref()))?;
            let client = Client::new(request.connection.clone(), programs, ctx.temp_dir())?;
            let mut names = databases(&client, &ctx.cancel).await?;
            names.retain(|name| !request.exclude_databases.contains(name));
            Ok(names)
        }
    }
}

fn first_of(client: &Client, names: &[String]) -> Client {
    names.first().map_or_else(|| client.clone(), |name| client.with_database(name))
}

fn client_name(request: &BackupRequest) -> String {
    request.connection.describe()
}

/// Runs of one job exclude each other; without a job, runs of one database to the same places.
fn lock_name(request: &BackupRequest) -> String {
    request.job.clone().unwrap_or_else(|| {
        let places: Vec<&str> = request.destinations.iter().map(|place| place.name.as_str()).collect();
        format!("{} to {}", request.connection.describe(), places.join(", "))
    })
}

/// One database's backup.
struct Run<'a> {
    ctx: &'a Context,
    request: &'a BackupRequest,
    client: Client,
    /// What is known of the database already.
    inspection: Option<Inspection>,
    destinations: &'a [Arc<dyn Destination>],
}

/// What is known once the dump has begun.
struct Begun {
    id: BackupId,
    job: String,
    started_at: DateTime<Utc>,
    inspection: Inspection,
    globals: (Vec<u8>, Globals),
    copies: Copies,
    warnings: Vec<String>,
    clocks_agree: bool,
}

impl Run<'_> {
    /// What came of it, and whether the server's clock agrees with this computer's.
    async fn run(self) -> (BackupOutcome, bool) {
        let clock = Instant::now();
        let subject = self.client.connection().describe();
        self.ctx.tell(&Event::Started { what: "backup", subject });
        let (mut outcome, clocks_agree) = match self.begin().await {
            Err(error) => (self.never_begun(error), false),
            Ok(mut begun) => {
                let taken = self.take(&mut begun).await;
                if let Err(error) = &taken {
                    for left in begun.copies.discard(error).await {
                        self.ctx.warn(format!("could not clean up, the next run will: {}", left.one_line()));
                    }
                }
                let clocks_agree = begun.clocks_agree;
                (self.outcome(begun, taken), clocks_agree)
            }
        };
        outcome.duration_seconds = clock.elapsed().as_secs_f64();
        self.ctx.tell(&Event::Finished);
        (outcome, clocks_agree)
    }

    /// Everything that can be found wrong before the dump.
    async fn begin(&self) -> Result<Begun> {
        self.ctx.phase(Phase::Inspect, 0);
        let inspection = match &self.inspection {
            Some(inspection) => inspection.clone(),
            None => inspect(&self.client, &self.ctx.cancel).await?,
        };
        let job = self.request.job.clone().unwrap_or_else(|| inspection.database.clone());
        let started_at = self.ctx.clock.now();
        let check = async |destination: &Arc<dyn Destination>| {
            let writable = destination.check_writable().await;
            if writable.is_ok() {
                sweep(self.ctx, &**destination, &job, started_at).await;
            }
            (Arc::clone(destination), writable)
        };
        // Here rather than during the dump: some roles may have no second connection.
        let globals = dump_globals(&self.client, &inspection, &self.ctx.cancel);
        let (checked, globals) = tokio::join!(join_all(self.destinations.iter().map(check)), globals);
        self.ctx.cancel.check()?;
        let globals = globals?;
        let id = BackupId::new(started_at, random_u16()?);
        let dir = backup_dir(&job, &inspection.database, &id);
        let copies = Copies::begin(self.ctx, checked, &dir).await;
        let warning = clocks_differ(started_at, inspection.now);
        let clocks_agree = warning.is_none();
        let warnings = warning.into_iter().collect();
        let mut begun = Begun { id, job, started_at, inspection, globals, copies, warnings, clocks_agree };
        // Fewer than are required will not do: then better not to load the server for an hour first.
        if !self.request.require.is_met(begun.copies.alive(), self.destinations.len())
            && self.request.require != Require::All
            || begun.copies.alive() == 0
        {
            let because = Error::new(ErrorKind::Failed, "too few destinations can be written to");
            begun.copies.discard(&because).await;
            let first = begun.copies.results().into_iter().find_map(|copy| copy.failure);
            return Err(first.unwrap_or(because));
        }
        Ok(begun)
    }

    /// Dumps, stores and publishes. On an error the caller discards what was stored.
    async fn take(&self, begun: &mut Begun) -> Result<Manifest> {
        let codec = self.request.compression.codec();
        let mut files = Vec::new();
        let (sql, globals) = begun.globals.clone();
        match &globals {
            Globals::WithPasswords => {}
            Globals::WithoutPasswords => begun
                .warnings
                .push("the passwords of roles are not in the backup: only a superuser may read them".to_owned()),
            Globals::Missing { reason } => {
                begun.warnings.push(format!("roles and tablespaces are not in the backup: {reason}"));
            }
        }
        let data = self.dump(begun, codec).await?;
        let progress = self.ctx.phase(Phase::Publish, 0);
        let copies = &mut begun.copies;
        files.extend(data.files.iter().cloned());
        if !sql.is_empty() {
            files.push(put_gzip(copies, "globals.sql.gz", FileKind::Globals, &sql).await?);
        }
        let properties = database_sql(&begun.inspection).into_bytes();
        files.push(put(copies, "database.sql", FileKind::Database, properties).await?);
        let contents = Contents::new(data.contents);
        files.push(put_contents(copies, &contents).await?);
        let text = restore_txt(&begun.inspection, &data.files, codec, !sql.is_empty());
        files.push(put(copies, "RESTORE.txt", FileKind::Instructions, text.into_bytes()).await?);
        drop(progress);
        let entries = contents.counted();
        let finished_at = self.ctx.clock.now();
        let keep_for = self.request.keep_for.and_then(|duration| chrono::TimeDelta::from_std(duration).ok());
        let mut roles = data.roles;
        roles.extend(begun.inspection.properties.roles().map(str::to_owned));
        let manifest = Manifest {
            format: FORMAT,
            written_by: format!("pgkeep {}", env!("CARGO_PKG_VERSION")),
            id: begun.id.clone(),
            job: begun.job.clone(),
            database: begun.inspection.database.clone(),
            label: self.request.label.clone(),
            pinned: self.request.pinned,
            keep_until: keep_for.and_then(|duration| begun.started_at.checked_add_signed(duration)),
            scheduled_for: self.request.scheduled_for,
            adopted_from: None,
            started_at: begun.started_at,
            finished_at,
            server: begun.inspection.server.clone(),
            pg_dump_version: self.client.programs().version.to_string(),
            codec: codec.name().to_owned(),
            tables: data.tables,
            rows: data.rows,
            entries,
            large_objects: data.large_objects,
            sql_bytes: data.sql_bytes,
            stored_bytes: files.iter().map(|file| file.bytes).sum(),
            properties: begun.inspection.properties.clone(),
            output_settings: begun.inspection.output_settings.clone(),
            extensions: begun.inspection.extensions.clone(),
            roles: roles.into_iter().collect(),
            globals,
            files,
            warnings: begun.warnings.clone(),
        };
        self.ctx.cancel.check()?;
        begun.copies.publish(&CompletedBackup::new(manifest.clone())?).await?;
        self.ctx.tell(&Event::Stored { id: begun.id.clone() });
        Ok(manifest)
    }

    /// Streams the database to every destination; returns only what is whole.
    async fn dump(&self, begun: &mut Begun, codec: Codec) -> Result<Data> {
        // COPY text is as large as the tables' pages, give or take; it only feeds the display and plans uploads.
        let expected = begun.inspection.table_bytes;
        let jobs = self.request.jobs.max(1);
        let streams = if jobs > 1 { Parallel::most_streams(jobs) } else { 1 };
        let dumper = Dumper {
            ctx: self.ctx,
            client: &self.client,
            lock_wait: self.request.lock_wait_timeout,
            compressors: Arc::new(Compressors::start(self.request.compression, self.ctx.threads(), streams)?),
            progress: self.ctx.phase(Phase::Dump, expected),
        };
        let name = data_name(&begun.inspection.database, begun.started_at, codec)?;
        let version = begun.inspection.server.version_num;
        Dump { dumper, name, jobs, version, expected }.run(&mut begun.copies).await
    }

    fn never_begun(&self, error: Error) -> BackupOutcome {
        let database = self.client.connection().database().unwrap_or_default().to_owned();
        let line = error.one_line();
        let destination = |destination: &Arc<dyn Destination>| DestinationOutcome {
            name: destination.name().to_owned(),
            status: BackupStatus::Failed,
            error: Some(line.clone()),
        };
        BackupOutcome {
            id: None,
            job: self.request.job.clone().unwrap_or_else(|| database.clone()),
            database,
            status: BackupStatus::Failed,
            label: self.request.label.clone(),
            tables: 0,
            rows: 0,
            entries: 0,
            large_objects: 0,
            sql_bytes: 0,
            stored_bytes: 0,
            duration_seconds: 0.0,
            destinations: self.destinations.iter().map(destination).collect(),
            warnings: Vec::new(),
            pruned: 0,
            error: Some(line.clone()),
            failure: Some(error),
        }
    }

    fn outcome(&self, begun: Begun, taken: Result<Manifest>) -> BackupOutcome {
        let results = begun.copies.results();
        let all = results.len();
        let stored = results.iter().filter(|copy| copy.failure.is_none()).count();
        if taken.is_ok() && self.request.require.is_met(stored, all) {
            // Enough is stored for exit 0; that a destination is down must be heard all the same.
            for copy in &results {
                if let Some(error) = &copy.failure {
                    self.ctx.warn(format!("nothing was stored in {}: {}", copy.name, error.one_line()));
                }
            }
        }
        let (status, failure) = judge(&results, self.request.require, taken.as_ref().err());
        let destination = |copy: &super::store::CopyResult| DestinationOutcome {
            name: copy.name.clone(),
            status: if copy.failure.is_none() { BackupStatus::Stored } else { BackupStatus::Failed },
            error: copy.failure.as_ref().map(Error::one_line),
        };
        let manifest = taken.ok();
        let count = |of: fn(&Manifest) -> u64| manifest.as_ref().map_or(0, of);
        BackupOutcome {
            id: manifest.is_some().then_some(begun.id),
            job: begun.job,
            database: begun.inspection.database,
            status,
            label: self.request.label.clone(),
            tables: count(|manifest| manifest.tables),
            rows: count(|manifest| manifest.rows),
            entries: count(|manifest| manifest.entries),
            large_objects: count(|manifest| manifest.large_objects),
            sql_bytes: count(|manifest| manifest.sql_bytes),
            stored_bytes: count(|manifest| manifest.stored_bytes),
            duration_seconds: 0.0,
            destinations: results.iter().map(destination).collect(),
            warnings: begun.warnings,
            pruned: 0,
            error: failure.as_ref().map(Error::one_line),
            failure,
        }
    }
}

/// `zenzspa_20261122_020000.sql.gz`.
pub(super) fn data_name(database: &str, at: DateTime<Utc>, codec: Codec) -> Result<Key> {
    let extension = match codec {
        Codec::Gzip => "gz",
        Codec::Zstd => "zst",
    };
    format!("{}_{}.sql.{extension}", Key::encode(database), at.format("%Y%m%d_%H%M%S")).parse()
}

pub(super) async fn put(copies: &mut Copies, name: &str, kind: FileKind, bytes: Vec<u8>) -> Result<File> {
    let unpacked_bytes = bytes.len() as u64;
    let name = Key::encode(name);
    let Stored { bytes, sha256 } = copies.put(&name, Bytes::from(bytes)).await?;
    Ok(File { name, kind, bytes, sha256, unpacked_bytes })
}

async fn put_gzip(copies: &mut Copies, name: &str, kind: FileKind, bytes: &[u8]) -> Result<File> {
    let unpacked_bytes = bytes.len() as u64;
    let packed = crate::archive::Packer::new(Compression::default())?.pack(bytes)?.to_vec();
    Ok(File { unpacked_bytes, ..put(copies, name, kind, packed).await? })
}
