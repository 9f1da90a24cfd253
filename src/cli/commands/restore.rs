//! `pgkeep restore`: asks a person for what is missing, prints the plan, restores.

use super::{Session, catalog_for, nothing};
use crate::cli::args::RestoreArgs;
use crate::cli::ask::{self, Into, Place, Terminal};
use crate::cli::{exit, places, tables, voice};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{
    self, Backup, Catalog, ListedBackup, PartRequest, RestorePlan, RestoreRequest, SwapBackRequest, Target,
};
use crate::restore::{Beside, name_beside};
use std::collections::BTreeSet;

/// The code of a restore that somebody decided against: no success that a script may build on.
const DECLINED: u8 = 1;

/// What a person is told who says no.
const NOT_DONE: &str = "nothing was restored\n";

/// Restores one backup, and says what to do next.
///
/// What was not said is asked for: only at a terminal, for elsewhere the command line is refused before.
pub(super) async fn restore(args: &RestoreArgs, session: &Session<'_>) -> Result<u8> {
    if args.swap_back || args.finish_swap {
        return swap_back(args, session).await;
    }
    let (ctx, config) = (session.ctx, &session.ctx.config);
    let mut terminal = Terminal::new(&ctx.cancel);
    let (catalog, chosen) = match &args.backup {
        Some(selector) => {
            let catalog = catalog_for(selector, &args.at.at, session).await?;
            let backup = catalog.find(ctx, selector).await?;
            (catalog, Some(backup))
        }
        None => choose_backup(args, &mut terminal, session).await?,
    };
    let Some(backup) = &chosen else { return Ok(not_done()) };
    let job = &backup.manifest.job;
    let bin_dir = config.jobs.get(job).and_then(|job| job.bin_dir.clone());
    let mut swap = args.swap;
    let target = match &args.into {
        Some(into) => places::target(into, args.url.database_url.as_ref(), job, config)?,
        None => match choose_place(args, backup, &mut terminal, session).await? {
            Some((target, into_live)) => {
                swap = into_live;
                target
            }
            None => return Ok(not_done()),
        },
    };
    let request = RestoreRequest {
        target,
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        jobs: args.jobs.map(usize::from),
        roles: args.role.iter().cloned().collect(),
        create_roles: args.create_roles,
        no_tablespaces: args.no_tablespaces,
        without: args.without.clone(),
        locale: args.locale.clone(),
        prove: !args.no_prove,
        swap,
        swap_timeout: args.swap_timeout,
        keep: args.keep,
        part: PartRequest {
            tables: args.table.clone(),
            schema_only: args.schema_only,
            data_only: args.data_only,
            exclude_table_data: args.exclude_table_data.clone(),
            into_schema: args.into_schema.clone(),
        },
        bin_dir,
    };
    if request.part.is_some() {
        // Whether a part can be restored is known only once its definitions are read; it goes in whole or not at all.
        let asked = args.backup.is_none() || args.into.is_none();
        session.display.pause();
        if asked && !args.yes && !ask::yes(&mut terminal, "\nRestore this part?").await? {
            return Ok(not_done());
        }
        return finish(&ops::restore(ctx, backup, &request).await?, session);
    }
    let plan = ops::plan_restore(ctx, backup, &request, catalog.backups()).await?;
    session.display.pause();
    let text = tables::restore_plan(&plan, ctx.clock.now(), config.timezone);
    if args.dry_run {
        session.output.text(&text)?;
        session.output.json(&plan)?;
        return Ok(refusal(plan).map_or(exit::DONE, |error| {
            voice::tell(&error);
            error.exit_code()
        }));
    }
    if !session.global.quiet {
        voice::stderr(&text);
    }
    if let Some(error) = refusal(plan) {
        return Err(error);
    }
    let asked = args.backup.is_none() || args.into.is_none();
    if asked && !args.yes && !ask::yes(&mut terminal, "\nRestore?").await? {
        return Ok(not_done());
    }
    finish(&ops::restore(ctx, backup, &request).await?, session)
}

/// Tells what came of a restore.
fn finish(outcome: &ops::RestoreOutcome, session: &Session<'_>) -> Result<u8> {
    session.display.pause();
    session.output.text(&tables::restored(outcome))?;
    session.output.json(outcome)?;
    let failure = exit::of_restore(outcome);
    if let Some(error) = &failure {
        voice::tell(error);
    }
    Ok(failure.map_or(exit::DONE, |error| error.exit_code()))
}

