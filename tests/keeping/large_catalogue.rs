//! Ten thousand backups in one catalogue, and what becomes of its index when it is damaged, in the way, or wrong.

use crate::services::{Asked, S3s};
use crate::support::{pgkeep, small_backups, temp_dir};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use pgkeep::cancel::Cancel;
use pgkeep::catalogue::{
    Entry, Manifest, RECEIPT_FORMAT, VerifyReceipt, VerifyResult, consolidate, list, remove, write_verify_receipt,
};
use pgkeep::destination::{
    Backoff, Destination, Effect, Fault, Faulty, Folder, Key, Memory, Operation, Remote, Retrying, S3,
};
use pgkeep::error::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

type Any = Arc<dyn Destination>;

fn database() -> Key {
    "job/app".parse().unwrap()
}

fn plain(manifest: Manifest) -> Entry {
    Entry { manifest, verified: None, drilled: None, pin: None, indexed: false }
}

/// The manifests that are listed; nothing else is wrong or to be said.
async fn listed(destination: &Any) -> Vec<Manifest> {
    let listing = list(destination, None).await.unwrap();
    assert!(listing.problems.is_empty() && listing.notes.is_empty(), "{:?} {:?}", listing.problems, listing.notes);
    listing.entries.into_iter().map(|entry| entry.manifest).collect()
}

async fn renew(destination: &Any) {
    consolidate(destination, &database(), Utc::now()).await.unwrap();
}

fn receipt(manifest: &Manifest, at: DateTime<Utc>) -> VerifyReceipt {
    VerifyReceipt {
        format: RECEIPT_FORMAT,
        backup: manifest.id.clone(),
        destination: "memory".to_owned(),
        at,
        result: VerifyResult::Intact,
        problems: Vec::new(),
    }
}

/// What lies beside the backups' folders, by its names.
async fn beside(destination: &Any) -> Vec<String> {
    let children = destination.children(Some(&database())).await.unwrap();
    children.objects.iter().map(|object| object.key.file_name().to_owned()).collect()
}

async fn indexes(destination: &Any) -> Vec<Key> {
    let children = destination.children(Some(&database())).await.unwrap();
    let keys = children.objects.into_iter().map(|object| object.key);
    keys.filter(|key| key.file_name().starts_with("catalogue-")).collect()
}

/// A place in memory that holds `count` backups and no index.
fn memory_of(count: usize) -> (Memory, Any, Vec<Manifest>) {
    let memory = Memory::new("memory");
    let mut manifests = Vec::new();
    for (manifest, objects) in small_backups("job", count) {
        for (key, bytes) in objects {
            memory.insert(&key, bytes, Utc::now());
        }
        manifests.push(manifest);
    }
    let destination = Arc::new(memory.destination());
    (memory, destination, manifests)
}

