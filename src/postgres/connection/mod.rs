//! Connections: a connection string read as libpq reads it, and handed to libpq's programs through their environment.
//!
//! A URL in an argument list is readable by every user of the computer, so none is ever passed on: it is taken apart
//! (`parse`, `service`) and each parameter travels in a variable of its own (`environment`).

mod environment;
mod keywords;
mod parse;
mod service;
#[cfg(test)]
mod tests;

pub use environment::system_environment;

use crate::error::Result;
use crate::secret::Secret;
use environment::Environment;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// How to reach a server and a database on it. `Debug` shows no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// What the connection string says, and for the rest its service.
    values: BTreeMap<&'static str, Secret>,
    as_written: Vec<Secret>,
    /// What counts where `values` say nothing.
    environment: Environment,
}

impl Connection {
    /// Reads a URL, a keyword/value string or a database name. What it leaves out comes from its service, if it names
    /// one, then from this process's `PG*` variables, then from libpq.
    pub fn parse(text: &Secret) -> Result<Self> {
        Self::parse_in(text, Environment::of_process())
    }

    /// A connection that `PG*` variables and libpq's defaults alone decide.
    pub fn from_environment() -> Result<Self> {
        Self::new(parse::Parameters::default(), Environment::of_process())
    }

    /// The superuser's connection to a throwaway cluster, whose socket is in `dir`. Inherits no `PG*` variable: a stray
    /// `PGHOSTADDR` would lead to another server.
    pub fn socket(dir: &Path, port: u16, user: &str, database: &str) -> Self {
        Self::of_our_own([
            ("host", dir.to_string_lossy().into_owned()),
            ("port", port.to_string()),
            ("user", user.to_owned()),
            ("dbname", database.to_owned()),
        ])
    }

