//! Throwaway clusters: a PostgreSQL of our own in a temp folder, reachable by nobody else, gone afterwards.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

use super::connection::system_environment;
use super::temp::{mark, remove, sweep, unmark};
use super::{Connection, Programs};
use crate::cancel::Cancel;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Invocation, RunAs, Running, service_user};
use os::{Access, is_root, temp_dir};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the folders of throwaway clusters are named; what follows is random.
const PREFIX: &str = "pgkeep-scratch-";

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often a starting server is asked whether it is ready.
const START_POLL: Duration = Duration::from_millis(10);

/// Nothing here must survive a crash: speed is all that counts.
const SERVER_SETTINGS: [&str; 11] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "max_wal_size=4GB",
    "maintenance_work_mem=256MB",
    "max_locks_per_transaction=1024",
    "logging_collector=off",
    // Compiling needs memory that is writable and executable, which a hardened service is denied.
    "jit=off",
];

/// What the cluster is made like.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The bootstrap superuser: the one of the source, so that its grants and ownerships fit.
    pub superuser: String,
    /// Where its folder is made; the system's temp folder if `None`.
    pub temp: Option<PathBuf>,
    /// Further settings of the server, `name=value`.
    pub settings: Vec<String>,
}

/// A running throwaway cluster. Dropping it kills the server and removes the folder; [`Cluster::stop`] does so in order.
pub struct Cluster {
    server: Option<Running>,
    folder: Option<PathBuf>,
    access: Access,
    programs: Programs,
    superuser: String,
    user: Option<RunAs>,
    mark: Option<File>,
}

impl Cluster {
    /// Makes and starts a cluster with `programs`. Every failure is the machine's, not a backup's: `CouldNotRun`, unless
    /// cancelled.
    pub async fn start(programs: &Programs, options: &ClusterOptions, cancel: &Cancel) -> Result<Self> {
        let base = options.temp.clone().unwrap_or_else(temp_dir);
        let user = service_user();
        if user.is_none() && is_root() {
            return Err(Error::new(
                ErrorKind::CouldNotRun,
                "PostgreSQL servers do not run as root, and there is no other user",
            )
            .hint("create a user named postgres, or run the drill as an ordinary user"));
        }
        let folder = make_folder(&base, user.as_ref())
            .map_err(|error| could_not_run("cannot make a folder for a throwaway cluster", error))?;
        let mark = mark(&folder);
        let prepared = mark.and_then(|mark| Ok((mark, Access::new(&folder, user.as_ref())?)));
        let (mark, access) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                remove(&folder)?;
                return Err(could_not_run("cannot prepare a throwaway cluster", error));
            }
        };
        // From here on dropping the cluster cleans up.
        let mut cluster = Self {
            server: None,
            folder: Some(folder.clone()),
            access,
            programs: programs.clone(),
            superuser: options.superuser.clone(),
            user: user.clone(),
            mark: Some(mark),
        };
        let data = folder.join("data");
        let superuser = format!("--username={}", options.superuser);
        let data_arg = prefixed("--pgdata=", &data);
        let fixed = ["--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"];
        let initdb = Invocation::new(programs.initdb())
            .args([data_arg, superuser.into()])
            .args(fixed)
            .args(cluster.access.initdb())
            .env(system_environment())
            .dir(&folder)
            .run_as(user.clone());
        let made = initdb.capture(cancel).await.map_err(|error| could_not_run("initdb could not be run", error))?;
        if !made.status.success() {
            return Err(could_not_run("initdb failed", Error::new(ErrorKind::Failed, made.status.stderr.trim())));
        }
        cluster.access.made()?;
        cluster.server = Some(cluster.access.start(programs, &data, &options.settings, user).await?);
        cluster.wait_until_ready(&data, cancel).await?;
        Ok(cluster)
    }

    /// A connection to one of its databases.
    pub fn connection(&self, database: &str) -> Connection {
        self.access.connection(&self.superuser, database)
    }

    /// Its folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether the server has ended by itself: what failed then was the machine.
    pub fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_none_or(|server| self.access.has_ended(server))
    }

    /// Stops the server and removes the folder.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            self.access.quit(server, &self.programs, &self.data()).await?;
        }
        // Windows removes no file that is open.
        drop(self.mark.take());
        match self.folder.take() {
            Some(folder) => remove(&folder),
            None => Ok(()),
        }
    }

    /// Stops the server in order, so that its data can be started again, and leaves the folder to the user: without its
    /// mark no later drill sweeps it.
    pub async fn keep(mut self) -> Result<Option<PathBuf>> {
        if let Some(server) = self.server.take() {
            self.access.stop(server, &self.programs, &self.data()).await?;
        }
        drop(self.mark.take());
        if let Some(folder) = &self.folder {
            unmark(folder)?;
        }
        Ok(self.folder.take())
    }

    fn data(&self) -> PathBuf {
        self.folder.as_deref().map(|folder| folder.join("data")).unwrap_or_default()
    }

    /// A new empty folder beside its data that the server may write to, for a tablespace.
    pub fn make_folder(&self, prefix: &str) -> Result<PathBuf> {
        let gone = || Error::new(ErrorKind::CouldNotRun, "the throwaway cluster is gone");
        let path = self.folder.as_ref().ok_or_else(gone)?.join(format!("{prefix}{}", crate::id::random_hex(4)?));
        os::create_folder(&path, self.user.as_ref()).doing(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The last line of `postmaster.pid` says `ready` once connections are taken: `pg_ctl` waits for the same.
    async fn wait_until_ready(&mut self, data: &Path, cancel: &Cancel) -> Result<()> {
        let pid_file = data.join("postmaster.pid");
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        loop {
            cancel.check()?;
            // Asked first: pg_ctl, which is the server's parent on Windows, ends once the server is ready.
            let ended = self.server.as_mut().is_none_or(|server| server.has_ended().unwrap_or(true));
            let status = fs::read_to_string(&pid_file).unwrap_or_default();
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if ended {
                let why = match self.server.take() {
                    Some(server) => self.access.last_words(server, cancel).await?,
                    None => String::new(),
                };
                return Err(could_not_run(
                    "the throwaway server ended while it started",
                    Error::new(ErrorKind::Failed, super::summary(&why)),
                ));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Error::new(ErrorKind::CouldNotRun, "the throwaway server was not ready after 60 seconds"));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.take());
        drop(self.mark.take());
        if let Some(folder) = self.folder.take() {
            // Best effort: `stop` is the way that reports, and the next drill sweeps what is left.
            drop(remove(&folder));
        }
    }
}

/// Removes the folders that drills of killed pgkeeps left in `temp`; returns which.
pub fn sweep_clusters(temp: Option<&Path>) -> Vec<PathBuf> {
    let base = temp.map_or_else(temp_dir, Path::to_path_buf);
    sweep(&base, PREFIX)
}

fn could_not_run(what: &str, cause: Error) -> Error {
    match cause.kind() {
        ErrorKind::Interrupted | ErrorKind::Terminated => cause,
        _ => Error::new(ErrorKind::CouldNotRun, what).caused_by(cause),
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

fn make_folder(base: &Path, user: Option<&RunAs>) -> Result<PathBuf> {
    let folder = base.join(format!("{PREFIX}{}", crate::id::random_hex(6)?));
    os::create_folder(&folder, user).doing(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
