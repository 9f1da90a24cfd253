//! Keys as files and folders: a folder for each segment below the root.
//!
//! Drive addresses by ids, and names are not unique: several folders of one name count as one, and new files go into the
//! oldest. Of several files of one name the oldest counts. Ids are remembered for a while, and forgotten when Drive does not
//! know one of them any more.

use super::failure::nonsense;
use super::files::{Files, no_root};
use super::model::{File, children_of, named};
use crate::destination::{Key, Object};
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// How long ids are remembered: others may make a second folder of a name, or put one into the trash.
const REMEMBERED: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Tree {
    pub(super) files: Arc<Files>,
    /// The destination, as people know it.
    name: String,
    folder_id: String,
    /// Folders that become empty go to the trash.
    trash: bool,
    root: OnceCell<Root>,
    memory: Mutex<Memory>,
    /// One folder is made or removed at a time: two of one name are made by others only.
    making: tokio::sync::Mutex<()>,
}

/// The folder that everything lies in.
#[derive(Debug, Clone)]
pub(super) struct Root {
    pub(super) id: String,
    /// The shared drive it is in, if it is in one.
    pub(super) drive_id: Option<String>,
}

#[derive(Default)]
struct Memory {
    folders: HashMap<Key, (Instant, Vec<Folder>)>,
    files: HashMap<Key, Known>,
}

/// A folder that was seen.
#[derive(Debug, Clone)]
struct Folder {
    id: String,
    ours: bool,
}

/// A file that was seen or made.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) bytes: u64,
    seen: Instant,
}

