//! Random schemas, each restored in parallel three times and proved equal, with nobody waiting for a lock.
//!
//! A schema follows from its seed alone. The ordinary run takes a few of the first 300; `PGKEEP_TEST_SCHEMAS=300` takes all
//! of them, and `PGKEEP_TEST_SCHEMA=137` takes that one on every major version and prints its SQL when it fails.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

mod chance;
mod columns;
mod maker;
mod others;
mod relations;
mod tables;

use crate::support::{MAJORS, Pgkeep, Postgres, Stored, dump_lines, each_major};
use chance::Chance;
use maker::{Maker, ROLES};
use serde_json::json;
use std::collections::BTreeSet;

/// How many sessions a parallel restore of these tests has: more than cores, so that they meet.
const SESSIONS: &str = "6";

/// How many seeds the ordinary run takes of all.
const ORDINARY: u64 = 25;

/// How often each is restored.
const TIMES: usize = 3;

/// `pgkeep restore`, in parallel.
pub(crate) fn in_parallel(restore: Pgkeep) -> Pgkeep {
    restore.args(["--jobs", SESSIONS])
}

/// A server that tells in its log of every session that waits for a lock.
fn watchful(major: u32) -> Postgres {
    let settings = ["log_lock_waits=on", "deadlock_timeout=200ms", "autovacuum=off", "max_prepared_transactions=0"];
    let server = Postgres::start_with(major, &settings);
    for role in ROLES {
        server.psql("postgres", &format!("CREATE ROLE {role} SUPERUSER"));
    }
    server
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// How many seeds the caller asks for.
fn wanted() -> Option<u64> {
    number("PGKEEP_TEST_SCHEMAS")
}

/// The seeds whose turn it is on `major`.
fn seeds(major: u32) -> Vec<u64> {
    if let Some(seed) = number("PGKEEP_TEST_SCHEMA") {
        return vec![seed];
    }
    let all = wanted().unwrap_or(ORDINARY);
    let turn = MAJORS.iter().position(|each| *each == major).unwrap() as u64;
    (0..all).filter(|seed| seed % MAJORS.len() as u64 == turn).collect()
}

/// What the server's log says of sessions that waited for a lock, or were in a deadlock.
fn waits(server: &Postgres) -> Vec<String> {
    let log = server.log();
    let waited = log.lines().filter(|line| line.contains("still waiting") || line.contains("deadlock detected"));
    waited.map(str::to_owned).collect()
}

/// The lines of pg_dump's in a fixed order: a restore deals oids anew, which order some of them. Of families without rows
/// and commas: a restore puts inherited columns first.
fn sorted(server: &Postgres, db: &str, family: bool) -> Vec<Vec<u8>> {
    let schema_only: &[&str] = if family { &["--schema-only"] } else { &[] };
    let mut lines = dump_lines(&server.pg_dump(db, schema_only.iter().copied()));
    // From PostgreSQL 17 on, large objects of one owner are grouped as they happen to follow each other.
    let groups = |line: &[u8]| {
        let frame = [b"".as_slice(), b"--", b"BEGIN;", b"COMMIT;"].contains(&line);
        let has = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
        frame || line.starts_with(b"-- ") && (has("LARGE OBJECT") || has("; Type: BLOB"))
    };
    lines.retain(|line| !groups(line));
    if family {
        for line in lines.iter_mut().filter(|line| line.last() == Some(&b',')) {
            line.pop();
        }
    }
    lines.sort();
    lines
}

/// Up to ten lines of `a` that are not in `b`.
fn lacking(a: &[Vec<u8>], b: &[Vec<u8>]) -> Vec<String> {
    let there: BTreeSet<&Vec<u8>> = b.iter().collect();
    let lost = a.iter().filter(|line| !there.contains(line)).take(10);
    lost.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

/// Makes the schema of `seed`, backs it up once and restores it again and again; says what was wrong.
fn survives(server: &Postgres, seed: u64) -> Result<(), String> {
    let maker = Maker::make(seed, server.major());
    let family = maker.family;
    let source = load(server, seed, maker)?;
    let stored = Stored::of(server, &source);
    let expected = sorted(server, &source, family);
    for time in 0..TIMES {
        let target = format!("{source}_{time}");
        let restore = stored.pgkeep(server, ["restore", "latest", "--into", &target]);
        let (report, code) = in_parallel(restore).json_with_code();
        if code != 0 || report["proof"] != json!("passed") || report["differences"] != json!([]) {
            return Err(format!("restore {time}: {report:#}"));
        }
        let waited = waits(server);
        if !waited.is_empty() {
            return Err(format!("restore {time}: {waited:#?}"));
        }
        // The proof is pgkeep's own; this one is not.
        if time == 0 {
            let found = sorted(server, &target, family);
            if expected != found {
                return Err(format!("lost {:#?}, new {:#?}", lacking(&expected, &found), lacking(&found, &expected)));
            }
        }
        server.psql("postgres", &format!("DROP DATABASE \"{target}\""));
    }
    server.psql("postgres", &format!("DROP DATABASE \"{source}\""));
    Ok(())
}

/// A database that holds the schema.
fn load(server: &Postgres, seed: u64, maker: Maker) -> Result<String, String> {
    let db = server.create_db("random");
    let sql = maker.sql();
    if std::env::var_os("PGKEEP_TEST_SCHEMA").is_some() {
        println!("{sql}");
    }
    server.try_psql(&db, &sql).map(|_| db).map_err(|error| format!("seed {seed} is no valid SQL: {error}"))
}

each_major!(random_schemas_come_back_in_parallel_without_waiting, |major: u32| {
    let mut server = watchful(major);
    let mut wrong = Vec::new();
    for seed in seeds(major) {
        if let Err(error) = survives(&server, seed) {
            wrong.push(format!("PGKEEP_TEST_SCHEMA={seed} on PostgreSQL {major}: {error}"));
            // Its log tells of what is known now.
            server = watchful(major);
        }
    }
    assert!(wrong.is_empty(), "{} schemas: {}", wrong.len(), wrong.join("\n"));
});

mod every_seed_is_a_schema {
    use super::*;

    fn loads(major: u32) {
        let server = watchful(major);
        let mut wrong = Vec::new();
        for seed in 0..wanted().unwrap_or(40) {
            match load(&server, seed, Maker::make(seed, major)) {
                Ok(db) => drop(server.psql("postgres", &format!("DROP DATABASE \"{db}\""))),
                Err(error) => wrong.push(error),
            }
        }
        assert!(wrong.is_empty(), "{} seeds: {}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn for_postgresql_14() {
        loads(14);
    }

    #[test]
    fn for_postgresql_18() {
        loads(18);
    }
}

#[test]
fn a_seed_makes_the_same_schema_again_and_another_seed_another() {
    let sql = |seed| Maker::make(seed, 17).sql();
    assert_eq!(sql(5), sql(5));
    assert_ne!(sql(5), sql(6));
}
