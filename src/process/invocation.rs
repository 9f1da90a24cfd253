//! One child process: described, spawned, drained, waited for, or stopped.

use super::guard::{self, Orphan};
use super::streams::{CTRL_Z, Input, Output};
use super::{RunAs, os};
use crate::cancel::Cancel;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::secret::{Secret, scrub};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;

/// How much of the end of a child's stderr is kept, in bytes.
const STDERR_TAIL: usize = 64 << 10;

/// How long a child that was asked to stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What a child reads.
#[derive(Debug)]
pub enum Stdin {
    /// Nothing.
    Null,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// What is written into [`Running::stdin`].
    Pipe,
}

/// Where a child's output goes.
#[derive(Debug)]
pub enum Stdout {
    /// Nowhere.
    Null,
    /// Into [`Running::stdout`].
    Pipe,
}

/// A program to run. Its environment holds only what is given here.
#[derive(Debug)]
pub struct Invocation {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Stdin,
    stdout: Stdout,
    run_as: Option<RunAs>,
    secrets: Vec<Secret>,
    dir: Option<PathBuf>,
    orphan: Orphan,
    text_mode: bool,
}

/// How a child ended.
#[derive(Debug, Clone)]
pub struct Status {
    /// The operating system's word for it.
    pub exit: ExitStatus,
    /// The end of what it wrote to stderr, secrets scrubbed.
    pub stderr: String,
}

impl Status {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.exit.success()
    }

    /// Whether a signal ended it that it could not answer to: SIGKILL.
    pub fn was_killed(&self) -> bool {
        os::was_killed(self.exit)
    }

    /// `exit code 1`, or the signal that killed it.
    pub fn describe(&self) -> String {
        os::describe_exit(self.exit)
    }
}

/// A finished child and all that it wrote to stdout.
#[derive(Debug, Clone)]
pub struct Captured {
    /// How it ended.
    pub status: Status,
    /// Its output.
    pub stdout: Vec<u8>,
}

impl Invocation {
    /// Runs `program` without arguments, environment, input or output, unless told otherwise.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            stdin: Stdin::Null,
            stdout: Stdout::Null,
            run_as: None,
            secrets: Vec::new(),
            dir: None,
            orphan: Orphan::Kill,
            text_mode: false,
        }
    }

    /// Adds arguments. They are visible to every user of the machine: never a secret.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds environment variables.
    #[must_use]
    pub fn env(mut self, env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.env.extend(env);
        self
    }

    /// Chooses the input.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Chooses where the output goes.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// Runs as another user (only root can).
    #[must_use]
    pub fn run_as(mut self, user: Option<RunAs>) -> Self {
        self.run_as = user;
        self
    }

    /// Hides `secrets` in what the child says on stderr.
    #[must_use]
    pub fn secrets(mut self, secrets: Vec<Secret>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Runs in the folder `dir`.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Chooses what the kernel does to the child when pgkeep dies: [`Orphan::Kill`] unless told otherwise.
    #[must_use]
    pub fn orphan(mut self, orphan: Orphan) -> Self {
        self.orphan = orphan;
        self
    }

    /// Says that the program is one of PostgreSQL's, which on Windows keep their standard streams in text mode.
    #[must_use]
    pub fn postgres(mut self) -> Self {
        self.text_mode = cfg!(windows);
        self
    }

    /// Starts the child. Must be called within a tokio runtime.
    pub async fn spawn(self) -> Result<Running> {
        let name = program_name(&self.program);
        let (stdout_reader, stdout) = match self.stdout {
            Stdout::Null => (None, Stdio::null()),
            Stdout::Pipe => {
                let (reader, writer) = os::wide_pipe().doing(|| format!("cannot make a pipe for {name}"))?;
                (Some(Output::new(reader, self.text_mode)), Stdio::from(writer))
            }
        };
        let (stdin_writer, stdin, input) = match self.stdin {
            Stdin::Null => (None, Stdio::null(), None),
            Stdin::Bytes(bytes) => {
                let (reader, writer) = os::wide_pipe().doing(|| format!("cannot make a pipe for {name}"))?;
                let writer = Input::new(writer, self.text_mode);
                if writer.ends_at_ctrl_z() && bytes.contains(&CTRL_Z) {
                    return Err(Error::new(ErrorKind::Refused, format!("{name} cannot be given the byte 26 (Ctrl-Z)"))
                        .hint("PostgreSQL's programs for Windows stop reading there: run pgkeep on another system"));
                }
                (None, Stdio::from(reader), Some((writer, bytes)))
            }
            Stdin::Pipe => {
                let (reader, writer) = os::wide_pipe().doing(|| format!("cannot make a pipe for {name}"))?;
                (Some(Input::new(writer, self.text_mode)), Stdio::from(reader), None)
            }
        };
        let mut command = guard::command(&self.program, &self.args, self.run_as.as_ref(), self.orphan);
        command.env_clear().envs(self.env).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        os::prepare(&mut command);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut child = guard::spawn(command).await.map_err(|source| spawn_error(&self.program, source))?;
        let job = os::attach(&child);
        let stderr = child.stderr.take();
        let secrets = self.secrets;
        let stderr = tokio::spawn(async move {
            match stderr {
                Some(pipe) => scrub(&drain_tail(pipe).await, &secrets),
                None => String::new(),
            }
        });
        if let Some((mut writer, bytes)) = input {
            // A child that stops reading closes the pipe; how it ended is told by its status, not by this write.
            std::thread::spawn(move || writer.write_all(&bytes).and_then(|()| writer.flush()).is_ok());
        }
        Ok(Running { name, child, stderr, stdin: stdin_writer, stdout: stdout_reader, _job: job })
    }

    /// Runs the child to its end and returns what it wrote; stopped if `cancel` says so.
    pub async fn capture(self, cancel: &Cancel) -> Result<Captured> {
        let mut running = self.stdout(Stdout::Pipe).spawn().await?;
        let name = running.name.clone();
        let reader = running.stdout.take();
        let output = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            match reader {
                Some(mut reader) => reader.read_to_end(&mut bytes).map(|_| bytes),
                None => Ok(bytes),
            }
        });
        let status = running.wait(cancel).await?;
        let stdout = output
            .await
            .map_err(|source| Error::new(ErrorKind::Failed, format!("lost the output of {name}")).caused_by(source))?
            .doing(|| format!("cannot read the output of {name}"))?;
        Ok(Captured { status, stdout })
    }
}

