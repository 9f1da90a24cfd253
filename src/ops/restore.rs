//! Restoring a backup into a new database, beside whatever is there.
//!
//! Everything is loaded into a database of our own, proved there, and gets its name last: stopped at any instant, there is
//! either no database of the target's name, or the old one, or the whole new one.

use super::check::{Intact, intact_copy};
use super::outcome::{Proof, RestoreOutcome};
use super::prove::{Kept, prove};
use super::{Backup, Context};
use crate::archive::Unpacking;
use crate::catalogue::{FileKind, Manifest};
use crate::config::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::postgres::programs::{find_clients, find_newest_clients, server_version};
use crate::postgres::{Client, Connection, Search, Without, version_num};
use crate::restore::{
    Existing, LoadPart, Missing, Scratch, analyze, create_database, existing, kept_name, load, missing_in_target,
    rename, settings_unknown_to, swap, sweep_databases,
};
use crate::script::{Omit, quote_identifier};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Dump the restored database and compare it with the backup.
    pub prove: bool,
    /// Restore beside the target, then exchange the names; the old database stays.
    pub swap: bool,
    /// Keep a database whose restore failed, to look at.
    pub keep: bool,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Where the rows go.
enum Place {
    /// Into a database of our own, which takes the target's name at the end.
    Ours(Scratch),
    /// Into the empty database that is there.
    Theirs,
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
    let outcome = restorer.run().await?;
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
        let intact = intact_copy(self.ctx, self.backup, &omit).await?;
        let place = self.make_place(there.as_ref()).await?;
        let restored = self.fill(&place, &intact, clock, notes).await;
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

