//! What differs between two backups, from their indexes alone: tables by their rows, everything else by its definition.

use super::changes::{Aspect, Differences, ObjectChange, TableChange};
use super::pairs::{Change, Pair, Rules, pair};
use crate::script::{Entry, NamePattern, TableData};
use std::collections::{BTreeMap, BTreeSet};

/// Which objects of one sort are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    All,
    /// Those of such names.
    Like(NamePattern),
    /// None.
    None,
}

impl Wanted {
    fn includes(&self, schema: Option<&str>, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Like(pattern) => pattern.matches(schema, name),
            Self::None => false,
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffScope {
    /// Tables with their rows.
    pub tables: Wanted,
    /// Everything else.
    pub objects: Wanted,
}

impl DiffScope {
    fn includes(&self, entry: &Entry) -> bool {
        let wanted = if is_table(entry) { &self.tables } else { &self.objects };
        wanted.includes(entry.schema.as_deref(), &entry.name)
    }
}

fn is_table(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "TABLE" | "TABLE DATA")
}

/// What has no owner of its own: headers name that of the table.
const OWNED_WITH_A_TABLE: [&str; 12] = [
    "CHECK CONSTRAINT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "POLICY",
    "ROW SECURITY",
    "RULE",
    "SEQUENCE OWNED BY",
    "TABLE ATTACH",
    "TRIGGER",
];

/// Whether an entry fills an object that another entry defines.
fn fills(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "TABLE DATA" | "SEQUENCE SET")
}

/// Schema and name as headers tell them, by which the entries of one object find each other.
type Name = (Option<String>, String);

fn name_of(entry: &Entry) -> Name {
    match &entry.table {
        // Rows of partitions by the hash of an enum are written as rows of the parent.
        Some(data) => (Some(data.schema.clone()), data.name_in_headers()),
        None => (entry.schema.clone(), entry.name.clone()),
    }
}

/// Whether an object is in one backup only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Added,
    Removed,
}

/// Compares two backups. Of entries that differ only in the order of columns, or in how a parallel dump cut them, nothing is
/// said, except that contents in another order of columns cannot be compared.
pub fn diff(
    before: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    after: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    scope: &DiffScope,
    rules: Rules,
) -> Differences {
    let (before, after) = (before.into_iter(), after.into_iter());
    let mut work =
        Work { scope, tables: BTreeMap::new(), objects: BTreeMap::new(), defined_alike: 0, notes: Vec::new() };
    let all = before.clone().count().max(after.clone().count()) as u64;
    // All of them, whatever is wanted: what belongs to a table that is new can be told only by one who knows of the table.
    pair(&before, &after, all, rules, |_, pair| work.take(pair));
    work.count_rows(before, |table| &mut table.rows_before);
    work.count_rows(after, |table| &mut table.rows_after);
    work.finish()
}

/// What is told of one object.
type Told = (Option<Side>, ObjectChange);

struct Work<'a> {
    scope: &'a DiffScope,
    tables: BTreeMap<Name, (Option<Side>, TableChange)>,
    objects: BTreeMap<(String, Name), Vec<Told>>,
    /// Objects whose own entry is the same, whatever is of their rows or values.
    defined_alike: u64,
    notes: Vec<String>,
}

