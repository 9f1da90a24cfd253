//! What the target has already, asked before anything is loaded into it.

use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;
use crate::script::{Relation, literal, quote_identifier};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// How many tables are asked about at once.
const AT_ONCE: usize = 500;

/// Catalogues of what a new relation's name may collide with: a table is a type, too.
const RELATIONS: [(&str, &str, &str); 3] = [
    ("pg_class", "relnamespace", "relname"),
    ("pg_type", "typnamespace", "typname"),
    ("pg_statistic_ext", "stxnamespace", "stxname"),
];

/// Further ones, of what a definition may need.
const OTHERS: [(&str, &str, &str); 6] = [
    ("pg_proc", "pronamespace", "proname"),
    ("pg_collation", "collnamespace", "collname"),
    ("pg_opclass", "opcnamespace", "opcname"),
    ("pg_opfamily", "opfnamespace", "opfname"),
    ("pg_ts_config", "cfgnamespace", "cfgname"),
    ("pg_ts_dict", "dictnamespace", "dictname"),
];

/// Those of `names` that are relations or types of the target.
pub async fn relations_there(
    client: &Client,
    names: &BTreeSet<Relation>,
    cancel: &Cancel,
) -> Result<BTreeSet<Relation>> {
    there(client, names, &RELATIONS, cancel).await
}

/// Those of `names` that the target knows, whatever they are.
pub async fn names_there(client: &Client, names: &BTreeSet<Relation>, cancel: &Cancel) -> Result<BTreeSet<Relation>> {
    let all: Vec<_> = RELATIONS.into_iter().chain(OTHERS).collect();
    there(client, names, &all, cancel).await
}

async fn there(
    client: &Client,
    names: &BTreeSet<Relation>,
    catalogues: &[(&str, &str, &str)],
    cancel: &Cancel,
) -> Result<BTreeSet<Relation>> {
    let names: Vec<&Relation> = names.iter().collect();
    let mut found = BTreeSet::new();
    let any = catalogues
        .iter()
        .map(|(catalogue, schema, name)| {
            format!("exists (select from pg_catalog.{catalogue} x where x.{schema} = n.oid and x.{name} = w.name)")
        })
        .collect::<Vec<_>>()
        .join(" or ");
    for names in names.chunks(AT_ONCE) {
        let query = format!(
            "with w as (select e->>0 as schema, e->>1 as name from json_array_elements({}::json) e) \
             select coalesce(json_agg(json_build_array(w.schema, w.name)), '[]') from w \
             join pg_catalog.pg_namespace n on n.nspname = w.schema where {any};",
            list(names)
        );
        found.extend(client.query_json::<Vec<Relation>>(&query, cancel).await?);
    }
    Ok(found)
}

fn list(names: &[&Relation]) -> String {
    literal(&serde_json::json!(names).to_string())
}

/// The schemas, roles and extensions of the target.
#[derive(Debug, Deserialize)]
pub struct Has {
    /// Schemas of the database.
    pub schemas: BTreeSet<String>,
    /// Roles of the server.
    pub roles: BTreeSet<String>,
    /// Extensions that were created in the database.
    pub extensions: BTreeSet<String>,
}

/// Asks for them.
pub async fn has(client: &Client, cancel: &Cancel) -> Result<Has> {
    let query = "select json_build_object('schemas', (select json_agg(nspname) from pg_catalog.pg_namespace), \
                 'roles', (select json_agg(rolname) from pg_catalog.pg_roles), \
                 'extensions', (select coalesce(json_agg(extname), '[]') from pg_catalog.pg_extension));";
    client.query_json(query, cancel).await
}

/// A table of the target that rows are to be loaded into.
#[derive(Debug, Clone, Deserialize)]
pub struct TargetTable {
    /// Its columns.
    pub columns: BTreeSet<String>,
    /// Its triggers that fire: name, and how they are enabled (`O`, `R` or `A`, as in `pg_trigger`).
    pub triggers: Vec<(String, String)>,
}

/// A foreign key of the target.
#[derive(Debug, Clone, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Of which table.
    pub table: Relation,
    /// To which.
    pub references: Relation,
    /// Whether it may be checked at the end of the transaction.
    pub deferrable: bool,
}

/// Those of `tables` that the target has.
pub async fn target_tables(
    client: &Client,
    tables: &BTreeSet<Relation>,
    cancel: &Cancel,
) -> Result<BTreeMap<Relation, TargetTable>> {
    let tables: Vec<&Relation> = tables.iter().collect();
    let mut found = BTreeMap::new();
    for tables in tables.chunks(AT_ONCE) {
        let query = format!(
            "with w as (select e->>0 as schema, e->>1 as name from json_array_elements({}::json) e) \
             select coalesce(json_agg(json_build_array(json_build_array(w.schema, w.name), json_build_object( \
               'columns', (select coalesce(json_agg(attname), '[]') from pg_catalog.pg_attribute a \
                 where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), \
               'triggers', (select coalesce(json_agg(json_build_array(tgname, tgenabled) order by tgname), '[]') \
                 from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgenabled <> 'D')))), '[]') \
             from w join pg_catalog.pg_namespace n on n.nspname = w.schema \
             join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name and c.relkind in ('r', 'p', 'f');",
            list(tables)
        );
        found.extend(client.query_json::<Vec<(Relation, TargetTable)>>(&query, cancel).await?);
    }
    Ok(found)
}

