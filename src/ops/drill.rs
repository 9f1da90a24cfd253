//! Drilling: restoring a backup where it can hurt nobody, and proving that everything came back.
//!
//! *Passed*, *failed* and *could not run* are three answers: what is the machine's fault is never told of the backup.

use super::catalog::drill_result;
use super::check::{Intact, intact_copy, read_globals};
use super::globals::{role_statements, tablespaces};
use super::outcome::{CheckAnswer, DrillOutcome};
use super::prove::{Kept, prove};
use super::restore::{apply_properties, load_all};
use super::store::copy_of;
use super::{Backup, Context};
use crate::catalogue::{
    CheckOutcome, DrillReceipt, DrillResult, FileKind, Manifest, PhaseSeconds, RECEIPT_FORMAT, write_drill_receipt,
};
use crate::config::{Check, JobConfig, Scratch};
use crate::destination::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::postgres::programs::{find_clients, find_newest_clients, find_server};
use crate::postgres::{
    Client, Cluster, ClusterOptions, Connection, DatabaseProperties, Programs, Search, Without, sweep_clusters,
    version_num,
};
use crate::process::host_name;
use crate::proof::Comparison;
use crate::restore::{self, Missing, analyze, create_database, missing_in_target, sweep_databases};
use crate::script::{Omit, literal, quote_identifier};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the database in a throwaway cluster.
const DATABASE: &str = "drill";

/// How a backup is to be drilled.
#[derive(Debug, Clone)]
pub struct DrillRequest {
    /// The server for the scratch database; `None` for a throwaway cluster on this computer.
    pub server: Option<Connection>,
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
        let config = job.and_then(|job| job.drill.as_ref());
        let server = match (given, config.map(|config| &config.scratch)) {
            (Some(given), _) => given,
            (None, Some(Scratch::Server(url))) => {
                let connection = url.resolve().and_then(|url| Connection::parse(&url));
                // The backup has nothing to do with it.
                Some(connection.map_err(|error| {
                    Error::new(ErrorKind::CouldNotRun, "the drill's scratch server is not known").caused_by(error)
                })?)
            }
            (None, Some(Scratch::Ephemeral) | None) => None,
        };
        Ok(Self {
            server,
            keep_scratch: false,
            checks: config.map(|config| config.checks.clone()).unwrap_or_default(),
            max_duration: config.and_then(|config| config.max_duration),
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
    phases: Vec<(String, f64)>,
    restore_seconds: f64,
    prove_seconds: f64,
    scratch: Option<String>,
}

/// Restores `backup` into a scratch and compares. All three results are outcomes; an error means that it was cancelled.
pub async fn drill(ctx: &Context, backup: &Backup, request: &DrillRequest) -> Result<DrillOutcome> {
    let manifest = &backup.manifest;
    ctx.tell(&Event::Started { what: "drill", subject: format!("{} ({})", manifest.id, manifest.database) });
    let started_at = ctx.clock.now();
    let drill = Drill { ctx, backup, request, search: ctx.search(request.bin_dir.as_deref()) };
    let mut findings = Findings::default();
    let run = drill.run(&mut findings).await;
    ctx.cancel.check()?;
    let (result, failure) = judge(run, &findings);
    let destination = findings.destination.clone().or_else(|| backup.copies.first().cloned());
    let mut outcome = DrillOutcome {
        backup: manifest.id.clone(),
        job: manifest.job.clone(),
        database: manifest.database.clone(),
        destination: destination.as_ref().map(|copy| copy.name().to_owned()).unwrap_or_default(),
        result: drill_result(result).to_owned(),
        objects_compared: findings.comparison.objects,
        tables_compared: findings.comparison.tables,
        rows_compared: findings.comparison.rows,
        differences: findings.comparison.differences,
        checks: findings.checks,
        restore_seconds: findings.restore_seconds,
        prove_seconds: findings.prove_seconds,
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

/// Whose fault it was, if anybody's.
fn judge(run: Result<()>, findings: &Findings) -> (DrillResult, Option<Error>) {
    let failed_check = findings.checks.iter().find(|check| check.result == "failed");
    match run {
        Ok(()) if !findings.comparison.differences.is_empty() => {
            let count = findings.comparison.differences.len();
            let what = if count == 1 { "1 difference".to_owned() } else { format!("{count} differences") };
            let error = Error::new(ErrorKind::Difference, format!("the restored database has {what} from the backup"))
                .hint("the differences name what did not come back");
            (DrillResult::Failed, Some(error))
        }
        Ok(()) => match failed_check {
            Some(check) => {
                let message = format!("check {:?} found {} instead of {}", check.name, check.found, check.expected);
                (DrillResult::Failed, Some(Error::new(ErrorKind::Difference, message)))
            }
            None => (DrillResult::Passed, None),
        },
        // The backup's own fault: its bytes are damaged, or psql stopped at one of its statements.
        Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Failed | ErrorKind::Refused) => {
            let failed = Error::new(ErrorKind::Difference, "the backup could not be restored").caused_by(error);
            (DrillResult::Failed, Some(failed))
        }
        Err(error) => {
            let error = if error.kind() == ErrorKind::CouldNotRun {
                error
            } else {
                Error::new(ErrorKind::CouldNotRun, "the drill could not run").caused_by(error)
            };
            (DrillResult::CouldNotRun, Some(error))
        }
    }
}

fn receipt(
    ctx: &Context,
    outcome: &DrillOutcome,
    result: DrillResult,
    started_at: chrono::DateTime<chrono::Utc>,
    request: &DrillRequest,
) -> DrillReceipt {
    let check = |answer: &CheckAnswer| CheckOutcome {
        name: answer.name.clone(),
        result: match answer.result.as_str() {
            "passed" => DrillResult::Passed,
            "failed" => DrillResult::Failed,
            _ => DrillResult::CouldNotRun,
        },
        expected: Some(answer.expected.clone()),
        found: Some(answer.found.clone()),
    };
    DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: outcome.backup.clone(),
        started_at,
        finished_at: ctx.clock.now(),
        result,
        reason: outcome.reason.clone(),
        objects_compared: outcome.objects_compared,
        tables_compared: outcome.tables_compared,
        rows_compared: outcome.rows_compared,
        differences: outcome.differences.clone(),
        differences_left_out: 0,
        checks: outcome.checks.iter().map(check).collect(),
        phases: outcome
            .phases
            .iter()
            .map(|(phase, seconds)| PhaseSeconds { phase: phase.clone(), seconds: *seconds })
            .collect(),
        scratch: request.server.as_ref().map_or_else(|| "ephemeral".to_owned(), Connection::describe),
        written_by: format!("pgkeep {}", env!("CARGO_PKG_VERSION")),
        host: host_name().unwrap_or_default(),
    }
}

/// Removes throwaway clusters that killed runs left.
pub fn sweep_scratch(ctx: &Context) {
    for folder in sweep_clusters(ctx.temp_dir()) {
        let key = folder.display().to_string();
        ctx.tell(&Event::Swept { destination: "the temp folder".to_owned(), key });
    }
}

/// Where the scratch database is made.
enum Place<'a> {
    /// In a throwaway cluster of these programs.
    Here(Programs),
    /// On somebody's server.
    There(&'a Connection),
}

struct Drill<'a> {
    ctx: &'a Context,
    backup: &'a Backup,
    request: &'a DrillRequest,
    search: Search,
}

impl Drill<'_> {
    fn manifest(&self) -> &Manifest {
        &self.backup.manifest
    }

