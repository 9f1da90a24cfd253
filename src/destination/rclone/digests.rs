//! Counting and digesting what is uploaded, and what is read back.

use super::answers::HashKind;
use crate::destination::Stored;

/// A count, the SHA-256, and the hash by which the remote knows a file.
pub(super) struct Tally {
    bytes: u64,
    kind: Option<HashKind>,
    sha256: sha2::Sha256,
    other: Option<Other>,
}

enum Other {
    Sha1(sha1::Sha1),
    Md5(md5::Md5),
}

/// What a [`Tally`] comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// Size and SHA-256.
    pub(super) stored: Stored,
    /// What the remote should say, where it knows a hash.
    pub(super) hash: Option<(HashKind, String)>,
}

impl Tally {
    /// One that also computes `kind`.
    pub(super) fn new(kind: Option<HashKind>) -> Self {
        let other = match kind {
            Some(HashKind::Sha1) => Some(Other::Sha1(sha1::Sha1::default())),
            Some(HashKind::Md5) => Some(Other::Md5(md5::Md5::default())),
            Some(HashKind::Sha256) | None => None,
        };
        Self { bytes: 0, kind, sha256: sha2::Sha256::default(), other }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        sha2::Digest::update(&mut self.sha256, bytes);
        match &mut self.other {
            Some(Other::Sha1(sha1)) => sha1::Digest::update(sha1, bytes),
            Some(Other::Md5(md5)) => md5::Digest::update(md5, bytes),
            None => {}
        }
    }

    pub(super) fn sums(self) -> Sums {
        let sha256 = hex::encode(sha2::Digest::finalize(self.sha256));
        let hash = match (self.other, self.kind) {
            (Some(Other::Sha1(sha1)), _) => Some((HashKind::Sha1, hex::encode(sha1::Digest::finalize(sha1)))),
            (Some(Other::Md5(md5)), _) => Some((HashKind::Md5, hex::encode(md5::Digest::finalize(md5)))),
            (None, Some(HashKind::Sha256)) => Some((HashKind::Sha256, sha256.clone())),
            (None, _) => None,
        };
        Sums { stored: Stored { bytes: self.bytes, sha256 }, hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_is_the_one_it_is_called() {
        for (kind, expected) in [
            (HashKind::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (HashKind::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (HashKind::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            let mut tally = Tally::new(Some(kind));
            tally.add(b"a");
            tally.add(b"bc");
            let sums = tally.sums();
            assert_eq!(sums.hash, Some((kind, expected.to_owned())));
            assert_eq!(sums.stored.bytes, 3);
            assert!(sums.stored.sha256.starts_with("ba7816bf"));
        }
        assert_eq!(Tally::new(None).sums().hash, None);
    }
}
