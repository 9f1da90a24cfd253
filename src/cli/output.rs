//! stdout: text for people, or one JSON document for scripts. A reader that has gone away is a quiet end.

use crate::error::{Error, ErrorKind, Result};
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

    /// Writes the JSON document for scripts; nothing where people read.
    pub(super) fn json(&self, document: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut text = serde_json::to_vec_pretty(document)
            .map_err(|source| Error::new(ErrorKind::Failed, "cannot write the answer as JSON").caused_by(source))?;
        text.push(b'\n');
        self.answered.store(true, Ordering::Relaxed);
        write_all(&text)
    }
}

/// Writes to stdout. `pgkeep backup list | head -1` is no failure; a full disk behind stdout is.
pub(super) fn write_all(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("cannot write to stdout", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
