//! Announcing a change of a backup that exists, so that no index is believed about it any more.

use crate::destination::{Destination, Key, change_name};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mark holds, for whoever looks into it: some services store no empty objects.
const TEXT: &[u8] = b"This backup has changed since the catalogue was written. pgkeep removes this file by itself.\n";

/// The marks of this process whose changes are done.
static DONE: Mutex<BTreeSet<Key>> = Mutex::new(BTreeSet::new());

fn done() -> MutexGuard<'static, BTreeSet<Key>> {
    DONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those of `marks` whose changes this process has finished.
pub(super) fn finished<'m>(marks: impl Iterator<Item = &'m Key>) -> BTreeSet<Key> {
    let done = done();
    marks.filter(|mark| done.contains(*mark)).cloned().collect()
}

/// Forgets a mark that is deleted.
pub(super) fn forget(mark: &Key) {
    done().remove(mark);
}

/// A change of a backup that is there: a receipt that is written or deleted, a pin, a removal. Begin it before, and end it
/// with [`Change::done`]; one that is dropped counts as half done, until a day has passed.
#[derive(Debug)]
#[must_use = "a change that is not done keeps its mark for a day"]
pub struct Change {
    mark: Option<Key>,
}

impl Change {
    /// Announces a change of the backup in the folder `dir`, which is `JOB/DATABASE/ID`. On an error nothing must be changed.
    pub async fn begin(destination: &dyn Destination, dir: &Key) -> Result<Self> {
        let (id, database) = parts(dir)?;
        let mark = database.join(&change_name(&id)?);
        if let Err(error) = destination.put(&mark, Bytes::from_static(TEXT)).await {
            // It may be there all the same; nobody else has this name.
            let _ = destination.delete(&mark).await;
            return Err(error);
        }
        Ok(Self { mark: Some(mark) })
    }

    /// The same for a removal, which must be possible where there is no room left: the indexes make some then. Without
    /// them nobody needs a mark.
    pub async fn begin_removal(destination: &dyn Destination, dir: &Key) -> Result<Self> {
        let error = match Self::begin(destination, dir).await {
            Err(error) if error.kind() == ErrorKind::NoSpace => error,
            other => return other,
        };
        let (_, database) = parts(dir)?;
        for index in super::Layout::look(destination, &database).await?.indexes.into_iter().rev() {
            destination.delete(&index.key).await.map_err(|source| {
                Error::new(ErrorKind::NoSpace, error.one_line()).caused_by(source).hint("free some space there first")
            })?;
        }
        match Self::begin(destination, dir).await {
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(Self { mark: None }),
            other => other,
        }
    }

    /// The change is made, all of it: whoever reads the backup from now on sees it.
    pub fn done(self) {
        if let Some(mark) = self.mark {
            done().insert(mark);
        }
    }

    /// Nothing was changed after all, or nothing is left that could be looked at: takes the mark back. One that cannot be
    /// taken back is as good as a change.
    pub async fn revoke(self, destination: &dyn Destination) {
        if let Some(mark) = &self.mark
            && destination.delete(mark).await.is_err()
        {
            self.done();
        }
    }
}

fn parts(dir: &Key) -> Result<(BackupId, Key)> {
    let id = dir.file_name().parse()?;
    let none = || Error::new(ErrorKind::Refused, format!("{dir} is no backup's folder"));
    Ok((id, dir.parent().ok_or_else(none)?))
}
