//! Unpacking an archive: random members come back, and from the first broken one on nothing is consumed.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::sync::{Arc, Mutex};

use pgkeep::archive::{Member, Packer, Unpacked, Unpacking};
use pgkeep::cancel::{Cancel, Cause};
use pgkeep::config::{Codec, Compression};
use pgkeep::destination::{Destination, Folder, Key};
use pgkeep::error::{Error, ErrorKind, Result};
use pgkeep::event::Progress;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// A stored file of members.
struct Archive {
    folder: tempfile::TempDir,
    members: Vec<Member>,
    stored: Vec<u8>,
}

impl Archive {
    fn of(pieces: &[Vec<u8>]) -> Self {
        let mut packer = Packer::new(Compression::default()).unwrap();
        let (mut members, mut stored) = (Vec::new(), Vec::new());
        for piece in pieces {
            let packed = packer.pack(piece).unwrap();
            members.push(Member { sql_bytes: piece.len() as u64, stored_bytes: packed.len() as u64, digest: None });
            stored.extend_from_slice(packed);
        }
        let archive = Self { folder: tempfile::tempdir().unwrap(), members, stored };
        archive.store();
        archive
    }

    fn store(&self) {
        std::fs::write(self.folder.path().join("x.sql.gz"), &self.stored).unwrap();
    }

    /// Where member `number` begins and ends in the stored file.
    fn range(&self, number: usize) -> std::ops::Range<usize> {
        let size = |members: &[Member]| members.iter().map(|member| member.stored_bytes as usize).sum();
        size(&self.members[..number])..size(&self.members[..=number])
    }

    fn unpack(&self, cancel: &Cancel, consume: impl FnMut(&[u8]) -> Result<()> + Send + 'static) -> Result<Unpacked> {
        let destination: Arc<dyn Destination> = Arc::new(Folder::new("here", self.folder.path()));
        let unpacking = Unpacking {
            destination,
            key: Key::encode("x.sql.gz"),
            codec: Codec::Gzip,
            members: self.members.iter().copied().collect(),
            first: 0,
            digest: true,
            threads: 3,
            progress: Arc::<Progress>::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(unpacking.run(cancel, consume))
    }

    fn sql(&self) -> (Result<Unpacked>, Vec<u8>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let unpacked = self.unpack(&Cancel::new(), move |sql| {
            into.lock().unwrap().extend_from_slice(sql);
            Ok(())
        });
        let sql = std::mem::take(&mut *seen.lock().unwrap());
        (unpacked, sql)
    }
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_packed_comes_back(pieces in pieces()) {
        let archive = Archive::of(&pieces);
        let (unpacked, sql) = archive.sql();
        let unpacked = unpacked.unwrap();
        prop_assert_eq!(sql, pieces.concat());
        prop_assert!(unpacked.broken.is_empty());
        prop_assert_eq!(unpacked.sha256, hex::encode(Sha256::digest(&archive.stored)));
    }

    #[test]
    fn from_the_first_broken_member_on_nothing_is_consumed(
        pieces in pieces(),
        which in any::<prop::sample::Index>(),
        second in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        mask in 1u8..=255,
    ) {
        let mut archive = Archive::of(&pieces);
        let mut broken = [which.index(pieces.len()), second.index(pieces.len())];
        broken.sort_unstable();
        for number in broken {
            // The checksum and the size at the end: any change of them is damage.
            let end = archive.range(number).end;
            archive.stored[end - 1 - place.index(8)] = mask ^ archive.stored[end - 1 - place.index(8)];
            if broken[0] == broken[1] {
                break;
            }
        }
        archive.store();
        let (unpacked, sql) = archive.sql();
        let unpacked = unpacked.unwrap();
        prop_assert_eq!(&sql, &pieces[..broken[0]].concat());
        let before = |number: usize| pieces[..number].iter().map(Vec::len).sum::<usize>() as u64;
        prop_assert_eq!(unpacked.broken[0].sql.clone(), before(broken[0])..before(broken[0] + 1));
        prop_assert_eq!(unpacked.broken.len(), if broken[0] == broken[1] { 1 } else { 2 });
        prop_assert_eq!(unpacked.sha256, hex::encode(Sha256::digest(&archive.stored)));
    }
}

#[test]
fn an_error_of_the_consumer_stops_everything_and_is_the_answer() {
    let archive = Archive::of(&vec![vec![b'x'; 100]; 500]);
    let mut seen = 0;
    let unpacked = archive.unpack(&Cancel::new(), move |_| {
        seen += 1;
        assert!(seen <= 3, "it went on");
        if seen == 3 { Err(Error::new(ErrorKind::NoSpace, "enough")) } else { Ok(()) }
    });
    assert_eq!(unpacked.unwrap_err().kind(), ErrorKind::NoSpace);
}

#[test]
fn a_cancelled_run_ends_as_interrupted() {
    let archive = Archive::of(&vec![vec![b'x'; 100]; 50]);
    let cancel = Cancel::new();
    cancel.cancel(Cause::Interrupt);
    let unpacked = archive.unpack(&cancel, |_| Ok(()));
    assert_eq!(unpacked.unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn a_file_that_is_shorter_than_its_members_is_damaged() {
    let mut archive = Archive::of(&[b"one\n".to_vec(), b"two\n".to_vec()]);
    archive.stored.pop();
    archive.store();
    assert_eq!(archive.sql().0.unwrap_err().kind(), ErrorKind::Damaged);
}
