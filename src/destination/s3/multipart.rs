//! The requests of uploads in parts, and the cleaning up after them.

use super::evidence::{Sent, bare, crc_text, md5_text};
use super::objects::{TOKEN, time, with_attributes};
use super::{Place, Trouble};
use crate::destination::Key;
use crate::destination::service::Unfinished;
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use std::time::Duration;

/// How often an upload is aborted until the service shows no more of it: parts that were on their way may come after.
const ABORTS: u32 = 5;

/// An upload in parts that was begun.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    /// What the service calls it.
    pub(super) id: String,
    /// The service keeps the CRC-64/NVME of the whole object.
    pub(super) keeps_crc: bool,
}

/// A part that the service has.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) number: i32,
    pub(super) etag: String,
    pub(super) crc: u64,
    pub(super) md5: Option<[u8; 16]>,
}

/// A part to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) number: i32,
    pub(super) bytes: Bytes,
    pub(super) crc: u64,
    pub(super) md5: Option<[u8; 16]>,
}

/// How the service answered the wish to complete an upload.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is done; the object's ETag.
    Done(String),
    /// There is an object under the key.
    Taken,
    /// Somebody else writes or deletes the key at this moment.
    Conflict(Trouble),
    /// It knows no such upload.
    Gone(Trouble),
}

