//! Why a backup stays, in the words that people and scripts read.

use chrono::{DateTime, Datelike, Utc};
use std::fmt;
use std::time::Duration;

/// A period of the calendar, in UTC.
#[allow(missing_docs)] // Each is what its name says; weeks are those of ISO 8601.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Every {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Every {
    /// The period that `at` is in: `2026-11-22 02h`, `2026-11-22`, `2026-W47`, `2026-11`, `2026`.
    pub fn period(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Hour => at.format("%Y-%m-%d %Hh").to_string(),
            Self::Day => at.format("%Y-%m-%d").to_string(),
            // The week of a day at the turn of the year may be of another year than the day.
            Self::Week => format!("{}-W{:02}", at.iso_week().year(), at.iso_week().week()),
            Self::Month => at.format("%Y-%m").to_string(),
            Self::Year => at.format("%Y").to_string(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        }
    }
}

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It is not older than the rule `within` says.
    Within(Duration),
    /// There is no newer good one.
    NewestGood,
    /// There is no newer good one that a drill has proved.
    NewestDrilled,
    /// It is one of so many newest good ones, the rule `at_least`.
    AtLeast(u32),
    /// It is the last good one of a period.
    Last {
        /// The rule.
        every: Every,
        /// The period, as [`Every::period`] calls it.
        period: String,
    },
    /// It is pinned.
    Pinned,
    /// It was taken with `--keep`.
    KeptUntil(DateTime<Utc>),
    /// It is damaged, but there are fewer good ones than this.
    TooFewGood(u32),
    /// The service refuses to delete it until then.
    LockedUntil(DateTime<Utc>),
    /// Something in its folder, such as the note that it is pinned, cannot be read.
    Unclear,
}

/// A lock to this year or a later one has no end: a legal hold.
const NO_END: i32 = 9999;

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |at: &DateTime<Utc>| at.format("%Y-%m-%d").to_string();
        match self {
            Self::Within(within) => write!(f, "within {}", duration(*within)),
            Self::NewestGood => f.write_str("newest good"),
            Self::NewestDrilled => f.write_str("newest drilled"),
            Self::AtLeast(number) => write!(f, "one of the {number} newest good"),
            Self::Last { every, period } => write!(f, "{} {period}", every.word()),
            Self::Pinned => f.write_str("pinned"),
            Self::KeptUntil(until) => write!(f, "kept until {}", day(until)),
            Self::TooFewGood(number) => write!(f, "damaged, but fewer than {number} are good"),
            Self::LockedUntil(until) if until.year() >= NO_END => f.write_str("locked by the service"),
            Self::LockedUntil(until) => write!(f, "locked until {}", day(until)),
            Self::Unclear => f.write_str("a receipt in its folder cannot be read"),
        }
    }
}

/// A duration as the configuration writes it, in its largest whole unit: `30d`, `36h`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, name) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if seconds >= unit && seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_short_words() {
        let at: DateTime<Utc> = "2027-01-01T02:00:00Z".parse().unwrap();
        let last = |every: Every| KeepReason::Last { every, period: every.period(at) }.to_string();
        for (said, words) in [
            (KeepReason::Within(Duration::from_secs(30 * 86_400)).to_string(), "within 30d"),
            (KeepReason::Within(Duration::from_secs(36 * 3600)).to_string(), "within 36h"),
            (KeepReason::Within(Duration::from_secs(90)).to_string(), "within 90s"),
            (KeepReason::AtLeast(3).to_string(), "one of the 3 newest good"),
            (last(Every::Hour), "hourly 2027-01-01 02h"),
            (last(Every::Day), "daily 2027-01-01"),
            (last(Every::Week), "weekly 2026-W53"),
            (last(Every::Month), "monthly 2027-01"),
            (last(Every::Year), "yearly 2027"),
            (KeepReason::KeptUntil(at).to_string(), "kept until 2027-01-01"),
            (KeepReason::LockedUntil(at).to_string(), "locked until 2027-01-01"),
            (KeepReason::LockedUntil(DateTime::<Utc>::MAX_UTC).to_string(), "locked by the service"),
        ] {
            assert_eq!(said, words);
        }
    }
}
