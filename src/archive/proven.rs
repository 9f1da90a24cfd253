//! Stored bytes that were checked member by member: a part of an archive is as certain as the whole.
//!
//! Whoever reads an archive from end to end compares its SHA-256 with the manifest's. Whoever reads a part, or hands on what
//! was read before the end is known, needs the digest of each member, which the index holds. The index is itself checked
//! against the manifest.

use super::map::MemberMap;
use super::members::MemberDigest;
use crate::destination::{Claim, Destination, Key, Object, Pace, Stored, Swept, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Told in words what was wrong with which copy.
pub type Told = Box<dyn Fn(String) + Send + Sync>;

/// Tells what the SQL bytes of a file held, for errors.
pub type Names = Box<dyn Fn(&Key, Range<u64>) -> String + Send + Sync>;

/// Copies of one backup, read as one: every member comes from a copy in which it is whole. For reading only.
pub struct Proven {
    copies: Vec<Arc<dyn Destination>>,
    /// The copy that is asked first: those before it could not be read any more.
    first: AtomicUsize,
    maps: BTreeMap<Key, Arc<MemberMap>>,
    told: Told,
    names: Names,
}

impl Proven {
    /// Reads the files in `maps`, whose members all have digests, from the first of `copies` in which they are whole.
    /// `told` hears why a copy was not good enough, and `names` what damaged bytes held.
    pub fn new(
        copies: Vec<Arc<dyn Destination>>,
        maps: BTreeMap<Key, Arc<MemberMap>>,
        told: Told,
        names: Names,
    ) -> Self {
        Self { copies, first: AtomicUsize::new(0), maps, told, names }
    }

    /// The copy that is asked first now.
    pub fn current(&self) -> Option<&Arc<dyn Destination>> {
        self.copies.get(self.first.load(Ordering::Relaxed))
    }

    /// Fails unless `bytes`, which are those of `range`, are whole runs of members with the right digests.
    fn check(&self, key: &Key, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        let Some(map) = self.maps.get(key) else { return Ok(()) };
        let mut place = map.at_stored(range.start);
        let mut rest = bytes.as_ref();
        let apart = || Error::new(ErrorKind::Refused, format!("a part of a member of {key} cannot be checked"));
        if place.stored != range.start {
            return Err(apart());
        }
        let mut run = Sha256::new();
        let mut begin = (place.number, place.sql);
        let mut open = false;
        while !rest.is_empty() {
            let member = place.pass().ok_or_else(apart)?;
            let length = usize::try_from(member.stored_bytes).unwrap_or(usize::MAX);
            let (stored, after) = rest.split_at_checked(length).ok_or_else(apart)?;
            run.update(stored);
            rest = after;
            open = member.digest.is_none();
            if let Some(digest) = member.digest {
                if digest != MemberDigest::of(std::mem::take(&mut run)) {
                    let (first, last, sql) = (begin.0, place.number - 1, begin.1..place.sql);
                    let held = (self.names)(key, sql.clone());
                    let message = format!(
                        "it has changed in members {first} to {last}; SQL bytes {} to {} held {held}",
                        sql.start, sql.end
                    );
                    return Err(Error::new(ErrorKind::Damaged, format!("{} is damaged: {message}", key.file_name()))
                        .hint("try another backup; `pgkeep backup verify --all` tells which are intact"));
                }
                begin = (place.number, place.sql);
            }
        }
        if open { Err(apart()) } else { Ok(()) }
    }
}

fn read_only<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Refused, "several copies together can only be read"))
}

