//! Storing one backup in several destinations at once: one that fails drops out, and the others go on.
//!
//! A slow destination slows the dump: each has [`WAITING`] chunks of at most 2 MiB of its own waiting, besides what its
//! uploads hold (for S3 see `part_size` and `concurrency`). Nothing else grows with the database.

use super::Context;
use super::outcome::BackupStatus;
use crate::catalogue::{CompletedBackup, Draft};
use crate::config::Require;
use crate::destination::{Destination, Key, Stored, Upload};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many chunks wait for each destination: a slow one then slows the dump, and fills no memory.
const WAITING: usize = 2;

/// A backup being written to several destinations.
pub(super) struct Copies {
    ctx: Context,
    copies: Vec<Copy>,
}

struct Copy {
    name: String,
    state: State,
}

enum State {
    Writing(Draft),
    Published,
    Failed(Error),
}

/// What became of one destination.
pub(super) struct CopyResult {
    pub(super) name: String,
    pub(super) failure: Option<Error>,
}

impl Copies {
    /// Claims `dir` at every destination that was found writable; the others have failed already.
    pub(super) async fn begin(ctx: &Context, destinations: Vec<(Arc<dyn Destination>, Result<()>)>, dir: &Key) -> Self {
        let begin = async |(destination, writable): (Arc<dyn Destination>, Result<()>)| {
            let name = destination.name().to_owned();
            let draft = match writable {
                Ok(()) => Draft::begin(destination, dir.clone()).await,
                Err(error) => Err(error),
            };
            Copy { name, state: draft.map_or_else(State::Failed, State::Writing) }
        };
        Self { ctx: ctx.clone(), copies: join_all(destinations.into_iter().map(begin)).await }
    }

    /// How many destinations have not failed.
    pub(super) fn alive(&self) -> usize {
        self.copies.iter().filter(|copy| !matches!(copy.state, State::Failed(_))).count()
    }

    /// An error if every destination has failed: the first one's.
    fn check(&self) -> Result<()> {
        if self.alive() > 0 {
            return Ok(());
        }
        let first = self.copies.iter().find_map(|copy| match &copy.state {
            State::Failed(error) => Some(copy_of(error)),
            State::Writing(_) | State::Published => None,
        });
        Err(first.unwrap_or_else(|| Error::new(ErrorKind::Usage, "no destination was given")))
    }

    /// Stores a small file everywhere.
    pub(super) async fn put(&mut self, name: &Key, bytes: Bytes) -> Result<Stored> {
        let put = async |copy: &mut Copy| {
            let State::Writing(draft) = &mut copy.state else { return None };
            match draft.put(name, bytes.clone()).await {
                Ok(stored) => Some(stored),
                Err(error) => {
                    copy.fail(error).await;
                    None
                }
            }
        };
        let stored = join_all(self.copies.iter_mut().map(put)).await.into_iter().flatten().next();
        self.check()?;
        stored.ok_or_else(|| Error::new(ErrorKind::Failed, format!("{name} was stored nowhere")))
    }

    /// Begins to upload a file of unknown length everywhere.
    pub(super) async fn upload(&mut self, name: &Key, expected_bytes: u64) -> Result<FanOut> {
        // Where there is one destination only, its error ends the backup and is told there.
        let listener = (self.copies.len() > 1).then_some(&self.ctx);
        let begin = async |(index, copy): (usize, &mut Copy)| {
            let State::Writing(draft) = &mut copy.state else { return None };
            match draft.upload(name, expected_bytes).await {
                Ok(upload) => Some(Branch::start(listener, index, &copy.name, upload)),
                Err(error) => {
                    copy.fail(error).await;
                    None
                }
            }
        };
        let branches = join_all(self.copies.iter_mut().enumerate().map(begin)).await.into_iter().flatten().collect();
        self.check()?;
        Ok(FanOut { name: name.clone(), branches })
    }

    /// Ends an upload everywhere: `complete` makes the file visible, otherwise every trace is removed.
    pub(super) async fn finish(&mut self, fan_out: FanOut, complete: bool) -> Result<()> {
        let FanOut { name, branches } = fan_out;
        let end = async |branch: Branch| {
            let Branch { copy, sender, task } = branch;
            if complete {
                // A task that is gone has its error to tell.
                let _ = sender.send(Piece::Complete).await;
            }
            drop(sender);
            let ended = task
                .await
                .unwrap_or_else(|panic| Err(Error::new(ErrorKind::Failed, "an upload panicked").caused_by(panic)));
            (copy, ended)
        };
        for (index, ended) in join_all(branches.into_iter().map(end)).await {
            let Some(copy) = self.copies.get_mut(index) else { continue };
            match (ended, &mut copy.state) {
                (Ok(Some(stored)), State::Writing(draft)) => draft.add(name.clone(), stored),
                (Err(error), State::Writing(draft)) => {
                    draft.failed(&name, &error);
                    copy.fail(error).await;
                }
                _ => {}
            }
        }
        self.check()
    }

