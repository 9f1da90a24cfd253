//! Finding PostgreSQL's client and server programs of the right version.
//!
//! `pg_dump` dumps servers of its own major version and older ones, and writes for servers of its own version: the
//! server's own major is best, the next newer one will do. A program's version is what it says itself; looking runs each
//! `pg_dump --version` that is found, which takes a few milliseconds, once a minute while the file stays the same.

mod packages;
mod search;
mod version;

pub use search::{BIN_DIR_VARIABLE, Search};
pub use version::{Version, server_major, server_version};

use crate::error::{Error, ErrorKind, Result};
use crate::postgres::connection::system_environment;
use packages::System;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The newest major version when this was written: what to install when any will do.
const CURRENT_MAJOR: u32 = 18;

/// A folder with PostgreSQL's programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub dir: PathBuf,
    /// The version of the programs in it.
    pub version: Version,
}

impl Programs {
    /// The path of `pg_dump`.
    pub fn pg_dump(&self) -> PathBuf {
        self.path("pg_dump")
    }

    /// The path of `psql`.
    pub fn psql(&self) -> PathBuf {
        self.path("psql")
    }

    /// The path of `pg_dumpall`.
    pub fn pg_dumpall(&self) -> PathBuf {
        self.path("pg_dumpall")
    }

    /// The path of `pg_restore`, which need not be there.
    pub fn pg_restore(&self) -> PathBuf {
        self.path("pg_restore")
    }

    /// The path of `initdb`.
    pub fn initdb(&self) -> PathBuf {
        self.path("initdb")
    }

    /// The path of `postgres`.
    pub fn postgres(&self) -> PathBuf {
        self.path("postgres")
    }

    /// The path of `pg_ctl`.
    pub fn pg_ctl(&self) -> PathBuf {
        self.path("pg_ctl")
    }

    fn path(&self, name: &str) -> PathBuf {
        search::program(&self.dir, name)
    }
}

/// The client programs for a server: of its own major version, else of the next newer one that is there.
pub fn find_clients(search: &Search, server_version_num: u32) -> Result<Programs> {
    let wanted = server_major(server_version_num);
    let found = Found::look(search, &["pg_dump", "psql"]);
    // Before 10 two numbers made a major version; such old programs are not worth telling apart.
    let fits = |version: &Version| version.major >= wanted && version.major >= 10;
    let best = found.programs.iter().filter(|programs| fits(&programs.version));
    // Of one version the newest minor, of equals the first.
    let best = best.min_by_key(|programs| (programs.version.major, std::cmp::Reverse(programs.version.minor)));
    if let Some(programs) = best {
        return Ok(programs.clone());
    }
    if found.programs.is_empty() {
        return Err(found.no_client(search, wanted));
    }
    let versions: Vec<String> =
        found.programs.iter().map(|programs| format!("{} in {}", programs.version, programs.dir.display())).collect();
    Err(Error::new(
        ErrorKind::Version,
        format!(
            "the server runs PostgreSQL {}, which needs pg_dump {wanted} or newer, and there is only {} (searched {})",
            server_version(server_version_num),
            versions.join(", "),
            search.looked_in()
        ),
    )
    .hint(install_hint(&System::current().install_client(wanted.max(10)))))
}

/// The newest client programs there are, for asking a server for its version.
pub fn find_newest_clients(search: &Search) -> Result<Programs> {
    let found = Found::look(search, &["pg_dump", "psql"]);
    // `max_by_key` would take the last of equals.
    let newest = found.programs.iter().rev().max_by_key(|programs| (programs.version.major, programs.version.minor));
    newest.cloned().ok_or_else(|| found.no_client(search, CURRENT_MAJOR))
}

