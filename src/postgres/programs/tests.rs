//! Searches over folders with stand-ins for PostgreSQL's programs, and over the real ones.

use super::*;
use crate::postgres::connection::Connection;
use crate::secret::Secret;
use tempfile::TempDir;

/// A folder for each of `installs`: its name, the programs in it, and what they print.
fn installs(installs: &[(&str, &[&str], &str)]) -> (TempDir, Search) {
    let dir = tempfile::tempdir().unwrap();
    let mut folders = Vec::new();
    for (name, programs, version) in installs {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for program in *programs {
            // A child writes the file: while this process had it open for writing, a test that forks in another thread
            // would keep it from being run ("text file busy").
            let script =
                format!("printf '#!/bin/sh\\necho \"{program} (PostgreSQL) {version}\"\\n' > \"$0\"; chmod 755 \"$0\"");
            let status = Command::new("sh").args(["-c", &script]).arg(folder.join(program)).status().unwrap();
            assert!(status.success());
        }
        folders.push(folder);
    }
    let search = Search::in_folders(folders);
    (dir, search)
}

const CLIENT: &[&str] = &["pg_dump", "psql"];
const SERVER: &[&str] = &["postgres", "initdb"];

#[test]
fn the_servers_own_major_comes_first_then_the_next_newer() {
    let (_dir, search) = installs(&[
        ("old", CLIENT, "14.2"),
        ("sixteen", CLIENT, "16.3"),
        ("newer-sixteen", CLIENT, "16.9 (Debian 16.9-1)"),
        ("eighteen", CLIENT, "18.0"),
        ("half", &["pg_dump"], "17.6"),
    ]);
    let found = |number| find_clients(&search, number).unwrap().version.to_string();
    assert_eq!(found(140_019), "14.2");
    assert_eq!(found(150_001), "16.9");
    assert_eq!(found(160_012), "16.9");
    assert_eq!(found(170_006), "18.0");
    assert_eq!(found(90_624), "14.2");
    let newest = find_newest_clients(&search).unwrap();
    assert_eq!(newest.version.to_string(), "18.0");
    assert!(newest.psql().ends_with("eighteen/psql"));
}

#[test]
fn a_server_newer_than_every_pg_dump_is_told_with_all_versions_and_the_package() {
    let (dir, search) = installs(&[("a", CLIENT, "14.2"), ("b", CLIENT, "15.18")]);
    let error = find_clients(&search, 170_006).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    for part in ["17.6", "14.2", "15.18", dir.path().to_str().unwrap()] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(error.hint_text().unwrap().contains("17"));
}

#[test]
fn no_client_at_all_is_its_own_error() {
    let (_dir, search) = installs(&[("empty", &[], ""), ("mute", CLIENT, "x")]);
    for error in [find_clients(&search, 170_006).unwrap_err(), find_newest_clients(&search).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("mute/pg_dump: --version told no version"), "{error}");
    }
}

#[test]
fn a_scratch_cluster_needs_exactly_its_major() {
    let (_dir, search) = installs(&[("a", SERVER, "16.3"), ("b", SERVER, "17.6"), ("c", CLIENT, "15.1")]);
    assert!(find_server(&search, 17).unwrap().postgres().ends_with("b/postgres"));
    let error = find_server(&search, 15).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CouldNotRun);
    assert!(error.to_string().contains("only 16.3, 17.6"), "{error}");
    assert!(error.hint_text().unwrap().contains("15"));
}

#[test]
fn an_explicit_folder_is_the_only_one() {
    let (dir, _) = installs(&[("a", CLIENT, "99.1")]);
    let search = Search::new(Some(&dir.path().join("a")));
    assert_eq!(find_newest_clients(&search).unwrap().version.major, 99);
    let elsewhere = Search::new(Some(Path::new("/no/such/folder")));
    assert!(find_newest_clients(&elsewhere).unwrap_err().to_string().contains("(searched /no/such/folder)"));
}

#[test]
fn the_real_programs_are_found_and_take_the_environment() {
    let clients = find_newest_clients(&Search::new(None)).unwrap();
    let server = find_server(&Search::new(None), clients.version.major).unwrap();
    assert_eq!(server.version.major, clients.version.major);

    // Nobody listens on port 1: that psql says so shows that it read the host and port, and the service file too.
    let dir = tempfile::tempdir().unwrap();
    let text = "host=127.0.0.1 port=1 user=u dbname='a=b' keepalives_idle=7 sslpassword=hunter2 password=x";
    let variables = Connection::parse(&Secret::new(text)).unwrap().client_environment(dir.path()).unwrap();
    let output = Command::new(clients.psql()).args(["-X", "-c", ""]).env_clear().envs(variables).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("\"127.0.0.1\", port 1 failed"), "{said}");
}
