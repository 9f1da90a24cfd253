//! Keys: relative paths whose every segment is legal on Windows, S3 and Drive, and cannot climb out of the root.

use crate::error::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What stays as it is in a segment besides letters and digits: `.`, `_` and `-`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// Names that Windows reserves whatever their extension.
const RESERVED: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// A slash-separated path below a destination's root. Its segments hold only `[A-Za-z0-9._%-]`, are never empty, `.` or
/// `..`, and are at most 250 bytes long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// A key of one segment made from any text, percent-encoding whatever is not `[A-Za-z0-9._-]`. Different texts give
    /// different segments, but for texts so long that the segment is cut at 200 bytes.
    pub fn encode(text: &str) -> Self {
        Self(encode_segment(text))
    }

    /// This key with a further segment made from any text.
    #[must_use]
    pub fn join(&self, text: &str) -> Self {
        Self(format!("{}/{}", self.0, encode_segment(text)))
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
    let mut segment = utf8_percent_encode(text, ENCODED).to_string();
    if segment.len() > 200 {
        let mut cut = 200;
        while segment[..cut].ends_with('%') || segment[..cut - 1].ends_with('%') {
            cut -= 1;
        }
        segment.truncate(cut);
    }
    let stem = segment.split('.').next().unwrap_or_default();
    let bytes = stem.as_bytes();
    let numbered = bytes.len() == 4
        && (stem[..3].eq_ignore_ascii_case("COM") || stem[..3].eq_ignore_ascii_case("LPT"))
        && bytes[3].is_ascii_digit();
    if segment.is_empty() {
        return "%00".to_owned();
    }
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

/// The text that a segment was made from, where it is UTF-8.
pub(super) fn decode_segment(segment: &str) -> String {
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
