//! Copying a backup from one destination to another, and healing those that were down when it was taken.
//!
//! The bytes stream from one to the other and are digested on the way: a copy exists only if every file is what the
//! manifest says. It is published as a new backup is, the manifest last.

use super::check::digest_problem;
use super::consolidate::{consolidate_at, database_of};
use super::outcome::{CopyOutcome, CopyStatus};
use super::store::copy_of;
use super::{Backup, Catalog, Context, open_destination};
use crate::catalogue::{Change, CompletedBackup, Draft, File, LARGEST_MANIFEST, Manifest};
use crate::config::DestinationRef;
use crate::destination::{Destination, Key, MANIFEST_NAME, Pieces, is_receipt_of, read_small};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase, Progress};
use crate::lock;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Files of up to so many bytes go up in one request.
const SMALL: u64 = 4 << 20;

/// Copies `backup` to each of `to`, from the first of its copies that proves whole; `from` limits these to one destination.
/// What happened at each is an outcome; an error means that nothing was begun.
pub async fn copy(
    ctx: &Context,
    backup: &Backup,
    from: Option<&DestinationRef>,
    to: &[DestinationRef],
) -> Result<Vec<CopyOutcome>> {
    let outcomes = copy_one(ctx, backup, from, to).await?;
    renew_indexes(ctx, &outcomes).await;
    Ok(outcomes)
}

/// What was copied is new where it is now.
async fn renew_indexes(ctx: &Context, outcomes: &[CopyOutcome]) {
    let copied = outcomes.iter().filter(|outcome| outcome.status == CopyStatus::Copied);
    let changed: BTreeSet<(&str, Key)> =
        copied.map(|done| (done.to.as_str(), database_of(&done.job, &done.database))).collect();
    for (name, database) in changed {
        if let Ok(reference) = DestinationRef::parse(name, &ctx.config) {
            consolidate_at(ctx, [&open_destination(ctx, &reference)], &database).await;
        }
    }
}

async fn copy_one(
    ctx: &Context,
    backup: &Backup,
    from: Option<&DestinationRef>,
    to: &[DestinationRef],
) -> Result<Vec<CopyOutcome>> {
    let sources: Vec<Arc<dyn Destination>> =
        backup.copies.iter().filter(|copy| from.is_none_or(|from| copy.name() == from.name)).cloned().collect();
    if sources.is_empty() {
        let place = from.map_or("anywhere", |from| from.name.as_str());
        return Err(Error::new(ErrorKind::NotFound, format!("backup {} is not in {place}", backup.manifest.id))
            .hint("`pgkeep backup list` shows where each backup is"));
    }
    let _lock = lock::acquire(&ctx.state_dir(), &format!("copies of {}", backup.manifest.job), "copy")?;
    let mut outcomes = Vec::new();
    for reference in to {
        ctx.cancel.check()?;
        outcomes.push(copy_to(ctx, &backup.manifest, &sources, reference).await);
    }
    Ok(outcomes)
}

/// Copies every backup of `catalog` to the destinations at which it should be and is not.
pub async fn copy_missing(ctx: &Context, catalog: &Catalog) -> Result<Vec<CopyOutcome>> {
    let mut outcomes = Vec::new();
    for backup in catalog.backups().iter().filter(|backup| !backup.missing.is_empty()) {
        let to: Vec<DestinationRef> =
            backup.missing.iter().map(|name| DestinationRef::parse(name, &ctx.config)).collect::<Result<_>>()?;
        let copied = async {
            match backup.fresh(ctx).await? {
                Some(backup) => copy_one(ctx, &backup, None, &to).await,
                // Removed meanwhile: it is missing nowhere.
                None => Ok(Vec::new()),
            }
        };
        match copied.await {
            Ok(copied) => outcomes.extend(copied),
            // What keeps one backup from being copied keeps no other.
            Err(error) => {
                let failed = |to: &DestinationRef| outcome(&backup.manifest, to, Err(copy_of(&error)), Instant::now());
                outcomes.extend(to.iter().map(failed));
            }
        }
    }
    renew_indexes(ctx, &outcomes).await;
    Ok(outcomes)
}

