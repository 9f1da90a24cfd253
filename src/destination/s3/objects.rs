//! Whole objects: storing small ones, reading, looking, listing, deleting.

use super::evidence::{Sent, crc, crc_text, md5_of, md5_text};
use super::{Place, Trouble};
use crate::config::{S3Encryption, S3Lock};
use crate::destination::remains::{is_hidden, is_passing};
use crate::destination::{Children, Key, Object, Stored};
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use aws_sdk_s3::primitives::{ByteStream, DateTime as S3Time};
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass};
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The name of the metadata that tells which upload made an object.
pub(super) const TOKEN: &str = "pgkeep-upload";

/// How new objects are stored, as S3 takes it.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    pub(super) storage_class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key: Option<String>,
    pub(super) lock: Option<ObjectLockMode>,
    pub(super) retain_until: Option<S3Time>,
    pub(super) tags: Option<String>,
}

/// Adds the attributes to a request that makes an object: two types of the SDK with the same methods.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr) => {{
        let attributes: $crate::destination::s3::objects::Attributes = $attributes;
        $request
            .set_storage_class(attributes.storage_class)
            .set_server_side_encryption(attributes.encryption)
            .set_ssekms_key_id(attributes.kms_key)
            .set_object_lock_mode(attributes.lock)
            .set_object_lock_retain_until_date(attributes.retain_until)
            .set_tagging(attributes.tags)
    }};
}
pub(super) use with_attributes;

