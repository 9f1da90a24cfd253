//! Finding rclone, and running it: one process for each operation, which dies with pgkeep and with whoever waits for it.

use super::answers::{OLDEST, version};
use super::environment::{environment, refusal, secrets};
use super::failure::Failure;
use crate::cancel::Cancel;
use crate::config::RcloneConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Invocation, Running, Status, Stdin, Stdout};
use crate::secret::Secret;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How often rclone itself tries a request again. pgkeep tries whole operations again; this covers what is better mended
/// at once.
const LOW_LEVEL_RETRIES: u32 = 3;

/// The same for an upload, which cannot be begun again: its bytes have gone by.
const UPLOAD_RETRIES: u32 = 10;

/// How long rclone waits at the least for a server that is busy, not silent: one that hashes a large file, or copies it.
/// This is rclone's own default.
const BUSY: Duration = Duration::from_secs(300);

/// The largest answer that is kept in memory, in bytes: a listing of about four million files.
const LARGEST_ANSWER: u64 = 1 << 30;

/// What a process is for, which decides how patient it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Something of which the server lets hear soon.
    Brief,
    /// Something that a server may be silent over for as long as the file is large.
    Lengthy,
    /// Taking in a stream.
    Upload,
}

/// An rclone that was found and is new enough.
pub(super) struct Program {
    path: PathBuf,
    version: String,
    config: Option<PathBuf>,
    options: Vec<String>,
    environment: Vec<(OsString, OsString)>,
    secrets: Vec<Secret>,
    timeout: Duration,
}

