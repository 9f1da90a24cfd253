//! What a restore changes for the target: which statements, and what the proof then expects.

use super::RestoreRequest;
use crate::archive::{Contents, FileContents};
use crate::catalogue::Manifest;
use crate::ops::ready::Ready;
use crate::restore::TargetServer;
use crate::script::{Adaptation, Adapted, Entries, Entry, Omit, Scan};
use std::collections::{BTreeMap, BTreeSet};

/// Which statements are left out or reworded on `server`.
pub(super) fn omit(request: &RestoreRequest, server: &TargetServer) -> Omit {
    let tablespaces = if request.no_tablespaces { BTreeSet::new() } else { server.tablespaces.clone() };
    Omit {
        owners: request.no_owner,
        privileges: request.no_privileges,
        settings: server.unknown_settings(),
        elsewhere: false,
        roles: request.roles.clone(),
        tablespaces: Some(tablespaces),
        unknown_privileges: server.unknown_privileges(),
        entries: request.without.clone(),
    }
}

/// What was left out or reworded, in words.
pub(super) fn adaptations<'s>(scans: impl Iterator<Item = &'s Scan>) -> Vec<String> {
    let mut all: BTreeMap<&Adaptation, u64> = BTreeMap::new();
    for (why, count) in scans.flat_map(|scan| &scan.adaptations) {
        *all.entry(why).or_default() += count;
    }
    all.into_iter().map(|(why, count)| why.describe(count)).collect()
}

/// `manifest` in the words of `server`: with other roles and another locale where asked for, without settings of the
/// database that the server does not know. And what was changed, in words.
pub(super) fn adapted_manifest(
    manifest: &Manifest,
    request: &RestoreRequest,
    server: &TargetServer,
) -> (Manifest, Vec<String>) {
    let (mut manifest, mut told) = (manifest.clone(), Vec::new());
    let map = |role: &mut String| {
        if let Some(new) = request.roles.get(role) {
            role.clone_from(new);
        }
    };
    manifest.roles.iter_mut().for_each(map);
    manifest.roles.sort();
    manifest.roles.dedup();
    let properties = &mut manifest.properties;
    map(&mut properties.owner);
    for privilege in properties.privileges.iter_mut().flatten() {
        map(&mut privilege.grantor);
        privilege.grantee.iter_mut().for_each(map);
    }
    properties.settings.iter_mut().filter_map(|setting| setting.role.as_mut()).for_each(map);
    properties.settings.retain(|setting| {
        // One with a dot is an extension's, which any server takes.
        let there = |name: &String| name.eq_ignore_ascii_case(&setting.name);
        let known = setting.name.contains('.') || server.settings.iter().any(there);
        if !known {
            told.push(format!("left out, for the target does not know it: the database's setting {}", setting.name));
        }
        known
    });
    if let Some(locale) = &request.locale {
        let before = properties.locale.clone().filter(|_| properties.locale_provider != "libc");
        let before = before.unwrap_or_else(|| properties.collate.clone());
        told.push(format!("locale {locale} instead of {before}: text may sort otherwise"));
        properties.collate.clone_from(locale);
        properties.ctype.clone_from(locale);
        "libc".clone_into(&mut properties.locale_provider);
        (properties.locale, properties.icu_rules) = (None, None);
    }
    (manifest, told)
}

/// Whether two roles of the backup become the same, so that what one and what the other may do is no longer told apart.
pub(super) fn merges_roles(manifest: &Manifest, roles: &BTreeMap<String, String>) -> bool {
    let named: BTreeSet<&str> = manifest.roles.iter().map(String::as_str).chain(manifest.properties.roles()).collect();
    let after: BTreeSet<&str> = named.iter().map(|role| roles.get(*role).map_or(*role, String::as_str)).collect();
    after.len() < named.len()
}

/// What a dump of the restored database holds if all went well: the backup's index as the adaptations leave it, and the
/// manifest with the number of its entries.
pub(super) fn adapted_contents(
    ready: &Ready,
    manifest: &Manifest,
    roles: &BTreeMap<String, String>,
) -> (Contents, Manifest) {
    let mut manifest = manifest.clone();
    let files = ready.contents().files.iter().zip(ready.scans()).map(|(file, scan)| {
        let mut entries = Entries::new();
        for entry in &file.entries {
            let counts = u64::from(entry.counts() && entry.kind != "LARGE OBJECT");
            match adapted(entry, scan, roles) {
                Some(entry) => entries.push(&entry),
                None => manifest.entries = manifest.entries.saturating_sub(counts),
            }
        }
        FileContents { entries, ..file.clone() }
    });
    let contents = Contents::new(files.collect());
    (contents, manifest)
}

/// The entry as it is after the restore; `None` if it is left out.
fn adapted(mut entry: Entry, scan: &Scan, roles: &BTreeMap<String, String>) -> Option<Entry> {
    // Large objects are told from the entries that group them; their digests are of their bytes.
    match scan.adapted.get(&entry.start).filter(|_| entry.kind != "LARGE OBJECT") {
        Some(Adapted::Gone) => return None,
        Some(Adapted::Otherwise(digest, unordered)) => {
            (entry.digest, entry.unordered_digest) = (*digest, *unordered);
        }
        None => {}
    }
    if let Some(new) = entry.owner.as_ref().and_then(|owner| roles.get(owner)) {
        entry.owner = Some(new.clone());
    }
    if entry.kind == "USER MAPPING" {
        let name = entry.name.strip_prefix("USER MAPPING ").and_then(|rest| rest.split_once(" SERVER "));
        if let Some((role, server)) = name
            && let Some(new) = roles.get(role)
        {
            entry.name = format!("USER MAPPING {new} SERVER {server}");
        }
    }
    Some(entry)
}
