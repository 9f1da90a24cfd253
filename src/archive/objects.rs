//! The objects of a backup in the order in which people look for them, from the index alone.
//!
//! An index may have millions of entries: they are put in order part by part, so that only those of one part are unpacked at
//! a time. A table's definition and its rows, and a sequence and its value, are entries of the dump but one object.

use super::{Contents, Members};
use crate::script::{Entry, Fingerprint, Section};
use serde::Serialize;
use std::cmp::Ordering;

/// How many entries are in memory at once, on the average: they take half a kilobyte each.
const AT_ONCE: usize = 20_000;

/// How many entries are looked at for each part, to part them evenly.
const SAMPLES: usize = 32;

/// How many places of a file are remembered for estimating stored sizes; between two of them a straight line does.
const MOST_PLACES: usize = 1 << 16;

/// One object of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Its kind, as pg_dump names it: `TABLE`, `INDEX`, `ACL`, ….
    pub kind: String,
    /// Its schema, where it has one.
    pub schema: Option<String>,
    /// Its name; functions carry their arguments.
    pub name: String,
    /// Its owner, where the dump names one.
    pub owner: Option<String>,
    /// The section of the dump in which it is defined.
    pub section: Section,
    /// The rows of a table.
    #[serde(flatten)]
    pub rows: Option<Rows>,
    /// What a sequence is set to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The rows of a table, all slices of a parallel dump together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Number of rows.
    pub rows: u64,
    /// Bytes of the rows in the SQL.
    pub sql_bytes: u64,
    /// Bytes of the rows in the stored files: an estimate, for members hold rows of several tables.
    pub stored_bytes_estimate: u64,
    /// Number of columns with values.
    pub columns: usize,
    /// The order-independent fingerprint of the rows.
    pub fingerprint: Fingerprint,
}

impl Object {
    /// `schema.name`, or the name where there is no schema.
    pub fn full_name(&self) -> String {
        full_name(self.schema.as_deref(), &self.name)
    }
}

/// `schema.name`, or the name where there is no schema.
pub fn full_name(schema: Option<&str>, name: &str) -> String {
    match schema.filter(|schema| !schema.is_empty()) {
        Some(schema) => format!("{schema}.{name}"),
        None => name.to_owned(),
    }
}

/// What decides the order, and what entries of one object share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    section: Section,
    kind: String,
    schema: Option<String>,
    name: String,
}

impl Key {
    /// The key of the object that `entry` is of. Rows go by their header, as the table's definition does: both flatten
    /// newlines alike.
    fn of(entry: &Entry) -> Self {
        let (section, kind) = match entry.kind.as_str() {
            "TABLE" | "TABLE DATA" => (Section::PreData, "TABLE"),
            "SEQUENCE" | "SEQUENCE SET" => (Section::PreData, "SEQUENCE"),
            kind => (entry.section, kind),
        };
        Self { section, kind: kind.to_owned(), schema: entry.schema.clone(), name: entry.name.clone() }
    }
}

impl Contents {
    /// The objects, ordered by section, kind, schema and name.
    pub fn objects(&self) -> Objects<'_> {
        self.objects_in_parts(AT_ONCE)
    }

    fn objects_in_parts(&self, at_once: usize) -> Objects<'_> {
        let all: usize = self.files.iter().map(|file| file.entries.len()).sum();
        let parts = all.div_ceil(at_once).max(1);
        let every = (all / (parts * SAMPLES)).max(1);
        let mut bounds = Vec::new();
        if parts > 1 {
            let mut sample: Vec<Key> = self.entries().step_by(every).map(|entry| Key::of(&entry)).collect();
            sample.sort();
            let step = sample.len().div_ceil(parts).max(1);
            bounds = sample.into_iter().skip(step).step_by(step).collect();
            bounds.dedup();
        }
        let places = self.files.iter().map(|file| Places::of(&file.members)).collect();
        Objects { contents: self, bounds, next: Some(0), ready: Vec::new().into_iter(), places }
    }
}

/// See [`Contents::objects`].
pub struct Objects<'a> {
    contents: &'a Contents,
    /// Where each part but the first begins.
    bounds: Vec<Key>,
    /// The part to be unpacked next.
    next: Option<usize>,
    ready: std::vec::IntoIter<Object>,
    places: Vec<Places>,
}

impl Iterator for Objects<'_> {
    type Item = Object;

    fn next(&mut self) -> Option<Object> {
        loop {
            if let Some(object) = self.ready.next() {
                return Some(object);
            }
            let part = self.next?;
            self.next = (part < self.bounds.len()).then_some(part + 1);
            self.ready = self.part(part).into_iter();
        }
    }
}

