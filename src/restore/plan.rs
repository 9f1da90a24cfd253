//! What a parallel restore does, and in which order: made of the outlines of the files and of what the target holds once
//! the definitions are there.
//!
//! ```text
//! definitions ──► rows of each table ──► its indexes and keys ──► foreign keys ──► the rest, in the order of the dump
//!   one session     several sessions, each part as soon as those before it are done        one session
//! ```

use super::graph::{Graph, LockId, Part, PartId};
use super::outline::{Held, Outline, alone, is_data};
use super::relations::{Relations, Table};
use crate::archive::{MemberMap, SqlReader};
use crate::script::{Entry, Lexer, Made, Scan, Section, Step, StorageDefault, TableData, first_statement, made};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// Small tables that follow each other are loaded together, up to so many bytes of SQL.
const GROUP: u64 = 4 << 20;

/// A table that is loaded by several sessions is loaded in pieces of at least so many bytes.
const LEAST_PIECE: u64 = 16 << 20;

/// How long making an index takes, in hundredths of loading its table. Measured on TPC-H; only the order depends on it.
const INDEX_COST: u64 = 25;

/// How long checking a foreign key takes, in hundredths of loading its table.
const FOREIGN_KEY_COST: u64 = 20;

/// How long anything takes at least, in bytes that are loaded meanwhile.
const LEAST_COST: u64 = 100_000;

/// One data file, ready to be loaded.
pub struct RestoreFile {
    /// The way to its SQL.
    pub reader: SqlReader,
    /// All of it that is not rows.
    pub outline: Outline,
    /// Members that end within a line, by number.
    pub broken_lines: Vec<u64>,
}

/// Statements of one entry.
#[derive(Debug, Clone)]
pub(super) struct Statements {
    pub(super) entry: Entry,
    /// What remains after what is left out.
    pub(super) sql: Vec<u8>,
    /// The tablespace and the access method that it is made with, as SQL values; empty for whatever the session has.
    pub(super) storage: (String, String),
}

/// What one part of the work is.
#[derive(Debug)]
pub(super) enum Work {
    /// Rows of one table, or some of them.
    Rows {
        /// The number of the file.
        file: usize,
        entry: Box<Entry>,
        /// What stands before the rows: the COPY statement.
        copy: Vec<u8>,
        range: Range<u64>,
        /// Whether these are all rows of the table, loaded by a session that may lock it.
        whole: bool,
    },
    /// Several small tables as they stand in the file, or values of sequences, or large objects.
    Stretch { file: usize, range: Range<u64>, what: String },
    /// Statements on one table or family of tables, one after the other.
    Statements(Vec<Statements>),
}

/// The plan.
pub(super) struct Plan {
    pub(super) graph: Graph,
    /// By the number of the part.
    pub(super) work: Vec<Work>,
    /// What comes at the end, in order.
    pub(super) rest: Vec<Statements>,
}

/// What a table's parts are, once they were added.
#[derive(Debug, Clone, Default)]
struct Parts {
    loads: Vec<PartId>,
    /// Indexes and keys.
    indexes: Vec<PartId>,
    row_bytes: u64,
}

