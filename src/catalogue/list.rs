//! Which backups a destination holds, with the newest receipts of each.

use super::{
    DrillReceipt, LARGEST_MANIFEST, LARGEST_RECEIPT, Manifest, PinReceipt, VerifyReceipt,
    receipt::{read_receipt, receipts_to_read},
};
use crate::destination::{Destination, Key, MANIFEST_NAME, Object};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many backups are read at once.
const AT_ONCE: usize = 8;

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
}

/// Every backup of `job` (`None`: of all jobs) at `destination`.
///
/// A listing is complete or an error: `Unavailable` in the middle fails the whole. Folders without a manifest are no
/// backups and are left out, as are those that are removed meanwhile.
pub async fn list(destination: &Arc<dyn Destination>, job: Option<&str>) -> Result<Listing> {
    let prefix = job.map(Key::encode);
    let objects = destination.list(prefix.as_ref()).await?;
    let mut waiting = folders(objects).into_iter();
    let mut running: JoinSet<Result<Outcome>> = JoinSet::new();
    let mut listing = Listing::default();
    loop {
        while running.len() < AT_ONCE
            && let Some((dir, objects)) = waiting.next()
        {
            let destination = Arc::clone(destination);
            running.spawn(async move { read_folder(&*destination, dir, &objects).await });
        }
        let Some(joined) = running.join_next().await else { break };
        let outcome = joined.unwrap_or_else(|source| {
            Err(Error::new(ErrorKind::Failed, "reading the manifests ended unexpectedly").caused_by(source))
        })?;
        listing.entries.extend(outcome.entry);
        listing.problems.extend(outcome.problems);
    }
    listing.entries.sort_by(|a, b| {
        (a.manifest.started_at, &a.manifest.id, a.manifest.dir()).cmp(&(
            b.manifest.started_at,
            &b.manifest.id,
            b.manifest.dir(),
        ))
    });
    listing.problems.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(listing)
}

/// The objects of each folder `JOB/DATABASE/ID` that has a manifest.
fn folders(objects: Vec<Object>) -> BTreeMap<Key, Vec<Object>> {
    let mut folders: BTreeMap<Key, Vec<Object>> = BTreeMap::new();
    for object in objects {
        let mut segments = object.key.as_str().splitn(4, '/');
        if let (Some(job), Some(database), Some(id), Some(_)) =
            (segments.next(), segments.next(), segments.next(), segments.next())
            && id.parse::<BackupId>().is_ok()
            && let Ok(dir) = format!("{job}/{database}/{id}").parse()
        {
            folders.entry(dir).or_default().push(object);
        }
    }
    folders.retain(|dir, objects| objects.iter().any(|object| object.key == dir.join(MANIFEST_NAME)));
    folders
}

#[derive(Default)]
struct Outcome {
    entry: Option<Entry>,
    problems: Vec<Problem>,
}

async fn read_folder(destination: &dyn Destination, dir: Key, objects: &[Object]) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let manifest_key = dir.join(MANIFEST_NAME);
    let Some(object) = objects.iter().find(|object| object.key == manifest_key) else { return Ok(outcome) };
    let manifest = match read_whole(destination, object, LARGEST_MANIFEST).await {
        // Removed since the listing: no backup any more.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(outcome),
        read => read.and_then(|json| Manifest::from_json(&json, &dir)),
    };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return problem(dir, error).map(|problem| Outcome { entry: None, problems: vec![problem] }),
    };
    let there = |name: &Key| objects.iter().any(|object| object.key == dir.child(name));
    if !manifest.files.is_empty() && !manifest.files.iter().any(|file| there(&file.name)) {
        // A service may store what was given up long ago: then the files are gone, and their manifest arrives.
        let error = Error::new(ErrorKind::Damaged, "its manifest is there, and none of its files")
            .hint("a run that failed left it, or somebody removed the files: delete its manifest.json");
        return Ok(Outcome { entry: None, problems: vec![Problem { dir, error }] });
    }
    let mut entry = Entry { manifest, verified: None, drilled: None, pin: None };
    for (folder, object) in receipts_to_read(&dir, objects) {
        let read = match read_whole(destination, object, LARGEST_RECEIPT).await {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.and_then(|json| match folder {
                "drills" => {
                    read_receipt(&json, &object.key, &entry.manifest.id).map(|receipt| entry.drilled = Some(receipt))
                }
                "pins" => read_receipt(&json, &object.key, &entry.manifest.id).map(|receipt| entry.pin = Some(receipt)),
                _ => read_receipt(&json, &object.key, &entry.manifest.id).map(|receipt| entry.verified = Some(receipt)),
            }),
        };
        if let Err(error) = read {
            outcome.problems.push(problem(dir.clone(), error)?);
        }
    }
    outcome.entry = Some(entry);
    Ok(outcome)
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
