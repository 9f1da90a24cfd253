//! The time that a file's name tells: `app_20261120_020000.sql.gz`, `app-2026-11-20.sql`, `20261120T0200.dump`.

use chrono::{DateTime, Duration, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// A time found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Where it begins in the text, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
    at: NaiveDateTime,
    offset: Option<FixedOffset>,
}

impl Stamp {
    /// The first stamp in `text`: a date of four digits for the year, two for the month, two for the day, with or without
    /// `-`, `_` or `.` between them; behind it perhaps a time of two digits each, and `Z` or an offset such as `+01:00`.
    pub(super) fn find(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let begins = |at: usize| at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_digit);
        (0..bytes.len()).filter(|at| begins(*at)).find_map(|at| Self::at(bytes, at))
    }

    /// The stamp that `text` is, as a whole.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::at(text.as_bytes(), 0).filter(|stamp| stamp.end == text.len())
    }

    fn at(bytes: &[u8], start: usize) -> Option<Self> {
        let mut place = start;
        let year = number(bytes, &mut place, 4).filter(|year| (1990..2200).contains(year))?;
        let separator = bytes.get(place).copied().filter(|byte| b"-_.".contains(byte));
        place += usize::from(separator.is_some());
        let month = number(bytes, &mut place, 2)?;
        if let Some(separator) = separator {
            if bytes.get(place) != Some(&separator) {
                return None;
            }
            place += 1;
        }
        let day = number(bytes, &mut place, 2)?;
        let date = NaiveDate::from_ymd_opt(year.cast_signed(), month, day)?;
        let not_inside = |place: usize| !bytes.get(place).is_some_and(u8::is_ascii_digit);
        if let Some((end, time)) = time(bytes, place)
            && not_inside(end)
        {
            let (end, offset) = offset(bytes, end);
            return Some(Self { start, end, at: date.and_time(time), offset });
        }
        not_inside(place).then(|| Self { start, end: place, at: date.and_time(NaiveTime::MIN), offset: None })
    }

    /// The moment; a stamp that tells no offset is read in `zone`. Of an hour that comes twice the first is meant, one
    /// that a change of clocks leaves out is read as if they had not been changed.
    pub(super) fn moment(&self, zone: Tz) -> DateTime<Utc> {
        match self.offset {
            Some(offset) => (self.at - offset).and_utc(),
            None => local(self.at, zone),
        }
    }
}

/// The moment at which clocks in `zone` showed `at`.
pub(super) fn local(at: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&at) {
        MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => moment.to_utc(),
        // Nowhere are clocks put forward by more than a day.
        MappedLocalTime::None => {
            let before = zone.from_local_datetime(&(at - Duration::days(1))).earliest();
            before.map_or_else(|| at.and_utc(), |before| before.to_utc() + Duration::days(1))
        }
    }
}

