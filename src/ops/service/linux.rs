//! systemd: units are written, the user and the folders made, and both handed to systemd where it runs.

use super::sealed::{self, Found};
use super::units::{self, Paths};
use super::{ServiceChange, ServiceCommand, ServiceOutcome, ServiceRequest, inside, outside, program, run};
use crate::config::{DestinationConfig, FILE_NAME, user_folder};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::ops::Context;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const SYSTEM_UNITS: &str = "/etc/systemd/system";
const SYSUSERS: &str = "/etc/sysusers.d/pgkeep.conf";
const CONFIG_FOLDER: &str = "/etc/pgkeep";
/// Root alone reads it; systemd does, for `LoadCredential=`.
const CREDENTIALS: &str = "/etc/pgkeep/credentials";
/// What the services cannot see: `ProtectHome=` and `PrivateTmp=`.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Writes the units, and starts them where systemd and the rights are there.
pub(super) async fn install(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    let place = Place::of(request)?;
    let program = program(request)?;
    let config = match &ctx.config.path {
        Some(path) => inside(request, path),
        None => place.config.clone(),
    };
    if !request.user {
        refuse_hidden(&program, "the program", "copy it to /usr/local/bin and run it from there")?;
        refuse_hidden(&config, "the configuration", "move it to /etc/pgkeep/pgkeep.toml, and name that with --config")?;
    }
    let writable = writable(ctx);
    let paths = Paths { program: &program, config: &config, writable: &writable };
    let enabled = enabled(&request.timers, ctx)?;
    let mut texts = Vec::new();
    if !request.user {
        texts.push((PathBuf::from(SYSUSERS), sealed::seal(units::SYSUSERS)));
    }
    for (name, text) in units::units(request.user, &paths)? {
        texts.push((place.units.join(name), sealed::seal(&text)));
    }

    let mut outcome = ServiceOutcome { dry_run: request.dry_run, ..ServiceOutcome::default() };
    let found = texts.iter().map(|(path, text)| sealed::look(&outside(request, path), text));
    let found = found.collect::<Result<Vec<_>>>()?;
    let foreign = texts.iter().zip(&found).filter(|(_, found)| **found == Found::Foreign);
    let foreign: Vec<String> = foreign.map(|((path, _), _)| path.display().to_string()).collect();
    if !request.force && !foreign.is_empty() {
        let message = format!("changed by hand, or written by somebody else: {}", foreign.join(", "));
        return Err(Error::new(ErrorKind::Refused, message).hint(
            "nothing was written; keep your lines with `systemctl edit`, in a file of their own, and say --force to \
             overwrite these files",
        ));
    }
    if !request.user {
        folder(request, CONFIG_FOLDER, 0o750, &mut outcome)?;
        folder(request, CREDENTIALS, 0o700, &mut outcome)?;
    }
    for ((path, text), found) in texts.iter().zip(found) {
        let change = match found {
            Found::Same => ServiceChange::Unchanged,
            Found::Absent => ServiceChange::Written,
            Found::Ours | Found::Foreign => ServiceChange::Updated,
        };
        if change != ServiceChange::Unchanged && !request.dry_run {
            sealed::write(&outside(request, path), text)?;
        }
        outcome.note(path, change);
    }

    let mut commands = Vec::new();
    if !request.user {
        commands.push(command(["systemd-sysusers", SYSUSERS]));
        // The service reads its configuration as the group, and cannot write it.
        commands.push(command(["chown", "root:pgkeep", CONFIG_FOLDER]));
        if config.starts_with(CONFIG_FOLDER) && outside(request, &config).exists() {
            commands.push(command(["chown", "root:pgkeep", &config.display().to_string()]));
            commands.push(command(["chmod", "640", &config.display().to_string()]));
        }
    }
    commands.push(place.systemctl(&["daemon-reload"]));
    let start = place
        .systemctl(&[&["enable", "--now"], enabled.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat());
    if outside(request, &config).exists() {
        commands.push(start);
        place.run(ctx, commands, &mut outcome).await?;
    } else {
        place.run(ctx, commands, &mut outcome).await?;
        outcome.next.push(start);
        outcome.notes.push(format!("there is no {} yet: write it before you start the service", config.display()));
    }
    advise(request, &writable, &mut outcome);
    Ok(outcome)
}

/// Stops and removes the units.
pub(super) async fn uninstall(ctx: &Context, request: &ServiceRequest) -> Result<ServiceOutcome> {
    let place = Place::of(request)?;
    let mut files: Vec<PathBuf> = [
        "pgkeep.service",
        "pgkeep-backup@.timer",
        "pgkeep-backup@.service",
        "pgkeep-drill@.timer",
        "pgkeep-drill@.service",
    ]
    .map(|name| place.units.join(name))
    .into();
    if !request.user {
        files.push(SYSUSERS.into());
    }
    let mut outcome = ServiceOutcome { dry_run: request.dry_run, ..ServiceOutcome::default() };
    let mut gone = Vec::new();
    for path in files {
        match sealed::look(&outside(request, &path), &sealed::seal(""))? {
            Found::Absent => {}
            Found::Foreign if !request.force => outcome.note(&path, ServiceChange::Kept),
            _ => gone.push(path),
        }
    }
    let goes = |name: &str| gone.contains(&place.units.join(name));
    let mut stop = Vec::new();
    if goes("pgkeep.service") {
        stop.push(place.systemctl(&["disable", "--now", "pgkeep.service"]));
    }
    for name in ["pgkeep-backup@", "pgkeep-drill@"] {
        if goes(&format!("{name}.timer")) {
            // One stops the instances that run, the other forgets those that begin with the computer.
            stop.push(place.systemctl(&["stop", &format!("{name}*.timer")]));
            stop.push(place.systemctl(&["disable", &format!("{name}.timer")]));
        }
    }
    // Before the files go: systemd must still know what it stops.
    place.run(ctx, stop, &mut outcome).await?;
    for path in &gone {
        if !request.dry_run {
            let file = outside(request, path);
            std::fs::remove_file(&file).doing(|| format!("cannot remove {}", file.display()))?;
        }
        outcome.note(path, ServiceChange::Removed);
    }
    if !gone.is_empty() {
        place.run(ctx, vec![place.systemctl(&["daemon-reload"])], &mut outcome).await?;
    }
    if !request.user {
        outcome.notes.push(format!("{CONFIG_FOLDER}, /var/lib/pgkeep, the user pgkeep and all backups stay"));
    }
    Ok(outcome)
}

/// Whose systemd is meant, and whether it can be told.
struct Place {
    units: PathBuf,
    config: PathBuf,
    user: bool,
    can_run: bool,
}

impl Place {
    fn of(request: &ServiceRequest) -> Result<Self> {
        if !request.user {
            // sd_booted(3).
            let can_run = nix::unistd::geteuid().is_root() && Path::new("/run/systemd/system").is_dir();
            let config = Path::new(CONFIG_FOLDER).join(FILE_NAME);
            return Ok(Self { units: SYSTEM_UNITS.into(), config, user: false, can_run: can_run && request.runs() });
        }
        let config = user_folder().ok_or_else(|| {
            Error::new(ErrorKind::Config, "the environment does not say where your configuration is").hint("set HOME")
        })?;
        let units = config.with_file_name("systemd/user");
        let manager = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("systemd").is_dir());
        Ok(Self { units, config: config.join(FILE_NAME), user: true, can_run: manager && request.runs() })
    }

    fn systemctl(&self, words: &[&str]) -> ServiceCommand {
        let user: &[&str] = if self.user { &["--user"] } else { &[] };
        command([&["systemctl"], user, words].concat())
    }

    /// Runs `commands`, or says that they remain to be run.
    async fn run(&self, ctx: &Context, commands: Vec<ServiceCommand>, outcome: &mut ServiceOutcome) -> Result<()> {
        for command in commands {
            if self.can_run {
                run(ctx, &command).await?;
                outcome.ran.push(command);
            } else {
                outcome.next.push(command);
            }
        }
        Ok(())
    }
}

