//! Walks the tree that the TOML parser made and collects every problem with its place.
//!
//! A [`Section`] remembers which keys were asked for: what nobody asked for is unknown, so the list of known keys cannot
//! differ from the code that reads them. Messages repeat keys and harmless values only, never what may be a secret.

use crate::error::{Error, ErrorKind};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// The problems found so far.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, at: &Range<usize>, message: impl Into<String>) {
        self.found.push((at.start, message.into()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems as one error, in the order of the file; `name` is the file's.
    pub(super) fn into_error(mut self, name: &str) -> Error {
        self.found.sort();
        self.found.dedup();
        let lines: Vec<String> = self
            .found
            .iter()
            .map(|(offset, message)| {
                let (line, column) = position(self.text, *offset);
                format!("line {line}, column {column}: {message}")
            })
            .collect();
        let message = match lines.as_slice() {
            [line] => format!("{name}, {line}"),
            lines => format!("{} problems in {name}:\n  {}", lines.len(), lines.join("\n  ")),
        };
        Error::new(ErrorKind::Config, message).hint("correct the file; nothing was done")
    }
}

/// Line and column of the byte `offset`, both from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The nearest of `known` to a mistyped `word`, as the end of a message.
pub(super) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let near = known
        .into_iter()
        // Swapped letters near the start ("evn") count as unlike for Jaro and as one step for Damerau.
        .map(|key| (strsim::jaro_winkler(word, key).max(strsim::normalized_damerau_levenshtein(word, key) + 0.1), key))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    near.map(|(_, key)| format!("; did you mean {key:?}?")).unwrap_or_default()
}

/// A table of the file, being read.
pub(super) struct Section<'a> {
    /// How messages call it, `[job.shop]`.
    pub(super) name: String,
    /// Where it is.
    pub(super) at: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(name: impl Into<String>, at: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self { name: name.into(), at, table, known: Vec::new() }
    }

    /// The table that `value` must be.
    pub(super) fn of(name: impl Into<String>, value: &'a Value<'a>, problems: &mut Problems<'_>) -> Option<Self> {
        let name = name.into();
        let Some(table) = value.get_ref().as_table() else {
            problems.add(&value.span(), format!("{name} must be a table, not {}", kind(value)));
            return None;
        };
        Some(Self::new(name, value.span(), table))
    }

    /// The value of an optional key.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The value of a key that must be there.
    pub(super) fn require(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<&'a Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            problems.add(&self.at, format!("{} lacks {key:?}", self.name));
        }
        value
    }

    /// The value of an optional key that must be a string.
    pub(super) fn string(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<&'a str> {
        self.get(key).and_then(|value| string(key, value, problems))
    }

    /// The value of an optional key that must be a string which `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let text = string(key, value, problems)?;
        parse(text).map_err(|why| problems.add(&value.span(), format!("{key:?}: {why}"))).ok()
    }

    /// The value of an optional key that must be an integer in `range`.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u32>,
        problems: &mut Problems<'_>,
    ) -> Option<u32> {
        let value = self.get(key)?;
        let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let (from, to) = (range.start(), range.end());
            let wanted = if *to == u32::MAX { format!("from {from}") } else { format!("from {from} to {to}") };
            problems.add(&value.span(), format!("{key:?} must be a whole number {wanted}"));
        }
        number
    }

    /// The value of an optional key that must be true or false.
    pub(super) fn boolean(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.get(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            problems.add(&value.span(), format!("{key:?} must be true or false, not {}", kind(value)));
        }
        found
    }

    /// The value of an optional key that must be an array of strings.
    pub(super) fn strings(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<(String, Range<usize>)>> {
        self.get(key).and_then(|value| strings(key, value, problems))
    }

    /// The keys and values, for tables whose keys are names that the user gives.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Value<'a>)> + use<'a> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for (key, at, _) in self.entries() {
            if !self.known.contains(&key) {
                let near = did_you_mean(key, self.known.iter().copied());
                problems.add(&at, format!("unknown key {key:?} in {}{near}", self.name));
            }
        }
    }
}

/// The string that `value` must be.
pub(super) fn string<'a>(key: &str, value: &'a Value<'a>, problems: &mut Problems<'_>) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        problems.add(&value.span(), format!("{key:?} must be a string, not {}", kind(value)));
    }
    text.filter(|text| {
        let usable = !text.is_empty() && !text.contains('\0');
        if !usable {
            problems.add(&value.span(), format!("{key:?} must not be empty, nor hold a NUL"));
        }
        usable
    })
}

/// The strings of the array that `value` must be; none of them empty.
pub(super) fn strings(
    key: &str,
    value: &Value<'_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<(String, Range<usize>)>> {
    let Some(array) = value.get_ref().as_array() else {
        problems.add(&value.span(), format!("{key:?} must be an array of strings, not {}", kind(value)));
        return None;
    };
    let mut all = Vec::new();
    for item in array {
        all.push((string(key, item, problems)?.to_owned(), item.span()));
    }
    Some(all)
}

/// The type of a value with its article.
pub(super) fn kind(value: &Value<'_>) -> String {
    let kind = value.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("a\nñb = 1", 4), (2, 2));
        assert_eq!(position("", 5), (1, 1));
    }

    proptest! {
        #[test]
        fn any_offset_has_a_position(text in "\\PC*(\n\\PC*)*", offset in 0usize..300) {
            let (line, column) = position(&text, offset);
            prop_assert!(line >= 1 && column >= 1);
            prop_assert!(line <= text.matches('\n').count() + 1);
        }
    }
}
