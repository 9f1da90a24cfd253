//! A psql that loads: one session of the target's, given stretches of the archive and statements, one after the other.

use super::load::{Cut, Object, explain};
use crate::archive::SqlReader;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use crate::postgres::{Client, SESSION};
use crate::process::{Input, Status, Stdin, Stdout};
use crate::script::Entry;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

/// What is being loaded, to name what an error is about.
pub(super) trait Located: Sync {
    /// What stands at a line of what was sent, the first line being 1.
    fn at_line(&self, line: u64) -> Option<Object>;
}

/// Something that is one object, whatever the line.
impl Located for Entry {
    fn at_line(&self, _line: u64) -> Option<Object> {
        Some(self.clone().into())
    }
}

/// Something that has no entry.
pub(super) struct Single(pub(super) String);

impl Located for Single {
    fn at_line(&self, _line: u64) -> Option<Object> {
        Some(Object { label: self.0.clone(), entry: None })
    }
}

/// What is sent.
pub(super) enum Piece<'a> {
    /// Text of ours.
    Text(Vec<u8>),
    /// A stretch of an archive.
    Stretch(Stretch<'a>),
}

/// A stretch of an archive on its way into a session.
pub(super) struct Stretch<'a> {
    pub(super) reader: &'a SqlReader,
    pub(super) range: Range<u64>,
    /// What is left out of it, or written in another way.
    pub(super) cut: Cut,
    /// Whether it is nothing but rows: none of them may look like their end.
    pub(super) rows: bool,
}

/// One session. Dropping it ends it.
pub(super) struct Session {
    client: Client,
    input: Arc<Mutex<Option<Input>>>,
    ended: Option<JoinHandle<Result<Status>>>,
    answers: UnboundedReceiver<()>,
    marker: String,
    /// Lines sent so far.
    lines: u64,
    /// The tablespace and access method that new objects get, as they were last set.
    pub(super) storage: (String, String),
    stop: Stop,
}

/// Cancels when it is dropped: psql must not outlive its session.
struct Stop(Cancel);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.cancel(crate::cancel::Cause::Terminate);
    }
}

