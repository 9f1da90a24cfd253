//! Loading a checked archive through psql.
//!
//! psql never sees a byte that was not checked, never trusts the end of its input, and never runs a command of its own:
//! the archive was scanned for such, and a psql that can is told with `\restrict` to refuse them.

use crate::archive::Unpacking;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::{Client, SESSION, sqlstate, summary};
use crate::process::{CTRL_Z, Status, Stdin};
use crate::script::{Entries, Entry, EntryPattern};
use std::io::Write;
use std::ops::Range;

/// One data file to load.
pub struct LoadPart {
    /// The way to read it.
    pub unpacking: Unpacking,
    /// Its SHA-256 by the manifest: compared again while it is loaded.
    pub sha256: String,
    /// Byte ranges of its SQL that are left out, in order.
    pub omitted: Vec<Range<u64>>,
    /// Byte ranges of its SQL for which something else is loaded, in order.
    pub replaced: Vec<(Range<u64>, Vec<u8>)>,
    /// Its entries, to name what an error is about.
    pub entries: Entries,
}

/// Loads `part` into the database of `client`. An error of kind `Failed` is the backup's fault, any other the machine's.
pub async fn load(client: &Client, part: LoadPart, cancel: &Cancel) -> Result<()> {
    let LoadPart { unpacking, sha256, omitted, replaced, entries } = part;
    let progress = std::sync::Arc::clone(&unpacking.progress);
    let mut psql = client.psql()?.args(["-v", "VERBOSITY=verbose", "-f", "-"]).stdin(Stdin::Pipe).spawn().await?;
    let mut input = psql.stdin.take().ok_or_else(|| Error::new(ErrorKind::Failed, "psql has no input to write to"))?;
    // A psql from before August 2025 knows no \restrict; then the scan of the archive alone stands guard.
    let guard = client.restrict()?;
    let preamble = format!("{SESSION}{guard}");
    let preamble_lines = preamble.lines().count() as u64;
    // psql for Windows takes Ctrl-Z for the end of its input. In rows COPY knows another way to write it; elsewhere writing
    // it fails.
    let rows = if input.ends_at_ctrl_z() { row_ranges(&entries) } else { Vec::new() };
    let mut cut = Cut::new(0, omitted, replaced, rows);
    let name = unpacking.key.file_name().to_owned();
    let mut first = Some(preamble);
    let feed = unpacking.run(cancel, move |sql| {
        // psql that stopped reading has said why, and its exit tells; this error only ends the reading.
        let stopped = |source| Error::io("psql stopped reading", source);
        if let Some(preamble) = first.take() {
            input.write_all(preamble.as_bytes()).map_err(stopped)?;
        }
        let rows = memchr::memchr_iter(b'\n', sql).count() as u64;
        cut.write(sql, &mut input).map_err(stopped)?;
        progress.advance(0, rows);
        Ok(())
    });
    // The input must be closed for psql to end: it is dropped with the closure.
    let wait = psql.wait(cancel);
    let (fed, status) = tokio::join!(feed, wait);
    cancel.check()?;
    let status = status?;
    if !status.success() {
        return Err(explain(client, &status, |line| {
            entry_at(&entries, line.saturating_sub(preamble_lines)).map(Object::from)
        }));
    }
    let fed = fed?;
    if fed.sha256 != sha256 || !fed.broken.is_empty() {
        return Err(Error::new(ErrorKind::Damaged, format!("{name} changed while it was being restored"))
            .hint("what was loaded is discarded; find out who writes to the destination"));
    }
    Ok(())
}

/// Where the rows of tables are in the SQL, in order.
pub(super) fn row_ranges(entries: &Entries) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> =
        entries.iter().filter_map(|entry| entry.table).map(|table| table.start..table.end).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// Leaves byte ranges out of a stream, or writes something else for them; their newlines stay, so that psql's line numbers
/// are those of the archive.
pub(super) struct Cut {
    /// What is not written as it is, and what is instead.
    edits: Vec<(Range<u64>, Vec<u8>)>,
    next: usize,
    at: u64,
    /// How many newlines of what is written instead stand for those that are not.
    ahead: usize,
    /// Where Ctrl-Z is written as an escape of COPY's.
    rows: Vec<Range<u64>>,
}

