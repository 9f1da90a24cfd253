//! Reading back what is being written, close behind the writer: when the last byte is durable, little is left to check.
//!
//! Each stretch is made durable, forgotten by the system's cache where that can be asked for, read from the disk, and
//! digested on a thread of its own. The writer never waits for the disk unless that is two stretches behind.

use super::os;
use super::paths::denied;
use crate::destination::Stored;
use crate::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// How much is read at once, in bytes: it stays in a core's own cache until it is digested.
const READ_BYTES: usize = 128 << 10;

/// Stretches end at multiples of so many bytes, so that no page of the cache belongs to two: what is read was forgotten
/// as a whole.
const ALIGNMENT: u64 = 1 << 20;

/// The beginning of a file that was read back.
#[derive(Default)]
pub(super) struct Checked {
    digest: Sha256,
    bytes: u64,
}

impl Checked {
    /// Reads on to `end`, or to the end of the file if that comes first, or until nobody wants it any more.
    fn read_on(&mut self, file: &mut File, end: u64, unwanted: &AtomicBool) -> std::io::Result<()> {
        let mut left = end.saturating_sub(self.bytes);
        if left == 0 {
            return Ok(());
        }
        os::forget_cached(file, self.bytes..end);
        file.seek(SeekFrom::Start(self.bytes))?;
        let mut buffer = vec![0; READ_BYTES];
        while left > 0 && !unwanted.load(Ordering::Relaxed) {
            let most = left.min(READ_BYTES as u64) as usize;
            let read = match file.read(&mut buffer[..most]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if read == 0 {
                break;
            }
            self.digest.update(&buffer[..read]);
            self.bytes += read as u64;
            left -= read as u64;
        }
        Ok(())
    }

    /// Reads what is left of the file at `path`, which is closed and durable: size and digest of all of it.
    pub(super) fn finish(mut self, path: &Path) -> std::io::Result<Stored> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        self.read_on(&mut file, bytes, &AtomicBool::new(false))?;
        // Where something cut the file meanwhile, more was read than there is now: the size tells.
        Ok(Stored { bytes, sha256: hex::encode(self.digest.finalize()) })
    }
}

/// The thread behind the writer.
pub(super) struct Follower {
    written: Option<SyncSender<u64>>,
    thread: Option<JoinHandle<Result<Checked>>>,
    unwanted: Arc<AtomicBool>,
}

impl Follower {
    /// Starts behind the writer of `file`, which lies at `path` and will be called `target`.
    pub(super) fn start(file: &File, path: &Path, target: &Path) -> Result<Self> {
        let doing = || format!("cannot read back {}", target.display());
        let writer = file.try_clone().map_err(|source| denied(doing(), source))?;
        let reader = File::open(path).map_err(|source| denied(doing(), source))?;
        Self::with(writer, reader, target)
    }

    fn with(writer: File, reader: File, target: &Path) -> Result<Self> {
        let (written, told) = sync_channel(1);
        let unwanted = Arc::new(AtomicBool::new(false));
        let (flag, shown) = (Arc::clone(&unwanted), target.display().to_string());
        let thread = std::thread::Builder::new()
            .name("pgkeep-read-back".to_owned())
            .spawn(move || follow(&writer, reader, &told, &flag, &shown))
            .map_err(|source| Error::io(format!("cannot start a thread to read back {}", target.display()), source))?;
        Ok(Self { written: Some(written), thread: Some(thread), unwanted })
    }

    /// Tells that `bytes` bytes were written by now; waits where the disk is far behind. An error is that of the thread.
    pub(super) fn tell(&mut self, bytes: u64) -> Result<()> {
        match &self.written {
            Some(written) if written.send(bytes).is_ok() => Ok(()),
            _ => self.join().and_then(|_| Err(over())),
        }
    }

    /// Waits for what was told, and returns what was read back.
    pub(super) fn finish(mut self) -> Result<Checked> {
        self.join()
    }

    fn join(&mut self) -> Result<Checked> {
        self.written = None;
        let thread = self.thread.take().ok_or_else(over)?;
        thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Failed, "the thread that reads back panicked")))
    }
}

/// Its files are closed when this returns: Windows removes no open file.
impl Drop for Follower {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
        if self.thread.is_some() {
            // Whoever drops it gives the file up: what the thread had to say does not matter any more.
            let _ = self.join();
        }
    }
}

fn follow(
    writer: &File,
    mut reader: File,
    told: &Receiver<u64>,
    unwanted: &AtomicBool,
    target: &str,
) -> Result<Checked> {
    let mut checked = Checked::default();
    for bytes in told {
        if unwanted.load(Ordering::Relaxed) {
            break;
        }
        writer.sync_data().map_err(|source| denied(format!("cannot write {target}"), source))?;
        let end = bytes - bytes % ALIGNMENT;
        checked
            .read_on(&mut reader, end, unwanted)
            .map_err(|source| denied(format!("cannot read back {target}"), source))?;
    }
    Ok(checked)
}

fn over() -> Error {
    Error::new(ErrorKind::Failed, "the reading back has ended already")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_sync_that_fails_is_told_to_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "some").unwrap();
        // A pipe cannot be synced.
        let (_reader, writer) = std::io::pipe().unwrap();
        let pipe = File::from(std::os::fd::OwnedFd::from(writer));
        let mut follower = Follower::with(pipe, File::open(&path).unwrap(), &path).unwrap();
        let error = loop {
            if let Err(error) = follower.tell(4) {
                break error;
            }
        };
        assert!(error.one_line().starts_with(&format!("cannot write {}", path.display())), "{}", error.one_line());
        assert!(follower.tell(4).is_err());
    }

    #[test]
    fn what_is_read_back_is_what_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut follower = Follower::start(&file, &path, &path).unwrap();
        for told in [1, 1 << 20, 3_000_000, 5_000_000] {
            follower.tell(told).unwrap();
        }
        let checked = follower.finish().unwrap();
        assert_eq!(checked.bytes, 4 << 20, "up to the last whole page of the cache");
        let stored = checked.finish(&path).unwrap();
        assert_eq!(stored, Stored { bytes: 5_000_000, sha256: hex::encode(Sha256::digest(&bytes)) });
    }
}
