//! The Task Scheduler: a task is registered with `schtasks`, for the user who asks.

use super::task::{NAMES, Task};
use super::{ServiceChange, ServiceCommand, ServiceOutcome, ServiceRequest, program, run};
use crate::config::FILE_NAME;
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::ops::Context;
use crate::postgres::connection::system_environment;
use crate::process::Invocation;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Registers the task; with `root` its XML is written there, and nothing is registered.
pub(super) async fn install(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    refuse_user(request)?;
    let folder = folder()?;
    let program = program(request)?;
    let config = ctx.config.path.clone().unwrap_or_else(|| folder.join(FILE_NAME));
    let log = folder.join("pgkeep.log");
    let user = user()?;
    let task = Task {
        weekly: request.weekly,
        program: &program,
        config: &config,
        log: &log,
        user: &user,
        jobs: &request.timers,
    };
    let bytes = task.utf16()?;
    let mut outcome = ServiceOutcome { dry_run: request.dry_run, ..ServiceOutcome::default() };
    if let Some(root) = &request.root {
        let path = root.join(format!("{}.xml", task.name()));
        if !request.dry_run {
            std::fs::write(&path, bytes).doing(|| format!("cannot write {}", path.display()))?;
        }
        outcome.note(&path, ServiceChange::Written);
        return Ok(outcome);
    }
    let exists = is_registered(ctx, task.name()).await?;
    if exists && !request.force {
        return Err(Error::new(ErrorKind::Refused, format!("there is a task {} already", task.name()))
            .hint("nothing was done; --force replaces the task, with what was changed in it by hand"));
    }
    if !request.dry_run {
        protect(ctx, &folder, &user, &mut outcome).await?;
        // Kept by name until schtasks has read it.
        let mut file = tempfile::Builder::new().prefix("pgkeep-task-").suffix(".xml").tempfile().doing(writing)?;
        file.write_all(&bytes).and_then(|()| file.flush()).doing(writing)?;
        let path = file.into_temp_path();
        let mut words =
            vec!["schtasks", "/create", "/tn", task.name(), "/xml"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        words.push(path.display().to_string());
        if exists {
            words.push("/f".to_owned());
        }
        let command = ServiceCommand(words);
        run(ctx, &command).await.map_err(|error| error.hint("run it in a window of the administrator"))?;
        outcome.ran.push(command);
    }
    outcome.note(task.name(), if exists { ServiceChange::Updated } else { ServiceChange::Written });
    if !config.exists() {
        outcome.notes.push(format!("there is no {} yet: write it before two o'clock", config.display()));
    }
    outcome.notes.push(format!("what the backups say is appended to {}", log.display()));
    outcome.notes.push(
        "it runs whether you are logged on or not, without your password, and so does not reach network shares: \
         windows-task/README.md says how it can"
            .to_owned(),
    );
    Ok(outcome)
}

/// Takes the tasks of pgkeep away.
pub(super) async fn uninstall(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    refuse_user(request)?;
    let mut outcome = ServiceOutcome { dry_run: request.dry_run, ..ServiceOutcome::default() };
    for name in NAMES {
        if let Some(root) = &request.root {
            let path = root.join(format!("{name}.xml"));
            if path.exists() {
                if !request.dry_run {
                    std::fs::remove_file(&path).doing(|| format!("cannot remove {}", path.display()))?;
                }
                outcome.note(&path, ServiceChange::Removed);
            }
        } else if is_registered(ctx, name).await? {
            if !request.dry_run {
                let command = ServiceCommand(["schtasks", "/delete", "/tn", name, "/f"].map(str::to_owned).into());
                run(ctx, &command).await.map_err(|error| error.hint("run it in a window of the administrator"))?;
                outcome.ran.push(command);
            }
            outcome.note(name, ServiceChange::Removed);
        }
    }
    outcome.notes.push("the configuration, the log and all backups stay".to_owned());
    Ok(outcome)
}

fn refuse_user(request: &ServiceRequest) -> Result<()> {
    if request.user {
        return Err(Error::new(ErrorKind::Usage, "--user is for Linux")
            .hint("leave it out: a task of Windows runs as the user who registers it"));
    }
    Ok(())
}

fn writing() -> String {
    "cannot write the task into a temporary file".to_owned()
}

/// Where the configuration and the log are, for all users of the computer.
fn folder() -> Result<PathBuf> {
    let variable = std::env::var_os("PROGRAMDATA").filter(|value| !value.is_empty());
    let folder =
        variable.ok_or_else(|| Error::new(ErrorKind::Config, "the environment variable PROGRAMDATA is not set"))?;
    Ok(Path::new(&folder).join("pgkeep"))
}

/// The user who asks, as the Task Scheduler calls them.
fn user() -> Result<String> {
    let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = text("USERNAME")
        .ok_or_else(|| Error::new(ErrorKind::Config, "the environment variable USERNAME is not set"))?;
    Ok(text("USERDOMAIN").map_or_else(|| name.clone(), |domain| format!("{domain}\\{name}")))
}

/// Makes `folder`, unless it is there, and leaves it to administrators, the system and `user` alone, for secrets lie there: what
/// is made in `%PROGRAMDATA%` can be read by everybody at first.
async fn protect(ctx: &Context, folder: &Path, user: &str, outcome: &mut ServiceOutcome) -> Result<()> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).doing(|| format!("cannot make the folder {}", folder.display()))?;
        outcome.note(folder, ServiceChange::Written);
    }
    let path = folder.display().to_string();
    let own = format!("{user}:(OI)(CI)M");
    // Administrators and the system by their numbers: their names are translated.
    let words = ["icacls", &path, "/inheritance:r", "/grant:r", "*S-1-5-32-544:(OI)(CI)F", "*S-1-5-18:(OI)(CI)F", &own];
    let command = ServiceCommand(words.map(str::to_owned).into());
    run(ctx, &command).await?;
    outcome.ran.push(command);
    Ok(())
}

async fn is_registered(ctx: &Context, name: &str) -> Result<bool> {
    let query = Invocation::new("schtasks").args(["/query", "/tn", name]).env(system_environment());
    Ok(query.capture(&ctx.cancel).await?.status.success())
}
