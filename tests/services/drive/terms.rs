//! The search language of `files.list`: https://developers.google.com/workspace/drive/api/guides/ref-search-terms

use chrono::{DateTime, NaiveDateTime, Utc};

/// A condition on a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    Text { field: Text, op: Op, value: String },
    Time { field: Time, op: Op, value: DateTime<Utc> },
    Flag { field: Flag, value: bool },
    InParents(String),
    Has { private: bool, key: String, value: String },
    And(Box<Term>, Box<Term>),
    Or(Box<Term>, Box<Term>),
    Not(Box<Term>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Text {
    Name,
    MimeType,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Time {
    Created,
    Modified,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Flag {
    Trashed,
    Starred,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Op {
    Contains,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

impl Term {
    /// Reads a search; what is wrong in any way is `None`, as Drive says no more than "Invalid Value".
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let term = parser.chain()?;
        (parser.at == parser.tokens.len()).then_some(term)
    }

    /// The folders that are named with `in parents`.
    pub(super) fn parents(&self) -> Vec<&str> {
        match self {
            Self::InParents(id) => vec![id],
            Self::And(a, b) | Self::Or(a, b) => [a.parents(), b.parents()].concat(),
            Self::Not(a) => a.parents(),
            _ => Vec::new(),
        }
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let signs = ["!=", "<=", ">=", "=", "<", ">", "(", ")", "{", "}"];
        if first == '\'' {
            let mut value = String::new();
            let mut chars = rest[1..].char_indices();
            let end = loop {
                match chars.next()? {
                    (at, '\'') => break at,
                    (_, '\\') => match chars.next()?.1 {
                        escaped @ ('\'' | '\\') => value.push(escaped),
                        _ => return None,
                    },
                    (_, char) => value.push(char),
                }
            };
            tokens.push(Token::Text(value));
            rest = &rest[end + 2..];
        } else if let Some(sign) = signs.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Some(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take(&mut self, token: &Token) -> Option<()> {
        let here = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(here);
        here.then_some(())
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.take(&Token::Word(word.to_owned()))
    }

    fn sign(&mut self, sign: &'static str) -> Option<()> {
        self.take(&Token::Sign(sign))
    }

    fn text(&mut self) -> Option<String> {
        match self.next()? {
            Token::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `and` and `or` are evaluated from left to right.
    fn chain(&mut self) -> Option<Term> {
        let mut term = self.single()?;
        loop {
            if self.word("and").is_some() {
                term = Term::And(Box::new(term), Box::new(self.single()?));
            } else if self.word("or").is_some() {
                term = Term::Or(Box::new(term), Box::new(self.single()?));
            } else {
                return Some(term);
            }
        }
    }

    fn single(&mut self) -> Option<Term> {
        if self.word("not").is_some() {
            return Some(Term::Not(Box::new(self.single()?)));
        }
        if self.sign("(").is_some() {
            let inner = self.chain()?;
            self.sign(")")?;
            return Some(inner);
        }
        match self.next()? {
            Token::Text(id) => {
                self.word("in")?;
                self.word("parents")?;
                Some(Term::InParents(id))
            }
            Token::Word(word) => self.comparison(&word),
            Token::Sign(_) => None,
        }
    }

    fn comparison(&mut self, field: &str) -> Option<Term> {
        match field {
            "name" | "mimeType" => {
                let field = if field == "name" { Text::Name } else { Text::MimeType };
                let op = self.operator().filter(|op| [Op::Contains, Op::Equal, Op::Unequal].contains(op))?;
                Some(Term::Text { field, op, value: self.text()? })
            }
            "trashed" | "starred" => {
                let field = if field == "trashed" { Flag::Trashed } else { Flag::Starred };
                let op = self.operator().filter(|op| [Op::Equal, Op::Unequal].contains(op))?;
                let Token::Word(value) = self.next()? else { return None };
                let value = value.parse::<bool>().ok()?;
                Some(Term::Flag { field, value: value == (op == Op::Equal) })
            }
            "createdTime" | "modifiedTime" => {
                let field = if field == "createdTime" { Time::Created } else { Time::Modified };
                let op = self.operator().filter(|op| *op != Op::Contains)?;
                Some(Term::Time { field, op, value: time(&self.text()?)? })
            }
            "appProperties" | "properties" => {
                self.word("has")?;
                self.sign("{")?;
                self.word("key")?;
                self.sign("=")?;
                let key = self.text()?;
                self.word("and")?;
                self.word("value")?;
                self.sign("=")?;
                let value = self.text()?;
                self.sign("}")?;
                Some(Term::Has { private: field == "appProperties", key, value })
            }
            _ => None,
        }
    }

    fn operator(&mut self) -> Option<Op> {
        Some(match self.next()? {
            Token::Word(word) if word == "contains" => Op::Contains,
            Token::Sign("=") => Op::Equal,
            Token::Sign("!=") => Op::Unequal,
            Token::Sign("<") => Op::Less,
            Token::Sign("<=") => Op::LessOrEqual,
            Token::Sign(">") => Op::Greater,
            Token::Sign(">=") => Op::GreaterOrEqual,
            _ => return None,
        })
    }
}

/// RFC 3339; without a zone it is UTC.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    zoned.or_else(|| Some(NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc()))
}

impl Op {
    pub(super) fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Contains => false,
        }
    }
}
