//! The planner against times that were worked out by hand.

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
