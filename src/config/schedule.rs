//! A crontab(5) expression as text that was checked. When it is next due is the scheduler's business.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// `@reboot` is missing on purpose: it names an event, not a time, so nothing could be overdue.
const NICKNAMES: [&str; 7] = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];

/// The fields of a line: name, lowest and highest number, names of values and the number of the first name.
const FIELDS: [(&str, u32, u32, &[&str], u32); 5] = [
    ("minute", 0, 59, &[], 0),
    ("hour", 0, 23, &[], 0),
    ("day of the month", 1, 31, &[], 0),
    ("month", 1, 12, &MONTHS, 1),
    ("day of the week", 0, 7, &DAYS, 0),
];

/// When something is due: five crontab fields, or `@daily` and its kin. 0 and 7 are Sunday.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schedule(String);

impl Schedule {
    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(ErrorKind::Config, format!("{text:?} is no schedule: {why}")).hint(
                "write five fields as in crontab, \"0 2 * * *\" for daily at 02:00, or @hourly, @daily, @weekly, ...",
            )
        };
        if text.trim_start().starts_with('@') {
            let nickname = text.trim().to_ascii_lowercase();
            return if NICKNAMES.contains(&nickname.as_str()) {
                Ok(Self(text.to_owned()))
            } else {
                Err(invalid(format!("the only words are {}", NICKNAMES.join(", "))))
            };
        }
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(invalid(format!("it has {} fields, not 5", fields.len())));
        }
        for (field, (name, lowest, highest, names, first)) in fields.iter().zip(FIELDS) {
            let number = |word: &str| number(word, names, first).filter(|n| (lowest..=highest).contains(n));
            if !field.split(',').all(|item| is_item(item, number)) {
                return Err(invalid(format!("{field:?} is no {name} ({lowest} to {highest})")));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// Whether `item` is `*`, `N` or `N-M`, the first and last perhaps followed by `/STEP`.
fn is_item(item: &str, number: impl Fn(&str) -> Option<u32>) -> bool {
    let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
    let step_is_fine = step.is_none_or(|step| digits(step).is_some_and(|step| step > 0));
    let range_is_fine = if range == "*" {
        true
    } else if let Some((from, to)) = range.split_once('-') {
        matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to)
    } else {
        // "5/10" means different things to different crons: refused rather than guessed.
        number(range).is_some() && step.is_none()
    };
    step_is_fine && range_is_fine
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
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err().kind(), ErrorKind::Config, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "[@*0-9,/ a-z-]*") {
            let _ = text.parse::<Schedule>();
        }
    }
}