    /// The same to a throwaway cluster that listens on a port of 127.0.0.1.
    pub fn loopback(port: u16, user: &str, password: &Secret, database: &str) -> Self {
        Self::of_our_own([
            ("host", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("user", user.to_owned()),
            ("password", password.expose().to_owned()),
            ("dbname", database.to_owned()),
            ("sslmode", "disable".to_owned()),
        ])
    }

    fn of_our_own<const N: usize>(values: [(&'static str, String); N]) -> Self {
        Self {
            values: values.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
            as_written: Vec::new(),
            environment: Environment::of_process().without_libpq(),
        }
    }

    fn parse_in(text: &Secret, environment: Environment) -> Result<Self> {
        Self::new(parse::parse(text.expose())?, environment)
    }

    fn new(parameters: parse::Parameters, environment: Environment) -> Result<Self> {
        let parse::Parameters { mut values, as_written } = parameters;
        let named = values.remove("service").map(|name| name.expose().to_owned()).filter(|name| !name.is_empty());
        if let Some(name) = named.or_else(|| environment.text("PGSERVICE")) {
            for (keyword, value) in service::read(&name, &environment)? {
                values.entry(keyword).or_insert(value);
            }
        }
        Ok(Self { values, as_written, environment })
    }

    /// The same server with another database, whatever characters are in its name.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        let mut other = self.clone();
        other.values.insert("dbname", Secret::new(database));
        other
    }

    /// The same server with no database chosen; `PGDATABASE` does not count either.
    #[must_use]
    pub fn without_database(&self) -> Self {
        self.with_database("")
    }

    /// The database, where one is named.
    pub fn database(&self) -> Option<&str> {
        match self.values.get("dbname") {
            Some(name) => Some(name.expose()),
            None => self.environment.get("PGDATABASE").and_then(std::ffi::OsStr::to_str),
        }
        .filter(|name| !name.is_empty())
    }

    /// The user: the one that is named, or the operating system's, as in libpq.
    pub fn user(&self) -> String {
        self.value("user", "PGUSER").or_else(system_user).unwrap_or_else(|| "unknown".to_owned())
    }

    /// The connection in words for people, `app@db.example.com:5432/shop`; no secrets, one line.
    pub fn describe(&self) -> String {
        let database = self.database().map_or_else(|| self.user(), str::to_owned);
        one_line(&format!("{}/{database}", self.server()))
    }

    /// The server in words for people, `app@db.example.com:5432`; no secrets, one line.
    pub fn describe_server(&self) -> String {
        one_line(&self.server())
    }

    fn server(&self) -> String {
        let ports = self.value("port", "PGPORT").unwrap_or_default();
        let ports: Vec<&str> = ports.split(',').map(str::trim).collect();
        let hosts: Vec<String> = self
            .hosts()
            .iter()
            .enumerate()
            .map(|(index, host)| {
                // One port holds for all hosts.
                let port = ports.get(index).or_else(|| ports.first()).filter(|port| !port.is_empty());
                let port = port.copied().unwrap_or("5432");
                match host.shown.as_str() {
                    "" => format!("local:{port}"),
                    address if address.contains(':') && !is_socket(address) => format!("[{address}]:{port}"),
                    name => format!("{name}:{port}"),
                }
            })
            .collect();
        format!("{}@{}", self.user(), hosts.join(","))
    }

    /// Whether every host is this computer: a socket, `localhost`, or a loopback address.
    pub fn is_local(&self) -> bool {
        self.hosts().iter().all(Host::is_local)
    }

    /// Whether pgkeep asks for `sslmode=require` because nobody said anything about TLS to a remote server. libpq's own
    /// default would send everything in the clear where a server, or someone in between, offers no TLS.
    pub fn tls_defaulted(&self) -> bool {
        let required = self.environment.text("PGREQUIRESSL").is_some_and(|value| value.starts_with('1'));
        // With the system's certificates libpq insists on verify-full by itself, and refuses anything weaker.
        let system_roots = self.value("sslrootcert", "PGSSLROOTCERT").as_deref() == Some("system");
        !self.is_local() && !required && !system_roots && self.value("sslmode", "PGSSLMODE").is_none()
    }

    /// Whether libpq makes sure that the server is the one meant: its certificate is checked.
    pub fn checks_the_server(&self) -> bool {
        let system_roots = self.value("sslrootcert", "PGSSLROOTCERT").as_deref() == Some("system");
        let mode = self.value("sslmode", "PGSSLMODE");
        system_roots || matches!(mode.as_deref(), Some("verify-ca" | "verify-full"))
    }

    /// Whether host or port look like those of a connection pooler: PgBouncer listens on 6432, Supabase's pooler on 6543,
    /// Neon's and others' have it in their name.
    pub fn looks_pooled(&self) -> bool {
        let ports = self.value("port", "PGPORT").unwrap_or_default();
        ports.split(',').any(|port| matches!(port.trim(), "6432" | "6543"))
            || self.hosts().iter().any(|host| host.shown.contains("pooler") || host.shown.contains("pgbouncer"))
    }

    /// A value that is not empty: the connection's own, else the variable's.
    fn value(&self, keyword: &str, variable: &str) -> Option<String> {
        match self.values.get(keyword) {
            Some(value) => Some(value.expose().to_owned()).filter(|value| !value.is_empty()),
            None => self.environment.text(variable),
        }
    }

    fn hosts(&self) -> Vec<Host> {
        let names = self.value("host", "PGHOST").unwrap_or_default();
        let addresses = self.value("hostaddr", "PGHOSTADDR").unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let addresses: Vec<&str> = addresses.split(',').map(str::trim).collect();
        // libpq wants as many names as addresses, or none of one kind.
        (0..names.len().max(addresses.len()))
            .map(|index| {
                let name = names.get(index).copied().unwrap_or_default();
                let address = addresses.get(index).copied().unwrap_or_default();
                let shown = if name.is_empty() { address } else { name };
                let reached = if address.is_empty() { name } else { address };
                Host { shown: shown.to_owned(), reached: reached.to_owned() }
            })
            .collect()
    }
}

fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// One of the hosts of a connection.
struct Host {
    /// As people know it.
    shown: String,
    /// What libpq connects to; empty for its default, a local socket or localhost.
    reached: String,
}

impl Host {
    fn is_local(&self) -> bool {
        let host = self.reached.as_str();
        host.is_empty()
            || is_socket(host)
            || host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// Whether libpq takes a host for the folder of a socket (`is_unixsock_path`: absolute, or abstract with an @).
fn is_socket(host: &str) -> bool {
    let drive = cfg!(windows) && host.as_bytes().get(1) == Some(&b':') && host.contains(['\\', '/']);
    host.starts_with(['/', '@']) || drive
}

#[cfg(unix)]
fn system_user() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name)
}

#[cfg(not(unix))]
fn system_user() -> Option<String> {
    std::env::var("USERNAME").ok()
}
