//! Patterns for names of objects, as people type them: `orders`, `shop.orders`, `shop.*`, `*_2025`.

use std::fmt;

/// A pattern for names: `*` stands for any characters, also none, and `?` for one. Everything else, capital letters too,
/// stands for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern that `text` is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it means the object `name` of `schema`: by its name alone, or by `schema.name`.
    pub fn matches(&self, schema: Option<&str>, name: &str) -> bool {
        let whole = schema.map(|schema| format!("{schema}.{name}"));
        like(&self.0, name) || whole.is_some_and(|whole| like(&self.0, &whole))
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `pattern` matches all of `text`. Of several stars only the last is ever tried again, so that no pattern takes
/// longer than the product of both lengths.
fn like(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut star = None;
    loop {
        let rest = (pattern.clone(), text.clone());
        match (pattern.next(), text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                text = rest.1;
                star = Some((pattern.clone(), text.clone()));
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => continue,
            _ => {}
        }
        // The star before takes one character more.
        let Some((after, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        (pattern, text) = (after.clone(), from.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_means_a_name_with_or_without_its_schema() {
        let matches = |pattern: &str, name: &str| NamePattern::new(pattern).matches(Some("shop"), name);
        for pattern in ["orders", "shop.orders", "shop.*", "*", "o*s", "*ders", "?rders", "sh*.ord*", "**", "*.*"] {
            assert!(matches(pattern, "orders"), "{pattern}");
        }
        for pattern in ["order", "rders", "Orders", "shop.", "shop", "orders?", "crm.orders", "", "o*x"] {
            assert!(!matches(pattern, "orders"), "{pattern}");
        }
        assert!(NamePattern::new("a.b").matches(None, "a.b"));
        assert!(matches("*[a-z]", "odd[a-z]"), "brackets stand for themselves");
    }

    proptest! {
        #[test]
        fn it_agrees_with_trying_everything(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn slowly(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, None) => true,
                    (Some((b'*', rest)), Some((_, after))) => slowly(rest, text) || slowly(pattern, after),
                    (Some((b'*', rest)), None) => slowly(rest, text),
                    (Some((a, rest)), Some((b, after))) => (*a == b'?' || a == b) && slowly(rest, after),
                    _ => false,
                }
            }
            prop_assert_eq!(like(&pattern, &text), slowly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
