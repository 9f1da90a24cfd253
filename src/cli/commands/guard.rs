//! `pgkeep guard`: a backup, then the user's command, and if that fails the line that brings the database back.

use super::Session;
use super::backup::{ad_hoc, check_label, keep};
use crate::cli::args::{Global, GuardArgs};
use crate::cli::{exit, places, signals, tables, voice};
use crate::config::{JobConfig, SecretRef};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, BackupOutcome, BackupRequest, BackupStatus};
use crate::process::shell_word;
use crate::secret::Secret;
use serde_json::json;
use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

/// What a shell answers for a command that is not there, and for one that cannot be run.
const NO_SUCH_COMMAND: u8 = 127;
const CANNOT_BE_RUN: u8 = 126;

/// The longest name of a database, in bytes (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;

/// Takes a backup that retention keeps, runs the command, and hands its exit code on. Without a backup nothing is run.
///
/// Standard output belongs to the command; with `--json` the document does, and the command's goes to stderr.
pub(super) async fn guard(args: &GuardArgs, session: &Session<'_>) -> Result<u8> {
    let global = session.global;
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Error::new(ErrorKind::Usage, "no command is given").hint("write it at the end, after --"));
    };
    let request = request(args, program, session)?;
    let outcomes = ops::backup(session.ctx, &request).await?;
    session.display.pause();
    for outcome in &outcomes {
        voice::stderr(&tables::backup(outcome, |warning| session.display.has_told(warning)));
        if let Some(error) = &outcome.failure {
            voice::tell(error);
        }
    }
    let code = exit::gravest(outcomes.iter().map(exit::of_backup));
    let stopped = session.ctx.cancel.check().err();
    if code != exit::DONE || stopped.is_some() {
        voice::stderr("the command was not run, as there is no backup of everything\n");
        session.output.json(&json!({ "backups": outcomes, "exit_code": null, "restore": [] }))?;
        return Ok(stopped.map_or(code, |stopped| stopped.exit_code()));
    }
    let restore: Vec<String> = outcomes.iter().filter_map(|outcome| restore_line(outcome, args, global)).collect();
    let (code, how) = match run(program, arguments, global.json).await {
        Ok(status) => told(status),
        Err(error) => {
            let code = if error.kind() == ErrorKind::NotFound { NO_SUCH_COMMAND } else { CANNOT_BE_RUN };
            voice::tell(&error);
            (code, "could not be started".to_owned())
        }
    };
    if code != exit::DONE {
        voice::stderr(&advice(&how, &restore, needs_url(args, request.job.is_some())));
    }
    session.output.json(&json!({ "backups": outcomes, "exit_code": code, "restore": restore }))?;
    Ok(code)
}

fn request(args: &GuardArgs, program: &OsString, session: &Session<'_>) -> Result<BackupRequest> {
    let config = &session.ctx.config;
    let to = places::destinations(&args.to, config)?;
    let url = given(args);
    let job = match &args.job {
        Some(name) => Some(places::job(name, config)?),
        None if url.is_some() => None,
        None => {
            let mut jobs = config.jobs.values();
            let first = jobs.next();
            if jobs.next().is_some() {
                return Err(Error::new(ErrorKind::Usage, "it is not known which job is meant: several are configured")
                    .hint("name one before the --"));
            }
            first
        }
    };
    let mut request = match job {
        Some(job) => {
            let mut job: JobConfig = job.clone();
            if let Some(url) = url {
                job.database_url = Some(SecretRef::Literal(url.clone()));
            }
            BackupRequest::for_job(session.ctx, &job, to)?
        }
        None => ad_hoc(args.url.database_url.as_ref(), to, session)?,
    };
    request.keep_for = args.keep.as_deref().map(keep).transpose()?;
    request.pinned = request.keep_for.is_none();
    let name = Path::new(program).file_name().unwrap_or(program);
    let name: String = name.to_string_lossy().chars().filter(|c| !c.is_control()).collect();
    request.label = Some(args.label.clone().unwrap_or_else(|| format!("before {name}")));
    check_label(request.label.as_deref())?;
    // Nothing old goes just before something that may go wrong.
    request.prune = false;
    Ok(request)
}

