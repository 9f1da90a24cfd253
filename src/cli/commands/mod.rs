//! From a command line to a use-case, and from its outcome to stdout, stderr and an exit code. One file a command.

mod adopt;
mod auth;
mod backup;
mod copy;
mod demo;
mod diff;
mod doctor;
mod drill;
mod guard;
mod keep;
mod look;
mod report;
mod restore;
mod run;
mod service;
mod status;
mod verify;

pub(super) use look::TableSize;

use super::args::{AuthCommand, BackupCommand, Cli, Command, Global, ServiceCommand};
use super::output::{self, Output};
use super::places;
use super::progress::Display;
use crate::catalogue::{Problem, Selector};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{Catalog, Context};
use serde_json::{Value, json};

/// What every command needs.
pub(super) struct Session<'s> {
    /// For the use-cases.
    pub(super) ctx: &'s Context,
    /// The answer.
    pub(super) output: &'s Output,
    /// The progress, which must pause while something is written.
    pub(super) display: &'s Display,
    /// What every command understands.
    pub(super) global: &'s Global,
}

/// Runs `command`; returns the exit code.
pub(super) async fn run(command: &Command, session: &Session<'_>) -> Result<u8> {
    match command {
        Command::Backup(BackupCommand::Now(args)) => backup::now(args, session).await,
        Command::Backup(BackupCommand::List(args)) => look::list(args, session).await,
        Command::Backup(BackupCommand::Show(args)) => look::show(args, session).await,
        Command::Backup(BackupCommand::Diff(args)) => diff::diff(args, session).await,
        Command::Backup(BackupCommand::Verify(args)) => verify::verify(args, session).await,
        Command::Backup(BackupCommand::Fetch(args)) => look::fetch(args, session).await,
        Command::Backup(BackupCommand::Copy(args)) => copy::copy(args, session).await,
        Command::Backup(BackupCommand::Prune(args)) => keep::prune(args, session).await,
        Command::Backup(BackupCommand::Pin(args)) => keep::pin(args, true, session).await,
        Command::Backup(BackupCommand::Unpin(args)) => keep::pin(args, false, session).await,
        Command::Guard(args) => guard::guard(args, session).await,
        Command::Backup(BackupCommand::Adopt(args)) => adopt::adopt(args, session).await,
        Command::Restore(args) => restore::restore(args, session).await,
        Command::Drill(args) => drill::drill(args, session).await,
        Command::Run(args) => run::run(args, session).await,
        Command::Status(args) => status::status(args, session).await,
        Command::Report(args) => report::report(args, session).await,
        Command::Doctor(args) => doctor::doctor(args, session).await,
        Command::Demo(args) => demo::demo(args, session).await,
        Command::Auth(AuthCommand::Gdrive(args)) => auth::gdrive(args, session).await,
        Command::Service(ServiceCommand::Install(args)) => service::install(args, session).await,
        Command::Service(ServiceCommand::Uninstall(args)) => service::uninstall(args, session).await,
        Command::Completions { shell } => completions(*shell),
    }
}

/// Prints the completions for `shell`. Needs no configuration.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut <Cli as clap::CommandFactory>::command(), "pgkeep", &mut script);
    output::write_all(&script)?;
    Ok(super::exit::DONE)
}

/// The job that `selector` names, if it names one.
fn job_of(selector: &str) -> Result<Option<String>> {
    places::refuse_url("a backup", selector)?;
    Ok(match selector.parse()? {
        Selector::Latest { job, .. } => job,
        Selector::At { job, .. } => Some(job),
        Selector::Id(_) => None,
    })
}

/// The catalogue in which `selector` is looked for: at `at`, else where its job stores, else everywhere.
async fn catalog_for(selector: &str, at: &[String], session: &Session<'_>) -> Result<Catalog> {
    let job = job_of(selector)?;
    let destinations = places::look_in(at, job.as_deref(), &session.ctx.config)?;
    Catalog::read(session.ctx, &destinations, job.as_deref()).await
}

/// A folder that cannot be used, for scripts.
fn problem_json(destination: &str, problem: &Problem) -> Value {
    json!({ "destination": destination, "folder": problem.dir.as_str(), "error": super::voice::machine(&problem.error) })
}

/// The folders that cannot be used, and the destinations that could not be read, for scripts.
fn problems_json(catalog: &Catalog) -> Vec<Value> {
    let folders = catalog.problems().iter().map(|(name, problem)| problem_json(name, problem));
    let whole = catalog.unreadable().iter().map(|(name, error)| unreadable_json(name, error));
    folders.chain(whole).collect()
}

/// A destination that could not be read, for scripts.
fn unreadable_json(destination: &str, error: &Error) -> Value {
    json!({ "destination": destination, "folder": null, "error": super::voice::machine(error) })
}

/// A folder that cannot be used, for people.
fn problem_text(destination: &str, problem: &Problem) -> String {
    format!("{} at {destination}: {}", problem.dir, problem.error.one_line())
}

/// `NotFound`, with what to do where there is no backup at all.
fn nothing(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, what).hint("`pgkeep backup list` shows the backups there are")
}