    /// Nothing that is in use is ever written to.
    fn guard(&self, there: Option<&Existing>) -> Result<()> {
        let (name, request) = (&self.name, self.request);
        match there {
            None if request.swap => Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no database {name} whose place the restored one could take"),
            )
            .hint("leave --swap out: the backup is then restored as a new database")),
            Some(_) if request.swap && self.maintenance.connection().database() == Some(name) => {
                Err(Error::new(ErrorKind::PermissionDenied, format!("{name} cannot be renamed while connected to it"))
                    .hint("give a role that may connect to the database postgres"))
            }
            Some(_) if request.swap => Ok(()),
            Some(existing) if existing.is_source => Err(Error::new(
                ErrorKind::Refused,
                format!("{name} is the very database that the backup was taken from"),
            )
            .hint(
                "restore into a new name, or add --swap to put the restored database in its place and keep the old one",
            )),
            Some(existing) if existing.objects > 0 => Err(Error::new(
                ErrorKind::Refused,
                format!("database {name} exists and is not empty"),
            )
            .hint(
                "restore into a new name, or add --swap to put the restored database in its place and keep the old one",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The name under which the replaced database stays: it must be free, now and after hours of loading.
    async fn check_kept_name(&self) -> Result<String> {
        let kept = kept_name(&self.name, &self.manifest().id);
        match existing(&self.maintenance, &kept, self.manifest(), &self.ctx.cancel).await? {
            None => Ok(kept),
            Some(_) => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("a database {kept} is there from an earlier restore"))
                    .hint("drop or rename it, then try again"))
            }
        }
    }

    /// What the target lacks is said before anything is loaded.
    async fn check_needs(&self) -> Result<Vec<String>> {
        let manifest = self.manifest();
        let Missing { mut roles, extensions } =
            missing_in_target(&self.maintenance, manifest, &self.ctx.cancel).await?;
        if !extensions.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the target server lacks extensions: {}", extensions.join(", ")),
            )
            .hint("install them on the server, then try again"));
        }
        // Policies and user mappings name roles too, but without owners and grants most dumps need none.
        if self.request.no_owner && self.request.no_privileges {
            roles.clear();
        }
        if !roles.is_empty() {
            let create = roles.iter().map(|role| format!("CREATE ROLE {};", quote_identifier(role)));
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the target server lacks roles: {}", roles.join(", ")),
            )
            .hint(format!(
                "create them ({}), or restore with --no-owner and --no-privileges",
                create.collect::<Vec<_>>().join(" ")
            )));
        }
        let mut notes = Vec::new();
        let psql = &self.maintenance.programs().version;
        if !psql.supports_restrict() {
            notes.push(format!(
                "psql {psql} is older than August 2025 and cannot be told to refuse commands hidden in a dump: update it before \
                 restoring backups that strangers could have written"
            ));
        }
        if manifest.server.major() * 10_000 > self.version {
            notes.push(format!(
                "the backup is of PostgreSQL {}, the target is {}: what only the newer one knows will stop the restore",
                server_version(manifest.server.version_num),
                server_version(self.version)
            ));
        }
        Ok(notes)
    }

    async fn make_place(&self, there: Option<&Existing>) -> Result<Place> {
        self.ctx.phase(Phase::Prepare, 0);
        if there.is_some() && !self.request.swap {
            return Ok(Place::Theirs);
        }
        let (now, cancel) = (self.ctx.clock.now(), &self.ctx.cancel);
        let properties = &self.manifest().properties;
        create_database(&self.maintenance, properties, self.version, now, cancel).await.map(Place::Ours)
    }

    async fn fill(
        &self,
        place: &Place,
        intact: &Intact,
        clock: Instant,
        mut notes: Vec<String>,
    ) -> Result<RestoreOutcome> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let database = match place {
            Place::Ours(scratch) => scratch.name.as_str(),
            Place::Theirs => self.name.as_str(),
        };
        let client = self.maintenance.with_database(database);
        load_all(ctx, &client, manifest, intact).await?;
        ctx.phase(Phase::Analyze, 0);
        notes.extend(analyze(&client, &ctx.cancel).await?);
        let restore_seconds = clock.elapsed().as_secs_f64();
        let without = Without { comment: matches!(place, Place::Ours(_)), ..self.without };
        notes.extend(apply_properties(ctx, &self.maintenance, manifest, database, without).await?);
        let prove_clock = Instant::now();
        let comparison = if self.request.prove {
            let locale = matches!(place, Place::Ours(_));
            let kept = Kept { without, locale };
            Some(prove(ctx, &client, &self.search, manifest, &intact.contents, kept).await?)
        } else {
            None
        };
        let prove_seconds = prove_clock.elapsed().as_secs_f64();
        let (proof, differences) = match comparison {
            None => (Proof::Skipped, Vec::new()),
            Some(comparison) => {
                notes.extend(comparison.notes);
                let proof = if comparison.differences.is_empty() { Proof::Passed } else { Proof::Failed };
                (proof, comparison.differences)
            }
        };
        let (database, kept_as) = self.take_name(place, proof, &mut notes).await?;
        Ok(RestoreOutcome {
            backup: manifest.id.clone(),
            target: self.maintenance.with_database(&database).connection().describe(),
            database,
            tables: manifest.tables,
            rows: manifest.rows,
            restore_seconds,
            prove_seconds,
            proof,
            differences,
            notes,
            kept_as,
        })
    }

    /// The last step: the restored database gets its name. One whose proof failed never takes a live one's place.
    async fn take_name(
        &self,
        place: &Place,
        proof: Proof,
        notes: &mut Vec<String>,
    ) -> Result<(String, Option<String>)> {
        let Place::Ours(scratch) = place else { return Ok((self.name.clone(), None)) };
        let (ctx, cancel) = (self.ctx, &self.ctx.cancel);
        let comment = self.manifest().properties.comment_statement(&scratch.name);
        if self.request.swap && proof == Proof::Failed {
            notes.push(format!("{} was not replaced, for the proof failed", self.name));
            return Ok((scratch.name.clone(), None));
        }
        if !self.request.swap {
            rename(&self.maintenance, &scratch.name, &self.name, &comment, cancel).await?;
            return Ok((self.name.clone(), None));
        }
        ctx.phase(Phase::Swap, 0);
        let kept = self.check_kept_name().await?;
        swap(&self.maintenance, &self.name, &kept, &scratch.name, &comment, cancel).await?;
        Ok((self.name.clone(), Some(kept)))
    }
}

/// Loads every data file of a checked copy, in order.
pub(super) async fn load_all(ctx: &Context, client: &Client, manifest: &Manifest, intact: &Intact) -> Result<()> {
    let progress = ctx.phase(Phase::Load, manifest.sql_bytes);
    let codec: Codec = manifest.codec.parse()?;
    let files = manifest.files_of(FileKind::Data).zip(&intact.contents.files).zip(&intact.scans);
    for ((file, index), scan) in files {
        let unpacking = Unpacking {
            destination: Arc::clone(&intact.source),
            key: manifest.dir().child(&file.name),
            codec,
            members: index.members.clone(),
            threads: ctx.threads(),
            progress: Arc::clone(&progress),
        };
        let (sha256, omitted, entries) = (file.sha256.clone(), scan.omitted.clone(), index.entries.clone());
        load(client, LoadPart { unpacking, sha256, omitted, entries }, &ctx.cancel).await?;
    }
    Ok(())
}

/// Gives the database `name` the recorded properties, one by one; what the server refuses is returned in words.
pub(super) async fn apply_properties(
    ctx: &Context,
    maintenance: &Client,
    manifest: &Manifest,
    name: &str,
    without: Without,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for statement in manifest.properties.alter_statements(name, without) {
        if let Err(error) = maintenance.execute(&statement, &ctx.cancel).await {
            ctx.cancel.check()?;
            notes.push(format!("{statement} was refused: {}", error.one_line()));
        }
    }
    Ok(notes)
}
