//! Drilling: restoring a backup where it can hurt nobody, and proving that everything came back.
//!
//! *Passed*, *failed* and *could not run* are three answers: what is the machine's fault is never told of the backup.

mod choose;
mod count;
mod judge;
mod run;
mod sample;

pub use choose::{Standing, choose};

use super::outcome::{CheckAnswer, DrillOutcome};
use super::{Backup, Context};
use crate::catalogue::{Phases, write_drill_receipt};
use crate::config::{Check, DrillConfig, DrillLevel, DrilledBackup, JobConfig, Scratch};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::id::random_number;
use crate::postgres::{Connection, sweep_clusters};
use crate::proof::Comparison;
use judge::{judge, receipt};
use run::Drill;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a backup is to be drilled.
#[derive(Debug, Clone)]
pub struct DrillRequest {
    /// The server for the scratch database; `None` for a throwaway cluster on this computer.
    pub server: Option<Connection>,
    /// Which backup of a job is meant, where none is named.
    pub backup: DrilledBackup,
    /// The destination whose copy is drilled, whatever others hold; `None` for the nearest one that is intact.
    pub copy: Option<String>,
    /// How much is restored and compared.
    pub level: DrillLevel,
    /// How many bytes of SQL a sample restores of the tables' rows.
    pub sample_size: u64,
    /// What chance decides is decided by this number: which backup, and which tables are in a sample.
    pub draw: u64,
    /// Leave the scratch behind, to look at.
    pub keep_scratch: bool,
    /// The user's own questions to the restored database.
    pub checks: Vec<Check>,
    /// A restore that takes longer fails the drill: the recovery-time objective.
    pub max_duration: Option<Duration>,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

impl DrillRequest {
    /// The drill of a configured job; of none the default one. `given` says where instead of the job.
    pub fn for_job(job: Option<&JobConfig>, given: Option<Option<Connection>>) -> Result<Self> {
        let DrillConfig { scratch, backup, copy, level, sample_size, max_duration, checks, .. } =
            job.and_then(|job| job.drill.clone()).unwrap_or_default();
        let server = match (given, scratch) {
            (Some(given), _) => given,
            (None, Scratch::Server(url)) => {
                let connection = url.resolve().and_then(|url| Connection::parse(&url));
                // The backup has nothing to do with it.
                Some(connection.map_err(|error| {
                    Error::new(ErrorKind::CouldNotRun, "the drill's scratch server is not known").caused_by(error)
                })?)
            }
            (None, Scratch::Ephemeral) => None,
        };
        Ok(Self {
            server,
            backup,
            copy,
            level,
            sample_size,
            draw: random_number()?,
            keep_scratch: false,
            checks,
            max_duration,
            bin_dir: job.and_then(|job| job.bin_dir.clone()),
        })
    }
}

/// What a drill has come to so far.
#[derive(Default)]
struct Findings {
    destination: Option<Arc<dyn Destination>>,
    comparison: Comparison,
    checks: Vec<CheckAnswer>,
    phases: Phases,
    restore_seconds: f64,
    prove_seconds: f64,
    not_compared: Vec<String>,
    scratch: Option<String>,
}

impl Findings {
    fn phase(&mut self, phase: Phase, since: Instant) {
        self.phases.add(phase, since.elapsed().as_secs_f64());
    }
}

/// Restores `backup` into a scratch and compares. All three results are outcomes; an error means that it was cancelled.
pub async fn drill(ctx: &Context, backup: &Backup, request: &DrillRequest) -> Result<DrillOutcome> {
    let manifest = &backup.manifest;
    ctx.tell(&Event::Started { what: "drill", subject: format!("{} ({})", manifest.id, manifest.database) });
    let started_at = ctx.clock.now();
    let mut findings = Findings::default();
    let run = match only_copy(backup, request.copy.as_deref()) {
        Ok(backup) => {
            let drill = Drill { ctx, backup: &backup, request, search: ctx.search(request.bin_dir.as_deref()) };
            drill.run(&mut findings).await
        }
        Err(error) => Err(error),
    };
    ctx.cancel.check()?;
    let (result, failure) = judge(run, &findings);
    let destination = findings.destination.clone().or_else(|| backup.copies.first().cloned());
    let mut outcome = DrillOutcome {
        backup: manifest.id.clone(),
        job: manifest.job.clone(),
        database: manifest.database.clone(),
        destination: match (&findings.destination, &request.copy) {
            (None, Some(copy)) => copy.clone(),
            _ => destination.as_ref().map(|copy| copy.name().to_owned()).unwrap_or_default(),
        },
        level: request.level,
        result: result.name().to_owned(),
        objects_compared: findings.comparison.objects,
        tables_compared: findings.comparison.tables,
        rows_compared: findings.comparison.rows,
        not_compared: findings.not_compared,
        differences: findings.comparison.differences,
        checks: findings.checks,
        restore_seconds: findings.restore_seconds,
        prove_seconds: findings.prove_seconds,
        objective_seconds: objective(request).map(|limit| limit.as_secs()),
        phases: findings.phases,
        reason: failure.as_ref().map(Error::one_line),
        notes: findings.comparison.notes,
        scratch: findings.scratch,
        receipt: None,
        failure,
    };
    if let Some(destination) = destination {
        let receipt = receipt(ctx, &outcome, result, started_at, request);
        match write_drill_receipt(&*destination, &manifest.dir(), &receipt).await {
            Ok(key) => outcome.receipt = Some(key.to_string()),
            Err(error) => {
                ctx.warn(format!("the receipt could not be kept in {}: {}", destination.name(), error.one_line()));
            }
        }
    }
    ctx.tell(&Event::Finished);
    Ok(outcome)
}

/// The backup as the destination `copy` alone has it: no other copy may stand in for it.
fn only_copy(backup: &Backup, copy: Option<&str>) -> Result<Backup> {
    let Some(name) = copy else { return Ok(backup.clone()) };
    backup.only_at(name).ok_or_else(|| {
        let message = format!("backup {} is not in {name}, whose copy should be drilled", backup.manifest.id);
        Error::new(ErrorKind::CouldNotRun, message).hint(
            "`pgkeep backup copy --missing` makes copies that are missing; --at DEST drills another destination's copy",
        )
    })
}

/// The recovery-time objective, where the drill measures a recovery: a sample is none.
fn objective(request: &DrillRequest) -> Option<Duration> {
    request.max_duration.filter(|_| request.level != DrillLevel::Sample)
}

/// Removes throwaway clusters that killed runs left.
pub fn sweep_scratch(ctx: &Context) {
    for folder in sweep_clusters(ctx.temp_dir()) {
        let key = folder.display().to_string();
        ctx.tell(&Event::Swept { destination: "the temp folder".to_owned(), key });
    }
}
