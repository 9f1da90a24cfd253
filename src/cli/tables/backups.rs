//! Backups for people: the block of one that was just taken, the list, and all about one.

use super::{line, table};
use crate::catalogue::{FileKind, Globals};
use crate::cli::commands::TableSize;
use crate::cli::words::{self, counted, printable};
use crate::config::DrillLevel;
use crate::ops::{AdoptOutcome, Backup, BackupOutcome, BackupStatus, CopyOutcome, CopyStatus, ListedBackup};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// How many of a backup's tables are shown to people.
const MOST_TABLES: usize = 50;

/// One database's backup. `told` knows the warnings that were shown on stderr when they came.
pub(in crate::cli) fn backup(outcome: &BackupOutcome, told: impl Fn(&str) -> bool) -> String {
    let status = match outcome.status {
        BackupStatus::Stored => "stored",
        BackupStatus::Partial => "stored in part",
        BackupStatus::Failed => "FAILED",
        BackupStatus::There => "adopted already",
        BackupStatus::Planned => "would be adopted",
    };
    let what = name(&outcome.job, &outcome.database);
    let mut text = match &outcome.id {
        Some(id) => format!("{what}: {status}, backup {id}\n"),
        None => format!("{what}: {status}\n"),
    };
    if outcome.status != BackupStatus::Failed {
        let (sql, stored) = (outcome.sql_bytes, outcome.stored_bytes);
        let tables = counted(outcome.tables, "table", "tables");
        text.push_str(&line("contents", &format!("{tables}, {}", counted(outcome.rows, "row", "rows"))));
        let ratio = words::ratio(sql, stored);
        let stored = if stored == 0 { String::new() } else { format!(" in {} ({ratio})", words::bytes(stored)) };
        text.push_str(&line("size", &format!("{} of SQL{stored}", words::bytes(sql))));
        let rate = words::rate(sql, outcome.duration_seconds).map(|rate| format!(" ({rate})")).unwrap_or_default();
        text.push_str(&line("time", &format!("{}{rate}", words::seconds(outcome.duration_seconds))));
    }
    if let Some(label) = &outcome.label {
        text.push_str(&line("label", label));
    }
    for destination in &outcome.destinations {
        let state = match (&destination.error, destination.status) {
            (Some(error), _) => format!("{}: FAILED: {error}", destination.name),
            (None, BackupStatus::Failed) => format!("{}: FAILED", destination.name),
            (None, _) => destination.name.clone(),
        };
        text.push_str(&line("where", &state));
    }
    if outcome.pruned > 0 {
        text.push_str(&line("pruned", &counted(outcome.pruned, "older backup", "older backups")));
    }
    for warning in outcome.warnings.iter().filter(|warning| !told(warning)) {
        text.push_str(&line("warning", warning));
    }
    text
}

/// A file of another script and the backup that it became.
pub(in crate::cli) fn adopted(
    outcome: &AdoptOutcome,
    zone: Tz,
    now: DateTime<Utc>,
    told: impl Fn(&str) -> bool,
) -> String {
    let mut text = backup(&outcome.backup, told);
    text.push_str(&line("file", &outcome.adopted_from));
    if let (Some(at), Some(from)) = (outcome.taken_at, outcome.taken_at_from) {
        text.push_str(&line("dumped", &format!("{} (by {from})", words::moment(at, now, zone))));
    }
    if let Some(from) = outcome.database_from {
        text.push_str(&line("database", &format!("{} (by {from})", outcome.backup.database)));
    }
    text
}

/// `job`, or `job/database` where the names differ.
pub(in crate::cli) fn name(job: &str, database: &str) -> String {
    if database.is_empty() || job == database { printable(job) } else { printable(&format!("{job}/{database}")) }
}

/// The list of backups, in the order given.
pub(in crate::cli) fn list(backups: &[ListedBackup], now: DateTime<Utc>) -> String {
    if backups.is_empty() {
        return "no backups\n".to_owned();
    }
    let rows = backups.iter().map(|backup| {
        vec![
            backup.id.to_string(),
            name(&backup.job, &backup.database),
            words::age(backup.started_at, now),
            words::bytes(backup.stored_bytes),
            words::ratio(backup.sql_bytes, backup.stored_bytes),
            places(backup),
            verified(backup, now),
            drilled(backup, now),
            backup.label.clone().unwrap_or_default(),
            if backup.pinned { "pinned".to_owned() } else { String::new() },
        ]
    });
    let header = ["id", "job", "age", "size", "ratio", "where", "verified", "drilled", "label", "pinned"];
    table(&header, rows, 0)
}

