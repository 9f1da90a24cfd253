//! Which backups a destination holds, with the newest receipts of each.
//!
//! What an index says of backups that have not changed since is taken from there ([`super::index`]); all others are read.

use super::index::{Layout, SmallFile, on_one_line, read_indexes};
use super::{
    DrillReceipt, LARGEST_MANIFEST, LARGEST_RECEIPT, Manifest, PinReceipt, VerifyReceipt,
    receipt::{read_receipt, receipts_to_read},
};
use crate::destination::{Destination, Key, MANIFEST_NAME, Object, is_receipt_of};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many folders or backups are read at once.
const AT_ONCE: usize = 8;

/// How many backups of an index are taken in one go: a fraction of a second's work.
const TOGETHER: usize = 256;

/// How often a folder is looked at anew that changes while it is read.
const LOOKS: usize = 5;

/// Up to so many backups' folders are listed one by one. More are listed together, unless that would name everything of
/// many that need not be read: about seven files of each backup, a thousand in one request.
const FEW: usize = 8;
const FOLDERS_A_REQUEST: usize = 128;

/// A backup at a destination.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it is.
    pub manifest: Manifest,
    /// The newest verification of it at this destination.
    pub verified: Option<VerifyReceipt>,
    /// The newest drill with it.
    pub drilled: Option<DrillReceipt>,
    /// The newest note at this destination that it was pinned or unpinned.
    pub pin: Option<PinReceipt>,
    /// Whether an index said so, and the backup's own folder was not looked into.
    pub indexed: bool,
}

/// A backup's folder with something in it that cannot be used.
#[derive(Debug)]
pub struct Problem {
    /// The folder: `JOB/DATABASE/ID`.
    pub dir: Key,
    /// What is wrong.
    pub error: Error,
}

/// What a destination holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The backups, oldest first.
    pub entries: Vec<Entry>,
    /// What is damaged, hostile or from a newer pgkeep. A folder may be here for a receipt, and its backup above.
    pub problems: Vec<Problem>,
    /// What made the reading slower than it need be, in whole sentences.
    pub notes: Vec<String>,
}

/// Every backup of `job` (`None`: of all jobs) at `destination`.
///
/// A listing is complete or an error: `Unavailable` in the middle fails the whole. Folders without a manifest are no
/// backups and are left out, as are those that are removed meanwhile. That a backup is there which an index knows is told by
/// its folder: [`read_one`] looks into it.
pub async fn list(destination: &Arc<dyn Destination>, job: Option<&str>) -> Result<Listing> {
    let folders_of = |folder: Option<Key>| {
        let destination = Arc::clone(destination);
        async move { Ok(destination.children(folder.as_ref()).await?.folders) }
    };
    let jobs = match job {
        Some(job) => vec![Key::encode(job)],
        None => folders_of(None).await?,
    };
    let databases = at_once(jobs.into_iter().map(Some).collect(), folders_of).await?;
    let look = |database: Key| {
        let destination = Arc::clone(destination);
        async move { Database::look(&destination, database).await }
    };
    let mut listing = Listing::default();
    let mut unknown = Vec::new();
    for database in at_once(databases.into_iter().flatten().collect(), look).await? {
        listing.entries.extend(database.entries);
        listing.notes.extend(database.notes);
        unknown.push(Unknown { database: database.key, folders: database.folders, dirs: database.unknown });
    }
    for read in read_backups(destination, unknown).await? {
        listing.entries.extend(read.entry);
        listing.problems.extend(read.problems);
    }
    listing
        .entries
        .sort_by_cached_key(|entry| (entry.manifest.started_at, entry.manifest.id.clone(), entry.manifest.dir()));
    listing.problems.sort_by(|a, b| a.dir.cmp(&b.dir));
    listing.notes.sort();
    Ok(listing)
}

/// The backup in the folder `dir`, `JOB/DATABASE/ID`, from that folder alone, with what is wrong with it.
pub async fn read_one(destination: &Arc<dyn Destination>, dir: &Key) -> Result<(Option<Entry>, Vec<Problem>)> {
    let read = read_backup(&**destination, dir.clone(), None).await?;
    Ok((read.entry, read.problems))
}

/// Does `work` with each of `items`, several at once; complete or an error. The order of the results is any.
pub(super) async fn at_once<I, T, F>(items: Vec<I>, work: impl Fn(I) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut waiting = items.into_iter();
    let mut running: JoinSet<Result<T>> = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(item) = waiting.next()
        {
            running.spawn(work(item));
        }
        let Some(joined) = running.join_next().await else { return Ok(results) };
        results.push(joined.unwrap_or_else(|source| {
            Err(Error::new(ErrorKind::Failed, "reading the catalogue ended unexpectedly").caused_by(source))
        })?);
    }
}

