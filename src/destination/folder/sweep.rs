//! Removing what interrupted runs left. Only what is certainly dead, and only what pgkeep's names prove to be its own.

use super::claim::{Holder, holder};
use super::paths::{path_of, remove_empty_folders, root_exists};
use crate::destination::remains::{CLAIM_NAME, MANIFEST_NAME, RECEIPT_FOLDERS, is_old, is_ours, is_temp};
use crate::destination::{Key, Swept};
use crate::error::{Context, Error, Result};
use crate::id::BackupId;
use chrono::{DateTime, Utc};
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

/// Something in a folder. Symbolic links are neither files nor folders here: pgkeep makes none.
struct Found {
    name: String,
    path: PathBuf,
    is_file: bool,
    is_folder: bool,
    bytes: u64,
    modified: DateTime<Utc>,
}

/// See [`crate::destination::Destination::sweep`]. One folder that cannot be swept does not keep the others from it; its
/// error is returned at the end.
pub(super) fn sweep(root: &Path, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
    root_exists(root)?;
    let mut sweep = Sweep { root, now, swept: Vec::new() };
    let mut failed = None;
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            failed.get_or_insert(error);
        }
    };
    note(sweep.temps(root, Some(super::PROBE)));
    let job = path_of(root, prefix)?;
    note(sweep.temps(&job, None));
    for database in contents(&job)?.into_iter().filter(|found| found.is_folder) {
        note(sweep.temps(&database.path, None));
        match contents(&database.path) {
            Err(error) => note(Err(error)),
            Ok(backups) => {
                for backup in backups.into_iter().filter(|found| found.is_folder) {
                    if let Ok(id) = backup.name.parse::<BackupId>() {
                        note(sweep.backup(&backup, &id));
                    }
                }
            }
        }
    }
    failed.map_or(Ok(sweep.swept), Err)
}

struct Sweep<'a> {
    root: &'a Path,
    now: DateTime<Utc>,
    swept: Vec<Swept>,
}

impl Sweep<'_> {
    /// Removes old temp files in `folder`: all, or those of the file called `only`.
    fn temps(&mut self, folder: &Path, only: Option<&str>) -> Result<()> {
        for found in contents(folder)? {
            let wanted = only.is_none_or(|only| found.name.starts_with(&format!(".{only}.")));
            if wanted && found.is_file && is_temp(&found.name) && is_old(found.modified, self.now) {
                remove(&found.path)?;
                self.note(&found.path, found.bytes);
            }
        }
        Ok(())
    }

    fn backup(&mut self, backup: &Found, id: &BackupId) -> Result<()> {
        // First who holds it, then what is in it: a writer may publish and go between the two, never come back.
        let holder = holder(&backup.path)?;
        if matches!(holder, Holder::Alive) {
            return Ok(());
        }
        let mut inside = contents(&backup.path)?;
        if inside.iter().any(|found| found.name == MANIFEST_NAME) {
            return self.published(backup, &inside, &holder);
        }
        for folder in RECEIPT_FOLDERS {
            if let Some(at) = inside.iter().position(|found| found.is_folder && found.name == folder) {
                let receipts = inside.swap_remove(at);
                inside.extend(contents(&receipts.path)?.into_iter().map(|mut found| {
                    found.name = format!("{folder}/{}", found.name);
                    found
                }));
            }
        }
        let newest = inside.iter().map(|found| found.modified).fold(backup.modified, DateTime::max);
        let dead = matches!(holder, Holder::Dead { .. }) || is_old(newest, self.now);
        let (mut ours, others): (Vec<_>, Vec<_>) =
            inside.into_iter().partition(|found| found.is_file && is_ours(id, &found.name));
        if !dead || (ours.is_empty() && !others.is_empty()) {
            return Ok(());
        }
        // The mark goes last: should this sweep be cut short, the next one still knows whose remains they are.
        ours.sort_by_key(|found| found.name == CLAIM_NAME);
        let mut bytes = 0;
        let mut guard = Some(holder);
        for found in ours {
            if found.name == CLAIM_NAME {
                guard = None;
            }
            remove(&found.path)?;
            bytes += found.bytes;
        }
        drop(guard);
        for folder in RECEIPT_FOLDERS {
            // Fails if somebody's own files are in it, which is right.
            let _ = std::fs::remove_dir(backup.path.join(folder));
        }
        remove_empty_folders(self.root, &backup.path);
        self.note(&backup.path, bytes);
        Ok(())
    }

    /// A backup that exists: only temp files and the mark of a dead writer are remains.
    fn published(&mut self, backup: &Found, inside: &[Found], holder: &Holder) -> Result<()> {
        self.temps(&backup.path, None)?;
        for folder in inside.iter().filter(|found| found.is_folder && RECEIPT_FOLDERS.contains(&found.name.as_str())) {
            self.temps(&folder.path, None)?;
        }
        if let Some(mark) = inside.iter().find(|found| found.name == CLAIM_NAME && found.is_file)
            && (matches!(holder, Holder::Dead { .. }) || is_old(mark.modified, self.now))
        {
            remove(&mark.path)?;
            self.note(&mark.path, mark.bytes);
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, bytes: u64) {
        let name = path.strip_prefix(self.root).unwrap_or(path);
        self.swept.push(Swept { name: name.to_string_lossy().replace('\\', "/"), bytes });
    }
}

/// What is in `folder`, by name; nothing if it is not there. What vanishes meanwhile is left out.
fn contents(folder: &Path) -> Result<Vec<Found>> {
    let doing = || format!("cannot list the folder {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::NotADirectory) => return Ok(Vec::new()),
        other => other.doing(doing)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.doing(doing)?;
        let meta = match entry.metadata() {
            Err(error) if error.kind() == Io::NotFound => continue,
            other => other.doing(doing)?,
        };
        all.push(Found {
            name: entry.file_name().to_string_lossy().into_owned(),
            path: entry.path(),
            is_file: meta.is_file(),
            is_folder: meta.is_dir(),
            bytes: meta.len(),
            modified: meta.modified().doing(doing)?.into(),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => {
            Err(Error::io(format!("cannot remove {}", path.display()), error))
        }
        _ => Ok(()),
    }
}
