//! Roles as `pg_dumpall --globals-only` describes them.

use super::lexer::{Lexer, Step};
use super::statement::{Token, tokens};
use super::{literal, quote_identifier, text};
use std::collections::BTreeMap;

/// What a dump of globals says about roles. Passwords are not read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GlobalRoles {
    /// Their attributes, by name.
    pub roles: BTreeMap<String, RoleAttributes>,
    /// Who is a member of which.
    pub memberships: Vec<Membership>,
}

/// The attributes of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleAttributes {
    /// Those that differ from a new role's: `LOGIN`, `CREATEDB`, `NOINHERIT`, ….
    pub words: Vec<String>,
    /// `CONNECTION LIMIT`.
    pub connection_limit: Option<u32>,
    /// `VALID UNTIL`, as it stands there.
    pub valid_until: Option<String>,
}

/// A role in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The role that is granted.
    pub role: String,
    /// The role that it is granted to.
    pub member: String,
    /// What was said behind WITH: `ADMIN`, `INHERIT`, `SET`, each with whether it is on.
    pub options: Vec<(String, bool)>,
}

/// What differs from a new role's attributes.
const WORDS: [&str; 7] = ["SUPERUSER", "NOINHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS"];

impl GlobalRoles {
    /// Reads a dump of globals. What is not about roles is passed over.
    pub fn parse(globals: &[u8]) -> Self {
        let mut found = Self::default();
        let mut lexer = Lexer::new();
        let mut rest = globals;
        while !rest.is_empty() {
            let (read, step) = lexer.advance(rest);
            rest = rest.get(read.max(1)..).unwrap_or_default();
            if step == Step::Statement {
                found.read(&tokens(lexer.text()));
            }
        }
        found
    }

    fn read(&mut self, tokens: &[Token]) {
        match tokens {
            [verb, what, role, rest @ ..] if what.is("role") && (verb.is("create") || verb.is("alter")) => {
                let (Some(name), with) = (role.identifier(), rest.first().is_some_and(|word| word.is("with"))) else {
                    return;
                };
                let attributes = self.roles.entry(name).or_default();
                if with {
                    attributes.read(rest);
                }
            }
            [grant, role, to, member, rest @ ..] if grant.is("grant") && to.is("to") => {
                let (Some(role), Some(member)) = (role.identifier(), member.identifier()) else { return };
                self.memberships.push(Membership { role, member, options: options(rest) });
            }
            _ => {}
        }
    }
}

/// `WITH ADMIN OPTION, INHERIT FALSE GRANTED BY x`.
fn options(tokens: &[Token]) -> Vec<(String, bool)> {
    let with = tokens.first().is_some_and(|word| word.is("with"));
    let before = tokens.iter().take_while(|word| !word.is("granted")).skip(1).collect::<Vec<_>>();
    let pairs = before.windows(2).filter(|_| with);
    let known = |pair: &[&Token]| {
        let name =
            ["ADMIN", "INHERIT", "SET"].into_iter().find(|name| pair.first().is_some_and(|word| word.is(name)))?;
        Some((name.to_owned(), pair.get(1).is_some_and(|word| word.is("option") || word.is("true"))))
    };
    pairs.filter_map(known).collect()
}

impl RoleAttributes {
    fn read(&mut self, tokens: &[Token]) {
        let mut tokens = tokens.iter();
        while let Some(token) = tokens.next() {
            let known = WORDS.iter().find(|word| token.is(word));
            self.words.extend(known.map(|word| (*word).to_owned()));
            if token.is("limit")
                && let Some(Token::Word(number)) = tokens.clone().next()
            {
                self.connection_limit = text(number).parse().ok();
            } else if token.is("until")
                && let Some(Token::String(until)) = tokens.clone().next()
            {
                self.valid_until = Some(text(until));
            }
        }
    }

    /// The statement that makes the role `name` so, without `unwanted` words and any password.
    pub fn create_statement(&self, name: &str, unwanted: &[&str]) -> String {
        let mut sql = format!("CREATE ROLE {}", quote_identifier(name));
        for word in self.words.iter().filter(|word| !unwanted.contains(&word.as_str())) {
            sql.push(' ');
            sql.push_str(word);
        }
        if let Some(limit) = self.connection_limit {
            sql.push_str(&format!(" CONNECTION LIMIT {limit}"));
        }
        if let Some(until) = &self.valid_until {
            sql.push_str(&format!(" VALID UNTIL {}", literal(until)));
        }
        sql + ";"
    }
}

impl Membership {
    /// The statement that grants it, on a server of `version_num`. Before 16 there was only the option of an administrator.
    pub fn grant_statement(&self, version_num: u32) -> String {
        let option = |(name, on): &(String, bool)| match (name.as_str(), on) {
            ("ADMIN", true) => Some("ADMIN OPTION".to_owned()),
            ("ADMIN", false) => None,
            _ if version_num < 160_000 => None,
            (name, on) => Some(format!("{name} {}", if *on { "TRUE" } else { "FALSE" })),
        };
        let options: Vec<String> = self.options.iter().filter_map(option).collect();
        let with = if options.is_empty() { String::new() } else { format!(" WITH {}", options.join(", ")) };
        format!("GRANT {} TO {}{with};", quote_identifier(&self.role), quote_identifier(&self.member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_without_their_passwords() {
        let globals = b"--\n\\restrict abc\nSET default_transaction_read_only = off;\nCREATE ROLE ana;\nALTER ROLE ana WITH NOSUPERUSER \
            INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5 PASSWORD 'SCRAM-SHA-256$LOGIN;' \
            VALID UNTIL '2030-01-01 00:00:00+00';\nCREATE ROLE \"a b\";\nALTER ROLE \"a b\" WITH SUPERUSER NOINHERIT NOLOGIN;\n\
            ALTER ROLE ana SET search_path TO 'login', 'superuser';\nCREATE TABLESPACE fast OWNER ana LOCATION '/x';\n\
            GRANT ana TO \"a b\" WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;\nGRANT CREATE ON TABLESPACE fast TO ana;\n\\unrestrict abc\n";
        let found = GlobalRoles::parse(globals);
        let names: Vec<&str> = found.roles.keys().map(String::as_str).collect();
        assert_eq!(names, ["a b", "ana"]);
        assert_eq!(
            found.roles["ana"].create_statement("other", &[]),
            "CREATE ROLE \"other\" CREATEDB LOGIN CONNECTION LIMIT 5 VALID UNTIL '2030-01-01 00:00:00+00';"
        );
        assert_eq!(found.roles["a b"].create_statement("a b", &["SUPERUSER"]), "CREATE ROLE \"a b\" NOINHERIT;");
        let [membership] = found.memberships.as_slice() else { panic!("{found:?}") };
        assert_eq!(membership.grant_statement(150_000), "GRANT \"ana\" TO \"a b\" WITH ADMIN OPTION;");
        assert_eq!(membership.grant_statement(160_000), "GRANT \"ana\" TO \"a b\" WITH ADMIN OPTION, INHERIT FALSE;");
    }
}
