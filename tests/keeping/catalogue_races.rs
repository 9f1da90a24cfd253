//! The index of the catalogue never lies: two computers change the same backups at the same time, step by step in random
//! order, and crash between any two steps; at every moment a listing says what the folders say.

use crate::support::{Numbers, SMALL_DATA, small_manifest};
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use pgkeep::catalogue::{
    DrillReceipt, DrillResult, Entry, Manifest, Phases, RECEIPT_FORMAT, VerifyReceipt, VerifyResult, consolidate, list,
    read_one, remove, write_drill_receipt, write_verify_receipt,
};
use pgkeep::config::DrillLevel;
use pgkeep::destination::{Children, Claim, Destination, Key, Memory, Object, Stored, Swept, Upload};
use pgkeep::error::Result;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// What all folders hold: the truth, by their keys.
type State = BTreeMap<String, Entry>;

/// A destination that does one operation for each permit it gets, and says so.
struct Stepped {
    inner: Arc<dyn Destination>,
    permits: Arc<Semaphore>,
    stepped: mpsc::UnboundedSender<()>,
}

impl Stepped {
    async fn step<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.permits.acquire().await.unwrap().forget();
        let done = work.await;
        let _ = self.stepped.send(());
        done
    }
}

#[async_trait::async_trait]
impl Destination for Stepped {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.step(self.inner.check_writable()).await
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        self.step(self.inner.claim(dir)).await
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        self.step(self.inner.put(key, bytes)).await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.step(self.inner.upload(key, expected_bytes)).await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.step(self.inner.read(key, range)).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.step(self.inner.head(key)).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.step(self.inner.list(prefix)).await
    }

    /// A listing is no snapshot: folders and objects are seen at different moments, in either order.
    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        let first = self.step(self.inner.children(folder)).await?;
        let second = self.step(self.inner.children(folder)).await?;
        // Decided by what was seen, so that the same run goes the same way.
        let folders_first = (first.folders.len() + first.objects.len()) % 2 == 0;
        Ok(if folders_first {
            Children { folders: first.folders, objects: second.objects }
        } else {
            Children { folders: second.folders, objects: first.objects }
        })
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.step(self.inner.delete(key)).await
    }

    async fn sweep(&self, prefix: &Key, now: chrono::DateTime<Utc>) -> Result<Vec<Swept>> {
        self.step(self.inner.sweep(prefix, now)).await
    }
}

/// What a computer does.
#[derive(Debug, Clone)]
enum Work {
    Publish(Manifest),
    Remove(Manifest),
    Drill(Manifest),
    Verify(Manifest),
    Consolidate,
    List,
}

struct Machine {
    permits: Arc<Semaphore>,
    stepped: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<Option<Vec<Entry>>>,
    /// What the folders held at each step since this began, for one that lists.
    seen: Option<Vec<State>>,
}

fn database() -> Key {
    "job/app".parse().unwrap()
}

fn start(memory: &Memory, work: Work, seconds: i64, now: &State) -> Machine {
    let permits = Arc::new(Semaphore::new(0));
    let (sender, stepped) = mpsc::unbounded_channel();
    let inner: Arc<dyn Destination> = Arc::new(memory.destination());
    let destination: Arc<dyn Destination> = Arc::new(Stepped { inner, permits: Arc::clone(&permits), stepped: sender });
    let seen = matches!(work, Work::List).then(|| vec![now.clone()]);
    let task = tokio::spawn(async move {
        // Each receipt has a moment of its own, as those of different nights do.
        let at = "2026-11-23T04:00:00Z".parse::<chrono::DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds);
        match work {
            Work::Publish(manifest) => publish(&*destination, &manifest).await,
            Work::Remove(manifest) => drop(remove(&*destination, &manifest).await.unwrap()),
            Work::Drill(manifest) => {
                let receipt = drill(&manifest, at);
                drop(write_drill_receipt(&*destination, &manifest.dir(), &receipt).await.unwrap());
            }
            Work::Verify(manifest) => {
                let receipt = VerifyReceipt {
                    format: RECEIPT_FORMAT,
                    backup: manifest.id.clone(),
                    destination: "memory".to_owned(),
                    at,
                    result: VerifyResult::Intact,
                    problems: Vec::new(),
                };
                drop(write_verify_receipt(&*destination, &manifest.dir(), &receipt).await.unwrap());
            }
            // Somebody else's deletion may be in the way of this one; it gives up then.
            Work::Consolidate => drop(consolidate(&destination, &database(), at).await),
            Work::List => return Some(list(&destination, Some("job")).await.unwrap().entries),
        }
        None
    });
    Machine { permits, stepped, task, seen }
}

