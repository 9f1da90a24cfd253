//! One file, written as safely as a database writes: hidden, synced, closed, read back, and only then given its name.
//! The beginning of a large one is synced and read back while the rest is written.
//!
//! Whatever step fails, or is never reached, the hidden file is removed and nothing is visible.

use super::follow::{Checked, Follower};
use super::os;
use super::paths::{create_folders, denied, remove_empty_folders};
use crate::destination::Stored;
use crate::destination::remains::temp_name;
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// After how many bytes the disk is made to catch up and is checked, so that the last sync and the last check are short.
const STRETCH: u64 = 32 << 20;

/// A file that is being written.
pub(super) struct TempFile {
    // The order matters where fields are dropped: Windows removes no open file.
    follower: Option<Follower>,
    file: Option<File>,
    temp: Option<TempPath>,
    root: PathBuf,
    target: PathBuf,
    digest: Sha256,
    bytes: u64,
    /// What the follower was not told yet, in bytes.
    untold: u64,
    stretch: u64,
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
            follower: None,
            file: Some(file),
            temp: Some(TempPath::try_from_path(&path).map_err(|source| denied(shown("create", target), source))?),
            root: root.to_owned(),
            target: target.to_owned(),
            digest: Sha256::new(),
            bytes: 0,
            untold: 0,
            stretch: STRETCH,
        })
    }

    /// Appends `bytes`.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Err(closed(&self.target)) };
        file.write_all(bytes).map_err(|source| denied(shown("write", &self.target), source))?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.untold += bytes.len() as u64;
        if self.untold >= self.stretch {
            let Some(temp) = &self.temp else { return Err(closed(&self.target)) };
            let follower = match &mut self.follower {
                Some(follower) => follower,
                none => none.insert(Follower::start(file, temp, &self.target)?),
            };
            follower.tell(self.bytes)?;
            self.untold = 0;
        }
        Ok(())
    }

    /// Makes what was written so far durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Err(closed(&self.target)) };
        file.sync_all().map_err(|source| denied(shown("write", &self.target), source))
    }

    /// Makes the file durable, checks what the disk holds, and gives it its name unless that is taken.
    pub(super) fn publish(mut self) -> Result<Stored> {
        let (Some(file), Some(temp)) = (self.file.take(), self.temp.take()) else { return Err(closed(&self.target)) };
        file.sync_all().map_err(|source| denied(shown("write", &self.target), source))?;
        let checked = self.follower.take().map_or_else(|| Ok(Checked::default()), Follower::finish)?;
        os::close(file).map_err(|source| denied(shown("write", &self.target), source))?;

        let written = Stored { bytes: self.bytes, sha256: hex::encode(self.digest.finalize_reset()) };
        let found = checked.finish(&temp).map_err(|source| denied(shown("read back", &self.target), source))?;
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
        drop(self.follower.take());
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
        drop(self.follower.take());
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEST_STRETCH: u64 = 2 << 20;
    const PIECE: usize = 512 << 10;

    fn create(root: &Path) -> TempFile {
        let mut file = TempFile::create(root, &root.join("archive")).unwrap();
        file.stretch = TEST_STRETCH;
        file
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 7 % 250) as u8 + 1).collect()
    }

    #[test]
    fn files_of_any_size_are_read_back_and_published() {
        for length in [0, 1, TEST_STRETCH as usize - 1, TEST_STRETCH as usize, 7_654_321] {
            let dir = tempfile::tempdir().unwrap();
            let bytes = bytes(length);
            let mut file = create(dir.path());
            bytes.chunks(700_001).for_each(|piece| file.write(piece).unwrap());
            assert_eq!(file.follower.is_some(), length >= TEST_STRETCH as usize, "small files need no thread");
            let stored = file.publish().unwrap();
            assert_eq!(stored, Stored { bytes: length as u64, sha256: hex::encode(Sha256::digest(&bytes)) });
            assert!(std::fs::read(dir.path().join("archive")).unwrap() == bytes);
        }
    }

    /// Writes ten pieces and does `harm` to the hidden file after the one of the number `after`, which must not be the
    /// last of a stretch: nobody has read it back then.
    fn harmed(after: usize, harm: impl Fn(&File)) {
        let dir = tempfile::tempdir().unwrap();
        let bytes = bytes(10 * PIECE);
        let mut file = create(dir.path());
        for (number, piece) in bytes.chunks(PIECE).enumerate() {
            file.write(piece).unwrap();
            if number == after {
                harm(&File::options().write(true).open(file.temp.as_ref().unwrap()).unwrap());
            }
        }
        let error = file.publish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{}", error.one_line());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is visible, nothing is left");
    }

    #[test]
    fn a_byte_that_changes_on_the_disk_is_found_in_every_stretch() {
        use std::io::{Seek, SeekFrom};
        for piece in [0, 2, 4, 5, 9] {
            harmed(piece, |mut file| {
                file.seek(SeekFrom::Start((piece * PIECE + 1000) as u64)).unwrap();
                file.write_all(&[0]).unwrap();
            });
        }
    }

    #[test]
    fn a_file_that_is_cut_short_or_grows_is_found() {
        harmed(4, |file| file.set_len(10).unwrap());
        harmed(9, |file| file.set_len(10).unwrap());
        harmed(9, |file| file.set_len(6 << 20).unwrap());
    }

    #[test]
    fn a_large_file_that_is_given_up_leaves_nothing() {
        for explicit in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut file = create(dir.path());
            bytes(9 * PIECE).chunks(PIECE).for_each(|piece| file.write(piece).unwrap());
            assert!(file.follower.is_some());
            if explicit {
                file.discard().unwrap();
            } else {
                drop(file);
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
