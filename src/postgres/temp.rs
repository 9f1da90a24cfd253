//! Folders of our own in the temp folder: marked while their pgkeep lives, swept by the next when it was killed.

use crate::error::{Context, Error, ErrorKind, Result};
use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Locked as long as the folder's pgkeep lives.
const MARK: &str = "in-use";

/// Marks `folder` as being in use until the file is dropped or the process ends.
///
/// The mark gets its name only when it is locked: one that another pgkeep could lock first, that one would sweep.
pub(super) fn mark(folder: &Path) -> Result<File> {
    let (path, unlocked) = (folder.join(MARK), folder.join("unlocked"));
    let mark = File::create_new(&unlocked).doing(|| format!("cannot create {}", unlocked.display()))?;
    mark.try_lock()
        .map_err(|source| Error::new(ErrorKind::Failed, format!("cannot lock {}: {source}", unlocked.display())))?;
    fs::rename(&unlocked, &path).doing(|| format!("cannot create {}", path.display()))?;
    Ok(mark)
}

/// Takes the mark away: the folder is the user's from now on.
pub(super) fn unmark(folder: &Path) -> Result<()> {
    let mark = folder.join(MARK);
    fs::remove_file(&mark).doing(|| format!("cannot remove {}", mark.display()))
}

/// Removes the folders in `base` whose names begin with `prefix` and whose pgkeep is dead; returns which.
pub(super) fn sweep(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let ours = |entry: &DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
    let stale = |folder: &PathBuf| File::open(folder.join(MARK)).is_ok_and(|mark| mark.try_lock().is_ok());
    let folders = entries.flatten().filter(ours).map(|entry| entry.path()).filter(stale);
    folders.filter(|folder| remove(folder).is_ok()).collect()
}

/// How often, and after what pauses, Windows is asked to remove files that a program which just ended had open.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// Removes `folder` and all that is in it.
pub(super) fn remove(folder: &Path) -> Result<()> {
    let again = if cfg!(windows) { ATTEMPTS } else { 0 };
    for _ in 0..again {
        if fs::remove_dir_all(folder).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    fs::remove_dir_all(folder).doing(|| format!("cannot remove {}", folder.display()))
}
