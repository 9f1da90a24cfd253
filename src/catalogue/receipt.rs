//! Receipts: what verifications and drills found, kept beside the backup they concern. Those of drills are in `drill`.

use super::Change;
use crate::destination::{Destination, Key, Object, RECEIPT_FOLDERS, is_receipt_of};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format of receipts that this program writes and reads.
pub const RECEIPT_FORMAT: u32 = 1;

/// The largest receipt that is read, in bytes.
pub const LARGEST_RECEIPT: u64 = 16 << 20;

/// How many differences or problems a receipt names; a drill of the wrong backup would find millions.
pub(super) const MOST_FINDINGS: usize = 1000;

/// How many characters of each text a receipt keeps.
const LONGEST_TEXT: usize = 500;

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyResult {
    /// Every byte is as the manifest says.
    Intact,
    /// Something is not.
    Damaged,
}

/// A verification of a backup at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReceipt {
    /// [`RECEIPT_FORMAT`].
    pub format: u32,
    /// The backup that was read.
    pub backup: BackupId,
    /// The destination's name.
    pub destination: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What was found.
    pub result: VerifyResult,
    /// What is wrong, in whole sentences; at most 1000 are kept.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// That a backup was pinned or unpinned after it was taken. Of all copies of a backup the newest receipt counts, and goes
/// before what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinReceipt {
    /// [`RECEIPT_FORMAT`].
    pub format: u32,
    /// The backup.
    pub backup: BackupId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it is pinned from then on. If not, the manifest's `keep_until` does not count any more either.
    pub pinned: bool,
    /// The program that wrote it, e.g. `pgkeep 0.1.0`.
    pub written_by: String,
    /// The computer's name.
    pub host: String,
}

/// Stores `receipt` as `pins/YYYYMMDDTHHMMSSZ.json` below the backup's folder `dir`.
pub async fn write_pin_receipt(destination: &dyn Destination, dir: &Key, receipt: &PinReceipt) -> Result<Key> {
    store(destination, &dir.join("pins"), receipt.at, receipt).await
}

/// The newest pin receipt of the backup in `dir`, asked of the destination now.
pub async fn newest_pin(destination: &dyn Destination, dir: &Key, backup: &BackupId) -> Result<Option<PinReceipt>> {
    receipts_of(destination, dir, "pins", backup).await?.next().await
}

/// The receipts of one folder, the newest last.
pub(super) struct Receipts<'a> {
    destination: &'a dyn Destination,
    backup: &'a BackupId,
    objects: Vec<Object>,
}

pub(super) async fn receipts_of<'a>(
    destination: &'a dyn Destination,
    dir: &Key,
    folder: &str,
    backup: &'a BackupId,
) -> Result<Receipts<'a>> {
    let mut objects = destination.list(Some(&dir.join(folder))).await?;
    objects.retain(|object| is_receipt_of(dir, &object.key).is_some());
    objects.sort_by(|a, b| is_receipt_of(dir, &a.key).cmp(&is_receipt_of(dir, &b.key)));
    Ok(Receipts { destination, backup, objects })
}

impl Receipts<'_> {
    /// The newest one that was not read yet.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(object) = self.objects.pop() else { return Ok(None) };
        fetch_receipt(self.destination, &object, self.backup).await.map(Some)
    }
}

/// Reads the receipt `object` of `backup`.
pub(super) async fn fetch_receipt<T: DeserializeOwned>(
    destination: &dyn Destination,
    object: &Object,
    backup: &BackupId,
) -> Result<T> {
    if object.bytes > LARGEST_RECEIPT {
        let message = format!("{} holds {} bytes; pgkeep writes at most {LARGEST_RECEIPT}", object.key, object.bytes);
        return Err(Error::new(ErrorKind::Damaged, message));
    }
    let json = destination.read(&object.key, 0..object.bytes).await?;
    read_receipt(&json, &object.key, backup)
}

