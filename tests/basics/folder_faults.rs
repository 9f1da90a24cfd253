//! What a folder must survive: full and read-only disks, wrong folders, killed writers, other people's files (faults 5,
//! 17, 18, 23, 31, 48). Each test looks at the whole tree, hidden files too: nothing is left, nothing older is touched.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use crate::contract::{DATA, ID, dir, key};
use crate::support::Disk;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::destination::{Destination, Folder};
use pgkeep::error::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Every path below `root`, hidden ones too, with the files' contents.
fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let found = std::fs::symlink_metadata(&path).unwrap();
            let bytes = if found.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            if found.is_dir() {
                waiting.push(path.clone());
            }
            all.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
        }
    }
    all
}

/// A folder with one older backup in it.
async fn with_an_older_backup(root: &Path) -> Folder {
    let folder = Folder::new("office", root);
    folder.check_writable().await.unwrap();
    let old = key("job/app/20261101T020000Z-0000");
    folder.put(&old.join("app_20261101_020000.sql.gz"), Bytes::from(vec![1; 10_000])).await.unwrap();
    folder.put(&old.join("manifest.json"), Bytes::from_static(b"{}")).await.unwrap();
    folder
}

fn error_of<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it should have failed")
}

fn assert_says(error: &Error, kind: ErrorKind, path: &Path) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.one_line().contains(path.to_str().unwrap()), "{error:?}");
    assert!(error.hint_text().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_disk_that_fills_up_leaves_nothing_and_harms_nothing() {
    let disk = Disk::new("size=4m");
    let folder = with_an_older_backup(disk.path()).await;
    let before = tree(disk.path());

    // In the middle of an upload, at whichever write comes first to the end of the disk.
    let claim = folder.claim(&dir()).await.unwrap();
    let mut upload = folder.upload(&dir().join(DATA), 0).await.unwrap();
    let mut failed = None;
    for _ in 0..40 {
        if let Err(error) = upload.write(Bytes::from(vec![7; 1 << 20])).await {
            failed = Some(error);
            break;
        }
    }
    assert_says(&failed.expect("40 MiB do not fit into 4"), ErrorKind::NoSpace, disk.path());
    assert!(upload.complete().await.is_err());
    drop(claim);
    assert_eq!(tree(disk.path()), before);

    // Noticed only on completion; and a small file.
    let mut upload = folder.upload(&dir().join(DATA), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 6 << 20])).await.ok();
    assert!(upload.complete().await.is_err());
    let put = error_of(folder.put(&dir().join("manifest.json"), Bytes::from(vec![7; 5 << 20])).await);
    assert_says(&put, ErrorKind::NoSpace, disk.path());
    assert_eq!(tree(disk.path()), before);
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_before_dumping() {
    let disk = Disk::new("size=1m");
    let folder = with_an_older_backup(disk.path()).await;
    let mut ballast = std::fs::File::create(disk.path().join("ballast")).unwrap();
    while ballast.write_all(&[0; 4096]).is_ok() {}
    drop(ballast);
    let full = tree(disk.path());
    assert_says(&error_of(folder.check_writable().await), ErrorKind::NoSpace, disk.path());
    assert_says(&error_of(folder.claim(&dir()).await), ErrorKind::NoSpace, disk.path());
    assert_says(
        &error_of(folder.put(&dir().join("x"), Bytes::from_static(b"x")).await),
        ErrorKind::NoSpace,
        disk.path(),
    );
    assert_eq!(tree(disk.path()), full);
    assert_eq!(folder.free_bytes().await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_disk_out_of_inodes_leaves_nothing() {
    // Six are taken by the older backup and the disk's root; every next step fails in its turn.
    for inodes in 6..11 {
        let disk = Disk::new(&format!("size=4m,nr_inodes={inodes}"));
        let folder = with_an_older_backup(disk.path()).await;
        let before = tree(disk.path());
        let claimed = folder.claim(&key(&format!("job/other/{ID}"))).await;
        if let Ok(claim) = claimed {
            let stored = folder.put(&key(&format!("job/other/{ID}/RESTORE.txt")), Bytes::from_static(b"x")).await;
            if stored.is_ok() {
                folder.delete(&key(&format!("job/other/{ID}/RESTORE.txt"))).await.unwrap();
            }
            claim.release().await.unwrap();
        } else {
            assert_says(&error_of(claimed), ErrorKind::NoSpace, disk.path());
        }
        assert_eq!(tree(disk.path()), before, "{inodes} inodes");
    }
}

#[tokio::test]
async fn a_read_only_disk_is_told_before_dumping() {
    let disk = Disk::new("size=4m");
    let folder = with_an_older_backup(disk.path()).await;
    let before = tree(disk.path());
    disk.make_read_only();
    assert_says(&error_of(folder.check_writable().await), ErrorKind::PermissionDenied, disk.path());
    assert_says(&error_of(folder.claim(&dir()).await), ErrorKind::PermissionDenied, disk.path());
    assert_says(&error_of(folder.upload(&dir().join(DATA), 0).await), ErrorKind::PermissionDenied, disk.path());
    let old = key("job/app/20261101T020000Z-0000/manifest.json");
    assert_says(&error_of(folder.delete(&old).await), ErrorKind::PermissionDenied, disk.path());
    assert_eq!(folder.read(&old, 0..2).await.unwrap(), "{}");
    assert_eq!(tree(disk.path()), before);
}

#[tokio::test]
async fn a_folder_without_write_permission_is_told_before_dumping() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("backups");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o500)).unwrap();
    let checked = Folder::new("office", &root).check_writable().await;
    // Root may write anywhere; the read-only disk above is its test.
    if !nix::unistd::geteuid().is_root() {
        assert_says(&error_of(checked), ErrorKind::PermissionDenied, &root);
    }
    assert_eq!(tree(&root), BTreeMap::new());
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o500, "its owner's choice");
}

