//! Ctrl-C and SIGTERM: the first asks the run to stop, the second ends it at once. While a command of the user's runs, they
//! are for that.

#[cfg_attr(windows, path = "signals/windows.rs")]
#[cfg_attr(not(windows), path = "signals/unix.rs")]
mod os;

use crate::cancel::{Cancel, Cause};
use crate::error::{Context, Result};
use std::sync::{Mutex, PoisonError};

/// Whom signals are for.
enum For {
    Us,
    /// A child, once it is started.
    Child(Option<u32>),
}

static SIGNALS_ARE_FOR: Mutex<For> = Mutex::new(For::Us);

fn set(whom: For) {
    *SIGNALS_ARE_FOR.lock().unwrap_or_else(PoisonError::into_inner) = whom;
}

/// While it lives, signals do not stop this program: a terminal sends Ctrl-C to the child too, and SIGTERM is handed on.
pub(super) struct LeftToAChild;

/// From now on signals are for a child that is about to be started.
pub(super) fn leave_to_a_child() -> LeftToAChild {
    set(For::Child(None));
    LeftToAChild
}

impl LeftToAChild {
    /// Which child it is.
    #[allow(clippy::unused_self)] // There is nobody to tell it to without one.
    pub(super) fn child(&self, pid: Option<u32>) {
        set(For::Child(pid));
    }
}

impl Drop for LeftToAChild {
    fn drop(&mut self) {
        set(For::Us);
    }
}

/// Whether `cause` was for a child, which then has it.
fn is_for_a_child(cause: Cause) -> bool {
    match *SIGNALS_ARE_FOR.lock().unwrap_or_else(PoisonError::into_inner) {
        For::Us => false,
        For::Child(pid) => {
            if let (Some(pid), Cause::Terminate) = (pid, cause) {
                os::terminate(pid);
            }
            true
        }
    }
}
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
        let cause = loop {
            let cause = signals.next().await;
            if !is_for_a_child(cause) {
                break cause;
            }
        };
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
