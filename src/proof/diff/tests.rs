//! Differences between small dumps.

use super::*;
use crate::script::Scanner;

const RULES: Rules = Rules { owners: true, privileges: true, definitions: true };
const ALL: DiffScope = DiffScope { tables: Wanted::All, objects: Wanted::All };

fn scan(statements: &str) -> Vec<Entry> {
    let mut scanner = Scanner::default();
    scanner.feed(statements.as_bytes());
    scanner.finish().entries.iter().collect()
}

fn entry(name: &str, kind: &str, owner: &str, sql: &str) -> String {
    let data = if kind == "TABLE DATA" { "Data for " } else { "" };
    format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: {owner}\n--\n\n{sql}\n\n")
}

fn table(name: &str, columns: &str, rows: &str) -> String {
    let definition = entry(name, "TABLE", "bob", &format!("CREATE TABLE public.{name} ({columns});"));
    let copy = format!("COPY public.{name} ({columns}) FROM stdin;\n{rows}\\.");
    definition + &entry(name, "TABLE DATA", "bob", &copy)
}

fn compared(before: &str, after: &str) -> Differences {
    diff(scan(before), scan(after), &ALL, RULES)
}

#[test]
fn equal_backups_have_no_differences() {
    let (a, b) = (table("a", "x", "1\n2\n"), table("b", "x", ""));
    let found = compared(&[a.clone(), b.clone()].concat(), &[b, a].concat());
    assert!(found.is_empty() && found.notes.is_empty(), "{found:?}");
    assert_eq!(found.same, 2);
}

#[test]
fn each_change_of_a_table_has_its_word() {
    let before = [
        table("gone", "x", "1\n"),
        table("longer", "x", "1\n"),
        table("other", "x", "1\n2\n"),
        table("wider", "x", "1\n"),
        table("same", "x", "1\n"),
        entry("given", "TABLE", "bob", "CREATE TABLE public.given ();"),
    ];
    let after = [
        table("longer", "x", "1\n2\n"),
        table("other", "x", "1\n3\n"),
        table("wider", "x, y", "1\t2\n"),
        table("same", "x", "1\n"),
        table("new", "x", "1\n2\n3\n"),
        entry("given", "TABLE", "ana", "CREATE TABLE public.given ();"),
    ];
    let found = compared(&before.concat(), &after.concat());
    let told = |tables: &[TableChange]| -> Vec<_> {
        tables.iter().map(|one| (one.name.clone(), one.changes.clone(), one.rows_before, one.rows_after)).collect()
    };
    let name = |name: &str| format!("public.{name}");
    assert_eq!(told(&found.tables.added), [(name("new"), vec![], None, Some(3))]);
    assert_eq!(told(&found.tables.removed), [(name("gone"), vec![], Some(1), None)]);
    assert_eq!(
        told(&found.tables.changed),
        [
            (name("given"), vec![Aspect::Owner], None, None),
            (name("longer"), vec![Aspect::Rows], Some(1), Some(2)),
            (name("other"), vec![Aspect::Contents], Some(2), Some(2)),
            (name("wider"), vec![Aspect::Columns, Aspect::Definition], Some(1), Some(1)),
        ]
    );
    let given = &found.tables.changed[0];
    assert_eq!((given.owner_before.as_deref(), given.owner_after.as_deref()), (Some("bob"), Some("ana")));
    assert_eq!(found.tables.changed[3].columns_added, ["y"]);
    assert_eq!(found.same, 1, "only the table called same");
    assert!(found.objects.is_empty(), "{found:?}");
}

#[test]
fn columns_in_another_order_are_no_difference_but_a_note() {
    let data = |columns: &str, rows: &str| {
        entry("t", "TABLE DATA", "bob", &format!("COPY public.t ({columns}) FROM stdin;\n{rows}\\."))
    };
    let found = compared(&data("a, b", "1\t2\n"), &data("b, a", "2\t1\n"));
    assert!(found.is_empty() && found.notes.len() == 1, "{found:?}");
    let found = compared(&data("a, b", "1\t2\n"), &data("b, a", "2\t1\n3\t4\n"));
    assert_eq!(found.tables.changed[0].changes, [Aspect::Rows]);
}

#[test]
fn objects_are_told_once_however_many_entries_tell_of_them() {
    let set =
        |value| entry("s", "SEQUENCE SET", "bob", &format!("SELECT pg_catalog.setval('public.s', {value}, true);"));
    let sequence = |sql: &str| entry("s", "SEQUENCE", "bob", sql);
    let (one, two) = ("CREATE SEQUENCE public.s;", "CREATE SEQUENCE public.s CYCLE;");
    let index = |sql: &str| entry("i", "INDEX", "bob", sql);
    let grant = |on: &str| entry(on, "ACL", "bob", "GRANT SELECT ON TABLE public.t TO ana;");
    let before = [sequence(one), set(5), index("CREATE INDEX i ON t (a);"), table("t", "x", "")];
    let after = [sequence(one), set(9), index("CREATE INDEX i ON t (b);"), table("t", "x", ""), grant("TABLE t")];
    let found = compared(&before.concat(), &after.concat());
    let told: Vec<_> =
        found.objects.changed.iter().map(|one| (one.kind.as_str(), one.name.as_str(), one.changes.clone())).collect();
    assert_eq!(
        told,
        [
            ("ACL", "TABLE t", vec![Aspect::Privileges]),
            ("INDEX", "i", vec![Aspect::Definition]),
            ("SEQUENCE", "s", vec![Aspect::Value]),
        ]
    );
    assert_eq!((found.same, found.tables.is_empty()), (1, true), "the table");
    let both = compared(&[sequence(one), set(5)].concat(), &[sequence(two), set(9)].concat());
    assert_eq!(both.objects.changed.len(), 1);
    assert_eq!((both.objects.changed[0].changes.len(), both.same), (2, 0));
    // What belongs to something new is not told beside it.
    let found =
        compared("", &[sequence(one), set(5), table("t", "x", ""), grant("TABLE t"), grant("COLUMN t.x")].concat());
    assert_eq!((found.objects.added.len(), found.objects.changed.len(), found.tables.added.len()), (1, 0, 1));
}

#[test]
fn a_scope_leaves_the_rest_out() {
    let after = [table("orders", "x", ""), table("clients", "x", ""), entry("i", "INDEX", "bob", "CREATE INDEX i;")];
    let like = |text: &str| Wanted::Like(NamePattern::new(text));
    let found = |tables: Wanted, objects: Wanted| {
        let found = diff(Vec::new(), scan(&after.concat()), &DiffScope { tables, objects }, RULES);
        (found.tables.added.len(), found.objects.added.len())
    };
    assert_eq!(found(Wanted::All, Wanted::None), (2, 0));
    assert_eq!(found(like("ord*"), Wanted::None), (1, 0));
    assert_eq!(found(Wanted::None, like("public.*")), (0, 1));
}

#[test]
fn other_wordings_are_no_difference_where_definitions_are_not_compared() {
    let view = |sql: &str| entry("v", "VIEW", "bob", sql);
    let rules = Rules { definitions: false, ..RULES };
    let found =
        diff(scan(&view("CREATE VIEW v AS SELECT 1;")), scan(&view("CREATE VIEW v AS SELECT (1);")), &ALL, rules);
    assert!(found.is_empty() && found.same == 1, "{found:?}");
}