impl Cut {
    /// For a stream that begins at the byte `at` of its file.
    pub(super) fn new(
        at: u64,
        omitted: Vec<Range<u64>>,
        replaced: Vec<(Range<u64>, Vec<u8>)>,
        rows: Vec<Range<u64>>,
    ) -> Self {
        let mut edits = replaced;
        edits.extend(omitted.into_iter().map(|range| (range, Vec::new())));
        edits.retain(|(range, _)| range.end > at);
        edits.sort_by_key(|(range, _)| range.start);
        Self { edits, next: 0, at, ahead: 0, rows }
    }

    pub(super) fn write(&mut self, sql: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        let mut rest = sql;
        while !rest.is_empty() {
            let Some((range, instead)) = self.edits.get(self.next) else {
                self.pass(rest, out)?;
                self.at += rest.len() as u64;
                return Ok(());
            };
            let inside = self.at >= range.start;
            let boundary = if inside { range.end } else { range.start };
            let length = rest.len().min((boundary - self.at) as usize);
            let (piece, after) = rest.split_at(length);
            if inside {
                if self.at == range.start {
                    out.write_all(instead)?;
                    self.ahead = memchr::memchr_iter(b'\n', instead).count();
                }
                let newlines = memchr::memchr_iter(b'\n', piece).count();
                let written = newlines.min(self.ahead);
                self.ahead -= written;
                out.write_all(&vec![b'\n'; newlines - written])?;
            } else {
                self.pass(piece, out)?;
            }
            self.at += length as u64;
            self.next += usize::from(inside && self.at == range.end);
            rest = after;
        }
        Ok(())
    }

    /// Writes `piece`, which begins at `self.at`.
    fn pass(&self, piece: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        let mut written = 0;
        if !self.rows.is_empty() {
            for at in memchr::memchr_iter(CTRL_Z, piece) {
                let place = self.at + at as u64;
                let after = self.rows.partition_point(|range| range.end <= place);
                if self.rows.get(after).is_some_and(|range| range.contains(&place)) {
                    out.write_all(piece.get(written..at).unwrap_or_default())?;
                    out.write_all(br"\x1a")?;
                    written = at + 1;
                }
            }
        }
        out.write_all(piece.get(written..).unwrap_or_default())
    }
}

/// What an error is about.
pub(super) struct Object {
    /// Its name, for people.
    pub(super) label: String,
    /// Its entry, if it is one of the backup's.
    pub(super) entry: Option<Entry>,
}

impl From<Entry> for Object {
    fn from(entry: Entry) -> Self {
        Self { label: label(&entry), entry: Some(entry) }
    }
}

/// How an entry is named in errors.
pub(super) fn label(entry: &Entry) -> String {
    let schema = entry.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
    format!("{} {schema}{}", entry.kind, entry.name)
}

/// What psql's failure means: the object it was about, and whose fault it is. `at_line` names what stands at a line of its
/// input, the first line being 1.
pub(super) fn explain(client: &Client, status: &Status, at_line: impl FnOnce(u64) -> Option<Object>) -> Error {
    let said = summary(&status.stderr);
    let found = line_of(&status.stderr).and_then(at_line);
    let object = found.as_ref().map(|object| format!(" at {}", object.label)).unwrap_or_default();
    let entry = found.and_then(|object| object.entry);
    let code = sqlstate(&status.stderr);
    let subject = client.connection().describe();
    let error = |kind, hint: &str| {
        let message = format!("loading into {subject} failed{object}");
        Error::new(kind, message).caused_by(said.clone()).hint(hint)
    };
    let class = code.and_then(|code| code.get(..2)).unwrap_or_default();
    let extension = said.contains("extension") && (said.contains("is not available") || said.contains("control file"));
    if extension || said.contains("shared_preload_libraries") {
        return error(
            ErrorKind::CouldNotRun,
            "install the extension on the target server (on Debian often postgresql-contrib or postgresql-VERSION-NAME)",
        );
    }
    if said.contains("No space left on device") || class == "53" {
        return error(ErrorKind::NoSpace, "make room, or give the target more memory or connections, and try again");
    }
    if said.contains("could not create locale") || (said.contains("collation") && class == "22") {
        return error(ErrorKind::CouldNotRun, "install the locale on the target server's machine");
    }
    match (code, status.exit.code()) {
        _ if matches!(class, "57" | "58" | "08" | "XX") => {
            error(ErrorKind::Unavailable, "the server broke off; its own log tells why. Try again")
        }
        (Some("42501"), _) => {
            // What can do without the rest can be left out.
            let pattern = entry.and_then(|entry| format!("{}:{}", entry.kind, entry.name).parse::<EntryPattern>().ok());
            let leave_out =
                pattern.map(|pattern| format!(", or leave it out: --without '{pattern}'")).unwrap_or_default();
            let hint = format!("restore as a superuser, or with --no-owner and --no-privileges{leave_out}");
            error(ErrorKind::PermissionDenied, &hint)
        }
        (Some(_), _) => {
            error(ErrorKind::Failed, "the rest was not loaded; the statement above is what stands in the way")
        }
        // 3 is ON_ERROR_STOP; anything else without a state is psql's or the connection's end.
        (None, Some(3)) => error(ErrorKind::Failed, "the rest was not loaded"),
        (None, _) => error(ErrorKind::Unavailable, "psql or its connection ended; try again"),
    }
}

