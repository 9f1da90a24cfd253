//! When schedules are due: rule by rule, then random ones against a clock that is watched minute by minute, as cron(8)
//! watches it.

use super::*;
use chrono::Timelike;
use proptest::prelude::*;
use std::collections::VecDeque;

pub(super) fn crontab(text: &str, zone: Tz) -> Crontab {
    Crontab::new(&text.parse().unwrap(), zone).unwrap()
}

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The due times after `from`, before `to`.
fn due(text: &str, zone: Tz, from: &str, to: &str) -> Vec<String> {
    let crontab = crontab(text, zone);
    let dues = std::iter::successors(crontab.next_after(at(from)), |last| crontab.next_after(*last));
    dues.take_while(|due| *due < at(to)).map(|due| due.format("%m-%dT%H:%M").to_string()).collect()
}

#[test]
fn a_time_that_the_clock_skips_is_due_at_the_end_of_the_gap() {
    let weekend = |text| due(text, Tz::Europe__Berlin, "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
    assert_eq!(weekend("30 2 * * *"), ["03-31T01:00", "04-01T00:30"]);
    // Several times of the gap, and its end itself, are one instant.
    assert_eq!(
        weekend("0,30 2,3 * * *"),
        ["03-31T01:00", "03-31T01:30", "04-01T00:00", "04-01T00:30", "04-01T01:00", "04-01T01:30"]
    );
    assert_eq!(weekend("59 1 * * *"), ["03-31T00:59", "03-31T23:59"]);
    let lord_howe = due("15 2 * * *", Tz::Australia__Lord_Howe, "2024-10-04T18:00:00Z", "2024-10-07T00:00:00Z");
    assert_eq!(lord_howe, ["10-05T15:30", "10-06T15:15"]);
    let troll = due("10 1 * * *", Tz::Antarctica__Troll, "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
    assert_eq!(troll, ["03-31T01:00", "03-31T23:10"]);
}

#[test]
fn midnight_is_due_although_the_clock_skips_it() {
    let days = |zone, from, to| due("@daily", zone, from, to);
    let sao_paulo = days(Tz::America__Sao_Paulo, "2018-11-03T12:00:00Z", "2018-11-05T12:00:00Z");
    assert_eq!(sao_paulo, ["11-04T03:00", "11-05T02:00"]);
    // The clock of 2018-02-17 went back from midnight to 23:00: midnight comes once.
    let sao_paulo = days(Tz::America__Sao_Paulo, "2018-02-17T12:00:00Z", "2018-02-19T12:00:00Z");
    assert_eq!(sao_paulo, ["02-18T03:00", "02-19T03:00"]);
    // 23:00 on Saturday became Sunday: what is due on Saturdays at 23:30 is due then.
    let nuuk = due("30 23 * * sat", Tz::America__Nuuk, "2024-03-29T00:00:00Z", "2024-04-01T00:00:00Z");
    assert_eq!(nuuk, ["03-31T01:00"]);
}

#[test]
fn a_day_that_is_skipped_is_made_up_for_once() {
    // Samoa had no 2011-12-30: ten in the morning UTC was midnight of the 31st.
    let samoa = |text| due(text, Tz::Pacific__Apia, "2011-12-29T08:00:00Z", "2012-01-01T08:00:00Z");
    assert_eq!(
        samoa("0 2,14 * * *"),
        ["12-29T12:00", "12-30T00:00", "12-30T10:00", "12-30T12:00", "12-31T00:00", "12-31T12:00", "01-01T00:00"]
    );
    assert_eq!(samoa("0 2 30 * *"), ["12-30T10:00"]);
    assert_eq!(samoa("0 0 * * *"), ["12-29T10:00", "12-30T10:00", "12-31T10:00"]);
    assert_eq!(samoa("0 */12 30 * *"), [""; 0]);
}

#[test]
fn a_time_that_comes_twice_is_due_the_first_time() {
    let weekend = |text| due(text, Tz::Europe__Berlin, "2024-10-26T12:00:00Z", "2024-10-28T12:00:00Z");
    assert_eq!(weekend("30 2 * * *"), ["10-27T00:30", "10-28T01:30"]);
    assert_eq!(
        weekend("0,30 2,3 * * *"),
        [
            "10-27T00:00",
            "10-27T00:30",
            "10-27T02:00",
            "10-27T02:30",
            "10-28T01:00",
            "10-28T01:30",
            "10-28T02:00",
            "10-28T02:30"
        ]
    );
    // Between the two times, the second is not ahead but behind.
    let daily = crontab("30 2 * * *", Tz::Europe__Berlin);
    for instant in ["2024-10-27T00:30:00Z", "2024-10-27T01:10:00Z", "2024-10-27T01:30:00Z", "2024-10-28T01:29:59Z"] {
        assert_eq!(daily.next_after(at(instant)), Some(at("2024-10-28T01:30:00Z")), "{instant}");
        assert_eq!(daily.last_at_or_before(at(instant)), Some(at("2024-10-27T00:30:00Z")), "{instant}");
    }
}

#[test]
fn what_begins_with_a_star_follows_the_clock() {
    let spring = |text| due(text, Tz::Europe__Berlin, "2024-03-31T00:29:59Z", "2024-03-31T02:00:00Z");
    assert_eq!(
        spring("*/15 * * * *"),
        ["03-31T00:30", "03-31T00:45", "03-31T01:00", "03-31T01:15", "03-31T01:30", "03-31T01:45"]
    );
    assert_eq!(spring("@hourly"), ["03-31T01:00"]);
    assert_eq!(spring("*/15 2 * * *"), [""; 0]);
    let hourly = crontab("@hourly", Tz::Europe__Berlin);
    assert_eq!(hourly.last_at_or_before(at("2024-03-31T01:10:00Z")), Some(at("2024-03-31T01:00:00Z")));
    assert_eq!(hourly.last_at_or_before(at("2024-03-31T01:00:00Z")), Some(at("2024-03-31T01:00:00Z")));
    let autumn = |text| due(text, Tz::Europe__Berlin, "2024-10-26T23:59:59Z", "2024-10-27T02:00:01Z");
    assert_eq!(autumn("0 * * * *"), ["10-27T00:00", "10-27T01:00", "10-27T02:00"]);
    assert_eq!(autumn("*/30 2 * * *"), ["10-27T00:00", "10-27T00:30", "10-27T01:00", "10-27T01:30"]);
    // Half an hour is shown again, in which there is no full hour.
    let lord_howe = |text| due(text, Tz::Australia__Lord_Howe, "2024-04-06T14:00:00Z", "2024-04-06T16:00:00Z");
    assert_eq!(lord_howe("0 * * * *"), ["04-06T15:30"]);
    assert_eq!(lord_howe("*/30 * * * *"), ["04-06T14:30", "04-06T15:00", "04-06T15:30"]);
}

#[test]
fn days_are_either_or_both() {
    let days = |text| due(text, Tz::UTC, "2024-01-01T12:00:00Z", "2024-01-21T00:00:00Z");
    assert_eq!(days("0 0 13 * fri"), ["01-05T00:00", "01-12T00:00", "01-13T00:00", "01-19T00:00"]);
    assert_eq!(days("0 0 13 * *"), ["01-13T00:00"]);
    assert_eq!(days("0 0 */2 * fri"), ["01-05T00:00", "01-19T00:00"]);
    assert_eq!(days("0 0 2-6 * */5"), ["01-05T00:00"]);
    assert_eq!(
        days("0 0 19-20 * 5-7"),
        [
            "01-05T00:00",
            "01-06T00:00",
            "01-07T00:00",
            "01-12T00:00",
            "01-13T00:00",
            "01-14T00:00",
            "01-19T00:00",
            "01-20T00:00"
        ]
    );
}

#[test]
fn nought_and_seven_are_sunday() {
    for zone in [Tz::UTC, Tz::America__Bogota, Tz::Europe__Madrid] {
        let sundays = |text| due(text, zone, "2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
        assert_eq!(sundays("0 2 * * 0").len(), 104);
        for other in ["0 2 * * 7", "0 2 * * sun", "0 2 * * SUN,7", "0 2 * * 7-7", "0 2 * * */7"] {
            assert_eq!(sundays("0 2 * * 0"), sundays(other), "{other}");
        }
    }
}

#[test]
fn every_does_not_depend_on_the_clock_or_on_a_start() {
    let six = |zone| due("@every 6h", zone, "2024-10-26T21:00:00Z", "2024-10-27T18:00:00Z");
    assert_eq!(six(Tz::Europe__Berlin), ["10-27T00:00", "10-27T06:00", "10-27T12:00"]);
    assert_eq!(six(Tz::Europe__Berlin), six(Tz::Pacific__Apia));
    let seconds = crontab("@every 20s", Tz::UTC);
    assert_eq!(seconds.next_after(at("2024-01-01T00:00:19.999Z")), Some(at("2024-01-01T00:00:20Z")));
    assert_eq!(seconds.next_after(at("2024-01-01T00:00:20Z")), Some(at("2024-01-01T00:00:40Z")));
    assert_eq!(seconds.last_at_or_before(at("2024-01-01T00:00:39.999Z")), Some(at("2024-01-01T00:00:20Z")));
    assert_eq!(seconds.last_at_or_before(at("1969-12-31T23:59:59Z")), Some(at("1969-12-31T23:59:40Z")));
}

#[test]
fn rare_days_are_found_until_2100() {
    let leap = crontab("0 12 29 2 *", Tz::America__Bogota);
    assert_eq!(leap.next_after(at("2024-02-29T17:00:00Z")), Some(at("2028-02-29T17:00:00Z")));
    assert_eq!(leap.last_at_or_before(at("2024-02-29T16:59:59Z")), Some(at("2020-02-29T17:00:00Z")));
    assert_eq!(leap.next_after(at("2096-03-01T00:00:00Z")), None);
    let sunday = crontab("*/5 12 29 2 */7", Tz::Europe__Berlin);
    assert_eq!(sunday.next_after(at("2004-02-29T12:00:00Z")), Some(at("2032-02-29T11:00:00Z")));
    assert_eq!(sunday.last_at_or_before(at("2032-02-29T10:59:59Z")), Some(at("2004-02-29T11:55:00Z")));
}

#[test]
fn there_is_an_answer_for_every_instant() {
    for text in ["0 0 1 1 *", "* * * * *", "0 0 31 12 fri", "*/7 * 29 2 *"] {
        for zone in [Tz::UTC, Tz::Pacific__Kiritimati, Tz::Pacific__Pago_Pago] {
            let crontab = crontab(text, zone);
            for early in [DateTime::<Utc>::MIN_UTC, at("-9999-01-01T00:00:00Z"), at("1969-12-31T00:00:00Z")] {
                assert!(crontab.next_after(early).unwrap() < at("1976-03-01T00:00:00Z"), "{text} {zone} {early}");
                assert_eq!(crontab.last_at_or_before(early), None, "{text} {zone} {early}");
            }
            for late in [DateTime::<Utc>::MAX_UTC, at("9999-01-01T00:00:00Z"), at("2101-01-02T00:00:00Z")] {
                assert_eq!(crontab.next_after(late), None, "{text} {zone} {late}");
                assert!(crontab.last_at_or_before(late).unwrap() > at("2096-02-28T00:00:00Z"), "{text} {zone} {late}");
            }
        }
    }
    let every = crontab("@every 366d", Tz::UTC);
    for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
        assert!(every.next_after(instant).is_none_or(|next| next > instant));
        assert!(every.last_at_or_before(instant).is_none_or(|last| last <= instant));
    }
}

/// A time zone, and an instant not more than three days before and after which its clocks are changed.
pub(super) const CHANGES: [(Tz, &str); 20] = [
    (Tz::Europe__Berlin, "2024-03-31T01:00:00Z"),
    (Tz::Europe__Berlin, "2024-10-27T01:00:00Z"),
    (Tz::America__New_York, "2024-03-10T07:00:00Z"),
    (Tz::America__New_York, "2024-11-03T06:00:00Z"),
    // Half an hour.
    (Tz::Australia__Lord_Howe, "2024-04-06T15:00:00Z"),
    (Tz::Australia__Lord_Howe, "2024-10-05T15:30:00Z"),
    // Back for Ramadan.
    (Tz::Africa__Casablanca, "2024-03-10T02:00:00Z"),
    (Tz::Africa__Casablanca, "2024-04-14T02:00:00Z"),
    // At midnight.
    (Tz::America__Sao_Paulo, "2018-02-18T02:00:00Z"),
    (Tz::America__Sao_Paulo, "2018-11-04T03:00:00Z"),
    (Tz::America__Santiago, "2024-04-07T03:00:00Z"),
    (Tz::America__Santiago, "2024-09-08T04:00:00Z"),
    (Tz::Asia__Gaza, "2023-04-29T00:00:00Z"),
    (Tz::Asia__Gaza, "2023-10-27T23:00:00Z"),
    // Two hours.
    (Tz::Antarctica__Troll, "2024-03-31T01:00:00Z"),
    (Tz::Antarctica__Troll, "2024-10-27T01:00:00Z"),
    // Offsets of quarters of an hour.
    (Tz::Pacific__Chatham, "2024-04-06T14:00:00Z"),
    (Tz::Pacific__Chatham, "2024-09-28T14:00:00Z"),
    // The offset itself was changed, by half an hour.
    (Tz::Asia__Pyongyang, "2018-05-04T15:00:00Z"),
    (Tz::Asia__Pyongyang, "2015-08-14T15:00:00Z"),
];

/// Changes that leave out a day, or the end of one.
const SKIPPED_DAYS: [(Tz, &str); 4] = [
    (Tz::Pacific__Apia, "2011-12-30T10:00:00Z"),
    (Tz::Pacific__Kwajalein, "1993-08-21T12:00:00Z"),
    (Tz::America__Nuuk, "2024-03-31T01:00:00Z"),
    (Tz::America__Nuuk, "2024-10-27T01:00:00Z"),
];

#[test]
fn the_clocks_are_changed_where_the_tests_look() {
    for (zone, change) in CHANGES.into_iter().chain(SKIPPED_DAYS) {
        let found: Vec<_> =
            crontab("@daily", zone).changes(at(change) - SECOND * 3600, at(change) + SECOND * 3600).collect();
        assert_eq!(found, [at(change)], "{zone}");
    }
}

/// An item of a field in every form that crontab(5) has; stars often, that there be something to find.
fn item(lowest: u32, highest: u32, names: &'static [&'static str]) -> BoxedStrategy<String> {
    let range = (lowest..=highest, lowest..=highest).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let mut forms = vec![
        (4, (lowest..=highest).prop_map(|n| n.to_string()).boxed()),
        (2, range.clone().prop_map(|(from, to)| format!("{from}-{to}")).boxed()),
        (2, (range, 1..=20_u32).prop_map(|((from, to), step)| format!("{from}-{to}/{step}")).boxed()),
        (2, (2..=highest).prop_map(|step| format!("*/{step}")).boxed()),
    ];
    if !names.is_empty() {
        forms.push((2, proptest::sample::select(names).prop_map(str::to_owned).boxed()));
    }
    proptest::strategy::Union::new_weighted(forms).boxed()
}

fn field(stars: u32, lowest: u32, highest: u32, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let items = proptest::collection::vec(item(lowest, highest, names), 1..=3).prop_map(|items| items.join(","));
    prop_oneof![stars => Just("*".to_owned()), 4 => items]
}

/// Expressions that are due at some time. The hours are mostly those in which clocks are changed.
pub(super) fn expression() -> impl Strategy<Value = String> {
    const MONTHS: &[&str] =
        &["jan", "Feb", "MAR", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mar-oct", "Jan-Dec/2"];
    const DAYS: &[&str] = &["sun", "Mon", "TUE", "wed", "thu", "fri", "sat", "mon-fri", "5-7", "Sun-Tue", "0-7/3", "7"];
    let early = (0..=3_u32, 0..=59_u32).prop_map(|(hour, minute)| (minute.to_string(), hour.to_string()));
    let any = (field(1, 0, 59, &[]), prop_oneof![field(2, 0, 23, &[]), field(1, 0, 4, &[])]);
    let time = prop_oneof![1 => early, 3 => any];
    let words = prop_oneof![
        Just("@hourly"),
        Just("@Daily"),
        Just("@midnight"),
        Just("@weekly"),
        Just("@monthly"),
        Just("@yearly")
    ];
    let fields = (time, field(6, 1, 31, &[]), field(8, 1, 12, MONTHS), field(4, 0, 7, DAYS))
        .prop_map(|((minute, hour), day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"));
    prop_oneof![20 => fields, 1 => words.prop_map(str::to_owned)]
        .prop_filter("is due at some time", |text| text.parse::<Schedule>().is_ok())
}

fn names(calendar: &Calendar, time: NaiveDateTime) -> bool {
    let (day, weekday) =
        (calendar.days.contains(&time.day()), calendar.weekdays.contains(&time.weekday().num_days_from_sunday()));
    calendar.minutes.contains(&time.minute())
        && calendar.hours.contains(&time.hour())
        && calendar.months.contains(&time.month())
        && if calendar.either_day { day || weekday } else { day && weekday }
}

/// The due times in `[from, to)`, from watching the clock of `zone` minute by minute.
fn watched(calendar: &Calendar, zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> VecDeque<DateTime<Utc>> {
    let minute = TimeDelta::minutes(1);
    let shows = |instant: DateTime<Utc>| instant.with_timezone(&zone).naive_local();
    let mut found = VecDeque::new();
    let mut instant = from - TimeDelta::days(2);
    let mut reached = shows(instant);
    while instant < to {
        let shown = shows(instant);
        let mut is_due = !calendar.fixed && names(calendar, shown);
        while reached < shown {
            reached += minute;
            is_due |= calendar.fixed && names(calendar, reached);
        }
        if is_due && instant >= from {
            found.push_back(instant);
        }
        instant += minute;
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn due_times_are_those_of_a_clock_that_is_watched(
        text in expression(),
        (zone, change) in proptest::sample::select([&CHANGES[..], &SKIPPED_DAYS].concat()),
        seconds in proptest::collection::vec(0..4 * 24 * 3600_i64, 8),
    ) {
        let schedule: Schedule = text.parse().unwrap();
        let Due::Calendar(calendar) = schedule.due() else { panic!("{text}") };
        let crontab = Crontab::new(&schedule, zone).unwrap();
        let (from, to) = (at(change) - TimeDelta::days(2), at(change) + TimeDelta::days(2));
        let watched = watched(calendar, zone, from, to);
        let dues = std::iter::successors(crontab.next_after(from - SECOND), |last| crontab.next_after(*last));
        prop_assert_eq!(dues.take_while(|due| *due < to).collect::<VecDeque<_>>(), watched.clone());
        for instant in seconds.into_iter().map(|second| from + SECOND * second as i32) {
            let next = watched.iter().find(|due| **due > instant);
            let last = watched.iter().rfind(|due| **due <= instant);
            prop_assert_eq!(crontab.next_after(instant).filter(|next| *next < to), next.copied());
            prop_assert_eq!(crontab.last_at_or_before(instant).filter(|last| *last >= from), last.copied());
        }
    }

    #[test]
    fn the_last_due_time_and_the_next_fit_together(
        text in expression(),
        zone in proptest::sample::select(CHANGES.map(|(zone, _)| zone).to_vec()),
        seconds in 0..2_500_000_000_i64,
    ) {
        let crontab = crontab(&text, zone);
        let instant = DateTime::from_timestamp(seconds, 500).unwrap();
        let next = crontab.next_after(instant).unwrap();
        prop_assert!(next > instant);
        prop_assert_eq!(crontab.last_at_or_before(next), Some(next));
        let last = crontab.last_at_or_before(next - SECOND);
        prop_assert_eq!(last, crontab.last_at_or_before(instant));
        if let Some(last) = last {
            prop_assert!(last <= instant);
            prop_assert_eq!(crontab.next_after(last), Some(next));
        }
    }
}
