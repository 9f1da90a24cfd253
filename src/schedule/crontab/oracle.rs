//! A second opinion on due times: the crate `croner`, which was written without knowledge of the crate `cron`.
//!
//! It takes crontab(5) too, except `@midnight`, with four differences, each of which a test below holds it to:
//!
//! * Only a field that *is* `*` leaves the other field of days alone, not one that begins with it, as in Vixie cron.
//!   It is told in each case whether both must match.
//! * Only one minute of one hour is a time of day. Of `0,30 2 * * *` it is asked for 02:00 and for 02:30.
//! * What a gap skips it holds against the fields of days again at the end of the gap, which may be in the next day.
//! * It gives up in gaps longer than two hours.

use super::tests::{CHANGES, at, crontab, expression};
use super::*;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use proptest::prelude::*;

fn croner(text: &str, both_days: bool) -> Cron {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).dom_and_dow(both_days).build();
    parser.parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The expressions that `croner` is asked about: those of crontab(5)'s times of day one by one.
fn questions(text: &str) -> Vec<Cron> {
    let schedule: Schedule = text.parse().unwrap();
    let Due::Calendar(calendar) = schedule.due() else { panic!("{text}") };
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if calendar.fixed && fields.len() == 5 {
        let times = calendar.minutes.iter().flat_map(|minute| calendar.hours.iter().map(move |hour| (minute, hour)));
        let days = fields[2..].join(" ");
        times.map(|(minute, hour)| croner(&format!("{minute} {hour} {days}"), !calendar.either_day)).collect()
    } else {
        vec![croner(&text.replace("@midnight", "@daily"), !calendar.either_day)]
    }
}

/// What `croner` finds in `(from, to]`.
fn found(questions: &[Cron], zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> BTreeSet<DateTime<Utc>> {
    let start = from.with_timezone(&zone);
    let of = |cron: &Cron| {
        let dues = cron.clone().iter_after(start).map(|due| due.to_utc());
        dues.take_while(|due| *due <= to).collect::<Vec<_>>()
    };
    questions.iter().flat_map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn croner_finds_the_same_times(
        text in expression(),
        (zone, change) in proptest::sample::select(CHANGES.to_vec()),
        before in 0..3 * 24 * 3600_i64,
    ) {
        let crontab = crontab(&text, zone);
        let from = at(change) - TimeDelta::seconds(before);
        let dues = std::iter::successors(crontab.next_after(from), |last| crontab.next_after(*last));
        let dues: Vec<_> = dues.take(40).take_while(|due| *due < at("2040-01-01T00:00:00Z")).collect();
        let Some(to) = dues.last().copied() else { return Ok(()) };
        let questions = questions(&text);
        let theirs: Vec<_> = found(&questions, zone, from, to).into_iter().collect();
        prop_assert_eq!(&dues, &theirs, "{} {} after {}", text, zone, from);

        let last = questions.iter().filter_map(|cron| {
            cron.find_previous_occurrence(&from.with_timezone(&zone), true).ok()
        });
        prop_assert_eq!(crontab.last_at_or_before(from), last.map(|last| last.to_utc()).max(), "{} {} at {}", text, zone, from);
    }
}

/// The first time that `croner` finds after `from`.
fn first_found(text: &str, zone: Tz, from: &str) -> Option<DateTime<Utc>> {
    let found = croner(text, false).find_next_occurrence(&at(from).with_timezone(&zone), false);
    found.ok().map(|found| found.to_utc())
}

#[test]
fn croner_takes_a_star_with_a_step_for_a_restriction() {
    let (text, from) = ("0 0 */2 * fri", "2024-01-01T12:00:00Z");
    assert_eq!(first_found(text, Tz::UTC, from), Some(at("2024-01-03T00:00:00Z")));
    assert_eq!(crontab(text, Tz::UTC).next_after(at(from)), Some(at("2024-01-05T00:00:00Z")));
}

#[test]
fn croner_skips_a_list_of_times_in_a_gap() {
    let (text, zone, from) = ("0,30 2 * * *", Tz::Europe__Berlin, "2024-03-30T12:00:00Z");
    assert_eq!(first_found(text, zone, from), Some(at("2024-04-01T00:00:00Z")));
    assert_eq!(crontab(text, zone).next_after(at(from)), Some(at("2024-03-31T01:00:00Z")));
}

#[test]
fn croner_loses_a_time_of_a_gap_over_the_end_of_a_day() {
    let (text, zone, from) = ("30 23 * * sat", Tz::America__Nuuk, "2024-03-29T00:00:00Z");
    assert_eq!(first_found(text, zone, from), Some(at("2024-04-07T00:30:00Z")));
    assert_eq!(crontab(text, zone).next_after(at(from)), Some(at("2024-03-31T01:00:00Z")));
}

#[test]
fn croner_gives_up_in_a_day_that_is_skipped() {
    let (text, zone, from) = ("0 2 * * *", Tz::Pacific__Apia, "2011-12-30T00:00:00Z");
    assert_eq!(first_found(text, zone, from), None);
    assert_eq!(crontab(text, zone).next_after(at(from)), Some(at("2011-12-30T10:00:00Z")));
}