impl Session {
    /// Connects, and sends `head`.
    pub(super) async fn start(client: &Client, head: &[u8], cancel: &Cancel) -> Result<Self> {
        let psql = client.psql()?.args(["-A", "-t", "-v", "VERBOSITY=verbose", "-f", "-"]);
        let mut running = psql.stdin(Stdin::Pipe).stdout(Stdout::Pipe).spawn().await?;
        let (Some(input), Some(output)) = (running.stdin.take(), running.stdout.take()) else {
            return Err(Error::new(ErrorKind::Failed, "psql has no input or output"));
        };
        let marker = format!("pgkeep-{}", random_hex(16)?);
        let (sender, answers) = unbounded_channel();
        let wanted = marker.clone().into_bytes();
        // Answers to other queries, such as values of sequences, must be read, or psql would wait for it.
        tokio::task::spawn_blocking(move || {
            let mut output = BufReader::with_capacity(64 << 10, output);
            let mut line = Vec::new();
            while output.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let whole =
                    line.strip_suffix(b"\n").is_some_and(|line| line.strip_suffix(b"\r").unwrap_or(line) == wanted);
                if whole && sender.send(()).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let stop = cancel.child();
        let stopped = stop.clone();
        let ended = tokio::spawn(async move { running.wait(&stopped).await });
        let mut session = Self {
            client: client.clone(),
            input: Arc::new(Mutex::new(Some(input))),
            ended: Some(ended),
            answers,
            marker,
            lines: 0,
            storage: (String::new(), String::new()),
            stop: Stop(stop),
        };
        let mut text = SESSION.as_bytes().to_vec();
        // A psql from before August 2025 knows no \restrict; then the scan of the archive alone stands guard.
        text.extend_from_slice(client.restrict()?.as_bytes());
        text.extend_from_slice(head);
        session.run(&text, &Single("the beginning of a session".to_owned()), cancel).await?;
        Ok(session)
    }

    /// Ends the session, and waits until it is gone: nobody may be connected to a database that changes its name.
    pub(super) async fn finish(mut self) -> Result<()> {
        drop(self.input.lock().unwrap_or_else(PoisonError::into_inner).take());
        match self.ended.take() {
            None => Ok(()),
            Some(ended) => match ended.await {
                Ok(ended) => ended.map(drop),
                Err(source) => Err(Error::new(ErrorKind::Failed, "waiting for psql panicked").caused_by(source)),
            },
        }
    }

    /// Whether a Ctrl-Z in rows must be written in another way.
    pub(super) fn ends_at_ctrl_z(&self) -> bool {
        let input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.as_ref().is_some_and(Input::ends_at_ctrl_z)
    }

    /// Runs `sql`, whole statements.
    pub(super) async fn run(&mut self, sql: &[u8], located: &dyn Located, cancel: &Cancel) -> Result<()> {
        let before = self.lines;
        let sent = self.send(sql).await;
        self.settle(sent, before, located, cancel).await
    }

    /// Runs the pieces as one text.
    pub(super) async fn stream(
        &mut self,
        pieces: Vec<Piece<'_>>,
        located: &dyn Located,
        cancel: &Cancel,
    ) -> Result<()> {
        let first = self.lines;
        let mut sent = Ok(());
        for piece in pieces {
            sent = match piece {
                Piece::Text(text) => self.send(&text).await,
                Piece::Stretch(stretch) => self.feed(stretch, cancel).await,
            };
            if sent.is_err() {
                break;
            }
        }
        self.settle(sent, first, located, cancel).await
    }

    async fn feed(&mut self, stretch: Stretch<'_>, cancel: &Cancel) -> Result<()> {
        let Stretch { reader, range, mut cut, rows } = stretch;
        let (input, progress) = (Arc::clone(&self.input), Arc::clone(&reader.progress));
        let lines = Arc::new(Mutex::new(0u64));
        let counted = Arc::clone(&lines);
        let mut at = At::Start;
        reader
            .read(range, cancel, move |sql| {
                let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
                let input = input.as_mut().ok_or_else(stopped_reading)?;
                if rows {
                    refuse_end(sql, &mut at)?;
                }
                let newlines = memchr::memchr_iter(b'\n', sql).count() as u64;
                cut.write(sql, input).map_err(not_taken)?;
                progress.advance(0, newlines);
                *counted.lock().unwrap_or_else(PoisonError::into_inner) += newlines;
                Ok(())
            })
            .await?;
        self.lines += *lines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    async fn send(&mut self, text: &[u8]) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.lines += memchr::memchr_iter(b'\n', text).count() as u64;
        let (input, text) = (Arc::clone(&self.input), text.to_vec());
        let written = tokio::task::spawn_blocking(move || {
            let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
            let input = input.as_mut().ok_or_else(stopped_reading)?;
            input.write_all(&text).and_then(|()| input.flush()).map_err(not_taken)
        });
        written.await.map_err(|source| Error::new(ErrorKind::Failed, "writing to psql panicked").caused_by(source))?
    }

    /// Waits until everything sent is done; or finds out why it was not.
    async fn settle(&mut self, sent: Result<()>, first: u64, located: &dyn Located, cancel: &Cancel) -> Result<()> {
        let Some(mut ended) = self.ended.take() else {
            return sent.and(Err(stopped_reading()));
        };
        if sent.is_ok() {
            let marker = format!("\nselect '{}';\n", self.marker);
            if self.send(marker.as_bytes()).await.is_ok() {
                tokio::select! {
                    // A psql that was killed may leave a child that answers for it.
                    biased;
                    status = &mut ended => return Err(self.failed(status, first, located, cancel)),
                    answer = self.answers.recv() => if answer.is_some() {
                        self.ended = Some(ended);
                        return Ok(());
                    }
                }
            }
        }
        // psql reads what is left of its input, and ends.
        drop(self.input.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Where the archive was at fault psql waits for more, or was cut off in the middle of rows: what was loaded is
        // given up in any case, and why is the archive's error to tell.
        if let Err(error) = &sent
            && error.kind() != ErrorKind::Unavailable
        {
            self.stop.0.cancel(crate::cancel::Cause::Terminate);
            let _ = ended.await;
            return sent;
        }
        let status = ended.await;
        Err(self.failed(status, first, located, cancel))
    }

    /// Why psql ended.
    fn failed(
        &self,
        status: std::result::Result<Result<Status>, tokio::task::JoinError>,
        first: u64,
        located: &dyn Located,
        cancel: &Cancel,
    ) -> Error {
        if let Err(error) = cancel.check() {
            return error;
        }
        match status {
            Ok(Ok(status)) => explain(&self.client, &status, |line| located.at_line(line.saturating_sub(first))),
            Ok(Err(error)) => error,
            Err(source) => Error::new(ErrorKind::Failed, "waiting for psql panicked").caused_by(source),
        }
    }
}

fn stopped_reading() -> Error {
    Error::new(ErrorKind::Unavailable, "psql stopped reading")
}

/// Why psql was not given something: it has ended, or it could not read that.
fn not_taken(source: std::io::Error) -> Error {
    if source.kind() == std::io::ErrorKind::BrokenPipe {
        return stopped_reading().caused_by(source);
    }
    Error::new(ErrorKind::Failed, "a part of the backup cannot be given to psql").caused_by(source)
}

/// Where in a row a piece of rows ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Backslash,
    Inside,
}

/// Fails if a row begins like the end of the rows: what follows would be read as commands.
fn refuse_end(sql: &[u8], at: &mut At) -> Result<()> {
    let begins = match at {
        At::Start => sql.starts_with(b"\\."),
        At::Backslash => sql.starts_with(b"."),
        At::Inside => false,
    };
    if begins || memchr::memmem::find(sql, b"\n\\.").is_some() {
        return Err(Error::new(ErrorKind::Damaged, "the rows hold a line that ends them")
            .hint("the archive is not as pgkeep wrote it; find out who changed it"));
    }
    *at = match sql {
        [] => *at,
        [.., b'\n'] => At::Start,
        [b'\\'] if *at == At::Start => At::Backslash,
        [.., b'\n', b'\\'] => At::Backslash,
        _ => At::Inside,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_among_rows_is_found_wherever_pieces_end() {
        let found = |rows: &[u8], length: usize| {
            let mut at = At::Start;
            rows.chunks(length).any(|piece| refuse_end(piece, &mut at).is_err())
        };
        for length in 1..8 {
            for bad in ["\\.\n", "a\n\\.\n", "1\t2\n\\.x\n", "\n\\."] {
                assert!(found(bad.as_bytes(), length), "{bad:?} in pieces of {length}");
            }
            for good in ["a\\.\n", "\\N\n.\n", "\\\\.\n", ".\n\\"] {
                assert!(!found(good.as_bytes(), length), "{good:?} in pieces of {length}");
            }
        }
    }
}
