//! Which relation a definition is about: the header of an index, a comment or a grant does not tell.

use super::statement::{Token, tokens};
use super::target::{Made, Relation, made};

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The table, sequence, index or statistics object.
    pub on: Relation,
    /// What of it: a trigger, a policy, a rule or a constraint, as its kind and name.
    pub part: Option<(&'static str, String)>,
    /// Where another relation matters as much: the partition that is attached, the table that owns a sequence, the sequence
    /// of an identity column.
    pub other: Option<Relation>,
}

/// The parts of tables that have names of their own.
const PARTS: [&str; 4] = ["trigger", "policy", "rule", "constraint"];

/// Reads a statement; `None` if it is about no relation, or not of pg_dump's form.
pub fn subject(statement: &[u8]) -> Option<Subject> {
    if let Some(made) = made(statement) {
        return Some(match made {
            Made::Index { table, .. } => Subject { on: table, part: None, other: None },
            Made::Key { table, name } => Subject { on: table, part: Some(("constraint", name)), other: None },
            Made::ForeignKey { table, references } => {
                Subject { on: table, part: added(statement), other: Some(references) }
            }
            Made::Attached { to, index } => Subject { on: to, part: None, other: Some(index) },
        });
    }
    let tokens = tokens(statement);
    let (first, rest) = tokens.split_first()?;
    let word = |word: &str| first.is(word);
    if word("create") {
        create(rest)
    } else if word("alter") {
        alter(rest)
    } else if word("comment") || word("security") {
        let place = rest.iter().position(|token| token.is("on"))?;
        commented(rest.get(place + 1..)?)
    } else if word("grant") || word("revoke") {
        let place = rest
            .windows(2)
            .position(|two| matches!(two, [on, of] if on.is("on") && (of.is("table") || of.is("sequence"))))?;
        plain(rest.get(place + 2..)?)
    } else {
        None
    }
}

fn relation(tokens: &[Token]) -> Option<(Relation, &[Token])> {
    let tokens = match tokens {
        [only, rest @ ..] if only.is("only") => rest,
        tokens => tokens,
    };
    let [schema, Token::Symbol(b'.'), name, rest @ ..] = tokens else { return None };
    Some(((schema.identifier()?, name.identifier()?), rest))
}

fn plain(tokens: &[Token]) -> Option<Subject> {
    relation(tokens).map(|(on, _)| Subject { on, part: None, other: None })
}

/// The first relation behind an unquoted `word`.
fn behind(tokens: &[Token], word: &str) -> Option<Relation> {
    tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.is(word))
        .find_map(|(place, _)| relation(tokens.get(place + 1..)?))
        .map(|(found, _)| found)
}

fn create(tokens: &[Token]) -> Option<Subject> {
    let mut rest = tokens;
    while let [first, after @ ..] = rest {
        if first.is("unlogged") || first.is("foreign") || first.is("constraint") {
            rest = after;
            continue;
        }
        break;
    }
    let (kind, rest) = rest.split_first()?;
    if kind.is("table") || kind.is("sequence") {
        return plain(rest);
    }
    if kind.is("statistics") {
        let (own, rest) = relation(rest)?;
        // Expressions may hold a FROM of their own; the table's is the last.
        let on = rest.iter().enumerate().rev().filter(|(_, token)| token.is("from"));
        let on = on.filter_map(|(place, _)| relation(rest.get(place + 1..)?)).map(|(on, _)| on).next()?;
        return Some(Subject { on, part: None, other: Some(own) });
    }
    let part = PARTS.into_iter().find(|part| kind.is(part))?;
    let (name, rest) = rest.split_first()?;
    let on = if part == "rule" {
        let place = rest.iter().position(|token| token.is("to"))?;
        relation(rest.get(place + 1..)?)?.0
    } else {
        behind(rest, "on")?
    };
    Some(Subject { on, part: Some((part, name.identifier()?)), other: None })
}

fn alter(tokens: &[Token]) -> Option<Subject> {
    let (kind, rest) = tokens.split_first()?;
    let (kind, rest) = if kind.is("foreign") { rest.split_first()? } else { (kind, rest) };
    if kind.is("publication") {
        return Some(Subject { on: behind(rest, "table")?, part: None, other: None });
    }
    if !["table", "sequence", "index", "statistics"].iter().any(|known| kind.is(known)) {
        return None;
    }
    let (on, rest) = relation(rest)?;
    let other = match rest {
        [attach, partition, child @ ..] if attach.is("attach") && partition.is("partition") => {
            relation(child).map(|(child, _)| child)
        }
        [owned, by, table @ ..] if owned.is("owned") && by.is("by") => relation(table).map(|(table, _)| table),
        [alter, column, ..] if alter.is("alter") && column.is("column") => {
            let place = rest.windows(2).position(|two| matches!(two, [a, b] if a.is("sequence") && b.is("name")));
            place.and_then(|place| relation(rest.get(place + 2..)?)).map(|(sequence, _)| sequence)
        }
        _ => None,
    };
    let part = match rest {
        [add, constraint, name, ..] if add.is("add") && constraint.is("constraint") => {
            Some(("constraint", name.identifier()?))
        }
        _ => None,
    };
    Some(Subject { on, part, other })
}

