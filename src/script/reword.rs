//! Single statements of a dump in other words: for other roles, and for servers that know fewer privileges.

use super::names::identifier;
use super::statement::{Token, role_places, spanned};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// `statement` with the roles that it names replaced, as `roles` says; every other byte stays. Roles are those of owners,
/// grants, default privileges, policies, user mappings and sessions; not names in the bodies of functions or in
/// expressions, which are text to the server too. Where two roles of one list become the same, it is listed once.
pub fn reword<'s>(statement: &'s [u8], roles: &BTreeMap<String, String>) -> Cow<'s, [u8]> {
    if roles.is_empty() || !may_name_roles(statement) {
        return Cow::Borrowed(statement);
    }
    let places = role_places(statement);
    if !places.iter().any(|(role, _)| roles.contains_key(role)) {
        return Cow::Borrowed(statement);
    }
    let mut text = Vec::with_capacity(statement.len() + 64);
    let mut at = 0;
    // Where the list begins that the role before stands in, and what is in it already.
    let mut listed: BTreeSet<&str> = BTreeSet::new();
    for (role, place) in &places {
        let between = statement.get(at..place.start).unwrap_or_default();
        let goes_on = !listed.is_empty() && between.iter().all(|b| b.is_ascii_whitespace() || *b == b',');
        if !goes_on {
            listed.clear();
        }
        let name = roles.get(role).unwrap_or(role);
        let fresh = listed.insert(name);
        if fresh || !goes_on {
            text.extend_from_slice(between);
            match roles.get(role) {
                Some(new) => text.extend_from_slice(identifier(new).as_bytes()),
                None => text.extend_from_slice(statement.get(place.clone()).unwrap_or_default()),
            }
        }
        at = place.end;
    }
    text.extend_from_slice(statement.get(at..).unwrap_or_default());
    Cow::Owned(text)
}

/// Cheap, for most statements name none.
fn may_name_roles(statement: &[u8]) -> bool {
    let begins =
        |word: &str| statement.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
    ["ALTER ", "GRANT ", "REVOKE ", "CREATE POLICY ", "CREATE USER MAPPING ", "SET SESSION AUTHORIZATION "]
        .into_iter()
        .any(begins)
}

/// A GRANT or REVOKE, or the one within an `ALTER DEFAULT PRIVILEGES`, without the privileges in `unknown`; `None` if no
/// privilege is left, or as it is if none of them is in it.
pub(super) fn without_privileges<'s>(statement: &'s [u8], unknown: &BTreeSet<String>) -> Option<Cow<'s, [u8]>> {
    let tokens = spanned(statement);
    let starts = |(token, _): &(Token, Range<usize>)| token.is("grant") || token.is("revoke");
    let Some(first) = tokens.iter().position(starts) else { return Some(Cow::Borrowed(statement)) };
    let ends = |(token, _): &(Token, Range<usize>)| token.is("on");
    let Some(length) = tokens[first + 1..].iter().position(ends) else { return Some(Cow::Borrowed(statement)) };
    let privileges = &tokens[first + 1..first + 1 + length];
    let strange = |(token, _): &(Token, Range<usize>)| unknown.iter().any(|privilege| token.is(privilege));
    if !privileges.iter().any(strange) {
        return Some(Cow::Borrowed(statement));
    }
    // A list of plain words: no privilege of the strange ones is of columns.
    let comma = |(token, _): &(Token, Range<usize>)| *token == Token::Symbol(b',');
    let (Some((_, from)), Some((_, to))) = (privileges.first(), privileges.last()) else {
        return Some(Cow::Borrowed(statement));
    };
    let kept: Vec<&[u8]> = split_at_commas(privileges, comma)
        .filter(|one| !one.iter().any(strange))
        .filter_map(|one| statement.get(one.first()?.1.start..one.last()?.1.end))
        .collect();
    if kept.is_empty() {
        return None;
    }
    let text = [&statement[..from.start], &kept.join(&b","[..]), &statement[to.end..]].concat();
    Some(Cow::Owned(text))
}

