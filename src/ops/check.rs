//! Reading a copy of a backup again, byte for byte, and comparing it with what its manifest and index say.

use super::{Backup, Context};
use crate::archive::{Broken, Contents, FileContents, LARGEST_CONTENTS, Unpacked, Unpacking};
use crate::catalogue::{File, FileKind, Manifest};
use crate::config::Codec;
use crate::destination::{Admission, Destination, Key, Mirrored, Pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Phase, Progress};
use crate::script::{ColumnOrder, Entries, Entry, Omit, Scan, Scanner, TableData};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest globals that are read, in bytes, unpacked or not: some hundred thousand roles.
const LARGEST_GLOBALS: u64 = 32 << 20;

/// How many tables a problem names.
const NAMED: usize = 5;

/// What was found out about one copy.
pub(super) struct Checked {
    /// What is wrong, each a line that names the file. Empty: the copy is intact.
    pub(super) problems: Vec<String>,
    /// Whether something is not there at all.
    pub(super) missing: bool,
    /// The index, unless it is damaged or was not asked for.
    pub(super) contents: Option<Contents>,
    /// What each data file held, in order; empty after a quick check.
    pub(super) scans: Vec<Scan>,
}

/// How much is read.
#[derive(Debug, Clone)]
pub(super) enum Depth {
    /// Sizes and digests of the stored bytes.
    Digests,
    /// And every member unpacked, every row counted and fingerprinted, noting what a restore leaves out.
    Rows(Omit),
}

