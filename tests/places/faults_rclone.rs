//! rclone when things go wrong: not there, too old, not signed in, killed, lied to by the remote.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::services::{Sftp, Webdav};
use crate::support::Disk;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::cancel::{Cancel, Cause};
use pgkeep::config::{RcloneConfig, SecretRef};
use pgkeep::destination::{Backoff, Destination, Key, Rclone, Remote, Retrying, Verdict};
use pgkeep::error::ErrorKind;
use pgkeep::secret::Secret;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

type Place = Remote<Retrying<Rclone>>;

const DATA: &str = "job/app/20261122T020000Z-7f3a/app_20261122_020000.sql.gz";

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// A remote that is a folder of this computer, with a configuration and perhaps a program of the test's own.
struct Local {
    home: TempDir,
    config: RcloneConfig,
}

impl Local {
    fn new() -> Self {
        let home = crate::support::temp_dir();
        let root = home.path().join("files");
        std::fs::create_dir(&root).unwrap();
        Self::at(home, &root)
    }

    /// The remote `disk:` at `root`, which encrypts nothing and keeps every hash.
    fn at(home: TempDir, root: &Path) -> Self {
        Self::described(home, &format!("[disk]\ntype = alias\nremote = {}\n", root.display()))
    }

    /// A remote `disk:` that encrypts, and so keeps no hashes.
    fn encrypting() -> Self {
        let home = crate::support::temp_dir();
        let text = format!(
            "[disk]\ntype = crypt\nremote = {}/files\nfilename_encryption = off\ndirectory_name_encryption = false\n\
             suffix = none\npassword = {}\n",
            home.path().display(),
            obscured("for the tests")
        );
        Self::described(home, &text)
    }

    fn described(home: TempDir, text: &str) -> Self {
        let path = home.path().join("rclone.conf");
        std::fs::write(&path, text).unwrap();
        let mut config = RcloneConfig::new("disk:");
        config.program = Some(crate::services::rclone());
        config.config = Some(path);
        Self { home, config }
    }

    /// Puts a shell script before rclone: `$REAL` is the program, `$HERE` a folder of the script's own.
    fn faked(mut self, script: &str) -> Self {
        let path = self.home.path().join("rclone");
        let real = crate::services::rclone();
        let text = format!("#!/bin/sh\nREAL='{}'\nHERE='{}'\n{script}\n", real.display(), self.home.path().display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        self.config.program = Some(path);
        self
    }

    fn place(&self) -> Place {
        place(&self.config)
    }

    /// Every file below the root, hidden ones too.
    fn files(&self) -> Vec<PathBuf> {
        files(&self.home.path().join("files"))
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    crate::support::everything_below(root).into_iter().filter(|path| path.is_file()).collect()
}

fn obscured(password: &str) -> String {
    let output = Command::new(crate::services::rclone()).args(["obscure", password]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn place(config: &RcloneConfig) -> Place {
    place_until(config, Duration::from_secs(3), Cancel::new())
}

/// A destination that gives up after `patience`.
fn place_until(config: &RcloneConfig, patience: Duration, cancel: Cancel) -> Place {
    let backoff = Backoff::new(patience, cancel);
    Remote::new(Retrying::new(Rclone::new("away", config.clone(), backoff.clone()), backoff))
}

fn served(server: &crate::services::Serving) -> RcloneConfig {
    let mut config = RcloneConfig::new(server.remote());
    config.program = Some(crate::services::rclone());
    config.config = Some(server.config());
    config
}

async fn store(place: &Place, name: &str, bytes: &[u8]) -> pgkeep::error::Result<pgkeep::destination::Stored> {
    let mut upload = place.upload(&key(name), bytes.len() as u64).await?;
    for piece in bytes.chunks(1 << 20) {
        if let Err(error) = upload.write(Bytes::copy_from_slice(piece)).await {
            upload.abort().await?;
            return Err(error);
        }
    }
    upload.complete().await
}

#[tokio::test]
async fn an_rclone_that_is_not_there_too_old_or_something_else_is_told() {
    let mut missing = Local::new();
    missing.config.program = Some("/no/such/rclone".into());
    let error = missing.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("/no/such/rclone"), "{error:?}");
    assert!(error.hint_text().unwrap().contains("https://rclone.org/install/"), "{error:?}");

    let old = Local::new().faked("echo 'rclone v1.53.3-DEV'");
    let error = old.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.to_string().contains("1.53.3-DEV") && error.to_string().contains("1.60"), "{error:?}");
    assert!(error.hint_text().unwrap().contains("rclone selfupdate"));

    let other = Local::new().faked("echo 'ls (GNU coreutils) 9.1'");
    let error = other.place().check_writable().await.unwrap_err();
    assert!(error.to_string().contains("does not tell which version"), "{error:?}");
}

#[tokio::test]
async fn a_remote_or_a_configuration_that_is_not_there_is_named() {
    let mut local = Local::new();
    local.config.remote = "dropbox:Backups".to_owned();
    let error = local.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"dropbox\""), "{error:?}");
    assert!(error.hint_text().unwrap().contains("rclone config"));
    local.config.config = Some(local.home.path().join("other.conf"));
    let error = local.place().list(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("other.conf"), "{error:?}");
}

