//! The plan of retention against each of its rules, written again as plainly as can be.

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use pgkeep::config::Retention;
use pgkeep::error::ErrorKind;
use pgkeep::id::BackupId;
use pgkeep::retention::{Candidate, Condition, Every, KeepReason, Plan, plan};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DAY: u64 = 86_400;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("2026-11-22T02:00:00Z")
}

/// A good backup of that time that nobody pinned or drilled.
fn good(started_at: DateTime<Utc>) -> Candidate {
    let id = BackupId::new(started_at, 0);
    Candidate { id, started_at, pinned: false, keep_until: None, condition: Condition::Good, drilled: None }
}

fn nights(number: i64) -> Vec<Candidate> {
    (0..number).map(|night| good(now() - TimeDelta::days(night))).collect()
}

fn only(at_least: u32) -> Retention {
    Retention { within: None, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, at_least }
}

fn kept(plan: &Plan) -> BTreeSet<BackupId> {
    plan.decisions.iter().filter(|decision| decision.keep).map(|decision| decision.id.clone()).collect()
}

fn policies() -> impl Strategy<Value = Retention> {
    let within = proptest::option::of((0u64..80 * 24).prop_map(|hours| Duration::from_secs(hours * 3600)));
    (within, 0u32..6, 0u32..6, 0u32..6, 0u32..6, 0u32..4, 1u32..7).prop_map(
        |(within, hourly, daily, weekly, monthly, yearly, at_least)| Retention {
            within,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            at_least,
        },
    )
}

/// Seconds ago; pinned, damaged, drilled; for how many days it is kept.
type Drawn = (u64, (bool, bool, bool), Option<i64>);

/// Backups of the last days, weeks or years, some in the same second, some of them odd.
fn histories() -> impl Strategy<Value = Vec<Candidate>> {
    let reach = prop_oneof![Just(3 * DAY), Just(60 * DAY), Just(1500 * DAY)];
    let one = |reach: u64| {
        let odds = (prop::bool::weighted(0.1), prop::bool::weighted(0.25), prop::bool::weighted(0.2));
        (0..reach, odds, proptest::option::weighted(0.1, -40i64..40))
    };
    let several = reach.prop_flat_map(move |reach| proptest::collection::vec(one(reach), 0..40));
    several.prop_map(|drawn| {
        let candidate = |(number, drawn): (usize, Drawn)| {
            let (ago, (pinned, damaged, drilled), keep) = drawn;
            // Whole quarters of an hour, so that some are of the same time.
            let started_at = now() - TimeDelta::seconds((ago / 900 * 900) as i64);
            Candidate {
                id: BackupId::new(started_at, number as u16),
                started_at,
                pinned,
                keep_until: keep.map(|days| now() + TimeDelta::days(days)),
                condition: if damaged { Condition::Damaged } else { Condition::Good },
                drilled: drilled.then_some(started_at + TimeDelta::days(2)),
            }
        };
        drawn.into_iter().enumerate().map(candidate).collect()
    })
}

type Ids = BTreeSet<BackupId>;

fn ids<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Ids {
    candidates.map(|one| one.id.clone()).collect()
}

/// The last one of each of the newest `number` groups.
fn last_of_each<K: Ord>(good: &[Candidate], number: u32, group: impl Fn(DateTime<Utc>) -> K) -> Ids {
    let mut groups: BTreeMap<K, Vec<&Candidate>> = BTreeMap::new();
    for one in good {
        groups.entry(group(one.started_at)).or_default().push(one);
    }
    let last = |group: Vec<&Candidate>| {
        group.into_iter().max_by_key(|one| (one.started_at, one.id.clone())).unwrap().id.clone()
    };
    groups.into_values().rev().take(number as usize).map(last).collect()
}

