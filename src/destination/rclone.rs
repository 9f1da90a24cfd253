//! Whatever an installed rclone reaches.

use super::service::Service;
use super::{Backoff, Key, Object, Upload};
use crate::config::RcloneConfig;
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// Whatever an installed rclone reaches.
pub struct Rclone {
    name: String,
    config: RcloneConfig,
    backoff: Backoff,
}

impl Rclone {
    /// The place that `config` describes, known to people as `name`. Nothing is read, asked or sent yet.
    pub fn new(name: impl Into<String>, config: RcloneConfig, backoff: Backoff) -> Self {
        Self { name: name.into(), config, backoff }
    }
}

#[async_trait]
impl Service for Rclone {
    fn name(&self) -> &str {
        &self.name
    }

    async fn check_writable(&self) -> Result<()> {
        todo!("{:?} {:?}", self.config, self.backoff)
    }

    async fn create(&self, _key: &Key, _bytes: Bytes) -> Result<()> {
        todo!()
    }

    async fn upload(&self, _key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        todo!()
    }

    async fn read(&self, _key: &Key, _range: Range<u64>) -> Result<Bytes> {
        todo!()
    }

    async fn head(&self, _key: &Key) -> Result<Object> {
        todo!()
    }

    async fn list(&self, _prefix: Option<&Key>) -> Result<Vec<Object>> {
        todo!()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        todo!()
    }
}
