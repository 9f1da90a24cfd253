//! A crontab(5) expression, checked and taken apart. When it is next due is the scheduler's business.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// The longest that each month gets, January first.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The words of crontab(5) and the fields that they stand for.
/// `@reboot` is missing on purpose: it names an event, not a time, so nothing could be overdue.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const EVERY: &str = "@every";
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The fields of a line: name, lowest and highest number, names of values and the number of the first name.
const FIELDS: [(&str, u32, u32, &[&str], u32); 5] = [
    ("minute", 0, 59, &[], 0),
    ("hour", 0, 23, &[], 0),
    ("day of the month", 1, 31, &[], 0),
    ("month", 1, 12, &MONTHS, 1),
    ("day of the week", 0, 7, &DAYS, 0),
];

/// When something is due: five crontab fields, `@daily` and its kin, or `@every 6h`. 0 and 7 are Sunday.
/// One that can never be due is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schedule {
    text: String,
    due: Due,
}

/// What a [`Schedule`] says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Due {
    /// At certain times of certain days.
    Calendar(Calendar),
    /// At the multiples of this since 1970-01-01T00:00:00Z: whole seconds, 1 s to 366 days.
    Every(Duration),
}

/// The fields of a crontab line, as the values that they allow. None is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// 0 to 59.
    pub minutes: BTreeSet<u32>,
    /// 0 to 23.
    pub hours: BTreeSet<u32>,
    /// Days of the month, 1 to 31.
    pub days: BTreeSet<u32>,
    /// 1 to 12.
    pub months: BTreeSet<u32>,
    /// Days of the week, 0 (Sunday) to 6.
    pub weekdays: BTreeSet<u32>,
    /// Whether a day needs to be in only one of `days` and `weekdays`, not in both: neither field begins with `*`
    /// (Vixie cron's DOM_STAR and DOW_STAR).
    pub either_day: bool,
    /// Whether neither the minute nor the hour begins with `*` (Vixie cron's MIN_STAR and HR_STAR): a time of day, which
    /// a change of the clock must neither lose nor repeat.
    pub fixed: bool,
}

impl Schedule {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn due(&self) -> &Due {
        &self.due
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let due = due(text).map_err(|why| {
            Error::new(ErrorKind::Config, format!("{text:?} is no schedule: {why}")).hint(
                "write five fields as in crontab, \"0 2 * * *\" for daily at 02:00, or @hourly, @daily, @weekly, ..., \
                 or \"@every 6h\"",
            )
        })?;
        Ok(Self { text: text.to_owned(), due })
    }
}

fn due(text: &str) -> Result<Due, String> {
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next().filter(|word| word.starts_with('@')) else {
        return calendar(text).map(Due::Calendar);
    };
    if first.eq_ignore_ascii_case(EVERY) {
        return every(&words.collect::<Vec<_>>().join(" ")).map(Due::Every);
    }
    let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(first));
    if let (Some((_, fields)), None) = (known, words.next()) {
        return calendar(fields).map(Due::Calendar);
    }
    let names = NICKNAMES.map(|(name, _)| name).join(", ");
    Err(format!("the only words are {names}, and {EVERY} with a duration"))
}

fn every(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err(format!("{EVERY} needs a duration, such as \"{EVERY} 6h\""));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no duration; write \"{EVERY} 6h\", \"{EVERY} 30m\""))?;
    if duration.subsec_nanos() != 0 || duration.is_zero() || duration > LONGEST {
        return Err(format!("{text:?} must be whole seconds, from 1s to 366d"));
    }
    Ok(duration)
}

fn calendar(text: &str) -> Result<Calendar, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(format!("it has {} fields, not 5", fields.len()));
    };
    let read = |at: usize, field: &str| {
        let (name, lowest, highest, names, first) = FIELDS[at];
        let number = |word: &str| number(word, names, first).filter(|n| (lowest..=highest).contains(n));
        let items = field.split(',').map(|item| values(item, lowest, highest, number));
        let found: Option<Vec<_>> = items.collect();
        let found = found.ok_or_else(|| format!("{field:?} is no {name} ({lowest} to {highest})"))?;
        Ok::<BTreeSet<u32>, String>(found.into_iter().flatten().collect())
    };
    let starred = |field: &str| field.starts_with('*');
    let calendar = Calendar {
        minutes: read(0, minute)?,
        hours: read(1, hour)?,
        days: read(2, day)?,
        months: read(3, month)?,
        weekdays: read(4, weekday)?.into_iter().map(|day| day % 7).collect(),
        either_day: !starred(day) && !starred(weekday),
        fixed: !starred(minute) && !starred(hour),
    };
    let exists = |day: &u32| calendar.months.iter().any(|month| LENGTHS[(month - 1) as usize] >= *day);
    // With the weekday alone there is always a day; and every date that exists falls on each weekday in some year.
    if !calendar.either_day && !calendar.days.iter().any(exists) {
        return Err(format!("it is never due, for no month {month:?} has a day {day:?}"));
    }
    Ok(calendar)
}

