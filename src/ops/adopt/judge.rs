//! Judging a file: whether it is a whole dump of one database, of which one, and when it was made.

use super::Adoption;
use super::head::{About, HEAD_BYTES, Head, version_num};
use super::source::{Source, Stream};
use super::stamp::{Stamp, local};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Phase, Progress};
use crate::postgres::{Extension, Inspection, Server};
use crate::script::{ColumnOrder, Omit, Scan, Scanner};
use chrono::{DateTime, SubsecRound, Utc};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// What to do with a dump that cannot be adopted.
const BY_HAND: &str = "restore it by hand into a new database with psql, and back that up with pgkeep";

/// Names that say nothing about the database.
const GENERIC: [&str; 12] =
    ["", "backup", "backups", "bak", "database", "daily", "db", "dump", "export", "pg", "pg_dump", "pgdump"];

/// A file that can become a backup.
pub(super) struct Judged {
    pub(super) source: Source,
    /// What it holds, with places in the file's own SQL.
    pub(super) scan: Scan,
    /// The statements about the database itself that are not carried over.
    pub(super) others: Vec<String>,
    pub(super) database: String,
    pub(super) database_from: &'static str,
    pub(super) taken_at: DateTime<Utc>,
    pub(super) taken_at_from: &'static str,
    /// What is known of the database, in the form of a server's answer.
    pub(super) inspection: Inspection,
    /// The pg_dump that made it, e.g. `16.2`.
    pub(super) pg_dump: String,
    pub(super) warnings: Vec<String>,
}

/// The first reading of a file.
struct Read1 {
    head: Vec<u8>,
    scan: Scan,
    /// The table in whose rows the file ended.
    table: Option<String>,
    failure: Option<std::io::Error>,
}

impl Adoption<'_> {
    /// Reads `path` to its end, stores nothing.
    pub(super) async fn judge(&self, path: &Path) -> Result<Judged> {
        let search = self.ctx.search(self.request.bin_dir.as_deref());
        let source = Source::open(self.ctx, &search, path).await?;
        let progress = self.ctx.phase(Phase::Check, source.expected_sql_bytes());
        let Stream { reader, child } = source.stream(&self.ctx.cancel).await?;
        let reading = tokio::task::spawn_blocking(move || read(reader, &progress));
        let (ended, read) = tokio::join!(source.ended(child, &self.ctx.cancel), reading);
        self.ctx.cancel.check()?;
        ended?;
        let read = read.map_err(|source| Error::new(ErrorKind::Failed, "the scanner panicked").caused_by(source))?;
        let head = Head::read(&read.head);
        check(&source.name, &head, &read)?;
        let scan = read.scan;
        let about = About::read(&scan.about_database);
        let (database, database_from) = self.database(&source, &about)?;
        let (taken_at, taken_at_from) = self.taken_at(&source);
        let taken_at = taken_at.trunc_subsecs(0);
        if taken_at > self.ctx.clock.now() {
            let at = taken_at.format("%Y-%m-%d %H:%M:%S UTC");
            return Err(Error::new(
                ErrorKind::Refused,
                format!("{} was dumped at {at} by {taken_at_from}, which is in the future", source.name),
            )
            .hint("say when it was dumped with --taken-at, or set the clock or timezone right"));
        }
        let encoding = scan.settings.get("client_encoding").map_or("UTF8", |value| value.trim_matches('\''));
        let properties = about.properties(encoding);
        let version = head.server.unwrap_or_default();
        let pg_dump = head.pg_dump.unwrap_or_default();
        let extensions = scan.entries.iter().filter(|entry| entry.kind == "EXTENSION");
        let inspection = Inspection {
            database: database.clone(),
            now: taken_at,
            user: String::new(),
            superuser: false,
            server: Server {
                version_num: version_num(&version).unwrap_or_default(),
                version,
                system_identifier: None,
                database_oid: 0,
                bootstrap_role: "postgres".to_owned(),
                standby: false,
            },
            extensions: extensions
                .map(|entry| Extension { name: entry.name.clone(), version: String::new() })
                .collect(),
            properties,
            size_bytes: 0,
            table_bytes: 0,
            output_settings: std::collections::BTreeMap::new(),
        };
        let warnings = warnings(&inspection, &scan, &about);
        Ok(Judged {
            others: about.others,
            source,
            scan,
            database,
            database_from,
            taken_at,
            taken_at_from,
            inspection,
            pg_dump: pg_dump.split(' ').next().unwrap_or_default().to_owned(),
            warnings,
        })
    }

    fn database(&self, source: &Source, about: &About) -> Result<(String, &'static str)> {
        let header = source.archive.as_ref().and_then(|(header, _)| header.database.clone());
        let said = [
            (self.request.database.clone(), "--database"),
            (header, "the archive"),
            (about.name.clone(), "its CREATE DATABASE"),
            (name_before_stamp(&source.name), "the name of the file"),
            (self.request.otherwise.clone(), "the job"),
        ];
        let found = said.into_iter().find_map(|(name, from)| Some((name.filter(|name| !name.is_empty())?, from)));
        found.ok_or_else(|| {
            Error::new(ErrorKind::Refused, format!("it is not known of which database {} is", source.name))
                .hint("name it with --database")
        })
    }

    fn taken_at(&self, source: &Source) -> (DateTime<Utc>, &'static str) {
        let zone = self.ctx.config.timezone;
        let header = source.archive.as_ref().and_then(|(header, _)| header.created_at);
        if let Some(at) = self.taken_at {
            (at, "--taken-at")
        } else if let Some(at) = header {
            (local(at, zone), "the archive")
        } else if let Some(stamp) = Stamp::find(&source.name) {
            (stamp.moment(zone), "the name of the file")
        } else {
            (source.modified, "the time the file was last written")
        }
    }
}

