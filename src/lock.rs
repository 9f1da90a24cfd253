//! One run at a time: a lock per job, held by the system for its process and given up when that dies, however it dies.

use crate::error::{Context, Error, ErrorKind, Result};
use chrono::{SecondsFormat, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// How often, and after what pauses, a lock is tried again while its holder is only just taking it.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// The longest note about a holder that is read, in bytes.
const LONGEST_NOTE: u64 = 4096;

/// A lock that is held until it is dropped or its process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    note: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The next one who asks shall not read about us. The file itself stays: removing it would let two runs lock two
        // different files of the same name.
        let _ = OpenOptions::new().write(true).truncate(true).open(&self.note);
        // Not by closing alone: a child that is just being started may hold a copy of the file for a moment.
        let _ = self.file.unlock();
    }
}

/// What the holder says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    started_at: String,
    what: String,
}

/// Takes the lock `name` (a job's) in the state folder `state_dir`, for `what` is being done, e.g. `backup`. Waits for
/// nobody: fails with kind `Locked` and the holder's pid and start time if another run has it.
pub fn acquire(state_dir: &Path, name: &str, what: &str) -> Result<Lock> {
    acquire_for(state_dir, name, &format!("job {name}"), what)
}

/// As [`acquire`], for a lock that is no job's: `subject` is what errors say is locked.
pub fn acquire_for(state_dir: &Path, name: &str, subject: &str, what: &str) -> Result<Lock> {
    let folder = state_dir.join("locks");
    let mut builder = DirBuilder::new();
    private_folder(builder.recursive(true));
    builder.create(&folder).doing(|| format!("cannot create the folder {}", folder.display())).map_err(|error| {
        error.hint("set PGKEEP_STATE_DIR, or state_dir in the configuration, to a folder that pgkeep may write to")
    })?;
    let path = folder.join(format!("{}.lock", encode(name)));
    let note = note_beside(&path);
    let doing = || format!("cannot lock {}", path.display());
    let mut options = OpenOptions::new();
    private_file(options.read(true).write(true).create(true).truncate(false));
    let file = options.open(&path).doing(doing).map_err(|error| match error.kind() {
        // A run by hand as root leaves its file behind, and the service's user can never lock that again.
        ErrorKind::PermissionDenied => error.hint(format!(
            "another user has run pgkeep before: give them one user, and {} to it (chown -R)",
            state_dir.display()
        )),
        _ => error,
    })?;
    let mut before: Option<Holder> = None;
    for attempt in 1.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(source)) => return Err(Error::io(doing(), source)),
            Err(TryLockError::WouldBlock) => {}
        }
        // A note counts when it was read twice: the first may be of a holder that is gone, the new one's not written yet.
        let holder = read_note(&note);
        let certain = holder.is_some() && holder == before;
        if certain || attempt >= ATTEMPTS {
            return Err(locked(subject, holder.filter(|_| certain).as_ref()));
        }
        before = holder;
        std::thread::sleep(PAUSE);
    }
    let holder = Holder {
        pid: std::process::id(),
        started_at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        what: what.to_owned(),
    };
    let text = serde_json::to_string(&holder)
        .map_err(|source| Error::new(ErrorKind::Failed, "cannot describe this run as JSON").caused_by(source))?;
    // The lock holds without its note, which is for people: a full disk shall not stop a run here.
    let mut options = OpenOptions::new();
    private_file(options.write(true).create(true).truncate(true));
    if let Ok(mut file) = options.open(&note) {
        let _ = std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes());
    }
    Ok(Lock { file, note })
}

/// Whether a process holds the lock `name`: `None` if none does, else what it says about itself, as far as that can be
/// read. Looks only, and keeps nobody from taking it for longer than it takes to look.
pub fn holder(state_dir: &Path, name: &str) -> Result<Option<String>> {
    let path = state_dir.join("locks").join(format!("{}.lock", encode(name)));
    let doing = || format!("cannot look at {}", path.display());
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.doing(doing)?,
    };
    match file.try_lock_shared() {
        Ok(()) => {
            file.unlock().doing(doing)?;
            Ok(None)
        }
        Err(TryLockError::Error(source)) => Err(Error::io(doing(), source)),
        Err(TryLockError::WouldBlock) => {
            let described = |Holder { pid, started_at, .. }| format!("pid {pid}, since {started_at}");
            Ok(Some(read_note(&note_beside(&path)).map(described).unwrap_or_default()))
        }
    }
}

fn locked(subject: &str, holder: Option<&Holder>) -> Error {
    let message = match holder {
        Some(Holder { pid, started_at, what }) => {
            format!("{subject} is locked by another run: {what}, pid {pid}, since {started_at}")
        }
        None => format!("{subject} is locked by another run"),
    };
    Error::new(ErrorKind::Locked, message).hint("wait until that run ends, or stop it; its lock ends with it")
}

fn read_note(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST_NOTE).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A file name for any text; two texts never share one.
fn encode(name: &str) -> String {
    let encoded = utf8_percent_encode(name, ENCODED).to_string();
    if encoded.len() <= 200 {
        return encoded;
    }
    format!("{}%-{}", encoded.get(..100).unwrap_or_default(), hex::encode(Sha256::digest(name.as_bytes())))
}

