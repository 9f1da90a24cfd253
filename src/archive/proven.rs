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
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Told in words what was wrong with which copy.
pub type Told = Box<dyn Fn(String) + Send + Sync>;

/// Copies of one backup, read as one: every member comes from a copy in which it is whole. For reading only.
pub struct Proven {
    copies: Vec<Arc<dyn Destination>>,
    /// The copy that is asked first: those before it could not be read any more.
    first: AtomicUsize,
    maps: BTreeMap<Key, Arc<MemberMap>>,
    told: Told,
}

impl Proven {
    /// Reads the files in `maps`, whose members all have digests, from the first of `copies` in which they are whole.
    /// `told` hears why a copy was not good enough.
    pub fn new(copies: Vec<Arc<dyn Destination>>, maps: BTreeMap<Key, Arc<MemberMap>>, told: Told) -> Self {
        Self { copies, first: AtomicUsize::new(0), maps, told }
    }

    /// The copy that is asked first now.
    pub fn current(&self) -> Option<&Arc<dyn Destination>> {
        self.copies.get(self.first.load(Ordering::Relaxed))
    }

    /// Fails unless `bytes`, which are those of `range`, are whole members with the right digests.
    fn check(&self, key: &Key, range: &Range<u64>, bytes: &Bytes) -> Result<()> {
        let Some(map) = self.maps.get(key) else { return Ok(()) };
        let mut place = map.at_stored(range.start);
        let mut rest = bytes.as_ref();
        let apart = || Error::new(ErrorKind::Refused, format!("a part of a member of {key} cannot be checked"));
        if place.stored != range.start {
            return Err(apart());
        }
        while !rest.is_empty() {
            let (sql, number) = (place.sql, place.number);
            let member = place.pass().ok_or_else(apart)?;
            let length = usize::try_from(member.stored_bytes).unwrap_or(usize::MAX);
            let (stored, after) = rest.split_at_checked(length).ok_or_else(apart)?;
            if member.digest != Some(MemberDigest::of(stored)) {
                let end = sql.saturating_add(member.sql_bytes);
                return Err(Error::new(
                    ErrorKind::Damaged,
                    format!("{} is damaged: member {number}, SQL bytes {sql} to {end}, has changed", key.file_name()),
                )
                .hint("try another backup; `pgkeep backup verify --all` tells which are intact"));
            }
            rest = after;
        }
        Ok(())
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
            let error = match read.and_then(|bytes| self.check(key, &range, &bytes).map(|()| bytes)) {
                Ok(bytes) => return Ok(bytes),
                // Stopping on request is no fault of the copy.
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::Terminated) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            if number + 1 < self.copies.len() {
                (self.told)(format!("the copy in {} cannot be used: {}", copy.name(), error.one_line()));
            }
            // Where one member is damaged the others may be whole; what cannot be read is not asked again and again.
            if error.kind() != ErrorKind::Damaged {
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
