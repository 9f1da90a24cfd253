//! `pgkeep drill`.

use super::{Session, nothing, problem_text};
use crate::cli::args::DrillArgs;
use crate::cli::{exit, places, tables, voice};
use crate::config::{DrillLevel, DrilledBackup};
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_number;
use crate::ops::{self, Backup, Catalog, DrillOutcome, DrillRequest};
use crate::postgres::Connection;
use crate::secret::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The exit code of a drill that could not run.
const COULD_NOT_RUN: u8 = 5;

/// Drills one backup, the newest or a random one of one job, or one of every job.
pub(super) async fn drill(args: &DrillArgs, session: &Session<'_>) -> Result<u8> {
    let mut found = Found::default();
    if args.sample_size.is_some() && args.level.is_some_and(|level| level != DrillLevel::Sample) {
        return Err(Error::new(ErrorKind::Usage, "--sample-size means something with --level sample only"));
    }
    let given = args.scratch.as_ref().map(server).transpose()?;
    let catalogs = read(args, &mut found, session).await?;
    for catalog in &catalogs {
        for (destination, problem) in catalog.problems() {
            voice::warn(&problem_text(destination, problem));
        }
    }
    let mut backups: Vec<Backup> = Vec::new();
    for catalog in &catalogs {
        match &args.backup {
            None => backups.extend(of_jobs(catalog, None, args, &mut found, session).await?),
            Some(name) if catalog.backups().iter().any(|backup| backup.manifest.job == *name) => {
                backups.extend(of_jobs(catalog, Some(name), args, &mut found, session).await?);
            }
            Some(name) => backups.push(one(catalog, name, args, session).await?),
        }
    }
    if backups.is_empty() && found.errors.is_empty() {
        return Err(nothing("there is no backup to drill"));
    }
    if !backups.is_empty() {
        ops::sweep_scratch(session.ctx);
    }
    for backup in &backups {
        if session.ctx.cancel.is_cancelled() {
            found.codes.push(session.ctx.cancel.error().exit_code());
            break;
        }
        let job = &backup.manifest.job;
        match one_drill(backup, given.as_ref(), args, session).await {
            Ok(outcome) => {
                show(&outcome, session)?;
                found.outcomes.push(outcome);
            }
            Err(error) => found.fail(job, error, session),
        }
    }
    ops::consolidate(session.ctx, &backups).await;
    found.answer(session)
}

/// The catalogues in which the backups are looked for: with neither a backup nor a place named, one for each job.
async fn read(args: &DrillArgs, found: &mut Found, session: &Session<'_>) -> Result<Vec<Catalog>> {
    let config = &session.ctx.config;
    if let Some(name) = &args.backup {
        places::refuse_url("a job or a backup", name)?;
        // The name of a job is not a selector, and `JOB/latest` is one that names a job.
        let job = if config.jobs.contains_key(name) { Some(name.clone()) } else { super::job_of(name).unwrap_or(None) };
        let destinations = places::look_in(&args.at.at, job.as_deref(), config)?;
        return Ok(vec![Catalog::read(session.ctx, &destinations, job.as_deref()).await?]);
    }
    if !args.at.at.is_empty() || config.jobs.is_empty() {
        let destinations = places::look_in(&args.at.at, None, config)?;
        return Ok(vec![Catalog::read(session.ctx, &destinations, None).await?]);
    }
    let mut catalogs = Vec::new();
    for job in config.jobs.keys() {
        let destinations = places::look_in(&[], Some(job), config)?;
        match Catalog::read(session.ctx, &destinations, Some(job)).await {
            Ok(catalog) if catalog.backups().is_empty() => {
                found.fail(job, nothing(&format!("job {job:?} has no backup to drill")), session);
            }
            Ok(catalog) => catalogs.push(catalog),
            Err(error) => found.fail(job, error, session),
        }
    }
    Ok(catalogs)
}

/// Of every job and database in `catalog`, or of those of one job, the backup that is to be drilled: the newest, or a random
/// older one, where the job wants a certain destination's copy among those that it holds.
async fn of_jobs(
    catalog: &Catalog,
    job: Option<&str>,
    args: &DrillArgs,
    found: &mut Found,
    session: &Session<'_>,
) -> Result<Vec<Backup>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Backup>> = BTreeMap::new();
    for backup in catalog.backups().iter().filter(|backup| job.is_none_or(|job| backup.manifest.job == job)) {
        let of = (backup.manifest.job.as_str(), backup.manifest.database.as_str());
        groups.entry(of).or_default().push(backup);
    }
    let mut chosen = Vec::new();
    for ((job, database), mut group) in groups {
        let config = session.ctx.config.jobs.get(job).and_then(|job| job.drill.as_ref());
        if let Some(copy) = config.and_then(|drill| drill.copy.as_ref()).filter(|_| args.at.at.is_empty()) {
            group.retain(|backup| backup.copies.iter().any(|place| place.name() == copy.as_str()));
            if group.is_empty() {
                let none =
                    nothing(&format!("no backup of {job}/{database} is in {copy}, whose copy should be drilled"));
                found.fail(job, none, session);
                continue;
            }
        }
        let random = args.random || config.is_some_and(|drill| drill.backup == DrilledBackup::Random);
        chosen.extend(fresh(group, random, session).await?);
    }
    Ok(chosen)
}