/// Where a backup is, and where it should be too.
pub(super) fn places(backup: &ListedBackup) -> String {
    let there = backup.destinations.join(", ");
    if backup.missing.is_empty() { there } else { format!("{there}; NOT {}", backup.missing.join(", ")) }
}

/// Copies, one a line.
pub(in crate::cli) fn copied(outcomes: &[CopyOutcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let what = format!("{} of {}", outcome.id, name(&outcome.job, &outcome.database));
        text.push_str(&match (&outcome.status, &outcome.from, &outcome.error) {
            (CopyStatus::Copied, Some(from), _) => {
                let took = words::seconds(outcome.seconds);
                let bytes = words::bytes(outcome.stored_bytes);
                format!("{what}: copied from {from} to {} ({bytes} in {took})\n", outcome.to)
            }
            (CopyStatus::Failed, _, Some(error)) => format!("{what}: NOT copied to {}: {error}\n", outcome.to),
            _ => format!("{what}: is in {} already\n", outcome.to),
        });
    }
    text
}

pub(super) fn verified(backup: &ListedBackup, now: DateTime<Utc>) -> String {
    match (&backup.verified_at, backup.verify_result.as_deref()) {
        (Some(at), Some("intact") | None) => words::age(*at, now),
        (Some(at), Some(result)) => format!("{} {}", result.to_uppercase(), words::age(*at, now)),
        (None, _) => "never".to_owned(),
    }
}

pub(super) fn drilled(backup: &ListedBackup, now: DateTime<Utc>) -> String {
    match (&backup.drilled_at, backup.drill_result.as_deref()) {
        (Some(at), Some("passed")) => {
            let level = backup.drill_level.filter(|level| *level != DrillLevel::Prove);
            let level = level.map(|level| format!(" ({level})")).unwrap_or_default();
            format!("passed{level} {}", words::age(*at, now))
        }
        (Some(at), Some("failed")) => format!("FAILED {}", words::age(*at, now)),
        (Some(at), Some("could_not_run") | None) => format!("could not run {}", words::age(*at, now)),
        (Some(at), Some(result)) => format!("{result} {}", words::age(*at, now)),
        (None, _) => "never".to_owned(),
    }
}

/// Everything the manifest knows, and the largest tables where the index could be read.
pub(in crate::cli) fn show(
    backup: &Backup,
    listed: &ListedBackup,
    tables: Option<&[TableSize]>,
    now: DateTime<Utc>,
    zone: Tz,
) -> String {
    let manifest = &backup.manifest;
    let mut text = format!("{}: {}\n", manifest.id, name(&manifest.job, &manifest.database));
    let mut add = |name: &str, value: &str| text.push_str(&line(name, value));
    add("job", &manifest.job);
    add("database", &manifest.database);
    if let Some(label) = &manifest.label {
        add("label", label);
    }
    if backup.pinned() {
        add("pinned", "yes, never deleted by retention");
    }
    if let Some(until) = backup.keep_until() {
        add("kept until", &words::moment(until, now, zone));
    }
    if let Some(file) = &manifest.adopted_from {
        add("adopted", &format!("from {file}"));
    }
    add("started", &words::moment(manifest.started_at, now, zone));
    // Both are known to the second only.
    let took = (manifest.finished_at - manifest.started_at).num_seconds();
    if manifest.adopted_from.is_none() {
        add("took", &if took < 1 { "less than a second".to_owned() } else { words::seconds(took as f64) });
    }
    add("where", &places(listed));
    add("folder", manifest.dir().as_str());
    add("verified", &verified(listed, now));
    add("drilled", &drilled(listed, now));
    let large = match manifest.large_objects {
        0 => String::new(),
        number => format!(", {}", counted(number, "large object", "large objects")),
    };
    let (tables_there, rows) = (counted(manifest.tables, "table", "tables"), counted(manifest.rows, "row", "rows"));
    add("contents", &format!("{tables_there}, {rows}{large}, {}", counted(manifest.entries, "entry", "entries")));
    let (sql, stored) = (words::bytes(manifest.sql_bytes), words::bytes(manifest.stored_bytes));
    let ratio = words::ratio(manifest.sql_bytes, manifest.stored_bytes);
    add("size", &format!("{sql} of SQL in {stored} ({ratio}, {})", manifest.codec));
    let standby = if manifest.server.standby { ", a standby" } else { "" };
    add("server", &format!("PostgreSQL {}{standby}", manifest.server.version));
    add("pg_dump", &manifest.pg_dump_version);
    let properties = &manifest.properties;
    add("owner", if properties.knows_owner() { &properties.owner } else { "not known" });
    let locale = properties.locale.as_deref().unwrap_or(&properties.collate);
    let locale = match (properties.knows_locale(), &properties.locale_provider) {
        (true, provider) => format!("locale {locale} ({provider})"),
        (false, _) => "locale not known".to_owned(),
    };
    add("encoding", &format!("{}, {locale}", properties.encoding));
    if let Some(comment) = &properties.comment {
        add("comment", comment);
    }
    let extensions: Vec<String> =
        manifest.extensions.iter().map(|one| format!("{} {}", one.name, one.version).trim_end().to_owned()).collect();
    if !extensions.is_empty() {
        add("extensions", &extensions.join(", "));
    }
    if !manifest.roles.is_empty() {
        add("roles", &manifest.roles.join(", "));
    }
    add(
        "globals",
        &match &manifest.globals {
            Globals::WithPasswords => "stored, with passwords".to_owned(),
            Globals::WithoutPasswords => "stored, without passwords".to_owned(),
            Globals::Missing { reason } => format!("not stored: {reason}"),
        },
    );
    add("written by", &manifest.written_by);
    for warning in &manifest.warnings {
        add("warning", warning);
    }
    text.push_str("\nfiles\n");
    let files = manifest.files.iter();
    let files = files.map(|file| vec![file.name.to_string(), words::bytes(file.bytes), file.sha256.clone()]);
    text.push_str(&table(&["name", "size", "sha256"], files, 2));
    if let Some(tables) = tables {
        text.push_str(&largest(tables));
    }
    text
}