fn folder_of(root: &Path, count: usize) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    for (manifest, objects) in small_backups("job", count) {
        for (key, bytes) in objects {
            let path = root.join(key.as_str());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        manifests.push(manifest);
    }
    manifests
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_backups_in_s3_are_listed_with_twenty_requests_for_lists() {
    let server = S3s::start().await;
    let mut expected = Vec::new();
    for (manifest, objects) in small_backups("job", 10_000) {
        for (key, bytes) in objects {
            server.insert(key.as_str(), bytes);
        }
        expected.push(plain(manifest));
    }
    let backoff = Backoff::new(Duration::from_secs(20), Cancel::new());
    let s3: Any = Arc::new(Remote::new(Retrying::new(S3::new("bucket", server.config(), backoff.clone()), backoff)));
    renew(&s3).await;
    let entries = async || {
        server.asked();
        let listing = list(&s3, None).await.unwrap();
        let Asked { lists, gets, heads } = server.asked();
        assert!(lists <= 20 && gets <= 20 && heads == 0, "{lists} lists, {gets} GETs, {heads} HEADs");
        assert!(listing.problems.is_empty() && listing.notes.is_empty());
        listing.entries.into_iter().map(|entry| Entry { indexed: false, ..entry }).collect::<Vec<_>>()
    };
    assert!(entries().await == expected, "all of them, from one index");

    // Until an index is worth writing again.
    let mut removed = Vec::new();
    for at in [9_000, 5_000, 1] {
        removed.push(expected.remove(at).manifest);
        remove(&*s3, &removed[removed.len() - 1]).await.unwrap();
    }
    let at: DateTime<Utc> = "2026-11-22T02:00:00Z".parse().unwrap();
    for entry in [100, 200] {
        let receipt = receipt(&expected[entry].manifest, at);
        write_verify_receipt(&*s3, &expected[entry].manifest.dir(), &receipt).await.unwrap();
        expected[entry].verified = Some(receipt);
    }
    renew(&s3).await;
    assert!(entries().await == expected, "with five changes that no index knows");

    for entry in &mut expected[300..310] {
        let receipt = receipt(&entry.manifest, at);
        write_verify_receipt(&*s3, &entry.manifest.dir(), &receipt).await.unwrap();
        entry.verified = Some(receipt);
    }
    server.asked();
    renew(&s3).await;
    let asked = server.asked();
    assert!(asked.gets < 50, "an index is renewed from the last one: {asked:?}");
    assert_eq!(beside(&s3).await.len(), 1, "one index, no marks");
    assert!(entries().await == expected);
    assert!(removed.len() == 3);
}

#[tokio::test]
async fn a_folder_is_listed_the_same_with_an_index_and_without() {
    let root = temp_dir();
    let manifests = folder_of(root.path(), 300);
    let folder: Any = Arc::new(Folder::new("office", root.path()));
    assert_eq!(listed(&folder).await, manifests);
    renew(&folder).await;
    assert_eq!(beside(&folder).await.len(), 1);
    assert_eq!(listed(&folder).await, manifests);
    assert!(list(&folder, Some("job")).await.unwrap().entries.iter().all(|entry| entry.indexed));
    // What has no folder does not exist, whatever the index says.
    std::fs::remove_dir_all(root.path().join(manifests[7].dir().as_str())).unwrap();
    let others: Vec<Manifest> = manifests.iter().filter(|one| one.id != manifests[7].id).cloned().collect();
    assert_eq!(listed(&folder).await, others);
}

#[tokio::test]
async fn a_few_backups_leave_neither_index_nor_marks() {
    let (memory, destination, manifests) = memory_of(3);
    let before = memory.keys();
    for (n, manifest) in manifests.iter().enumerate() {
        let at = manifest.started_at + chrono::TimeDelta::days(n as i64);
        write_verify_receipt(&*destination, &manifest.dir(), &receipt(manifest, at)).await.unwrap();
    }
    renew(&destination).await;
    assert_eq!(memory.keys().len(), before.len() + 3);
    for manifest in &manifests {
        remove(&*destination, manifest).await.unwrap();
    }
    renew(&destination).await;
    assert_eq!(memory.keys(), []);
}

#[tokio::test]
async fn the_last_backup_takes_the_index_with_it() {
    let (memory, destination, manifests) = memory_of(20);
    renew(&destination).await;
    assert_eq!(beside(&destination).await.len(), 1);
    for manifest in &manifests {
        remove(&*destination, manifest).await.unwrap();
    }
    renew(&destination).await;
    assert_eq!(memory.keys(), []);
}

fn gzip(text: &[u8]) -> Bytes {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap().into()
}

#[tokio::test]
async fn an_index_that_cannot_be_used_costs_time_and_is_replaced() {
    let (memory, destination, manifests) = memory_of(20);
    renew(&destination).await;
    let good = destination.read(&indexes(&destination).await[0], 0..10).await.unwrap();
    let newer = br#"{"format":2,"written_by":"pgkeep 9","began_at":"2030-01-01T00:00:00Z","receipts":[],"replaces":[],"backups":0}"#;
    let unknown = br#"{"format":1,"written_by":"x","began_at":"2030-01-01T00:00:00Z","receipts":["x"],"replaces":[],"backups":0}"#;
    let bomb = gzip(&vec![b' '; 600 << 20]);
    for bad in [good, Bytes::new(), gzip(b"{}"), gzip(newer), gzip(unknown), bomb, Bytes::from(vec![0; 65 << 20])] {
        let key = indexes(&destination).await.remove(0);
        memory.insert(&key, bad, Utc::now());
        let listing = list(&destination, None).await.unwrap();
        let read: Vec<Manifest> = listing.entries.into_iter().map(|entry| entry.manifest).collect();
        assert_eq!((read, listing.problems.len()), (manifests.clone(), 0));
        assert_eq!(listing.notes.len(), 1, "{:?}", listing.notes);
        assert!(listing.notes[0].contains(key.as_str()), "{:?}", listing.notes);
        renew(&destination).await;
        assert_eq!(listed(&destination).await, manifests);
        assert_ne!(indexes(&destination).await, [key]);
    }
}

/// What an index says of a backup that it cannot be is read from its folder.
#[tokio::test]
async fn a_forged_line_of_an_index_is_not_believed() {
    let (memory, destination, manifests) = memory_of(20);
    renew(&destination).await;
    let key = indexes(&destination).await.remove(0);
    let stored = destination.read(&key, 0..destination.head(&key).await.unwrap().bytes).await.unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&stored[..]), &mut text).unwrap();
    let name = manifests[3].files[0].name.as_str();
    memory.insert(&key, gzip(text.replace(name, "../../../etc/passwd").as_bytes()), Utc::now());
    let listing = list(&destination, None).await.unwrap();
    assert_eq!(listing.notes.len(), 1, "{:?}", listing.notes);
    assert!(listing.notes[0].contains(manifests[3].dir().as_str()));
    assert!(listing.entries.into_iter().map(|entry| entry.manifest).eq(manifests));
}

