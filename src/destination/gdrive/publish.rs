//! Making files exist under their keys, once.
//!
//! Drive creates under no condition. So it is looked before, and again afterwards: of two files that were made at the same
//! time the one that counts stays, and the other is removed by the one who made it. Within this process one file of a key is
//! made at a time.

use super::files::{Files, metadata};
use super::model::{File, Sum};
use super::tree::Tree;
use crate::destination::{Backoff, Key};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::OwnedMutexGuard;

/// What a file of pgkeep's is to Drive: nothing that it could convert or show.
const MIME_TYPE: &str = "application/octet-stream";

/// Everything that makes files: shared by the service and its uploads.
pub(super) struct Publisher {
    pub(super) tree: Tree,
    pub(super) files: Arc<Files>,
    pub(super) backoff: Backoff,
    making: Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>,
}

impl Publisher {
    pub(super) fn new(tree: Tree, files: Arc<Files>, backoff: Backoff) -> Self {
        Self { tree, files, backoff, making: Mutex::default() }
    }

    /// Waits until nobody else of this process makes a file of `key`.
    pub(super) async fn only_one(&self, key: &Key) -> OwnedMutexGuard<()> {
        let lock = {
            let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
            making.retain(|_, lock| lock.strong_count() > 0);
            let known = making.get(key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::default();
                making.insert(key.clone(), Arc::downgrade(&new));
                new
            })
        };
        lock.lock_owned().await
    }

    fn exists(&self, key: &Key) -> Error {
        Error::new(ErrorKind::AlreadyExists, format!("{} exists already", self.tree.what(key)))
    }

    /// Fails if `key` exists.
    pub(super) async fn refuse_taken(&self, key: &Key) -> Result<()> {
        if self.tree.find(key).await?.is_empty() { Ok(()) } else { Err(self.exists(key)) }
    }

    /// The metadata of a new file of `key`, and its id. Makes its folders.
    pub(super) async fn plan(&self, key: &Key) -> Result<(String, serde_json::Value)> {
        let parent = self.tree.ensure(key.parent().as_ref()).await?;
        let id = self.files.new_id().await?;
        let metadata = metadata(&id, key.file_name(), Some(&parent), MIME_TYPE);
        Ok((id, metadata))
    }

    /// Stores small `bytes` as `key`: one attempt, but a lost answer is settled by asking.
    pub(super) async fn create(&self, key: &Key, bytes: &Bytes) -> Result<()> {
        let what = self.tree.what(key);
        let _one = self.only_one(key).await;
        self.refuse_taken(key).await?;
        let (id, metadata) = self.plan(key).await?;
        let made = match self.files.create(&what, &metadata, bytes).await {
            // It may have arrived all the same. Whoever cannot be asked either is asked later, by the next attempt.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::AlreadyExists) => {
                match self.files.find_id(&what, &id).await {
                    Ok(Some(file)) => file,
                    Ok(None) | Err(_) => return Err(error.with_kind(ErrorKind::Unavailable)),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The folder is gone since it was seen: the next attempt makes it again.
                self.tree.forget_folders();
                return Err(error.with_kind(ErrorKind::Unavailable));
            }
            other => other?,
        };
        self.settle(key, &made, &Sum::of(bytes)).await
    }

    /// Keeps the new file `made` of `key` if it holds what was summed and was the first, and removes it otherwise.
    pub(super) async fn settle(&self, key: &Key, made: &File, sum: &Sum) -> Result<()> {
        let what = self.tree.what(key);
        if let Err(error) = sum.check(made, &what) {
            if error.kind() == ErrorKind::Unavailable {
                return Err(error);
            }
            self.tree.forget_folders();
            return Err(self.discard(&what, &made.id, error).await);
        }
        let rivals = self.tree.find(key).await?;
        if rivals.iter().any(|rival| rival.id != made.id && rival.rank() < made.rank()) {
            return Err(self.discard(&what, &made.id, self.exists(key)).await);
        }
        self.tree.remember(key, made);
        Ok(())
    }

    /// Removes a file that must not stay; returns `error`, which says so if that fails.
    pub(super) async fn discard(&self, what: &str, id: &str, error: Error) -> Error {
        let removed = self.backoff.run(|_| self.files.remove(what, id, false)).await;
        if removed.is_ok() {
            return error;
        }
        let kind = error.kind();
        Error::new(kind, format!("{what} is no good, and could not be deleted"))
            .caused_by(error)
            .hint("delete that file in Google Drive")
    }
}