#[async_trait]
impl Destination for Proven {
    fn name(&self) -> &str {
        self.current().or(self.copies.first()).map_or("", |copy| copy.name())
    }

    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let mut why: Option<Error> = None;
        for (number, copy) in self.copies.iter().enumerate().skip(self.first.load(Ordering::Relaxed)) {
            let read = copy.read(key, range.clone()).await;
            let mut gone = false;
            let error = match read.and_then(|bytes| self.check(key, &range, &bytes).map(|()| bytes)) {
                Ok(bytes) => return Ok(bytes),
                // Stopping on request is no fault of the copy.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => {
                    return Err(error);
                }
                // The manifest names it: without it the copy is damaged, as far as it was needed.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    gone = true;
                    Error::new(ErrorKind::Damaged, format!("{} is missing in {}", key.file_name(), copy.name()))
                        .hint("try another backup; `pgkeep backup verify --all` tells which are intact")
                }
                Err(error) => error,
            };
            if number + 1 < self.copies.len() {
                (self.told)(format!("the copy in {} cannot be used: {}", copy.name(), error.one_line()));
            }
            // Where one member is damaged the others may be whole; what cannot be read is not asked again and again.
            if gone || error.kind() != ErrorKind::Damaged {
                self.first.fetch_max((number + 1).min(self.copies.len() - 1), Ordering::Relaxed);
            }
            why = why.or(Some(error));
        }
        Err(why.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{key} is nowhere"))))
    }

    async fn head(&self, key: &Key) -> Result<Object> {
        match self.current() {
            Some(copy) => copy.head(key).await,
            None => Err(Error::new(ErrorKind::NotFound, format!("{key} is nowhere"))),
        }
    }

    async fn list(&self, prefix: Option<&Key>) -> Result<Vec<Object>> {
        match self.current() {
            Some(copy) => copy.list(prefix).await,
            None => Ok(Vec::new()),
        }
    }

    fn pace(&self) -> Pace {
        self.current().map_or_else(Pace::default, |copy| copy.pace())
    }

    async fn check_writable(&self) -> Result<()> {
        read_only()
    }

    async fn claim(&self, _dir: &Key) -> Result<Box<dyn Claim>> {
        read_only()
    }

    async fn put(&self, _key: &Key, _bytes: Bytes) -> Result<Stored> {
        read_only()
    }

    async fn upload(&self, _key: &Key, _expected_bytes: u64) -> Result<Box<dyn Upload>> {
        read_only()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        read_only()
    }

    async fn sweep(&self, _prefix: &Key, _now: DateTime<Utc>) -> Result<Vec<Swept>> {
        read_only()
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::{Member, Members};
    use super::*;
    use crate::destination::{Effect, Fault, Faulty, Memory, Operation};
    use std::sync::Mutex;

    const PIECES: [&[u8]; 3] = [b"first", b"second one", b"third"];

    fn key() -> Key {
        "a/b.sql.gz".parse().unwrap()
    }

    fn digest(stored: &[u8]) -> MemberDigest {
        MemberDigest::of(Sha256::new_with_prefix(stored))
    }

    fn map() -> BTreeMap<Key, Arc<MemberMap>> {
        let member = |piece: &&[u8]| Member {
            sql_bytes: 100,
            stored_bytes: piece.len() as u64,
            // The first two share a digest.
            digest: match *piece {
                b"first" => None,
                b"second one" => Some(digest(b"firstsecond one")),
                other => Some(digest(other)),
            },
        };
        let members: Members = PIECES.iter().map(member).collect();
        BTreeMap::from([(key(), Arc::new(MemberMap::new(&members)))])
    }

    fn copy(name: &str, bytes: &[u8], faults: Vec<Fault>) -> Arc<dyn Destination> {
        let memory = Memory::new(name);
        memory.insert(&key(), Bytes::copy_from_slice(bytes), Utc::now());
        Arc::new(Faulty::new(Arc::new(memory.destination()), faults))
    }

    fn proven(copies: Vec<Arc<dyn Destination>>) -> (Proven, Arc<Mutex<Vec<String>>>) {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&told);
        (
            Proven::new(
                copies,
                map(),
                Box::new(move |why| heard.lock().unwrap().push(why)),
                Box::new(|_, _| "rows".to_owned()),
            ),
            told,
        )
    }

    #[tokio::test]
    async fn a_member_comes_from_a_copy_in_which_it_is_whole() {
        let whole = PIECES.concat();
        let mut broken = whole.clone();
        broken[7] ^= 1;
        let (proven, told) = proven(vec![copy("near", &broken, Vec::new()), copy("far", &whole, Vec::new())]);
        assert_eq!(proven.read(&key(), 15..20).await.unwrap(), &b"third"[..]);
        assert!(told.lock().unwrap().is_empty());
        assert_eq!(proven.read(&key(), 0..15).await.unwrap(), &b"firstsecond one"[..]);
        assert!(told.lock().unwrap()[0].contains("near") && told.lock().unwrap()[0].contains("members 0 to 1"));
        assert_eq!(proven.current().unwrap().name(), "near", "its other members are whole");
        for apart in [0..5, 5..15, 6..15, 0..17] {
            assert_eq!(proven.read(&key(), apart).await.unwrap_err().kind(), ErrorKind::Refused, "no whole run");
        }
    }

    #[tokio::test]
    async fn a_copy_that_cannot_be_read_is_not_asked_again() {
        let fails = vec![Fault::new(Operation::Read, Effect::Fails(ErrorKind::Unavailable)).nth(1).lasting()];
        let whole = PIECES.concat();
        let (proven, told) = proven(vec![copy("near", &whole, fails), copy("far", &whole, Vec::new())]);
        for _ in 0..3 {
            assert_eq!(proven.read(&key(), 15..20).await.unwrap(), &b"third"[..]);
        }
        assert_eq!((told.lock().unwrap().len(), proven.name()), (1, "far"));
    }

    #[tokio::test]
    async fn what_is_whole_nowhere_is_damaged() {
        let (proven, _) = proven(vec![copy("near", b"firstsecond 0nethird", Vec::new())]);
        let error = proven.read(&key(), 0..20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.one_line().contains("SQL bytes 0 to 200 held rows"), "{}", error.one_line());
    }
}