async fn publish(destination: &dyn Destination, manifest: &Manifest) {
    let data = manifest.dir().child(&manifest.files[0].name);
    let json = manifest.to_json().unwrap();
    // One that was removed only in part may have left its data.
    let _ = destination.put(&data, Bytes::from_static(SMALL_DATA)).await;
    let _ = destination.put(&manifest.dir().join("manifest.json"), json.into()).await;
}

fn drill(manifest: &Manifest, at: chrono::DateTime<Utc>) -> DrillReceipt {
    DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: manifest.id.clone(),
        started_at: at,
        finished_at: at,
        result: DrillResult::Passed,
        reason: None,
        destination: Some("office".to_owned()),
        level: DrillLevel::Prove,
        not_compared: Vec::new(),
        objects_compared: 3,
        tables_compared: 1,
        rows_compared: 2,
        differences: Vec::new(),
        differences_left_out: 0,
        checks: Vec::new(),
        phases: Phases::default(),
        restore_seconds: 1.5,
        objective_seconds: None,
        scratch: "ephemeral".to_owned(),
        written_by: "pgkeep 0.1.0".to_owned(),
        host: "office".to_owned(),
    }
}

fn by_dir(entries: Vec<Entry>) -> State {
    let plain = |entry: Entry| (entry.manifest.dir().to_string(), Entry { indexed: false, ..entry });
    entries.into_iter().map(plain).collect()
}

/// What the folders say, whatever lies beside them.
async fn truth(destination: &Arc<dyn Destination>, manifests: &[Manifest]) -> State {
    let mut entries = Vec::new();
    for manifest in manifests {
        entries.extend(read_one(destination, &manifest.dir()).await.unwrap().0);
    }
    by_dir(entries)
}

