//! What is due: a schedule, what became of its due times so far, and the time of day tell what to do next. Pure.
//!
//! A due time is called a slot. Only the newest slot that has come is ever worked on: whatever was missed before it is
//! caught up by that one run.

use super::Crontab;
use crate::config::Schedule;
use crate::error::Result;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How far another computer's clock may be ahead. What is dated later than that was dated by a clock that was wrong, and
/// says nothing about what is due now.
pub(super) const SKEW: TimeDelta = TimeDelta::minutes(5);

/// The pauses after failed attempts; the last one stays.
const PAUSES: [TimeDelta; 5] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
    TimeDelta::minutes(30),
    TimeDelta::minutes(60),
];

/// How long to wait for a lock that another run holds.
pub(super) const LOCK_PAUSE: TimeDelta = TimeDelta::minutes(1);

/// How soon a backup or drill that has not been done is overdue.
pub(super) const LONGEST_GRACE: TimeDelta = TimeDelta::hours(1);

/// What can be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A backup of every database of a job.
    Backup,
    /// A drill of the newest backup of every database of a job.
    Drill,
}

impl What {
    /// Both, in the order in which they are begun.
    pub const ALL: [Self; 2] = [Self::Backup, Self::Drill];
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Drill => "drill",
        })
    }
}

/// The newest slot that has come, and the next one.
type Window = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// The slots of one job's backups or drills.
#[derive(Debug, Clone)]
pub struct Timetable {
    job: String,
    crontab: Crontab,
    jitter: Duration,
    /// Holds until the next slot comes or the clock goes back.
    window: Option<Window>,
}

impl Timetable {
    /// The slots of `schedule` where clocks show the time of `zone`; work begins up to `jitter` later.
    pub fn new(job: &str, schedule: &Schedule, jitter: Option<Duration>, zone: Tz) -> Result<Self> {
        let crontab = Crontab::new(schedule, zone)?;
        Ok(Self { job: job.to_owned(), crontab, jitter: jitter.unwrap_or_default(), window: None })
    }

    /// The newest slot that has come at `now`, and the next one.
    pub fn around(&mut self, now: DateTime<Utc>) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let holds = |(last, next): &Window| last.is_some_and(|last| last <= now) && next.is_some_and(|next| now < next);
        match self.window.filter(holds) {
            Some(window) => window,
            None => *self.window.insert((self.crontab.last_at_or_before(now), self.crontab.next_after(now))),
        }
    }

    /// The slot before `slot`.
    pub fn before(&self, slot: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.crontab.last_at_or_before(slot - TimeDelta::seconds(1))
    }

    /// When the work of `slot` begins: later by an amount that job and slot fix, up to the jitter and never more than half of
    /// the time to the next slot.
    pub fn begin(&self, slot: DateTime<Utc>) -> DateTime<Utc> {
        if self.jitter.is_zero() {
            return slot;
        }
        let half = self.interval(slot) / 2;
        let most = TimeDelta::from_std(self.jitter).unwrap_or(half).min(half).num_seconds().max(0);
        let digest = Sha256::digest(format!("{}\0{}", self.job, slot.timestamp()).as_bytes());
        let number = digest.iter().take(7).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        slot + TimeDelta::seconds(number % (most + 1))
    }

    /// How long after `slot` what has not been done is overdue: an hour, or half of the time to the next slot if that is
    /// shorter, after the jitter.
    pub fn grace(&self, slot: DateTime<Utc>) -> TimeDelta {
        self.begin(slot) - slot + LONGEST_GRACE.min(self.interval(slot) / 2)
    }

    /// The time to the next slot.
    fn interval(&self, slot: DateTime<Utc>) -> TimeDelta {
        self.crontab.next_after(slot).map_or(TimeDelta::days(1), |next| next - slot)
    }
}

/// What became of one job's backups or drills so far. It is kept in the state folder, but for `settled`: what was done
/// the catalogue tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    /// The newest slot that needs nothing more, as this process knows.
    #[serde(skip)]
    pub settled: Option<DateTime<Utc>>,
    /// The newest slot that was done. It counts where the catalogue cannot be read in full.
    pub done: Option<DateTime<Utc>>,
    /// The newest slot that was skipped, for the one before it took so long.
    pub skipped: Option<DateTime<Utc>>,
    /// The slot that was tried last.
    pub slot: Option<DateTime<Utc>>,
    /// When it was tried last.
    pub begun_at: Option<DateTime<Utc>>,
    /// That attempt has not ended; or its process did before.
    pub running: bool,
    /// How many attempts of that slot have failed.
    pub attempts: u32,
    /// When that slot is tried again.
    pub again_at: Option<DateTime<Utc>>,
    /// When an attempt failed last, of whatever slot.
    pub failed_at: Option<DateTime<Utc>>,
    /// The slot of that attempt.
    pub failed_slot: Option<DateTime<Utc>>,
    /// Why.
    pub error: Option<String>,
}

impl Track {
    /// An attempt of `slot` begins.
    pub fn begin(&mut self, slot: DateTime<Utc>, now: DateTime<Utc>) {
        if self.slot != Some(slot) {
            self.attempts = 0;
        }
        self.slot = Some(slot);
        self.begun_at = Some(now);
        self.running = true;
        self.again_at = None;
    }

