//! The index of a database's backups, so that thousands of them are listed without reading each.
//!
//! The destination stays the only state. An index is what somebody read, kept as a file beside the backups' folders,
//! `JOB/DATABASE/catalogue-TIME-RANDOM.jsonl.gz`: of each backup its manifest and the receipts that a listing reads. The
//! listing that names the folders names it, too. It is believed only of what has not changed since:
//!
//! - **Changes are announced.** Before a receipt is written or a removal begins, a mark `ID.changed-RANDOM` is put beside the
//!   backup's folder ([`Change`]). A marked backup is read from its folder, and so is one that the index does not name: a
//!   new one. What has no folder any more does not exist, whatever an index says.
//! - **Indexes must agree.** Two computers may write one at the same time, from what they read at different moments, and their
//!   clocks say nothing. So a reader takes all there are, except those that another one says it replaces, and believes
//!   what they all say alike; the rest is read.
//! - **A writer removes only what it has seen** ([`consolidate`]): first it publishes its index, then it deletes those that
//!   it replaces, then it looks whether its own is the only one, and only then it deletes the marks that it saw before it
//!   read, and of those only what is done: by this process, or by whoever 24 hours ago.
//!
//! So a change whose mark is gone is in some index that is there, at any time: an index that holds it is deleted only by
//! somebody whose own index holds it, too. A reader whose index was deleted meanwhile looks again. Before the first index,
//! an empty one is put: who sees no index at all can so delete marks of what is done, as every index that follows is read
//! later.
//!
//! An index that is damaged, too large, or of another format, is passed over with a note; it costs time, never the truth.

mod change;
mod consolidate;

pub use change::Change;
pub use consolidate::{WORTH_AN_INDEX, consolidate};

use crate::destination::{
    Children, Destination, Key, MANIFEST_NAME, Object, RECEIPT_FOLDERS, changed_by, is_index, is_receipt_of,
};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::Arc;

/// The format of indexes that this program writes and reads.
const INDEX_FORMAT: u32 = 1;

/// The largest index that is read or written, in bytes as stored.
const LARGEST_INDEX: u64 = 64 << 20;

/// The largest index that is read or written, in bytes unpacked: some hundred thousand backups.
const LARGEST_UNPACKED: u64 = 512 << 20;

/// What a backup may take up in an index, in bytes; larger ones, such as drills that found a thousand differences, are read.
const LARGEST_BACKUP: usize = 256 << 10;

/// A small file of a backup: its name in the backup's folder, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SmallFile {
    pub(super) name: Key,
    pub(super) bytes: Bytes,
}

/// What the folder of a database shows.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// The backups' folders. Not all need hold a backup.
    pub(super) ids: BTreeSet<BackupId>,
    /// The marks of changes.
    pub(super) marks: Vec<(BackupId, Object)>,
    /// The indexes, the newest by its name first.
    pub(super) indexes: Vec<Object>,
}

impl Layout {
    /// Looks at the folder `database`, which is `JOB/DATABASE`.
    pub(super) async fn look(destination: &dyn Destination, database: &Key) -> Result<Self> {
        let Children { folders, objects } = destination.children(Some(database)).await?;
        let mut layout = Self {
            ids: folders.iter().filter_map(|folder| folder.file_name().parse().ok()).collect(),
            ..Self::default()
        };
        for object in objects {
            let name = object.key.file_name();
            if is_index(name) {
                layout.indexes.push(object);
            } else if let Some(id) = changed_by(name) {
                layout.marks.push((id, object));
            }
        }
        layout.indexes.sort_by(|a, b| b.key.cmp(&a.key));
        Ok(layout)
    }

    /// The backups that have a mark.
    pub(super) fn marked(&self) -> BTreeSet<&BackupId> {
        self.marks.iter().map(|(id, _)| id).collect()
    }
}

/// What the indexes of a database say alike.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// The small files of each backup, the manifest first.
    pub(super) backups: BTreeMap<BackupId, Vec<SmallFile>>,
    /// The indexes that others say they replace.
    pub(super) replaced: Vec<Key>,
    /// How many there are besides.
    pub(super) valid: usize,
    /// Which could not be used, in whole sentences.
    pub(super) notes: Vec<String>,
}

/// Reads the indexes of `layout`; `None` if one of them is gone, and the folder must be looked at again.
pub(super) async fn read_indexes(
    destination: &Arc<dyn Destination>,
    database: &Key,
    layout: &Layout,
) -> Result<Option<Covered>> {
    let mut covered = Covered::default();
    let mut replaced: BTreeSet<String> = BTreeSet::new();
    let mut indexes = Vec::new();
    for object in &layout.indexes {
        if replaced.contains(object.key.file_name()) {
            continue;
        }
        match read_index(&**destination, database, object).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
            Err(error) => {
                covered.notes.push(format!(
                    "{} at {} is not used, its backups are read one by one: {}",
                    object.key,
                    destination.name(),
                    error.one_line()
                ));
                indexes.push((object, BTreeMap::new()));
            }
            Ok(index) => {
                replaced.extend(index.replaces);
                indexes.push((object, index.backups));
            }
        }
    }
    let mut valid = Vec::new();
    for (object, backups) in indexes {
        if !replaced.contains(object.key.file_name()) {
            valid.push(backups);
        }
    }
    covered.replaced =
        layout.indexes.iter().filter(|one| replaced.contains(one.key.file_name())).map(|one| one.key.clone()).collect();
    covered.valid = valid.len();
    let mut valid = valid.into_iter();
    covered.backups = valid.next().unwrap_or_default();
    for other in valid {
        covered.backups.retain(|id, files| other.get(id) == Some(files));
    }
    Ok(Some(covered))
}

