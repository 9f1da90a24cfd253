//! Removing what interrupted runs left on a service. Only what is certainly dead, and only what pgkeep's names prove to be
//! its own.

use super::claim::{Holder, holder, mark_of};
use crate::destination::remains::{MANIFEST_NAME, is_ancient, is_old, is_ours, is_passing_temp, is_temp};
use crate::destination::service::{Service, Unfinished};
use crate::destination::{Key, Object, Swept};
use crate::error::{Error, Result};
use crate::id::BackupId;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// A backup's folder.
struct Folder {
    id: BackupId,
    objects: Vec<Object>,
    uploads: Vec<Unfinished>,
}

impl Folder {
    fn new(id: BackupId) -> Self {
        Self { id, objects: Vec::new(), uploads: Vec::new() }
    }
}

/// See [`crate::destination::Destination::sweep`]. One folder that cannot be swept does not keep the others from it; the
/// first error is returned at the end.
pub(super) async fn sweep<S: Service>(service: &S, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
    // Both are complete or an error: nothing is ever deleted on half the truth.
    let objects = service.list(Some(prefix)).await?;
    let uploads = service.unfinished(prefix).await?;
    let mut folders: BTreeMap<Key, Folder> = BTreeMap::new();
    let mut swept = Vec::new();
    let mut failed: Option<Error> = None;
    for object in objects {
        if is_passing_temp(object.key.file_name()) && object.key.segments().count() == 3 {
            // An index or a mark of the catalogue, which its service did not write to the end.
            if is_old(object.modified, now) {
                match service.delete(&object.key).await {
                    Ok(()) => swept.push(Swept { name: object.key.to_string(), bytes: object.bytes }),
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                }
            }
        } else if let Some((dir, id)) = folder_of(prefix, &object.key) {
            folders.entry(dir).or_insert_with(|| Folder::new(id)).objects.push(object);
        }
    }
    for upload in uploads {
        if let Some((dir, id)) = folder_of(prefix, &upload.key) {
            folders.entry(dir).or_insert_with(|| Folder::new(id)).uploads.push(upload);
        }
    }
    for (dir, folder) in folders {
        match (Sweep { service, now, dir: &dir }).folder(folder).await {
            Ok(found) => swept.extend(found),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(swept), Err)
}

/// The folder `prefix/DATABASE/ID` that `key` lies in.
fn folder_of(prefix: &Key, key: &Key) -> Option<(Key, BackupId)> {
    let rest = key.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?;
    let (database, rest) = rest.split_once('/')?;
    let (id, _) = rest.split_once('/')?;
    Some((format!("{prefix}/{database}/{id}").parse().ok()?, id.parse().ok()?))
}

struct Sweep<'s, S> {
    service: &'s S,
    now: DateTime<Utc>,
    dir: &'s Key,
}

impl<S: Service> Sweep<'_, S> {
    async fn folder(&self, folder: Folder) -> Result<Option<Swept>> {
        let mark = mark_of(self.dir);
        let marked = folder.objects.iter().any(|object| object.key == mark);
        let published = folder.objects.iter().any(|object| object.key == self.dir.join(MANIFEST_NAME));
        let hidden = |object: &Object| is_temp(object.key.file_name());
        if published && !marked && folder.uploads.is_empty() && !folder.objects.iter().any(hidden) {
            return Ok(None);
        }
        let holder = if marked { holder(self.service, self.dir).await? } else { Holder::None };
        if holder == Holder::Alive {
            return Ok(None);
        }
        let is_over =
            |since| if holder == Holder::Unknown { is_ancient(since, self.now) } else { is_old(since, self.now) };
        let times = folder.objects.iter().map(|object| object.modified);
        let newest = times.chain(folder.uploads.iter().map(|upload| upload.started)).max();
        let dead = holder == Holder::Dead || newest.is_some_and(is_over);
        // What lies around a backup that exists has its own age.
        let doomed = |key: &Key, since: DateTime<Utc>| {
            let relative = key.as_str().get(self.dir.as_str().len() + 1..).unwrap_or_default();
            let remains = !published || *key == mark || is_temp(key.file_name());
            let over = holder == Holder::Dead || is_over(since) || (!published && dead);
            is_ours(&folder.id, relative) && remains && over
        };
        let uploads: Vec<&Unfinished> = folder
            .uploads
            .iter()
            .filter(|upload| {
                let over = holder == Holder::Dead || is_over(upload.started);
                let relative = upload.key.as_str().get(self.dir.as_str().len() + 1..).unwrap_or_default();
                over && (relative == MANIFEST_NAME || is_ours(&folder.id, relative))
            })
            .collect();
        let mut objects: Vec<&Object> = if published || dead {
            folder.objects.iter().filter(|object| doomed(&object.key, object.modified)).collect()
        } else {
            Vec::new()
        };
        if uploads.is_empty() && objects.is_empty() {
            return Ok(None);
        }
        // A writer elsewhere may have published since the listing.
        let now = self.service.list(Some(self.dir)).await?;
        if !published && now.iter().any(|object| object.key == self.dir.join(MANIFEST_NAME)) {
            return Ok(None);
        }
        for upload in &uploads {
            self.service.abandon(upload).await?;
        }
        // The mark goes last: should this sweep be cut short, the next one still knows whose remains they are.
        objects.sort_by_key(|object| object.key == mark);
        let mut bytes = 0;
        for object in &objects {
            self.service.delete(&object.key).await?;
            bytes += object.bytes;
        }
        Ok(Some(Swept { name: self.dir.to_string(), bytes }))
    }
}
