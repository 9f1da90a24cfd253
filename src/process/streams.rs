//! A child's input and output.
//!
//! PostgreSQL's programs for Windows keep their standard streams in the C library's text mode: every line feed that they
//! write becomes carriage return and line feed, in data and function bodies too, and of what they read such a pair becomes
//! one line feed, and Ctrl-Z (26) the end. An archive is the same wherever it was made, so this is undone here.

use std::io::{Error, ErrorKind, PipeReader, PipeWriter, Read, Result, Write};

/// Ctrl-Z, which ends what is read in text mode.
pub const CTRL_Z: u8 = 0x1a;

/// How much is read at once in text mode, in bytes.
const BUFFER: usize = 256 << 10;

/// What a child writes to its standard output.
#[derive(Debug)]
pub struct Output(Reading<PipeReader>);

/// What a child reads from its standard input; dropping it is the end of the input.
#[derive(Debug)]
pub struct Input(Writing<PipeWriter>);

impl Output {
    pub(super) fn new(pipe: PipeReader, text_mode: bool) -> Self {
        Self(Reading::new(pipe, text_mode))
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.0.read(buffer)
    }
}

impl Input {
    pub(super) fn new(pipe: PipeWriter, text_mode: bool) -> Self {
        Self(Writing { inner: pipe, text_mode })
    }

    /// Whether [`CTRL_Z`] would end what the child reads: writing one is an error then.
    pub fn ends_at_ctrl_z(&self) -> bool {
        self.0.text_mode
    }
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.0.inner.flush()
    }
}

/// How lines end in what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// Bytes are as they were written.
    Binary,
    /// The first line end tells: a program built in another way may not translate.
    Unknown,
    /// Every line feed has a carriage return before it that was not written.
    Translated,
}

#[derive(Debug)]
struct Reading<R> {
    inner: R,
    ends: Ends,
    /// Bytes as they were written, from `given` on not handed out yet.
    ready: Vec<u8>,
    given: usize,
    /// Whether the last byte read was a carriage return that may belong to a line feed.
    held: bool,
    raw: Vec<u8>,
}

impl<R: Read> Reading<R> {
    fn new(inner: R, text_mode: bool) -> Self {
        let ends = if text_mode { Ends::Unknown } else { Ends::Binary };
        Self { inner, ends, ready: Vec::new(), given: 0, held: false, raw: Vec::new() }
    }

    /// Appends to `ready` what was written, given what arrived.
    fn undo(&mut self, arrived: &[u8]) -> Result<()> {
        let mut rest = arrived;
        while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
            let (before, after) = rest.split_at(at);
            if self.held && at > 0 {
                self.ready.push(b'\r');
                self.held = false;
            }
            self.ready.extend_from_slice(before);
            let (end, after) = after.split_at(1);
            rest = after;
            if end == b"\r" {
                if self.held {
                    self.ready.push(b'\r');
                }
                self.held = true;
                continue;
            }
            if self.ends == Ends::Unknown {
                self.ends = if self.held { Ends::Translated } else { Ends::Binary };
            }
            match (self.ends, self.held) {
                (Ends::Translated, true) => {}
                (Ends::Translated, false) => {
                    return Err(Error::new(
                        ErrorKind::InvalidData,
                        "a line feed without the carriage return of others",
                    ));
                }
                _ => {
                    if self.held {
                        self.ready.push(b'\r');
                    }
                }
            }
            self.ready.push(b'\n');
            self.held = false;
        }
        if self.held && !rest.is_empty() {
            self.ready.push(b'\r');
            self.held = false;
        }
        self.ready.extend_from_slice(rest);
        Ok(())
    }
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let waiting = self.ready.get(self.given..).unwrap_or_default();
            if !waiting.is_empty() {
                let count = waiting.len().min(buffer.len());
                let (now, _) = waiting.split_at(count);
                buffer.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                self.given += count;
                return Ok(count);
            }
            self.ready.clear();
            self.given = 0;
            if self.ends == Ends::Binary && !self.held {
                return self.inner.read(buffer);
            }
            let mut raw = std::mem::take(&mut self.raw);
            raw.resize(BUFFER, 0);
            let count = self.inner.read(&mut raw)?;
            if count == 0 {
                if !std::mem::take(&mut self.held) {
                    return Ok(0);
                }
                self.ready.push(b'\r');
            }
            self.undo(raw.get(..count).unwrap_or_default())?;
            self.raw = raw;
        }
    }
}