/// Where locks and other things that only this computer needs are kept: `$PGKEEP_STATE_DIR`, else what is `configured`,
/// else the system's place for the user.
pub fn state_dir(configured: Option<&Path>) -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    choose_state_dir(configured, is_root(), std::env::home_dir(), var)
}

fn choose_state_dir(
    configured: Option<&Path>,
    root: bool,
    home: Option<PathBuf>,
    var: impl Fn(&str) -> Option<PathBuf>,
) -> PathBuf {
    if let Some(dir) = var("PGKEEP_STATE_DIR").or_else(|| configured.map(Path::to_owned)) {
        return dir;
    }
    if root {
        let shared = if cfg!(windows) { var("PROGRAMDATA").map(|dir| dir.join("pgkeep")) } else { None };
        return shared.unwrap_or_else(|| PathBuf::from("/var/lib/pgkeep"));
    }
    // The XDG base directory specification: a relative path is to be ignored.
    let (below, otherwise) =
        if cfg!(windows) { ("LOCALAPPDATA", "AppData/Local") } else { ("XDG_STATE_HOME", ".local/state") };
    var(below)
        .filter(|dir| dir.is_absolute())
        .or_else(|| home.map(|home| home.join(otherwise)))
        .unwrap_or_else(std::env::temp_dir)
        .join("pgkeep")
}

#[cfg(unix)]
fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Services and tasks of the system have their profiles below Windows' own folder, where nobody looks for files.
#[cfg(windows)]
fn is_root() -> bool {
    let folder = |name: &str| std::env::var(name).ok().map(|path| path.to_ascii_lowercase());
    matches!((folder("SYSTEMROOT"), folder("USERPROFILE")), (Some(system), Some(profile)) if profile.starts_with(&system))
}

#[cfg(unix)]
fn private_folder(builder: &mut DirBuilder) {
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700);
}

#[cfg(windows)]
fn private_folder(_builder: &mut DirBuilder) {}

#[cfg(unix)]
fn private_file(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(windows)]
fn private_file(_options: &mut OpenOptions) {}

/// Where the holder describes itself: in the lock file, which others may read while it is locked.
#[cfg(unix)]
fn note_beside(lock: &Path) -> PathBuf {
    lock.to_owned()
}

/// Where the holder describes itself: in a file of its own, because Windows lets nobody read a locked one.
#[cfg(windows)]
fn note_beside(lock: &Path) -> PathBuf {
    lock.with_extension("holder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path(), "zenzspa").unwrap(), None);
        let lock = acquire(dir.path(), "zenzspa", "backup").unwrap();
        let held = holder(dir.path(), "zenzspa").unwrap().unwrap();
        assert!(held.contains(&format!("pid {}", std::process::id())), "{held}");
        let error = acquire(dir.path(), "zenzspa", "drill").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        let said = error.to_string();
        assert!(said.contains("zenzspa") && said.contains(&format!("pid {}", std::process::id())), "{said}");
        assert!(said.contains("backup") && said.contains("since 20"), "{said}");
        acquire(dir.path(), "other", "backup").unwrap();
        drop(lock);
        acquire(dir.path(), "zenzspa", "backup").unwrap();
    }

    #[test]
    fn of_twenty_parallel_starts_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(20);
        let results: Vec<Result<Lock>> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        acquire(dir.path(), "zenzspa", "backup")
                    })
                })
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), ErrorKind::Locked);
            assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        }
    }

    #[test]
    fn a_note_that_makes_no_sense_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let lock = acquire(dir.path(), "zenzspa", "backup").unwrap();
        std::fs::write(&lock.note, "{\"pid\": 1, ").unwrap();
        let said = acquire(dir.path(), "zenzspa", "drill").unwrap_err().to_string();
        assert_eq!(said, "job zenzspa is locked by another run");
    }

    #[cfg(unix)]
    #[test]
    fn the_lock_is_private_and_its_name_stays_in_its_folder() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let names = ["../../x", "", &"é".repeat(300), &format!("{}!", "é".repeat(300))];
        let _locks: Vec<Lock> = names.iter().map(|name| acquire(dir.path(), name, "backup").unwrap()).collect();
        let folder = dir.path().join("locks");
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), names.len());
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn the_state_folder_is_what_was_asked_for_or_the_systems() {
        let none = |_: &str| None;
        let home = || Some(PathBuf::from("/home/ana"));
        let asked =
            choose_state_dir(Some(Path::new("/c")), true, home(), |name| Some(PathBuf::from("/env").join(name)));
        assert_eq!(asked, Path::new("/env/PGKEEP_STATE_DIR"));
        assert_eq!(choose_state_dir(Some(Path::new("/c")), true, home(), none), Path::new("/c"));
        assert_eq!(choose_state_dir(None, true, home(), none), Path::new("/var/lib/pgkeep"));
        if cfg!(unix) {
            assert_eq!(choose_state_dir(None, false, home(), none), Path::new("/home/ana/.local/state/pgkeep"));
            let xdg = |name: &str| (name == "XDG_STATE_HOME").then(|| PathBuf::from("/state"));
            assert_eq!(choose_state_dir(None, false, home(), xdg), Path::new("/state/pgkeep"));
        }
    }
}
