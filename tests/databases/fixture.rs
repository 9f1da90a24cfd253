//! The fixture itself: its servers start in every major version, answer, and never outlive their test.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::process::{Command, Stdio};

use crate::support::{MAJORS, Postgres};

#[test]
fn every_major_version_starts_answers_and_is_gone_after_drop() {
    for major in MAJORS {
        let server = Postgres::start(major);
        let version = server.psql("postgres", "SHOW server_version_num");
        assert_eq!(version[..version.len() - 4], major.to_string());
        let (pid, folder) = (server.pid(), server.socket_dir().to_path_buf());
        assert!(crate::support::is_running(pid));
        assert!(folder.join(".s.PGSQL.5432").as_os_str().len() < 107);
        drop(server);
        assert!(!crate::support::is_running(pid), "PostgreSQL {major} is still running");
        assert!(!folder.exists(), "{} is left", folder.display());
    }
}

/// Runs the next test in a process of its own, which is then killed.
#[test]
fn a_server_does_not_outlive_a_killed_test() {
    let note = crate::support::temp_dir();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "fixture::starts_a_server_and_waits_to_be_killed"])
        .env("PGKEEP_TEST_NOTE", note.path().join("server"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(note.path().join("server")).unwrap_or_default();
    crate::support::wait_until("the other process to start its server", || read().ends_with('\n'));
    let text = read();
    let (pid, folder) = text.trim().split_once(' ').unwrap();
    let pid = pid.parse().unwrap();
    assert!(crate::support::is_running(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    crate::support::wait_until("the server to stop", || !crate::support::is_running(pid));
    crate::support::wait_until("the server's folder to go", || !std::path::Path::new(folder).exists());
}

#[test]
#[ignore = "only run by a_server_does_not_outlive_a_killed_test"]
fn starts_a_server_and_waits_to_be_killed() {
    let Some(note) = std::env::var_os("PGKEEP_TEST_NOTE") else { return };
    let server = Postgres::shared(18);
    std::fs::write(note, format!("{} {}\n", server.pid(), server.socket_dir().display())).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn urls_of_odd_names_connect() {
    let server = Postgres::shared(18);
    for hint in ["plain", "two words", "a=b", "-Fc", "o'neil \"x\"", "ñandú 💶", "../../x", "50%", "line\nfeed"] {
        let db = server.create_db(hint);
        let output =
            server.client("psql", "postgres").args(["-XAtc", "SELECT current_database()", &server.url(&db)]).output();
        let output = output.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{db}\n"));
        assert_eq!(server.psql(&db, "SELECT current_database()"), db);
    }
}

#[test]
fn a_latin1_database_can_be_made_and_an_error_is_seen() {
    let server = Postgres::shared(15);
    let db = server.create_db_with("latin", "ENCODING 'LATIN1' LOCALE 'C'");
    assert_eq!(server.psql(&db, "SHOW server_encoding"), "LATIN1");
    let error = server.try_psql(&db, "SELECT 1;\nSELECT no_such_column;\nSELECT 2;").unwrap_err();
    assert!(error.contains("no_such_column"), "{error}");
}

#[test]
fn what_runs_on_a_database_can_be_found_by_its_name() {
    let server = Postgres::shared(17);
    let db = server.create_db("busy");
    let mut client = server.client("psql", &db).args(["-XAtc", "SELECT pg_sleep(600)"]).spawn().unwrap();
    crate::support::wait_until("psql to be seen", || {
        crate::support::processes_matching(&db).iter().any(|p| p.name == "psql")
    });
    client.kill().unwrap();
    client.wait().unwrap();
    crate::support::wait_until_gone(&db);
}

#[test]
fn a_fake_program_can_wrap_the_real_one() {
    let folder =
        crate::support::fake_bin_dir(&crate::support::bin_dir("16"), [("pg_dump", r#"echo fake; exec "$REAL" "$@""#)]);
    let output = Command::new(folder.path().join("pg_dump")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "fake\npg_dump (PostgreSQL) 16.15\n");
    let output = Command::new(folder.path().join("psql")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "psql (PostgreSQL) 16.15\n");
}
