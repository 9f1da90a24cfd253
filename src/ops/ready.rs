//! A backup made ready to be restored: checked as far as must be before psql sees any of it.

use super::check::{Intact, check_against, compare, contents, held, intact_copy};
use super::{Backup, Context};
use crate::archive::{Contents, MemberMap, Proven, SqlReader};
use crate::catalogue::{FileKind, Manifest};
use crate::config::Codec;
use crate::destination::{Destination, Key};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Phase, Progress};
use crate::restore::{RestoreFile, outline};
use crate::script::{Entries, Omit, Scan};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A backup that may be restored.
pub(super) enum Ready {
    /// Its index has a digest of each member: it was read as far as it is not rows, and rows are checked member by member
    /// when they are loaded, before psql sees them.
    InParts(Parts),
    /// Its index, an older one, has none: every byte was read and compared with the manifest.
    AsAWhole(Intact),
}

/// A backup that is read in parts.
pub(super) struct Parts {
    /// Reads it, each member from a copy in which it is whole.
    pub(super) source: Arc<Proven>,
    /// Its index.
    pub(super) contents: Contents,
    /// Its data files.
    pub(super) files: Vec<RestoreFile>,
}

impl Ready {
    /// The index.
    pub(super) fn contents(&self) -> &Contents {
        match self {
            Self::InParts(parts) => &parts.contents,
            Self::AsAWhole(intact) => &intact.contents,
        }
    }

    /// What its files are read from.
    pub(super) fn source(&self) -> Arc<dyn Destination> {
        match self {
            Self::InParts(parts) => Arc::clone(&parts.source) as Arc<dyn Destination>,
            Self::AsAWhole(intact) => Arc::clone(&intact.source),
        }
    }

    /// The copy that is read.
    pub(super) fn copy(&self) -> Option<Arc<dyn Destination>> {
        match self {
            Self::InParts(parts) => parts.source.current().cloned(),
            Self::AsAWhole(intact) => Some(Arc::clone(&intact.copy)),
        }
    }

    /// What each data file holds, in order.
    pub(super) fn scans(&self) -> Box<dyn Iterator<Item = &Scan> + '_> {
        match self {
            Self::InParts(parts) => Box::new(parts.files.iter().map(|file| &file.outline.scan)),
            Self::AsAWhole(intact) => Box::new(intact.scans.iter()),
        }
    }
}

/// Reads and checks `backup`, noting what `omit` says is to be left out.
pub(super) async fn make_ready(ctx: &Context, backup: &Backup, omit: &Omit) -> Result<Ready> {
    let contents = index(ctx, backup).await?;
    let digests = contents.files.iter().all(|file| file.members.are_digested());
    if !digests {
        return intact_copy(ctx, backup, omit).await.map(Ready::AsAWhole);
    }
    in_parts(ctx, backup, contents, omit).await.map(Ready::InParts)
}

/// The way to each data file of `backup`, whose members all have digests in `contents`.
pub(super) fn readers(
    ctx: &Context,
    backup: &Backup,
    contents: &Contents,
    progress: &Arc<Progress>,
) -> Result<(Arc<Proven>, Vec<SqlReader>)> {
    let codec: Codec = backup.manifest.codec.parse()?;
    let dir = backup.manifest.dir();
    let maps: Vec<(Key, Arc<MemberMap>)> =
        contents.files.iter().map(|file| (dir.child(&file.name), Arc::new(MemberMap::new(&file.members)))).collect();
    let told = ctx.clone();
    let by_key: BTreeMap<Key, Arc<MemberMap>> = maps.iter().cloned().collect();
    let entries: BTreeMap<Key, Entries> =
        contents.files.iter().map(|file| (dir.child(&file.name), file.entries.clone())).collect();
    let names = move |key: &Key, sql| entries.get(key).map(|entries| held(entries, sql)).unwrap_or_default();
    let told = Box::new(move |why| told.warn(why));
    let source = Arc::new(Proven::new(backup.copies.clone(), by_key, told, Box::new(names)));
    let reader = |(key, map)| SqlReader {
        source: Arc::clone(&source) as Arc<dyn Destination>,
        key,
        codec,
        map,
        threads: ctx.threads(),
        progress: Arc::clone(progress),
    };
    let readers = maps.into_iter().map(reader).collect();
    Ok((source, readers))
}

/// The index of a backup that is to be restored.
pub(super) async fn index(ctx: &Context, backup: &Backup) -> Result<Contents> {
    contents(ctx, backup).await.map_err(|error| match error.kind() {
        // What the manifest names is not as it was, whatever is wrong with it.
        ErrorKind::NotFound | ErrorKind::Version | ErrorKind::Refused => error.with_kind(ErrorKind::Damaged),
        _ => error,
    })
}

async fn in_parts(ctx: &Context, backup: &Backup, contents: Contents, omit: &Omit) -> Result<Parts> {
    let manifest = &backup.manifest;
    let progress = ctx.phase(Phase::Check, 0);
    let mut problems = check_against(manifest, &contents);
    if !sizes_differ(manifest, &contents).is_empty() {
        return Err(damaged(manifest, &problems));
    }
    let (source, readers) = readers(ctx, backup, &contents, &progress)?;
    let mut files = Vec::new();
    for (reader, index) in readers.into_iter().zip(&contents.files) {
        let outline = outline(&reader, &index.entries, omit.clone(), &ctx.cancel).await?;
        compare(&index.name, &outline.scan, index, &mut problems);
        files.push(RestoreFile { reader, outline, broken_lines: index.broken_lines.clone() });
    }
    if problems.is_empty() {
        return Ok(Parts { source, contents, files });
    }
    Err(damaged(manifest, &problems))
}

pub(super) fn damaged(manifest: &Manifest, problems: &[String]) -> Error {
    Error::new(ErrorKind::Damaged, format!("backup {} is damaged", manifest.id))
        .caused_by(problems.join("; "))
        .hint("try another backup; `pgkeep backup verify --all` tells which are intact")
}

impl Parts {
    /// Makes the files ready to be loaded by `jobs` sessions at once, which tell `progress` how far they are.
    pub(super) fn load_by(&mut self, jobs: usize, progress: &Arc<Progress>) {
        for file in &mut self.files {
            file.reader.threads = (file.reader.threads / jobs.max(1)).max(1);
            file.reader.progress = Arc::clone(progress);
        }
    }
}

/// What must fit between a manifest and its index for the index to be used: every data file, to the byte.
pub(super) fn sizes_differ(manifest: &Manifest, contents: &Contents) -> Vec<String> {
    let mut problems = Vec::new();
    let files: Vec<_> = manifest.files_of(FileKind::Data).collect();
    if contents.files.len() != files.len() {
        let (described, stored) = (contents.files.len(), files.len());
        problems.push(format!("the index describes {described} data files, and the manifest names {stored}"));
    }
    for (file, index) in files.iter().zip(&contents.files) {
        let stored: u64 = index.members.iter().map(|member| member.stored_bytes).sum();
        let sql: u64 = index.members.iter().map(|member| member.sql_bytes).sum();
        if (stored, sql) != (file.bytes, file.unpacked_bytes) || index.name != file.name {
            problems.push(format!("the index does not fit {}: it covers {stored} bytes of {}", file.name, file.bytes));
        }
    }
    problems
}
