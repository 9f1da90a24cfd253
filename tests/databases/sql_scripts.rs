//! The databases that other tests use: each loads in every major version and survives PostgreSQL's own round trip with no
//! difference but the known ones. So a difference that pgkeep's tests find on them is pgkeep's.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::BTreeSet;

use crate::support::{MAJORS, Postgres};

/// Loads `script`, dumps, restores the dump, dumps again: gives both dumps as lines, without the random \restrict keys.
fn round_trip(server: &Postgres, script: &[u8]) -> (Vec<String>, Vec<String>) {
    let (first, second) = (server.create_db("first"), server.create_db("second"));
    server.load(&first, script);
    let dump = server.pg_dump(&first, []);
    server.load(&second, &dump);
    let lines = |dump: &[u8]| {
        let text = String::from_utf8(dump.to_vec()).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("\\restrict ") && !line.starts_with("\\unrestrict "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    (lines(&dump), lines(&server.pg_dump(&second, [])))
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_hard_schema_survives_but_for_the_columns_of_a_late_child() {
    for major in MAJORS {
        let (first, second) = round_trip(Postgres::shared(major), &read("tests/sql/hard.sql"));
        assert!(first.len() > 4000, "only {} lines", first.len());
        let set = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
        let (a, b) = (set(&first), set(&second));
        // Of CREATE TABLE's lines the order changes, of COPY's and the rows' the text.
        let gone: Vec<_> = a.difference(&b).map(String::as_str).collect();
        let new: Vec<_> = b.difference(&a).map(String::as_str).collect();
        let copy = "COPY hard.late_child (own, c, b, a) FROM stdin;";
        assert_eq!(gone, [copy, "own\t3\tl\t3", "same\t4\tsame\t4"], "PostgreSQL {major}");
        let copy = "COPY hard.late_child (a, b, c, own) FROM stdin;";
        assert_eq!(new, ["3\tl\t3\town", "4\tsame\t4\tsame", copy], "PostgreSQL {major}");
    }
}

#[test]
fn the_demo_database_survives_unchanged() {
    for major in [14, 18] {
        let (first, second) = round_trip(Postgres::shared(major), &read("src/ops/demo.sql"));
        assert!(first.len() > 200_000, "only {} lines", first.len());
        assert!(first == second, "PostgreSQL {major}: the dumps differ");
    }
}

#[test]
fn the_wide_table_survives_unchanged() {
    let (first, second) = round_trip(Postgres::shared(16), &read("tests/sql/wide.sql"));
    assert!(first.iter().any(|line| line.contains("column_1600")));
    assert!(first == second, "the dumps differ");
}

#[test]
fn five_thousand_tables_survive_unchanged() {
    let (first, second) = round_trip(Postgres::shared(17), &read("tests/sql/many.sql"));
    assert_eq!(first.iter().filter(|line| line.starts_with("CREATE TABLE ")).count(), 5000);
    assert!(first == second, "the dumps differ");
}

#[test]
fn a_subscription_survives_unchanged() {
    for major in MAJORS {
        let (first, second) = round_trip(Postgres::shared(major), &read("tests/sql/subscription.sql"));
        assert!(first.iter().any(|line| line.starts_with("CREATE SUBSCRIPTION ")));
        assert!(first == second, "PostgreSQL {major}: the dumps differ");
    }
}
