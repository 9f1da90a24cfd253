//! Many entries in little memory: packed one behind the other, unpacked one at a time.
//!
//! A hundred thousand tables make half a million entries. As values they take about 500 bytes each; packed, 50 to 100.

use super::{Digest, Entry, Fingerprint, Section, Slice, TableData};
use crate::packed::{self, Blocks, Reader};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// How many different names of kinds, schemas, owners and columns are kept once; where there are more, they stand with
/// each entry.
const MOST_NAMES: usize = 4096;

const SCHEMA: u64 = 1 << 2;
const OWNER: u64 = 1 << 3;
const TABLE: u64 = 1 << 4;
/// The names of the COPY statement are those of the header.
const SAME_NAMES: u64 = 1 << 5;
const SLICE: u64 = 1 << 6;
const VALUE: u64 = 1 << 7;
const UNORDERED: u64 = 1 << 8;

/// Entries in their order. They are the same, and the same JSON, as a list of them; cloning copies nothing.
#[derive(Clone, Default)]
pub struct Entries {
    packed: Arc<Packed>,
}

#[derive(Clone, Default)]
struct Packed {
    blocks: Blocks,
    count: usize,
    names: Names,
}

impl Entries {
    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `entry`.
    pub fn push(&mut self, entry: &Entry) {
        let packed = Arc::make_mut(&mut self.packed);
        let record = packed.names.record(entry);
        packed.blocks.push(&record);
        packed.count += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.packed.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Unpacks them one after the other.
    pub fn iter(&self) -> EntriesIter<'_> {
        EntriesIter { reader: self.packed.blocks.reader(), names: &self.packed.names, left: self.len() }
    }
}

/// Unpacks [`Entries`].
#[derive(Clone)]
pub struct EntriesIter<'a> {
    reader: Reader<'a>,
    names: &'a Names,
    left: usize,
}

impl Iterator for EntriesIter<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.left = self.left.checked_sub(1)?;
        Some(self.names.entry(&mut self.reader))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for EntriesIter<'_> {}

impl<'a> IntoIterator for &'a Entries {
    type Item = Entry;
    type IntoIter = EntriesIter<'a>;

    fn into_iter(self) -> EntriesIter<'a> {
        self.iter()
    }
}

impl Extend<Entry> for Entries {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(&entry));
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut all = Self::new();
        all.extend(entries);
        all
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other)
    }
}

