//! Processes on Windows: a job object takes the child down with pgkeep.

use std::ffi::OsString;
use std::io::{Error, PipeReader, PipeWriter};
use std::os::windows::process::CommandExt;
use std::process::{Command, ExitStatus};
use winsafe::{HPROCESS, co};

/// The kernel needs no helper here: the job object does it.
pub(super) const GUARDS: bool = false;

/// The job object that holds a child; closing it kills what is left in it.
#[derive(Debug)]
pub(super) struct Job(#[allow(dead_code, reason = "held for its drop")] Option<win32job::Job>);

/// Another user to run a program as: PostgreSQL for Windows drops privileges by itself, so there is never one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {}

impl RunAs {
    pub(super) fn to_argument(&self) -> String {
        match *self {}
    }
}

/// No other user is needed on Windows.
pub fn service_user() -> Option<RunAs> {
    None
}

/// The name of this computer, where it has one.
pub fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok().filter(|name| !name.is_empty())
}

/// What two processes must share for the id of one to mean something to the other. Windows tells nothing that would change
/// with every start of the system: marks on services are judged by their age there.
pub fn scope() -> Option<String> {
    None
}

/// What a process that runs has for an exit code (`STILL_ACTIVE`).
const RUNNING: u32 = 259;

/// Whether a process with this id exists and runs. One that may not be looked at does.
pub fn is_alive(pid: u32) -> bool {
    match HPROCESS::OpenProcess(co::PROCESS::QUERY_LIMITED_INFORMATION, false, pid) {
        Ok(process) => process.GetExitCodeProcess().map_or(true, |code| code == RUNNING),
        // What Windows says for an id that nobody has.
        Err(error) => error != co::ERROR::INVALID_PARAMETER,
    }
}

pub(super) fn set_user(_command: &mut Command, _run_as: Option<&RunAs>) {}

/// `CREATE_NEW_PROCESS_GROUP`: Ctrl-C in the console reaches pgkeep alone, which stops its children in order.
const NEW_PROCESS_GROUP: u32 = 0x200;

pub(super) fn prepare(command: &mut Command) {
    command.creation_flags(NEW_PROCESS_GROUP);
}

pub(super) fn attach(child: &tokio::process::Child) -> Job {
    let attached = || {
        let job = win32job::Job::create().ok()?;
        let mut limits = job.query_extended_limit_info().ok()?;
        limits.limit_kill_on_job_close();
        job.set_extended_limit_info(&limits).ok()?;
        job.assign_process(child.raw_handle()? as isize).ok()?;
        Some(job)
    };
    // Without a job object the child still ends when its pipes break.
    Job(attached())
}

pub(super) fn ask_to_stop(_child: &tokio::process::Child) {}

pub(super) fn ask_to_quit(_child: &tokio::process::Child) {}

pub(super) fn was_killed(_exit: ExitStatus) -> bool {
    // Whoever ends a process there chooses its exit code.
    false
}

pub(super) fn describe_exit(exit: ExitStatus) -> String {
    exit.code().map_or_else(|| "an unknown end".to_owned(), |code| format!("exit code {code}"))
}

pub(super) fn wide_pipe() -> std::io::Result<(PipeReader, PipeWriter)> {
    std::io::pipe()
}

pub(super) fn become_guarded(_args: impl Iterator<Item = OsString>) -> Error {
    Error::other("this command is for pgkeep's own use")
}
