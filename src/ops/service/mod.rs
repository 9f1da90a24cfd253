//! `pgkeep service`: hands pgkeep to the system's own service manager, and takes it back.
//!
//! On Linux systemd's units are written, on Windows tasks are registered. What was changed by hand since is neither
//! overwritten nor removed.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(not(any(target_os = "linux", windows)), path = "elsewhere.rs")]
mod os;
#[cfg(target_os = "linux")]
mod sealed;
#[cfg(any(windows, test))]
mod task;
#[cfg(target_os = "linux")]
mod units;

use super::Context;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::postgres::connection::system_environment;
use crate::process::Invocation;
use serde::{Serialize, Serializer};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What to install, or what to take away.
#[derive(Debug, Clone, Default)]
pub struct ServiceRequest {
    /// For this user alone, without root (Linux).
    pub user: bool,
    /// These jobs by timers or tasks of their own. None: all jobs, on Linux by `pgkeep run`.
    pub timers: Vec<String>,
    /// Weekly on Sunday instead of daily (Windows).
    pub weekly: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Also what was changed by hand since.
    pub force: bool,
    /// The folder that stands for `/`, for images of other computers: files are written there, and nothing is run.
    pub root: Option<PathBuf>,
    /// The program to start; the running one if `None`.
    pub program: Option<PathBuf>,
}

/// What happened to one file or task, or would happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceChange {
    /// Written for the first time.
    Written,
    /// Replaced by what this version writes.
    Updated,
    /// It is already so.
    Unchanged,
    /// Taken away.
    Removed,
    /// Left as it is: somebody has changed it since pgkeep wrote it, or somebody else wrote it.
    Kept,
}

/// A file or a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceFile {
    /// Its path, or its name.
    pub path: String,
    /// What happened to it.
    pub change: ServiceChange,
}

/// A command of the service manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCommand(pub Vec<String>);

impl std::fmt::Display for ServiceCommand {
    /// As it is typed into a shell.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plain = |word: &&String| word.chars().all(|c| c.is_alphanumeric() || "@%+=:,./-_".contains(c));
        let quoted =
            |word: &String| if plain(&word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
        f.write_str(&self.0.iter().map(quoted).collect::<Vec<_>>().join(" "))
    }
}

impl Serialize for ServiceCommand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ServiceOutcome {
    /// Whether nothing was done, and this is what would be.
    pub dry_run: bool,
    /// The files, folders and tasks.
    pub files: Vec<ServiceFile>,
    /// The commands that were run.
    pub ran: Vec<ServiceCommand>,
    /// The commands that remain to be run.
    pub next: Vec<ServiceCommand>,
    /// What else there is to know, a line each.
    pub notes: Vec<String>,
}

impl ServiceOutcome {
    fn note(&mut self, path: impl AsRef<Path>, change: ServiceChange) {
        self.files.push(ServiceFile { path: path.as_ref().display().to_string(), change });
    }
}

/// Writes the units or registers the task, and starts them where that is possible. Refuses to overwrite what was changed
/// by hand, unless forced; then nothing is written at all.
pub async fn service_install(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    for name in &request.timers {
        if !ctx.config.jobs.is_empty() && !ctx.config.jobs.contains_key(name) {
            return Err(Error::new(ErrorKind::Usage, format!("no job is named {name:?}"))
                .hint("--timer takes the names of the configuration's jobs"));
        }
    }
    os::install(ctx, request).await
}

/// Stops what runs, and takes the units or tasks away. What was changed by hand stays, unless forced; backups, the
/// configuration and the state folder always do.
pub async fn service_uninstall(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    os::uninstall(ctx, request).await
}

/// The program that shall be started, as it is seen below `root`.
#[cfg(any(target_os = "linux", windows))]
fn program(request: &ServiceRequest) -> Result<PathBuf> {
    let path = match &request.program {
        Some(path) => std::path::absolute(path).doing(|| format!("cannot use --program {}", path.display()))?,
        None => std::env::current_exe().doing(|| "cannot tell where this program is".to_owned())?,
    };
    Ok(inside(request, &path))
}

/// `path` as it is seen below the folder that stands for `/`.
#[cfg(any(target_os = "linux", windows))]
fn inside(request: &ServiceRequest, path: &Path) -> PathBuf {
    let root = request.root.as_deref().and_then(|root| std::fs::canonicalize(root).ok());
    let roots = [request.root.clone(), root];
    let below = roots.iter().flatten().find_map(|root| path.strip_prefix(root).ok());
    below.map_or_else(|| path.to_owned(), |below| Path::new("/").join(below))
}

/// Where the file `path` really is: below the folder that stands for `/`.
#[cfg(target_os = "linux")]
fn outside(request: &ServiceRequest, path: &Path) -> PathBuf {
    match &request.root {
        Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_owned(),
    }
}

/// The variables by which a service manager of the user is found.
const SESSION: [&str; 2] = ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Runs one command of the service manager; it must succeed.
#[cfg_attr(not(any(target_os = "linux", windows)), allow(dead_code))]
async fn run(ctx: &Context, command: &ServiceCommand) -> Result<()> {
    let Some((program, args)) = command.0.split_first() else { return Ok(()) };
    let session = SESSION.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let invocation = Invocation::new(program).args(args).env(system_environment()).env(session);
    let captured = invocation.capture(&ctx.cancel).await?;
    if captured.status.success() {
        return Ok(());
    }
    let said = format!("{} {}", captured.status.stderr.trim(), String::from_utf8_lossy(&captured.stdout).trim());
    Err(Error::new(ErrorKind::Failed, format!("`{command}` failed with {}", captured.status.describe()))
        .caused_by(Error::new(ErrorKind::Failed, said.split_whitespace().collect::<Vec<_>>().join(" ")))
        .hint("run that command by hand to see why; what it needs is written"))
}
