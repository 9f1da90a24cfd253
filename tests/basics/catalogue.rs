//! Publishing, listing, finding and removing backups, with faults where they hurt (faults 28, 30, 31, 32).
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use crate::contract::key;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use pgkeep::catalogue::{
    CheckOutcome, CompletedBackup, Draft, DrillReceipt, DrillResult, Entry, Manifest, Phases, RECEIPT_FORMAT, Selector,
    VerifyReceipt, VerifyResult, consolidate, list, remove, select, write_drill_receipt, write_verify_receipt,
};
use pgkeep::config::DrillLevel;
use pgkeep::destination::{Destination, Effect, Fault, Faulty, Key, Memory, Operation};
use pgkeep::error::{ErrorKind, Result};
use pgkeep::id::BackupId;
use pgkeep::proof::Difference;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The data file of [`sample`].
const DATA_NAME: &str = crate::contract::DATA;
const DATA: &[u8] = b"not really gzip";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn manifest(job: &str, database: &str, started_at: DateTime<Utc>, random: u16) -> Manifest {
    let json = serde_json::json!({
        "format": 1, "written_by": "pgkeep 0.1.0", "id": BackupId::new(started_at, random), "job": job,
        "database": database, "pinned": false, "started_at": started_at, "finished_at": started_at,
        "server": {"version": "17.5", "version_num": 170_005, "system_identifier": "1", "database_oid": 5,
                   "bootstrap_role": "postgres", "standby": false},
        "pg_dump_version": "17.5", "codec": "gzip", "tables": 1, "rows": 2, "entries": 3, "large_objects": 0,
        "sql_bytes": 100, "stored_bytes": DATA.len(),
        "properties": {"owner": "app", "encoding": "UTF8", "locale_provider": "libc", "collate": "C", "ctype": "C",
                       "tablespace": "pg_default", "connection_limit": -1},
        "extensions": [{"name": "plpgsql", "version": "1.0"}], "roles": ["app"],
        "globals": {"status": "missing", "reason": "no right to read them"},
        "files": [{"name": started_at.format("app_%Y%m%d_%H%M%S.sql.gz").to_string(), "kind": "data", "bytes": DATA.len(),
                   "sha256": hex::encode(Sha256::digest(DATA)), "unpacked_bytes": 100}],
    });
    serde_json::from_value(json).unwrap()
}

fn sample() -> Manifest {
    manifest("zenzspa", "spa", at("2026-11-22T02:00:00Z"), 0x7f3a)
}

async fn draft_of(destination: &Arc<dyn Destination>, manifest: &Manifest) -> Result<Draft> {
    let mut draft = Draft::begin(Arc::clone(destination), manifest.dir()).await?;
    let name = manifest.files[0].name.clone();
    let mut upload = draft.upload(&name, 0).await?;
    upload.write(Bytes::from_static(DATA)).await?;
    let stored = upload.complete().await?;
    draft.add(name, stored);
    Ok(draft)
}

async fn store(destination: &Arc<dyn Destination>, manifest: &Manifest) {
    let draft = draft_of(destination, manifest).await.unwrap();
    draft.publish(&CompletedBackup::new(manifest.clone()).unwrap()).await.unwrap();
}

fn memory() -> (Memory, Arc<dyn Destination>) {
    let memory = Memory::new("memory");
    (memory.clone(), Arc::new(memory.destination()))
}

/// Where a service cannot create under a condition, two runs may believe that a folder is theirs: the one that finds the
/// other's files gives up, and leaves them.
#[tokio::test]
async fn a_draft_that_meets_another_runs_files_leaves_them() {
    let (memory, destination) = memory();
    let mut draft = Draft::begin(Arc::clone(&destination), sample().dir()).await.unwrap();
    let name: Key = DATA_NAME.parse().unwrap();
    let theirs = [sample().dir().join(DATA_NAME), sample().dir().join("manifest.json")];
    for key in &theirs {
        memory.insert(key, "theirs", Utc::now());
    }
    let refused = draft.put(&name, Bytes::from_static(b"ours")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    draft.discard().await.unwrap();
    assert_eq!(memory.keys(), theirs);
}

fn drill(backup: &BackupId, started_at: DateTime<Utc>, result: DrillResult) -> DrillReceipt {
    DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: backup.clone(),
        started_at,
        finished_at: started_at,
        result,
        reason: None,
        destination: Some("office".to_owned()),
        level: DrillLevel::Prove,
        not_compared: Vec::new(),
        objects_compared: 3,
        tables_compared: 1,
        rows_compared: 2,
        differences: Vec::new(),
        differences_left_out: 0,
        checks: vec![CheckOutcome {
            name: "recent".to_owned(),
            result: DrillResult::Passed,
            expected: Some("t".to_owned()),
            found: Some("t".to_owned()),
        }],
        phases: Phases::default(),
        restore_seconds: 1.5,
        objective_seconds: None,
        scratch: "ephemeral".to_owned(),
        written_by: "pgkeep 0.1.0".to_owned(),
        host: "office".to_owned(),
    }
}

