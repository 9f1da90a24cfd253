//! The few statements whose parts matter: COPY, changes of owner, grants, values of sequences, large objects.

use super::text;
use std::ops::Range;

/// A token of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, a number or an unquoted identifier.
    Word(Vec<u8>),
    /// A quoted identifier, unquoted.
    Quoted(Vec<u8>),
    /// The inside of a string, as it stands.
    String(Vec<u8>),
    /// Any other character.
    Symbol(u8),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(bytes) if bytes.eq_ignore_ascii_case(word.as_bytes()))
    }

    pub(super) fn identifier(&self) -> Option<String> {
        match self {
            Self::Word(bytes) | Self::Quoted(bytes) => Some(text(bytes)),
            Self::String(_) | Self::Symbol(_) => None,
        }
    }
}

/// The tokens of a statement that the lexer has found whole.
pub(super) fn tokens(statement: &[u8]) -> Vec<Token> {
    spanned(statement).into_iter().map(|(token, _)| token).collect()
}

/// The same, each with the place where it stands, quotes included.
pub(super) fn spanned(statement: &[u8]) -> Vec<(Token, Range<usize>)> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = statement.get(at) {
        let start = at;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => at += 1,
            b'"' | b'\'' => {
                let (inside, next) = quoted(statement, at, byte);
                at = next;
                tokens.push((if byte == b'"' { Token::Quoted(inside) } else { Token::String(inside) }, start..at));
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || *b >= 0x80;
                at = statement[at..].iter().position(|b| !word(b)).map_or(statement.len(), |n| at + n);
                tokens.push((Token::Word(statement[start..at].to_vec()), start..at));
            }
            _ => {
                at += 1;
                tokens.push((Token::Symbol(byte), start..at));
            }
        }
    }
    tokens
}

/// The inside of the quotes that open at `at`, with doubled quotes halved, and the place behind them.
fn quoted(statement: &[u8], at: usize, quote: u8) -> (Vec<u8>, usize) {
    let mut inside = Vec::new();
    let mut at = at + 1;
    while let Some(&byte) = statement.get(at) {
        if byte != quote {
            inside.push(byte);
            at += 1;
        } else if statement.get(at + 1) == Some(&quote) {
            inside.push(quote);
            at += 2;
        } else {
            return (inside, at + 1);
        }
    }
    (inside, at)
}

/// A `COPY schema.table (columns) FROM stdin;` as pg_dump writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// Its columns, in the order of the rows; empty for a table without any.
    pub columns: Vec<String>,
}

impl Copy {
    /// Reads a COPY statement; `None` if it is not exactly of pg_dump's form.
    pub fn parse(statement: &[u8]) -> Option<Self> {
        let tokens = tokens(statement);
        let (head, tail) = tokens.split_at_checked(4)?;
        if !head[0].is("copy") || head[2] != Token::Symbol(b'.') {
            return None;
        }
        let schema = head[1].identifier()?;
        let table = head[3].identifier()?;
        let [columns @ .., from, stdin, end] = tail else {
            return None;
        };
        if !from.is("from") || !stdin.is("stdin") || *end != Token::Symbol(b';') {
            return None;
        }
        let columns = match columns {
            [] => Vec::new(),
            [Token::Symbol(b'('), inner @ .., Token::Symbol(b')')] if inner.len() % 2 == 1 => {
                let mut names = Vec::with_capacity(inner.len() / 2 + 1);
                for (index, token) in inner.iter().enumerate() {
                    match index % 2 {
                        0 => names.push(token.identifier()?),
                        _ if *token == Token::Symbol(b',') => {}
                        _ => return None,
                    }
                }
                names
            }
            _ => return None,
        };
        Some(Self { schema, table, columns })
    }
}

/// Whether the statement is an `ALTER … OWNER TO role;`.
pub fn is_owner_change(statement: &[u8]) -> bool {
    // Cheap first: most statements are not.
    if !statement.get(..6).is_some_and(|word| word.eq_ignore_ascii_case(b"ALTER ")) {
        return false;
    }
    owner_of(&spanned(statement)).is_some()
}

