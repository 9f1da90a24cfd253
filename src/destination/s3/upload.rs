//! The upload of a stream of unknown length.

use super::Place;
use super::evidence::{Owner, Sent, bare, crc, crc_text, etag_of_parts, md5_of};
use super::multipart::{Answer, Begun, Outgoing, Part};
use super::plan::{Plan, at_once};
use crate::destination::{Key, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use crate::id::random_hex;
use async_trait::async_trait;
use bytes::Bytes;
use crc_fast::Digest as Crc;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

/// An upload to S3. A stream that fits into one part goes up in one request when it is complete, any other in parts.
///
/// In memory are at most `concurrency` parts that are being sent and the one that is being filled: (`concurrency` + 1) x
/// part size. Of parts larger than 64 MiB fewer are sent at once: as many as make up 256 MiB, but two. So 5 x 8 MiB = 40 MiB
/// by default, 320 MiB with parts of 64 MiB, at most 3 x part size above 128 MiB. Bytes are copied once, into their part.
///
/// Dropping it ends what is being sent, and leaves an unfinished upload that [`crate::destination::Service::unfinished`]
/// tells.
pub(super) struct S3Upload {
    place: Arc<Place>,
    key: Key,
    token: String,
    plan: Plan,
    /// The size of the part that is being filled.
    size: u64,
    buffer: Vec<u8>,
    buffer_crc: Crc,
    whole_crc: Crc,
    digest: Sha256,
    bytes: u64,
    begun: Option<Begun>,
    /// Set when an upload may have been begun whose id never came.
    strays: bool,
    next_number: i32,
    /// Cleared when the service's ETags turn out to be something else: then no more MD5s are computed.
    etags_are_md5s: Arc<AtomicBool>,
    sending: JoinSet<Result<Part>>,
    parts: Vec<Part>,
    failed: bool,
}

impl S3Upload {
    /// An upload to the new `key`. Nothing is sent yet.
    pub(super) fn new(place: &Arc<Place>, key: &Key, expected_bytes: u64) -> Result<Self> {
        let mut plan = Plan::new(expected_bytes, place.config.part_size, place.config.max_parts);
        let size = plan.next_part().unwrap_or(place.config.part_size);
        Ok(Self {
            place: Arc::clone(place),
            key: key.clone(),
            token: random_hex(16)?,
            plan,
            size,
            buffer: Vec::new(),
            buffer_crc: crc(),
            whole_crc: crc(),
            digest: Sha256::new(),
            bytes: 0,
            begun: None,
            strays: false,
            next_number: 1,
            etags_are_md5s: Arc::new(AtomicBool::new(true)),
            sending: JoinSet::new(),
            parts: Vec::new(),
            failed: false,
        })
    }

    async fn append(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            // A full part waits for more, so that a stream of exactly one part is stored in one request.
            if self.buffer.len() as u64 >= self.size {
                self.send_buffer().await?;
                self.size = self.plan.next_part().ok_or_else(|| self.too_long())?;
            }
            if self.buffer.capacity() == 0 {
                self.buffer.try_reserve_exact(self.size as usize).map_err(|source| {
                    let message = format!("no memory for a part of {} MiB of {}", self.size >> 20, self.key);
                    Error::new(ErrorKind::Failed, message).caused_by(source)
                })?;
            }
            let room = (self.size as usize).saturating_sub(self.buffer.len());
            let taken = bytes.split_to(room.min(bytes.len()));
            self.buffer.extend_from_slice(&taken);
            self.buffer_crc.update(&taken);
            self.digest.update(&taken);
            self.bytes += taken.len() as u64;
        }
        Ok(())
    }

    fn too_long(&self) -> Error {
        let parts = self.place.config.max_parts;
        Error::new(ErrorKind::NoSpace, format!("{} does not fit into {parts} parts at {}", self.key, self.place.name))
            .hint("raise max_parts or part_size of the destination")
    }

    /// Sends what is in the buffer as a part; waits until there is room among those that are being sent.
    async fn send_buffer(&mut self) -> Result<()> {
        let begun = if let Some(begun) = &self.begun {
            begun.clone()
        } else {
            let doubt = Doubt::default();
            let begun = self.place.backoff.run(|_| doubt.over(self.place.begin(&self.key, &self.token))).await;
            self.strays = doubt.is_there();
            self.begun.insert(begun?).clone()
        };
        while let Some(ended) = self.sending.try_join_next() {
            self.parts.push(ended.map_err(|source| self.broke_off(source))??);
        }
        while self.sending.len() >= at_once(self.size, self.place.config.concurrency) {
            self.wait_for_one().await?;
        }
        // No waiting from here on: a caller that gives up between must not find a half-sent part.
        let sum = std::mem::replace(&mut self.buffer_crc, crc());
        self.whole_crc.combine(&sum);
        let part = Outgoing {
            number: self.next_number,
            bytes: std::mem::take(&mut self.buffer).into(),
            crc: sum.finalize(),
            md5: None,
        };
        self.next_number += 1;
        let (place, key, etags) = (Arc::clone(&self.place), self.key.clone(), Arc::clone(&self.etags_are_md5s));
        self.sending.spawn(async move { send(&place, &key, &begun, part, &etags).await });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        if let Some(ended) = self.sending.join_next().await {
            let part = ended.map_err(|source| self.broke_off(source))??;
            self.parts.push(part);
        }
        Ok(())
    }

    fn broke_off(&self, source: tokio::task::JoinError) -> Error {
        Error::new(ErrorKind::Failed, format!("sending a part of {} broke off", self.key)).caused_by(source)
    }

    /// Stores everything, and proves that it is stored.
    async fn publish(&mut self) -> Result<Stored> {
        if self.failed {
            return Err(Error::new(ErrorKind::Failed, format!("a part of {} could not be written before", self.key)));
        }
        if self.begun.is_some() {
            self.send_buffer().await?;
            while !self.sending.is_empty() {
                self.wait_for_one().await?;
            }
            self.parts.sort_by_key(|part| part.number);
        } else {
            self.whole_crc.combine(&self.buffer_crc);
        }
        let stored = Stored { bytes: self.bytes, sha256: hex::encode(self.digest.clone().finalize()) };
        let md5s: Option<Vec<[u8; 16]>> = self.parts.iter().map(|part| part.md5).collect();
        let etag = match (&self.begun, md5s) {
            (Some(_), Some(md5s)) => Some(etag_of_parts(&md5s)),
            _ => None,
        };
        let mut sent = Sent { stored, crc: crc_text(self.whole_crc.finalize()), etag, token: self.token.clone() };
        let answered = match self.begun.clone() {
            Some(begun) => self.complete_parts(&begun, &sent).await?,
            None => self.put_whole(&mut sent).await?,
        };
        self.place.backoff.run(|_| self.place.prove(&self.key, &sent, answered.as_deref())).await?;
        // The object is stored whatever becomes of these; what cannot be given up now is swept when it is old.
        let _ = self.abort_strays().await;
        Ok(sent.stored)
    }

    async fn put_whole(&mut self, sent: &mut Sent) -> Result<Option<String>> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        sent.etag = Some(hex::encode(digest_apart(&bytes).await?));
        let doubt = Doubt::default();
        match self.place.backoff.run(|_| doubt.over(self.place.put(&self.key, bytes.clone(), sent))).await {
            Ok(etag) => Ok(etag),
            // The answer to an attempt may have been lost.
            Err(error) => match self.settle(sent, &error, &doubt).await {
                Some(Owner::Us) => Ok(None),
                Some(Owner::Other) if error.kind() == ErrorKind::Unavailable => Err(self.place.exists(&self.key)),
                _ => Err(error),
            },
        }
    }

    async fn complete_parts(&mut self, begun: &Begun, sent: &Sent) -> Result<Option<String>> {
        let doubt = Doubt::default();
        let attempt =
            self.place.backoff.run(|_| doubt.over(self.place.complete(&self.key, begun, &self.parts, sent))).await;
        let error = match attempt {
            Ok(Answer::Done(etag)) => return Ok(Some(etag)),
            Ok(Answer::Taken) => self.place.exists(&self.key),
            Ok(Answer::Conflict(trouble) | Answer::Gone(trouble)) => {
                let doing = format!("cannot complete the upload of {} to {}", self.key, self.place.name);
                trouble.during(doing).hint("something else wrote, deleted or cleaned up there; run the backup again")
            }
            Err(error) => error,
        };
        // The answer to an attempt may have been lost: then the object is there, and ours.
        let before = self.settle(sent, &error, &doubt).await;
        if before == Some(Owner::Us) {
            return Ok(None);
        }
        // Once it is aborted it cannot appear any more; if it cannot be aborted because it has just been completed, it is there.
        let aborted = self.undo().await;
        match self.settle(sent, &error, &doubt).await {
            Some(Owner::Us) => Ok(None),
            Some(Owner::Other) if error.kind() != ErrorKind::AlreadyExists => Err(self.place.exists(&self.key)),
            _ => Err(with_remains(error, aborted)),
        }
    }

    /// Whose the object is, where `error` or an attempt before it leaves that open. After a stop was asked for, ours is
    /// deleted: nobody waits for it.
    async fn settle(&self, sent: &Sent, error: &Error, doubt: &Doubt) -> Option<Owner> {
        let open = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::AlreadyExists | ErrorKind::NotFound => true,
            ErrorKind::Interrupted | ErrorKind::Terminated => {
                if let Ok(Owner::Us) = self.place.backoff.run(|_| self.place.owner(&self.key, sent)).await {
                    // The caller is told of the stop; what cannot be deleted now is swept later.
                    let _ = self.place.backoff.run(|_| self.place.delete(&self.key)).await;
                }
                false
            }
            _ => doubt.is_there(),
        };
        if !open {
            return None;
        }
        self.place.backoff.run(|_| self.place.owner(&self.key, sent)).await.ok()
    }

    /// Ends what is being sent and aborts the upload, if one was begun.
    async fn undo(&mut self) -> Result<()> {
        self.failed = true;
        self.buffer = Vec::new();
        self.sending.shutdown().await;
        let aborted = match self.begun.take() {
            Some(begun) => self.place.abort(&self.key, &begun.id).await,
            None => Ok(()),
        };
        aborted.and(self.abort_strays().await)
    }

    async fn abort_strays(&mut self) -> Result<()> {
        if std::mem::take(&mut self.strays) { self.place.abort_strays(&self.key).await } else { Ok(()) }
    }
}

