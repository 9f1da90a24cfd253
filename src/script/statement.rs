//! The few statements whose parts matter: COPY, changes of owner, grants, values of sequences, large objects.

use super::text;

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
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = statement.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => at += 1,
            b'"' | b'\'' => {
                let (inside, next) = quoted(statement, at, byte);
                tokens.push(if byte == b'"' { Token::Quoted(inside) } else { Token::String(inside) });
                at = next;
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'$' || *b >= 0x80;
                let end = statement[at..].iter().position(|b| !word(b)).map_or(statement.len(), |n| at + n);
                tokens.push(Token::Word(statement[at..end].to_vec()));
                at = end;
            }
            _ => {
                tokens.push(Token::Symbol(byte));
                at += 1;
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
    owner_of(&tokens(statement)).is_some()
}

fn owner_of(tokens: &[Token]) -> Option<String> {
    match tokens {
        [alter, .., owner, to, role, Token::Symbol(b';')] if alter.is("alter") && owner.is("owner") && to.is("to") => {
            role.identifier()
        }
        _ => None,
    }
}

/// The roles that a statement names and that must exist for it to work: owners, grantees, members of a policy.
pub(super) fn roles(statement: &[u8]) -> Vec<String> {
    let tokens = tokens(statement);
    if let Some(owner) = owner_of(&tokens) {
        return vec![owner];
    }
    let mut roles = Vec::new();
    let Some(first) = tokens.first() else {
        return roles;
    };
    let mut after = |word: &str, from_end: bool| {
        let mut places = tokens.iter().enumerate().filter(|(_, token)| token.is(word));
        let place = if from_end { places.next_back() } else { { places }.next() };
        let Some((place, _)) = place else { return };
        let mut rest = tokens[place + 1..].iter();
        while let Some(role) = rest.next().and_then(Token::identifier) {
            roles.push(role);
            if rest.next() != Some(&Token::Symbol(b',')) {
                break;
            }
        }
    };
    if first.is("grant") {
        after("to", true);
    } else if first.is("revoke") {
        after("from", true);
    } else if first.is("alter") && tokens.get(1).is_some_and(|t| t.is("default")) {
        after("role", false);
        after("to", true);
        after("from", true);
    } else if first.is("create") && tokens.get(1).is_some_and(|t| t.is("policy")) {
        after("to", false);
    } else if first.is("create") && tokens.get(1).is_some_and(|t| t.is("user")) {
        after("for", false);
    }
    if let [set, session, authorization, role, ..] = tokens.as_slice()
        && set.is("set")
        && session.is("session")
        && authorization.is("authorization")
    {
        roles.extend(role.identifier().filter(|_| !role.is("default")));
    }
    let keyword = |role: &String| ["public", "current_user", "session_user"].contains(&role.to_lowercase().as_str());
    roles.retain(|role| !keyword(role));
    roles
}

/// A `CREATE POLICY` with its roles in the order of their names. pg_dump lists them in the order of the server's catalogue,
/// which another server need not share.
pub(super) fn policy_in_order(statement: &[u8]) -> Option<Vec<u8>> {
    let mut tokens = tokens(statement);
    let to = tokens.iter().position(|token| token.is("to"))?;
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

/// The setting that a statement `SET name = value;` sets.
pub(super) fn setting(statement: &[u8]) -> Option<(String, String)> {
    let body = statement.strip_prefix(b"SET ")?.strip_suffix(b";")?;
    let equals = body.windows(3).position(|three| three == b" = ")?;
    Some((text(&body[..equals]), text(&body[equals + 3..])))
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
        assert_eq!(roles(b"ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT SELECT ON TABLES TO b;"), ["a", "b"]);
    }

    #[test]
    fn sequences_and_large_objects_are_read() {
        assert_eq!(sequence_value(b"SELECT pg_catalog.setval('public.\"a'', 1\"', 7, true);").unwrap(), "7, true");
        assert_eq!(large_object(b"SELECT pg_catalog.lo_open('16400', 131072);"), Some(16400));
        assert_eq!(large_object(b"ALTER LARGE OBJECT 16400 OWNER TO bob;"), Some(16400));
        assert_eq!(large_object(b"SELECT pg_catalog.lowrite(0, '\\x00');"), None);
    }
}
