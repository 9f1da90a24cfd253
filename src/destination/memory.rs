//! A service in memory, for tests, and a destination on it. It keeps the whole contract, and lets a test age, damage and
//! look at what it holds.

use super::service::Service;
use super::{Key, Object, Remote, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A service in memory. Clones share what they hold.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, (Bytes, DateTime<Utc>)>,
    uploads: usize,
}

impl Memory {
    /// An empty service known as `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: Arc::default() }
    }

    /// A destination on it; the service stays at hand for a look.
    pub fn destination(&self) -> Remote<Self> {
        Remote::new(self.clone())
    }

    /// Stores `bytes` under `key` as if written at `modified`, replacing what was there: damage, age, foreign files.
    pub fn insert(&self, key: &Key, bytes: impl Into<Bytes>, modified: DateTime<Utc>) {
        self.state().objects.insert(key.clone(), (bytes.into(), modified));
    }

    /// Every key, hidden ones too, in order.
    pub fn keys(&self) -> Vec<Key> {
        self.state().objects.keys().cloned().collect()
    }

    /// How many uploads were begun and neither completed, aborted nor dropped.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        let stored = Stored { bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) };
        let mut state = self.state();
        if state.objects.contains_key(key) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{key} exists already")));
        }
        state.objects.insert(key.clone(), (bytes, Utc::now()));
        Ok(stored)
    }
}

fn missing(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, format!("{key} is not there"))
}

#[async_trait]
impl Service for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        Ok(())
    }

    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        self.store(key, bytes).map(|_| ())
    }

    async fn upload(&self, key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        self.state().uploads += 1;
        Ok(Box::new(MemoryUpload { memory: self.clone(), key: key.clone(), bytes: Vec::new() }))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let state = self.state();
        let (bytes, _) = state.objects.get(key).ok_or_else(|| missing(key))?;
        if range.end > bytes.len() as u64 {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("{key} holds {} bytes; bytes {} to {} were asked for", bytes.len(), range.start, range.end),
            ));
        }
        Ok(bytes.slice(range.start.min(range.end) as usize..range.end as usize))
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        let state = self.state();
        let (bytes, modified) = state.objects.get(key).ok_or_else(|| missing(key))?;
        Ok(Object { key: key.clone(), bytes: bytes.len() as u64, modified: *modified })
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        let state = self.state();
        let below = state.objects.iter().filter(|(key, _)| prefix.is_none_or(|prefix| key.is_below(prefix)));
        Ok(below
            .map(|(key, (bytes, modified))| Object { key: key.clone(), bytes: bytes.len() as u64, modified: *modified })
            .collect())
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.state().objects.remove(key);
        Ok(())
    }
}

struct MemoryUpload {
    memory: Memory,
    key: Key,
    bytes: Vec<u8>,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Stored> {
        let bytes = std::mem::take(&mut self.bytes);
        self.memory.store(&self.key, bytes.into())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        state.uploads = state.uploads.saturating_sub(1);
    }
}