/// `app` of `app_20261120_020000.sql.gz` and of `app.sql`; `None` where the name says nothing about the database.
fn name_before_stamp(name: &str) -> Option<String> {
    let before = match Stamp::find(name) {
        Some(stamp) => &name[..stamp.start],
        None => name.split('.').next().unwrap_or_default(),
    };
    let before = before.trim_matches(['_', '-', '.', ' ', '@']);
    (!GENERIC.contains(&before.to_ascii_lowercase().as_str())).then(|| before.to_owned())
}

fn read(mut source: impl Read, progress: &Arc<Progress>) -> Read1 {
    let mut scanner = Scanner::new(ColumnOrder::new(), Omit { elsewhere: true, ..Omit::default() });
    let mut buffer = vec![0; READ_BYTES];
    let mut head = Vec::new();
    let mut rows = 0;
    let failure = loop {
        match source.read(&mut buffer) {
            Ok(0) => break None,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
            Ok(read) => {
                let piece = &buffer[..read];
                let room = HEAD_BYTES.saturating_sub(head.len());
                head.extend_from_slice(&piece[..read.min(room)]);
                scanner.feed(piece);
                progress.advance(read as u64, scanner.rows() - rows);
                rows = scanner.rows();
            }
        }
    };
    let table = scanner.table().map(|(schema, table)| format!("{schema}.{table}"));
    Read1 { head, scan: scanner.finish(), table, failure }
}