/// The first line of an index.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    written_by: String,
    began_at: DateTime<Utc>,
    /// The folders of receipts of which the newest is here: who knows more of them cannot use it.
    receipts: Vec<String>,
    /// The names of the indexes that its writer saw.
    replaces: Vec<String>,
    /// How many backups follow.
    backups: usize,
}

/// The line before those of each backup's files.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    backup: BackupId,
    files: Vec<Key>,
}

/// An index as it is read and written.
#[derive(Debug, Default)]
struct Index {
    replaces: Vec<String>,
    backups: BTreeMap<BackupId, Vec<SmallFile>>,
}

async fn read_index(destination: &dyn Destination, database: &Key, object: &Object) -> Result<Index> {
    if object.bytes > LARGEST_INDEX {
        return Err(damaged(&format!("it holds {} bytes; the limit is {LARGEST_INDEX}", object.bytes)));
    }
    let stored = destination.read(&object.key, 0..object.bytes).await?;
    let database = database.clone();
    let unpacking = tokio::task::spawn_blocking(move || Index::unpack(&stored, &database));
    unpacking.await.unwrap_or_else(|source| Err(damaged("reading it ended unexpectedly").caused_by(source)))
}

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("the index cannot be used: {why}"))
}

impl Index {
    fn unpack(stored: &[u8], database: &Key) -> Result<Self> {
        let mut unpacked = Vec::new();
        GzDecoder::new(stored)
            .take(LARGEST_UNPACKED + 1)
            .read_to_end(&mut unpacked)
            .map_err(|source| damaged("it does not unpack").caused_by(source))?;
        if unpacked.len() as u64 > LARGEST_UNPACKED {
            return Err(damaged(&format!("unpacked it holds more than {LARGEST_UNPACKED} bytes")));
        }
        let unpacked = Bytes::from(unpacked);
        let mut lines = unpacked.split(|byte| *byte == b'\n').map(|line| unpacked.slice_ref(line));
        let mut next = || lines.next().ok_or_else(|| damaged("it is cut short"));
        let head: Head = parse(&next()?)?;
        if head.format != INDEX_FORMAT {
            let why = format!("the index has format {}; this pgkeep reads {INDEX_FORMAT}", head.format);
            return Err(Error::new(ErrorKind::Version, why));
        }
        if head.receipts != RECEIPT_FOLDERS {
            return Err(Error::new(ErrorKind::Version, "the index knows other receipts than this pgkeep"));
        }
        let mut index = Self { replaces: head.replaces, backups: BTreeMap::new() };
        for _ in 0..head.backups {
            let line: Line = parse(&next()?)?;
            let dir = database.join(line.backup.as_str());
            let mut seen = BTreeSet::new();
            let mut files = Vec::new();
            for name in line.files {
                let known = match is_receipt_of(&dir, &dir.child(&name)) {
                    Some((folder, ..)) => !files.is_empty() && seen.insert(folder.to_owned()),
                    None => files.is_empty() && name.as_str() == MANIFEST_NAME,
                };
                if !known {
                    return Err(damaged(&format!("{name} does not belong there")));
                }
                files.push(SmallFile { name, bytes: next()? });
            }
            if files.is_empty() || index.backups.insert(line.backup, files).is_some() {
                return Err(damaged("a backup is there twice, or not at all"));
            }
        }
        if !next()?.is_empty() || lines.next().is_some() {
            return Err(damaged("more follows than it says"));
        }
        Ok(index)
    }

    /// The index as it is stored. What would make it too large is left out, and found in its folder.
    fn pack(mut self, began_at: DateTime<Utc>) -> Result<Bytes> {
        let failed = |source: std::io::Error| Error::io("cannot pack an index", source);
        let json = |value: serde_json::Result<Vec<u8>>| {
            value.map_err(|source| Error::new(ErrorKind::Failed, "cannot write an index as JSON").caused_by(source))
        };
        let mut room = LARGEST_UNPACKED / 2;
        self.backups.retain(|_, files| {
            let bytes = files.iter().map(|file| file.bytes.len() + 100).sum::<usize>();
            let fits = bytes <= LARGEST_BACKUP && bytes as u64 <= room;
            room -= if fits { bytes as u64 } else { 0 };
            fits
        });
        let head = Head {
            format: INDEX_FORMAT,
            written_by: concat!("pgkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
            began_at,
            receipts: RECEIPT_FOLDERS.map(str::to_owned).to_vec(),
            replaces: self.replaces,
            backups: self.backups.len(),
        };
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::new(5));
        let mut line = |text: &[u8]| packed.write_all(text).and_then(|()| packed.write_all(b"\n")).map_err(failed);
        line(&json(serde_json::to_vec(&head))?)?;
        for (backup, files) in self.backups {
            let names = files.iter().map(|file| file.name.clone()).collect();
            line(&json(serde_json::to_vec(&Line { backup, files: names }))?)?;
            for file in files {
                line(&on_one_line(&file.bytes))?;
            }
        }
        let packed = packed.finish().map_err(failed)?;
        if packed.len() as u64 > LARGEST_INDEX {
            return Err(Error::new(ErrorKind::Failed, format!("the index has more than {LARGEST_INDEX} bytes")));
        }
        Ok(packed.into())
    }
}