impl Work<'_> {
    fn take(&mut self, pair: Pair<'_>) {
        match pair {
            Pair::Same(one, _) => self.alike(one),
            Pair::Lots(_, _, None) => {}
            Pair::Lots(entries, both, Some(change)) => {
                if let Some(entry) = entries.first() {
                    self.rows(entry, &both.0, &both.1, change);
                }
            }
            Pair::Changed(one, other, changes) => self.changed(one, other, &changes),
            Pair::Missing(entry) => self.one_sided(entry, Side::Removed),
            Pair::Extra(entry) => self.one_sided(entry, Side::Added),
        }
    }

    fn alike(&mut self, entry: &Entry) {
        self.defined_alike += u64::from(!fills(entry) && self.scope.includes(entry));
    }

    fn table(&mut self, entry: &Entry) -> &mut (Option<Side>, TableChange) {
        self.tables.entry(name_of(entry)).or_insert_with(|| {
            let (schema, table) = name_of(entry);
            (None, TableChange { schema, table, ..TableChange::default() })
        })
    }

    fn object(&mut self, kind: &str, entry: &Entry, side: Option<Side>, changes: Vec<Aspect>) -> &mut ObjectChange {
        let (schema, name) = name_of(entry);
        let all = self.objects.entry((kind.to_owned(), (schema.clone(), name.clone()))).or_default();
        let kind = kind.to_owned();
        all.push((side, ObjectChange { kind, schema, name, changes, ..ObjectChange::default() }));
        let last = all.len() - 1;
        &mut all[last].1
    }

    fn rows(&mut self, entry: &Entry, a: &TableData, b: &TableData, change: Change) {
        let mut aspects = Vec::new();
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        if change == Change::Columns {
            let only = |in_this: &TableData, not_in: &TableData| -> Vec<String> {
                let there: BTreeSet<&String> = not_in.columns.iter().collect();
                in_this.columns.iter().filter(|column| !there.contains(column)).cloned().collect()
            };
            (added, removed) = (only(b, a), only(a, b));
            if !added.is_empty() || !removed.is_empty() {
                aspects.push(Aspect::Columns);
            }
            if a.rows != b.rows {
                aspects.push(Aspect::Rows);
            }
            if aspects.is_empty() && !self.scope.includes(entry) {
                return;
            }
            if aspects.is_empty() {
                let note = "has its columns in another order: its contents were not compared, the number of its rows is the same";
                self.notes.push(format!("{} {note}", a.name()));
                return;
            }
        } else {
            aspects.push(if change == Change::Rows { Aspect::Rows } else { Aspect::Contents });
        }
        let (_, table) = self.table(entry);
        table.table.clone_from(&a.table);
        table.changes.extend(aspects);
        (table.columns_added, table.columns_removed) = (added, removed);
    }

    fn changed(&mut self, one: &Entry, other: &Entry, changes: &[Change]) {
        if let (Some(a), Some(b), Some(change)) = (&one.table, &other.table, changes.first()) {
            return self.rows(one, a, b, *change);
        }
        // A dump that names no owner says nothing about it, and of what belongs to a table the table's entry tells.
        let owned = other.owner.is_some() && !OWNED_WITH_A_TABLE.contains(&one.kind.as_str());
        let changes: Vec<Change> = changes.iter().copied().filter(|change| *change != Change::Owner || owned).collect();
        if changes.is_empty() {
            return self.alike(one);
        }
        let aspects = changes.iter().map(|change| match change {
            Change::Owner => Aspect::Owner,
            Change::Value => Aspect::Value,
            _ if is_privileges(one) => Aspect::Privileges,
            _ => Aspect::Definition,
        });
        let aspects: Vec<Aspect> = aspects.collect();
        let owners = changes.contains(&Change::Owner).then(|| (one.owner.clone(), other.owner.clone()));
        if is_table(one) {
            let (_, table) = self.table(one);
            table.changes.extend(aspects);
            (table.owner_before, table.owner_after) = owners.unwrap_or_default();
        } else if one.kind == "SEQUENCE SET" {
            let object = self.object("SEQUENCE", one, None, aspects);
            (object.before, object.after) = (one.value.clone(), other.value.clone());
        } else {
            let object = self.object(&one.kind, one, None, aspects);
            (object.owner_before, object.owner_after) = owners.unwrap_or_default();
        }
    }

    fn one_sided(&mut self, entry: &Entry, side: Side) {
        match entry.kind.as_str() {
            "TABLE" => self.table(entry).0 = Some(side),
            "TABLE DATA" => {
                let (_, table) = self.table(entry);
                if let Some(data) = &entry.table {
                    table.table.clone_from(&data.table);
                }
                table.changes.push(Aspect::Rows);
            }
            "SEQUENCE SET" => {
                let object = self.object("SEQUENCE", entry, None, vec![Aspect::Value]);
                let value = entry.value.clone();
                (object.before, object.after) = if side == Side::Removed { (value, None) } else { (None, value) };
            }
            // That somebody may do something for the first time is a change of an object that was there.
            kind if is_privileges(entry) => {
                let object = self.object(kind, entry, None, vec![Aspect::Privileges]);
                let none = Some("the defaults".to_owned());
                (object.before, object.after) = if side == Side::Added { (none, None) } else { (None, none) };
            }
            kind => {
                self.object(kind, entry, Some(side), Vec::new());
            }
        }
    }

    /// Counts the rows of the tables that are told of, on one side.
    fn count_rows(&mut self, entries: impl Iterator<Item = Entry>, of: fn(&mut TableChange) -> &mut Option<u64>) {
        for entry in entries.filter(|entry| entry.table.is_some()) {
            if let (Some((_, table)), Some(data)) = (self.tables.get_mut(&name_of(&entry)), &entry.table) {
                let rows = of(table);
                *rows = Some(rows.unwrap_or(0).saturating_add(data.rows));
            }
        }
    }

    fn finish(self) -> Differences {
        let Self { scope, tables, objects, mut defined_alike, notes } = self;
        let mut found = Differences { notes, ..Differences::default() };
        let mut one_sided: BTreeSet<Name> = BTreeSet::new();
        for (name, (side, mut table)) in tables {
            table.name = crate::archive::full_name(table.schema.as_deref(), &table.table);
            table.changes.sort_unstable();
            table.changes.dedup();
            if side.is_some() {
                one_sided.insert(name.clone());
            }
            if !scope.tables.includes(name.0.as_deref(), &name.1) {
                continue;
            }
            if let Some(side) = side {
                table.changes.clear();
                if side == Side::Added { &mut found.tables.added } else { &mut found.tables.removed }.push(table);
            } else {
                let defined = [Aspect::Definition, Aspect::Owner];
                let alike = !table.changes.iter().any(|change| defined.contains(change));
                defined_alike = defined_alike.saturating_sub(u64::from(alike));
                found.tables.changed.push(table);
            }
        }
        for ((_, name), all) in &objects {
            if all.iter().any(|(side, _)| side.is_some()) {
                one_sided.insert(name.clone());
            }
        }
        for ((kind, _), all) in objects {
            let all = if kind == "SEQUENCE" { as_one(all) } else { all };
            for (side, object) in all {
                let wanted = scope.objects.includes(object.schema.as_deref(), &object.name);
                if !wanted || belongs_to(&object, &one_sided) {
                    continue;
                }
                match side {
                    Some(Side::Added) => found.objects.added.push(object),
                    Some(Side::Removed) => found.objects.removed.push(object),
                    None => {
                        let alike = object.changes == [Aspect::Value];
                        defined_alike = defined_alike.saturating_sub(u64::from(alike));
                        found.objects.changed.push(object);
                    }
                }
            }
        }
        found.same = defined_alike;
        found
    }
}

