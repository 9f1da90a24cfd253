//! The definitions in a data file without its rows: what is needed to find out what belongs to one table.
//!
//! An index's entry does not name its table. So everything before the rows and behind them is read, scanned, and compared
//! with the index; of the rows in between nothing is read.

use super::load::label;
use super::outline::{Held, Outline, is_data};
use super::plan::Statements;
use crate::archive::SqlReader;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::script::{ColumnOrder, Entries, Entry, Omit, Scanner};

/// How much text is held in memory, in bytes: the definitions of some hundred thousand tables.
const MOST_HELD: u64 = 512 << 20;

/// Behind the rows the settings of the next definition may stand: an entry of this size at most is read as a whole for it.
const READ_WHOLE: u64 = 1 << 20;

/// All definitions of one file.
pub struct Definitions {
    /// What the session begins with.
    pub head: Vec<u8>,
    /// The encoding of the script, as its settings word it.
    pub encoding: Option<String>,
    /// Each definition, without what is left out.
    pub(super) statements: Vec<Statements>,
}

impl Definitions {
    /// The definitions without owners and whatever else was left out, with their entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.statements.iter().map(|statements| &statements.entry)
    }
}

/// Whether a file holds anything but rows.
pub fn has_definitions(entries: &Entries) -> bool {
    entries.iter().any(|entry| !is_data(&entry))
}

/// Reads the definitions of the file of `reader`, whose index tells of `entries`. Those that `omit` names are left out.
pub async fn definitions(reader: &SqlReader, entries: &Entries, omit: Omit, cancel: &Cancel) -> Result<Definitions> {
    let listed: Vec<Entry> = entries.iter().filter(|entry| entry.kind != "LARGE OBJECT").collect();
    let damaged = |why: &str| Error::new(ErrorKind::Damaged, format!("{} does not fit its index: {why}", reader.key));
    let all = reader.map.sql_bytes();
    let mut data = listed.iter().filter(|entry| is_data(entry));
    let (before, behind, tail) =
        match (data.clone().map(|entry| entry.start).min(), data.by_ref().max_by_key(|entry| entry.end)) {
            (Some(first), Some(last)) => (first, last.end, Some(last)),
            _ => (all, all, None),
        };
    if before.saturating_add(all.saturating_sub(behind)) > MOST_HELD {
        let message = format!("{} holds more than {MOST_HELD} bytes of definitions", reader.key);
        return Err(
            Error::new(ErrorKind::Refused, message).hint("restore the whole backup, and take the table from there")
        );
    }
    let mut text = reader.text(0..before, cancel).await?;
    if let Some(last) = tail {
        text.extend_from_slice(&behind_rows(reader, last, cancel).await?);
        text.extend_from_slice(&reader.text(behind..all, cancel).await?);
    }
    let mut scanner = Scanner::new(ColumnOrder::new(), omit);
    scanner.feed(&text);
    let scan = scanner.finish();
    if let Some(violation) = scan.violations.first() {
        return Err(Error::new(ErrorKind::Damaged, format!("{} holds {}", reader.key, violation.what))
            .hint("this is not what pg_dump writes; find out who changed the backup"));
    }
    if !scan.complete {
        return Err(damaged("its closing line is not there"));
    }
    let found: Vec<Entry> =
        scan.entries.iter().filter(|entry| entry.kind != "LARGE OBJECT" && !is_data(entry)).collect();
    // What stands among the data is about large objects.
    let outside = |entry: &Entry| !is_data(entry) && (entry.end <= before || entry.start >= behind);
    let listed: Vec<Entry> = listed.iter().filter(|entry| outside(entry)).cloned().collect();
    let differs = found.iter().zip(&listed).find(|(a, b)| identity(a) != identity(b)).map(|(found, _)| found);
    if let Some(other) = differs.or_else(|| found.get(listed.len())) {
        return Err(damaged(&format!("{} is another one", label(other))));
    }
    if let Some(missing) = listed.get(found.len()) {
        return Err(damaged(&format!("{} is not there", label(missing))));
    }
    let encoding = scan.settings.get("client_encoding").cloned();
    let first = scan.entries.iter().map(|entry| entry.start).min().unwrap_or(text.len() as u64);
    let head = text.get(..first as usize).unwrap_or_default().to_vec();
    let mut outline = Outline { scan, held: Vec::new(), head };
    let head = outline.session_head();
    let mut statements = Vec::with_capacity(found.len());
    for (entry, listed) in found.into_iter().zip(listed) {
        let sql = text.get(entry.start as usize..entry.end as usize).unwrap_or_default().to_vec();
        let mut made = Statements::of(&Held { entry, text: sql }, &outline);
        // As the index tells of it, with its place in the file.
        made.entry = listed;
        statements.push(made);
    }
    outline.held.clear();
    Ok(Definitions { head, encoding, statements })
}

fn identity(entry: &Entry) -> (&str, &str, Option<&str>, Option<&str>, crate::script::Digest) {
    (&entry.kind, &entry.name, entry.schema.as_deref(), entry.owner.as_deref(), entry.digest)
}

/// What stands in the last entry with data behind the data.
async fn behind_rows(reader: &SqlReader, last: &Entry, cancel: &Cancel) -> Result<Vec<u8>> {
    const END: &[u8] = b"\\.\n";
    if let Some(table) = &last.table {
        let text = reader.text(table.end..last.end, cancel).await?;
        return text.strip_prefix(END).map(<[u8]>::to_vec).ok_or_else(|| {
            Error::new(
                ErrorKind::Damaged,
                format!("{}: the rows of {} do not end where the index says", reader.key, table.name()),
            )
        });
    }
    if last.end - last.start <= READ_WHOLE {
        return reader.text(last.start..last.end, cancel).await;
    }
    // Large objects, which end with their transaction.
    let text = reader.text(last.end - 4096..last.end, cancel).await?;
    let end = memchr::memmem::rfind(&text, b"\nCOMMIT;\n").map_or(text.len(), |at| at + b"\nCOMMIT;\n".len());
    Ok(text.get(end..).unwrap_or_default().to_vec())
}
