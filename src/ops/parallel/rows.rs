//! The rows that one session of a parallel dump reads, as a script of their own: piece after piece, from a queue that the
//! sessions share.

use super::plan::Piece;
use crate::postgres::Pipes;
use crate::process::{Input, Output, Unhurried};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// What the line is that ends the rows of a piece, with the end of the line before it.
const END: &[u8] = b"\n\\.\n";

/// What stands between two pieces.
const GAP: &str = "\n\n";

/// The pieces that nobody has begun yet.
pub(super) type Queue = Arc<Mutex<VecDeque<Piece>>>;

/// A script of rows. At its end the session is ended.
pub(super) struct Rows {
    session: Option<(Input, Unhurried<Output>)>,
    queue: Queue,
    /// Text of our own that is read next, and how much of it was.
    own: Vec<u8>,
    read: usize,
    /// The last bytes of the piece being read; `None` between pieces.
    last: Option<[u8; 4]>,
}

impl Rows {
    /// Reads pieces of `queue` by a session that has imported the snapshot of a database in `encoding`.
    pub(super) fn new(pipes: Pipes, queue: Queue, encoding: &str) -> Self {
        // Nothing waits in the buffer: the session has answered what it was asked.
        let session = Some((pipes.input, Unhurried::new(pipes.output.into_inner())));
        Self { session, queue, own: head(encoding).into_bytes(), read: 0, last: None }
    }

    /// Asks for the next piece, or ends the script.
    fn next(&mut self) -> Result<()> {
        let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        self.read = 0;
        let Some((input, _)) = &mut self.session else {
            self.own.clear();
            return Ok(());
        };
        if let Some(piece) = next {
            input.write_all(piece.command().as_bytes())?;
            input.flush()?;
            self.own = piece.header().into_bytes();
            // The end of the header's line stands before the rows.
            self.last = Some(*b"   \n");
        } else {
            self.session = None;
            self.own = TAIL.as_bytes().to_vec();
        }
        Ok(())
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.read == self.own.len() && self.last.is_none() {
            self.next()?;
        }
        let own = self.own.get(self.read..).unwrap_or_default();
        if !own.is_empty() || buffer.is_empty() {
            let length = own.len().min(buffer.len());
            buffer.iter_mut().zip(own).for_each(|(to, from)| *to = *from);
            self.read += length;
            return Ok(length);
        }
        let (Some((_, output)), Some(last)) = (&mut self.session, &mut self.last) else { return Ok(0) };
        let length = output.read(buffer)?;
        if length == 0 {
            return Err(Error::new(ErrorKind::UnexpectedEof, "psql ended in the middle of a table"));
        }
        // psql waits for the next command behind the line that ends the rows: it is the last thing read, or not there yet.
        for &byte in buffer.get(length.saturating_sub(4)..length).unwrap_or_default() {
            last.rotate_left(1);
            last[3] = byte;
        }
        if last == END {
            self.last = None;
            self.own = GAP.as_bytes().to_vec();
            self.read = 0;
        }
        Ok(length)
    }
}

/// What pg_dump writes at the head of a dump, as far as rows need it.
fn head(encoding: &str) -> String {
    format!(
        "--\n-- PostgreSQL database dump\n--\n\n-- Rows of a parallel dump by pgkeep\n\n\
         SET statement_timeout = 0;\nSET lock_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\n\
         SET client_encoding = '{encoding}';\nSET standard_conforming_strings = on;\n\
         SELECT pg_catalog.set_config('search_path', '', false);\nSET check_function_bodies = false;\n\
         SET xmloption = content;\nSET client_min_messages = warning;\nSET row_security = off;\n\n"
    )
}

/// And at its end.
const TAIL: &str = "--\n-- PostgreSQL database dump complete\n--\n\n";
