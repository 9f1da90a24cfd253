//! Which entries of a dump are meant, in words of the command line: `event-trigger`, `extension:file_fdw`.

use std::fmt;
use std::str::FromStr;

/// The kinds that may be left out: those that hold no rows, and that tables can do without.
const KINDS: [&str; 33] = [
    "ACCESS METHOD",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "COMMENT",
    "CONVERSION",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "RULE",
    "SECURITY LABEL",
    "SERVER",
    "STATISTICS",
    "SUBSCRIPTION",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "USER MAPPING",
];

/// Entries of one kind, all of them or one by name, with what is said about them: comments, grants, security labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPattern {
    kind: String,
    name: Option<String>,
}

impl EntryPattern {
    /// Whether the entry of `kind` and `name` is meant.
    pub fn matches(&self, kind: &str, name: &str) -> bool {
        let is = |found: &str| self.name.as_deref().is_none_or(|wanted| wanted == found);
        if kind == self.kind {
            return is(name);
        }
        // What belongs to an entry bears its name behind its kind; grants of servers call them foreign ones.
        let about = |name: &str| {
            let name = name.strip_prefix("FOREIGN ").filter(|_| self.kind == "SERVER").unwrap_or(name);
            name.strip_prefix(self.kind.as_str()).and_then(|rest| rest.strip_prefix(' ')).is_some_and(is)
        };
        match kind {
            "COMMENT" | "ACL" | "SECURITY LABEL" => about(name),
            "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" if self.kind == "PUBLICATION" => {
                let of = |wanted: &str| name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(' '));
                self.name.as_deref().is_none_or(of)
            }
            "USER MAPPING" if self.kind == "SERVER" => {
                self.name.as_deref().is_none_or(|wanted| name.ends_with(&format!(" SERVER {wanted}")))
            }
            _ => false,
        }
    }
}

impl FromStr for EntryPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let kind = kind.trim().replace(['-', '_'], " ").to_ascii_uppercase();
        if !KINDS.contains(&kind.as_str()) {
            let known: Vec<String> = KINDS.iter().map(|kind| kind.to_ascii_lowercase().replace(' ', "-")).collect();
            return Err(format!("{:?} is none of {}", text, known.join(", ")));
        }
        Ok(Self { kind, name: name.map(str::to_owned) })
    }
}

impl fmt::Display for EntryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.to_ascii_lowercase().replace(' ', "-"))?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_entries_and_what_is_said_about_them() {
        let matches =
            |pattern: &str, kind: &str, name: &str| pattern.parse::<EntryPattern>().unwrap().matches(kind, name);
        assert!(matches("event-trigger", "EVENT TRIGGER", "any"));
        assert!(matches("event trigger", "COMMENT", "EVENT TRIGGER any"));
        assert!(!matches("event-trigger", "TRIGGER", "t any"));
        assert!(matches("extension:file_fdw", "COMMENT", "EXTENSION file_fdw"));
        assert!(!matches("extension:file_fdw", "EXTENSION", "file"));
        assert!(matches("comment:EXTENSION citext", "COMMENT", "EXTENSION citext"));
        assert!(!matches("comment:EXTENSION citext", "COMMENT", "TABLE t"));
        assert!(matches("server:s", "ACL", "FOREIGN SERVER s"));
        assert!(matches("server:s", "USER MAPPING", "USER MAPPING ana SERVER s"));
        assert!(
            matches("publication:p", "PUBLICATION TABLE", "p t")
                && !matches("publication:p", "PUBLICATION TABLE", "pq t")
        );
        for wrong in ["", "table", "table-data", "even-trigger", "blob"] {
            assert!(wrong.parse::<EntryPattern>().is_err(), "{wrong}");
        }
        assert_eq!("event trigger:x y".parse::<EntryPattern>().unwrap().to_string(), "event-trigger:x y");
    }
}