impl ServiceRequest {
    /// Whether commands may be run at all.
    fn runs(&self) -> bool {
        !self.dry_run && self.root.is_none()
    }
}

fn command<'w>(words: impl IntoIterator<Item = &'w str>) -> ServiceCommand {
    ServiceCommand(words.into_iter().map(str::to_owned).collect())
}

/// The units to start: `pgkeep run`, or the timers of `jobs`; the drill's too where the job has one in the configuration.
fn enabled(jobs: &[String], ctx: &Context) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for job in jobs {
        all.push(units::instance("backup", job)?);
        if ctx.config.jobs.get(job).is_some_and(|job| job.drill.is_some()) {
            all.push(units::instance("drill", job)?);
        }
    }
    if all.is_empty() {
        all.push("pgkeep.service".to_owned());
    }
    Ok(all)
}

/// What the configuration says is written to, outside the state folder.
fn writable(ctx: &Context) -> Vec<PathBuf> {
    let folders = ctx.config.destinations.values().filter_map(|destination| match destination {
        DestinationConfig::Folder { path } => Some(path.clone()),
        _ => None,
    });
    let mut all: Vec<PathBuf> = folders.chain(ctx.config.temp_dir.clone()).collect();
    all.sort();
    all.dedup();
    all
}

fn refuse_hidden(path: &Path, what: &str, instead: &str) -> Result<()> {
    match HIDDEN.iter().find(|hidden| path.starts_with(hidden)) {
        Some(hidden) => Err(Error::new(
            ErrorKind::Usage,
            format!("the service cannot see {what} {}: {hidden} is hidden from it", path.display()),
        )
        .hint(format!("{instead}; or install it with --user, for your own user alone"))),
        None => Ok(()),
    }
}

