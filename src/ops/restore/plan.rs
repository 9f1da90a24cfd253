//! What a restore would do, found out by looking only: printed before anything happens.

use super::{RestoreRequest, Restorer, maintenance};
use crate::catalogue::{DrillReceipt, DrillResult};
use crate::config::DrillLevel;
use crate::error::{Error, Result};
use crate::event::Phase;
use crate::id::BackupId;
use crate::ops::{Backup, Context, ListedBackup};
use crate::postgres::programs::{find_newest_clients, server_version};
use crate::postgres::{Client, Connection};
use crate::restore::{Beside, Existing, Missing, existing, missing_in_target, name_beside};
use crate::script::literal;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is there under the target's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Nothing.
    Absent,
    /// A database without any object.
    Empty,
    /// A database that holds something.
    InUse,
    /// The very database that the backup was taken from.
    Source,
}

/// How long a restore may take, from an earlier drill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreEstimate {
    /// Seconds, scaled by the bytes of SQL.
    pub seconds: f64,
    /// The backup that was drilled.
    pub drill_of: BackupId,
    /// When.
    pub drilled_at: DateTime<Utc>,
    /// Seconds that the same steps took then.
    pub drill_seconds: f64,
    /// Bytes of SQL of that backup.
    pub drill_sql_bytes: u64,
    /// Where: `ephemeral`, or a server.
    pub scratch: String,
    /// On which computer.
    pub host: String,
}

/// What a restore would do.
#[derive(Debug, Serialize)]
pub struct RestorePlan {
    /// The backup, as `backup list` shows it.
    pub backup: ListedBackup,
    /// Server and database, without a password.
    pub target: String,
    /// The database's name.
    pub database: String,
    /// The server's version, e.g. `17.5`.
    pub server_version: String,
    /// What is there under that name.
    pub state: TargetState,
    /// How many objects it holds.
    pub objects: u64,
    /// Its size on disk in bytes, where the role may know it.
    pub size_bytes: Option<u64>,
    /// How many sessions are connected to it.
    pub sessions: u64,
    /// Whether the restored database takes its place.
    pub swap: bool,
    /// The name under which the replaced database stays.
    pub kept_as: Option<String>,
    /// Whether the restored database is dumped and compared.
    pub prove: bool,
    /// Owners are left out.
    pub no_owner: bool,
    /// Privileges are left out.
    pub no_privileges: bool,
    /// Roles that the backup names and the server lacks.
    pub missing_roles: Vec<String>,
    /// Extensions that the backup needs and the server cannot have.
    pub missing_extensions: Vec<String>,
    /// How long it may take; `None` if no drill tells.
    pub estimate: Option<RestoreEstimate>,
    /// What is worth knowing before.
    pub notes: Vec<String>,
    /// Why it would be refused.
    pub refused: Option<String>,
    /// The same as an error.
    #[serde(skip)]
    pub refusal: Option<Error>,
}

/// Looks what a restore of `backup` would do; `known` are backups among whose drills one may tell how long it takes.
///
/// That it would be refused is part of the plan; an error means that it is not known.
pub async fn plan_restore(
    ctx: &Context,
    backup: &Backup,
    request: &RestoreRequest,
    known: &[Backup],
) -> Result<RestorePlan> {
    ctx.phase(Phase::Inspect, 0);
    let restorer = Restorer::connect(ctx, backup, request).await?;
    let (maintenance, name, cancel) = (&restorer.maintenance, restorer.name.as_str(), &ctx.cancel);
    let manifest = restorer.manifest();
    let there = existing(maintenance, name, manifest, cancel).await?;
    let Missing { roles, extensions } = missing_in_target(maintenance, manifest, cancel).await?;
    let (notes, refusal) = restorer.allowed(there.as_ref()).await;
    cancel.check()?;
    let use_of_it = match there {
        Some(_) => restorer.use_of_target().await?,
        None => Use::default(),
    };
    Ok(RestorePlan {
        backup: backup.listed(),
        target: maintenance.with_database(name).connection().describe(),
        database: name.to_owned(),
        server_version: server_version(restorer.version),
        state: match &there {
            None => TargetState::Absent,
            Some(Existing { is_source: true, .. }) => TargetState::Source,
            Some(Existing { objects: 0, .. }) => TargetState::Empty,
            Some(_) => TargetState::InUse,
        },
        objects: there.map_or(0, |there| there.objects),
        size_bytes: use_of_it.size_bytes,
        sessions: use_of_it.sessions,
        swap: request.swap,
        kept_as: request.swap.then(|| name_beside(Beside::Before, name, &manifest.id, 1)),
        prove: request.prove,
        no_owner: request.no_owner,
        no_privileges: request.no_privileges,
        missing_roles: roles,
        missing_extensions: extensions,
        estimate: estimate(known, backup, request.prove),
        notes,
        refused: refusal.as_ref().map(Error::one_line),
        refusal,
    })
}

#[derive(Default, Deserialize)]
struct Use {
    size_bytes: Option<u64>,
    sessions: u64,
}

