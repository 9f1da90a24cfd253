//! Deleting that fails, is refused, or may not be done (faults 25, 31, 32), on a destination in memory.

use crate::aged::House;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use pgkeep::catalogue::{Manifest, PinReceipt, RECEIPT_FORMAT, list, write_pin_receipt};
use pgkeep::clock::FixedClock;
use pgkeep::config::{Config, Retention};
use pgkeep::destination::{
    Claim, Destination, Effect, Fault, Faulty, Key, Memory, Object, Operation, Stored, Swept, Upload,
};
use pgkeep::error::{ErrorKind, Result};
use pgkeep::event::Silent;
use pgkeep::id::BackupId;
use pgkeep::ops::{Context, PruneOutcome, PrunePlace, PruneRequest, Pruning};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

fn now() -> DateTime<Utc> {
    "2026-11-22T02:00:00Z".parse().unwrap()
}

fn manifest(job: &str, started_at: DateTime<Utc>) -> Manifest {
    let json = serde_json::json!({
        "format": 1, "written_by": "pgkeep 0.1.0", "id": BackupId::new(started_at, 1), "job": job,
        "database": "spa", "pinned": false, "started_at": started_at, "finished_at": started_at,
        "server": {"version": "17.5", "version_num": 170_005, "system_identifier": "1", "database_oid": 5,
                   "bootstrap_role": "postgres", "standby": false},
        "pg_dump_version": "17.5", "codec": "gzip", "tables": 1, "rows": 2, "entries": 3, "large_objects": 0,
        "sql_bytes": 100, "stored_bytes": 4,
        "properties": {"owner": "app", "encoding": "UTF8", "locale_provider": "libc", "collate": "C", "ctype": "C",
                       "tablespace": "pg_default", "connection_limit": -1},
        "extensions": [], "roles": ["app"], "globals": {"status": "missing", "reason": "no right to read them"},
        "files": [{"name": started_at.format("spa_%Y%m%d_%H%M%S.sql.gz").to_string(), "kind": "data", "bytes": 4,
                   "sha256": "0".repeat(64), "unpacked_bytes": 100}],
    });
    serde_json::from_value(json).unwrap()
}

/// Nightly backups of sixty nights, of which thirty are to go.
struct Store {
    memory: Memory,
    ctx: Context,
    _state: TempDir,
}

impl Store {
    fn new() -> Self {
        let memory = Memory::new("memory");
        for night in 0..60 {
            let manifest = manifest("spa", now() - TimeDelta::days(night));
            let written = manifest.started_at;
            memory.insert(&manifest.dir().join("manifest.json"), manifest.to_json().unwrap(), written);
            memory.insert(&manifest.dir().child(&manifest.files[0].name), "data", written);
        }
        let state = crate::support::temp_dir();
        let config = Config { state_dir: Some(state.path().to_owned()), ..Config::default() };
        let ctx = Context {
            config: Arc::new(config),
            clock: Arc::new(FixedClock(now())),
            observer: Arc::new(Silent),
            cancel: pgkeep::cancel::Cancel::new(),
        };
        Self { memory, ctx, _state: state }
    }

    fn faulty(&self, faults: impl IntoIterator<Item = Fault>) -> Arc<dyn Destination> {
        Arc::new(Faulty::new(Arc::new(self.memory.destination()), faults))
    }

    async fn plan(&self, destination: &Arc<dyn Destination>) -> Pruning {
        let place = PrunePlace { destination: Arc::clone(destination), retention: Retention::default(), only: None };
        let request = PruneRequest { job: "spa".to_owned(), places: vec![place], others: Vec::new() };
        Pruning::plan(&self.ctx, &request).await.unwrap()
    }

    async fn prune(&self, destination: &Arc<dyn Destination>) -> PruneOutcome {
        let plan = self.plan(destination).await;
        plan.sweep(&self.ctx).await;
        plan.carry_out(&self.ctx).await
    }

    /// How many files there are, without an index and the marks of what changed since.
    fn files(&self) -> usize {
        let own = |key: &&Key| !key.file_name().starts_with("catalogue-") && !key.as_str().contains(".changed-");
        self.memory.keys().iter().filter(own).count()
    }

