//! Evidence that the service holds what was sent: its size, and a checksum or digest that the service made of it, or a second
//! reading. A success code is no evidence.

use super::Place;
use super::objects::TOKEN;
use crate::config::{S3Check, S3Checksums};
use crate::destination::{Key, Stored};
use crate::error::{Error, ErrorKind, Result};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use md5::{Digest as _, Md5};
use sha2::{Digest as _, Sha256};

/// How much is read back at once, in bytes.
const READ_AT_ONCE: u64 = 16 << 20;

/// What is known of the bytes that were sent.
pub(super) struct Sent {
    /// How many, and their SHA-256.
    pub(super) stored: Stored,
    /// Their CRC-64/NVME as S3 writes it.
    pub(super) crc: String,
    /// The ETag that a service gives to them which makes it of MD5s, without quotes; where MD5s were computed.
    pub(super) etag: Option<String>,
    /// What marks the object as this upload's.
    pub(super) token: String,
}

/// Whose the object under a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is none.
    Nobody,
    /// This upload's.
    Us,
    /// Another's.
    Other,
}

/// The beginning of a CRC-64/NVME.
pub(super) fn crc() -> Crc {
    Crc::new(CrcAlgorithm::Crc64Nvme)
}

/// A CRC-64/NVME as S3 writes it: the base64 of its big-endian bytes.
pub(super) fn crc_text(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// The MD5 of `bytes`.
pub(super) fn md5_of(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// An MD5 as the header `Content-MD5` has it.
pub(super) fn md5_text(md5: [u8; 16]) -> String {
    STANDARD.encode(md5)
}

/// The ETag that most services give to an object of several parts: the MD5 of their MD5s, and their number.
pub(super) fn etag_of_parts(md5s: &[[u8; 16]]) -> String {
    format!("{}-{}", hex::encode(Md5::digest(md5s.concat())), md5s.len())
}

/// An ETag without its quotes.
pub(super) fn bare(etag: &str) -> &str {
    etag.trim_matches('"')
}

impl Place {
    /// Whether the service is asked for checksums.
    pub(super) fn wants_checksums(&self) -> bool {
        self.config.checksums == S3Checksums::WhenSupported
    }

    /// Proves that `key` holds what was sent. If it does not, it is deleted, and the error is of kind `Damaged`.
    pub(super) async fn prove(&self, key: &Key, sent: &Sent, answered: Option<&str>) -> Result<()> {
        let head = self.look_at(key).await?;
        if token_of(&head).is_some_and(|token| token != sent.token) {
            return Err(self.exists(key));
        }
        match self.compare(key, sent, &head, answered).await {
            // Without a token and without conditional writes it could be another writer's.
            Err(error) if token_of(&head).is_none() && !self.config.create_only => Err(error),
            Err(error) if error.kind() == ErrorKind::Damaged => match self.delete(key).await {
                Ok(()) => Err(error),
                Err(left) => {
                    Err(error.hint(format!("delete it by hand: it could not be deleted, {}", left.one_line())))
                }
            },
            other => other,
        }
    }

    /// Whose `key` is, after an answer was lost.
    pub(super) async fn owner(&self, key: &Key, sent: &Sent) -> Result<Owner> {
        let head = match self.look_at(key).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Owner::Nobody),
            other => other?,
        };
        match token_of(&head) {
            Some(token) if token == sent.token => Ok(Owner::Us),
            Some(_) => Ok(Owner::Other),
            // Some services keep no metadata. Then it is ours if it is the same.
            None => match self.compare(key, sent, &head, None).await {
                Ok(()) => Ok(Owner::Us),
                Err(error) if error.kind() == ErrorKind::Damaged => Ok(Owner::Other),
                Err(error) => Err(error),
            },
        }
    }

    async fn look_at(&self, key: &Key) -> Result<HeadObjectOutput> {
        let mode = self.wants_checksums().then_some(ChecksumMode::Enabled);
        let head = self.ask(|client| {
            let request = client.head_object().bucket(&self.config.bucket).key(self.name_of(key));
            request.set_checksum_mode(mode).send()
        });
        head.await.map_err(|trouble| trouble.during(format!("cannot look at {key} at {} after storing it", self.name)))
    }

    async fn compare(&self, key: &Key, sent: &Sent, head: &HeadObjectOutput, answered: Option<&str>) -> Result<()> {
        let bytes = head.content_length().and_then(|bytes| u64::try_from(bytes).ok());
        let bytes = bytes
            .ok_or_else(|| Error::new(ErrorKind::Failed, format!("{} does not tell the size of {key}", self.name)))?;
        if bytes != sent.stored.bytes {
            let what = format!("{} bytes were sent, {bytes} are stored", sent.stored.bytes);
            return Err(self.differs(key, &what));
        }
        if self.config.check == S3Check::Auto {
            let whole = head.checksum_type() == Some(&ChecksumType::FullObject);
            if let Some(crc) = head.checksum_crc64_nvme().filter(|crc| whole || !crc.contains('-')) {
                if crc == sent.crc {
                    return Ok(());
                }
                return Err(self.differs(key, "its CRC-64 is another"));
            }
            // An ETag may be made in other ways, so another one proves nothing.
            let etag = head.e_tag().or(answered).map(bare);
            if etag.is_some() && etag == sent.etag.as_deref() {
                return Ok(());
            }
        }
        if self.read_back(key, bytes).await? == sent.stored.sha256 {
            return Ok(());
        }
        Err(self.differs(key, "its SHA-256 is another"))
    }

    /// The SHA-256 of what `key` holds, read in pieces that are each tried again.
    async fn read_back(&self, key: &Key, bytes: u64) -> Result<String> {
        let mut digest = Sha256::new();
        let mut at = 0;
        while at < bytes {
            let to = bytes.min(at + READ_AT_ONCE);
            digest.update(self.backoff.run(|_| self.read(key, at..to)).await?);
            at = to;
        }
        Ok(hex::encode(digest.finalize()))
    }

    fn differs(&self, key: &Key, what: &str) -> Error {
        Error::new(ErrorKind::Damaged, format!("{key} did not arrive whole at {}: {what}", self.name))
            .hint("run the backup again; if it happens again, the network or the service damages data")
    }

    /// The error for a key that is taken.
    pub(super) fn exists(&self, key: &Key) -> Error {
        Error::new(ErrorKind::AlreadyExists, format!("{key} exists already at {}", self.name))
    }
}

fn token_of(head: &HeadObjectOutput) -> Option<&str> {
    head.metadata()?.get(TOKEN).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_written_as_s3_writes_them() {
        // The check value of CRC-64/NVME, and the ETag of two parts as AWS documents its making.
        let mut whole = crc();
        whole.update(b"123456789");
        assert_eq!(whole.finalize(), 0xAE8B_1486_0A79_9888);
        assert_eq!(crc_text(whole.finalize()), "rosUhgp5mIg=");
        let (mut one, mut two) = (crc(), crc());
        one.update(b"1234");
        two.update(b"56789");
        one.combine(&two);
        assert_eq!(one.finalize(), whole.finalize());
        let parts = [md5_of(b"a"), md5_of(b"b")];
        assert_eq!(etag_of_parts(&parts), format!("{}-2", hex::encode(md5_of(&parts.concat()))));
        assert_eq!(md5_text(md5_of(b"")), "1B2M2Y8AsgTpgAmY7PhCfg==");
    }
}
