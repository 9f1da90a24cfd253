//! One attempt: a look at the catalogue, and the work if the slot is not done yet.

use super::due::{Track, What};
use super::facts::Facts;
use super::news::{Listener, News, Why};
use crate::clock::Clock;
use crate::config::{Config, JobConfig};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;

/// How late a slot may begin before it counts as missed.
const LATE: TimeDelta = TimeDelta::seconds(90);

/// Who does the work. Errors of kind `Interrupted` or `Terminated` say that it was stopped, `Locked` that another run of the
/// job is at work.
#[async_trait]
pub trait Runner: Send + Sync {
    /// What the catalogue knows of `job`.
    async fn look(&self, config: &Arc<Config>, job: &JobConfig) -> Result<Facts>;
    /// Backs up the databases of `job` that `facts` do not show as done for `slot`.
    async fn backup(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()>;
    /// Drills the newest good backup of each database of `job` that was not drilled since `slot`.
    async fn drill(&self, config: &Arc<Config>, job: &JobConfig, slot: DateTime<Utc>, facts: &Facts) -> Result<()>;
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The slot is done.
    Done,
    /// Another run of the job is at work.
    Locked(Error),
    /// It was asked to stop.
    Stopped(Error),
    /// It failed.
    Failed(Error),
}

/// What is attempted, with everything that it needs.
pub(super) struct Attempt<R> {
    pub(super) runner: Arc<R>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: Arc<Config>,
    pub(super) job: JobConfig,
    pub(super) what: What,
    pub(super) slot: DateTime<Utc>,
    pub(super) since: DateTime<Utc>,
    /// What was remembered before it began.
    pub(super) track: Track,
}

impl<R: Runner> Attempt<R> {
    pub(super) async fn run(self) -> Ended {
        match self.work().await {
            Ok(()) => Ended::Done,
            Err(error) if stopped(&error) => Ended::Stopped(error),
            Err(error) if error.kind() == ErrorKind::Locked => Ended::Locked(error),
            Err(error) => Ended::Failed(error),
        }
    }

    async fn work(&self) -> Result<()> {
        let (job, slot) = (&self.job, self.slot);
        let (facts, looked) = match (self.runner.look(&self.config, job).await, self.what) {
            (Ok(facts), _) => (facts, true),
            // A backup needs no catalogue. What was done is remembered, as far as it goes.
            (Err(error), What::Backup) if !stopped(&error) => {
                let warning = format!("what is stored could not be read: {}", error.one_line());
                self.listener.tell(Some(&job.name), &News::Warning(&warning));
                (Facts::default(), false)
            }
            (Err(error), _) => return Err(error),
        };
        let now = self.clock.now();
        if self.track.remembers(slot, !facts.complete, now) {
            return Ok(());
        }
        let started = |why| self.listener.tell(Some(&job.name), &News::Started { what: self.what, slot, why });
        let why = match self.track.attempts {
            failed if failed > 0 && self.track.slot == Some(slot) => Why::Again(failed + 1),
            _ if now - self.since > LATE => Why::Missed,
            _ => Why::Due,
        };
        match self.what {
            What::Backup => {
                // Which databases there are is not known here: that it was begun and not finished is.
                let unfinished = job.databases == crate::config::Databases::All && self.track.is_unfinished(slot);
                if facts.backup_done(&job.databases, slot, now) && !unfinished {
                    return Ok(());
                }
                let first = looked && facts.taken.is_empty() && matches!(why, Why::Due | Why::Missed);
                started(if first { Why::First } else { why });
                self.runner.backup(&self.config, job, slot, &facts).await
            }
            What::Drill => {
                if !facts.drillable(slot) && !self.track.was_tried(slot) {
                    // Missed before there was anything to drill: then there is nothing to say.
                    if why == Why::Due {
                        self.listener.tell(Some(&job.name), &News::NothingToDrill { slot });
                    }
                    return Ok(());
                }
                if facts.undrilled(&job.databases, slot, now).is_empty() {
                    return Ok(());
                }
                started(why);
                self.runner.drill(&self.config, job, slot, &facts).await
            }
        }
    }
}

fn stopped(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated)
}

#[cfg(test)]
mod tests;
