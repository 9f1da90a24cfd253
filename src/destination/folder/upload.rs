//! An upload into a folder: a thread of its own writes and digests, so that the writer of the archive never waits for
//! the disk while there is room in the queue.

use super::file::TempFile;
use crate::destination::{Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// How many bytes may wait for the disk.
const QUEUE: usize = 8 << 20;

/// The largest piece that waits as a whole, in bytes.
const PIECE: usize = 1 << 20;

enum Order {
    Write(Bytes, OwnedSemaphorePermit),
    Complete,
}

/// See the module.
pub(super) struct FolderUpload {
    what: String,
    orders: Option<mpsc::UnboundedSender<Order>>,
    room: Arc<Semaphore>,
    outcome: Option<oneshot::Receiver<Result<Option<Stored>>>>,
}

impl FolderUpload {
    /// Starts the thread that writes `file`; `what` names it in errors.
    pub(super) fn start(file: TempFile, what: String) -> Result<Self> {
        let (orders, mut received) = mpsc::unbounded_channel();
        let (tell, outcome) = oneshot::channel();
        std::thread::Builder::new()
            .name("pgkeep-folder".to_owned())
            .spawn(move || {
                let result = carry_out(file, &mut received);
                // The queue goes first: a writer that waits for room then asks for the outcome.
                drop(received);
                let _ = tell.send(result);
            })
            .map_err(|source| Error::io(format!("cannot start a thread to write {what}"), source))?;
        Ok(Self { what, orders: Some(orders), room: Arc::new(Semaphore::new(QUEUE)), outcome: Some(outcome) })
    }

    /// What the thread said when it ended; an error that was handed out before is not known in full any more.
    async fn outcome(&mut self) -> Result<Option<Stored>> {
        self.orders = None;
        match self.outcome.take() {
            Some(outcome) => outcome.await.unwrap_or_else(|_| Err(self.over())),
            None => Err(self.over()),
        }
    }

    fn over(&self) -> Error {
        Error::new(ErrorKind::Failed, format!("the upload of {} failed before", self.what))
    }
}

fn carry_out(mut file: TempFile, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<Option<Stored>> {
    loop {
        match orders.blocking_recv() {
            Some(Order::Write(bytes, _room)) => file.write(&bytes)?,
            Some(Order::Complete) => return file.publish().map(Some),
            None => return file.discard().map(|()| None),
        }
    }
}

#[async_trait]
impl Upload for FolderUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let room = Arc::clone(&self.room).acquire_many_owned(piece.len() as u32).await;
            let sent = match (&self.orders, room) {
                (Some(orders), Ok(room)) => orders.send(Order::Write(piece, room)).is_ok(),
                _ => false,
            };
            if !sent {
                self.outcome().await?;
                return Err(self.over());
            }
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Stored> {
        if let Some(orders) = &self.orders {
            // If the thread has ended, its outcome says why.
            let _ = orders.send(Order::Complete);
        }
        self.outcome().await?.ok_or_else(|| self.over())
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        // An error that ended the thread before is the upload's, not this call's: the thread has cleaned up then too. A
        // hidden file that cannot be removed stays for a sweep.
        let _ = self.outcome().await;
        Ok(())
    }
}
