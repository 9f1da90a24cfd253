//! Whatever an installed rclone reaches: one process of rclone for each operation.
//!
//! rclone knows some seventy services; what a remote can do is asked once (`rclone backend features`). Uploads stream into
//! a hidden name and are renamed when the remote holds what was sent ([`upload`]). rclone cannot create under a condition,
//! so write-once is a look before.

mod answers;
mod digests;
mod environment;
mod examine;
mod failure;
mod place;
mod program;
mod upload;

use self::place::Place;
use self::upload::RcloneUpload;
use super::remains::temp_name;
use super::service::{Finding, Service};
use super::{Backoff, Children, Key, Object, Pace, Upload};
use crate::config::RcloneConfig;
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Whatever an installed rclone reaches.
pub struct Rclone {
    name: String,
    config: RcloneConfig,
    backoff: Backoff,
    place: OnceCell<Arc<Place>>,
}

impl Rclone {
    /// The place that `config` describes, known to people as `name`. Nothing is read, asked or sent yet.
    pub fn new(name: impl Into<String>, config: RcloneConfig, backoff: Backoff) -> Self {
        Self { name: name.into(), config, backoff, place: OnceCell::new() }
    }

    /// The place, found when it is first needed; what fails is tried again by the next who needs it.
    async fn place(&self) -> Result<&Arc<Place>> {
        self.place.get_or_try_init(async || Place::open(&self.name, &self.config).await.map(Arc::new)).await
    }

    async fn begin(&self, key: &Key, expected_bytes: u64) -> Result<RcloneUpload> {
        let place = Arc::clone(self.place().await?);
        RcloneUpload::start(place, self.backoff.clone(), key, expected_bytes).await
    }
}

#[async_trait]
impl Service for Rclone {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        let place = self.place().await?;
        if !place.root_exists().await? {
            place.make_root().await?;
        }
        let probe: Key = temp_name("probe")?.parse()?;
        self.create(&probe, Bytes::from_static(b"pgkeep looks whether it can write here\n")).await?;
        place.delete(&probe).await
    }

    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let mut upload = self.begin(key, bytes.len() as u64).await?;
        if let Err(error) = upload.write(bytes).await {
            // The first error is the one to tell.
            let _ = Box::new(upload).abort().await;
            return Err(error);
        }
        upload.complete_once().await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.begin(key, expected_bytes).await?))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.place().await?.read(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.place().await?.head(key).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.place().await?.list(prefix).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.place().await?.children(folder).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.place().await?.delete(key).await
    }

    /// Each read is a process and a connection of its own, so it should be worth it.
    fn pace(&self) -> Pace {
        Pace { bytes: 32 << 20, at_once: 2 }
    }

    /// Nobody knows what is behind rclone: some of its services' listings lag.
    fn settling(&self) -> TimeDelta {
        TimeDelta::hours(1)
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        examine::examine(self.place().await?).await
    }
}
