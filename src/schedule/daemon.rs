//! The loop of `pgkeep run`: wakes when something is due, begins it, and takes notice of how it ends.
//!
//! It looks at the clock at least every [`LOOK`], so that a computer that slept, or a clock that was set, is noticed soon:
//! due times are moments of that clock, and never counted from the last run. One job never does two things at once.
//! Work runs as a task with the configuration that was in force when it began; the loop itself never waits for it.

use super::attempt::{Attempt, Ended, Runner};
use super::due::{Next, Timetable, What, next};
use super::news::{Listener, News};
use super::record::Record;
use super::service::Service;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::config::{Config, JobConfig};
use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

/// The longest time between two looks at the clock.
const LOOK: Duration = Duration::from_secs(30);

/// A clock that is off by so much since the last look was set, or the computer slept.
const JUMP: TimeDelta = TimeDelta::seconds(60);

/// What the loop needs from outside.
pub struct Surroundings<R> {
    /// Who does the work.
    pub runner: Arc<R>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who writes the log.
    pub listener: Arc<dyn Listener>,
    /// The way to be stopped; the work must obey it too.
    pub cancel: Cancel,
    /// Where failed attempts are remembered.
    pub state_dir: PathBuf,
    /// The service manager.
    pub service: Service,
    /// Reads the configuration again.
    pub load: Box<dyn Fn() -> Result<Config> + Send>,
    /// A message for each time that it is to be read again.
    pub reload: mpsc::Receiver<()>,
}

/// One job with a schedule.
struct Job {
    config: JobConfig,
    tables: BTreeMap<What, Timetable>,
    record: Record,
    running: Option<Running>,
    /// The slot whose waiting for the other work of the job was told.
    told: Option<DateTime<Utc>>,
    /// No longer in the configuration: goes when its work has ended.
    gone: bool,
}

#[derive(Clone, Copy)]
struct Running {
    what: What,
    slot: DateTime<Utc>,
    /// The newest slot of the same work that has come since.
    overtaken: Option<DateTime<Utc>>,
}

/// See the module.
pub struct Daemon<R> {
    around: Surroundings<R>,
    config: Arc<Config>,
    jobs: BTreeMap<String, Job>,
    tasks: JoinSet<Ended>,
    owners: HashMap<Id, String>,
    looked: Option<(DateTime<Utc>, Instant)>,
}

