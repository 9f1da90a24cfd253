//! A service whose passing failures are tried again.

use super::service::{Finding, Service, Unfinished};
use super::{Backoff, Children, Key, Object, Pace, Upload};
use crate::error::{ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::Range;

/// Wraps a service; each operation is tried again as its [`Backoff`] says. Uploads try their own parts again.
pub struct Retrying<S> {
    inner: S,
    backoff: Backoff,
}

impl<S: Service> Retrying<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, backoff: Backoff) -> Self {
        Self { inner, backoff }
    }

    /// Whether `key` holds exactly `bytes`.
    async fn holds(&self, key: &Key, bytes: &Bytes) -> Result<bool> {
        let length = bytes.len() as u64;
        if self.head(key).await?.bytes != length {
            return Ok(false);
        }
        Ok(self.read(key, 0..length).await? == bytes)
    }
}

#[async_trait]
impl<S: Service> Service for Retrying<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.backoff.run(|_| self.inner.check_writable()).await
    }

    /// An attempt that broke off may have arrived: then the key is taken, by ourselves.
    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let doubtful = std::sync::atomic::AtomicBool::new(false);
        let attempt = |_| async {
            let created = self.inner.create(key, bytes.clone()).await;
            if created.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
                doubtful.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            created
        };
        let created = self.backoff.run_to_the_end(attempt).await;
        let doubtful = doubtful.into_inner();
        match created {
            Err(error) if doubtful && !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => {
                match self.holds(key, &bytes).await {
                    Ok(true) => Ok(()),
                    // Whose it is cannot be told: then it must not count as somebody else's.
                    Err(unknown) if error.kind() == ErrorKind::AlreadyExists => {
                        Err(error.with_kind(ErrorKind::Unavailable).caused_by(unknown))
                    }
                    Ok(false) | Err(_) => Err(error),
                }
            }
            other => other,
        }
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.backoff.run(|_| self.inner.upload(key, expected_bytes)).await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.backoff.run(|_| self.inner.read(key, range.clone())).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.backoff.run(|_| self.inner.head(key)).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.backoff.run(|_| self.inner.list(prefix)).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.backoff.run(|_| self.inner.children(folder)).await
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.backoff.run(|_| self.inner.locked_until(key)).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.backoff.run(|_| self.inner.delete(key)).await
    }

    async fn unfinished(&self, prefix: &Key) -> Result<Vec<Unfinished>> {
        self.backoff.run(|_| self.inner.unfinished(prefix)).await
    }

    async fn abandon(&self, unfinished: &Unfinished) -> Result<()> {
        self.backoff.run(|_| self.inner.abandon(unfinished)).await
    }

    fn pace(&self) -> Pace {
        self.inner.pace()
    }

    fn settling(&self) -> TimeDelta {
        self.inner.settling()
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        self.backoff.run(|_| self.inner.examine()).await
    }
}
