//! Whether drills could run: a throwaway server is really started, or the scratch server really asked.

use super::database::{Examined, Known};
use crate::config::{Scratch, SecretRef};
use crate::destination::{Finding, Folder, size_in_words};
use crate::error::{Error, Result};
use crate::ops::Context;
use crate::postgres::programs::{find_clients, find_newest_clients, find_server, server_version};
use crate::postgres::{Client, Cluster, ClusterOptions, Connection, available_extensions, version_num};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What is said of drills.
const WHAT: &str = "drills";

/// Adds to each database whether drills of it could run.
pub(super) async fn examine(ctx: &Context, databases: &mut [Examined]) {
    // One throwaway server for each version and folder of programs tells for all databases.
    let mut tried: BTreeMap<(Option<PathBuf>, u32), Result<BTreeSet<String>, Finding>> = BTreeMap::new();
    for Examined { told, known } in databases {
        let Some(known) = known else { continue };
        if ctx.cancel.is_cancelled() {
            return;
        }
        match &known.scratch {
            Scratch::Ephemeral => {
                let key = (known.bin_dir.clone(), known.inspection.server.major());
                if !tried.contains_key(&key) {
                    let found = throwaway(ctx, known).await.map_err(|error| could_not(&error));
                    tried.insert(key.clone(), found);
                }
                let place = "a throwaway server on this computer";
                match tried.get(&key) {
                    Some(Ok(extensions)) => told.findings.push(judge(place, known, extensions)),
                    Some(Err(finding)) => told.findings.push(finding.clone()),
                    None => {}
                }
                told.findings.extend(temp_room(ctx, known).await);
            }
            Scratch::Server(url) => {
                let found = scratch_server(ctx, known, url).await;
                told.findings.push(found.unwrap_or_else(|error| could_not(&error)));
            }
        }
    }
}

/// Backups work without drills; nobody knows then whether they can be restored.
fn could_not(error: &Error) -> Finding {
    let finding = Finding::failure(WHAT, error);
    let fix = finding.fix.unwrap_or_default();
    Finding::warning(WHAT, format!("they could not run: {}", finding.found), fix)
}

/// Starts a throwaway server as a drill would; returns the extensions that it can have.
async fn throwaway(ctx: &Context, known: &Known) -> Result<BTreeSet<String>> {
    let server = &known.inspection.server;
    let search = ctx.search(known.bin_dir.as_deref());
    let programs = find_server(&search, server.major())?;
    let options = ClusterOptions {
        superuser: server.bootstrap_role.clone(),
        temp: ctx.config.temp_dir.clone(),
        settings: Vec::new(),
    };
    let clients = find_clients(&search, server.version_num)?;
    let cluster = Cluster::start(&programs, &options, &ctx.cancel).await?;
    let client = Client::new(cluster.connection("postgres"), clients, ctx.temp_dir());
    let found = match client {
        Ok(client) => available_extensions(&client, &ctx.cancel).await,
        Err(error) => Err(error),
    };
    let stopped = cluster.stop().await;
    // What came first says more.
    found.and_then(|extensions| stopped.map(|()| extensions))
}

/// The extensions of the database against those there are.
fn judge(place: &str, known: &Known, available: &BTreeSet<String>) -> Finding {
    let names = known.inspection.extensions.iter().map(|extension| extension.name.as_str());
    let missing: Vec<&str> = names.filter(|name| !available.contains(*name)).collect();
    if missing.is_empty() {
        return Finding::good(WHAT, format!("{place} has every extension of the database"));
    }
    let major = known.inspection.server.major();
    Finding::warning(
        WHAT,
        format!("they could not run: {place} lacks extensions: {}", missing.join(", ")),
        format!(
            "install them there (on Debian: postgresql-contrib, or postgresql-{major}-NAME), or drill on a server that has \
             them: scratch = {{ url = ... }} in the job's drill, or --scratch URL"
        ),
    )
}

/// A restored database takes as much as the one that was backed up, in the folder for temporary files.
async fn temp_room(ctx: &Context, known: &Known) -> Option<Finding> {
    let folder = ctx.config.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    // A folder that is missing was told by the server that could not be started there.
    let free = Folder::new("temp", &folder).free_bytes().await.ok()??;
    let needed = known.inspection.size_bytes;
    (free < needed).then(|| {
        let (needed, free) = (size_in_words(needed), size_in_words(free));
        Finding::warning(
            "room for drills",
            format!("a restored database takes about {needed}, and {free} are free in {}", folder.display()),
            "point temp_dir of the configuration, or TMPDIR, at a larger disk",
        )
    })
}

/// Asks the job's own scratch server.
async fn scratch_server(ctx: &Context, known: &Known, url: &SecretRef) -> Result<Finding> {
    let connection = Connection::parse(&url.resolve()?)?;
    let search = ctx.search(known.bin_dir.as_deref());
    let place = connection.describe();
    let client = Client::new(connection, find_newest_clients(&search)?, ctx.temp_dir())?;
    let version = version_num(&client, &ctx.cancel).await?;
    let may_create = "select rolsuper or rolcreatedb from pg_catalog.pg_roles where rolname = current_user;";
    if client.query(may_create, &ctx.cancel).await? != "t" {
        return Ok(Finding::warning(
            WHAT,
            format!("they could not run: the role may create no databases on {place}"),
            "give it CREATEDB there",
        ));
    }
    let major = known.inspection.server.major();
    if version / 10_000 < major {
        return Ok(Finding::warning(
            WHAT,
            format!("{place} runs PostgreSQL {}, which is older than the database's {major}", server_version(version)),
            format!("drill on a server of PostgreSQL {major}, or with scratch = \"ephemeral\""),
        ));
    }
    Ok(judge(&place, known, &available_extensions(&client, &ctx.cancel).await?))
}