/// What the folder of a database and its indexes tell.
struct Database {
    key: Key,
    /// How many folders of backups there are.
    folders: usize,
    entries: Vec<Entry>,
    /// The folders that must be read.
    unknown: Vec<Key>,
    notes: Vec<String>,
}

impl Database {
    async fn look(destination: &Arc<dyn Destination>, key: Key) -> Result<Self> {
        let mut looks = LOOKS;
        let (layout, mut covered) = loop {
            let layout = Layout::look(&**destination, &key).await?;
            match read_indexes(destination, &key, &layout).await? {
                Some(covered) => break (layout, covered),
                // Others write indexes faster than this one reads them.
                None if looks == 0 => break (layout, super::index::Covered::default()),
                None => looks -= 1,
            }
        };
        let marked = layout.marked();
        let mut unknown = Vec::new();
        let mut known = Vec::new();
        for id in &layout.ids {
            let dir = key.join(id.as_str());
            match covered.backups.remove(id).filter(|_| !marked.contains(id)) {
                Some(files) => known.push((dir, files)),
                None => unknown.push(dir),
            }
        }
        let mut database = Self { key, folders: layout.ids.len(), entries: Vec::new(), unknown, notes: covered.notes };
        let chunks: Vec<Vec<(Key, Vec<SmallFile>)>> = known.chunks(TOGETHER).map(<[_]>::to_vec).collect();
        let parse = |chunk: Vec<(Key, Vec<SmallFile>)>| async move {
            let parsed = tokio::task::spawn_blocking(move || {
                let parse = |(dir, files): (Key, Vec<SmallFile>)| indexed(&dir, &files).map_err(|error| (dir, error));
                chunk.into_iter().map(parse).collect::<Vec<_>>()
            });
            parsed.await.map_err(|source| {
                Error::new(ErrorKind::Failed, "reading an index ended unexpectedly").caused_by(source)
            })
        };
        for parsed in at_once(chunks, parse).await?.into_iter().flatten() {
            match parsed {
                Ok(entry) => database.entries.push(entry),
                Err((dir, error)) => {
                    database.notes.push(format!(
                        "what the index at {} says of {dir} cannot be used, its folder is read: {}",
                        destination.name(),
                        error.one_line()
                    ));
                    database.unknown.push(dir);
                }
            }
        }
        Ok(database)
    }
}

/// The backup in the folder `dir` as its small files tell it, the manifest first.
fn indexed(dir: &Key, files: &[SmallFile]) -> Result<Entry> {
    let Some((manifest, receipts)) = files.split_first() else {
        return Err(Error::new(ErrorKind::Damaged, format!("{dir} has no manifest")));
    };
    let manifest = Manifest::from_json(&manifest.bytes, dir)?;
    let mut entry = Entry { manifest, verified: None, drilled: None, pin: None, indexed: true };
    for receipt in receipts {
        let key = dir.child(&receipt.name);
        let folder = is_receipt_of(dir, &key).map(|(folder, ..)| folder).unwrap_or_default();
        entry.take_receipt(folder, &receipt.bytes, &key)?;
    }
    Ok(entry)
}

impl AsRef<Manifest> for Entry {
    fn as_ref(&self) -> &Manifest {
        &self.manifest
    }
}

impl Entry {
    /// Takes in the newest receipt of `folder`.
    fn take_receipt(&mut self, folder: &str, json: &[u8], key: &Key) -> Result<()> {
        let id = &self.manifest.id;
        match folder {
            "drills" => self.drilled = Some(read_receipt(json, key, id)?),
            "pins" => self.pin = Some(read_receipt(json, key, id)?),
            _ => self.verified = Some(read_receipt(json, key, id)?),
        }
        Ok(())
    }
}

/// What a backup's own folder tells.
#[derive(Default)]
pub(super) struct Read {
    pub(super) entry: Option<Entry>,
    pub(super) problems: Vec<Problem>,
    /// What was read, for an index: the manifest first.
    pub(super) files: Vec<SmallFile>,
}

/// Backups of one database that must be read.
pub(super) struct Unknown {
    /// The folder `JOB/DATABASE`.
    pub(super) database: Key,
    /// How many backups' folders it holds.
    pub(super) folders: usize,
    /// Those that must be read.
    pub(super) dirs: Vec<Key>,
}

impl Unknown {
    /// The folders, each with what it holds if that was listed.
    async fn list(self, destination: &dyn Destination) -> Result<Vec<(Key, Option<Vec<Object>>)>> {
        if self.dirs.len() <= FEW || self.dirs.len() <= self.folders / FOLDERS_A_REQUEST {
            return Ok(self.dirs.into_iter().map(|dir| (dir, None)).collect());
        }
        let mut listed: BTreeMap<Key, Vec<Object>> = self.dirs.into_iter().map(|dir| (dir, Vec::new())).collect();
        for object in destination.list(Some(&self.database)).await? {
            if let Some(objects) = backup_of(&object.key).and_then(|dir| listed.get_mut(&dir)) {
                objects.push(object);
            }
        }
        Ok(listed.into_iter().map(|(dir, objects)| (dir, Some(objects))).collect())
    }
}