/// Makes the plan.
pub(super) struct Planner<'a> {
    files: &'a [RestoreFile],
    relations: &'a Relations,
    jobs: usize,
    plan: Plan,
    tables: BTreeMap<LockId, Parts>,
    /// The tables of which indexes are known by name.
    indexes: BTreeMap<(String, String), LockId>,
    /// Attached indexes by family.
    attached: BTreeMap<LockId, Vec<Statements>>,
    attaching: BTreeMap<LockId, PartId>,
    /// Families whose rows are loaded through a partitioned table: which partition they go to is not known.
    routed: BTreeSet<LockId>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(files: &'a [RestoreFile], relations: &'a Relations, jobs: usize) -> Self {
        Self {
            files,
            relations,
            jobs,
            plan: Plan { graph: Graph::default(), work: Vec::new(), rest: Vec::new() },
            tables: BTreeMap::new(),
            indexes: BTreeMap::new(),
            attached: BTreeMap::new(),
            attaching: BTreeMap::new(),
            routed: BTreeSet::new(),
        }
    }

    pub(super) fn plan(mut self, entries: &[Vec<Entry>]) -> Plan {
        let behind = self.behind();
        let costs = self.costs(entries, &behind.parallel);
        for (number, entries) in entries.iter().enumerate() {
            self.rows_of(number, entries, &costs);
            self.data_of(number, entries);
        }
        let mut foreign = Vec::new();
        for (statements, made) in behind.parallel {
            match made {
                Made::Index { ref table, ref name } | Made::Key { ref table, ref name } => {
                    let Some(on) = self.relations.table(table) else {
                        self.plan.rest.push(statements);
                        continue;
                    };
                    self.indexes.insert((table.0.clone(), name.clone()), on.id);
                    self.index(on, matches!(made, Made::Key { .. }), statements);
                }
                Made::Attached { to, index } => {
                    // Without knowing both the rest does it, before anything that could need it.
                    match self.indexes.get(&to).or_else(|| self.indexes.get(&index)) {
                        Some(table) => {
                            let family = self.relations.family_of(*table);
                            self.attached.entry(family).or_default().push(statements);
                        }
                        None => self.plan.rest.push(statements),
                    }
                }
                Made::ForeignKey { table, references } => foreign.push((statements, table, references)),
            }
        }
        self.attach();
        for (statements, table, references) in foreign {
            match (self.relations.table(&table), self.relations.table(&references)) {
                (Some(table), Some(references)) => self.foreign_key(table, references, statements),
                _ => self.plan.rest.push(statements),
            }
        }
        self.plan.rest.extend(behind.rest);
        self.plan
    }

    /// Everything behind the data: what may be done in any order, and what must be done in the order of the dump.
    fn behind(&self) -> Behind {
        let mut behind = Behind::default();
        let mut in_order = false;
        for file in self.files {
            for held in file.outline.held.iter().filter(|held| held.entry.table.is_none()) {
                let statements = Statements::of(held, &file.outline);
                in_order |= held.entry.section == Section::PostData && is_definition(&held.entry.kind);
                let made = if in_order { None } else { single(&held.entry, &statements.sql) };
                let known = |made: &Made| match made {
                    Made::Index { table, .. } | Made::Key { table, .. } => self.relations.table(table).is_some(),
                    Made::Attached { .. } => true,
                    Made::ForeignKey { table, references } => {
                        self.relations.table(table).is_some() && self.relations.table(references).is_some()
                    }
                };
                match made.filter(known) {
                    Some(made) => behind.parallel.push((statements, made)),
                    None => behind.rest.push(statements),
                }
            }
        }
        behind
    }

    /// What each table costs: its rows, and all of it with indexes and keys.
    fn costs(&self, entries: &[Vec<Entry>], parallel: &[(Statements, Made)]) -> Costs {
        let mut costs = Costs::default();
        for table in entries.iter().flatten().filter_map(|entry| entry.table.as_ref()) {
            let bytes = table.end.saturating_sub(table.start);
            costs.all += bytes;
            if let Some(known) = self.relations.table(&(table.schema.clone(), table.table.clone())) {
                *costs.rows.entry(known.id).or_default() += bytes;
            }
        }
        costs.paths.clone_from(&costs.rows);
        for (_, made) in parallel {
            let (on, share) = match made {
                Made::Index { table, .. } | Made::Key { table, .. } => (table, INDEX_COST),
                Made::ForeignKey { table, .. } => (table, FOREIGN_KEY_COST),
                Made::Attached { .. } => continue,
            };
            if let Some(known) = self.relations.table(on) {
                let rows = costs.rows.get(&known.id).copied().unwrap_or_default();
                costs.all += rows * share / 100;
                // Those of one table can be made side by side, but for foreign keys.
                let side_by_side = if share == INDEX_COST { self.jobs as u64 } else { 1 };
                *costs.paths.entry(known.id).or_default() += rows * share / 100 / side_by_side;
            }
        }
        costs
    }

    fn rows_of(&mut self, file: usize, entries: &[Entry], costs: &Costs) {
        let Some(this) = self.files.get(file) else { return };
        let mut texts = this.outline.held.iter().filter(|held| held.entry.table.is_some());
        let mut group: Option<(Range<u64>, Vec<TableData>)> = None;
        for entry in entries {
            let Some(table) = &entry.table else { continue };
            if !alone(table) {
                let (range, tables) = group.get_or_insert_with(|| (entry.start..entry.end, Vec::new()));
                if range.end == entry.start || tables.is_empty() {
                    range.end = entry.end;
                    tables.push(table.clone());
                    if range.end - range.start < GROUP {
                        continue;
                    }
                    self.group(file, group.take());
                } else {
                    self.group(file, group.replace((entry.start..entry.end, vec![table.clone()])));
                }
                continue;
            }
            let copy = texts.next().map(|held| held.text.clone()).unwrap_or_default();
            let relations = self.relations;
            let known = relations.table(&(table.schema.clone(), table.table.clone()));
            let id = known.map(|known| known.id);
            let pieces = self.pieces(this, table, id, costs);
            // A slice is not all of it.
            let whole = table.slice.is_none() && pieces.len() == 1 && known.is_some_and(|known| known.plain);
            for range in pieces {
                let cost = (range.end - range.start).max(LEAST_COST);
                let part = match id {
                    Some(id) if whole => Part { cost, exclusive: Arc::new(vec![id]), ..Part::default() },
                    Some(id) => Part { cost, shared: vec![id], ..Part::default() },
                    None => Part { cost, ..Part::default() },
                };
                let bytes = range.end - range.start;
                let work = Work::Rows { file, entry: Box::new(entry.clone()), copy: copy.clone(), range, whole };
                let part = self.add(part, work);
                self.loaded(known, part, bytes);
            }
        }
        self.group(file, group);
    }

    /// Where a table's rows are cut: not at all, unless loading it by one session would hold up all others.
    fn pieces(&self, file: &RestoreFile, table: &TableData, id: Option<LockId>, costs: &Costs) -> Vec<Range<u64>> {
        let bytes = table.end - table.start;
        let path = id.and_then(|id| costs.paths.get(&id)).copied().unwrap_or(bytes);
        let share = costs.all / self.jobs.max(1) as u64;
        if self.jobs < 2 || path <= share || bytes < 2 * LEAST_PIECE {
            return std::iter::once(table.start..table.end).collect();
        }
        let wanted = (bytes / (8 * self.jobs as u64)).max(LEAST_PIECE);
        cut(&file.reader.map, &file.broken_lines, table.start..table.end, wanted)
    }

    fn group(&mut self, file: usize, group: Option<(Range<u64>, Vec<TableData>)>) {
        let Some((range, tables)) = group else { return };
        let relations = self.relations;
        let known: Vec<Option<&Table>> =
            tables.iter().map(|table| relations.table(&(table.schema.clone(), table.table.clone()))).collect();
        let cost = (range.end - range.start).max(LEAST_COST);
        let shared = known.iter().flatten().map(|known| known.id).collect();
        let what = match tables.as_slice() {
            [one] => one.name(),
            many => format!("{} tables", many.len()),
        };
        let part = self.add(Part { cost, shared, ..Part::default() }, Work::Stretch { file, range, what });
        for (known, table) in known.into_iter().zip(&tables) {
            self.loaded(known, part, table.end - table.start);
        }
    }

    fn loaded(&mut self, table: Option<&Table>, part: PartId, bytes: u64) {
        if let Some(table) = table {
            if table.routes {
                self.routed.insert(self.relations.family_of(table.id));
            }
            let parts = self.tables.entry(table.id).or_default();
            parts.loads.push(part);
            parts.row_bytes += bytes;
        }
    }

    /// Values of sequences and large objects, in the order of the file.
    fn data_of(&mut self, file: usize, entries: &[Entry]) {
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for entry in
            entries.iter().filter(|entry| entry.section == Section::Data && entry.table.is_none() && is_data(entry))
        {
            match stretches.last_mut() {
                Some(last) if last.end == entry.start => last.end = entry.end,
                _ => stretches.push(entry.start..entry.end),
            }
        }
        let mut after = Vec::new();
        for range in stretches {
            let cost = (range.end - range.start).max(LEAST_COST);
            let what = "values of sequences, and large objects".to_owned();
            let part =
                self.add(Part { cost, after: after.clone(), ..Part::default() }, Work::Stretch { file, range, what });
            after = vec![part];
        }
    }

    fn add(&mut self, part: Part, work: Work) -> PartId {
        self.plan.work.push(work);
        self.plan.graph.add(part)
    }

    fn index(&mut self, on: &Table, key: bool, statements: Statements) {
        let parts = self.tables.entry(on.id).or_default().clone();
        let cost = (parts.row_bytes * INDEX_COST / 100).max(LEAST_COST);
        let after = if self.routed.contains(&self.relations.family_of(on.id)) {
            self.parts_of(&self.relations.members(on.id), |parts| &parts.loads)
        } else {
            parts.loads
        };
        // A key locks its table against everything; so does what stands behind an index, such as CLUSTER ON.
        let alone = key || memchr::memchr_iter(b';', &statements.sql).count() > 1;
        let part = if alone {
            let locks = if on.has_children { self.relations.members(on.id) } else { Arc::new(vec![on.id]) };
            Part { cost, after, exclusive: locks, ..Part::default() }
        } else {
            Part { cost, after, shared: vec![on.id], ..Part::default() }
        };
        let part = self.add(part, Work::Statements(vec![statements]));
        self.tables.entry(on.id).or_default().indexes.push(part);
    }

    /// Attaches the indexes of each family, when all of them are there.
    fn attach(&mut self) {
        for (family, statements) in std::mem::take(&mut self.attached) {
            let locks = self.relations.members(family);
            let after = self.parts_of(&locks, |parts| &parts.indexes);
            let part = Part { cost: LEAST_COST, after, exclusive: locks, ..Part::default() };
            let part = self.add(part, Work::Statements(statements));
            self.attaching.insert(family, part);
        }
    }

    fn parts_of(&self, tables: &[LockId], which: impl Fn(&Parts) -> &Vec<PartId>) -> Vec<PartId> {
        let parts = tables.iter().filter_map(|table| self.tables.get(table));
        parts.flat_map(|parts| which(parts).iter().copied()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn foreign_key(&mut self, table: &Table, references: &Table, statements: Statements) {
        let families = [self.relations.family_of(table.id), self.relations.family_of(references.id)];
        let mut locks: BTreeSet<LockId> = BTreeSet::new();
        for family in families {
            locks.extend(self.relations.members(family).iter());
        }
        let locks: Vec<LockId> = locks.into_iter().collect();
        let mut after = self.parts_of(&locks, |parts| &parts.loads);
        // The key that it refers to; of its own indexes it needs none, but its lock would wait for them.
        after.extend(self.parts_of(&self.relations.members(families[1]), |parts| &parts.indexes));
        after.extend(families.iter().filter_map(|family| self.attaching.get(family)));
        after.sort_unstable();
        after.dedup();
        let bytes = self.tables.get(&table.id).map_or(0, |parts| parts.row_bytes);
        let cost = (bytes * FOREIGN_KEY_COST / 100).max(LEAST_COST);
        let part = Part { cost, after, exclusive: Arc::new(locks), ..Part::default() };
        self.add(part, Work::Statements(vec![statements]));
    }
}

#[derive(Default)]
struct Behind {
    parallel: Vec<(Statements, Made)>,
    rest: Vec<Statements>,
}

#[derive(Default)]
struct Costs {
    /// Of everything.
    all: u64,
    /// Bytes of rows by table.
    rows: BTreeMap<LockId, u64>,
    /// From a table's first row to its last foreign key.
    paths: BTreeMap<LockId, u64>,
}

/// What is written instead of a range of a file's SQL.
type Change = (Range<u64>, Vec<u8>);

/// `text`, which begins at the byte `start` of its file, with `changes`, which are in order.
fn changed(text: &[u8], start: u64, changes: &[Change]) -> Vec<u8> {
    let mut left = Vec::with_capacity(text.len());
    let mut at = 0;
    let end = start + text.len() as u64;
    let inside = changes.iter().skip_while(|(range, _)| range.end <= start).take_while(|(range, _)| range.start < end);
    for (range, instead) in inside {
        let (from, to) = (range.start.saturating_sub(start) as usize, (range.end - start) as usize);
        left.extend_from_slice(text.get(at..from).unwrap_or_default());
        left.extend_from_slice(instead);
        at = at.max(to);
    }
    left.extend_from_slice(text.get(at..).unwrap_or_default());
    left
}

/// What a restore changes between the bytes `range` of a file.
fn changes_in(scan: &Scan, range: Range<u64>) -> Vec<Change> {
    let first = scan.omitted.partition_point(|omitted| omitted.end <= range.start);
    let omitted = scan.omitted.iter().skip(first).take_while(|omitted| omitted.start < range.end);
    let mut changes: Vec<Change> = omitted.map(|omitted| (omitted.clone(), Vec::new())).collect();
    let first = scan.replaced.partition_point(|(replaced, _)| replaced.end <= range.start);
    changes.extend(scan.replaced.iter().skip(first).take_while(|(replaced, _)| replaced.start < range.end).cloned());
    changes.sort_by_key(|(range, _)| range.start);
    changes
}

impl RestoreFile {
    /// The settings that a session begins with.
    pub(super) fn head(&self) -> Vec<u8> {
        self.outline.session_head()
    }
}

impl Outline {
    /// The settings that a session begins with.
    pub(super) fn session_head(&self) -> Vec<u8> {
        changed(&self.head, 0, &changes_in(&self.scan, 0..self.head.len() as u64))
    }
}

impl Statements {
    pub(super) fn of(held: &Held, outline: &Outline) -> Self {
        let start = held.entry.start;
        let mut changes = changes_in(&outline.scan, start..held.entry.end);
        for at in DefaultsIn::of(&held.text).0 {
            let range = start + at.start as u64..start + at.end as u64;
            changes.retain(|(other, _)| other.start >= range.end || other.end <= range.start);
            changes.push((range, Vec::new()));
        }
        changes.sort_by_key(|(range, _)| range.start);
        let sql = changed(&held.text, start, &changes);
        let before = outline.scan.defaults.partition_point(|(at, _)| *at <= start);
        let mut storage = (String::new(), String::new());
        let mut known = (false, false);
        for (_, default) in outline.scan.defaults.iter().take(before).rev() {
            match default {
                StorageDefault::Tablespace(value) if !known.0 => {
                    known.0 = true;
                    storage.0.clone_from(value);
                }
                StorageDefault::AccessMethod(value) if !known.1 => {
                    known.1 = true;
                    storage.1.clone_from(value);
                }
                StorageDefault::Tablespace(_) | StorageDefault::AccessMethod(_) => {}
            }
            if known == (true, true) {
                break;
            }
        }
        Self { entry: held.entry.clone(), sql, storage }
    }
}

/// Where in the text of an entry the tablespace or access method of the next one is set.
struct DefaultsIn(Vec<Range<usize>>);

impl DefaultsIn {
    fn of(text: &[u8]) -> Self {
        let mut found = Vec::new();
        if memchr::memmem::find(text, b"SET default_ta").is_none() {
            return Self(found);
        }
        let mut lexer = Lexer::new();
        let mut at = 0;
        while at < text.len() {
            let (read, step) = lexer.advance(text.get(at..).unwrap_or_default());
            at += read.max(1);
            if step == Step::Statement && lexer.text().starts_with(b"SET default_ta") {
                found.push(at.saturating_sub(lexer.length() as usize)..at);
            }
        }
        Self(found)
    }
}

/// What an entry of a kind that can be done in any order makes.
fn single(entry: &Entry, sql: &[u8]) -> Option<Made> {
    if !matches!(entry.kind.as_str(), "INDEX" | "CONSTRAINT" | "FK CONSTRAINT" | "INDEX ATTACH") {
        return None;
    }
    made(&first_statement(sql)?.1)
}

/// Whether an entry of this kind makes something that others behind it may need: views and functions that need a key are
/// among what comes behind the data.
fn is_definition(kind: &str) -> bool {
    !matches!(
        kind,
        "INDEX"
            | "INDEX ATTACH"
            | "CONSTRAINT"
            | "FK CONSTRAINT"
            | "CHECK CONSTRAINT"
            | "TRIGGER"
            | "EVENT TRIGGER"
            | "RULE"
            | "POLICY"
            | "ROW SECURITY"
            | "PUBLICATION"
            | "PUBLICATION TABLE"
            | "PUBLICATION TABLES IN SCHEMA"
            | "SUBSCRIPTION"
            | "SUBSCRIPTION TABLE"
            | "STATISTICS"
            | "STATISTICS DATA"
            | "MATERIALIZED VIEW DATA"
            | "COMMENT"
            | "SECURITY LABEL"
            | "ACL"
            | "DEFAULT ACL"
    )
}

/// Cuts rows where members begin, into pieces of about `wanted` bytes: there a line begins, too.
fn cut(map: &MemberMap, broken_lines: &[u64], rows: Range<u64>, wanted: u64) -> Vec<Range<u64>> {
    let mut pieces = Vec::new();
    let mut begin = rows.start;
    let mut place = map.at_sql(rows.start);
    while place.pass().is_some() && place.sql < rows.end {
        let whole_line = place.number.checked_sub(1).is_some_and(|before| broken_lines.binary_search(&before).is_err());
        if whole_line && place.sql > begin && place.sql - begin >= wanted && rows.end - place.sql >= wanted / 2 {
            pieces.push(begin..place.sql);
            begin = place.sql;
        }
    }
    pieces.push(begin..rows.end);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Member, Members};

    #[test]
    fn rows_are_cut_where_members_and_lines_begin() {
        let member = |_| Member { sql_bytes: 10, stored_bytes: 5, digest: None };
        let map = MemberMap::new(&(0..20).map(member).collect::<Members>());
        assert_eq!(cut(&map, &[], 7..95, 30), [7..40, 40..70, 70..95]);
        assert_eq!(cut(&map, &[3], 7..95, 30), [7..50, 50..80, 80..95], "member 3 ends within a line");
        assert_eq!(cut(&map, &[], 7..60, 100).len(), 1);
        for wanted in 1..40 {
            let pieces = cut(&map, &[2, 7], 3..187, wanted);
            assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start && !pair[0].is_empty()));
            assert_eq!((pieces[0].start, pieces[pieces.len() - 1].end), (3, 187));
        }
    }

    #[test]
    fn what_is_left_out_or_reworded_is_so_in_the_text_of_an_entry() {
        let changes: Vec<Change> = [(0..5, ""), (12..15, "x"), (18..20, ""), (29..40, "")]
            .map(|(range, instead)| (range, instead.as_bytes().to_vec()))
            .to_vec();
        assert_eq!(changed(b"0123456789abcdefghij", 10, &changes), b"01x567abcdefghi");
    }
}
