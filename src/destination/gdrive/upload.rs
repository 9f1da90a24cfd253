//! An upload of unknown length: one chunk is sent while the next one fills, and nothing is visible before the end.
//!
//! A resumable upload of Drive becomes a file when its last byte has arrived, and not before. Drive's word for it is not
//! taken: the file is asked for its size and digest.

use super::model::{Digests, Sum};
use super::publish::Publisher;
use super::session::Session;
use crate::destination::{Key, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// See the module.
pub(super) struct DriveUpload {
    publisher: Arc<Publisher>,
    key: Key,
    what: String,
    chunk_size: usize,
    filling: BytesMut,
    digests: Digests,
    sending: Sending,
}

/// The session: here, or with the task that sends a chunk.
enum Sending {
    Idle(Box<Session>),
    Busy(Task),
    /// An error was handed out.
    Over,
}

/// A task that ends with its owner, and gives the session back when it is asked to stop.
struct Task {
    handle: JoinHandle<(Box<Session>, Result<()>)>,
    stop: CancellationToken,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl DriveUpload {
    /// Begins the upload, once.
    pub(super) async fn start(publisher: Arc<Publisher>, key: Key, chunk_size: u64) -> Result<Self> {
        let what = publisher.tree.what(&key);
        let (id, metadata) = publisher.plan(&key).await?;
        let session = Session::start(Arc::clone(&publisher.files), what.clone(), id, metadata).await;
        let session = session.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                // The folder is gone since it was seen: the next attempt makes it again.
                publisher.tree.forget_folders();
                error.with_kind(ErrorKind::Unavailable)
            }
            // An id is given out once: somebody answered for an earlier request. The next attempt takes another one.
            ErrorKind::AlreadyExists => error.with_kind(ErrorKind::Unavailable),
            _ => error,
        })?;
        Ok(Self {
            publisher,
            key,
            what,
            chunk_size: chunk_size as usize,
            filling: BytesMut::new(),
            digests: Digests::default(),
            sending: Sending::Idle(Box::new(session)),
        })
    }

    fn over(&self) -> Error {
        Error::new(ErrorKind::Failed, format!("the upload of {} failed before", self.what))
    }

    /// Waits until the chunk that is being sent has arrived; takes the session.
    async fn arrived(&mut self) -> Result<Box<Session>> {
        match std::mem::replace(&mut self.sending, Sending::Over) {
            Sending::Idle(session) => Ok(session),
            Sending::Busy(mut task) => {
                let ended = (&mut task.handle).await;
                let (session, sent) = ended.map_err(|panic| {
                    Error::new(ErrorKind::Failed, format!("sending {} panicked", self.what)).caused_by(panic)
                })?;
                match sent {
                    Ok(()) => Ok(session),
                    Err(error) => {
                        // For abort, which still has something to give up.
                        self.sending = Sending::Idle(session);
                        Err(error)
                    }
                }
            }
            Sending::Over => Err(self.over()),
        }
    }

    /// Sends the chunk that is full, as soon as the one before it has arrived.
    async fn dispatch(&mut self) -> Result<()> {
        let mut session = self.arrived().await?;
        let chunk = self.filling.split().freeze();
        let backoff = self.publisher.backoff.clone();
        let stopped = self.over();
        let stop = CancellationToken::new();
        let asked = stop.clone();
        let handle = tokio::spawn(async move {
            let sent = tokio::select! {
                sent = session.send(&backoff, chunk, false) => sent,
                () = asked.cancelled() => Err(stopped),
            };
            (session, sent)
        });
        self.sending = Sending::Busy(Task { handle, stop });
        Ok(())
    }

    /// Sends the rest and makes the file exist.
    async fn publish(&self, session: &mut Session, rest: Bytes, sum: &Sum) -> Result<()> {
        let (publisher, key) = (&*self.publisher, &self.key);
        let _one = publisher.only_one(key).await;
        publisher.backoff.run(|_| publisher.refuse_taken(key)).await?;
        session.send(&publisher.backoff, rest, true).await?;
        publisher
            .backoff
            .run(|_| async {
                let made = publisher.files.find_id(&self.what, session.id()).await?.ok_or_else(|| {
                    Error::new(ErrorKind::Damaged, format!("Drive took {} and does not have it", self.what))
                        .hint("if its folder was deleted meanwhile, that is why; back up again")
                })?;
                publisher.settle(key, &made, sum).await
            })
            .await
    }

    /// Leaves nothing of the upload: neither the session, nor a file, nor folders that were made for it.
    async fn leave_nothing(&self, session: &Session) -> Result<()> {
        let (publisher, backoff) = (&self.publisher, &self.publisher.backoff);
        backoff.run(|_| session.cancel()).await?;
        if session.may_exist() {
            backoff.run(|_| publisher.files.remove(&self.what, session.id(), false)).await?;
        }
        backoff.run(|_| publisher.tree.tidy(self.key.parent())).await
    }
}

#[async_trait]
impl Upload for DriveUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.digests.update(&bytes);
        while !bytes.is_empty() {
            // A full chunk waits for the byte after it: the last chunk has to say that it is the last.
            if self.filling.len() == self.chunk_size {
                self.dispatch().await?;
            }
            let room = self.chunk_size - self.filling.len();
            self.filling.extend_from_slice(&bytes.split_to(bytes.len().min(room)));
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Stored> {
        let sent = self.arrived().await;
        let sum = std::mem::take(&mut self.digests).finish();
        let rest = self.filling.split().freeze();
        let failed = match sent {
            Ok(mut session) => {
                let published = self.publish(&mut session, rest, &sum).await;
                self.sending = Sending::Idle(session);
                published
            }
            Err(error) => Err(error),
        };
        let Err(error) = failed else { return Ok(Stored { bytes: sum.bytes, sha256: sum.sha256 }) };
        let Sending::Idle(session) = &self.sending else { return Err(error) };
        match self.leave_nothing(session).await {
            Ok(()) => Err(error),
            // A session that stays is never seen, and Drive forgets it after a week; a file would be seen.
            Err(_) if !session.may_exist() => Err(error),
            Err(_) => {
                let kind = error.kind();
                Err(Error::new(kind, format!("{} was not stored, and may have to be deleted by hand", self.what))
                    .caused_by(error))
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // What is being sent need not arrive.
        if let Sending::Busy(task) = &self.sending {
            task.stop.cancel();
        }
        // An error that ended the upload before is the upload's, not this call's.
        let _ = self.arrived().await.map(|session| self.sending = Sending::Idle(session));
        if let Sending::Idle(session) = &self.sending { self.leave_nothing(session).await } else { Ok(()) }
    }
}
