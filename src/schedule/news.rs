//! What happens in `pgkeep run`, told to whoever writes the log. The scheduler knows no form of log.

use super::due::What;
use crate::error::Error;
use crate::event::{Event, Observer};
use crate::ops::{BackupOutcome, CopyOutcome, DrillOutcome};
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;

/// Why something is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its time has come.
    Due,
    /// Its time came while nobody ran, or could run it.
    Missed,
    /// The job has no backup yet.
    First,
    /// It failed before; this is the attempt of that number, from 2 on.
    Again(u32),
}

/// Something that happened.
#[derive(Debug)]
pub enum News<'n> {
    /// The scheduler begins.
    Begun {
        /// How many jobs have a schedule.
        jobs: usize,
        /// What is due next, and when.
        next: Option<(&'n str, What, DateTime<Utc>)>,
    },
    /// Work begins.
    Started {
        /// What.
        what: What,
        /// The slot it is for.
        slot: DateTime<Utc>,
        /// Why now.
        why: Why,
    },
    /// A database was backed up, at least in part.
    Stored(&'n BackupOutcome),
    /// A copy that was missing was made, or could not be.
    Copied(&'n CopyOutcome),
    /// A backup was drilled, and judged.
    Drilled(&'n DrillOutcome),
    /// There was nothing to drill when the drill was due.
    NothingToDrill {
        /// The slot.
        slot: DateTime<Utc>,
    },
    /// Work failed.
    Failed {
        /// What.
        what: What,
        /// The slot it was for.
        slot: DateTime<Utc>,
        /// How many attempts have failed.
        attempts: u32,
        /// When it is tried again, unless the next slot comes before.
        again_at: DateTime<Utc>,
        /// Why.
        error: &'n Error,
    },
    /// Another run holds the job's lock.
    Locked {
        /// What had to wait.
        what: What,
        /// When it is tried again.
        again_at: DateTime<Utc>,
        /// Who holds it.
        error: &'n Error,
    },
    /// A slot came while the one before it was still worked on, and is left out.
    Skipped {
        /// What.
        what: What,
        /// The slot that is left out.
        slot: DateTime<Utc>,
        /// The slot that is still worked on.
        running: DateTime<Utc>,
    },
    /// Work waits until the other work of the same job ends.
    Waits {
        /// What waits.
        what: What,
        /// Its slot.
        slot: DateTime<Utc>,
    },
    /// Work was stopped; it is due again when the scheduler starts next.
    Stopped {
        /// What.
        what: What,
    },
    /// The clock did not go as time did: it was set, or the computer slept.
    ClockMoved {
        /// By how much it went ahead, or back if negative.
        by: TimeDelta,
    },
    /// The configuration was read again.
    Reloaded {
        /// How many jobs have a schedule.
        jobs: usize,
    },
    /// The configuration was to be read again and is wrong; the old one goes on.
    NotReloaded {
        /// What is wrong.
        error: &'n Error,
    },
    /// The scheduler was asked to stop.
    Stopping {
        /// How much work is stopped.
        running: usize,
    },
    /// The scheduler has ended.
    Ended,
    /// Something the user should know that is no failure.
    Warning(&'n str),
    /// Something worth a line in the log.
    Note(&'n str),
    /// Remains of an interrupted run were removed.
    Swept {
        /// Where.
        destination: &'n str,
        /// What.
        key: &'n str,
    },
}

/// Whoever listens. Must return quickly: the scheduler waits.
pub trait Listener: Send + Sync {
    /// Takes notice of `news`, of `job` if it is of one.
    fn tell(&self, job: Option<&str>, news: &News<'_>);
}

/// Passes on what the use-cases say while they work for one job.
pub(super) struct OfJob {
    pub(super) job: String,
    pub(super) listener: Arc<dyn Listener>,
}

impl Observer for OfJob {
    fn observe(&self, event: &Event) {
        let tell = |news: &News<'_>| self.listener.tell(Some(&self.job), news);
        match event {
            Event::Warning(warning) => tell(&News::Warning(warning)),
            Event::Note(note) => tell(&News::Note(note)),
            Event::Swept { destination, key } => tell(&News::Swept { destination, key }),
            // The outcome tells it.
            Event::Started { .. } | Event::Phase { .. } | Event::Stored { .. } | Event::Finished => {}
        }
    }
}
