//! Running pgkeep itself as a user would: the built program, a clean environment, its output and exit code.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::postgres::{MAJORS, Postgres, bin_dir};
use super::processes::wait_until_within;

/// How long a run may take before the test fails, on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// A command line of pgkeep in the making. It inherits nothing: `PATH` is the system's, `HOME`, the working directory and
/// the state folder are private, and PostgreSQL's programs are the newest ones until [`Pgkeep::server`] says otherwise.
pub fn pgkeep() -> Pgkeep {
    let home = super::temp_dir();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgkeep"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.env("HOME", home.path()).env("PGKEEP_STATE_DIR", home.path().join("state")).current_dir(home.path());
    command.env("PGKEEP_BIN_DIR", bin_dir(&MAJORS[MAJORS.len() - 1].to_string()));
    command.stdin(Stdio::null());
    Pgkeep { command, home, wrapper: Vec::new() }
}

/// See [`pgkeep`].
pub struct Pgkeep {
    command: Command,
    home: TempDir,
    wrapper: Vec<OsString>,
}

impl Pgkeep {
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Uses the programs of `server`'s version.
    #[must_use]
    pub fn server(self, server: &Postgres) -> Self {
        self.bin_dir(server.bin_dir())
    }

    /// Uses the PostgreSQL programs in `folder`, such as one of [`super::fake_bin_dir`].
    #[must_use]
    pub fn bin_dir(self, folder: &Path) -> Self {
        self.env("PGKEEP_BIN_DIR", folder)
    }

    /// Starts it through another program, such as `["strace", "-f", "-o", "log"]`.
    #[must_use]
    pub fn through<S: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = wrapper.into_iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// Runs in `folder` instead of a private one.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// The private home folder, which also holds the state folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs to the end.
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }

    /// Runs to the end, which must be success.
    pub fn ok(self) -> Outcome {
        self.fails(0)
    }

    /// Runs to the end, which must have this exit code.
    pub fn fails(self, code: i32) -> Outcome {
        let outcome = self.run();
        assert_eq!(outcome.code, Some(code), "the exit code is not {code}: {outcome}");
        outcome
    }

    /// Runs with `--json` and gives the one JSON document on stdout, whatever the exit code.
    pub fn json(self) -> serde_json::Value {
        self.json_with_code().0
    }

    /// As [`Pgkeep::json`], with the exit code.
    pub fn json_with_code(self) -> (serde_json::Value, i32) {
        let outcome = self.arg("--json").run();
        match serde_json::from_str(&outcome.stdout) {
            Ok(value) => (value, outcome.code.expect("not ended by a signal")),
            Err(error) => panic!("stdout is not one JSON document: {error}: {outcome}"),
        }
    }

    /// Starts it and returns at once.
    pub fn spawn(mut self) -> Running {
        let line = format!("pgkeep {:?}", self.command.get_args().collect::<Vec<_>>());
        let mut child = self.wrapped().spawn().unwrap_or_else(|error| {
            panic!("{line} could not be started through {:?}: {error}: run scripts/test.sh --setup", self.wrapper)
        });
        let stdout = Drain::start(child.stdout.take().unwrap());
        let stderr = Drain::start(child.stderr.take().unwrap());
        Running { line, child, stdout, stderr, status: None, _home: self.home }
    }

    /// The command to start, with the wrapper in front.
    fn wrapped(&mut self) -> &mut Command {
        if let Some((first, rest)) = self.wrapper.split_first() {
            let mut command = Command::new(first);
            command.args(rest).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
            command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.current_dir(self.command.get_current_dir().unwrap_or_else(|| self.home.path()));
            command.stdin(Stdio::null());
            self.command = command;
        }
        // Its own process group, so that whatever it leaves there ends with the test.
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0)
    }
}

/// What a run left: exit code, the signal that ended it, and its output.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Standard output as it was, for what is not text.
    pub stdout_bytes: Vec<u8>,
    line: String,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, signal, stdout, stderr, line, .. } = self;
        write!(f, "{line}\ncode {code:?}, signal {signal:?}\n--- stdout:\n{stdout}\n--- stderr:\n{stderr}")
    }
}

/// A pgkeep at work; killed with its process group when dropped.
pub struct Running {
    line: String,
    child: Child,
    stdout: Drain,
    stderr: Drain,
    status: Option<ExitStatus>,
    _home: TempDir,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends a signal to pgkeep alone; nothing when it has ended already.
    pub fn kill(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill(Pid::from_raw(self.pid()), signal).unwrap();
        }
    }

    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status.is_some()
    }

    /// Kills it after `time`, unless it ends before.
    pub fn kill_after(&mut self, time: Duration) {
        wait_until_within(time, || self.has_ended());
        self.kill(Signal::SIGKILL);
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stderr holds `needle`; panics if it ends before.
    pub fn until_stderr(&mut self, needle: &str) {
        let mut ended = false;
        let seen = wait_until_within(LIMIT, || {
            // In this order: what was written just before the end counts.
            ended = self.has_ended() && self.stderr.is_finished();
            ended || self.stderr.text().contains(needle)
        });
        let found = self.stderr.text().contains(needle);
        assert!(seen && found, "{needle:?} never came on stderr of {}:\n{}", self.line, self.stderr.text());
    }

    /// Waits for the end; panics after five minutes.
    pub fn wait(mut self) -> Outcome {
        let ended = wait_until_within(LIMIT, || self.has_ended());
        assert!(ended, "still running after {LIMIT:?}: {}\n{}", self.line, self.stderr.text());
        let status = self.status.unwrap();
        // A pipe that stays open means that a child of pgkeep outlived it and still holds it.
        let closed = wait_until_within(LIMIT, || self.stdout.is_finished() && self.stderr.is_finished());
        assert!(closed, "pgkeep ended, but something it started still holds its output: {}", self.line);
        let stdout_bytes = self.stdout.bytes();
        Outcome {
            code: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stderr: self.stderr.text(),
            stdout_bytes,
            line: std::mem::take(&mut self.line),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = nix::sys::signal::killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Reads one output to its end in a thread, so that pgkeep never waits for the test.
struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Drain {
    fn start(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                into.lock().unwrap().extend_from_slice(&chunk[..n]);
            }
        });
        Self { bytes, thread }
    }

    fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}
