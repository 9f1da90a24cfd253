//! An upload: a stream into `rclone rcat`.
//!
//! Most remotes show what they have so far under the name that it will have. So a hidden name is written, compared with
//! what was sent, and then renamed. Where a remote can neither rename nor copy, the name itself is written, and deleted if
//! anything fails; such a file can be seen before it is whole.

use super::digests::{Sums, Tally};
use super::failure::Failure;
use super::place::Place;
use crate::cancel::Cancel;
use crate::destination::remains::temp_name;
use crate::destination::{Backoff, Key, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Input, Running};
use async_trait::async_trait;
use bytes::Bytes;
use std::io::Write;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many pieces may wait for rclone.
const WAITING: usize = 4;

/// The largest piece that waits as a whole, in bytes.
const PIECE: usize = 1 << 20;

/// Into how many parts S3 and Azure divide a file at the most.
const PARTS: u64 = 10_000;

/// The parts that rclone makes by itself, in bytes: enough for 48 GiB.
const PART: u64 = 5 << 20;

/// See the module.
pub(super) struct RcloneUpload {
    /// First, so that dropping an upload kills rclone before the stream ends: it must not take that for the file's end.
    running: Option<Running>,
    pieces: Option<mpsc::Sender<Bytes>>,
    sums: Option<oneshot::Receiver<Sums>>,
    place: Arc<Place>,
    backoff: Backoff,
    key: Key,
    /// What is written: a hidden name, or `key` itself.
    written: Key,
    _turn: Option<Turn>,
}

/// That nobody else in this process writes a name that is written without a hidden one; ends when dropped.
struct Turn {
    place: Arc<Place>,
    key: Key,
}

impl Turn {
    fn take(place: &Arc<Place>, key: &Key) -> Result<Self> {
        if place.writing().insert(key.clone()) {
            return Ok(Self { place: Arc::clone(place), key: key.clone() });
        }
        Err(exists(key))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.place.writing().remove(&self.key);
    }
}

impl RcloneUpload {
    /// Starts rclone.
    pub(super) async fn start(place: Arc<Place>, backoff: Backoff, key: &Key, expected_bytes: u64) -> Result<Self> {
        let (written, turn) = if place.features.can_rename() {
            let temp = temp_name(key.file_name())?;
            (key.parent().map_or_else(|| temp.parse(), |folder| Ok(folder.hidden_child(&temp)))?, None)
        } else {
            // Two writers of one name would write into each other, and the one that fails would delete the other's.
            let turn = Turn::take(&place, key)?;
            match place.head(key).await {
                Err(error) if error.kind() == ErrorKind::NotFound => (key.clone(), Some(turn)),
                Err(error) => return Err(error),
                Ok(_) => return Err(exists(key)),
            }
        };
        let mut command = vec!["rcat".to_owned()];
        command.extend(part_options(expected_bytes));
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut running = place.program.start_upload(&command, &place.place(Some(&written))).await?;
        let writer = running.stdin.take();
        let (pieces, received) = mpsc::channel(WAITING);
        let (tell, sums) = oneshot::channel();
        let tally = Tally::new(place.features.hash());
        std::thread::Builder::new()
            .name("pgkeep-rclone".to_owned())
            .spawn(move || {
                if let Some(sums) = writer.and_then(|writer| feed(writer, received, tally)) {
                    // Nobody waits for it if the upload was given up.
                    let _ = tell.send(sums);
                }
            })
            .map_err(|source| Error::io(format!("cannot start a thread to write {key}"), source))?;
        let key = key.clone();
        Ok(Self {
            running: Some(running),
            pieces: Some(pieces),
            sums: Some(sums),
            place,
            backoff,
            key,
            written,
            _turn: turn,
        })
    }