/// What the seed decides: what is done, by whom, in which order, and who crashes where.
struct World {
    memory: Memory,
    destination: Arc<dyn Destination>,
    manifests: Vec<Manifest>,
    numbers: Numbers,
    seed: u64,
    began: i64,
    indexed: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let memory = Memory::new("memory");
        let first: chrono::DateTime<Utc> = "2026-11-01T02:00:00Z".parse().unwrap();
        let manifests = (0..16).map(|n| small_manifest("job", "app", first + TimeDelta::hours(n), 7)).collect();
        let destination = Arc::new(memory.destination());
        Self { memory, destination, manifests, numbers: Numbers(seed * 7919 + 1), seed, began: 0, indexed: 0 }
    }

    async fn work(&mut self) -> Work {
        let manifest = self.manifests[self.numbers.below(self.manifests.len() as u64) as usize].clone();
        let there = read_one(&self.destination, &manifest.dir()).await.unwrap().0.is_some();
        match (self.numbers.below(10), there) {
            (0..=2, _) => Work::Consolidate,
            (3..=4, _) => Work::List,
            (_, false) => Work::Publish(manifest),
            (5, true) => Work::Remove(manifest),
            (6..=7, true) => Work::Drill(manifest),
            (_, true) => Work::Verify(manifest),
        }
    }

    /// At every moment.
    async fn check(&mut self) -> State {
        let truth = truth(&self.destination, &self.manifests).await;
        let listing = list(&self.destination, Some("job")).await.unwrap();
        assert!(listing.notes.is_empty(), "seed {}: {:?}", self.seed, listing.notes);
        self.indexed += listing.entries.iter().filter(|entry| entry.indexed).count();
        let listed = by_dir(listing.entries);
        if listed != truth {
            let keys: Vec<String> = self.memory.keys().iter().map(ToString::to_string).collect();
            panic!("seed {}: the listing says\n{listed:#?}\nand the folders\n{truth:#?}\n{keys:#?}", self.seed);
        }
        truth
    }

    /// A reader saw each backup as it was at some moment while it read, and left out none that was there all the time.
    fn check_reader(&self, listed: Vec<Entry>, seen: &[State]) {
        let listed = by_dir(listed);
        for manifest in &self.manifests {
            let dir = manifest.dir().to_string();
            let said = listed.get(&dir);
            assert!(seen.iter().any(|state| state.get(&dir) == said), "seed {}: {dir} was never {said:#?}", self.seed);
        }
    }

    async fn run(&mut self, steps: usize) {
        for manifest in self.manifests.clone().iter().take(12) {
            publish(&*self.destination, manifest).await;
        }
        let mut machines: Vec<Machine> = Vec::new();
        let mut state = self.check().await;
        for _ in 0..steps {
            while machines.len() < 3 {
                let work = self.work().await;
                self.began += 1;
                machines.push(start(&self.memory, work, self.began, &state));
            }
            let at = self.numbers.below(machines.len() as u64) as usize;
            if self.numbers.below(60) == 0 {
                let crashed = machines.swap_remove(at);
                crashed.task.abort();
                // It may have been through by itself.
                let _ = crashed.task.await;
            } else {
                let machine = &mut machines[at];
                machine.permits.add_permits(1);
                // Either it makes its step, or it has none left.
                if machine.stepped.recv().await.is_none() {
                    let ended = machines.swap_remove(at);
                    let listed = ended.task.await.unwrap();
                    if let (Some(listed), Some(seen)) = (listed, ended.seen) {
                        self.check_reader(listed, &seen);
                    }
                }
            }
            state = self.check().await;
            for seen in machines.iter_mut().filter_map(|machine| machine.seen.as_mut()) {
                seen.push(state.clone());
            }
        }
        for machine in machines {
            machine.task.abort();
            let _ = machine.task.await;
        }
        self.settle().await;
    }

    /// A day later nothing of all this is left but one index of what there is.
    async fn settle(&mut self) {
        for key in self.memory.keys() {
            let bytes = self.destination.read(&key, 0..self.destination.head(&key).await.unwrap().bytes).await.unwrap();
            self.memory.insert(&key, bytes, Utc::now() - TimeDelta::hours(25));
        }
        // As many changes as make an index worth writing.
        let there: Vec<Manifest> = self.check().await.into_values().map(|entry| entry.manifest).collect();
        for (n, manifest) in there.iter().cycle().take(8).enumerate() {
            self.began += 1;
            let at = "2026-11-24T04:00:00Z".parse::<chrono::DateTime<Utc>>().unwrap() + TimeDelta::seconds(n as i64);
            write_drill_receipt(&*self.destination, &manifest.dir(), &drill(manifest, at)).await.unwrap();
        }
        consolidate(&self.destination, &database(), Utc::now()).await.unwrap();
        self.check().await;
        let beside: Vec<String> = self
            .destination
            .children(Some(&database()))
            .await
            .unwrap()
            .objects
            .iter()
            .map(|object| object.key.file_name().to_owned())
            .collect();
        let marks = beside.iter().filter(|name| name.contains(".changed-")).count();
        assert!(marks == 0 && beside.len() <= 1, "seed {}: {beside:?}", self.seed);
    }
}

#[tokio::test]
async fn whatever_two_computers_do_at_once_and_wherever_they_crash_a_listing_says_what_the_folders_say() {
    let mut indexed = 0;
    for seed in 1..=24 {
        let mut world = World::new(seed);
        world.run(250).await;
        indexed += world.indexed;
    }
    assert!(indexed > 10_000, "the indexes were hardly used: {indexed}");
}
