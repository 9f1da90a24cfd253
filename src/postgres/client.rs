//! Running psql, pg_dump and pg_dumpall against one database, and understanding what they say when they fail.

use super::diagnose::diagnose;
use super::temp::{mark, sweep};
use super::{Connection, Programs};
use crate::cancel::Cancel;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::random_hex;
use crate::process::{Captured, Invocation, Status, Stdin};
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Settings of the session that keep the role's own from getting in the way; for the head of everything psql is given.
/// Older servers lack those of the last line; `\gset` keeps its answer out of the output.
pub const SESSION: &str = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; set lock_timeout = '60s'; \
                       set default_transaction_read_only = off; set standard_conforming_strings = on;\n\
                       select count(pg_catalog.set_config(name, '0', false)) as pgkeep_set from pg_catalog.pg_settings \
                       where name in ('transaction_timeout', 'idle_session_timeout') \\gset\n";

/// How private folders are named; what follows is random.
const PREFIX: &str = "pgkeep-client-";

/// One database and the programs to speak to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    programs: Programs,
    private: Arc<Private>,
    extra_env: Vec<(OsString, OsString)>,
}

/// A folder only we can read, for what libpq is given in files.
#[derive(Debug)]
struct Private {
    /// First, to be dropped first: Windows removes no file that is open.
    _mark: File,
    folder: TempDir,
}

impl Client {
    /// A client of `connection` with `programs`; its private folder is made in `temp`, or the system's folder for that.
    pub fn new(connection: Connection, programs: Programs, temp: Option<&Path>) -> Result<Self> {
        let temp = temp.map_or_else(std::env::temp_dir, Path::to_path_buf);
        // What killed runs left may hold passwords.
        sweep(&temp, PREFIX);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&temp)
            .doing(|| format!("cannot make a private folder in {}", temp.display()))?;
        let private = Private { _mark: mark(folder.path())?, folder };
        Ok(Self { connection, programs, private: Arc::new(private), extra_env: Vec::new() })
    }

    /// The same server, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { connection: self.connection.with_database(database), ..self.clone() }
    }

    /// The same database with other programs.
    #[must_use]
    pub fn with_programs(&self, programs: Programs) -> Self {
        Self { programs, ..self.clone() }
    }

    /// The same with a further variable in the environment of every program.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.extra_env.push((name.into(), value.into()));
        self
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A program of PostgreSQL's, to be run against the database, without arguments yet. Its own environment decides the
    /// database: no name of one is ever parsed as a connection string.
    pub fn invoke(&self, program: PathBuf) -> Result<Invocation> {
        let mut env = self.connection.client_environment(self.private.folder.path())?;
        // What the caller's shell says about encoding and time zone must not change what a dump holds: pg_dump then
        // writes in the database's encoding, and times in UTC wherever it runs, so that two dumps can be compared.
        env.retain(|(name, _)| name != "PGCLIENTENCODING" && name != "PGTZ");
        env.push(("PGTZ".into(), "UTC".into()));
        env.extend(self.extra_env.iter().cloned());
        Ok(Invocation::new(program).postgres().env(env).secrets(self.connection.secrets()))
    }

    /// psql that stops at the first error and reads no startup file.
    pub fn psql(&self) -> Result<Invocation> {
        Ok(self.invoke(self.programs.psql())?.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]))
    }

    /// Runs `sql` and returns what its queries answer, unaligned, one row a line.
    pub async fn query(&self, sql: &str, cancel: &Cancel) -> Result<String> {
        let Captured { status, stdout } = self.run(sql, cancel).await?;
        if !status.success() {
            return Err(self.failure("psql", &status));
        }
        Ok(String::from_utf8_lossy(&stdout).trim_end_matches('\n').to_owned())
    }

    /// Runs `sql`, a query that answers one JSON value, and reads that.
    pub async fn query_json<T: DeserializeOwned>(&self, sql: &str, cancel: &Cancel) -> Result<T> {
        self.read_json(&self.query(sql, cancel).await?)
    }

    /// Reads an answer in JSON.
    pub(super) fn read_json<T: DeserializeOwned>(&self, answer: &str) -> Result<T> {
        serde_json::from_str(answer).map_err(|source| {
            Error::new(ErrorKind::Failed, format!("{} gave an answer that cannot be read", self.connection.describe()))
                .caused_by(source)
        })
    }

    /// Runs `sql` for its effect.
    pub async fn execute(&self, sql: &str, cancel: &Cancel) -> Result<()> {
        self.query(sql, cancel).await.map(drop)
    }

    /// The line that has psql refuse commands of its own from there on: what is told of a backup or a database ends up in
    /// statements, whatever it holds. Empty for a psql from before August 2025, which knows no such line.
    pub fn restrict(&self) -> Result<String> {
        let knows = self.programs.version.supports_restrict();
        if knows { Ok(format!("\\restrict {}\n", random_hex(16)?)) } else { Ok(String::new()) }
    }

    /// Runs `sql` and returns how psql ended and what it wrote.
    pub async fn run(&self, sql: &str, cancel: &Cancel) -> Result<Captured> {
        let restrict = self.restrict()?;
        let input = format!("{SESSION}{restrict}{sql}\n").into_bytes();
        let psql = self.psql()?.args(["-A", "-t"]).env([("PGCLIENTENCODING".into(), "UTF8".into())]);
        psql.stdin(Stdin::Bytes(input)).capture(cancel).await
    }

    /// The error for a `program` that ended with `status` against this database: what PostgreSQL said, and a hint.
    pub fn failure(&self, program: &str, status: &Status) -> Error {
        let subject = self.connection.describe();
        diagnose(program, &subject, status)
    }
}
