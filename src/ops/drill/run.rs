//! The way of a drill: the scratch, the restore into it, the comparison, and the user's own questions.

use super::sample::Sample;
use super::{DrillRequest, Findings, count, objective, sample, sweep_scratch};
use crate::catalogue::{FileKind, Manifest};
use crate::config::{Check, DrillLevel};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::ops::check::{Intact, intact_copy, read_globals};
use crate::ops::globals::{role_statements, tablespaces};
use crate::ops::outcome::CheckAnswer;
use crate::ops::prove::{Kept, prove};
use crate::ops::ready::{Ready, make_ready};
use crate::ops::restore::{apply_properties, jobs, load_ready};
use crate::ops::store::copy_of;
use crate::ops::{Backup, Context};
use crate::postgres::programs::{find_clients, find_newest_clients, find_server};
use crate::postgres::{
    Client, Cluster, ClusterOptions, Connection, DatabaseProperties, Programs, Search, Without, version_num,
};
use crate::proof::Comparison;
use crate::restore::{self, Missing, analyze, create_database, missing_in_target, sweep_databases};
use crate::script::{Omit, literal, quote_identifier};
use std::time::Instant;

/// The name of the database in a throwaway cluster.
const DATABASE: &str = "drill";

/// Where the scratch database is made.
enum Place<'a> {
    /// In a throwaway cluster of these programs.
    Here(Programs),
    /// On somebody's server.
    There(&'a Connection),
}

/// What is restored: a checked copy, the sample of it if not all, and when the first byte was asked for.
struct Loaded {
    ready: Ready,
    /// The roles and tablespaces as SQL, if they are stored.
    globals: Option<Vec<u8>>,
    sample: Option<Sample>,
    clock: Instant,
}

pub(super) struct Drill<'a> {
    pub(super) ctx: &'a Context,
    pub(super) backup: &'a Backup,
    pub(super) request: &'a DrillRequest,
    pub(super) search: Search,
}

