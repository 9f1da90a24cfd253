//! The Drive server of the tests, held against Google's own client, and what it must refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;

use crate::services::Drive;
use pgkeep::config::SecretRef;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The Python in which scripts/test.sh installs Google's client.
fn python() -> PathBuf {
    let set = std::env::var_os("PGKEEP_TEST_PYTHON").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let own = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or(home);
    let caches = [Some(PathBuf::from("/var/cache")), own].into_iter().flatten();
    let usual = caches.map(|cache| cache.join("pgkeep-tests/python/bin/python3"));
    let found = set.into_iter().chain(usual).find(|path| path.exists());
    found.expect("there is no Python with Google's client: run scripts/test.sh --setup, which installs it")
}

#[test]
fn googles_client_agrees_as_a_service_account_on_a_shared_drive() {
    let drive = Drive::start();
    let folder = drive.shared_folder();
    googles_client_agrees(&drive, &folder);
}

#[test]
fn googles_client_agrees_as_a_user() {
    let drive = Drive::start();
    let folder = drive.my_folder();
    googles_client_agrees(&drive, &folder);
}

fn googles_client_agrees(drive: &Drive, folder: &str) {
    let Some(SecretRef::File(credentials)) = drive.config(folder).credentials else { panic!("no file") };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/drive_client.py");
    let mut client = Command::new(python());
    let output = client.arg(script).arg(drive.endpoint()).arg(credentials).arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{:#?}", drive.log().last());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let left = drive.files(folder);
    let paths = left.iter().map(|file| file.path.as_str()).collect::<Vec<_>>();
    assert_eq!(paths, ["other", "other/moved"]);
    assert_eq!(left[1].id, said["moved"].as_str().unwrap());
    assert_eq!(hex::encode(Sha256::digest(drive.bytes(&left[1].id))), said["sha256"].as_str().unwrap());
    assert!(drive.sessions().is_empty());
}