fn given(args: &GuardArgs) -> Option<&Secret> {
    args.url.database_url.as_ref().filter(|url| !url.expose().trim().is_empty())
}

/// Runs the command with this program's own environment and terminal, and waits for it. Ctrl-C reaches it from there; what
/// else asks pgkeep to stop is handed on.
async fn run(program: &OsString, arguments: &[OsString], json: bool) -> Result<ExitStatus> {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    if json {
        command.stdout(Stdio::from(std::io::stderr()));
    }
    let cannot = |source: std::io::Error| {
        Error::io(format!("the command {} cannot be run", program.to_string_lossy()), source)
            .hint("the backup before it is taken all the same")
    };
    let signals = signals::leave_to_a_child();
    let mut child = command.spawn().map_err(cannot)?;
    signals.child(child.id());
    child.wait().await.map_err(cannot)
}

/// The exit code to hand on, and the words for it.
fn told(status: ExitStatus) -> (u8, String) {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        // As shells do.
        return (u8::try_from(128 + signal).unwrap_or(u8::MAX), format!("was ended by signal {signal}"));
    }
    let code = status.code().unwrap_or(1);
    // Windows has larger codes than fit here: a failure stays one.
    (u8::try_from(code).unwrap_or(1), format!("ended with exit code {code}"))
}

fn advice(how: &str, restore: &[String], needs_url: bool) -> String {
    let mut text = format!("\nthe command {how}. This restores what was there before, beside the database:\n\n");
    for line in restore {
        text.push_str(&format!("  {line}\n"));
    }
    text.push('\n');
    if needs_url {
        text.push_str("with DATABASE_URL set to the same connection string. ");
    }
    text.push_str(
        "With --swap and the database's own name after --into it takes its place, and the old one is kept.\n",
    );
    text
}

/// Whether the line lacks the connection string, because that was not in a configuration and holds, or may hold, a password.
fn needs_url(args: &GuardArgs, configured: bool) -> bool {
    match given(args) {
        Some(url) => !is_public(url.expose()),
        None => !configured && std::env::var_os(places::URL_VARIABLE).is_some_and(|url| !url.is_empty()),
    }
}

/// Whether a connection string surely holds no password.
fn is_public(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let Some((_, rest)) = lower.split_once("://") else { return !lower.contains("password") };
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
    // A percent sign may hide the word.
    !user.contains(':') && !parameters.contains("password") && !parameters.contains('%')
}

/// The command line that restores the backup of `outcome` into a new database on the same server.
fn restore_line(outcome: &BackupOutcome, args: &GuardArgs, global: &Global) -> Option<String> {
    let id = outcome.id.as_ref()?;
    let mut words = vec!["pgkeep".to_owned(), "restore".to_owned(), id.to_string()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), shell_word(value)]);
    let stamp = id.started_at().format("_%Y%m%d_%H%M%S").to_string();
    let plain: String = outcome
        .database
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    let plain = plain.get(..LONGEST_NAME - stamp.len()).unwrap_or(&plain);
    option("--into", &format!("{plain}{stamp}"));
    if !args.to.is_empty() {
        for place in outcome.destinations.iter().filter(|place| place.status == BackupStatus::Stored) {
            option("--at", &place.name);
        }
    }
    if let Some(url) = given(args).map(Secret::expose).filter(|url| is_public(url)) {
        option("--database-url", url);
    }
    for (name, path) in [("--config", &global.config), ("--bin-dir", &global.bin_dir)] {
        if let Some(path) = path {
            option(name, &path.to_string_lossy());
        }
    }
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_repeated_only_if_it_holds_no_password() {
        for url in ["postgres://ana@h/shop", "postgres:///shop?host=/tmp", "host=h user=ana dbname=shop"] {
            assert!(is_public(url), "{url}");
        }
        for url in [
            "postgres://ana:hunter2@h/shop",
            "postgres://ana:hunt@er2@h/shop",
            "postgres://h/shop?password=hunter2",
            "postgres://h/shop?p%61ssword=hunter2",
            "host=h PASSWORD=hunter2",
        ] {
            assert!(!is_public(url), "{url}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn words_are_quoted_for_a_shell() {
        for (text, word) in [
            ("./backups", "./backups"),
            ("my backups", "'my backups'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(shell_word(text), word);
        }
    }
}
