//! What statements behind the data are about: the tables that an index, a key or a foreign key locks, and needs whole.

use super::statement::{Token, tokens};

/// A relation, as the statement names it: schema and name.
pub type Relation = (String, String);

/// What a statement behind the data makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// An index on a table or materialized view.
    Index {
        /// On which.
        table: Relation,
        /// Its name; it is in the schema of the table.
        name: String,
    },
    /// A primary key, a unique or an exclusion constraint: an index, too.
    Key {
        /// On which table.
        table: Relation,
        /// Its name, and that of its index.
        name: String,
    },
    /// A foreign key.
    ForeignKey {
        /// Of which table.
        table: Relation,
        /// To which.
        references: Relation,
    },
    /// The index of a partition, attached to that of the whole table.
    Attached {
        /// The index of the whole table.
        to: Relation,
        /// That of the partition.
        index: Relation,
    },
}

/// Reads a statement; `None` if it makes none of these, or is not exactly of pg_dump's form.
pub fn made(statement: &[u8]) -> Option<Made> {
    if statement.starts_with(b"CREATE ") {
        return index(&tokens(statement));
    }
    if !statement.starts_with(b"ALTER ") {
        return None;
    }
    let tokens = tokens(statement);
    if tokens.get(1).is_some_and(|token| token.is("index")) {
        attached(&tokens)
    } else if tokens.get(1).is_some_and(|token| token.is("table")) {
        constraint(&tokens)
    } else {
        None
    }
}

/// Takes `words` from the front of `tokens`.
fn words<'t>(mut tokens: &'t [Token], words: &[&str]) -> Option<&'t [Token]> {
    for word in words {
        let (first, rest) = tokens.split_first()?;
        if !first.is(word) {
            return None;
        }
        tokens = rest;
    }
    Some(tokens)
}

fn relation(tokens: &[Token]) -> Option<(Relation, &[Token])> {
    let [schema, Token::Symbol(b'.'), name, rest @ ..] = tokens else { return None };
    Some(((schema.identifier()?, name.identifier()?), rest))
}

fn only(tokens: &[Token]) -> &[Token] {
    match tokens {
        // A quoted name is no keyword, and an unquoted `only` is no name.
        [first, rest @ ..] if first.is("only") => rest,
        tokens => tokens,
    }
}

fn index(tokens: &[Token]) -> Option<Made> {
    let rest = words(tokens, &["create", "index"]).or_else(|| words(tokens, &["create", "unique", "index"]))?;
    let (name, rest) = rest.split_first()?;
    let (table, rest) = relation(only(words(rest, &["on"])?))?;
    rest.first().filter(|token| token.is("using"))?;
    Some(Made::Index { table, name: name.identifier()? })
}

fn constraint(tokens: &[Token]) -> Option<Made> {
    let (table, rest) = relation(only(words(tokens, &["alter", "table"])?))?;
    let (name, rest) = words(rest, &["add", "constraint"])?.split_first()?;
    let kind = rest.first()?;
    if words(rest, &["primary", "key"]).is_some() || kind.is("unique") || kind.is("exclude") {
        return Some(Made::Key { table, name: name.identifier()? });
    }
    let columns = words(rest, &["foreign", "key"])?;
    let place = columns.iter().position(|token| token.is("references"))?;
    let (references, _) = relation(columns.get(place + 1..)?)?;
    Some(Made::ForeignKey { table, references })
}

fn attached(tokens: &[Token]) -> Option<Made> {
    let (to, rest) = relation(words(tokens, &["alter", "index"])?)?;
    let (index, rest) = relation(words(rest, &["attach", "partition"])?)?;
    matches!(rest, [Token::Symbol(b';')]).then_some(Made::Attached { to, index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pg_dump_writes_behind_the_data_is_read() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let index = |name: &str, table| Some(Made::Index { table, name: name.to_owned() });
        assert_eq!(made(b"CREATE INDEX i ON public.t USING btree (a);"), index("i", pair("public", "t")));
        assert_eq!(
            made(b"CREATE UNIQUE INDEX \"on only\" ON ONLY \"S\".\"a\"\"b\" USING gin (lower(x)) WHERE (a > 1);"),
            index("on only", pair("S", "a\"b"))
        );
        assert_eq!(
            made(b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);"),
            Some(Made::Key { table: pair("public", "t"), name: "t_pkey".to_owned() })
        );
        assert_eq!(
            made(b"ALTER TABLE ONLY public.\"only\"\n    ADD CONSTRAINT x EXCLUDE USING gist (r WITH &&);"),
            Some(Made::Key { table: pair("public", "only"), name: "x".to_owned() })
        );
        assert_eq!(
            made(b"ALTER TABLE public.p\n    ADD CONSTRAINT f FOREIGN KEY (\"references\", b) REFERENCES s.q(a, b) NOT VALID;"),
            Some(Made::ForeignKey { table: pair("public", "p"), references: pair("s", "q") })
        );
        assert_eq!(
            made(b"ALTER INDEX public.i ATTACH PARTITION public.i1;"),
            Some(Made::Attached { to: pair("public", "i"), index: pair("public", "i1") })
        );
        for other in [
            "CREATE TRIGGER t BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();",
            "ALTER TABLE public.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;",
            "ALTER TABLE public.t CLUSTER ON i;",
            "CREATE INDEX i ON t USING btree (a);",
        ] {
            assert_eq!(made(other.as_bytes()), None, "{other}");
        }
    }
}
