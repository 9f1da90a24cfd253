//! A service that breaks off now and then, for tests of [`super::Retrying`]: before it did what it was asked, or after.

use super::service::{Finding, Service, Unfinished};
use super::{Children, Key, Object, Pace, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Wraps a service. Of each three operations the first is lost on the way there, the second's answer on the way back.
pub struct Flaky<S> {
    inner: S,
    count: AtomicUsize,
}

impl<S: Service> Flaky<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, count: AtomicUsize::new(0) }
    }

    async fn perhaps<T>(&self, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let lost = || Error::new(ErrorKind::Unavailable, "the connection broke off");
        match self.count.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Err(lost()),
            1 => work.await.and_then(|_| Err(lost())),
            _ => work.await,
        }
    }
}

#[async_trait]
impl<S: Service> Service for Flaky<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.perhaps(self.inner.check_writable()).await
    }

    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        self.perhaps(self.inner.create(key, bytes)).await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.perhaps(self.inner.upload(key, expected_bytes)).await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.perhaps(self.inner.read(key, range)).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.perhaps(self.inner.head(key)).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.perhaps(self.inner.list(prefix)).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.perhaps(self.inner.children(folder)).await
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.perhaps(self.inner.locked_until(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.perhaps(self.inner.delete(key)).await
    }

    async fn unfinished(&self, prefix: &Key) -> Result<Vec<Unfinished>> {
        self.perhaps(self.inner.unfinished(prefix)).await
    }

    async fn abandon(&self, unfinished: &Unfinished) -> Result<()> {
        self.perhaps(self.inner.abandon(unfinished)).await
    }

    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    fn settling(&self) -> TimeDelta {
        self.inner.settling()
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        self.perhaps(self.inner.examine()).await
    }
}
