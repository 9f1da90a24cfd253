//! Several copies read as one: when one cannot be read any more, the next goes on where it stopped.

use super::{Claim, Destination, Key, Object, Pace, Stored, Swept, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Decides about the copies that [`Mirrored`] could go on with.
#[async_trait]
pub trait Admission: Send + Sync {
    /// `next` shall take over from `failed`, which gave `error`. An error means that `next` will not do either: its files
    /// must be what the reader expects, bit for bit, or bytes of two different files would be joined.
    async fn admit(&self, next: &Arc<dyn Destination>, failed: &dyn Destination, error: &Error) -> Result<()>;
}

/// Several copies of the same objects, for reading only.
pub struct Mirrored {
    copies: Vec<Arc<dyn Destination>>,
    current: Mutex<usize>,
    admission: Box<dyn Admission>,
}

impl Mirrored {
    /// Reads `first` until that fails, then the first of `others` that is admitted, and so on.
    pub fn new(
        first: Arc<dyn Destination>,
        others: impl IntoIterator<Item = Arc<dyn Destination>>,
        admission: impl Admission + 'static,
    ) -> Self {
        let copies = std::iter::once(first).chain(others).collect();
        Self { copies, current: Mutex::new(0), admission: Box::new(admission) }
    }

    /// The copy that is read now.
    async fn now(&self) -> (usize, Option<Arc<dyn Destination>>) {
        let at = *self.current.lock().await;
        (at, self.copies.get(at).map(Arc::clone))
    }

    /// Goes on to the next copy that is admitted, unless another reader did so already.
    async fn leave(&self, at: usize, error: Error) -> Result<()> {
        let mut current = self.current.lock().await;
        if *current != at {
            return Ok(());
        }
        let failed = self.copies.get(at).map(Arc::clone);
        for (next, copy) in self.copies.iter().enumerate().skip(at + 1) {
            let Some(failed) = &failed else { break };
            if self.admission.admit(copy, &**failed, &error).await.is_ok() {
                *current = next;
                return Ok(());
            }
        }
        Err(error)
    }
}

fn read_only<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Refused, "several copies together can only be read"))
}

#[async_trait]
impl Destination for Mirrored {
    fn name(&self) -> &str {
        self.copies.first().map_or("", |copy| copy.name())
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        loop {
            let (at, copy) = self.now().await;
            let Some(copy) = copy else { return Err(Error::new(ErrorKind::NotFound, format!("{key} is nowhere"))) };
            match copy.read(key, range.clone()).await {
                // Stopping on request is no fault of the copy.
                Err(error) if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => {
                    self.leave(at, error).await?;
                }
                other => return other,
            }
        }
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        match self.now().await.1 {
            Some(copy) => copy.head(key).await,
            None => Err(Error::new(ErrorKind::NotFound, format!("{key} is nowhere"))),
        }
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        match self.now().await.1 {
            Some(copy) => copy.list(prefix).await,
            None => Ok(Vec::new()),
        }
    }

    fn pace(&self) -> Pace {
        self.copies.first().map_or_else(Pace::default, |copy| copy.pace())
    }

    async fn check_writable(&self) -> Result<()> {
        read_only()
    }

    async fn claim(&self, _dir: &Key) -> Result<Box<dyn Claim>> {
        read_only()
    }

    async fn put(&self, _key: &Key, _bytes: Bytes) -> Result<Stored> {
        read_only()
    }

    async fn upload(&self, _key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        read_only()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        read_only()
    }

    async fn sweep(&self, _prefix: &Key, _now: DateTime<Utc>) -> Result<Vec<Swept>> {
        read_only()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Effect, Fault, Faulty, Memory, Operation, Pieces};
    use super::*;

    /// Admits copies that hold `a/b` at all, and remembers which were asked about.
    struct Asked(Arc<std::sync::Mutex<Vec<String>>>);

    #[async_trait]
    impl Admission for Asked {
        async fn admit(&self, next: &Arc<dyn Destination>, failed: &dyn Destination, error: &Error) -> Result<()> {
            self.0.lock().unwrap().push(format!("{} after {}: {:?}", next.name(), failed.name(), error.kind()));
            next.head(&"a/b".parse().unwrap()).await.map(|_| ())
        }
    }

    fn copy(name: &str, bytes: Option<&Bytes>, faults: Vec<Fault>) -> Arc<dyn Destination> {
        let memory = Memory::new(name);
        if let Some(bytes) = bytes {
            memory.insert(&"a/b".parse().unwrap(), bytes.clone(), Utc::now());
        }
        Arc::new(Faulty::new(Arc::new(memory.destination()), faults))
    }

    #[tokio::test]
    async fn reading_goes_on_from_the_next_copy_that_will_do() {
        let whole: Bytes = (0..20_000_000u32).map(|n| (n >> 3) as u8).collect();
        let fails = |nth| vec![Fault::new(Operation::Read, Effect::Fails(ErrorKind::Unavailable)).nth(nth).lasting()];
        let asked = Arc::default();
        let mirrored: Arc<dyn Destination> = Arc::new(Mirrored::new(
            copy("near", Some(&whole), fails(3)),
            [copy("empty", None, Vec::new()), copy("far", Some(&whole), Vec::new())],
            Asked(Arc::clone(&asked)),
        ));
        let mut read = Vec::new();
        let mut pieces = Pieces::whole(&mirrored, "a/b".parse().unwrap(), whole.len() as u64);
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert!(whole == read);
        assert_eq!(*asked.lock().unwrap(), ["empty after near: Unavailable", "far after near: Unavailable"]);
    }

    #[tokio::test]
    async fn the_first_error_is_told_when_no_copy_will_do() {
        let lost = vec![Fault::new(Operation::Read, Effect::Fails(ErrorKind::Damaged)).lasting()];
        let first = copy("near", Some(&Bytes::from_static(b"x")), lost);
        let mirrored = Mirrored::new(first, [copy("empty", None, Vec::new())], Asked(Arc::default()));
        let error = mirrored.read(&"a/b".parse().unwrap(), 0..1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
}
