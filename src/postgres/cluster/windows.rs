//! How a throwaway cluster is reached and run on Windows: a port of 127.0.0.1 and a random password, as others may use
//! the port too; and the server through `pg_ctl`, because `postgres.exe` itself refuses to run for an administrator, whose
//! rights `pg_ctl` and `initdb` lay down. What `pg_ctl` starts is in its job object, and ends with it.

use super::{SERVER_SETTINGS, could_not_run};
use crate::cancel::Cancel;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::random_hex;
use crate::postgres::connection::system_environment;
use crate::postgres::{Connection, Programs};
use crate::process::{Invocation, RunAs, Running};
use crate::secret::Secret;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server that runs takes at most to accept a connection.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether PostgreSQL refuses to run as the user that pgkeep runs as: its programs see to that themselves.
pub(super) fn is_root() -> bool {
    false
}

/// In a user's profile nobody else may enter this folder.
pub(super) fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}

/// Creates a folder, which inherits who may enter it from the one above.
pub(super) fn create_folder(path: &Path, _user: Option<&RunAs>) -> std::io::Result<()> {
    fs::create_dir(path)
}

/// The way to the server.
pub(super) struct Access {
    port: u16,
    password: Secret,
    /// The file from which initdb reads the password.
    password_file: PathBuf,
    log: PathBuf,
}

impl Access {
    /// Prepares it in the cluster's `folder`.
    pub(super) fn new(folder: &Path, _user: Option<&RunAs>) -> Result<Self> {
        let password = Secret::new(random_hex(24)?);
        let password_file = folder.join("password");
        write_new(&password_file, password.expose())?;
        // Free now; should another program take it before the server does, the server says so and ends.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let port = port.doing(|| "cannot find a free port".to_owned())?.port();
        Ok(Self { port, password, password_file, log: folder.join("log") })
    }

    /// What initdb is told about it.
    pub(super) fn initdb(&self) -> Vec<OsString> {
        let mut file = OsString::from("--pwfile=");
        file.push(&self.password_file);
        vec!["--auth=scram-sha-256".into(), file]
    }

    /// Removes what only initdb needed.
    pub(super) fn made(&self) -> Result<()> {
        fs::remove_file(&self.password_file).doing(|| format!("cannot remove {}", self.password_file.display()))
    }

    pub(super) fn connection(&self, user: &str, database: &str) -> Connection {
        Connection::loopback(self.port, user, &self.password, database)
    }

    /// Starts the server. The process that is returned is pg_ctl, which ends when the server is ready or has failed.
    pub(super) async fn start(
        &self,
        programs: &Programs,
        data: &Path,
        settings: &[String],
        _user: Option<RunAs>,
    ) -> Result<Running> {
        // In the file and not among the arguments, which pg_ctl hands to cmd.exe.
        let own = [format!("port={}", self.port), "listen_addresses=127.0.0.1".to_owned()];
        let common = SERVER_SETTINGS.into_iter().map(str::to_owned);
        let lines: String =
            own.into_iter().chain(common).chain(settings.iter().cloned()).map(|text| line(&text)).collect();
        let file = data.join("postgresql.conf");
        OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .doing(|| format!("cannot write {}", file.display()))
            .map_err(|error| could_not_run("cannot prepare a throwaway cluster", error))?;
        let pg_ctl = control(programs, data).args(["start", "-w", "-t", "60", "-l"]).args([self.log.clone()]);
        pg_ctl.spawn().await.map_err(|error| could_not_run("pg_ctl could not be run", error))
    }

    /// What a server that ended while it started said. Its log is asked: pg_ctl's own output stays open while anything
    /// runs that it started.
    #[allow(clippy::unused_async)] // Unix waits here.
    pub(super) async fn last_words(&self, server: Running, _cancel: &Cancel) -> Result<String> {
        drop(server);
        Ok(fs::read(&self.log).map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into_owned()))
    }

    /// Whether the server has ended: nobody takes connections.
    pub(super) fn has_ended(&self, _server: &mut Running) -> bool {
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), ANSWER).is_err()
    }

    /// Ends the server at once.
    pub(super) async fn quit(&self, server: Running, programs: &Programs, data: &Path) -> Result<()> {
        self.end(server, programs, data, "immediate").await
    }

    /// Stops the server in order, and leaves its password to who wants to start it again.
    pub(super) async fn stop(&self, server: Running, programs: &Programs, data: &Path) -> Result<()> {
        self.end(server, programs, data, "fast").await?;
        write_new(&self.password_file, self.password.expose())
    }

    async fn end(&self, server: Running, programs: &Programs, data: &Path, mode: &str) -> Result<()> {
        let stop = control(programs, data).args(["stop", "-w", "-t", "60", "-m", mode]);
        let stopped = stop.capture(&Cancel::new()).await;
        // Whatever is left of it ends with its job object.
        drop(server);
        let status = stopped?.status;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::CouldNotRun, "the throwaway server could not be stopped")
            .caused_by(Error::new(ErrorKind::Failed, status.stderr.trim())))
    }
}

fn write_new(path: &Path, text: &str) -> Result<()> {
    let create = || OpenOptions::new().write(true).create_new(true).open(path);
    create().and_then(|mut file| file.write_all(text.as_bytes())).doing(|| format!("cannot write {}", path.display()))
}

fn control(programs: &Programs, data: &Path) -> Invocation {
    let pg_ctl = Invocation::new(programs.pg_ctl()).env(system_environment()).args(["-D"]);
    pg_ctl.args([data.to_owned()])
}

/// A line of postgresql.conf for `name=value`; in its strings quotes are doubled and backslashes escape.
fn line(setting: &str) -> String {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    format!("{name} = '{}'\n", value.replace('\\', "\\\\").replace('\'', "''"))
}