fn largest(tables: &[TableSize]) -> String {
    if tables.is_empty() {
        return "\nno tables with rows\n".to_owned();
    }
    let rows = tables
        .iter()
        .take(MOST_TABLES)
        .map(|one| vec![format!("{}.{}", one.schema, one.table), words::count(one.rows), words::bytes(one.sql_bytes)]);
    let mut text = format!("\ntables, the largest first\n{}", table(&["name", "rows", "size"], rows, 2));
    if tables.len() > MOST_TABLES {
        let more = format!("  and {} more, which --json shows\n", tables.len() - MOST_TABLES);
        text.push_str(&more);
    }
    text
}

/// An archive that was written to a file, and how to restore it by hand.
pub(in crate::cli) fn fetched(backup: &Backup, file: &str, bytes: u64) -> String {
    let manifest = &backup.manifest;
    let unpack = if manifest.codec == "zstd" { "zstd -dc" } else { "gunzip -c" };
    let several = manifest.files_of(FileKind::Data).count() > 1;
    let file = printable(file);
    let quoted = if file.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)) {
        file.clone()
    } else {
        format!("'{}'", file.replace('\'', r"'\''"))
    };
    let whole = if several { ", all its pieces in order" } else { "" };
    format!(
        "{}: written to {file} ({}{whole})\nnext: {unpack} {quoted} | psql -X -v ON_ERROR_STOP=1 -d NEWDB\n",
        manifest.id,
        words::bytes(bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_backup_is_told_in_a_block() {
        assert_eq!(
            backup(&samples::backup(), |_| false),
            "shop: stored, backup 20261122T020000Z-7f3a\n  \
               contents:   12 tables, 3.2 M rows\n  \
               size:       1.5 GB of SQL in 210 MB (7.1x)\n  \
               time:       12.3 s (122 MB/s)\n  \
               where:      office\n  \
               warning:    no globals\n"
        );
        assert!(!backup(&samples::backup(), |_| true).contains("warning"), "it was told when it came");
    }

    #[test]
    fn the_list_tells_what_was_never_tried() {
        let mut bad = samples::listed();
        bad.verified_at = Some(bad.started_at);
        bad.verify_result = Some("damaged".into());
        bad.drilled_at = Some(bad.started_at);
        bad.drill_result = Some("passed".into());
        bad.pinned = true;
        let now = bad.started_at + chrono::TimeDelta::hours(3);
        assert_eq!(
            list(&[samples::listed(), bad], now),
            "id                     job   age     size    ratio  where   verified        drilled        label       pinned\n\
             20261122T020000Z-7f3a  shop  3h ago  210 MB  7.1x   office  never           never          before fix\n\
             20261122T020000Z-7f3a  shop  3h ago  210 MB  7.1x   office  DAMAGED 3h ago  passed 3h ago  before fix  pinned\n"
        );
        assert_eq!(list(&[], now), "no backups\n");
    }
}