/// Reads the index of `manifest`'s backup at `destination`.
pub(super) async fn read_contents(destination: &dyn Destination, manifest: &Manifest) -> Result<Contents> {
    let missing = || Error::new(ErrorKind::Damaged, format!("the manifest of {} names no index", manifest.dir()));
    let file = manifest.files_of(FileKind::Contents).next().ok_or_else(missing)?;
    let key = manifest.dir().child(&file.name);
    if file.bytes > LARGEST_CONTENTS {
        let message =
            format!("{} has {} bytes by the manifest; no index of pgkeep's is so large", file.name, file.bytes);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    let stored = destination.read(&key, 0..file.bytes).await?;
    let digest = hex::encode(Sha256::digest(&stored));
    if digest != file.sha256 {
        return Err(Error::new(ErrorKind::Damaged, digest_problem(&file.name, &digest, &file.sha256)));
    }
    Contents::from_gzip(&stored, file.unpacked_bytes)
}

/// The index of `backup`, from the first copy that has it whole.
pub async fn contents(ctx: &Context, backup: &Backup) -> Result<Contents> {
    let mut first = None;
    for copy in &backup.copies {
        ctx.cancel.check()?;
        match read_contents(&**copy, &backup.manifest).await {
            Ok(contents) => return Ok(contents),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is nowhere", backup.manifest.dir()))))
}

/// A copy of `backup` that was found intact, to be read once more.
pub(super) struct Intact {
    /// The destination that holds it.
    pub(super) copy: Arc<dyn Destination>,
    /// Reads it; should that fail, from another copy that proves to hold the same bytes.
    pub(super) source: Arc<dyn Destination>,
    /// Its index.
    pub(super) contents: Contents,
    /// What each data file holds, in order.
    pub(super) scans: Vec<Scan>,
}

/// The copy of `backup` that is intact, after reading all of it: the first, or the next if that is damaged, which is said.
/// Every copy damaged is an error of kind `Damaged` that tells what is wrong with the first.
pub(super) async fn intact_copy(ctx: &Context, backup: &Backup, omit: &Omit) -> Result<Intact> {
    let mut first = None;
    let mut copies = backup.copies.iter();
    while let Some(copy) = copies.next() {
        let checked = check(ctx, copy, &backup.manifest, &Depth::Rows(omit.clone())).await;
        let error = match checked {
            Ok(Checked { problems, contents: Some(contents), scans, .. }) if problems.is_empty() => {
                let others = copies.cloned();
                let successor = Successor { ctx: ctx.clone(), manifest: backup.manifest.clone() };
                let source = Arc::new(Mirrored::new(Arc::clone(copy), others, successor));
                return Ok(Intact { copy: Arc::clone(copy), source, contents, scans });
            }
            Ok(checked) => {
                Error::new(ErrorKind::Damaged, format!("backup {} in {} is damaged", backup.manifest.id, copy.name()))
                    .caused_by(checked.problems.join("; "))
                    .hint("try another backup; `pgkeep backup verify --all` tells which are intact")
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => return Err(error),
            Err(error) => error,
        };
        ctx.warn(format!("the copy in {} cannot be used: {}", copy.name(), error.one_line()));
        first = first.or(Some(error));
    }
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is nowhere", backup.manifest.dir()))))
}

/// Lets another copy take over in the middle only if its data files have the digests of the manifest: what was found
/// harmless and whole in the first copy is then true of it too.
struct Successor {
    ctx: Context,
    manifest: Manifest,
}

#[async_trait]
impl Admission for Successor {
    async fn admit(&self, next: &Arc<dyn Destination>, failed: &dyn Destination, error: &Error) -> Result<()> {
        self.ctx.warn(format!("the copy in {} broke off: {}", failed.name(), error.one_line()));
        let unseen = Progress::default();
        for file in self.manifest.files_of(FileKind::Data) {
            let key = self.manifest.dir().child(&file.name);
            let found = match digest(&self.ctx, next, &key, file.bytes, &unseen).await {
                Ok(found) if found == file.sha256 => continue,
                Ok(found) => Error::new(ErrorKind::Damaged, digest_problem(&file.name, &found, &file.sha256)),
                Err(error) => error,
            };
            self.ctx.warn(format!("the copy in {} cannot go on for it: {}", next.name(), found.one_line()));
            return Err(found);
        }
        self.ctx.warn(format!("going on from the copy in {}, which holds the same bytes", next.name()));
        Ok(())
    }
}

/// Reads the copy of `manifest`'s backup at `destination`. An error means that it could not be read, not that it is bad.
pub(super) async fn check(
    ctx: &Context,
    destination: &Arc<dyn Destination>,
    manifest: &Manifest,
    depth: &Depth,
) -> Result<Checked> {
    let progress = ctx.phase(Phase::Check, manifest.sql_bytes);
    let mut checked = Checked { problems: Vec::new(), missing: false, contents: None, scans: Vec::new() };
    match read_contents(&**destination, manifest).await {
        Ok(contents) => checked.contents = Some(contents),
        Err(error) => checked.record("the index", error)?,
    }
    let described = checked.contents.as_ref().map_or(0, |contents| contents.files.len());
    let stored = manifest.files_of(FileKind::Data).count();
    if checked.contents.is_some() && described != stored {
        // What no index describes would be neither compared nor restored.
        checked.problems.push(format!("the index describes {described} data files, and the manifest names {stored}"));
    }
    if let Some(contents) = &checked.contents {
        checked.problems.extend(declared_otherwise(manifest, contents));
    }
    let dir = manifest.dir();
    let codec = manifest.codec.parse::<Codec>();
    let mut data = 0;
    for file in &manifest.files {
        ctx.cancel.check()?;
        let key = dir.child(&file.name);
        match destination.head(&key).await {
            Ok(object) if object.bytes == file.bytes => {}
            Ok(object) => {
                let problem = format!("{} holds {} bytes instead of {}", file.name, object.bytes, file.bytes);
                checked.problems.push(problem);
                continue;
            }
            Err(error) => {
                checked.record(file.name.as_str(), error)?;
                continue;
            }
        }
        let index = checked.contents.as_ref().and_then(|contents| contents.files.get(data)).cloned();
        data += usize::from(file.kind == FileKind::Data);
        match (file.kind, depth, index, &codec) {
            (FileKind::Contents, ..) => {}
            (FileKind::Globals, Depth::Rows(_), ..) => {
                if let Err(error) = read_globals(&**destination, manifest, file).await {
                    checked.record(file.name.as_str(), error)?;
                }
            }
            (FileKind::Data, Depth::Rows(omit), Some(index), Ok(codec)) => {
                let reading = Reading { ctx, destination, file, key, codec: *codec, progress: &progress };
                reading.data(index, omit.clone(), &mut checked).await?;
            }
            _ => {
                let digest = digest(ctx, destination, &key, file.bytes, &progress).await;
                match digest {
                    Ok(digest) if digest == file.sha256 => {}
                    Ok(digest) => checked.problems.push(digest_problem(&file.name, &digest, &file.sha256)),
                    Err(error) => checked.record(file.name.as_str(), error)?,
                }
            }
        }
    }
    if let Err(error) = codec {
        checked.problems.push(format!("the manifest names a codec that is not known: {error}"));
    }
    Ok(checked)
}

/// The roles and tablespaces in `file`, checked: their digest, their size, and that psql finds nothing in them but SQL.
pub(super) async fn read_globals(destination: &dyn Destination, manifest: &Manifest, file: &File) -> Result<Vec<u8>> {
    let damaged = |why: String| Error::new(ErrorKind::Damaged, why);
    let name = &file.name;
    if file.bytes.max(file.unpacked_bytes) > LARGEST_GLOBALS {
        return Err(damaged(format!("{name} holds more than {LARGEST_GLOBALS} bytes")));
    }
    let stored = destination.read(&manifest.dir().join(name.as_str()), 0..file.bytes).await?;
    let digest = hex::encode(Sha256::digest(&stored));
    if digest != file.sha256 {
        return Err(damaged(digest_problem(name, &digest, &file.sha256)));
    }
    let mut sql = Vec::new();
    let mut unpacked = flate2::read::MultiGzDecoder::new(&stored[..]).take(file.unpacked_bytes + 1);
    unpacked.read_to_end(&mut sql).map_err(|source| damaged(format!("{name} cannot be unpacked: {source}")))?;
    if sql.len() as u64 != file.unpacked_bytes {
        return Err(damaged(format!("{name} does not unpack to {} bytes", file.unpacked_bytes)));
    }
    let mut scanner = Scanner::default();
    scanner.feed(&sql);
    match scanner.finish().violations.first() {
        Some(violation) => Err(damaged(format!("{name}: line {} holds {}", violation.line, violation.what))),
        None => Ok(sql),
    }
}

/// What does not fit between a manifest and the index of its data files.
pub(super) fn check_against(manifest: &Manifest, contents: &Contents) -> Vec<String> {
    let mut problems = super::ready::sizes_differ(manifest, contents);
    problems.extend(declared_otherwise(manifest, contents));
    problems
}

/// What the manifest counts otherwise than the index: a change of the one that does not show in any digest.
fn declared_otherwise(manifest: &Manifest, contents: &Contents) -> Vec<String> {
    let count = |of: fn(&Entry) -> bool| contents.entries().filter(of).count() as u64;
    let objects = count(|entry| entry.kind == "LARGE OBJECT");
    let members = contents.files.iter().flat_map(|file| &file.members);
    let counts = [
        ("entries", manifest.entries, count(Entry::counts) - objects),
        ("tables", manifest.tables, count(|entry| entry.kind == "TABLE DATA" && entry.counts())),
        ("rows", manifest.rows, contents.entries().filter_map(|entry| entry.table).map(|t| t.rows).sum()),
        ("large objects", manifest.large_objects, objects),
        ("bytes of SQL", manifest.sql_bytes, members.map(|member| member.sql_bytes).sum()),
    ];
    let differ = counts.into_iter().filter(|(_, declared, found)| declared != found);
    differ
        .map(|(what, declared, found)| format!("the manifest counts {declared} {what}, and the index {found}"))
        .collect()
}

pub(super) fn digest_problem(name: &Key, found: &str, expected: &str) -> String {
    format!("{name} has changed: its SHA-256 is {found} instead of {expected}")
}

impl Checked {
    /// What is gone or damaged is a finding about the copy; anything else a failure to look.
    fn record(&mut self, what: &str, error: Error) -> Result<()> {
        match error.kind() {
            ErrorKind::NotFound => {
                self.missing = true;
                self.problems.push(format!("{what} is missing"));
                Ok(())
            }
            ErrorKind::Damaged | ErrorKind::Version | ErrorKind::Refused => {
                self.problems.push(error.one_line());
                Ok(())
            }
            _ => Err(error),
        }
    }
}

/// The SHA-256 of the first `bytes` bytes of `key`, which are all it should have.
pub(super) async fn digest(
    ctx: &Context,
    destination: &Arc<dyn Destination>,
    key: &Key,
    bytes: u64,
    progress: &Progress,
) -> Result<String> {
    let mut digest = Sha256::new();
    let mut pieces = Pieces::whole(destination, key.clone(), bytes);
    while let Some(piece) = pieces.next().await {
        ctx.cancel.check()?;
        let piece = piece?;
        progress.stored_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        digest.update(&piece);
    }
    Ok(hex::encode(digest.finalize()))
}

/// One data file being read with its index.
struct Reading<'a> {
    ctx: &'a Context,
    destination: &'a Arc<dyn Destination>,
    file: &'a File,
    key: Key,
    codec: Codec,
    progress: &'a Arc<Progress>,
}

impl Reading<'_> {
    async fn data(self, index: FileContents, omit: Omit, checked: &mut Checked) -> Result<()> {
        let name = &self.file.name;
        let stored: u64 = index.members.iter().map(|member| member.stored_bytes).sum();
        let sql: u64 = index.members.iter().map(|member| member.sql_bytes).sum();
        if (stored, sql) != (self.file.bytes, self.file.unpacked_bytes) || index.name != *name {
            checked
                .problems
                .push(format!("the index does not fit {name}: it covers {stored} bytes of {}", self.file.bytes));
            return Ok(());
        }
        let scanner = Arc::new(Mutex::new(Scanner::new(ColumnOrder::new(), omit)));
        let consumer = Arc::clone(&scanner);
        let progress = Arc::clone(self.progress);
        let mut rows = 0;
        let unpacking = Unpacking {
            destination: Arc::clone(self.destination),
            key: self.key,
            codec: self.codec,
            members: index.members.clone(),
            first: 0,
            digest: true,
            threads: self.ctx.threads(),
            progress: Arc::clone(self.progress),
        };
        let unpacked = unpacking
            .run(&self.ctx.cancel, move |sql| {
                let mut scanner = consumer.lock().unwrap_or_else(PoisonError::into_inner);
                scanner.feed(sql);
                progress.advance(0, scanner.rows() - rows);
                rows = scanner.rows();
                Ok(())
            })
            .await;
        let Unpacked { sha256, broken } = match unpacked {
            Ok(unpacked) => unpacked,
            Err(error) => return checked.record(name.as_str(), error),
        };
        if sha256 != self.file.sha256 {
            checked.problems.push(digest_problem(name, &sha256, &self.file.sha256));
        }
        checked.problems.extend(broken.iter().map(|broken| broken_problem(name, broken, &index)));
        let scanner = std::mem::take(&mut *scanner.lock().unwrap_or_else(PoisonError::into_inner));
        if broken.is_empty() {
            let scan = scanner.finish();
            compare(name, &scan, &index, &mut checked.problems);
            checked.scans.push(scan);
        }
        Ok(())
    }
}

fn broken_problem(name: &Key, Broken { sql, why }: &Broken, index: &FileContents) -> String {
    format!("{name}: {why}; SQL bytes {} to {} held {}", sql.start, sql.end, held(&index.entries, sql.clone()))
}

/// What the SQL bytes `sql` of a file with `entries` hold: its tables, or what else there is.
pub(super) fn held(entries: &Entries, sql: Range<u64>) -> String {
    let inside: Vec<Entry> = entries.iter().filter(|entry| entry.start < sql.end && entry.end > sql.start).collect();
    let tables: Vec<String> = inside.iter().filter_map(|entry| entry.table.as_ref()).map(TableData::name).collect();
    let others = inside.iter().map(|entry| format!("{} {}", entry.kind, entry.name));
    let held: Vec<String> = if tables.is_empty() { others.collect() } else { tables };
    let more = if held.len() > NAMED { format!(" and {} more", held.len() - NAMED) } else { String::new() };
    let named = held.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    format!("{named}{more}")
}

/// What the unpacked SQL holds must be what the index says it held when it was dumped.
pub(super) fn compare(name: &Key, scan: &Scan, index: &FileContents, problems: &mut Vec<String>) {
    if !scan.complete {
        problems.push(format!("{name} does not end as pg_dump ends a dump"));
    }
    for violation in &scan.violations {
        problems.push(format!("{name}: line {} holds {}", violation.line, violation.what));
    }
    if scan.entries.len() != index.entries.len() {
        problems.push(format!("{name} holds {} entries instead of {}", scan.entries.len(), index.entries.len()));
    }
    for (found, expected) in scan.entries.iter().zip(&index.entries) {
        if found == expected {
            continue;
        }
        problems.push(match (&found.table, &expected.table) {
            (Some(found), Some(expected)) if found.rows != expected.rows => {
                format!("{name}: {} holds {} rows instead of {}", expected.name(), found.rows, expected.rows)
            }
            (Some(_), Some(expected)) => format!("{name}: the rows of {} have changed", expected.name()),
            _ => format!("{name}: {} {} has changed", expected.kind, expected.name),
        });
    }
}
