//! Whole runs of pgkeep that store in a folder and in S3 at once, and what they leave at both when S3 fails (faults 19, 20,
//! 23 and 24): whole backups or nothing, as other people's client sees it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Answer, Fault, Proxy, Seaweed};
use crate::support::{Configured, Pgkeep, Postgres, Running};
use nix::sys::signal::Signal;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A database whose data file has three parts of 5 MiB. Nobody changes it.
fn shop() -> &'static str {
    static DB: OnceLock<String> = OnceLock::new();
    DB.get_or_init(|| {
        let server = Postgres::shared(17);
        let db = server.create_db("shop");
        let row = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 32) j)";
        server.psql(
            &db,
            &format!("CREATE TABLE orders AS SELECT i AS id, {row} AS note FROM generate_series(1, 22000) i"),
        );
        db
    })
}

/// A job that stores in the folder `office` and in S3, which is reached through a proxy.
struct Site {
    server: &'static Seaweed,
    bucket: String,
    proxy: Proxy,
    configured: Configured,
}

impl Site {
    fn new() -> Self {
        Self::with(&["office", "cloud"], "2s", "4s")
    }

    fn with(destinations: &[&str], timeout: &str, retry_for: &str) -> Self {
        let server = Seaweed::shared();
        let bucket = server.bucket();
        let proxy = Proxy::to(&server.address());
        let configured = Configured::new(&format!(
            "[destination.office]\ntype = 'folder'\npath = 'office'\n\
             [destination.cloud]\n{}part_size = '5MiB'\nconcurrency = 2\ntimeout = '{timeout}'\nretry_for = '{retry_for}'\n\
             [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = {destinations:?}\n",
            Seaweed::toml_at(&proxy.endpoint(), &bucket)
        ));
        Self { server, bucket, proxy, configured }
    }

    fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        let server = Postgres::shared(17);
        self.configured.pgkeep(args).server(server).env("SHOP_URL", server.url(shop()))
    }

    fn now(&self) -> Pgkeep {
        self.pgkeep(["backup", "now", "shop"])
    }

    /// A run that has sent a part and then hangs, until the proxy closes its connections or it is killed.
    fn hanging(&self) -> Running {
        self.proxy.inject(Fault::stall_request_after(1 << 20).operation("UploadPart").nth(2).always());
        let mut running = self.now().spawn();
        crate::support::wait_until("a part to be stored and another one to hang", || {
            assert!(!running.has_ended(), "{}", running.stderr());
            let requests = self.proxy.requests();
            let parts: Vec<_> = requests.iter().filter(|request| request.operation() == "UploadPart").collect();
            parts.iter().any(|part| part.status == Some(200)) && parts.iter().any(|part| part.request_bytes == 1 << 20)
        });
        running
    }

    /// Fails unless there are so many backups in the folder and so many in S3, and nothing else.
    #[track_caller]
    fn holds(&self, office: usize, cloud: usize) {
        let folder = self.configured.path().join("office");
        let backups = crate::support::backup_dirs(&folder);
        assert_eq!(backups.len(), office, "in the folder");
        // Beside them, the index of the list and the marks of what changed since.
        let index = |path: &std::path::Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let beside = backups.iter().any(|dir| dir.parent() == path.parent());
            beside && (name.starts_with("catalogue-") || name.contains(".changed-"))
        };
        let inside = |path: &std::path::PathBuf| {
            index(path) || backups.iter().any(|dir| path.starts_with(dir) || dir.starts_with(path))
        };
        assert!(crate::support::everything_below(&folder).iter().all(inside), "in the folder is something else");
        assert_eq!(self.server.whole_backups(&self.bucket), cloud, "in S3");
        for (name, count) in [("office", office), ("cloud", cloud)] {
            if count > 0 {
                let (verified, code) = self.pgkeep(["backup", "verify", "--all", "--at", name]).json_with_code();
                assert!(code == 0 && verified["backups"].as_array().unwrap().len() == count, "{name}: {verified:#}");
            }
        }
    }
}

