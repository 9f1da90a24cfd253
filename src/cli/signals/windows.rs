//! Ctrl-C and Ctrl-Break, and what the system sends before it ends a program.

use crate::cancel::Cause;
use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

/// The events that ask a run to stop.
pub(super) struct Signals {
    c: CtrlC,
    pause: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { c: ctrl_c()?, pause: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Cause {
        tokio::select! {
            Some(()) = self.c.recv() => Cause::Interrupt,
            Some(()) = self.pause.recv() => Cause::Interrupt,
            Some(()) = self.close.recv() => Cause::Terminate,
            Some(()) = self.shutdown.recv() => Cause::Terminate,
            else => std::future::pending().await,
        }
    }
}

/// A console tells all of its programs to stop by itself.
pub(super) fn terminate(_pid: u32) {}

/// Windows has nothing that asks a program to read its configuration again.
pub(super) struct Hangups;

impl Hangups {
    #[allow(clippy::unnecessary_wraps)]
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    /// Waits for ever.
    #[allow(clippy::unused_async)]
    pub(super) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}
