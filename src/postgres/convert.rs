//! pg_dump's own archives (`-Fc`, `-Ft`): what their header says, and turning them into SQL. Needs no server.

use super::connection::system_environment;
use super::programs::{find_clients, find_newest_clients};
use super::{Programs, Search, summary};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Captured, Invocation, Status};
use chrono::NaiveDateTime;
use std::path::Path;

/// What `pg_restore --list` says at its head.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveHeader {
    /// When it was made, as the clocks of that computer showed; the archive does not say where they stood.
    pub created_at: Option<NaiveDateTime>,
    /// The database.
    pub database: Option<String>,
    /// The pg_dump that made it, e.g. `16.2 (Debian 16.2-1)`.
    pub pg_dump: Option<String>,
}

impl ArchiveHeader {
    fn parse(list: &str) -> Self {
        let mut header = Self::default();
        for line in list.lines().map_while(|line| line.strip_prefix(';')) {
            let value = |name: &str| line.trim_start().strip_prefix(name).map(|value| value.trim().to_owned());
            if let Some(at) = value("Archive created at ") {
                // Behind the time stands the name of the reader's own zone.
                let at = at.get(..19).and_then(|at| NaiveDateTime::parse_from_str(at, "%Y-%m-%d %H:%M:%S").ok());
                header.created_at = at;
            }
            header.database = header.database.or_else(|| value("dbname: "));
            header.pg_dump = header.pg_dump.or_else(|| value("Dumped by pg_dump version: "));
        }
        header
    }
}

/// Reads the header of the archive `file`, and finds the pg_restore that suits it: of the version of the pg_dump that made
/// it, or the next newer one.
pub async fn read_header(search: &Search, file: &Path, cancel: &Cancel) -> Result<(ArchiveHeader, Programs)> {
    let newest = find_newest_clients(search)?;
    let list = invoke(&newest, file)?.args(["--list"]).args([file]).capture(cancel).await?;
    let Captured { status, stdout } = list;
    if !status.success() {
        return Err(refusal(&newest, file, &status));
    }
    let header = ArchiveHeader::parse(&String::from_utf8_lossy(&stdout));
    let major = header.pg_dump.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    // A newer one writes settings that an older server does not know.
    let programs = find_clients(search, major.unwrap_or(0).max(10) * 10_000).unwrap_or(newest);
    Ok((header, programs))
}

/// pg_restore that writes the archive `file` as SQL to its stdout, with what it says about the database itself.
pub fn convert(programs: &Programs, file: &Path) -> Result<Invocation> {
    Ok(invoke(programs, file)?.args(["--create", "--file=-"]).args([file]))
}

/// Why pg_restore does not take the archive `file`.
pub(crate) fn refusal(programs: &Programs, file: &Path, status: &Status) -> Error {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let said = summary(&status.stderr);
    let hint = if said.contains("unsupported version") {
        "a newer pg_dump made it: install the client programs of that version"
    } else {
        "it is damaged or cut off: take an older or newer one"
    };
    Error::new(ErrorKind::Refused, format!("pg_restore {} cannot read {name}", programs.version))
        .caused_by(if said.is_empty() { status.describe() } else { said })
        .hint(hint)
}

fn invoke(programs: &Programs, file: &Path) -> Result<Invocation> {
    let program = programs.pg_restore();
    if !program.is_file() {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let message = format!("{name} is an archive, which needs pg_restore, and {} is not there", program.display());
        return Err(Error::new(ErrorKind::NotFound, message).hint("install all client programs of PostgreSQL"));
    }
    // The archive holds a time of unknown zone: nothing of this computer's zone shall be mixed into it.
    let fixed = [("TZ", "UTC"), ("LC_ALL", "C")].map(|(name, value)| (name.into(), value.into()));
    Ok(Invocation::new(program).env(system_environment()).env(fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_list_is_read() {
        let list = ";\n; Archive created at 2026-11-22 12:14:14 UTC\n;     dbname: my shop\n;     Compression: -1\n\
                    ;     Dumped by pg_dump version: 16.2 (Debian)\n;\n\n5; dbname: other\n";
        let header = ArchiveHeader::parse(list);
        assert_eq!(header.database.as_deref(), Some("my shop"));
        assert_eq!(header.pg_dump.as_deref(), Some("16.2 (Debian)"));
        assert_eq!(header.created_at.unwrap().to_string(), "2026-11-22 12:14:14");
        assert_eq!(ArchiveHeader::parse("no list"), ArchiveHeader::default());
    }
}
