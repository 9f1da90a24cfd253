//! The least that a drill compares: that every table is there with as many rows as were backed up.

use crate::archive::Contents;
use crate::catalogue::Manifest;
use crate::error::Result;
use crate::event::Phase;
use crate::ops::Context;
use crate::postgres::Client;
use crate::proof::{Comparison, Difference};
use crate::script::{TableName, quote_identifier};
use std::collections::BTreeMap;

/// How many tables are counted in one query.
const AT_ONCE: usize = 50;

/// Every table: schema, name, kind, and whether it belongs to an extension, which may have filled it.
const TABLES: &str = "select coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(n.nspname, c.relname, c.relkind, \
    exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    and d.objid = c.oid and d.deptype = 'e'))), '[]') \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p');";

/// What is said of it.
pub(super) const NOT_COMPARED: &str = "the rows of each table and the large objects were counted, and nothing else was \
    compared: no values, sequences, definitions, owners, privileges or settings of the database";

/// Counts the rows of every table of `contents` in the database of `client`.
pub(super) async fn compare_counts(
    ctx: &Context,
    client: &Client,
    manifest: &Manifest,
    contents: &Contents,
) -> Result<Comparison> {
    let progress = ctx.phase(Phase::Prove, manifest.sql_bytes);
    let mut wanted: BTreeMap<TableName, (u64, u64)> = BTreeMap::new();
    for table in contents.entries().filter_map(|entry| entry.table) {
        let (rows, bytes) = wanted.entry((table.schema, table.table)).or_default();
        *rows += table.rows;
        *bytes += table.end.saturating_sub(table.start);
    }
    let there: Vec<(String, String, String, bool)> = client.query_json(TABLES, &ctx.cancel).await?;
    let there: BTreeMap<TableName, (String, bool)> =
        there.into_iter().map(|(schema, table, kind, foreign)| ((schema, table), (kind, foreign))).collect();
    let mut comparison = Comparison::default();
    let mut countable = Vec::new();
    for (name, expected) in &wanted {
        match there.get(name) {
            Some((kind, of_extension)) => countable.push((name, *expected, kind == "p", *of_extension)),
            None => comparison.differences.push(difference(
                name,
                format!("{} rows", expected.0),
                "no such table".to_owned(),
            )),
        }
    }
    for some in countable.chunks(AT_ONCE) {
        let counts = some.iter().map(|((schema, table), _, partitioned, _)| {
            let only = if *partitioned { "" } else { "only " };
            format!("(select count(*) from {only}{}.{})", quote_identifier(schema), quote_identifier(table))
        });
        let counts: Vec<String> = counts.collect();
        // Whom row security hides rows from is told so instead.
        let sql = format!("set row_security = off; select pg_catalog.json_build_array({});", counts.join(", "));
        let found: Vec<u64> = client.query_json(&sql, &ctx.cancel).await?;
        for ((name, (rows, bytes), _, of_extension), found) in some.iter().zip(found) {
            progress.advance(*bytes, found);
            comparison.objects += 1;
            comparison.tables += 1;
            comparison.rows += found;
            // An extension's own rows come with it, and only the user's are in a dump.
            if if *of_extension { found < *rows } else { found != *rows } {
                comparison.differences.push(difference(name, format!("{rows} rows"), format!("{found} rows")));
            }
        }
    }
    let objects = "select count(*) from pg_catalog.pg_largeobject_metadata;";
    let objects: u64 = client.query_json(objects, &ctx.cancel).await?;
    comparison.objects += objects;
    if objects != manifest.large_objects {
        comparison.differences.push(Difference {
            kind: "LARGE OBJECT".to_owned(),
            name: "all of them".to_owned(),
            expected: format!("{} objects", manifest.large_objects),
            found: format!("{objects} objects"),
        });
    }
    Ok(comparison)
}

fn difference((schema, table): &TableName, expected: String, found: String) -> Difference {
    Difference { kind: "TABLE DATA".to_owned(), name: format!("{schema}.{table}"), expected, found }
}