    /// How many backups there are.
    async fn backups(&self) -> usize {
        let destination: Arc<dyn Destination> = Arc::new(self.memory.destination());
        list(&destination, None).await.unwrap().entries.len()
    }
}

#[tokio::test]
async fn without_faults_what_no_rule_keeps_goes_with_all_its_files() {
    let store = Store::new();
    let outcome = store.prune(&store.faulty([])).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len(), outcome.plan.len()), (29, 0, 60));
    assert_eq!((store.backups().await, store.files()), (31, 62));
}

/// Fault 32.
#[tokio::test]
async fn a_manifest_that_cannot_be_deleted_leaves_its_backup_whole_and_the_others_go() {
    let store = Store::new();
    let stubborn = manifest("spa", now() - TimeDelta::days(40));
    let fault = Fault::new(Operation::Delete, Effect::Fails(ErrorKind::PermissionDenied));
    let faulty = store.faulty([fault.on(format!("{}/manifest.json", stubborn.dir()))]);
    let outcome = store.prune(&faulty).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len()), (28, 1));
    let failed = &outcome.failed[0];
    assert_eq!((failed.id.as_ref(), failed.destination.as_str()), (Some(&stubborn.id), "memory"));
    assert!(failed.error.contains("could not be deleted"), "{}", failed.error);
    assert_eq!((store.backups().await, store.files()), (32, 64), "its data were not touched");
    // The next time it goes.
    let outcome = store.prune(&faulty).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len(), store.files()), (1, 0, 62));
}

/// Fault 32.
#[tokio::test]
async fn data_that_cannot_be_deleted_are_told_and_swept_the_next_time() {
    let store = Store::new();
    let stubborn = manifest("spa", now() - TimeDelta::days(40));
    let fault =
        Fault::new(Operation::Delete, Effect::Fails(ErrorKind::Unavailable)).on(stubborn.files[0].name.as_str());
    let faulty = store.faulty([fault]);
    let outcome = store.prune(&faulty).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len()), (29, 1));
    assert!(outcome.failed[0].error.contains(stubborn.files[0].name.as_str()), "{}", outcome.failed[0].error);
    assert_eq!((store.backups().await, store.files()), (31, 63));
    let again = store.prune(&faulty).await;
    assert_eq!((again.deleted.len(), again.failed.len(), store.files()), (0, 0, 62));
}

/// Fault 25: what breaks off half-way shows fewer backups than there are.
#[tokio::test]
async fn nothing_is_deleted_where_listing_or_reading_fails() {
    for (operation, nth) in [(Operation::List, 1), (Operation::Read, 1), (Operation::Read, 31), (Operation::Read, 60)] {
        let store = Store::new();
        let fault = Fault::new(operation, Effect::Fails(ErrorKind::Unavailable)).nth(nth).lasting();
        let outcome = store.prune(&store.faulty([fault])).await;
        assert_eq!((outcome.deleted.len(), outcome.failed.len()), (0, 1), "{operation:?} {nth}");
        let failed = &outcome.failed[0];
        assert!(failed.id.is_none() && failed.error.contains("nothing is deleted in memory"), "{}", failed.error);
        assert_eq!(store.backups().await, 60);
    }
}

#[tokio::test]
async fn a_backup_that_was_pinned_after_the_plan_was_made_stays() {
    let store = Store::new();
    let destination = store.faulty([]);
    let plan = store.plan(&destination).await;
    let old = manifest("spa", now() - TimeDelta::days(40));
    let pin = PinReceipt {
        format: RECEIPT_FORMAT,
        backup: old.id.clone(),
        at: now(),
        pinned: true,
        written_by: "pgkeep 0.1.0".to_owned(),
        host: "office".to_owned(),
    };
    write_pin_receipt(&*destination, &old.dir(), &pin).await.unwrap();
    let outcome = plan.carry_out(&store.ctx).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len(), store.backups().await), (28, 0, 32));
}

#[tokio::test]
async fn a_stop_is_heard_between_two_backups() {
    let store = Store::new();
    let plan = store.plan(&store.faulty([])).await;
    store.ctx.cancel.cancel(pgkeep::cancel::Cause::Terminate);
    let outcome = plan.carry_out(&store.ctx).await;
    assert_eq!((outcome.deleted.len(), outcome.failed[0].failure.kind()), (0, ErrorKind::Terminated));
    assert_eq!(store.backups().await, 60);
}

