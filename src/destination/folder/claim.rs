//! The mark of a folder that is being written: `.in-progress`, locked for as long as its writer lives.
//!
//! The lock, not the file, is the claim: the system gives it up when its process dies, however it dies. The file says
//! whose it was, because another computer's locks may not be seen through a network share.

use super::os;
use super::paths::{create_folders, denied, remove_empty_folders};
use crate::destination::Claim;
use crate::destination::remains::{CLAIM_NAME, temp_name};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The longest mark that is read, in bytes.
const LONGEST_MARK: u64 = 64 << 10;

/// What the mark says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    host: Option<String>,
    machine_id: Option<String>,
    pid: u32,
    started_at: DateTime<Utc>,
    /// Whether the file system could lock the mark: if not, only age tells that its writer is dead.
    locked: bool,
}

impl Mark {
    fn of_this_process(locked: bool) -> Self {
        Self {
            host: crate::process::host_name(),
            machine_id: os::machine_id(),
            pid: std::process::id(),
            started_at: Utc::now(),
            locked,
        }
    }

    /// Whether a lock of the writer would be seen here.
    fn is_of_this_host(&self) -> bool {
        self.host.is_some() && self.host == crate::process::host_name() && self.machine_id == os::machine_id()
    }
}

/// See the module.
pub(super) struct FolderClaim {
    root: PathBuf,
    dir: PathBuf,
    mark: Option<File>,
}

impl FolderClaim {
    /// Creates the folder `dir`, which must not exist, with its mark.
    pub(super) fn take(root: &Path, dir: &Path) -> Result<Self> {
        let above = dir.parent().unwrap_or(root);
        let mut attempts = 3;
        loop {
            create_folders(root, above)?;
            attempts -= 1;
            match os::create_folder(dir) {
                Ok(()) => break,
                // Another run found the folder above empty and removed it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && attempts > 0 => {}
                Err(error) => {
                    let what = match error.kind() {
                        std::io::ErrorKind::AlreadyExists => format!("{} exists already", dir.display()),
                        _ => format!("cannot create the folder {}", dir.display()),
                    };
                    remove_empty_folders(root, above);
                    return Err(denied(what, error));
                }
            }
        }
        let temp = dir.join(temp_name(CLAIM_NAME)?);
        match write_mark(above, dir, &temp) {
            Ok(mark) => Ok(Self { root: root.to_owned(), dir: dir.to_owned(), mark: Some(mark) }),
            Err(source) => {
                let _ = std::fs::remove_file(&temp);
                let _ = std::fs::remove_file(dir.join(CLAIM_NAME));
                remove_empty_folders(root, dir);
                Err(denied(format!("cannot mark the folder {} as being written", dir.display()), source))
            }
        }
    }

    /// Removes the mark, then gives up the lock, then removes the folder if nothing was stored in it.
    fn end(&mut self) -> std::io::Result<()> {
        let Some(mark) = self.mark.take() else { return Ok(()) };
        let removed = match std::fs::remove_file(self.dir.join(CLAIM_NAME)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        unlock(mark);
        remove_empty_folders(&self.root, &self.dir);
        removed
    }
}

/// Writes the mark under a hidden name, locks it, and only then calls it by its name: nobody ever sees it unlocked.
fn write_mark(above: &Path, dir: &Path, temp: &Path) -> std::io::Result<File> {
    os::sync_folder(above)?;
    let mut file = os::create_file(temp)?;
    let locked = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => return Err(std::io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(_)) => false,
    };
    let text = serde_json::to_vec(&Mark::of_this_process(locked)).map_err(std::io::Error::other)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(temp, dir.join(CLAIM_NAME))?;
    os::sync_folder(dir)?;
    Ok(file)
}

/// Gives the lock up at once: a child that is just being started may hold a copy of the file for a moment.
fn unlock(mark: File) {
    let _ = mark.unlock();
    drop(mark);
}

#[async_trait]
impl Claim for FolderClaim {
    async fn release(mut self: Box<Self>) -> Result<()> {
        super::blocking(move || {
            let dir = self.dir.clone();
            self.end().map_err(|source| denied(format!("cannot remove the mark of {}", dir.display()), source))
        })
        .await
    }
}

impl Drop for FolderClaim {
    fn drop(&mut self) {
        let something_stored = std::fs::read_dir(&self.dir)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != CLAIM_NAME));
        if something_stored {
            // The mark stays, unlocked: the next sweep then knows at once that these are remains.
            self.mark.take().into_iter().for_each(unlock);
        } else {
            let _ = self.end();
        }
    }
}

/// What a folder's mark says about its writer.
pub(super) enum Holder {
    /// There is no mark.
    None,
    /// It is being written.
    Alive,
    /// It died on this computer. While the file is held, nobody else takes the same folder for remains.
    Dead { _lock: File },
    /// It wrote from elsewhere, or cannot be known: only age tells.
    Unknown,
}

/// Who writes, or wrote, the folder `dir`.
pub(super) fn holder(dir: &Path) -> Result<Holder> {
    let path = dir.join(CLAIM_NAME);
    let found = std::fs::symlink_metadata(&path);
    if found.as_ref().is_ok_and(|found| !found.is_file()) {
        return Ok(Holder::Unknown);
    }
    let mut file = match found.and_then(|_| OpenOptions::new().read(true).write(true).open(&path)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Holder::None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(Holder::Unknown),
        Err(error) => return Err(Error::io(format!("cannot open {}", path.display()), error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Holder::Alive),
        Err(TryLockError::Error(_)) => return Ok(Holder::Unknown),
    }
    let mut text = Vec::new();
    (&mut file)
        .take(LONGEST_MARK)
        .read_to_end(&mut text)
        .map_err(|source| Error::io(format!("cannot read {}", path.display()), source).with_kind(ErrorKind::Failed))?;
    Ok(match serde_json::from_slice::<Mark>(&text) {
        Ok(mark) if mark.locked && mark.is_of_this_host() => Holder::Dead { _lock: file },
        _ => Holder::Unknown,
    })
}
