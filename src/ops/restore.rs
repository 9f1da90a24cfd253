//! (being written)
use super::{Backup, Context, RestoreOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Connection;
use std::path::PathBuf;

/// Into which database.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of this name on the server of the connection.
    Named(Connection, String),
    /// The database that the connection names.
    Url(Connection),
}

/// How a backup is to be restored.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// Into which database; it must not exist, or be empty, unless `swap`.
    pub target: Target,
    /// Leave out changes of owner: everything belongs to the role that restores.
    pub no_owner: bool,
    /// Leave out grants.
    pub no_privileges: bool,
    /// Dump the restored database and compare it with the backup.
    pub prove: bool,
    /// Restore beside the target, then exchange the names; the old database stays.
    pub swap: bool,
    /// Keep a database whose restore failed, to look at.
    pub keep: bool,
    /// The only folder in which programs are looked for.
    pub bin_dir: Option<PathBuf>,
}

/// Restores `backup`. A failed proof is no error but an outcome with `Proof::Failed`.
pub async fn restore(_ctx: &Context, _backup: &Backup, _request: &RestoreRequest) -> Result<RestoreOutcome> {
    Err(Error::new(ErrorKind::Failed, "being written"))
}
