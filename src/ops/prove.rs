//! Proving a restored database: its own dump, through the same scanner, compared with what the backup recorded.

use super::Context;
use super::dump::dump_scanned;
use crate::archive::Contents;
use crate::catalogue::Manifest;
use crate::error::Result;
use crate::event::Phase;
use crate::postgres::programs::find_clients;
use crate::postgres::{Client, Inspection, Search, Without, inspect};
use crate::proof::{Comparison, Declared, Rules, compare, compare_properties};

/// What a restore left out or could not keep, and so is not compared.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    /// What was left out on purpose.
    pub(super) without: Without,
    /// Whether encoding and locale are those of the source.
    pub(super) locale: bool,
}

/// Dumps the database of `client` and compares it with the backup.
pub(super) async fn prove(
    ctx: &Context,
    client: &Client,
    search: &Search,
    manifest: &Manifest,
    contents: &Contents,
    kept: Kept,
) -> Result<Comparison> {
    let progress = ctx.phase(Phase::Prove, manifest.sql_bytes);
    let Prover { client, inspection, definitions } = Prover::of(ctx, client, search, manifest).await?;
    let scan = dump_scanned(ctx, &client, contents.column_orders(), &progress).await?;
    let declared = Declared {
        entries: manifest.entries,
        tables: manifest.tables,
        rows: manifest.rows,
        large_objects: manifest.large_objects,
    };
    let rules = Rules {
        owners: !kept.without.owner,
        // Without its owner a database's grants are others too.
        privileges: !kept.without.privileges && !kept.without.owner,
        definitions,
    };
    let mut comparison = compare(contents.entries(), &scan.entries, declared, rules);
    compare_properties(&manifest.properties, &inspection.properties, kept.without, kept.locale, &mut comparison);
    if !definitions {
        comparison.notes.push(worded_otherwise(manifest, &client, &inspection));
    }
    Ok(comparison)
}

/// How a restored database is dumped so that its dump can be compared with the backup.
pub(super) struct Prover {
    /// With the pg_dump and the settings that word things as the backup does.
    pub(super) client: Client,
    /// What the server says of itself.
    pub(super) inspection: Inspection,
    /// Whether definitions can be compared by their wording.
    pub(super) definitions: bool,
}

impl Prover {
    pub(super) async fn of(ctx: &Context, client: &Client, search: &Search, manifest: &Manifest) -> Result<Self> {
        let inspection = inspect(client, &ctx.cancel).await?;
        // The same object is worded alike only by pg_dumps of the same major version, reading servers of the same.
        let wanted =
            manifest.pg_dump_version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
        let at_least = inspection.server.version_num.max(wanted * 10_000);
        let dumper = find_clients(search, at_least).or_else(|_| find_clients(search, inspection.server.version_num))?;
        let definitions = dumper.version.major == wanted && inspection.server.major() == manifest.server.major();
        let mut client = client.clone().with_programs(dumper);
        let plain = |value: &&String| value.bytes().all(|b| b.is_ascii_alphanumeric());
        let options: Vec<String> = ["bytea_output", "xmlbinary"]
            .iter()
            .filter_map(|name| Some(format!("-c {name}={}", manifest.output_settings.get(*name).filter(plain)?)))
            .collect();
        if !options.is_empty() {
            client = client.with_env("PGOPTIONS", &options.join(" "));
        }
        // Of a dump that was not written in UTC, as pgkeep's are: moments must be written as there to be compared.
        let zone = |name: &&String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
        if let Some(zone) = manifest.output_settings.get("TimeZone").filter(zone) {
            client = client.with_env("PGTZ", zone);
        }
        Ok(Self { client, inspection, definitions })
    }
}

/// Why definitions were not compared by their wording.
pub(super) fn worded_otherwise(manifest: &Manifest, client: &Client, inspection: &Inspection) -> String {
    format!(
        "the backup was written by pg_dump {} of a server {}, the proof by pg_dump {} of a server {}: definitions were \
         compared by name, not by wording",
        manifest.pg_dump_version,
        manifest.server.version_num / 10_000,
        client.programs().version,
        inspection.server.major()
    )
}