    /// Waits for rclone's end. `Ok` if it succeeded.
    async fn ended(&mut self) -> Result<()> {
        let Some(running) = self.running.take() else {
            return Err(Error::new(ErrorKind::Failed, format!("the upload of {} failed before", self.key)));
        };
        let status = running.wait(&Cancel::new()).await?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::of(&status).error(format!("cannot store {}", self.key)))
    }

    /// Sends one piece; waits while as much as may wait does.
    async fn send(&mut self, piece: Bytes) -> Result<()> {
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).await.is_ok()
        {
            return Ok(());
        }
        // The thread is gone, because rclone takes no more.
        self.pieces = None;
        self.ended().await?;
        Err(Error::new(ErrorKind::Failed, format!("rclone ended before {} was whole", self.key)))
    }

    /// Ends the stream, and waits until rclone has stored it.
    async fn finish(&mut self) -> Result<Sums> {
        self.pieces = None;
        self.ended().await?;
        let sums = match self.sums.take() {
            Some(sums) => sums.await.ok(),
            None => None,
        };
        sums.ok_or_else(|| Error::new(ErrorKind::Failed, format!("rclone ended before {} was whole", self.key)))
    }

    /// Compares what is stored and gives it its name.
    pub(super) async fn publish(&self, sums: &Sums) -> Result<()> {
        self.place.verify(&self.written, sums).await?;
        if self.written == self.key {
            return Ok(());
        }
        let _turn = self.place.naming.lock().await;
        let renamed = self.place.rename(&self.written, &self.key).await;
        // Whatever was said, this is how it is. An answer may be lost, and what has the name already is left alone.
        let there = self.place.look(&self.written, &self.key).await?;
        match (there.first, there.second) {
            (false, true) => Ok(()),
            (_, false) => Err(renamed.err().unwrap_or_else(|| {
                Error::new(ErrorKind::Unavailable, format!("{} was renamed and is not there", self.key))
            })),
            // Perhaps it was copied, and only the original could not be deleted.
            (true, true) if renamed.is_err() && self.place.verify(&self.key, sums).await.is_ok() => {
                self.place.delete(&self.written).await
            }
            (true, true) => Err(exists(&self.key)),
        }
    }

    /// Publishes, asking again as long as that may help: the bytes are there, and need not be sent again.
    async fn publish_patiently(&self, sums: &Sums) -> Result<()> {
        self.backoff
            .run(|tried| async move {
                match self.publish(sums).await {
                    // An attempt of ours came further than its answer.
                    Err(error) if tried > 0 && error.kind() == ErrorKind::NotFound => {
                        self.place.verify(&self.key, sums).await.map_err(|_| error)
                    }
                    other => other,
                }
            })
            .await
    }

    /// Stops rclone and deletes what it has written so far.
    async fn give_up(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            // It is asked, not killed: then it also frees the parts that a service holds for it.
            running.stop().await?;
        }
        self.pieces = None;
        let (place, written) = (&self.place, &self.written);
        self.backoff.run(|_| place.delete(written)).await
    }

    /// Ends the upload with `error`, which is the one to tell: a hidden file that cannot be deleted stays for a sweep.
    async fn fail<T>(&mut self, error: Error) -> Result<T> {
        let _ = self.give_up().await;
        Err(error)
    }

    /// As [`Upload::complete`], with one attempt at each step.
    pub(super) async fn complete_once(mut self) -> Result<()> {
        let done = match self.finish().await {
            Ok(sums) => self.publish(&sums).await,
            Err(error) => Err(error),
        };
        match done {
            // What was sent may be in doubt, and whoever asks again begins anew.
            Err(error) => self.fail(error).await,
            Ok(()) => Ok(()),
        }
    }
}

fn exists(key: &Key) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("{key} exists already"))
}

/// Options that let a large file of unknown size become as many parts as the service allows, should the remote be one of
/// those: with eight times the size that is expected, which is a quarter of the tables' on the server.
fn part_options(expected_bytes: u64) -> Vec<String> {
    let part = expected_bytes.saturating_mul(8).div_ceil(PARTS);
    if part <= PART {
        return Vec::new();
    }
    let mebibytes = part.div_ceil(1 << 20);
    vec![format!("--s3-chunk-size={mebibytes}Mi"), format!("--azureblob-chunk-size={mebibytes}Mi")]
}

/// Writes and digests what comes. `None` if rclone takes no more: its status says why.
fn feed(mut writer: Input, mut pieces: mpsc::Receiver<Bytes>, mut tally: Tally) -> Option<Sums> {
    while let Some(piece) = pieces.blocking_recv() {
        tally.add(&piece);
        writer.write_all(&piece).ok()?;
    }
    Some(tally.sums())
}

#[async_trait]
impl Upload for RcloneUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let sent = {
                let backoff = self.backoff.clone();
                let upload = tokio::sync::Mutex::new(&mut *self);
                // Within the backoff for the sake of a request to stop; a stream cannot be tried again.
                backoff.run(|_| async { Ok(upload.lock().await.send(piece.clone()).await) }).await
            };
            if let Err(error) = sent.and_then(|sent| sent) {
                self.running = None;
                return Err(error);
            }
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Stored> {
        let finished = {
            let backoff = self.backoff.clone();
            let upload = tokio::sync::Mutex::new(&mut *self);
            backoff.run(|_| async { Ok(upload.lock().await.finish().await) }).await
        };
        let done = match finished.and_then(|finished| finished) {
            Ok(sums) => self.publish_patiently(&sums).await.map(|()| sums.stored),
            Err(error) => Err(error),
        };
        match done {
            Err(error) => self.fail(error).await,
            Ok(stored) => Ok(stored),
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.give_up().await
    }
}
