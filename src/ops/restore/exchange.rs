//! A restored database takes the place of a live one: what is looked at and said before, the exchange, and the way back.

use super::{Restorer, Target, maintenance};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::id::BackupId;
use crate::ops::Context;
use crate::ops::outcome::Proof;
use crate::postgres::programs::{find_clients, find_newest_clients};
use crate::postgres::{Client, inspect};
use crate::process::shell_word;
use crate::proof::{Comparison, compare_properties};
use crate::restore::{
    Beside, BesideDatabase, BesideMark, Exchange, Existing, Live, Scratch, Sessions, databases_beside,
    free_name_beside, live, name_beside, rename,
};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

impl Restorer<'_> {
    /// Says what a swap will do, and refuses what cannot work: before anything is loaded.
    pub(super) async fn plan_swap(&self) -> Result<()> {
        let (ctx, name, manifest) = (self.ctx, &self.name, self.manifest());
        let live = live(&self.maintenance, name, &ctx.cancel).await?;
        may_be_renamed(&live, name)?;
        let plan = |line: String| ctx.tell(&Event::Note(format!("plan: {line}")));
        let kept = name_beside(Beside::Before, name, &manifest.id, 1);
        plan(format!("restore {} into a new database beside {name} and compare it with the backup", manifest.id));
        plan(format!(
            "then, within {}, in one transaction: {name} is renamed to {kept}, and the restored one to {name}",
            humantime::format_duration(self.request.swap_timeout)
        ));
        plan(format!("back again: pgkeep restore --swap-back --into {}", shell_word(name)));
        let pretty = format!("select pg_catalog.pg_size_pretty({}::bigint);", manifest.sql_bytes);
        let sql = self.maintenance.query(&pretty, &ctx.cancel).await?;
        let size = live.size.as_ref().map(|size| format!("{name} takes {size} and stays; ")).unwrap_or_default();
        plan(format!("room on the server's disk: {size}the restored one needs room for {sql} of SQL and its indexes"));
        if live.sessions.is_empty() {
            plan(format!("nobody is connected to {name} now"));
        } else {
            plan(format!("sessions on {name} that will be ended: {}", who(&live)));
        }
        let client = self.maintenance.with_database(name);
        let mut differ = Comparison::default();
        let now = inspect(&client, &ctx.cancel).await?.properties;
        compare_properties(&manifest.properties, &now, self.without, true, &mut differ);
        for difference in differ.differences {
            plan(format!("{} of {name}: now {}, then {}", difference.name, difference.found, difference.expected));
        }
        self.warn_of(&live);
        Ok(())
    }

    fn warn_of(&self, live: &Live) {
        let (ctx, name) = (self.ctx, &self.name);
        let lasting: Vec<String> =
            live.sessions.iter().filter(|sessions| !sessions.may_end).map(Sessions::describe).collect();
        if !lasting.is_empty() {
            ctx.warn(format!(
                "role {} may not end these sessions on {name}: {}. GRANT pg_signal_backend TO it (those of superusers need a \
                 superuser), or see that they are gone when the names are exchanged",
                live.me,
                lasting.join(", ")
            ));
        }
        if !live.slots.is_empty() {
            ctx.warn(format!(
                "logical replication slots stay with the old database, and whoever reads them must be set up anew: {}",
                live.slots.join(", ")
            ));
        }
        if !live.subscriptions.is_empty() {
            ctx.warn(format!(
                "subscriptions go on in the old database, not in the restored one: {}",
                live.subscriptions.join(", ")
            ));
        }
    }

    /// Exchanges the names; returns that of the old database. If that cannot be done, what was restored stays for later.
    pub(super) async fn exchange(&self, scratch: &Scratch, there: Option<&Existing>, proof: Proof) -> Result<String> {
        let ctx = self.ctx;
        ctx.phase(Phase::Swap, 0);
        let error = match self.try_exchange(scratch, there).await {
            Ok(kept) => return Ok(kept),
            Err(error) => error,
        };
        ctx.cancel.check()?;
        let proved = match proof {
            Proof::Passed => Some(true),
            Proof::Failed => Some(false),
            Proof::Skipped => None,
        };
        let kept = self.keep_restored(scratch, proved).await.map_err(|_| {
            // What was wrong with the exchange says more.
            Error::new(ErrorKind::Failed, format!("what was restored could not be kept: {}", error.one_line()))
        })?;
        let name = &self.name;
        let done = if proved == Some(true) { "restored and proved" } else { "restored" };
        let message = format!("{name} was not replaced; what was {done} is database {kept}");
        let hint = format!(
            "{name} is as it was. When nobody is connected to it: pgkeep restore --finish-swap --into {} --kept {}",
            shell_word(name),
            shell_word(&kept)
        );
        Err(Error::new(error.kind(), message).caused_by(error).hint(hint))
    }

    async fn try_exchange(&self, scratch: &Scratch, there: Option<&Existing>) -> Result<String> {
        let (ctx, name, manifest) = (self.ctx, &self.name, self.manifest());
        let kept = self.check_kept_name().await?;
        let live = live(&self.maintenance, name, &ctx.cancel).await?;
        if there.is_some_and(|there| there.oid != live.oid) {
            return Err(Error::new(
                ErrorKind::Refused,
                format!("database {name} was replaced by another one meanwhile"),
            ));
        }
        may_be_renamed(&live, name)?;
        let now = ctx.clock.now();
        let mark =
            BesideMark::new(Beside::Before, name, &manifest.id, live.oid, now, live.comment.clone()).to_comment()?;
        let exchange = Exchange {
            name,
            leaving: live.oid,
            aside: &kept,
            aside_comment: Some(&mark),
            coming: scratch.oid,
            from: &scratch.name,
            comment: manifest.properties.comment.as_deref(),
            limit: self.request.swap_timeout,
        };
        explained(exchange.run(&self.maintenance, &ctx.cancel).await, &self.maintenance, name).await?;
        Ok(kept)
    }

    /// Leaves what was restored beside the live database, under a name of its own and with a mark that tells what it is.
    pub(super) async fn keep_restored(&self, scratch: &Scratch, proved: Option<bool>) -> Result<String> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let kept = free_name_beside(&self.maintenance, Beside::Restored, &self.name, &manifest.id, &ctx.cancel).await?;
        let comment = manifest.properties.comment.clone();
        let mut mark =
            BesideMark::new(Beside::Restored, &self.name, &manifest.id, scratch.oid, ctx.clock.now(), comment);
        mark.swap.proved = proved;
        rename(&self.maintenance, &scratch.name, &kept, Some(&mark.to_comment()?), &ctx.cancel).await?;
        Ok(kept)
    }
}

