//! stdout: text for people, or one JSON document for scripts. A reader that has gone away is a quiet end.

use crate::error::{Error, Result};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the answer of a command goes.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    answered: AtomicBool,
}

impl Output {
    /// An answer for scripts if `json`, else for people.
    pub(super) fn new(json: bool) -> Self {
        Self { json, answered: AtomicBool::new(false) }
    }

    /// Whether the JSON document was written: there must be no second one.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Writes `text` for people; nothing where scripts read.
    pub(super) fn text(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { write_all(text.as_bytes()) }
    }

    /// Writes text for people piece by piece, for answers that are too long to be held; nothing where scripts read.
    pub(super) fn long_text(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        if self.json { Ok(()) } else { write_to_stdout(write) }
    }

    /// Writes the JSON document for scripts; nothing where people read.
    ///
    /// It is written while it is made: a list of a hundred thousand objects is never in memory.
    pub(super) fn json(&self, document: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        self.answered.store(true, Ordering::Relaxed);
        write_to_stdout(|stdout| {
            serde_json::to_writer_pretty(&mut *stdout, document).map_err(io::Error::from)?;
            stdout.write_all(b"\n")
        })
    }
}

/// Writes to stdout. `pgkeep backup list | head -1` is no failure; a full disk behind stdout is.
pub(super) fn write_all(bytes: &[u8]) -> Result<()> {
    write_to_stdout(|stdout| stdout.write_all(bytes))
}

fn write_to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to stdout", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