/// What each rule keeps.
fn rules(policy: &Retention, all: &[Candidate], now: DateTime<Utc>) -> Vec<(&'static str, Ids)> {
    let mut good: Vec<Candidate> = all.iter().filter(|one| one.condition == Condition::Good).cloned().collect();
    good.sort_by_key(|one| std::cmp::Reverse((one.started_at, one.id.clone())));
    let young = |one: &&Candidate| {
        policy.within.is_some_and(|within| (now - one.started_at).num_seconds() as u64 <= within.as_secs())
    };
    let damaged = all.iter().filter(|one| one.condition == Condition::Damaged && good.len() < policy.at_least as usize);
    vec![
        ("within", ids(all.iter().filter(young))),
        ("pinned", ids(all.iter().filter(|one| one.pinned))),
        ("kept until", ids(all.iter().filter(|one| one.keep_until > Some(now)))),
        ("newest good", ids(good.iter().take(1))),
        ("newest drilled", ids(good.iter().filter(|one| one.drilled.is_some()).take(1))),
        ("one of the", ids(good.iter().take(policy.at_least as usize))),
        ("damaged", ids(damaged)),
        ("hourly", last_of_each(&good, policy.hourly, |at| (at.date_naive(), at.hour()))),
        ("daily", last_of_each(&good, policy.daily, |at| at.date_naive())),
        (
            "weekly",
            last_of_each(&good, policy.weekly, |at| {
                at.date_naive() - TimeDelta::days(at.weekday().num_days_from_monday().into())
            }),
        ),
        ("monthly", last_of_each(&good, policy.monthly, |at| (at.year(), at.month()))),
        ("yearly", last_of_each(&good, policy.yearly, |at| at.year())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_plan_keeps_what_any_rule_keeps_and_says_which(policy in policies(), all in histories()) {
        let plan = plan(&policy, &all, now()).unwrap();
        let rules = rules(&policy, &all, now());
        let any: Ids = rules.iter().flat_map(|(_, ids)| ids.clone()).collect();
        prop_assert_eq!(kept(&plan), any);
        for decision in &plan.decisions {
            prop_assert_eq!(decision.keep, !decision.reasons.is_empty());
            let said: Vec<String> = decision.reasons.iter().map(ToString::to_string).collect();
            for (rule, ids) in &rules {
                let expected = ids.contains(&decision.id) && !(*rule == "one of the" && policy.at_least == 1);
                let found = said.iter().any(|reason| reason.starts_with(rule));
                prop_assert_eq!(found, expected, "{} {}: {:?}", decision.id, rule, said);
            }
        }
        let order: Vec<_> = plan.decisions.iter().map(|one| (one.id.started_at(), one.id.clone())).collect();
        prop_assert!(order.is_sorted_by(|a, b| a > b));
        prop_assert_eq!(order.len(), all.len());
    }

    #[test]
    fn never_fewer_good_ones_than_at_least(policy in policies(), all in histories()) {
        let kept = kept(&plan(&policy, &all, now()).unwrap());
        let good: Vec<&Candidate> = all.iter().filter(|one| one.condition == Condition::Good).collect();
        let left = good.iter().filter(|one| kept.contains(&one.id)).count();
        prop_assert!(left >= good.len().min(policy.at_least as usize));
    }

    #[test]
    fn larger_numbers_keep_no_less(policy in policies(), more in policies(), all in histories()) {
        let larger = Retention {
            within: policy.within.map(|within| within + more.within.unwrap_or_default()).or(more.within),
            hourly: policy.hourly + more.hourly,
            daily: policy.daily + more.daily,
            weekly: policy.weekly + more.weekly,
            monthly: policy.monthly + more.monthly,
            yearly: policy.yearly + more.yearly,
            at_least: policy.at_least + more.at_least,
        };
        let (few, many) = (plan(&policy, &all, now()).unwrap(), plan(&larger, &all, now()).unwrap());
        prop_assert!(kept(&few).is_subset(&kept(&many)));
    }

    #[test]
    fn time_alone_only_lets_go(policy in policies(), all in histories(), hours in 0i64..20_000) {
        let later = plan(&policy, &all, now() + TimeDelta::hours(hours)).unwrap();
        prop_assert!(kept(&later).is_subset(&kept(&plan(&policy, &all, now()).unwrap())));
    }

    #[test]
    fn the_order_of_the_backups_does_not_matter(policy in policies(), all in histories(), seed in any::<u64>()) {
        let mut shuffled = all.clone();
        let mut numbers = crate::support::Numbers(seed | 1);
        for index in (1..shuffled.len()).rev() {
            shuffled.swap(index, numbers.below(index as u64 + 1) as usize);
        }
        prop_assert_eq!(plan(&policy, &shuffled, now()).unwrap(), plan(&policy, &all, now()).unwrap());
    }

    #[test]
    fn damaged_ones_take_nobodys_place(policy in policies(), all in histories()) {
        let good: Vec<Candidate> = all.iter().filter(|one| one.condition == Condition::Good).cloned().collect();
        let with = plan(&policy, &all, now()).unwrap();
        let without = plan(&policy, &good, now()).unwrap();
        let of_good = |plan: &Plan| {
            let theirs = plan.decisions.iter().filter(|one| good.iter().any(|good| good.id == one.id));
            theirs.cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(of_good(&with), without.decisions);
    }

    #[test]
    fn a_plan_that_is_held_would_delete_something_good(policy in policies(), all in histories()) {
        let plan = plan(&policy, &all, now()).unwrap();
        let kept = kept(&plan);
        let loses = all.iter().any(|one| one.condition == Condition::Good && !kept.contains(&one.id));
        prop_assert!(plan.hold.is_none() || loses);
    }
}

#[test]
fn outages_lose_no_period() {
    // A backup on the first of some months only.
    let days = ["2026-11-01", "2026-08-01", "2026-07-01", "2025-12-01", "2024-02-01"];
    let all: Vec<Candidate> = days.iter().map(|day| good(at(&format!("{day}T02:00:00Z")))).collect();
    let plan = plan(&Retention { monthly: 4, ..only(1) }, &all, now()).unwrap();
    let reasons = |index: usize| plan.decisions[index].reasons.clone();
    assert_eq!(kept(&plan).len(), 4);
    assert_eq!(reasons(3), [KeepReason::Last { every: Every::Month, period: "2025-12".into() }]);
    assert_eq!(reasons(4), []);
}

#[test]
fn a_clock_that_went_back_deletes_nothing() {
    let all = nights(60);
    let refused = plan(&only(1), &all, now() - TimeDelta::minutes(6)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains(all[0].id.as_str()), "{refused}");
    assert!(refused.hint_text().unwrap().contains("clock"));
    // Two computers never agree to the second.
    assert_eq!(kept(&plan(&only(1), &all, now() - TimeDelta::minutes(4)).unwrap()).len(), 1);
}

#[test]
fn a_clock_that_jumped_ahead_is_suspicious_until_enough_new_ones_stand() {
    let policy = Retention::default();
    let mut all = nights(40);
    assert_eq!(plan(&policy, &all, now()).unwrap().hold, None, "nothing is odd about every night");
    for night in 0..4 {
        let ahead = now() + TimeDelta::days(400 + night);
        all.push(good(ahead));
        let plan = plan(&policy, &all, ahead).unwrap();
        let lost = 40 + night as usize + 1 - kept(&plan).len();
        assert!(lost >= 36, "{lost}");
        let held = plan.hold.is_some_and(|why| why.contains("2026-11-22") && why.contains("days"));
        assert_eq!(held, night < 3, "night {night}");
    }
}

#[test]
fn a_plan_by_hand_long_after_the_newest_backup_is_suspicious() {
    let plan = plan(&Retention::default(), &nights(40), now() + TimeDelta::days(90)).unwrap();
    assert!(plan.hold.is_some());
    assert_eq!(kept(&plan).len(), 3);
}

#[test]
fn rare_backups_are_not_suspicious_for_being_rare() {
    let months: Vec<Candidate> = (0..12).map(|month| good(now() - TimeDelta::days(31 * month))).collect();
    let plan = plan(&Retention { within: Some(Duration::from_secs(7 * DAY)), ..only(2) }, &months, now()).unwrap();
    assert_eq!((plan.hold, plan.decisions.iter().filter(|one| one.keep).count()), (None, 2));
}

#[test]
fn damaged_ones_stay_while_there_is_nothing_better() {
    let mut all = nights(60);
    for one in &mut all {
        one.condition = Condition::Damaged;
    }
    for one in all.iter_mut().skip(50).take(2) {
        one.condition = Condition::Good;
    }
    let old = now() + TimeDelta::days(100);
    assert_eq!(kept(&plan(&only(3), &all, old).unwrap()).len(), 60);
    all[55].condition = Condition::Good;
    let three = plan(&only(3), &all, old).unwrap();
    assert_eq!(kept(&three).len(), 3);
    assert!(three.keeps(&all[55].id) && !three.keeps(&all[0].id));
}