/// Stores `receipt` below `verified/` in the backup's folder `dir`, and removes the older ones there: verifying every
/// night shall not leave a file a night. Older ones that cannot be removed are left.
pub async fn write_verify_receipt(destination: &dyn Destination, dir: &Key, receipt: &VerifyReceipt) -> Result<Key> {
    let mut kept = receipt.clone();
    kept.problems.truncate(MOST_FINDINGS);
    kept.problems.iter_mut().for_each(shorten);
    let folder = dir.join("verified");
    let written = store(destination, &folder, kept.at, &kept).await?;
    for object in destination.list(Some(&folder)).await.unwrap_or_default() {
        let order = is_receipt_of(dir, &object.key);
        if order.is_some() && order < is_receipt_of(dir, &written) {
            let _ = destination.delete(&object.key).await;
        }
    }
    Ok(written)
}

pub(super) fn shorten(text: &mut String) {
    if let Some((cut, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(cut);
        text.push('…');
    }
}

/// Stores a receipt in `folder`, which is `JOB/DATABASE/ID/KIND`, and announces it, as the backup's indexes must not be
/// believed then.
pub(super) async fn store(
    destination: &dyn Destination,
    folder: &Key,
    at: DateTime<Utc>,
    receipt: &impl Serialize,
) -> Result<Key> {
    let dir =
        folder.parent().ok_or_else(|| Error::new(ErrorKind::Refused, format!("{folder} is no folder of receipts")))?;
    let mut json = serde_json::to_vec_pretty(receipt)
        .map_err(|source| Error::new(ErrorKind::Failed, "cannot write a receipt as JSON").caused_by(source))?;
    json.push(b'\n');
    let json = Bytes::from(json);
    let stamp = at.format("%Y%m%dT%H%M%SZ");
    let mut number = 1;
    let change = Change::begin(destination, &dir).await?;
    loop {
        let name = if number == 1 { format!("{stamp}.json") } else { format!("{stamp}-{number}.json") };
        let key = folder.join(&name);
        match destination.put(&key, json.clone()).await {
            // Several in one second: rare, and never many.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < 100 => number += 1,
            other => {
                other?;
                change.done();
                return Ok(key);
            }
        }
    }
}

/// The newest receipt of each folder among `objects`, the objects of the backup in `dir`, with its folder.
pub(super) fn receipts_to_read<'a>(dir: &Key, objects: &'a [Object]) -> Vec<(&'static str, &'a Object)> {
    let newest = |folder: &'static str| {
        let of_folder = objects.iter().filter_map(|object| {
            let order = is_receipt_of(dir, &object.key)?;
            (order.0 == folder).then_some((order, object))
        });
        of_folder.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, object)| (folder, object))
    };
    RECEIPT_FOLDERS.into_iter().filter_map(newest).collect()
}

/// Reads a receipt of `backup` that was found at `key`, refusing what is damaged or from a newer pgkeep.
pub(super) fn read_receipt<T: DeserializeOwned>(json: &[u8], key: &Key, backup: &BackupId) -> Result<T> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        backup: BackupId,
    }
    let damaged = |source: serde_json::Error| {
        Error::new(ErrorKind::Damaged, format!("the receipt {key} cannot be used: {source}"))
            .hint("drill, verify or pin the backup again: the newest receipt counts")
    };
    let head: Head = serde_json::from_slice(json).map_err(damaged)?;
    if head.format != RECEIPT_FORMAT {
        return Err(Error::new(
            ErrorKind::Version,
            format!("the receipt {key} has format {}; this pgkeep reads {RECEIPT_FORMAT}", head.format),
        )
        .hint("update pgkeep"));
    }
    if head.backup != *backup {
        return Err(Error::new(ErrorKind::Damaged, format!("the receipt {key} is of another backup, {}", head.backup)));
    }
    serde_json::from_slice(json).map_err(damaged)
}
