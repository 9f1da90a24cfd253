//! The fixture itself: the S3, WebDAV and SFTP servers keep what they are given and are gone with their test.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Fault, Proxy, Seaweed, SeaweedCluster, Serving, Sftp, Webdav};
use std::process::{Command, Stdio};

/// Bytes that compress badly and differ everywhere.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect()
}

/// rclone's own S3 client, with parts of 5 MiB, at `endpoint`.
fn rclone_s3(endpoint: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(crate::services::rclone());
    command.env_clear().env("HOME", "/nonexistent").args(["--config", "", "--s3-provider", "SeaweedFS"]);
    command.args([
        "--s3-access-key-id",
        crate::services::ACCESS_KEY,
        "--s3-secret-access-key",
        crate::services::SECRET_KEY,
    ]);
    command.args(["--s3-endpoint", endpoint, "--s3-region", "us-east-1", "--s3-chunk-size", "5Mi"]);
    command.args(["--s3-upload-cutoff", "5Mi", "--s3-no-check-bucket", "--retries", "1", "--low-level-retries", "1"]);
    let output = command.args(args).stdin(Stdio::null()).output().expect("rclone");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn seaweed_keeps_objects_and_tells_open_uploads() {
    let server = Seaweed::shared();
    let (bucket, other) = (server.bucket(), server.bucket());
    assert_eq!(server.objects(&bucket), []);
    let body = bytes(3 << 20);
    server.put(&bucket, "a/b c/ü", &body);
    assert_eq!(server.objects(&bucket), [("a/b c/ü".to_owned(), 3 << 20)]);
    assert!(server.get(&bucket, "a/b c/ü") == body);
    assert_eq!(server.head(&bucket, "a/b c/ü")["ContentLength"], 3 << 20);
    assert_eq!((server.objects(&other), server.open_uploads(&other)), (vec![], vec![]));

    let upload = server.begin_upload(&bucket, "a/big", &bytes(5 << 20));
    assert_eq!(server.open_uploads(&bucket), [("a/big".to_owned(), upload.clone())]);
    assert_eq!(server.parts(&bucket, "a/big", &upload), [5 << 20]);
    assert_eq!(server.keys(&bucket), ["a/b c/ü"]);
    server.delete(&bucket, "a/b c/ü");
    assert_eq!(server.objects(&bucket), []);
}

#[test]
fn seaweed_has_versions_and_locks() {
    let server = Seaweed::shared();
    for bucket in [server.versioned_bucket(), server.locked_bucket()] {
        server.put(&bucket, "x", b"one");
        server.put(&bucket, "x", b"second");
        server.delete(&bucket, "x");
        assert_eq!(server.objects(&bucket), []);
        let mut sizes: Vec<u64> = server.versions(&bucket).into_iter().map(|(_, size)| size).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [3, 6]);
    }
}

#[test]
fn more_objects_than_a_page_are_all_told() {
    let server = Seaweed::shared();
    let bucket = server.bucket();
    let keys: Vec<String> = (0..1005).map(|i| format!("many/{i:04}")).collect();
    server.put_many(&bucket, &keys, b"x");
    assert_eq!(server.keys(&bucket), keys);
}

#[test]
fn a_dropped_seaweed_is_gone() {
    let server = Seaweed::start();
    let (pids, folders) = (server.pids(), server.folders());
    assert!(pids.iter().all(|pid| crate::support::is_running(*pid)));
    drop(server);
    assert!(!pids.iter().any(|pid| crate::support::is_running(*pid)));
    assert!(!folders.iter().any(|folder| folder.exists()));
}

/// Runs the next test in a process of its own, which is then killed.
#[test]
fn no_server_outlives_a_killed_test() {
    let note = crate::support::temp_dir();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "fixture_servers::starts_servers_and_waits_to_be_killed"])
        .env("PGKEEP_TEST_NOTE", note.path().join("pids"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(note.path().join("pids")).unwrap_or_default();
    crate::support::wait_until("the other process to start its servers", || read().ends_with('\n'));
    let pids: Vec<i32> = read().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| crate::support::is_running(*pid)));
    child.kill().unwrap();
    child.wait().unwrap();
    crate::support::wait_until("the servers to go", || !pids.iter().any(|pid| crate::support::is_running(*pid)));
}

