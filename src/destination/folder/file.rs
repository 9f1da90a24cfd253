//! One file, written as safely as a database writes: hidden, synced, closed, read back, and only then given its name.
//!
//! Whatever step fails, or is never reached, the hidden file is removed and nothing is visible.

use super::os;
use super::paths::{create_folders, denied, remove_empty_folders};
use crate::destination::Stored;
use crate::destination::remains::temp_name;
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// After how many bytes the disk is made to catch up, so that the last sync is short.
const SYNC_EVERY: u64 = 64 << 20;

/// A file that is being written.
pub(super) struct TempFile {
    // The order matters where fields are dropped: Windows removes no open file.
    file: Option<File>,
    temp: Option<TempPath>,
    root: PathBuf,
    target: PathBuf,
    digest: Sha256,
    bytes: u64,
    unsynced: u64,
}

impl TempFile {
    /// Creates the hidden file beside `target`, and the folders down to it below `root`.
    pub(super) fn create(root: &Path, target: &Path) -> Result<Self> {
        let (Some(folder), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
            return Err(Error::new(ErrorKind::Refused, format!("{} names no file", target.display())));
        };
        let path = folder.join(temp_name(name)?);
        // Another run may be removing a folder that it finds empty: make it again.
        let mut attempts = 3;
        let file = loop {
            create_folders(root, folder)?;
            attempts -= 1;
            match os::create_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && attempts > 0 => {}
                Err(error) => {
                    remove_empty_folders(root, folder);
                    return Err(denied(format!("cannot create {}", target.display()), error));
                }
                Ok(file) => break file,
            }
        };
        Ok(Self {
            file: Some(file),
            temp: Some(TempPath::try_from_path(&path).map_err(|source| denied(shown("create", target), source))?),
            root: root.to_owned(),
            target: target.to_owned(),
            digest: Sha256::new(),
            bytes: 0,
            unsynced: 0,
        })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Err(closed(&self.target)) };
        file.write_all(bytes).map_err(|source| denied(shown("write", &self.target), source))?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY {
            file.sync_data().map_err(|source| denied(shown("write", &self.target), source))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Makes what was written so far durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Err(closed(&self.target)) };
        file.sync_all().map_err(|source| denied(shown("write", &self.target), source))?;
        self.unsynced = 0;
        Ok(())
    }

    /// Makes the file durable, checks what the disk holds, and gives it its name unless that is taken.
    pub(super) fn publish(mut self) -> Result<Stored> {
        let (Some(file), Some(temp)) = (self.file.take(), self.temp.take()) else { return Err(closed(&self.target)) };
        file.sync_all().map_err(|source| denied(shown("write", &self.target), source))?;
        os::close(file).map_err(|source| denied(shown("write", &self.target), source))?;

        let written = Stored { bytes: self.bytes, sha256: hex::encode(self.digest.finalize_reset()) };
        let found = read_back(&temp).map_err(|source| denied(shown("read back", &self.target), source))?;
        if found != written {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!(
                    "{} reads back as {} bytes that differ from the {} written",
                    self.target.display(),
                    found.bytes,
                    written.bytes
                ),
            )
            .hint("the disk or the network share returns other bytes than it was given: check it before trusting it"));
        }

        os::publish(temp, &self.target).map_err(|error| {
            let what = match error.kind() {
                std::io::ErrorKind::AlreadyExists => format!("{} exists already", self.target.display()),
                _ => shown("create", &self.target),
            };
            denied(what, error)
        })?;
        let folder = self.target.parent().unwrap_or(&self.root);
        if let Err(source) = os::sync_folder(folder) {
            // A name that a power cut may take back has not been given: nothing shall be visible.
            let _ = std::fs::remove_file(&self.target);
            return Err(denied(shown("make durable", &self.target), source));
        }
        Ok(written)
    }

    /// Removes the hidden file, and the folders above it that are empty now.
    pub(super) fn discard(mut self) -> Result<()> {
        drop(self.file.take());
        match self.temp.take().map(TempPath::close) {
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(denied(format!("cannot remove the unfinished {}", self.target.display()), error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(self.file.take());
        drop(self.temp.take());
        if let Some(folder) = self.target.parent() {
            remove_empty_folders(&self.root, folder);
        }
    }
}

fn shown(doing: &str, target: &Path) -> String {
    format!("cannot {doing} {}", target.display())
}

fn closed(target: &Path) -> Error {
    Error::new(ErrorKind::Failed, format!("{} is closed already", target.display()))
}

/// Size and digest of what lies at `path`, from the disk rather than from memory where the system can.
fn read_back(path: &Path) -> std::io::Result<Stored> {
    let mut file = File::open(path)?;
    os::forget_cached(&file);
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        digest.update(piece);
        bytes += piece.len() as u64;
    }
    Ok(Stored { bytes, sha256: hex::encode(digest.finalize()) })
}
