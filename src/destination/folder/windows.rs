//! The folder destination's dealings with Windows. Files and folders inherit the access list of the folder that holds
//! them, which in a user's profile lets in nobody else.

use super::examine::{Access, Disk};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Component, Path, Prefix};

/// Creates a new file, open for reading and writing.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}

/// Creates a new folder.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// Closes `file`. `FlushFileBuffers` has reported every failed write before.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn close(file: File) -> io::Result<()> {
    drop(file);
    Ok(())
}

/// NTFS journals its folders; there is nothing to ask for.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Windows takes no such advice for a file that is open.
pub(super) fn forget_cached(_file: &File) {}

/// Not asked for on Windows.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn free_bytes(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// The name must do.
pub(super) fn machine_id() -> Option<String> {
    None
}

/// A share is known by its path: `\\server\share`, also as `\\?\UNC\server\share`.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn disk(path: &Path) -> io::Result<Disk> {
    let share = matches!(
        path.components().next(),
        Some(Component::Prefix(prefix)) if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    );
    Ok(if share { Disk::Network("SMB") } else { Disk::Ordinary })
}

/// Access lists are not read.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn access(_path: &Path) -> io::Result<Option<Access>> {
    Ok(None)
}
