//! A hole among the newest backups: the sign of a clock that jumped, or of an outage so long that what is older than it
//! should not be deleted by a machine alone.
//!
//! A clock that is wrong by a year makes every older backup look expired. The newest `at_least` ones stay in any case;
//! this keeps the rest until as many backups again stand on this side of the hole, or somebody prunes by hand.

use super::reason::duration;
use crate::config::Retention;
use chrono::{DateTime, TimeDelta, Utc};
use std::time::Duration;

/// What is a long time where no `within` says so.
const LONG: Duration = Duration::from_secs(30 * 86_400);

/// So many times longer than usual is suspicious.
const TIMES: i32 = 3;

/// Gaps that are compared with, at the least, where there are so many backups.
const COMPARED: usize = 3;

/// What is suspicious about `good`, the times of the good backups, the newest first.
///
/// Looked at are the gaps between the `at_least` + 1 newest ones, and the time since the newest. One is suspicious if it is
/// longer than `within` (30 days where there is none) and more than three times the median of the others; where there are no
/// others to compare with, if it is long.
pub(super) fn suspicious(policy: &Retention, good: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<String> {
    let long = policy.within.unwrap_or(LONG);
    let looked_at = (policy.at_least as usize).max(1);
    let between: Vec<(TimeDelta, DateTime<Utc>, DateTime<Utc>)> = good
        .windows(2)
        .take(looked_at.max(COMPARED))
        .filter_map(|pair| match pair {
            [newer, older] => Some((*newer - *older, *older, *newer)),
            _ => None,
        })
        .collect();
    let since = good.first().map(|newest| (now - *newest, *newest, now));
    let is_long = |gap: TimeDelta| gap.to_std().is_ok_and(|gap| gap > long);
    let unusual = |gap: TimeDelta, others: Vec<TimeDelta>| median(others).is_none_or(|usual| gap > usual * TIMES);
    let others = |left_out: Option<usize>| {
        let all = between.iter().enumerate();
        all.filter(|(index, _)| Some(*index) != left_out).map(|(_, (gap, ..))| *gap).collect::<Vec<_>>()
    };
    let hole = since.filter(|(gap, ..)| is_long(*gap) && unusual(*gap, others(None))).or_else(|| {
        let hole =
            |(index, (gap, ..)): &(usize, &(TimeDelta, _, _))| is_long(*gap) && unusual(*gap, others(Some(*index)));
        between.iter().take(looked_at).enumerate().find(hole).map(|(_, found)| *found)
    });
    hole.map(|(gap, from, to)| {
        let day = |at: DateTime<Utc>| at.format("%Y-%m-%d");
        format!(
            "there is no good backup between {} and {}, {} days, which is longer than {} and than usual: was a clock wrong, \
             or did backups fail?",
            day(from),
            day(to),
            gap.num_days(),
            duration(long)
        )
    })
}

/// The median, the smaller one of two in the middle.
fn median(mut gaps: Vec<TimeDelta>) -> Option<TimeDelta> {
    gaps.sort_unstable();
    gaps.get(gaps.len().checked_sub(1)? / 2).copied()
}
