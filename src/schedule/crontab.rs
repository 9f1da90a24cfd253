//! When a schedule is due: instants in UTC, from crontab fields that mean the local time of a time zone.
//!
//! Where the clocks change, times are due as Debian's cron(8) runs them ("Special considerations exist when the clock is
//! changed", and MIN_STAR and HR_STAR in its entry.c). That daemon compares the clock with the fields minute by minute,
//! and so sees a change only as it happens; here the same is said of any instant, past or future:
//!
//! * A time of day (neither the minute nor the hour begins with `*`) is due **when the clock first reaches it**. Where
//!   the clock skips it, that is the end of the gap; where it shows twice, the first time. Several times that one gap
//!   skips are due at one instant, once. cron(8) does so for changes of less than three hours only, and takes others for
//!   corrections; those of a time zone are none, not even the day that Samoa left out in 2011.
//! * Any other schedule is due **whenever the clock shows** one of its times: never in a gap, and twice, at two instants,
//!   where the clock shows it twice.
//! * `@every` knows no clocks: it is due at the multiples of its duration since the Unix epoch.
//!
//! The crate `cron` finds the local times. It speaks Quartz's dialect, in which a day must match both fields of days;
//! where crontab(5) asks for one of them, two expressions are asked.

use crate::config::{Calendar, Due, Schedule};
use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use std::collections::BTreeSet;
use std::str::FromStr;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

/// The seconds since the epoch at which the years begin and end that the crate `cron` knows: 1970 to 2100.
const YEARS: (i64, i64) = (0, 4_133_980_800);
/// At least as much as a clock was ever set back: a day, where the date line moved.
const SET_BACK: TimeDelta = TimeDelta::hours(26);
/// No clock is further from UTC than this: 15:13:42 in Metlakatla, until 1867.
const OFFSET: TimeDelta = TimeDelta::hours(16);
/// Two changes of a clock are further apart than this.
const STEP: TimeDelta = TimeDelta::hours(1);
const SECOND: TimeDelta = TimeDelta::seconds(1);

/// A schedule in a time zone.
#[derive(Debug, Clone)]
pub struct Crontab {
    zone: Tz,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    /// Times of day: due once, when the clock first reaches one.
    Reached(Times),
    /// Due whenever the clock shows one.
    Shown(Times),
    /// A number of seconds.
    Every(i64),
}

impl Crontab {
    /// When `schedule` is due where clocks show the time of `zone`. Of a calendar, the years 1970 to 2100 are known.
    pub fn new(schedule: &Schedule, zone: Tz) -> Result<Self> {
        let rule = match schedule.due() {
            Due::Every(duration) => Rule::Every(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX).max(1)),
            Due::Calendar(calendar) => {
                let times = Times::new(calendar).map_err(|cause| {
                    Error::new(ErrorKind::Failed, format!("the times of the schedule \"{schedule}\" cannot be found"))
                        .hint("write the schedule in another way, and report this as a bug of pgkeep")
                        .caused_by(cause)
                })?;
                if calendar.fixed { Rule::Reached(times) } else { Rule::Shown(times) }
            }
        };
        Ok(Self { zone, rule })
    }

    /// The first due time after `instant`, never `instant` itself. None if there is none until 2100.
    pub fn next_after(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Every(every) => multiple(instant.timestamp().div_euclid(*every) + 1, *every),
            Rule::Reached(times) => times.after(self.furthest(second(instant)?)?).map(|time| self.reached(time)),
            Rule::Shown(times) => self.shown_from(times, second(instant)? + SECOND),
        }
    }

    /// The last due time that is not after `instant`. None if there is none since 1970.
    pub fn last_at_or_before(&self, instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Every(every) => multiple(instant.timestamp().div_euclid(*every), *every),
            Rule::Reached(times) => times.at_or_before(self.furthest(second(instant)?)?).map(|time| self.reached(time)),
            Rule::Shown(times) => self.shown_until(times, second(instant)?),
        }
    }

    /// The first instant, `from` or later, at which the clock shows one of `times`.
    fn shown_from(&self, times: &Times, mut from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        loop {
            let change = self.changes(from, from + SET_BACK).next();
            let end = change.unwrap_or(from + SET_BACK);
            let next = times.after(self.local(from) - SECOND);
            let found = next.map(|next| next.and_utc() - self.offset(from));
            if found.is_some_and(|found| found < end) {
                return found;
            }
            // No clock is set back so far after the window that it shows a time before `next` again.
            from = match change {
                Some(change) => change,
                None => end.max(next?.and_utc() - OFFSET),
            };
        }
    }

    /// The last instant, `until` or earlier, at which the clock shows one of `times`.
    fn shown_until(&self, times: &Times, mut until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        loop {
            let change = self.changes(until - SET_BACK, until).last();
            let start = change.unwrap_or(until - SET_BACK);
            let last = times.at_or_before(self.local(until));
            let found = last.map(|last| last.and_utc() - self.offset(until));
            if found.is_some_and(|found| found >= start) {
                return found;
            }
            until = match change {
                Some(change) => change - SECOND,
                None => start.min(last?.and_utc() + OFFSET),
            };
        }
    }

    /// When the clock first shows `time` or, where it skips that, a later one.
    fn reached(&self, time: NaiveDateTime) -> DateTime<Utc> {
        if let Some(first) = self.zone.from_local_datetime(&time).earliest() {
            return first.to_utc();
        }
        let time = time.and_utc();
        first(time - OFFSET, time + OFFSET, |instant| self.local(instant) >= time.naive_utc())
    }

    /// The latest time that the clock has shown until `instant`: after it was set back, more than it shows now.
    fn furthest(&self, instant: DateTime<Utc>) -> Option<NaiveDateTime> {
        let before_changes = self.changes(instant - SET_BACK, instant).map(|change| self.local(change - SECOND));
        before_changes.chain([self.local(instant)]).max()
    }

    /// What the clock shows.
    fn local(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.naive_utc() + self.offset(instant)
    }

    fn offset(&self, instant: DateTime<Utc>) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }

    /// The changes of the clock in `(from, to]`, in order: for each the first instant with the new offset.
    fn changes(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let starts = std::iter::successors(Some(from), |at| Some(*at + STEP)).take_while(move |at| *at < to);
        starts.filter_map(move |start| {
            let (end, offset) = ((start + STEP).min(to), self.offset(start));
            (self.offset(end) != offset).then(|| first(start, end, |instant| self.offset(instant) != offset))
        })
    }
}

