//! Where statements end: psql's own rules (PostgreSQL's `psqlscan.l`), over input that arrives in any pieces.
//!
//! The lexer must agree with psql to the letter: what psql takes for a command and we for text could run on the user's
//! machine. It knows plain, escape and dollar-quoted strings, quoted identifiers, both kinds of comments, parentheses,
//! and the bodies of SQL-standard functions (`BEGIN ATOMIC … END`), in which semicolons do not end the statement.

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
    Number,
    String,
    EscapeString,
    /// Behind the closing quote of an escape string, which a quote on a later line continues.
    AfterEscape {
        newline: bool,
    },
    Identifier,
    LineComment {
        after_escape: bool,
    },
    BlockComment {
        depth: u32,
    },
    DollarTag,
    DollarString,
    Meta,
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
    text: Vec<u8>,
    overflow: Option<Box<Xxh3>>,
    length: u64,
    done: bool,
}

/// The words of the statement so far, as far as psql looks at them to recognize function bodies.
#[derive(Debug, Default)]
struct Words {
    count: usize,
    first: [u8; 4],
    begin_depth: u32,
    word: Vec<u8>,
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

    /// The length of the whole text in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the input read so far ends between statements, comments and quotes.
    pub fn is_between(&self) -> bool {
        !self.in_statement && matches!(self.state, State::Normal | State::Word | State::Number)
    }

    /// Whether plain quotes take backslashes literally: `standard_conforming_strings`, on unless the script says not.
    pub fn set_standard_strings(&mut self, on: bool) {
        self.standard_strings = on;
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
    }

    /// Consumes at least one byte of `input` from `at`.
    fn step(&mut self, input: &[u8], at: usize) -> (usize, Step) {
        let rest = &input[at..];
        match self.state {
            State::Normal => self.normal(rest[0], at),
            State::Word => {
                let end = rest.iter().position(|&b| !is_word(b)).unwrap_or(rest.len());
                self.words.extend(&rest[..end]);
                if end == rest.len() {
                    return (input.len(), Step::More);
                }
                let escape = rest[end] == b'\'' && matches!(self.words.word.as_slice(), b"e" | b"E");
                self.words.finish(self.parens);
                if escape {
                    self.state = State::EscapeString;
                    return (at + end + 1, Step::More);
                }
                self.state = State::Normal;
                self.normal(rest[end], at + end)
            }
            State::Number => {
                let end = rest.iter().position(|&b| b == b'$' || !(is_word(b) || b == b'.')).unwrap_or(rest.len());
                match rest.get(end) {
                    None => (input.len(), Step::More),
                    Some(b'$' | b'\'') => (at + end + 1, Step::Refused),
                    Some(&byte) => {
                        self.state = State::Normal;
                        self.normal(byte, at + end)
                    }
                }
            }
            State::String => match memchr(b'\'', rest) {
                // A doubled quote closes and opens again, which comes to the same.
                Some(end) => self.to(State::Normal, at + end + 1),
                None => (input.len(), Step::More),
            },
            State::EscapeString => self.escape_string(rest, at),
            State::AfterEscape { newline } => self.after_escape(rest[0], at, newline),
            State::Identifier => match memchr(b'"', rest) {
                Some(end) => self.to(State::Normal, at + end + 1),
                None => (input.len(), Step::More),
            },
            State::LineComment { after_escape } => match memchr2(b'\n', b'\r', rest) {
                Some(end) if self.in_statement => {
                    let next = if after_escape { State::AfterEscape { newline: true } } else { State::Normal };
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
                    return (at + 1, Step::Refused);
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
                return self.to(State::LineComment { after_escape: false }, at + 1);
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
            b'\\' => return (at + 1, Step::Refused),
            // Whether these begin a comment or a statement shows with the next byte.
            b'-' | b'/' => {
                self.pending = byte;
                self.tentative = tentative || !self.in_statement;
                self.in_statement = true;
                return (at + 1, Step::More);
            }
            _ => {}
        }
        self.in_statement = true;
        match byte {
            b'\'' if self.standard_strings => self.to(State::String, at + 1),
            b'\'' => self.to(State::EscapeString, at + 1),
            b'"' => {
                self.words.count += 1;
                self.to(State::Identifier, at + 1)
            }
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
            _ if is_word_start(byte) => {
                self.words.start(byte);
                self.to(State::Word, at + 1)
            }
            _ if byte.is_ascii_digit() => self.to(State::Number, at + 1),
            _ => (at + 1, Step::More),
        }
    }

    /// Behind an escape string: PostgreSQL's `quotecontinue`, white space with a newline in it, and comments after that.
    fn after_escape(&mut self, byte: u8, at: usize, newline: bool) -> (usize, Step) {
        match byte {
            b'\n' | b'\r' if self.pending == 0 => self.to(State::AfterEscape { newline: true }, at + 1),
            b' ' | b'\t' | 0x0b | 0x0c if self.pending == 0 => (at + 1, Step::More),
            b'\'' if newline && self.pending == 0 => self.to(State::EscapeString, at + 1),
            b'-' if newline && self.pending == 0 => {
                self.pending = b'-';
                (at + 1, Step::More)
            }
            b'-' if newline => {
                self.pending = 0;
                self.to(State::LineComment { after_escape: true }, at + 1)
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
            Some(end) if rest[end] == b'\'' => self.to(State::AfterEscape { newline: false }, at + end + 1),
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

impl Words {
    fn start(&mut self, byte: u8) {
        self.word.clear();
        self.word.push(byte);
    }

    fn extend(&mut self, bytes: &[u8]) {
        // No word that matters is longer than "procedure".
        let room = 10usize.saturating_sub(self.word.len());
        self.word.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// What psql does at the end of each word.
    fn finish(&mut self, parens: u32) {
        let is = |word: &str| self.word.eq_ignore_ascii_case(word.as_bytes());
        let telling = ["create", "function", "procedure", "or", "replace"].into_iter().any(is);
        if telling && self.count < self.first.len() {
            self.first[self.count] = self.word[0].to_ascii_lowercase();
        }
        self.count += 1;
        let routine = matches!(self.first, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']);
        if !routine || parens > 0 {
            return;
        }
        if is("begin") || (is("case") && self.begin_depth > 0) {
            self.begin_depth += 1;
        } else if is("end") {
            self.begin_depth = self.begin_depth.saturating_sub(1);
        }
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