/// Reads backups from their folders.
pub(super) async fn read_backups(destination: &Arc<dyn Destination>, unknown: Vec<Unknown>) -> Result<Vec<Read>> {
    let list = |unknown: Unknown| {
        let destination = Arc::clone(destination);
        async move { unknown.list(&*destination).await }
    };
    let read = |(dir, objects): (Key, Option<Vec<Object>>)| {
        let destination = Arc::clone(destination);
        async move { read_backup(&*destination, dir, objects).await }
    };
    let folders = at_once(unknown, list).await?;
    at_once(folders.into_iter().flatten().collect(), read).await
}

/// The folder `JOB/DATABASE/ID` that `key` lies in.
fn backup_of(key: &Key) -> Option<Key> {
    let (end, _) = key.as_str().match_indices('/').nth(2)?;
    let dir: Key = key.as_str().get(..end)?.parse().ok()?;
    dir.file_name().parse::<BackupId>().is_ok().then_some(dir)
}

/// Reads the backup in the folder `dir`, which held `objects` if it was listed already.
async fn read_backup(destination: &dyn Destination, dir: Key, objects: Option<Vec<Object>>) -> Result<Read> {
    let mut listed = objects;
    let mut looks = LOOKS;
    loop {
        let objects = match listed.take() {
            Some(objects) => objects,
            None => destination.list(Some(&dir)).await?,
        };
        looks -= 1;
        // The listings of some services name what was deleted for a while: then it is passed over in the end.
        if let Some(read) = read_folder(destination, &dir, &objects, looks == 0).await? {
            return Ok(read);
        }
    }
}

/// Reads the backup in the folder `dir`, which held `objects`; unless this is the `last` look, `None` if a receipt has gone
/// since: a newer one is there.
async fn read_folder(destination: &dyn Destination, dir: &Key, objects: &[Object], last: bool) -> Result<Option<Read>> {
    let mut read = Read::default();
    let manifest_key = dir.join(MANIFEST_NAME);
    let Some(object) = objects.iter().find(|object| object.key == manifest_key) else { return Ok(Some(read)) };
    let json = match read_whole(destination, object, LARGEST_MANIFEST).await {
        // Removed since the listing: no backup any more.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(read)),
        read => read,
    };
    let manifest = match json.and_then(|json| Ok((Manifest::from_json(&json, dir)?, json))) {
        Ok((manifest, json)) => {
            read.keep(dir, &manifest_key, &json);
            manifest
        }
        Err(error) => {
            read.problems.push(problem(dir.clone(), error)?);
            return Ok(Some(read));
        }
    };
    let there = |name: &Key| objects.iter().any(|object| object.key == dir.child(name));
    if !manifest.files.is_empty() && !manifest.files.iter().any(|file| there(&file.name)) {
        // A service may store what was given up long ago: then the files are gone, and their manifest arrives.
        let error = Error::new(ErrorKind::Damaged, "its manifest is there, and none of its files")
            .hint("a run that failed left it, or somebody removed the files: delete its manifest.json");
        read.problems.push(Problem { dir: dir.clone(), error });
        return Ok(Some(read));
    }
    let mut entry = Entry { manifest, verified: None, drilled: None, pin: None, indexed: false };
    for (folder, object) in receipts_to_read(dir, objects) {
        let taken = match read_whole(destination, object, LARGEST_RECEIPT).await {
            Err(error) if error.kind() == ErrorKind::NotFound && last => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
            Ok(json) => {
                read.keep(dir, &object.key, &json);
                entry.take_receipt(folder, &json, &object.key)
            }
        };
        if let Err(error) = taken {
            read.problems.push(problem(dir.clone(), error)?);
        }
    }
    read.entry = Some(entry);
    Ok(Some(read))
}

impl Read {
    fn keep(&mut self, dir: &Key, key: &Key, json: &Bytes) {
        let name = key.as_str().strip_prefix(dir.as_str()).and_then(|name| name.strip_prefix('/')?.parse().ok());
        self.files.extend(name.map(|name| SmallFile { name, bytes: on_one_line(json) }));
    }
}

/// What cannot be reached is no problem of one backup: the listing is not complete.
fn problem(dir: Key, error: Error) -> Result<Problem> {
    if error.kind() == ErrorKind::Unavailable { Err(error) } else { Ok(Problem { dir, error }) }
}

async fn read_whole(destination: &dyn Destination, object: &Object, limit: u64) -> Result<bytes::Bytes> {
    if object.bytes > limit {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!("{} holds {} bytes; pgkeep writes at most {limit}", object.key, object.bytes),
        ));
    }
    destination.read(&object.key, 0..object.bytes).await
}