#[test]
fn a_destination_that_is_down_from_the_start_does_not_keep_the_other_from_it() {
    let site = Site::new();
    site.proxy.refuse();
    let begin = Instant::now();
    let outcome = site.now().fails(3);
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    outcome.explains(&["stored in 1 of 2 destinations", "cloud"], "");
    site.proxy.accept_again();
    site.holds(1, 0);
    site.now().ok();
    site.holds(2, 1);
}

#[test]
fn a_destination_that_fails_in_the_middle_is_left_empty_and_the_other_is_whole() {
    let site = Site::new();
    let refused = site.proxy.inject(Fault::s3(403, "AccessDenied").operation("UploadPart").nth(2).always());
    site.now().fails(3).explains(&["stored in 1 of 2 destinations", "AccessDenied"], "");
    assert!(refused.happened() >= 1);
    site.holds(1, 0);
    assert_eq!(site.server.objects(&site.bucket), []);
    site.proxy.calm();
    site.now().ok();
    site.holds(2, 1);
}

#[test]
fn a_destination_that_fails_with_the_last_file_is_left_empty_and_the_other_is_whole() {
    let site = Site::new();
    let refused = Fault::s3(403, "AccessDenied").operation("PutObject").path("manifest.json").always();
    let refused = site.proxy.inject(refused);
    site.now().fails(3).explains(&["stored in 1 of 2 destinations", "manifest.json"], "");
    assert_eq!(refused.happened(), 1);
    site.holds(1, 0);
    assert_eq!(site.server.objects(&site.bucket), []);
}

#[test]
fn a_destination_that_goes_away_for_good_in_the_middle_is_swept_by_the_next_run() {
    let site = Site::new();
    let running = site.hanging();
    site.proxy.refuse();
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(3), "{outcome}");
    outcome.explains(&["stored in 1 of 2 destinations", "cloud"], "");
    assert_eq!(site.server.open_uploads(&site.bucket).len(), 1, "nobody could abort it");
    site.proxy.calm();
    site.proxy.accept_again();
    let outcome = site.now().ok();
    assert!(outcome.stderr.contains("removed what an interrupted run left at cloud"), "{outcome}");
    site.holds(2, 1);
}

#[test]
fn what_a_killed_run_left_is_swept_by_the_next_one_and_what_others_left_is_not() {
    let site = Site::new();
    // Another job's, and another machine's, both an instant old.
    let (server, bucket) = (site.server, &site.bucket);
    let id = "20261101T000000Z-0000";
    let mark =
        r#"{"host":"elsewhere","scope":"another machine","pid":1,"token":"t","started_at":"2026-11-01T00:00:00Z"}"#;
    let mut others = Vec::new();
    for place in [format!("shop-2/app/{id}"), format!("shop/elsewhere/{id}")] {
        server.put(bucket, &format!("{place}/.in-progress"), mark.as_bytes());
        server.put(bucket, &format!("{place}/globals.sql.gz"), b"x");
        let upload = format!("{place}/app_20261101_000000.sql.gz");
        let id = server.begin_upload(bucket, &upload, &vec![7; 5 << 20]);
        others.push((upload, id));
    }
    others.sort();
    let foreign = server.keys(bucket);

    let mut running = site.hanging();
    running.kill(Signal::SIGKILL);
    assert_eq!(running.wait().signal, Some(Signal::SIGKILL as i32));
    assert_eq!(server.open_uploads(bucket).len(), 3);
    assert_eq!(server.keys(bucket).len(), foreign.len() + 1, "a mark, and no part of a backup");
    let list = site.pgkeep(["backup", "list"]).json();
    assert_eq!(list["backups"].as_array().map(Vec::len), Some(0), "{list:#}");

    site.proxy.calm();
    let outcome = site.now().ok();
    assert!(outcome.stderr.contains("removed what an interrupted run left at cloud"), "{outcome}");
    let mut left = server.open_uploads(bucket);
    left.sort();
    assert_eq!(left, others);
    assert!(foreign.iter().all(|key| server.keys(bucket).contains(key)));
    for key in &foreign {
        server.delete(bucket, key);
    }
    for (key, id) in &others {
        server.abort_upload(bucket, key, id);
    }
    site.holds(1, 1);
}

