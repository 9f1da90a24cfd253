//! `pgkeep backup now`.

use super::Session;
use crate::cli::args::NowArgs;
use crate::cli::{exit, places, tables, voice};
use crate::config::{Compression, DestinationRef, JobConfig, SecretRef};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, BackupOutcome, BackupRequest, BackupStatus};
use crate::secret::Secret;
use serde_json::json;
use std::time::Duration;

/// A command that works without configuration.
const EXAMPLE: &str = "pgkeep backup now --to ./backups";

/// Backs up the named jobs, or all jobs, or the one database that `--database-url` or the environment names.
pub(super) async fn now(args: &NowArgs, session: &Session<'_>) -> Result<u8> {
    let config = &session.ctx.config;
    let asked = Asked::read(args)?;
    let to = places::destinations(&args.to, config)?;
    let mut jobs = args.jobs.iter().map(|name| places::job(name, config)).collect::<Result<Vec<&JobConfig>>>()?;
    let explicit = args.url.database_url.as_ref().filter(|url| !url.expose().trim().is_empty());
    if explicit.is_some() && jobs.len() > 1 {
        return Err(Error::new(ErrorKind::Usage, "--database-url is for one job, and several are named")
            .hint("name one job, or leave out --database-url"));
    }
    if jobs.is_empty() && explicit.is_none() {
        // DATABASE_URL is set wherever a job takes its connection from it: it does not set the jobs aside.
        jobs = config.jobs.values().collect();
    }
    if jobs.is_empty() {
        let mut request = ad_hoc(args.url.database_url.as_ref(), to, session)?;
        asked.apply(&mut request);
        let outcomes = ops::backup(session.ctx, &request).await?;
        show(&outcomes, session)?;
        return answer(&outcomes, &[], session);
    }
    let alone = jobs.len() == 1;
    let mut outcomes = Vec::new();
    let mut failures = Vec::new();
    for job in jobs {
        if session.ctx.cancel.is_cancelled() {
            failures.push(session.ctx.cancel.error());
            break;
        }
        let mut job = job.clone();
        if let Some(url) = explicit {
            job.database_url = Some(SecretRef::Literal(url.clone()));
        }
        match one_job(&job, to.clone(), &asked, session).await {
            Ok(done) => {
                show(&done, session)?;
                outcomes.extend(done);
            }
            Err(error) if alone => return Err(error),
            // What is wrong with one job keeps no other from being backed up.
            Err(error) => {
                session.display.pause();
                let message = format!("job {:?} could not be backed up", job.name);
                let error = Error::new(error.kind(), message).caused_by(error);
                voice::tell(&error);
                let outcome = not_begun(&job, &error);
                failures.push(error);
                outcomes.push(outcome);
            }
        }
    }
    answer(&outcomes, &failures, session)
}

async fn one_job(
    job: &JobConfig,
    to: Vec<DestinationRef>,
    asked: &Asked,
    session: &Session<'_>,
) -> Result<Vec<BackupOutcome>> {
    let mut request = BackupRequest::for_job(session.ctx, job, to)?;
    asked.apply(&mut request);
    ops::backup(session.ctx, &request).await
}

/// The backup of the one database that `url` or the environment names, to `to` or all configured destinations.
pub(super) fn ad_hoc(url: Option<&Secret>, to: Vec<DestinationRef>, session: &Session<'_>) -> Result<BackupRequest> {
    let connection = match places::url(url)? {
        Some(connection) => Some(connection),
        None => places::environment()?,
    };
    let connection = connection.ok_or_else(|| places::no_server(EXAMPLE))?;
    let to = if to.is_empty() { places::configured(&session.ctx.config) } else { to };
    if to.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "it is not known where to store the backup")
            .hint(format!("name a folder, as in: {EXAMPLE}")));
    }
    Ok(BackupRequest::ad_hoc(connection, to))
}

/// The duration of `--keep`.
pub(super) fn keep(text: &str) -> Result<Duration> {
    let wrong = |why: &str| {
        Error::new(ErrorKind::Usage, format!("--keep {text:?} {why}")).hint("write a duration such as 90d or 12h")
    };
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err(wrong("keeps nothing")),
        Ok(duration) => Ok(duration),
        Err(_) => Err(wrong("is no duration")),
    }
}

/// Refuses a label that would spoil what is printed.
pub(super) fn check_label(label: Option<&str>) -> Result<()> {
    if label.is_some_and(|label| label.chars().any(char::is_control)) {
        return Err(Error::new(ErrorKind::Usage, "a label must not hold control characters"));
    }
    Ok(())
}

/// What the command line says over a job.
struct Asked {
    compression: Option<Compression>,
    parallel: Option<u8>,
    keep_for: Option<Duration>,
    label: Option<String>,
    pin: bool,
    prune: bool,
}

impl Asked {
    fn read(args: &NowArgs) -> Result<Self> {
        let compression = args.compression.as_deref().map(str::parse::<Compression>).transpose();
        let keep_for = args.keep.as_deref().map(keep);
        check_label(args.label.as_deref())?;
        Ok(Self {
            parallel: args.parallel,
            compression: compression.map_err(|error| error.with_kind(ErrorKind::Usage))?,
            keep_for: keep_for.transpose()?,
            label: args.label.clone(),
            pin: args.pin,
            prune: !args.no_prune,
        })
    }

    fn apply(&self, request: &mut BackupRequest) {
        request.compression = self.compression.unwrap_or(request.compression);
        request.jobs = self.parallel.map_or(request.jobs, usize::from);
        request.keep_for = self.keep_for;
        request.pinned = self.pin;
        request.prune = request.prune && self.prune;
        if let Some(label) = &self.label {
            request.label = Some(label.clone());
        }
    }
}

/// The outcome of a job of which nothing was begun.
fn not_begun(job: &JobConfig, error: &Error) -> BackupOutcome {
    BackupOutcome {
        id: None,
        job: job.name.clone(),
        database: String::new(),
        status: BackupStatus::Failed,
        label: job.label.clone(),
        tables: 0,
        rows: 0,
        entries: 0,
        large_objects: 0,
        sql_bytes: 0,
        stored_bytes: 0,
        duration_seconds: 0.0,
        destinations: Vec::new(),
        warnings: Vec::new(),
        pruned: 0,
        error: Some(error.one_line()),
        failure: None,
    }
}

fn show(outcomes: &[BackupOutcome], session: &Session<'_>) -> Result<()> {
    session.display.pause();
    for outcome in outcomes {
        session.output.text(&tables::backup(outcome, |warning| session.display.has_told(warning)))?;
        if let Some(error) = &outcome.failure {
            voice::tell(error);
        }
    }
    Ok(())
}

fn answer(outcomes: &[BackupOutcome], failures: &[Error], session: &Session<'_>) -> Result<u8> {
    let own = failures.iter().map(Error::exit_code);
    // A job that was not begun has its error in `failures`: its outcome alone would hide the kind.
    let theirs = outcomes.iter().filter(|one| one.id.is_some() || one.failure.is_some() || failures.is_empty());
    let code = exit::gravest(own.chain(theirs.map(exit::of_backup)));
    session.output.json(&json!({ "backups": outcomes }))?;
    Ok(code)
}
