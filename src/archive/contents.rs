//! `contents.json.gz`: where every entry and member of the archive is, and what rows each table had.

use super::codec::{LARGEST_MEMBER, MEMBER_BYTES, Packer};
use super::members::Members;
use crate::config::Compression;
use crate::destination::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::script::{ColumnOrder, Entries, Entry};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// The largest index that is read, in unpacked bytes: some sixty million members, or three million entries.
pub const LARGEST_CONTENTS: u64 = 1 << 30;

/// How many times larger than stored an index may be once it exceeds [`ANY_RATIO`] bytes: it is full of digests, which do
/// not compress, so that more is no index but a bomb.
const LARGEST_RATIO: u64 = 64;

/// Up to so many unpacked bytes any ratio will do.
const ANY_RATIO: u64 = 16 << 20;

/// The index of a backup's data files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    format: u32,
    /// One for each data file, in the order in which they are restored.
    pub files: Vec<FileContents>,
}

/// What one data file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContents {
    /// The file's name.
    pub name: Key,
    /// Its members in order.
    pub members: Members,
    /// Members that do not end at the end of a line, by their number from 0: lines longer than a member.
    #[serde(default)]
    pub broken_lines: Vec<u64>,
    /// Its entries in order, then its large objects.
    pub entries: Entries,
}

impl Contents {
    /// The index of `files`.
    pub fn new(files: Vec<FileContents>) -> Self {
        Self { format: FORMAT, files }
    }

    /// All entries of all files.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + Clone {
        self.files.iter().flat_map(|file| &file.entries)
    }

    /// Number of entries that are objects of their own: large objects and further slices of a table left out.
    pub fn counted(&self) -> u64 {
        self.entries().filter(|entry| entry.kind != "LARGE OBJECT" && entry.counts()).count() as u64
    }

    /// The order of the columns of each table, in which another dump's rows must be hashed to compare.
    pub fn column_orders(&self) -> ColumnOrder {
        let tables = self.entries().filter_map(|entry| entry.table);
        tables.map(|t| ((t.schema, t.table), t.columns)).collect()
    }

    /// The index as it is stored, and its size unpacked in bytes.
    pub fn to_gzip(&self) -> Result<(Vec<u8>, u64)> {
        let mut stored = Vec::new();
        let unpacked_bytes = self.write_gzip(|bytes| {
            stored.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok((stored, unpacked_bytes))
    }

    /// Hands the index as it is stored to `deliver`, piece by piece, so that it is never in memory as a whole. Returns its
    /// size unpacked, in bytes; an error of `deliver` stops it.
    pub fn write_gzip(&self, deliver: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let packer = Packer::new(Compression::default())?;
        let mut pieces = Pieces { packer, deliver, json: Vec::new(), unpacked_bytes: 0, failure: None };
        let written = serde_json::to_writer(&mut pieces, self).map_err(std::io::Error::from);
        let written = written.and_then(|()| pieces.flush_member());
        match (pieces.failure, written) {
            (Some(error), _) => Err(error),
            (None, Err(source)) => Err(Error::io("cannot write the index of the archive", source)),
            (None, Ok(())) => Ok(pieces.unpacked_bytes),
        }
    }

    /// Reads an index that unpacks to `unpacked_bytes`, refusing whatever is damaged, hostile, or from a newer pgkeep.
    pub fn from_gzip(stored: &[u8], unpacked_bytes: u64) -> Result<Self> {
        let damaged =
            |why: String| Error::new(ErrorKind::Damaged, format!("the index of the archive cannot be used: {why}"));
        let expected = ANY_RATIO.max(LARGEST_RATIO.saturating_mul(stored.len() as u64));
        if unpacked_bytes > LARGEST_CONTENTS.min(expected) {
            return Err(damaged(format!("the manifest says that it unpacks to {unpacked_bytes} bytes")));
        }
        let reader = std::io::BufReader::with_capacity(1 << 16, MultiGzDecoder::new(stored).take(unpacked_bytes));
        let contents: Self = serde_json::from_reader(reader).map_err(|source| damaged(source.to_string()))?;
        if contents.format != FORMAT {
            return Err(Error::new(
                ErrorKind::Version,
                format!("the index of the archive has format {}; this pgkeep reads {FORMAT}", contents.format),
            )
            .hint("update pgkeep; RESTORE.txt beside the archive tells how to restore it by hand meanwhile"));
        }
        for file in &contents.files {
            if file.members.iter().any(|member| member.sql_bytes.max(member.stored_bytes) > LARGEST_MEMBER) {
                return Err(damaged(format!("a member of {} is larger than pgkeep makes them", file.name)));
            }
            let sql = sum(file.members.iter().map(|member| member.sql_bytes));
            let (Some(sql), Some(_)) = (sql, sum(file.members.iter().map(|member| member.stored_bytes))) else {
                return Err(damaged("its members are larger than any file".to_owned()));
            };
            for entry in &file.entries {
                if entry.start > entry.end || entry.end > sql {
                    return Err(damaged(format!("{} {} lies outside the archive", entry.kind, entry.name)));
                }
            }
        }
        Ok(contents)
    }
}

fn sum(mut sizes: impl Iterator<Item = u64>) -> Option<u64> {
    sizes.try_fold(0u64, u64::checked_add)
}

/// JSON on its way: packed in members, as the archive is.
struct Pieces<D> {
    packer: Packer,
    deliver: D,
    json: Vec<u8>,
    unpacked_bytes: u64,
    /// What `deliver` said, of which an I/O error cannot tell everything.
    failure: Option<Error>,
}

impl<D: FnMut(&[u8]) -> Result<()>> Pieces<D> {
    fn flush_member(&mut self) -> std::io::Result<()> {
        if self.json.is_empty() {
            return Ok(());
        }
        let delivered = self.packer.pack(&self.json).and_then(&mut self.deliver);
        self.unpacked_bytes += self.json.len() as u64;
        self.json.clear();
        delivered.map_err(|error| {
            self.failure = Some(error);
            std::io::Error::other("the index is not wanted any more")
        })
    }
}

impl<D: FnMut(&[u8]) -> Result<()>> std::io::Write for Pieces<D> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.json.extend_from_slice(buffer);
        if self.json.len() >= MEMBER_BYTES {
            self.flush_member()?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