/// A role that a statement names, and where.
pub(super) type RolePlace = (String, Range<usize>);

fn owner_of(tokens: &[(Token, Range<usize>)]) -> Option<RolePlace> {
    match tokens {
        [(alter, _), .., (owner, _), (to, _), (role, place), (Token::Symbol(b';'), _)]
            if alter.is("alter") && owner.is("owner") && to.is("to") =>
        {
            Some((role.identifier()?, place.clone()))
        }
        _ => None,
    }
}

/// The roles that a statement names and that must exist for it to work: owners, grantees, members of a policy.
pub(super) fn roles(statement: &[u8]) -> Vec<String> {
    role_places(statement).into_iter().map(|(role, _)| role).collect()
}

/// The same roles, each with the place where it stands, quotes included.
pub(super) fn role_places(statement: &[u8]) -> Vec<RolePlace> {
    let tokens = spanned(statement);
    if let Some(owner) = owner_of(&tokens) {
        return vec![owner];
    }
    let mut roles = Vec::new();
    let is = |place: usize, word: &str| tokens.get(place).is_some_and(|(token, _)| token.is(word));
    let mut list = |place: Option<usize>| {
        let Some(place) = place else { return };
        let mut rest = tokens[place + 1..].iter();
        while let Some((role, place)) = rest.next() {
            let Some(name) = role.identifier() else { break };
            // A keyword, and no role of that name: it would be quoted.
            let keyword = ["public", "current_role", "current_user", "session_user", "default"];
            if !keyword.iter().any(|word| role.is(word)) {
                roles.push((name, place.clone()));
            }
            if !matches!(rest.next(), Some((Token::Symbol(b','), _))) {
                break;
            }
        }
    };
    let first = |word: &str| (0..tokens.len()).find(|&place| is(place, word));
    let last = |word: &str| (0..tokens.len()).rev().find(|&place| is(place, word));
    if is(0, "grant") {
        list(last("to"));
    } else if is(0, "revoke") {
        list(last("from"));
    } else if is(0, "alter") && is(1, "default") {
        list(first("role"));
        list(last("to"));
        list(last("from"));
    } else if is(0, "create") && is(1, "policy") {
        list(policy_to(tokens.iter().map(|(token, _)| token)));
    } else if is(0, "create") && is(1, "user") {
        list(first("for"));
    } else if is(0, "set") && is(1, "session") && is(2, "authorization") {
        list(Some(2));
    }
    roles
}

/// The place of the TO of a `CREATE POLICY`. Its expressions, which come behind it, may hold a TO of their own.
fn policy_to<'t>(tokens: impl Iterator<Item = &'t Token>) -> Option<usize> {
    let ends = |token: &&Token| token.is("using") || token.is("with");
    tokens.take_while(|token| !ends(token)).position(|token| token.is("to"))
}

/// A `CREATE POLICY` with its roles in the order of their names. pg_dump lists them in the order of the server's catalogue,
/// which another server need not share.
pub(super) fn policy_in_order(statement: &[u8]) -> Option<Vec<u8>> {
    let mut tokens = tokens(statement);
    let to = policy_to(tokens.iter())?;
    let ends = |token: &Token| token.is("using") || token.is("with") || *token == Token::Symbol(b';');
    let end = to + tokens[to..].iter().position(ends)?;
    tokens[to + 1..end].sort_by_key(|token| format!("{token:?}"));
    Some(format!("{tokens:?}").into_bytes())
}

