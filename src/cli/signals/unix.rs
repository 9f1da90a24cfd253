//! SIGINT and SIGTERM. SIGHUP keeps its meaning, so that `nohup` works, but for `pgkeep run`.

use crate::cancel::Cause;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that ask a run to stop.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Cause {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Cause::Interrupt,
            Some(()) = self.terminate.recv() => Cause::Terminate,
            else => std::future::pending().await,
        }
    }
}

/// Asks the process `pid` to end. If it has ended meanwhile there is nobody to ask.
pub(super) fn terminate(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
    }
}

/// SIGHUP, which asks a daemon to read its configuration again.
pub(super) struct Hangups(Signal);

impl Hangups {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
