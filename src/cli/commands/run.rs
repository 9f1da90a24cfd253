//! `pgkeep run`.

use super::Session;
use crate::cli::args::RunArgs;
use crate::cli::log::Log;
use crate::cli::{exit, signals};
use crate::error::{Error, Result};
use crate::schedule::{Daemon, Listener, News, Service, Surroundings, Worker, lock_scheduler};
use std::sync::Arc;

/// Runs the scheduler until it is stopped.
pub(super) async fn run(args: &RunArgs, session: &Session<'_>) -> Result<u8> {
    let ctx = session.ctx;
    let state_dir = ctx.state_dir();
    let _lock = lock_scheduler(&state_dir)?;
    let log = Arc::new(Log::new(args.log, session.global.quiet, ctx.config.timezone, Arc::clone(&ctx.clock)));
    let warn = |warning: &str| log.tell(None, &News::Warning(warning));
    ctx.config.warnings.iter().for_each(|warning| warn(warning));
    let service = Service::from_environment(warn);
    let worker = Worker {
        clock: Arc::clone(&ctx.clock),
        listener: Arc::clone(&log) as Arc<dyn Listener>,
        cancel: ctx.cancel.clone(),
    };
    let load = {
        let (global, log) = (session.global.clone(), Arc::clone(&log));
        move || {
            let config = crate::cli::load(&global)?;
            log.set_zone(config.timezone);
            config.warnings.iter().for_each(|warning| log.tell(None, &News::Warning(warning)));
            Ok(config)
        }
    };
    let surroundings = Surroundings {
        runner: Arc::new(worker),
        clock: Arc::clone(&ctx.clock),
        listener: Arc::clone(&log) as Arc<dyn Listener>,
        cancel: ctx.cancel.clone(),
        state_dir,
        service,
        load: Box::new(load),
        reload: signals::reloads()?,
    };
    let stopped = Daemon::new((*ctx.config).clone(), surroundings)?.run().await;
    Ok(stopped.as_ref().map_or(exit::DONE, Error::exit_code))
}
