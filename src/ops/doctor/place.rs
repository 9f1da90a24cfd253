//! Examining a destination, whatever lies behind it: a tiny backup's files are really written, listed, read and deleted,
//! and what the contract of [`Destination`] promises is looked at from outside.
//!
//! The files lie where those of a job named [`JOB`] would, without a manifest: nobody takes them for a backup, and what an
//! interrupted examination leaves the next one sweeps.

use crate::destination::{Claim, Destination, Finding, Key, Object, Stored, Verdict, size_in_words};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{BackupId, random_hex, random_u16};
use crate::ops::Context;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the files of examinations lie.
const JOB: &str = "pgkeep-doctor";

/// How many bytes are uploaded, in how many pieces.
const UPLOADED: usize = 1 << 20;
const PIECES: usize = 4;

/// How long an operation that was begun may still take once a stop was asked for: what it is doing it had better finish.
const GRACE: Duration = Duration::from_secs(5);

/// How far clocks may differ without a word, and without a warning. S3 refuses requests that are 15 minutes off.
const SKEW_NOTED: TimeDelta = TimeDelta::minutes(1);
const SKEW_WARNED: TimeDelta = TimeDelta::minutes(5);

/// What is said of a service that breaks its word.
const BROKEN: &str = "backups need this: use another service or folder, or look whether its settings forbid it";

/// What was found out about a destination.
pub(super) struct Place {
    pub(super) findings: Vec<Finding>,
    /// Whether it was there all the time.
    pub(super) reachable: bool,
}

/// Everything that can be found out about `destination`. Ends early if a stop is asked for.
pub(super) async fn examine(ctx: &Context, destination: &Arc<dyn Destination>) -> Place {
    let mut probe = match Probe::new(ctx, destination) {
        Ok(probe) => probe,
        Err(error) => return Place { findings: vec![Finding::failure("examination", &error)], reachable: true },
    };
    let reachable = probe.run().await;
    let mut findings = probe.findings;
    if reachable && !ctx.cancel.is_cancelled() {
        match within(ctx, destination.examine()).await {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(Finding::failure("examination", &error)),
        }
    }
    Place { findings, reachable }
}

/// Waits for `work`, but not for ever once a stop was asked for.
async fn within<T>(ctx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
    let too_late = async {
        ctx.cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = work => done,
        () = too_late => Err(ctx.cancel.error()),
    }
}

struct Probe<'p> {
    ctx: &'p Context,
    destination: &'p Arc<dyn Destination>,
    /// The folder in which everything lies.
    dir: Key,
    small: (Key, Bytes),
    large: (Key, Bytes),
    given_up: Key,
    findings: Vec<Finding>,
    /// Of what was stored, for the speed.
    took: Vec<String>,
}

/// The service cannot be reached: what follows would only wait in vain.
struct Unreachable;

impl<'p> Probe<'p> {
    fn new(ctx: &'p Context, destination: &'p Arc<dyn Destination>) -> Result<Self> {
        let now = ctx.clock.now();
        let id = BackupId::new(now, random_u16()?);
        let dir = Key::encode(JOB).join(&random_hex(4)?).join(id.as_str());
        let data = format!("probe_{}.sql.gz", now.format("%Y%m%d_%H%M%S"));
        let uploaded: Vec<u8> = (0..UPLOADED).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
        Ok(Self {
            ctx,
            destination,
            small: (dir.join("database.sql"), Bytes::from_static(b"-- written by pgkeep doctor, which removes it\n")),
            large: (dir.join(&data), uploaded.into()),
            given_up: dir.join("globals.sql.gz"),
            dir,
            findings: Vec::new(),
            took: Vec::new(),
        })
    }

