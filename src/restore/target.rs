//! Looking at the target before anything is loaded: does it exist, is it empty, is it the source, what does it lack.

use crate::cancel::Cancel;
use crate::catalogue::Manifest;
use crate::error::Result;
use crate::postgres::Client;
use crate::script::literal;
use serde::Deserialize;
use std::collections::BTreeSet;

/// A database that exists under the target's name.
#[derive(Debug, Clone)]
pub struct Existing {
    /// Its oid.
    pub oid: u32,
    /// Number of objects in it that no fresh database has.
    pub objects: u64,
    /// Whether it is the very database that the backup was taken from.
    pub is_source: bool,
}

/// What a backup needs and a target lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Roles that statements name.
    pub roles: Vec<String>,
    /// Extensions that could not be created.
    pub extensions: Vec<String>,
}

/// Looks for the database `name` on the server of `maintenance`.
pub async fn existing(
    maintenance: &Client,
    name: &str,
    manifest: &Manifest,
    cancel: &Cancel,
) -> Result<Option<Existing>> {
    let find = format!("select oid::bigint from pg_catalog.pg_database where datname = {};", literal(name));
    let oid = maintenance.query(&find, cancel).await?;
    let Ok(oid) = oid.trim().parse::<u32>() else { return Ok(None) };
    let objects = count_objects(&maintenance.with_database(name), cancel).await?;
    let same_oid = oid == manifest.server.database_oid;
    let is_source = same_oid
        && match (&manifest.server.system_identifier, system_identifier(maintenance, cancel).await) {
            (Some(source), Some(target)) => *source == target,
            // Where neither can be told, the name decides on top of the oid: better to refuse once too often.
            _ => name == manifest.database,
        };
    Ok(Some(Existing { oid, objects, is_source }))
}

/// Number of objects in the database of `client` that no fresh database has.
pub(super) async fn count_objects(client: &Client, cancel: &Cancel) -> Result<u64> {
    // Everything that initdb made has an oid below 16384 (FirstNormalObjectId).
    let count = "select (select count(*) from pg_catalog.pg_class where oid >= 16384) \
                 + (select count(*) from pg_catalog.pg_proc where oid >= 16384) \
                 + (select count(*) from pg_catalog.pg_type where oid >= 16384) \
                 + (select count(*) from pg_catalog.pg_namespace where oid >= 16384) \
                 + (select count(*) from pg_catalog.pg_extension where oid >= 16384) \
                 + (select count(*) from pg_catalog.pg_largeobject_metadata);";
    client.query_json(count, cancel).await
}

async fn system_identifier(client: &Client, cancel: &Cancel) -> Option<String> {
    client.query("select system_identifier from pg_catalog.pg_control_system();", cancel).await.ok()
}

#[derive(Deserialize)]
struct Has {
    roles: BTreeSet<String>,
    extensions: BTreeSet<String>,
}

/// What the server of `client` lacks for a restore of `manifest`'s backup.
pub async fn missing_in_target(client: &Client, manifest: &Manifest, cancel: &Cancel) -> Result<Missing> {
    let query = "select json_build_object('roles', (select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles), \
                 'extensions', (select coalesce(json_agg(name), '[]') from pg_catalog.pg_available_extensions));";
    let has: Has = client.query_json(query, cancel).await?;
    // PostgreSQL 14 made pg_database_owner; older targets are not supported.
    let roles = manifest.roles.iter().filter(|role| !has.roles.contains(*role)).cloned().collect();
    let extensions = manifest.extensions.iter().map(|extension| &extension.name);
    let extensions = extensions.filter(|name| !has.extensions.contains(*name)).cloned().collect();
    Ok(Missing { roles, extensions })
}
