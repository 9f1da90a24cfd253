//! Looking for everything that would keep backups and drills from working, before the night on which they are needed.
//!
//! Destinations are written to and read for real (`doctor/place.rs`), databases are asked what pg_dump would meet
//! (`doctor/database.rs`), drills whether this computer could run them (`doctor/drills.rs`), and what the configuration
//! leaves to chance is told (`doctor/settings.rs`). Nothing that fails keeps the rest from being looked at.

mod database;
mod drills;
mod place;
mod room;
mod settings;

use super::{BackupRequest, Context, open_destination};
use crate::config::{DestinationConfig, DestinationRef, JobConfig, Scratch};
use crate::destination::{Finding, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Connection;
use database::{CONNECTION, Examined};
use place::Place;
use serde::Serialize;
use tokio::task::JoinSet;

/// How many destinations, and how many jobs, are looked at at the same time.
const AT_ONCE: usize = 8;

/// What is to be looked at.
pub struct DoctorRequest {
    /// The jobs whose databases are asked.
    pub jobs: Vec<DoctorJob>,
    /// The destinations that are examined.
    pub destinations: Vec<DestinationRef>,
}

/// A job as the doctor sees it.
pub struct DoctorJob {
    /// Its name; `None` where a database was given without one.
    pub name: Option<String>,
    /// What its backup would be, or why there can be none.
    pub backup: Result<BackupRequest>,
    /// Where its drills restore to.
    pub scratch: Scratch,
}

impl DoctorJob {
    /// A configured job, storing in `to` or, if that is empty, in the job's own destinations.
    pub fn of(ctx: &Context, job: &JobConfig, to: Vec<DestinationRef>) -> Self {
        Self {
            name: Some(job.name.clone()),
            backup: BackupRequest::for_job(ctx, job, to),
            scratch: job.drill.as_ref().map_or(Scratch::Ephemeral, |drill| drill.scratch.clone()),
        }
    }

    /// A database without a configured job.
    pub fn ad_hoc(connection: Connection, destinations: Vec<DestinationRef>) -> Self {
        let backup = BackupRequest::ad_hoc(connection, destinations);
        Self { name: None, backup: Ok(backup), scratch: Scratch::Ephemeral }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct DoctorOutcome {
    /// Whether nothing needs to be mended: no warning, and nothing bad.
    pub ok: bool,
    /// The destinations, in the order asked for.
    pub destinations: Vec<DestinationFindings>,
    /// The databases, by job.
    pub databases: Vec<DatabaseFindings>,
    /// The configuration, or what was chosen in its place.
    pub configuration: Vec<Finding>,
}

/// What was found out about a destination.
#[derive(Debug, Serialize)]
pub struct DestinationFindings {
    /// Its name.
    pub name: String,
    /// `folder`, `s3`, `gdrive` or `rclone`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What was found out about a database.
#[derive(Debug, Serialize)]
pub struct DatabaseFindings {
    /// The job; named after the database where there is none.
    pub job: String,
    /// The database; empty where it is not known.
    pub database: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl DoctorOutcome {
    /// Every finding.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let destinations = self.destinations.iter().flat_map(|one| &one.findings);
        let databases = self.databases.iter().flat_map(|one| &one.findings);
        destinations.chain(databases).chain(&self.configuration)
    }
}

/// Looks at everything in `request`. Whatever is wrong is a finding; an error means that it was stopped.
pub async fn doctor(ctx: &Context, request: DoctorRequest) -> Result<DoctorOutcome> {
    let DoctorRequest { jobs, destinations } = request;
    let configuration = settings::examine(ctx, &jobs, &destinations);
    let mut places = Vec::new();
    for reference in &destinations {
        let (ctx, destination) = (ctx.clone(), open_destination(ctx, reference));
        places.push(async move { place::examine(&ctx, &destination).await });
    }
    let mut asked = Vec::new();
    for job in jobs {
        let ctx = ctx.clone();
        asked.push(async move { database::examine(&ctx, job).await });
    }
    let (places, asked) = tokio::join!(
        all(places, |error| Place { findings: vec![Finding::failure("examination", &error)], reachable: false }),
        all(asked, |error| vec![Examined::failed(String::new(), String::new(), CONNECTION, &error)]),
    );
    ctx.cancel.check()?;
    let mut databases: Vec<Examined> = asked.into_iter().flatten().collect();
    // One that cannot be reached was waited for once.
    let unreachable: Vec<&DestinationRef> = destinations
        .iter()
        .zip(&places)
        .filter(|(_, place)| !place.reachable)
        .map(|(reference, _)| reference)
        .collect();
    room::estimate(ctx, &mut databases, &unreachable).await;
    drills::examine(ctx, &mut databases).await;
    ctx.cancel.check()?;
    let mut destinations: Vec<DestinationFindings> = destinations
        .iter()
        .zip(places)
        .map(|(reference, place)| DestinationFindings {
            name: reference.name.clone(),
            kind: kind(&reference.config),
            findings: place.findings,
        })
        .collect();
    room::examine(&databases, &mut destinations).await;
    let databases = databases.into_iter().map(|examined| examined.told).collect();
    let outcome = DoctorOutcome { ok: true, destinations, databases, configuration };
    let ok = outcome.findings().all(|finding| finding.verdict < Verdict::Warning);
    Ok(DoctorOutcome { ok, ..outcome })
}

/// Runs `work`, several at the same time; the answers in the order of the work. One that panics has `failed`.
async fn all<T: Send + 'static>(
    work: Vec<impl Future<Output = T> + Send + 'static>,
    failed: impl Fn(Error) -> T,
) -> Vec<T> {
    let mut answers: Vec<Option<T>> = work.iter().map(|_| None).collect();
    let mut waiting = work.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((index, work)) = waiting.next()
        {
            running.spawn(async move { (index, work.await) });
        }
        let Some(joined) = running.join_next().await else { break };
        if let Ok((index, answer)) = joined
            && let Some(place) = answers.get_mut(index)
        {
            *place = Some(answer);
        }
    }
    let lost = || failed(Error::new(ErrorKind::Failed, "the examination ended unexpectedly"));
    answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect()
}

fn kind(config: &DestinationConfig) -> &'static str {
    match config {
        DestinationConfig::Folder { .. } => "folder",
        DestinationConfig::S3(_) => "s3",
        DestinationConfig::Drive(_) => "gdrive",
        DestinationConfig::Rclone(_) => "rclone",
    }
}