    /// Says whether the destination can be reached.
    async fn run(&mut self) -> bool {
        let destination = Arc::clone(self.destination);
        let writable = within(self.ctx, destination.check_writable()).await;
        let reachable = match self.told("writable", writable.map(|()| "yes".to_owned())) {
            Err(Unreachable) => false,
            Ok(false) => self.read_only().await.is_ok(),
            Ok(true) => {
                // What a killed examination left; and what this one might leave is swept in the same way.
                if let Err(error) = within(self.ctx, destination.sweep(&Key::encode(JOB), self.ctx.clock.now())).await {
                    self.add(Finding::failure("sweeping", &error));
                }
                let mut claim = None;
                let probed = self.probe(&mut claim).await;
                self.clean_up(claim).await;
                probed.is_ok()
            }
        };
        if !reachable && !self.ctx.cancel.is_cancelled() {
            self.add(Finding::note("examination", "the rest was not looked at, as the destination cannot be reached"));
        }
        reachable
    }

    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Tells what came of something; whether it went well.
    fn told(&mut self, what: &str, result: Result<String>) -> Result<bool, Unreachable> {
        if self.ctx.cancel.is_cancelled() {
            return Err(Unreachable);
        }
        match result {
            Ok(found) => {
                self.add(Finding::good(what, found));
                Ok(true)
            }
            Err(error) => {
                self.add(Finding::failure(what, &error));
                if error.kind() == ErrorKind::Unavailable { Err(Unreachable) } else { Ok(false) }
            }
        }
    }

    /// Where nothing can be written, what is there can perhaps still be read.
    async fn read_only(&mut self) -> Result<(), Unreachable> {
        match within(self.ctx, self.destination.list(Some(&self.dir))).await {
            // It is not there at all, as was said.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => self.told("listing", other.map(|_| "works, though nothing can be written".to_owned())).map(drop),
        }
    }

    async fn probe(&mut self, held: &mut Option<Box<dyn Claim>>) -> Result<(), Unreachable> {
        let (ctx, destination, dir) = (self.ctx, Arc::clone(self.destination), self.dir.clone());
        let claimed = within(ctx, claim(&*destination, &dir, held)).await;
        self.told("claims", claimed.map(|()| "a folder that is being written is marked, for one writer only".into()))?;

        let mut stored: Vec<(Key, Bytes)> = Vec::new();
        let (small, large) = (self.small.clone(), self.large.clone());
        let clock = Instant::now();
        let before = ctx.clock.now();
        let put = within(ctx, put(&*destination, &small)).await;
        let put_took = clock.elapsed();
        let after = ctx.clock.now();
        if self.told("small writes", put.map(|()| "stored, size and digest agree".to_owned()))? {
            self.took.push(format!("a small write took {}", in_words(put_took)));
            stored.push(small);
        }
        let clock = Instant::now();
        let uploaded = within(ctx, upload(&*destination, &large)).await;
        let upload_took = clock.elapsed();
        if self.told("uploads", uploaded.map(|()| "stored in pieces, size and digest agree".to_owned()))? {
            self.took.push(format!("an upload {}", rate(upload_took)));
            stored.push(large);
        }
        let given_up = within(ctx, give_up(&*destination, &self.given_up)).await;
        self.told("uploads given up", given_up.map(|()| "leave nothing".to_owned()))?;

        for (key, bytes) in &stored {
            let what = if *key == self.small.0 { "write-once" } else { "write-once uploads" };
            let once = within(ctx, write_once(&*destination, key, bytes.len() == UPLOADED)).await;
            self.told(what, once.map(|()| "a second write under the same name is refused".to_owned()))?;
        }
        if let Some((key, bytes)) = stored.first() {
            match within(ctx, head(&*destination, key, bytes)).await {
                Err(error) => drop(self.told("looking up", Err(error))?),
                // The upload was later; only the small write's moments are known.
                Ok(object) if *key == self.small.0 => self.add(skew(object.modified, before, after)),
                Ok(_) => {}
            }
            let listed = within(ctx, list(&*destination, &dir, &stored)).await;
            self.told("listing", listed.map(|()| "shows what was written".to_owned()))?;
        }
        for (key, bytes) in &stored {
            let clock = Instant::now();
            let read = within(ctx, read(&*destination, key, bytes)).await;
            let took = clock.elapsed();
            let what = if *key == self.small.0 { "reads" } else { "reads of uploads" };
            let good = self.told(what, read.map(|()| "whole and in part; beyond the end is refused".to_owned()))?;
            if good && bytes.len() == UPLOADED {
                self.took.push(format!("reading it {}", rate(took)));
            }
        }
        if !self.took.is_empty() {
            self.add(Finding::good("speed", self.took.join(", ")));
        }
        Ok(())
    }

