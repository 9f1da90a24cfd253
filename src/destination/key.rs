//! Keys: relative paths whose every segment is legal on Windows, S3 and Drive, and cannot climb out of the root.

use crate::error::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// What stays as it is in a segment besides letters and digits: `.`, `_` and `-`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// The segment for the empty text. No other text gives it: a `%` is followed by two digits, or by `-` where one was cut.
const EMPTY: &str = "%empty";

/// The longest segment made from a text, in bytes, before what Windows' rules add.
const LONGEST: usize = 200;

/// How many digits of its text's SHA-256 end a segment that was cut.
const DIGEST_DIGITS: usize = 32;

/// Names that Windows reserves whatever their extension.
const RESERVED: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// A slash-separated path below a destination's root. Its segments hold only `[A-Za-z0-9._%-]`, are never empty, `.` or
/// `..`, and are at most 250 bytes long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// A key of one segment made from any text, percent-encoding whatever is not `[A-Za-z0-9._-]`. Different texts give
    /// different segments; one that would be longer than 200 bytes is cut, and ends in a digest of the whole text.
    pub fn encode(text: &str) -> Self {
        Self(encode_segment(text))
    }

    /// This key with a further segment made from any text.
    #[must_use]
    pub fn join(&self, text: &str) -> Self {
        Self(format!("{}/{}", self.0, encode_segment(text)))
    }

    /// The key `name` below this one. `name` is a key already: encoding it again would name another file.
    #[must_use]
    pub fn child(&self, name: &Self) -> Self {
        Self(format!("{}/{}", self.0, name.0))
    }

    /// This key with the further segment `name`, a hidden name of pgkeep's own, as it is.
    #[must_use]
    pub(crate) fn hidden_child(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, outermost first.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The key above, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Whether this key lies below the folder `dir`.
    pub fn is_below(&self, dir: &Self) -> bool {
        self.0.strip_prefix(&dir.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn encode_segment(text: &str) -> String {
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    let mut segment = utf8_percent_encode(text, ENCODED).to_string();
    if segment.len() > LONGEST {
        shorten(&mut segment, text);
    }
    let stem = segment.split('.').next().unwrap_or_default();
    let numbered = match stem.as_bytes() {
        [device @ .., digit] if device.len() == 3 => {
            digit.is_ascii_digit() && (device.eq_ignore_ascii_case(b"COM") || device.eq_ignore_ascii_case(b"LPT"))
        }
        _ => false,
    };
    // Names of dots climb, leading dots hide, reserved names cannot be created, and Windows drops trailing dots.
    if segment.starts_with('.') || numbered || RESERVED.iter().any(|name| stem.eq_ignore_ascii_case(name)) {
        let first = segment.remove(0);
        segment.insert_str(0, &format!("%{:02X}", first as u32));
    }
    if segment.ends_with('.') {
        segment.pop();
        segment.push_str("%2E");
    }
    segment
}

/// Cuts an encoded segment to [`LONGEST`] bytes. A digest of the whole text keeps apart those that begin alike, and its
/// `%-` occurs in no other segment.
fn shorten(segment: &mut String, text: &str) {
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or_default();
    let mut cut = LONGEST - DIGEST_DIGITS - 2;
    // Not inside an escape: `%` and two digits.
    let within = segment.as_bytes().get(cut - 2..cut).unwrap_or_default().iter().position(|b| *b == b'%');
    if let Some(at) = within {
        cut = cut - 2 + at;
    }
    segment.truncate(cut);
    segment.push_str("%-");
    segment.push_str(digest);
}

/// The text that a segment was made from, where it is UTF-8 and was not too long to be kept whole.
pub fn decode_segment(segment: &str) -> String {
    if segment == EMPTY {
        return String::new();
    }
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let legal = |segment: &str| {
            !segment.is_empty()
                && segment.len() <= 250
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b))
        };
        if text.split('/').all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(ErrorKind::Refused, format!("{text:?} is no name that pgkeep gives to a file")))
        }
    }
}

impl TryFrom<String> for Key {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_climb_hide_or_are_reserved_become_plain_ones() {
        for (text, segment) in [
            ("zenzspa", "zenzspa"),
            ("", "%empty"),
            ("\0", "%00"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            (".ssh", "%2Essh"),
            ("a.", "a%2E"),
            ("../../x", "%2E.%2F..%2Fx"),
            ("con", "%63on"),
            ("LPT1.txt", "%4CPT1.txt"),
            ("COM12", "COM12"),
            ("día 1", "d%C3%ADa%201"),
        ] {
            assert_eq!(Key::encode(text).as_str(), segment, "{text:?}");
            assert_eq!(decode_segment(segment), text);
        }
    }

    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        for stem in
            ["x".repeat(300), "é".repeat(100), format!("a{}", "é".repeat(100)), format!("ab{}", "é".repeat(100))]
        {
            let one = Key::encode(&format!("{stem}1"));
            let two = Key::encode(&format!("{stem}2"));
            assert_ne!(one, two);
            assert!(one.as_str().len() <= LONGEST, "{one}");
            assert_eq!(one.as_str().parse::<Key>().unwrap(), one);
        }
    }

    #[test]
    fn paths_that_climb_are_refused() {
        for text in ["", "/", "a//b", "/a", "a/", "..", "a/../b", "./a", "a\\b", "a b", "C:", "a\0", "é"] {
            assert_eq!(text.parse::<Key>().unwrap_err().kind(), ErrorKind::Refused, "{text:?}");
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[.%a-cA-C/é-]{0,6}",
            "[xé./]{150,260}",
            "(?i)(con|aux|nul|prn|com[0-9]|lpt[0-9])(\\.[a-z])?"
        ]
    }

    proptest! {
        #[test]
        fn any_text_gives_legal_segments(text in any_text(), below in any_text()) {
            let key = Key::encode(&text).join(&below);
            prop_assert_eq!(key.segments().count(), 2);
            for segment in key.segments() {
                prop_assert!(!segment.is_empty() && segment.len() <= 210 && !segment.starts_with('.') && !segment.ends_with('.'));
                prop_assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
            }
            prop_assert_eq!(&key.to_string().parse::<Key>().unwrap(), &key);
            let json = serde_json::to_string(&key).unwrap();
            prop_assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        }

        #[test]
        fn distinct_texts_give_distinct_keys(one in any_text(), two in any_text()) {
            prop_assert_eq!(one == two, Key::encode(&one) == Key::encode(&two));
        }

        #[test]
        fn what_was_not_cut_decodes_to_its_text(text in any_text()) {
            let key = Key::encode(&text);
            if !key.as_str().contains("%-") {
                prop_assert_eq!(decode_segment(key.as_str()), text);
            }
        }
    }
}
