//! Writing a new index, and removing what it makes superfluous. The order of the steps is what the promise of
//! [`super`] rests on.

use super::change::{finished, forget};
use super::{Covered, Index, Layout, read_indexes};
use crate::catalogue::list::{Unknown, at_once, read_backups};
use crate::destination::{Destination, Key, Object, index_name, is_old};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;

/// From so many folders that have to be read, or marks that can be deleted, an index is worth writing.
pub const WORTH_AN_INDEX: usize = 8;

/// How often the folder is looked at anew where others write indexes at the same time.
const LOOKS: usize = 3;

/// Brings the index of the folder `database`, which is `JOB/DATABASE`, up to date, if that is worth it; for the end of what
/// changed something there. `now` names the index.
///
/// Nothing depends on it: after an error, and after a crash at any moment, listings are as complete and as true as before.
pub async fn consolidate(destination: &Arc<dyn Destination>, database: &Key, now: DateTime<Utc>) -> Result<()> {
    for _ in 0..LOOKS {
        let mut layout = Layout::look(&**destination, database).await?;
        if layout.indexes.is_empty() {
            if layout.ids.len() < WORTH_AN_INDEX {
                return without_index(destination, database, &layout).await;
            }
            // Whoever deletes marks because there is no index shall see this one before anything is read for the next.
            publish(destination, database, Index::default(), now).await?;
            layout = Layout::look(&**destination, database).await?;
        }
        if let Some(covered) = read_indexes(destination, database, &layout).await? {
            return renew(destination, database, &layout, covered, now).await;
        }
    }
    // Others are at it: theirs will do.
    Ok(())
}

/// A few backups need no index, and without one there is nothing to be marked: what is done loses its marks.
async fn without_index(destination: &Arc<dyn Destination>, database: &Key, seen: &Layout) -> Result<()> {
    let over: Vec<Key> = Over::of(&**destination, seen).at(Utc::now()).map(|mark| mark.key.clone()).collect();
    // A second look, later than all of those changes: an index may have been put since the first.
    if !over.is_empty() && Layout::look(&**destination, database).await?.indexes.is_empty() {
        delete(destination, over.into_iter()).await?;
    }
    Ok(())
}

async fn renew(
    destination: &Arc<dyn Destination>,
    database: &Key,
    layout: &Layout,
    covered: Covered,
    now: DateTime<Utc>,
) -> Result<()> {
    let Covered { mut backups, replaced, valid, .. } = covered;
    // What was replaced should be gone. If it cannot be deleted here, no further index shall be added.
    for index in &replaced {
        destination.delete(index).await?;
    }
    if layout.ids.is_empty() {
        // The last backup is gone.
        for index in &layout.indexes {
            destination.delete(&index.key).await?;
        }
        return without_index(destination, database, layout).await;
    }
    let marked = layout.marked();
    let stale: Vec<&BackupId> =
        layout.ids.iter().filter(|id| marked.contains(id) || !backups.contains_key(id)).collect();
    let new = stale.iter().filter(|id| !marked.contains(*id)).count();
    if new + layout.marks.len() < WORTH_AN_INDEX && valid <= 1 {
        return Ok(());
    }
    // Before anything is read: what is finished by now is seen by the reading.
    let over = Over::of(&**destination, layout);
    let dirs = stale.into_iter().map(|id| database.join(id.as_str())).collect();
    backups.retain(|id, _| layout.ids.contains(id) && !marked.contains(id));
    let kept = backups.len();
    let unknown = Unknown { database: database.clone(), folders: layout.ids.len(), dirs };
    for read in read_backups(destination, vec![unknown]).await? {
        if let (Some(entry), true) = (read.entry, read.problems.is_empty()) {
            backups.insert(entry.manifest.id, read.files);
        }
    }
    // Folders that hold no backup, or a damaged one, are read every time; they are no reason to write the same again.
    if backups.len() - kept + over.at(Utc::now()).count() < WORTH_AN_INDEX && valid <= 1 {
        return Ok(());
    }
    let replaces = layout.indexes.iter().map(|index| index.key.file_name().to_owned()).collect();
    let own = publish(destination, database, Index { replaces, backups }, now).await?;
    delete(destination, layout.indexes.iter().map(|index| index.key.clone())).await?;
    let after = Layout::look(&**destination, database).await?;
    match after.indexes.as_slice() {
        // The age of others' marks is told by the destination's clock alone.
        [only] if only.key == own => delete(destination, over.at(only.modified).map(|mark| mark.key.clone())).await,
        // Somebody else wrote one, perhaps of what was before: the marks are needed still.
        _ => Ok(()),
    }
}

/// Which marks of a folder are those of changes that are over, and were when this was made.
struct Over<'l> {
    marks: &'l [(BackupId, Object)],
    done: BTreeSet<Key>,
    settling: TimeDelta,
}

impl<'l> Over<'l> {
    fn of(destination: &dyn Destination, layout: &'l Layout) -> Self {
        let done = finished(layout.marks.iter().map(|(_, mark)| &mark.key));
        Self { marks: &layout.marks, done, settling: destination.settling() }
    }

    /// Those that may be deleted at the moment `now`: what this process has done, as soon as listings show it, and what
    /// nobody can be doing any more.
    fn at(&self, now: DateTime<Utc>) -> impl Iterator<Item = &'l Object> {
        let over = move |mark: &&Object| {
            let settled = now.signed_duration_since(mark.modified) >= self.settling;
            self.done.contains(&mark.key) && (settled || self.settling.is_zero()) || is_old(mark.modified, now)
        };
        self.marks.iter().map(|(_, mark)| mark).filter(over)
    }
}

/// Stores `index`; gives its key.
async fn publish(destination: &Arc<dyn Destination>, database: &Key, index: Index, now: DateTime<Utc>) -> Result<Key> {
    let packing = tokio::task::spawn_blocking(move || index.pack(now));
    let packed = packing.await.unwrap_or_else(|source| {
        Err(Error::new(ErrorKind::Failed, "packing an index ended unexpectedly").caused_by(source))
    })?;
    let key = database.join(&index_name(now)?);
    destination.put(&key, packed).await?;
    Ok(key)
}

/// Deletes `keys`, several at once; the first error ends it.
async fn delete(destination: &Arc<dyn Destination>, keys: impl Iterator<Item = Key>) -> Result<()> {
    let one = |key: Key| {
        let destination = Arc::clone(destination);
        async move {
            destination.delete(&key).await?;
            forget(&key);
            Ok(())
        }
    };
    at_once(keys.collect(), one).await.map(|_: Vec<()>| ())
}
