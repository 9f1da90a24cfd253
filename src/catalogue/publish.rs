//! Publishing a backup: a folder is claimed, files are stored in it, and the manifest is written last.
//!
//! The order is in the types: only a [`Draft`], which holds the claim, can be published, only with a
//! [`CompletedBackup`], and that ends both.

use super::{Change, LARGEST_MANIFEST, Manifest};
use crate::destination::{Claim, Destination, Key, MANIFEST_NAME, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A manifest of a backup that is whole, and that will be readable again.
///
/// Make one only when every pg_dump has exited 0, its closing line was seen and every file was stored: nothing after this
/// point can know it.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedBackup {
    manifest: Manifest,
    json: Bytes,
}

impl CompletedBackup {
    /// Accepts `manifest` if this program would read it back as it is.
    pub fn new(manifest: Manifest) -> Result<Self> {
        let json = Bytes::from(manifest.to_json()?);
        let refused = |why: String| {
            Error::new(ErrorKind::Failed, format!("the manifest of {} would not be readable: {why}", manifest.dir()))
        };
        if json.len() as u64 > LARGEST_MANIFEST {
            return Err(refused(format!("it has {} bytes, the limit is {LARGEST_MANIFEST}", json.len())));
        }
        let read = Manifest::from_json(&json, &manifest.dir()).map_err(|error| refused(error.to_string()))?;
        if read != manifest {
            return Err(refused("it reads back differently".to_owned()));
        }
        let stored = manifest.files.iter().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
        if stored != manifest.stored_bytes {
            return Err(refused(format!("its files hold {stored} bytes, not {}", manifest.stored_bytes)));
        }
        Ok(Self { manifest, json })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// A backup that is being written at one destination. Dropped without being published, its files are left to
/// [`Destination::sweep`]; [`Draft::discard`] removes them at once.
pub struct Draft {
    destination: Arc<dyn Destination>,
    dir: Key,
    claim: Box<dyn Claim>,
    stored: BTreeMap<Key, Stored>,
    /// Every name under which something may lie at the destination: an answer can be lost after the work was done.
    begun: BTreeSet<Key>,
    /// Whether the manifest may be there, by this draft's doing.
    published: bool,
}

impl Draft {
    /// Claims the folder `dir`, which must be new.
    pub async fn begin(destination: Arc<dyn Destination>, dir: Key) -> Result<Self> {
        let claim = destination.claim(&dir).await?;
        Ok(Self { destination, dir, claim, stored: BTreeMap::new(), begun: BTreeSet::new(), published: false })
    }

    /// The backup's folder.
    pub fn dir(&self) -> &Key {
        &self.dir
    }

    /// Where the backup is being written.
    pub fn destination(&self) -> &Arc<dyn Destination> {
        &self.destination
    }

    /// Stores the small file `name`.
    pub async fn put(&mut self, name: &Key, bytes: Bytes) -> Result<Stored> {
        self.begun.insert(name.clone());
        let stored =
            self.destination.put(&self.dir.child(name), bytes).await.inspect_err(|error| self.failed(name, error))?;
        self.stored.insert(name.clone(), stored.clone());
        Ok(stored)
    }

    /// Notes that storing `name` failed. What exists already is somebody else's: [`Draft::discard`] shall not touch it.
    pub fn failed(&mut self, name: &Key, error: &Error) {
        if error.kind() == ErrorKind::AlreadyExists {
            self.begun.remove(name);
        }
    }

    /// Begins the upload of the file `name`. When it is complete, hand what it returns to [`Draft::add`]; if it fails,
    /// tell [`Draft::failed`].
    pub async fn upload(&mut self, name: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.begun.insert(name.clone());
        self.destination.upload(&self.dir.child(name), expected_bytes).await
    }

    /// Records that the upload of `name` was completed.
    pub fn add(&mut self, name: Key, stored: Stored) {
        self.begun.insert(name.clone());
        self.stored.insert(name, stored);
    }

    /// Makes the backup exist: compares what was stored with what `backup` names, looks at every file once more, writes
    /// the manifest, and ends the claim. On failure nothing exists; what was stored is removed as far as possible.
    pub async fn publish(mut self, backup: &CompletedBackup) -> Result<()> {
        let published = match self.matches(&backup.manifest) {
            Ok(()) => publish(&*self.destination, backup).await,
            Err(error) => Err(error),
        };
        // A manifest that was there already is another run's, of which nothing must be removed.
        self.published = published.as_ref().is_err_and(|error| error.kind() != ErrorKind::AlreadyExists);
        match published {
            // The backup exists. A mark that cannot be removed is a sweep's business, not a failed backup.
            Ok(()) => {
                let _ = self.claim.release().await;
                Ok(())
            }
            Err(error) => {
                // The first error is the one to tell; what cannot be removed now is swept later.
                let _ = self.discard().await;
                Err(error)
            }
        }
    }

    fn matches(&self, manifest: &Manifest) -> Result<()> {
        let unlike = |what: String| Error::new(ErrorKind::Failed, format!("{} is not whole: {what}", self.dir));
        if manifest.dir() != self.dir {
            return Err(unlike(format!("its manifest describes {}", manifest.dir())));
        }
        for file in &manifest.files {
            match self.stored.get(&file.name) {
                Some(stored) if stored.bytes == file.bytes && stored.sha256 == file.sha256 => {}
                Some(_) => return Err(unlike(format!("{} was stored with other contents", file.name))),
                None => return Err(unlike(format!("{} was not stored", file.name))),
            }
        }
        let named = |name: &Key| manifest.files.iter().any(|file| file.name == *name);
        match self.stored.keys().find(|name| !named(name)) {
            Some(name) => Err(unlike(format!("{name} was stored, but its manifest does not name it"))),
            None => Ok(()),
        }
    }

    /// Gives up: removes what was stored and ends the claim. Uploads must have been aborted before.
    pub async fn discard(self) -> Result<()> {
        // Should the answer to writing the manifest have been lost, it may be there after all. It goes first, and if it
        // cannot, the files it names stay with it.
        let manifest = self.dir.join(MANIFEST_NAME);
        let mut change = None;
        if self.published {
            // Somebody may have seen it, and written it into an index. If that cannot be announced, hardly anything works
            // there now, and what is left is seen by who looks into the folder.
            change = Change::begin(&*self.destination, &self.dir).await.ok();
            self.destination.delete(&manifest).await?;
        }
        let mut failed = None;
        for name in &self.begun {
            if let Err(error) = self.destination.delete(&self.dir.child(name)).await {
                failed.get_or_insert(error);
            }
        }
        if self.published
            && let Err(error) = self.destination.delete(&manifest).await
        {
            // It may have been on its way still: without its files it must not stay.
            failed.get_or_insert(error);
        }
        if let Some(error) = failed {
            // Dropping the claim marks what is left as dead, so that the next sweep takes it.
            return Err(error);
        }
        self.claim.release().await?;
        if let Some(change) = change {
            change.revoke(&*self.destination).await;
        }
        Ok(())
    }
}

/// Writes the manifest of `backup` after asking `destination` for every file it names.
pub async fn publish(destination: &dyn Destination, backup: &CompletedBackup) -> Result<()> {
    let dir = backup.manifest.dir();
    for file in &backup.manifest.files {
        let key = dir.child(&file.name);
        let found = destination.head(&key).await?;
        if found.bytes != file.bytes {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("{key} holds {} bytes at {}, not {}", found.bytes, destination.name(), file.bytes),
            ));
        }
    }
    destination.put(&dir.join(MANIFEST_NAME), backup.json.clone()).await.map(|_| ())
}