    async fn run(&self, findings: &mut Findings) -> Result<()> {
        // A machine that cannot drill should say so before a terabyte is read.
        let place = match &self.request.server {
            None => Place::Here(find_server(&self.search, self.manifest().server.major())?),
            Some(connection) => Place::There(connection),
        };
        let clock = Instant::now();
        let intact = intact_copy(self.ctx, self.backup, &Omit::default()).await?;
        findings.destination = Some(Arc::clone(&intact.copy));
        findings.phase(Phase::Check, clock);
        let programs = match place {
            Place::There(connection) => {
                return self.on_server(connection, &intact, clock, findings).await;
            }
            Place::Here(programs) => programs,
        };
        sweep_scratch(self.ctx);
        let prepare = Instant::now();
        self.ctx.phase(Phase::Prepare, 0);
        let options = ClusterOptions {
            superuser: self.manifest().server.bootstrap_role.clone(),
            temp: self.ctx.config.temp_dir.clone(),
            settings: Vec::new(),
        };
        let mut cluster = Cluster::start(&programs, &options, &self.ctx.cancel).await?;
        findings.phase(Phase::Prepare, prepare);
        let mut run = self.in_cluster(&mut cluster, &intact, clock, findings).await;
        if run.is_err() && cluster.has_ended() {
            run = run.map_err(|error| error.with_kind(ErrorKind::CouldNotRun));
        }
        self.finish_cluster(cluster, findings).await?;
        run
    }

    async fn finish_cluster(&self, cluster: Cluster, findings: &mut Findings) -> Result<()> {
        self.ctx.phase(Phase::Clean, 0);
        if self.request.keep_scratch {
            let folder = cluster.keep().await?;
            findings.scratch = folder.map(|folder| folder.join("data").display().to_string());
            return Ok(());
        }
        // What is left the next drill sweeps; it says nothing about the backup.
        if let Err(error) = cluster.stop().await {
            self.ctx.warn(format!("the throwaway cluster could not be removed: {}", error.one_line()));
        }
        Ok(())
    }

