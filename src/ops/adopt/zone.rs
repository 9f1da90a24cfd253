//! In which time zone a dump was written. pg_dump writes moments in the time of its session; a proof must dump them in the
//! same to compare the rows. The offsets in the rows tell which zones it can have been.

use crate::script::{Entries, TableData};
use chrono::{NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// How much of one definition is looked at, in bytes.
const LARGEST_DEFINITION: u64 = 1 << 20;

/// How many different days are remembered: 270 years.
const MOST_DAYS: usize = 100_000;

/// For each day and offset of the moments that were seen one of them, as written.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    seen: HashMap<(NaiveDate, i32), NaiveDateTime>,
}

impl Evidence {
    fn add(&mut self, cell: &[u8]) {
        let Some((at, offset)) = moment(cell) else { return };
        if self.seen.len() < MOST_DAYS {
            self.seen.entry((at.date(), offset)).or_insert(at);
        }
    }

    /// The zone in which these moments were written: UTC or `likely` if it can be, else any in which they would be written
    /// alike. `Ok(None)` if there was no moment; an error if there is no such zone.
    pub(super) fn zone(&self, likely: Tz) -> Result<Option<Tz>, ()> {
        if self.seen.is_empty() {
            return Ok(None);
        }
        let geographic =
            TZ_VARIANTS.iter().filter(|zone| zone.name().contains('/') && !zone.name().starts_with("Etc/"));
        let mut candidates = [Tz::UTC, likely].into_iter().chain(geographic.copied());
        candidates.find(|zone| self.fits(*zone)).map(Some).ok_or(())
    }

    fn fits(&self, zone: Tz) -> bool {
        self.seen.iter().all(|((_, offset), at)| {
            let utc = *at - TimeDelta::seconds(i64::from(*offset));
            zone.offset_from_utc_datetime(&utc).fix().local_minus_utc() == *offset
        })
    }
}

/// A moment as PostgreSQL writes it, and its offset in seconds: `2026-11-20 02:00:00.5+01`, `1890-01-01 00:00:00-00:14:44`.
fn moment(cell: &[u8]) -> Option<(NaiveDateTime, i32)> {
    let text = std::str::from_utf8(cell).ok()?;
    let (date, time) = text.split_once(' ')?;
    let sign = time.rfind(['+', '-'])?;
    let (time, offset) = time.split_at(sign);
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let at = date.and_time(chrono::NaiveTime::parse_from_str(time, "%H:%M:%S%.f").ok()?);
    let mut seconds = 0;
    for (part, unit) in offset.get(1..)?.split(':').zip([3600, 60, 1]) {
        seconds += part.parse::<i32>().ok().filter(|number| (0..60).contains(number))? * unit;
    }
    Some((at, if offset.starts_with('-') { -seconds } else { seconds }))
}

/// The columns of a `CREATE TABLE` that hold moments.
fn columns_of_moments(definition: &str) -> BTreeSet<String> {
    let mut columns = BTreeSet::new();
    for line in definition.lines() {
        let Some(column) = line.strip_prefix("    ") else { continue };
        let (name, rest) = match column.strip_prefix('"') {
            Some(quoted) => {
                let Some((name, rest)) = quoted.split_once("\" ") else { continue };
                (name.replace("\"\"", "\""), rest)
            }
            None => match column.split_once(' ') {
                Some((name, rest)) => (name.to_owned(), rest),
                None => continue,
            },
        };
        let rest = rest.strip_prefix("timestamp").unwrap_or_default();
        let rest = match rest.strip_prefix('(') {
            Some(precise) => precise.split_once(')').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let end = |rest: &str| rest.is_empty() || rest.starts_with([' ', ',']);
        if rest.strip_prefix(" with time zone").is_some_and(end) {
            columns.insert(name);
        }
    }
    columns
}

/// What a part of the script holds.
enum Part {
    /// The definition of `(schema, table)`.
    Definition,
    /// Rows.
    Rows(Box<TableData>),
}

/// Looks at a script that passes, knowing from an earlier reading where everything stands.
pub(super) struct Tap<R> {
    inner: R,
    at: u64,
    parts: std::vec::IntoIter<(u64, u64, Part)>,
    current: Option<(u64, u64, Part)>,
    /// The definition, or the row, so far.
    text: Vec<u8>,
    columns: BTreeMap<String, BTreeSet<String>>,
    /// The names of such columns in any table.
    named: BTreeSet<String>,
    /// The places of the columns that hold moments, in the rows that pass.
    places: Vec<usize>,
    evidence: Arc<Mutex<Evidence>>,
}

impl<R> Tap<R> {
    pub(super) fn new(inner: R, entries: &Entries) -> (Self, Arc<Mutex<Evidence>>) {
        let mut parts = Vec::new();
        for entry in entries {
            if entry.kind == "TABLE" && entry.end - entry.start <= LARGEST_DEFINITION {
                parts.push((entry.start, entry.end, Part::Definition));
            } else if let Some(data) = entry.table {
                parts.push((data.start, data.end, Part::Rows(Box::new(data))));
            }
        }
        let evidence = Arc::new(Mutex::new(Evidence::default()));
        let tap = Self {
            inner,
            at: 0,
            parts: parts.into_iter(),
            current: None,
            text: Vec::new(),
            columns: BTreeMap::new(),
            named: BTreeSet::new(),
            places: Vec::new(),
            evidence: Arc::clone(&evidence),
        };
        (tap, evidence)
    }

    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.current.is_none() {
                self.current = self.parts.next();
                if let Some((_, _, Part::Rows(data))) = &self.current {
                    let key = unquoted(&data.name());
                    let moments = self.columns.get(&key).unwrap_or(&self.named);
                    let holds = |name: &String| moments.contains(name);
                    self.places =
                        data.columns.iter().enumerate().filter(|(_, name)| holds(name)).map(|(n, _)| n).collect();
                }
            }
            let Some((start, end, part)) = &self.current else {
                self.at += bytes.len() as u64;
                return;
            };
            let (start, end) = (*start, *end);
            if self.at < start {
                let skipped = bytes.len().min((start - self.at) as usize);
                self.at += skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            let (inside, rest) = bytes.split_at(bytes.len().min(end.saturating_sub(self.at) as usize));
            match part {
                Part::Definition => self.text.extend_from_slice(inside),
                Part::Rows(_) if self.places.is_empty() => {}
                Part::Rows(_) => self.rows(inside),
            }
            self.at += inside.len() as u64;
            bytes = rest;
            if self.at >= end {
                let definition = std::mem::take(&mut self.text);
                if let Some((_, _, Part::Definition)) = self.current.take() {
                    self.define(&String::from_utf8_lossy(&definition));
                }
            }
        }
    }

    fn define(&mut self, text: &str) {
        let Some((_, create)) = text.split_once(" TABLE ") else { return };
        let Some((name, _)) = create.split_once(" (\n") else { return };
        let columns = columns_of_moments(create);
        self.named.extend(columns.iter().cloned());
        // What a child inherits is not written in its own definition.
        if !create.contains("\nINHERITS (") {
            self.columns.insert(unquoted(name), columns);
        }
    }

    fn rows(&mut self, bytes: &[u8]) {
        let mut evidence = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            let row = &bytes[start..newline];
            start = newline + 1;
            if self.text.is_empty() {
                look(row, &self.places, &mut evidence);
            } else {
                self.text.extend_from_slice(row);
                look(&self.text, &self.places, &mut evidence);
                self.text.clear();
            }
        }
        let room = (LARGEST_DEFINITION as usize).saturating_sub(self.text.len());
        let rest = &bytes[start..];
        self.text.extend_from_slice(&rest[..rest.len().min(room)]);
    }
}