    /// Removes everything, also after failures and after a stop, and tells what cannot be removed.
    async fn clean_up(&mut self, claim: Option<Box<dyn Claim>>) {
        let stopped = self.ctx.cancel.is_cancelled();
        let known = self.findings.iter().any(|finding| finding.verdict == Verdict::Bad);
        let removed = within(self.ctx, self.remove(claim)).await;
        match removed {
            Ok(problems) if problems.is_empty() => {
                if !stopped {
                    self.add(Finding::good("deletes", "everything that was written is gone again"));
                }
            }
            Ok(problems) => self.findings.extend(problems),
            // A service that went away in the middle was told already, but that something is left there was not.
            Err(error) => {
                let found = format!("what was written below {} may be left there: {}", self.dir, error.one_line());
                let fix = format!("remove the folder {JOB} there; the next pgkeep doctor tries it too");
                self.add(if known {
                    Finding::warning("leftovers", found, fix)
                } else {
                    Finding::bad("deletes", found, fix)
                });
            }
        }
        if stopped {
            let left = self.findings.iter().rfind(|finding| matches!(finding.what.as_str(), "leftovers" | "deletes"));
            if let Some(left) = left {
                self.ctx.warn(format!("{}: {}", self.destination.name(), left.found));
            }
        }
    }

    /// Deletes what may have been written, answer or no answer; returns what went wrong. An error means that the
    /// destination cannot be reached.
    async fn remove(&self, claim: Option<Box<dyn Claim>>) -> Result<Vec<Finding>> {
        let mut problems = Vec::new();
        let mut failed = |what: &str, error: Error| {
            if error.kind() == ErrorKind::Unavailable {
                return Err(error);
            }
            problems.push(Finding::failure(what, &error));
            Ok(())
        };
        for key in [&self.small.0, &self.large.0, &self.given_up] {
            // Twice: that it is gone already is no failure, and some faults pass.
            let deleted = match self.destination.delete(key).await {
                Ok(()) => self.destination.delete(key).await,
                Err(error) => self.destination.delete(key).await.and(Err(error)),
            };
            if let Err(error) = deleted {
                failed("deletes", error)?;
            }
        }
        if let Some(claim) = claim
            && let Err(error) = claim.release().await
        {
            failed("claims", error)?;
        }
        // Marks of claims and unfinished uploads are hidden from a listing, not from a sweep.
        if let Err(error) = self.destination.sweep(&Key::encode(JOB), self.ctx.clock.now()).await {
            failed("sweeping", error)?;
        }
        match self.destination.list(Some(&self.dir)).await {
            Err(error) => failed("listing", error)?,
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                let names: Vec<&str> = left.iter().map(|object| object.key.as_str()).collect();
                let found = format!("these files of the examination are still there: {}", names.join(", "));
                let fix = format!("remove the folder {JOB} there, and let pgkeep delete what it wrote");
                problems.push(Finding::bad("leftovers", found, fix));
            }
        }
        // The same failure of several keys is one finding.
        problems.dedup_by(|a, b| a.what == b.what && a.fix == b.fix);
        Ok(problems)
    }
}

fn broken(found: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, found).hint(BROKEN)
}

async fn claim(destination: &dyn Destination, dir: &Key, held: &mut Option<Box<dyn Claim>>) -> Result<()> {
    *held = Some(destination.claim(dir).await?);
    match destination.claim(dir).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(broken("two writers can claim the same folder")),
    }
}

fn agrees(stored: &Stored, bytes: &Bytes) -> Result<()> {
    if stored.bytes == bytes.len() as u64 && stored.sha256 == hex::encode(Sha256::digest(bytes)) {
        return Ok(());
    }
    Err(broken(format!("{} bytes were written, and {} others are said to be stored", bytes.len(), stored.bytes)))
}

async fn put(destination: &dyn Destination, (key, bytes): &(Key, Bytes)) -> Result<()> {
    agrees(&destination.put(key, bytes.clone()).await?, bytes)
}

