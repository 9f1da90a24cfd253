//! Ten years of nightly backups at 02:00 in New York, with failures, outages, damage, and a clock that jumps.

use crate::support::Numbers;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::America::New_York;
use pgkeep::config::Retention;
use pgkeep::error::ErrorKind;
use pgkeep::id::BackupId;
use pgkeep::retention::{Candidate, Condition, plan};
use std::collections::BTreeSet;

/// Of this many days a jump ahead may be without anybody noticing: so much earlier may backups go.
const SLACK: i64 = 10;

/// What was taken while the clock was right, and was good: its true time.
type Honest = Vec<DateTime<Utc>>;

struct Years {
    numbers: Numbers,
    policy: Retention,
    stored: Vec<Candidate>,
    honest: Honest,
    /// How far the computer's clock is from the truth, and for how many nights more.
    offset: TimeDelta,
    wrong_for: u64,
    outage_for: u64,
    refused: u32,
    quiet_for: u32,
    deleted: usize,
    held: usize,
    refusals: usize,
}

/// 02:00 in New York; where the clocks skip it, 03:00.
fn night(day: NaiveDate) -> DateTime<Utc> {
    let two = day.and_time(NaiveTime::from_hms_opt(2, 0, 0).unwrap());
    let there = New_York.from_local_datetime(&two).earliest();
    there.or_else(|| New_York.from_local_datetime(&(two + TimeDelta::hours(1))).earliest()).unwrap().to_utc()
}

impl Years {
    fn pass(&mut self, truth: DateTime<Utc>) {
        self.quiet_for += 1;
        if self.wrong_for == 0 {
            self.offset = TimeDelta::zero();
        }
        self.wrong_for = self.wrong_for.saturating_sub(1);
        // One trouble at a time: what the last jump left is cleared away before the next.
        let settled = self.stored.iter().all(|one| one.started_at <= truth);
        if self.wrong_for == 0 && self.offset.is_zero() && settled {
            let jump = match self.numbers.below(400) {
                0 => TimeDelta::days(60 + self.numbers.below(500) as i64),
                1 => TimeDelta::days(1 + self.numbers.below(SLACK as u64) as i64),
                2 => -TimeDelta::hours(1 + self.numbers.below(24 * 40) as i64),
                _ => TimeDelta::zero(),
            };
            if !jump.is_zero() {
                self.offset = jump;
                // Wrong for at most `at_least` nights: for so long the gap is among those that are looked at.
                self.wrong_for = self.numbers.below(u64::from(self.policy.at_least));
                self.quiet_for = 0;
            }
        }
        if self.outage_for == 0 && self.numbers.below(300) == 0 {
            self.outage_for = 5 + self.numbers.below(70);
        }
        if self.outage_for > 0 {
            self.outage_for -= 1;
            self.quiet_for = 0;
            return;
        }
        // A run that fails deletes nothing.
        if self.numbers.below(12) > 0 {
            self.back_up(truth);
        }
    }

    fn back_up(&mut self, truth: DateTime<Utc>) {
        let clock = truth + self.offset;
        let damaged = self.numbers.below(30) == 0;
        let mut random = 0;
        while self.stored.iter().any(|one| one.id == BackupId::new(clock, random)) {
            random += 1;
        }
        let new = Candidate {
            id: BackupId::new(clock, random),
            started_at: clock,
            pinned: false,
            keep_until: None,
            condition: if damaged { Condition::Damaged } else { Condition::Good },
            drilled: (self.numbers.below(7) == 0).then_some(clock),
        };
        if self.offset.is_zero() && !damaged {
            self.honest.push(truth);
        }
        self.stored.push(new.clone());
        let good = |stored: &[Candidate]| stored.iter().filter(|one| one.condition == Condition::Good).count();
        let before = good(&self.stored);
        match plan(&self.policy, &self.stored, clock) {
            Err(refused) => {
                assert_eq!(refused.kind(), ErrorKind::Refused);
                assert!(self.stored.iter().any(|one| one.started_at > clock + TimeDelta::minutes(5)), "{refused}");
                self.refusals += 1;
                self.refused += 1;
                self.quiet_for = 0;
                // After some nights somebody reads the warning, and does as the hint says.
                if self.offset.is_zero() && self.refused > 4 {
                    self.stored.retain(|one| one.started_at <= truth);
                }
            }
            Ok(plan) if plan.hold.is_some() => {
                self.held += 1;
                self.quiet_for = 0;
            }
            Ok(plan) => {
                self.refused = 0;
                let all = self.stored.len();
                self.stored.retain(|one| plan.keeps(&one.id));
                self.deleted += all - self.stored.len();
                assert!(good(&self.stored) >= before.min(self.policy.at_least as usize), "the floor at {truth}");
                assert!(self.stored.contains(&new), "the newest at {truth}");
            }
        }
        self.check(truth);
    }

    fn check(&self, truth: DateTime<Utc>) {
        let good: Vec<DateTime<Utc>> =
            self.stored.iter().filter(|one| one.condition == Condition::Good).map(|one| one.started_at).collect();
        // What is young by the true time is there, and one of each of the newest months that had any.
        for taken in self.honest.iter().filter(|taken| truth - **taken <= TimeDelta::days(30 - SLACK)) {
            assert!(good.contains(taken), "{taken} is gone at {truth}");
        }
        let month = |at: &DateTime<Utc>| (at.year(), at.month());
        let had: BTreeSet<(i32, u32)> = self.honest.iter().map(month).collect();
        let have: BTreeSet<(i32, u32)> = good.iter().map(month).collect();
        for wanted in had.iter().rev().take(self.policy.monthly as usize - 1) {
            assert!(have.contains(wanted), "nothing of {wanted:?} at {truth}");
        }
        // And what should go does go.
        if self.quiet_for > 45 {
            assert!(self.stored.len() <= 31 + 12 + 3, "{} stored at {truth}", self.stored.len());
        }
    }
}

#[test]
fn ten_years_of_nights_lose_nothing_that_should_be_kept() {
    for seed in 1..=12 {
        let mut years = Years {
            numbers: Numbers(0x9e37_79b9 * seed),
            policy: Retention { monthly: 12, ..Retention::default() },
            stored: Vec::new(),
            honest: Vec::new(),
            offset: TimeDelta::zero(),
            wrong_for: 0,
            outage_for: 0,
            refused: 0,
            quiet_for: 0,
            deleted: 0,
            held: 0,
            refusals: 0,
        };
        let first = NaiveDate::from_ymd_opt(2026, 11, 22).unwrap();
        for day in first.iter_days().take(3653) {
            years.pass(night(day));
        }
        // The years were as eventful as they should be.
        assert!(years.deleted > 1500 && years.held > 0 && years.refusals > 0, "{seed}");
    }
}
