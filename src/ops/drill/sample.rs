//! The drill of a sample: all definitions, and the rows of some tables, the smallest ones among them. Tables that refer to
//! others come with those, so that every foreign key holds.

use crate::archive::{Contents, FileContents, unpack_member};
use crate::catalogue::{FileKind, Manifest};
use crate::config::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::Context;
use crate::ops::check::Intact;
use crate::script::{Entry, Link, TableName, first_statement};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The part of the sample that is the smallest tables: a quarter. The others are drawn.
const SMALLEST: u64 = 4;

/// What is restored and compared instead of everything.
pub(super) struct Sample {
    /// The manifest as it would be of a backup without what is left out.
    pub(super) manifest: Manifest,
    /// And the index.
    pub(super) contents: Contents,
    /// What is left out, in words.
    pub(super) left_out: Vec<String>,
}

/// The rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    rows: u64,
}

/// Which tables are tied to which.
#[derive(Debug, Default)]
struct Ties {
    /// The tables that a table refers to by foreign keys.
    refers: BTreeMap<TableName, Vec<TableName>>,
    parts: BTreeMap<TableName, Vec<TableName>>,
    whole: BTreeMap<TableName, TableName>,
}

/// Chooses a sample of the checked copy `intact`, of at most `limit` bytes of SQL unless every table is larger, by the
/// random number `draw`, and has the rest left out when it is loaded.
pub(super) async fn take(
    ctx: &Context,
    manifest: &Manifest,
    intact: &mut Intact,
    limit: u64,
    draw: u64,
) -> Result<Sample> {
    let mut sizes: BTreeMap<TableName, Size> = BTreeMap::new();
    for table in intact.contents.entries().filter_map(|entry| entry.table) {
        let size = sizes.entry((table.schema, table.table)).or_default();
        size.bytes += table.end.saturating_sub(table.start);
        size.rows += table.rows;
    }
    let codec: Codec = manifest.codec.parse()?;
    let mut ties = Ties::default();
    let mut refreshes: Vec<Vec<Range<u64>>> = Vec::new();
    for (file, index) in manifest.files_of(FileKind::Data).zip(&intact.contents.files) {
        let mut refreshed = Vec::new();
        let reading = Reading { ctx, intact, manifest, codec, name: &file.name, index };
        for (entry, sql) in reading.statements().await? {
            let Some((end, statement)) = first_statement(&sql) else { continue };
            if entry.kind == REFRESH {
                refreshed.push(entry.start..entry.start + end as u64);
            }
            ties.extend(Link::parse(&statement));
        }
        refreshes.push(refreshed);
    }
    let chosen = choose(&sizes, &ties, limit, draw);
    let whole = chosen.len() == sizes.len();
    let mut left_out = Vec::new();
    if !whole {
        let (tables, of) = (sizes.len() - chosen.len(), sizes.len());
        let rows: u64 = sizes.iter().filter(|(name, _)| !chosen.contains(*name)).map(|(_, size)| size.rows).sum();
        left_out.push(format!(
            "the rows of {tables} of {of} tables, {rows} rows, were not restored: they are not in the sample"
        ));
    }
    let views: usize = refreshes.iter().map(Vec::len).sum();
    if !whole && views > 0 {
        let views =
            if views == 1 { "1 materialized view was".to_owned() } else { format!("{views} materialized views were") };
        left_out.push(format!("{views} not filled: a sample may lack the rows for it"));
    }
    let keep = |entry: &Entry| match &entry.table {
        Some(table) => chosen.contains(&(table.schema.clone(), table.table.clone())),
        None => whole || entry.kind != REFRESH,
    };
    let mut files = Vec::new();
    for ((index, scan), refreshed) in intact.contents.files.iter().zip(&mut intact.scans).zip(refreshes) {
        if !whole {
            // A COPY is left out with its end, but not what the next entry says before its header.
            let copies = index.entries.iter().filter(|entry| !keep(entry));
            let copies = copies.filter_map(|entry| Some(entry.start..entry.table?.end + END_OF_ROWS));
            scan.omitted = merged(scan.omitted.iter().cloned().chain(copies).chain(refreshed).collect());
        }
        files.push(FileContents { entries: index.entries.iter().filter(keep).collect(), ..index.clone() });
    }
    let contents = Contents::new(files);
    let manifest = restated(manifest, &contents);
    Ok(Sample { manifest, contents, left_out })
}