impl Eq for Entries {}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut entries = Entries::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(&entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// Names that many entries share.
#[derive(Clone, Default)]
struct Names {
    all: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u64>,
}

impl Names {
    /// Writes the place of `name` from 1, or 0 and the name.
    fn write(&mut self, record: &mut Vec<u8>, name: &str) {
        if let Some(place) = self.places.get(name) {
            packed::number(record, *place);
        } else if self.all.len() < MOST_NAMES {
            let name: Arc<str> = name.into();
            self.all.push(Arc::clone(&name));
            self.places.insert(name, self.all.len() as u64);
            packed::number(record, self.all.len() as u64);
        } else {
            packed::number(record, 0);
            packed::bytes(record, name.as_bytes());
        }
    }

    fn read(&self, reader: &mut Reader<'_>) -> String {
        match reader.number() {
            0 => text(reader),
            place => self.all.get(place as usize - 1).map(|name| name.as_ref().to_owned()).unwrap_or_default(),
        }
    }

    fn record(&mut self, entry: &Entry) -> Vec<u8> {
        let Entry { kind, name, schema, owner, section, start, end, line, digest, table, value, unordered_digest } =
            entry;
        let same = table.as_ref().is_some_and(|data| schema.as_ref() == Some(&data.schema) && data.table == *name);
        let mut flags = *section as u64;
        for (flag, set) in [
            (SCHEMA, schema.is_some()),
            (OWNER, owner.is_some()),
            (TABLE, table.is_some()),
            (SAME_NAMES, same),
            (SLICE, table.as_ref().is_some_and(|data| data.slice.is_some())),
            (VALUE, value.is_some()),
            (UNORDERED, unordered_digest.is_some()),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let record = &mut Vec::with_capacity(256);
        packed::number(record, flags);
        self.write(record, kind);
        packed::bytes(record, name.as_bytes());
        for name in schema.iter().chain(owner) {
            self.write(record, name);
        }
        packed::number(record, *start);
        // From a damaged index anything may come; that it is impossible is for others to find.
        packed::number(record, end.wrapping_sub(*start));
        packed::number(record, *line);
        packed::wide(record, digest.0);
        if let Some(TableData { schema, table, columns, rows, start, end, fingerprint, slice }) = table {
            if !same {
                self.write(record, schema);
                packed::bytes(record, table.as_bytes());
            }
            packed::number(record, columns.len() as u64);
            for column in columns {
                self.write(record, column);
            }
            packed::number(record, *rows);
            packed::number(record, start.wrapping_sub(entry.start));
            packed::number(record, end.wrapping_sub(*start));
            packed::wide(record, fingerprint.0);
            for number in slice.iter().flat_map(|slice| [slice.number, slice.of]) {
                packed::number(record, number.into());
            }
        }
        if let Some(value) = value {
            packed::bytes(record, value.as_bytes());
        }
        if let Some(Digest(digest)) = unordered_digest {
            packed::wide(record, *digest);
        }
        std::mem::take(record)
    }

    /// The fields in the order in which [`Names::record`] writes them.
    fn entry(&self, reader: &mut Reader<'_>) -> Entry {
        let flags = reader.number();
        let has = |flag: u64| flags & flag != 0;
        let section = match flags & 3 {
            0 => Section::PreData,
            1 => Section::Data,
            _ => Section::PostData,
        };
        let kind = self.read(reader);
        let name = text(reader);
        let schema = has(SCHEMA).then(|| self.read(reader));
        let owner = has(OWNER).then(|| self.read(reader));
        let start = reader.number();
        let end = start.wrapping_add(reader.number());
        let line = reader.number();
        let digest = Digest(reader.wide());
        let table = has(TABLE).then(|| {
            let (schema, table) = if has(SAME_NAMES) {
                (schema.clone().unwrap_or_default(), name.clone())
            } else {
                (self.read(reader), text(reader))
            };
            let columns = (0..reader.number()).map(|_| self.read(reader)).collect();
            let rows = reader.number();
            let start = start.wrapping_add(reader.number());
            let end = start.wrapping_add(reader.number());
            let fingerprint = Fingerprint(reader.wide());
            let slice = has(SLICE).then(|| Slice { number: reader.number() as u32, of: reader.number() as u32 });
            TableData { schema, table, columns, rows, start, end, fingerprint, slice }
        });
        let value = has(VALUE).then(|| text(reader));
        let unordered_digest = has(UNORDERED).then(|| Digest(reader.wide()));
        Entry { kind, name, schema, owner, section, start, end, line, digest, table, value, unordered_digest }
    }
}

fn text(reader: &mut Reader<'_>) -> String {
    String::from_utf8_lossy(reader.bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> impl Strategy<Value = TableData> {
        let names = ("[a-c]{0,2}", "[a-c]{0,2}", prop::collection::vec("[a-zé\\n]{0,9}", 0..6));
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u128>());
        (names, numbers, prop::option::of((any::<u32>(), any::<u32>()))).prop_map(
            |((schema, table, columns), (rows, start, end, print), slice)| TableData {
                schema,
                table,
                columns,
                rows,
                start,
                end,
                fingerprint: Fingerprint(print),
                slice: slice.map(Slice::from),
            },
        )
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let names =
            ("[A-Z ]{1,3}", "[a-c]{0,2}", prop::option::of("[a-c]{0,2}"), prop::option::of("[a-z]{0,20}"), 0..3u8);
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u128>());
        let rest = (prop::option::of(table()), prop::option::of("[0-9a-z, ]{0,9}"), prop::option::of(any::<u128>()));
        (names, numbers, rest).prop_map(|((kind, name, schema, owner, section), (start, end, line, digest), rest)| {
            let section = [Section::PreData, Section::Data, Section::PostData][usize::from(section)];
            let (table, value, unordered) = rest;
            let (digest, unordered_digest) = (Digest(digest), unordered.map(Digest));
            Entry { kind, name, schema, owner, section, start, end, line, digest, table, value, unordered_digest }
        })
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were(all in prop::collection::vec(entry(), 0..40)) {
            let packed: Entries = all.iter().cloned().collect();
            prop_assert_eq!(packed.len(), all.len());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), all.clone());
            let json = serde_json::to_string(&all).unwrap();
            prop_assert_eq!(&serde_json::to_string(&packed).unwrap(), &json);
            prop_assert_eq!(serde_json::from_str::<Entries>(&json).unwrap(), packed);
        }
    }

    #[test]
    fn more_names_than_are_shared_are_kept_all_the_same() {
        let one = |number: usize| Entry {
            kind: "TABLE".to_owned(),
            name: format!("t{number}"),
            schema: Some(format!("tenant_{number}")),
            owner: Some("bob".to_owned()),
            section: Section::PreData,
            start: number as u64 * 500,
            end: number as u64 * 500 + 500,
            line: number as u64 * 12,
            digest: Digest(number as u128),
            table: None,
            value: None,
            unordered_digest: None,
        };
        let entries: Entries = (0..3 * MOST_NAMES).map(one).collect();
        assert!(entries.iter().eq((0..3 * MOST_NAMES).map(one)));
        assert_eq!(entries.packed.names.all.len(), MOST_NAMES);
    }
}
