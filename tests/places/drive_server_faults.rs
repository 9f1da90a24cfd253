//! How the Drive server of the tests lets things go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use crate::drive_client::{Client, UNIT, good, refused, said, stored};
use crate::services::{Drive, DriveFault, Wrong};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

const ALL: &str = "supportsAllDrives=true&includeItemsFromAllDrives=true";

/// The connection ends without an answer.
async fn cut(request: RequestBuilder) {
    let answer = request.send().await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn refusals_come_when_they_were_planned() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let about = || client.get("/drive/v3/about?fields=user");
    drive.fault(DriveFault::new(Wrong::Refused(403, "userRateLimitExceeded")).on("GET", "/about").nth(2).times(2));
    good(about()).await;
    refused(about(), 403, "userRateLimitExceeded").await;
    good(client.get("/drive/v3/files/generateIds")).await;
    refused(about(), 403, "userRateLimitExceeded").await;
    good(about()).await;
    drive.fault(DriveFault::new(Wrong::RefusedFor(429, "rateLimitExceeded", 7)));
    let answer = about().send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "7"));
    drive.fault(DriveFault::new(Wrong::Refused(503, "backendError")).on("GET", "generateIds").always());
    for _ in 0..3 {
        refused(client.get("/drive/v3/files/generateIds"), 503, "backendError").await;
    }
    drive.no_faults();
    good(client.get("/drive/v3/files/generateIds")).await;
    drive.fault(DriveFault::new(Wrong::ExpireTokens));
    refused(about(), 401, "authError").await;
    assert_eq!(drive.struck().len(), 7);
    let log = drive.log();
    let last = log.last().unwrap();
    assert_eq!(
        (last.path.as_str(), last.status, last.reason.as_deref()),
        ("/drive/v3/about", Some(401), Some("authError"))
    );
    assert_eq!(last.parameter("fields"), Some("user"));
}

#[tokio::test]
async fn connections_are_cut_before_and_after_the_work() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let create = |name: &str| {
        let request = client.ask(Method::POST, "/drive/v3/files?supportsAllDrives=true");
        request.json(&json!({"name": name, "parents": [folder]}))
    };
    drive.fault(DriveFault::new(Wrong::CutBefore));
    cut(create("before")).await;
    assert!(drive.files(&folder).is_empty());
    assert_eq!(drive.log().last().unwrap().status, None);
    drive.fault(DriveFault::new(Wrong::CutAfter));
    cut(create("after")).await;
    assert_eq!(drive.files(&folder)[0].name, "after");

    let id = client.file(&folder, "large", &vec![7; 4 * UNIT]).await;
    let get = || client.get(&format!("/drive/v3/files/{id}?alt=media&supportsAllDrives=true"));
    drive.fault(DriveFault::new(Wrong::CutReply(600_000)));
    let answer = get().send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    drive.fault(DriveFault::new(Wrong::CorruptReply));
    let bytes = get().send().await.unwrap().bytes().await.unwrap();
    assert_eq!((bytes.len(), bytes.iter().filter(|byte| **byte != 7).count()), (4 * UNIT, 1));
    assert_eq!(drive.bytes(&id), vec![7; 4 * UNIT], "what is stored is right");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_lasts() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let patience = Duration::from_millis(300);
    let create = || {
        let request = client.ask(Method::POST, "/drive/v3/files?supportsAllDrives=true");
        request.json(&json!({"name": "x", "parents": [folder]}))
    };
    drive.fault(DriveFault::new(Wrong::StallBefore));
    assert!(create().timeout(patience).send().await.unwrap_err().is_timeout());
    assert!(drive.files(&folder).is_empty());

    drive.fault(DriveFault::new(Wrong::StallAfter));
    let stalled = tokio::spawn(create().send());
    crate::support::wait_until("the work to be done", || drive.files(&folder).len() == 1);
    assert!(tokio::time::timeout(patience, stalled).await.is_err());

    let id = client.file(&folder, "large", &vec![7; 4 * UNIT]).await;
    drive.fault(DriveFault::new(Wrong::StallReply(600_000)));
    let request = client.get(&format!("/drive/v3/files/{id}?alt=media&supportsAllDrives=true"));
    let mut answer = request.send().await.unwrap();
    let mut count = 0;
    while let Ok(chunk) = tokio::time::timeout(patience, answer.chunk()).await {
        count += chunk.unwrap().expect("it never ends").len();
    }
    assert!(count < 600_000, "{count}");
    // Dropping the server while requests are stalled ends it all the same.
    drop(drive);
}

