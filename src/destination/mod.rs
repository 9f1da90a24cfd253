//! Where backups are stored: the contract that every destination keeps, whatever lies behind it.
//!
//! # The contract
//!
//! - **Keys are write-once.** [`Destination::put`] and [`Upload::complete`] create; if the key exists they fail with
//!   `AlreadyExists` and leave what was there.
//! - **No partial object is ever visible** to [`Destination::list`], [`Destination::head`] or [`Destination::read`]:
//!   an upload appears under its key in one moment, whole and durable, when `complete` returns.
//! - **`complete` has checked** that the destination holds as many bytes as were written, with the digest that was
//!   computed on the way, by asking the destination, not by trusting a success code.
//! - **`abort` leaves nothing**, and dropping an [`Upload`] leaves at most what [`Destination::sweep`] removes.
//! - **Listings are complete or an error.** A listing that breaks off half-way is an error, never a short answer.
//! - **Deleting what is not there succeeds.**
//! - **Passing failures are outlived**: what may be tried again was, within the destination's own patience, before an error
//!   says so. A lost answer is settled by asking.
//! - Errors carry the meaning ([`crate::error::ErrorKind`]): `NotFound`, `AlreadyExists`, `PermissionDenied`, `NoSpace`, `Unavailable`
//!   (the service or the way to it failed), anything else permanent.
//!
//! Some services cannot create under a condition. There, write-once is as good as a look before: backups have names of
//! their own, so only a stranger could come between. `pgkeep doctor` tells.
//!
//! One shared suite (`tests/contract`) holds every implementation and wrapper to this.
//!
//! # How it is made
//!
//! [`Folder`] keeps the contract with the system's own means. What speaks to a service only implements [`Service`], the
//! plain operations; [`Remote`] makes a destination of it, and [`Retrying`] outlives its passing failures.

mod backoff;
mod faulty;
mod finding;
mod flaky;
mod folder;
pub mod gdrive;
mod key;
mod memory;
mod mirrored;
mod pieces;
mod rclone;
mod remains;
mod remote;
mod retrying;
mod s3;
mod service;

pub use backoff::Backoff;
pub use faulty::{Effect, Fault, Faulty, Operation};
pub(crate) use finding::scaled;
pub use finding::size_in_words;
pub use flaky::Flaky;
pub use folder::Folder;
pub use gdrive::Drive;
pub use key::{Key, decode_segment};
pub use memory::Memory;
pub use mirrored::{Admission, Mirrored};
pub use pieces::Pieces;
pub use rclone::Rclone;
pub use remains::{MANIFEST_NAME, is_receipt_of};
pub(crate) use remains::{RECEIPT_FOLDERS, change_name, changed_by, index_name, is_index, is_old};
pub use remote::Remote;
pub use retrying::Retrying;
pub use s3::S3;
pub use service::{Finding, Service, Unfinished, Verdict};

use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::ops::Range;

/// An object at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last written, by the destination's clock.
    pub modified: DateTime<Utc>,
}

/// What lies directly in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Children {
    /// The folders in it, in order: all that hold anything, and perhaps some that hold nothing, or only what is hidden.
    pub folders: Vec<Key>,
    /// The objects in it, in order.
    pub objects: Vec<Object>,
}

impl Children {
    /// The children of `folder` among `objects`, which are everything below it.
    pub fn of(folder: Option<&Key>, objects: Vec<Object>) -> Self {
        let depth = folder.map_or(0, |folder| folder.segments().count());
        let mut children = Self::default();
        for object in objects {
            let mut segments = object.key.as_str().match_indices('/').map(|(at, _)| at);
            match segments.nth(depth).and_then(|at| object.key.as_str().get(..at)?.parse::<Key>().ok()) {
                Some(below) if children.folders.last() == Some(&below) => {}
                Some(below) => children.folders.push(below),
                None => children.objects.push(object),
            }
        }
        children.folders.sort();
        children.folders.dedup();
        children
    }
}

/// Size and digest of bytes that were stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// How many bytes.
    pub bytes: u64,
    /// Their SHA-256, lowercase hexadecimal.
    pub sha256: String,
}

/// How a destination is best read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many bytes to ask for at once, at the least.
    pub bytes: u64,
    /// How many such pieces to ask for at the same time, at the most.
    pub at_once: usize,
}