/// The server programs of exactly this major version, for a throwaway cluster.
pub fn find_server(search: &Search, major: u32) -> Result<Programs> {
    let found = Found::look(search, &["postgres", "initdb"]);
    let fitting = found.programs.iter().rev().filter(|programs| programs.version.major == major);
    if let Some(programs) = fitting.max_by_key(|programs| programs.version.minor) {
        return Ok(programs.clone());
    }
    let mut versions: Vec<String> = found.programs.iter().map(|programs| programs.version.to_string()).collect();
    versions.dedup();
    let there = if versions.is_empty() { "none at all".to_owned() } else { format!("only {}", versions.join(", ")) };
    Err(Error::new(
        ErrorKind::CouldNotRun,
        format!(
            "a scratch cluster needs the server programs of PostgreSQL {major}, and there is {there}{} (searched {})",
            found.failures(),
            search.looked_in()
        ),
    )
    .hint(install_hint(&System::current().install_server(major))))
}

/// The newest server programs there are, with their clients, where any version will do.
pub fn find_newest_server(search: &Search) -> Result<Programs> {
    let found = Found::look(search, &["postgres", "initdb", "psql", "pg_dump"]);
    let newest = found.programs.iter().rev().max_by_key(|programs| (programs.version.major, programs.version.minor));
    newest.cloned().ok_or_else(|| {
        let message = format!("no PostgreSQL server was found{} (searched {})", found.failures(), search.looked_in());
        Error::new(ErrorKind::CouldNotRun, message).hint(install_hint(&System::current().install_server(CURRENT_MAJOR)))
    })
}

fn install_hint(command: &str) -> String {
    format!("{command}; programs in an unusual folder are found with bin_dir or {BIN_DIR_VARIABLE}")
}

/// What a search found.
struct Found {
    programs: Vec<Programs>,
    /// Programs that are there and cannot be used, with the reason.
    failures: Vec<String>,
}

impl Found {
    /// Looks for folders that hold all the programs `names`; the version is that of the first.
    fn look(search: &Search, names: &[&str]) -> Self {
        let mut found = Self { programs: Vec::new(), failures: Vec::new() };
        for folder in search.folders() {
            let paths: Vec<PathBuf> = names.iter().map(|name| search::program(folder, name)).collect();
            if let (Some(first), true) = (paths.first(), paths.iter().all(|path| path.is_file())) {
                match probe(first) {
                    Ok(version) => found.programs.push(Programs { dir: folder.to_owned(), version }),
                    Err(why) => found.failures.push(format!("{}: {why}", first.display())),
                }
            }
        }
        found
    }

    fn failures(&self) -> String {
        if self.failures.is_empty() { String::new() } else { format!("; unusable: {}", self.failures.join(", ")) }
    }

    fn no_client(&self, search: &Search, major: u32) -> Error {
        let message = format!("pg_dump and psql were not found{} (searched {})", self.failures(), search.looked_in());
        Error::new(ErrorKind::NotFound, message).hint(install_hint(&System::current().install_client(major)))
    }
}

/// For how long a program is taken at its word: a script that stands for it may choose another one later.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A program as it lies there: path, time and size. Updated, it is another one.
type Seen = (PathBuf, SystemTime, u64);

/// What programs have said of their versions, and when.
static KNOWN: LazyLock<Mutex<HashMap<Seen, (Instant, Version)>>> = LazyLock::new(Mutex::default);

/// The version of a program, or why it does not tell.
fn probe(program: &Path) -> Result<Version, String> {
    let seen = std::fs::metadata(program).and_then(|found| Ok((program.to_owned(), found.modified()?, found.len())));
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((asked, version)) = seen.as_ref().ok().and_then(|seen| known().get(seen).cloned())
        && asked.elapsed() < ASKED_AGAIN_AFTER
    {
        return Ok(version);
    }
    let version = ask(program)?;
    if let Ok(seen) = seen {
        known().insert(seen, (Instant::now(), version.clone()));
    }
    Ok(version)
}

/// Asks a program for its version.
fn ask(program: &Path) -> Result<Version, String> {
    let output = Command::new(program)
        .arg("--version")
        .env_clear()
        .envs(system_environment())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("--version ended with {}", output.status));
    }
    Version::parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "--version told no version".to_owned())
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
