//! Databases of our own on somebody's server: created new, known by oid and token, dropped only if both still fit.

use super::target::count_objects;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use crate::postgres::{Client, DatabaseProperties};
use crate::process::{host_name, is_alive};
use crate::script::{literal, quote_identifier};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// How our databases are named; what follows is random, then who makes them: a run killed between creating and marking one
/// leaves no other trace. Never derived from the source's name: identifiers are cut at 63
/// bytes, and the cut name may be somebody else's.
const PREFIX: &str = "pgkeep_scratch_";

/// After so many hours a database of ours is stale, whoever made it.
const STALE_HOURS: i64 = 24;

/// What is written into the comment of a database of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    pgkeep: String,
    token: String,
    host: Option<String>,
    pid: u32,
    made_at: DateTime<Utc>,
}

/// A database that this run has made.
#[derive(Debug, Clone)]
pub struct Scratch {
    /// Its name.
    pub name: String,
    /// Its oid: a database of the same name with another oid is not ours.
    pub oid: u32,
    comment: String,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    oid: u32,
    comment: Option<String>,
    sessions: u64,
}

const FIND: &str = "select coalesce(json_agg(json_build_object('name', d.datname, 'oid', d.oid::bigint, \
    'comment', pg_catalog.shobj_description(d.oid, 'pg_database'), \
    'sessions', (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid))), '[]') \
    from pg_catalog.pg_database d where d.datname like 'pgkeep\\_scratch\\_%';";

/// Creates a database with `properties`' encoding and locale on the server of `maintenance`, a server of `version_num`.
pub async fn create_database(
    maintenance: &Client,
    properties: &DatabaseProperties,
    version_num: u32,
    now: DateTime<Utc>,
    cancel: &Cancel,
) -> Result<Scratch> {
    let name = format!("{PREFIX}{}{}", random_hex(8)?, maker(host_name().as_deref(), std::process::id()));
    let mark = Mark {
        pgkeep: "scratch database of a restore or drill; it may be dropped when no pgkeep runs".to_owned(),
        token: random_hex(16)?,
        host: host_name(),
        pid: std::process::id(),
        made_at: now,
    };
    let comment = serde_json::to_string(&mark)
        .map_err(|source| Error::new(ErrorKind::Failed, "cannot mark a scratch database").caused_by(source))?;
    maintenance.execute(&properties.create_statement(&name, version_num), cancel).await?;
    let finish = format!(
        "comment on database {} is {}; select oid::bigint from pg_catalog.pg_database where datname = {};",
        quote_identifier(&name),
        literal(&comment),
        literal(&name)
    );
    let oid = maintenance.query_json(&finish, cancel).await?;
    Ok(Scratch { name, oid, comment })
}

/// The end of the names of databases that process `pid` of `host` makes.
fn maker(host: Option<&str>, pid: u32) -> String {
    format!("_{:08x}_{pid}", xxh3_64(host.unwrap_or_default().as_bytes()) as u32)
}

/// Whether `name` is one that a dead process of `host` gave: all that is known of a database that it could not mark.
fn is_of_dead(name: &str, host: &str) -> bool {
    let made = name.strip_prefix(PREFIX).and_then(|rest| rest.split_at_checked(16));
    made.is_some_and(|(random, rest)| {
        let pid = rest.rsplit('_').next().and_then(|pid| pid.parse::<u32>().ok());
        random.bytes().all(|b| b.is_ascii_hexdigit())
            && pid.is_some_and(|pid| rest == maker(Some(host), pid) && !is_alive(pid))
    })
}

impl Scratch {
    /// Drops the database if it is still the one that was made: same name, same oid, same token.
    pub async fn drop(&self, maintenance: &Client, cancel: &Cancel) -> Result<()> {
        let found: Vec<Found> = maintenance.query_json(FIND, cancel).await?;
        match found.into_iter().find(|found| found.name == self.name) {
            None => Ok(()),
            Some(found) if found.oid == self.oid && found.comment.as_deref() == Some(&self.comment) => {
                drop_database(maintenance, &self.name, cancel).await
            }
            Some(_) => Err(Error::new(
                ErrorKind::Refused,
                format!("database {} is not the one that this run made; it was left as it is", self.name),
            )
            .hint("look at it, and drop it by hand if nobody needs it")),
        }
    }

    /// Leaves the database to the user: without its mark no later run sweeps it.
    pub async fn keep(&self, maintenance: &Client, cancel: &Cancel) -> Result<()> {
        let sql = format!("comment on database {} is 'left by a drill, to look at';", quote_identifier(&self.name));
        maintenance.execute(&sql, cancel).await
    }
}

/// Drops the databases that dead runs left: ours by name and mark, of a dead process of this computer or older than a day,
/// with nobody connected; and those that a dead process of this computer made and could not mark, which are still empty.
/// Returns their names.
pub async fn sweep_databases(maintenance: &Client, now: DateTime<Utc>, cancel: &Cancel) -> Result<Vec<String>> {
    let found: Vec<Found> = maintenance.query_json(FIND, cancel).await?;
    let host = host_name();
    let mut swept = Vec::new();
    for database in found {
        let mark = database.comment.as_deref().and_then(|comment| serde_json::from_str::<Mark>(comment).ok());
        let stale = match (mark, &host) {
            (Some(mark), _) => {
                let dead = host.is_some() && mark.host == host && !is_alive(mark.pid);
                dead || now - mark.made_at > TimeDelta::hours(STALE_HOURS)
            }
            (None, Some(host)) if database.comment.is_none() && is_of_dead(&database.name, host) => {
                count_objects(&maintenance.with_database(&database.name), cancel)
                    .await
                    .is_ok_and(|objects| objects == 0)
            }
            (None, _) => false,
        };
        if stale && database.sessions == 0 {
            drop_database(maintenance, &database.name, cancel).await?;
            swept.push(database.name);
        }
    }
    Ok(swept)
}

async fn drop_database(maintenance: &Client, name: &str, cancel: &Cancel) -> Result<()> {
    drop_subscriptions(&maintenance.with_database(name), cancel).await?;
    maintenance.execute(&format!("drop database if exists {};", quote_identifier(name)), cancel).await
}

/// A database with a subscription cannot be dropped. Restored ones have never been connected: there is no slot to free.
async fn drop_subscriptions(client: &Client, cancel: &Cancel) -> Result<()> {
    let query = "select coalesce(json_agg(subname), '[]') from pg_catalog.pg_subscription s \
                 where s.subdbid = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database());";
    // Only superusers may look; others cannot have restored one.
    let Ok(names) = client.query_json::<Vec<String>>(query, cancel).await else { return Ok(()) };
    for name in names {
        let name = quote_identifier(&name);
        let sql = format!(
            "alter subscription {name} disable; alter subscription {name} set (slot_name = none); drop subscription {name};"
        );
        client.execute(&sql, cancel).await?;
    }
    Ok(())
}
