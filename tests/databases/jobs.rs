//! Backups by a configuration file: named jobs, several databases and destinations, labels and pins; and a server that is
//! newer than every pg_dump (fault 2).
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Configured, Postgres, backup_dirs, pgkeep};
use serde_json::{Value, json};

/// A server with these databases, and a configuration with two folders and one job that ends with `job`.
fn configured(databases: &[&str], job: &str) -> (Postgres, Configured) {
    let server = Postgres::start(17);
    for db in databases {
        server.psql("postgres", &format!("CREATE DATABASE {db}"));
        server.psql(db, "CREATE TABLE t AS SELECT generate_series(1, 10) AS a");
    }
    let configured = Configured::new(&format!(
        "destination.office = {{ type = 'folder', path = 'office' }}\n\
         destination.attic = {{ type = 'folder', path = 'attic' }}\n\
         bin_dir = '{}'\n[job.zenzspa]\ndatabase_url = {{ env = 'SPA_URL' }}\ndestinations = ['office', 'attic']\n{job}\n",
        server.bin_dir().display()
    ));
    (server, configured)
}

fn now(server: &Postgres, configured: &Configured, args: &[&str]) -> (Value, i32) {
    let command = configured.pgkeep(["backup", "now", "zenzspa"]).env_remove("PGKEEP_BIN_DIR");
    command.args(args).env("SPA_URL", server.url("spa")).json_with_code()
}

fn databases(answer: &Value) -> Vec<&str> {
    answer["backups"].as_array().unwrap().iter().map(|backup| backup["database"].as_str().unwrap()).collect()
}

#[test]
fn a_named_job_is_stored_in_every_folder_and_drilled_by_name() {
    let (server, configured) = configured(&["spa"], "label = 'nightly'");
    let (answer, code) = now(&server, &configured, &["--pin"]);
    assert_eq!((code, databases(&answer)), (0, vec!["spa"]), "{answer:#}");
    assert_eq!((&answer["backups"][0]["job"], &answer["backups"][0]["label"]), (&json!("zenzspa"), &json!("nightly")));
    for place in ["office", "attic"] {
        assert_eq!(backup_dirs(configured.path().join(place).join("zenzspa/spa")).len(), 1, "{place}");
    }
    let list = configured.pgkeep(["backup", "list", "zenzspa"]).json();
    assert_eq!((&list["backups"][0]["pinned"], list["backups"].as_array().unwrap().len()), (&json!(true), 1));
    assert_eq!(list["backups"][0]["destinations"], json!(["office", "attic"]));
    let drill = configured.pgkeep(["drill", "zenzspa"]).env_remove("PGKEEP_BIN_DIR").json();
    assert_eq!((&drill["result"], &drill["rows_compared"]), (&json!("passed"), &json!(10)), "{drill:#}");
}

#[test]
fn several_databases_of_a_server_in_their_order() {
    let (server, configured) = configured(&["spa", "desk", "other"], "databases = ['spa', 'desk']");
    let (answer, code) = now(&server, &configured, &["--label", "by hand"]);
    assert_eq!((code, databases(&answer)), (0, vec!["spa", "desk"]), "{answer:#}");
    assert_eq!(answer["backups"][1]["label"], "by hand");
}

#[test]
fn all_databases_but_those_left_out() {
    let job = "databases = 'all'\nexclude_databases = ['postgres', 'other']";
    let (server, configured) = configured(&["spa", "desk", "other"], job);
    let (answer, code) = now(&server, &configured, &[]);
    let mut found = databases(&answer);
    found.sort_unstable();
    assert_eq!((code, found), (0, vec!["desk", "spa"]), "{answer:#}");
}

#[test]
fn require_decides_whether_one_folder_is_enough() {
    for (require, expected) in
        [("require = 'all'", 3), ("", 3), ("require = 'any'", 0), ("require = 1", 0), ("require = 2", 1)]
    {
        let (server, configured) = configured(&["spa"], require);
        std::fs::write(configured.path().join("attic"), "a file where the folder should be").unwrap();
        let (answer, code) = now(&server, &configured, &[]);
        let backup = &answer["backups"][0];
        let places: Vec<_> = backup["destinations"].as_array().unwrap().iter().map(|place| &place["status"]).collect();
        assert_eq!(code, expected, "{require:?}: {answer:#}");
        if expected != 1 {
            assert_eq!((&backup["status"], places), (&json!("partial"), vec![&json!("stored"), &json!("failed")]));
        }
    }
}

#[test]
fn a_server_newer_than_every_pg_dump_is_refused_before_dumping_with_the_fix() {
    for (major, clients) in [(17, "15"), (18, "16.2")] {
        let server = Postgres::start(major);
        let (home, clients) = (crate::support::temp_dir(), crate::support::bin_dir(clients));
        let now =
            pgkeep().bin_dir(&clients).env("DATABASE_URL", server.url("postgres")).args(["backup", "now", "--to"]);
        let told = now.arg(home.path()).run();
        assert!(![Some(0), None].contains(&told.code), "{told}");
        for word in [&format!("PostgreSQL {major}"), "pg_dump", clients.to_str().unwrap(), "hint: ", "install"] {
            assert!(told.stderr.contains(word), "{word}: {told}");
        }
        assert_eq!(crate::support::everything_below(home.path()), Vec::<std::path::PathBuf>::new());
    }
}
