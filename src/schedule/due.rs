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
const LONGEST_GRACE: TimeDelta = TimeDelta::hours(1);

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

    /// Whether `slot` was begun and not done, as far as is remembered.
    pub fn is_unfinished(&self, slot: DateTime<Utc>) -> bool {
        self.slot == Some(slot) && self.done.is_none_or(|done| done < slot) && self.begun_at.is_some()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn nightly(jitter: Option<Duration>) -> Timetable {
        Timetable::new("shop", &"0 2 * * *".parse().unwrap(), jitter, chrono_tz::America::Bogota).unwrap()
    }

    fn due(slot: &str) -> Next {
        Next::Due { slot: at(slot), since: at(slot) }
    }

    #[test]
    fn the_newest_slot_is_due_until_it_is_settled_and_older_ones_never() {
        let mut table = nightly(None);
        let mut track = Track::default();
        assert_eq!(next(&mut table, &track, at("2026-11-22T07:00:00Z")), due("2026-11-22T07:00:00Z"));
        assert_eq!(next(&mut table, &track, at("2026-11-25T12:00:00Z")), due("2026-11-25T07:00:00Z"));
        track.done(at("2026-11-25T07:00:00Z"));
        assert_eq!(next(&mut table, &track, at("2026-11-25T12:00:00Z")), Next::At(at("2026-11-26T07:00:00Z")));
        assert_eq!(next(&mut table, &track, at("2026-11-26T07:00:00Z")), due("2026-11-26T07:00:00Z"));
    }

    #[test]
    fn what_failed_is_tried_again_after_growing_pauses_until_the_next_slot() {
        let mut table = nightly(None);
        let (mut track, slot) = (Track::default(), at("2026-11-22T07:00:00Z"));
        let mut now = slot;
        let mut pauses = Vec::new();
        while let Next::Due { slot: due, .. } = next(&mut table, &track, now) {
            assert_eq!(due, slot);
            track.begin(slot, now);
            let again = track.failed(slot, now, "away".to_owned());
            pauses.push((again - now).num_minutes());
            assert_eq!(next(&mut table, &track, again - TimeDelta::seconds(1)), Next::At(again));
            now = again;
            if pauses.len() == 7 {
                break;
            }
        }
        assert_eq!(pauses, [1, 5, 15, 30, 60, 60, 60]);
        let tomorrow = at("2026-11-23T07:00:00Z");
        assert_eq!(next(&mut table, &track, tomorrow), due("2026-11-23T07:00:00Z"));
        track.begin(tomorrow, tomorrow);
        assert_eq!(track.attempts, 0);
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_nothing_waiting() {
        let mut table = nightly(None);
        let mut track = Track::default();
        track.done(at("2027-11-22T07:00:00Z"));
        assert_eq!(next(&mut table, &track, at("2026-11-22T08:00:00Z")), due("2026-11-22T07:00:00Z"));
        track.settled = None;
        track.failed(at("2026-11-22T07:00:00Z"), at("2027-11-22T07:00:00Z"), "away".to_owned());
        assert_eq!(next(&mut table, &track, at("2026-11-22T08:00:00Z")), due("2026-11-22T07:00:00Z"));
        assert!(!track.remembers(at("2026-11-22T07:00:00Z"), true, at("2026-11-22T08:00:00Z")));
    }

    #[test]
    fn jitter_is_fixed_by_job_and_slot_and_never_reaches_the_next_slot() {
        let hour = Duration::from_secs(3600);
        let table = nightly(Some(hour));
        let slots: Vec<_> = (0..50).map(|day| at("2026-11-22T07:00:00Z") + TimeDelta::days(day)).collect();
        let late: Vec<i64> = slots.iter().map(|slot| (table.begin(*slot) - *slot).num_seconds()).collect();
        assert_eq!(late, slots.iter().map(|slot| (table.begin(*slot) - *slot).num_seconds()).collect::<Vec<_>>());
        assert!(late.iter().all(|late| (0..=3600).contains(late)), "{late:?}");
        assert!(late.iter().collect::<std::collections::BTreeSet<_>>().len() > 40, "{late:?}");
        let mut other = table.clone();
        other.job = "crm".to_owned();
        assert!(slots.iter().any(|slot| other.begin(*slot) != table.begin(*slot)));
        let often = Timetable::new("shop", &"* * * * *".parse().unwrap(), Some(hour), chrono_tz::UTC).unwrap();
        for minute in 0..1000 {
            let slot = at("2026-11-22T07:00:00Z") + TimeDelta::minutes(minute);
            assert!(often.begin(slot) - slot <= TimeDelta::seconds(30));
        }
    }

    #[test]
    fn a_slot_with_jitter_is_due_when_its_work_begins() {
        let mut table = nightly(Some(Duration::from_secs(3600)));
        let slot = at("2026-11-22T07:00:00Z");
        let begin = table.begin(slot);
        assert!(begin > slot);
        assert_eq!(next(&mut table, &Track::default(), slot), Next::At(begin));
        assert_eq!(next(&mut table, &Track::default(), begin), Next::Due { slot, since: begin });
    }

    #[test]
    fn a_process_that_died_once_is_forgiven_and_twice_is_not() {
        let mut table = nightly(None);
        let (mut track, slot) = (Track::default(), at("2026-11-22T07:00:00Z"));
        let soon = slot + TimeDelta::seconds(10);
        track.begin(slot, slot);
        track.wake();
        assert_eq!(next(&mut table, &track, soon), due("2026-11-22T07:00:00Z"));
        track.begin(slot, soon);
        track.wake();
        assert_eq!(next(&mut table, &track, soon), Next::At(soon + TimeDelta::minutes(1)));
        assert!(track.is_unfinished(slot));
        track.done(slot);
        assert!(!track.is_unfinished(slot));
    }

    #[test]
    fn a_stopped_attempt_is_no_failed_one() {
        let mut table = nightly(None);
        let (mut track, slot) = (Track::default(), at("2026-11-22T07:00:00Z"));
        track.begin(slot, slot);
        track.stopped();
        track.wake();
        assert_eq!((track.attempts, track.failed_at), (0, None));
        assert_eq!(next(&mut table, &track, slot), due("2026-11-22T07:00:00Z"));
    }

    #[test]
    fn an_hour_of_grace_or_half_of_the_interval() {
        let slot = at("2026-11-22T07:00:00Z");
        assert_eq!(nightly(None).grace(slot), TimeDelta::hours(1));
        let often = Timetable::new("shop", &"*/10 * * * *".parse().unwrap(), None, chrono_tz::UTC).unwrap();
        assert_eq!(often.grace(slot), TimeDelta::minutes(5));
    }
}