#[tokio::test]
async fn a_folder_that_is_gone_or_a_file_is_told_clearly() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let folder = Folder::new("office", &file);
    for error in [error_of(folder.check_writable().await), error_of(folder.list(None).await)] {
        assert_says(&error, ErrorKind::Failed, &file);
        assert!(error.to_string().contains("is a file"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");

    let gone = temp.path().join("usb/backups");
    let folder = Folder::new("office", &gone);
    assert_says(&error_of(folder.check_writable().await), ErrorKind::NotFound, &gone);
    // A disk that is not mounted is no empty catalogue, and nothing is written where it should be.
    assert_says(&error_of(folder.list(None).await), ErrorKind::NotFound, &gone);
    assert_says(&error_of(folder.sweep(&key("job"), Utc::now()).await), ErrorKind::NotFound, &gone);
    assert_says(&error_of(folder.claim(&dir()).await), ErrorKind::NotFound, &gone);
    assert_says(&error_of(folder.put(&key("a/b"), Bytes::new()).await), ErrorKind::NotFound, &gone);
    assert_eq!(tree(temp.path()).len(), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_meanwhile_is_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    for taken_by_a_folder in [false, true] {
        let name = format!("a/taken{taken_by_a_folder}");
        let mut upload = folder.upload(&key(&name), 0).await.unwrap();
        upload.write(Bytes::from_static(b"ours")).await.unwrap();
        let path = temp.path().join(&name);
        if taken_by_a_folder {
            std::fs::create_dir(&path).unwrap();
        } else {
            std::fs::write(&path, "theirs").unwrap();
        }
        let mut before = tree(temp.path());
        before.retain(|path, _| !path.to_string_lossy().contains(".partial-"));
        assert_eq!(error_of(upload.complete().await).kind(), ErrorKind::AlreadyExists);
        assert_eq!(tree(temp.path()), before);
    }
}

#[tokio::test]
async fn an_upload_dropped_half_way_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let before = tree(temp.path());
    let mut upload = folder.upload(&dir().join(DATA), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 20 << 20])).await.unwrap();
    drop(upload);
    assert!(folder.list(Some(&dir())).await.unwrap().is_empty());
    // The thread that held the file removes it; there is no event to wait for.
    for _ in 0..500 {
        if tree_if_calm(temp.path()) == Some(before.len()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(tree(temp.path()), before);
}

/// The number of paths below `root`, unless something vanishes while they are counted.
fn tree_if_calm(root: &Path) -> Option<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(root).ok()? {
        let path = entry.ok()?.path();
        count += 1;
        if path.is_dir() {
            count += tree_if_calm(&path)?;
        }
    }
    Some(count)
}

#[tokio::test]
async fn links_and_foreign_names_are_neither_listed_nor_followed() {
    let temp = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(elsewhere.path().join("secret"), "x").unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let before = folder.list(None).await.unwrap();
    symlink(elsewhere.path(), temp.path().join("link")).unwrap();
    symlink("/etc/passwd", temp.path().join("passwd")).unwrap();
    symlink(temp.path(), temp.path().join("job/round")).unwrap();
    std::fs::write(temp.path().join(".hidden"), "x").unwrap();
    std::fs::write(temp.path().join("my notes.txt"), "x").unwrap();
    assert_eq!(folder.list(None).await.unwrap(), before);
    assert_eq!(error_of(folder.head(&key("passwd")).await).kind(), ErrorKind::NotFound);
    assert_eq!(error_of(folder.put(&key("a/.b"), Bytes::new()).await).kind(), ErrorKind::Refused);
    folder.sweep(&key("job"), Utc::now() + TimeDelta::days(30)).await.unwrap();
    assert_eq!(tree(elsewhere.path()).len(), 1);
}

/// Runs the ignored test `name` of this file in a process of its own, with `root` as its folder.
fn child(name: &str, root: &Path, umask: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("folder_faults::{name}"), "--ignored", "--nocapture"])
        .env("PGKEEP_TEST_ROOT", root)
        .env("PGKEEP_TEST_UMASK", umask)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn child_root() -> PathBuf {
    std::env::var_os("PGKEEP_TEST_ROOT").expect("run by another test").into()
}

