//! Restoring a whole backup but for rows: `--schema-only`, and `--exclude-table-data` without `--table`.

use super::PartRequest;
use super::part::{all_definitions, patterns};
use crate::catalogue::Manifest;
use crate::error::Result;
use crate::ops::outcome::PartsOutcome;
use crate::ops::ready::Ready;
use crate::ops::{Backup, Context};
use crate::restore::{Schema, shown};
use crate::script::{Entry, Omit, Relation, Scan, StorageDefault};
use std::collections::BTreeSet;
use std::ops::Range;

/// Takes out of `ready` what `request` does not want. Returns the backup as if it had been taken without that, and what to
/// tell.
pub(super) async fn leave_out(
    ctx: &Context,
    backup: &Backup,
    request: &PartRequest,
    ready: &mut Ready,
    omit: &Omit,
) -> Result<(Backup, PartsOutcome)> {
    let mut outcome = PartsOutcome::default();
    if request.schema_only {
        cut(ready, is_no_definition);
    } else {
        let files = all_definitions(ctx, backup, ready, omit).await?;
        let schema = Schema::new(&files);
        let mut excluded: BTreeSet<Relation> = BTreeSet::new();
        for pattern in patterns(&request.exclude_table_data)? {
            excluded.extend(pattern.choose(schema.tables(), "table")?.into_iter().cloned());
        }
        let excluded = schema.select(excluded).tables;
        let keys = schema.foreign_keys_to(&excluded);
        outcome.left_out.extend(keys.iter().map(|(_, why)| why.clone()));
        cut(ready, |entry| {
            let rows = entry.table.as_ref().is_some_and(|t| excluded.contains(&(t.schema.clone(), t.table.clone())));
            rows || keys.iter().any(|(key, _)| {
                (&key.kind, &key.schema, &key.name, key.digest)
                    == (&entry.kind, &entry.schema, &entry.name, entry.digest)
            })
        });
    }
    let contents = ready.contents();
    let tables = contents.entries().filter(|entry| entry.kind == "TABLE");
    outcome.tables = tables.map(|entry| shown(&(entry.schema.unwrap_or_default(), entry.name))).collect();
    let data = || contents.entries().filter(|entry| entry.kind == "TABLE DATA");
    let manifest = Manifest {
        entries: contents.counted(),
        tables: data().filter(Entry::counts).count() as u64,
        rows: data().filter_map(|entry| entry.table).map(|table| table.rows).sum(),
        large_objects: contents.entries().filter(|entry| entry.kind == "LARGE OBJECT").count() as u64,
        ..backup.manifest.clone()
    };
    let mut lessened = backup.clone();
    lessened.manifest = manifest;
    Ok((lessened, outcome))
}

/// Whether an entry is data, or said of data: rows, values of sequences, large objects, the filling of materialized views.
fn is_no_definition(entry: &Entry) -> bool {
    let of_object =
        entry.name.starts_with("LARGE OBJECT") && matches!(entry.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL");
    let kinds = [
        "TABLE DATA",
        "SEQUENCE SET",
        "MATERIALIZED VIEW DATA",
        "BLOB",
        "BLOB METADATA",
        "BLOBS",
        "BLOB COMMENTS",
        "LARGE OBJECT",
        "STATISTICS DATA",
    ];
    of_object || kinds.contains(&entry.kind.as_str())
}

/// Takes entries out: out of what is compared, and out of what psql sees.
fn cut(ready: &mut Ready, gone: impl Fn(&Entry) -> bool) {
    let (contents, scans): (_, Vec<&mut Scan>) = match ready {
        Ready::InParts(parts) => {
            for file in &mut parts.files {
                file.outline.held.retain(|held| !gone(&held.entry));
            }
            (&mut parts.contents, parts.files.iter_mut().map(|file| &mut file.outline.scan).collect())
        }
        Ready::AsAWhole(intact) => (&mut intact.contents, intact.scans.iter_mut().collect()),
    };
    for (file, scan) in contents.files.iter_mut().zip(scans) {
        let ranges: Vec<Range<u64>> = scan
            .entries
            .iter()
            .filter(|entry| entry.kind != "LARGE OBJECT" && gone(entry))
            .map(|entry| entry.start..end_of(&entry, scan))
            .collect();
        // What was left out already may lie within.
        scan.omitted.retain(|old| !ranges.iter().any(|new| new.start < old.end && old.start < new.end));
        scan.replaced.retain(|(old, _)| !ranges.iter().any(|new| new.start < old.end && old.start < new.end));
        scan.omitted.extend(ranges);
        scan.omitted.sort_by_key(|range| range.start);
        scan.entries = scan.entries.iter().filter(|entry| !gone(entry)).collect();
        file.entries = file.entries.iter().filter(|entry| !gone(entry)).collect();
    }
}

/// Where an entry's own statements end: behind them the tablespace or access method of the next one may be set.
fn end_of(entry: &Entry, scan: &Scan) -> u64 {
    let within = scan.defaults.iter().filter(|(at, _)| entry.start < *at && *at <= entry.end);
    let begins = within.map(|(at, default)| {
        let (name, value) = match default {
            StorageDefault::Tablespace(value) => ("default_tablespace", value),
            StorageDefault::AccessMethod(value) => ("default_table_access_method", value),
        };
        at.saturating_sub(format!("SET {name} = {value};").len() as u64)
    });
    begins.min().unwrap_or(entry.end)
}
