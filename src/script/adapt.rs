//! What becomes of each statement of a dump on its way into a target: kept, left out, or put in other words.

use super::names::unquoted;
use super::reword::{reword, without_privileges};
use super::statement::{is_owner_change, role_places, setting};
use super::{Digest, EntryPattern};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Statements that a restore leaves out or words otherwise.
#[derive(Debug, Clone, Default)]
pub struct Omit {
    /// Changes of owner.
    pub owners: bool,
    /// Grants, revokes and default privileges.
    pub privileges: bool,
    /// Session settings that the target does not know.
    pub settings: BTreeSet<String>,
    /// What `--create` and `--clean` add to a dump: statements about the database itself, connections to it, drops. They
    /// are cut out before a dump is stored ([`super::Scan::cut`]), for they are about another database than that of a restore.
    pub elsewhere: bool,
    /// Other roles for those of the dump, by the dump's.
    pub roles: BTreeMap<String, String>,
    /// The tablespaces that are used where the dump names them; for others the database's default. `None` for all as they are.
    pub tablespaces: Option<BTreeSet<String>>,
    /// Privileges that the target does not know, in capitals.
    pub unknown_privileges: BTreeSet<String>,
    /// Whole entries.
    pub entries: Vec<EntryPattern>,
}

/// What becomes of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It stays as it is.
    Keep,
    /// It is left out.
    LeaveOut(Adaptation),
    /// These words take its place.
    Reword(Vec<u8>, Vec<Adaptation>),
}

/// Why a statement is left out or reworded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adaptation {
    /// The target does not know this setting.
    Setting(String),
    /// The target lacks this tablespace, or none is wanted: the database's default is used.
    Tablespace(String),
    /// Changes of owner are not wanted.
    Owners,
    /// Grants are not wanted.
    Privileges,
    /// The target does not know this privilege.
    Privilege(String),
    /// Another role takes the place of one.
    Role(String, String),
    /// An entry that is not wanted, by kind and name.
    Entry(String, String),
}

impl Adaptation {
    /// What it is, told of `count` statements.
    pub fn describe(&self, count: u64) -> String {
        let statements = if count == 1 { "1 statement".to_owned() } else { format!("{count} statements") };
        match self {
            // pg_dump writes it once.
            Self::Setting(name) => format!("left out, for the target does not know it: SET {name}"),
            Self::Tablespace(name) => format!("tablespace {name}: the database's default is used instead"),
            Self::Owners => format!("owners left out: {statements}"),
            Self::Privileges => format!("privileges left out: {statements}"),
            Self::Privilege(name) => {
                format!("left out, for the target does not know it: the privilege {name} in {statements}")
            }
            Self::Role(old, new) => format!("role {old} is {new} here: {statements}"),
            Self::Entry(kind, name) => format!("left out: {kind} {name}"),
        }
    }
}

/// What becomes of an entry whose statements are left out or reworded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapted {
    /// Nothing of it is left.
    Gone,
    /// These are its digests afterwards: [`super::Entry::digest`] and [`super::Entry::unordered_digest`].
    Otherwise(Digest, Option<Digest>),
}

impl Omit {
    /// Whether any statement may be edited: a backup's scan is spared the question.
    pub fn edits(&self) -> bool {
        self.owners
            || self.privileges
            || !self.settings.is_empty()
            || !self.roles.is_empty()
            || self.tablespaces.is_some()
            || !self.unknown_privileges.is_empty()
            || !self.entries.is_empty()
    }