fn who(live: &Live) -> String {
    live.sessions.iter().map(Sessions::describe).collect::<Vec<_>>().join(", ")
}

/// Refuses what no time limit helps against.
fn may_be_renamed(live: &Live, name: &str) -> Result<()> {
    if !live.may_rename {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("role {} may not rename database {name}, which belongs to {}", live.me, live.owner),
        )
        .hint("connect as a superuser, or as a role with CREATEDB that is the owner or a member of it"));
    }
    if !live.prepared.is_empty() {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{name} has prepared transactions, which keep it from being renamed: {}", live.prepared.join(", ")),
        )
        .hint("end each with COMMIT PREPARED or ROLLBACK PREPARED, then try again"));
    }
    Ok(())
}

/// An exchange that ran out of time, with who was in its way.
async fn explained(result: Result<()>, maintenance: &Client, name: &str) -> Result<()> {
    let Err(error) = result else { return Ok(()) };
    if error.kind() != ErrorKind::Unavailable {
        return Err(error);
    }
    match live(maintenance, name, &Cancel::new()).await {
        Ok(live) if !live.prepared.is_empty() => may_be_renamed(&live, name).map_err(|found| found.caused_by(error)),
        Ok(live) if live.connected() > 0 => Err(Error::new(
            ErrorKind::Unavailable,
            format!("{name} could not be renamed, for it is in use: {}", who(&live)),
        )
        .caused_by(error)),
        _ => Err(error),
    }
}