async fn upload(destination: &dyn Destination, (key, bytes): &(Key, Bytes)) -> Result<()> {
    let mut upload = destination.upload(key, bytes.len() as u64).await?;
    let size = UPLOADED / PIECES;
    for piece in 0..PIECES {
        if let Err(error) = upload.write(bytes.slice(piece * size..(piece + 1) * size)).await {
            // The failed write says more than a failed end.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
    agrees(&upload.complete().await?, bytes)
}

async fn give_up(destination: &dyn Destination, key: &Key) -> Result<()> {
    let mut upload = destination.upload(key, 0).await?;
    let written = upload.write(Bytes::from_static(b"never to be seen")).await;
    upload.abort().await?;
    written?;
    match destination.head(key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(broken("an upload that was given up is there all the same")),
    }
}

async fn write_once(destination: &dyn Destination, key: &Key, by_upload: bool) -> Result<()> {
    let other = Bytes::from_static(b"something else");
    let written = if by_upload {
        match destination.upload(key, 0).await {
            Err(error) => Err(error),
            Ok(mut upload) => match upload.write(other).await {
                Ok(()) => upload.complete().await.map(drop),
                Err(error) => upload.abort().await.and(Err(error)),
            },
        }
    } else {
        destination.put(key, other).await.map(drop)
    };
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(broken("a second write under the same name replaces what was there")),
    }
}

async fn head(destination: &dyn Destination, key: &Key, bytes: &Bytes) -> Result<Object> {
    let object = destination.head(key).await?;
    if object.bytes == bytes.len() as u64 {
        return Ok(object);
    }
    Err(broken(format!("{} bytes were written, and {} are told of", bytes.len(), object.bytes)))
}

async fn list(destination: &dyn Destination, dir: &Key, stored: &[(Key, Bytes)]) -> Result<()> {
    let listed: Vec<(Key, u64)> =
        destination.list(Some(dir)).await?.into_iter().map(|object| (object.key, object.bytes)).collect();
    let mut expected: Vec<(Key, u64)> = stored.iter().map(|(key, bytes)| (key.clone(), bytes.len() as u64)).collect();
    expected.sort();
    if listed == expected {
        return Ok(());
    }
    Err(broken(format!("{} files were written, and a listing shows {} or other sizes", expected.len(), listed.len())))
}

async fn read(destination: &dyn Destination, key: &Key, bytes: &Bytes) -> Result<()> {
    let size = bytes.len() as u64;
    if destination.read(key, 0..size).await? != *bytes {
        return Err(broken("other bytes are read than were written"));
    }
    if destination.read(key, 10..20).await? != bytes.slice(10..20) {
        return Err(broken("reading a part gives other bytes than were written there"));
    }
    match destination.read(key, size - 1..size + 1).await {
        Err(error) if error.kind() == ErrorKind::Damaged => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(broken("reading beyond the end is not refused")),
    }
}

/// The destination's clock against this computer's, from what was written between two moments here.
fn skew(modified: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> Finding {
    let what = "clock";
    // Between the two moments nothing is known to differ.
    let (ahead, behind) = (modified - after, before - modified);
    let off = ahead.max(behind);
    let way = if ahead > behind { "ahead of" } else { "behind" };
    if off <= SKEW_NOTED {
        return Finding::good(what, "agrees with this computer's to the minute");
    }
    let found = format!("the destination's is {} {way} this computer's", minutes(off));
    if off <= SKEW_WARNED {
        return Finding::note(what, found);
    }
    let fix = "set this computer's clock (timedatectl set-ntp true), or the destination's";
    Finding::warning(what, format!("{found}; S3 refuses what is 15 minutes off, and ages are told wrongly"), fix)
}

fn minutes(off: TimeDelta) -> String {
    match off.num_minutes() {
        minutes @ 0..120 => format!("{minutes} minutes"),
        minutes => format!("{} hours", minutes / 60),
    }
}

fn in_words(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

fn rate(took: Duration) -> String {
    let seconds = took.as_secs_f64().max(0.000_001);
    format!("{}/s", size_in_words((UPLOADED as f64 / seconds) as u64))
}

#[cfg(test)]
mod tests;
