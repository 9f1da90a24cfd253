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

/// `restore --jobs` is there. Until it is, the same promises are kept by a restore in one stream.
const JOBS: bool = false;

/// How many sessions a parallel restore of these tests has: more than cores, so that they meet.
const SESSIONS: &str = "6";

/// How many seeds the ordinary run takes of all.
const ORDINARY: u64 = 25;

/// How often each is restored.
const TIMES: usize = 3;

/// `pgkeep restore`, in parallel where that can be.
fn in_parallel(restore: Pgkeep) -> Pgkeep {
    if JOBS { restore.args(["--jobs", SESSIONS]) } else { restore }
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

/// The seeds whose turn it is on `major`.
fn seeds(major: u32) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name}")));
    if let Some(seed) = number("PGKEEP_TEST_SCHEMA") {
        return vec![seed];
    }
    let all = number("PGKEEP_TEST_SCHEMAS").unwrap_or(ORDINARY);
    let turn = MAJORS.iter().position(|each| *each == major).unwrap() as u64;
    (0..all).filter(|seed| seed % MAJORS.len() as u64 == turn).collect()
}

/// Fails if a session of the server waited for a lock, or was in a deadlock.
#[track_caller]
fn assert_nobody_waited(server: &Postgres, seed: u64) {
    let log = server.log();
    let waited: Vec<&str> =
        log.lines().filter(|line| line.contains("still waiting") || line.contains("deadlock detected")).collect();
    assert!(waited.is_empty(), "seed {seed}, PostgreSQL {}: {waited:#?}", server.major());
}

/// The lines of a dump in a fixed order: a restore deals oids anew, which order some of them.
fn sorted(dump: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = dump_lines(dump);
    lines.sort();
    lines
}

#[track_caller]
fn assert_same_lines(expected: &[Vec<u8>], found: &[Vec<u8>], what: &str) {
    if expected != found {
        let lacking = |a: &[Vec<u8>], b: &[Vec<u8>]| -> Vec<String> {
            let there: std::collections::BTreeSet<&Vec<u8>> = b.iter().collect();
            let lost = a.iter().filter(|line| !there.contains(line)).take(10);
            lost.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
        };
        panic!("{what}: lost {:#?}, new {:#?}", lacking(expected, found), lacking(found, expected));
    }
}

/// Makes the schema of `seed`, backs it up once and restores it again and again.
fn survives(server: &Postgres, seed: u64) {
    let major = server.major();
    let maker = Maker::make(seed, major);
    let reordered = maker.reordered;
    let source = load(server, seed, maker).unwrap_or_else(|error| panic!("{error}"));
    let stored = Stored::of(server, &source);
    let expected = sorted(&server.pg_dump(&source, []));
    for time in 0..TIMES {
        let target = format!("{source}_{time}");
        let restore = stored.pgkeep(server, ["restore", "latest", "--into", &target]);
        let (report, code) = in_parallel(restore).json_with_code();
        assert!(
            code == 0 && report["proof"] == json!("passed") && report["differences"] == json!([]),
            "seed {seed}, PostgreSQL {major}, restore {time}: {report:#}\nrepeat with PGKEEP_TEST_SCHEMA={seed}"
        );
        assert_nobody_waited(server, seed);
        // The proof is pgkeep's own; this one is not.
        if time == 0 && !reordered {
            let found = sorted(&server.pg_dump(&target, []));
            assert_same_lines(&expected, &found, &format!("seed {seed}, PostgreSQL {major}"));
        }
        server.psql("postgres", &format!("DROP DATABASE \"{target}\""));
    }
    server.psql("postgres", &format!("DROP DATABASE \"{source}\""));
}

/// A database that holds the schema.
fn load(server: &Postgres, seed: u64, maker: Maker) -> Result<String, String> {
    let db = server.create_db("random");
    let sql = maker.sql();
    if std::env::var_os("PGKEEP_TEST_SCHEMA").is_some() {
        println!("{sql}");
    }
    server.try_psql(&db, &sql).map(|_| db).map_err(|error| {
        format!("seed {seed} does not load into PostgreSQL {}, which is the generator's fault: {error}", server.major())
    })
}

each_major!(random_schemas_come_back_in_parallel_without_waiting, |major: u32| {
    let server = watchful(major);
    for seed in seeds(major) {
        survives(&server, seed);
    }
});

mod every_seed_is_a_schema {
    use super::*;

    fn loads(major: u32) {
        let server = watchful(major);
        let mut wrong = Vec::new();
        for seed in 0..300 {
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
