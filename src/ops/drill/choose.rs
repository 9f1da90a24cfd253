//! Which of several backups a random drill takes. Pure: the random number comes from outside.

use chrono::{DateTime, Utc};

/// What counts of a backup when one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// Its newest verification found it damaged.
    pub damaged: bool,
    /// When its newest drill that judged it began.
    pub drilled_at: Option<DateTime<Utc>>,
}

/// One of `all`, by the random number `draw`: an older one, so not the newest, if there is another. Damaged ones count only
/// where all are damaged. Those that were never drilled come first; after them it is one of the half that was drilled the
/// longest ago, so that none is drilled again before others had their turn.
pub fn choose<T>(all: &[T], standing: impl Fn(&T) -> Standing, draw: u64) -> Option<&T> {
    let mut good: Vec<(Standing, &T)> = all.iter().map(|one| (standing(one), one)).collect();
    if good.iter().any(|(one, _)| !one.damaged) {
        good.retain(|(one, _)| !one.damaged);
    }
    good.sort_by_key(|(one, _)| one.started_at);
    if good.len() > 1 {
        good.pop();
    }
    let never: Vec<&T> = good.iter().filter(|(one, _)| one.drilled_at.is_none()).map(|(_, one)| *one).collect();
    let pool = if never.is_empty() {
        good.sort_by_key(|(one, _)| one.drilled_at);
        good.truncate(good.len().div_ceil(2));
        good.into_iter().map(|(_, one)| one).collect()
    } else {
        never
    };
    let count = pool.len() as u64;
    pool.get(draw.checked_rem(count)? as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn day(day: i64) -> DateTime<Utc> {
        "2026-11-01T02:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::days(day)
    }

    fn standing(at: i64, damaged: bool, drilled: Option<i64>) -> Standing {
        Standing { started_at: day(at), damaged, drilled_at: drilled.map(day) }
    }

    fn chosen(all: &[Standing], draw: u64) -> Option<i64> {
        choose(all, |one| *one, draw).map(|one| (one.started_at - day(0)).num_days())
    }

    #[test]
    fn older_ones_that_were_never_drilled_come_first() {
        let all =
            [standing(1, false, Some(9)), standing(2, false, None), standing(3, false, None), standing(4, false, None)];
        let seen: Vec<_> = (0..4).map(|draw| chosen(&all, draw).unwrap()).collect();
        assert_eq!(seen, [2, 3, 2, 3]);
    }

    #[test]
    fn of_drilled_ones_the_half_that_waited_longest_is_drawn_from() {
        let all: Vec<Standing> = (1..=5).map(|at| standing(at, false, Some(20 - at))).collect();
        let seen: std::collections::BTreeSet<_> = (0..9).filter_map(|draw| chosen(&all, draw)).collect();
        assert_eq!(seen, [3, 4].into());
    }

    #[test]
    fn the_newest_and_damaged_ones_are_taken_only_where_there_is_no_other() {
        assert_eq!(chosen(&[], 7), None);
        assert_eq!(chosen(&[standing(1, false, None)], 7), Some(1));
        assert_eq!(
            chosen(&[standing(1, true, None), standing(2, false, Some(3)), standing(3, true, None)], 7),
            Some(2)
        );
        assert_eq!(chosen(&[standing(1, true, None), standing(2, true, None)], 7), Some(1));
    }

    proptest! {
        /// Drilled one after the other, each older backup has its turn before any has its second.
        #[test]
        fn none_is_repeated_needlessly(count in 2usize..12, draws in prop::collection::vec(any::<u64>(), 12)) {
            let mut all: Vec<Standing> = (0..count as i64).map(|at| standing(at, false, None)).collect();
            let mut seen = Vec::new();
            for (turn, draw) in draws.iter().take(count - 1).enumerate() {
                let at = chosen(&all, *draw).unwrap() as usize;
                prop_assert!(!seen.contains(&at));
                all[at].drilled_at = Some(day(100 + turn as i64));
                seen.push(at);
            }
        }
    }
}