/// A sequence is one object, whether its definition or its value or both changed. Of one that is new, its definition says
/// all.
fn as_one(mut all: Vec<Told>) -> Vec<Told> {
    if all.iter().any(|(side, _)| side.is_some()) {
        all.retain(|(side, _)| side.is_some());
        return all;
    }
    let mut rest = all.drain(..);
    let first = rest.next();
    let one = first.map(|first| {
        rest.fold(first, |(side, mut one), (_, next)| {
            one.changes.extend(next.changes);
            one.owner_before = one.owner_before.or(next.owner_before);
            one.owner_after = one.owner_after.or(next.owner_after);
            one.before = one.before.or(next.before);
            one.after = one.after.or(next.after);
            (side, one)
        })
    });
    one.into_iter().collect()
}

fn is_privileges(entry: &Entry) -> bool {
    matches!(entry.kind.as_str(), "ACL" | "DEFAULT ACL")
}

/// Whether `object` tells of another one that is in one backup only, and so says nothing new: `COLUMN orders.id` of orders.
fn belongs_to(object: &ObjectChange, one_sided: &BTreeSet<Name>) -> bool {
    if !matches!(object.kind.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL") {
        return false;
    }
    let is_there = |name: &str| one_sided.contains(&(object.schema.clone(), name.to_owned()));
    object.name.match_indices(' ').any(|(at, _)| {
        let rest = &object.name[at + 1..];
        is_there(rest)
            || (object.name.starts_with("COLUMN ") && rest.match_indices('.').any(|(dot, _)| is_there(&rest[..dot])))
    })
}

#[cfg(test)]
mod tests;