    /// Makes the backup exist wherever everything was stored.
    pub(super) async fn publish(&mut self, backup: &CompletedBackup) -> Result<()> {
        let publish = async |copy: &mut Copy| match std::mem::replace(&mut copy.state, State::Published) {
            State::Writing(draft) => {
                if let Err(error) = draft.publish(backup).await {
                    copy.state = State::Failed(error);
                }
            }
            other => copy.state = other,
        };
        join_all(self.copies.iter_mut().map(publish)).await;
        self.check()
    }

    /// Removes what was stored, everywhere. Returns what could not be removed; the next sweep tries again.
    pub(super) async fn discard(&mut self, because: &Error) -> Vec<Error> {
        let discard = async |copy: &mut Copy| {
            let State::Writing(_) = copy.state else { return None };
            match std::mem::replace(&mut copy.state, State::Failed(copy_of(because))) {
                State::Writing(draft) => draft.discard().await.err(),
                State::Published | State::Failed(_) => None,
            }
        };
        join_all(self.copies.iter_mut().map(discard)).await.into_iter().flatten().collect()
    }

    /// What became of each destination.
    pub(super) fn results(self) -> Vec<CopyResult> {
        let result = |copy: Copy| CopyResult {
            name: copy.name,
            failure: match copy.state {
                State::Failed(error) => Some(error),
                State::Published => None,
                State::Writing(_) => Some(Error::new(ErrorKind::Failed, "the backup was not published")),
            },
        };
        self.copies.into_iter().map(result).collect()
    }
}

impl Copy {
    /// Records the failure and removes what was stored; what cannot be removed the next sweep will.
    async fn fail(&mut self, error: Error) {
        if let State::Writing(draft) = std::mem::replace(&mut self.state, State::Failed(error)) {
            let _ = draft.discard().await;
        }
    }
}

/// What the results come to: the status, and why it is not what was asked for. `failed` is why nothing was published.
pub(super) fn judge(results: &[CopyResult], require: Require, failed: Option<&Error>) -> (BackupStatus, Option<Error>) {
    let mut failures = results.iter().filter_map(|copy| copy.failure.as_ref());
    let all = results.len();
    let stored = all - failures.clone().count();
    if let Some(error) = failed {
        return (BackupStatus::Failed, Some(copy_of(error)));
    }
    if stored == all {
        return (BackupStatus::Stored, None);
    }
    if require.is_met(stored, all) {
        return (BackupStatus::Partial, None);
    }
    let partial = Error::new(ErrorKind::Partial, format!("stored in {stored} of {all} destinations"));
    let partial = match failures.next() {
        Some(first) => partial.caused_by(copy_of(first)),
        None => partial,
    };
    (BackupStatus::Partial, Some(partial))
}

/// An error that stands for the same failure elsewhere.
pub(super) fn copy_of(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.one_line());
    match error.hint_text() {
        Some(hint) => copy.hint(hint),
        None => copy,
    }
}

enum Piece {
    Bytes(Bytes),
    Complete,
}

/// One file on its way to several destinations.
pub(super) struct FanOut {
    name: Key,
    branches: Vec<Branch>,
}

struct Branch {
    copy: usize,
    sender: mpsc::Sender<Piece>,
    task: JoinHandle<Result<Option<Stored>>>,
}

impl Branch {
    fn start(listener: Option<&Context>, copy: usize, name: &str, upload: Box<dyn Upload>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (listener, name) = (listener.cloned(), name.to_owned());
        let task = tokio::spawn(async move {
            let carried = carry(upload, receiver).await;
            // Said now, not after the hours that the others may still need; a stop on request is told once, at the end.
            if let (Err(error), Some(ctx)) = (&carried, listener)
                && !ctx.cancel.is_cancelled()
            {
                ctx.warn(format!("{name} drops out of this backup: {}", error.one_line()));
            }
            carried
        });
        Self { copy, sender, task }
    }
}

/// Writes what comes. If the sender goes without saying that it is complete, the upload is given up.
async fn carry(mut upload: Box<dyn Upload>, mut pieces: mpsc::Receiver<Piece>) -> Result<Option<Stored>> {
    while let Some(piece) = pieces.recv().await {
        match piece {
            Piece::Bytes(bytes) => {
                if let Err(error) = upload.write(bytes).await {
                    // Nobody shall wait to hand over more while this is cleaned up. The first error is the one to tell.
                    drop(pieces);
                    let _ = upload.abort().await;
                    return Err(error);
                }
            }
            Piece::Complete => return upload.complete().await.map(Some),
        }
    }
    upload.abort().await.map(|()| None)
}

impl FanOut {
    /// Hands `bytes` to every destination that has not failed; waits for the slowest.
    pub(super) async fn write(&mut self, bytes: &Bytes) -> Result<()> {
        let mut alive = false;
        for branch in &self.branches {
            alive |= branch.sender.send(Piece::Bytes(bytes.clone())).await.is_ok();
        }
        if alive {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Failed, format!("every destination of {} failed", self.name)))
        }
    }
}