/// The number that a statement on a large object is about: `lo_create('N')`, `lo_open('N', …)`, `LARGE OBJECT N`.
pub(super) fn large_object(statement: &[u8]) -> Option<u32> {
    let head = &statement[..statement.len().min(200)];
    let tokens = tokens(head);
    let call = tokens.iter().position(|t| t.is("lo_create") || t.is("lo_open") || t.is("object"))?;
    tokens[call + 1..].iter().find_map(|token| match token {
        Token::String(digits) | Token::Word(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Token::Quoted(_) | Token::Symbol(_) => None,
    })
}

/// What a `SELECT pg_catalog.setval('name', value, called);` sets: `value, called`.
pub(super) fn sequence_value(statement: &[u8]) -> Option<String> {
    let end = statement.strip_suffix(b");")?;
    let quote = end.iter().rposition(|&b| b == b'\'')?;
    let value = end.get(quote + 1..)?.strip_prefix(b", ")?;
    Some(text(value))
}

/// The setting that a statement `SET name = value;` sets. A `SET SESSION AUTHORIZATION` is none, whatever the role's name.
pub(super) fn setting(statement: &[u8]) -> Option<(String, String)> {
    let body = statement.strip_prefix(b"SET ")?.strip_suffix(b";")?;
    let equals = body.windows(3).position(|three| three == b" = ")?;
    let name = body.get(..equals).filter(|name| name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(b)))?;
    Some((text(name), text(&body[equals + 3..])))
}

/// `name` as an SQL identifier, always quoted.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `value` as an SQL string, safe whatever `standard_conforming_strings` says.
pub fn literal(value: &str) -> String {
    if value.contains('\\') {
        format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_statements_of_pg_dump_are_read_and_others_are_not() {
        let copy = Copy::parse(br#"COPY public."Or""d;er" (id, "select", "a, b") FROM stdin;"#).unwrap();
        assert_eq!((copy.schema.as_str(), copy.table.as_str()), ("public", "Or\"d;er"));
        assert_eq!(copy.columns, ["id", "select", "a, b"]);
        assert_eq!(Copy::parse(b"COPY public.z  FROM stdin;").unwrap().columns, Vec::<String>::new());
        for other in [
            "COPY t FROM stdin;",
            "COPY public.t FROM PROGRAM 'rm';",
            "COPY public.t (a) FROM stdin WITH (FORMAT csv);",
            "COPY (SELECT 1) TO stdout;",
            "COPY public.t (a,) FROM stdin;",
        ] {
            assert_eq!(Copy::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn owners_and_grantees_are_found() {
        assert!(is_owner_change(b"ALTER FUNCTION public.f(a integer, b text) OWNER TO \"odd role\";"));
        assert!(!is_owner_change(b"ALTER TABLE ONLY public.t ADD CONSTRAINT owner_to CHECK (true);"));
        assert_eq!(roles(b"ALTER TABLE public.t OWNER TO \"odd role\";"), ["odd role"]);
        assert_eq!(roles(b"GRANT SELECT(\"to\") ON TABLE public.t TO bob WITH GRANT OPTION;"), ["bob"]);
        assert_eq!(roles(b"GRANT ALL ON SCHEMA public TO PUBLIC;"), Vec::<String>::new());
        assert_eq!(roles(b"CREATE POLICY p ON public.t TO a, \"B\" USING (true);"), ["a", "B"]);
        assert_eq!(
            roles(b"CREATE POLICY p ON public.t USING ((i < '1'::interval year to month));"),
            Vec::<String>::new()
        );
        assert_eq!(roles(b"ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;"), ["a", "b"]);
        assert_eq!(roles(b"CREATE USER MAPPING FOR \"public\" SERVER s;"), ["public"]);
        assert_eq!(roles(b"SET SESSION AUTHORIZATION bob;"), ["bob"]);
    }

    #[test]
    fn a_role_with_an_equals_sign_is_no_setting() {
        assert_eq!(setting(b"SET a_b.c = 'x = y';"), Some(("a_b.c".to_owned(), "'x = y'".to_owned())));
        assert_eq!(setting(b"SET SESSION AUTHORIZATION \"a = b\";"), None);
    }

    #[test]
    fn sequences_and_large_objects_are_read() {
        assert_eq!(sequence_value(b"SELECT pg_catalog.setval('public.\"a'', 1\"', 7, true);").unwrap(), "7, true");
        assert_eq!(large_object(b"SELECT pg_catalog.lo_open('16400', 131072);"), Some(16400));
        assert_eq!(large_object(b"ALTER LARGE OBJECT 16400 OWNER TO bob;"), Some(16400));
        assert_eq!(large_object(b"SELECT pg_catalog.lowrite(0, '\\x00');"), None);
    }
}
