//! When schedules are due, rule by rule, and against a clock that is read minute by minute.

use super::*;

fn crontab(text: &str, zone: Tz) -> Crontab {
    Crontab::new(&text.parse().unwrap(), zone).unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
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
    let week = |text| due(text, Tz::Europe__Berlin, "2024-03-30T12:00:00Z", "2024-04-01T12:00:00Z");
    assert_eq!(week("30 2 * * *"), ["03-31T01:00", "04-01T00:30"]);
}
