//! Stopping: one token passed down to everything that takes time.

use crate::error::{Error, ErrorKind, Result};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, or the service manager.
    Terminate,
}

/// A request to stop, shared by everything one run does.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
    parent: Option<Box<Cancel>>,
}

impl Cancel {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that is cancelled with this one, and that can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), cause: Arc::default(), parent: Some(Box::new(self.clone())) }
    }

    /// Asks everything below to stop. The first cause is kept.
    pub fn cancel(&self, cause: Cause) {
        self.cause.get_or_init(|| cause);
        self.token.cancel();
    }

    /// Whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until a stop is asked for.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// The error that a cancelled run ends with.
    pub fn error(&self) -> Error {
        if let Some(parent) = self.parent.as_ref().filter(|parent| parent.is_cancelled()) {
            return parent.error();
        }
        match self.cause.get() {
            Some(Cause::Terminate) => Error::new(ErrorKind::Terminated, "terminated; nothing was left half-done"),
            Some(Cause::Interrupt) | None => {
                Error::new(ErrorKind::Interrupted, "interrupted; nothing was left half-done")
            }
        }
    }

    /// An error if a stop was asked for: for loops that cannot wait on the token.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(self.error()) } else { Ok(()) }
    }
}