fn look(row: &[u8], places: &[usize], evidence: &mut Evidence) {
    let mut wanted = places.iter().peekable();
    for (place, cell) in row.split(|byte| *byte == b'\t').enumerate() {
        match wanted.peek() {
            Some(next) if **next == place => {
                evidence.add(cell);
                wanted.next();
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// A table's name without quotes: what pg_dump quotes depends on its version.
fn unquoted(name: &str) -> String {
    name.replace('"', "")
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.see(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Scanner;

    fn zone_of(rows: &str, likely: Tz, piece: usize) -> Result<Option<Tz>, ()> {
        let script = format!(
            "--\n-- Name: T; Type: TABLE; Schema: public; Owner: a\n--\n\nCREATE TABLE public.\"T\" (\n    id integer NOT NULL,\n    \
             at timestamp(3) with time zone DEFAULT now(),\n    \"Other one\" timestamp with time zone,\n    plain timestamp without time zone,\n    note text\n);\n\n\n\
             --\n-- Data for Name: T; Type: TABLE DATA; Schema: public; Owner: a\n--\n\nCOPY public.\"T\" (id, at, \"Other one\", plain, note) \
             FROM stdin;\n{rows}\\.\n\n\n"
        );
        let mut scanner = Scanner::default();
        scanner.feed(script.as_bytes());
        let (mut tap, evidence) = Tap::new(std::io::empty(), &scanner.finish().entries);
        script.as_bytes().chunks(piece).for_each(|piece| tap.see(piece));
        let evidence = evidence.lock().unwrap();
        evidence.zone(likely)
    }

    #[test]
    fn the_rows_tell_the_zone_they_were_written_in() {
        let winter = "1\t2026-01-20 02:00:00.5+01\t\\N\t2026-01-20 02:00:00\t2026-01-01 00:00:00+09\n";
        let summer = "2\t\\N\t2026-07-20 02:00:00+02\t\\N\tx\n";
        let madrid = chrono_tz::Europe::Madrid;
        for piece in [1, 7, 10_000] {
            assert_eq!(zone_of("1\t\\N\t\\N\t\\N\t2026-01-01 00:00:00+09\n", madrid, piece), Ok(None));
            assert_eq!(zone_of(&format!("{winter}{summer}"), madrid, piece), Ok(Some(madrid)));
            let found = zone_of(&format!("{winter}{summer}"), Tz::UTC, piece).unwrap().unwrap();
            assert!(found.name().starts_with("Europe/") || found.name().starts_with('A'), "{found}");
            assert_eq!(zone_of("1\t2026-01-20 02:00:00+00\tinfinity\t\\N\tx\n", madrid, piece), Ok(Some(Tz::UTC)));
            assert_eq!(zone_of("1\t2026-01-20 02:00:00+01\t2026-01-20 02:00:00+05\t\\N\tx\n", madrid, piece), Err(()));
        }
        assert_eq!(unquoted("public.\"T\""), "public.T");
        assert_eq!(moment(b"1890-01-01 00:00:00-00:14:44").unwrap().1, -884);
        assert_eq!(moment(b"0044-03-15 00:00:00-00:14:44 BC"), None);
    }
}