/// The newest of `group`, which is in their order, or a random older one: the first choice that is still there.
async fn fresh(mut group: Vec<&Backup>, random: bool, session: &Session<'_>) -> Result<Option<Backup>> {
    loop {
        let choice = if random {
            ops::choose(&group, |backup| backup.standing(), random_number()?).copied()
        } else {
            group.last().copied()
        };
        let Some(backup) = choice else { return Ok(None) };
        match backup.fresh(session.ctx).await {
            Ok(Some(backup)) => return Ok(Some(backup)),
            Ok(None) => group.retain(|other| !std::ptr::eq(*other, backup)),
            // It was warned of, and this drill will say for itself what it could not read.
            Err(_) => return Ok(Some(backup.clone())),
        }
    }
}

/// The backup that `name` means, which is not the name of a job that has backups.
async fn one(catalog: &Catalog, name: &str, args: &DrillArgs, session: &Session<'_>) -> Result<Backup> {
    if session.ctx.config.jobs.contains_key(name) {
        return Err(nothing(&format!("job {name:?} has no backup to drill")));
    }
    if args.random {
        let message = format!("--random chooses among the backups of a job, and {name:?} is no job that has any");
        return Err(Error::new(ErrorKind::Usage, message).hint("name a job, or leave the name out for every job"));
    }
    catalog.find(session.ctx, name).await
}

/// The server that `--scratch` names; `None` for a throwaway one.
fn server(scratch: &Secret) -> Result<Option<Connection>> {
    match scratch.expose() {
        "ephemeral" => Ok(None),
        text if text.contains("://") || text.contains('=') => places::parse("--scratch", scratch).map(Some),
        _ => Err(Error::new(ErrorKind::Usage, "--scratch is neither ephemeral nor a connection string")
            .hint("write --scratch ephemeral, or --scratch postgres://user@host/postgres")),
    }
}

async fn one_drill(
    backup: &Backup,
    given: Option<&Option<Connection>>,
    args: &DrillArgs,
    session: &Session<'_>,
) -> Result<DrillOutcome> {
    let job = session.ctx.config.jobs.get(&backup.manifest.job);
    let mut request = DrillRequest { keep_scratch: args.keep_scratch, ..DrillRequest::for_job(job, given.cloned())? };
    request.level = args.level.unwrap_or(request.level);
    request.sample_size = args.sample_size.unwrap_or(request.sample_size);
    if !args.at.at.is_empty() {
        // Where to look was said by hand.
        request.copy = None;
    }
    ops::drill(session.ctx, backup, &request).await
}

fn show(outcome: &DrillOutcome, session: &Session<'_>) -> Result<()> {
    session.display.pause();
    session.output.text(&tables::drilled(outcome))?;
    if let Some(error) = &outcome.failure {
        voice::tell(error);
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    outcomes: Vec<DrillOutcome>,
    errors: Vec<(String, Error)>,
    codes: Vec<u8>,
}

impl Found {
    /// A drill of which nothing came.
    fn fail(&mut self, job: &str, error: Error, session: &Session<'_>) {
        session.display.pause();
        voice::tell(&error);
        self.codes.push(match error.kind() {
            ErrorKind::Interrupted | ErrorKind::Terminated => error.exit_code(),
            // Nothing was compared, so nothing is known: that is its own answer, also where no backup was found.
            _ => COULD_NOT_RUN,
        });
        self.errors.push((job.to_owned(), error));
    }

    fn answer(self, session: &Session<'_>) -> Result<u8> {
        match (self.outcomes.as_slice(), self.errors.as_slice()) {
            ([outcome], []) => session.output.json(outcome)?,
            ([], [(_, error)]) => session.output.json(&json!({ "error": voice::machine(error) }))?,
            (outcomes, errors) => {
                let mut document = json!({ "drills": outcomes });
                if !errors.is_empty() {
                    let one = |(job, error): &(String, Error)| json!({ "job": job, "error": voice::machine(error) });
                    document["errors"] = errors.iter().map(one).collect::<Value>();
                }
                session.output.json(&document)?;
            }
        }
        Ok(exit::gravest(self.codes.into_iter().chain(self.outcomes.iter().map(exit::of_drill))))
    }
}
