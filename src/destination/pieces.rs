//! Reading a large object in order, with as many pieces on the way at once as the destination's pace allows.

use super::{Destination, Key};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Pieces of one object, in order. Those asked for ahead are given up when this is dropped.
pub struct Pieces {
    destination: Arc<dyn Destination>,
    key: Key,
    wanted: Box<dyn Iterator<Item = Range<u64>> + Send>,
    coming: VecDeque<JoinHandle<Result<Bytes>>>,
    at_once: usize,
}

impl Pieces {
    /// Will read `ranges` of `key` at `destination`, one after the other.
    pub fn new(
        destination: &Arc<dyn Destination>,
        key: Key,
        ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
    ) -> Self {
        let (destination, at_once) = (Arc::clone(destination), destination.pace().at_once.max(1));
        Self { destination, key, wanted: Box::new(ranges), coming: VecDeque::new(), at_once }
    }

    /// Will read all `bytes` bytes of `key`, in pieces of the destination's pace.
    pub fn whole(destination: &Arc<dyn Destination>, key: Key, bytes: u64) -> Self {
        let piece = destination.pace().bytes.max(1);
        // One after the other: `bytes` may be anything that a damaged manifest says.
        let ranges = std::iter::successors(Some(0..bytes.min(piece)), move |last| {
            (last.end < bytes).then(|| last.end..bytes.min(last.end.saturating_add(piece)))
        });
        Self::new(destination, key, ranges.filter(|range| !range.is_empty()))
    }

    /// The next piece; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        while self.coming.len() < self.at_once
            && let Some(range) = self.wanted.next()
        {
            let (destination, key) = (Arc::clone(&self.destination), self.key.clone());
            self.coming.push_back(tokio::spawn(async move { destination.read(&key, range).await }));
        }
        let next = self.coming.front_mut()?;
        let read = next.await.unwrap_or_else(|source| {
            Err(Error::new(ErrorKind::Failed, format!("reading {} ended unexpectedly", self.key)).caused_by(source))
        });
        self.coming.pop_front();
        Some(read)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.coming.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Memory;
    use super::*;

    #[tokio::test]
    async fn pieces_come_in_order_and_hold_everything() {
        let destination: Arc<dyn Destination> = Arc::new(Memory::new("memory").destination());
        let key: Key = "a/b".parse().unwrap();
        let whole: Bytes = (0..10_000_000u32).map(|n| (n >> 3) as u8).collect();
        destination.put(&key, whole.clone()).await.unwrap();
        let mut read = Vec::new();
        let mut pieces = Pieces::whole(&destination, key.clone(), whole.len() as u64);
        while let Some(piece) = pieces.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert!(whole == read);
        assert!(Pieces::whole(&destination, key.clone(), 0).next().await.is_none());
        let short = Pieces::whole(&destination, key, whole.len() as u64 + 1);
        let (mut short, mut last) = (short, None);
        while let Some(piece) = short.next().await {
            last = Some(piece);
        }
        assert_eq!(last.unwrap().unwrap_err().kind(), ErrorKind::Damaged);
    }
}
