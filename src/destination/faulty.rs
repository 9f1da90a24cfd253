//! A destination that fails as planned, for tests: which operation, which time, how. The same plan fails the same way.

use super::{Children, Claim, Destination, Finding, Key, Object, Pace, Stored, Swept, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What can be made to fail.
#[allow(missing_docs)] // Each is the method of its name, of `Destination`, `Upload` or `Claim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    CheckWritable,
    Claim,
    Release,
    Put,
    Upload,
    Write,
    Complete,
    Abort,
    Read,
    Head,
    List,
    Delete,
    Sweep,
}

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is done and an error of this kind comes back.
    Fails(ErrorKind),
    /// It is done, but an error of this kind comes back: the answer was lost on the way.
    LosesTheAnswer(ErrorKind),
    /// The first byte that is read is another one. For [`Operation::Read`] only.
    Damages,
}

/// One planned fault.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Operation,
    effect: Effect,
    nth: usize,
    lasting: bool,
    key: Option<String>,
    seen: usize,
}

impl Fault {
    /// The first `operation` suffers `effect`; later ones do not.
    pub fn new(operation: Operation, effect: Effect) -> Self {
        Self { operation, effect, nth: 1, lasting: false, key: None, seen: 0 }
    }

    /// The `nth` time instead of the first; counted from 1, and after [`Fault::on`] among its keys only.
    #[must_use]
    pub fn nth(mut self, nth: usize) -> Self {
        self.nth = nth;
        self
    }

    /// That time and ever after.
    #[must_use]
    pub fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    /// Only for keys that contain `part`; operations without a key never match.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.key = Some(part.into());
        self
    }
}

/// A destination that wraps another and fails as planned. Clones share the plan and its counts.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Destination>,
    plan: Plan,
}

impl Faulty {
    /// Wraps `inner`; with an empty plan it changes nothing.
    pub fn new(inner: Arc<dyn Destination>, plan: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, plan: Plan(Arc::new(Mutex::new(plan.into_iter().collect()))) }
    }

    /// Adds a fault, counted from now.
    pub fn add(&self, fault: Fault) {
        self.plan.faults().push(fault);
    }

    /// Forgets every fault: from now on nothing fails.
    pub fn heal(&self) {
        self.plan.faults().clear();
    }
}

#[derive(Clone)]
struct Plan(Arc<Mutex<Vec<Fault>>>);

impl Plan {
    fn faults(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one `operation` and says what it suffers.
    fn next(&self, operation: Operation, key: Option<&Key>) -> Option<Effect> {
        let mut effect = None;
        for fault in self.faults().iter_mut() {
            let wanted = match (&fault.key, key) {
                (None, _) => true,
                (Some(part), Some(key)) => key.as_str().contains(part.as_str()),
                (Some(_), None) => false,
            };
            if fault.operation == operation && wanted {
                fault.seen += 1;
                if effect.is_none() && (fault.seen == fault.nth || (fault.lasting && fault.seen > fault.nth)) {
                    effect = Some(fault.effect);
                }
            }
        }
        effect
    }

    async fn run<T>(
        &self,
        operation: Operation,
        key: Option<&Key>,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let error = |kind| {
            let what = key.map_or_else(String::new, |key| format!(" of {key}"));
            Error::new(kind, format!("planned fault: {operation:?}{what}"))
        };
        match self.next(operation, key) {
            Some(Effect::Fails(kind)) => Err(error(kind)),
            Some(Effect::LosesTheAnswer(kind)) => {
                work.await?;
                Err(error(kind))
            }
            Some(Effect::Damages) | None => work.await,
        }
    }
}

#[async_trait]
impl Destination for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.plan.run(Operation::CheckWritable, None, self.inner.check_writable()).await
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        let inner = self.plan.run(Operation::Claim, Some(dir), self.inner.claim(dir)).await?;
        Ok(Box::new(FaultyClaim { inner, plan: self.plan.clone(), dir: dir.clone() }))
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        self.plan.run(Operation::Put, Some(key), self.inner.put(key, bytes)).await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        let inner = self.plan.run(Operation::Upload, Some(key), self.inner.upload(key, expected_bytes)).await?;
        Ok(Box::new(FaultyUpload { inner, plan: self.plan.clone(), key: key.clone() }))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let read = self.inner.read(key, range);
        match self.plan.next(Operation::Read, Some(key)) {
            Some(Effect::Damages) => {
                let mut bytes = read.await?.to_vec();
                if let Some(first) = bytes.first_mut() {
                    *first ^= 1;
                }
                Ok(bytes.into())
            }
            Some(Effect::Fails(kind) | Effect::LosesTheAnswer(kind)) => {
                Err(Error::new(kind, format!("planned fault: Read of {key}")))
            }
            None => read.await,
        }
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.plan.run(Operation::Head, Some(key), self.inner.head(key)).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.plan.run(Operation::List, prefix, self.inner.list(prefix)).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.plan.run(Operation::List, folder, self.inner.children(folder)).await
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.plan.run(Operation::Head, Some(key), self.inner.locked_until(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.plan.run(Operation::Delete, Some(key), self.inner.delete(key)).await
    }

    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
        self.plan.run(Operation::Sweep, Some(prefix), self.inner.sweep(prefix, now)).await
    }

    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    fn settling(&self) -> TimeDelta {
        self.inner.settling()
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        self.inner.examine().await
    }
}

struct FaultyClaim {
    inner: Box<dyn Claim>,
    plan: Plan,
    dir: Key,
}

#[async_trait]
impl Claim for FaultyClaim {
    async fn release(self: Box<Self>) -> Result<()> {
        self.plan.run(Operation::Release, Some(&self.dir), self.inner.release()).await
    }
}

struct FaultyUpload {
    inner: Box<dyn Upload>,
    plan: Plan,
    key: Key,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.plan.run(Operation::Write, Some(&self.key), self.inner.write(bytes)).await
    }

    async fn complete(self: Box<Self>) -> Result<Stored> {
        self.plan.run(Operation::Complete, Some(&self.key), self.inner.complete()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.plan.run(Operation::Abort, Some(&self.key), self.inner.abort()).await
    }
}