impl Objects<'_> {
    fn part(&self, part: usize) -> Vec<Object> {
        let from = part.checked_sub(1).and_then(|before| self.bounds.get(before));
        let to = self.bounds.get(part);
        let mut entries: Vec<(Key, usize, Entry)> = Vec::new();
        for (file, contents) in self.contents.files.iter().enumerate() {
            for entry in &contents.entries {
                let key = Key::of(&entry);
                if from.is_none_or(|from| *from <= key) && to.is_none_or(|to| key < *to) {
                    entries.push((key, file, entry));
                }
            }
        }
        // What defines an object stands before what fills it; otherwise the order of the dump.
        let fills = |entry: &Entry| matches!(entry.kind.as_str(), "TABLE DATA" | "SEQUENCE SET");
        entries.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| fills(&a.2).cmp(&fills(&b.2))));
        let mut objects: Vec<Object> = Vec::with_capacity(entries.len());
        let mut last: Option<Key> = None;
        for (key, file, entry) in entries {
            let rows = entry.table.as_ref().map(|data| Rows {
                rows: data.rows,
                sql_bytes: data.end.saturating_sub(data.start),
                stored_bytes_estimate: self.places.get(file).map_or(0, |places| places.between(data.start, data.end)),
                columns: data.columns.len(),
                fingerprint: data.fingerprint,
            });
            let same = last.as_ref() == Some(&key);
            match objects.last_mut() {
                Some(object) if same && fills(&entry) => {
                    object.take(rows);
                    if entry.value.is_some() {
                        object.value.clone_from(&entry.value);
                    }
                    if let Some(name) = exact_name(&entry) {
                        object.name = name;
                    }
                }
                _ => objects.push(Object {
                    section: key.section,
                    kind: if fills(&entry) { entry.kind.clone() } else { key.kind.clone() },
                    schema: entry.schema.clone(),
                    name: exact_name(&entry).unwrap_or(entry.name),
                    owner: entry.owner,
                    rows,
                    value: entry.value,
                }),
            }
            last = Some(key);
        }
        objects
    }
}

/// The name with its newlines, which headers flatten and COPY statements do not. Of partitions by the hash of an enum the
/// COPY statement names the parent.
fn exact_name(entry: &Entry) -> Option<String> {
    entry.table.as_ref().filter(|data| data.name_in_headers() == entry.name).map(|data| data.table.clone())
}

impl Object {
    /// Adds a further lot of rows: of a table that a parallel dump split.
    fn take(&mut self, more: Option<Rows>) {
        match (&mut self.rows, more) {
            (Some(all), Some(more)) => {
                all.rows = all.rows.saturating_add(more.rows);
                all.sql_bytes = all.sql_bytes.saturating_add(more.sql_bytes);
                all.stored_bytes_estimate = all.stored_bytes_estimate.saturating_add(more.stored_bytes_estimate);
                all.fingerprint = all.fingerprint.with(more.fingerprint);
            }
            (rows @ None, more) => *rows = more,
            (Some(_), None) => {}
        }
    }
}

/// Where SQL lies in a stored file, roughly.
struct Places {
    /// Bytes of SQL and stored bytes before a member, ascending.
    at: Vec<(u64, u64)>,
}

impl Places {
    fn of(members: &Members) -> Self {
        let every = members.len().div_ceil(MOST_PLACES).max(1);
        let (mut sql, mut stored) = (0u64, 0u64);
        let mut at = vec![(0, 0)];
        for (number, member) in members.iter().enumerate() {
            sql = sql.saturating_add(member.sql_bytes);
            stored = stored.saturating_add(member.stored_bytes);
            if (number + 1) % every == 0 || number + 1 == members.len() {
                at.push((sql, stored));
            }
        }
        Self { at }
    }

    /// How many stored bytes the SQL from `start` to `end` takes.
    fn between(&self, start: u64, end: u64) -> u64 {
        self.stored(end).saturating_sub(self.stored(start))
    }