/// The second that `instant` is in; due times begin one. What is far from the years that are known comes nearer, so that
/// nothing that is reckoned from it overflows.
fn second(instant: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let beyond = 7 * 24 * 3600;
    DateTime::from_timestamp(instant.timestamp().clamp(YEARS.0 - beyond, YEARS.1 + beyond), 0)
}

fn multiple(times: i64, every: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(times.checked_mul(every)?, 0)
}

/// The first second in `(before, after]` of which `is` is true, as it is not of `before` and is of `after`.
fn first(before: DateTime<Utc>, after: DateTime<Utc>, is: impl Fn(DateTime<Utc>) -> bool) -> DateTime<Utc> {
    let (mut before, mut after) = (before, after);
    while after - before > SECOND {
        let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
        if is(middle) {
            after = middle;
        } else {
            before = middle;
        }
    }
    after
}

/// The local times that a calendar names, whether or not the clock shows them.
#[derive(Debug, Clone)]
struct Times {
    /// A time is named if any of these names it.
    any: Vec<cron::Schedule>,
}

impl Times {
    fn new(calendar: &Calendar) -> Result<Self, cron::error::Error> {
        let list = |values: &BTreeSet<u32>| values.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let (minutes, hours, months) = (list(&calendar.minutes), list(&calendar.hours), list(&calendar.months));
        let days = list(&calendar.days);
        // Quartz counts them from 1, Sunday.
        let weekdays = list(&calendar.weekdays.iter().map(|day| day + 1).collect());
        let quartz = |days: &str, weekdays: &str| {
            cron::Schedule::from_str(&format!("0 {minutes} {hours} {days} {months} {weekdays}"))
        };
        let any = if calendar.either_day {
            vec![quartz(&days, "*")?, quartz("*", &weekdays)?]
        } else {
            vec![quartz(&days, &weekdays)?]
        };
        Ok(Self { any })
    }

    fn after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        // The crate `cron` takes a year before those that it knows for the first of them, but keeps the month and day.
        let time = time.and_utc().max(DateTime::from_timestamp(YEARS.0 - 1, 0)?);
        let next = |schedule: &cron::Schedule| schedule.after(&time).next();
        self.any.iter().filter_map(next).min().map(|found| found.naive_utc())
    }

    fn at_or_before(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let time = (time.and_utc() + SECOND).min(DateTime::from_timestamp(YEARS.1, 0)?);
        if time.year() < 1970 {
            return None;
        }
        let last = |schedule: &cron::Schedule| schedule.after(&time).next_back();
        self.any.iter().filter_map(last).max().map(|found| found.naive_utc())
    }
}