impl Drill<'_> {
    fn manifest(&self) -> &Manifest {
        &self.backup.manifest
    }

    pub(super) async fn run(&self, findings: &mut Findings) -> Result<()> {
        // A machine that cannot drill should say so before a terabyte is read.
        let place = match &self.request.server {
            None => Place::Here(find_server(&self.search, self.manifest().server.major())?),
            Some(connection) => Place::There(connection),
        };
        let clock = Instant::now();
        let (ready, sample) = if self.request.level == DrillLevel::Sample {
            let mut intact = intact_copy(self.ctx, self.backup, &Omit::default()).await?;
            let sample = self.sample(&mut intact, findings).await?;
            (Ready::AsAWhole(intact), Some(sample))
        } else {
            (make_ready(self.ctx, self.backup, &Omit::default()).await?, None)
        };
        findings.destination = ready.copy();
        // What psql must not see in them is the backup's fault, and no reason to make a cluster.
        let globals = self.globals(&ready).await?;
        let mut loaded = Loaded { ready, globals, sample, clock };
        findings.phase(Phase::Fetch, clock);
        let programs = match place {
            Place::There(connection) => {
                return self.on_server(connection, &mut loaded, findings).await;
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
        let mut run = self.in_cluster(&mut cluster, &mut loaded, findings).await;
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

    async fn in_cluster(&self, cluster: &mut Cluster, loaded: &mut Loaded, findings: &mut Findings) -> Result<()> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let version = manifest.server.major() * 10_000;
        let connection = cluster.connection("postgres");
        let maintenance = Client::new(connection, find_clients(&self.search, version)?, ctx.temp_dir())?;
        self.make_roles(&maintenance, cluster, loaded)
            .await
            .map_err(could_not("the roles of the backup could not be made"))?;
        self.check_extensions(&maintenance).await?;
        let (locale, note) = self.create(&maintenance, manifest.server.version_num).await?;
        findings.comparison.notes.extend(note);
        let client = maintenance.with_database(DATABASE);
        let kept = Kept { without: Without::default(), locale };
        self.restore_and_prove(&maintenance, &client, loaded, kept, findings).await
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

    /// The stored roles and tablespaces, from the first copy in which they are whole.
    async fn globals(&self, ready: &Ready) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.manifest().files_of(FileKind::Globals).next() else { return Ok(None) };
        let mut first = match read_globals(&*ready.source(), self.manifest(), file).await {
            Ok(globals) => return Ok(Some(globals)),
            Err(error) => error,
        };
        if first.kind() == ErrorKind::NotFound {
            first = first.with_kind(ErrorKind::Damaged);
        }
        for copy in &self.backup.copies {
            self.ctx.cancel.check()?;
            if let Ok(globals) = read_globals(&**copy, self.manifest(), file).await {
                return Ok(Some(globals));
            }
        }
        Err(first)
    }

    /// The roles that the dump names: from the globals where they were stored, else bare ones.
    async fn make_roles(&self, maintenance: &Client, cluster: &Cluster, loaded: &Loaded) -> Result<()> {
        let manifest = self.manifest();
        let mut sql = String::new();
        if let Some(globals) = &loaded.globals {
            sql.push_str(&role_statements(globals, &manifest.server.bootstrap_role)?);
            for name in tablespaces(globals) {
                let folder = cluster.make_folder("t")?;
                let location = literal(&folder.to_string_lossy());
                sql.push_str(&format!("\nCREATE TABLESPACE {} LOCATION {location};", quote_identifier(&name)));
            }
        }
        if !sql.is_empty() {
            maintenance.execute(&sql, &self.ctx.cancel).await?;
        }
        let Missing { roles, .. } = missing_in_target(maintenance, manifest, &self.ctx.cancel).await?;
        let grants = |role: &String| loaded.ready.scans().any(|scan| scan.grantors.contains(role));
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

    async fn on_server(&self, connection: &Connection, loaded: &mut Loaded, findings: &mut Findings) -> Result<()> {
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
        let run = self.restore_and_prove(&maintenance, &client, loaded, kept, findings).await;
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
        loaded: &mut Loaded,
        kept: Kept,
        findings: &mut Findings,
    ) -> Result<()> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let Loaded { ready, sample, clock, .. } = loaded;
        let times = load_ready(ctx, client, manifest, ready, jobs(None)).await?;
        findings.phases.add(Phase::Load, times.load.as_secs_f64());
        findings.phases.add(Phase::Index, times.index.as_secs_f64());
        let database = client.connection().database().unwrap_or_default().to_owned();
        let refused = apply_properties(ctx, maintenance, manifest, &database, kept.without).await?;
        findings.comparison.notes.extend(refused);
        let analyzing = Instant::now();
        ctx.phase(Phase::Analyze, 0);
        let left_out =
            analyze(client, jobs(None), &ctx.cancel).await.map_err(could_not("the scratch could not be analyzed"))?;
        findings.comparison.notes.extend(left_out);
        findings.phase(Phase::Analyze, analyzing);
        findings.restore_seconds = clock.elapsed().as_secs_f64();
        let proving = Instant::now();
        let proved = self.compare(client, ready, sample.as_ref(), kept, findings).await?;
        findings.phase(Phase::Prove, proving);
        findings.prove_seconds = proving.elapsed().as_secs_f64();
        let notes = std::mem::take(&mut findings.comparison.notes);
        findings.comparison = proved;
        findings.comparison.notes.splice(0..0, notes);
        self.ask(client, findings).await
    }

    /// The sample that the request asks for, with all else left out of `intact`.
    async fn sample(&self, intact: &mut Intact, findings: &mut Findings) -> Result<Sample> {
        let DrillRequest { sample_size, draw, checks, .. } = self.request;
        let mut sample = sample::take(self.ctx, self.manifest(), intact, *sample_size, *draw).await?;
        if !sample.left_out.is_empty() && !checks.is_empty() {
            let names: Vec<String> = checks.iter().map(|check| format!("{:?}", check.name)).collect();
            let names = names.join(", ");
            sample
                .left_out
                .push(format!("these checks were not asked, for a sample may lack the rows for them: {names}"));
        }
        findings.not_compared.clone_from(&sample.left_out);
        Ok(sample)
    }

    /// Compares the restored database with the backup, as far as the level goes.
    async fn compare(
        &self,
        client: &Client,
        ready: &Ready,
        sample: Option<&Sample>,
        kept: Kept,
        findings: &mut Findings,
    ) -> Result<Comparison> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        if self.request.level == DrillLevel::Restore && manifest.tables > 0 {
            findings.not_compared.push(count::NOT_COMPARED.to_owned());
            let counted = count::compare_counts(ctx, client, manifest, ready.contents()).await;
            return counted.map_err(could_not("the rows of the restored database could not be counted"));
        }
        let (manifest, contents) =
            sample.map_or((manifest, ready.contents()), |sample| (&sample.manifest, &sample.contents));
        let mut proved = prove(ctx, client, &self.search, manifest, contents, kept)
            .await
            .map_err(could_not("the restored database could not be dumped for the proof"))?;
        if self.request.level == DrillLevel::Restore {
            let note = "the backup has no table whose rows could be counted, so that everything was compared";
            proved.notes.insert(0, note.to_owned());
        }
        Ok(proved)
    }

    /// The user's own questions, and the recovery-time objective.
    async fn ask(&self, client: &Client, findings: &mut Findings) -> Result<()> {
        let of_sample = self.request.level == DrillLevel::Sample && !findings.not_compared.is_empty();
        for check in self.request.checks.iter().filter(|_| !of_sample) {
            findings.checks.push(answer(client, check, self.ctx).await?);
        }
        if let Some(limit) = objective(self.request) {
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