/// Whether something may have been done although no answer said so.
#[derive(Default)]
struct Doubt(AtomicBool);

impl Doubt {
    /// Watches one attempt. It is in doubt until it was answered, also if it is given up before.
    async fn over<T>(&self, attempt: impl Future<Output = Result<T>>) -> Result<T> {
        let before = self.0.swap(true, Ordering::Relaxed);
        let result = attempt.await;
        let refused = result.as_ref().is_err_and(|error| error.kind() != ErrorKind::Unavailable);
        if refused || result.is_ok() {
            self.0.store(before, Ordering::Relaxed);
        }
        result
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The first error, which is what people need to know, with a word on what could not be cleaned up after it.
fn with_remains(error: Error, aborted: Result<()>) -> Error {
    match aborted {
        Err(left) if error.hint_text().is_none() => error.hint(format!(
            "the unfinished upload could not be aborted either ({}); the next run sweeps it",
            left.one_line()
        )),
        _ => error,
    }
}

/// The MD5 of `bytes`, computed where it holds nothing else up.
async fn digest_apart(bytes: &Bytes) -> Result<[u8; 16]> {
    let bytes = bytes.clone();
    tokio::task::spawn_blocking(move || md5_of(&bytes))
        .await
        .map_err(|source| Error::new(ErrorKind::Failed, "computing an MD5 broke off").caused_by(source))
}

/// Sends one part, again and again where that helps. Its bytes are kept until the service has acknowledged them.
async fn send(place: &Place, key: &Key, begun: &Begun, mut part: Outgoing, etags: &AtomicBool) -> Result<Part> {
    // Where the service keeps a checksum of the whole, MD5s prove nothing more.
    if !place.wants_checksums() || (!begun.keeps_crc && etags.load(Ordering::Relaxed)) {
        part.md5 = Some(digest_apart(&part.bytes).await?);
    }
    let etag = place.backoff.run(|_| place.send_part(key, begun, &part)).await?;
    if part.md5.is_some_and(|md5| hex::encode(md5) != bare(&etag)) {
        etags.store(false, Ordering::Relaxed);
    }
    Ok(Part { number: part.number, etag, crc: part.crc, md5: part.md5 })
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if self.failed {
            return Err(Error::new(ErrorKind::Failed, format!("a part of {} could not be written before", self.key)));
        }
        match self.append(bytes).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let aborted = self.undo().await;
                Err(with_remains(error, aborted))
            }
        }
    }

    async fn complete(mut self: Box<Self>) -> Result<Stored> {
        match self.publish().await {
            Ok(stored) => Ok(stored),
            Err(error) => {
                let aborted = self.undo().await;
                Err(with_remains(error, aborted))
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.undo().await
    }
}
