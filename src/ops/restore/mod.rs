//! Restoring a backup into a new database, beside whatever is there.
//!
//! Everything is loaded into a database of our own, proved there, and gets its name last: stopped at any instant, there is
//! either no database of the target's name, or the old one, or the whole new one.

mod fill;
mod leave;
mod needs;
mod part;
mod place;

pub(super) use fill::{apply_properties, load_all};
pub use part::PartRequest;

use super::outcome::RestoreOutcome;
use super::ready::make_ready;
use super::{Backup, Context};
use crate::catalogue::Manifest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::postgres::programs::{find_clients, find_newest_clients};
use crate::postgres::{Client, Connection, Search, Without, version_num};
use crate::restore::{existing, settings_unknown_to, sweep_databases};
use crate::script::Omit;
use place::Place;
use std::path::PathBuf;
use std::time::Instant;

/// Into which database.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of this name on the server of the connection.
    Named(Connection, String),
    /// The database that the connection names.
    Url(Connection),
}

/// How a backup is to be restored.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Into which database; it must not exist, or be empty, unless `swap`.
    pub target: Target,
    /// Leave out changes of owner: everything belongs to the role that restores.
    pub no_owner: bool,
    /// Leave out grants.
    pub no_privileges: bool,
    /// How many sessions load at once; one for each processor if `None`.
    pub jobs: Option<usize>,
    /// Dump the restored database and compare it with the backup.
    pub prove: bool,
    /// Restore beside the target, then exchange the names; the old database stays.
    pub swap: bool,
    /// Keep a database whose restore failed, to look at.
    pub keep: bool,
    /// What of the backup.
    pub part: PartRequest,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Restores `backup`. A failed proof is no error but an outcome with `Proof::Failed`.
pub async fn restore(ctx: &Context, backup: &Backup, request: &RestoreRequest) -> Result<RestoreOutcome> {
    let manifest = &backup.manifest;
    let (connection, name) = match &request.target {
        Target::Named(connection, name) => (connection.clone(), name.clone()),
        Target::Url(connection) => match connection.database() {
            Some(name) => (connection.clone(), name.to_owned()),
            None => {
                return Err(Error::new(ErrorKind::Usage, "the target's connection string names no database")
                    .hint("put the new database's name at its end: postgres://user@host/NAME"));
            }
        },
    };
    ctx.tell(&Event::Started { what: "restore", subject: format!("{} into {name}", manifest.id) });
    ctx.phase(Phase::Inspect, 0);
    let search = ctx.search(request.bin_dir.as_deref());
    let client = Client::new(connection, find_newest_clients(&search)?, ctx.temp_dir())?;
    let (maintenance, version) = maintenance(ctx, &client, &name).await?;
    let maintenance = maintenance.with_programs(find_clients(&search, version)?);
    let restorer = Restorer {
        ctx,
        backup,
        request,
        search,
        maintenance,
        version,
        name,
        without: Without { owner: request.no_owner, privileges: request.no_privileges, comment: false },
    };
    let outcome = if request.part.is_some() { restorer.run_part().await? } else { restorer.run().await? };
    ctx.tell(&Event::Finished);
    Ok(outcome)
}

/// A connection to a database that is not the target, from which it can be created and renamed; and the server's version.
async fn maintenance(ctx: &Context, client: &Client, target: &str) -> Result<(Client, u32)> {
    let mut first = None;
    for name in ["postgres", "template1", "defaultdb"].into_iter().filter(|name| *name != target) {
        let candidate = client.with_database(name);
        match version_num(&candidate, &ctx.cancel).await {
            Ok(version) => return Ok((candidate, version)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    // Managed servers may let a role into its own database only; that one must then be there and be empty.
    let candidate = client.with_database(target);
    match version_num(&candidate, &ctx.cancel).await {
        Ok(version) => Ok((candidate, version)),
        Err(error) => Err(first.unwrap_or(error)),
    }
}

struct Restorer<'a> {
    ctx: &'a Context,
    backup: &'a Backup,
    request: &'a RestoreRequest,
    search: Search,
    maintenance: Client,
    version: u32,
    name: String,
    without: Without,
}

impl Restorer<'_> {
    fn manifest(&self) -> &Manifest {
        &self.backup.manifest
    }

    async fn run(&self) -> Result<RestoreOutcome> {
        let there = existing(&self.maintenance, &self.name, self.manifest(), &self.ctx.cancel).await?;
        self.guard(there.as_ref())?;
        if self.request.swap {
            self.check_kept_name().await?;
        }
        let mut notes = self.check_needs().await?;
        if let Ok(swept) = sweep_databases(&self.maintenance, self.ctx.clock.now(), &self.ctx.cancel).await {
            for key in swept {
                let destination = self.maintenance.connection().describe();
                self.ctx.tell(&Event::Swept { destination, key });
            }
        }
        let settings = settings_unknown_to(self.version);
        if !settings.is_empty() && self.manifest().server.major() * 10_000 > self.version {
            let names = settings.iter().cloned().collect::<Vec<_>>().join(", ");
            notes.push(format!("left out, for the target does not know it: SET {names}"));
        }
        let omit =
            Omit { owners: self.request.no_owner, privileges: self.request.no_privileges, settings, elsewhere: false };
        let clock = Instant::now();
        let mut ready = make_ready(self.ctx, self.backup, &omit).await?;
        let (mut parts, mut this) = (None, self);
        let (fewer, lessened);
        if !self.request.part.is_all() {
            let (backup, outcome) =
                leave::leave_out(self.ctx, self.backup, &self.request.part, &mut ready, &omit).await?;
            parts = Some(outcome);
            fewer = backup;
            lessened = Restorer {
                backup: &fewer,
                search: self.search.clone(),
                maintenance: self.maintenance.clone(),
                name: self.name.clone(),
                ..*self
            };
            this = &lessened;
        }
        let place = self.make_place(there.as_ref()).await?;
        let restored = this.fill(&place, &mut ready, clock, notes).await;
        let restored = restored.map(|restored| RestoreOutcome { parts, ..restored });
        match (&restored, &place) {
            (Err(_), Place::Ours(scratch)) if !self.request.keep => {
                // Also when cancelled: dropping must not be cancelled with it.
                if let Err(error) = scratch.drop(&self.maintenance, &crate::cancel::Cancel::new()).await {
                    self.ctx.warn(format!("{} could not be dropped: {}", scratch.name, error.one_line()));
                }
            }
            (Err(_), Place::Ours(scratch)) => {
                self.ctx.warn(format!("what was restored is kept as database {}", scratch.name));
            }
            (Err(_), Place::Theirs) => self.ctx.warn(format!(
                "database {} was empty before and now holds part of the backup: drop and create it before trying again",
                self.name
            )),
            (Ok(_), _) => {}
        }
        restored
    }
}
