//! The folder destination's dealings with Windows. Files and folders inherit the access list of the folder that holds
//! them, which in a user's profile lets in nobody else.

use super::examine::{Access, Disk};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Component, Path, Prefix};
use std::time::Duration;
use tempfile::TempPath;

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

/// How often, and after what pauses, a file that somebody else has just opened is given its name.
const ATTEMPTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Gives a finished file its name unless that is taken. Virus scanners and programs that synchronize folders open every new
/// file for a moment, and Windows renames none that is open: that is waited for, two seconds at most.
pub(super) fn publish(mut temp: TempPath, target: &Path) -> io::Result<()> {
    for attempt in 1.. {
        match temp.persist_noclobber(target) {
            Ok(()) => break,
            Err(failed) if attempt < ATTEMPTS && is_open_elsewhere(&failed.error) => temp = failed.path,
            Err(failed) => return Err(failed.error),
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION` and `ERROR_LOCK_VIOLATION`.
fn is_open_elsewhere(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// NTFS journals its folders; there is nothing to ask for.
#[allow(clippy::unnecessary_wraps)] // Unix can fail here.
pub(super) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Windows takes no such advice for a file that is open.
pub(super) fn forget_cached(_file: &File, _bytes: Range<u64>) {}

/// How many bytes this user may still write to the disk of the folder `path`; quotas count.
pub(super) fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    // A share must be asked for with a backslash at its end.
    let Some(folder) = path.to_str().map(|path| format!("{}\\", path.trim_end_matches(['/', '\\']))) else {
        return Ok(None);
    };
    let mut free = 0;
    winsafe::GetDiskFreeSpaceEx(Some(&folder), Some(&mut free), None, None)
        .map(|()| Some(free))
        .map_err(|error| io::Error::from_raw_os_error(error.raw() as i32))
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