fn program_name(program: &Path) -> String {
    program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn spawn_error(program: &Path, source: std::io::Error) -> Error {
    Error::io(format!("cannot run {}", program.display()), source)
}

/// Reads to the end and keeps only the last [`STDERR_TAIL`] bytes, so that a talkative child neither blocks nor fills
/// memory.
async fn drain_tail(mut pipe: tokio::process::ChildStderr) -> String {
    let mut tail: Vec<u8> = Vec::new();
    let mut buffer = vec![0u8; 8 << 10];
    while let Ok(count) = pipe.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        tail.extend_from_slice(&buffer[..count]);
        if tail.len() > 2 * STDERR_TAIL {
            tail.drain(..tail.len() - STDERR_TAIL);
        }
    }
    let start = tail.len().saturating_sub(STDERR_TAIL);
    let text = String::from_utf8_lossy(&tail[start..]);
    if cfg!(windows) { text.replace("\r\n", "\n") } else { text.into_owned() }
}

/// A child that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: tokio::process::Child,
    stderr: JoinHandle<String>,
    /// The child's input; dropping it is the end of the input.
    pub stdin: Option<Input>,
    /// The child's output, for blocking reads on a thread of their own.
    pub stdout: Option<Output>,
    _job: os::Job,
}

impl Running {
    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the end. If `cancel` says so, the child is asked to stop, killed after five seconds if it does not,
    /// and the error of the cancellation is returned.
    pub async fn wait(mut self, cancel: &Cancel) -> Result<Status> {
        let exit = tokio::select! {
            exit = self.child.wait() => exit,
            () = cancel.cancelled() => {
                self.stop().await?;
                return Err(cancel.error());
            }
        };
        let exit = exit.doing(|| format!("cannot wait for {}", self.name))?;
        let stderr = (&mut self.stderr).await.unwrap_or_default();
        Ok(Status { exit, stderr })
    }

    /// Whether the child has ended already, and how.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().doing(|| format!("cannot ask after {}", self.name))?.is_some())
    }

    /// Ends a server at once, its sessions with it, and waits until it is gone.
    pub async fn quit(&mut self) -> Result<()> {
        os::ask_to_quit(&self.child);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.child.kill().await.doing(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Asks the child to stop, and kills it after a grace of five seconds.
    pub async fn stop(&mut self) -> Result<()> {
        os::ask_to_stop(&self.child);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            self.child.kill().await.doing(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }
}