/// Whether it is a whole dump of one database, with rows that can be counted and nothing in it that must not be.
fn check(name: &str, head: &Head, read: &Read1) -> Result<()> {
    let scan = &read.scan;
    let refused = |why: String| Error::new(ErrorKind::Refused, format!("{name} {why}"));
    let place = || match &read.table {
        Some(table) => format!("after {} bytes of SQL, in the rows of {table}", scan.sql_bytes),
        None => format!("after {} bytes of SQL", scan.sql_bytes),
    };
    if let Some(error) = &read.failure {
        let what = if error.kind() == std::io::ErrorKind::UnexpectedEof { "is cut off" } else { "cannot be unpacked" };
        let cause = std::io::Error::new(error.kind(), error.to_string());
        return Err(refused(format!("{what}: it ends {}", place()))
            .caused_by(cause)
            .hint("the run that wrote it did not finish, or it was damaged since: take an older or newer one"));
    }
    if head.cluster {
        return Err(
            refused("was made by pg_dumpall: it holds all databases and roles of a server".to_owned()).hint(BY_HAND)
        );
    }
    if head.server.is_none() || head.pg_dump.is_none() {
        return Err(refused("is no dump of pg_dump: its head does not say so".to_owned())
            .hint("adopt takes what pg_dump wrote: .sql, .sql.gz, .sql.zst, -Fc or -Ft"));
    }
    if let Some(violation) = scan.violations.first() {
        let old = head.pg_dump.as_deref().and_then(version_num).is_some_and(|version| version < 100_003);
        let hint = if old { "pg_dump before 10.3 wrote it, in a form that cannot be checked; " } else { "" };
        return Err(refused(format!(
            "holds {} in line {}, which pg_dump does not write",
            violation.what, violation.line
        ))
        .hint(format!("{hint}look at that line; if you trust it, {BY_HAND}")));
    }
    if !scan.complete {
        return Err(refused(format!("is cut off: it ends {}, before pg_dump's closing line", place()))
            .hint("the run that wrote it did not finish: take an older or newer one"));
    }
    let of_kind = |kind: &str| scan.entries.iter().filter(|entry| entry.kind == kind).count();
    if let Some(entry) = scan.entries.iter().find(|entry| entry.kind == "TABLE DATA" && entry.table.is_none()) {
        let schema = entry.schema.as_deref().unwrap_or_default();
        return Err(refused(format!(
            "holds the rows of {schema}.{} as INSERT statements, which nobody can count or compare",
            entry.name
        ))
        .hint(format!("{BY_HAND}; leave out --inserts and --column-inserts next time")));
    }
    if of_kind("TABLE") > 0 && scan.tables == 0 {
        return Err(refused("holds tables without their rows (--schema-only): it is no backup".to_owned())
            .hint("keep it where it is, or adopt a dump that holds the rows"));
    }
    if scan.tables > 0 && of_kind("TABLE") == 0 {
        return Err(refused(
            "holds rows without their tables (--data-only): nothing can be restored from it alone".to_owned(),
        )
        .hint(BY_HAND));
    }
    if scan.entries.is_empty() {
        return Err(refused("holds nothing: the database was empty".to_owned()).hint("adopt another one"));
    }
    Ok(())
}

/// What the user should know: what the file does not tell, and what is left out.
fn warnings(inspection: &Inspection, scan: &Scan, about: &About) -> Vec<String> {
    let mut unknown = Vec::new();
    if !inspection.properties.knows_owner() {
        unknown.push("the database's owner");
    }
    if !inspection.properties.knows_locale() {
        unknown.push("its locale");
    }
    if about.name.is_none() {
        unknown.push("its own settings and privileges");
    }
    unknown.push("roles and tablespaces");
    let mut warnings = vec![format!("the file does not tell {}", unknown.join(", "))];
    if scan.drops > 0 {
        warnings.push(format!(
            "left out, for a new database has nothing to drop: what --clean wrote (statements: {})",
            scan.drops
        ));
    }
    if !about.others.is_empty() {
        let others = about.others.len();
        warnings.push(format!(
            "what the file says about the database itself, such as its settings, stands in database.sql as comments, and a \
             restore does not run it (statements: {others})"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_stands_before_the_stamp() {
        for (name, database) in [
            ("app_20261120_020000.sql.gz", Some("app")),
            ("my-app-2026-11-20.sql", Some("my-app")),
            ("20261120T0200.dump", None),
            ("backup_20261120.sql", None),
            ("shop.sql.gz", Some("shop")),
            ("dump.sql", None),
        ] {
            assert_eq!(name_before_stamp(name).as_deref(), database, "{name}");
        }
    }
}