/// The number of exactly `digits` digits at `place`, which is moved behind it.
fn number(bytes: &[u8], place: &mut usize, digits: usize) -> Option<u32> {
    let text = bytes.get(*place..*place + digits).filter(|text| text.iter().all(u8::is_ascii_digit))?;
    *place += digits;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The time behind a date, and where it ends.
fn time(bytes: &[u8], mut place: usize) -> Option<(usize, NaiveTime)> {
    place += usize::from(bytes.get(place).is_some_and(|byte| b"Tt_-. ".contains(byte)));
    let part = |place: usize| place + usize::from(bytes.get(place).is_some_and(|byte| b":-_.h".contains(byte)));
    let hour = number(bytes, &mut place, 2)?;
    place = part(place);
    let minute = number(bytes, &mut place, 2)?;
    let mut end = place;
    place = part(place);
    let second = match number(bytes, &mut place, 2) {
        Some(second) => {
            end = place;
            second
        }
        None => 0,
    };
    NaiveTime::from_hms_opt(hour, minute, second).map(|time| (end, time))
}

/// `Z`, `+01`, `+0100`, `+01:00` or `-05:00` behind a time. A minus needs its colon: dashes stand between many things.
fn offset(bytes: &[u8], at: usize) -> (usize, Option<FixedOffset>) {
    let none = (at, None);
    let sign = match bytes.get(at) {
        Some(b'Z' | b'z') => return (at + 1, FixedOffset::east_opt(0)),
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return none,
    };
    let mut place = at + 1;
    let Some(hours) = number(bytes, &mut place, 2) else { return none };
    let colon = bytes.get(place) == Some(&b':');
    if sign < 0 && !colon {
        return none;
    }
    place += usize::from(colon);
    let minutes = number(bytes, &mut place, 2).unwrap_or(0);
    match FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60).cast_signed()) {
        Some(offset) => (place, Some(offset)),
        None => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, zone: Tz) -> Option<(&str, String)> {
        let stamp = Stamp::find(name)?;
        Some((&name[..stamp.start], stamp.moment(zone).format("%Y-%m-%dT%H:%M:%SZ").to_string()))
    }

    #[test]
    fn names_of_scripts_tell_when_they_ran() {
        for (name, before, at) in [
            ("app_20261120_020000.sql.gz", "app_", "2026-11-20T02:00:00Z"),
            ("app-2026-11-20.sql", "app-", "2026-11-20T00:00:00Z"),
            ("20261120T0200.dump", "", "2026-11-20T02:00:00Z"),
            ("shop_2026-11-20_02-30-15.sql.gz", "shop_", "2026-11-20T02:30:15Z"),
            ("shop.2026.11.20.sql", "shop.", "2026-11-20T00:00:00Z"),
            ("db1-2026_11_20_02h30.sql", "db1-", "2026-11-20T02:30:00Z"),
            ("a20261120020000.sql", "a", "2026-11-20T02:00:00Z"),
            ("x 2026-11-20 02:00:00+01:00.sql", "x ", "2026-11-20T01:00:00Z"),
            ("x_20261120T020000Z-7f3a.sql", "x_", "2026-11-20T02:00:00Z"),
            ("x_2026-11-20T02:00:00-05:00.sql", "x_", "2026-11-20T07:00:00Z"),
            ("v12345678_2026-11-20.sql", "v12345678_", "2026-11-20T00:00:00Z"),
            ("20260230_20261120.sql", "20260230_", "2026-11-20T00:00:00Z"),
        ] {
            assert_eq!(read(name, Tz::UTC), Some((before, at.to_owned())), "{name}");
        }
        for name in ["app.sql", "app_20.sql", "app_99999999.sql", "app_202611200.sql", "a_20-11-2026.sql", "1732240800"]
        {
            assert_eq!(read(name, Tz::UTC), None, "{name}");
        }
    }

    #[test]
    fn a_stamp_without_an_offset_is_read_in_the_time_zone() {
        let madrid = chrono_tz::Europe::Madrid;
        for (name, at) in [
            ("a_20261120_020000.sql", "2026-11-20T01:00:00Z"),
            ("a_20260720_020000.sql", "2026-07-20T00:00:00Z"),
            // Twice: the first; left out: as if the clocks had not been changed.
            ("a_20261025_023000.sql", "2026-10-25T00:30:00Z"),
            ("a_20260329_023000.sql", "2026-03-29T01:30:00Z"),
            ("a_20261120_020000Z.sql", "2026-11-20T02:00:00Z"),
        ] {
            assert_eq!(read(name, madrid).unwrap().1, at, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_stamp_is_read_back(seconds in 946_684_800i64..4_000_000_000, format in 0usize..5) {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let formats = ["%Y%m%d_%H%M%S", "%Y-%m-%d_%H-%M-%S", "%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S", "%Y%m%d%H%M%S"];
            let text = at.format(formats[format]).to_string();
            prop_assert_eq!(Stamp::parse(&text).map(|stamp| stamp.moment(Tz::UTC)), Some(at));
            let name = format!("app_{text}.sql.gz");
            prop_assert_eq!(Stamp::find(&name).map(|stamp| (stamp.start, stamp.moment(Tz::UTC))), Some((4, at)));
        }

        #[test]
        fn no_name_breaks_it(name in "[0-9TZ:+_. -]{0,30}|\\PC{0,30}") {
            let _ = Stamp::find(&name);
        }
    }
}