impl Program {
    /// Finds the program of `config` and asks for its version.
    pub(super) async fn find(config: &RcloneConfig) -> Result<Self> {
        for option in &config.options {
            if let Some(why) = refusal(option) {
                return Err(Error::new(ErrorKind::Config, why).hint(
                    "take it out of the destination's `options`; what a remote needs goes into `rclone config`",
                ));
            }
        }
        if let Some(file) = config.config.as_deref().filter(|file| !file.is_file()) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("rclone's configuration {} is not there", file.display()),
            )
            .hint("mend `config` in the destination, or make the file with `rclone config`"));
        }
        let path = match &config.program {
            Some(path) if path.is_file() => path.clone(),
            Some(path) => {
                return Err(Error::new(ErrorKind::Config, format!("there is no program {}", path.display()))
                    .hint("mend `program` in the destination, or install rclone from https://rclone.org/install/"));
            }
            None => search(&std::env::var_os("PATH").unwrap_or_default()).ok_or_else(not_installed)?,
        };
        let password = match config.config_password.clone() {
            // A file may be slow, and a command runs.
            Some(reference) => Some(tokio::task::spawn_blocking(move || reference.resolve()).await.map_err(lost)??),
            None => None,
        };
        let environment = environment(std::env::vars_os(), password.as_ref());
        let secrets = secrets(&environment);
        let mut program = Self {
            path,
            version: String::new(),
            config: config.config.clone(),
            options: config.options.clone(),
            environment,
            secrets,
            timeout: config.patience.timeout.max(Duration::from_secs(1)),
        };
        program.version = program.ask_version().await?;
        Ok(program)
    }

    async fn ask_version(&self) -> Result<String> {
        let what = self.path.display();
        let asked = Invocation::new(&self.path).args(["version"]).env(self.environment.iter().cloned());
        let (status, stdout) =
            self.attend(asked, read_answer, Some(self.timeout)).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => not_installed().caused_by(error),
                _ => error,
            })?;
        let (number, text) = version(&stdout).filter(|_| status.success()).ok_or_else(|| {
            Error::new(ErrorKind::Failed, format!("{what} does not tell which version of rclone it is"))
                .caused_by(Error::new(ErrorKind::Failed, Failure::of(&status).reason))
                .hint(format!("run `{what} version`; install rclone from https://rclone.org/install/"))
        })?;
        if number < OLDEST {
            let (major, minor) = OLDEST;
            return Err(Error::new(
                ErrorKind::Version,
                format!("{what} is rclone {text}; pgkeep needs {major}.{minor} or newer"),
            )
            .hint("update it with `rclone selfupdate`, or from https://rclone.org/downloads/"));
        }
        Ok(text)
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `rclone COMMAND` on `places`, which begin with a remote's name and its colon, and returns how it ended and what
    /// it printed. Dropping the future kills it.
    pub(super) async fn ask(
        &self,
        work: Work,
        command: &[&str],
        input: Stdin,
        places: &[&str],
    ) -> Result<(Status, Vec<u8>)> {
        self.stream(work, command, input, places, read_answer).await
    }

    /// The same, for an output that `take` reads on a thread of its own.
    pub(super) async fn stream<T: Send + 'static>(
        &self,
        work: Work,
        command: &[&str],
        input: Stdin,
        places: &[&str],
        take: impl FnOnce(&mut dyn Read) -> std::io::Result<T> + Send + 'static,
    ) -> Result<(Status, T)> {
        // rclone has limits of its own. This one is for when it hangs all the same.
        let silence = match work {
            Work::Brief => Some(self.timeout * (LOW_LEVEL_RETRIES + 2)),
            Work::Lengthy | Work::Upload => None,
        };
        self.attend(self.invocation(work, command, places).stdin(input), take, silence).await
    }

    /// Starts `rclone COMMAND` with a pipe for its input.
    pub(super) async fn start_upload(&self, command: &[&str], place: &str) -> Result<Running> {
        self.invocation(Work::Upload, command, &[place]).stdin(Stdin::Pipe).spawn().await
    }

    fn invocation(&self, work: Work, command: &[&str], places: &[&str]) -> Invocation {
        let timeout = if work == Work::Lengthy { self.timeout.max(BUSY) } else { self.timeout };
        let retries = if work == Work::Upload { UPLOAD_RETRIES } else { LOW_LEVEL_RETRIES };
        let mut args: Vec<OsString> = command.iter().map(Into::into).collect();
        for option in ["--ask-password=false", "--use-json-log", "--stats=0", "--retries=1"] {
            args.push(option.into());
        }
        args.push(format!("--low-level-retries={retries}").into());
        args.push(format!("--contimeout={}ms", self.timeout.as_millis()).into());
        args.push(format!("--timeout={}ms", timeout.as_millis()).into());
        if let Some(config) = &self.config {
            let mut option = OsString::from("--config=");
            option.push(config);
            args.push(option);
        }
        args.extend(self.options.iter().map(Into::into));
        args.push("--".into());
        args.extend(places.iter().map(Into::into));
        Invocation::new(&self.path).args(args).env(self.environment.iter().cloned()).secrets(self.secrets.clone())
    }

    /// Waits for the end of a process and takes its output; kills it when it has printed nothing for `silence`.
    async fn attend<T: Send + 'static>(
        &self,
        invocation: Invocation,
        take: impl FnOnce(&mut dyn Read) -> std::io::Result<T> + Send + 'static,
        silence: Option<Duration>,
    ) -> Result<(Status, T)> {
        let mut running = invocation.stdout(Stdout::Pipe).spawn().await?;
        let reader = running.stdout.take();
        let (pulse, mut heard) = watch::channel(());
        let output = tokio::task::spawn_blocking(move || {
            let mut reader: Box<dyn Read> = match reader {
                Some(reader) => Box::new(reader),
                None => Box::new(std::io::empty()),
            };
            take(&mut Heard { inner: &mut *reader, pulse })
        });
        let silent = async {
            let Some(silence) = silence else { return std::future::pending().await };
            loop {
                match tokio::time::timeout(silence, heard.changed()).await {
                    Ok(Ok(())) => {}
                    // The output has ended; the process should too.
                    Ok(Err(_)) => return tokio::time::sleep(silence).await,
                    Err(_) => return,
                }
            }
        };
        let never = Cancel::new();
        let status = tokio::select! {
            status = running.wait(&never) => status?,
            () = silent => {
                let limit = silence.unwrap_or_default().as_secs();
                return Err(Error::new(ErrorKind::Unavailable, format!("rclone was silent for {limit} s and was stopped")));
            }
        };
        let output = output.await.map_err(lost)?;
        let output = output.map_err(|source| Error::io("cannot read rclone's output", source))?;
        Ok((status, output))
    }
}

fn read_answer(reader: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(LARGEST_ANSWER).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A reader that lets know whenever something came.
struct Heard<'r> {
    inner: &'r mut dyn Read,
    pulse: watch::Sender<()>,
}

impl Read for Heard<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.pulse.send_replace(());
        Ok(read)
    }
}

fn lost(source: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Failed, "a thread that attended to rclone is gone").caused_by(source)
}

fn not_installed() -> Error {
    Error::new(ErrorKind::Config, "rclone was not found")
        .hint("install it from https://rclone.org/install/, or set the destination's `program` to where it is")
}

fn search(path: &std::ffi::OsStr) -> Option<PathBuf> {
    let name = format!("rclone{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rclone_of_the_path_is_taken_and_folders_are_not() {
        let home = tempfile::tempdir().unwrap();
        let name = format!("rclone{}", std::env::consts::EXE_SUFFIX);
        let folders = ["none", "folder", "one", "two"].map(|folder| home.path().join(folder));
        std::fs::create_dir_all(folders[1].join(&name)).unwrap();
        for folder in &folders[2..] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join(&name), "").unwrap();
        }
        let path = std::env::join_paths([&PathBuf::from(".")].into_iter().chain(&folders)).unwrap();
        assert_eq!(search(&path), Some(folders[2].join(&name)));
        assert_eq!(search(std::ffi::OsStr::new("")), None);
    }
}