/// The entry that fills a materialized view.
const REFRESH: &str = "MATERIALIZED VIEW DATA";

/// `\.`, which ends the rows of a COPY.
const END_OF_ROWS: u64 = 2;

/// Sorted, those that touch joined.
fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut all: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match all.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

/// The manifest with the counts of `contents`, which holds less.
fn restated(manifest: &Manifest, contents: &Contents) -> Manifest {
    let tables = contents.entries().filter(|entry| entry.kind == "TABLE DATA" && entry.counts()).count() as u64;
    let rows = contents.entries().filter_map(|entry| entry.table).map(|table| table.rows).sum();
    Manifest { entries: contents.counted(), tables, rows, ..manifest.clone() }
}

/// Reads statements out of one data file.
struct Reading<'a> {
    ctx: &'a Context,
    intact: &'a Intact,
    manifest: &'a Manifest,
    codec: Codec,
    name: &'a crate::destination::Key,
    index: &'a FileContents,
}

impl Reading<'_> {
    /// The SQL of the entries that tie tables together or fill what depends on rows. Only members that hold such are read.
    async fn statements(&self) -> Result<Vec<(Entry, Vec<u8>)>> {
        let matters = |entry: &Entry| matches!(entry.kind.as_str(), "FK CONSTRAINT" | "TABLE ATTACH" | REFRESH);
        let mut wanted: Vec<(Entry, Vec<u8>)> =
            self.index.entries.iter().filter(matters).map(|entry| (entry, Vec::new())).collect();
        wanted.sort_by_key(|(entry, _)| entry.start);
        let key = self.manifest.dir().child(self.name);
        let (mut sql_at, mut stored_at, mut first) = (0u64, 0u64, 0);
        for member in &self.index.members {
            let (sql, stored) = (sql_at..sql_at + member.sql_bytes, stored_at..stored_at + member.stored_bytes);
            (sql_at, stored_at) = (sql.end, stored.end);
            while wanted.get(first).is_some_and(|(entry, _)| entry.end <= sql.start) {
                first += 1;
            }
            let within = wanted.iter_mut().skip(first).take_while(|(entry, _)| entry.start < sql.end);
            let mut within = within.peekable();
            if within.peek().is_none() {
                continue;
            }
            self.ctx.cancel.check()?;
            let bytes = self.intact.source.read(&key, stored).await?;
            let text = unpack_member(self.codec, &bytes, member.sql_bytes)?;
            for (entry, kept) in within {
                let from = entry.start.max(sql.start) - sql.start;
                let to = entry.end.min(sql.end) - sql.start;
                let piece = text.get(from as usize..to as usize).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Damaged,
                        format!("the index says of {} what is not in {}", entry.name, self.name),
                    )
                })?;
                kept.extend_from_slice(piece);
            }
        }
        Ok(wanted)
    }
}

impl Extend<Link> for Ties {
    fn extend<I: IntoIterator<Item = Link>>(&mut self, links: I) {
        for link in links {
            match link {
                Link::ForeignKey { from, to } => self.refers.entry(from).or_default().push(to),
                Link::Partition { whole, part } => {
                    self.whole.insert(part.clone(), whole.clone());
                    self.parts.entry(whole).or_default().push(part);
                }
            }
        }
    }
}

