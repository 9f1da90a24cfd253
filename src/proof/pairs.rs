//! Entries of two dumps, paired: as multisets, for the order of a dump follows oids, which a restore deals anew.

use crate::script::{Entry, TableData};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// What must not be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Compare owners.
    pub owners: bool,
    /// Compare grants and default privileges.
    pub privileges: bool,
    /// Compare the SQL of definitions. Dumps of different major versions word the same definition differently: between
    /// those, that an object is there is all that can be said.
    pub definitions: bool,
}

/// Kind, schema and name.
pub(super) type Key<'a> = (&'a str, &'a str, &'a str);

/// How many entries are in memory at once, of each side and on the average: they take half a kilobyte each.
pub(super) const COMPARED_AT_ONCE: u64 = 20_000;

/// Large objects are compared one by one: how pg_dump groups them differs by version and by what there is.
const DISSOLVED: [&str; 3] = ["BLOB", "BLOB METADATA", "BLOBS"];

/// What became of an entry.
#[derive(Debug)]
pub(super) enum Pair<'a> {
    /// On both sides, and equal as far as the rules go.
    Same(&'a Entry, &'a Entry),
    /// On both sides, and different: in what is never empty.
    Changed(&'a Entry, &'a Entry, Vec<Change>),
    /// Lots of rows of one table on both sides, each side taken together; `None` if they are equal.
    Lots(&'a [&'a Entry], Box<(TableData, TableData)>, Option<Change>),
    /// On the first side only.
    Missing(&'a Entry),
    /// On the second side only.
    Extra(&'a Entry),
}

/// One way in which two entries differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The values of a sequence.
    Value,
    Owner,
    Definition,
    /// The columns of rows.
    Columns,
    /// The number of rows.
    Rows,
    /// As many rows, of which some are others.
    Contents,
}

/// Hands every pair of `expected` and `found` to `each`, about `all` entries a side in all, part by part in memory.
pub(super) fn pair(
    expected: &(impl Iterator<Item = Entry> + Clone),
    found: &(impl Iterator<Item = Entry> + Clone),
    all: u64,
    rules: Rules,
    mut each: impl FnMut(Key<'_>, Pair<'_>),
) {
    let parts = all.div_ceil(COMPARED_AT_ONCE).max(1);
    for part in 0..parts {
        let of_part = |entry: &Entry| parts == 1 || part_of(entry, parts) == part;
        let expected: Vec<Entry> = expected.clone().filter(of_part).collect();
        let found: Vec<Entry> = found.clone().filter(of_part).collect();
        let expected = by_key(&expected, rules);
        let mut found = by_key(&found, rules);
        for (key, wanted) in &expected {
            let there = found.remove(key).unwrap_or_default();
            pair_group(wanted, &there, rules, |pair| each(*key, pair));
        }
        for (key, extra) in found {
            for entry in extra {
                each(key, Pair::Extra(entry));
            }
        }
    }
}

/// Which of `parts` parts an entry is in: those of one key are in the same.
fn part_of(entry: &Entry, parts: u64) -> u64 {
    let (kind, schema, name) = key(entry);
    let mut hasher = Xxh3::new();
    for word in [kind, schema, name] {
        hasher.update(word.as_bytes());
        hasher.update(&[0]);
    }
    hasher.digest() % parts
}

fn by_key(entries: &[Entry], rules: Rules) -> BTreeMap<Key<'_>, Vec<&Entry>> {
    let mut groups: BTreeMap<Key<'_>, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        let kind = entry.kind.as_str();
        let left_out = DISSOLVED.contains(&kind) || (!rules.privileges && matches!(kind, "ACL" | "DEFAULT ACL"));
        if !left_out {
            groups.entry(key(entry)).or_default().push(entry);
        }
    }
    groups
}

/// Tables go by their COPY statement, for a header flattens newlines; everything else by its header.
fn key(entry: &Entry) -> Key<'_> {
    match &entry.table {
        Some(TableData { schema, table, .. }) => (&entry.kind, schema, table),
        None => (&entry.kind, entry.schema.as_deref().unwrap_or_default(), &entry.name),
    }
}

fn pair_group(wanted: &[&Entry], there: &[&Entry], rules: Rules, mut each: impl FnMut(Pair<'_>)) {
    if (wanted.len() > 1 || there.len() > 1)
        && let (Some(a), Some(b)) = (merged(wanted), merged(there))
    {
        let change = change_of_rows(&a, &b);
        each(Pair::Lots(wanted, Box::new((a, b)), change));
        return;
    }
    // Several entries of one name (operators, say) are paired by what they hold.
    let mut unmatched: Vec<&Entry> = there.to_vec();
    let mut missing: Vec<&Entry> = Vec::new();
    for entry in wanted {
        match unmatched.iter().position(|other| changes(entry, other, rules).is_empty()) {
            Some(place) => each(Pair::Same(entry, unmatched.swap_remove(place))),
            None => missing.push(entry),
        }
    }
    for entry in missing {
        each(match unmatched.pop() {
            Some(other) => Pair::Changed(entry, other, changes(entry, other, rules)),
            None => Pair::Missing(entry),
        });
    }
    for entry in unmatched {
        each(Pair::Extra(entry));
    }
}

/// Several lots of rows of one table as one: a parallel dump splits a large table into slices. And pg_dump writes those of
/// all partitions by the hash of an enum as rows of the parent, and a restore spreads them in another way, for it deals the
/// enum's values new oids.
fn merged(entries: &[&Entry]) -> Option<TableData> {
    let mut all = entries.iter().map(|entry| entry.table.as_ref());
    let first = all.next()??.clone();
    all.try_fold(first, |mut sum, next| {
        let next = next.filter(|next| next.columns == sum.columns)?;
        sum.rows += next.rows;
        sum.fingerprint = sum.fingerprint.with(next.fingerprint);
        Some(sum)
    })
}

/// How two entries of one key differ; the first is what a person should hear of first.
fn changes(wanted: &Entry, there: &Entry, rules: Rules) -> Vec<Change> {
    if let (Some(a), Some(b)) = (&wanted.table, &there.table) {
        return change_of_rows(a, b).into_iter().collect();
    }
    if wanted.kind == "SEQUENCE SET" {
        return if wanted.value == there.value { Vec::new() } else { vec![Change::Value] };
    }
    let mut changes = Vec::new();
    // Whose grants an entry describes is told by its header, which is of no meaning of its own.
    let owned = !matches!(wanted.kind.as_str(), "ACL" | "DEFAULT ACL" | "COMMENT" | "SECURITY LABEL");
    // A dump of --no-owner names none: whoever restores it owns everything.
    if rules.owners && owned && wanted.owner.is_some() && wanted.owner != there.owner {
        changes.push(Change::Owner);
    }
    let reordered = wanted.unordered_digest.is_some() && wanted.unordered_digest == there.unordered_digest;
    let comparable = rules.definitions || wanted.kind == "LARGE OBJECT";
    if comparable && wanted.digest != there.digest && !reordered {
        changes.push(Change::Definition);
    }
    changes
}

fn change_of_rows(wanted: &TableData, there: &TableData) -> Option<Change> {
    if wanted.columns != there.columns {
        Some(Change::Columns)
    } else if wanted.rows != there.rows {
        Some(Change::Rows)
    } else {
        (wanted.fingerprint != there.fingerprint).then_some(Change::Contents)
    }
}
