//! A backup of PostgreSQL for Windows into a folder of Windows', and back.

use crate::support::{Stored, assert_same_dump, backup_dirs};
use crate::wine::{Wine, linux};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The archive of the one backup in `folder`, unpacked by Linux' gunzip.
pub fn gunzip(folder: &Path) -> Vec<u8> {
    let [dir]: [PathBuf; 1] = backup_dirs(folder).try_into().unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let data = manifest["files"].as_array().unwrap().iter().find(|file| file["kind"] == "data").unwrap();
    let gunzip = Command::new("gunzip").arg("-c").arg(dir.join(data["name"].as_str().unwrap())).output().unwrap();
    assert!(gunzip.status.success());
    gunzip.stdout
}

#[test]
fn a_backup_is_stored_listed_shown_verified_restored_and_proved() {
    let (wine, home) = (Wine::get(), r"C:\Copias de seguridad\ZenzSpa año");
    wine.create_db("spa");
    wine.create_folder(r"C:\Copias de seguridad");

    let told = wine.run("spa", ["backup", "now", "--to", home]).exits(0).stdout;
    assert!(told.contains("stored") && told.contains(home), "{told}");

    let listed = wine.run("spa", ["backup", "list", "--at", home, "--json"]).exits(0).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let backups = listed["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 1, "{listed}");

    let shown = wine.run("spa", ["backup", "show", "latest", "--at", home]).exits(0).stdout;
    assert!(shown.contains("15.19") && shown.contains(home), "{shown}");

    let verified = wine.run("spa", ["backup", "verify", "latest", "--at", home]).exits(0).stdout;
    assert!(verified.contains("intact"), "{verified}");

    let restored = wine.run("spa", ["restore", "latest", "--at", home, "--into", "spa_copy"]).exits(0).stdout;
    assert!(restored.contains("passed"), "{restored}");
    wine.assert_is_copy("spa", "spa_copy");

    // What it holds is what pg_dump writes on Linux, byte by byte, and psql there restores it.
    let sql = gunzip(&wine.path(home));
    assert_same_dump(&wine.pg_dump("spa"), &sql);
    let db = linux().create_db("from_windows");
    linux().load(&db, &sql);
    assert_same_dump(&wine.pg_dump("spa"), &linux().pg_dump(&db, []));
}

#[test]
fn a_backup_of_linux_is_restored_on_windows() {
    let (wine, server) = (Wine::get(), linux());
    // Windows has none of Linux' locales but C: a database in one of those must be made by hand before the restore.
    let db = server.create_db_with("to_windows", "LOCALE 'C'");
    server.load_sql(&db, "windows.sql");
    let stored = Stored::of(server, &db);
    let folder = wine.path(r"C:\from linux");
    assert!(Command::new("cp").arg("-a").arg(stored.path()).arg(&folder).status().unwrap().success());
    wine.run("postgres", ["restore", "latest", "--at", r"C:\from linux", "--into", "from_linux"]).exits(0);
    assert_same_dump(&server.pg_dump(&db, []), &wine.pg_dump("from_linux"));
}

#[test]
fn a_parallel_dump_is_verified_restored_and_proved() {
    let (wine, home) = (Wine::get(), r"C:\parallel");
    wine.create_db("parallel");
    let make = r"CREATE TABLE big AS SELECT i AS id, md5(i::text) || E'\r\n\t\\' || chr(26) AS note
                 FROM generate_series(1, 100000) i";
    wine.psql("parallel", make);
    wine.run("parallel", ["backup", "now", "--jobs", "2", "--to", home]).exits(0);
    let [dir]: [PathBuf; 1] = backup_dirs(wine.path(home)).try_into().unwrap();
    assert!(std::fs::read_dir(&dir).unwrap().any(|entry| entry.unwrap().path().to_str().unwrap().contains(".02.sql")));
    wine.run("parallel", ["backup", "verify", "latest", "--at", home]).exits(0);
    wine.run("parallel", ["restore", "latest", "--at", home, "--into", "parallel_copy"]).exits(0);
    let sum = "SELECT count(*), md5(string_agg(note, '' ORDER BY id)) FROM big";
    assert_eq!(wine.psql("parallel_copy", sum), wine.psql("parallel", sum));
}

#[test]
fn damage_is_found_and_named() {
    let (wine, home) = (Wine::get(), r"C:\damaged");
    wine.create_db("damaged");
    wine.run("damaged", ["backup", "now", "--to", home]).exits(0);
    let [dir]: [PathBuf; 1] = backup_dirs(wine.path(home)).try_into().unwrap();
    let archive = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let archive = archive.into_iter().find(|path| path.to_str().unwrap().contains("damaged_")).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::File::create(&archive).unwrap().write_all(&bytes).unwrap();
    let ended = wine.run("damaged", ["backup", "verify", "latest", "--at", home]).exits(4);
    assert!(ended.stdout.contains("damaged_"), "{ended:?}");
    let ended = wine.run("damaged", ["restore", "latest", "--at", home, "--into", "never"]).exits(4);
    assert!(!ended.stderr.is_empty());
    assert_eq!(wine.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE '%never%'"), "0");
}

#[test]
fn ctrl_z_outside_of_rows_is_refused_by_name() {
    let wine = Wine::get();
    wine.psql("postgres", "CREATE DATABASE ctrl_z TEMPLATE template0");
    let make = r"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS E'select \'\x1a\'::text'";
    wine.psql("ctrl_z", make);
    let home = r"C:\ctrl z";
    wine.run("ctrl_z", ["backup", "now", "--to", home]).exits(0);
    assert_same_dump(&wine.pg_dump("ctrl_z"), &gunzip(&wine.path(home)));
    let ended = wine.run("ctrl_z", ["restore", "latest", "--at", home, "--into", "ctrl_z_copy"]);
    assert!(ended.code != Some(0) && ended.stderr.contains("Ctrl-Z"), "{ended:?}");
    assert_eq!(wine.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'ctrl_z_copy'"), "0");
}

#[test]
fn the_fixture_holds_what_text_mode_would_change() {
    let wine = Wine::get();
    wine.create_db("fixture");
    let dump = wine.pg_dump("fixture");
    for needle in [&b"\r\n"[..], b"\x1a", "año".as_bytes()] {
        assert!(memchr::memmem::find(&dump, needle).is_some());
    }
    // And the program for Windows really changes it: otherwise nothing here was tested.
    let windows = r"C:\Program Files\PostgreSQL\15\bin\pg_dump.exe";
    let mut command = wine.command(windows);
    let raw = command.args(["-d", &wine.url("fixture")]).stdout(Stdio::piped()).output().unwrap();
    assert!(raw.status.success());
    assert!(memchr::memmem::find(&raw.stdout, b"--\r\n").is_some());
}
