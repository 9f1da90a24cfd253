//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends it at once.

#[cfg_attr(windows, path = "signals/windows.rs")]
#[cfg_attr(not(windows), path = "signals/unix.rs")]
mod os;

use crate::cancel::{Cancel, Cause};
use crate::error::{Context, Result};
use tokio::sync::mpsc;

/// Messages for each time that the user asks for the configuration to be read again: SIGHUP, where there is such a thing.
/// In the runtime that is entered.
pub(super) fn reloads() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut hangups = os::Hangups::new().doing(|| "cannot listen to signals".to_owned())?;
    tokio::spawn(async move {
        loop {
            hangups.next().await;
            // One that is still waiting will do for both.
            if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Listens from now on, in the runtime that is entered; says so on stderr unless somebody else does.
pub(super) fn listen(cancel: Cancel, silent: bool) -> Result<()> {
    let mut signals = os::Signals::new().doing(|| "cannot listen to signals".to_owned())?;
    tokio::spawn(async move {
        let cause = signals.next().await;
        if !silent {
            super::voice::stderr(match cause {
                Cause::Interrupt => "interrupted: stopping, once more to stop at once\n",
                Cause::Terminate => "terminated: stopping\n",
            });
        }
        cancel.cancel(cause);
        // The children die with this process: the guard sees to it.
        std::process::exit(match signals.next().await {
            Cause::Interrupt => 130,
            Cause::Terminate => 143,
        });
    });
    Ok(())
}
