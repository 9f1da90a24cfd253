//! `pgkeep doctor`.

use super::Session;
use crate::cli::args::DoctorArgs;
use crate::cli::{exit, places, tables};
use crate::config::{Config, DestinationRef, JobConfig, SecretRef};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, DoctorJob, DoctorRequest};

/// The exit code where something needs to be mended.
const NOT_WELL: u8 = 1;

/// Looks at the named jobs, or at all jobs and destinations, or at what the command line and the environment name.
pub(super) async fn doctor(args: &DoctorArgs, session: &Session<'_>) -> Result<u8> {
    let request = request(args, session)?;
    let outcome = ops::doctor(session.ctx, request).await?;
    session.display.pause();
    session.output.text(&tables::doctor(&outcome))?;
    session.output.json(&outcome)?;
    Ok(if outcome.ok { exit::DONE } else { NOT_WELL })
}

fn request(args: &DoctorArgs, session: &Session<'_>) -> Result<DoctorRequest> {
    let config = &session.ctx.config;
    let to = places::destinations(&args.to, config)?;
    let mut jobs = args.jobs.iter().map(|name| places::job(name, config)).collect::<Result<Vec<&JobConfig>>>()?;
    let explicit = args.url.database_url.as_ref().filter(|url| !url.expose().trim().is_empty());
    if explicit.is_some() && jobs.len() > 1 {
        return Err(Error::new(ErrorKind::Usage, "--database-url is for one job, and several are named")
            .hint("name one job, or leave out --database-url"));
    }
    let all = jobs.is_empty() && explicit.is_none();
    if all {
        // As for `backup now`: DATABASE_URL alone does not set the jobs aside.
        jobs = config.jobs.values().collect();
    }
    if jobs.is_empty() {
        return ad_hoc(args, to, config);
    }
    let destinations = match (to.is_empty(), all) {
        (false, _) => to.clone(),
        (true, true) => places::configured(config),
        (true, false) => {
            let names: Vec<String> = jobs.iter().flat_map(|job| job.destinations.iter().cloned()).collect();
            places::destinations(&names, config)?
        }
    };
    let of = |job: &JobConfig| {
        let mut job = job.clone();
        if let Some(url) = explicit {
            job.database_url = Some(SecretRef::Literal(url.clone()));
        }
        DoctorJob::of(session.ctx, &job, to.clone())
    };
    Ok(DoctorRequest { jobs: jobs.into_iter().map(of).collect(), destinations })
}

/// Without jobs: the one database that is named, if any, and the destinations.
fn ad_hoc(args: &DoctorArgs, to: Vec<DestinationRef>, config: &Config) -> Result<DoctorRequest> {
    let connection = match places::url(args.url.database_url.as_ref())? {
        Some(connection) => Some(connection),
        None => places::environment()?,
    };
    let destinations = if to.is_empty() { places::configured(config) } else { to };
    if connection.is_none() && destinations.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "there is nothing to look at").hint(
            "name a database and a folder, as in: DATABASE_URL=postgres://user@host/shop pgkeep doctor --to ./backups",
        ));
    }
    let jobs = connection.map(|connection| DoctorJob::ad_hoc(connection, destinations.clone()));
    Ok(DoctorRequest { jobs: jobs.into_iter().collect(), destinations })
}