impl Tree {
    pub(super) fn new(files: Arc<Files>, name: String, folder_id: String, trash: bool) -> Self {
        Self {
            files,
            name,
            folder_id,
            trash,
            root: OnceCell::new(),
            memory: Mutex::default(),
            making: tokio::sync::Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How errors name `key`.
    pub(super) fn what(&self, key: &Key) -> String {
        format!("{key} at {}", self.name)
    }

    /// The root's metadata as they are now. Fails unless it is a folder that is not in the trash.
    pub(super) async fn look_at_root(&self) -> Result<File> {
        let what = format!("the folder of {}", self.name);
        let root = match self.files.get(&what, &self.folder_id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(no_root(error, self.files.api.tokens().service_account()));
            }
            other => other?,
        };
        if !root.is_folder() {
            return Err(Error::new(ErrorKind::Config, format!("{what} is no folder, but a file"))
                .hint("folder_id is what the folder's address in the browser ends with"));
        }
        if root.trashed {
            return Err(Error::new(ErrorKind::NotFound, format!("{what} is in Drive's trash"))
                .hint("take it out of the trash, or name another folder_id"));
        }
        Ok(root)
    }

    pub(super) async fn root(&self) -> Result<&Root> {
        let look = async || {
            let root = self.look_at_root().await?;
            Ok(Root { id: root.id, drive_id: root.drive_id })
        };
        self.root.get_or_try_init(look).await
    }

    pub(super) fn forget_folders(&self) {
        self.memory().folders.clear();
    }

    pub(super) fn remember(&self, key: &Key, file: &File) {
        if let Some(bytes) = file.bytes() {
            let known = Known { id: file.id.clone(), bytes, seen: Instant::now() };
            self.memory().files.insert(key.clone(), known);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.memory().files.remove(key);
    }

    /// The file of `key` as it was seen lately.
    pub(super) fn recall(&self, key: &Key) -> Option<Known> {
        self.memory().files.get(key).filter(|known| known.seen.elapsed() < REMEMBERED).cloned()
    }

    /// The destination's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The ids of the folders that `dir` means now, the oldest first; none if there are none.
    pub(super) async fn fresh_folders(&self, dir: Option<&Key>) -> Result<Vec<String>> {
        let found = self.walk(dir, false).await?;
        Ok(found.into_iter().map(|folder| folder.id).collect())
    }

    /// The folders that `dir` means; from memory if `remembered`.
    async fn walk(&self, dir: Option<&Key>, remembered: bool) -> Result<Vec<Folder>> {
        let root = self.root().await?;
        let mut found = vec![Folder { id: root.id.clone(), ours: false }];
        for path in dir.map(paths).transpose()?.unwrap_or_default() {
            let known = self.memory().folders.get(&path).cloned();
            if let Some((seen, known)) = known
                && remembered
                && seen.elapsed() < REMEMBERED
            {
                found = known;
                continue;
            }
            found = self.look_for_folders(&found, &path).await?;
            if found.is_empty() {
                break;
            }
            self.memory().folders.insert(path, (Instant::now(), found.clone()));
        }
        Ok(found)
    }

    async fn look_for_folders(&self, parents: &[Folder], path: &Key) -> Result<Vec<Folder>> {
        let mut found = self.named(parents.iter().map(|parent| parent.id.as_str()), path, true).await?;
        found.retain(File::is_folder);
        Ok(found.into_iter().map(|file| Folder { ours: file.is_ours(), id: file.id }).collect())
    }

    /// What is called as `key` ends in the folders `parents`, the oldest first. Drive compares names without regard to case:
    /// here it counts.
    async fn named(&self, parents: impl Iterator<Item = &str>, key: &Key, folder: bool) -> Result<Vec<File>> {
        let root = self.root().await?;
        let doing = format!("cannot look for {}", self.what(key));
        let mut found = Vec::new();
        for parent in parents {
            let query = named(parent, key.file_name(), folder);
            found.extend(self.files.list(&doing, &query, root.drive_id.as_deref()).await?);
        }
        found.retain(|file| file.name == key.file_name() && !file.trashed);
        found.sort_by(|a, b| a.rank().cmp(&b.rank()));
        found.dedup_by(|a, b| a.id == b.id);
        Ok(found)
    }

    /// The files of `key`, the one that counts first.
    pub(super) async fn find(&self, key: &Key) -> Result<Vec<File>> {
        let parent = key.parent();
        let mut remembered = true;
        let mut found = loop {
            let parents = self.walk(parent.as_ref(), remembered).await;
            let found = match parents {
                Ok(parents) => self.named(parents.iter().map(|parent| parent.id.as_str()), key, false).await,
                Err(error) => Err(error),
            };
            match found {
                // A folder that was remembered is gone: look again from the root on.
                Err(error) if error.kind() == ErrorKind::NotFound && remembered && parent.is_some() => {
                    self.forget_folders();
                    remembered = false;
                }
                other => break other?,
            }
        };
        found.retain(|file| file.bytes().is_some());
        if let Some(file) = found.first() {
            self.remember(key, file);
            return Ok(found);
        }
        // Searches of Drive may lag behind what was made a moment ago; ids do not.
        let known = self.memory().files.get(key).cloned();
        let Some(known) = known else { return Ok(found) };
        let file = self.files.find_id(&self.what(key), &known.id).await?;
        match file.filter(|file| !file.trashed && file.bytes().is_some()) {
            Some(file) => found.push(file),
            None => self.forget(key),
        }
        Ok(found)
    }

    /// The folder in which files of `dir` are created; makes what is missing.
    pub(super) async fn ensure(&self, dir: Option<&Key>) -> Result<String> {
        let _one = self.making.lock().await;
        match self.make(dir).await {
            // A folder that was remembered is gone, or in the trash.
            Err(error) if error.kind() == ErrorKind::NotFound && dir.is_some() => {
                self.forget_folders();
                self.make(dir).await
            }
            other => other,
        }
    }

    async fn make(&self, dir: Option<&Key>) -> Result<String> {
        let mut found = self.walk(None, true).await?;
        for path in dir.map(paths).transpose()?.unwrap_or_default() {
            let parents = found;
            found = self.walk(Some(&path), true).await?;
            if found.is_empty() {
                let what = self.what(&path);
                let parent = parents.first().map(|parent| parent.id.as_str());
                let made = self.files.create_folder(&what, path.file_name(), parent).await?;
                if made.trashed {
                    return Err(Error::new(
                        ErrorKind::NotFound,
                        format!("the folder above {what} is in Drive's trash"),
                    ));
                }
                // Another computer may have made one, too: all use the oldest.
                found = self.look_for_folders(&parents, &path).await?;
                if !found.iter().any(|folder| folder.id == made.id) {
                    found.push(Folder { id: made.id, ours: true });
                }
                self.memory().folders.insert(path, (Instant::now(), found.clone()));
            }
        }
        let first = found.into_iter().next();
        first.map(|folder| folder.id).ok_or_else(|| nonsense("cannot make folders", "there is no root"))
    }

    /// Removes the folder `dir` and those above it as far as they are empty and pgkeep made them.
    ///
    /// Drive deletes a folder with all that is in it, and its searches lag and leave out: so a folder that is known to hold
    /// a file stays, emptiness is asked for twice, and the folder goes to the trash whatever `delete` says, from where a
    /// person can take it back.
    pub(super) async fn tidy(&self, dir: Option<Key>) -> Result<()> {
        let _one = self.making.lock().await;
        let drive_id = self.root().await?.drive_id.as_deref();
        let mut dir = dir;
        while let Some(path) = dir {
            let what = self.what(&path);
            let mut kept = false;
            let folders = match self.walk(Some(&path), false).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                other => other?,
            };
            for folder in folders {
                let doing = format!("cannot look into the folder {what}");
                let mut full = self.holds_files(&path);
                for _ in 0..2 {
                    full = full
                        || match self.files.finds(&doing, &children_of(&[&folder.id]), drive_id).await {
                            // Somebody else removed it first.
                            Err(error) if error.kind() == ErrorKind::NotFound => false,
                            other => other?,
                        };
                }
                if full || !folder.ours {
                    kept = true;
                } else {
                    self.files.remove(&format!("the empty folder {what}"), &folder.id, true).await?;
                }
            }
            if kept {
                return Ok(());
            }
            self.memory().folders.retain(|known, _| *known != path && !known.is_below(&path));
            dir = path.parent();
        }
        Ok(())
    }

    /// Whether a file below `path` was seen or made, and not deleted since.
    fn holds_files(&self, path: &Key) -> bool {
        self.memory().files.keys().any(|key| key.is_below(path))
    }

    /// Deletes every file of `key`, then the folders that became empty.
    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        for file in self.find(key).await? {
            self.files.remove(&self.what(key), &file.id, self.trash).await?;
            self.forget(key);
        }
        self.tidy(key.parent()).await
    }

    /// What `file` is as an object.
    pub(super) fn object(&self, key: &Key, file: &File) -> Result<Object> {
        let what = self.what(key);
        let bytes = file.bytes().ok_or_else(|| nonsense(&format!("cannot look at {what}"), "it has no size"))?;
        let modified = file.written().ok_or_else(|| nonsense(&format!("cannot look at {what}"), "it has no date"))?;
        Ok(Object { key: key.clone(), bytes, modified })
    }
}

/// The keys of the folders from the outermost one to `dir`.
fn paths(dir: &Key) -> Result<Vec<Key>> {
    let mut paths: Vec<Key> = Vec::new();
    for segment in dir.segments() {
        let name: Key = segment.parse()?;
        paths.push(paths.last().map_or_else(|| name.clone(), |above| above.child(&name)));
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_down_to_one() {
        let paths = paths(&"a/b.c/%2Ed".parse().unwrap()).unwrap();
        assert_eq!(paths.iter().map(Key::as_str).collect::<Vec<_>>(), ["a", "a/b.c", "a/b.c/%2Ed"]);
    }
}
