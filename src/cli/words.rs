//! Numbers, durations, ages and names in the words of people.

use crate::destination::{scaled, size_in_words};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// A size in bytes, in powers of ten as storage is sold: `1.5 GB`.
pub(super) fn bytes(bytes: u64) -> String {
    size_in_words(bytes)
}

/// A number, exact while it is short: `9876`, `3.2 M`.
pub(super) fn count(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    scaled(number, &[" k", " M", " G", " T", " P", " E"])
}

/// A number and what is counted: `1 table`, `3.2 M rows`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// How many times smaller the stored bytes are: `4.2x`.
pub(super) fn ratio(sql_bytes: u64, stored_bytes: u64) -> String {
    if stored_bytes == 0 {
        return "-".to_owned();
    }
    format!("{:.1}x", sql_bytes as f64 / stored_bytes as f64)
}

/// A duration: `340 ms`, `12.3 s`, `4m 05s`, `2h 03m`, `1d 02h`.
pub(super) fn seconds(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {:02}s", whole % 60),
        (0, _) => format!("{hours}h {:02}m", minutes % 60),
        _ => format!("{days}d {:02}h", hours % 24),
    }
}

/// Bytes a second over `elapsed` seconds; `None` where that says nothing.
pub(super) fn rate(passed: u64, elapsed: f64) -> Option<String> {
    (elapsed > 0.05 && passed > 0).then(|| format!("{}/s", bytes((passed as f64 / elapsed) as u64)))
}

/// How long ago `then` was: `just now`, `3h ago`, `12d ago`. Clocks differ, so it may also be `in 5m`.
pub(super) fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = (now - then).num_seconds();
    let words = match passed.unsigned_abs() {
        0..60 => return "just now".to_owned(),
        s @ 60..3600 => format!("{}m", s / 60),
        s @ 3600..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    };
    if passed < 0 { format!("in {words}") } else { format!("{words} ago") }
}

/// A moment in the user's time zone, with how long ago it was.
pub(super) fn moment(then: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> String {
    format!("{} ({})", then.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z"), age(then, now))
}

/// A text from outside on one line, with nothing in it that a terminal would obey: names of tables, labels and the
/// messages of servers may hold anything.
pub(super) fn printable(text: &str) -> String {
    // Marks of direction reorder what stands beside them, and so make one name look like another.
    let deceives = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || deceives(c) { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_499_999, "1.5 MB"),
            (99_960_000, "100 MB"),
            (210_000_000, "210 MB"),
            (999_700_000, "1.0 GB"),
            (1_500_000_000, "1.5 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn counts_are_exact_while_they_are_short() {
        assert_eq!(counted(1, "table", "tables"), "1 table");
        assert_eq!(counted(0, "table", "tables"), "0 tables");
        assert_eq!(counted(9_999, "row", "rows"), "9999 rows");
        assert_eq!(counted(12_345, "row", "rows"), "12.3 k rows");
        assert_eq!(counted(3_200_000, "row", "rows"), "3.2 M rows");
    }

    #[test]
    fn durations_never_show_sixty_of_anything() {
        for (duration, text) in [
            (0.34, "340 ms"),
            (0.9999, "1.0 s"),
            (12.34, "12.3 s"),
            (59.96, "1m 00s"),
            (245.0, "4m 05s"),
            (3599.6, "1h 00m"),
            (7380.0, "2h 03m"),
            (93_600.0, "1d 02h"),
            (f64::NAN, "0 ms"),
            (-3.0, "0 ms"),
        ] {
            assert_eq!(seconds(duration), text);
        }
    }

    #[test]
    fn ages_are_short_and_survive_clocks_that_differ() {
        let now = DateTime::from_timestamp(1_795_312_800, 0).unwrap();
        for (passed, text) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1m ago"),
            (3 * 3600 + 5, "3h ago"),
            (47 * 3600, "47h ago"),
            (49 * 3600, "2d ago"),
            (400 * 86_400, "400d ago"),
            (-300, "in 5m"),
        ] {
            assert_eq!(age(now - chrono::TimeDelta::seconds(passed), now), text);
        }
        assert_eq!(moment(now, now, chrono_tz::America::Bogota), "2026-11-21 21:00:00 -05 (just now)");
    }

    #[test]
    fn a_ratio_or_rate_of_nothing_is_none() {
        assert_eq!(ratio(420, 100), "4.2x");
        assert_eq!(ratio(420, 0), "-");
        assert_eq!(rate(100_000_000, 2.0).as_deref(), Some("50.0 MB/s"));
        assert_eq!(rate(100, 0.0), None);
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}"), "a\\u{1b}[2Jb\\nc\\u{202e}");
        assert_eq!(printable("señal"), "señal");
    }
}
