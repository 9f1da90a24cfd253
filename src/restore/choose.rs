//! Patterns of table names, like psql's: `*` and `?` stand for any characters, letters without quotes are lower case, and
//! what is quoted is exact. Only `*` and `?` are special, for names with dots or brackets are commoner than patterns of them.

use crate::error::{Error, ErrorKind, Result};
use crate::script::Relation;

/// A pattern of table names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// As it was given.
    text: String,
    schema: Option<Vec<Part>>,
    name: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Char(char),
    One,
    Any,
}

impl Pattern {
    /// Reads `schema.name` or `name`, which means any schema.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::Usage, format!("{text:?} is no pattern of table names: {why}"))
                .hint("as in: orders, sales.orders, 'sales.*', or '\"Odd name\"' for a name with capitals or signs")
        };
        let mut parts: Vec<Vec<Part>> = vec![Vec::new()];
        let mut quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            let Some(current) = parts.last_mut() else { break };
            match char {
                '"' if quoted && chars.next_if_eq(&'"').is_some() => current.push(Part::Char('"')),
                '"' => quoted = !quoted,
                _ if quoted => current.push(Part::Char(char)),
                '*' => current.push(Part::Any),
                '?' => current.push(Part::One),
                '.' => parts.push(Vec::new()),
                _ => current.extend(char.to_lowercase().map(Part::Char)),
            }
        }
        if quoted {
            return Err(wrong("a quote is not closed"));
        }
        let (schema, name) = match <[Vec<Part>; 2]>::try_from(parts) {
            Ok([schema, name]) => (Some(schema), name),
            Err(mut parts) if parts.len() == 1 => (None, parts.pop().unwrap_or_default()),
            Err(_) => return Err(wrong("it has more than one dot")),
        };
        if name.is_empty() || schema.as_ref().is_some_and(Vec::is_empty) {
            return Err(wrong("a name is empty"));
        }
        Ok(Self { text: text.to_owned(), schema, name })
    }

    /// Whether a table is meant.
    pub fn matches(&self, (schema, name): &Relation) -> bool {
        self.schema.as_ref().is_none_or(|parts| fits(parts, schema)) && fits(&self.name, name)
    }

    /// Whether it means one name, and does not say of which schema.
    fn is_one_name_anywhere(&self) -> bool {
        self.schema.is_none() && self.name.iter().all(|part| matches!(part, Part::Char(_)))
    }

    /// Those of `tables` that are meant. None is an error, as is one name in several schemas; `what` says what is looked
    /// for.
    pub fn choose<'t>(
        &self,
        tables: impl Iterator<Item = &'t Relation> + Clone,
        what: &str,
    ) -> Result<Vec<&'t Relation>> {
        let found: Vec<&Relation> = tables.clone().filter(|table| self.matches(table)).collect();
        let named =
            |tables: &[&Relation]| tables.iter().take(5).map(|table| shown(table)).collect::<Vec<_>>().join(", ");
        if found.is_empty() {
            let other = |text: &str| text.chars().filter(|char| *char != '"').collect::<String>().to_lowercase();
            let wanted = other(self.text.rsplit('.').next().unwrap_or_default());
            let near: Vec<&Relation> = tables.filter(|(_, name)| name.to_lowercase() == wanted).collect();
            let hint = if near.is_empty() {
                "names are exact in quotes, lower case without; `*` stands for any characters".to_owned()
            } else {
                format!("there is {}", named(&near))
            };
            return Err(Error::new(ErrorKind::NotFound, format!("the backup holds no {what} {}", self.text)).hint(hint));
        }
        if found.len() > 1 && self.is_one_name_anywhere() {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{} is in several schemas: {}", self.text, named(&found)),
            )
            .hint("say which one, as in: --table schema.name"));
        }
        Ok(found)
    }
}

fn fits(parts: &[Part], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    // Which beginnings of the name fit the parts so far.
    let mut fits = vec![false; name.len() + 1];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for part in parts {
        let mut next = vec![false; fits.len()];
        let mut before = false;
        for (at, place) in next.iter_mut().enumerate() {
            let here = fits.get(at).copied().unwrap_or_default();
            let last = at.checked_sub(1);
            let was = last.and_then(|last| fits.get(last)).copied().unwrap_or_default();
            *place = match part {
                Part::Any => before || here,
                Part::One => was,
                Part::Char(char) => was && last.and_then(|last| name.get(last)) == Some(char),
            };
            before = *place;
        }
        fits = next;
    }
    fits.last().copied().unwrap_or_default()
}

/// A table's name for people, in a form that a pattern can be.
pub fn shown((schema, name): &Relation) -> String {
    let part = |text: &str| {
        let plain = |char: char| char.is_lowercase() || char.is_ascii_digit() || char == '_';
        if !text.is_empty() && text.chars().all(plain) {
            text.to_owned()
        } else {
            crate::script::quote_identifier(text)
        }
    };
    format!("{}.{}", part(schema), part(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(schema: &str, name: &str) -> Relation {
        (schema.to_owned(), name.to_owned())
    }

    #[test]
    fn patterns_mean_what_they_mean_to_psql() {
        let matches =
            |pattern: &str, schema: &str, name: &str| Pattern::parse(pattern).unwrap().matches(&pair(schema, name));
        assert!(matches("orders", "any", "orders") && matches("ORDERS", "x", "orders"));
        assert!(!matches("orders", "x", "Orders") && matches("\"Orders\"", "x", "Orders"));
        assert!(matches("sales.*", "sales", "a") && !matches("sales.*", "sale", "a"));
        assert!(matches("or?er*", "x", "orders") && matches("*", "x", "") && !matches("or?er", "x", "orders"));
        assert!(matches("\"a.b\".\"c*\"", "a.b", "c*") && !matches("\"a.b\".\"c*\"", "a.b", "cd"));
        assert!(matches("\"say \"\"hi\"\"\"", "x", "say \"hi\"") && matches("a\"B*\"c*", "x", "aB*cd"));
        for wrong in ["", ".", "a.", ".b", "a.b.c", "\"a"] {
            assert_eq!(Pattern::parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn one_name_in_two_schemas_and_none_at_all_are_told() {
        let tables = [pair("a", "t"), pair("b", "t"), pair("b", "Log")];
        let choose = |pattern: &str| Pattern::parse(pattern).unwrap().choose(tables.iter(), "table");
        assert!(choose("t").unwrap_err().one_line().contains("a.t, b.t"));
        assert_eq!(
            (choose("t*").unwrap().len(), choose("b.t").unwrap().len(), choose("*.t").unwrap().len()),
            (2, 1, 2)
        );
        assert_eq!(choose("log").unwrap_err().hint_text(), Some("there is b.\"Log\""));
        assert!(choose("nothing").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_finds_it(schema in "[ -~é]{1,8}", name in "[ -~é]{1,8}") {
            let table = (schema, name);
            prop_assert!(Pattern::parse(&shown(&table)).unwrap().matches(&table));
        }
    }
}