#[tokio::test]
async fn a_backup_exists_only_once_it_is_published() {
    let (memory, destination) = memory();
    let draft = draft_of(&destination, &sample()).await.unwrap();
    assert!(list(&destination, None).await.unwrap().entries.is_empty());
    draft.publish(&CompletedBackup::new(sample()).unwrap()).await.unwrap();
    let listing = list(&destination, None).await.unwrap();
    assert!(listing.problems.is_empty());
    assert_eq!(
        listing.entries,
        [Entry { manifest: sample(), verified: None, drilled: None, pin: None, indexed: false }]
    );
    assert_eq!(memory.keys(), [sample().dir().join(DATA_NAME), sample().dir().join("manifest.json")]);
}

#[tokio::test]
async fn a_fault_at_any_step_of_publishing_leaves_nothing() {
    let steps =
        [Operation::Claim, Operation::Upload, Operation::Write, Operation::Complete, Operation::Head, Operation::Put];
    for step in steps {
        for effect in [Effect::Fails(ErrorKind::NoSpace), Effect::LosesTheAnswer(ErrorKind::Unavailable)] {
            let (memory, inner) = memory();
            let older = manifest("zenzspa", "spa", at("2026-11-21T02:00:00Z"), 1);
            store(&inner, &older).await;
            let before = memory.keys();
            let destination: Arc<dyn Destination> = Arc::new(Faulty::new(inner, [Fault::new(step, effect)]));
            let published = match draft_of(&destination, &sample()).await {
                Ok(draft) => draft.publish(&CompletedBackup::new(sample()).unwrap()).await,
                Err(error) => Err(error),
            };
            assert!(published.is_err(), "{step:?} {effect:?}");
            destination.sweep(&key("zenzspa"), Utc::now()).await.unwrap();
            assert_eq!(memory.keys(), before, "{step:?} {effect:?}");
            assert_eq!(memory.open_uploads(), 0);
        }
    }
}

