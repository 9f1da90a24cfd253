//! What a storage service has to do so that [`super::Remote`] can make a destination of it.
//!
//! A service stores objects and knows nothing of backups. It has no locks that die with their holder, so claims are marks
//! (`remote/claim.rs`), and what interrupted runs left is found by their marks and by age (`remote/sweep.rs`).

use super::{Children, Key, Object, Pace, Upload};
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::ops::Range;

/// An upload that was begun and neither completed nor aborted, as the service tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that it would have.
    pub key: Key,
    /// What the service calls the upload.
    pub upload_id: String,
    /// When it was begun, by the service's clock.
    pub started: DateTime<Utc>,
}

/// How good something is that was found out about a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; nothing needs to be done.
    Note,
    /// Backups work, but something should be mended.
    Warning,
    /// Backups will not work, or cannot be trusted.
    Bad,
}

/// Something that was found out about a destination, for `pgkeep doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a few words: `create-only writes`, `versioning`, `free space`.
    pub what: String,
    /// How good it is.
    pub verdict: Verdict,
    /// What was found, in a sentence without its full stop.
    pub found: String,
    /// What to do about it; there is one for every [`Verdict::Warning`] and [`Verdict::Bad`].
    pub fix: Option<String>,
}

/// A storage service.
///
/// Hidden keys, which have a segment that begins with a dot, are stored and listed as any other: [`super::Remote`] hides
/// them. Each method is one attempt: what may be tried again fails with `Unavailable`, and [`super::Retrying`] does so.
/// Requests need a limit for how long nothing may come, so that none waits for ever. Errors hold no secrets: no keys, no
/// tokens, no signed or session URLs.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// As [`super::Destination::name`].
    fn name(&self) -> &str;

    /// As [`super::Destination::check_writable`].
    async fn check_writable(&self) -> Result<()>;

    /// Stores small `bytes` under the new `key`; fails with `AlreadyExists` where the service can tell, or where a look
    /// before told. The service has checked the bytes' checksum, or it is asked for it afterwards.
    async fn create(&self, key: &Key, bytes: Bytes) -> Result<()>;

    /// As [`super::Destination::upload`]. The upload itself tries its parts again where that helps; `complete` settles
    /// what a lost answer leaves open by asking.
    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>>;

    /// As [`super::Destination::read`].
    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes>;

    /// As [`super::Destination::head`].
    async fn head(&self, key: &Key) -> Result<Object>;

    /// As [`super::Destination::list`], in any order; objects whose names no [`Key`] can have are left out.
    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>>;

    /// As [`super::Destination::children`], hidden ones too, in any order.
    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        Ok(Children::of(folder, self.list(folder).await?))
    }

    /// As [`super::Destination::locked_until`].
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let _ = key;
        Ok(None)
    }

    /// As [`super::Destination::delete`].
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Uploads below the folder `prefix` that were begun and never ended. Complete or an error; none where the service
    /// does not keep or does not tell them.
    async fn unfinished(&self, prefix: &Key) -> Result<Vec<Unfinished>> {
        let _ = prefix;
        Ok(Vec::new())
    }

    /// Gives up an upload of [`Service::unfinished`] and frees what it holds. That it is gone already is success.
    async fn abandon(&self, unfinished: &Unfinished) -> Result<()> {
        let _ = unfinished;
        Ok(())
    }

    /// As [`super::Destination::pace`].
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// As [`super::Destination::settling`].
    fn settling(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// As [`super::Destination::examine`].
    async fn examine(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }
}
