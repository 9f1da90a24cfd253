//! The command line: parses, runs a use-case of [`crate::ops`], shows what came of it, and exits with its code.
//!
//! clap and indicatif appear here only. `args` is what can be typed, `places` what is meant where something is left out, `ask`
//! asks for it, `commands` joins both with the use-cases; `tables`, `report` and `words` are for people's eyes, `voice`
//! is that of errors.

mod args;
mod ask;
mod commands;
mod exit;
mod log;
mod output;
mod places;
mod progress;
mod report;
#[cfg(test)]
mod samples;
mod signals;
mod tables;
mod usage;
mod voice;
mod words;

use crate::cancel::Cancel;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::{Context as _, Result};
use crate::ops::Context;
use args::{Cli, Command, Global};
use output::Output;
use progress::Display;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long work on other threads may take to end after a command has answered.
const WIND_DOWN: Duration = Duration::from_secs(5);

/// Runs the program.
pub fn main() -> ExitCode {
    // Before everything else: a child is started through this, and has nothing to do with the command line.
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|arg| arg == crate::process::GUARD_COMMAND).is_some() {
        return crate::process::become_guarded(args);
    }
    crate::process::install_guard();
    match usage::parse() {
        Ok(cli) => ExitCode::from(answer(&cli)),
        Err(code) => ExitCode::from(code),
    }
}

/// Runs a command and tells its error, if it ends with one; returns the exit code.
fn answer(cli: &Cli) -> u8 {
    let output = Output::new(cli.global.json);
    run(cli, &output).unwrap_or_else(|error| {
        voice::tell(&error);
        if !output.has_answered()
            && let Err(error) = output.json(&json!({ "error": voice::machine(&error) }))
        {
            voice::tell(&error);
        }
        error.exit_code()
    })
}

fn run(cli: &Cli, output: &Output) -> Result<u8> {
    if let Command::Completions { shell } = cli.command {
        return commands::completions(shell);
    }
    let config = load(&cli.global)?;
    // A daemon's stderr is its log, which has a form of its own.
    let logs = matches!(cli.command, Command::Run(_));
    for warning in config.warnings.iter().filter(|_| !logs) {
        voice::warn(warning);
    }
    let display = Arc::new(Display::new(cli.global.quiet));
    let cancel = Cancel::new();
    let ctx = Context {
        config: Arc::new(config),
        clock: Arc::new(SystemClock),
        observer: Arc::clone(&display) as _,
        cancel: cancel.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .doing(|| "cannot start the threads of pgkeep".to_owned())?;
    let code = runtime.block_on(async {
        signals::listen(cancel, logs)?;
        let session = commands::Session { ctx: &ctx, output, display: &display, global: &cli.global };
        commands::run(&cli.command, &session).await
    });
    display.end();
    runtime.shutdown_timeout(WIND_DOWN);
    code
}

/// The configuration, with what the command line says over it.
fn load(global: &Global) -> Result<Config> {
    let mut config = Config::load(global.config.as_deref())?;
    if let Some(dir) = &global.bin_dir {
        let dir = std::path::absolute(dir).doing(|| format!("cannot use --bin-dir {}", dir.display()))?;
        config.bin_dir = Some(dir);
        for job in config.jobs.values_mut() {
            job.bin_dir = None;
        }
    }
    Ok(config)
}
