//! Databases that a restore left beside a live one: the one before it, one that waits for the name, one that was undone.
//!
//! A mark in the comment tells which they are, so that nobody else's database is ever taken for one; the comment they had is
//! in it too.

use super::swap::{Beside, name_beside};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use crate::postgres::Client;
use crate::script::literal;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

/// What is written into the comment of such a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BesideMark {
    /// For people who look at it.
    pub pgkeep: String,
    /// What it is, for pgkeep.
    pub swap: SwapMark,
}

/// What a database beside a live one is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapMark {
    /// Which of them it is.
    pub is: Beside,
    /// The name that it had, or is to get.
    pub of: String,
    /// The backup that was restored.
    pub backup: BackupId,
    /// Its own oid: a comment that was restored with some other database is no mark.
    pub oid: u32,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Whether it was proved equal to its backup; of a restored one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved: Option<bool>,
    /// The comment that it gets back with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl BesideMark {
    /// The mark of the database `oid`, in words and for pgkeep. Times are whole seconds.
    pub fn new(is: Beside, of: &str, backup: &BackupId, oid: u32, at: DateTime<Utc>, comment: Option<String>) -> Self {
        let words = match is {
            Beside::Before => {
                format!("{of} as it was before the restore of {backup}; `pgkeep restore --swap-back` puts it back")
            }
            Beside::Restored => {
                format!("{of} restored from {backup}; `pgkeep restore --finish-swap` gives it its name")
            }
            Beside::Undone => format!("{of} as restored from {backup}, until that was undone"),
        };
        let swap = SwapMark {
            is,
            of: of.to_owned(),
            backup: backup.clone(),
            oid,
            at: at.trunc_subsecs(0),
            proved: None,
            comment,
        };
        Self { pgkeep: words, swap }
    }

    /// The comment.
    pub fn to_comment(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|source| Error::new(ErrorKind::Failed, "cannot mark a database").caused_by(source))
    }
}

/// A database beside a live one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideDatabase {
    /// Its name.
    pub name: String,
    /// What its mark tells.
    pub mark: SwapMark,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    oid: u32,
    comment: String,
}

/// The databases of the server that stand beside the one called `of`, the newest first.
pub async fn databases_beside(maintenance: &Client, of: &str, cancel: &Cancel) -> Result<Vec<BesideDatabase>> {
    let query = "select coalesce(json_agg(json_build_object('name', name, 'oid', oid, 'comment', comment)), '[]') from \
                 (select datname as name, oid::bigint, pg_catalog.shobj_description(oid, 'pg_database') as comment \
                 from pg_catalog.pg_database) d where comment like '{\"pgkeep\":%';";
    let found: Vec<Found> = maintenance.query_json(query, cancel).await?;
    let mut beside: Vec<BesideDatabase> = found
        .into_iter()
        .filter_map(|Found { name, oid, comment }| {
            let mark = serde_json::from_str::<BesideMark>(&comment).ok()?.swap;
            (mark.oid == oid && mark.of == of && name != of).then_some(BesideDatabase { name, mark })
        })
        .collect();
    beside.sort_by(|a, b| (b.mark.at, &b.name).cmp(&(a.mark.at, &a.name)));
    Ok(beside)
}

/// The first name of its kind that no database has.
pub async fn free_name_beside(
    maintenance: &Client,
    beside: Beside,
    name: &str,
    id: &BackupId,
    cancel: &Cancel,
) -> Result<String> {
    for number in 1..=99 {
        let candidate = name_beside(beside, name, id, number);
        let query = format!("select count(*) from pg_catalog.pg_database where datname = {};", literal(&candidate));
        if maintenance.query_json::<u64>(&query, cancel).await? == 0 {
            return Ok(candidate);
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("ninety-nine databases are left beside {name} of backup {id}"))
        .hint("drop those that nobody needs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_and_other_comments_are_none() {
        let backup: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        let mark = BesideMark::new(Beside::Before, "it's", &backup, 7, Utc::now(), Some("theirs".to_owned()));
        let comment = mark.to_comment().unwrap();
        assert!(comment.starts_with("{\"pgkeep\":"));
        assert_eq!(serde_json::from_str::<BesideMark>(&comment).unwrap(), mark);
        for other in [
            "",
            "ours",
            "{\"pgkeep\":\"x\"}",
            r#"{"pgkeep":"x","token":"t","host":null,"pid":1,"made_at":"2026-01-01T00:00:00Z"}"#,
        ] {
            assert!(serde_json::from_str::<BesideMark>(other).is_err(), "{other}");
        }
    }
}