/// Undoes the last swap, or finishes one, and says how to go back.
async fn swap_back(args: &RestoreArgs, session: &Session<'_>) -> Result<u8> {
    let Some(into) = &args.into else {
        return Err(Error::new(ErrorKind::Usage, "it is not said which database is to be put back")
            .hint("add its name: --into NAME"));
    };
    let request = SwapBackRequest {
        target: places::target(into, args.url.database_url.as_ref(), "", &session.ctx.config)?,
        kept: args.kept.clone(),
        finish: args.finish_swap,
        limit: args.swap_timeout,
        bin_dir: None,
    };
    let outcome = ops::swap_back(session.ctx, &request).await?;
    session.display.pause();
    session.output.text(&tables::swapped_back(&outcome))?;
    session.output.json(&outcome)?;
    Ok(exit::DONE)
}

fn refusal(plan: RestorePlan) -> Option<Error> {
    plan.refusal
}

fn not_done() -> u8 {
    voice::stderr(NOT_DONE);
    DECLINED
}

/// Shows the backups there are and lets one be chosen, as its folder tells it now.
async fn choose_backup(
    args: &RestoreArgs,
    terminal: &mut Terminal<'_>,
    session: &Session<'_>,
) -> Result<(Catalog, Option<Backup>)> {
    let ctx = session.ctx;
    let destinations = places::look_in(&args.at.at, None, &ctx.config)?;
    let catalog = Catalog::read(ctx, &destinations, None).await?;
    session.display.pause();
    for (destination, problem) in catalog.problems() {
        voice::warn(&super::problem_text(destination, problem));
    }
    let listed = catalog.listed();
    if listed.is_empty() {
        return Err(nothing("there is no backup to restore"));
    }
    let (now, zone) = (ctx.clock.now(), ctx.config.timezone);
    let Some(of_job) = ask::which_job(terminal, listed, now).await? else { return Ok((catalog, None)) };
    let Some(place) = ask::which_backup(terminal, &of_job, now, zone).await? else { return Ok((catalog, None)) };
    let is_chosen = |backup: &&Backup| {
        let is = |one: &ListedBackup| (&one.id, &one.job, &one.database) == of_manifest(backup);
        of_job.get(place).is_some_and(is)
    };
    let chosen = match catalog.backups().iter().find(is_chosen) {
        Some(backup) => backup.fresh(ctx).await?,
        None => None,
    };
    let gone = || nothing("the chosen backup is not there any more");
    Ok((catalog, Some(chosen.ok_or_else(gone)?)))
}

fn of_manifest(backup: &Backup) -> (&crate::id::BackupId, &String, &String) {
    (&backup.manifest.id, &backup.manifest.job, &backup.manifest.database)
}

/// Lets the database be chosen on the server that the command line, the job or the environment leads to; tells whether it
/// is a live one that is to be replaced.
async fn choose_place(
    args: &RestoreArgs,
    backup: &Backup,
    terminal: &mut Terminal<'_>,
    session: &Session<'_>,
) -> Result<Option<(Target, bool)>> {
    let (ctx, manifest) = (session.ctx, &backup.manifest);
    let server = places::server(args.url.database_url.as_ref(), &manifest.job, &ctx.config)?;
    let job = ctx.config.jobs.get(&manifest.job);
    let names = ops::databases_there(ctx, &server, job.and_then(|job| job.bin_dir.as_deref())).await?;
    session.display.pause();
    let there: BTreeSet<String> = names.into_iter().collect();
    let named = |name: String| Target::Named(server.clone(), name);
    if args.swap {
        if !there.contains(&manifest.database) {
            let message = format!("there is no database {} whose place the restored one could take", manifest.database);
            return Err(Error::new(ErrorKind::NotFound, message).hint("name it with --into, or leave --swap out"));
        }
        return Ok(Some((named(manifest.database.clone()), true)));
    }
    let place = Place {
        server: server.describe_server(),
        there: &there,
        database: &manifest.database,
        taken_at: manifest.started_at,
        kept_as: name_beside(Beside::Before, &manifest.database, &manifest.id, 1),
    };
    Ok(ask::which_place(terminal, &place).await?.map(|into| match into {
        Into::New(name) => (named(name), false),
        Into::Swap(name) => (named(name), true),
    }))
}