#[derive(Debug)]
struct Writing<W> {
    inner: W,
    text_mode: bool,
}

impl<W: Write> Write for Writing<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if !self.text_mode {
            return self.inner.write(bytes);
        }
        let bytes = bytes.get(..bytes.len().min(BUFFER)).unwrap_or_default();
        if memchr::memchr(CTRL_Z, bytes).is_some() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the byte 26 (Ctrl-Z) outside of a table's rows, where PostgreSQL's programs for Windows stop reading",
            ));
        }
        let mut translated = Vec::with_capacity(bytes.len() + bytes.len() / 16);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(text) => {
                    translated.extend_from_slice(text);
                    translated.extend_from_slice(b"\r\n");
                }
                None => translated.extend_from_slice(line),
            }
        }
        self.inner.write_all(&translated)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the C library of Windows writes in text mode.
    fn translated(text: &[u8]) -> Vec<u8> {
        text.iter().flat_map(|&byte| if byte == b'\n' { b"\r\n".to_vec() } else { vec![byte] }).collect()
    }

    /// What the C library of Windows reads in text mode (`_read`): a pair becomes a line feed, a lone carriage return stays.
    fn untranslated(bytes: &[u8]) -> Vec<u8> {
        let pair = |at: usize| bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        (0..bytes.len()).filter(|&at| !pair(at)).map(|at| bytes[at]).collect()
    }

    /// Hands out its bytes in pieces of given lengths.
    struct Pieces(std::collections::VecDeque<Vec<u8>>);

    impl Pieces {
        fn of(bytes: &[u8], lengths: &[usize]) -> Self {
            let (mut pieces, mut rest) = (std::collections::VecDeque::new(), bytes);
            for &length in lengths.iter().chain([&usize::MAX]) {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                pieces.extend((!piece.is_empty()).then(|| piece.to_vec()));
                rest = after;
            }
            Self(pieces)
        }
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let Some(piece) = self.0.pop_front() else { return Ok(0) };
            let count = piece.len().min(buffer.len());
            buffer[..count].copy_from_slice(&piece[..count]);
            if count < piece.len() {
                self.0.push_front(piece[count..].to_vec());
            }
            Ok(count)
        }
    }

    fn read(bytes: &[u8], lengths: &[usize], text_mode: bool) -> Result<Vec<u8>> {
        let mut read = Vec::new();
        Reading::new(Pieces::of(bytes, lengths), text_mode).read_to_end(&mut read).map(|_| read)
    }

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..40)
    }

    proptest! {
        #[test]
        fn what_text_mode_did_is_undone(
            text in any_bytes(), lengths in prop::collection::vec(1usize..5, 0..30),
        ) {
            prop_assert_eq!(read(&translated(&text), &lengths, true).unwrap(), text.clone());
            prop_assert_eq!(read(&text, &lengths, false).unwrap(), text);
        }

        #[test]
        fn a_program_that_does_not_translate_is_known_by_its_first_line(
            text in any_bytes(), lengths in prop::collection::vec(1usize..5, 0..30),
        ) {
            let text = [b"--\n", text.as_slice()].concat();
            prop_assert_eq!(read(&text, &lengths, true).unwrap(), text);
        }

        #[test]
        fn what_text_mode_will_do_is_done_in_advance(text in any_bytes(), pieces in prop::collection::vec(1usize..5, 0..30)) {
            let mut writing = Writing { inner: Vec::new(), text_mode: true };
            for piece in Pieces::of(&text, &pieces).0 {
                writing.write_all(&piece).unwrap();
            }
            prop_assert_eq!(untranslated(&writing.inner), text);
        }
    }

    #[test]
    fn line_ends_of_two_kinds_and_ctrl_z_are_errors() {
        assert_eq!(read(b"--\r\nx\ny", &[], true).unwrap_err().kind(), ErrorKind::InvalidData);
        let mut text = Writing { inner: Vec::new(), text_mode: true };
        assert_eq!(text.write_all(b"a\x1ab").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(text.inner, b"");
        let mut binary = Writing { inner: Vec::new(), text_mode: false };
        binary.write_all(b"a\x1ab\n").unwrap();
        assert_eq!(binary.inner, b"a\x1ab\n");
    }
}
