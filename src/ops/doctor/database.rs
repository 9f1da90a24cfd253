//! What pg_dump would meet in a job's databases: programs, connection, role, tables, locks, sizes.

use super::room::Estimate;
use super::{DatabaseFindings, DoctorJob};
use crate::config::{Databases, DestinationRef, Scratch};
use crate::destination::Finding;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::dump::{grant, shown};
use crate::ops::{BackupRequest, Context};
use crate::postgres::programs::{find_clients, find_newest_clients, server_version};
use crate::postgres::{
    Blocker, Checkup, Client, Inspection, Programs, blockers, checkup, databases, inspect, unreadable_tables,
    version_num,
};
use crate::script::quote_identifier;
use std::path::PathBuf;
use std::time::Instant;

/// What findings about the way to the server, and about the programs that speak to it, are called.
pub(super) const CONNECTION: &str = "connection";
const PROGRAMS: &str = "client programs";

/// A database that was asked.
pub(super) struct Examined {
    /// What is told of it.
    pub(super) told: DatabaseFindings,
    /// What else is to be found out; `None` where it could not be asked.
    pub(super) known: Option<Known>,
}

/// What drills and disks are measured by.
pub(super) struct Known {
    pub(super) inspection: Inspection,
    pub(super) scratch: Scratch,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) destinations: Vec<DestinationRef>,
    /// How large the next backup will be, once that is known.
    pub(super) estimate: Option<Estimate>,
}

impl Examined {
    /// A database that cannot be asked, because of `what`.
    pub(super) fn failed(job: String, database: String, what: &str, error: &Error) -> Self {
        let findings = vec![Finding::failure(what, error)];
        Self { told: DatabaseFindings { job, database, findings }, known: None }
    }
}

/// Asks every database of `job`.
pub(super) async fn examine(ctx: &Context, job: DoctorJob) -> Vec<Examined> {
    let DoctorJob { name, backup, scratch } = job;
    let request = match backup {
        Ok(request) => request,
        Err(error) => return vec![Examined::failed(name.unwrap_or_default(), String::new(), CONNECTION, &error)],
    };
    let database = request.connection.database().map_or_else(|| request.connection.user(), str::to_owned);
    let job = name.unwrap_or_else(|| database.clone());
    let shown = if request.databases == Databases::FromUrl { database.clone() } else { String::new() };
    let programs = match find_newest_clients(&ctx.search(request.bin_dir.as_deref())) {
        Ok(programs) => programs,
        Err(error) => return vec![Examined::failed(job, shown, PROGRAMS, &error)],
    };
    let clients = match clients(ctx, &request, programs).await {
        Ok(clients) => clients,
        Err(error) => return vec![Examined::failed(job, shown, CONNECTION, &error)],
    };
    let mut examined = Vec::new();
    for client in clients {
        if ctx.cancel.is_cancelled() {
            break;
        }
        let database = client.connection().database().map_or_else(|| database.clone(), str::to_owned);
        let mut visit = Visit { ctx, request: &request, client, findings: Vec::new() };
        let known = match visit.run().await {
            Ok(inspection) => Some(Known {
                inspection,
                scratch: scratch.clone(),
                bin_dir: request.bin_dir.clone(),
                destinations: request.destinations.clone(),
                estimate: None,
            }),
            Err(error) => {
                visit.findings.push(Finding::failure(CONNECTION, &error));
                None
            }
        };
        let told = DatabaseFindings { job: job.clone(), database, findings: visit.findings };
        examined.push(Examined { told, known });
    }
    examined
}

/// A client for each database, of the newest programs there are: the right ones are found when the server is known.
async fn clients(ctx: &Context, request: &BackupRequest, programs: Programs) -> Result<Vec<Client>> {
    let client = Client::new(request.connection.clone(), programs, ctx.temp_dir())?;
    let names = match &request.databases {
        Databases::FromUrl => return Ok(vec![client]),
        Databases::Named(names) => names.clone(),
        Databases::All => {
            let mut names = databases(&client, &ctx.cancel).await?;
            names.retain(|name| !request.exclude_databases.contains(name));
            names
        }
    };
    if names.is_empty() {
        let message = format!("{} has no database to back up", request.connection.describe());
        return Err(Error::new(ErrorKind::NotFound, message).hint("check databases and exclude_databases of the job"));
    }
    Ok(names.iter().map(|name| client.with_database(name)).collect())
}

/// One database being asked.
struct Visit<'v> {
    ctx: &'v Context,
    request: &'v BackupRequest,
    client: Client,
    findings: Vec<Finding>,
}

impl Visit<'_> {
    /// Asks everything. An error means that the database cannot be asked at all.
    async fn run(&mut self) -> Result<Inspection> {
        let (ctx, client) = (self.ctx, self.client.clone());
        let clock = Instant::now();
        let version = version_num(&client, &ctx.cancel).await?;
        let found = format!("{} answers in {} ms", client.connection().describe(), clock.elapsed().as_millis());
        self.findings.push(Finding::good(CONNECTION, found));
        let inspection = inspect(&client, &ctx.cancel).await?;
        self.findings.push(server(&inspection));
        match find_clients(&ctx.search(self.request.bin_dir.as_deref()), version) {
            Ok(programs) => {
                self.findings.extend(client_programs(&programs, &inspection));
                self.client = client.with_programs(programs);
            }
            Err(error) => self.findings.push(Finding::failure(PROGRAMS, &error)),
        }
        self.findings.push(role(&inspection));
        let client = &self.client;
        let (found, unreadable, blockers) = (
            checkup(client, &ctx.cancel).await,
            unreadable_tables(client, &ctx.cancel).await,
            blockers(client, &ctx.cancel).await,
        );
        match &found {
            Ok(found) => self.findings.extend(connection(client, found)),
            Err(error) => self.findings.push(Finding::failure("checks", error)),
        }
        let row_security = found.as_ref().map(|found| found.row_security.clone()).unwrap_or_default();
        let tables = tables(client, unreadable, &row_security);
        self.findings.extend(tables);
        self.findings.extend(locks(blockers, found.map_or(0, |found| found.long_transactions)));
        Ok(inspection)
    }
}

