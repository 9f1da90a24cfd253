//! What differs between two backups: their indexes compared, and what their manifests say of the databases themselves.

use super::{Backup, Context, check};
use crate::catalogue::Manifest;
use crate::error::Result;
use crate::id::BackupId;
use crate::postgres::Without;
use crate::proof::{
    Aspect, Comparison, DiffScope, Differences, ObjectChange, Rules, Wanted, compare_properties, diff as compare,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// What differs between two backups.
#[derive(Debug, Serialize)]
pub struct DiffOutcome {
    /// The first.
    pub a: BackupId,
    /// The second.
    pub b: BackupId,
    /// What differs.
    #[serde(flatten)]
    pub differences: Differences,
}

/// Compares two backups by what is stored with them; no database is asked.
pub async fn diff(ctx: &Context, a: &Backup, b: &Backup, scope: &DiffScope) -> Result<DiffOutcome> {
    let before = check::contents(ctx, a).await?;
    let after = check::contents(ctx, b).await?;
    ctx.cancel.check()?;
    let (a, b) = (&a.manifest, &b.manifest);
    let rules = Rules { owners: true, privileges: true, definitions: worded_alike(a, b) };
    let mut differences = compare(before.entries(), after.entries(), scope, rules);
    if !rules.definitions {
        differences.notes.push(format!(
            "one was written by pg_dump {} of PostgreSQL {}, the other by pg_dump {} of PostgreSQL {}, which word definitions \
             differently: definitions were compared by name, not by wording",
            a.pg_dump_version,
            a.server.major(),
            b.pg_dump_version,
            b.server.major()
        ));
    }
    let written = |manifest: &Manifest| -> Vec<(String, String)> {
        let known = ["bytea_output", "xmlbinary", "TimeZone", "lc_monetary"];
        let settings = manifest.output_settings.iter().filter(|(name, _)| known.contains(&name.as_str()));
        settings.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if written(a) != written(b) {
        let note = "the two were dumped with other settings for writing values: the same contents may look like others";
        differences.notes.push(note.to_owned());
    }
    if scope.objects == Wanted::All {
        differences.objects.changed.extend(of_the_database(a, b));
        differences.objects.changed.sort();
    }
    Ok(DiffOutcome { a: a.id.clone(), b: b.id.clone(), differences })
}

/// The same object is worded alike only by pg_dumps of the same major version, reading servers of the same.
fn worded_alike(a: &Manifest, b: &Manifest) -> bool {
    let major = |manifest: &Manifest| manifest.pg_dump_version.split('.').next().map(str::to_owned);
    major(a) == major(b) && a.server.major() == b.server.major()
}

/// What the dumps do not hold: the database's own properties, and the versions of its extensions.
fn of_the_database(a: &Manifest, b: &Manifest) -> Vec<ObjectChange> {
    let mut found = Vec::new();
    // Of a file of another script only guesses are known.
    if a.adopted_from.is_none() && b.adopted_from.is_none() {
        let mut comparison = Comparison::default();
        compare_properties(&a.properties, &b.properties, Without::default(), true, &mut comparison);
        found.extend(comparison.differences.into_iter().map(|one| ObjectChange {
            kind: one.kind,
            name: one.name,
            changes: vec![Aspect::Property],
            before: Some(one.expected),
            after: Some(one.found),
            ..ObjectChange::default()
        }));
    }
    let versions = |manifest: &Manifest| -> BTreeMap<String, String> {
        let known = manifest.extensions.iter().filter(|extension| !extension.version.is_empty());
        known.map(|extension| (extension.name.clone(), extension.version.clone())).collect()
    };
    let after = versions(b);
    for (name, before) in versions(a) {
        if let Some(after) = after.get(&name).filter(|after| **after != before) {
            found.push(ObjectChange {
                kind: "EXTENSION".to_owned(),
                name,
                changes: vec![Aspect::Version],
                before: Some(before),
                after: Some(after.clone()),
                ..ObjectChange::default()
            });
        }
    }
    found
}
