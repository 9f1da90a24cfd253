//! Restoring a backup into a new database, beside whatever is there.
//!
//! Everything is loaded into a database of our own, proved there, and gets its name last: stopped at any instant, there is
//! either no database of the target's name, or the old one, or the whole new one.

mod adapt;
mod exchange;
mod fill;
mod leave;
mod needs;
mod part;
mod place;
mod plan;
mod roles;

pub use exchange::{SwapBackOutcome, SwapBackRequest, swap_back};
pub(super) use fill::{apply_properties, jobs, load_ready};
pub use part::PartRequest;
pub use plan::{RestoreEstimate, RestorePlan, TargetState, databases_there, plan_restore};

use super::outcome::RestoreOutcome;
use super::ready::make_ready;
use super::{Backup, Context};
use crate::catalogue::Manifest;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::postgres::programs::{find_clients, find_newest_clients};
use crate::postgres::{Client, Connection, Search, Without, version_num};
use crate::restore::{Existing, TargetServer, existing, sweep_databases, target_server};
use crate::script::EntryPattern;
use place::Place;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Into which database.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of this name on the server of the connection.
    Named(Connection, String),
    /// The database that the connection names.
    Url(Connection),
}

impl Target {
    /// A connection to the server, and the database's name.
    fn database(&self) -> Result<(Connection, String)> {
        match self {
            Self::Named(connection, name) => Ok((connection.clone(), name.clone())),
            Self::Url(connection) => match connection.database() {
                Some(name) => Ok((connection.clone(), name.to_owned())),
                None => Err(Error::new(ErrorKind::Usage, "the target's connection string names no database")
                    .hint("put the new database's name at its end: postgres://user@host/NAME")),
            },
        }
    }
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
    /// Other roles for those of the backup, by the backup's.
    pub roles: BTreeMap<String, String>,
    /// Create roles that the server lacks.
    pub create_roles: bool,
    /// Use no tablespace but the database's default.
    pub no_tablespaces: bool,
    /// Entries to leave out.
    pub without: Vec<EntryPattern>,
    /// The locale of a new database instead of the backup's.
    pub locale: Option<String>,
    /// Dump the restored database and compare it with the backup.
    pub prove: bool,
    /// Restore beside the target, then exchange the names; the old database stays.
    pub swap: bool,
    /// How long the exchange of names may take, while applications reconnect.
    pub swap_timeout: Duration,
    /// Keep a database whose restore failed, to look at.
    pub keep: bool,
    /// What of the backup.
    pub part: PartRequest,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Restores `backup`. A failed proof is no error but an outcome with `Proof::Failed`.
pub async fn restore(ctx: &Context, backup: &Backup, request: &RestoreRequest) -> Result<RestoreOutcome> {
    let (_, name) = request.target.database()?;
    ctx.tell(&Event::Started { what: "restore", subject: format!("{} into {name}", backup.manifest.id) });
    ctx.phase(Phase::Inspect, 0);
    let restorer = Restorer::connect(ctx, backup, request).await?;
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
    /// That of the backup, in the words of the target: its roles, its locale, the settings it knows.
    manifest: Manifest,
    server: TargetServer,
    /// What makes it differ.
    adaptations: Vec<String>,
    without: Without,
}

impl<'a> Restorer<'a> {
    /// Finds programs and a way into the server; changes nothing.
    async fn connect(ctx: &'a Context, backup: &'a Backup, request: &'a RestoreRequest) -> Result<Self> {
        let (connection, name) = request.target.database()?;
        let search = ctx.search(request.bin_dir.as_deref());
        let client = Client::new(connection, find_newest_clients(&search)?, ctx.temp_dir())?;
        let (maintenance, version) = maintenance(ctx, &client, &name).await?;
        let maintenance = maintenance.with_programs(find_clients(&search, version)?);
        let server = target_server(&maintenance, &ctx.cancel).await?;
        let (manifest, adaptations) = adapt::adapted_manifest(&backup.manifest, request, &server);
        let without = Without { owner: request.no_owner, privileges: request.no_privileges, comment: false };
        Ok(Self { ctx, backup, request, search, maintenance, version, name, manifest, server, adaptations, without })
    }
}

impl Restorer<'_> {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    async fn run(&self) -> Result<RestoreOutcome> {
        let there = existing(&self.maintenance, &self.name, self.manifest(), &self.ctx.cancel).await?;
        self.guard(there.as_ref())?;
        if self.request.swap {
            self.check_kept_name().await?;
            self.plan_swap().await?;
        }
        let mut adaptations = self.adaptations.clone();
        let notes = self.check_needs(there.as_ref(), &mut adaptations).await?;
        if let Ok(swept) = sweep_databases(&self.maintenance, self.ctx.clock.now(), &self.ctx.cancel).await {
            for key in swept {
                let destination = self.maintenance.connection().describe();
                self.ctx.tell(&Event::Swept { destination, key });
            }
        }
        // A server that cannot make the database says so before a terabyte is read.
        let place = self.make_place(there.as_ref()).await?;
        let restored = self.check_and_fill(&place, there.as_ref(), notes, adaptations).await;
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

    /// The same restore of a backup that counts as `fewer` does: what is left out is in neither.
    fn of(&self, fewer: &Manifest) -> Self {
        let manifest = Manifest {
            entries: fewer.entries,
            tables: fewer.tables,
            rows: fewer.rows,
            large_objects: fewer.large_objects,
            ..self.manifest.clone()
        };
        Self {
            search: self.search.clone(),
            maintenance: self.maintenance.clone(),
            name: self.name.clone(),
            manifest,
            server: self.server.clone(),
            adaptations: self.adaptations.clone(),
            ..*self
        }
    }

    async fn check_and_fill(
        &self,
        place: &Place,
        there: Option<&Existing>,
        notes: Vec<String>,
        mut adaptations: Vec<String>,
    ) -> Result<RestoreOutcome> {
        let clock = Instant::now();
        let omit = adapt::omit(self.request, &self.server);
        let mut ready = make_ready(self.ctx, self.backup, &omit).await?;
        let told = adapt::adaptations(ready.scans());
        for adaptation in &told {
            self.ctx.tell(&Event::Note(adaptation.clone()));
        }
        adaptations.extend(told);
        let (mut parts, mut this) = (None, self);
        let lessened;
        if !self.request.part.is_all() {
            let (fewer, outcome) =
                leave::leave_out(self.ctx, self.backup, &self.request.part, &mut ready, &omit).await?;
            parts = Some(outcome);
            lessened = self.of(&fewer.manifest);
            this = &lessened;
        }
        let mut restored = this.fill(place, there, &mut ready, clock, notes).await?;
        restored.adaptations = adaptations;
        restored.parts = parts;
        Ok(restored)
    }
}
