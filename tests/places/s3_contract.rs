//! S3, held to the contract on servers that speak it.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::contract::Any;
use crate::services::{Quirks, S3s, Seaweed};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::cancel::Cancel;
use pgkeep::config::{S3Check, S3Checksums, S3Config, S3Keys, S3Lock, SecretRef};
use pgkeep::destination::{Backoff, Finding, Key, Remote, Retrying, S3, Service, Stored, Verdict};
use pgkeep::error::ErrorKind;
use pgkeep::secret::Secret;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIB: usize = 1 << 20;
const DATA_NAME: &str = "job/app/20261122T020000Z-7f3a/app_20261122_020000.sql.gz";

fn data() -> Key {
    crate::contract::key(DATA_NAME)
}

/// Bytes of which no two parts are alike.
fn pattern(bytes: usize) -> Bytes {
    (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Uploads so many bytes to [`data`] in uneven pieces, and gives them.
async fn stream(destination: &Any, bytes: usize) -> Bytes {
    let whole = pattern(bytes);
    let mut upload = destination.upload(&data(), 0).await.unwrap();
    for piece in whole.chunks(1_300_001) {
        upload.write(whole.slice_ref(piece)).await.unwrap();
    }
    assert_eq!(upload.complete().await.unwrap().bytes, bytes as u64);
    whole
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_secs(20), Cancel::new())
}

fn destination(config: S3Config) -> Any {
    Arc::new(Remote::new(Retrying::new(S3::new("bucket", config, backoff()), backoff())))
}

/// SeaweedFS, which nobody here wrote.
#[tokio::test]
async fn seaweedfs_keeps_the_contract() {
    let server = Seaweed::shared();
    crate::contract::holds(|| async { destination(server.s3_config(&server.bucket())) }).await;
}

/// Holds S3 to the contract on servers with `quirks`, a new one for each promise.
async fn holds_on(quirks: Quirks, change: impl Fn(&mut S3Config)) {
    let servers = Mutex::new(Vec::new());
    crate::contract::holds(|| async {
        let server = S3s::with(quirks.clone()).await;
        let mut config = server.config();
        change(&mut config);
        servers.lock().unwrap().push(server);
        destination(config)
    })
    .await;
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    holds_on(Quirks::default(), |_| {}).await;
}

#[tokio::test]
async fn s3_keeps_the_contract_below_a_prefix_and_without_checksums() {
    holds_on(Quirks::default(), |config| {
        config.prefix = "backups/of/this host".to_owned();
        config.checksums = S3Checksums::WhenRequired;
    })
    .await;
}

#[tokio::test]
async fn a_service_that_keeps_neither_checksums_nor_md5s_nor_metadata_is_read_again() {
    let quirks = Quirks { no_checksums: true, own_etags: true, no_metadata: true, ..Quirks::default() };
    holds_on(quirks, |_| {}).await;
}

#[tokio::test]
async fn a_large_stream_of_unknown_length_goes_up_in_equal_parts() {
    let server = S3s::start().await;
    let mut config = server.config();
    (config.part_size, config.max_parts, config.concurrency) = (5 * MIB as u64, 20, 3);
    let whole = stream(&destination(config), 40 * MIB + 7).await;
    let held = server.held(DATA_NAME);
    assert_eq!(held.bytes, whole);
    assert_eq!(held.parts, [vec![5 * MIB; 8], vec![7]].concat());
    assert!(server.most_in_flight() <= 3, "{}", server.most_in_flight());
    assert!(held.crc.is_some() && held.metadata.contains_key("pgkeep-upload"));
}

#[tokio::test]
async fn parts_grow_where_the_plan_is_exceeded() {
    let server = S3s::start().await;
    let mut config = server.config();
    (config.part_size, config.max_parts) = (5 * MIB as u64, 4);
    let whole = stream(&destination(config), 37 * MIB).await;
    let held = server.held(DATA_NAME);
    assert_eq!((held.bytes == whole, held.parts), (true, vec![5 * MIB, 5 * MIB, 20 * MIB, 7 * MIB]));
}

#[tokio::test]
async fn one_part_needs_one_request() {
    let server = S3s::start().await;
    let mut config = server.config();
    config.part_size = 5 * MIB as u64;
    stream(&destination(config), 5 * MIB).await;
    assert_eq!(server.held(DATA_NAME).parts, Vec::<usize>::new());
}

#[tokio::test]
async fn refused_parts_are_sent_again() {
    let server = S3s::with(Quirks { slow_down_every: 3, ..Quirks::default() }).await;
    let mut config = server.config();
    config.part_size = 5 * MIB as u64;
    let whole = stream(&destination(config), 27 * MIB).await;
    assert_eq!(server.held(DATA_NAME).bytes, whole);
}

#[tokio::test]
async fn a_stream_that_does_not_fit_fails_and_leaves_nothing() {
    let server = S3s::start().await;
    let mut config = server.config();
    (config.part_size, config.max_parts) = (5 * MIB as u64, 2);
    let destination = destination(config);
    let mut upload = destination.upload(&data(), 0).await.unwrap();
    let mut written = Ok(());
    for _ in 0..10 {
        written = upload.write(Bytes::from(vec![7; 5 * MIB])).await;
        if written.is_err() {
            break;
        }
    }
    assert_eq!(written.unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(upload.complete().await.is_err());
    assert_eq!((server.open_uploads(), server.names()), (0, vec![]));
}

/// What one upload in one request and one in parts end with.
async fn both_ways(quirks: &Quirks, change: impl Fn(&mut S3Config)) -> Vec<(S3s, pgkeep::error::Result<Stored>)> {
    let mut ends = Vec::new();
    for bytes in [1000, 11 * MIB] {
        let server = S3s::with(quirks.clone()).await;
        let mut config = server.config();
        config.part_size = 5 * MIB as u64;
        change(&mut config);
        let mut upload = destination(config).upload(&data(), 0).await.unwrap();
        upload.write(pattern(bytes)).await.unwrap();
        let end = upload.complete().await;
        ends.push((server, end));
    }
    ends
}

#[tokio::test]
async fn what_did_not_arrive_whole_is_damaged_and_deleted() {
    let noticed_by_crc = Quirks { damages_unnoticed: true, ..Quirks::default() };
    let noticed_by_reading = Quirks { damages_unnoticed: true, no_checksums: true, ..Quirks::default() };
    for quirks in [noticed_by_crc, noticed_by_reading] {
        for (server, end) in both_ways(&quirks, |_| {}).await {
            let error = end.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error:?}");
            assert_eq!((server.names(), server.open_uploads()), (vec![], 0));
        }
        let server = S3s::with(quirks).await;
        let error = destination(server.config()).put(&data(), Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!((error.kind(), server.names()), (ErrorKind::Damaged, vec![]));
    }
}

#[tokio::test]
async fn a_service_that_lies_about_its_checksums_is_found_out_by_reading_back() {
    let quirks = Quirks { damages: true, ..Quirks::default() };
    for (server, end) in both_ways(&quirks, |config| config.check = S3Check::ReadBack).await {
        assert_eq!((end.unwrap_err().kind(), server.names()), (ErrorKind::Damaged, vec![]));
    }
}

#[tokio::test]
async fn a_lost_answer_is_no_failure() {
    for no_metadata in [false, true] {
        let quirks = Quirks { loses_an_answer: true, no_metadata, ..Quirks::default() };
        for (server, end) in both_ways(&quirks, |_| {}).await {
            assert_eq!(end.unwrap().bytes, server.held(DATA_NAME).bytes.len() as u64);
            assert_eq!(server.open_uploads(), 0);
        }
        let server = S3s::with(quirks).await;
        destination(server.config()).put(&data(), Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(server.held(DATA_NAME).bytes, "x");
    }
}

#[tokio::test]
async fn a_service_without_conditions_is_looked_at_before() {
    let quirks = Quirks { no_conditions: true, ..Quirks::default() };
    for bytes in [10, 11 * MIB] {
        let server = S3s::with(quirks.clone()).await;
        let mut config = server.config();
        (config.create_only, config.part_size) = (false, 5 * MIB as u64);
        let destination = destination(config);
        let mut upload = destination.upload(&data(), 0).await.unwrap();
        upload.write(pattern(bytes)).await.unwrap();
        server.insert(DATA_NAME, b"a stranger's");
        assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((server.held(DATA_NAME).bytes, server.open_uploads()), ("a stranger's".into(), 0));
    }
}

#[tokio::test]
async fn a_dropped_upload_is_told_and_swept_after_a_day() {
    let server = S3s::with(Quirks { page: 2, ..Quirks::default() }).await;
    let mut config = server.config();
    config.part_size = 5 * MIB as u64;
    let service = S3::new("bucket", config.clone(), backoff());
    for name in ["globals.sql", "database.sql", "contents.json", "globals.sql.gz", "app_20261122_020000.sql"] {
        let mut upload = service.upload(&crate::contract::dir().join(name), 0).await.unwrap();
        upload.write(pattern(11 * MIB)).await.unwrap();
    }
    assert_eq!((server.open_uploads(), server.names()), (5, vec![]));
    let unfinished = service.unfinished(&crate::contract::key("job")).await.unwrap();
    assert_eq!(unfinished.len(), 5, "{unfinished:?}");
    assert_eq!(service.unfinished(&crate::contract::key("jo")).await.unwrap(), []);
    service.abandon(&unfinished[0]).await.unwrap();
    service.abandon(&unfinished[0]).await.unwrap();
    let destination = destination(config);
    destination.sweep(&crate::contract::key("job"), Utc::now() + TimeDelta::hours(23)).await.unwrap();
    assert_eq!(server.open_uploads(), 4);
    destination.sweep(&crate::contract::key("job"), Utc::now() + TimeDelta::hours(25)).await.unwrap();
    assert_eq!(server.open_uploads(), 0);
    let none = S3s::with(Quirks { no_listing_of_uploads: true, ..Quirks::default() }).await;
    let service = S3::new("bucket", none.config(), backoff());
    assert_eq!(service.unfinished(&crate::contract::key("job")).await.unwrap(), []);
}

#[tokio::test]
async fn a_cancelled_upload_can_be_aborted() {
    let server = S3s::start().await;
    let mut config = server.config();
    config.part_size = 5 * MIB as u64;
    let cancel = Cancel::new();
    let backoff = Backoff::new(Duration::from_secs(20), cancel.clone());
    let service = S3::new("bucket", config, backoff);
    let mut upload = service.upload(&data(), 0).await.unwrap();
    upload.write(pattern(11 * MIB)).await.unwrap();
    assert_eq!(server.open_uploads(), 1);
    cancel.cancel(pgkeep::cancel::Cause::Terminate);
    upload.abort().await.unwrap();
    assert_eq!((server.open_uploads(), server.names()), (0, vec![]));
}

#[tokio::test]
async fn listings_are_whole_or_an_error() {
    let names: Vec<String> = (0..1005).map(|n| format!("job/{n:04}")).collect();
    let server = S3s::start().await;
    for name in &names {
        server.insert(name, b"x");
    }
    server.insert("job/é", b"no key of pgkeep's");
    server.insert("job/folder/", b"");
    let listed = destination(server.config()).list(Some(&crate::contract::key("job"))).await.unwrap();
    assert_eq!(listed.into_iter().map(|object| object.key.to_string()).collect::<Vec<_>>(), names);
    for quirks in [
        Quirks { listings_break: true, page: 2, ..Quirks::default() },
        Quirks { listings_repeat: true, page: 2, ..Quirks::default() },
    ] {
        let server = S3s::with(quirks).await;
        for name in &names[..5] {
            server.insert(name, b"x");
        }
        let service = S3::new("bucket", server.config(), backoff());
        assert_eq!(service.list(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn children_come_page_by_page_whatever_lies_below_them() {
    let server = S3s::with(Quirks { page: 3, ..Quirks::default() }).await;
    for folder in 0..10 {
        for file in 0..20 {
            server.insert(&format!("job/{folder}/{file}"), "x");
        }
        server.insert(&format!("job/{folder}-object"), "x");
    }
    server.insert("job/é/x", "in no folder of pgkeep's");
    let destination = destination(server.config());
    server.asked();
    let children = destination.children(Some(&crate::contract::key("job"))).await.unwrap();
    assert_eq!(server.asked().lists, 7, "21 names in pages of 3");
    let names: Vec<String> = children.folders.iter().map(ToString::to_string).collect();
    assert_eq!(names, (0..10).map(|folder| format!("job/{folder}")).collect::<Vec<_>>());
    assert_eq!(children.objects.len(), 10);
    for quirks in [
        Quirks { listings_break: true, page: 3, ..Quirks::default() },
        Quirks { listings_repeat: true, page: 3, ..Quirks::default() },
    ] {
        let server = S3s::with(quirks).await;
        for folder in 0..5 {
            server.insert(&format!("job/{folder}/x"), "x");
        }
        let service = S3::new("bucket", server.config(), backoff());
        let error = service.children(Some(&crate::contract::key("job"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn what_object_lock_keeps_is_told_with_its_time() {
    let server = S3s::start().await;
    let mut config = server.config();
    config.object_lock = Some(S3Lock { compliance: false, retain: Duration::from_secs(3600) });
    let locked = destination(config);
    let before = Utc::now();
    locked.put(&data(), Bytes::from_static(b"x")).await.unwrap();
    let until = locked.locked_until(&data()).await.unwrap().unwrap();
    let hour = TimeDelta::hours(1);
    assert!(until >= before + hour - TimeDelta::seconds(1) && until <= Utc::now() + hour, "{until}");
    server.hold(DATA_NAME);
    assert_eq!(locked.locked_until(&data()).await.unwrap(), Some(chrono::DateTime::<Utc>::MAX_UTC));
    let missing = locked.locked_until(&crate::contract::key("x")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn seaweedfs_tells_how_long_object_lock_keeps_what_is_stored() {
    let server = Seaweed::shared();
    let mut config = server.s3_config(&server.locked_bucket());
    let plain = destination(config.clone());
    config.object_lock = Some(S3Lock { compliance: false, retain: Duration::from_secs(60) });
    let locked = destination(config);
    plain.put(&crate::contract::key("plain"), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(plain.locked_until(&crate::contract::key("plain")).await.unwrap(), None);
    let before = Utc::now();
    locked.put(&data(), Bytes::from_static(b"x")).await.unwrap();
    let until = plain.locked_until(&data()).await.unwrap().unwrap();
    let minute = TimeDelta::minutes(1);
    assert!(until >= before + minute - TimeDelta::seconds(1) && until <= Utc::now() + minute, "{until}");
}

/// They are pgkeep's own to delete, and must be readable at once.
#[tokio::test]
async fn indexes_and_marks_are_neither_locked_nor_archived() {
    let server = S3s::start().await;
    let mut config = server.config();
    config.storage_class = Some("GLACIER".to_owned());
    config.object_lock = Some(S3Lock { compliance: true, retain: Duration::from_secs(3600) });
    let destination = destination(config);
    for name in [
        "job/app/catalogue-20261121T020000Z-01234567.jsonl.gz",
        "job/app/20261121T020000Z-0000.changed-01234567",
        "job/app/20261121T020000Z-0000/catalogue-20261121T020000Z-01234567.jsonl.gz",
    ] {
        destination.put(&crate::contract::key(name), Bytes::from_static(b"x")).await.unwrap();
        let held = server.held(name);
        let plain = (held.lock.is_none(), held.storage_class.is_none());
        let passing = crate::contract::key(name).segments().count() == 3;
        assert_eq!(plain, (passing, passing), "{name}");
    }
}

#[tokio::test]
async fn data_gets_its_attributes_and_marks_do_not() {
    let server = S3s::start().await;
    let mut config = server.config();
    config.storage_class = Some("STANDARD_IA".to_owned());
    config.tags = [("team".to_owned(), "db & co".to_owned())].into();
    config.object_lock = Some(S3Lock { compliance: true, retain: Duration::from_secs(3600) });
    config.part_size = 5 * MIB as u64;
    for checksums in [S3Checksums::WhenSupported, S3Checksums::WhenRequired] {
        config.checksums = checksums;
        let destination = destination(config.clone());
        let claim = destination.claim(&crate::contract::dir()).await.unwrap();
        destination.put(&crate::contract::dir().join("RESTORE.txt"), Bytes::from_static(b"x")).await.unwrap();
        stream(&destination, 6 * MIB).await;
        for name in server.names() {
            let held = server.held(&name);
            let attributes = (held.storage_class.as_deref(), held.tagging.as_deref(), held.lock.as_deref());
            if name.ends_with(".in-progress") {
                assert_eq!(attributes, (None, None, None), "{name}");
            } else {
                let expected = (Some("STANDARD_IA"), Some("team=db%20%26%20co"), Some("COMPLIANCE"));
                assert_eq!(attributes, expected, "{name}");
            }
        }
        assert_eq!(server.names().len(), 3);
        claim.release().await.unwrap();
        for object in destination.list(None).await.unwrap() {
            destination.delete(&object.key).await.unwrap();
        }
    }
}

#[tokio::test]
async fn wrong_keys_buckets_and_certificates_are_told_with_what_to_do_and_without_secrets() {
    let server = S3s::start().await;
    let secret = |text: &str| SecretRef::Literal(Secret::new(text));
    let [id, key] = S3s::secrets();
    let keys = |id: &str, key: &str| {
        Some(S3Keys { access_key_id: secret(id), secret_access_key: secret(key), session_token: None })
    };
    let no_certificates = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(no_certificates.path(), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let wrong_key = S3Config { keys: keys(id, "wr0ng-secret"), ..server.config() };
    let wrong_id = S3Config { keys: keys("AKIA0STRANGER", key), ..server.config() };
    let no_bucket = S3Config { bucket: "nothing".to_owned(), ..server.config() };
    let no_file = S3Config { ca_file: Some("/nonexistent/ca.pem".into()), ..server.config() };
    let bad_file = S3Config { ca_file: Some(no_certificates.path().into()), ..server.config() };
    let no_variable = SecretRef::Env("PGKEEP_NO_SUCH_VARIABLE".to_owned());
    let missing = S3Keys { access_key_id: no_variable.clone(), secret_access_key: no_variable, session_token: None };
    let no_keys = S3Config { keys: Some(missing), ..server.config() };
    for (config, kind, hint) in [
        (wrong_key, ErrorKind::PermissionDenied, "secret access key"),
        (wrong_id, ErrorKind::PermissionDenied, "access key id"),
        (no_bucket, ErrorKind::NotFound, "create the bucket"),
        (no_file, ErrorKind::NotFound, "PEM"),
        (bad_file, ErrorKind::Config, "PEM"),
        (no_keys, ErrorKind::NotFound, "set PGKEEP_NO_SUCH_VARIABLE"),
    ] {
        let error = destination(config).check_writable().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.hint_text().is_some_and(|text| text.contains(hint)), "{error:?} {:?}", error.hint_text());
        let all = format!("{error:?} {:?}", error.hint_text());
        for told in [id, key, "wr0ng-secret", "AKIA0STRANGER", "Authorization", "Signature="] {
            assert!(!all.contains(told), "{told} in {all}");
        }
    }
    assert!(!format!("{:?}", server.config()).contains(key));
}

#[tokio::test]
async fn a_service_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = S3s::start().await.config();
    config.endpoint = Some(format!("http://{}", silent.local_addr().unwrap()));
    config.patience.timeout = Duration::from_secs(1);
    let error = S3::new("bucket", config, backoff()).head(&data()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.one_line().contains("nothing was sent or received for 1 s"), "{error:?}");
}

#[tokio::test]
async fn examining_finds_what_a_service_cannot_do_and_leaves_nothing() {
    let verdict = |findings: &[Finding], what: &str| {
        let found = findings.iter().find(|finding| finding.what == what);
        found.unwrap_or_else(|| panic!("nothing about {what}: {findings:?}")).verdict
    };
    let strict = S3s::start().await;
    let findings = destination(strict.config()).examine().await.unwrap();
    for what in ["clock", "create-only writes", "digests", "checksums"] {
        assert_eq!(verdict(&findings, what), Verdict::Good, "{what}");
    }
    assert_eq!(verdict(&findings, "versioning"), Verdict::Note);
    let lax = S3s::with(Quirks { no_conditions: true, no_checksums: true, ..Quirks::default() }).await;
    let findings = destination(lax.config()).examine().await.unwrap();
    assert_eq!(verdict(&findings, "create-only writes"), Verdict::Warning);
    assert_eq!(verdict(&findings, "digests"), Verdict::Warning);
    assert_eq!(verdict(&findings, "checksums"), Verdict::Note);
    assert!(findings.iter().all(|finding| finding.verdict < Verdict::Warning || finding.fix.is_some()));
    for server in [strict, lax] {
        assert_eq!((server.names(), server.open_uploads()), (vec![], 0));
    }
}

/// `s3s-fs` keeps no checksums, gives ETags of another form, and knows no conditions: what it holds is read again.
#[tokio::test]
async fn uploads_to_a_service_on_files_arrive_whole_and_aborted_ones_leave_nothing() {
    let server = S3s::on_files().await;
    let mut config = server.config();
    (config.part_size, config.create_only) = (5 * MIB as u64, false);
    let destination = destination(config);
    destination.check_writable().await.unwrap();
    let mut upload = destination.upload(&data(), 0).await.unwrap();
    upload.write(pattern(23 * MIB)).await.unwrap();
    upload.abort().await.unwrap();
    // It forgets to delete the metadata of aborted uploads; that is its own affair.
    let left: Vec<_> =
        crate::support::everything_below(server.root()).into_iter().filter(|path| path.is_file()).collect();
    assert!(left.iter().all(|path| path.to_string_lossy().contains(".metadata")), "{left:?}");
    let whole = stream(&destination, 23 * MIB).await;
    assert_eq!(destination.read(&data(), 5 * MIB as u64..23 * MIB as u64).await.unwrap(), whole.slice(5 * MIB..));
    destination.delete(&data()).await.unwrap();
    destination.delete(&data()).await.unwrap();
}
