//! The runner that does real work: the use-cases of `ops`, with the settings that were in force when the work began.

use super::attempt::Runner;
use super::facts::{Facts, Taken};
use super::news::{Listener, News, OfJob};
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::config::{Config, Databases, DestinationRef, JobConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_number;
use crate::ops::{self, BackupRequest, BackupStatus, Catalog, Context, CopyStatus, DrillRequest};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct Worker {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whoever writes the log.
    pub listener: Arc<dyn Listener>,
    /// The way to be stopped.
    pub cancel: Cancel,
}

impl Worker {
    fn context(&self, config: &Arc<Config>, job: &JobConfig) -> Context {
        let (job, listener) = (job.name.clone(), Arc::clone(&self.listener));
        Context {
            config: Arc::clone(config),
            clock: Arc::clone(&self.clock),
            observer: Arc::new(OfJob { job, listener }),
            cancel: self.cancel.clone(),
        }
    }

    async fn back_up(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()> {
        let ctx = self.context(config, job);
        let mut request = BackupRequest::for_job(&ctx, job, Vec::new())?;
        request.scheduled_for = Some(slot);
        // An earlier attempt may have done some of them.
        let covered = facts.covered(slot, ctx.clock.now());
        if !covered.is_empty() && request.databases != Databases::FromUrl {
            let mut left = ops::databases_of(&ctx, &request).await?;
            left.retain(|name| !covered.contains(name.as_str()));
            if left.is_empty() {
                return Ok(());
            }
            request.databases = Databases::Named(left);
        }
        let outcomes = ops::backup(&ctx, &request).await?;
        let all = outcomes.len();
        // A stop leaves out the databases that were not begun.
        let begun_all = match &request.databases {
            Databases::FromUrl => true,
            Databases::Named(names) => names.len() == all,
            Databases::All => !ctx.cancel.is_cancelled(),
        };
        let mut failures = Vec::new();
        for outcome in outcomes {
            match (outcome.status, outcome.failure) {
                (BackupStatus::Failed, failure) => {
                    let unknown = || Error::new(ErrorKind::Failed, "the backup failed");
                    failures.push((outcome.database, failure.unwrap_or_else(unknown)));
                }
                (_, failure) => {
                    // It is not taken again: the missing copies are made from it, now or after a later backup.
                    let short = failure.as_ref().map(|error| {
                        let (database, why) = (&outcome.database, error.one_line());
                        format!("the backup of database {database} is not where `require` wants it: {why}")
                    });
                    let outcome = ops::BackupOutcome { failure, ..outcome };
                    self.listener.tell(Some(&job.name), &News::Stored(&outcome));
                    if let Some(short) = short {
                        self.listener.tell(Some(&job.name), &News::Warning(&short));
                    }
                }
            }
        }
        if failures.is_empty() && begun_all && ctx.cancel.is_cancelled() {
            return Ok(());
        }
        ctx.cancel.check()?;
        if failures.len() < all {
            self.heal(&ctx, job).await?;
        }
        let failed = failures.len();
        match failures.into_iter().next() {
            None => Ok(()),
            Some((_, error)) if all == 1 => Err(error),
            Some((database, error)) => {
                let message = format!("{failed} of {all} databases could not be backed up, {database} among them");
                Err(Error::new(error.kind(), message).caused_by(error))
            }
        }
    }

    async fn prove(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()> {
        let ctx = self.context(config, job);
        let request = DrillRequest::for_job(Some(job), None)?;
        let (Some(catalog), _) = self.catalog(&ctx, job).await? else {
            return Err(Error::new(ErrorKind::NotFound, format!("job {:?} has no backup to drill", job.name)));
        };
        ops::sweep_scratch(&ctx);
        let mut first = None;
        let mut drilled = Vec::new();
        for due in facts.undrilled(&job.databases, slot, ctx.clock.now()) {
            let copy = request.copy.as_deref();
            let Some(taken) = facts.to_drill(&due.database, request.backup, copy, random_number()?) else {
                let place = copy.unwrap_or("any destination");
                let message =
                    format!("no backup of database {} is in {place}, whose copy should be drilled", due.database);
                first = first.or(Some(Error::new(ErrorKind::CouldNotRun, message)));
                continue;
            };
            let same = |backup: &&ops::Backup| {
                backup.manifest.id.as_str() == taken.id && backup.manifest.database == taken.database
            };
            // An index may speak of what is gone.
            let fresh = match catalog.backups().iter().find(same) {
                Some(backup) => backup.fresh(&ctx).await?,
                None => None,
            };
            let Some(backup) = fresh else {
                let message = format!("backup {} of database {} is not there any more", taken.id, taken.database);
                first = first.or(Some(Error::new(ErrorKind::CouldNotRun, message)));
                continue;
            };
            let outcome = ops::drill(&ctx, &backup, &request).await?;
            drilled.push(backup);
            if outcome.result == "could_not_run" {
                let unknown = || Error::new(ErrorKind::CouldNotRun, "the drill could not run");
                first = first.or(Some(outcome.failure.unwrap_or_else(unknown)));
            } else {
                self.listener.tell(Some(&job.name), &News::Drilled(&outcome));
            }
        }
        ops::consolidate(&ctx, &drilled).await;
        first.map_or(Ok(()), Err)
    }

    /// The catalogue of the job, and whether it tells of every place; `None` where nothing could be read because one of the
    /// places is not there yet.
    async fn catalog(&self, ctx: &Context, job: &JobConfig) -> Result<(Option<Catalog>, bool)> {
        let places = destinations(ctx, job)?;
        let error = match Catalog::read(ctx, &places, Some(&job.name)).await {
            Ok(catalog) => {
                let whole = catalog.unreadable().is_empty();
                return Ok((Some(catalog), whole));
            }
            Err(error) => error,
        };
        ctx.cancel.check()?;
        // One that is not there yet holds nothing and can be written to: that another is away keeps no backup from it.
        for place in &places {
            match Catalog::read(ctx, std::slice::from_ref(place), Some(&job.name)).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok((None, false)),
                Err(_) => {}
                // The other places were not read, or this is another moment.
                Ok(catalog) => return Ok((Some(catalog), false)),
            }
        }
        Err(error)
    }

    /// Copies what is missing somewhere. That it cannot be is told, and is no failure of the backup.
    async fn heal(&self, ctx: &Context, job: &JobConfig) -> Result<()> {
        let copied = match self.catalog(ctx, job).await {
            Ok((Some(catalog), _)) if catalog.backups().iter().any(|backup| !backup.missing.is_empty()) => {
                ops::copy_missing(ctx, &catalog).await
            }
            Ok(_) => return Ok(()),
            Err(error) => Err(error),
        };
        ctx.cancel.check()?;
        match copied {
            Ok(outcomes) => {
                for outcome in outcomes.iter().filter(|outcome| outcome.status != CopyStatus::There) {
                    self.listener.tell(Some(&job.name), &News::Copied(outcome));
                }
            }
            Err(error) => {
                let warning =
                    format!("missing copies could not be made, the next run tries again: {}", error.one_line());
                self.listener.tell(Some(&job.name), &News::Warning(&warning));
            }
        }
        Ok(())
    }
}

/// The destinations of a configured job, the nearest first.
pub(super) fn destinations(ctx: &Context, job: &JobConfig) -> Result<Vec<DestinationRef>> {
    let all = job.destinations.iter().map(|name| DestinationRef::parse(name, &ctx.config));
    all.collect::<Result<Vec<_>>>().map(ops::nearest_first)
}

/// Runs work on a thread of its own: much of it computes, and the loop and other jobs' transfers shall not wait for that.
async fn apart(work: impl AsyncFnOnce() -> Result<()> + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Handle::current();
    let joined = tokio::task::spawn_blocking(move || runtime.block_on(work())).await;
    joined.unwrap_or_else(|error| Err(Error::new(ErrorKind::Failed, "the work ended unexpectedly").caused_by(error)))
}

#[async_trait]
impl Runner for Worker {
    async fn look(&self, config: &Arc<Config>, job: &JobConfig) -> Result<Facts> {
        let (catalog, complete) = self.catalog(&self.context(config, job), job).await?;
        let taken = catalog.iter().flat_map(Catalog::backups).map(Taken::from).collect();
        Ok(Facts { taken, complete })
    }

    async fn backup(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()> {
        let (worker, config, job, facts) = (self.clone(), Arc::clone(config), job.clone(), facts.clone());
        apart(async move || worker.back_up(&config, &job, slot, &facts).await).await
    }

    async fn drill(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()> {
        let (worker, config, job, facts) = (self.clone(), Arc::clone(config), job.clone(), facts.clone());
        apart(async move || worker.prove(&config, &job, slot, &facts).await).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::schedule::facts::tests::{at, taken};

    struct Deaf;

    impl Listener for Deaf {
        fn tell(&self, _: Option<&str>, _: &News<'_>) {}
    }

    fn worker() -> (tempfile::TempDir, Worker, Arc<Config>) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgkeep.toml");
        let text = "temp_dir = 'temp'\nstate_dir = 'state'\n[destination.office]\ntype = 'folder'\npath = 'office'\n\
                    [job.shop]\ndestinations = ['office']\ndrill = { schedule = '0 4 * * *' }\n";
        std::fs::write(&file, text).unwrap();
        for name in ["office", "temp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let clock = Arc::new(FixedClock(at("2026-11-22T10:00:00Z")));
        let config = Arc::new(Config::read(&file).unwrap());
        (folder, Worker { clock, listener: Arc::new(Deaf), cancel: Cancel::new() }, config)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_drill_of_a_backup_that_is_gone_could_not_run() {
        let (_folder, worker, config) = worker();
        let facts = Facts { taken: vec![taken("shop", "2026-11-22T02:00:00Z", None)], complete: true };
        let job = &config.jobs["shop"];
        let error = worker.drill(&config, job, at("2026-11-22T04:00:00Z"), &facts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CouldNotRun);
        assert!(error.one_line().contains("is not there any more"), "{error:?}");
    }

    #[tokio::test]
    async fn facts_are_complete_only_where_every_place_was_read() {
        let (folder, worker, config) = worker();
        let looked = async || worker.look(&config, &config.jobs["shop"]).await.unwrap().complete;
        assert!(looked().await);
        std::fs::remove_dir(folder.path().join("office")).unwrap();
        assert!(!looked().await);
    }
}