/// A service that refuses to delete some objects for a time, as S3 does with object lock.
struct Locking {
    inner: Arc<dyn Destination>,
    locks: BTreeMap<Key, DateTime<Utc>>,
    refused: Mutex<Vec<Key>>,
}

#[async_trait]
impl Destination for Locking {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.inner.check_writable().await
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        self.inner.claim(dir).await
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        self.inner.put(key, bytes).await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.inner.upload(key, expected_bytes).await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.inner.list(prefix).await
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.inner.head(key).await?;
        Ok(self.locks.get(key).copied())
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        if self.locks.get(key).is_some_and(|until| *until > now()) {
            self.refused.lock().unwrap().push(key.clone());
        }
        self.inner.delete(key).await
    }

    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
        self.inner.sweep(prefix, now).await
    }
}

#[tokio::test]
async fn what_the_service_has_locked_stays_until_then_and_nobody_tries_to_delete_it() {
    let store = Store::new();
    let of = |days| manifest("spa", now() - TimeDelta::days(days));
    let locks = BTreeMap::from([
        // By its manifest, by its data alone, and no longer.
        (of(40).dir().join("manifest.json"), now() + TimeDelta::days(10)),
        (of(41).dir().child(&of(41).files[0].name), now() + TimeDelta::days(20)),
        (of(42).dir().join("manifest.json"), now() - TimeDelta::days(1)),
    ]);
    let locking = Arc::new(Locking { inner: Arc::new(store.memory.destination()), locks, refused: Mutex::default() });
    let destination: Arc<dyn Destination> = locking.clone();
    let outcome = store.prune(&destination).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len()), (27, 0));
    assert_eq!(*locking.refused.lock().unwrap(), []);
    let reasons =
        |days| outcome.plan.iter().find(|one| one.id == of(days).id).map(|one| (one.keep, one.reasons.clone()));
    assert_eq!(reasons(40), Some((true, vec!["locked until 2026-12-02".to_owned()])));
    assert_eq!(reasons(41), Some((true, vec!["locked until 2026-12-12".to_owned()])));
    assert_eq!(reasons(42), Some((false, Vec::new())));
}

#[tokio::test]
async fn what_may_be_locked_stays_where_the_service_does_not_say() {
    let store = Store::new();
    let old = manifest("spa", now() - TimeDelta::days(40));
    let fault = Fault::new(Operation::Head, Effect::Fails(ErrorKind::PermissionDenied)).on(old.id.as_str()).lasting();
    let outcome = store.prune(&store.faulty([fault])).await;
    assert_eq!((outcome.deleted.len(), outcome.failed.len(), store.backups().await), (28, 1, 32));
    assert!(outcome.failed[0].error.contains("locked"), "{}", outcome.failed[0].error);
}

/// Fault 32, on a disk: a folder stands where a file should be deleted.
#[test]
fn a_file_in_a_folder_that_cannot_be_deleted_is_told_with_exit_1_and_goes_later() {
    let house = House::new("");
    house.fill([1, 2, 3, 40]);
    let dir = house.dir("office", 40);
    let file = dir.join("contents.json.gz");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    std::fs::write(file.join("x"), "x").unwrap();
    let (pruned, code) = house.pgkeep(["backup", "prune", "shop"]).json_with_code();
    assert_eq!((code, pruned["deleted"].as_array().unwrap().len()), (1, 2), "{pruned:#}");
    assert!(pruned["failed"][0]["error"].as_str().unwrap().contains("contents.json.gz"), "{pruned:#}");
    assert!(!dir.join("manifest.json").exists() && dir.exists());
    std::fs::remove_dir_all(&file).unwrap();
    std::fs::write(&file, "x").unwrap();
    // What is younger than a day may still be written by somebody.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    for path in [&file, &dir] {
        std::fs::File::open(path).unwrap().set_modified(old).unwrap();
    }
    house.pgkeep(["backup", "prune", "shop"]).ok();
    assert!(!dir.exists(), "swept");
}