/// The constraint that a statement adds.
fn added(statement: &[u8]) -> Option<(&'static str, String)> {
    let tokens = tokens(statement);
    let place = tokens.iter().position(|token| token.is("constraint"))?;
    Some(("constraint", tokens.get(place + 1)?.identifier()?))
}

fn commented(tokens: &[Token]) -> Option<Subject> {
    let (kind, rest) = tokens.split_first()?;
    if let Some(part) = PARTS.into_iter().find(|part| kind.is(part)) {
        let [name, on, rest @ ..] = rest else { return None };
        let (table, _) = if on.is("on") { relation(rest)? } else { return None };
        return Some(Subject { on: table, part: Some((part, name.identifier()?)), other: None });
    }
    let (kind, rest) = if kind.is("foreign") { rest.split_first()? } else { (kind, rest) };
    let known = ["table", "column", "sequence", "index", "statistics"];
    if known.iter().any(|known| kind.is(known)) { plain(rest) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_definitions_are_about_is_read() {
        let pair = |name: &str| {
            let (schema, name) = name.split_once('.').unwrap();
            (schema.to_owned(), name.to_owned())
        };
        let part = |kind, name: &str| Some((kind, name.to_owned()));
        let cases: [(&str, &str, _, Option<&str>); 24] = [
            ("CREATE UNLOGGED TABLE public.t (\n    a integer\n);", "public.t", None, None),
            ("CREATE SEQUENCE public.\"S x\"\n    START WITH 1;", "public.S x", None, None),
            ("ALTER SEQUENCE public.s OWNED BY public.t.id;", "public.s", None, Some("public.t")),
            (
                "ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n SEQUENCE NAME public.t_id_seq\n);",
                "public.t",
                None,
                Some("public.t_id_seq"),
            ),
            (
                "ALTER TABLE ONLY public.t ALTER COLUMN id SET DEFAULT nextval('public.s'::regclass);",
                "public.t",
                None,
                None,
            ),
            ("ALTER TABLE ONLY public.p ATTACH PARTITION s.p1 FOR VALUES IN (1);", "public.p", None, Some("s.p1")),
            ("ALTER TABLE ONLY public.t ADD CONSTRAINT k PRIMARY KEY (id);", "public.t", part("constraint", "k"), None),
            (
                "ALTER TABLE ONLY public.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES s.q(a);",
                "public.t",
                part("constraint", "f"),
                Some("s.q"),
            ),
            (
                "ALTER TABLE public.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;",
                "public.t",
                part("constraint", "c"),
                None,
            ),
            ("CREATE INDEX i ON ONLY public.t USING btree (a);", "public.t", None, None),
            ("ALTER INDEX public.i ATTACH PARTITION public.i1;", "public.i", None, Some("public.i1")),
            (
                "CREATE CONSTRAINT TRIGGER x AFTER UPDATE OF \"on\", b ON public.t FROM public.q FOR EACH ROW EXECUTE FUNCTION f.g();",
                "public.t",
                part("trigger", "x"),
                None,
            ),
            ("CREATE POLICY p ON public.t TO bob USING (true);", "public.t", part("policy", "p"), None),
            ("CREATE RULE r AS\n    ON UPDATE TO public.t DO INSTEAD NOTHING;", "public.t", part("rule", "r"), None),
            (
                "CREATE STATISTICS public.st (ndistinct) ON a, EXTRACT(year FROM b) FROM s.t;",
                "s.t",
                None,
                Some("public.st"),
            ),
            ("ALTER TABLE public.t ENABLE ROW LEVEL SECURITY;", "public.t", None, None),
            ("COMMENT ON COLUMN public.t.a IS 'on table x.y';", "public.t", None, None),
            ("COMMENT ON CONSTRAINT c ON public.t IS 'x';", "public.t", part("constraint", "c"), None),
            ("COMMENT ON INDEX public.i IS 'x';", "public.i", None, None),
            ("GRANT SELECT(a),UPDATE(\"on\") ON TABLE public.t TO bob;", "public.t", None, None),
            ("REVOKE ALL ON SEQUENCE public.s FROM bob;", "public.s", None, None),
            ("SECURITY LABEL FOR x ON TABLE public.t IS 'y';", "public.t", None, None),
            ("ALTER TABLE public.t OWNER TO bob;", "public.t", None, None),
            ("ALTER PUBLICATION p ADD TABLE ONLY public.t (a);", "public.t", None, None),
        ];
        for (statement, on, part, other) in cases {
            let wanted = Subject { on: pair(on), part, other: other.map(pair) };
            assert_eq!(subject(statement.as_bytes()), Some(wanted), "{statement}");
        }
        for other in [
            "COMMENT ON FUNCTION public.f() IS 'x';",
            "GRANT ALL ON SCHEMA public TO bob;",
            "GRANT ALL ON FUNCTION public.f() TO bob;",
            "CREATE TYPE public.e AS ENUM ('on');",
            "COMMENT ON CONSTRAINT c ON DOMAIN public.d IS 'x';",
            "CREATE VIEW public.v AS SELECT 1;",
        ] {
            assert_eq!(subject(other.as_bytes()), None, "{other}");
        }
    }
}