    /// `slot` needs nothing more, for it was done.
    pub fn done(&mut self, slot: DateTime<Utc>) {
        self.done = Some(slot);
        self.skipped = self.skipped.filter(|skipped| *skipped <= slot);
        self.settle(slot);
    }

    /// `slot` came while the one before it was still worked on.
    pub fn skip(&mut self, slot: DateTime<Utc>) {
        self.skipped = Some(slot);
        self.settle(slot);
    }

    fn settle(&mut self, slot: DateTime<Utc>) {
        self.settled = Some(slot);
        self.running = false;
        self.attempts = 0;
        self.again_at = None;
    }

    /// The attempt of `slot` failed because of `error`; returns when it is tried again.
    pub fn failed(&mut self, slot: DateTime<Utc>, now: DateTime<Utc>, error: String) -> DateTime<Utc> {
        self.attempts = if self.slot == Some(slot) { self.attempts.saturating_add(1) } else { 1 };
        self.slot = Some(slot);
        self.running = false;
        self.failed_at = Some(now);
        self.failed_slot = Some(slot);
        self.error = Some(error);
        let again_at = now + pause(self.attempts);
        self.again_at = Some(again_at);
        again_at
    }

    /// Another run holds the lock: `slot` is tried again soon, which is no failure. Returns when.
    pub fn locked(&mut self, slot: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        if self.slot != Some(slot) {
            self.attempts = 0;
        }
        self.slot = Some(slot);
        self.running = false;
        let again_at = now + LOCK_PAUSE;
        self.again_at = Some(again_at);
        again_at
    }

    /// The attempt was stopped: the slot is as due as before.
    pub fn stopped(&mut self) {
        self.running = false;
    }

    /// The state as the next process finds it, which waits for nothing: who starts it again may have mended what failed. An
    /// attempt that never ended died with its process: the first such is repeated at once, for computers do crash; further
    /// ones after pauses, for the job may be what brings them down.
    pub fn wake(&mut self) {
        self.settled = None;
        self.again_at = None;
        if std::mem::take(&mut self.running) {
            self.attempts = self.attempts.saturating_add(1);
            let begun_at = self.begun_at.filter(|_| self.attempts > 1);
            self.again_at = begun_at.map(|at| at + pause(self.attempts - 1));
        }
    }

    /// Whether `slot` was begun, or an attempt of it or of a later one failed, and none was done, as far as is remembered.
    pub fn is_unfinished(&self, slot: DateTime<Utc>) -> bool {
        let begun = self.slot == Some(slot) && self.begun_at.is_some();
        let failed = self.failed_slot.is_some_and(|failed| slot <= failed);
        (begun || failed) && self.done.is_none_or(|done| done < slot)
    }

    /// Whether `slot` or one after it was begun or failed, and none of them was done.
    pub fn was_tried(&self, slot: DateTime<Utc>) -> bool {
        let begun = self.slot.filter(|_| self.begun_at.is_some());
        let tried = [begun, self.failed_slot].into_iter().flatten().any(|tried| slot <= tried);
        tried && self.done.is_none_or(|done| done < slot)
    }

    /// Whether `slot` was skipped, or, where `trusted`, done: as far as is remembered by a clock that agrees with `now`.
    pub fn remembers(&self, slot: DateTime<Utc>, trusted: bool, now: DateTime<Utc>) -> bool {
        let covers = |at: &DateTime<Utc>| slot <= *at && *at <= now + SKEW;
        self.skipped.as_ref().is_some_and(covers) || trusted && self.done.as_ref().is_some_and(covers)
    }
}

/// The pause after so many failed attempts.
fn pause(attempts: u32) -> TimeDelta {
    let index = (attempts.max(1) - 1) as usize;
    PAUSES.get(index).copied().unwrap_or(TimeDelta::minutes(60))
}

/// What is to be done for a timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This slot is due, since that moment.
    Due {
        /// The slot.
        slot: DateTime<Utc>,
        /// Since when its work could have begun.
        since: DateTime<Utc>,
    },
    /// Something is due then: a slot, or the next attempt of one.
    At(DateTime<Utc>),
    /// Nothing is ever due again.
    Never,
}

/// What is to be done at `now`. A clock that was ahead and was set right makes nothing wait: what was remembered of the
/// future is forgotten.
pub fn next(timetable: &mut Timetable, track: &Track, now: DateTime<Utc>) -> Next {
    let (last, coming) = timetable.around(now);
    let settled = track.settled.filter(|settled| *settled <= now + SKEW);
    let coming = coming.map(|slot| timetable.begin(slot));
    let Some(slot) = last.filter(|slot| settled.is_none_or(|settled| settled < *slot)) else {
        return coming.map_or(Next::Never, Next::At);
    };
    let longest = PAUSES.iter().max().copied().unwrap_or_default();
    let again = track.again_at.filter(|again| track.slot == Some(slot) && *again <= now + longest + SKEW);
    let since = again.unwrap_or_else(|| timetable.begin(slot));
    if since <= now {
        return Next::Due { slot, since };
    }
    Next::At(coming.map_or(since, |coming| coming.min(since)))
}