/// Makes a folder of root's with `mode`, unless it is there.
fn folder(request: &ServiceRequest, path: &str, mode: u32, outcome: &mut ServiceOutcome) -> Result<()> {
    let real = outside(request, Path::new(path));
    if real.is_dir() {
        outcome.note(path, ServiceChange::Unchanged);
        return Ok(());
    }
    if !request.dry_run {
        let doing = || format!("cannot make the folder {}", real.display());
        let above = real.parent().map_or(Ok(()), std::fs::create_dir_all).doing(doing);
        above.and_then(|()| std::fs::DirBuilder::new().mode(mode).create(&real).doing(doing)).map_err(|error| {
            if error.kind() == ErrorKind::PermissionDenied {
                error.hint("run it as root, or with --user for your own user alone")
            } else {
                error
            }
        })?;
    }
    outcome.note(path, ServiceChange::Written);
    Ok(())
}

/// What somebody has to see to, and pgkeep cannot.
fn advise(request: &ServiceRequest, writable: &[PathBuf], outcome: &mut ServiceOutcome) {
    if request.user {
        outcome.notes.push("`loginctl enable-linger` lets it run while you are not logged in".to_owned());
        return;
    }
    for path in writable {
        if HIDDEN.iter().any(|hidden| path.starts_with(hidden)) {
            outcome.notes.push(format!(
                "the service cannot see the folder {}: move it elsewhere, or install with --user",
                path.display()
            ));
        } else if !outside(request, path).exists() {
            let make = ["install", "-d", "-o", "pgkeep", "-g", "pgkeep", "-m", "0750", &path.display().to_string()]
                .map(str::to_owned);
            outcome.notes.push(format!(
                "the folder {} is missing, make it before the start: {}",
                path.display(),
                ServiceCommand(make.into())
            ));
        } else {
            outcome.notes.push(format!("the user pgkeep must be able to write to {}", path.display()));
        }
    }
    if !writable.is_empty() {
        outcome
            .notes
            .push("after a change of folders in the configuration, run `pgkeep service install` again".to_owned());
    }
}
