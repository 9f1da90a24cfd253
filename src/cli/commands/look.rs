//! `pgkeep backup list`, `show` and `fetch`: reading what there is.

use super::{Session, catalog_for, problem_text};
use crate::archive::{Contents, Object};
use crate::cli::args::{FetchArgs, ListArgs, ShowArgs};
use crate::cli::{exit, places, tables, voice};
use crate::error::Result;
use crate::id::BackupId;
use crate::ops::{self, Backup, Catalog};
use crate::script::{NamePattern, TableData};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Lists the backups, newest first. Folders that cannot be used are told, and hide no backup.
pub(super) async fn list(args: &ListArgs, session: &Session<'_>) -> Result<u8> {
    let job = args.job.as_deref();
    if let Some(job) = job {
        places::refuse_url("a job", job)?;
    }
    let destinations = places::look_in(&args.at.at, job, &session.ctx.config)?;
    let catalog = Catalog::read(session.ctx, &destinations, job).await?;
    session.display.pause();
    for (destination, problem) in catalog.problems() {
        voice::warn(&problem_text(destination, problem));
    }
    let listed = catalog.listed();
    session.output.text(&tables::list(&listed, session.ctx.clock.now()))?;
    let mut document = json!({ "backups": listed });
    let problems = super::problems_json(&catalog);
    if !problems.is_empty() {
        document["problems"] = problems.into();
    }
    session.output.json(&document)?;
    Ok(exit::DONE)
}

/// One table of a backup.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct TableSize {
    /// The schema.
    pub(in crate::cli) schema: String,
    /// The name.
    pub(in crate::cli) table: String,
    /// Number of rows.
    pub(in crate::cli) rows: u64,
    /// Bytes of the rows in the SQL.
    pub(in crate::cli) sql_bytes: u64,
}

/// Shows one backup. The manifest is shown even where the index beside it cannot be read.
pub(super) async fn show(args: &ShowArgs, session: &Session<'_>) -> Result<u8> {
    let catalog = catalog_for(&args.backup, &args.at.at, session).await?;
    let backup = &catalog.find(session.ctx, &args.backup).await?;
    if let Some(pattern) = &args.objects {
        return objects(backup, &NamePattern::new(pattern), session).await;
    }
    let read = ops::contents(session.ctx, backup).await.map(|contents| largest_first(&contents));
    session.display.pause();
    let listed = backup.listed();
    let (tables, failure) = match read {
        Ok(tables) => (Some(tables), None),
        Err(error) => (None, Some(error)),
    };
    let zone = session.ctx.config.timezone;
    session.output.text(&tables::show(backup, &listed, tables.as_deref(), session.ctx.clock.now(), zone))?;
    let mut document = json!({
        "backup": backup.manifest,
        "destinations": listed.destinations,
        "verified_at": listed.verified_at,
        "verify_result": listed.verify_result,
        "drilled_at": listed.drilled_at,
        "drill_result": listed.drill_result,
        "drill_level": listed.drill_level,
        "pinned": listed.pinned,
        "keep_until": listed.keep_until,
        "tables": tables,
    });
    if let Some(error) = &failure {
        voice::tell(error);
        document["error"] = voice::machine(error);
    }
    session.output.json(&document)?;
    Ok(failure.map_or(exit::DONE, |error| error.exit_code()))
}

/// Lists the objects of one backup that are like `pattern`, while they are read from its index.
async fn objects(backup: &Backup, pattern: &NamePattern, session: &Session<'_>) -> Result<u8> {
    let contents = &ops::contents(session.ctx, backup).await?;
    session.display.pause();
    let like = |object: &Object| pattern.matches(object.schema.as_deref(), &object.name);
    let found = || contents.objects().filter(like);
    session.output.long_text(|out| tables::objects(out, backup, found))?;
    session.output.json(&ObjectsDocument { backup: &backup.manifest.id, objects: Streamed(found) })?;
    Ok(exit::DONE)
}

#[derive(Serialize)]
#[serde(bound(serialize = ""))]
struct ObjectsDocument<'a, I: Iterator<Item = Object>, F: Fn() -> I> {
    backup: &'a BackupId,
    objects: Streamed<F>,
}

/// A list that is made while it is written.
struct Streamed<F>(F);

impl<I: Iterator<Item = Object>, F: Fn() -> I> Serialize for Streamed<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

fn largest_first(contents: &Contents) -> Vec<TableSize> {
    let size = |table: TableData| TableSize {
        schema: table.schema,
        table: table.table,
        rows: table.rows,
        sql_bytes: table.end.saturating_sub(table.start),
    };
    let mut tables: Vec<TableSize> = contents.entries().filter_map(|entry| entry.table).map(size).collect();
    tables.sort_by(|a, b| (b.sql_bytes, &a.schema, &a.table).cmp(&(a.sql_bytes, &b.schema, &b.table)));
    tables
}

/// Writes the archive of one backup to a file.
pub(super) async fn fetch(args: &FetchArgs, session: &Session<'_>) -> Result<u8> {
    let catalog = catalog_for(&args.backup, &args.at.at, session).await?;
    let backup = &catalog.find(session.ctx, &args.backup).await?;
    let bytes = ops::fetch(session.ctx, backup, &args.output).await?;
    session.display.pause();
    let file = args.output.display().to_string();
    session.output.text(&tables::fetched(backup, &file, bytes))?;
    let document: Value = json!({ "backup": backup.manifest.id, "file": file, "bytes": bytes });
    session.output.json(&document)?;
    Ok(exit::DONE)
}
