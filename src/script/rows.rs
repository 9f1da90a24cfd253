//! Fingerprints of a table's rows: equal for equal multisets of rows, whatever their order.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The wrapping sum of xxh3-128 over every row of COPY text, newline left out. A sum, not an exclusive or, in which two
/// equal rows would cancel; heap order is not stable, hence no order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub(super) u128);

impl Fingerprint {
    /// Adds one row.
    pub fn add(&mut self, row: &[u8]) {
        self.0 = self.0.wrapping_add(xxh3_128(row));
    }

    /// The fingerprint of these rows and the others together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self).map_err(|_| format!("{text:?} is no fingerprint"))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

/// The line that ends the rows.
const END: &[u8] = b"\\.";

/// Rows of one COPY block, arriving in pieces of any size.
pub(super) struct Rows {
    pub(super) count: u64,
    pub(super) fingerprint: Fingerprint,
    /// Whether a row begins like the end of the block. pg_dump writes none, and psqls differ in what they take for the end:
    /// `\.` with a carriage return, for one.
    pub(super) odd_end: bool,
    /// Where each column of the rows goes before they are hashed; `None` to hash them as they are.
    order: Option<Vec<usize>>,
    partial: Partial,
}

/// The beginning of a row whose end has not arrived.
enum Partial {
    Nothing,
    /// A row hashed as it comes: its first bytes, its length, its hash so far.
    Hashed {
        head: [u8; 3],
        length: u64,
        hasher: Box<Xxh3>,
    },
    /// A row that must be whole before its columns can be put in order.
    Kept(Vec<u8>),
}

impl Rows {
    pub(super) fn new(order: Option<Vec<usize>>) -> Self {
        Self { count: 0, fingerprint: Fingerprint::default(), odd_end: false, order, partial: Partial::Nothing }
    }

    /// Reads rows from `input` up to its end, or up to and including the line `\.`: then returns how many bytes that was.
    pub(super) fn feed(&mut self, input: &[u8]) -> Option<usize> {
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', input) {
            let line = &input[start..newline];
            start = newline + 1;
            if matches!(self.partial, Partial::Nothing) {
                if line == END {
                    return Some(start);
                }
                self.row(line);
            } else if self.finish_partial(line) {
                return Some(start);
            }
        }
        if start < input.len() {
            self.begin_partial(&input[start..]);
        }
        None
    }

    fn row(&mut self, line: &[u8]) {
        self.count += 1;
        self.odd_end |= line.starts_with(END);
        match &self.order {
            None => self.fingerprint.add(line),
            Some(order) => {
                let permuted = permute(line, order);
                self.fingerprint.add(&permuted);
            }
        }
    }

    fn begin_partial(&mut self, piece: &[u8]) {
        if matches!(self.partial, Partial::Nothing) {
            self.partial = if self.order.is_some() {
                Partial::Kept(Vec::new())
            } else {
                Partial::Hashed { head: [0; 3], length: 0, hasher: Box::new(Xxh3::new()) }
            };
        }
        match &mut self.partial {
            Partial::Nothing => {}
            Partial::Kept(kept) => kept.extend_from_slice(piece),
            Partial::Hashed { head, length, hasher } => {
                for (index, byte) in piece.iter().take(3).enumerate() {
                    if let Some(slot) = head.get_mut(*length as usize + index) {
                        *slot = *byte;
                    }
                }
                *length += piece.len() as u64;
                hasher.update(piece);
            }
        }
    }

    /// Adds the end of a row; true if the row was the end of the block.
    fn finish_partial(&mut self, piece: &[u8]) -> bool {
        self.begin_partial(piece);
        match std::mem::replace(&mut self.partial, Partial::Nothing) {
            Partial::Nothing => false,
            Partial::Kept(line) if line == END => true,
            Partial::Kept(line) => {
                self.row(&line);
                false
            }
            Partial::Hashed { head, length: 2, .. } if head.starts_with(END) => true,
            Partial::Hashed { head, length, hasher } => {
                self.odd_end |= length > 2 && head.starts_with(END);
                self.count += 1;
                self.fingerprint.0 = self.fingerprint.0.wrapping_add(hasher.digest128());
                false
            }
        }
    }
}

/// The row with its tab-separated columns in another order: column `order[i]` comes at place `i`. Rows with another
/// number of columns stay as they are: they are different anyway.
fn permute(line: &[u8], order: &[usize]) -> Vec<u8> {
    let columns: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    if columns.len() != order.len() {
        return line.to_vec();
    }
    let mut row = Vec::with_capacity(line.len());
    for (index, &from) in order.iter().enumerate() {
        if index > 0 {
            row.push(b'\t');
        }
        row.extend_from_slice(columns.get(from).copied().unwrap_or_default());
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(input: &[u8], cuts: &[usize], order: Option<Vec<usize>>) -> (u64, Fingerprint, bool) {
        let mut rows = Rows::new(order);
        let mut at = 0;
        let mut ended = false;
        for &cut in cuts.iter().chain([&input.len()]) {
            ended |= rows.feed(&input[at..cut]).is_some();
            at = cut;
        }
        (rows.count, rows.fingerprint, ended)
    }

    #[test]
    fn order_does_not_matter_but_multiplicity_does() {
        let (count, once, _) = rows(b"a\nb\n\\.\n", &[], None);
        assert_eq!((count, once), {
            let r = rows(b"b\na\n\\.\n", &[], None);
            (r.0, r.1)
        });
        assert_ne!(rows(b"a\nb\nc\nc\n\\.\n", &[], None).1, once);
    }

    #[test]
    fn cuts_anywhere_change_nothing() {
        let input = b"one\ttwo\n\\\\.\n\nlast\n\\.\n";
        let whole = rows(input, &[], None);
        assert_eq!(whole.0, 4);
        for a in 0..input.len() {
            for b in a..input.len() {
                assert_eq!(rows(input, &[a, b], None), whole, "{a} {b}");
            }
        }
    }

    #[test]
    fn permuted_columns_compare_equal() {
        let expected = rows(b"1\tx\t2\n\\.\n", &[], None);
        for cut in 0..7 {
            assert_eq!(rows(b"x\t2\t1\n\\.\n", &[cut], Some(vec![2, 0, 1])), expected);
        }
    }
}