fn parse<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|source| damaged("a line is not what it should be").caused_by(source))
}

/// JSON without the white space between its words; what a newer pgkeep wrote into it stays.
pub(super) fn on_one_line(json: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for &byte in json {
        if quoted {
            quoted = escaped || byte != b'"';
            escaped = byte == b'\\' && !escaped;
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            quoted = byte == b'"';
        }
        line.push(byte);
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(n: u8) -> BackupId {
        format!("20261122T0200{n:02}Z-7f3a").parse().unwrap()
    }

    fn file(name: &str, json: &'static str) -> SmallFile {
        SmallFile { name: name.parse().unwrap(), bytes: Bytes::from_static(json.as_bytes()) }
    }

    fn sample() -> Vec<u8> {
        let backups = [
            (
                id(1),
                vec![file("manifest.json", "{\n \"a\": \" \\\" \"\n}\n"), file("drills/20261123T040000Z.json", "{}")],
            ),
            (id(2), vec![file("manifest.json", "{\"b\":[1,2]}")]),
        ];
        let index = Index { replaces: vec!["other".to_owned()], backups: backups.into() };
        index.pack(Utc::now()).unwrap().to_vec()
    }

    fn database() -> Key {
        "job/app".parse().unwrap()
    }

    #[test]
    fn an_index_comes_back_as_it_was() {
        let index = Index::unpack(&sample(), &database()).unwrap();
        assert_eq!(index.replaces, ["other"]);
        assert_eq!(index.backups.keys().cloned().collect::<Vec<_>>(), [id(1), id(2)]);
        assert_eq!(index.backups[&id(1)][0].bytes, "{\"a\":\" \\\" \"}");
        assert_eq!(index.backups[&id(2)], [file("manifest.json", "{\"b\":[1,2]}")]);
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::new(5));
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn what_is_hostile_or_of_another_format_is_refused() {
        let head = |format: u32, receipts: &str, backups: u64| {
            format!(
                "{{\"format\":{format},\"written_by\":\"x\",\"began_at\":\"2026-11-22T02:00:00Z\",\"receipts\":{receipts},\
                 \"replaces\":[],\"backups\":{backups}}}\n"
            )
        };
        let known = serde_json::to_string(&RECEIPT_FOLDERS).unwrap();
        let good = head(1, &known, 1) + "{\"backup\":\"20261122T020001Z-7f3a\",\"files\":[\"manifest.json\"]}\n{}\n";
        assert!(Index::unpack(&packed(&good), &database()).is_ok());
        for (text, kind) in [
            (head(2, &known, 0), ErrorKind::Version),
            (head(1, "[\"drills\"]", 0), ErrorKind::Version),
            (head(1, &known, u64::MAX), ErrorKind::Damaged),
            (head(1, &known, 0) + "x\n", ErrorKind::Damaged),
            (good.replace("manifest.json", "../manifest.json"), ErrorKind::Damaged),
            (good.replace("manifest.json", "globals.sql.gz"), ErrorKind::Damaged),
            (good.replace("[\"manifest.json\"]", "[]"), ErrorKind::Damaged),
            (good.replace("[\"manifest.json\"]", "[\"drills/20261123T040000Z.json\"]"), ErrorKind::Damaged),
            (good.replace("20261122T020001Z-7f3a", "../../etc"), ErrorKind::Damaged),
            ("[".repeat(100_000), ErrorKind::Damaged),
            (String::new(), ErrorKind::Damaged),
        ] {
            assert_eq!(Index::unpack(&packed(&text), &database()).unwrap_err().kind(), kind, "{text:.80}");
        }
    }

    proptest! {
        #[test]
        fn no_index_crashes_its_reader(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut stored = sample();
            let place = at.index(stored.len());
            stored[place] = byte;
            let _ = Index::unpack(&stored, &database());
            stored.truncate(cut.index(stored.len()));
            prop_assert!(Index::unpack(&stored, &database()).is_err());
        }

        #[test]
        fn json_on_one_line_means_the_same(text in ".*", number in any::<i64>()) {
            let value = serde_json::json!({ "a": [text, number, {"b": text}], "c": text });
            let line = on_one_line(&serde_json::to_vec_pretty(&value).unwrap());
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&line).unwrap(), value);
        }
    }
}
