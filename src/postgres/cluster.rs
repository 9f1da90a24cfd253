//! Throwaway clusters: a PostgreSQL of our own in a temp folder, reachable by nobody else, gone afterwards.

use super::connection::system_environment;
use super::temp::{mark, remove, sweep, unmark};
use super::{Connection, Programs};
use crate::cancel::Cancel;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Invocation, Orphan, RunAs, Running, service_user};
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
    superuser: String,
    user: Option<RunAs>,
    _mark: File,
}

impl Cluster {
    /// Makes and starts a cluster with `programs`. Every failure is the machine's, not a backup's: `CouldNotRun`, unless
    /// cancelled.
    pub async fn start(programs: &Programs, options: &ClusterOptions, cancel: &Cancel) -> Result<Self> {
        let base = options.temp.clone().unwrap_or_else(socket_friendly_temp);
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
        let mark = match mark {
            Ok(mark) => mark,
            Err(error) => {
                remove(&folder)?;
                return Err(could_not_run("cannot prepare a throwaway cluster", error));
            }
        };
        // From here on dropping the cluster cleans up.
        let mut cluster = Self {
            server: None,
            folder: Some(folder.clone()),
            superuser: options.superuser.clone(),
            user: user.clone(),
            _mark: mark,
        };
        let data = folder.join("data");
        let superuser = format!("--username={}", options.superuser);
        let data_arg = prefixed("--pgdata=", &data);
        let fixed = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions"];
        let initdb = Invocation::new(programs.initdb())
            .args([data_arg, superuser.into()])
            .args(fixed)
            .env(system_environment())
            .dir(&folder)
            .run_as(user.clone());
        let made = initdb.capture(cancel).await.map_err(|error| could_not_run("initdb could not be run", error))?;
        if !made.status.success() {
            return Err(could_not_run("initdb failed", Error::new(ErrorKind::Failed, made.status.stderr.trim())));
        }
        let sockets = folder.join("s");
        let mut arguments: Vec<OsString> = vec!["-D".into(), data.clone().into(), "-k".into(), sockets.into()];
        // Nothing here must survive a crash: speed is all that counts.
        let settings = [
            "listen_addresses=",
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
        for setting in settings.into_iter().map(str::to_owned).chain(options.settings.iter().cloned()) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        let server = Invocation::new(programs.postgres())
            .args(arguments)
            .env(system_environment())
            .dir(&folder)
            .run_as(user)
            .orphan(Orphan::Quit);
        cluster.server = Some(server.spawn().await.map_err(|error| could_not_run("postgres could not be run", error))?);
        cluster.wait_until_ready(&data, cancel).await?;
        Ok(cluster)
    }

    /// A connection to one of its databases.
    pub fn connection(&self, database: &str) -> Connection {
        let sockets = self.folder.as_deref().map(|folder| folder.join("s")).unwrap_or_default();
        Connection::socket(&sockets, 5432, &self.superuser, database)
    }

    /// Its folder.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether the server has ended by itself: what failed then was the machine.
    pub fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_none_or(|server| server.has_ended().unwrap_or(true))
    }

    /// Stops the server and removes the folder.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.quit().await?;
        }
        match self.folder.take() {
            Some(folder) => remove(&folder),
            None => Ok(()),
        }
    }

    /// Stops the server in order, so that its data can be started again, and leaves the folder to the user: without its
    /// mark no later drill sweeps it.
    pub async fn keep(mut self) -> Result<Option<PathBuf>> {
        if let Some(mut server) = self.server.take() {
            server.stop().await?;
        }
        if let Some(folder) = &self.folder {
            unmark(folder)?;
        }
        Ok(self.folder.take())
    }

    /// A new empty folder beside its data that the server may write to, for a tablespace.
    pub fn make_folder(&self, prefix: &str) -> Result<PathBuf> {
        let gone = || Error::new(ErrorKind::CouldNotRun, "the throwaway cluster is gone");
        let path = self.folder.as_ref().ok_or_else(gone)?.join(format!("{prefix}{}", crate::id::random_hex(4)?));
        private_folder(&path, self.user.as_ref()).doing(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// The last line of `postmaster.pid` says `ready` once connections are taken: `pg_ctl` waits for the same.
    async fn wait_until_ready(&mut self, data: &Path, cancel: &Cancel) -> Result<()> {
        let pid_file = data.join("postmaster.pid");
        let deadline = tokio::time::Instant::now() + START_LIMIT;
        loop {
            cancel.check()?;
            let status = fs::read_to_string(&pid_file).unwrap_or_default();
            if status.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if self.has_ended() {
                let why = match self.server.take() {
                    Some(server) => server.wait(cancel).await?.stderr,
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
        if let Some(folder) = self.folder.take() {
            // Best effort: `stop` is the way that reports, and the next drill sweeps what is left.
            drop(remove(&folder));
        }
    }
}

/// Removes the folders that drills of killed pgkeeps left in `temp`; returns which.
pub fn sweep_clusters(temp: Option<&Path>) -> Vec<PathBuf> {
    let base = temp.map_or_else(socket_friendly_temp, Path::to_path_buf);
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

/// The path of a unix socket must stay under 107 bytes, which the temp folders of some systems alone nearly reach.
fn socket_friendly_temp() -> PathBuf {
    let temp = std::env::temp_dir();
    if cfg!(unix) && temp.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { temp }
}

fn make_folder(base: &Path, user: Option<&RunAs>) -> Result<PathBuf> {
    let folder = base.join(format!("{PREFIX}{}", crate::id::random_hex(6)?));
    private_folder(&folder, user)
        .and_then(|()| private_folder(&folder.join("s"), user))
        .doing(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Creates a folder that only the server's user can enter.
fn private_folder(path: &Path, user: Option<&RunAs>) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    #[cfg(unix)]
    if let Some(user) = user {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))?;
    }
    #[cfg(not(unix))]
    let _ = user;
    Ok(())
}

#[cfg(unix)]
fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
