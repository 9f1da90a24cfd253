//! The data files of a backup: dumped as one stream or as several, each to every destination.

use super::dump::Dumper;
use super::parallel::{Parallel, numbered};
use super::store::{Copies, FanOut};
use crate::archive::{FileContents, Packed};
use crate::catalogue::{File, FileKind};
use crate::destination::Key;
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// What was dumped and stored.
pub(super) struct Data {
    pub(super) files: Vec<File>,
    pub(super) contents: Vec<FileContents>,
    pub(super) tables: u64,
    pub(super) rows: u64,
    pub(super) large_objects: u64,
    pub(super) sql_bytes: u64,
    /// The roles that the dump names.
    pub(super) roles: BTreeSet<String>,
}

/// A dump that is about to begin.
pub(super) struct Dump<'a> {
    pub(super) dumper: Dumper<'a>,
    /// The name of the file, or what those of several begin with.
    pub(super) name: Key,
    /// How many sessions read rows at once.
    pub(super) jobs: usize,
    /// The server's version.
    pub(super) version: u32,
    /// What the dump is expected to be, in bytes of SQL.
    pub(super) expected: u64,
}

impl Dump<'_> {
    /// Dumps to every destination that has not failed; returns only what is whole and stored.
    pub(super) async fn run(self, copies: &mut Copies) -> Result<Data> {
        let parallel = match self.jobs {
            0 | 1 => None,
            jobs => Some(Box::pin(Parallel::begin(&self.dumper, self.version, jobs)).await?),
        };
        // A guess at the compressed size only plans uploads.
        let expected = parallel.as_ref().map_or_else(|| vec![self.expected], Parallel::expected);
        let of = expected.len();
        let mut names = Vec::new();
        let mut uploads = Vec::new();
        for (number, bytes) in expected.into_iter().enumerate() {
            let name = if of == 1 { self.name.clone() } else { numbered(&self.name, number, of)? };
            match copies.upload(&name, bytes / 4).await {
                Ok(upload) => uploads.push(upload),
                Err(error) => {
                    // Why the uploads were begun in vain is the error to tell.
                    let _ = end(copies, uploads, false).await;
                    return Err(error);
                }
            }
            names.push(name);
        }
        let dumped = match (parallel, uploads.first_mut()) {
            (Some(parallel), _) => Box::pin(parallel.run(&self.dumper, &mut uploads)).await,
            (None, Some(upload)) => {
                let dumped = self.dumper.pg_dump(async |chunk| upload.write(&chunk).await).await;
                dumped.map(|packed| vec![packed])
            }
            (None, None) => Ok(Vec::new()),
        };
        let ended = end(copies, uploads, dumped.is_ok()).await;
        // Where every destination failed the dump failed of that, and the destination's error says why.
        match (dumped, ended) {
            (Ok(packed), ended) => ended.map(|()| Data::new(names, packed)),
            (Err(error), _) if copies.alive() > 0 => Err(error),
            (Err(error), ended) => Err(ended.err().unwrap_or(error)),
        }
    }
}

/// Ends every upload; the first error is returned when all have ended.
async fn end(copies: &mut Copies, uploads: Vec<FanOut>, complete: bool) -> Result<()> {
    let mut first: Option<Error> = None;
    for upload in uploads {
        if let Err(error) = copies.finish(upload, complete && first.is_none()).await {
            first = first.or(Some(error));
        }
    }
    first.map_or(Ok(()), Err)
}

impl Data {
    fn new(names: Vec<Key>, packed: Vec<Packed>) -> Self {
        let mut data = Self {
            files: Vec::new(),
            contents: Vec::new(),
            tables: 0,
            rows: 0,
            large_objects: 0,
            sql_bytes: 0,
            roles: BTreeSet::new(),
        };
        for (name, Packed { scan, members, broken_lines, stored_bytes, sha256 }) in names.into_iter().zip(packed) {
            data.tables += scan.tables;
            data.rows += scan.rows;
            data.large_objects += scan.large_objects;
            data.sql_bytes += scan.sql_bytes;
            data.roles.extend(scan.roles);
            data.files.push(File {
                name: name.clone(),
                kind: FileKind::Data,
                bytes: stored_bytes,
                sha256,
                unpacked_bytes: scan.sql_bytes,
            });
            data.contents.push(FileContents { name, members, broken_lines, entries: scan.entries });
        }
        data
    }
}
