//! What must be survived between pgkeep and S3 (faults 20 to 25), seen at the destination itself: what passes is outlived, what
//! does not is told at once, and the server is left with what was stored, whole, or with nothing.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Answer, Fault, Proxy, Seaweed, s3_destination};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::config::{Patience, S3Config, SecretRef};
use pgkeep::destination::{Destination, Key};
use pgkeep::error::{Error, ErrorKind};
use std::time::{Duration, Instant};

const DIR: &str = "job/app/20261122T020000Z-7f3a";
const DATA: &str = "job/app/20261122T020000Z-7f3a/app_20261122_020000.sql.gz";

/// Two parts and a bit.
const THREE_PARTS: usize = (10 << 20) + 4321;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// Bytes that differ everywhere.
fn body(length: usize) -> Bytes {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect()
}

/// A bucket behind a proxy.
struct Scene {
    server: &'static Seaweed,
    bucket: String,
    proxy: Proxy,
    patience: Patience,
}

impl Scene {
    fn new() -> Self {
        let server = Seaweed::shared();
        let patience = Patience { retry_for: Duration::from_secs(20), timeout: Duration::from_secs(2) };
        Self { server, bucket: server.bucket(), proxy: Proxy::to(&server.address()), patience }
    }

    /// Gives up after so many seconds.
    fn gives_up_after(seconds: u64) -> Self {
        let patience = Patience { retry_for: Duration::from_secs(seconds), timeout: Duration::from_secs(10) };
        Self { patience, ..Self::new() }
    }

    fn config(&self) -> S3Config {
        let mut config = Seaweed::s3_config_at(&self.proxy.endpoint(), &self.bucket);
        config.part_size = 5 << 20;
        config.patience = self.patience;
        config
    }

    fn destination(&self) -> std::sync::Arc<dyn Destination> {
        s3_destination(self.config())
    }

    /// Uploads `bytes` as a stream of unknown length.
    async fn upload(&self, name: &str, bytes: &Bytes) -> Result<(), Error> {
        upload(&*self.destination(), name, bytes).await
    }

    /// Fails unless the bucket holds exactly this, and no upload is open.
    #[track_caller]
    fn holds(&self, expected: &[(&str, &Bytes)]) {
        assert_eq!(self.server.open_uploads(&self.bucket), [], "uploads are open");
        let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        assert_eq!(self.server.keys(&self.bucket), names);
        for (name, bytes) in expected {
            assert!(self.server.get(&self.bucket, name) == **bytes, "{name} is not what was stored");
        }
    }
}

async fn upload(destination: &dyn Destination, name: &str, bytes: &Bytes) -> Result<(), Error> {
    let mut upload = destination.upload(&key(name), 0).await?;
    for at in (0..bytes.len()).step_by(1 << 20) {
        if let Err(error) = upload.write(bytes.slice(at..bytes.len().min(at + (1 << 20)))).await {
            upload.abort().await?;
            return Err(error);
        }
    }
    let stored = upload.complete().await?;
    assert_eq!(stored.bytes, bytes.len() as u64);
    Ok(())
}

/// What S3 does to an upload in several parts; one proof of it all is a request to look at the object.
const STEPS: [&str; 4] = ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject"];

/// Each fault once, at each step of an upload in parts and of one in a single request: it is stored, once, whole.
async fn is_outlived(fault: impl Fn() -> Fault) {
    let scene = Scene::new();
    let (large, small) = (body(THREE_PARTS), body(100_000));
    for (number, step) in STEPS.iter().enumerate() {
        let name = format!("job/large-{number}");
        let injected = scene.proxy.inject(fault().operation(step));
        scene.upload(&name, &large).await.unwrap_or_else(|error| panic!("{step}: {}", error.one_line()));
        assert_eq!(injected.happened(), 1, "{step}");
        assert_eq!(scene.server.open_uploads(&scene.bucket), [], "{step}");
    }
    for step in ["PutObject", "HeadObject"] {
        let injected = scene.proxy.inject(fault().operation(step));
        scene
            .upload(&format!("job/small-{step}"), &small)
            .await
            .unwrap_or_else(|error| panic!("{step}: {}", error.one_line()));
        let put = scene.proxy.inject(fault().operation(step));
        let to = scene.destination();
        to.put(&key(&format!("job/tiny-{step}")), small.clone()).await.unwrap();
        assert_eq!((injected.happened(), put.happened()), (1, 1), "{step}");
    }
    let large_names = ["job/large-0", "job/large-1", "job/large-2", "job/large-3"].map(|name| (name, &large));
    let small_names = ["job/small-HeadObject", "job/small-PutObject", "job/tiny-HeadObject", "job/tiny-PutObject"]
        .map(|name| (name, &small));
    scene.holds(&[large_names, small_names].concat());
}