    /// What becomes of `statement`, which stands in the entry of `kind` and `name`, both empty at the script's head.
    pub fn edit(&self, kind: &str, name: &str, statement: &[u8]) -> Edit {
        // Settings stand before the header of the entry that needs them: they are never part of the one in which they stand.
        if let Some((setting, value)) = setting(statement) {
            return self.edit_setting(setting, &value);
        }
        if self.entries.iter().any(|pattern| pattern.matches(kind, name)) {
            return Edit::LeaveOut(Adaptation::Entry(kind.to_owned(), name.to_owned()));
        }
        if self.owners && is_owner_change(statement) {
            return Edit::LeaveOut(Adaptation::Owners);
        }
        let grants = matches!(kind, "ACL" | "DEFAULT ACL");
        if self.privileges && grants {
            return Edit::LeaveOut(Adaptation::Privileges);
        }
        let mut why = Vec::new();
        let mut text = Cow::Borrowed(statement);
        if grants && !self.unknown_privileges.is_empty() {
            let all = self.unknown_privileges.iter().cloned().collect::<Vec<_>>().join(", ");
            match without_privileges(statement, &self.unknown_privileges) {
                None => return Edit::LeaveOut(Adaptation::Privilege(all)),
                Some(Cow::Borrowed(_)) => {}
                Some(Cow::Owned(other)) => {
                    text = Cow::Owned(other);
                    why.push(Adaptation::Privilege(all));
                }
            }
        }
        if let Cow::Owned(other) = reword(&text, &self.roles) {
            let mut named: Vec<String> = role_places(&text).into_iter().map(|(role, _)| role).collect();
            named.sort();
            named.dedup();
            let mapped =
                named.into_iter().filter_map(|old| Some(Adaptation::Role(old.clone(), self.roles.get(&old)?.clone())));
            why.extend(mapped);
            text = Cow::Owned(other);
        }
        match text {
            Cow::Owned(text) => Edit::Reword(text, why),
            Cow::Borrowed(_) => Edit::Keep,
        }
    }

    fn edit_setting(&self, setting: String, value: &str) -> Edit {
        if self.settings.contains(&setting) {
            return Edit::LeaveOut(Adaptation::Setting(setting));
        }
        let Some(there) = self.tablespaces.as_ref().filter(|_| setting == "default_tablespace" && value != "''") else {
            return Edit::Keep;
        };
        let tablespace = unquoted(value);
        if there.contains(&tablespace) {
            return Edit::Keep;
        }
        Edit::Reword(b"SET default_tablespace = '';".to_vec(), vec![Adaptation::Tablespace(tablespace)])
    }
}

