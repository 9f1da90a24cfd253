//! Running other programs: a clean environment, drained pipes, secrets scrubbed from what they say, and no orphans.
//!
//! Every child gets its own process group and dies with pgkeep: on Linux through [`guard`], on Windows through a job
//! object. Dropping a [`Running`] kills it.

mod guard;
mod invocation;
mod streams;
mod typed;
mod unhurried;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub use guard::{GUARD_COMMAND, Orphan, become_guarded, install_guard};
pub use invocation::{Captured, Invocation, Running, Status, Stdin, Stdout};
pub use streams::{CTRL_Z, Input, Output};
pub use typed::shell_word;
pub use unhurried::Unhurried;
#[cfg(unix)]
use unix as os;
#[cfg(windows)]
use windows as os;

pub use os::{RunAs, host_name, is_alive, scope, service_user};
