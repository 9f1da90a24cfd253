//! Taking over files of other scripts: each is read once to judge it, and once more to store it like any other backup.
//!
//! Nothing is stored of a file that is not a whole dump of one database, and the files themselves are never touched.

mod head;
mod judge;
mod source;
mod stamp;
mod store;
mod zone;

use super::outcome::{AdoptOutcome, BackupOutcome, BackupStatus};
use super::{Context, check, open_destination};
use crate::catalogue::{self, Manifest};
use crate::config::{Compression, DestinationRef, Require};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::lock;
use crate::script::{Entries, Entry};
use chrono::{DateTime, Utc};
use judge::Judged;
use stamp::Stamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which files are to be taken over, as what, and where to.
#[derive(Debug, Clone)]
pub struct AdoptRequest {
    /// The files; at least one.
    pub files: Vec<PathBuf>,
    /// The job whose backups they become.
    pub job: String,
    /// The database's name; `None` to take it from each file.
    pub database: Option<String>,
    /// The name where the file tells none.
    pub otherwise: Option<String>,
    /// Where to; at least one.
    pub destinations: Vec<DestinationRef>,
    /// How many of them must succeed.
    pub require: Require,
    /// How the backups are compressed.
    pub compression: Compression,
    /// When the one file was dumped, as the user writes it; `None` to take it from each file.
    pub taken_at: Option<String>,
    /// What the user calls the backups.
    pub label: Option<String>,
    /// Never deleted by retention.
    pub pinned: bool,
    /// Kept by retention for so long from now.
    pub keep_for: Option<Duration>,
    /// Judge only; store nothing.
    pub dry_run: bool,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Takes over every file of `request`, one after the other; nothing is pruned. An error means that nothing was begun; what
/// happened to each file is told by its outcome, whose `failure` decides the exit code.
pub async fn adopt(ctx: &Context, request: &AdoptRequest) -> Result<Vec<AdoptOutcome>> {
    if request.destinations.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no destination is given for the adopted backups")
            .hint("name one with --to, for example --to ./backups"));
    }
    let taken_at = request.taken_at.as_deref().map(|text| moment(ctx, text)).transpose()?;
    if taken_at.is_some() && request.files.len() > 1 {
        return Err(Error::new(ErrorKind::Usage, "--taken-at is for one file, and several are named")
            .hint("adopt them one by one, or leave out --taken-at: most names of files tell the time"));
    }
    let _lock =
        if request.dry_run { None } else { Some(lock::acquire(&ctx.state_dir(), &request.job, "backup adopt")?) };
    let destinations: Vec<Arc<dyn Destination>> =
        request.destinations.iter().map(|place| open_destination(ctx, place)).collect();
    let mut known = Known::read(ctx, &destinations, &request.job).await?;
    let mut outcomes = Vec::new();
    for file in &request.files {
        let adoption = Adoption { ctx, request, destinations: &destinations, taken_at };
        outcomes.push(adoption.run(file, &mut known).await);
        if ctx.cancel.is_cancelled() {
            break;
        }
    }
    Ok(outcomes)
}

fn moment(ctx: &Context, text: &str) -> Result<DateTime<Utc>> {
    let stamp = Stamp::parse(text).ok_or_else(|| {
        Error::new(ErrorKind::Usage, format!("--taken-at {text:?} is no time"))
            .hint("write 2026-11-20, 2026-11-20 02:00, or with an offset 2026-11-20T02:00:00+01:00")
    })?;
    Ok(stamp.moment(ctx.config.timezone))
}

/// The backups of the job that were adopted already, and one place of each.
struct Known(Vec<(Manifest, Arc<dyn Destination>)>);

impl Known {
    async fn read(ctx: &Context, destinations: &[Arc<dyn Destination>], job: &str) -> Result<Self> {
        ctx.phase(Phase::Inspect, 0);
        let mut known = Vec::new();
        for destination in destinations {
            match catalogue::list(destination, Some(job)).await {
                Ok(listing) => {
                    let adopted = listing.entries.into_iter().map(|entry| entry.manifest);
                    let adopted = adopted.filter(|manifest| manifest.adopted_from.is_some());
                    known.extend(adopted.map(|manifest| (manifest, Arc::clone(destination))));
                }
                // A place that is not there yet holds nothing.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    ctx.cancel.check()?;
                    let name = destination.name();
                    ctx.warn(format!("it cannot be told what {name} holds already: {}", error.one_line()));
                }
            }
        }
        Ok(Self(known))
    }

    /// The backup that was made of a file of the same time and contents.
    async fn find(&self, judged: &Judged) -> Option<&Manifest> {
        let scan = &judged.scan;
        for (manifest, place) in &self.0 {
            let alike = manifest.started_at == judged.taken_at
                && manifest.database == judged.database
                && (manifest.tables, manifest.rows, manifest.large_objects)
                    == (scan.tables, scan.rows, scan.large_objects);
            if alike
                && let Ok(contents) = check::read_contents(&**place, manifest).await
                && same(contents.entries(), &scan.entries)
            {
                return Some(manifest);
            }
        }
        None
    }
}