async fn copy_to(
    ctx: &Context,
    manifest: &Manifest,
    sources: &[Arc<dyn Destination>],
    reference: &DestinationRef,
) -> CopyOutcome {
    let clock = Instant::now();
    ctx.tell(&Event::Started { what: "copy", subject: format!("{} to {}", manifest.id, reference.name) });
    let done = transfer(ctx, manifest, sources, &open_destination(ctx, reference)).await;
    ctx.tell(&Event::Finished);
    outcome(manifest, reference, done, clock)
}

fn outcome(
    manifest: &Manifest,
    reference: &DestinationRef,
    done: Result<Option<String>>,
    clock: Instant,
) -> CopyOutcome {
    let (status, from, failure) = match done {
        Ok(Some(from)) => (CopyStatus::Copied, Some(from), None),
        Ok(None) => (CopyStatus::There, None, None),
        Err(error) => (CopyStatus::Failed, None, Some(error)),
    };
    CopyOutcome {
        id: manifest.id.clone(),
        job: manifest.job.clone(),
        database: manifest.database.clone(),
        from,
        to: reference.name.clone(),
        status,
        stored_bytes: manifest.stored_bytes,
        seconds: clock.elapsed().as_secs_f64(),
        error: failure.as_ref().map(Error::one_line),
        failure,
    }
}