#[tokio::test]
#[ignore = "a process that another test starts"]
async fn child_that_writes_with_a_umask() {
    let umask = u32::from_str_radix(&std::env::var("PGKEEP_TEST_UMASK").unwrap(), 8).unwrap();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
    let folder = Folder::new("office", child_root());
    folder.check_writable().await.unwrap();
    let claim = folder.claim(&dir()).await.unwrap();
    folder.put(&dir().join("drills").join("20261123T040000Z.json"), Bytes::from_static(b"x")).await.unwrap();
    folder.upload(&dir().join(DATA), 0).await.unwrap().complete().await.unwrap();
    std::mem::forget(claim);
}

#[test]
fn what_is_created_is_private_whatever_the_umask() {
    for umask in ["000", "022", "777"] {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("backups");
        assert!(child("child_that_writes_with_a_umask", &root, umask).wait().unwrap().success());
        let all = tree(temp.path());
        assert_eq!(all.len(), 8, "{all:?}");
        for path in all.keys() {
            let found = std::fs::metadata(temp.path().join(path)).unwrap();
            let expected = if found.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(found.permissions().mode() & 0o777, expected, "{} under {umask}", path.display());
        }
    }
}

#[tokio::test]
#[ignore = "a process that another test starts"]
async fn child_that_is_killed_while_it_writes() {
    let folder = Folder::new("office", child_root());
    let _claim = folder.claim(&dir()).await.unwrap();
    folder.put(&dir().join("globals.sql.gz"), Bytes::from_static(b"x")).await.unwrap();
    let mut upload = folder.upload(&dir().join(DATA), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 1 << 20])).await.unwrap();
    println!("writing");
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[tokio::test]
async fn a_killed_writers_remains_are_swept_and_a_living_ones_are_not() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let before = tree(temp.path());
    let mut writer = child("child_that_is_killed_while_it_writes", temp.path(), "022");
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("writing")));
    assert_eq!(folder.sweep(&key("job"), Utc::now() + TimeDelta::days(3)).await.unwrap(), [], "its writer lives");
    assert!(tree(temp.path()).len() > before.len());
    writer.kill().unwrap();
    writer.wait().unwrap();
    let swept = folder.sweep(&key("job"), Utc::now()).await.unwrap();
    assert_eq!(swept.iter().map(|swept| swept.name.clone()).collect::<Vec<_>>(), [dir().to_string()]);
    assert_eq!(tree(temp.path()), before);
}

