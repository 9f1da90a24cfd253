//! Entries against entries, as multisets: the order of a dump follows oids, which a restore deals anew.

use super::Difference;
use crate::script::{Entry, TableData};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// What a restore left out on purpose, and so must not be compared.
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

/// What the manifest says the backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// Number of entries, large objects left out.
    pub entries: u64,
    /// Number of tables with data.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of large objects.
    pub large_objects: u64,
}

/// What came of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What is not as it was, in the order of kind and name.
    pub differences: Vec<Difference>,
    /// Number of objects that were compared, tables' rows and large objects among them.
    pub objects: u64,
    /// Number of tables whose rows were compared.
    pub tables: u64,
    /// Number of rows that were compared.
    pub rows: u64,
    /// Differences that a restore makes by its nature, each named.
    pub notes: Vec<String>,
}

type Key<'a> = (&'a str, &'a str, &'a str);

/// How many entries are in memory at once, of each side and on the average: they take half a kilobyte each.
const COMPARED_AT_ONCE: u64 = 20_000;

/// Large objects are compared one by one: how pg_dump groups them differs by version and by what there is.
const DISSOLVED: [&str; 3] = ["BLOB", "BLOB METADATA", "BLOBS"];

/// Compares what was backed up with what a dump of the restored database holds.
pub fn compare(
    expected: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    found: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    declared: Declared,
    rules: Rules,
) -> Comparison {
    let (expected, found) = (expected.into_iter(), found.into_iter());
    let mut comparison = Comparison::default();
    let parts = check_declared(expected.clone(), declared, &mut comparison).div_ceil(COMPARED_AT_ONCE).max(1);
    for part in 0..parts {
        let of_part = |entry: &Entry| parts == 1 || part_of(entry, parts) == part;
        let expected: Vec<Entry> = expected.clone().filter(of_part).collect();
        let found: Vec<Entry> = found.clone().filter(of_part).collect();
        compare_part(&expected, &found, rules, &mut comparison);
    }
    comparison.differences.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    comparison
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

fn compare_part(expected: &[Entry], found: &[Entry], rules: Rules, comparison: &mut Comparison) {
    let expected = by_key(expected, rules);
    let mut found = by_key(found, rules);
    for (key, wanted) in &expected {
        let there = found.remove(key).unwrap_or_default();
        comparison.objects += wanted.iter().filter(|entry| entry.counts()).count() as u64;
        compare_group(*key, wanted, &there, rules, comparison);
    }
    for (key, extra) in found {
        for entry in extra {
            // Without its rows by the user's wish (--exclude-table-data), a table is dumped again as an empty one; so is a
            // sequence that was not set (--schema-only).
            let unset = key.0 == "SEQUENCE SET" && entry.value.as_ref().is_some_and(|value| value.ends_with(", false"));
            if !unset && entry.table.as_ref().is_none_or(|data| data.rows > 0) {
                comparison.differences.push(difference(key, "absent", "present"));
            }
        }
    }
}

/// The index must hold all that the manifest counts: a comparison of nothing proves nothing. Returns how many entries there
/// are.
fn check_declared(expected: impl Iterator<Item = Entry>, declared: Declared, comparison: &mut Comparison) -> u64 {
    let (mut all, mut entries, mut tables, mut rows, mut objects) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for entry in expected {
        all += 1;
        rows = rows.saturating_add(entry.table.as_ref().map_or(0, |data| data.rows));
        if entry.kind == "LARGE OBJECT" {
            objects += 1;
        } else if entry.counts() {
            entries += 1;
            tables += u64::from(entry.kind == "TABLE DATA");
        }
    }
    let counts = [
        ("entries", declared.entries, entries),
        ("tables", declared.tables, tables),
        ("rows", declared.rows, rows),
        ("large objects", declared.large_objects, objects),
    ];
    for (what, manifest, index) in counts {
        if manifest != index {
            comparison.differences.push(Difference {
                kind: "MANIFEST".to_owned(),
                name: what.to_owned(),
                expected: format!("{manifest} in the manifest"),
                found: format!("{index} in the index"),
            });
        }
    }
    all
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

fn difference((kind, schema, name): Key<'_>, expected: impl Into<String>, found: impl Into<String>) -> Difference {
    let name = if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") };
    Difference { kind: kind.to_owned(), name, expected: expected.into(), found: found.into() }
}

fn compare_group(key: Key<'_>, wanted: &[&Entry], there: &[&Entry], rules: Rules, comparison: &mut Comparison) {
    if (wanted.len() > 1 || there.len() > 1)
        && let (Some(a), Some(b)) = (merged(wanted), merged(there))
    {
        for entry in wanted {
            count(entry, comparison);
        }
        if let Some((expected, found)) = describe_rows(&a, &b) {
            comparison.differences.push(difference(key, expected, found));
        }
        return;
    }
    // Several entries of one name (operators, say) are paired by what they hold.
    let mut unmatched: Vec<&Entry> = there.to_vec();
    let mut missing: Vec<&Entry> = Vec::new();
    for entry in wanted {
        count(entry, comparison);
        match unmatched.iter().position(|other| describe(entry, other, rules).is_none()) {
            Some(place) => {
                note_order(key, entry, unmatched.swap_remove(place), comparison);
            }
            None => missing.push(entry),
        }
    }
    for entry in missing {
        let found = unmatched.pop();
        let (expected, found) = match found {
            Some(other) => describe(entry, other, rules).unwrap_or_default(),
            None => ("present".to_owned(), "missing".to_owned()),
        };
        comparison.differences.push(difference(key, expected, found));
    }
    for _ in unmatched {
        comparison.differences.push(difference(key, "absent", "present"));
    }
}

/// Several lots of rows of one table as one: a parallel dump splits a large table into slices. And pg_dump writes those of all partitions by the hash of an enum as rows of the
/// parent, and a restore spreads them in another way, for it deals the enum's values new oids.
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

fn count(entry: &Entry, comparison: &mut Comparison) {
    if let Some(data) = &entry.table {
        comparison.tables += u64::from(entry.counts());
        comparison.rows += data.rows;
    }
}

/// A restore puts inherited columns first: the same table, its columns in another order.
fn note_order((_, schema, name): Key<'_>, wanted: &Entry, there: &Entry, comparison: &mut Comparison) {
    if wanted.kind == "TABLE" && wanted.digest != there.digest && wanted.unordered_digest.is_some() {
        comparison.notes.push(format!("the columns of {schema}.{name} come back in the order of its parents"));
    }
}

/// How two entries of one key differ: what was expected and what was found; `None` if they are equal.
fn describe(wanted: &Entry, there: &Entry, rules: Rules) -> Option<(String, String)> {
    if let (Some(a), Some(b)) = (&wanted.table, &there.table) {
        return describe_rows(a, b);
    }
    if wanted.kind == "SEQUENCE SET" {
        let value = |entry: &Entry| entry.value.clone().unwrap_or_else(|| "no value".to_owned());
        return (value(wanted) != value(there)).then(|| (value(wanted), value(there)));
    }
    let owner = |entry: &Entry| entry.owner.clone().unwrap_or_else(|| "nobody".to_owned());
    // Whose grants an entry describes is told by its header, which is of no meaning of its own.
    let owned = !matches!(wanted.kind.as_str(), "ACL" | "DEFAULT ACL" | "COMMENT" | "SECURITY LABEL");
    // A dump of --no-owner names none: whoever restores it owns everything.
    if rules.owners && owned && wanted.owner.is_some() && owner(wanted) != owner(there) {
        return Some((format!("owned by {}", owner(wanted)), format!("owned by {}", owner(there))));
    }
    let reordered = wanted.unordered_digest.is_some() && wanted.unordered_digest == there.unordered_digest;
    let comparable = rules.definitions || wanted.kind == "LARGE OBJECT";
    if comparable && wanted.digest != there.digest && !reordered {
        let short = |entry: &Entry| format!("definition {:.12}", entry.digest.to_string());
        return Some((short(wanted), short(there)));
    }
    None
}

fn describe_rows(wanted: &TableData, there: &TableData) -> Option<(String, String)> {
    if wanted.columns != there.columns {
        return Some((
            format!("columns {}", wanted.columns.join(", ")),
            format!("columns {}", there.columns.join(", ")),
        ));
    }
    if wanted.rows != there.rows {
        return Some((format!("{} rows", wanted.rows), format!("{} rows", there.rows)));
    }
    (wanted.fingerprint != there.fingerprint).then(|| {
        let show = |data: &TableData| format!("{} rows with fingerprint {}", data.rows, data.fingerprint);
        (show(wanted), show(there))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Scanner;

    const RULES: Rules = Rules { owners: true, privileges: true, definitions: true };

    fn scan(statements: &str) -> Vec<Entry> {
        let mut scanner = Scanner::default();
        scanner.feed(statements.as_bytes());
        scanner.finish().entries.iter().collect()
    }

    fn table(rows: &str, sequence: u32, extra: &str) -> String {
        let header = |name, kind| {
            let data = if kind == "TABLE DATA" { "Data for " } else { "" };
            format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: bob\n--\n\n")
        };
        format!(
            "{}CREATE TABLE public.t (a integer);\n\n{}COPY public.t (a) FROM stdin;\n{rows}\\.\n\n{}SELECT \
             pg_catalog.setval('public.s', {sequence}, true);\n\n{extra}",
            header("t", "TABLE"),
            header("t", "TABLE DATA"),
            header("s", "SEQUENCE SET"),
        )
    }

    fn check(expected: &str, found: &str) -> Comparison {
        let (expected, found) = (scan(expected), scan(found));
        let data = expected.iter().filter_map(|entry| entry.table.as_ref());
        let (tables, rows) = (data.clone().count() as u64, data.map(|data| data.rows).sum());
        let declared = Declared { entries: expected.len() as u64, tables, rows, large_objects: 0 };
        compare(expected, found, declared, RULES)
    }

    #[test]
    fn equal_dumps_in_another_order_are_equal() {
        let comparison = check(&table("1\n2\n", 5, ""), &table("2\n1\n", 5, ""));
        assert_eq!(comparison.differences, []);
        assert_eq!((comparison.objects, comparison.tables, comparison.rows), (3, 1, 2));
    }

    #[test]
    fn a_table_in_slices_is_compared_as_one() {
        let slice = |number, rows: &str| {
            format!(
                "--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: bob; Slice: {number}/2\n--\n\nCOPY \
                 public.t (a) FROM stdin;\n{rows}\\.\n\n"
            )
        };
        let whole = scan(
            "--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: bob\n--\n\nCOPY public.t (a) FROM \
                          stdin;\n3\n1\n2\n\\.\n",
        );
        let sliced = scan(&[slice(1, "1\n"), slice(2, "2\n3\n")].concat());
        let declared = Declared { entries: 1, tables: 1, rows: 3, large_objects: 0 };
        let comparison = compare(sliced, whole.clone(), declared, RULES);
        assert_eq!(comparison.differences, []);
        assert_eq!((comparison.objects, comparison.tables, comparison.rows), (1, 1, 3));
        let other = scan(&[slice(1, "1\n"), slice(2, "2\n4\n")].concat());
        assert_eq!(compare(other, whole, declared, RULES).differences.len(), 1);
    }

    #[test]
    fn many_entries_are_compared_in_parts_as_in_one() {
        let one = scan(&table("1\n", 5, "")).swap_remove(0);
        let many = 5 * COMPARED_AT_ONCE / 2;
        let all = |changed: u64| -> Vec<Entry> {
            let name = |n| if n == changed { "other".to_owned() } else { format!("t{n}") };
            (0..many).map(|n| Entry { name: name(n), ..one.clone() }).collect()
        };
        let declared = Declared { entries: many, tables: 0, rows: 0, large_objects: 0 };
        let mut other_order = all(many);
        other_order.reverse();
        let same = compare(all(many), other_order, declared, RULES);
        assert_eq!((same.differences.len(), same.objects), (0, many));
        let differences = compare(all(many), all(7), declared, RULES).differences;
        let named: Vec<_> = differences.iter().map(|one| (one.name.as_str(), one.found.as_str())).collect();
        assert_eq!(named, [("public.other", "present"), ("public.t7", "missing")]);
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let good = table("1\n2\n", 5, "");
        let cases = [
            (table("1\n", 5, ""), "TABLE DATA", "public.t", "2 rows", "1 rows"),
            (table("1\n2\n", 4, ""), "SEQUENCE SET", "public.s", "5, true", "4, true"),
        ];
        for (found, kind, name, expected, seen) in cases {
            let wanted =
                Difference { kind: kind.into(), name: name.into(), expected: expected.into(), found: seen.into() };
            assert_eq!(check(&good, &found).differences, [wanted]);
        }
        let changed = check(&good, &table("1\n3\n", 5, "")).differences;
        assert!(changed.len() == 1 && changed[0].expected.contains("2 rows with fingerprint"), "{changed:?}");
        let extra = "--\n-- Name: i; Type: INDEX; Schema: public; Owner: bob\n--\n\nCREATE INDEX i ON public.t (a);\n";
        let lost = check(&table("1\n", 1, extra), &table("1\n", 1, "")).differences;
        assert_eq!((lost[0].kind.as_str(), lost[0].found.as_str()), ("INDEX", "missing"));
    }

    #[test]
    fn an_index_that_holds_less_than_the_manifest_says_proves_nothing() {
        let declared = Declared { entries: 3, tables: 1, rows: 2, large_objects: 0 };
        let comparison = compare([], [], declared, RULES);
        assert_eq!(comparison.differences.len(), 3);
        assert!(comparison.differences.iter().all(|difference| difference.kind == "MANIFEST"));
        let empty = Declared { entries: 0, tables: 0, rows: 0, large_objects: 0 };
        assert_eq!(compare([], [], empty, RULES).differences, []);
    }
}
