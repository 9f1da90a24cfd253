//! What ties tables together: foreign keys and partitions, read from the statements of their entries.

use super::lexer::{Lexer, Step};
use super::statement::{Token, tokens};

/// A table: its schema and its name.
pub type TableName = (String, String);

/// What one statement says of two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Rows of `from` need rows of `to`.
    ForeignKey {
        /// The table that refers.
        from: TableName,
        /// The table that is referred to.
        to: TableName,
    },
    /// The rows of `part` are rows of `whole` too.
    Partition {
        /// The partitioned table.
        whole: TableName,
        /// Its partition.
        part: TableName,
    },
}

impl Link {
    /// Reads `ALTER TABLE [ONLY] s.t ADD CONSTRAINT … FOREIGN KEY … REFERENCES s.t …` or `ALTER TABLE [ONLY] s.t ATTACH
    /// PARTITION s.t …`, as pg_dump writes them; `None` if it is neither.
    pub fn parse(statement: &[u8]) -> Option<Self> {
        let tokens = tokens(statement);
        let [alter, table, rest @ ..] = tokens.as_slice() else { return None };
        if !alter.is("alter") || !table.is("table") {
            return None;
        }
        let rest = match rest {
            [only, after @ ..] if only.is("only") => after,
            rest => rest,
        };
        let (first, rest) = name(rest)?;
        match rest {
            [attach, partition, rest @ ..] if attach.is("attach") && partition.is("partition") => {
                Some(Self::Partition { whole: first, part: name(rest)?.0 })
            }
            [add, constraint, _, foreign, key, rest @ ..]
                if add.is("add") && constraint.is("constraint") && foreign.is("foreign") && key.is("key") =>
            {
                let at = rest.iter().position(|token| token.is("references"))?;
                Some(Self::ForeignKey { from: first, to: name(rest.get(at + 1..)?)?.0 })
            }
            _ => None,
        }
    }
}

/// The name at the beginning of `tokens`, and what stands behind it.
fn name(tokens: &[Token]) -> Option<(TableName, &[Token])> {
    match tokens {
        [schema, Token::Symbol(b'.'), table, rest @ ..] => Some(((schema.identifier()?, table.identifier()?), rest)),
        _ => None,
    }
}

/// The first statement of an entry's SQL, header and all, with its semicolon: where it ends, and its text.
pub fn first_statement(sql: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut lexer = Lexer::new();
    let mut at = 0;
    loop {
        let (read, step) = lexer.advance(sql.get(at..)?);
        at += read;
        match step {
            Step::Statement if lexer.is_whole() => return Some((at, lexer.text().to_vec())),
            Step::Comment => {}
            Step::Statement | Step::More | Step::Meta | Step::Refused => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(schema: &str, table: &str) -> TableName {
        (schema.to_owned(), table.to_owned())
    }

    fn link(sql: &str) -> Option<Link> {
        Link::parse(&first_statement(sql.as_bytes()).unwrap().1)
    }

    #[test]
    fn foreign_keys_and_partitions_are_read() {
        let key = "--\n-- Name: orders o_fk; Type: FK CONSTRAINT; Schema: public; Owner: me\n--\n\nALTER TABLE ONLY \
                   public.orders\n    ADD CONSTRAINT \"o; fk\" FOREIGN KEY (a, \"references\") REFERENCES \
                   \"Shop\".\"the \"\"clients\"(id, b) ON DELETE CASCADE;\n\n\nSET default_tablespace = fast;\n";
        let (from, to) = (named("public", "orders"), named("Shop", "the \"clients"));
        assert_eq!(link(key), Some(Link::ForeignKey { from, to }));
        let (end, _) = first_statement(key.as_bytes()).unwrap();
        assert!(key[..end].ends_with("ON DELETE CASCADE;"), "{}", &key[..end]);
        let part = "ALTER TABLE ONLY public.log ATTACH PARTITION old.log_1 FOR VALUES FROM ('a;b') TO ('c');\n";
        let (whole, part_of) = (named("public", "log"), named("old", "log_1"));
        assert_eq!(link(part), Some(Link::Partition { whole, part: part_of }));
        assert_eq!(link("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT t_pkey PRIMARY KEY (id);\n"), None);
        assert_eq!(first_statement(b"-- nothing\n"), None);
    }
}