impl Default for Pace {
    /// What suits a disk.
    fn default() -> Self {
        Self { bytes: 4 << 20, at_once: 1 }
    }
}

/// Something that an earlier, interrupted run left and [`Destination::sweep`] removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// What was removed, as the destination names it.
    pub name: String,
    /// How many bytes it held, where that is known.
    pub bytes: u64,
}

/// A place that stores backups. See the module's documentation for what every implementation promises.
#[async_trait]
pub trait Destination: Send + Sync {
    /// The name by which people know it: as configured, or the folder or URL that was given. Holds no secret.
    fn name(&self) -> &str;

    /// Fails unless the destination can be written to, before any dump is begun. Creates what may be created (the root
    /// folder), and removes again whatever it writes to find out.
    async fn check_writable(&self) -> Result<()>;

    /// Marks `dir` as being written by this process until the claim is dropped, so that no [`Destination::sweep`],
    /// here or elsewhere, takes it for remains. Fails if `dir` exists.
    async fn claim(&self, dir: &Key) -> Result<Box<dyn Claim>>;

    /// Stores small `bytes` under the new `key`, durably.
    async fn put(&self, key: &Key, bytes: Bytes) -> Result<Stored>;

    /// Begins an upload of unknown length to the new `key`; `expected_bytes` is a guess (0 for none) for planning parts.
    async fn upload(&self, key: &Key, expected_bytes: u64) -> Result<Box<dyn Upload>>;

    /// The bytes of `key` in `range`. A range that reaches beyond the end is an error of kind `Damaged`: callers know
    /// the size from the manifest, and a short object is a damaged one.
    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes>;

    /// Size and age of `key`, or `NotFound`.
    async fn head(&self, key: &Key) -> Result<Object>;

    /// Every object whose key lies below the folder `prefix` (`None`: the whole destination), in key order.
    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>>;

    /// What lies directly in the folder `folder` (`None`: the root): names only, without what is below its folders. Complete
    /// or an error, as [`Destination::list`]. Where the service can tell this without naming everything below, it costs a
    /// request for about a thousand names.
    async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        Ok(Children::of(folder, self.list(folder).await?))
    }

    /// Until when the service refuses to delete `key` for good, without a special right; `None` where it does not refuse, or
    /// does not tell. [`DateTime::MAX_UTC`] stands for a hold without an end. `NotFound` where there is no such object.
    async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let _ = key;
        Ok(None)
    }

    /// Deletes `key`, and empty folders above it up to the root where the destination has folders.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Removes what interrupted runs left below `prefix`: temp files, unfinished uploads, and backup folders (at
    /// `prefix/DATABASE/ID/`) without a manifest. Only what is certainly dead: claimed by nobody on this machine, or
    /// older than 24 hours at `now` (7 days where a
    /// writer on another machine left its mark on a service). Files that pgkeep did not write are never touched.
    async fn sweep(&self, prefix: &Key, now: DateTime<Utc>) -> Result<Vec<Swept>>;

    /// How large files are best read from here. What is asked for stays in memory until it is used.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// For how long listings may leave out what was just stored, or name what was just deleted.
    fn settling(&self) -> TimeDelta {
        TimeDelta::zero()
    }

    /// What can be found out about the place besides what its operations show: what the service supports, free space,
    /// settings that would lose backups. Leaves nothing.
    async fn examine(&self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }
}

/// Held while a backup's folder is being written; dropping it, or the death of the process, releases it.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Ends the claim and removes its mark.
    async fn release(self: Box<Self>) -> Result<()>;
}

/// An upload that is not visible yet.
#[async_trait]
pub trait Upload: Send {
    /// Appends `bytes`; returns when the destination has taken responsibility for them or has room to hold them, so
    /// that a slow destination slows its writer.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes everything written durable and visible under the key, checked as the contract says.
    async fn complete(self: Box<Self>) -> Result<Stored>;

    /// Gives up and removes every trace.
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// Reads a whole object of `object_bytes` bytes that is known to be small, refusing more than `limit`.
pub async fn read_small(destination: &dyn Destination, key: &Key, limit: u64) -> Result<Bytes> {
    let object = destination.head(key).await?;
    if object.bytes > limit {
        return Err(crate::error::Error::new(
            crate::error::ErrorKind::Damaged,
            format!("{key} holds {} bytes; no such file of pgkeep's is larger than {limit}", object.bytes),
        ));
    }
    destination.read(key, 0..object.bytes).await
}