#[tokio::test]
async fn uploads_lose_what_was_sent() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let session = client.begin(&json!({"name": "x", "parents": [folder]})).await;
    let data = (0..6 * UNIT).map(|n| (n / 7) as u8).collect::<Vec<_>>();
    let part = |first: usize, last: usize, total: &str| {
        client.put(&session, &format!("{first}-{}/{total}", last - 1), data[first..last].to_vec())
    };
    let ask = || said(client.put(&session, "*/*", Vec::new()));
    let next = |wrong: Wrong| drive.fault(DriveFault::new(wrong).on("PUT", "upload_id="));

    next(Wrong::Keep(UNIT as u64 + 100));
    assert_eq!(said(part(0, 3 * UNIT, "*")).await, stored(UNIT), "in whole units");
    next(Wrong::CutDuring(UNIT as u64 + 100));
    cut(part(UNIT, 3 * UNIT, "*")).await;
    assert_eq!(ask().await, stored(2 * UNIT));
    next(Wrong::CutAfter);
    cut(part(2 * UNIT, 3 * UNIT, "*")).await;
    assert_eq!(ask().await, stored(3 * UNIT), "the reply was lost, the work was done");
    next(Wrong::Keep(0));
    assert_eq!(said(part(3 * UNIT, 4 * UNIT, "*")).await, stored(3 * UNIT));
    next(Wrong::ForgetAll);
    assert_eq!(said(part(3 * UNIT, 4 * UNIT, "*")).await, (308, None));
    next(Wrong::Keep(5 * UNIT as u64));
    let total = data.len().to_string();
    assert_eq!(said(part(0, 6 * UNIT, &total)).await, stored(5 * UNIT), "the last one too");
    next(Wrong::CutAfter);
    cut(part(5 * UNIT, 6 * UNIT, &total)).await;
    let done = good(client.put(&session, "*/*", Vec::new())).await;
    assert_eq!(drive.bytes(done["id"].as_str().unwrap()), data);

    for status in [404, 410] {
        let session = client.begin(&json!({"name": "dies", "parents": [folder]})).await;
        next(Wrong::KillSession(status));
        assert_eq!(said(client.put(&session, "0-262143/*", vec![0; UNIT])).await.0, status);
        assert_eq!(said(client.put(&session, "*/*", Vec::new())).await.0, status);
    }
    let session = client.begin(&json!({"name": "killed", "parents": [folder]})).await;
    drive.kill_sessions(410);
    assert_eq!(said(client.put(&session, "*/*", Vec::new())).await.0, 410);
    assert!(drive.sessions().is_empty());

    let session = client.begin(&json!({"name": "wrong", "parents": [folder]})).await;
    next(Wrong::Corrupt);
    let done = good(client.put(&session, "0-999/1000", vec![7; 1000])).await;
    let bytes = drive.bytes(done["id"].as_str().unwrap());
    assert_eq!(bytes.iter().filter(|byte| **byte != 7).count(), 1);
}

#[tokio::test]
async fn listings_lack_files_and_pages() {
    let drive = Drive::start();
    let client = Client::service(&drive).await;
    let folder = drive.shared_folder();
    let first = drive.insert(&folder, "a", b"1");
    for name in ["b", "c"] {
        drive.insert(&folder, name, b"1");
    }
    drive.duplicate(&first);
    let list = |more: &str| {
        let query = format!("q='{folder}'+in+parents+and+trashed=false&orderBy=name&pageSize=2&{ALL}{more}");
        client.get(&format!("/drive/v3/files?{query}"))
    };
    let names = |page: &Value| {
        let files = page["files"].as_array().unwrap().iter();
        files.map(|file| file["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let page = good(list("")).await;
    assert_eq!(names(&page), ["a", "a"], "the same name twice");
    let more = format!("&pageToken={}", page["nextPageToken"].as_str().unwrap());
    drive.fault(DriveFault::new(Wrong::Refused(500, "internalError")).on("GET", "pageToken="));
    refused(list(&more), 500, "internalError").await;
    let last = good(list(&more)).await;
    assert_eq!((names(&last), &last["nextPageToken"]), (vec!["b".to_owned(), "c".to_owned()], &Value::Null));
    refused(client.get(&format!("/drive/v3/files?{ALL}{more}")), 400, "invalid").await;
    drive.fault(DriveFault::new(Wrong::Incomplete));
    let page = good(list("")).await;
    assert_eq!((names(&page).len(), &page["incompleteSearch"]), (1, &json!(true)));
    drive.short_pages(1, true);
    let page = good(list("")).await;
    assert!(names(&page).is_empty() && page["nextPageToken"].is_string());
    drive.short_pages(1000, false);
    drive.trash(&first);
    drive.remove(&drive.files(&folder).last().unwrap().id);
    assert_eq!(names(&good(list("")).await), ["a", "b"]);
}

#[tokio::test]
async fn chance_is_the_same_for_the_same_seed() {
    let mut all = Vec::new();
    for seed in [1, 1, 2] {
        let drive = Drive::start();
        let client = Client::service(&drive).await;
        drive.random_faults(seed, 3, 20, Wrong::passing());
        for _ in 0..100 {
            let _ = client.get("/drive/v3/about?fields=user").send().await;
        }
        all.push(drive.struck());
    }
    assert_eq!(all[0], all[1]);
    assert_ne!(all[0], all[2]);
    assert_eq!(all[0].len(), 20, "so many and no more");
}
