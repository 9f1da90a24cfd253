//! Children that cannot outlive pgkeep, even when it is killed: a KILL runs no cleanup, so the kernel must do it.
//!
//! On Linux a child is started through pgkeep itself: the hidden command [`GUARD_COMMAND`] drops privileges where asked,
//! has the kernel signal it when its parent dies (`PR_SET_PDEATHSIG`, kept across `execve`), checks that the parent is
//! still there, and becomes the real program. It is done this way because setting it between `fork` and `exec` needs
//! unsafe code. The signal comes when the parent *thread* ends, hence one thread that spawns and never ends.

use super::{RunAs, os};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use tokio::process::Child;
use tokio::sync::oneshot;

/// The first argument with which pgkeep starts itself to guard a child.
pub const GUARD_COMMAND: &str = "__guard";

/// What happens to a child whose pgkeep has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphan {
    /// It is killed.
    Kill,
    /// It is sent SIGQUIT: a PostgreSQL server then takes its sessions and shared memory down with it.
    Quit,
}

static GUARD: OnceLock<PathBuf> = OnceLock::new();

/// Makes the running program the guard of the children that are started from now on. Only a program whose `main` hands
/// [`GUARD_COMMAND`] to [`become_guarded`] may call this; without it children are started directly.
pub fn install_guard() {
    if os::GUARDS
        && let Ok(program) = std::env::current_exe()
    {
        GUARD.get_or_init(|| program);
    }
}

/// Carries out [`GUARD_COMMAND`] with the arguments after it; returns only if that failed.
pub fn become_guarded(args: impl Iterator<Item = OsString>) -> ExitCode {
    let error = os::become_guarded(args);
    eprintln!("pgkeep: cannot start a child: {error}");
    ExitCode::from(127)
}

/// The command that starts `program`, guarded where this system can.
pub(super) fn command(program: &Path, args: &[OsString], run_as: Option<&RunAs>, orphan: Orphan) -> Command {
    if let Some(guard) = GUARD.get() {
        let mut command = Command::new(guard);
        command.arg(GUARD_COMMAND).arg(std::process::id().to_string());
        command.arg(match orphan {
            Orphan::Kill => "kill",
            Orphan::Quit => "quit",
        });
        command.arg(run_as.map_or_else(|| "-".to_owned(), RunAs::to_argument));
        command.arg(program).args(args);
        return command;
    }
    let mut command = Command::new(program);
    command.args(args);
    os::set_user(&mut command, run_as);
    command
}

type Task = Box<dyn FnOnce() + Send>;

/// Spawns on the one thread that lives as long as the process.
pub(super) async fn spawn(mut command: tokio::process::Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Task>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = channel::<Task>();
        std::thread::spawn(move || receiver.into_iter().for_each(|task| task()));
        sender
    });
    let (reply, answer) = oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let task: Task = Box::new(move || {
        let _entered = runtime.enter();
        // Nobody waits for the answer if the run was dropped meanwhile; the child then dies by `kill_on_drop`.
        drop(reply.send(command.spawn()));
    });
    let gone = || std::io::Error::other("the thread that starts children is gone");
    spawner.send(task).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}
