//! A folder on a disk or a network share. Files are written as safely as a database writes (`folder/file.rs`), folders
//! being written are claimed with a lock (`folder/claim.rs`), and remains are swept (`folder/sweep.rs`).
//!
//! What pgkeep creates is readable by its own user only: files have mode 0600 and folders 0700, whatever the umask.
//! The modes of a root folder that exists are its owner's choice.

mod claim;
mod examine;
mod file;
mod follow;
mod paths;
mod sweep;
#[cfg(unix)]
mod unix;
mod upload;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

use super::{Children, Claim, Destination, Finding, Key, Object, Stored, Swept, Upload};
use crate::error::{Context, Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use claim::FolderClaim;
use file::TempFile;
use paths::{denied, path_of, remove_empty_folders, root_exists};
use std::fs::File;
use std::io::{ErrorKind as Io, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use upload::FolderUpload;

/// What the file is called that [`Destination::check_writable`] writes; hidden, and removed at once.
const PROBE: &str = "pgkeep-probe";

/// A folder that stores backups.
#[derive(Debug, Clone)]
pub struct Folder {
    name: String,
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, known to people as `name`. Nothing is touched yet. A relative path is taken from the
    /// working directory of this moment.
    pub fn new(name: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { name: name.into(), root }
    }

    /// The folder's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Bytes that may still be written below the root, where the system says (Windows does not).
    pub async fn free_bytes(&self) -> Result<Option<u64>> {
        let root = self.root.clone();
        blocking(move || os::free_bytes(&root).doing(|| format!("cannot ask for the free space of {}", root.display())))
            .await
    }
}

/// Runs `work`, which waits for the disk, where waiting is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|source| {
        Err(Error::new(ErrorKind::Failed, "work on a folder ended unexpectedly").caused_by(source))
    })
}

#[async_trait]
impl Destination for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        let root = self.root.clone();
        blocking(move || check_writable(&root)).await
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        let (root, dir) = (self.root.clone(), path_of(&self.root, dir)?);
        let claim = blocking(move || FolderClaim::take(&root, &dir)).await?;
        Ok(Box::new(claim))
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        let (root, target) = (self.root.clone(), path_of(&self.root, key)?);
        blocking(move || {
            let mut file = TempFile::create(&root, &target)?;
            file.write(&bytes)?;
            file.publish()
        })
        .await
    }

    async fn upload(&self, key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        let (root, target) = (self.root.clone(), path_of(&self.root, key)?);
        let what = target.display().to_string();
        let file = blocking(move || TempFile::create(&root, &target)).await?;
        Ok(Box::new(FolderUpload::start(file, what)?))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let path = path_of(&self.root, key)?;
        blocking(move || read(&path, &range)).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        let (path, key) = (path_of(&self.root, key)?, key.clone());
        blocking(move || {
            let found = existing(&path, std::fs::symlink_metadata(&path))?;
            if !found.is_file() {
                return Err(Error::new(ErrorKind::NotFound, format!("{} is no file", path.display())));
            }
            let modified = found.modified().doing(|| format!("cannot tell the age of {}", path.display()))?;
            Ok(Object { key, bytes: found.len(), modified: modified.into() })
        })
        .await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        let root = self.root.clone();
        let prefix = prefix.cloned();
        let start = prefix.as_ref().map_or_else(|| Ok(root.clone()), |prefix| path_of(&root, prefix))?;
        blocking(move || {
            root_exists(&root)?;
            let mut objects = Vec::new();
            list(&start, prefix.as_ref().map_or("", Key::as_str), &mut objects)?;
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(objects)
        })
        .await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        let root = self.root.clone();
        let folder = folder.cloned();
        let start = folder.as_ref().map_or_else(|| Ok(root.clone()), |folder| path_of(&root, folder))?;
        blocking(move || {
            root_exists(&root)?;
            let mut children = Children::default();
            children_of(&start, folder.as_ref().map_or("", Key::as_str), &mut children)?;
            children.folders.sort();
            children.objects.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(children)
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (root, path) = (self.root.clone(), path_of(&self.root, key)?);
        blocking(move || {
            root_exists(&root)?;
            let folder = path.parent().unwrap_or(&root);
            match std::fs::remove_file(&path) {
                Ok(()) => {
                    os::sync_folder(folder).map_err(|source| {
                        denied(format!("cannot make the removal of {} durable", path.display()), source)
                    })?;
                }
                Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => {}
                Err(error) => return Err(denied(format!("cannot remove {}", path.display()), error)),
            }
            remove_empty_folders(&root, folder);
            Ok(())
        })
        .await
    }

    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
        let (root, prefix) = (self.root.clone(), prefix.clone());
        blocking(move || sweep::sweep(&root, &prefix, now)).await
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        let objects = match self.list(None).await {
            // What is wrong then, `check_writable` says.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let root = self.root.clone();
        blocking(move || examine::examine(&root, &objects)).await
    }
}

fn check_writable(root: &Path) -> Result<()> {
    let created = match root_exists(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Only the last folder: a missing parent is more likely a disk that is not mounted, or a slip of the pen.
            match os::create_folder(root) {
                Ok(()) => true,
                Err(source) if source.kind() == Io::AlreadyExists => false,
                Err(source) if source.kind() == Io::NotFound => {
                    return Err(Error::io(format!("the folder {} cannot be created", root.display()), source)
                        .hint("the folder above it is not there either: mount its disk, or create it"));
                }
                Err(source) => return Err(denied(format!("cannot create the folder {}", root.display()), source)),
            }
        }
        other => other.map(|()| false)?,
    };
    if let Some(above) = root.parent().filter(|_| created) {
        // Best effort: a folder above that cannot be opened can still hold ours.
        let _ = os::sync_folder(above);
    }
    // A block that reaches the disk tells a full or read-only one from a good one.
    let probe = TempFile::create(root, &root.join(PROBE)).and_then(|mut file| {
        file.write(&[0; 4096])?;
        file.sync()?;
        file.discard()
    });
    probe.map_err(|cause| {
        let kind = cause.kind();
        Error::new(kind, format!("the folder {} cannot be written to", root.display())).caused_by(cause)
    })
}