#[tokio::test]
async fn options_that_would_hide_files_or_show_secrets_are_refused() {
    for (option, why) in [("--max-age=1d", "sees or does"), ("--sftp-pass=hunter22", "visible")] {
        let mut local = Local::new();
        local.config.options = vec![option.to_owned()];
        let error = local.place().check_writable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(why) && !error.one_line().contains("hunter22"), "{error:?}");
    }
    let mut local = Local::new();
    local.config.options = vec!["--no-such-option".to_owned()];
    let error = local.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.one_line().contains("--no-such-option"), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_again_and_a_server_that_is_gone_is() {
    for server in [&*Sftp::start(), &*Webdav::start()] {
        let mut wrong = served(server);
        let text = std::fs::read_to_string(server.config()).unwrap();
        let (before, _) = text.split_once("pass = ").unwrap();
        let path = server.config().with_extension("wrong");
        std::fs::write(&path, format!("{before}pass = {}\n", obscured("not this one"))).unwrap();
        wrong.config = Some(path);
        let error = place(&wrong).check_writable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        assert!(error.hint_text().unwrap().contains("rclone config"), "{error:?}");

        let mut gone = served(server);
        let [port] = crate::services::free_ports();
        gone.config = Some(server.config_at(&format!("127.0.0.1:{port}")));
        let error = place(&gone).check_writable().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.one_line().contains("connection refused"), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_dies_during_an_upload_leaves_nothing_to_see() {
    let server = Sftp::start();
    let place = place(&served(&server));
    place.check_writable().await.unwrap();
    let mut upload = place.upload(&key(DATA), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 3 << 20])).await.unwrap();
    let root = server.folder().join("backups");
    let written = || files(&root).iter().any(|file| file.metadata().is_ok_and(|file| file.len() > 0));
    crate::support::wait_until("the first bytes", written);
    assert!(Command::new("kill").args(["-KILL", &server.pid().to_string()]).status().unwrap().success());
    let error = loop {
        if let Err(error) = upload.write(Bytes::from(vec![7; 1 << 20])).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains(DATA), "{error:?}");
    upload.abort().await.unwrap_err();

    // The same folder, without the server.
    let local = Local::at(crate::support::temp_dir(), &root);
    let after = local.place();
    assert_eq!(after.list(None).await.unwrap(), []);
    assert_eq!(files(&root).len(), 1, "the hidden file");
    after.sweep(&key("job"), Utc::now() + TimeDelta::hours(25)).await.unwrap();
    assert_eq!(files(&root), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_full_remote_is_told_and_keeps_nothing_of_the_upload() {
    let disk = Disk::new("size=4m");
    let local = Local::at(crate::support::temp_dir(), disk.path());
    let place = local.place();
    place.put(&key("small"), Bytes::from_static(b"there is room")).await.unwrap();
    let error = store(&place, DATA, &vec![7; 9 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
    assert!(error.to_string().contains(DATA) && error.hint_text().is_some(), "{error:?}");
    assert_eq!(files(disk.path()), [disk.path().join("small")]);
}

/// `changed` is a shell command through which everything goes that is uploaded.
async fn damage_is_noticed(local: Local, changed: &str) {
    let local = local
        .faked(&format!("if [ \"$1\" = rcat ]; then {changed} | \"$REAL\" \"$@\"; exit; fi\nexec \"$REAL\" \"$@\""));
    let place = local.place();
    let error = store(&place, DATA, &b"aaaa".repeat(100_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{changed}: {error:?}");
    let error = place.put(&key("job/small"), Bytes::from_static(b"aaaa")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{changed}: {error:?}");
    assert_eq!(local.files(), Vec::<PathBuf>::new(), "{changed}");
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_noticed_by_the_remotes_hash() {
    damage_is_noticed(Local::new(), "tr a b").await;
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_noticed_without_a_hash() {
    damage_is_noticed(Local::encrypting(), "tr a b").await;
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_noticed() {
    damage_is_noticed(Local::new(), "{ head -c 3; cat >/dev/null; }").await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_settled_by_asking() {
    // The first time it is done and not said, the second time it is neither.
    let lost = "if [ \"$1\" = moveto ] && mkdir \"$HERE/asked\" 2>/dev/null; then \"$REAL\" \"$@\"; exit 5; fi\n\
                exec \"$REAL\" \"$@\"";
    let refused = "if [ \"$1\" = moveto ] && mkdir \"$HERE/asked\" 2>/dev/null; then exit 5; fi\nexec \"$REAL\" \"$@\"";
    for script in [lost, refused] {
        let local = Local::new().faked(script);
        let patient = |local: &Local| place_until(&local.config, Duration::from_secs(60), Cancel::new());
        let stored = store(&patient(&local), DATA, b"hello").await.unwrap();
        assert_eq!(stored.bytes, 5);
        assert_eq!(local.files(), [local.home.path().join("files").join(DATA)]);
        let local = Local::new().faked(script);
        patient(&local).put(&key(DATA), Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(local.files(), [local.home.path().join("files").join(DATA)]);
    }
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error_and_never_short() {
    let begin = "[\n{\"Path\":\"a\",\"Name\":\"a\",\"Size\":1,\"ModTime\":\"2026-11-22T08:00:00Z\",\"IsDir\":false}";
    for (end, kind) in [
        ("exit 0", ErrorKind::Failed),
        ("echo 'ERROR : b: error reading' >&2; exit 1", ErrorKind::Failed),
        // A folder in it that went meanwhile.
        ("exit 3", ErrorKind::Unavailable),
        ("kill -KILL $$", ErrorKind::Failed),
    ] {
        let script =
            format!("if [ \"$1 $2\" = 'lsjson -R' ]; then printf '%s\\n' '{begin}'; {end}; fi\nexec \"$REAL\" \"$@\"");
        let local = Local::new();
        local.place().put(&key("job/a"), Bytes::from_static(b"x")).await.unwrap();
        let error = local.faked(&script).place().list(Some(&key("job"))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{end}: {error:?}");
    }
}

#[tokio::test]
async fn a_short_answer_to_a_read_is_an_error() {
    let local = Local::new();
    local.place().put(&key("x"), Bytes::from_static(b"0123456789")).await.unwrap();
    let local = local.faked("if [ \"$1\" = cat ]; then printf 012; exit 0; fi\nexec \"$REAL\" \"$@\"");
    let error = local.place().read(&key("x"), 0..10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("gave 3 bytes"), "{error:?}");
}

#[tokio::test]
async fn an_rclone_that_hangs_is_stopped() {
    let mut local = Local::new().faked("if [ \"$1\" = cat ]; then exec sleep 600; fi\nexec \"$REAL\" \"$@\"");
    local.config.patience.timeout = Duration::from_secs(1);
    let place = local.place();
    place.put(&key("x"), Bytes::from_static(b"0123456789")).await.unwrap();
    let begin = Instant::now();
    let error = place.read(&key("x"), 0..10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.one_line().contains("silent") && begin.elapsed() < Duration::from_secs(60), "{error:?}");
}

#[tokio::test]
async fn a_stop_kills_rclone_and_deletes_what_it_wrote() {
    let local = Local::new();
    let marker = local.home.path().to_str().unwrap().to_owned();
    let cancel = Cancel::new();
    let place = place_until(&local.config, Duration::from_secs(60), cancel.clone());
    let mut upload = place.upload(&key(DATA), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 3 << 20])).await.unwrap();
    crate::support::wait_until("rclone's file", || !local.files().is_empty());
    let rcat: Vec<_> = crate::support::processes_matching(&marker);
    assert!(rcat.iter().any(|process| process.command_line.contains("rcat")), "{rcat:#?}");
    // It takes no more, as over a line that is stuck, so that only the stop can end the writing.
    let pids: Vec<String> = rcat.iter().map(|process| process.pid.to_string()).collect();
    assert!(Command::new("kill").arg("-STOP").args(&pids).status().unwrap().success());
    let (written, ()) = tokio::join!(upload.write(Bytes::from(vec![7; 20 << 20])), async {
        cancel.cancel(Cause::Terminate);
    });
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Terminated);
    crate::support::wait_until("rclone's end", || crate::support::processes_matching(&marker).is_empty());
    upload.abort().await.unwrap();
    assert_eq!(local.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_configurations_password_is_seen_by_rclone_alone() {
    let canary = format!("canary-{}-pass word", pgkeep::id::random_hex(8).unwrap());
    let mut local = Local::new();
    let path = local.config.config.clone().unwrap();
    encrypt(&path, &canary);
    assert!(std::fs::read_to_string(&path).unwrap().contains("RCLONE_ENCRYPT"));

    let error = local.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(error.hint_text().unwrap().contains("config_password"));
    local.config.config_password = Some(SecretRef::Literal(Secret::new(format!("{canary}-not"))));
    let error = local.place().check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert!(!error.one_line().contains(&canary));

    local.config.config_password = Some(SecretRef::Literal(Secret::new(canary.clone())));
    let place = local.place();
    place.check_writable().await.unwrap();
    let mut upload = place.upload(&key(DATA), 0).await.unwrap();
    let mut seen = Vec::new();
    crate::support::wait_until("rclone", || {
        seen = crate::support::processes_matching(&canary);
        !seen.is_empty()
    });
    for process in &seen {
        assert_eq!(process.name, "rclone", "in the environment: {process:#?}");
        assert!(process.command_line.contains("rcat") && !process.command_line.contains(&canary), "{process:#?}");
        let others: Vec<_> = process.environment.iter().filter(|line| line.starts_with("PG")).collect();
        assert!(others.is_empty(), "{others:?}");
    }
    upload.write(Bytes::from_static(b"hello")).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(place.read(&key(DATA), 0..5).await.unwrap(), "hello");
}

/// Encrypts an rclone.conf, as `rclone config` does when it is asked to.
fn encrypt(path: &Path, password: &str) {
    let mut command = Command::new(crate::services::rclone());
    command.arg("--config").arg(path).args(["config", "encryption", "set"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{password}\n{password}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn unusual_names_stay_what_they_are() {
    let local = Local::new();
    let place = local.place();
    let names = [
        "job/d%C3%ADa%201/%2Essh".to_owned(),
        "job/-x/--dry-run".to_owned(),
        "job/a%2E/x%2Fy%25".to_owned(),
        format!("job/{}", "y".repeat(250)),
    ];
    for name in &names {
        place.put(&key(name), Bytes::copy_from_slice(name.as_bytes())).await.unwrap();
    }
    let mut expected = names.to_vec();
    expected.sort_unstable();
    let listed = place.list(Some(&key("job"))).await.unwrap();
    assert_eq!(listed.iter().map(|object| object.key.to_string()).collect::<Vec<_>>(), expected);
    for name in &names {
        assert_eq!(place.read(&key(name), 1..3).await.unwrap(), name.as_bytes()[1..3], "{name}");
        place.delete(&key(name)).await.unwrap();
    }
    assert_eq!(local.files(), Vec::<PathBuf>::new());
    assert!(!local.home.path().join("files/job").exists(), "empty folders are removed too");
}

#[tokio::test]
async fn a_folder_is_no_file_and_a_file_no_folder() {
    let local = Local::new();
    let place = local.place();
    place.put(&key("a/a/b"), Bytes::from_static(b"xy")).await.unwrap();
    place.put(&key("c/c"), Bytes::from_static(b"xy")).await.unwrap();
    for (name, range) in [("a", 0..2), ("a/a", 0..2), ("a", 0..0), ("a/x", 0..2)] {
        assert_eq!(place.read(&key(name), range).await.unwrap_err().kind(), ErrorKind::NotFound, "{name}");
    }
    assert_eq!(place.list(Some(&key("c"))).await.unwrap().len(), 1);
    assert_eq!(place.list(Some(&key("c/c"))).await.unwrap(), []);
}

#[tokio::test]
async fn a_remote_that_can_neither_rename_nor_copy_is_used_with_care() {
    let mut local = Local::new();
    local.config.options = vec!["--disable=Move,DirMove,Copy".to_owned()];
    let place = local.place();
    place.check_writable().await.unwrap();
    assert_eq!(store(&place, DATA, b"hello").await.unwrap().bytes, 5);
    assert_eq!(store(&place, DATA, b"other").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(place.read(&key(DATA), 0..5).await.unwrap(), "hello");
    let mut one = place.upload(&key("x"), 0).await.unwrap();
    let Err(two) = place.upload(&key("x"), 0).await else { panic!("two write into each other") };
    assert_eq!(two.kind(), ErrorKind::AlreadyExists);
    one.write(Bytes::from(vec![7; 3 << 20])).await.unwrap();
    one.abort().await.unwrap();
    assert_eq!(local.files(), [local.home.path().join("files").join(DATA)]);
    store(&place, "x", b"later").await.unwrap();
    let findings = place.examine().await.unwrap();
    let partial = findings.iter().find(|finding| finding.what == "partial files").unwrap();
    assert_eq!(partial.verdict, Verdict::Warning);
}

/// rclone collects such a file before it sends it; one that encrypts keeps no hash.
#[tokio::test]
async fn a_remote_that_neither_streams_nor_knows_hashes_stores_all_the_same() {
    let mut local = Local::encrypting();
    local.config.options = vec!["--disable=PutStream".to_owned()];
    let place = local.place();
    place.check_writable().await.unwrap();
    let bytes = b"0123456789".repeat(300_000);
    assert_eq!(store(&place, DATA, &bytes).await.unwrap().bytes, 3_000_000);
    assert_eq!(place.read(&key(DATA), 0..3_000_000).await.unwrap(), bytes);
    let empty = store(&place, "job/empty", b"").await.unwrap();
    assert_eq!((empty.bytes, place.head(&key("job/empty")).await.unwrap().bytes), (0, 0));
    assert!(std::fs::read(local.home.path().join("files").join(DATA)).unwrap() != bytes, "it is encrypted");
}

#[tokio::test]
async fn what_a_remote_can_do_is_told() {
    let server = Sftp::start();
    let place = place(&served(&server));
    place.check_writable().await.unwrap();
    let findings = place.examine().await.unwrap();
    let found = |what: &str| findings.iter().find(|finding| finding.what == what).unwrap();
    assert!(found("rclone").found.starts_with("version 1."), "{findings:?}");
    assert_eq!(found("checksums").found, "uploads are compared by their SHA1");
    assert_eq!(found("free space").verdict, Verdict::Good, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.verdict <= Verdict::Note), "{findings:?}");
}
