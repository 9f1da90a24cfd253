//! A psql that stays: one session of the server, asked again and again.

use super::{Client, SESSION};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use crate::process::{Input, Output, Running, Stdin, Stdout};
use std::io::{BufRead, BufReader, Write};

/// One session of the server. Dropping it ends it.
pub struct Session {
    client: Client,
    running: Option<Running>,
    pipes: Option<Pipes>,
    /// What stands alone on a line behind each answer.
    marker: String,
}

/// The two ends of a session, for blocking use on a thread of their own.
pub struct Pipes {
    /// What psql reads; dropping it ends the session.
    pub input: Input,
    /// What it writes.
    pub output: BufReader<Output>,
}

impl Session {
    /// Connects, with the limits of time that the role or the server may have set turned off.
    pub async fn start(client: &Client, cancel: &Cancel) -> Result<Self> {
        let psql = client.psql()?.args(["-A", "-t", "-v", "VERBOSITY=verbose"]);
        let mut running = psql.stdin(Stdin::Pipe).stdout(Stdout::Pipe).spawn().await?;
        let (Some(input), Some(output)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(Error::new(ErrorKind::Failed, "psql has no input or output"));
        };
        let marker = format!("pgkeep-{}", random_hex(16)?);
        let pipes = Some(Pipes { input, output: BufReader::with_capacity(64 << 10, output) });
        let mut session = Self { client: client.clone(), running: Some(running), pipes, marker };
        let restrict = client.restrict()?;
        session.ask(&format!("{SESSION}{restrict}"), cancel).await?;
        Ok(session)
    }

    /// Runs `sql` and returns what its queries answer, one row a line. An error ends the session.
    pub async fn ask(&mut self, sql: &str, cancel: &Cancel) -> Result<String> {
        let Some(mut pipes) = self.pipes.take() else {
            return Err(Error::new(ErrorKind::Failed, "the session with the server has ended"));
        };
        let (text, marker) = (format!("{sql}\nselect '{}';\n", self.marker), self.marker.clone());
        let answering = tokio::task::spawn_blocking(move || {
            pipes.input.write_all(text.as_bytes()).and_then(|()| pipes.input.flush()).ok()?;
            let (mut answer, mut line) = (Vec::new(), Vec::new());
            loop {
                line.clear();
                // The end, or a pipe that broke: how psql ended tells why.
                if pipes.output.read_until(b'\n', &mut line).ok()? == 0 {
                    return None;
                }
                if line.strip_suffix(b"\n") == Some(marker.as_bytes()) {
                    return Some((pipes, answer));
                }
                answer.extend_from_slice(&line);
            }
        });
        let answered = tokio::select! {
            answered = answering => answered,
            () = cancel.cancelled() => {
                if let Some(mut running) = self.running.take() {
                    running.stop().await?;
                }
                return Err(cancel.error());
            }
        };
        match answered.map_err(|source| Error::new(ErrorKind::Failed, "the session panicked").caused_by(source))? {
            Some((pipes, answer)) => {
                self.pipes = Some(pipes);
                Ok(String::from_utf8_lossy(&answer).trim_end_matches('\n').to_owned())
            }
            None => Err(self.failure(cancel).await),
        }
    }

    /// Why psql ended.
    async fn failure(&mut self, cancel: &Cancel) -> Error {
        let Some(running) = self.running.take() else {
            return Error::new(ErrorKind::Failed, "the session with the server has ended");
        };
        match running.wait(cancel).await {
            Ok(status) => self.client.failure("psql", &status),
            Err(error) => error,
        }
    }

    /// The process and its two ends, which are from now on the caller's to use.
    pub fn into_parts(mut self) -> Result<(Running, Pipes)> {
        match (self.running.take(), self.pipes.take()) {
            (Some(running), Some(pipes)) => Ok((running, pipes)),
            _ => Err(Error::new(ErrorKind::Failed, "the session with the server has ended")),
        }
    }
}
