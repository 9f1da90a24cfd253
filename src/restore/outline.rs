//! Everything in a data file that is not rows: read, scanned as psql would read it, and checked, before anything is loaded.
//!
//! Rows are the bulk of a backup. Those of large tables are passed over; the digests of the members prove them when they are
//! loaded. What psql could take for more than rows is looked at here, all of it.

use crate::archive::SqlReader;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::script::{ColumnOrder, Entries, Entry, Omit, Scan, Scanner, Section, TableData};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows of so many bytes are passed over: at least one member holds nothing else then.
const PASSED_OVER: u64 = 8 << 20;

/// Tables with so many bytes of rows are loaded one by one; smaller ones that follow each other together.
const LOADED_ALONE: u64 = 256 << 10;

/// How much text is held in memory, in bytes: the statements behind the rows of some million tables.
const MOST_HELD: u64 = 1 << 30;

/// What was found in a data file.
#[derive(Debug)]
pub struct Outline {
    /// What it holds, as if every row had been seen.
    pub scan: Scan,
    /// The text of entries that are needed one by one, in order.
    pub held: Vec<Held>,
    /// What stands before the first entry: the settings of the session.
    pub head: Vec<u8>,
}

/// The text of an entry, and where it begins in the file's SQL. Of a table's rows what stands before them.
#[derive(Debug, Clone)]
pub struct Held {
    /// The entry.
    pub entry: Entry,
    /// Its SQL, as it stands.
    pub text: Vec<u8>,
}

/// Whether the rows of a table are loaded by themselves.
pub(super) fn alone(table: &TableData) -> bool {
    table.end.saturating_sub(table.start) >= LOADED_ALONE
}

/// Whether an entry is needed one by one: everything behind the data, what stands in between without being data, and large
/// tables.
fn is_held(entry: &Entry) -> bool {
    match (&entry.table, entry.section) {
        (Some(table), _) => alone(table),
        (None, Section::PreData) => false,
        (None, Section::Data) => !is_data(entry),
        (None, Section::PostData) => true,
    }
}

/// Whether an entry without rows is data: it may be loaded while rows are, as it changes no table.
pub(super) fn is_data(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "TABLE DATA" | "SEQUENCE SET" | "BLOB" | "BLOB METADATA" | "BLOBS")
}

/// Text that is wanted of the stream, in order.
struct Collector {
    wanted: VecDeque<Range<u64>>,
    texts: Vec<Vec<u8>>,
    at: u64,
}

impl Collector {
    fn feed(&mut self, sql: &[u8]) {
        let (begin, end) = (self.at, self.at + sql.len() as u64);
        self.at = end;
        while let Some(range) = self.wanted.front().cloned() {
            if range.start >= end {
                return;
            }
            if range.start >= begin {
                self.texts.push(Vec::new());
            }
            let from = range.start.saturating_sub(begin).min(sql.len() as u64) as usize;
            let to = range.end.saturating_sub(begin).min(sql.len() as u64) as usize;
            if let Some(text) = self.texts.last_mut() {
                text.extend_from_slice(sql.get(from..to).unwrap_or_default());
            }
            if range.end > end {
                return;
            }
            self.wanted.pop_front();
        }
    }
}

struct Reading {
    scanner: Scanner,
    collector: Collector,
}

/// Reads the file of `reader`, whose index tells of `entries`. Rows that are passed over count as the index says; all else is
/// for the caller to compare with it.
pub async fn outline(reader: &SqlReader, entries: &Entries, omit: Omit, cancel: &Cancel) -> Result<Outline> {
    let wanted: Vec<(Entry, Range<u64>)> = entries
        .iter()
        .filter(|entry| entry.kind != "LARGE OBJECT" && is_held(entry))
        .map(|entry| {
            let end = entry.table.as_ref().map_or(entry.end, |table| table.start);
            let range = entry.start..end;
            (entry, range)
        })
        .collect();
    let first = entries.iter().map(|entry| entry.start).min().unwrap_or_else(|| reader.map.sql_bytes());
    let head = 0..first;
    let ranges = std::iter::once(head).chain(wanted.iter().map(|(_, range)| range.clone()));
    check_order(ranges.clone(), reader)?;
    let collector = Collector { wanted: ranges.collect(), texts: Vec::with_capacity(wanted.len() + 1), at: 0 };
    let reading = Arc::new(Mutex::new(Reading { scanner: Scanner::new(ColumnOrder::new(), omit), collector }));
    let mut at = 0;
    let large = entries.iter().filter_map(|entry| entry.table).filter(|table| table.end - table.start >= PASSED_OVER);
    for table in large {
        read_span(reader, at..table.start, &reading, cancel).await?;
        let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = table.end - table.start;
        if !reading.scanner.pass_rows(bytes, table.rows, table.fingerprint) {
            let message = format!("{}: the index tells of rows of {} where there are none", reader.key, table.name());
            return Err(Error::new(ErrorKind::Damaged, message));
        }
        reading.collector.at += bytes;
        at = table.end;
    }
    read_span(reader, at..reader.map.sql_bytes(), &reading, cancel).await?;
    let Reading { scanner, collector } = Arc::into_inner(reading)
        .map(|reading| reading.into_inner().unwrap_or_else(PoisonError::into_inner))
        .ok_or_else(|| Error::new(ErrorKind::Failed, "a reader of the archive has not ended"))?;
    let mut texts = collector.texts.into_iter();
    let head = texts.next().unwrap_or_default();
    let held = wanted.into_iter().zip(texts).map(|((entry, _), text)| Held { entry, text }).collect();
    Ok(Outline { scan: scanner.finish(), held, head })
}

/// The index may be anybody's until it was compared with the SQL.
fn check_order(ranges: impl Iterator<Item = Range<u64>>, reader: &SqlReader) -> Result<()> {
    let (mut at, mut held) = (0, 0u64);
    for range in ranges {
        if range.start < at || range.end < range.start || range.end > reader.map.sql_bytes() {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("the entries that the index of {} names overlap", reader.key),
            ));
        }
        held = held.saturating_add(range.end - range.start);
        at = range.end;
    }
    if held > MOST_HELD {
        let message = format!("{} holds {held} bytes of statements that are not rows", reader.key);
        return Err(Error::new(ErrorKind::Refused, message).hint("restore it by hand, as its RESTORE.txt says"));
    }
    Ok(())
}

async fn read_span(reader: &SqlReader, span: Range<u64>, reading: &Arc<Mutex<Reading>>, cancel: &Cancel) -> Result<()> {
    let reading = Arc::clone(reading);
    reader
        .read(span, cancel, move |sql| {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.scanner.feed(sql);
            reading.collector.feed(sql);
            Ok(())
        })
        .await
}