/// Whether two dumps hold the same; where in the file it stands does not matter.
fn same(a: impl Iterator<Item = Entry>, b: &Entries) -> bool {
    let moved = |entry: &Entry| Entry { start: 0, end: 0, line: 0, table: None, ..entry.clone() };
    let rows = |entry: &Entry| entry.table.as_ref().map(|data| (data.columns.clone(), data.rows, data.fingerprint));
    let mut b = b.iter();
    let equal = a.map(Some).all(|a| {
        let (Some(a), Some(b)) = (a, b.next()) else { return false };
        moved(&a) == moved(&b) && rows(&a) == rows(&b)
    });
    equal && b.next().is_none()
}

/// One file on its way to become a backup.
struct Adoption<'a> {
    ctx: &'a Context,
    request: &'a AdoptRequest,
    destinations: &'a [Arc<dyn Destination>],
    taken_at: Option<DateTime<Utc>>,
}

impl Adoption<'_> {
    async fn run(&self, file: &Path, known: &mut Known) -> AdoptOutcome {
        let clock = Instant::now();
        self.ctx.tell(&Event::Started { what: "adopt", subject: file.display().to_string() });
        let mut outcome = self.outcome(file);
        match self.judge(file).await {
            Ok(judged) => {
                outcome.taken_at = Some(judged.taken_at);
                outcome.taken_at_from = Some(judged.taken_at_from);
                outcome.database_from = Some(judged.database_from);
                outcome.backup = self.store_new(&judged, known).await;
            }
            Err(error) => {
                outcome.backup.error = Some(error.one_line());
                outcome.backup.failure = Some(error);
            }
        }
        outcome.backup.duration_seconds = clock.elapsed().as_secs_f64();
        self.ctx.tell(&Event::Finished);
        outcome
    }

    async fn store_new(&self, judged: &Judged, known: &mut Known) -> BackupOutcome {
        if let Some(manifest) = known.find(judged).await {
            return BackupOutcome {
                id: Some(manifest.id.clone()),
                status: BackupStatus::There,
                ..self.planned(judged)
            };
        }
        if self.request.dry_run {
            return self.planned(judged);
        }
        let (outcome, stored) = self.store(judged).await;
        known.0.extend(stored);
        outcome
    }

    fn outcome(&self, file: &Path) -> AdoptOutcome {
        AdoptOutcome {
            backup: BackupOutcome {
                id: None,
                job: self.request.job.clone(),
                database: self.request.database.clone().unwrap_or_default(),
                status: BackupStatus::Failed,
                label: self.request.label.clone(),
                tables: 0,
                rows: 0,
                entries: 0,
                large_objects: 0,
                sql_bytes: 0,
                stored_bytes: 0,
                duration_seconds: 0.0,
                destinations: Vec::new(),
                warnings: Vec::new(),
                pruned: 0,
                error: None,
                failure: None,
            },
            adopted_from: file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned(),
            taken_at: None,
            taken_at_from: None,
            database_from: None,
        }
    }

    /// What would be stored.
    fn planned(&self, judged: &Judged) -> BackupOutcome {
        let scan = &judged.scan;
        BackupOutcome {
            id: None,
            job: self.request.job.clone(),
            database: judged.database.clone(),
            status: BackupStatus::Planned,
            label: self.request.label.clone(),
            tables: scan.tables,
            rows: scan.rows,
            entries: scan.entries.len() as u64 - scan.large_objects,
            large_objects: scan.large_objects,
            sql_bytes: scan.sql_bytes,
            stored_bytes: 0,
            duration_seconds: 0.0,
            destinations: Vec::new(),
            warnings: judged.warnings.clone(),
            pruned: 0,
            error: None,
            failure: None,
        }
    }
}
