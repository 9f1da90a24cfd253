//! Where statements end: psql's own rules (PostgreSQL's `psqlscan.l`), over input that arrives in any pieces.
//!
//! The lexer must agree with psql to the letter: what psql takes for a command and we for text could run on the user's
//! machine. It knows plain, escape and dollar-quoted strings, quoted identifiers, both kinds of comments, parentheses,
//! and the bodies of SQL-standard functions (`BEGIN ATOMIC … END`), in which semicolons do not end the statement.

use super::words::{PSQL_VARIABLES, UNQUOTED_BEGIN, Words, is_word, is_word_start};
use memchr::{memchr, memchr2};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How much of a statement's text is kept, in bytes. COPY statements of 1,600 columns with the longest names fit.
const KEPT: usize = 1 << 20;

/// What the lexer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The end of the input, in the middle of something or between two things.
    More,
    /// A statement ended with its semicolon.
    Statement,
    /// A comment line outside any statement ended with its newline.
    Comment,
    /// A line that begins with a backslash outside any statement ended with its newline.
    Meta,
    /// Something that psql takes for a command, or that psqls of different ages read differently: a backslash within a
    /// statement, a number or a lone dollar that runs into a quote. No pg_dump writes that.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Normal,
    Word,
    Number {
        exponent: bool,
    },
    String {
        escapes: bool,
    },
    /// Behind the closing quote of a string whose backslashes mean something else than those of a plain one would.
    Closed {
        escapes: bool,
        gap: Gap,
    },
    Identifier,
    LineComment {
        /// Whether the comment stands behind such a string.
        closed: Option<bool>,
    },
    BlockComment {
        depth: u32,
    },
    DollarTag,
    DollarString,
    Meta,
}

/// What stands between the closing quote of a string and the place being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    Nothing,
    Blanks,
    Newline,
}

/// The lexer's state between two pieces of input.
pub struct Lexer {
    state: State,
    /// The last byte, when it may begin a two-byte token with the next one.
    pending: u8,
    /// Whether the pending byte is the first of the statement, unless it turns out to begin a comment.
    tentative: bool,
    in_statement: bool,
    parens: u32,
    words: Words,
    tag: Vec<u8>,
    /// How many bytes of the closing dollar tag have matched.
    matched: usize,
    standard_strings: bool,
    /// Whether the last token was a semicolon that did not end the statement.
    inner_semicolon: bool,
    reason: &'static str,
    text: Vec<u8>,
    overflow: Option<Box<Xxh3>>,
    length: u64,
    done: bool,
}

impl Default for Lexer {
    fn default() -> Self {
        Self {
            state: State::Normal,
            pending: 0,
            tentative: false,
            in_statement: false,
            parens: 0,
            words: Words::default(),
            tag: Vec::new(),
            matched: 0,
            standard_strings: true,
            inner_semicolon: false,
            reason: "",
            text: Vec::new(),
            overflow: None,
            length: 0,
            done: false,
        }
    }
}

impl Lexer {
    /// A lexer at the beginning of a script.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads from `input` until something is complete. Returns how many bytes were read and what came of them; what is
    /// left must be given again.
    pub fn advance(&mut self, input: &[u8]) -> (usize, Step) {
        if std::mem::take(&mut self.done) {
            self.text.clear();
            self.overflow = None;
            self.length = 0;
        }
        let mut at = 0;
        // Where the part of `input` begins that belongs to the text and has not been kept yet.
        let mut from = 0;
        while at < input.len() {
            if !self.in_text() {
                from = at;
            }
            let (next, step) = self.step(input, at);
            at = next;
            if !self.in_text() {
                from = at;
            }
            if step != Step::More {
                self.keep(&input[from.min(at)..at]);
                self.done = true;
                self.reset_statement();
                return (at, step);
            }
        }
        if self.in_text() {
            self.keep(&input[from..]);
        }
        (at, Step::More)
    }

    /// The text of what [`Lexer::advance`] completed last, cut after a mebibyte.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether [`Lexer::text`] is all of it.
    pub fn is_whole(&self) -> bool {
        self.overflow.is_none()
    }