/// How a swap is to be undone, or finished.
#[derive(Debug, Clone)]
pub struct SwapBackRequest {
    /// The live database.
    pub target: Target,
    /// The database that gets its name; none for the newest.
    pub kept: Option<String>,
    /// Not the one from before a restore, but a restored one that waits.
    pub finish: bool,
    /// How long the exchange of names may take, while applications reconnect.
    pub limit: Duration,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// An exchange of names that was undone, or finished.
#[derive(Debug, Serialize)]
pub struct SwapBackOutcome {
    /// The name that has changed hands.
    pub database: String,
    /// Where, without secrets: `user@host:port/name`.
    pub target: String,
    /// The name that the database had that has it now.
    pub was: String,
    /// The name of the database that had it.
    pub kept_as: String,
    /// The backup that was restored.
    pub backup: BackupId,
}

/// Gives a live database's name to the one that had it before the last restore with a swap, or to a restored one that
/// waits for it. Nothing is dropped: the one that had the name stays under another.
pub async fn swap_back(ctx: &Context, request: &SwapBackRequest) -> Result<SwapBackOutcome> {
    let (connection, name) = request.target.database()?;
    let what = if request.finish { "finish-swap" } else { "swap-back" };
    ctx.tell(&Event::Started { what, subject: name.clone() });
    ctx.phase(Phase::Inspect, 0);
    let search = ctx.search(request.bin_dir.as_deref());
    let client = Client::new(connection, find_newest_clients(&search)?, ctx.temp_dir())?;
    let (maintenance, version) = maintenance(ctx, &client, &name).await?;
    let maintenance = maintenance.with_programs(find_clients(&search, version)?);
    if maintenance.connection().database() == Some(&name) {
        return Err(Error::new(ErrorKind::PermissionDenied, format!("{name} cannot be renamed while connected to it"))
            .hint("give a role that may connect to the database postgres"));
    }
    let there = databases_beside(&maintenance, &name, &ctx.cancel).await?;
    let coming = choose(there, &name, request)?;
    let count =
        format!("select count(*) from pg_catalog.pg_database where datname = {};", crate::script::literal(&name));
    if maintenance.query_json::<u64>(&count, &ctx.cancel).await? == 0 {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no database {name} to change names with"))
            .hint(format!("give it its name: ALTER DATABASE {} RENAME TO {}", quoted(&coming.name), quoted(&name))));
    }
    let live = live(&maintenance, &name, &ctx.cancel).await?;
    may_be_renamed(&live, &name)?;
    let leaves = if coming.mark.is == Beside::Before { Beside::Undone } else { Beside::Before };
    let backup = &coming.mark.backup;
    let aside = free_name_beside(&maintenance, leaves, &name, backup, &ctx.cancel).await?;
    ctx.tell(&Event::Note(format!("plan: {name} is renamed to {aside}, and {} to {name}", coming.name)));
    if !live.sessions.is_empty() {
        ctx.tell(&Event::Note(format!("plan: sessions on {name} that will be ended: {}", who(&live))));
    }
    ctx.phase(Phase::Swap, 0);
    let mark = BesideMark::new(leaves, &name, backup, live.oid, ctx.clock.now(), live.comment.clone()).to_comment()?;
    let exchange = Exchange {
        name: &name,
        leaving: live.oid,
        aside: &aside,
        aside_comment: Some(&mark),
        coming: coming.mark.oid,
        from: &coming.name,
        comment: coming.mark.comment.as_deref(),
        limit: request.limit,
    };
    let done = explained(exchange.run(&maintenance, &ctx.cancel).await, &maintenance, &name).await;
    done.map_err(|error| match error.hint_text() {
        Some(_) => error,
        None => error.hint(format!("{name} and {} are as they were; stop the applications and try again", coming.name)),
    })?;
    ctx.tell(&Event::Finished);
    Ok(SwapBackOutcome {
        target: maintenance.with_database(&name).connection().describe(),
        database: name,
        was: coming.name,
        kept_as: aside,
        backup: coming.mark.backup,
    })
}

/// The database that is to get the name: one that pgkeep has marked, and no other.
fn choose(there: Vec<BesideDatabase>, name: &str, request: &SwapBackRequest) -> Result<BesideDatabase> {
    let names: Vec<String> = there.iter().map(|database| database.name.clone()).collect();
    let wanted = |database: &BesideDatabase| match (&request.kept, database.mark.is) {
        (Some(kept), _) => database.name == *kept,
        (None, Beside::Before) => !request.finish,
        // What was found to differ from its backup takes no place unless it is named.
        (None, Beside::Restored) => request.finish && database.mark.proved != Some(false),
        (None, Beside::Undone) => false,
    };
    there.into_iter().find(wanted).ok_or_else(|| {
        let message = match (&request.kept, request.finish) {
            (Some(kept), _) => format!("{kept} is no database that a restore left beside {name}"),
            (None, false) => format!("there is no database from before a restore of {name}"),
            (None, true) => format!("there is no restored database that waits for the name {name}"),
        };
        let error = Error::new(ErrorKind::NotFound, message);
        if names.is_empty() {
            error.hint("only databases are taken whose comment says that pgkeep left them; `ALTER DATABASE ... RENAME` by hand")
        } else {
            error.hint(format!("pgkeep left these: {}; name one with --kept", names.join(", ")))
        }
    })
}

fn quoted(name: &str) -> String {
    crate::script::quote_identifier(name)
}