/// Those of `tables` that hold rows of their own.
pub async fn filled(client: &Client, tables: &BTreeSet<Relation>, cancel: &Cancel) -> Result<BTreeSet<Relation>> {
    let tables: Vec<&Relation> = tables.iter().collect();
    let mut found = BTreeSet::new();
    for tables in tables.chunks(AT_ONCE) {
        let query = rows_query(tables);
        let answers: Vec<bool> = client.query_json(&query, cancel).await?;
        found.extend(tables.iter().zip(answers).filter(|(_, filled)| *filled).map(|(table, _)| (*table).clone()));
    }
    Ok(found)
}

fn rows_query(tables: &[&Relation]) -> String {
    let each = tables.iter().enumerate().map(|(number, (schema, name))| {
        format!(
            "select {number} as n, exists (select from only {}.{}) as f",
            quote_identifier(schema),
            quote_identifier(name)
        )
    });
    format!("select json_agg(f order by n) from ({}) x;", each.collect::<Vec<_>>().join(" union all "))
}

/// All foreign keys of the target.
pub async fn foreign_keys(client: &Client, cancel: &Cancel) -> Result<Vec<ForeignKey>> {
    let query = "select coalesce(json_agg(json_build_object('name', k.conname, \
        'table', json_build_array(tn.nspname, t.relname), 'references', json_build_array(rn.nspname, r.relname), \
        'deferrable', k.condeferrable)), '[]') from pg_catalog.pg_constraint k \
        join pg_catalog.pg_class t on t.oid = k.conrelid join pg_catalog.pg_namespace tn on tn.oid = t.relnamespace \
        join pg_catalog.pg_class r on r.oid = k.confrelid join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace \
        where k.contype = 'f';";
    client.query_json(query, cancel).await
}

/// `tables` in an order in which each comes after those that it refers to; foreign keys that can be checked at the end of
/// the transaction do not matter. The error names the foreign keys of a circle.
pub fn in_order(tables: &BTreeSet<Relation>, keys: &[ForeignKey]) -> std::result::Result<Vec<Relation>, Vec<String>> {
    let matters = |key: &&ForeignKey| {
        !key.deferrable
            && key.table != key.references
            && tables.contains(&key.table)
            && tables.contains(&key.references)
    };
    let keys: Vec<&ForeignKey> = keys.iter().filter(matters).collect();
    let mut waits: BTreeMap<&Relation, BTreeSet<&Relation>> = BTreeMap::new();
    let mut wanted_by: BTreeMap<&Relation, BTreeSet<&Relation>> = BTreeMap::new();
    for key in &keys {
        waits.entry(&key.table).or_default().insert(&key.references);
        wanted_by.entry(&key.references).or_default().insert(&key.table);
    }
    let mut ready: BTreeSet<&Relation> = tables.iter().filter(|table| !waits.contains_key(table)).collect();
    let mut order = Vec::with_capacity(tables.len());
    while let Some(table) = ready.pop_first() {
        order.push(table.clone());
        for by in wanted_by.remove(table).into_iter().flatten() {
            if let Some(rest) = waits.get_mut(by) {
                rest.remove(table);
                if rest.is_empty() {
                    waits.remove(by);
                    ready.insert(by);
                }
            }
        }
    }
    if waits.is_empty() {
        return Ok(order);
    }
    let mut circle = keys;
    circle.retain(|key| waits.contains_key(&key.table) && waits.contains_key(&key.references));
    // A table that only refers to those of a circle is not part of it.
    loop {
        let within: BTreeSet<&Relation> = circle.iter().map(|key| &key.references).collect();
        let before = circle.len();
        circle.retain(|key| within.contains(&key.table));
        if circle.len() == before {
            break;
        }
    }
    Err(circle.iter().map(|key| format!("{} of {}", key.name, super::choose::shown(&key.table))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_after_what_they_refer_to_and_circles_are_named() {
        let table = |name: &str| ("s".to_owned(), name.to_owned());
        let key = |from: &str, to: &str, deferrable| ForeignKey {
            name: format!("{from}_{to}"),
            table: table(from),
            references: table(to),
            deferrable,
        };
        let tables: BTreeSet<Relation> = ["a", "b", "c", "d"].map(table).into();
        let names = |order: Vec<Relation>| order.into_iter().map(|(_, name)| name).collect::<String>();
        let keys = [
            key("a", "b", false),
            key("b", "c", false),
            key("c", "a", true),
            key("d", "d", false),
            key("a", "x", false),
        ];
        assert_eq!(names(in_order(&tables, &keys).unwrap()), "cbad");
        let keys = [key("a", "b", false), key("b", "a", false), key("c", "a", false)];
        assert_eq!(in_order(&tables, &keys).unwrap_err(), ["a_b of s.a", "b_a of s.b"]);
    }
}
