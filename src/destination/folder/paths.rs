//! From keys to paths below the root, and the folders in between.

use super::os;
use crate::destination::Key;
use crate::error::{Error, ErrorKind, Result};
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

/// Where `key` lies below `root`. Hidden names are refused: they belong to pgkeep's unfinished files, or to others.
pub(super) fn path_of(root: &Path, key: &Key) -> Result<PathBuf> {
    if key.segments().any(|segment| segment.starts_with('.')) {
        return Err(Error::new(ErrorKind::Refused, format!("{key} is hidden; pgkeep stores no hidden files")));
    }
    Ok(key.segments().fold(root.to_owned(), |path, segment| path.join(segment)))
}

/// An I/O error with the hint that its kind calls for.
pub(super) fn denied(doing: String, source: std::io::Error) -> Error {
    let error = Error::io(doing, source);
    match error.kind() {
        ErrorKind::NoSpace => error.hint("free some space there, or point the destination at another disk"),
        ErrorKind::PermissionDenied => {
            error.hint("let the user that runs pgkeep write there, or choose another folder for the destination")
        }
        _ => error,
    }
}

/// Creates the folders from `root` down to `folder`, each durable in the one above it. The root must exist: a disk that
/// is not mounted shall not be mistaken for an empty one.
pub(super) fn create_folders(root: &Path, folder: &Path) -> Result<()> {
    if folder == root || folder.is_dir() {
        return root_exists(root);
    }
    let Some(above) = folder.parent().filter(|above| above.starts_with(root)) else { return root_exists(root) };
    create_folders(root, above)?;
    match os::create_folder(folder) {
        Ok(()) => os::sync_folder(above)
            .map_err(|source| denied(format!("cannot make the folder {} durable", folder.display()), source)),
        Err(error) if error.kind() == Io::AlreadyExists && folder.is_dir() => Ok(()),
        // Another run found the one above empty and removed it; the caller tries again.
        Err(error) if error.kind() == Io::NotFound => Ok(()),
        Err(error) => Err(denied(format!("cannot create the folder {}", folder.display()), error)),
    }
}

/// Fails unless `root` is a folder.
pub(super) fn root_exists(root: &Path) -> Result<()> {
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Error::new(ErrorKind::Failed, format!("{} is a file, not a folder", root.display()))
            .hint("choose a folder for the destination, or move that file away")),
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => {
            Err(Error::io(format!("the folder {} is not there", root.display()), error)
                .with_kind(ErrorKind::NotFound)
                .hint("mount its disk or create the folder"))
        }
        Err(error) => Err(denied(format!("cannot look at the folder {}", root.display()), error)),
    }
}

/// Removes `folder` and those above it, up to and without `root`, as long as they are empty.
pub(super) fn remove_empty_folders(root: &Path, folder: &Path) {
    let mut folder = folder;
    // A folder that is not empty, or that somebody else is removing, ends the climb: it is no failure.
    while folder != root && folder.starts_with(root) && std::fs::remove_dir(folder).is_ok() {
        match folder.parent() {
            Some(above) => folder = above,
            None => break,
        }
    }
}
