//! Processes on Linux, macOS and other Unix systems.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, User};
use std::ffi::{CString, OsString};
use std::io::{Error, PipeReader, PipeWriter};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// Whether children are guarded by the kernel here.
pub(super) const GUARDS: bool = cfg!(target_os = "linux");

/// What holds a child on Windows; nothing here.
#[derive(Debug)]
pub(super) struct Job;

/// Another user to run a program as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs {
    /// The user's name.
    pub name: String,
    /// The user's id.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
}

impl RunAs {
    pub(super) fn to_argument(&self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }
}

/// The user that server programs run as, because they refuse root: `None` if pgkeep is not run by root, otherwise
/// `postgres`, or `nobody` where there is no such user.
pub fn service_user() -> Option<RunAs> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten())?;
    Some(RunAs { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// The name of this computer, where it has one.
pub fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).filter(|name| !name.is_empty())
}

/// What two processes must share for the id of one to mean something to the other: the same start of the same kernel, and
/// the same namespace of process ids. `None` where that cannot be known.
pub fn scope() -> Option<String> {
    if cfg!(target_os = "linux") {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        return Some(format!("{} {}", boot.trim(), namespace.to_str()?));
    }
    None
}

/// Whether a process with this id exists.
pub fn is_alive(pid: u32) -> bool {
    match nix::sys::signal::kill(Pid::from_raw(pid as i32), None) {
        Ok(()) | Err(nix::errno::Errno::EPERM) => true,
        Err(_) => false,
    }
}

pub(super) fn set_user(command: &mut Command, run_as: Option<&RunAs>) {
    if let Some(user) = run_as {
        command.uid(user.uid).gid(user.gid);
    }
}

/// Its own process group: Ctrl-C on the terminal reaches pgkeep alone, which stops its children in order.
pub(super) fn prepare(command: &mut Command) {
    command.process_group(0);
}

pub(super) fn attach(_child: &tokio::process::Child) -> Job {
    Job
}

pub(super) fn ask_to_stop(child: &tokio::process::Child) {
    if let Some(pid) = child.id() {
        // Failing means that it has ended already.
        let _ = killpg(Pid::from_raw(pid as i32), Signal::SIGTERM);
    }
}

/// SIGQUIT: PostgreSQL's immediate shutdown. To the server alone, which tells its own children.
pub(super) fn ask_to_quit(child: &tokio::process::Child) {
    if let Some(pid) = child.id() {
        // Failing means that it has ended already.
        let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), Signal::SIGQUIT);
    }
}

pub(super) fn describe_exit(exit: ExitStatus) -> String {
    match (exit.code(), exit.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => Signal::try_from(signal)
            .map_or_else(|_| format!("killed by signal {signal}"), |signal| format!("killed by {signal}")),
        (None, None) => "an unknown end".to_owned(),
    }
}

pub(super) fn was_killed(exit: ExitStatus) -> bool {
    exit.signal() == Some(Signal::SIGKILL as i32)
}

/// A pipe that holds a mebibyte where the kernel allows it: fewer wake-ups on both sides.
pub(super) fn wide_pipe() -> std::io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    #[cfg(target_os = "linux")]
    {
        // Refused above /proc/sys/fs/pipe-max-size or the user's quota; the ordinary size works too.
        let _ = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    }
    Ok((reader, writer))
}

/// Arguments: the guarding parent's pid, `kill` or `quit`, `UID:GID` or `-`, the program, its arguments.
pub(super) fn become_guarded(mut args: impl Iterator<Item = OsString>) -> Error {
    let mut text = || args.next().and_then(|arg| arg.into_string().ok());
    let (Some(parent), Some(orphan), Some(user)) = (text().and_then(|pid| pid.parse::<u32>().ok()), text(), text())
    else {
        return Error::other("this command is for pgkeep's own use");
    };
    let Some(program) = args.next() else {
        return Error::other("no program given");
    };
    if let Err(error) = drop_privileges(&user) {
        return error;
    }
    // After the change of user, which clears it.
    #[cfg(target_os = "linux")]
    {
        let signal = if orphan == "quit" { Signal::SIGQUIT } else { Signal::SIGKILL };
        if let Err(errno) = nix::sys::prctl::set_pdeathsig(Some(signal)) {
            return errno.into();
        }
    }
    #[cfg(not(target_os = "linux"))]
    drop(orphan);
    if std::os::unix::process::parent_id() != parent {
        return Error::other("the parent is gone");
    }
    Command::new(program).args(args).exec()
}

fn drop_privileges(user: &str) -> std::io::Result<()> {
    if user == "-" {
        return Ok(());
    }
    let ids = user.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    let Some((uid, gid)) = ids else {
        return Err(Error::other("no such user"));
    };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let name = User::from_uid(uid)?.map(|user| user.name).unwrap_or_default();
    #[cfg(not(target_vendor = "apple"))]
    match CString::new(name) {
        Ok(name) if !name.is_empty() => nix::unistd::initgroups(&name, gid)?,
        _ => nix::unistd::setgroups(&[gid])?,
    }
    #[cfg(target_vendor = "apple")]
    drop(CString::new(name));
    nix::unistd::setgid(gid)?;
    nix::unistd::setuid(uid)?;
    Ok(())
}