impl Ties {
    /// `table` and all whose rows its rows need, without `there` and what holds no rows; `None` if they have more than
    /// `most` bytes.
    fn needed(
        &self,
        table: &TableName,
        sizes: &BTreeMap<TableName, Size>,
        there: &BTreeSet<TableName>,
        most: u64,
    ) -> Option<(BTreeSet<TableName>, u64)> {
        let mut found = BTreeSet::new();
        let mut bytes = 0u64;
        let mut seen: BTreeSet<&TableName> = [table].into();
        let mut open = vec![table];
        while let Some(table) = open.pop() {
            if let Some(size) = sizes.get(table)
                && !there.contains(table)
            {
                bytes = bytes.saturating_add(size.bytes);
                if bytes > most {
                    return None;
                }
                found.insert(table.clone());
            }
            // A foreign key of a partitioned table is one of its partitions too.
            let mut ancestors = vec![table];
            while let Some(whole) = ancestors.last().and_then(|part| self.whole.get(*part))
                && !ancestors.contains(&whole)
            {
                ancestors.push(whole);
            }
            let mut targets: Vec<&TableName> =
                ancestors.into_iter().filter_map(|table| self.refers.get(table)).flatten().collect();
            while let Some(target) = targets.pop() {
                if seen.insert(target) {
                    open.push(target);
                    targets.extend(self.parts.get(target).into_iter().flatten());
                }
            }
        }
        Some((found, bytes))
    }
}

/// The tables of a sample of `limit` bytes: the smallest up to a quarter of it, then others by chance, each with those that
/// it refers to. Where there are rows at all, some are in it, be they more than `limit`.
fn choose(sizes: &BTreeMap<TableName, Size>, ties: &Ties, limit: u64, draw: u64) -> BTreeSet<TableName> {
    let mut chosen = BTreeSet::new();
    let mut left = limit;
    let mut ascending: Vec<(&TableName, &Size)> = sizes.iter().collect();
    ascending.sort_by_key(|(name, size)| (size.bytes, *name));
    let mut take = |table: &TableName, most: u64, left: &mut u64| {
        if chosen.contains(table) {
            return true;
        }
        let Some((tables, bytes)) = ties.needed(table, sizes, &chosen, most) else { return false };
        chosen.extend(tables);
        *left = left.saturating_sub(bytes);
        true
    };
    let others = limit - limit / SMALLEST;
    for (table, size) in &ascending {
        if size.bytes > left.saturating_sub(others) {
            break;
        }
        let most = left.saturating_sub(others);
        take(table, most, &mut left);
    }
    let mut random = draw;
    let mut drawn: Vec<&TableName> = ascending.iter().map(|(name, _)| *name).collect();
    for end in (1..drawn.len()).rev() {
        drawn.swap(end, (next(&mut random) % (end as u64 + 1)) as usize);
    }
    for table in drawn {
        let most = left;
        take(table, most, &mut left);
    }
    let rows = |table: &TableName| sizes.get(table).is_some_and(|size| size.rows > 0);
    if !chosen.iter().any(rows) {
        let costs = ascending.iter().filter(|(_, size)| size.rows > 0);
        let costs = costs.filter_map(|(table, _)| ties.needed(table, sizes, &chosen, u64::MAX));
        chosen.extend(costs.min_by_key(|(_, bytes)| *bytes).map(|(tables, _)| tables).unwrap_or_default());
    }
    chosen
}

