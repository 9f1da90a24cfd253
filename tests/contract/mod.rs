//! The one suite that holds every destination to the contract in `pgkeep::destination`.
//!
//! Use it as `mod contract;` and `contract::holds(|| async { Arc::new(...) as Arc<dyn Destination> }).await`; the maker
//! gives a new, empty, writable destination each time.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, dead_code)]

use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::destination::{Children, Destination, Key, read_small};
use pgkeep::error::ErrorKind;
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub(crate) type Any = Arc<dyn Destination>;

pub(crate) const ID: &str = "20261122T020000Z-7f3a";
pub(crate) const DATA: &str = "app_20261122_020000.sql.gz";

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) fn dir() -> Key {
    key(&format!("job/app/{ID}"))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn names(destination: &Any, prefix: Option<&Key>) -> Vec<String> {
    destination.list(prefix).await.unwrap().into_iter().map(|object| object.key.to_string()).collect()
}

async fn put(destination: &Any, name: &str, text: &'static str) {
    destination.put(&key(name), Bytes::from_static(text.as_bytes())).await.unwrap();
}

async fn text(destination: &Any, name: &str) -> String {
    String::from_utf8(read_small(&**destination, &key(name), 1000).await.unwrap().to_vec()).unwrap()
}

/// Runs every test of the contract, each on a new destination.
pub(crate) async fn holds<M, F>(make: M)
where
    M: Fn() -> F,
    F: Future<Output = Any>,
{
    let fresh = async || {
        let destination = make().await;
        destination.check_writable().await.unwrap();
        assert_eq!(names(&destination, None).await, Vec::<String>::new(), "a check leaves nothing");
        destination
    };
    stored_bytes_come_back(&fresh().await).await;
    keys_are_write_once(&fresh().await).await;
    an_upload_is_invisible_until_it_is_complete(&fresh().await).await;
    a_large_upload_arrives_whole(&fresh().await).await;
    an_empty_upload_is_an_object(&fresh().await).await;
    two_uploads_to_one_key_give_one_object(&fresh().await).await;
    an_abort_leaves_nothing(&fresh().await).await;
    a_dropped_upload_is_never_visible(&fresh().await).await;
    reads_give_ranges_and_never_less(&fresh().await).await;
    what_is_not_there_is_not_found(&fresh().await).await;
    listings_are_ordered_and_keep_to_their_folder(&fresh().await).await;
    children_are_what_lies_directly_in_a_folder(&fresh().await).await;
    deleting_is_exact_and_may_be_repeated(&fresh().await).await;
    a_claim_is_exclusive_and_leaves_no_trace(&fresh().await).await;
    a_claimed_folder_is_not_swept(&fresh().await).await;
    dead_remains_are_swept_at_once(&fresh().await).await;
    unclaimed_remains_are_swept_after_a_day(&fresh().await).await;
    backups_and_foreign_files_are_never_swept(&fresh().await).await;
}

async fn stored_bytes_come_back(destination: &Any) {
    let before = Utc::now() - TimeDelta::minutes(10);
    let name = dir().join("RESTORE.txt");
    let stored = destination.put(&name, Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!((stored.bytes, stored.sha256), (5, sha256(b"hello")));
    let object = destination.head(&name).await.unwrap();
    assert_eq!((&object.key, object.bytes), (&name, 5));
    assert!(object.modified > before && object.modified < Utc::now() + TimeDelta::minutes(10));
    assert_eq!(destination.list(None).await.unwrap(), vec![object]);
    assert_eq!(destination.read(&name, 0..5).await.unwrap(), "hello");
}

async fn keys_are_write_once(destination: &Any) {
    put(destination, "a/b", "first").await;
    let again = destination.put(&key("a/b"), Bytes::from_static(b"second")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert!(again.to_string().contains('b'), "{again}");
    let mut upload = destination.upload(&key("a/b"), 0).await.unwrap();
    upload.write(Bytes::from_static(b"third")).await.unwrap();
    assert_eq!(upload.complete().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(text(destination, "a/b").await, "first");
    assert_eq!(names(destination, None).await, ["a/b"]);
}

async fn an_upload_is_invisible_until_it_is_complete(destination: &Any) {
    let name = dir().join(DATA);
    let mut upload = destination.upload(&name, 100).await.unwrap();
    for _ in 0..10 {
        upload.write(Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(names(destination, None).await, Vec::<String>::new());
        assert_eq!(destination.head(&name).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(destination.read(&name, 0..1).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let stored = upload.complete().await.unwrap();
    let whole = b"0123456789".repeat(10);
    assert_eq!((stored.bytes, stored.sha256), (100, sha256(&whole)));
    assert_eq!(destination.read(&name, 0..100).await.unwrap(), whole);
}

async fn a_large_upload_arrives_whole(destination: &Any) {
    let piece = Bytes::from((0..3_000_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>());
    let mut digest = Sha256::new();
    let mut upload = destination.upload(&key("large"), 0).await.unwrap();
    for at in 0..8 {
        let piece = piece.slice(at..);
        digest.update(&piece);
        upload.write(piece).await.unwrap();
    }
    upload.write(Bytes::new()).await.unwrap();
    let stored = upload.complete().await.unwrap();
    assert_eq!(stored.bytes, 8 * 3_000_001 - 28);
    assert_eq!(stored.sha256, hex::encode(digest.finalize()));
    assert_eq!(destination.head(&key("large")).await.unwrap().bytes, stored.bytes);
    assert_eq!(destination.read(&key("large"), 3_000_001..3_000_011).await.unwrap(), piece.slice(1..11));
}

async fn an_empty_upload_is_an_object(destination: &Any) {
    let stored = destination.upload(&key("empty"), 0).await.unwrap().complete().await.unwrap();
    assert_eq!((stored.bytes, stored.sha256), (0, sha256(b"")));
    assert_eq!(destination.read(&key("empty"), 0..0).await.unwrap(), "");
    assert_eq!(
        destination.put(&key("empty"), Bytes::from_static(b"x")).await.unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
}

async fn two_uploads_to_one_key_give_one_object(destination: &Any) {
    let mut one = destination.upload(&key("a/x"), 0).await.unwrap();
    let mut two = destination.upload(&key("a/x"), 0).await.unwrap();
    one.write(Bytes::from_static(b"one")).await.unwrap();
    two.write(Bytes::from_static(b"two")).await.unwrap();
    let (one, two) = tokio::join!(one.complete(), two.complete());
    let winner = match (one, two) {
        (Ok(_), Err(lost)) => (lost.kind(), "one"),
        (Err(lost), Ok(_)) => (lost.kind(), "two"),
        both => panic!("one must win: {both:?}"),
    };
    assert_eq!(winner.0, ErrorKind::AlreadyExists);
    assert_eq!(text(destination, "a/x").await, winner.1);
    assert_eq!(names(destination, None).await, ["a/x"]);
}

async fn an_abort_leaves_nothing(destination: &Any) {
    let mut upload = destination.upload(&key("a/x"), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 9 << 20])).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(names(destination, None).await, Vec::<String>::new());
    put(destination, "a/x", "later").await;
    assert_eq!(text(destination, "a/x").await, "later");
}

async fn a_dropped_upload_is_never_visible(destination: &Any) {
    put(destination, "a/older", "older").await;
    let mut upload = destination.upload(&key("a/x"), 0).await.unwrap();
    upload.write(Bytes::from(vec![7; 100_000])).await.unwrap();
    drop(upload);
    assert_eq!(names(destination, None).await, ["a/older"]);
    destination.sweep(&key("a"), Utc::now() + TimeDelta::hours(25)).await.unwrap();
    assert_eq!(names(destination, None).await, ["a/older"]);
    assert_eq!(text(destination, "a/older").await, "older");
}

async fn reads_give_ranges_and_never_less(destination: &Any) {
    put(destination, "x", "0123456789").await;
    for (range, bytes) in [(0..10, "0123456789"), (0..0, ""), (3..5, "34"), (9..10, "9"), (10..10, "")] {
        assert_eq!(destination.read(&key("x"), range).await.unwrap(), bytes);
    }
    for range in [0..11, 10..11, 5..u64::MAX] {
        assert_eq!(destination.read(&key("x"), range).await.unwrap_err().kind(), ErrorKind::Damaged);
    }
    assert_eq!(read_small(&**destination, &key("x"), 9).await.unwrap_err().kind(), ErrorKind::Damaged);
}

async fn what_is_not_there_is_not_found(destination: &Any) {
    put(destination, "a/b/c", "x").await;
    for missing in ["x", "a", "a/b", "a/b/c/d", "a/x", &"y".repeat(240)] {
        assert_eq!(destination.head(&key(missing)).await.unwrap_err().kind(), ErrorKind::NotFound, "{missing}");
        assert_eq!(destination.read(&key(missing), 0..0).await.unwrap_err().kind(), ErrorKind::NotFound, "{missing}");
        destination.list(Some(&key(&format!("{missing}/zz")))).await.unwrap();
    }
}

async fn listings_are_ordered_and_keep_to_their_folder(destination: &Any) {
    let all = ["app-trade/x", "app.d/x", "app/a", "app/a.b/c", "app/a/b", "app/z", "app2/x", "b"];
    // No destination holds a file and a folder of one name.
    for name in all.iter().rev().filter(|name| **name != "app/a") {
        put(destination, name, "x").await;
    }
    let mut expected: Vec<&str> = all.into_iter().filter(|name| *name != "app/a").collect();
    expected.sort_unstable();
    assert_eq!(names(destination, None).await, expected);
    assert_eq!(names(destination, Some(&key("app"))).await, ["app/a.b/c", "app/a/b", "app/z"]);
    assert_eq!(names(destination, Some(&key("app/a"))).await, ["app/a/b"]);
    assert_eq!(names(destination, Some(&key("ap"))).await, Vec::<String>::new());
    assert_eq!(names(destination, Some(&key("b"))).await, Vec::<String>::new());
}

/// The children of `folder`, which must be what the listing says: other folders hold nothing.
async fn children(destination: &Any, folder: Option<&Key>) -> (Vec<String>, Vec<String>) {
    let found = destination.children(folder).await.unwrap();
    let listed = destination.list(folder).await.unwrap();
    let expected = Children::of(folder, listed);
    assert_eq!(found.objects, expected.objects);
    assert!(found.folders.is_sorted() && found.objects.is_sorted_by_key(|object| object.key.clone()), "{found:?}");
    for folder in &expected.folders {
        assert!(found.folders.contains(folder), "{folder} is not among {found:?}");
    }
    for folder in found.folders.iter().filter(|folder| !expected.folders.contains(folder)) {
        assert_eq!(names(destination, Some(folder)).await, Vec::<String>::new());
    }
    let text = |key: &Key| key.to_string();
    (expected.folders.iter().map(text).collect(), found.objects.iter().map(|object| text(&object.key)).collect())
}

async fn children_are_what_lies_directly_in_a_folder(destination: &Any) {
    let none = (Vec::<String>::new(), Vec::<String>::new());
    assert_eq!(children(destination, None).await, none);
    let all = ["app-trade/x", "app.d/y/z/x", "app/a.b/c", "app/a.b/d", "app/a/b", "app/z", "app/y", "app2/x", "b"];
    for name in all {
        put(destination, name, "x").await;
    }
    let (folders, objects) = children(destination, None).await;
    assert_eq!(folders, ["app", "app-trade", "app.d", "app2"]);
    assert_eq!(objects, ["b"]);
    let (folders, objects) = children(destination, Some(&key("app"))).await;
    assert_eq!(folders, ["app/a", "app/a.b"]);
    assert_eq!(objects, ["app/y", "app/z"]);
    assert_eq!(children(destination, Some(&key("app/a.b"))).await.1, ["app/a.b/c", "app/a.b/d"]);
    assert_eq!(children(destination, Some(&key("app.d"))).await, (vec!["app.d/y".to_owned()], vec![]));
    for nothing in ["ap", "b", "app/z", "nothing", "nothing/here"] {
        assert_eq!(children(destination, Some(&key(nothing))).await, none, "{nothing}");
    }
    // The mark of a claim is hidden, and makes no folder that holds anything.
    let claim = destination.claim(&dir()).await.unwrap();
    assert_eq!(children(destination, Some(&dir())).await, none);
    children(destination, Some(&dir().parent().unwrap())).await;
    destination.put(&dir().join(DATA), Bytes::from_static(b"x")).await.unwrap();
    let above = dir().parent().unwrap();
    assert_eq!(children(destination, Some(&above)).await.0, [dir().to_string()]);
    claim.release().await.unwrap();
    destination.delete(&dir().join(DATA)).await.unwrap();
    assert_eq!(children(destination, Some(&above)).await, none);
    assert_eq!(destination.locked_until(&key("b")).await.unwrap(), None);
}

async fn deleting_is_exact_and_may_be_repeated(destination: &Any) {
    for name in ["a/b/x", "a/b/y", "a/c"] {
        put(destination, name, "x").await;
    }
    for name in ["a/b/x", "a/b/x", "nothing/here"] {
        destination.delete(&key(name)).await.unwrap();
        assert_eq!(names(destination, None).await, ["a/b/y", "a/c"]);
    }
    destination.delete(&key("a/b/y")).await.unwrap();
    destination.delete(&key("a/c")).await.unwrap();
    assert_eq!(names(destination, None).await, Vec::<String>::new());
    put(destination, "a", "a name that was a folder").await;
}

async fn a_claim_is_exclusive_and_leaves_no_trace(destination: &Any) {
    let claim = destination.claim(&dir()).await.unwrap();
    let Err(second) = destination.claim(&dir()).await else { panic!("claimed twice") };
    assert_eq!(second.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(destination, None).await, Vec::<String>::new(), "a claim is no object");
    claim.release().await.unwrap();
    drop(destination.claim(&dir()).await.unwrap());
    let claim = destination.claim(&dir()).await.unwrap();
    destination.put(&dir().join(DATA), Bytes::from_static(b"x")).await.unwrap();
    claim.release().await.unwrap();
    let Err(taken) = destination.claim(&dir()).await else { panic!("claimed what exists") };
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(destination, None).await, [format!("{}/{DATA}", dir())]);
}

async fn a_claimed_folder_is_not_swept(destination: &Any) {
    let claim = destination.claim(&dir()).await.unwrap();
    destination.put(&dir().join(DATA), Bytes::from_static(b"x")).await.unwrap();
    let mut upload = destination.upload(&dir().join("globals.sql.gz"), 0).await.unwrap();
    upload.write(Bytes::from_static(b"y")).await.unwrap();
    for hours in [0, 25] {
        assert_eq!(destination.sweep(&key("job"), Utc::now() + TimeDelta::hours(hours)).await.unwrap(), []);
    }
    upload.complete().await.unwrap();
    destination.put(&dir().join("manifest.json"), Bytes::from_static(b"{}")).await.unwrap();
    claim.release().await.unwrap();
    assert_eq!(names(destination, Some(&dir())).await.len(), 3);
}

async fn dead_remains_are_swept_at_once(destination: &Any) {
    put(destination, "job/app/20261121T020000Z-0000/manifest.json", "{}").await;
    let claim = destination.claim(&dir()).await.unwrap();
    destination.put(&dir().join(DATA), Bytes::from_static(b"12345")).await.unwrap();
    drop(claim);
    assert_eq!(destination.sweep(&key("other"), Utc::now()).await.unwrap(), []);
    let swept = destination.sweep(&key("job"), Utc::now()).await.unwrap();
    assert_eq!(swept.len(), 1);
    assert!(swept[0].name.ends_with(ID) && swept[0].bytes >= 5, "{swept:?}");
    assert_eq!(destination.sweep(&key("job"), Utc::now()).await.unwrap(), []);
    assert_eq!(names(destination, None).await, ["job/app/20261121T020000Z-0000/manifest.json"]);
    destination.claim(&dir()).await.unwrap().release().await.unwrap();
}

async fn unclaimed_remains_are_swept_after_a_day(destination: &Any) {
    let data = dir().join(DATA);
    destination.put(&data, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(destination.sweep(&key("job"), Utc::now() + TimeDelta::hours(23)).await.unwrap(), []);
    assert_eq!(names(destination, None).await, [data.as_str()]);
    assert_eq!(destination.sweep(&key("job"), Utc::now() + TimeDelta::hours(25)).await.unwrap().len(), 1);
    assert_eq!(names(destination, None).await, Vec::<String>::new());
}

async fn backups_and_foreign_files_are_never_swept(destination: &Any) {
    let kept = [
        "job/app/20261120T020000Z-0000/app_20261120_020000.sql.gz",
        "job/app/20261120T020000Z-0000/manifest.json",
        "job/app/20261121T020000Z-0000/notes.txt",
        "job/app/holiday/app_20261122_020000.sql.gz",
        "job/globals.sql.gz",
        "job-2/app/20261121T020000Z-0000/globals.sql.gz",
        "job/app/catalogue-20261121T020000Z-01234567.jsonl.gz",
        "job/app/20261121T020000Z-0000.changed-01234567",
    ];
    for name in kept {
        put(destination, name, "x").await;
    }
    put(destination, "job/app/20261121T020000Z-0000/globals.sql.gz", "x").await;
    destination.sweep(&key("job"), Utc::now() + TimeDelta::days(30)).await.unwrap();
    let mut expected = kept;
    expected.sort_unstable();
    assert_eq!(names(destination, None).await, expected);
}