impl fmt::Display for Adaptation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ColumnOrder, Entry, Scan, Scanner};
    use super::*;

    fn scan(script: &str, omit: Omit) -> Scan {
        let mut scanner = Scanner::new(ColumnOrder::new(), omit);
        // In small pieces: nothing may depend on where they end.
        script.as_bytes().chunks(7).for_each(|piece| scanner.feed(piece));
        scanner.finish()
    }

    fn header(name: &str, kind: &str, owner: &str) -> String {
        format!("--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: {owner}\n--\n\n")
    }

    fn dump() -> String {
        [
            "--\n-- PostgreSQL database dump\n--\n\nSET transaction_timeout = 0;\nSET client_encoding = 'UTF8';\n\n".to_owned(),
            header("t", "TABLE", "a"),
            "CREATE TABLE public.t (a integer);\n\n\nALTER TABLE public.t OWNER TO a;\n\nSET default_tablespace = \"Fast 1\";\n\n"
                .to_owned(),
            header("i", "INDEX", "a"),
            "CREATE INDEX i ON public.t USING btree (a);\n\n\nSET default_tablespace = slow;\n\n".to_owned(),
            header("j", "INDEX", "a"),
            "CREATE INDEX j ON public.t USING btree (a);\n\n\nSET default_tablespace = '';\n\n".to_owned(),
            header("p", "POLICY", "a"),
            "CREATE POLICY p ON public.t TO b, a USING (true);\n\n\n".to_owned(),
            header("EXTENSION citext", "COMMENT", "-"),
            "COMMENT ON EXTENSION citext IS 'x; ALTER TABLE public.t OWNER TO a;';\n\n\n".to_owned(),
            header("e", "EVENT TRIGGER", "a"),
            "CREATE EVENT TRIGGER e ON sql_drop\n   EXECUTE FUNCTION public.f();\n\n\nALTER EVENT TRIGGER e OWNER TO a;\n\n".to_owned(),
            header("TABLE t", "ACL", "a"),
            "GRANT SELECT,MAINTAIN ON TABLE public.t TO b;\nSET SESSION AUTHORIZATION b;\nGRANT SELECT ON TABLE public.t TO c;\nRESET \
             SESSION AUTHORIZATION;\n\n\n"
                .to_owned(),
            "--\n-- PostgreSQL database dump complete\n--\n\n".to_owned(),
        ]
        .concat()
    }

    /// The script that a restore loads.
    fn edited(script: &str, scan: &Scan) -> String {
        let mut edits: Vec<_> = scan.replaced.iter().map(|(range, text)| (range.clone(), text.as_slice())).collect();
        edits.extend(scan.omitted.iter().map(|range| (range.clone(), &b""[..])));
        edits.sort_by_key(|(range, _)| range.start);
        let (mut text, mut at) = (String::new(), 0);
        for (range, instead) in edits {
            text.push_str(&script[at..range.start as usize]);
            text.push_str(std::str::from_utf8(instead).unwrap());
            at = range.end as usize;
        }
        text + &script[at..]
    }

    fn omits() -> Vec<Omit> {
        let roles: BTreeMap<String, String> =
            [("a", "x"), ("b", "the \"other\"")].map(|(old, new)| (old.to_owned(), new.to_owned())).into();
        let settings: BTreeSet<String> = ["transaction_timeout".to_owned()].into();
        let tablespaces = Some(["slow".to_owned()].into());
        let unknown_privileges: BTreeSet<String> = ["MAINTAIN".to_owned()].into();
        let entries: Vec<EntryPattern> =
            ["event-trigger", "comment:EXTENSION citext"].map(|pattern| pattern.parse().unwrap()).into();
        let all = Omit {
            roles: roles.clone(),
            settings: settings.clone(),
            tablespaces: tablespaces.clone(),
            ..Omit::default()
        };
        vec![
            Omit::default(),
            Omit { roles, ..Omit::default() },
            Omit { tablespaces: tablespaces.clone(), settings, ..Omit::default() },
            Omit { tablespaces: Some(BTreeSet::new()), ..Omit::default() },
            Omit { unknown_privileges: unknown_privileges.clone(), ..Omit::default() },
            Omit { entries: entries.clone(), owners: true, ..Omit::default() },
            Omit { privileges: true, ..Omit::default() },
            Omit { unknown_privileges, entries, ..all },
        ]
    }

    /// What the proof expects is what a scan of the edited script finds.
    #[test]
    fn the_digests_of_what_is_adapted_are_those_of_the_script_that_is_loaded() {
        let script = dump();
        for omit in omits() {
            let before = scan(&script, omit.clone());
            assert!(before.violations.is_empty() && before.complete, "{:?}", before.violations);
            let text = edited(&script, &before);
            let after = scan(&text, Omit::default());
            let expected: Vec<(String, Digest, Option<Digest>)> = before
                .entries
                .iter()
                .filter_map(|entry| {
                    let Entry { name, digest, unordered_digest, start, .. } = entry;
                    match before.adapted.get(&start) {
                        None => Some((name, digest, unordered_digest)),
                        Some(Adapted::Gone) => None,
                        Some(Adapted::Otherwise(digest, unordered)) => Some((name, *digest, *unordered)),
                    }
                })
                .collect();
            // What is left out whole leaves its header.
            let gone = |entry: &Entry| {
                !before
                    .entries
                    .iter()
                    .any(|old| old.name == entry.name && before.adapted.get(&old.start) == Some(&Adapted::Gone))
            };
            let found: Vec<_> = after
                .entries
                .iter()
                .filter(gone)
                .map(|entry| (entry.name, entry.digest, entry.unordered_digest))
                .collect();
            assert_eq!(found, expected, "{omit:?}\n{text}");
            if omit.roles.contains_key("a") {
                assert!(
                    !text.contains("OWNER TO a;\n") && text.contains("TO \"the \"\"other\"\"\", x USING"),
                    "{text}"
                );
                assert!(after.roles.contains("the \"other\"") && after.grantors.contains("the \"other\""));
            }
            if let Some(there) = &omit.tablespaces {
                assert!(!text.contains("Fast 1") && text.contains("slow") == there.contains("slow"), "{text}");
            }
            assert_eq!(text.contains("MAINTAIN"), omit.unknown_privileges.is_empty() && !omit.privileges);
            assert_eq!(text.contains("CREATE EVENT TRIGGER"), omit.entries.is_empty());
            assert_eq!(text.contains("COMMENT ON EXTENSION"), omit.entries.is_empty());
        }
    }

    #[test]
    fn adaptations_are_counted_and_told() {
        let scan = scan(&dump(), omits().pop().unwrap());
        let told: Vec<String> = scan.adaptations.iter().map(|(why, count)| why.describe(*count)).collect();
        assert_eq!(
            told,
            [
                "left out, for the target does not know it: SET transaction_timeout",
                "tablespace Fast 1: the database's default is used instead",
                "left out, for the target does not know it: the privilege MAINTAIN in 1 statement",
                "role a is x here: 2 statements",
                "role b is the \"other\" here: 3 statements",
                "left out: COMMENT EXTENSION citext",
                "left out: EVENT TRIGGER e",
            ]
        );
    }
}