/// A backup that another computer was writing.
async fn remains_of_elsewhere(folder: &Folder) {
    drop(folder.claim(&dir()).await.unwrap());
    folder.put(&dir().join(DATA), Bytes::from_static(b"x")).await.unwrap();
    let mark = r#"{"host":"elsewhere","machine_id":"1","pid":1,"started_at":"2026-11-22T02:00:00Z","locked":true}"#;
    std::fs::write(folder.root().join(dir().as_str()).join(".in-progress"), mark).unwrap();
}

#[tokio::test]
async fn another_computers_remains_are_swept_only_when_they_are_old() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let before = tree(temp.path());
    remains_of_elsewhere(&folder).await;
    for hours in [0, 23] {
        assert_eq!(folder.sweep(&key("job"), Utc::now() + TimeDelta::hours(hours)).await.unwrap(), []);
    }
    // A clock that was set back makes nothing old.
    assert_eq!(folder.sweep(&key("job"), Utc::now() - TimeDelta::days(400)).await.unwrap(), []);
    assert_eq!(folder.sweep(&key("job"), Utc::now() + TimeDelta::hours(25)).await.unwrap().len(), 1);
    assert_eq!(tree(temp.path()), before);
}

#[tokio::test]
async fn a_users_own_file_among_remains_stays() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let mut before = tree(temp.path());
    remains_of_elsewhere(&folder).await;
    let place = Path::new("job/app").join(ID);
    for own in ["thesis.doc", "app_20261122_020000.sql.gz.bak", ".profile", "photos"] {
        std::fs::write(temp.path().join(&place).join(own), own).unwrap();
        before.insert(place.join(own), own.into());
    }
    before.insert(place, Vec::new());
    folder.sweep(&key("job"), Utc::now() + TimeDelta::days(30)).await.unwrap();
    assert_eq!(tree(temp.path()), before);
    assert_eq!(folder.sweep(&key("job"), Utc::now() + TimeDelta::days(60)).await.unwrap(), []);
    assert_eq!(tree(temp.path()), before);
}

#[tokio::test]
async fn stray_temp_files_are_swept_when_they_are_old() {
    let temp = tempfile::tempdir().unwrap();
    let folder = with_an_older_backup(temp.path()).await;
    let before = tree(temp.path());
    let old = "job/app/20261101T020000Z-0000";
    let strays = [
        ".pgkeep-probe.partial-0123456789abcdef".to_owned(),
        format!("{old}/.manifest.json.partial-0123456789abcdef"),
        format!("{old}/.in-progress"),
    ];
    for stray in &strays {
        std::fs::write(temp.path().join(stray), "x").unwrap();
    }
    assert_eq!(folder.sweep(&key("job"), Utc::now() + TimeDelta::hours(1)).await.unwrap(), []);
    let swept = folder.sweep(&key("job"), Utc::now() + TimeDelta::hours(25)).await.unwrap();
    assert_eq!(swept.into_iter().map(|swept| swept.name).collect::<Vec<_>>(), strays);
    assert_eq!(tree(temp.path()), before);
}
