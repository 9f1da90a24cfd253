//! Which backups are kept: a pure plan with reasons, made from what a destination holds, the policy and the time.
//!
//! A plan is made for one job, one database and one destination. Whatever any rule keeps stays; all of it is decided in UTC,
//! so that neither daylight saving time nor a second computer in another zone changes an answer.

mod gap;
mod reason;

pub use reason::{Every, KeepReason};

use crate::config::Retention;
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use chrono::{DateTime, TimeDelta, Utc};

/// How far ahead of `now` the newest backup may be: clocks of several computers differ a little.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// What is known of a backup's bytes at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The newest verification found it intact, or nobody has verified it.
    Good,
    /// The newest verification found it damaged.
    Damaged,
}

/// A backup that may be kept or deleted: one with a manifest that can be read. What has none is nobody's to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BackupId,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
    /// Kept until it is unpinned.
    pub pinned: bool,
    /// Kept until then.
    pub keep_until: Option<DateTime<Utc>>,
    /// What is known of its bytes.
    pub condition: Condition,
    /// When the newest drill of it passed.
    pub drilled: Option<DateTime<Utc>>,
}

/// What becomes of one backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Its id.
    pub id: BackupId,
    /// Whether it stays.
    pub keep: bool,
    /// Every rule that keeps it; none if it goes.
    pub reasons: Vec<KeepReason>,
}

/// What becomes of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The newest first.
    pub decisions: Vec<Decision>,
    /// Why nobody should carry this out without having looked at it: a clock that may have been wrong.
    pub hold: Option<String>,
}

impl Plan {
    /// Whether the plan keeps `id`; `false` for one that it does not know.
    pub fn keeps(&self, id: &BackupId) -> bool {
        self.decisions.iter().any(|decision| decision.id == *id && decision.keep)
    }
}

/// What becomes of `candidates`, the backups of one database at one destination, by `policy` at `now`.
///
/// - `within` keeps everything that is not older.
/// - `hourly` to `yearly` keep the last good one of each of so many periods, counting only periods that have good ones.
/// - `at_least` keeps so many good ones, the newest; the newest good one stays even with 0, and so does the newest good
///   one that a drill has proved.
/// - A pin keeps a backup until it is unpinned, `keep_until` until then.
/// - A damaged backup fills no place of the rules above but `within` and pins; it stays while there are fewer than
///   `at_least` good ones, for then something of it may be wanted.
///
/// The only error is `Refused`: the newest backup is of the future, so `now` or its time is wrong.
pub fn plan(policy: &Retention, candidates: &[Candidate], now: DateTime<Utc>) -> Result<Plan> {
    let mut all: Vec<&Candidate> = candidates.iter().collect();
    all.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
    if let Some(newest) = all.first()
        && newest.started_at > now + CLOCK_TOLERANCE
    {
        return Err(of_the_future(newest, now));
    }
    let good: Vec<&Candidate> = all.iter().copied().filter(|one| one.condition == Condition::Good).collect();
    let places = Places::new(policy, &good);
    let mut rank = 0;
    let decide = |candidate: &&Candidate| {
        let mut reasons = by_time(policy, candidate, now);
        if candidate.condition == Condition::Good {
            reasons.extend(places.of(rank));
            rank += 1;
        } else if good.len() < policy.at_least as usize {
            reasons.push(KeepReason::TooFewGood(policy.at_least));
        }
        Decision { id: candidate.id.clone(), keep: !reasons.is_empty(), reasons }
    };
    let decisions: Vec<Decision> = all.iter().map(decide).collect();
    let loses_good = all.iter().zip(&decisions).any(|(one, what)| one.condition == Condition::Good && !what.keep);
    let times: Vec<DateTime<Utc>> = good.iter().map(|one| one.started_at).collect();
    let hold = if loses_good { gap::suspicious(policy, &times, now) } else { None };
    Ok(Plan { decisions, hold })
}

fn of_the_future(newest: &Candidate, now: DateTime<Utc>) -> Error {
    let form = "%Y-%m-%d %H:%M:%S UTC";
    Error::new(
        ErrorKind::Refused,
        format!(
            "nothing is deleted: the newest backup {} is of {}, and this computer's clock says {}",
            newest.id,
            newest.started_at.format(form),
            now.format(form)
        ),
    )
    .hint(format!(
        "set the clock right; if it is right, it was wrong when {} was taken: once there is a newer good backup, delete that \
         one's folder",
        newest.id
    ))
}

/// What keeps `candidate` for its own sake, whatever others there are.
fn by_time(policy: &Retention, candidate: &Candidate, now: DateTime<Utc>) -> Vec<KeepReason> {
    let mut reasons = Vec::new();
    if candidate.pinned {
        reasons.push(KeepReason::Pinned);
    }
    if let Some(until) = candidate.keep_until.filter(|until| *until > now) {
        reasons.push(KeepReason::KeptUntil(until));
    }
    if let Some(within) = policy.within {
        // A duration that no calendar holds keeps everything.
        let reach = TimeDelta::from_std(within).unwrap_or(TimeDelta::MAX);
        if now.signed_duration_since(candidate.started_at) <= reach {
            reasons.push(KeepReason::Within(within));
        }
    }
    reasons
}

/// The places that good backups fill, by their rank: 0 is the newest.
struct Places {
    at_least: u32,
    newest_drilled: Option<usize>,
    periods: Vec<Vec<KeepReason>>,
}

impl Places {
    fn new(policy: &Retention, good: &[&Candidate]) -> Self {
        let mut periods = vec![Vec::new(); good.len()];
        for (every, number) in [
            (Every::Hour, policy.hourly),
            (Every::Day, policy.daily),
            (Every::Week, policy.weekly),
            (Every::Month, policy.monthly),
            (Every::Year, policy.yearly),
        ] {
            let mut taken = 0;
            let mut last = String::new();
            // The newest first: the first one met in a period is the last one of it.
            for (one, reasons) in good.iter().zip(&mut periods) {
                if taken == number {
                    break;
                }
                let period = every.period(one.started_at);
                if period != last {
                    taken += 1;
                    last.clone_from(&period);
                    reasons.push(KeepReason::Last { every, period });
                }
            }
        }
        let newest_drilled = good.iter().position(|one| one.drilled.is_some());
        Self { at_least: policy.at_least, newest_drilled, periods }
    }

    fn of(&self, rank: usize) -> Vec<KeepReason> {
        let mut reasons = Vec::new();
        if rank == 0 {
            reasons.push(KeepReason::NewestGood);
        }
        if self.newest_drilled == Some(rank) {
            reasons.push(KeepReason::NewestDrilled);
        }
        if rank < self.at_least as usize && self.at_least > 1 {
            reasons.push(KeepReason::AtLeast(self.at_least));
        }
        reasons.extend(self.periods.get(rank).into_iter().flatten().cloned());
        reasons
    }
}
