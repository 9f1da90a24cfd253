//! Google Drive, by its API v3.
//!
//! `credentials`, `grant` and `auth` say who we are; `api` sends requests and `failure` knows what refusals mean; `model` and
//! `files` are Drive's own terms; `tree` and `listing` make keys of folders and names; `publish`, `session` and `upload` make
//! files exist, whole and once; `consent` and `loopback` are the part of `pgkeep auth gdrive` that needs a person.

mod api;
mod auth;
mod consent;
mod credentials;
mod examine;
mod failure;
mod files;
mod grant;
mod listing;
mod loopback;
mod model;
mod publish;
mod session;
mod tree;
mod upload;

pub use consent::{App, DriveFolder, Endpoints, Permission, Waiting, check_place};

use super::service::{Finding, Service};
use super::{Backoff, Children, Key, Object, Pace, Upload};
use crate::config::DriveConfig;
use crate::error::{Error, ErrorKind, Result};
use api::{Api, GOOGLE, http_client};
use async_trait::async_trait;
use auth::Tokens;
use bytes::Bytes;
use chrono::TimeDelta;
use files::Files;
use publish::Publisher;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OnceCell;
use tree::Tree;
use upload::DriveUpload;

/// The largest file that is sent in one request, in bytes: Google's guide gives 5 MB.
const LARGEST_SMALL: usize = 4 << 20;

/// Google Drive.
pub struct Drive {
    name: String,
    config: DriveConfig,
    backoff: Backoff,
    publisher: OnceCell<Arc<Publisher>>,
}

impl Drive {
    /// The place that `config` describes, known to people as `name`. Nothing is read, asked or sent yet.
    pub fn new(name: impl Into<String>, config: DriveConfig, backoff: Backoff) -> Self {
        Self { name: name.into(), config, backoff, publisher: OnceCell::new() }
    }

    /// Reads the credentials, the first time; nothing is sent yet.
    async fn publisher(&self) -> Result<&Arc<Publisher>> {
        self.publisher.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Arc<Publisher>> {
        let config = self.config.clone();
        // A file is read, or a command run.
        let loaded = tokio::task::spawn_blocking(move || credentials::load(&config)).await;
        let (credentials, file) = loaded.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Failed, "reading the credentials panicked").caused_by(panic))
        })?;
        let patience = self.config.patience;
        let base = self.config.endpoint.clone().unwrap_or_else(|| GOOGLE.to_owned());
        let client = http_client(patience, self.config.endpoint.is_some())?;
        let tokens = Tokens::new(client.clone(), patience.timeout, credentials, file);
        let files = Arc::new(Files::new(Api::new(client, base, tokens, patience.timeout)));
        let (trash, folder_id) = (self.config.trash, self.config.folder_id.clone());
        let tree = Tree::new(Arc::clone(&files), self.name.clone(), folder_id, trash);
        Ok(Arc::new(Publisher::new(tree, files, self.backoff.clone())))
    }
}

#[async_trait]
impl Service for Drive {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        examine::check_writable(self.publisher().await?).await
    }

    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let publisher = self.publisher().await?;
        if bytes.len() > LARGEST_SMALL {
            let mut upload = self.upload(key, bytes.len() as u64).await?;
            if let Err(error) = upload.write(bytes).await {
                // What it could not clean up is never seen, and Drive forgets it after a week.
                drop(upload.abort().await);
                return Err(error);
            }
            return upload.complete().await.map(|_| ());
        }
        publisher.create(key, &bytes).await
    }

    async fn upload(&self, key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        let publisher = Arc::clone(self.publisher().await?);
        Ok(Box::new(DriveUpload::start(publisher, key.clone(), self.config.chunk_size).await?))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let tree = &self.publisher().await?.tree;
        let what = tree.what(key);
        // Large files are read in many pieces: they are not looked for each time.
        let mut known = tree.recall(key);
        loop {
            let remembered = known.is_some();
            let (id, bytes) = if let Some(known) = known.take() {
                (known.id, known.bytes)
            } else {
                let file = first(tree, key).await?;
                let bytes = tree.object(key, &file)?.bytes;
                (file.id, bytes)
            };
            if range.end > bytes {
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("{what} holds {bytes} bytes; bytes {} to {} were asked for", range.start, range.end),
                ));
            }
            if range.start >= range.end {
                return Ok(Bytes::new());
            }
            match tree.files.read(&what, &id, &range).await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tree.forget(key);
                    if !remembered {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        let tree = &self.publisher().await?.tree;
        tree.object(key, &first(tree, key).await?)
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.publisher().await?.tree.list(prefix).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.publisher().await?.tree.list_one(folder).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.publisher().await?.tree.delete(key).await
    }

    fn pace(&self) -> Pace {
        Pace { bytes: 8 << 20, at_once: 2 }
    }

    /// Searches lag behind, by minutes at times.
    fn settling(&self) -> TimeDelta {
        TimeDelta::hours(1)
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        examine::examine(self.publisher().await?).await
    }
}

/// The file of `key` that counts.
async fn first(tree: &Tree, key: &Key) -> Result<model::File> {
    let first = tree.find(key).await?.into_iter().next();
    first.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is not there", tree.what(key))))
}
