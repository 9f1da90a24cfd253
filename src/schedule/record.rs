//! What the catalogue cannot tell: attempts that failed. One small file a job in `runs/` of the state folder.
//!
//! A file that is damaged or lost costs nothing but the memory of failures: what was done stands in the catalogue.

use super::due::{Track, What};
use crate::destination::Key;
use crate::error::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The format that this program writes and reads.
const FORMAT: u32 = 1;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// The longest error that is kept, in characters.
const LONGEST_ERROR: usize = 2000;

/// What is remembered of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The job's name.
    pub job: String,
    /// Its backups.
    #[serde(default)]
    pub backup: Track,
    /// Its drills.
    #[serde(default)]
    pub drill: Track,
}

impl Record {
    /// Nothing is remembered of `job` yet.
    pub fn new(job: &str) -> Self {
        Self { format: FORMAT, job: job.to_owned(), ..Self::default() }
    }

    /// The track of `what`.
    pub fn of(&self, what: What) -> &Track {
        match what {
            What::Backup => &self.backup,
            What::Drill => &self.drill,
        }
    }

    /// The track of `what`.
    pub fn of_mut(&mut self, what: What) -> &mut Track {
        match what {
            What::Backup => &mut self.backup,
            What::Drill => &mut self.drill,
        }
    }

    /// What the state folder remembers of `job`; nothing if there is no file.
    pub fn load(state_dir: &Path, job: &str) -> Result<Self> {
        let path = path(state_dir, job);
        let doing = || format!("cannot read {}", path.display());
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::new(job)),
            opened => opened.doing(doing)?,
        };
        let mut json = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut json).doing(doing)?;
        let damaged =
            |why: String| Error::new(ErrorKind::Damaged, format!("{} is damaged and ignored: {why}", path.display()));
        let record: Self = serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))?;
        if record.format != FORMAT || record.job != job {
            return Err(damaged(format!("it is of job {:?} in format {}", record.job, record.format)));
        }
        Ok(record)
    }

    /// Writes it to the state folder: the file is the old one or the new one, never a part.
    pub fn save(&self, state_dir: &Path) -> Result<()> {
        let path = path(state_dir, &self.job);
        let doing = || format!("cannot remember the runs of job {} in {}", self.job, path.display());
        let folder = path.parent().unwrap_or(state_dir);
        let mut builder = DirBuilder::new();
        private(builder.recursive(true));
        builder.create(folder).doing(doing)?;
        let mut kept = self.clone();
        for track in [&mut kept.backup, &mut kept.drill] {
            if let Some(error) = &mut track.error
                && let Some((cut, _)) = error.char_indices().nth(LONGEST_ERROR)
            {
                error.truncate(cut);
                error.push('…');
            }
        }
        let mut json = serde_json::to_vec_pretty(&kept)
            .map_err(|source| Error::new(ErrorKind::Failed, doing()).caused_by(source))?;
        json.push(b'\n');
        // Private to the user, as all temporary files of this kind are.
        let mut file = tempfile::Builder::new().prefix(".pgkeep-").tempfile_in(folder).doing(doing)?;
        // Not synced: it holds nothing that the next run cannot do without.
        file.write_all(&json).doing(doing)?;
        file.persist(&path).map_err(|error| Error::io(doing(), error.error))?;
        Ok(())
    }
}

fn path(state_dir: &Path, job: &str) -> PathBuf {
    state_dir.join("runs").join(format!("{}.json", Key::encode(job)))
}

#[cfg(unix)]
fn private(builder: &mut DirBuilder) {
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
}

#[cfg(windows)]
fn private(_builder: &mut DirBuilder) {}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Utc};

    #[test]
    fn what_was_written_is_read_but_for_what_the_catalogue_knows() {
        let dir = tempfile::tempdir().unwrap();
        let now: DateTime<Utc> = "2026-11-22T02:00:00Z".parse().unwrap();
        for job in ["shop", "a/b", "ñandú", "CON"] {
            assert_eq!(Record::load(dir.path(), job).unwrap(), Record::new(job));
            let mut record = Record::new(job);
            record.of_mut(What::Backup).begin(now, now);
            record.of_mut(What::Backup).failed(now, now, "x".repeat(5000));
            record.of_mut(What::Drill).done(now);
            record.save(dir.path()).unwrap();
            let read = Record::load(dir.path(), job).unwrap();
            assert_eq!((read.backup.attempts, read.backup.slot), (1, Some(now)));
            assert_eq!(read.backup.error.as_ref().unwrap().chars().count(), 2001);
            assert_eq!((read.drill.done, read.drill.settled), (Some(now), None));
        }
        let left: Vec<_> = std::fs::read_dir(dir.path().join("runs")).unwrap().collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        Record::new("shop").save(dir.path()).unwrap();
        let file = path(dir.path(), "shop");
        let whole = std::fs::read_to_string(&file).unwrap();
        for text in ["", "{", "[]", &whole.replace("shop", "crm"), &whole.replace("\"format\": 1", "\"format\": 2")] {
            std::fs::write(&file, text).unwrap();
            let error = Record::load(dir.path(), "shop").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{text}");
            assert!(error.to_string().contains("shop.json"), "{error}");
        }
    }
}
