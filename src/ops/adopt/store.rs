//! Storing a judged file as a backup, everywhere at once.

use super::judge::Judged;
use super::source::{Cut, Stream};
use super::zone::{Evidence, Tap};
use super::{Adoption, same};
use crate::archive::{Contents, FileContents, Packed};
use crate::catalogue::{CompletedBackup, FORMAT, File, FileKind, Globals, Manifest, backup_dir};
use crate::config::Require;
use crate::destination::Destination;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Phase};
use crate::id::{BackupId, random_u16};
use crate::ops::backup::{data_name, put};
use crate::ops::contents::put_contents;
use crate::ops::dump::pack;
use crate::ops::instructions::{database_sql, restore_txt};
use crate::ops::outcome::{BackupOutcome, BackupStatus, DestinationOutcome};
use crate::ops::store::{Copies, judge};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, PoisonError};

impl Adoption<'_> {
    /// Stores the file; also returns the backup and a place that has it.
    pub(super) async fn store(&self, judged: &Judged) -> (BackupOutcome, Option<(Manifest, Arc<dyn Destination>)>) {
        let planned = self.planned(judged);
        let (mut copies, id) = match self.begin(judged).await {
            Ok(begun) => begun,
            Err(error) => {
                let (status, line) = (BackupStatus::Failed, Some(error.one_line()));
                return (BackupOutcome { status, error: line, failure: Some(error), ..planned }, None);
            }
        };
        let taken = self.take(judged, id, &mut copies).await;
        if let Err(error) = &taken {
            for left in copies.discard(error).await {
                self.ctx.warn(format!("could not clean up, the next run will: {}", left.one_line()));
            }
        }
        let results = copies.results();
        let (status, failure) = judge(&results, self.request.require, taken.as_ref().err());
        let destination = |copy: &crate::ops::store::CopyResult| DestinationOutcome {
            name: copy.name.clone(),
            status: if copy.failure.is_none() { BackupStatus::Stored } else { BackupStatus::Failed },
            error: copy.failure.as_ref().map(Error::one_line),
        };
        let manifest = taken.ok();
        let outcome = BackupOutcome {
            id: manifest.as_ref().map(|manifest| manifest.id.clone()),
            status,
            stored_bytes: manifest.as_ref().map_or(0, |manifest| manifest.stored_bytes),
            sql_bytes: manifest.as_ref().map_or(0, |manifest| manifest.sql_bytes),
            warnings: manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.warnings.clone()),
            destinations: results.iter().map(destination).collect(),
            error: failure.as_ref().map(Error::one_line),
            failure,
            ..planned
        };
        let place = self.destinations.iter().zip(&results).find(|(_, copy)| copy.failure.is_none());
        let stored = manifest.zip(place.map(|(destination, _)| Arc::clone(destination)));
        (outcome, stored)
    }

    async fn begin(&self, judged: &Judged) -> Result<(Copies, BackupId)> {
        let check =
            async |destination: &Arc<dyn Destination>| (Arc::clone(destination), destination.check_writable().await);
        let checked = join_all(self.destinations.iter().map(check)).await;
        self.ctx.cancel.check()?;
        let id = BackupId::new(judged.taken_at, random_u16()?);
        let dir = backup_dir(&self.request.job, &judged.database, &id);
        let mut copies = Copies::begin(self.ctx, checked, &dir).await;
        let enough = self.request.require == Require::All
            || self.request.require.is_met(copies.alive(), self.destinations.len());
        if copies.alive() == 0 || !enough {
            let because = Error::new(ErrorKind::Failed, "too few destinations can be written to");
            copies.discard(&because).await;
            return Err(copies.results().into_iter().find_map(|copy| copy.failure).unwrap_or(because));
        }
        Ok((copies, id))
    }

    /// Streams, stores and publishes. On an error the caller discards what was stored.
    async fn take(&self, judged: &Judged, id: BackupId, copies: &mut Copies) -> Result<Manifest> {
        let codec = self.request.compression.codec();
        let (data, packed, evidence) = self.stream(judged, copies).await?;
        let mut inspection = judged.inspection.clone();
        let mut warnings = judged.warnings.clone();
        match evidence.zone(self.ctx.config.timezone) {
            Ok(zone) => {
                inspection.output_settings.extend(zone.map(|zone| ("TimeZone".to_owned(), zone.name().to_owned())));
            }
            Err(()) => warnings.push(
                "its moments are written in a time zone that is not known: a proof may find their rows different"
                    .to_owned(),
            ),
        }
        let progress = self.ctx.phase(Phase::Publish, 0);
        let mut files = vec![data];
        let mut properties = database_sql(&inspection);
        if !judged.others.is_empty() {
            properties.push_str("-- What the adopted file said of its database besides, not run by a restore:\n");
            for line in judged.others.iter().flat_map(|statement| statement.split(['\n', '\r'])) {
                properties.push_str(&format!("-- {line}\n"));
            }
        }
        files.push(put(copies, "database.sql", FileKind::Database, properties.into_bytes()).await?);
        let contents = Contents::new(vec![FileContents {
            name: files[0].name.clone(),
            members: packed.members,
            broken_lines: packed.broken_lines,
            entries: packed.scan.entries,
        }]);
        files.push(put_contents(copies, &contents).await?);
        let text = restore_txt(&inspection, &files[..1], codec, false);
        files.push(put(copies, "RESTORE.txt", FileKind::Instructions, text.into_bytes()).await?);
        drop(progress);
        let now = self.ctx.clock.now();
        let keep_for = self.request.keep_for.and_then(|duration| chrono::TimeDelta::from_std(duration).ok());
        let mut roles = packed.scan.roles;
        roles.extend(inspection.properties.roles().map(str::to_owned));
        let manifest = Manifest {
            format: FORMAT,
            written_by: format!("pgkeep {}", env!("CARGO_PKG_VERSION")),
            id: id.clone(),
            job: self.request.job.clone(),
            database: judged.database.clone(),
            label: self.request.label.clone(),
            pinned: self.request.pinned,
            keep_until: keep_for.and_then(|duration| now.checked_add_signed(duration)),
            scheduled_for: None,
            adopted_from: Some(judged.source.name.clone()),
            started_at: judged.taken_at,
            finished_at: judged.taken_at,
            server: inspection.server,
            pg_dump_version: judged.pg_dump.clone(),
            codec: codec.name().to_owned(),
            tables: packed.scan.tables,
            rows: packed.scan.rows,
            entries: contents.counted(),
            large_objects: packed.scan.large_objects,
            sql_bytes: packed.scan.sql_bytes,
            stored_bytes: files.iter().map(|file| file.bytes).sum(),
            properties: inspection.properties,
            output_settings: inspection.output_settings,
            extensions: inspection.extensions,
            roles: roles.into_iter().collect(),
            globals: Globals::Missing { reason: "the adopted file holds none".to_owned() },
            files,
            warnings,
        };
        self.ctx.cancel.check()?;
        copies.publish(&CompletedBackup::new(manifest.clone())?).await?;
        self.ctx.tell(&Event::Stored { id });
        Ok(manifest)
    }

    /// Streams the file's SQL to every destination; returns the stored file only if it holds what was judged.
    async fn stream(&self, judged: &Judged, copies: &mut Copies) -> Result<(File, Packed, Evidence)> {
        let progress = self.ctx.phase(Phase::Copy, judged.scan.sql_bytes);
        let compression = self.request.compression;
        let name = data_name(&judged.database, judged.taken_at, compression.codec())?;
        let Stream { reader, child } = judged.source.stream(&self.ctx.cancel).await?;
        let mut upload = copies.upload(&name, judged.scan.sql_bytes / 4).await?;
        let (tap, evidence) = Tap::new(reader, &judged.scan.entries);
        let source = Cut::new(tap, judged.scan.cut.clone());
        let packed = pack(self.ctx, source, compression, &progress, async |chunk| upload.write(&chunk).await).await;
        let ended = judged.source.ended(child, &self.ctx.cancel).await;
        let packed = self.ctx.cancel.check().and(packed).and_then(|packed| {
            ended?;
            unchanged(judged, &packed)?;
            Ok(packed)
        });
        let finished = copies.finish(upload, packed.is_ok()).await;
        // Where every destination failed, the destination's error says why.
        let packed = match (packed, finished) {
            (Ok(packed), finished) => finished.map(|()| packed)?,
            (Err(error), _) if copies.alive() > 0 => return Err(error),
            (Err(error), finished) => return Err(finished.err().unwrap_or(error)),
        };
        let file = File {
            name,
            kind: FileKind::Data,
            bytes: packed.stored_bytes,
            sha256: packed.sha256.clone(),
            unpacked_bytes: packed.scan.sql_bytes,
        };
        Ok((file, packed, gathered(&evidence)))
    }
}

fn gathered(evidence: &Mutex<Evidence>) -> Evidence {
    std::mem::take(&mut *evidence.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What is stored must be what was judged: somebody may have written to the file meanwhile.
fn unchanged(judged: &Judged, packed: &Packed) -> Result<()> {
    let scan = &packed.scan;
    if let Some(violation) = scan.violations.first() {
        let message = format!("{} holds {} in line {}", judged.source.name, violation.what, violation.line);
        return Err(Error::new(ErrorKind::Refused, message).hint("pg_dump does not write that; look at that line"));
    }
    if !scan.complete || !same(scan.entries.iter(), &judged.scan.entries) {
        return Err(Error::new(
            ErrorKind::Refused,
            format!("{} changed while it was being adopted", judged.source.name),
        )
        .hint("wait until nobody writes to it any more, and try again"));
    }
    Ok(())
}
