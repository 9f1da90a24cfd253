//! What was backed up against a dump of what was restored: every difference in words, and how much was compared.

use super::Difference;
use super::pairs::{Change, Key, Pair, Rules, pair};
use crate::script::{Entry, TableData};

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

/// Compares what was backed up with what a dump of the restored database holds.
pub fn compare(
    expected: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    found: impl IntoIterator<Item = Entry, IntoIter: Clone>,
    declared: Declared,
    rules: Rules,
) -> Comparison {
    let (expected, found) = (expected.into_iter(), found.into_iter());
    let mut comparison = Comparison::default();
    let all = check_declared(expected.clone(), declared, &mut comparison);
    pair(&expected, &found, all, rules, |key, pair| note(key, &pair, &mut comparison));
    comparison.differences.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    comparison
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

fn note(key: Key<'_>, pair: &Pair<'_>, comparison: &mut Comparison) {
    let differs = match pair {
        Pair::Same(wanted, there) => {
            count(wanted, comparison);
            note_order(key, wanted, there, comparison);
            None
        }
        Pair::Changed(wanted, there, changes) => {
            count(wanted, comparison);
            changes.first().map(|change| describe(wanted, there, *change))
        }
        Pair::Lots(wanted, both, change) => {
            wanted.iter().for_each(|entry| count(entry, comparison));
            change.map(|change| describe_rows(&both.0, &both.1, change))
        }
        Pair::Missing(wanted) => {
            count(wanted, comparison);
            Some(("present".to_owned(), "missing".to_owned()))
        }
        // Without its rows by the user's wish (--exclude-table-data), a table is dumped again as an empty one; so is a
        // sequence that was not set (--schema-only).
        Pair::Extra(entry) if entry.table.as_ref().is_some_and(|data| data.rows == 0) => None,
        Pair::Extra(entry) if entry.value.as_ref().is_some_and(|value| value.ends_with(", false")) => None,
        Pair::Extra(_) => Some(("absent".to_owned(), "present".to_owned())),
    };
    if let Some((expected, found)) = differs {
        comparison.differences.push(difference(key, expected, found));
    }
}

fn difference((kind, schema, name): Key<'_>, expected: impl Into<String>, found: impl Into<String>) -> Difference {
    let name = if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") };
    Difference { kind: kind.to_owned(), name, expected: expected.into(), found: found.into() }
}

fn count(entry: &Entry, comparison: &mut Comparison) {
    comparison.objects += u64::from(entry.counts());
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

/// How two entries of one key differ: what was expected and what was found.
fn describe(wanted: &Entry, there: &Entry, change: Change) -> (String, String) {
    if let (Some(a), Some(b)) = (&wanted.table, &there.table) {
        return describe_rows(a, b, change);
    }
    let told = |entry: &Entry| match change {
        Change::Value => entry.value.clone().unwrap_or_else(|| "no value".to_owned()),
        Change::Owner => format!("owned by {}", entry.owner.as_deref().unwrap_or("nobody")),
        _ => format!("definition {:.12}", entry.digest.to_string()),
    };
    (told(wanted), told(there))
}

fn describe_rows(wanted: &TableData, there: &TableData, change: Change) -> (String, String) {
    let told = |data: &TableData| match change {
        Change::Columns => format!("columns {}", data.columns.join(", ")),
        Change::Rows => format!("{} rows", data.rows),
        _ => format!("{} rows with fingerprint {}", data.rows, data.fingerprint),
    };
    (told(wanted), told(there))
}

#[cfg(test)]
mod tests {
    use super::super::pairs::COMPARED_AT_ONCE;
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