fn read(path: &Path, range: &Range<u64>) -> Result<Bytes> {
    let doing = || format!("cannot read {}", path.display());
    let mut file = existing(path, File::open(path))?;
    let found = file.metadata().doing(doing)?;
    if !found.is_file() {
        return Err(Error::new(ErrorKind::NotFound, format!("{} is no file", path.display())));
    }
    // The size is checked before memory is taken: a hostile manifest may name any range.
    if range.end > found.len() {
        return Err(cut_short(path, range, found.len()));
    }
    let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
    file.seek(SeekFrom::Start(range.start)).doing(doing)?;
    match file.read_exact(&mut bytes) {
        Err(error) if error.kind() == Io::UnexpectedEof => Err(cut_short(path, range, found.len())),
        other => other.doing(doing).map(|()| Bytes::from(bytes)),
    }
}

fn cut_short(path: &Path, range: &Range<u64>, bytes: u64) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!("{} holds {bytes} bytes; bytes {} to {} were asked for", path.display(), range.start, range.end),
    )
}

/// An error of kind `NotFound` if there is nothing at `path`, nor can be.
fn existing<T>(path: &Path, found: std::io::Result<T>) -> Result<T> {
    found.map_err(|source| match source.kind() {
        Io::NotFound | Io::NotADirectory => {
            Error::io(format!("{} is not there", path.display()), source).with_kind(ErrorKind::NotFound)
        }
        _ => denied(format!("cannot read {}", path.display()), source),
    })
}

/// Adds every object below the folder at `path`, whose key is `key`.
fn list(path: &Path, key: &str, objects: &mut Vec<Object>) -> Result<()> {
    let mut children = Children::default();
    children_of(path, key, &mut children)?;
    objects.append(&mut children.objects);
    for folder in children.folders {
        list(&path.join(folder.file_name()), folder.as_str(), objects)?;
    }
    Ok(())
}

/// Adds what lies in the folder at `path`, whose key is `key`. Hidden files, links, and names that pgkeep never gives are
/// somebody else's.
fn children_of(path: &Path, key: &str, children: &mut Children) -> Result<()> {
    let doing = || format!("cannot list the folder {}", path.display());
    let entries = match std::fs::read_dir(path) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => return Ok(()),
        other => other.doing(doing)?,
    };
    for entry in entries {
        let entry = entry.doing(doing)?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let below = if key.is_empty() { name.to_owned() } else { format!("{key}/{name}") };
        let Ok(below) = below.parse::<Key>() else { continue };
        // Most systems tell the kind with the name: thousands of folders need no look at each.
        let kind = match entry.file_type() {
            Err(error) if error.kind() == Io::NotFound => continue,
            other => other.doing(doing)?,
        };
        if kind.is_dir() {
            children.folders.push(below);
        } else if kind.is_file() {
            let found = match entry.metadata() {
                // Removed since the folder was read.
                Err(error) if error.kind() == Io::NotFound => continue,
                other => other.doing(doing)?,
            };
            let modified = found.modified().doing(doing)?.into();
            children.objects.push(Object { key: below, bytes: found.len(), modified });
        }
    }
    Ok(())
}
