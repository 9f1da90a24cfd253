//! Fetching an archive out of its destination, as it is: standard gzip that any machine can restore.

use super::{Backup, Context};
use crate::catalogue::FileKind;
use crate::destination::{Destination, Pieces};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Writes the archive of `backup` to the new file `to`, checked against the manifest; returns its size in bytes. A copy that
/// proves damaged is left for the next one. The file appears only when it is whole.
pub async fn fetch(ctx: &Context, backup: &Backup, to: &Path) -> Result<u64> {
    if to.exists() {
        return Err(Error::new(ErrorKind::AlreadyExists, format!("{} exists already", to.display()))
            .hint("name a new file, or remove that one first"));
    }
    ctx.tell(&Event::Started { what: "fetch", subject: backup.manifest.id.to_string() });
    let mut first = None;
    for copy in &backup.copies {
        match fetch_from(ctx, backup, copy, to).await {
            Ok(bytes) => {
                ctx.tell(&Event::Finished);
                return Ok(bytes);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound | ErrorKind::Unavailable) => {
                ctx.warn(format!("the copy in {} cannot be used: {}", copy.name(), error.one_line()));
                first = first.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is nowhere", backup.manifest.dir()))))
}

async fn fetch_from(ctx: &Context, backup: &Backup, copy: &Arc<dyn Destination>, to: &Path) -> Result<u64> {
    let manifest = &backup.manifest;
    let progress = ctx.phase(Phase::Check, 0);
    let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", to.display());
    let mut file = tempfile::Builder::new().prefix(".pgkeep-").tempfile_in(folder).doing(cannot)?;
    let mut total = 0;
    for data in manifest.files_of(FileKind::Data) {
        let key = manifest.dir().child(&data.name);
        let mut digest = Sha256::new();
        let mut pieces = Pieces::whole(copy, key, data.bytes);
        while let Some(piece) = pieces.next().await {
            ctx.cancel.check()?;
            let piece = piece?;
            file.write_all(&piece).doing(cannot)?;
            digest.update(&piece);
            progress.stored_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        if hex::encode(digest.finalize()) != data.sha256 {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("{} of backup {} in {} has changed since it was stored", data.name, manifest.id, copy.name()),
            )
            .hint("try another copy or backup; `pgkeep backup verify --all` tells which are intact"));
        }
        total += data.bytes;
    }
    file.as_file().sync_all().doing(cannot)?;
    file.persist_noclobber(to).map_err(|error| Error::io(cannot(), error.error))?;
    Ok(total)
}