#[tokio::test]
async fn what_was_not_stored_as_the_manifest_says_is_not_published() {
    let (memory, destination) = memory();
    let mut other_digest = sample();
    other_digest.files[0].sha256 = "0".repeat(64);
    let mut another_file = sample();
    another_file.files[0].name = key("other.sql.gz");
    let another_backup = manifest("zenzspa", "spa", at("2026-11-22T02:00:00Z"), 1);
    for wrong in [other_digest, another_file, another_backup] {
        let draft = draft_of(&destination, &sample()).await.unwrap();
        assert!(draft.publish(&CompletedBackup::new(wrong).unwrap()).await.is_err());
        assert_eq!(memory.keys(), []);
    }
    // Cut short at the destination after it was stored.
    let draft = draft_of(&destination, &sample()).await.unwrap();
    memory.insert(&sample().dir().join(DATA_NAME), &DATA[1..], Utc::now());
    let error = draft.publish(&CompletedBackup::new(sample()).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(memory.keys(), []);
}

#[test]
fn a_manifest_that_could_not_be_read_again_completes_nothing() {
    let change: [fn(&mut Manifest); 4] = [
        |manifest| manifest.files.clear(),
        |manifest| manifest.stored_bytes += 1,
        |manifest| manifest.warnings = vec!["x".repeat(5 << 20)],
        |manifest| manifest.files[0].name = "manifest.json".parse().unwrap(),
    ];
    for change in change {
        let mut manifest = sample();
        change(&mut manifest);
        assert!(CompletedBackup::new(manifest).is_err());
    }
}

#[tokio::test]
async fn damaged_newer_and_hostile_manifests_are_problems_not_crashes() {
    let (memory, destination) = memory();
    let mut good = Vec::new();
    for n in 0..20 {
        let manifest = manifest("zenzspa", "spa", at("2026-11-01T02:00:00Z") + TimeDelta::days(n), 7);
        store(&destination, &manifest).await;
        good.push(manifest);
    }
    let other = manifest("zenzspa-trade", "spa", at("2026-11-22T02:00:00Z"), 9);
    store(&destination, &other).await;
    let plain = String::from_utf8(sample().to_json().unwrap()).unwrap();
    let bad = [
        (plain[..plain.len() / 2].to_owned(), ErrorKind::Damaged),
        (plain.replace("\"format\": 1", "\"format\": 2"), ErrorKind::Version),
        (plain.replace(DATA_NAME, "../../../etc/passwd"), ErrorKind::Damaged),
        (plain.replace(DATA_NAME, "/etc/passwd"), ErrorKind::Damaged),
        (plain.replace("\"zenzspa\"", "\"zenzspa-trade\""), ErrorKind::Damaged),
        (" ".repeat(5 << 20), ErrorKind::Damaged),
        ("[".repeat(100_000), ErrorKind::Damaged),
        (String::new(), ErrorKind::Damaged),
    ];
    for (n, (json, _)) in bad.iter().enumerate() {
        let id = BackupId::new(at("2026-12-01T02:00:00Z"), n as u16);
        memory.insert(&key(&format!("zenzspa/spa/{id}/manifest.json")), json.clone(), Utc::now());
    }
    for foreign in
        ["manifest.json", "zenzspa/manifest.json", "zenzspa/spa/x/manifest.json", "zenzspa/spa/manifest.json"]
    {
        memory.insert(&key(foreign), "foreign", Utc::now());
    }
    let listing = list(&destination, Some("zenzspa")).await.unwrap();
    assert_eq!(listing.entries.into_iter().map(|entry| entry.manifest).collect::<Vec<_>>(), good);
    let kinds: Vec<ErrorKind> = listing.problems.iter().map(|problem| problem.error.kind()).collect();
    assert_eq!(kinds, bad.map(|(_, kind)| kind));
    assert_eq!(list(&destination, None).await.unwrap().entries.len(), 21);
}

#[tokio::test]
async fn a_listing_that_cannot_be_completed_is_an_error() {
    let (_, inner) = memory();
    store(&inner, &sample()).await;
    for fault in [
        Fault::new(Operation::List, Effect::Fails(ErrorKind::Unavailable)),
        Fault::new(Operation::Read, Effect::Fails(ErrorKind::Unavailable)),
    ] {
        let faulty: Arc<dyn Destination> = Arc::new(Faulty::new(Arc::clone(&inner), [fault]));
        assert_eq!(list(&faulty, None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    let denied = Fault::new(Operation::Read, Effect::Fails(ErrorKind::PermissionDenied));
    let faulty: Arc<dyn Destination> = Arc::new(Faulty::new(inner, [denied]));
    assert_eq!(list(&faulty, None).await.unwrap().problems.len(), 1);
}

#[tokio::test]
async fn the_newest_receipts_are_shown_and_old_verifications_removed() {
    let (memory, destination) = memory();
    let manifest = sample();
    let (id, dir) = (&manifest.id, manifest.dir());
    store(&destination, &manifest).await;
    let moment = at("2026-11-23T04:00:00Z");
    for (n, result) in [DrillResult::Failed, DrillResult::CouldNotRun, DrillResult::Passed].into_iter().enumerate() {
        let written = write_drill_receipt(&*destination, &dir, &drill(id, moment, result)).await.unwrap();
        let name = ["20261123T040000Z.json", "20261123T040000Z-2.json", "20261123T040000Z-3.json"][n];
        assert_eq!(written, dir.join("drills").join(name));
    }
    for days in 0..3 {
        let receipt = VerifyReceipt {
            format: RECEIPT_FORMAT,
            backup: id.clone(),
            destination: "memory".to_owned(),
            at: moment + TimeDelta::days(days),
            result: VerifyResult::Intact,
            problems: Vec::new(),
        };
        write_verify_receipt(&*destination, &dir, &receipt).await.unwrap();
    }
    let verified = memory.keys().into_iter().filter(|key| key.is_below(&dir.join("verified"))).collect::<Vec<_>>();
    assert_eq!(verified, [dir.join("verified").join("20261125T040000Z.json")]);
    let listing = list(&destination, None).await.unwrap();
    assert_eq!(listing.entries[0].drilled, Some(drill(id, moment, DrillResult::Passed)));
    assert_eq!(listing.entries[0].verified.as_ref().unwrap().at, at("2026-11-25T04:00:00Z"));

    // A damaged receipt is told, and hides no backup.
    memory.insert(&dir.join("drills").join("20261124T040000Z.json"), "{}", Utc::now());
    let listing = list(&destination, None).await.unwrap();
    assert_eq!((listing.entries.len(), listing.problems.len()), (1, 1));
    assert_eq!(listing.entries[0].drilled, None);
}

#[tokio::test]
async fn a_receipt_of_a_hopeless_drill_stays_readable() {
    let (_, destination) = memory();
    store(&destination, &sample()).await;
    let mut receipt = drill(&sample().id, at("2026-11-23T04:00:00Z"), DrillResult::Failed);
    let long = "é\u{1}".repeat(100_000);
    let difference =
        Difference { kind: "rows".to_owned(), name: long.clone(), expected: long.clone(), found: long.clone() };
    receipt.differences = vec![difference; 1500];
    receipt.reason = Some(long);
    write_drill_receipt(&*destination, &sample().dir(), &receipt).await.unwrap();
    let listing = list(&destination, None).await.unwrap();
    assert!(listing.problems.is_empty());
    let drilled = listing.entries[0].drilled.as_ref().unwrap();
    assert_eq!((drilled.differences.len(), drilled.differences_left_out), (1000, 500));
}

#[tokio::test]
async fn removing_takes_the_manifest_first_and_nothing_else_than_the_backup() {
    let (memory, inner) = memory();
    let manifest = sample();
    let dir = manifest.dir();
    let neighbour = manifest_of_neighbour();
    store(&inner, &neighbour).await;
    let mut kept = memory.keys();
    store(&inner, &manifest).await;
    write_drill_receipt(&*inner, &dir, &drill(&manifest.id, manifest.started_at, DrillResult::Passed)).await.unwrap();
    for own in ["notes.txt", "drills/notes.txt"] {
        let own: Key = format!("{dir}/{own}").parse().unwrap();
        memory.insert(&own, "mine", Utc::now());
        kept.push(own);
    }
    kept.sort();

    // The manifest cannot be deleted: the backup is whole.
    let before = memory.keys();
    let faulty = Faulty::new(
        Arc::clone(&inner),
        [
            Fault::new(Operation::Delete, Effect::Fails(ErrorKind::PermissionDenied)).on("manifest.json"),
            Fault::new(Operation::Delete, Effect::Fails(ErrorKind::Unavailable)).on(DATA_NAME),
        ],
    );
    assert_eq!(remove(&faulty, &manifest).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(memory.keys(), before);

    // The data cannot be deleted: reported, and the backup is gone.
    let removal = remove(&faulty, &manifest).await.unwrap();
    assert_eq!(removal.deleted[0], dir.join("manifest.json"));
    assert_eq!(removal.failed.len(), 1);
    assert_eq!(removal.failed[0].0, dir.join(DATA_NAME));
    assert_eq!(list(&inner, Some("zenzspa")).await.unwrap().entries.len(), 0);

    // Next time.
    assert!(remove(&faulty, &manifest).await.unwrap().failed.is_empty());
    consolidate(&inner, &dir.parent().unwrap(), Utc::now()).await.unwrap();
    assert_eq!(memory.keys(), kept);
}

fn manifest_of_neighbour() -> Manifest {
    manifest("zenzspa-trade", "spa", at("2026-11-22T02:00:00Z"), 0x7f3a)
}

fn entry(job: &str, database: &str, started_at: &str, random: u16) -> Entry {
    Entry {
        manifest: manifest(job, database, at(started_at), random),
        verified: None,
        drilled: None,
        pin: None,
        indexed: false,
    }
}

fn find(entries: &[Entry], selector: &str) -> std::result::Result<String, (ErrorKind, String)> {
    let bogota: Tz = "America/Bogota".parse().unwrap();
    let selected = selector.parse::<Selector>().and_then(|selector| select(entries, &selector, bogota));
    match selected {
        Ok(entry) => Ok(entry.manifest.id.to_string()),
        Err(error) => {
            assert!(error.hint_text().is_some(), "{error}");
            Err((error.kind(), error.to_string()))
        }
    }
}

#[test]
fn a_backup_is_found_by_every_form_of_its_name() {
    let mut entries = vec![
        entry("spa", "a", "2026-11-20T02:00:00Z", 0x1111),
        entry("spa", "a", "2026-11-21T04:59:59Z", 0x2222),
        entry("spa", "a", "2026-11-21T05:00:00Z", 0x3333),
        entry("spa", "a", "2026-11-21T05:00:00Z", 0x3334),
    ];
    let found = |entries: &[Entry], selector: &str| find(entries, selector).unwrap()[17..].to_owned();
    assert_eq!(found(&entries, "20261120T020000Z-1111"), "1111");
    assert_eq!(found(&entries, "20261120"), "1111");
    assert_eq!(found(&entries, "latest"), "3334");
    assert_eq!(found(&entries, "spa/latest"), "3334");
    assert_eq!(found(&entries, "spa/a/latest"), "3334");
    // The day ends at 05:00 UTC in Bogota.
    assert_eq!(found(&entries, "spa@2026-11-20"), "2222");
    assert_eq!(found(&entries, "spa/a@2026-11-21"), "3334");
    assert_eq!(found(&entries, "spa@2026-11-20T02:00:00Z"), "1111");
    assert_eq!(found(&entries, "spa@2026-11-20T23:59:58-05:00"), "1111");

    let (kind, said) = find(&entries, "20261121T05").unwrap_err();
    assert_eq!(kind, ErrorKind::Usage);
    assert!(said.contains("20261121T050000Z-3333") && said.contains("20261121T050000Z-3334"), "{said}");
    // The same backup at a second destination is no second backup.
    entries.push(entry("spa", "a", "2026-11-20T02:00:00Z", 0x1111));
    assert_eq!(found(&entries, "20261120"), "1111");

    for nothing in ["20270101", "trade/latest", "spa/b/latest", "spa@2026-11-18"] {
        assert_eq!(find(&entries, nothing).unwrap_err().0, ErrorKind::NotFound, "{nothing}");
    }
    assert_eq!(find(&[], "latest").unwrap_err().0, ErrorKind::NotFound);
    for senseless in ["", "Latest", "/latest", "spa/", "@2026-11-20", "spa@", "spa@yesterday", "spa@2026-02-30", "../x"]
    {
        assert_eq!(find(&entries, senseless).unwrap_err().0, ErrorKind::Usage, "{senseless}");
    }

    entries.push(entry("spa", "b", "2026-11-22T02:00:00Z", 0x4444));
    let (kind, said) = find(&entries, "spa/latest").unwrap_err();
    assert!(kind == ErrorKind::Usage && said.contains("spa/a, spa/b"), "{said}");
    entries.push(entry("trade", "a", "2026-11-22T02:00:00Z", 0x5555));
    let (kind, said) = find(&entries, "latest").unwrap_err();
    assert!(kind == ErrorKind::Usage && said.contains("spa, trade"), "{said}");
    assert_eq!(found(&entries, "trade/latest"), "5555");
}

/// JSON that is nearly a manifest: bytes replaced, cut, doubled.
fn mutated(json: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = json.len();
    let edit = (
        0..length,
        0..40usize,
        prop_oneof![
            Just(b"..".to_vec()),
            Just(b"/".to_vec()),
            Just(b"-1".to_vec()),
            Just(b"1e999".to_vec()),
            Just(b"null".to_vec()),
            Just(b"99999999999999999999".to_vec()),
            Just(b"\"a/../b\"".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ],
    );
    proptest::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut json = json.clone();
        for (at, remove, insert) in edits {
            let at = at.min(json.len());
            let end = (at + remove).min(json.len());
            json.splice(at..end, insert);
        }
        json
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_manifest_crashes_the_reader_or_climbs(json in mutated(sample().to_json().unwrap())) {
        if let Ok(manifest) = Manifest::from_json(&json, &sample().dir()) {
            prop_assert_eq!(manifest.dir(), sample().dir());
            for file in &manifest.files {
                let name = file.name.as_str();
                prop_assert!(!name.contains(['/', '\\']) && !name.starts_with('.') && name != "manifest.json");
            }
        }
    }

    #[test]
    fn a_hostile_file_name_is_refused(
        name in prop_oneof!["(\\.\\./|/|\\.|[a-z]:\\\\|[a-z]+/)[a-z./\\\\]{0,8}", Just("manifest.json".to_owned())],
    ) {
        let json = String::from_utf8(sample().to_json().unwrap()).unwrap();
        let name = serde_json::to_string(&name).unwrap();
        let json = json.replace(&format!("{DATA_NAME:?}"), &name);
        prop_assert_eq!(Manifest::from_json(json.as_bytes(), &sample().dir()).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn no_selector_crashes(text in "\\PC{0,30}") {
        let _ = find(&[entry("spa", "a", "2026-11-20T02:00:00Z", 1)], &text);
    }
}

#[test]
fn no_receipt_crashes_the_listing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (memory, destination) = memory();
    runtime.block_on(store(&destination, &sample()));
    let receipt = serde_json::to_vec(&drill(&sample().id, at("2026-11-23T04:00:00Z"), DrillResult::Passed)).unwrap();
    let place = sample().dir().join("drills").join("20261123T040000Z.json");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(500));
    runner
        .run(&mutated(receipt), |json| {
            memory.insert(&place, json, Utc::now());
            let listing = runtime.block_on(list(&destination, None)).unwrap();
            prop_assert_eq!(listing.entries.len(), 1);
            prop_assert_eq!(listing.entries[0].drilled.is_some(), listing.problems.is_empty());
            Ok(())
        })
        .unwrap();
}
