//! libpq's connection service file (`fe-connect.c`: `parseServiceInfo`), read here so that pgkeep knows where a service
//! leads, and can add to it the parameters that have no environment variable.

use super::environment::Environment;
use super::{keywords, parse};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The section that pgkeep writes.
pub(super) const OUR_SERVICE: &str = "pgkeep";

/// libpq 13 and newer read lines of up to 1023 bytes.
const LONGEST_LINE: usize = 1000;

/// The folder of the system-wide file is compiled into libpq and cannot be asked for: these are the packagers' choices.
const SYSTEM_FOLDERS: [&str; 7] = [
    "/etc/postgresql-common",
    "/etc/sysconfig/pgsql",
    "/etc/postgresql",
    "/etc",
    "/opt/homebrew/etc/postgresql",
    "/usr/local/etc/postgresql",
    "/usr/local/pgsql/etc",
];

/// The parameters of the service `name`.
pub(super) fn read(name: &str, environment: &Environment) -> Result<BTreeMap<&'static str, Secret>> {
    let files = files(environment);
    for file in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("cannot read the service file {}", file.display()), error)),
        };
        if let Some(values) = section(&text, name)
            .map_err(|(line, why)| Error::new(ErrorKind::Config, format!("{}, line {line}: {why}", file.display())))?
        {
            return Ok(values);
        }
    }
    let looked_in: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(Error::new(ErrorKind::Config, format!("the PostgreSQL service {name:?} is not defined"))
        .hint(format!("looked in {}; PGSERVICEFILE names another file", looked_in.join(", "))))
}

fn files(environment: &Environment) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(file) = environment.path("PGSERVICEFILE") {
        files.push(file);
    } else if cfg!(windows) {
        files.extend(environment.path("APPDATA").map(|dir| dir.join("postgresql").join(".pg_service.conf")));
    } else {
        files.extend(environment.path("HOME").map(|home| home.join(".pg_service.conf")));
    }
    match environment.path("PGSYSCONFDIR") {
        Some(folder) => files.push(folder.join("pg_service.conf")),
        None => files.extend(SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join("pg_service.conf"))),
    }
    files
}

/// The parameters of the section `name`, the first value of each; `None` if there is no such section. Problems come with
/// the number of their line and without its text.
fn section(text: &str, name: &str) -> Result<Option<BTreeMap<&'static str, Secret>>, (usize, &'static str)> {
    let header = format!("[{name}]");
    let mut values: Option<BTreeMap<&'static str, Secret>> = None;
    for (number, line) in text.lines().enumerate() {
        let fail = |why| Err((number + 1, why));
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            if values.is_some() {
                break;
            }
            if line.starts_with(&header) {
                values = Some(BTreeMap::new());
            }
            continue;
        }
        let Some(values) = values.as_mut() else { continue };
        if line.starts_with("ldap") {
            return fail("pgkeep cannot ask an LDAP server for connection parameters");
        }
        let Some((key, value)) = line.split_once('=') else { return fail("this is no KEYWORD=VALUE") };
        if key == "service" {
            return fail("a service cannot refer to another one");
        }
        let Some(keyword) = keywords::find(key) else { return fail("libpq has no such parameter") };
        if key == "port" && parse::check_ports(value).is_err() {
            return fail("this is no port");
        }
        values.entry(keyword.name).or_insert_with(|| Secret::new(value));
    }
    Ok(values)
}

/// Writes a service file with `values` to the private folder `dir`, readable by nobody else.
pub(super) fn write(dir: &Path, values: &[(&'static str, &Secret)]) -> Result<PathBuf> {
    let mut text = zeroize::Zeroizing::new(format!("[{OUR_SERVICE}]\n"));
    for (name, value) in values {
        let value = value.expose();
        // The file's format has no quotes.
        if value.contains(['\n', '\r']) || value.trim_ascii_end() != value || value.len() > LONGEST_LINE - name.len() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("the value of the connection parameter {name:?} cannot be handed on"),
            )
            .hint("it must be one line of less than 1000 bytes without blanks at its end"));
        }
        text.extend([*name, "=", value, "\n"]);
    }
    let doing = || format!("cannot write a service file in {}", dir.display());
    // Temp files are created for their owner alone (0600), under names that nobody can foresee.
    let mut file = tempfile::Builder::new().prefix("service-").suffix(".conf").tempfile_in(dir).doing(doing)?;
    file.write_all(text.as_bytes()).doing(doing)?;
    let (_, path) = file.keep().map_err(|error| Error::io(doing(), error.error))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins_and_first_values_win() {
        let text =
            "# comment\nhost=outside\n[other]\nhost=o\n[mine]\n  host=a b \nhost=second\nport=5433\n\n[next]\nuser=u\n";
        let values = section(text, "mine").unwrap().unwrap();
        assert_eq!(values.keys().copied().collect::<Vec<_>>(), ["host", "port"]);
        assert_eq!(values["host"].expose(), "a b");
        assert_eq!(section(text, "none").unwrap(), None);
        assert_eq!(section("[a b]\nuser=u", "a b").unwrap().unwrap()["user"].expose(), "u");
    }

    #[test]
    fn what_libpq_refuses_is_refused_with_its_line() {
        for text in
            ["[s]\nhunter2", "[s]\nhosts=hunter2", "[s]\nservice=hunter2", "[s]\nldap://hunter2", "[s]\nport=hunter2"]
        {
            let (line, why) = section(text, "s").unwrap_err();
            assert_eq!(line, 2);
            assert!(!why.contains("hunter2"));
        }
    }
}