#[test]
#[ignore = "is run, and killed, by no_server_outlives_a_killed_test"]
fn starts_servers_and_waits_to_be_killed() {
    let note = std::env::var_os("PGKEEP_TEST_NOTE").expect("run by the test above");
    let (seaweed, webdav) = (Seaweed::start(), Webdav::start());
    std::fs::write(note, format!("{} {}\n", seaweed.pids()[0], webdav.pid())).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_cluster_outlives_one_volume_server() {
    let cluster = SeaweedCluster::start();
    let bucket = cluster.bucket();
    let body = bytes(9 << 20);
    cluster.put(&bucket, "before", &body);
    cluster.kill_volume_server(1);
    assert!(cluster.get(&bucket, "before") == body);
    // New volumes need two servers that are known to live; the master learns it in a few seconds.
    cluster.put_when_possible(&bucket, "after", &body);
    assert!(cluster.get(&bucket, "after") == body);
}

fn serves(server: &Serving) {
    let folder = crate::support::temp_dir();
    let body = bytes(100_000);
    std::fs::write(folder.path().join("in"), &body).unwrap();
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    let remote = format!("{}/a b/ü.bin", server.remote());
    server.rclone(["copyto", from.to_str().unwrap(), &remote]);
    assert!(std::fs::read(server.folder().join("backups/a b/ü.bin")).unwrap() == body);
    server.rclone(["copyto", &remote, to.to_str().unwrap()]);
    assert!(std::fs::read(to).unwrap() == body);

    // The user and the password are needed.
    let stranger = std::fs::read_to_string(server.config()).unwrap().replace("keeper", "stranger");
    let config = folder.path().join("stranger.conf");
    std::fs::write(&config, stranger).unwrap();
    let mut command = Command::new(crate::services::rclone());
    command.env("HOME", folder.path()).args(["--retries", "1", "--low-level-retries", "1", "--config"]);
    let output = command.arg(&config).args(["lsf", &server.remote()]).output().unwrap();
    assert!(!output.status.success());

    // Through a proxy it is the same place.
    let proxy = Proxy::tcp(&server.address());
    let mut command = Command::new(crate::services::rclone());
    command.env("HOME", folder.path()).arg("--config").arg(server.config_at(&proxy.address()));
    let output = command.args(["lsf", "-R", "--files-only", &server.remote()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a b/ü.bin\n");
}

#[test]
fn webdav_keeps_files() {
    serves(&Webdav::start());
}

#[test]
fn sftp_keeps_files() {
    serves(&Sftp::start());
}

#[test]
fn s3_through_the_proxy_is_s3_and_every_request_is_told() {
    let server = Seaweed::shared();
    let bucket = server.bucket();
    let proxy = Proxy::to(&server.address());
    let folder = crate::support::temp_dir();
    let body = bytes(12 << 20);
    std::fs::write(folder.path().join("in"), &body).unwrap();
    let from = folder.path().join("in").display().to_string();
    rclone_s3(&proxy.endpoint(), &["copyto", &from, &format!(":s3:{bucket}/x")]).unwrap();
    assert!(server.get(&bucket, "x") == body);
    assert_eq!(
        ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"].map(|name| proxy.count(name)),
        [1, 3, 1]
    );
    let sent: u64 = proxy.requests().iter().filter(|r| r.operation() == "UploadPart").map(|r| r.request_bytes).sum();
    assert!((12 << 20..13 << 20).contains(&sent), "{sent}");
    assert!(proxy.requests().iter().all(|r| r.fault.is_none() && r.status == r.server_status));

    rclone_s3(&proxy.endpoint(), &["copyto", &format!(":s3:{bucket}/x"), &format!("{from}.out")]).unwrap();
    assert!(std::fs::read(format!("{from}.out")).unwrap() == body);
    let read: u64 = proxy.requests().iter().filter(|r| r.operation() == "GetObject").map(|r| r.response_bytes).sum();
    assert_eq!(read, 12 << 20);

    // A signature covers what is said, a checksum what is sent.
    let fault = proxy.inject(Fault::corrupt_request_at(3 << 20).operation("UploadPart").nth(2));
    let error = rclone_s3(&proxy.endpoint(), &["copyto", &from, &format!(":s3:{bucket}/y")]).unwrap_err();
    assert_eq!(fault.happened(), 1, "{error}");
    assert_eq!(server.keys(&bucket), ["x"]);
}