/// The line that psql names: `psql:<stdin>:123: ERROR: …`.
fn line_of(stderr: &str) -> Option<u64> {
    let error = ["ERROR:", "FATAL:", "PANIC:"].iter().filter_map(|word| stderr.find(word)).min()?;
    let line = stderr[..error].lines().last()?;
    line.trim_end().trim_end_matches(':').rsplit(':').next()?.trim().parse().ok()
}

/// The last entry that begins at or before `line`.
pub(super) fn entry_at(entries: &Entries, line: u64) -> Option<Entry> {
    entries.iter().filter(|entry| entry.line <= line && entry.kind != "LARGE OBJECT").max_by_key(|entry| entry.line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_line_of_an_error_is_found() {
        assert_eq!(line_of("psql:<stdin>:17: ERROR:  42704: type \"x\" does not exist\nLINE 1: …"), Some(17));
        assert_eq!(line_of("psql: error: connection failed"), None);
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn ctrl_z_is_escaped_in_rows_alone_wherever_pieces_end() {
        let text = b"a\x1ab\nrow \x1a1\t\x1a\n\\.\nc\x1a";
        for length in 1..=text.len() {
            let mut cut = Cut::new(0, vec![0..1], Vec::new(), vec![4..12]);
            let mut out = Vec::new();
            for piece in text.chunks(length) {
                cut.write(piece, &mut out).unwrap();
            }
            assert_eq!(out, b"\x1ab\nrow \\x1a1\t\\x1a\n\\.\nc\x1a");
        }
    }

    proptest! {
        #[test]
        fn cut_ranges_leave_only_their_newlines_and_what_is_written_instead(
            text in "[a-c\n]{0,60}",
            cuts in prop::collection::btree_set(0usize..60, 0..6),
            instead in prop::option::of("[x-z]{1,4}"),
            pieces in prop::collection::vec(1usize..9, 0..40),
        ) {
            let cuts: Vec<usize> = cuts.into_iter().filter(|&at| at <= text.len()).collect();
            let ranges: Vec<Range<u64>> =
                cuts.chunks_exact(2).map(|pair| pair[0] as u64..pair[1] as u64).collect();
            let inside = |at: usize| ranges.iter().any(|range| range.contains(&(at as u64)));
            let mut expected = Vec::new();
            for (at, byte) in text.bytes().enumerate() {
                if ranges.iter().any(|range| range.start == at as u64) {
                    expected.extend(instead.iter().flat_map(|text| text.bytes()));
                }
                if byte == b'\n' || !inside(at) {
                    expected.push(byte);
                }
            }
            let mut cut = match &instead {
                None => Cut::new(0, ranges, Vec::new(), Vec::new()),
                Some(text) => {
                    let replaced = ranges.into_iter().map(|range| (range, text.clone().into_bytes()));
                    Cut::new(0, Vec::new(), replaced.collect(), Vec::new())
                }
            };
            let mut out = Vec::new();
            let mut rest = text.as_bytes();
            for piece in pieces.into_iter().chain([usize::MAX]) {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                cut.write(now, &mut out).unwrap();
                rest = later;
            }
            prop_assert_eq!(out, expected);
        }
    }
}