/// The name of the source whose bytes arrived; `None` if the backup was there already.
async fn transfer(
    ctx: &Context,
    manifest: &Manifest,
    sources: &[Arc<dyn Destination>],
    to: &Arc<dyn Destination>,
) -> Result<Option<String>> {
    let progress = ctx.phase(Phase::Copy, manifest.stored_bytes);
    let key = manifest.dir().join(MANIFEST_NAME);
    match read_small(&**to, &key, LARGEST_MANIFEST).await {
        Ok(json) if Manifest::from_json(&json, &manifest.dir()).is_ok_and(|there| there == *manifest) => {
            return Ok(None);
        }
        Ok(_) => return Err(differs(&key, to)),
        Err(error) if error.kind() == ErrorKind::Damaged => return Err(differs(&key, to)),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    to.check_writable().await?;
    // What an interrupted copy left would otherwise be in the way.
    to.sweep(&Key::encode(&manifest.job), ctx.clock.now()).await?;
    // An index may know an earlier copy of this backup, with receipts that went when it did.
    let change = Change::begin(&**to, &manifest.dir()).await?;
    match transfer_from(ctx, manifest, sources, to, &progress).await {
        Ok(source) => {
            change.done();
            Ok(Some(source))
        }
        Err(error) => {
            change.revoke(&**to).await;
            Err(error)
        }
    }
}

/// The name of the first source whose bytes arrived.
async fn transfer_from(
    ctx: &Context,
    manifest: &Manifest,
    sources: &[Arc<dyn Destination>],
    to: &Arc<dyn Destination>,
    progress: &Progress,
) -> Result<String> {
    let mut first = None;
    for source in sources {
        ctx.cancel.check()?;
        progress.sql_bytes.store(0, Ordering::Relaxed);
        let mut draft = Draft::begin(Arc::clone(to), manifest.dir()).await?;
        let filled = fill(ctx, manifest, source, &mut draft, progress).await;
        match filled {
            Ok(()) => {
                draft.publish(&CompletedBackup::new(manifest.clone())?).await?;
                for source in sources {
                    copy_receipts(ctx, manifest, source, to).await;
                }
                return Ok(source.name().to_owned());
            }
            Err(error) => {
                if let Err(left) = draft.discard().await {
                    ctx.warn(format!("could not clean up, the next run will: {}", left.one_line()));
                }
                ctx.cancel.check()?;
                let error = match error {
                    Fault::Source(error) => error,
                    Fault::Target(error) => return Err(error),
                };
                ctx.warn(format!("the copy in {} cannot be used: {}", source.name(), error.one_line()));
                first = first.or(Some(error));
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is nowhere", manifest.dir()))))
}

fn differs(key: &Key, to: &Arc<dyn Destination>) -> Error {
    Error::new(ErrorKind::Damaged, format!("{key} in {} is another manifest, or damaged", to.name()))
        .hint("`pgkeep backup verify --all` tells which copy is right; delete the wrong one's folder, then copy again")
}

/// Whose fault it is that a file did not arrive.
enum Fault {
    /// It could not be read, or is damaged: another source may do.
    Source(Error),
    /// It could not be stored.
    Target(Error),
}

async fn fill(
    ctx: &Context,
    manifest: &Manifest,
    source: &Arc<dyn Destination>,
    draft: &mut Draft,
    progress: &Progress,
) -> Result<(), Fault> {
    for file in &manifest.files {
        ctx.cancel.check().map_err(Fault::Target)?;
        let key = manifest.dir().child(&file.name);
        if file.bytes <= SMALL {
            let bytes = source.read(&key, 0..file.bytes).await.map_err(Fault::Source)?;
            unchanged(file, source, &hex::encode(Sha256::digest(&bytes)))?;
            draft.put(&file.name, bytes).await.map_err(Fault::Target)?;
        } else {
            stream(ctx, file, source, &key, draft, progress).await?;
        }
        progress.sql_bytes.fetch_add(if file.bytes <= SMALL { file.bytes } else { 0 }, Ordering::Relaxed);
    }
    Ok(())
}

async fn stream(
    ctx: &Context,
    file: &File,
    source: &Arc<dyn Destination>,
    key: &Key,
    draft: &mut Draft,
    progress: &Progress,
) -> Result<(), Fault> {
    let mut upload = draft.upload(&file.name, file.bytes).await.map_err(Fault::Target)?;
    let mut pieces = Pieces::whole(source, key.clone(), file.bytes);
    let mut digest = Sha256::new();
    let mut fault = None;
    while let Some(piece) = pieces.next().await {
        let written = match piece {
            Err(error) => Err(Fault::Source(error)),
            Ok(bytes) => {
                digest.update(&bytes);
                progress.sql_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                match ctx.cancel.check() {
                    Ok(()) => upload.write(bytes).await.map_err(Fault::Target),
                    Err(stopped) => Err(Fault::Target(stopped)),
                }
            }
        };
        if let Err(failed) = written {
            fault = Some(failed);
            break;
        }
    }
    let fault = fault.map_or_else(|| unchanged(file, source, &hex::encode(digest.finalize())), Err);
    if let Err(fault) = fault {
        // The first error is the one to tell.
        let _ = upload.abort().await;
        return Err(fault);
    }
    let completed = upload.complete().await.inspect_err(|error| draft.failed(&file.name, error));
    let stored = completed.map_err(Fault::Target)?;
    draft.add(file.name.clone(), stored);
    Ok(())
}

fn unchanged(file: &File, source: &Arc<dyn Destination>, digest: &str) -> Result<(), Fault> {
    if digest == file.sha256 {
        return Ok(());
    }
    let problem = format!("{} in {}", digest_problem(&file.name, digest, &file.sha256), source.name());
    Err(Fault::Source(
        Error::new(ErrorKind::Damaged, problem).hint("`pgkeep backup verify --all` tells which are intact"),
    ))
}

/// What drills proved of these bytes is true of the copy, and so is that it is pinned; that it was verified is not.
async fn copy_receipts(ctx: &Context, manifest: &Manifest, from: &Arc<dyn Destination>, to: &Arc<dyn Destination>) {
    let dir = manifest.dir();
    let copied = async {
        let mut objects = from.list(Some(&dir.join("drills"))).await?;
        objects.extend(from.list(Some(&dir.join("pins"))).await?);
        for object in objects {
            if is_receipt_of(&dir, &object.key).is_some() && object.bytes <= SMALL {
                let bytes = from.read(&object.key, 0..object.bytes).await?;
                match to.put(&object.key, bytes).await {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
        }
        Ok::<(), Error>(())
    };
    if let Err(error) = copied.await {
        ctx.warn(format!("the receipts of drills and pins were not copied to {}: {}", to.name(), error.one_line()));
    }
}
