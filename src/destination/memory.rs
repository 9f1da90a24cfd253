//! A destination in memory, for tests. It keeps the whole contract, and lets a test age, damage and look at what it holds.

use super::remains::{MANIFEST_NAME, is_old, is_ours};
use super::{Claim, Destination, Key, Object, Stored, Swept, Upload};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A destination in memory. Clones share what they hold.
#[derive(Debug, Clone)]
pub struct Memory {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Key, (Bytes, DateTime<Utc>)>,
    /// Claimed folders, and whether their holder lives.
    claims: BTreeMap<Key, bool>,
    uploads: usize,
}

impl Memory {
    /// An empty destination known as `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: Arc::default() }
    }

    /// Stores `bytes` under `key` as if written at `modified`, replacing what was there: damage, age, foreign files.
    pub fn insert(&self, key: &Key, bytes: impl Into<Bytes>, modified: DateTime<Utc>) {
        self.state().objects.insert(key.clone(), (bytes.into(), modified));
    }

    /// Every key, in order.
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
impl Destination for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        Ok(())
    }

    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>> {
        let mut state = self.state();
        if state.claims.contains_key(dir) || state.objects.keys().any(|key| key.is_below(dir)) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("{dir} exists already")));
        }
        state.claims.insert(dir.clone(), true);
        Ok(Box::new(MemoryClaim { memory: self.clone(), dir: dir.clone() }))
    }

    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored> {
        self.store(key, bytes)
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

    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>> {
        let mut state = self.state();
        let mut folders: BTreeMap<Key, BackupId> = BTreeMap::new();
        for key in state.objects.keys().chain(state.claims.keys()) {
            let mut folder = Some(key.clone());
            while let Some(candidate) = folder {
                folder = candidate.parent();
                let above = folder.as_ref().and_then(Key::parent);
                if let (Ok(id), true) = (candidate.file_name().parse(), above.as_ref() == Some(prefix)) {
                    folders.insert(candidate, id);
                }
            }
        }
        let mut swept = Vec::new();
        for (folder, id) in folders {
            let claim = state.claims.get(&folder).copied();
            let inside: Vec<(Key, u64, DateTime<Utc>)> = state
                .objects
                .iter()
                .filter(|(key, _)| key.is_below(&folder))
                .map(|(key, (bytes, modified))| (key.clone(), bytes.len() as u64, *modified))
                .collect();
            let relative = |key: &Key| key.as_str().get(folder.as_str().len() + 1..).unwrap_or_default().to_owned();
            let exists = inside.iter().any(|(key, ..)| relative(key) == MANIFEST_NAME);
            let dead = claim == Some(false) || inside.iter().all(|(.., modified)| is_old(*modified, now));
            if claim == Some(true) || exists || !dead {
                continue;
            }
            state.claims.remove(&folder);
            let ours: Vec<_> = inside.into_iter().filter(|(key, ..)| is_ours(&id, &relative(key))).collect();
            if ours.is_empty() && claim.is_none() {
                continue;
            }
            for (key, ..) in &ours {
                state.objects.remove(key);
            }
            swept.push(Swept { name: folder.to_string(), bytes: ours.iter().map(|(_, bytes, _)| bytes).sum() });
        }
        Ok(swept)
    }
}

struct MemoryClaim {
    memory: Memory,
    dir: Key,
}

#[async_trait]
impl Claim for MemoryClaim {
    async fn release(self: Box<Self>) -> Result<()> {
        self.memory.state().claims.remove(&self.dir);
        Ok(())
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        let mut state = self.memory.state();
        if state.objects.keys().any(|key| key.is_below(&self.dir)) {
            if let Some(alive) = state.claims.get_mut(&self.dir) {
                *alive = false;
            }
        } else {
            state.claims.remove(&self.dir);
        }
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
