//! Removing a backup: the manifest first, so that nothing half removed ever looks like a backup, then what belonged to it.

use super::{Change, Manifest};
use crate::destination::{Destination, Key, MANIFEST_NAME, is_receipt_of};
use crate::error::{Error, ErrorKind, Result};

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
/// whole. The mark of the change stays beside the folder until [`super::consolidate`] takes it.
pub async fn remove(destination: &dyn Destination, manifest: &Manifest) -> Result<Removal> {
    let dir = manifest.dir();
    let receipts = destination.list(Some(&dir)).await?.into_iter().map(|object| object.key);
    let receipts: Vec<Key> = receipts.filter(|key| is_receipt_of(&dir, key).is_some()).collect();
    let mut removal = Removal::default();
    let first = dir.join(MANIFEST_NAME);
    let change = Change::begin_removal(destination, &dir).await?;
    if let Err(error) = destination.delete(&first).await {
        // A deletion that was refused is no change; of any other failure nobody knows.
        if error.kind() == ErrorKind::PermissionDenied {
            change.revoke(destination).await;
        }
        return Err(error);
    }
    removal.deleted.push(first);
    for key in receipts.into_iter().chain(manifest.files.iter().map(|file| dir.child(&file.name))) {
        match destination.delete(&key).await {
            Ok(()) => removal.deleted.push(key),
            Err(error) => removal.failed.push((key, error)),
        }
    }
    change.done();
    Ok(removal)
}