impl<R: Runner + 'static> Daemon<R> {
    /// The scheduler of the jobs of `config` that have a schedule, of which there must be one.
    pub fn new(config: Config, around: Surroundings<R>) -> Result<Self> {
        let mut daemon = Self {
            around,
            config: Arc::new(Config::default()),
            jobs: BTreeMap::new(),
            tasks: JoinSet::new(),
            owners: HashMap::new(),
            looked: None,
        };
        daemon.take_over(config)?;
        Ok(daemon)
    }

    /// Works until it is asked to stop, and until the work that was begun has ended then. Returns the error of work that was
    /// stopped; none if nothing was at work.
    pub async fn run(mut self) -> Option<Error> {
        let now = self.around.clock.now();
        let upcoming = self.upcoming(now);
        let next = upcoming.as_ref().map(|(job, what, at)| (job.as_str(), *what, *at));
        self.tell(None, &News::Begun { jobs: self.jobs.len(), next });
        self.around.service.ready();
        while !self.around.cancel.is_cancelled() {
            let now = self.around.clock.now();
            self.watch_clock(now);
            let wake = self.begin_due(now);
            self.show(now);
            self.around.service.alive();
            let cancel = self.around.cancel.clone();
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                // Why it was stopped matters only once the loop is asked to stop.
                Some(joined) = self.tasks.join_next_with_id() => drop(self.ended(joined)),
                Some(()) = self.around.reload.recv() => self.reload(),
                () = tokio::time::sleep(wake) => {}
            }
        }
        self.stop().await
    }

    /// The jobs of `config` from now on. Work that runs is left alone.
    fn take_over(&mut self, config: Config) -> Result<()> {
        let mut tables = BTreeMap::new();
        for job in config.jobs.values() {
            let of_job = timetables(job, config.timezone)?;
            if !of_job.is_empty() {
                tables.insert(job.name.clone(), (job.clone(), of_job));
            }
        }
        if tables.is_empty() {
            return Err(Error::new(ErrorKind::Config, "no job has a schedule, so there is nothing to run").hint(
                "write schedule = \"0 2 * * *\" into a [job.NAME] section for a backup every night at 02:00, or use \
                 `pgkeep backup now` in another scheduler",
            ));
        }
        for job in self.jobs.values_mut() {
            job.gone = !tables.contains_key(&job.config.name);
        }
        for (name, (config, tables)) in tables {
            if let Some(job) = self.jobs.get_mut(&name) {
                (job.config, job.tables) = (config, tables);
                continue;
            }
            let record = Record::load(&self.around.state_dir, &name).unwrap_or_else(|error| {
                self.tell(Some(&name), &News::Warning(&error.one_line()));
                Record::new(&name)
            });
            let mut job = Job { config, tables, record, running: None, told: None, gone: false };
            for what in What::ALL {
                job.record.of_mut(what).wake();
            }
            self.jobs.insert(name, job);
        }
        self.jobs.retain(|_, job| !job.gone || job.running.is_some());
        self.config = Arc::new(config);
        Ok(())
    }

    fn reload(&mut self) {
        self.around.service.reloading();
        match (self.around.load)().and_then(|config| self.take_over(config)) {
            Ok(()) => {
                let jobs = self.jobs.values().filter(|job| !job.gone).count();
                self.tell(None, &News::Reloaded { jobs });
            }
            Err(error) => self.tell(None, &News::NotReloaded { error: &error }),
        }
        self.around.service.ready();
    }

    /// Notices that the clock did not go as time did.
    fn watch_clock(&mut self, now: DateTime<Utc>) {
        let instant = Instant::now();
        if let Some((then, since)) = self.looked.replace((now, instant)) {
            let passed = TimeDelta::from_std(instant - since).unwrap_or_default();
            let by = (now - then) - passed;
            if by.abs() > JUMP {
                self.tell(None, &News::ClockMoved { by });
            }
        }
    }

    /// Begins what is due as far as there is room; returns how long nothing more will be due.
    fn begin_due(&mut self, now: DateTime<Utc>) -> Duration {
        let mut due: Vec<(DateTime<Utc>, What, String, DateTime<Utc>)> = Vec::new();
        let mut wake: Option<DateTime<Utc>> = None;
        let mut later = |at: DateTime<Utc>| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let mut told = Vec::new();
        for (name, job) in self.jobs.iter_mut().filter(|(_, job)| !job.gone) {
            let Job { tables, record, running, told: waiting, .. } = job;
            for (what, table) in tables {
                match (next(table, record.of(*what), now), running.as_mut()) {
                    (Next::Never, _) => {}
                    (Next::At(at), _) => later(at),
                    (Next::Due { slot, since }, None) => due.push((since, *what, name.clone(), slot)),
                    (Next::Due { slot, .. }, Some(running)) => {
                        if running.what != *what {
                            if waiting.replace(slot) != Some(slot) {
                                told.push((name.clone(), News::Waits { what: *what, slot }));
                            }
                        } else if running.overtaken.unwrap_or(running.slot) < slot {
                            running.overtaken = Some(slot);
                            told.push((name.clone(), News::Skipped { what: *what, slot, running: running.slot }));
                        }
                        if let (_, Some(coming)) = table.around(now) {
                            later(table.begin(coming));
                        }
                    }
                }
            }
        }
        for (job, news) in told {
            self.tell(Some(&job), &news);
        }
        // What has waited longest comes first; of one job the backup, so that the drill has something to drill.
        let backups = due.iter().filter(|(_, what, ..)| *what == What::Backup);
        let backed_up: BTreeSet<String> = backups.map(|(_, _, name, _)| name.clone()).collect();
        due.retain(|(_, what, name, _)| *what == What::Backup || !backed_up.contains(name));
        due.sort();
        for (since, what, name, slot) in due {
            if self.tasks.len() >= self.config.run.concurrent_jobs as usize {
                break;
            }
            self.begin(&name, what, slot, since, now);
        }
        let until = wake.map_or(LOOK, |wake| (wake - now).to_std().unwrap_or_default());
        until.min(LOOK).min(self.around.service.period().unwrap_or(LOOK))
    }

    fn begin(&mut self, name: &str, what: What, slot: DateTime<Utc>, since: DateTime<Utc>, now: DateTime<Utc>) {
        let Some(job) = self.jobs.get_mut(name).filter(|job| job.running.is_none()) else { return };
        let track = job.record.of(what).clone();
        job.record.of_mut(what).begin(slot, now);
        job.running = Some(Running { what, slot, overtaken: None });
        let attempt = Attempt {
            runner: Arc::clone(&self.around.runner),
            listener: Arc::clone(&self.around.listener),
            clock: Arc::clone(&self.around.clock),
            config: Arc::clone(&self.config),
            job: job.config.clone(),
            what,
            slot,
            since,
            track,
        };
        self.save(name);
        let task = self.tasks.spawn(attempt.run());
        self.owners.insert(task.id(), name.to_owned());
    }

    fn ended(&mut self, joined: Result<(Id, Ended), JoinError>) -> Option<Error> {
        let (id, ended) = match joined {
            Ok((id, ended)) => (id, ended),
            // A bug in the work of one job shall not end the backups of all.
            Err(error) => {
                let failed = Error::new(ErrorKind::Failed, "the work ended unexpectedly");
                (error.id(), Ended::Failed(failed.caused_by(error)))
            }
        };
        let name = self.owners.remove(&id)?;
        let now = self.around.clock.now();
        let (Running { what, slot, overtaken }, gone) = {
            let job = self.jobs.get_mut(&name)?;
            (job.running.take()?, job.gone)
        };
        let track = self.jobs.get_mut(&name)?.record.of_mut(what);
        // What failed or had to wait is tried again for the slot that has come since.
        let newest = overtaken.unwrap_or(slot);
        let stopped = match ended {
            Ended::Done => {
                track.done(slot);
                if let Some(overtaken) = overtaken.filter(|overtaken| *overtaken <= now) {
                    track.skip(overtaken);
                }
                None
            }
            Ended::Locked(error) => {
                let again_at = track.locked(newest, now);
                self.tell(Some(&name), &News::Locked { what, again_at, error: &error });
                None
            }
            Ended::Failed(error) => {
                let again_at = track.failed(newest, now, error.one_line());
                let attempts = track.attempts;
                self.tell(Some(&name), &News::Failed { what, slot, attempts, again_at, error: &error });
                None
            }
            Ended::Stopped(error) => {
                track.stopped();
                self.tell(Some(&name), &News::Stopped { what });
                Some(error)
            }
        };
        self.save(&name);
        if gone {
            self.jobs.remove(&name);
        }
        stopped
    }

    async fn stop(mut self) -> Option<Error> {
        self.around.service.stopping();
        self.tell(None, &News::Stopping { running: self.tasks.len() });
        let mut stopped = None;
        while let Some(joined) = self.tasks.join_next_with_id().await {
            stopped = self.ended(joined).or(stopped);
        }
        self.tell(None, &News::Ended);
        stopped
    }

    fn save(&self, name: &str) {
        let Some(job) = self.jobs.get(name) else { return };
        if let Err(error) = job.record.save(&self.around.state_dir) {
            self.tell(Some(name), &News::Warning(&error.one_line()));
        }
    }

    fn tell(&self, job: Option<&str>, news: &News<'_>) {
        self.around.listener.tell(job, news);
    }

    /// What is due next, and when.
    fn upcoming(&mut self, now: DateTime<Utc>) -> Option<(String, What, DateTime<Utc>)> {
        let mut all = Vec::new();
        for (name, job) in self.jobs.iter_mut().filter(|(_, job)| !job.gone) {
            for (what, table) in &mut job.tables {
                match next(table, job.record.of(*what), now) {
                    Next::Due { .. } if job.running.is_none() => all.push((now, *what, name)),
                    Next::Due { .. } | Next::Never => {}
                    Next::At(at) => all.push((at, *what, name)),
                }
            }
        }
        all.into_iter().min().map(|(at, what, name)| (name.clone(), what, at))
    }

    /// Tells the service manager what is going on.
    fn show(&mut self, now: DateTime<Utc>) {
        let running: Vec<String> = self
            .jobs
            .iter()
            .filter_map(|(name, job)| job.running.map(|running| format!("{} of {name}", running.what)))
            .collect();
        let mut status =
            if running.is_empty() { "idle".to_owned() } else { format!("running: {}", running.join(", ")) };
        if let Some((job, what, at)) = self.upcoming(now) {
            let at = at.with_timezone(&self.config.timezone).format("%Y-%m-%d %H:%M:%S %Z");
            status.push_str(&format!("; next: {what} of {job} at {at}"));
        }
        self.around.service.status(status);
    }
}

/// The timetables of a job: none if it has no schedule.
fn timetables(job: &JobConfig, zone: Tz) -> Result<BTreeMap<What, Timetable>> {
    let drill = job.drill.as_ref().and_then(|drill| drill.schedule.as_ref());
    let mut tables = BTreeMap::new();
    for (what, schedule) in [(What::Backup, job.schedule.as_ref()), (What::Drill, drill)] {
        if let Some(schedule) = schedule {
            tables.insert(what, Timetable::new(&job.name, schedule, job.jitter, zone)?);
        }
    }
    Ok(tables)
}
