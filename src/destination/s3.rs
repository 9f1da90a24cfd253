//! S3 and what speaks like it.
//!
//! Every request is one attempt with a limit on its silence (`pulse`); what a failure means is decided in one place
//! (`errors`). An object is believed to be stored when its size and a checksum, digest or second reading say so (`evidence`).

mod client;
mod errors;
mod evidence;
mod examine;
mod lifecycle;
mod multipart;
mod objects;
mod plan;
mod pulse;
mod upload;

use super::service::{Finding, Service, Unfinished};
use super::{Backoff, Children, Key, Object, Pace, Upload};
use crate::config::S3Config;
use crate::error::Result;
use crate::id::random_hex;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use client::Connection;
use errors::Trouble;
use std::ops::Range;
use std::sync::Arc;

/// S3 and what speaks like it.
pub struct S3 {
    place: Arc<Place>,
}

impl S3 {
    /// The place that `config` describes, known to people as `name`. Nothing is read, asked or sent yet.
    pub fn new(name: impl Into<String>, config: S3Config, backoff: Backoff) -> Self {
        Self { place: Arc::new(Place { name: name.into(), config, backoff, connection: Connection::new() }) }
    }
}

/// A bucket's folder and the way to it, shared by its uploads.
struct Place {
    name: String,
    config: S3Config,
    backoff: Backoff,
    connection: Connection,
}

impl Place {
    /// The name of `key` in the bucket.
    fn name_of(&self, key: &Key) -> String {
        self.name_below(key.as_str())
    }

    fn name_below(&self, rest: &str) -> String {
        if self.config.prefix.is_empty() { rest.to_owned() } else { format!("{}/{rest}", self.config.prefix) }
    }

    /// What the names below the folder `prefix` begin with.
    fn beginning(&self, prefix: Option<&Key>) -> String {
        prefix.map_or_else(|| self.name_below(""), |prefix| format!("{}/", self.name_of(prefix)))
    }

    /// The key of the object `name`, if it has one: pgkeep's names are plainer than S3's.
    fn key_of(&self, name: &str) -> Option<Key> {
        name.strip_prefix(&self.beginning(None))?.parse().ok()
    }

    /// The hidden name `.pgkeep-WHAT-RANDOM`.
    fn hidden_name(&self, what: &str) -> Result<String> {
        Ok(self.name_below(&format!(".pgkeep-{what}-{}", random_hex(8)?)))
    }

    /// Makes one attempt of the request that `make` builds.
    async fn ask<T, E, F>(&self, make: impl FnOnce(Client) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let made = self.connection.get(&self.config).await.map_err(|error| Trouble::own(&error))?;
        let limit = self.config.patience.timeout;
        // Boxed: the SDK's futures are large, and this one is part of all others here.
        let Ok(answer) = pulse::watch(limit, Box::pin(make(made.client))).await else {
            return Err(Trouble::stalled(limit.as_secs()));
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let trouble = Trouble::new(&error, &made.secrets);
                if trouble.keys_expired() && client::keys_may_change(&self.config) {
                    self.connection.forget().await;
                    return Err(trouble.passing());
                }
                Err(trouble)
            }
        }
    }
}

#[async_trait]
impl Service for S3 {
    fn name(&self) -> &str {
        &self.place.name
    }

    async fn check_writable(&self) -> Result<()> {
        self.place.check_writable().await
    }

    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        self.place.create(key, bytes).await
    }

    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>> {
        Ok(Box::new(upload::S3Upload::new(&self.place, key, expected_bytes)?))
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.place.read(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        self.place.head(key).await
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        self.place.list(prefix).await
    }

    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        self.place.children(folder).await
    }

    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        self.place.locked_until(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.place.delete(key).await
    }

    async fn unfinished(&self, prefix: &Key) -> Result<Vec<Unfinished>> {
        self.place.unfinished(prefix).await
    }

    async fn abandon(&self, unfinished: &Unfinished) -> Result<()> {
        self.place.abort(&unfinished.key, &unfinished.upload_id).await
    }

    /// Requests take long to be answered and then come quickly.
    fn pace(&self) -> Pace {
        Pace { bytes: 8 << 20, at_once: 4 }
    }

    async fn examine(&self) -> Result<Vec<Finding>> {
        self.place.examine().await
    }
}
