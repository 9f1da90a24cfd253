//! Filling the database: load, analyze, properties, proof.

use super::place::Place;
use super::{Restorer, adapt};
use crate::archive::Unpacking;
use crate::catalogue::{FileKind, Manifest};
use crate::config::Codec;
use crate::error::Result;
use crate::event::Phase;
use crate::ops::Context;
use crate::ops::check::Intact;
use crate::ops::outcome::{Proof, RestoreOutcome};
use crate::ops::prove::{Kept, prove};
use crate::ops::ready::Ready;
use crate::postgres::{Client, Without};
use crate::restore::{Existing, LoadPart, LoadTimes, Loading, analyze, load};
use std::sync::Arc;
use std::time::Instant;

impl Restorer<'_> {
    pub(super) async fn fill(
        &self,
        place: &Place,
        there: Option<&Existing>,
        ready: &mut Ready,
        clock: Instant,
        mut notes: Vec<String>,
    ) -> Result<RestoreOutcome> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let database = match place {
            Place::Ours(scratch) => scratch.name.as_str(),
            Place::Theirs => self.name.as_str(),
        };
        let client = self.maintenance.with_database(database);
        load_ready(ctx, &client, manifest, ready, jobs(self.request.jobs)).await?;
        ctx.phase(Phase::Analyze, 0);
        notes.extend(analyze(&client, jobs(self.request.jobs), &ctx.cancel).await?);
        let restore_seconds = clock.elapsed().as_secs_f64();
        let without = Without { comment: matches!(place, Place::Ours(_)), ..self.without };
        notes.extend(apply_properties(ctx, &self.maintenance, manifest, database, without).await?);
        let prove_clock = Instant::now();
        let comparison = if self.request.prove {
            let locale = matches!(place, Place::Ours(_));
            let mut kept = Kept { without, locale };
            if adapt::merges_roles(&self.backup.manifest, &self.request.roles) {
                kept.without.privileges = true;
                notes.push("privileges were not compared, for several roles have become one".to_owned());
            }
            let (contents, declared) = adapt::adapted_contents(ready, manifest, &self.request.roles);
            Some(prove(ctx, &client, &self.search, &declared, &contents, kept).await?)
        } else {
            None
        };
        let prove_seconds = prove_clock.elapsed().as_secs_f64();
        let (proof, differences) = match comparison {
            None => (Proof::Skipped, Vec::new()),
            Some(comparison) => {
                notes.extend(comparison.notes);
                let proof = if comparison.differences.is_empty() { Proof::Passed } else { Proof::Failed };
                (proof, comparison.differences)
            }
        };
        let (database, kept_as) = self.take_name(place, there, proof, &mut notes).await?;
        Ok(RestoreOutcome {
            backup: manifest.id.clone(),
            target: self.maintenance.with_database(&database).connection().describe(),
            database,
            tables: manifest.tables,
            rows: manifest.rows,
            restore_seconds,
            prove_seconds,
            proof,
            differences,
            adaptations: Vec::new(),
            notes,
            kept_as,
            parts: None,
        })
    }
}

/// How many sessions load at once where nobody says: one for each processor.
pub(in crate::ops) fn jobs(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get)).max(1)
}

/// Loads a backup that was made ready, by `jobs` sessions where its index allows that.
pub(in crate::ops) async fn load_ready(
    ctx: &Context,
    client: &Client,
    manifest: &Manifest,
    ready: &mut Ready,
    jobs: usize,
) -> Result<LoadTimes> {
    let parts = match ready {
        Ready::AsAWhole(intact) => {
            let begin = Instant::now();
            load_all(ctx, client, manifest, intact).await?;
            return Ok(LoadTimes { load: begin.elapsed(), ..LoadTimes::default() });
        }
        Ready::InParts(parts) => parts,
    };
    parts.load_by(jobs, &ctx.phase(Phase::Load, manifest.sql_bytes));
    let rows_loaded = || drop(ctx.phase(Phase::Index, 0));
    let loading = Loading { client, files: &parts.files, jobs, rows_loaded: &rows_loaded };
    loading.run(&ctx.cancel).await
}

/// Loads every data file of a checked copy, in order.
async fn load_all(ctx: &Context, client: &Client, manifest: &Manifest, intact: &Intact) -> Result<()> {
    let progress = ctx.phase(Phase::Load, manifest.sql_bytes);
    let codec: Codec = manifest.codec.parse()?;
    let files = manifest.files_of(FileKind::Data).zip(&intact.contents.files).zip(&intact.scans);
    for ((file, index), scan) in files {
        let unpacking = Unpacking {
            destination: Arc::clone(&intact.source),
            key: manifest.dir().child(&file.name),
            codec,
            members: index.members.clone(),
            first: 0,
            digest: true,
            threads: ctx.threads(),
            progress: Arc::clone(&progress),
        };
        let (omitted, replaced) = (scan.omitted.clone(), scan.replaced.clone());
        let (sha256, entries) = (file.sha256.clone(), index.entries.clone());
        load(client, LoadPart { unpacking, sha256, omitted, replaced, entries }, &ctx.cancel).await?;
    }
    Ok(())
}

/// Gives the database `name` the recorded properties, one by one; what the server refuses is returned in words.
pub(in crate::ops) async fn apply_properties(
    ctx: &Context,
    maintenance: &Client,
    manifest: &Manifest,
    name: &str,
    without: Without,
) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for statement in manifest.properties.alter_statements(name, without) {
        if let Err(error) = maintenance.execute(&statement, &ctx.cancel).await {
            ctx.cancel.check()?;
            notes.push(format!("{statement} was refused: {}", error.one_line()));
        }
    }
    Ok(notes)
}
