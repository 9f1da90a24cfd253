//! Listing a folder and everything below it, level by level, many folders with one request.
//!
//! Why so: a request for each folder would be hundreds for a job of hundreds of backups, and the other way, one search for
//! pgkeep's tag, misses what was uploaded by hand or with other credentials, since tags are visible to the app that set them
//! alone. Searches in several folders at once have a flaw that rclone's users met: Drive sometimes answers as if some of them
//! were empty (rclone's issues 3114, 4289, 9810). So a folder without anything in it is asked for once more, alone; pgkeep
//! removes empty folders, so there are few.

use super::model::{File, children_of};
use super::tree::Tree;
use crate::destination::{Children, Key, Object};
use crate::error::{ErrorKind, Result};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How many folders are searched at once. rclone asks for 50; longer queries are refused as too complex at some point.
const TOGETHER: usize = 50;

/// The objects that were found, each with the order among those of its name.
type Found = BTreeMap<Key, ((DateTime<Utc>, String), Object)>;

/// A folder: its path, `None` for the root, and its id.
type Folder = (Option<Key>, String);

impl Tree {
    /// Every object below `prefix`, or below the root.
    pub(super) async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        Ok(self.look_below(prefix, true).await?.objects)
    }

    /// What lies in `folder`, or in the root, itself.
    pub(super) async fn list_one(&self, folder: Option<&Key>) -> Result<Children> {
        self.look_below(folder, false).await
    }

    async fn look_below(&self, prefix: Option<&Key>, deep: bool) -> Result<Children> {
        let mut level: Vec<Folder> =
            self.fresh_folders(prefix).await?.into_iter().map(|id| (prefix.cloned(), id)).collect();
        let mut seen: HashSet<String> = level.iter().map(|(_, id)| id.clone()).collect();
        let mut found = Found::new();
        let mut folders_below = BTreeSet::new();
        while !level.is_empty() {
            let mut next = Vec::new();
            for folders in level.chunks(TOGETHER) {
                for (path, file) in self.children(folders).await? {
                    // Drive allows any name; one that pgkeep cannot have given is somebody else's.
                    let Ok(name) = file.name.parse::<Key>() else { continue };
                    if name.segments().count() > 1 || file.trashed {
                        continue;
                    }
                    let key = path.map_or_else(|| name.clone(), |path| path.child(&name));
                    if file.is_folder() {
                        if !deep {
                            folders_below.insert(key);
                        } else if seen.insert(file.id.clone()) {
                            next.push((Some(key), file.id));
                        }
                    } else if file.bytes().is_some() {
                        self.add(&mut found, key, &file)?;
                    }
                }
            }
            level = next;
        }
        let objects = found.into_values().map(|(_, object)| object).collect();
        Ok(Children { folders: folders_below.into_iter().collect(), objects })
    }

    fn add(&self, found: &mut Found, key: Key, file: &File) -> Result<()> {
        let (created, id) = file.rank();
        let rank = (created, id.to_owned());
        let object = self.object(&key, file)?;
        if found.get(&key).is_none_or(|(other, _)| rank < *other) {
            found.insert(key, (rank, object));
        }
        Ok(())
    }

    /// What is in `folders`, each with the path of its folder.
    async fn children(&self, folders: &[Folder]) -> Result<Vec<(Option<Key>, File)>> {
        let paths: HashMap<&str, &Option<Key>> = folders.iter().map(|(path, id)| (id.as_str(), path)).collect();
        let ids: Vec<&str> = folders.iter().map(|(_, id)| id.as_str()).collect();
        let mut alone: BTreeSet<&str> = ids.iter().copied().collect();
        let mut children = Vec::new();
        if ids.len() > 1 {
            match self.search(&ids).await {
                // One of them was removed meanwhile: which, only asking for each alone tells.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => {
                    for file in other? {
                        for parent in &file.parents {
                            if let Some(path) = paths.get(parent.as_str()) {
                                alone.remove(parent.as_str());
                                children.push(((*path).clone(), file.clone()));
                            }
                        }
                    }
                }
            }
        }
        for id in alone {
            let Some(path) = paths.get(id) else { continue };
            match self.search(&[id]).await {
                // Only a folder below the root may be removed by others while it is listed.
                Err(error) if error.kind() == ErrorKind::NotFound && path.is_some() => {}
                other => children.extend(other?.into_iter().map(|file| ((*path).clone(), file))),
            }
        }
        Ok(children)
    }

    async fn search(&self, ids: &[&str]) -> Result<Vec<File>> {
        let drive_id = self.root().await?.drive_id.as_deref();
        self.files.list(&format!("cannot list {}", self.name()), &children_of(ids), drive_id).await
    }
}