#[tokio::test]
async fn where_nothing_may_be_deleted_indexes_do_not_pile_up() {
    let (_, inner, manifests) = memory_of(20);
    let refused = Fault::new(Operation::Delete, Effect::Fails(ErrorKind::PermissionDenied)).lasting();
    let destination: Any = Arc::new(Faulty::new(Arc::clone(&inner), [refused]));
    for days in 0..5 {
        for manifest in &manifests[..9] {
            let at = manifest.started_at + chrono::TimeDelta::days(1000 + days);
            write_verify_receipt(&*destination, &manifest.dir(), &receipt(manifest, at)).await.unwrap();
        }
        let error = consolidate(&destination, &database(), Utc::now()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(indexes(&destination).await.len() <= 2);
        assert_eq!(listed(&destination).await, manifests);
    }
    renew(&inner).await;
    assert_eq!(beside(&inner).await.len(), 1);
    assert_eq!(listed(&inner).await, manifests);
}

#[tokio::test]
async fn where_there_is_no_room_left_backups_can_still_be_removed() {
    let (_, inner, manifests) = memory_of(20);
    renew(&inner).await;
    let full = Fault::new(Operation::Put, Effect::Fails(ErrorKind::NoSpace)).lasting();
    let destination: Any = Arc::new(Faulty::new(Arc::clone(&inner), [full]));
    let removal = remove(&*destination, &manifests[0]).await.unwrap();
    assert!(removal.failed.is_empty());
    assert_eq!(beside(&inner).await, Vec::<String>::new());
    assert_eq!(listed(&inner).await, manifests[1..]);
}

/// Somebody deletes a manifest by hand: the list may not know, but nothing is restored from it.
#[test]
fn a_backup_whose_manifest_is_gone_is_never_chosen() {
    let root = temp_dir();
    let manifests = folder_of(root.path(), 20);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(renew(&(Arc::new(Folder::new("office", root.path())) as Any)));
    let newest = root.path().join(manifests[19].dir().as_str());
    std::fs::remove_file(newest.join("manifest.json")).unwrap();
    let to = root.path().join("fetched.sql.gz");
    let run = pgkeep().args(["backup", "fetch", "latest", "--at"]).arg(root.path()).arg("--output").arg(&to).ok();
    assert!(run.stderr.contains(&format!("{} is not in", manifests[19].dir())), "{}", run.stderr);
    assert!(run.stdout.contains(manifests[18].id.as_str()), "{}", run.stdout);
    assert_eq!(std::fs::read(&to).unwrap(), crate::support::SMALL_DATA);
    let id = manifests[19].id.as_str();
    let run = pgkeep().args(["backup", "show", id, "--at"]).arg(root.path()).fails(1);
    assert!(run.stderr.contains("no backup whose id begins with"), "{}", run.stderr);
}
