//! `pgkeep backup verify`.

use super::{Session, catalog_for, nothing, problem_json, problem_text};
use crate::catalogue::{Problem, Selector};
use crate::cli::args::VerifyArgs;
use crate::cli::{exit, places, tables, voice};
use crate::destination::decode_segment;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::{self, Backup, Catalog, VerifyOutcome, VerifyStatus};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Verifies one backup, or all, at every destination that holds it.
pub(super) async fn verify(args: &VerifyArgs, session: &Session<'_>) -> Result<u8> {
    let catalog = if let Some(selector) = &args.backup {
        catalog_for(selector, &args.at.at, session).await?
    } else {
        let destinations = places::look_in(&args.at.at, None, &session.ctx.config)?;
        Catalog::read(session.ctx, &destinations, None).await?
    };
    let mut found = Found::default();
    // A copy that could not be looked at is no intact one: the check could not run there.
    found.codes.extend(catalog.unreadable().iter().map(|_| COULD_NOT_RUN));
    found.problems.extend(catalog.unreadable().iter().map(|(name, error)| super::unreadable_json(name, error)));
    let backups = choose(args.backup.as_deref(), &catalog, &mut found, session).await?;
    for backup in &backups {
        if session.ctx.cancel.is_cancelled() {
            found.codes.push(session.ctx.cancel.error().exit_code());
            break;
        }
        let verified = async {
            match backup.fresh(session.ctx).await? {
                Some(backup) => ops::verify(session.ctx, &backup, args.quick).await,
                None => Err(nothing(&format!("backup {} is gone", backup.manifest.dir()))),
            }
        };
        match verified.await {
            Ok(outcomes) => found.outcomes.extend(outcomes),
            Err(error) => found.fail(&error, &backup.manifest.dir().to_string(), None, session),
        }
    }
    ops::consolidate(session.ctx, backups.iter().map(|backup| &**backup)).await;
    session.display.pause();
    session.output.text(&tables::verified(&found.outcomes))?;
    let mut document = json!({ "backups": found.outcomes });
    if !found.problems.is_empty() {
        document["problems"] = Value::Array(found.problems);
    }
    session.output.json(&document)?;
    Ok(exit::gravest(found.codes.into_iter().chain(found.outcomes.iter().map(exit::of_verify))))
}

/// The exit code of a check that could not run.
const COULD_NOT_RUN: u8 = 5;

#[derive(Default)]
struct Found {
    outcomes: Vec<VerifyOutcome>,
    problems: Vec<Value>,
    codes: Vec<u8>,
}

impl Found {
    /// A backup of which could not be told what state it is in.
    fn fail(&mut self, error: &Error, folder: &str, destination: Option<&str>, session: &Session<'_>) {
        session.display.pause();
        voice::tell(error);
        self.codes.push(error.exit_code());
        self.problems.push(json!({ "destination": destination, "folder": folder, "error": voice::machine(error) }));
    }
}

/// The backups to verify. Folders that are meant and whose manifest cannot be used are added to `found` at once.
async fn choose<'c>(
    selector: Option<&str>,
    catalog: &'c Catalog,
    found: &mut Found,
    session: &Session<'_>,
) -> Result<Vec<Cow<'c, Backup>>> {
    let mut missing = None;
    let (backups, prefix): (Vec<Cow<'c, Backup>>, Option<String>) = match selector {
        None => (catalog.backups().iter().map(Cow::Borrowed).collect(), None),
        Some(text) => {
            let prefix = match text.parse()? {
                Selector::Id(prefix) => Some(prefix),
                Selector::Latest { .. } | Selector::At { .. } => None,
            };
            match catalog.find(session.ctx, text).await {
                Ok(backup) => (vec![Cow::Owned(backup)], prefix),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    missing = Some(error);
                    (Vec::new(), prefix)
                }
                Err(error) => return Err(error),
            }
        }
    };
    for (destination, problem) in catalog.problems() {
        let of_a_chosen = backups.iter().any(|backup| backup.manifest.dir() == problem.dir);
        let named = prefix.as_deref().is_some_and(|prefix| problem.dir.file_name().starts_with(prefix));
        // A receipt that cannot be read says nothing about the backup beside it.
        let readable = |backup: &Backup| {
            backup.manifest.dir() == problem.dir && backup.copies.iter().any(|copy| copy.name() == destination)
        };
        if catalog.backups().iter().any(readable) || !(selector.is_none() || of_a_chosen || named) {
            voice::warn(&problem_text(destination, problem));
            found.problems.push(problem_json(destination, problem));
        } else if problem.error.kind() == ErrorKind::Damaged {
            found.outcomes.push(damaged(destination, problem));
        } else {
            // A manifest of a newer pgkeep, or one that may not be read: nobody knows whether it is damaged.
            found.fail(&problem.error, problem.dir.as_str(), Some(destination), session);
        }
    }
    if backups.is_empty() && found.outcomes.is_empty() && found.codes.is_empty() {
        // To have verified nothing is no success.
        return Err(missing.unwrap_or_else(|| nothing("there is no backup to verify")));
    }
    Ok(backups)
}

/// The outcome of a folder whose manifest is damaged.
fn damaged(destination: &str, problem: &Problem) -> VerifyOutcome {
    let mut segments = problem.dir.segments().map(decode_segment);
    VerifyOutcome {
        id: problem.dir.to_string(),
        job: segments.next().unwrap_or_default(),
        database: segments.next().unwrap_or_default(),
        destination: destination.to_owned(),
        result: VerifyStatus::Damaged,
        problems: vec![problem.error.one_line()],
        sql_bytes: 0,
        rows: 0,
        seconds: 0.0,
    }
}
