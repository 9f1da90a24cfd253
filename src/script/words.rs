//! What psql makes of words: the bodies of functions, and its own variables.

/// The variables that psql sets by itself: it puts their values in place of `:NAME`.
pub(super) const PSQL_VARIABLES: [&str; 46] = [
    "AUTOCOMMIT",
    "COMP_KEYWORD_CASE",
    "DBNAME",
    "ECHO",
    "ECHO_HIDDEN",
    "ENCODING",
    "ERROR",
    "FETCH_COUNT",
    "HIDE_TABLEAM",
    "HIDE_TOAST_COMPRESSION",
    "HISTCONTROL",
    "HISTFILE",
    "HISTSIZE",
    "HOST",
    "IGNOREEOF",
    "LAST_ERROR_MESSAGE",
    "LAST_ERROR_SQLSTATE",
    "LASTOID",
    "ON_ERROR_ROLLBACK",
    "ON_ERROR_STOP",
    "PIPELINE_COMMAND_COUNT",
    "PIPELINE_RESULT_COUNT",
    "PIPELINE_SYNC_COUNT",
    "PORT",
    "PROMPT1",
    "PROMPT2",
    "PROMPT3",
    "QUIET",
    "ROW_COUNT",
    "SERVER_VERSION_NAME",
    "SERVER_VERSION_NUM",
    "SERVICE",
    "SERVICEFILE",
    "SHELL_ERROR",
    "SHELL_EXIT_CODE",
    "SHOW_ALL_RESULTS",
    "SHOW_CONTEXT",
    "SINGLELINE",
    "SINGLESTEP",
    "SQLSTATE",
    "USER",
    "VERBOSITY",
    "VERSION",
    "VERSION_NAME",
    "VERSION_NUM",
    "WATCH_INTERVAL",
];

/// The words of the statement so far, as far as psql looks at them to recognize function bodies.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) count: usize,
    pub(super) first: [u8; 4],
    pub(super) begin_depth: u32,
    /// Whether the last token opened a function's body, so that ATOMIC must follow.
    pub(super) opened: bool,
    pub(super) word: Vec<u8>,
    /// Whether the word stands behind a colon: then it may be the name of a psql variable.
    pub(super) variable: bool,
    /// Whether it stands behind a semicolon within the statement.
    pub(super) new_statement: bool,
}

pub(super) const UNQUOTED_BEGIN: &str =
    "the name BEGIN without quotes, which psql takes for the beginning of a function's body";

impl Words {
    pub(super) fn start(&mut self, byte: u8, variable: bool, new_statement: bool) {
        self.word.clear();
        self.word.push(byte);
        self.variable = variable;
        self.new_statement = new_statement;
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        // No word that matters is longer than "PIPELINE_COMMAND_COUNT".
        let room = 24usize.saturating_sub(self.word.len());
        self.word.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }

    /// What psql does at the end of each word; the error is why a statement cannot be read as psql and server both do.
    pub(super) fn finish(&mut self, parens: u32) -> Result<(), &'static str> {
        let is = |word: &str| self.word.eq_ignore_ascii_case(word.as_bytes());
        if std::mem::take(&mut self.opened) && !is("atomic") {
            return Err(UNQUOTED_BEGIN);
        }
        // The server would read rows from the lines behind what psql takes for one statement.
        if self.new_statement && is("copy") {
            return Err("a COPY within another statement");
        }
        let telling = ["create", "function", "procedure", "or", "replace"].into_iter().any(is);
        if telling && self.count < self.first.len() {
            self.first[self.count] = self.word[0].to_ascii_lowercase();
        }
        self.count += 1;
        let routine = matches!(self.first, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']);
        if !routine || parens > 0 {
            return Ok(());
        }
        if is("begin") {
            if self.begin_depth > 0 {
                return Err(UNQUOTED_BEGIN);
            }
            self.begin_depth = 1;
            self.opened = true;
        } else if is("case") && self.begin_depth > 0 {
            self.begin_depth += 1;
        } else if is("end") {
            self.begin_depth = self.begin_depth.saturating_sub(1);
        }
        Ok(())
    }
}

pub(super) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(super) fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
