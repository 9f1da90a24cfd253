//! How large the next backups will be, and whether they fit into the folders that they go to.

use super::DestinationFindings;
use super::database::Examined;
use crate::catalogue::{LARGEST_MANIFEST, Manifest};
use crate::config::{DestinationConfig, DestinationRef};
use crate::destination::{Destination, Finding, Folder, Key, MANIFEST_NAME, read_small, size_in_words};
use crate::error::Result;
use crate::id::BackupId;
use crate::ops::{Context, open_destination};
use crate::postgres::Inspection;

/// The SQL of a database that was never backed up is taken for as large as its tables, and at least this part of all that
/// it takes on the server: the server counts the pages of tables only when it has analyzed them.
const LEAST_PART: u64 = 4;

/// How many times smaller than its SQL a backup is taken for that has none before it.
const USUAL_RATIO: u64 = 4;

/// How large a backup will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Estimate {
    /// Stored bytes at each destination.
    pub(super) bytes: u64,
    /// Whether an older backup tells how well the data compress.
    pub(super) from_a_backup: bool,
}

/// Finds out how large the next backup of each database will be, without asking the `unreachable` destinations. That no
/// older backup can be found or read is no finding here: the destinations' own tell.
pub(super) async fn estimate(ctx: &Context, databases: &mut [Examined], unreachable: &[&DestinationRef]) {
    for Examined { told, known } in databases {
        let Some(known) = known else { continue };
        let folder = Key::encode(&told.job).join(&known.inspection.database);
        let mut older = None;
        for reference in known.destinations.iter().filter(|reference| !unreachable.contains(reference)) {
            if ctx.cancel.is_cancelled() {
                return;
            }
            if let Ok(Some(manifest)) = newest(&*open_destination(ctx, reference), &folder).await {
                older = Some((manifest.sql_bytes, manifest.stored_bytes));
                break;
            }
        }
        let estimate = from(&known.inspection, older);
        told.findings.push(size(&known.inspection, estimate));
        known.estimate = Some(estimate);
    }
}

fn size(inspection: &Inspection, estimate: Estimate) -> Finding {
    let by = if estimate.from_a_backup { "as the newest one is compressed" } else { "by rule of thumb" };
    let (size, backup) = (size_in_words(inspection.size_bytes), size_in_words(estimate.bytes));
    Finding::good("size", format!("{size} on the server; a backup will take about {backup}, {by}"))
}

fn from(inspection: &Inspection, newest: Option<(u64, u64)>) -> Estimate {
    let by_size = inspection.table_bytes.max(inspection.size_bytes / LEAST_PART);
    match newest {
        Some((sql, stored)) if sql > 0 => {
            let sql_now = sql.max(inspection.table_bytes);
            let bytes = (stored as f64 * (sql_now as f64 / sql as f64)) as u64;
            Estimate { bytes, from_a_backup: true }
        }
        _ => Estimate { bytes: by_size / USUAL_RATIO, from_a_backup: false },
    }
}

/// The newest backup in `folder`.
async fn newest(destination: &dyn Destination, folder: &Key) -> Result<Option<Manifest>> {
    let is_manifest = |key: &Key| {
        let dir = key.parent()?;
        let whole = key.file_name() == MANIFEST_NAME && dir.parent().as_ref() == Some(folder);
        (whole && dir.file_name().parse::<BackupId>().is_ok()).then_some(dir)
    };
    let objects = destination.list(Some(folder)).await?;
    // Ids sort by time.
    let Some(dir) = objects.iter().filter_map(|object| is_manifest(&object.key)).max() else { return Ok(None) };
    let json = read_small(destination, &dir.join(MANIFEST_NAME), LARGEST_MANIFEST).await?;
    Manifest::from_json(&json, &dir).map(Some)
}

/// Whether the next backups of all `databases` fit into the folders among the destinations.
pub(super) async fn examine(databases: &[Examined], destinations: &mut [DestinationFindings]) {
    let known: Vec<_> = databases.iter().filter_map(|examined| examined.known.as_ref()).collect();
    for told in destinations {
        let goes_there = |reference: &&DestinationRef| reference.name == told.name;
        let mut needed = 0;
        let mut root = None;
        for known in &known {
            if let Some(reference) = known.destinations.iter().find(goes_there)
                && let DestinationConfig::Folder { path } = &reference.config
            {
                needed += known.estimate.map_or(0, |estimate| estimate.bytes);
                root = Some(path.clone());
            }
        }
        // That free space is not known was said in the destination's own findings.
        if let Some(root) = root
            && let Ok(Some(free)) = Folder::new(told.name.clone(), root).free_bytes().await
        {
            told.findings.push(fits(needed, free));
        }
    }
}

fn fits(needed: u64, free: u64) -> Finding {
    let what = "room for the next backups";
    let (needed_words, free_words) = (size_in_words(needed), size_in_words(free));
    if needed > free {
        let found = format!("they will take about {needed_words}, and {free_words} are free");
        return Finding::warning(what, found, "make room there, or point the destination at another disk");
    }
    Finding::good(what, format!("they will take about {needed_words} of the {free_words} that are free"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Verdict;
    use crate::postgres::{DatabaseProperties, Server};

    fn inspection(size_bytes: u64, table_bytes: u64) -> Inspection {
        let server = Server {
            version: "17.6".into(),
            version_num: 170_006,
            system_identifier: None,
            database_oid: 5,
            bootstrap_role: "postgres".into(),
            standby: false,
        };
        let properties = DatabaseProperties {
            owner: "postgres".into(),
            encoding: "UTF8".into(),
            locale_provider: "libc".into(),
            collate: "C".into(),
            ctype: "C".into(),
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".into(),
            connection_limit: -1,
            comment: None,
            settings: Vec::new(),
            privileges: None,
        };
        Inspection {
            database: "shop".into(),
            now: chrono::DateTime::default(),
            user: "app".into(),
            superuser: false,
            server,
            properties,
            extensions: Vec::new(),
            size_bytes,
            table_bytes,
            output_settings: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn an_older_backup_tells_how_well_the_data_compress() {
        // Ten to one, and the tables have doubled since.
        let estimate = from(&inspection(900, 200), Some((100, 10)));
        assert_eq!(estimate, Estimate { bytes: 20, from_a_backup: true });
        // Smaller tables may only be packed more tightly.
        assert_eq!(from(&inspection(900, 50), Some((100, 10))).bytes, 10);
    }

    #[test]
    fn without_one_a_rule_of_thumb_has_to_do() {
        assert_eq!(from(&inspection(1000, 800), None), Estimate { bytes: 200, from_a_backup: false });
        // Never analyzed.
        assert_eq!(from(&inspection(1600, 0), None).bytes, 100);
        assert_eq!(from(&inspection(1600, 0), Some((0, 5))).bytes, 100);
    }

    #[test]
    fn what_does_not_fit_is_a_warning() {
        assert_eq!(fits(5, 5).verdict, Verdict::Good);
        let told = fits(6_000_000, 5_000_000);
        assert_eq!(told.verdict, Verdict::Warning);
        assert_eq!(told.found, "they will take about 6.0 MB, and 5.0 MB are free");
    }
}