/// The items of a list, whose parentheses may hold commas of their own.
fn split_at_commas<T>(
    tokens: &[(Token, T)],
    comma: impl Fn(&(Token, T)) -> bool,
) -> impl Iterator<Item = &[(Token, T)]> {
    let mut depth = 0i64;
    tokens.split(move |token| {
        match token.0 {
            Token::Symbol(b'(') => depth += 1,
            Token::Symbol(b')') => depth -= 1,
            _ => {}
        }
        depth == 0 && comma(token)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{quote_identifier, statement};
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    }

    fn reworded(statement: &str) -> String {
        let roles = map(&[("a", "x"), ("odd \"role", "y"), ("b", "x"), ("c", "User")]);
        String::from_utf8(reword(statement.as_bytes(), &roles).into_owned()).unwrap()
    }

    #[test]
    fn roles_are_replaced_wherever_pg_dump_names_them_and_nothing_else_is() {
        for (old, new) in [
            ("ALTER TABLE public.a OWNER TO a;", "ALTER TABLE public.a OWNER TO x;"),
            (
                "ALTER FUNCTION public.f(a integer) OWNER TO \"odd \"\"role\";",
                "ALTER FUNCTION public.f(a integer) OWNER TO y;",
            ),
            ("ALTER LARGE OBJECT 7 OWNER TO c;", "ALTER LARGE OBJECT 7 OWNER TO \"User\";"),
            (
                "GRANT SELECT(a) ON TABLE public.\"to\" TO a WITH GRANT OPTION;",
                "GRANT SELECT(a) ON TABLE public.\"to\" TO x WITH GRANT OPTION;",
            ),
            ("REVOKE ALL ON SCHEMA a FROM a;", "REVOKE ALL ON SCHEMA a FROM x;"),
            ("REVOKE ALL ON SCHEMA a FROM PUBLIC;", "REVOKE ALL ON SCHEMA a FROM PUBLIC;"),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA a GRANT SELECT ON TABLES TO \"d\";",
                "ALTER DEFAULT PRIVILEGES FOR ROLE x IN SCHEMA a GRANT SELECT ON TABLES TO \"d\";",
            ),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a REVOKE ALL ON TABLES FROM b;",
                "ALTER DEFAULT PRIVILEGES FOR ROLE x REVOKE ALL ON TABLES FROM x;",
            ),
            (
                "CREATE POLICY a ON public.a FOR SELECT TO a, d, b USING ((a = 'a'));",
                "CREATE POLICY a ON public.a FOR SELECT TO x, d USING ((a = 'a'));",
            ),
            ("CREATE POLICY a ON public.a USING ((x to a));", "CREATE POLICY a ON public.a USING ((x to a));"),
            (
                "CREATE USER MAPPING FOR a SERVER a OPTIONS (\n    \"user\" 'a'\n);",
                "CREATE USER MAPPING FOR x SERVER a OPTIONS (\n    \"user\" 'a'\n);",
            ),
            ("SET SESSION AUTHORIZATION a;", "SET SESSION AUTHORIZATION x;"),
            ("SET SESSION AUTHORIZATION DEFAULT;", "SET SESSION AUTHORIZATION DEFAULT;"),
            ("CREATE TABLE public.a (a integer);", "CREATE TABLE public.a (a integer);"),
            (
                "ALTER TABLE ONLY public.t ADD CONSTRAINT c CHECK (a);",
                "ALTER TABLE ONLY public.t ADD CONSTRAINT c CHECK (a);",
            ),
        ] {
            assert_eq!(reworded(old), new);
        }
    }

    #[test]
    fn privileges_that_a_server_does_not_know_are_left_out() {
        let unknown = ["MAINTAIN".to_owned()].into();
        let without = |statement: &str| {
            let text = without_privileges(statement.as_bytes(), &unknown)?;
            Some(String::from_utf8(text.into_owned()).unwrap())
        };
        for (old, new) in [
            ("GRANT SELECT,MAINTAIN ON TABLE public.t TO a;", Some("GRANT SELECT ON TABLE public.t TO a;")),
            ("GRANT MAINTAIN ON TABLE public.t TO a;", None),
            (
                "GRANT SELECT(a),UPDATE(a,b) ON TABLE public.t TO a;",
                Some("GRANT SELECT(a),UPDATE(a,b) ON TABLE public.t TO a;"),
            ),
            ("GRANT SELECT ON TABLE public.maintain TO a;", Some("GRANT SELECT ON TABLE public.maintain TO a;")),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT INSERT,MAINTAIN,UPDATE ON TABLES TO b;",
                Some("ALTER DEFAULT PRIVILEGES FOR ROLE a GRANT INSERT,UPDATE ON TABLES TO b;"),
            ),
        ] {
            assert_eq!(without(old).as_deref(), new);
        }
    }

    proptest! {
        /// Replacing by fresh names and back is the identity, whatever characters names hold.
        #[test]
        fn rewording_replaces_exactly_the_roles(
            names in prop::collection::btree_set("[a-zA-Z\"' ;,ñ\n=]{1,12}", 4),
            what in 0usize..7,
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let write = |names: &[String]| {
                let q: Vec<String> = names.iter().map(|name| identifier(name)).collect();
                // What stands around them holds the old names, too.
                let t = quote_identifier("owner to grant on to from role for");
                match what {
                    0 => format!("ALTER TABLE s.{t} OWNER TO {};", q[0]),
                    1 => format!("GRANT SELECT({t}),INSERT ON TABLE s.{t} TO {} WITH GRANT OPTION;", q[0]),
                    2 => format!("REVOKE ALL ON FUNCTION s.{t}({t} integer) FROM {};", q[0]),
                    3 => format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} IN SCHEMA {t} GRANT SELECT ON TABLES TO {};", q[0], q[1]),
                    4 => format!("CREATE POLICY {t} ON s.{t} AS RESTRICTIVE FOR UPDATE TO {}, {}, {} USING ((a = 'TO x'::text));", q[0], q[1], q[2]),
                    5 => format!("CREATE USER MAPPING FOR {} SERVER {t} OPTIONS (\n    password 'it''s'\n);", q[0]),
                    _ => format!("SET SESSION AUTHORIZATION {};", q[3]),
                }
            };
            let others: Vec<String> = (0..names.len()).map(|n| format!("new {n}")).collect();
            let there: BTreeMap<String, String> = names.iter().cloned().zip(others.iter().cloned()).collect();
            let back: BTreeMap<String, String> = others.iter().cloned().zip(names.iter().cloned()).collect();
            let (old, new) = (write(&names), write(&others));
            let reworded = reword(old.as_bytes(), &there).into_owned();
            prop_assert_eq!(String::from_utf8_lossy(&reworded), new.as_str());
            let again = reword(&reworded, &back).into_owned();
            prop_assert_eq!(String::from_utf8_lossy(&again), old.as_str());
            let named = statement::roles(old.as_bytes());
            prop_assert!(!named.is_empty() && named.iter().all(|name| names.contains(name)));
        }
    }
}