#[test]
fn a_stop_in_mid_upload_leaves_nothing() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let site = Site::with(&["cloud"], "60s", "60s");
        let mut running = site.hanging();
        let begin = Instant::now();
        running.kill(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(code), "{outcome}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        assert_eq!(site.server.objects(&site.bucket), [], "{outcome}");
        assert_eq!(site.server.open_uploads(&site.bucket), [], "{outcome}");
    }
}

#[test]
fn a_complete_that_is_answered_200_with_an_error_is_no_backup() {
    let site = Site::with(&["cloud"], "10s", "3s");
    let lie = Fault::answer(Answer::s3(200, "InternalError")).operation("CompleteMultipartUpload").always();
    site.proxy.inject(lie);
    site.now().fails(1).explains(&["cloud", "InternalError"], "");
    assert_eq!(site.server.objects(&site.bucket), []);
    assert_eq!(site.server.open_uploads(&site.bucket), []);
    site.proxy.calm();
    site.now().ok();
    site.holds(0, 1);
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let site = Site::with(&["cloud"], "10s", "3s");
    let later = site.now().through(["faketime", "-f", "+2h"]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    later.fails(1).explains(&["cloud", "RequestTimeTooSkewed"], "clock");
    assert_eq!(site.server.objects(&site.bucket), []);
    assert!(site.proxy.requests().len() <= 4, "{} requests", site.proxy.requests().len());
}

#[test]
fn wrong_keys_are_told_before_the_dump_is_begun() {
    let site = Site::with(&["cloud"], "10s", "60s");
    site.proxy.inject(Fault::s3(403, "InvalidAccessKeyId").always());
    let begin = Instant::now();
    site.now().fails(1).explains(&["cloud", "InvalidAccessKeyId"], "access key id");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_eq!(site.proxy.count("UploadPart"), 0);
}

#[test]
fn runs_through_random_faults_store_everything_or_nothing() {
    let site = Site::with(&["office", "cloud"], "1s", "12s");
    let mut whole = 0;
    for seed in 1..=8 {
        site.proxy.random(seed, 0.1);
        let outcome = site.now().run();
        site.proxy.calm();
        match outcome.code {
            Some(0) => whole += 1,
            Some(3) => {}
            _ => panic!("seed {seed}: {outcome}"),
        }
        assert_eq!(site.server.whole_backups(&site.bucket), whole, "seed {seed}: {outcome}");
    }
    site.holds(8, whole);
    let faults = site.proxy.requests().iter().filter(|request| request.fault.is_some()).count();
    assert!(faults >= 15 && whole >= 2, "{faults} faults, {whole} runs stored everything");
}

/// The service stores a manifest long after it was given up for lost, and its files with it: that is no backup.
#[test]
fn a_manifest_that_arrives_after_its_run_failed_is_no_backup() {
    let site = Site::with(&["cloud"], "2s", "6s");
    site.proxy.inject(Fault::late(Duration::from_secs(8)).operation("PutObject").path("manifest.json"));
    site.proxy.inject(Fault::s3(403, "AccessDenied").operation("PutObject").path("manifest.json").always());
    site.now().fails(1);
    site.proxy.calm();
    crate::support::wait_until("the manifest to arrive", || {
        site.server.keys(&site.bucket).iter().any(|key| key.ends_with("manifest.json"))
    });
    let list = site.pgkeep(["backup", "list"]).ok();
    assert!(list.stdout.contains("no backups") && list.stderr.contains("none of its files"), "{list}");
    site.pgkeep(["restore", "shop/latest", "--into", "shop_phantom"]).run().explains(&["no backup"], "");
    site.now().ok();
    assert_eq!(site.pgkeep(["backup", "list"]).json()["backups"].as_array().unwrap().len(), 1);
}
