//! How a throwaway cluster is reached and run on Unix: a socket in a folder that only its user can enter, and the server as
//! a child of pgkeep's.

use super::{SERVER_SETTINGS, could_not_run};
use crate::cancel::Cancel;
use crate::error::{Context, Result};
use crate::postgres::connection::system_environment;
use crate::postgres::{Connection, Programs};
use crate::process::{Invocation, Orphan, RunAs, Running};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Whether PostgreSQL refuses to run as the user that pgkeep runs as.
pub(super) fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// The path of a unix socket must stay under 107 bytes, which the temp folders of some systems alone nearly reach.
pub(super) fn temp_dir() -> PathBuf {
    let temp = std::env::temp_dir();
    if temp.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { temp }
}

/// Creates a folder that only the server's user can enter.
pub(super) fn create_folder(path: &Path, user: Option<&RunAs>) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    match user {
        Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// The way to the server.
pub(super) struct Access {
    sockets: PathBuf,
}

impl Access {
    /// Prepares it in the cluster's `folder`.
    pub(super) fn new(folder: &Path, user: Option<&RunAs>) -> Result<Self> {
        let sockets = folder.join("s");
        create_folder(&sockets, user).doing(|| format!("cannot create {}", sockets.display()))?;
        Ok(Self { sockets })
    }

    /// What initdb is told about it.
    #[allow(clippy::unused_self)] // Windows needs it.
    pub(super) fn initdb(&self) -> Vec<OsString> {
        vec!["--auth=trust".into()]
    }

    /// Removes what only initdb needed.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // Windows can fail here.
    pub(super) fn made(&self) -> Result<()> {
        Ok(())
    }

    pub(super) fn connection(&self, user: &str, database: &str) -> Connection {
        Connection::socket(&self.sockets, 5432, user, database)
    }

    /// Starts the server.
    pub(super) async fn start(
        &self,
        programs: &Programs,
        data: &Path,
        settings: &[String],
        user: Option<RunAs>,
    ) -> Result<Running> {
        let mut arguments: Vec<OsString> = vec![
            "-D".into(),
            data.into(),
            "-k".into(),
            self.sockets.clone().into(),
            "-c".into(),
            "listen_addresses=".into(),
        ];
        for setting in SERVER_SETTINGS.into_iter().map(str::to_owned).chain(settings.iter().cloned()) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        let server = Invocation::new(programs.postgres())
            .args(arguments)
            .env(system_environment())
            .dir(data)
            .run_as(user)
            .orphan(Orphan::Quit);
        server.spawn().await.map_err(|error| could_not_run("postgres could not be run", error))
    }

    /// What a server that ended while it started said.
    #[allow(clippy::unused_self)] // Windows needs it.
    pub(super) async fn last_words(&self, server: Running, cancel: &Cancel) -> Result<String> {
        Ok(server.wait(cancel).await?.stderr)
    }

    /// Whether the server has ended.
    #[allow(clippy::unused_self)] // Windows needs it.
    pub(super) fn has_ended(&self, server: &mut Running) -> bool {
        server.has_ended().unwrap_or(true)
    }

    /// Ends the server at once.
    #[allow(clippy::unused_self)] // Windows needs it.
    pub(super) async fn quit(&self, mut server: Running, _programs: &Programs, _data: &Path) -> Result<()> {
        server.quit().await
    }

    /// Stops the server in order.
    #[allow(clippy::unused_self)] // Windows needs it.
    pub(super) async fn stop(&self, mut server: Running, _programs: &Programs, _data: &Path) -> Result<()> {
        server.stop().await
    }
}