impl Restorer<'_> {
    /// What a restore would say before it loads anything, and why it would stop there.
    async fn allowed(&self, there: Option<&Existing>) -> (Vec<String>, Option<Error>) {
        // Parts go into databases that are in use, too, and look for themselves what they need.
        if self.request.part.is_some() {
            return (Vec::new(), None);
        }
        if let Err(error) = self.guard(there) {
            return (Vec::new(), Some(error));
        }
        if self.request.swap
            && let Err(error) = self.check_kept_name().await
        {
            return (Vec::new(), Some(error));
        }
        match self.look_for_needs(there).await {
            Ok((roles, mut notes)) => {
                notes.extend(self.adaptations.iter().cloned());
                notes.extend(roles.told);
                (notes, None)
            }
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    async fn use_of_target(&self) -> Result<Use> {
        let query = format!(
            "select json_build_object('size_bytes', case when pg_catalog.has_database_privilege(d.oid, 'connect') \
             then pg_catalog.pg_database_size(d.oid) end, \
             'sessions', (select count(*) from pg_catalog.pg_stat_activity a where a.datid = d.oid)) \
             from pg_catalog.pg_database d where d.datname = {};",
            literal(&self.name)
        );
        self.maintenance.query_json(&query, &self.ctx.cancel).await
    }
}

/// The names of all databases on the server of `connection`: those that a new one cannot have.
pub async fn databases_there(ctx: &Context, connection: &Connection, bin_dir: Option<&Path>) -> Result<Vec<String>> {
    let programs = find_newest_clients(&ctx.search(bin_dir))?;
    let client = Client::new(connection.clone(), programs, ctx.temp_dir())?;
    let (client, _) = maintenance(ctx, &client, connection.database().unwrap_or("postgres")).await?;
    let query = "select coalesce(json_agg(datname order by datname), '[]') from pg_catalog.pg_database;";
    client.query_json(query, &ctx.cancel).await
}

/// The newest passed drill of the same database (else of the same job), scaled by the bytes of SQL.
fn estimate(known: &[Backup], backup: &Backup, prove: bool) -> Option<RestoreEstimate> {
    let of_job = |other: &&Backup| other.manifest.job == backup.manifest.job;
    let drills = known.iter().filter(of_job).filter_map(|other| {
        let drill = other.drilled().filter(|drill| drill.result == DrillResult::Passed)?;
        // A sample is restored in less time, and a lower level is not proved.
        let tells = drill.level == DrillLevel::Prove || (drill.level == DrillLevel::Restore && !prove);
        if !tells {
            return None;
        }
        Some((other.manifest.database == backup.manifest.database, drill, other.manifest.sql_bytes))
    });
    let (_, drill, sql_bytes) = drills.max_by_key(|(same, drill, _)| (*same, drill.finished_at))?;
    let drill_seconds = seconds_of(drill, prove);
    Some(RestoreEstimate {
        seconds: scaled(drill_seconds, sql_bytes, backup.manifest.sql_bytes),
        drill_of: drill.backup.clone(),
        drilled_at: drill.finished_at,
        drill_seconds,
        drill_sql_bytes: sql_bytes,
        scratch: drill.scratch.clone(),
        host: drill.host.clone(),
    })
}

/// How long the steps took that a restore has too.
fn seconds_of(drill: &DrillReceipt, prove: bool) -> f64 {
    if drill.phases.is_empty() {
        return (drill.finished_at - drill.started_at).as_seconds_f64();
    }
    let left_out = |phase: &str| {
        let phases = [Phase::Prepare.name(), Phase::Clean.name()];
        phases.contains(&phase) || (!prove && phase == Phase::Prove.name())
    };
    drill.phases.iter().filter(|(phase, _)| !left_out(phase)).map(|(_, seconds)| seconds).sum()
}

/// What takes `seconds` for so many bytes takes so long for others.
fn scaled(seconds: f64, bytes: u64, of: u64) -> f64 {
    // A second is lost on starting programs, whatever the size.
    const SMALL: u64 = 1 << 20;
    seconds * (of.max(SMALL) as f64 / bytes.max(SMALL) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{PhaseSeconds, RECEIPT_FORMAT};

    fn drill(phases: &[(&str, f64)]) -> DrillReceipt {
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        DrillReceipt {
            format: RECEIPT_FORMAT,
            started_at: id.started_at(),
            finished_at: id.started_at() + chrono::TimeDelta::seconds(90),
            backup: id,
            result: DrillResult::Passed,
            reason: None,
            objects_compared: 1,
            tables_compared: 1,
            rows_compared: 1,
            differences: Vec::new(),
            differences_left_out: 0,
            checks: Vec::new(),
            destination: None,
            level: DrillLevel::Prove,
            not_compared: Vec::new(),
            phases: phases
                .iter()
                .map(|(phase, seconds)| PhaseSeconds { phase: (*phase).into(), seconds: *seconds })
                .collect::<Vec<_>>()
                .into(),
            restore_seconds: 0.0,
            objective_seconds: None,
            scratch: "ephemeral".into(),
            written_by: "pgkeep".into(),
            host: "here".into(),
        }
    }

    #[test]
    fn only_steps_of_a_restore_count() {
        let phases =
            [("check", 10.0), ("prepare", 5.0), ("load", 30.0), ("analyze", 2.0), ("prove", 20.0), ("clean", 1.0)];
        let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-6;
        assert!(close(seconds_of(&drill(&phases), true), 62.0));
        assert!(close(seconds_of(&drill(&phases), false), 42.0));
        assert!(close(seconds_of(&drill(&[]), true), 90.0), "an old receipt without phases");
    }

    #[test]
    fn it_grows_with_the_bytes_but_not_from_nothing() {
        let close = |found: f64, wanted: f64| (found - wanted).abs() < 1e-6;
        assert!(close(scaled(60.0, 1 << 30, 3 << 30), 180.0));
        assert!(close(scaled(0.5, 0, 100), 0.5));
        assert!(close(scaled(1.0, 1000, 10 << 20), 10.0));
    }
}
