//! The qualified names in a statement, and where they stand: what it needs, and what is to be worded in another way.

use super::statement::quote_identifier;
use super::target::Relation;
use super::text;
use std::ops::Range;

/// A name with its schema, as it stands in a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Schema and name.
    pub relation: Relation,
    /// The keyword or name before it, in lower case; empty if it follows a symbol.
    pub before: String,
    /// Whether a parenthesis follows.
    pub called: bool,
    /// Where the schema stands; of a name in a string, the whole string.
    at: Range<usize>,
    /// Of a name in a string (`'public.s'::regclass`).
    in_string: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    /// With its quotes; `true` where backslashes escape.
    String(bool),
    Symbol(u8),
    /// A dollar-quoted string: nothing in it is looked at.
    Opaque,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    at: Range<usize>,
}

/// Behind these a name is a relation's, though a parenthesis follows it.
const BEFORE_RELATIONS: [&str; 9] =
    ["references", "table", "on", "only", "copy", "into", "statistics", "sequence", "name"];

impl Named {
    /// Whether it may be the name of a relation: otherwise it is a function's.
    pub fn may_be_relation(&self) -> bool {
        !self.called || BEFORE_RELATIONS.contains(&self.before.as_str())
    }
}

/// The qualified names of a statement that the lexer has found whole, in order.
pub fn names(statement: &[u8]) -> Vec<Named> {
    let tokens = tokens(statement);
    let symbol = |place: usize, symbol: u8| tokens.get(place).is_some_and(|token| token.kind == Kind::Symbol(symbol));
    let word = |place: usize, word: &[u8]| {
        tokens.get(place).is_some_and(|token| {
            token.kind == Kind::Word
                && statement.get(token.at.clone()).is_some_and(|text| text.eq_ignore_ascii_case(word))
        })
    };
    let before = |place: usize| match place.checked_sub(1).and_then(|before| tokens.get(before)) {
        Some(Token { kind: Kind::Word, at }) => text(statement.get(at.clone()).unwrap_or_default()).to_lowercase(),
        _ => String::new(),
    };
    let cast = |place: usize, to: &[u8]| symbol(place, b':') && symbol(place + 1, b':') && word(place + 2, to);
    let mut found = Vec::new();
    for (place, token) in tokens.iter().enumerate() {
        if let Kind::String(escapes) = token.kind {
            let regclass = cast(place + 1, b"regclass")
                || (cast(place + 1, b"text") && symbol(place + 4, b')') && cast(place + 5, b"regclass"));
            let inside = statement.get(token.at.clone()).and_then(|quoted| inside(quoted, escapes));
            if regclass && let Some(relation) = inside.as_deref().and_then(qualified) {
                let before = before(place);
                found.push(Named { relation, before, called: false, at: token.at.clone(), in_string: true });
            }
            continue;
        }
        let dotted = symbol(place + 1, b'.') && !place.checked_sub(1).is_some_and(|before| symbol(before, b'.'));
        if !dotted {
            continue;
        }
        let identifier = |place: usize| tokens.get(place).and_then(|token| identifier(statement, token));
        if let (Some(schema), Some(name)) = (identifier(place), identifier(place + 2)) {
            let called = symbol(place + 3, b'(');
            let relation = (schema, name);
            found.push(Named { relation, before: before(place), called, at: token.at.clone(), in_string: false });
        }
    }
    found
}

/// `statement` with the schema of each name for which `schema` knows another one replaced by that. Nothing else changes.
pub fn reword_schemas(statement: &[u8], schema: impl Fn(&Named) -> Option<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(statement.len());
    let mut at = 0;
    for named in names(statement) {
        let Some(new) = schema(&named) else { continue };
        out.extend_from_slice(statement.get(at..named.at.start).unwrap_or_default());
        if named.in_string {
            let name = format!("{}.{}", quote_identifier(&new), quote_identifier(&named.relation.1));
            out.extend_from_slice(super::literal(&name).as_bytes());
        } else {
            out.extend_from_slice(quote_identifier(&new).as_bytes());
        }
        at = named.at.end;
    }
    out.extend_from_slice(statement.get(at..).unwrap_or_default());
    out
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn tokens(statement: &[u8]) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = statement.get(at) {
        let rest = statement.get(at..).unwrap_or_default();
        let (kind, end) = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                at += 1;
                continue;
            }
            b'-' if rest.starts_with(b"--") => {
                at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                continue;
            }
            b'"' => (Kind::Quoted, end_of_quotes(statement, at, b'"', false)),
            b'\'' => (Kind::String(false), end_of_quotes(statement, at, b'\'', false)),
            b'e' | b'E' if rest.get(1) == Some(&b'\'') => {
                (Kind::String(true), end_of_quotes(statement, at + 1, b'\'', true))
            }
            b'$' => match dollar_quoted(rest) {
                Some(length) => (Kind::Opaque, at + length),
                None => (Kind::Symbol(byte), at + 1),
            },
            _ if is_word(byte) => {
                let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
                (Kind::Word, at + length)
            }
            _ => (Kind::Symbol(byte), at + 1),
        };
        tokens.push(Token { kind, at: at..end });
        at = end;
    }
    tokens
}