impl Place {
    /// The attributes for `key`. Hidden objects, indexes of the catalogue and marks of changes are pgkeep's own and soon
    /// deleted: they are encrypted as all are, but get no retention, no class with a minimal age, no tags.
    pub(super) fn attributes(&self, key: &Key) -> Attributes {
        let (encryption, kms_key) = match &self.config.encryption {
            None => (None, None),
            Some(S3Encryption::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(S3Encryption::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        };
        let plain = Attributes { encryption, kms_key, ..Attributes::default() };
        if is_hidden(key) || is_passing(key) {
            return plain;
        }
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tags: Vec<String> =
            self.config.tags.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        Attributes {
            storage_class: self.config.storage_class.as_deref().map(StorageClass::from),
            lock: self.config.object_lock.map(lock_mode),
            retain_until: self.config.object_lock.map(|lock| {
                let until = std::time::SystemTime::now().checked_add(lock.retain);
                until.map_or_else(|| S3Time::from_secs(253_402_300_799), S3Time::from)
            }),
            tags: (!tags.is_empty()).then(|| tags.join("&")),
            ..plain
        }
    }

    /// See [`crate::destination::Service::create`].
    pub(super) async fn create(&self, key: &Key, bytes: Bytes) -> Result<()> {
        let mut sum = crc();
        sum.update(&bytes);
        let sent = Sent {
            stored: Stored { bytes: bytes.len() as u64, sha256: hex::encode(Sha256::digest(&bytes)) },
            crc: crc_text(sum.finalize()),
            etag: Some(hex::encode(md5_of(&bytes))),
            token: random_hex(16)?,
        };
        let etag = self.put(key, bytes, &sent).await?;
        self.prove(key, &sent, etag.as_deref()).await
    }

    /// One attempt to store an object in one request; gives the ETag of the answer.
    pub(super) async fn put(&self, key: &Key, bytes: Bytes, sent: &Sent) -> Result<Option<String>> {
        let doing = || format!("cannot store {key} at {}", self.name);
        if self.config.create_only {
            match self.put_if(key, bytes.clone(), sent, true).await {
                // It may be refused because of nothing: services on a file system take an empty folder of that name for an
                // object. Then it is as for services without conditions.
                Err(trouble) if trouble.kind == ErrorKind::AlreadyExists => {}
                other => return other.map_err(|trouble| trouble.during(doing())),
            }
        }
        self.refuse_existing(key).await?;
        self.put_if(key, bytes, sent, false).await.map_err(|trouble| trouble.during(doing()))
    }

    async fn put_if(&self, key: &Key, bytes: Bytes, sent: &Sent, new: bool) -> Result<Option<String>, Trouble> {
        // A request has one digest: a service that wants one for object lock takes either.
        let (crc, md5) = if self.wants_checksums() {
            (Some(sent.crc.clone()), None)
        } else {
            (None, Some(md5_text(md5_of(&bytes))))
        };
        let put = self.ask(|client| {
            let request = client.put_object().bucket(&self.config.bucket).key(self.name_of(key));
            with_attributes!(request, self.attributes(key))
                .metadata(TOKEN, &sent.token)
                .set_if_none_match(new.then(|| "*".to_owned()))
                .set_checksum_crc64_nvme(crc)
                .set_content_md5(md5)
                .body(ByteStream::from(bytes))
                .send()
        });
        Ok(put.await?.e_tag)
    }

    /// The look before, for services that do not create under a condition.
    pub(super) async fn refuse_existing(&self, key: &Key) -> Result<()> {
        match self.head(key).await {
            Ok(_) => Err(self.exists(key)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::destination::Service::read`].
    pub(super) async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end.saturating_sub(range.start);
        // S3 cannot be asked for nothing, and not every service for what no object can hold.
        if wanted == 0 || i64::try_from(range.end).is_err() {
            let bytes = self.head(key).await?.bytes;
            if range.end > bytes || wanted > 0 {
                return Err(self.too_short(key, &range));
            }
            return Ok(Bytes::new());
        }
        let doing = || format!("cannot read {key} from {}", self.name);
        let got = self.ask(|client| {
            let request = client.get_object().bucket(&self.config.bucket).key(self.name_of(key));
            request.range(format!("bytes={}-{}", range.start, range.end - 1)).send()
        });
        let mut answer = match got.await {
            Ok(answer) => answer,
            Err(trouble) if trouble.status == 416 || trouble.kind == ErrorKind::Damaged => {
                return Err(self.too_short(key, &range));
            }
            Err(trouble) => return Err(trouble.during(doing())),
        };
        let begins = answer.content_range().is_some_and(|text| text.starts_with(&format!("bytes {}-", range.start)));
        if range.start > 0 && !begins {
            return Err(Error::new(ErrorKind::Failed, format!("{} does not read parts of files: {key}", self.name)));
        }
        if answer.content_length().and_then(|bytes| u64::try_from(bytes).ok()).is_some_and(|bytes| bytes < wanted) {
            return Err(self.too_short(key, &range));
        }
        let mut read = BytesMut::with_capacity(wanted as usize);
        let limit = self.config.patience.timeout;
        while (read.len() as u64) < wanted {
            let next = tokio::time::timeout(limit, answer.body.next()).await;
            let next = next.map_err(|_| Trouble::stalled(limit.as_secs()).during(doing()))?;
            match next {
                Some(Ok(piece)) => read.extend_from_slice(&piece),
                Some(Err(source)) => {
                    let broken = Trouble::plain(ErrorKind::Unavailable, format!("the connection broke: {source}"));
                    return Err(broken.during(doing()));
                }
                None => {
                    let text = format!("the answer ended after {} of {wanted} bytes", read.len());
                    return Err(Trouble::plain(ErrorKind::Unavailable, text).during(doing()));
                }
            }
        }
        // A service that gives the whole for a part from its beginning.
        read.truncate(wanted as usize);
        Ok(read.freeze())
    }

    fn too_short(&self, key: &Key, range: &Range<u64>) -> Error {
        let Range { start, end } = range;
        Error::new(
            ErrorKind::Damaged,
            format!("{key} at {} is too short to hold the bytes {start} to {end}", self.name),
        )
    }

    /// See [`crate::destination::Service::head`].
    pub(super) async fn head(&self, key: &Key) -> Result<Object> {
        let head = self
            .ask(|client| client.head_object().bucket(&self.config.bucket).key(self.name_of(key)).send())
            .await
            .map_err(|trouble| trouble.during(format!("cannot look at {key} at {}", self.name)))?;
        object(key.clone(), head.content_length(), head.last_modified()).ok_or_else(|| self.untold(key))
    }

    fn untold(&self, key: &Key) -> Error {
        Error::new(ErrorKind::Failed, format!("{} does not tell the size and age of {key}", self.name))
    }

    /// See [`crate::destination::Service::list`].
    pub(super) async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        Ok(self.pages(prefix, false).await?.objects)
    }

    /// See [`crate::destination::Service::children`]. A service that knows no delimiters names everything below instead.
    pub(super) async fn children(&self, folder: Option<&Key>) -> Result<Children> {
        let found = self.pages(folder, true).await?;
        let mut children = Children::of(folder, found.objects);
        children.folders.extend(found.folders);
        children.folders.sort();
        children.folders.dedup();
        Ok(children)
    }

    /// What lies below the folder `prefix`, page by page; if `direct`, folders in it are named instead of what they hold.
    async fn pages(&self, prefix: Option<&Key>, direct: bool) -> Result<Children> {
        let mut found = Children::default();
        let mut token: Option<String> = None;
        let inside = |name: &str| self.key_of(name).filter(|key| prefix.is_none_or(|prefix| key.is_below(prefix)));
        loop {
            let page = self
                .ask(|client| {
                    let request = client.list_objects_v2().bucket(&self.config.bucket);
                    request
                        .prefix(self.beginning(prefix))
                        .set_delimiter(direct.then(|| "/".to_owned()))
                        .set_continuation_token(token.clone())
                        .send()
                })
                .await
                .map_err(|trouble| trouble.during(format!("cannot list {}", self.name)))?;
            for listed in page.contents() {
                let Some(key) = listed.key().and_then(inside) else { continue };
                let object = object(key.clone(), listed.size(), listed.last_modified());
                found.objects.push(object.ok_or_else(|| self.untold(&key))?);
            }
            let folders = page.common_prefixes().iter().filter_map(|common| common.prefix()?.strip_suffix('/'));
            found.folders.extend(folders.filter_map(inside));
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            let next = page.next_continuation_token;
            if next.is_none() || next == token {
                return Err(self.endless());
            }
            token = next;
        }
    }

    /// See [`crate::destination::Service::locked_until`]: of the version that a reader gets, as far as the keys may ask.
    pub(super) async fn locked_until(&self, key: &Key) -> Result<Option<DateTime<Utc>>> {
        let head = self
            .ask(|client| client.head_object().bucket(&self.config.bucket).key(self.name_of(key)).send())
            .await
            .map_err(|trouble| trouble.during(format!("cannot look at {key} at {}", self.name)))?;
        if head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On) {
            // Until somebody takes the hold away, whenever that may be.
            return Ok(Some(DateTime::<Utc>::MAX_UTC));
        }
        Ok(head.object_lock_retain_until_date().and_then(time))
    }

    /// The error for a listing that says that it goes on and does not.
    pub(super) fn endless(&self) -> Error {
        Error::new(ErrorKind::Unavailable, format!("the listing of {} does not come to its end", self.name))
    }

    /// See [`crate::destination::Service::delete`].
    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let deleted =
            self.ask(|client| client.delete_object().bucket(&self.config.bucket).key(self.name_of(key)).send()).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.kind == ErrorKind::NotFound && trouble.code != "NoSuchBucket" => Ok(()),
            Err(trouble) if trouble.kind == ErrorKind::PermissionDenied => {
                Err(trouble.during(format!("cannot delete {key} at {}", self.name)).hint(
                    "object lock or a policy keeps it until its retention ends; otherwise the keys lack s3:DeleteObject",
                ))
            }
            Err(trouble) => Err(trouble.during(format!("cannot delete {key} at {}", self.name))),
        }
    }
}

fn lock_mode(lock: S3Lock) -> ObjectLockMode {
    if lock.compliance { ObjectLockMode::Compliance } else { ObjectLockMode::Governance }
}

/// A moment as the SDK tells it, to the second: the header `Last-Modified` knows no less, listings may.
pub(super) fn time(time: &S3Time) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), 0)
}

fn object(key: Key, bytes: Option<i64>, modified: Option<&S3Time>) -> Option<Object> {
    Some(Object { key, bytes: u64::try_from(bytes?).ok()?, modified: time(modified?)? })
}