/// SplitMix64 (Steele, Lea, Flood, 2014): as random as a sample needs.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(name: &str) -> TableName {
        ("public".to_owned(), name.to_owned())
    }

    fn sizes(all: &[(&str, u64)]) -> BTreeMap<TableName, Size> {
        all.iter().map(|(name, bytes)| (named(name), Size { bytes: *bytes, rows: u64::from(*bytes > 0) })).collect()
    }

    fn refers(all: &[(&str, &str)]) -> Ties {
        let mut ties = Ties::default();
        ties.extend(all.iter().map(|(from, to)| Link::ForeignKey { from: named(from), to: named(to) }));
        ties
    }

    fn names(chosen: &BTreeSet<TableName>) -> Vec<&str> {
        chosen.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn the_smallest_are_always_there_and_chance_decides_the_rest() {
        let sizes = sizes(&[("empty", 0), ("tiny", 5), ("small", 15), ("a", 60), ("b", 60), ("c", 60), ("huge", 999)]);
        let mut seen = BTreeSet::new();
        for draw in 0..40 {
            let chosen = choose(&sizes, &Ties::default(), 100, draw);
            let names = names(&chosen);
            assert!(["empty", "tiny", "small"].iter().all(|name| names.contains(name)), "{names:?}");
            assert_eq!(names.len(), 4, "{names:?}");
            seen.extend(names.into_iter().map(str::to_owned));
        }
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen, ["a", "b", "c", "empty", "small", "tiny"]);
        let all = choose(&sizes, &Ties::default(), 10_000, 1);
        assert_eq!(all.len(), sizes.len());
    }

    #[test]
    fn a_table_comes_with_those_it_refers_to_or_not_at_all() {
        let (sizes, ties) = (
            sizes(&[("lines", 10), ("orders", 40), ("clients", 500), ("notes", 7)]),
            refers(&[("lines", "orders"), ("orders", "clients"), ("clients", "clients")]),
        );
        for draw in 0..20 {
            assert_eq!(names(&choose(&sizes, &ties, 100, draw)), ["notes"]);
            assert_eq!(choose(&sizes, &ties, 600, draw).len(), 4);
        }
    }

    #[test]
    fn partitions_count_as_what_refers_and_what_is_referred_to() {
        let sizes = sizes(&[("lines_1", 10), ("orders_1", 500), ("orders_2", 500), ("x", 3)]);
        let mut ties = refers(&[("lines", "orders")]);
        let part = |whole, part| Link::Partition { whole: named(whole), part: named(part) };
        ties.extend([part("lines", "lines_1"), part("orders", "orders_1"), part("orders", "orders_2")]);
        let (needed, bytes) = ties.needed(&named("lines_1"), &sizes, &BTreeSet::new(), u64::MAX).unwrap();
        assert_eq!((names(&needed), bytes), (vec!["lines_1", "orders_1", "orders_2"], 1010));
        assert!(!names(&choose(&sizes, &ties, 900, 3)).contains(&"lines_1"));
    }

    #[test]
    fn a_sample_that_would_be_empty_takes_the_least_there_is() {
        let (sizes, ties) = (sizes(&[("a", 50), ("b", 60), ("c", 70), ("none", 0)]), refers(&[("a", "b")]));
        assert_eq!(names(&choose(&sizes, &ties, 0, 1)), ["b", "none"]);
        assert!(choose(&BTreeMap::new(), &Ties::default(), 10, 1).is_empty());
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init)]
    fn ranges_that_touch_are_one() {
        assert_eq!(merged(vec![5..9, 0..2, 2..4, 6..7]), [0..4, 5..9]);
    }

    proptest! {
        #[test]
        fn every_foreign_key_of_a_sample_holds(
            bytes in prop::collection::vec(0u64..100, 1..12),
            keys in prop::collection::vec((0usize..12, 0usize..12), 0..20),
            limit in 0u64..500,
            draw in any::<u64>(),
        ) {
            let all: Vec<(String, u64)> = bytes.iter().enumerate().map(|(n, bytes)| (format!("t{n:02}"), *bytes)).collect();
            let all: Vec<(&str, u64)> = all.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
            let sizes = sizes(&all);
            let keys: Vec<(&str, &str)> = keys
                .iter()
                .filter_map(|(from, to)| Some((all.get(*from)?.0, all.get(*to)?.0)))
                .collect();
            let chosen = choose(&sizes, &refers(&keys), limit, draw);
            for (from, to) in keys {
                prop_assert!(!chosen.contains(&named(from)) || chosen.contains(&named(to)), "{} -> {}", from, to);
            }
            let rows: u64 = chosen.iter().map(|name| sizes[name].rows).sum();
            prop_assert!(rows > 0 || sizes.values().all(|size| size.rows == 0));
        }
    }
}