/// The place behind the quotes that open at `at`.
fn end_of_quotes(statement: &[u8], at: usize, quote: u8, escapes: bool) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = statement.get(at) {
        if escapes && byte == b'\\' {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if statement.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    statement.len()
}

/// How long the dollar-quoted string at the beginning of `text` is.
fn dollar_quoted(text: &[u8]) -> Option<usize> {
    let tag = text.get(1..)?.iter().position(|&byte| !is_word(byte) || byte == b'$')? + 1;
    if text.get(tag) != Some(&b'$') || text.get(1).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let tag = text.get(..=tag)?;
    let inside = text.get(tag.len()..)?;
    let end = memchr::memmem::find(inside, tag).map_or(inside.len(), |end| end + tag.len());
    Some(tag.len() + end)
}

fn identifier(statement: &[u8], token: &Token) -> Option<String> {
    let bytes = statement.get(token.at.clone())?;
    match token.kind {
        Kind::Word => bytes.first().filter(|first| !first.is_ascii_digit()).map(|_| text(bytes)),
        Kind::Quoted => Some(text(&halved(bytes.get(1..bytes.len().checked_sub(1)?)?, b'"'))),
        Kind::String(_) | Kind::Symbol(_) | Kind::Opaque => None,
    }
}

/// What a string says.
fn inside(quoted: &[u8], escapes: bool) -> Option<Vec<u8>> {
    let open = if escapes { 2 } else { 1 };
    let inside = halved(quoted.get(open..quoted.len().checked_sub(1)?)?, b'\'');
    if !escapes {
        return Some(inside);
    }
    let mut said = Vec::with_capacity(inside.len());
    let mut bytes = inside.into_iter();
    while let Some(byte) = bytes.next() {
        match (byte, byte == b'\\') {
            // Servers write no other escape into names.
            (_, true) => said.push(bytes.next().filter(|next| *next == b'\\')?),
            (byte, false) => said.push(byte),
        }
    }
    Some(said)
}

fn halved(inside: &[u8], quote: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == quote {
            bytes.next_if_eq(&quote);
        }
        out.push(byte);
    }
    out
}

/// A text that is exactly a schema, a dot and a name.
fn qualified(name: &[u8]) -> Option<Relation> {
    let tokens = tokens(name);
    let [schema, dot, relation] = tokens.as_slice() else { return None };
    (dot.kind == Kind::Symbol(b'.')).then_some((identifier(name, schema)?, identifier(name, relation)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moved(statement: &str) -> String {
        let known = [("public", "orders"), ("public", "s"), ("S", "a\"b"), ("public", "i1"), ("odd", "it's")];
        let reworded = reword_schemas(statement.as_bytes(), |named| {
            let (schema, name) = &named.relation;
            let known = known.contains(&(schema.as_str(), name.as_str()));
            (known && named.may_be_relation()).then(|| "N\"w".to_owned())
        });
        String::from_utf8(reworded).unwrap()
    }

    #[test]
    fn names_of_moved_relations_are_reworded_and_nothing_else_is() {
        let cases = [
            (
                "CREATE TABLE public.orders (\n    id integer\n);",
                "CREATE TABLE \"N\"\"w\".orders (\n    id integer\n);",
            ),
            (
                "ALTER SEQUENCE public.s OWNED BY public.orders.id;",
                "ALTER SEQUENCE \"N\"\"w\".s OWNED BY \"N\"\"w\".orders.id;",
            ),
            (
                "ALTER TABLE ONLY \"S\".\"a\"\"b\" ALTER COLUMN x SET DEFAULT nextval('public.s'::regclass);",
                "ALTER TABLE ONLY \"N\"\"w\".\"a\"\"b\" ALTER COLUMN x SET DEFAULT nextval('\"N\"\"w\".\"s\"'::regclass);",
            ),
            (
                "ALTER TABLE public.other ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES public.orders(id);",
                "ALTER TABLE public.other ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES \"N\"\"w\".orders(id);",
            ),
            (
                "ALTER TABLE public.orders ADD CHECK (((a)::text = 'public.orders'::text) AND public.orders(a));",
                "ALTER TABLE \"N\"\"w\".orders ADD CHECK (((a)::text = 'public.orders'::text) AND public.orders(a));",
            ),
            (
                "ALTER INDEX public.i ATTACH PARTITION public.i1;",
                "ALTER INDEX public.i ATTACH PARTITION \"N\"\"w\".i1;",
            ),
            (
                "COMMENT ON TABLE public.orders IS 'public.orders, \"public\".\"orders\" and $$public.orders$$';",
                "COMMENT ON TABLE \"N\"\"w\".orders IS 'public.orders, \"public\".\"orders\" and $$public.orders$$';",
            ),
            (
                "x nextval(('public.s'::text)::regclass) nextval('odd.\"it''s\"'::regclass) E'\\'public.s'::regclass 1.5",
                "x nextval(('\"N\"\"w\".\"s\"'::text)::regclass) nextval('\"N\"\"w\".\"it''s\"'::regclass) E'\\'public.s'::regclass 1.5",
            ),
            ("SELECT a.public.orders, b.orders;", "SELECT a.public.orders, b.orders;"),
        ];
        for (before, after) in cases {
            assert_eq!(moved(before), after);
        }
    }

    proptest! {
        #[test]
        fn any_name_survives_rewording(schema in "[ -~é\n]{1,12}", name in "[ -~é\n]{1,12}", new in "[ -~é\n]{1,12}") {
            let both = format!("{}.{}", quote_identifier(&schema), quote_identifier(&name));
            let text = format!("CREATE TABLE {both} (a integer DEFAULT nextval({}::regclass));", super::super::literal(&both));
            let relation = (schema, name.clone());
            let found = names(text.as_bytes());
            prop_assert_eq!(found.iter().filter(|named| named.relation == relation).count(), 2);
            let reworded = reword_schemas(text.as_bytes(), |named| (named.relation == relation).then(|| new.clone()));
            let found: Vec<Relation> = names(&reworded).into_iter().map(|named| named.relation).collect();
            prop_assert_eq!(found, vec![(new.clone(), name.clone()), (new, name)]);
        }
    }
}
