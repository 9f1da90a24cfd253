//! A destination on a storage service: what the contract asks for beyond storing objects, made of objects.
//!
//! Hidden keys are pgkeep's own: marks of claims and files that are being written. No caller sees or makes them.

mod claim;
mod sweep;

use super::remains::is_hidden;
use super::service::{Finding, Service};
use super::{Children, Claim, Destination, Key, Object, Pace, Stored, Swept, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::sync::Arc;

/// A destination on the service `S`.
pub struct Remote<S> {
    service: Arc<S>,
}

impl<S: Service> Remote<S> {
    /// Makes a destination of `service`.
    pub fn new(service: S) -> Self {
        Self { service: Arc::new(service) }
    }
}

fn refuse_hidden(key: &Key) -> Result<()> {
    if is_hidden(key) {
        return Err(Error::new(ErrorKind::Refused, format!("{key} is hidden; pgkeep stores no hidden files")));
    }
    Ok(())
}

#[async_trait]
impl<S: Service> Destination for Remote<S> {
    fn name(&self) -> &str {
        self.service.name()
    }

    async fn check_writable(&self) -> Result<()> {
        self.service.check_writable().await
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        claim::take(&self.service, dir).await
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        refuse_hidden(key)?;
        let stored = Stored { bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) };
        self.service.create(key, bytes).await?;
        Ok(stored)
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        refuse_hidden(key)?;
        self.service.upload(key, expected_bytes).await
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        refuse_hidden(key)?;
        self.service.read(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        refuse_hidden(key)?;
        self.service.head(key).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        let mut objects = self.service.list(prefix).await?;
        objects.retain(|object| !is_hidden(&object.key));
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        let mut children = self.service.children(folder).await?;
        children.folders.retain(|key| !is_hidden(key));
        children.objects.retain(|object| !is_hidden(&object.key));
        children.folders.sort();
        children.objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(children)
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.service.locked_until(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        refuse_hidden(key)?;
        self.service.delete(key).await
    }

    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
        sweep::sweep(&*self.service, prefix, now).await
    }

    fn pace(&self) -> Pace {
        self.service.pace()
    }

    fn settling(&self) -> TimeDelta {
        self.service.settling()
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        self.service.examine().await
    }
}
