//! Systems whose service manager pgkeep does not write for.

use super::{ServiceOutcome, ServiceRequest};
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Context;

#[allow(clippy::unused_async)] // Others run commands.
pub(super) async fn install(_ctx: &Context, _request: &ServiceRequest) -> Result<ServiceOutcome> {
    Err(unknown())
}

#[allow(clippy::unused_async)] // Others run commands.
pub(super) async fn uninstall(_ctx: &Context, _request: &ServiceRequest) -> Result<ServiceOutcome> {
    Err(unknown())
}

fn unknown() -> Error {
    let message = "pgkeep knows the service managers of Linux (systemd) and of Windows only";
    Error::new(ErrorKind::Usage, message).hint(
        "here, cron starts it: a line such as `0 2 * * * pgkeep backup now`; docs/scheduling.md has the whole of it",
    )
}
