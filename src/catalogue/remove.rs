//! Removing a backup: the manifest first, so that nothing half removed ever looks like a backup, then what belonged to it.

use super::Manifest;
use crate::destination::{Destination, Key, MANIFEST_NAME, is_receipt_of};
use crate::error::{Error, Result};

/// What became of a backup's files.
#[derive(Debug, Default)]
pub struct Removal {
    /// What was deleted, in order.
    pub deleted: Vec<Key>,
    /// What could not be deleted, and why. The backup is gone all the same; a later sweep takes these.
    pub failed: Vec<(Key, Error)>,
}

/// Removes the backup of `manifest` from `destination`: its manifest, its receipts and the files it names; nothing else,
/// whatever lies beside them.
///
/// Fails, with nothing deleted, if its receipts cannot be listed; and if the manifest cannot be deleted, with the backup
/// whole.
pub async fn remove(destination: &dyn Destination, manifest: &Manifest) -> Result<Removal> {
    let dir = manifest.dir();
    let receipts = destination.list(Some(&dir)).await?.into_iter().map(|object| object.key);
    let receipts: Vec<Key> = receipts.filter(|key| is_receipt_of(&dir, key).is_some()).collect();
    let mut removal = Removal::default();
    let first = dir.join(MANIFEST_NAME);
    destination.delete(&first).await?;
    removal.deleted.push(first);
    for key in receipts.into_iter().chain(manifest.files.iter().map(|file| dir.child(&file.name))) {
        match destination.delete(&key).await {
            Ok(()) => removal.deleted.push(key),
            Err(error) => removal.failed.push((key, error)),
        }
    }
    Ok(removal)
}