/// The values of `item`, which is `*`, `N` or `N-M`, the first and last perhaps followed by `/STEP`.
fn values(item: &str, lowest: u32, highest: u32, number: impl Fn(&str) -> Option<u32>) -> Option<Vec<u32>> {
    let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    let (from, to) = if range == "*" {
        (lowest, highest)
    } else if let Some((from, to)) = range.split_once('-') {
        (number(from)?, number(to)?)
    } else {
        let only = number(range)?;
        // "5/10" means different things to different crons: refused rather than guessed.
        return step.is_none().then(|| vec![only]);
    };
    let step = step.map_or(Some(1), digits)?;
    (step > 0 && from <= to).then(|| (from..=to).step_by(step as usize).collect())
}

fn number(word: &str, names: &[&str], first: u32) -> Option<u32> {
    names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(word))
        .map_or_else(|| digits(word), |position| Some(first + position as u32))
}

fn digits(word: &str) -> Option<u32> {
    // Digits only: the parser of integers would also take "+5".
    if word.bytes().all(|b| b.is_ascii_digit()) { word.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_crontab_takes_is_taken() {
        for text in [
            "0 2 * * *",
            "*/15 0-6,22-23 1,15 jan-MAR mon-fri",
            "0 4 * * 0",
            "0 4 * * 7",
            "5-50/5 * * * *",
            "@daily",
            "@Weekly",
            "*/2,7 5-7,9 * * sun,5-7",
            "0 0 29 2 *",
            "0 0 30 2 mon",
            "0 0 30-31 2,3 *",
            "@every 6h",
            "@EVERY 1h 30m",
            "@every 1s",
            "@every 366d",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_crontab_refuses_is_refused() {
        for text in [
            "",
            "* * * *",
            "0 0 2 * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "1,,2 * * * *",
            "+1 * * * *",
            "a * * * *",
            "5/10 * * * *",
            "@reboot",
            "@noon",
            "- * * * *",
            "0 0 * * fri-sun",
            "@daily 5",
            "@every",
            "@every 0s",
            "@every 1500ms",
            "@every 367d",
            "@every -5m",
            "@every day",
            "@every99999999999999999999s",
            "@every 99999999999999999999s",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err().kind(), ErrorKind::Config, "{text}");
        }
    }

    #[test]
    fn what_can_never_be_due_is_refused() {
        for text in ["0 0 30 2 *", "0 0 31 feb,apr,6,9,11 *", "* * 30-31 2 */2"] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.to_string().contains("never due"), "{error}");
        }
        let error = "0 0 30 2 *".parse::<Schedule>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"0 0 30 2 *\" is no schedule: it is never due, for no month \"2\" has a day \"30\""
        );
    }

    fn fields(text: &str) -> Calendar {
        match text.parse::<Schedule>().unwrap().due() {
            Due::Calendar(calendar) => calendar.clone(),
            Due::Every(_) => panic!("{text}"),
        }
    }

    #[test]
    fn fields_are_the_values_that_they_allow() {
        let calendar = fields("*/20,7 1-9/4 1,15 jan-MAR 5-7");
        assert_eq!(calendar.minutes, [0, 7, 20, 40].into());
        assert_eq!(calendar.hours, [1, 5, 9].into());
        assert_eq!(calendar.days, [1, 15].into());
        assert_eq!(calendar.months, [1, 2, 3].into());
        assert_eq!(calendar.weekdays, [0, 5, 6].into());
        assert_eq!(fields("0 0 * * 1-7/2").weekdays, [0, 1, 3, 5].into());
        assert_eq!(fields("0 0 * * */7").weekdays, [0].into());
        assert_eq!(fields("5-50/45 * * * *").minutes, [5, 50].into());
        assert_eq!(fields("5-50/46 * * * *").minutes, [5].into());
        assert_eq!(fields("@weekly"), fields("0 0 * * sun"));
        assert_eq!(fields("@annually"), fields("0 0 1 1 *"));
    }

    #[test]
    fn a_star_that_begins_a_field_means_any() {
        assert!(fields("0 0 1 * 1").either_day);
        assert!(fields("0 0 1,*/2 * 1").either_day);
        for text in ["0 0 * * *", "0 0 */2 * 1", "0 0 1 * */2", "0 0 *,1 * 1"] {
            assert!(!fields(text).either_day, "{text}");
        }
        for text in ["0 2 * * *", "0-59/15 0-23 * * *", "5,* 1 * * *", "@daily"] {
            assert!(fields(text).fixed, "{text}");
        }
        for text in ["*/5 2 * * *", "0 */2 * * *", "* * * * *", "*,5 1 * * *", "@hourly"] {
            assert!(!fields(text).fixed, "{text}");
        }
    }

    #[test]
    fn every_is_followed_by_a_duration() {
        let every = "@every 1h 30m".parse::<Schedule>().unwrap();
        assert_eq!(*every.due(), Due::Every(Duration::from_secs(5400)));
        assert_eq!(every.to_string(), "@every 1h 30m");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[@*0-9,/ a-z-]*") {
            let _ = text.parse::<Schedule>();
        }
    }
}