fn server(inspection: &Inspection) -> Finding {
    let server = &inspection.server;
    let version = server_version(server.version_num);
    if server.standby {
        let found = format!("PostgreSQL {version}, a standby: long dumps may conflict with what it replays");
        return Finding::note("server", found)
            .advice("raise max_standby_streaming_delay on it, or back up the primary");
    }
    Finding::good("server", format!("PostgreSQL {version}, the primary"))
}

/// The programs that would dump: there are some that can.
fn client_programs(programs: &Programs, inspection: &Inspection) -> Vec<Finding> {
    let what = PROGRAMS;
    let mut findings = vec![Finding::good(what, format!("pg_dump {} in {}", programs.version, programs.dir.display()))];
    if !programs.version.supports_restrict() {
        let found = format!(
            "psql {} is from before August 2025, and cannot read the dumps of newer programs",
            programs.version
        );
        findings.push(Finding::note(what, found).advice("update them to the newest minor version"));
    }
    if programs.version.major > inspection.server.major() {
        let found = format!(
            "they are newer than the server: dumps may need PostgreSQL {} to be restored by hand",
            programs.version.major
        );
        findings.push(
            Finding::note(what, found)
                .advice(format!("install the clients of PostgreSQL {}", inspection.server.major())),
        );
    }
    findings
}

fn role(inspection: &Inspection) -> Finding {
    let user = &inspection.user;
    if inspection.superuser {
        return Finding::good("role", format!("{user} is a superuser: roles are backed up with their passwords"));
    }
    Finding::note("role", format!("{user} is no superuser: the passwords of roles will not be in backups"))
}

/// How the server is reached: TLS, and what is in between.
fn connection(client: &Client, found: &Checkup) -> Vec<Finding> {
    let connection = client.connection();
    let mut findings = vec![match &found.tls {
        Some(tls) if connection.is_local() || connection.checks_the_server() => {
            Finding::good("TLS", format!("{tls}, and the server's certificate is checked or it is this computer"))
        }
        Some(tls) => Finding::note("TLS", format!("{tls}; who the server is, is not checked")).advice(
            "add sslmode=verify-full to the connection string, with sslrootcert=system or the service's certificate",
        ),
        None if connection.is_local() => Finding::good("TLS", "not used, and not needed on this computer"),
        None => Finding::warning(
            "TLS",
            "not used: passwords and data cross the network in the clear",
            "add sslmode=require, or better verify-full, to the connection string; the server must offer TLS (ssl = on)",
        ),
    }];
    let fix = "use the server's direct connection for backups, or the pooler's session mode";
    if found.pooled {
        let found =
            "a pooler gives every transaction another server process: what pg_dump sets for its session is lost";
        findings.push(Finding::warning("pooler", found, fix));
    } else if connection.looks_pooled() {
        let found = "host or port look like those of a pooler; in transaction mode it would lose what pg_dump sets";
        findings.push(Finding::note("pooler", found).advice(fix));
    }
    findings
}

/// What of the tables pg_dump cannot dump.
fn tables(client: &Client, unreadable: Result<Vec<String>>, row_security: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    match unreadable {
        Err(error) => findings.push(Finding::failure("tables", &error)),
        Ok(tables) if tables.is_empty() => findings.push(Finding::good("tables", "the role may read all of them")),
        Ok(tables) => {
            let found = format!("the role may not read {}", shown(&tables));
            findings.push(Finding::bad("tables", found, format!("run: {}", grant(client, &tables))));
        }
    }
    if !row_security.is_empty() {
        let role = quote_identifier(&client.connection().user());
        let found = format!("policies hide rows from the role, so that pg_dump refuses {}", shown(row_security));
        let fix = format!("dump as the tables' owner, or run as a superuser: ALTER ROLE {role} BYPASSRLS;");
        findings.push(Finding::bad("row-level security", found, fix));
    }
    findings
}

/// Who would keep a dump waiting now.
fn locks(blockers: Result<Vec<Blocker>>, long_transactions: u64) -> Vec<Finding> {
    let mut findings = match blockers {
        Err(error) => vec![Finding::failure("locks", &error)],
        Ok(blockers) => blockers
            .iter()
            .take(5)
            .map(|blocker| {
                let since = blocker.since.as_deref().map(|at| format!(" since {at}")).unwrap_or_default();
                let found = format!("{} is locked by pid {} of {}{since}", blocker.table, blocker.pid, blocker.who);
                Finding::note("locks", format!("{found}: a dump would wait for it now"))
                    .advice("let it finish, or end it with pg_terminate_backend(PID)")
            })
            .collect(),
    };
    if long_transactions > 0 {
        let found = match long_transactions {
            1 => "another session has been in one transaction for more than an hour".to_owned(),
            many => format!("{many} other sessions have been in one transaction for more than an hour"),
        };
        findings.push(Finding::note("long transactions", found).advice("look at them in pg_stat_activity"));
    }
    findings
}