    /// The digest of the whole text, however long.
    pub fn digest(&self) -> u128 {
        self.overflow.as_ref().map_or_else(|| xxh3_128(&self.text), |hasher| hasher.digest128())
    }

    /// Why [`Step::Refused`] came.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The length of the whole text in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the input read so far ends between statements, comments and quotes.
    pub fn is_between(&self) -> bool {
        !self.in_statement && matches!(self.state, State::Normal)
    }

    /// Whether plain quotes take backslashes literally: `standard_conforming_strings`, on unless the script says not.
    pub fn set_standard_strings(&mut self, on: bool) {
        self.standard_strings = on;
    }

    /// Whether plain quotes take backslashes literally.
    pub fn standard_strings(&self) -> bool {
        self.standard_strings
    }

    fn in_text(&self) -> bool {
        self.in_statement || matches!(self.state, State::LineComment { .. } | State::Meta)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if let Some(hasher) = &mut self.overflow {
            hasher.update(bytes);
        } else if self.text.len() + bytes.len() <= KEPT {
            self.text.extend_from_slice(bytes);
        } else {
            let mut hasher = Box::new(Xxh3::new());
            hasher.update(&self.text);
            hasher.update(bytes);
            self.overflow = Some(hasher);
            let room = KEPT.saturating_sub(self.text.len());
            self.text.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
    }

    fn reset_statement(&mut self) {
        self.in_statement = false;
        self.parens = 0;
        self.words = Words::default();
        self.state = State::Normal;
        self.pending = 0;
        self.tentative = false;
        self.inner_semicolon = false;
    }

    fn refuse(&mut self, reason: &'static str, at: usize) -> (usize, Step) {
        self.reason = reason;
        (at, Step::Refused)
    }

    /// Consumes at least one byte of `input` from `at`.
    fn step(&mut self, input: &[u8], at: usize) -> (usize, Step) {
        let rest = &input[at..];
        match self.state {
            State::Normal => self.normal(rest[0], at),
            State::Word => self.word(rest, at),
            State::Number { exponent } => {
                let Some(end) = rest.iter().position(|&b| !(b.is_ascii_digit() || b == b'.')) else {
                    return (input.len(), Step::More);
                };
                match rest[end] {
                    b'e' | b'E' if !exponent => self.to(State::Number { exponent: true }, at + end + 1),
                    // psql 14 begins a new word or string here, later ones do not.
                    byte if is_word(byte) || byte == b'\'' => {
                        self.refuse("a number that runs into a word", at + end + 1)
                    }
                    byte => {
                        self.state = State::Normal;
                        self.normal(byte, at + end)
                    }
                }
            }
            State::String { escapes: false } => match memchr(b'\'', rest) {
                Some(end) => self.close_string(false, at + end + 1),
                None => (input.len(), Step::More),
            },
            State::String { escapes: true } => self.escape_string(rest, at),
            State::Closed { escapes, gap } => self.closed(rest[0], at, escapes, gap),
            State::Identifier => match memchr(b'"', rest) {
                Some(end) => self.to(State::Normal, at + end + 1),
                None => (input.len(), Step::More),
            },
            State::LineComment { closed } => match memchr2(b'\n', b'\r', rest) {
                Some(end) if self.in_statement => {
                    let next = closed.map_or(State::Normal, |escapes| State::Closed { escapes, gap: Gap::Newline });
                    self.to(next, at + end + 1)
                }
                Some(end) => (at + end + 1, Step::Comment),
                None => (input.len(), Step::More),
            },
            State::BlockComment { depth } => self.block_comment(rest, at, depth),
            State::DollarTag => {
                let byte = rest[0];
                let start = self.tag.len() == 1;
                if byte == b'$' {
                    self.tag.push(b'$');
                    self.matched = 0;
                    return self.to(State::DollarString, at + 1);
                }
                if if start { is_word_start(byte) } else { is_word(byte) } {
                    self.tag.push(byte);
                    return (at + 1, Step::More);
                }
                if !start {
                    return self.refuse("a dollar sign that begins no quote", at + 1);
                }
                // `$1` and a lone `$` are no quotes.
                self.state = State::Normal;
                self.normal(byte, at)
            }
            State::DollarString => self.dollar_string(rest, at),
            State::Meta => match memchr(b'\n', rest) {
                Some(end) => (at + end + 1, Step::Meta),
                None => (input.len(), Step::More),
            },
        }
    }

    fn to(&mut self, state: State, at: usize) -> (usize, Step) {
        self.state = state;
        (at, Step::More)
    }

    fn normal(&mut self, byte: u8, at: usize) -> (usize, Step) {
        let pending = std::mem::take(&mut self.pending);
        let tentative = std::mem::take(&mut self.tentative);
        match byte {
            b'-' if pending == b'-' => {
                self.in_statement &= !tentative;
                return self.to(State::LineComment { closed: None }, at + 1);
            }
            b'*' if pending == b'/' => {
                if tentative {
                    self.in_statement = false;
                    self.text.clear();
                    self.length = 0;
                }
                return self.to(State::BlockComment { depth: 1 }, at + 1);
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => return (at + 1, Step::More),
            b'\\' if !self.in_statement => return self.to(State::Meta, at + 1),
            b'\\' => return self.refuse("a backslash within a statement", at + 1),
            // Whether these begin a comment or a statement shows with the next byte.
            b'-' | b'/' => {
                self.pending = byte;
                self.tentative = !self.in_statement;
                self.in_statement = true;
                return (at + 1, Step::More);
            }
            _ => {}
        }
        self.in_statement = true;
        if self.words.opened && !is_word_start(byte) {
            return self.refuse(UNQUOTED_BEGIN, at + 1);
        }
        let inner_semicolon = std::mem::take(&mut self.inner_semicolon);
        match byte {
            b'\'' => self.to(State::String { escapes: !self.standard_strings }, at + 1),
            b'"' => self.to(State::Identifier, at + 1),
            b'$' => {
                self.tag.clear();
                self.tag.push(b'$');
                self.to(State::DollarTag, at + 1)
            }
            b'(' => {
                self.parens += 1;
                (at + 1, Step::More)
            }
            b')' => {
                self.parens = self.parens.saturating_sub(1);
                (at + 1, Step::More)
            }
            b';' if self.parens == 0 && self.words.begin_depth == 0 => (at + 1, Step::Statement),
            b';' => {
                self.inner_semicolon = true;
                (at + 1, Step::More)
            }
            // Two colons are a cast; behind a single one psql may see a variable of its own.
            b':' if pending != b':' => {
                self.pending = b':';
                (at + 1, Step::More)
            }
            _ if is_word_start(byte) => {
                self.words.start(byte, pending == b':', inner_semicolon);
                self.to(State::Word, at + 1)
            }
            _ if byte.is_ascii_digit() => self.to(State::Number { exponent: false }, at + 1),
            _ => (at + 1, Step::More),
        }
    }

    /// The rest of a word, and the string that its last letter may begin: `E'…'`, `B'…'`, `X'…'`, `U&'…'`.
    fn word(&mut self, rest: &[u8], at: usize) -> (usize, Step) {
        if self.pending == b'&' {
            self.pending = 0;
            self.state = State::Normal;
            return match rest[0] {
                b'\'' => self.to(State::String { escapes: false }, at + 1),
                byte => self.normal(byte, at),
            };
        }
        let end = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
        self.words.extend(&rest[..end]);
        let Some(&byte) = rest.get(end) else {
            return (at + end, Step::More);
        };
        let next = at + end + 1;
        if self.words.variable {
            let name = self.words.word.as_slice();
            if PSQL_VARIABLES.iter().any(|variable| variable.as_bytes() == name) {
                return self.refuse("a psql variable", next);
            }
            // For psql the variable ends before the dollar, and the quote is a plain one.
            if byte == b'\'' || name.contains(&b'$') {
                return self.refuse("a colon before what psql reads in another way", next);
            }
        } else {
            match (self.words.word.as_slice(), byte) {
                (b"e" | b"E", b'\'') => return self.to(State::String { escapes: true }, next),
                (b"b" | b"B" | b"x" | b"X", b'\'') => return self.to(State::String { escapes: false }, next),
                (b"n" | b"N", b'\'') => return self.to(State::String { escapes: !self.standard_strings }, next),
                (b"u" | b"U", b'&') => {
                    self.pending = b'&';
                    return (next, Step::More);
                }
                _ => {}
            }
            if let Err(reason) = self.words.finish(self.parens) {
                return self.refuse(reason, next);
            }
        }
        self.state = State::Normal;
        self.normal(byte, at + end)
    }

    /// Behind a closing quote. Where backslashes mean in this string what they mean in a plain one, it does not matter
    /// whether a quote that follows continues it.
    fn close_string(&mut self, escapes: bool, at: usize) -> (usize, Step) {
        if escapes == self.standard_strings {
            self.to(State::Closed { escapes, gap: Gap::Nothing }, at)
        } else {
            self.to(State::Normal, at)
        }
    }

    /// The server continues a string with a quote on a later line, psql begins a plain one there: no pg_dump writes that.
    fn closed(&mut self, byte: u8, at: usize, escapes: bool, gap: Gap) -> (usize, Step) {
        match byte {
            b'-' if self.pending == b'-' => {
                self.pending = 0;
                self.to(State::LineComment { closed: Some(escapes) }, at + 1)
            }
            _ if self.pending == b'-' => {
                self.state = State::Normal;
                self.normal(byte, at)
            }
            b'\'' if gap == Gap::Nothing => self.to(State::String { escapes }, at + 1),
            b'\'' if gap == Gap::Newline => self.refuse("a string continued on another line", at + 1),
            b'\n' | b'\r' => self.to(State::Closed { escapes, gap: Gap::Newline }, at + 1),
            b' ' | b'\t' | 0x0b | 0x0c => {
                let gap = if gap == Gap::Nothing { Gap::Blanks } else { gap };
                self.to(State::Closed { escapes, gap }, at + 1)
            }
            b'-' => {
                self.pending = b'-';
                (at + 1, Step::More)
            }
            _ => {
                self.state = State::Normal;
                self.normal(byte, at)
            }
        }
    }

    fn escape_string(&mut self, rest: &[u8], at: usize) -> (usize, Step) {
        if std::mem::take(&mut self.pending) == b'\\' {
            return (at + 1, Step::More);
        }
        match memchr2(b'\'', b'\\', rest) {
            Some(end) if rest[end] == b'\'' => self.close_string(true, at + end + 1),
            Some(end) => {
                self.pending = b'\\';
                (at + end + 1, Step::More)
            }
            None => (at + rest.len(), Step::More),
        }
    }

    fn block_comment(&mut self, rest: &[u8], at: usize, depth: u32) -> (usize, Step) {
        let pending = std::mem::take(&mut self.pending);
        let byte = rest[0];
        if pending == b'*' && byte == b'/' {
            return match depth {
                1 => self.to(State::Normal, at + 1),
                _ => self.to(State::BlockComment { depth: depth - 1 }, at + 1),
            };
        }
        if pending == b'/' && byte == b'*' {
            return self.to(State::BlockComment { depth: depth + 1 }, at + 1);
        }
        if byte == b'*' || byte == b'/' {
            self.pending = byte;
            return (at + 1, Step::More);
        }
        let skip = memchr2(b'*', b'/', rest).unwrap_or(rest.len());
        (at + skip.max(1), Step::More)
    }

    fn dollar_string(&mut self, rest: &[u8], at: usize) -> (usize, Step) {
        if self.matched == 0 {
            return match memchr(b'$', rest) {
                Some(end) => {
                    self.matched = 1;
                    (at + end + 1, Step::More)
                }
                None => (at + rest.len(), Step::More),
            };
        }
        let byte = rest[0];
        if byte == self.tag[self.matched] {
            self.matched += 1;
            if self.matched == self.tag.len() {
                self.matched = 0;
                self.state = State::Normal;
            }
        } else {
            // A tag holds a dollar only at its ends, so that a new match can begin only at this very byte.
            self.matched = usize::from(byte == b'$');
        }
        (at + 1, Step::More)
    }
}