impl Place {
    /// One attempt to begin an upload.
    pub(super) async fn begin(&self, key: &Key, token: &str) -> Result<Begun> {
        let doing = || format!("cannot begin the upload of {key} to {}", self.name);
        let wanted = self.wants_checksums();
        let begun = self.ask(|client| {
            let request = client.create_multipart_upload().bucket(&self.config.bucket).key(self.name_of(key));
            with_attributes!(request, self.attributes(key))
                .metadata(TOKEN, token)
                .set_checksum_algorithm(wanted.then_some(ChecksumAlgorithm::Crc64Nvme))
                .set_checksum_type(wanted.then_some(ChecksumType::FullObject))
                .send()
        });
        let answer = match begun.await {
            Err(trouble) if wanted && trouble.status == 400 && trouble.kind == ErrorKind::Failed => {
                return Err(trouble
                    .during(doing())
                    .hint("if the service knows no checksums, set checksums = \"when_required\""));
            }
            other => other.map_err(|trouble| trouble.during(doing()))?,
        };
        let keeps_crc = answer.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc64Nvme)
            && answer.checksum_type() == Some(&ChecksumType::FullObject);
        let id = answer.upload_id.filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Trouble::plain(ErrorKind::Failed, "the answer names no upload").during(doing()))?;
        Ok(Begun { id, keeps_crc })
    }

    /// One attempt to send a part; gives its ETag.
    pub(super) async fn send_part(&self, key: &Key, begun: &Begun, part: &Outgoing) -> Result<String> {
        let doing = || format!("cannot send part {} of {key} to {}", part.number, self.name);
        let crc = self.wants_checksums().then(|| crc_text(part.crc));
        let encrypted = self.config.endpoint.as_deref().is_none_or(|url| url.starts_with("https://"));
        let sent = self.ask(|client| {
            let request = client
                .upload_part()
                .bucket(&self.config.bucket)
                .key(self.name_of(key))
                .upload_id(&begun.id)
                .part_number(part.number)
                .set_checksum_crc64_nvme(crc.clone())
                .set_content_md5(part.md5.map(md5_text))
                .body(ByteStream::from(part.bytes.clone()))
                .customize();
            // Signing reads all bytes once more. TLS keeps them from being changed on the way.
            if encrypted { request.disable_payload_signing().send() } else { request.send() }
        });
        let answer = sent.await.map_err(|trouble| trouble.during(doing()))?;
        if answer.checksum_crc64_nvme().is_some() && answer.checksum_crc64_nvme() != crc.as_deref() && crc.is_some() {
            return Err(Trouble::plain(ErrorKind::Unavailable, "it arrived damaged").during(doing()));
        }
        let etag = answer.e_tag.filter(|etag| !bare(etag).is_empty());
        etag.ok_or_else(|| Trouble::plain(ErrorKind::Unavailable, "the answer has no ETag").during(doing()))
    }

    /// One attempt to complete an upload.
    pub(super) async fn complete(&self, key: &Key, begun: &Begun, parts: &[Part], sent: &Sent) -> Result<Answer> {
        if self.config.create_only {
            let answer = self.complete_if(key, begun, parts, sent, true).await?;
            if !matches!(answer, Answer::Taken) {
                return Ok(answer);
            }
            // As in `put`: it may be refused because of nothing.
        }
        match self.refuse_existing(key).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Answer::Taken),
            Err(error) => Err(error),
            Ok(()) => self.complete_if(key, begun, parts, sent, false).await,
        }
    }

    async fn complete_if(&self, key: &Key, begun: &Begun, parts: &[Part], sent: &Sent, new: bool) -> Result<Answer> {
        let completed = parts.iter().map(|part| {
            let crc = begun.keeps_crc.then(|| crc_text(part.crc));
            CompletedPart::builder().part_number(part.number).e_tag(&part.etag).set_checksum_crc64_nvme(crc).build()
        });
        let all = CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let done = self.ask(|client| {
            client
                .complete_multipart_upload()
                .bucket(&self.config.bucket)
                .key(self.name_of(key))
                .upload_id(&begun.id)
                .set_if_none_match(new.then(|| "*".to_owned()))
                .set_checksum_crc64_nvme(begun.keeps_crc.then(|| sent.crc.clone()))
                .set_checksum_type(begun.keeps_crc.then_some(ChecksumType::FullObject))
                .multipart_upload(all)
                .send()
        });
        let doing = || format!("cannot complete the upload of {key} to {}", self.name);
        match done.await {
            // An answer can begin well and end in an error: only one with an ETag is a success.
            Ok(answer) => match answer.e_tag.filter(|etag| !bare(etag).is_empty()) {
                Some(etag) => Ok(Answer::Done(etag)),
                None => Err(Trouble::plain(ErrorKind::Unavailable, "the answer has no ETag").during(doing())),
            },
            Err(trouble) if trouble.kind == ErrorKind::AlreadyExists => Ok(Answer::Taken),
            Err(trouble) if trouble.status == 409 => Ok(Answer::Conflict(trouble)),
            Err(trouble) if trouble.kind == ErrorKind::NotFound && trouble.code != "NoSuchBucket" => {
                Ok(Answer::Gone(trouble))
            }
            Err(trouble) => Err(trouble.during(doing())),
        }
    }

    /// Gives up an upload and frees what it holds. That it is gone already is success.
    pub(super) async fn abort(&self, key: &Key, id: &str) -> Result<()> {
        for round in 0..ABORTS {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(100 << round)).await;
            }
            if self.backoff.run(|_| self.abort_once(key, id)).await? || self.holds_no_parts(key, id).await? {
                return Ok(());
            }
        }
        let message = format!("{} still holds parts of {key} although its upload was aborted", self.name);
        Err(Error::new(ErrorKind::Failed, message).hint("the next run sweeps them; a lifecycle rule does, too"))
    }

    /// One attempt; tells whether the service knew nothing of it.
    async fn abort_once(&self, key: &Key, id: &str) -> Result<bool> {
        let aborted = self.ask(|client| {
            let request = client.abort_multipart_upload().bucket(&self.config.bucket).key(self.name_of(key));
            request.upload_id(id).send()
        });
        match aborted.await {
            Ok(_) => Ok(false),
            Err(trouble) if trouble.kind == ErrorKind::NotFound && trouble.code != "NoSuchBucket" => Ok(true),
            Err(trouble) => Err(trouble.during(format!("cannot abort the upload of {key} to {}", self.name))),
        }
    }

    async fn holds_no_parts(&self, key: &Key, id: &str) -> Result<bool> {
        let look = async |_| {
            let listed = self.ask(|client| {
                let request = client.list_parts().bucket(&self.config.bucket).key(self.name_of(key));
                request.upload_id(id).send()
            });
            match listed.await {
                Ok(listed) => Ok(listed.parts().is_empty()),
                Err(trouble) if trouble.kind == ErrorKind::NotFound => Ok(true),
                // Then the service's word has to do.
                Err(trouble) if trouble.kind == ErrorKind::PermissionDenied || trouble.is_not_implemented() => Ok(true),
                Err(trouble) => Err(trouble.during(format!("cannot look for parts of {key} at {}", self.name))),
            }
        };
        self.backoff.run(look).await
    }

    /// See [`crate::destination::Service::unfinished`].
    pub(super) async fn unfinished(&self, prefix: &Key) -> Result<Vec<Unfinished>> {
        let mut found = self.uploads_to(self.beginning(Some(prefix))).await?;
        found.retain(|upload| upload.key.is_below(prefix));
        Ok(found)
    }

    /// Gives up every upload to exactly `key`: those that were begun although the answer, with their ids, never came.
    pub(super) async fn abort_strays(&self, key: &Key) -> Result<()> {
        let found = self.backoff.run(|_| self.uploads_to(self.name_of(key))).await?;
        for stray in found.iter().filter(|upload| upload.key == *key) {
            self.abort(key, &stray.upload_id).await?;
        }
        Ok(())
    }

    /// The uploads to names that begin so; none where the service does not tell them.
    async fn uploads_to(&self, beginning: String) -> Result<Vec<Unfinished>> {
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker): (Option<String>, Option<String>) = (None, None);
        loop {
            let listed = self.ask(|client| {
                let request = client.list_multipart_uploads().bucket(&self.config.bucket);
                let request = request.prefix(&beginning);
                request.set_key_marker(key_marker.clone()).set_upload_id_marker(id_marker.clone()).send()
            });
            let page = match listed.await {
                Err(trouble) if trouble.is_not_implemented() => return Ok(Vec::new()),
                other => {
                    other.map_err(|trouble| trouble.during(format!("cannot list the uploads to {}", self.name)))?
                }
            };
            for upload in page.uploads() {
                let key = upload.key().and_then(|name| self.key_of(name));
                let started = upload.initiated().and_then(time);
                if let (Some(key), Some(id), Some(started)) = (key, upload.upload_id(), started) {
                    found.push(Unfinished { key, upload_id: id.to_owned(), started });
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            let next = (page.next_key_marker, page.next_upload_id_marker);
            if next.0.is_none() || next == (key_marker.clone(), id_marker.clone()) {
                return Err(self.endless());
            }
            (key_marker, id_marker) = next;
        }
    }
}
