//! The environment that a libpq program gets: nothing but what it needs.

use super::Connection;
use super::keywords::KEYWORDS;
use super::service;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// What programs need to run, to find the user's files, and to resolve and trust hosts.
const SYSTEM: [&str; 38] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TEMP",
    "TMP",
    "TZ",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LOCALDOMAIN",
    "RES_OPTIONS",
    "HOSTALIASES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ENGINES",
    "GSS_MECH_CONFIG",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "PROGRAMFILES(X86)",
    "PROGRAMW6432",
    "USERPROFILE",
    "USERNAME",
    "USERDOMAIN",
    "HOMEDRIVE",
    "HOMEPATH",
    "COMPUTERNAME",
    "NUMBER_OF_PROCESSORS",
];

/// Environment variables, taken once so that a connection does not change under a run.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The same without libpq's variables.
    pub(crate) fn without_libpq(mut self) -> Self {
        self.0.retain(|name, _| !name.to_string_lossy().starts_with("PG"));
        self
    }

    /// What any program gets; messages are in English.
    fn system(&self) -> BTreeMap<OsString, OsString> {
        let needed = |name: &OsString| {
            let name = name.to_string_lossy();
            SYSTEM.contains(&name.as_ref()) || name.starts_with("KRB5")
        };
        let needed = self.0.iter().filter(|(name, _)| needed(name));
        let mut variables: BTreeMap<OsString, OsString> =
            needed.map(|(name, value)| (name.clone(), value.clone())).collect();
        variables.insert("LC_MESSAGES".into(), "C".into());
        variables
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value of a variable that is neither missing nor empty.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
    }

    /// The path in a variable that is neither missing nor empty.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

/// The complete environment for a program that connects nowhere, such as `initdb`: no `PG*` variable, no secret.
pub fn system_environment() -> Vec<(OsString, OsString)> {
    Environment::of_process().system().into_iter().collect()
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        // Windows does not mind the case of names ("Path").
        let name = |name: OsString| if cfg!(windows) { name.to_ascii_uppercase() } else { name };
        Self(variables.into_iter().map(|(key, value)| (name(key), value)).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl Connection {
    /// The complete environment for a libpq program that is started with an otherwise empty one. Parameters that have
    /// no variable go through a service file, which is written to `private_dir`: a folder that only this user can read
    /// and that is removed after the program has ended.
    ///
    /// Not inherited on purpose: `PGCLIENTENCODING`, `PGDATESTYLE`, `PGTZ` and `PGGEQO`, which shape a session instead of
    /// saying where it leads (a dump is the same whoever starts pgkeep), and the locale, so that messages are in English.
    pub fn client_environment(&self, private_dir: &Path) -> Result<Vec<(OsString, OsString)>> {
        let mut variables = self.environment.system();
        let shapes_sessions = |name: &str| matches!(name, "PGCLIENTENCODING" | "PGSERVICE");
        let inherited = KEYWORDS.iter().filter_map(|keyword| keyword.variable).filter(|name| !shapes_sessions(name));
        for name in inherited.chain(["PGREQUIRESSL"]) {
            variables.extend(self.environment.get(name).map(|value| (name.into(), value.to_owned())));
        }
        if let Some(database) = variables.get(OsStr::new("PGDATABASE"))
            && !self.values.contains_key("dbname")
            && database.to_string_lossy().contains("://")
        {
            // libpq would ask for a database of that name, and the server's answer would show the password in it.
            return Err(Error::new(ErrorKind::Config, "PGDATABASE holds a URL, which libpq does not read there")
                .hint("unset PGDATABASE and give the URL as DATABASE_URL or --database-url"));
        }
        // The password is in the child's environment alone, which only this user and root can read. Unlike a password
        // file that leaves nothing on a disk when the power fails, and it holds for every host, port and character.
        let mut others = Vec::new();
        for keyword in &KEYWORDS {
            match (self.values.get(keyword.name), keyword.variable) {
                (None, _) => {}
                (Some(value), Some(variable)) => {
                    variables.insert(variable.into(), value.expose().into());
                }
                // The programs set their own, and the service file could not replace it.
                (Some(_), None) if keyword.name == "fallback_application_name" => {}
                (Some(value), None) => others.push((keyword.name, value)),
            }
        }
        if self.values.get("dbname").is_some_and(|name| name.expose().is_empty()) {
            variables.remove(OsStr::new("PGDATABASE"));
        }
        if !others.is_empty() {
            let file = service::write(private_dir, &others)?;
            variables.insert("PGSERVICEFILE".into(), file.into());
            variables.insert("PGSERVICE".into(), service::OUR_SERVICE.into());
        }
        let mut set_default = |name: &str, value: &str| {
            let current = variables.entry(name.into()).or_default();
            if current.is_empty() {
                *current = value.into();
            }
        };
        set_default("PGCONNECT_TIMEOUT", "15");
        set_default("PGAPPNAME", "pgkeep");
        if self.tls_defaulted() {
            set_default("PGSSLMODE", "require");
        }
        Ok(variables.into_iter().collect())
    }

    /// Everything that must be scrubbed from what programs say: passwords and keys, as they are, as they were written,
    /// and percent-encoded.
    pub fn secrets(&self) -> Vec<Secret> {
        let values =
            KEYWORDS.iter().filter(|keyword| keyword.secret).filter_map(|keyword| self.values.get(keyword.name));
        let mut all: Vec<Secret> = values.cloned().collect();
        all.extend(self.environment.text("PGPASSWORD").map(Secret::new));
        let encoded: Vec<Secret> = all
            .iter()
            .map(|secret| percent_encoding::utf8_percent_encode(secret.expose(), percent_encoding::NON_ALPHANUMERIC))
            .map(|encoded| Secret::new(encoded.to_string()))
            .collect();
        all.extend(self.as_written.iter().cloned().chain(encoded));
        let mut different: Vec<Secret> = Vec::new();
        for secret in all {
            if !secret.expose().is_empty() && !different.contains(&secret) {
                different.push(secret);
            }
        }
        // The longest first: a secret that is part of another must not break up the longer one before it is found.
        different.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        different
    }
}