#[tokio::test]
async fn a_connection_that_is_cut_while_sending() {
    is_outlived(|| Fault::cut_request_after(70_000)).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_while_the_answer_comes() {
    is_outlived(|| Fault::cut_response_after(20)).await;
}

#[tokio::test]
async fn a_lost_answer_to_what_was_done() {
    is_outlived(Fault::drop_reply).await;
}

#[tokio::test]
async fn a_connection_that_stalls_while_sending() {
    is_outlived(|| Fault::stall_request_after(70_000)).await;
}

#[tokio::test]
async fn an_answer_that_stalls() {
    is_outlived(|| Fault::stall_response_after(20)).await;
}

#[tokio::test]
async fn a_service_that_is_overloaded() {
    for (status, code) in [(503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests")] {
        is_outlived(|| Fault::s3(status, code)).await;
    }
}

#[tokio::test]
async fn an_overloaded_gateway_that_does_not_speak_s3() {
    is_outlived(|| Fault::answer(Answer::new(502, "<html>Bad Gateway</html>"))).await;
}

#[tokio::test]
async fn an_answer_of_failure_to_what_was_done() {
    is_outlived(|| Fault::replace(Answer::s3(500, "InternalError"))).await;
}

#[tokio::test]
async fn a_request_that_is_done_long_after_it_was_given_up() {
    let scene = Scene::new();
    let (large, small) = (body(THREE_PARTS), body(100_000));
    let late = || Fault::late(scene.patience.timeout + Duration::from_secs(2));
    let injected =
        ["UploadPart", "CompleteMultipartUpload", "PutObject"].map(|step| scene.proxy.inject(late().operation(step)));
    scene.upload("job/large", &large).await.unwrap();
    scene.upload("job/small", &small).await.unwrap();
    assert!(injected.iter().all(|fault| fault.happened() == 1));
    crate::support::wait_until("the late ones to be answered", || {
        scene.proxy.requests().iter().all(|request| request.fault.is_none() || request.server_status.is_some())
    });
    scene.holds(&[("job/large", &large), ("job/small", &small)]);
}

#[tokio::test]
async fn a_service_that_refuses_connections_for_a_while() {
    let scene = Scene::new();
    let bytes = body(THREE_PARTS);
    let destination = scene.destination();
    let mut upload = destination.upload(&key(DATA), 0).await.unwrap();
    upload.write(bytes.slice(..6 << 20)).await.unwrap();
    scene.proxy.refuse();
    let (written, ()) = tokio::join!(
        async {
            upload.write(bytes.slice(6 << 20..)).await?;
            upload.complete().await
        },
        async {
            // Long enough for attempts that fail.
            tokio::time::sleep(Duration::from_secs(1)).await;
            scene.proxy.accept_again();
        }
    );
    written.unwrap();
    scene.holds(&[(DATA, &bytes)]);
}

#[tokio::test]
async fn bytes_that_change_on_the_way_are_sent_again() {
    let scene = Scene::new();
    let (large, small) = (body(THREE_PARTS), body(100_000));
    let part = scene.proxy.inject(Fault::corrupt_request_at(3_000_000).operation("UploadPart").nth(2));
    scene.upload("job/large", &large).await.unwrap();
    let whole = scene.proxy.inject(Fault::corrupt_request_at(50_000).operation("PutObject").nth(1));
    scene.upload("job/small", &small).await.unwrap();
    assert_eq!((part.happened(), whole.happened()), (1, 1));
    scene.holds(&[("job/large", &large), ("job/small", &small)]);
}

#[tokio::test]
async fn a_complete_that_is_answered_200_with_an_error_is_a_failure_and_leaves_nothing() {
    let scene = Scene::gives_up_after(3);
    let never = Fault::answer(Answer::s3(200, "InternalError")).operation("CompleteMultipartUpload").always();
    let injected = scene.proxy.inject(never);
    let error = scene.upload(DATA, &body(THREE_PARTS)).await.unwrap_err();
    assert!(injected.happened() >= 2 && error.one_line().contains("InternalError"), "{error:?}");
    assert!(scene.proxy.count("AbortMultipartUpload") >= 1);
    scene.holds(&[]);
    scene.proxy.calm();
    scene.upload(DATA, &body(THREE_PARTS)).await.unwrap();
    scene.holds(&[(DATA, &body(THREE_PARTS))]);
}

#[tokio::test]
async fn a_complete_that_was_done_and_answered_200_with_an_error_is_stored() {
    let scene = Scene::gives_up_after(3);
    let bytes = body(THREE_PARTS);
    let lie = Fault::replace(Answer::s3(200, "InternalError")).operation("CompleteMultipartUpload").always();
    scene.proxy.inject(lie);
    scene.upload(DATA, &bytes).await.unwrap();
    scene.holds(&[(DATA, &bytes)]);
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_looking_also_when_asking_again_is_refused() {
    let scene = Scene::new();
    let (large, small) = (body(THREE_PARTS), body(100_000));
    for step in ["CompleteMultipartUpload", "PutObject", "PutObject"] {
        scene.proxy.inject(Fault::drop_reply().operation(step));
        scene.proxy.inject(Fault::s3(403, "AccessDenied").operation(step).nth(1));
        match scene.server.objects(&scene.bucket).len() {
            0 => scene.upload("job/large", &large).await.unwrap(),
            1 => scene.upload("job/small", &small).await.unwrap(),
            _ => drop(scene.destination().put(&key("job/tiny"), small.clone()).await.unwrap()),
        }
        scene.proxy.calm();
    }
    scene.holds(&[("job/large", &large), ("job/small", &small), ("job/tiny", &small)]);
}

#[tokio::test]
async fn a_complete_that_is_answered_200_without_an_etag_is_not_believed() {
    let scene = Scene::gives_up_after(3);
    let empty = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>";
    let answer = Answer::new(200, empty).header("content-type", "application/xml");
    scene.proxy.inject(Fault::answer(answer).operation("CompleteMultipartUpload").always());
    scene.upload(DATA, &body(THREE_PARTS)).await.unwrap_err();
    scene.holds(&[]);
}

#[tokio::test]
async fn an_object_of_another_size_than_was_sent_is_a_failure() {
    let scene = Scene::gives_up_after(3);
    // The service says that all is well, and kept less.
    let server = scene.server;
    let bucket = scene.bucket.clone();
    let edit = Fault::edit(move |answer| {
        server.put(&bucket, DATA, b"less");
        answer
    });
    scene.proxy.inject(edit.operation("CompleteMultipartUpload"));
    let error = scene.upload(DATA, &body(THREE_PARTS)).await.unwrap_err();
    assert!(error.kind() != ErrorKind::Unavailable, "{error:?}");
    assert_eq!(scene.server.open_uploads(&scene.bucket), []);
}

#[tokio::test]
async fn an_upload_of_unknown_length_keeps_to_the_service_s_limit_of_parts() {
    let scene = Scene::new();
    let mut config = scene.config();
    config.max_parts = 4;
    let bytes = body(40 << 20);
    upload(&*s3_destination(config), DATA, &bytes).await.unwrap();
    let parts = scene.proxy.count("UploadPart");
    assert!((2..=4).contains(&parts), "{parts} parts");
    scene.holds(&[(DATA, &bytes)]);
}

#[tokio::test]
async fn a_service_that_is_down_is_given_up_in_time() {
    let scene = Scene::gives_up_after(3);
    let down = scene.proxy.inject(Fault::s3(503, "SlowDown").always());
    let begin = Instant::now();
    let error = scene.destination().list(None).await.unwrap_err();
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.one_line().contains("SlowDown") && error.hint_text().unwrap().contains("attempts"), "{error:?}");
    // The pauses grow: not hundreds of requests.
    assert!((3..=8).contains(&down.happened()), "{} attempts", down.happened());
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    let cases = [
        (403, "AccessDenied", ErrorKind::PermissionDenied, "s3:PutObject"),
        (403, "InvalidAccessKeyId", ErrorKind::PermissionDenied, "access key id"),
        (403, "SignatureDoesNotMatch", ErrorKind::PermissionDenied, "secret access key"),
        (403, "RequestTimeTooSkewed", ErrorKind::PermissionDenied, "clock"),
        (400, "ExpiredToken", ErrorKind::PermissionDenied, "expired"),
        (404, "NoSuchBucket", ErrorKind::NotFound, "bucket"),
    ];
    for (status, code, kind, hint) in cases {
        let scene = Scene::new();
        let part = scene.proxy.inject(Fault::s3(status, code).operation("UploadPart").always());
        let error = scene.upload("job/large", &body((5 << 20) + 7)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error:?}");
        assert!(error.hint_text().is_some_and(|text| text.contains(hint)), "{code}: {error:?}");
        assert!(part.happened() <= 2, "{code}: each of two parts was tried once, not {} times", part.happened());
        let put = scene.proxy.inject(Fault::s3(status, code).operation("PutObject").always());
        let error = scene.destination().put(&key("job/small"), body(10)).await.unwrap_err();
        assert_eq!((error.kind(), put.happened()), (kind, 1), "{code}: {error:?}");
        scene.holds(&[]);
    }
}

#[tokio::test]
async fn keys_that_expired_are_read_again_where_that_may_give_others() {
    let scene = Scene::new();
    let mut config = scene.config();
    let folder = crate::support::temp_dir();
    let count = folder.path().join("count");
    // A command that tells keys, as one that fetches temporary ones does.
    let script = format!("echo x >>{}; printf %s {}", count.display(), crate::services::SECRET_KEY);
    let command = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    config.keys.as_mut().unwrap().secret_access_key = SecretRef::Command(command);
    let bytes = body(THREE_PARTS);
    let expired = scene.proxy.inject(Fault::s3(400, "ExpiredToken").operation("UploadPart").nth(2));
    upload(&*s3_destination(config), DATA, &bytes).await.unwrap();
    assert_eq!(expired.happened(), 1);
    let asked = std::fs::read_to_string(count).unwrap().lines().count();
    assert!((2..=3).contains(&asked), "the keys were asked for {asked} times");
    scene.holds(&[(DATA, &bytes)]);
}

#[tokio::test]
async fn a_failed_upload_whose_abort_fails_at_first_leaves_nothing() {
    let scene = Scene::new();
    scene.proxy.inject(Fault::s3(403, "AccessDenied").operation("UploadPart").nth(2).always());
    let aborts = scene.proxy.inject(Fault::s3(500, "InternalError").operation("AbortMultipartUpload").times(2));
    let error = scene.upload(DATA, &body(THREE_PARTS)).await.unwrap_err();
    assert_eq!((error.kind(), aborts.happened()), (ErrorKind::PermissionDenied, 2), "{error:?}");
    scene.holds(&[]);
}

#[tokio::test]
async fn reading_asks_again_for_what_did_not_come() {
    let scene = Scene::new();
    let bytes = body(3 << 20);
    scene.server.put(&scene.bucket, DATA, &bytes);
    let faults = [
        Fault::cut_response_after(1_000_000),
        Fault::stall_response_after(1_000_000),
        Fault::drop_reply(),
        Fault::s3(503, "SlowDown"),
    ];
    for fault in faults {
        let injected = scene.proxy.inject(fault.operation("GetObject"));
        let read = scene.destination().read(&key(DATA), 0..3 << 20).await.unwrap();
        assert!(read == bytes);
        assert_eq!(injected.happened(), 1);
    }
}

/// What a page holds at most.
const PAGE: usize = 1000;

#[tokio::test]
async fn a_listing_of_more_than_a_page_is_whole_and_one_that_breaks_off_deletes_nothing() {
    let scene = Scene::gives_up_after(2);
    let keys: Vec<String> = (0..PAGE + 5).map(|i| format!("{DIR}/receipt-{i:04}")).collect();
    // Remains of a run long ago: a sweep that saw them all would take the data files.
    let data: Vec<String> = (0..5).map(|i| format!("{DIR}/app{i}_20261122_020000.sql.gz")).collect();
    scene.server.put_many(&scene.bucket, &keys, b"x");
    scene.server.put_many(&scene.bucket, &data, b"x");
    let mut all = [keys.clone(), data.clone()].concat();
    all.sort_unstable();
    let destination = scene.destination();
    let listed = destination.list(None).await.unwrap();
    assert_eq!(listed.iter().map(|object| object.key.to_string()).collect::<Vec<_>>(), all);
    assert_eq!(scene.proxy.count("ListObjectsV2"), 2);

    let later = Utc::now() + TimeDelta::hours(25);
    let no_token = |answer: Answer| {
        let text = answer.text();
        let (before, rest) = text.split_once("<NextContinuationToken>").expect("a token");
        let (_, after) = rest.split_once("</NextContinuationToken>").unwrap();
        Answer { body: format!("{before}{after}").into_bytes(), ..answer }
    };
    let second_page = || "continuation-token=";
    let breaks = [
        Fault::s3(500, "InternalError").query(second_page()).always(),
        Fault::s3(403, "AccessDenied").query(second_page()).always(),
        Fault::cut_response_after(300).query(second_page()).always(),
        Fault::edit(no_token).operation("ListObjectsV2").always(),
        Fault::s3(500, "InternalError").operation("ListMultipartUploads").always(),
    ];
    for (number, fault) in breaks.into_iter().enumerate() {
        let injected = scene.proxy.inject(fault);
        if number < 4 {
            destination.list(None).await.unwrap_err();
        }
        destination.sweep(&key("job"), later).await.unwrap_err();
        assert!(injected.happened() >= 1, "break {number}");
        assert_eq!(scene.server.keys(&scene.bucket), all, "break {number}");
        scene.proxy.calm();
    }
    // A manifest on the page that did not come makes it a backup: nothing of it may go, whoever has no mark.
    scene.server.put(&scene.bucket, &format!("{DIR}/manifest.json"), b"{}");
    destination.sweep(&key("job"), later).await.unwrap();
    all.push(format!("{DIR}/manifest.json"));
    all.sort_unstable();
    assert_eq!(scene.server.keys(&scene.bucket), all);
    scene.server.delete(&scene.bucket, &format!("{DIR}/manifest.json"));
    destination.sweep(&key("job"), later).await.unwrap();
    assert_eq!(scene.server.keys(&scene.bucket), keys, "what is certainly pgkeep's is gone, what is not is there");
}

#[tokio::test]
async fn remains_of_an_unknown_writer_are_swept_when_they_are_a_week_old_and_of_this_job_only() {
    let scene = Scene::new();
    let (server, bucket) = (scene.server, &scene.bucket);
    let mark =
        r#"{"host":"elsewhere","scope":"another machine","pid":1,"token":"t","started_at":"2026-11-22T02:00:00Z"}"#;
    let other = DATA.replace("job/", "job-2/");
    for data in [DATA, &other] {
        server.begin_upload(bucket, data, &body(5 << 20));
        server.begin_upload(bucket, &data.replace(".sql.gz", ".other"), &body(5 << 20));
        let dir = data.rsplit_once('/').unwrap().0;
        server.put(bucket, &format!("{dir}/.in-progress"), mark.as_bytes());
        server.put(bucket, &format!("{dir}/globals.sql.gz"), b"x");
    }
    let destination = scene.destination();
    assert_eq!(destination.sweep(&key("job"), Utc::now() + TimeDelta::days(6)).await.unwrap(), []);
    assert_eq!((server.open_uploads(bucket).len(), server.objects(bucket).len()), (4, 4));
    let swept = destination.sweep(&key("job"), Utc::now() + TimeDelta::days(8)).await.unwrap();
    assert_eq!(swept.iter().map(|swept| swept.name.as_str()).collect::<Vec<_>>(), [DIR]);
    let mut left: Vec<String> = server.open_uploads(bucket).into_iter().map(|(key, _)| key).collect();
    left.sort_unstable();
    // A name that pgkeep does not give stays, wherever it is.
    assert_eq!(left, [other.replace(".sql.gz", ".other"), other.clone(), DATA.replace(".sql.gz", ".other")]);
    let other_dir = other.rsplit_once('/').unwrap().0;
    assert_eq!(server.keys(bucket), [format!("{other_dir}/.in-progress"), format!("{other_dir}/globals.sql.gz")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn remains_of_a_dead_writer_on_this_machine_are_swept_at_once() {
    let scene = Scene::new();
    let destination = scene.destination();
    let claim = destination.claim(&key(DIR)).await.unwrap();
    let mut upload = destination.upload(&key(DATA), 0).await.unwrap();
    upload.write(body(THREE_PARTS)).await.unwrap();
    destination.put(&key(&format!("{DIR}/globals.sql.gz")), body(10)).await.unwrap();
    crate::support::wait_until("the parts to arrive", || {
        let open = scene.server.open_uploads(&scene.bucket);
        open.iter().any(|(name, id)| !scene.server.parts(&scene.bucket, name, id).is_empty())
    });
    assert_eq!(destination.sweep(&key("job"), Utc::now()).await.unwrap(), [], "it lives");
    // As the death of a process leaves it.
    drop(upload);
    drop(claim);
    assert_eq!(destination.sweep(&key("job"), Utc::now()).await.unwrap().len(), 1);
    scene.holds(&[]);
}
