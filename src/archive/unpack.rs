//! From a stored archive back to its SQL: read in order, digested, members unpacked on all cores, consumed in order.

use super::bounds::permits;
use super::codec::unpack_into;
use super::members::{Member, Members};
use super::ordered::{Feeder, Results, pool};
use crate::cancel::Cancel;
use crate::config::Codec;
use crate::destination::{Destination, Key, Pieces};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Progress;
use bytes::Bytes;
use crossbeam_channel::{Sender, unbounded};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Unpacks one stored file.
pub struct Unpacking {
    /// Where it is.
    pub destination: Arc<dyn Destination>,
    /// Its key.
    pub key: Key,
    /// Its codec.
    pub codec: Codec,
    /// Its members in order, as the index tells them: all, or some that follow each other.
    pub members: Members,
    /// Where the first of them begins in the stored file.
    pub first: u64,
    /// Whether the SHA-256 of what is read is wanted.
    pub digest: bool,
    /// How many threads unpack.
    pub threads: usize,
    /// Raised as bytes pass.
    pub progress: Arc<Progress>,
}

/// A member that could not be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where its SQL begins and ends, by the index.
    pub sql: std::ops::Range<u64>,
    /// What is wrong with it.
    pub why: String,
}

/// What was read.
#[derive(Debug)]
pub struct Unpacked {
    /// SHA-256 of the stored bytes that the members cover; empty unless it was wanted.
    pub sha256: String,
    /// Members that could not be unpacked; the consumer saw nothing from the first of them on.
    pub broken: Vec<Broken>,
}

/// A member's size by the index, and its SQL or why there is none.
type Outcome = (u64, Result<Vec<u8>>);

struct Batch {
    bytes: Bytes,
    members: Vec<Member>,
}

impl Unpacking {
    /// Reads everything and hands the SQL to `consume` in order, piece by piece, on a thread of its own. An error of
    /// `consume` stops everything; a damaged member does not, but nothing is consumed from there on.
    pub async fn run(
        self,
        cancel: &Cancel,
        consume: impl FnMut(&[u8]) -> Result<()> + Send + 'static,
    ) -> Result<Unpacked> {
        let (sender, receiver) = mpsc::channel::<Batch>(1);
        let (codec, threads, progress) = (self.codec, self.threads, Arc::clone(&self.progress));
        let digest = self.digest.then(Sha256::new);
        let unpacker =
            tokio::task::spawn_blocking(move || unpack(receiver, codec, threads, &progress, digest, consume));
        let fetched = self.fetch(sender, cancel).await;
        let unpacked = unpacker
            .await
            .map_err(|source| Error::new(ErrorKind::Failed, "the unpacker panicked").caused_by(source))?;
        fetched?;
        unpacked
    }

    /// Reads ranges of several members, ahead where that pays. Ends quietly when nobody takes them any more: the taker has
    /// the error.
    async fn fetch(&self, batches: mpsc::Sender<Batch>, cancel: &Cancel) -> Result<()> {
        let batched = in_batches(&self.members, self.destination.pace().bytes, !self.digest);
        let mut start = self.first;
        let ranges = batched.clone().map(move |members| {
            let end = members.iter().map(|member| member.stored_bytes).sum::<u64>().saturating_add(start);
            std::mem::replace(&mut start, end)..end
        });
        let mut pieces = Pieces::new(&self.destination, self.key.clone(), ranges);
        for members in batched {
            cancel.check()?;
            let Some(bytes) = pieces.next().await else { break };
            if batches.send(Batch { bytes: bytes?, members }).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// The members in groups of at least `bytes` stored bytes, but for the last; made as they are needed, for there may be
/// millions. Those that share a digest stay together, if they are checked by it.
fn in_batches(
    members: &Members,
    bytes: u64,
    checked: bool,
) -> impl Iterator<Item = Vec<Member>> + Clone + Send + use<> {
    let mut members = members.iter();
    std::iter::from_fn(move || {
        let mut batch = vec![members.next()?];
        let mut gathered = batch.first()?.stored_bytes;
        while (gathered < bytes || (checked && batch.last().is_some_and(|last| last.digest.is_none())))
            && let Some(member) = members.next()
        {
            gathered = gathered.saturating_add(member.stored_bytes);
            batch.push(member);
        }
        Some(batch)
    })
}

fn unpack(
    batches: mpsc::Receiver<Batch>,
    codec: Codec,
    threads: usize,
    progress: &Progress,
    digest: Option<Sha256>,
    consume: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Unpacked> {
    std::thread::scope(|scope| {
        // Buffers go round: fresh ones would have to be zeroed, member by member.
        let (recycle, recycled) = unbounded::<Vec<u8>>();
        let (feeder, results) = pool(scope, threads, permits(threads), || {
            let recycled = recycled.clone();
            Ok(move |(stored, sql_bytes): (Bytes, u64)| {
                let mut sql = recycled.try_recv().unwrap_or_default();
                (sql_bytes, unpack_into(codec, &stored, sql_bytes, &mut sql).map(|()| sql))
            })
        })?;
        let consumer = scope.spawn(move || drain(results, &recycle, progress, consume));
        let fed = feed(batches, feeder, progress, digest);
        let broken =
            consumer.join().map_err(|_| Error::new(ErrorKind::Failed, "the consumer of the archive panicked"))?;
        // Where both failed, the consumer was first.
        let (broken, drained) = broken?;
        let (sha256, fed) = fed?;
        if drained != fed {
            let message = "a part of the archive was lost while it was unpacked";
            return Err(Error::new(ErrorKind::Failed, message).hint("this is a fault of pgkeep's: please report it"));
        }
        Ok(Unpacked { sha256, broken })
    })
}

fn feed(
    mut batches: mpsc::Receiver<Batch>,
    mut feeder: Feeder<(Bytes, u64), Outcome>,
    progress: &Progress,
    mut digest: Option<Sha256>,
) -> Result<(String, u64)> {
    let mut fed = 0;
    while let Some(Batch { bytes, members }) = batches.blocking_recv() {
        let mut at = 0;
        for member in members {
            let end = at + member.stored_bytes as usize;
            feeder.feed((bytes.slice(at..end), member.sql_bytes))?;
            at = end;
            fed += member.sql_bytes;
        }
        if let Some(digest) = &mut digest {
            digest.update(&bytes);
        }
        progress.stored_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    Ok((digest.map(|digest| hex::encode(digest.finalize())).unwrap_or_default(), fed))
}

fn drain(
    results: Results<Outcome>,
    recycle: &Sender<Vec<u8>>,
    progress: &Progress,
    mut consume: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(Vec<Broken>, u64)> {
    let mut broken = Vec::new();
    let mut at = 0;
    for (sql_bytes, sql) in results {
        let range = at..at + sql_bytes;
        at = range.end;
        match sql {
            Ok(sql) if broken.is_empty() => {
                consume(&sql)?;
                progress.sql_bytes.fetch_add(sql_bytes, Ordering::Relaxed);
                // Near the end nobody may be left who needs it.
                drop(recycle.send(sql));
            }
            Ok(_) => {}
            Err(error) => broken.push(Broken { sql: range, why: error.to_string() }),
        }
    }
    Ok((broken, at))
}
