//! (being written)
use super::{Backup, Context, DrillOutcome};
use crate::config::Check;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Connection;
use std::path::PathBuf;
use std::time::Duration;

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

/// Restores `backup` into a scratch and compares. All three results are outcomes; an error means that it was cancelled.
pub async fn drill(_ctx: &Context, _backup: &Backup, _request: &DrillRequest) -> Result<DrillOutcome> {
    Err(Error::new(ErrorKind::Failed, "being written"))
}

/// Removes throwaway clusters that killed runs left.
pub fn sweep_scratch(_ctx: &Context) {}