    async fn in_cluster(
        &self,
        cluster: &mut Cluster,
        intact: &Intact,
        clock: Instant,
        findings: &mut Findings,
    ) -> Result<()> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let version = manifest.server.major() * 10_000;
        let connection = cluster.connection("postgres");
        let maintenance = Client::new(connection, find_clients(&self.search, version)?, ctx.temp_dir())?;
        self.make_roles(&maintenance, cluster, intact)
            .await
            .map_err(could_not("the roles of the backup could not be made"))?;
        self.check_extensions(&maintenance).await?;
        let (locale, note) = self.create(&maintenance, manifest.server.version_num).await?;
        findings.comparison.notes.extend(note);
        let client = maintenance.with_database(DATABASE);
        let kept = Kept { without: Without::default(), locale };
        self.restore_and_prove(&maintenance, &client, intact, kept, clock, findings).await
    }

    /// The database with the encoding and locale of the source; where this machine lacks the locale, with C, which is said.
    async fn create(&self, maintenance: &Client, version: u32) -> Result<(bool, Option<String>)> {
        let mut properties = self.manifest().properties.clone();
        if !properties.knows_locale() && properties.encoding == "UTF8" {
            // Almost every database has a locale that knows letters outside of ASCII, and some types need them: ltree.
            "C.UTF-8".clone_into(&mut properties.collate);
            "C.UTF-8".clone_into(&mut properties.ctype);
        }
        let cancel = &self.ctx.cancel;
        let Err(error) = maintenance.execute(&properties.create_statement(DATABASE, version), cancel).await else {
            return Ok((true, None));
        };
        cancel.check()?;
        let plain = DatabaseProperties {
            locale_provider: "libc".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            locale: None,
            icu_rules: None,
            ..properties.clone()
        };
        maintenance
            .execute(&plain.create_statement(DATABASE, version), cancel)
            .await
            .map_err(could_not("the scratch database could not be made"))?;
        let wanted = properties.locale.as_deref().unwrap_or(&properties.collate);
        Ok((false, Some(format!("this machine cannot make locale {wanted}, so that C was used: {}", error.one_line()))))
    }

    /// The roles that the dump names: from the globals where they were stored, else bare ones.
    async fn make_roles(&self, maintenance: &Client, cluster: &Cluster, intact: &Intact) -> Result<()> {
        let manifest = self.manifest();
        let mut sql = String::new();
        if let Some(file) = manifest.files_of(FileKind::Globals).next() {
            let globals = read_globals(&*intact.source, manifest, file).await?;
            sql.push_str(&role_statements(&globals, &manifest.server.bootstrap_role)?);
            for name in tablespaces(&globals) {
                let folder = cluster.make_folder("t")?;
                let location = literal(&folder.to_string_lossy());
                sql.push_str(&format!("\nCREATE TABLESPACE {} LOCATION {location};", quote_identifier(&name)));
            }
        }
        if !sql.is_empty() {
            maintenance.execute(&sql, &self.ctx.cancel).await?;
        }
        let Missing { roles, .. } = missing_in_target(maintenance, manifest, &self.ctx.cancel).await?;
        let grants = |role: &String| intact.scans.iter().any(|scan| scan.grantors.contains(role));
        let create = |role: &String| {
            // Event triggers, for one, must belong to superusers; but what a superuser grants the owner has granted.
            let superuser = if grants(role) { "" } else { " SUPERUSER" };
            format!("CREATE ROLE {}{superuser};", quote_identifier(role))
        };
        let create: Vec<String> = roles.iter().map(create).collect();
        if create.is_empty() { Ok(()) } else { maintenance.execute(&create.join("\n"), &self.ctx.cancel).await }
    }

    async fn check_extensions(&self, maintenance: &Client) -> Result<()> {
        let Missing { extensions, .. } = missing_in_target(maintenance, self.manifest(), &self.ctx.cancel).await?;
        if extensions.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::CouldNotRun,
            format!("the scratch server lacks extensions: {}", extensions.join(", ")),
        )
        .hint(
            "install them on it (on Debian: postgresql-contrib, or postgresql-VERSION-NAME), or drill on a server that \
                 has them with --scratch URL",
        ))
    }

    async fn on_server(
        &self,
        connection: &Connection,
        intact: &Intact,
        clock: Instant,
        findings: &mut Findings,
    ) -> Result<()> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let prepare = Instant::now();
        ctx.phase(Phase::Prepare, 0);
        let client = Client::new(connection.clone(), find_newest_clients(&self.search)?, ctx.temp_dir())?;
        let version = version_num(&client, &ctx.cancel).await?;
        let maintenance = client.with_programs(find_clients(&self.search, version)?);
        for key in sweep_databases(&maintenance, ctx.clock.now(), &ctx.cancel).await? {
            ctx.tell(&Event::Swept { destination: connection.describe(), key });
        }
        self.check_extensions(&maintenance).await?;
        let Missing { roles, .. } = missing_in_target(&maintenance, manifest, &ctx.cancel).await?;
        if !roles.is_empty() {
            return Err(Error::new(
                ErrorKind::CouldNotRun,
                format!("the scratch server lacks roles: {}", roles.join(", ")),
            )
            .hint("create them there, or drill in a throwaway cluster with --scratch ephemeral"));
        }
        let scratch = create_database(&maintenance, &manifest.properties, version, ctx.clock.now(), &ctx.cancel)
            .await
            .map_err(could_not("the scratch database could not be made"))?;
        findings.phase(Phase::Prepare, prepare);
        let client = maintenance.with_database(&scratch.name);
        let kept = Kept { without: Without { comment: true, ..Without::default() }, locale: true };
        let run = self.restore_and_prove(&maintenance, &client, intact, kept, clock, findings).await;
        self.finish_server(&maintenance, &scratch, findings).await;
        run
    }

    async fn finish_server(&self, maintenance: &Client, scratch: &restore::Scratch, findings: &mut Findings) {
        self.ctx.phase(Phase::Clean, 0);
        // Also when cancelled: neither must be cancelled with it.
        let cancel = crate::cancel::Cancel::new();
        if self.request.keep_scratch {
            if let Err(error) = scratch.keep(maintenance, &cancel).await {
                self.ctx.warn(format!("the next drill will drop {}: {}", scratch.name, error.one_line()));
            }
            findings.scratch = Some(scratch.name.clone());
            return;
        }
        if let Err(error) = scratch.drop(maintenance, &cancel).await {
            self.ctx.warn(format!("{} could not be dropped: {}", scratch.name, error.one_line()));
        }
    }

    async fn restore_and_prove(
        &self,
        maintenance: &Client,
        client: &Client,
        intact: &Intact,
        kept: Kept,
        clock: Instant,
        findings: &mut Findings,
    ) -> Result<()> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let loading = Instant::now();
        load_all(ctx, client, manifest, intact).await?;
        findings.phase(Phase::Load, loading);
        let database = client.connection().database().unwrap_or_default().to_owned();
        let refused = apply_properties(ctx, maintenance, manifest, &database, kept.without).await?;
        findings.comparison.notes.extend(refused);
        let analyzing = Instant::now();
        ctx.phase(Phase::Analyze, 0);
        let left_out = analyze(client, super::restore::jobs(None), &ctx.cancel)
            .await
            .map_err(could_not("the scratch could not be analyzed"))?;
        findings.comparison.notes.extend(left_out);
        findings.phase(Phase::Analyze, analyzing);
        findings.restore_seconds = clock.elapsed().as_secs_f64();
        let proving = Instant::now();
        let proved = prove(ctx, client, &self.search, manifest, &intact.contents, kept)
            .await
            .map_err(could_not("the restored database could not be dumped for the proof"))?;
        findings.phase(Phase::Prove, proving);
        findings.prove_seconds = proving.elapsed().as_secs_f64();
        let notes = std::mem::take(&mut findings.comparison.notes);
        findings.comparison = proved;
        findings.comparison.notes.splice(0..0, notes);
        for check in &self.request.checks {
            findings.checks.push(answer(client, check, ctx).await?);
        }
        if let Some(limit) = self.request.max_duration {
            let took = findings.restore_seconds;
            findings.checks.push(CheckAnswer {
                name: "max_duration".to_owned(),
                result: if took <= limit.as_secs_f64() { "passed" } else { "failed" }.to_owned(),
                expected: format!("at most {} s", limit.as_secs()),
                found: format!("{took:.1} s"),
            });
        }
        Ok(())
    }
}

impl Findings {
    fn phase(&mut self, phase: Phase, since: Instant) {
        self.phases.push((phase.name().to_owned(), since.elapsed().as_secs_f64()));
    }
}

/// The machine's fault, unless somebody asked to stop.
fn could_not(what: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::Interrupted | ErrorKind::Terminated => error,
        ErrorKind::CouldNotRun => copy_of(&error),
        _ => Error::new(ErrorKind::CouldNotRun, what).caused_by(error),
    }
}

/// One of the user's own questions. A query that fails is a failed check: the answer was not there.
async fn answer(client: &Client, check: &Check, ctx: &Context) -> Result<CheckAnswer> {
    let (result, found) = match client.query(&check.sql, &ctx.cancel).await {
        Ok(found) => (if found.trim() == check.expect.trim() { "passed" } else { "failed" }, found.trim().to_owned()),
        Err(error) => {
            ctx.cancel.check()?;
            ("failed", error.one_line())
        }
    };
    Ok(CheckAnswer { name: check.name.clone(), result: result.to_owned(), expected: check.expect.clone(), found })
}
