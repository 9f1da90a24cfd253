//! S3 and what speaks like it.

use super::service::Service;
use super::{Backoff, Key, Object, Upload};
use crate::config::S3Config;
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use std::ops::Range;

/// S3 and what speaks like it.
pub struct S3 {
    name: String,
    config: S3Config,
    backoff: Backoff,
}

impl S3 {
    /// The place that `config` describes, known to people as `name`. Nothing is read, asked or sent yet.
    pub fn new(name: impl Into<String>, config: S3Config, backoff: Backoff) -> Self {
        Self { name: name.into(), config, backoff }
    }
}

#[async_trait]
impl Service for S3 {
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