    fn stored(&self, sql: u64) -> u64 {
        let after = self.at.partition_point(|(there, _)| there.cmp(&sql) == Ordering::Less);
        match (after.checked_sub(1).and_then(|before| self.at.get(before)), self.at.get(after)) {
            (Some((sql_before, stored_before)), Some((sql_after, stored_after))) => {
                let part = (sql - sql_before) as f64 / (sql_after - sql_before).max(1) as f64;
                stored_before + ((stored_after - stored_before) as f64 * part).round() as u64
            }
            (_, Some((_, stored))) | (Some((_, stored)), None) => *stored,
            (None, None) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileContents, Member};
    use super::*;
    use crate::destination::Key as Name;
    use crate::script::Scanner;

    fn header(name: &str, kind: &str, more: &str) -> String {
        let data = if kind == "TABLE DATA" { "Data for " } else { "" };
        format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: bob{more}\n--\n\n")
    }

    fn table(name: &str, rows: &str) -> String {
        format!("{}CREATE TABLE public.{name} (a integer);\n\n{}", header(name, "TABLE", ""), data(name, rows, ""))
    }

    fn data(name: &str, rows: &str, more: &str) -> String {
        format!("{}COPY public.{name} (a) FROM stdin;\n{rows}\\.\n\n", header(name, "TABLE DATA", more))
    }

    fn contents(scripts: &[&str]) -> Contents {
        let file = |(number, script): (usize, &&str)| {
            let mut scanner = Scanner::default();
            scanner.feed(script.as_bytes());
            let member = Member { sql_bytes: script.len() as u64, stored_bytes: script.len() as u64 / 2, digest: None };
            FileContents {
                name: Name::encode(&format!("f{number}")),
                members: [member].into_iter().collect(),
                broken_lines: Vec::new(),
                entries: scanner.finish().entries,
            }
        };
        Contents::new(scripts.iter().enumerate().map(file).collect())
    }

    #[test]
    fn a_table_and_its_slices_in_several_files_are_one_object() {
        let first =
            [table("b", "1\n"), table("a", "7\n8\n"), header("big", "TABLE", ""), "CREATE;\n\n".into()].concat();
        let (one, two) = (data("big", "1\n", "; Slice: 1/2"), data("big", "20\n3\n", "; Slice: 2/2"));
        let index = format!("{}CREATE INDEX i;\n\n", header("i", "INDEX", ""));
        let contents = contents(&[&first, &one, &two, &index]);
        let objects: Vec<Object> = contents.objects().collect();
        let told: Vec<_> = objects
            .iter()
            .map(|one| (one.kind.as_str(), one.full_name(), one.rows.as_ref().map(|rows| rows.rows)))
            .collect();
        assert_eq!(
            told,
            [
                ("TABLE", "public.a".to_owned(), Some(2)),
                ("TABLE", "public.b".to_owned(), Some(1)),
                ("TABLE", "public.big".to_owned(), Some(3)),
                ("INDEX", "public.i".to_owned(), None),
            ]
        );
        let whole = contents_of_one("big", "20\n1\n3\n");
        let rows = objects[2].rows.clone().unwrap();
        assert_eq!((rows.fingerprint, rows.sql_bytes), (whole.fingerprint, 7));
        assert!((3..=4).contains(&rows.stored_bytes_estimate), "{rows:?}");
    }

    fn contents_of_one(name: &str, rows: &str) -> Rows {
        contents(&[&data(name, rows, "")]).objects().next().unwrap().rows.unwrap()
    }

    #[test]
    fn many_objects_come_in_parts_in_the_same_order() {
        let script: String = (0..500).map(|n| table(&format!("t{:03}", n * 7919 % 500), "1\n2\n")).collect();
        let contents = contents(&[&script]);
        let whole: Vec<Object> = contents.objects_in_parts(5000).collect();
        assert_eq!(whole.len(), 500);
        assert!(whole.is_sorted_by_key(|object| object.name.clone()));
        for at_once in [1, 10, 130, 999] {
            let parts = contents.objects_in_parts(at_once);
            assert!(parts.bounds.len() + 1 >= 1000 / at_once.max(20) / 2, "{} bounds", parts.bounds.len());
            assert_eq!(parts.collect::<Vec<_>>(), whole, "{at_once} at once");
        }
    }

    #[test]
    fn stored_sizes_are_estimated_between_members() {
        let member = |(sql_bytes, stored_bytes)| Member { sql_bytes, stored_bytes, digest: None };
        let members: Members = [(100, 10), (100, 90)].into_iter().map(member).collect();
        let places = Places::of(&members);
        assert_eq!((places.between(0, 100), places.between(100, 200), places.between(50, 150)), (10, 90, 50));
        assert_eq!(places.between(0, 1000), 100);
        assert_eq!(Places::of(&Members::new()).between(3, 5), 0);
    }
}
