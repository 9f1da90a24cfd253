//! Exchanging names: the one moment in which a restored database takes the place of a live one, or gives it back.
//!
//! All of it is one transaction, so that whatever ends it, at whatever instant, leaves the name with one of the two whole
//! databases. Nothing is switched off beforehand that somebody would have to switch on again.

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use crate::postgres::{Client, SESSION, Session, diagnose, sqlstate};
use crate::process::Stdin;
use crate::script::{literal, quote_identifier};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The longest name PostgreSQL keeps, in bytes.
const LONGEST_NAME: usize = 63;

/// How often sessions that have come back are ended while the names are exchanged.
const EVERY: Duration = Duration::from_millis(100);

/// What a database is beside the one that has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beside {
    /// It had the name before a restore.
    Before,
    /// It is a restored one that is to get the name.
    Restored,
    /// It is a restored one that had the name, until that was undone.
    Undone,
}

/// The name of a database beside `name` that has to do with backup `id`: `NAME_before_<id>`, NAME cut so that the whole fits.
/// `number` tells several apart, from 1.
pub fn name_beside(beside: Beside, name: &str, id: &BackupId, number: u32) -> String {
    let word = match beside {
        Beside::Before => "before",
        Beside::Restored => "restored",
        Beside::Undone => "undone",
    };
    let number = if number > 1 { format!("_{number}") } else { String::new() };
    let suffix = format!("_{word}_{id}{number}");
    let mut end = name.len().min(LONGEST_NAME.saturating_sub(suffix.len()));
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

/// Where commits are not waited for (`synchronous_commit = off`), a server that crashed now would forget that of a name, and
/// with it a restore that was said to be done. Flushing this one flushes all before it.
const DURABLE: &str = "do $$ begin if current_setting('synchronous_commit') = 'off' then set local synchronous_commit = local; \
    end if; end $$;";

/// Gives the database `from` the name `to`, which must be free, and a new comment: both happen at once, so that a scratch
/// database never loses its mark and stays.
pub async fn rename(maintenance: &Client, from: &str, to: &str, comment: Option<&str>, cancel: &Cancel) -> Result<()> {
    let comment = comment_statement(from, comment);
    let rename = format!("alter database {} rename to {};", quote_identifier(from), quote_identifier(to));
    maintenance.execute(&format!("begin; {DURABLE} {comment} {rename} commit;"), cancel).await
}

fn comment_statement(name: &str, comment: Option<&str>) -> String {
    let comment = comment.map_or_else(|| "null".to_owned(), literal);
    format!("comment on database {} is {comment};", quote_identifier(name))
}

/// Two databases that exchange their places.
#[derive(Debug, Clone)]
pub struct Exchange<'e> {
    /// The name, which one has and the other gets.
    pub name: &'e str,
    /// The oid of the one that has it.
    pub leaving: u32,
    /// The name that this one gets; it must be free.
    pub aside: &'e str,
    /// Its comment from then on.
    pub aside_comment: Option<&'e str>,
    /// The oid of the other.
    pub coming: u32,
    /// The name it has.
    pub from: &'e str,
    /// Its comment from then on.
    pub comment: Option<&'e str>,
    /// How long to try, while applications reconnect.
    pub limit: Duration,
}

/// Whom the name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// As before.
    Leaving,
    /// The exchange is done.
    Coming,
    /// Somebody else, or nobody.
    Other,
}

impl Exchange<'_> {
    /// Exchanges the names in one transaction, and ends the sessions on both. An error means that nothing has changed, and
    /// is of kind `Unavailable` if the time was too short.
    pub async fn run(&self, maintenance: &Client, cancel: &Cancel) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        let mut last: Option<Error> = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let tried = self.attempt(maintenance, left, cancel).await;
            let Err((error, again)) = tried else { return Ok(()) };
            // The answer may have been lost behind the commit, or pgkeep told to stop when all was done.
            match self.holder(maintenance, if cancel.is_cancelled() { Duration::ZERO } else { left }).await {
                Some(Holder::Coming) => return Ok(()),
                Some(Holder::Other) => {
                    return Err(Error::new(
                        ErrorKind::Failed,
                        format!("database {} was renamed or replaced by somebody else meanwhile", self.name),
                    )
                    .caused_by(error));
                }
                Some(Holder::Leaving) | None => {}
            }
            cancel.check()?;
            if !again {
                return Err(error);
            }
            last = Some(error);
            tokio::time::sleep(EVERY).await;
        }
        let message = format!("{} could not be renamed within {}", self.name, humantime::format_duration(self.limit));
        let error = Error::new(ErrorKind::Unavailable, message);
        Err(match last {
            Some(last) => error.caused_by(last),
            None => error,
        })
    }

    /// One transaction. The error tells whether to try again.
    async fn attempt(&self, maintenance: &Client, left: Duration, cancel: &Cancel) -> Result<(), (Error, bool)> {
        let sql = self.transaction(left);
        let transaction = async {
            let restrict = maintenance.restrict()?;
            let psql = maintenance.psql()?.args(["-A", "-t", "-v", "VERBOSITY=verbose"]);
            let psql = psql.env([("PGCLIENTENCODING".into(), "UTF8".into())]);
            psql.stdin(Stdin::Bytes(format!("{SESSION}{restrict}{sql}\n").into_bytes())).capture(cancel).await
        };
        // Renaming keeps new sessions out and waits five seconds for those within to go. One that came before it was locked
        // out would keep it waiting, and be waited for in vain.
        let captured = tokio::select! {
            captured = transaction => captured,
            never = self.keep_ending(maintenance, cancel) => match never {},
        };
        let captured = captured.map_err(|error| (error, false))?;
        if captured.status.success() {
            return Ok(());
        }
        let error = diagnose("psql", &maintenance.connection().describe(), &captured.status);
        let code = sqlstate(&captured.status.stderr);
        // In use; a lock or all of it took too long; deadlock; the server went, and may come back. Without any, psql or its
        // connection ended.
        let again = match code {
            Some(code) => {
                matches!(code, "55006" | "55P03" | "57014" | "40P01") || matches!(&code[..2], "08" | "57" | "53")
            }
            None => captured.status.exit.code() != Some(3),
        };
        Err((error, again))
    }

    fn transaction(&self, left: Duration) -> String {
        let Self { name, aside, from, .. } = self;
        let limit = left.as_millis().max(1);
        let (live, kept, coming) = (quote_identifier(name), quote_identifier(aside), quote_identifier(from));
        // The division fails if it is another database than the one that was looked at.
        let is = |name: &str, oid: u32| {
            format!(
                "select 1 / count(*) from pg_catalog.pg_database where datname = {} and oid = {oid};",
                literal(name)
            )
        };
        format!(
            "set lock_timeout = {limit}; set statement_timeout = {limit}; begin; {DURABLE} {end} \
             alter database {live} rename to {kept}; alter database {coming} rename to {live}; {was} {comes} \
             {aside_comment} {comment} commit;",
            end = self.end_sessions(),
            was = is(aside, self.leaving),
            comes = is(name, self.coming),
            aside_comment = comment_statement(aside, self.aside_comment),
            comment = comment_statement(name, self.comment),
        )
    }

    /// Ends the sessions on both databases, as far as the role may. Once the names are exchanged, it finds none.
    fn end_sessions(&self) -> String {
        format!(
            "select count(pg_catalog.pg_terminate_backend(a.pid)) from pg_catalog.pg_stat_activity a \
             where (a.datid = {} and a.datname = {} or a.datid = {} and a.datname = {}) \
             and a.pid <> pg_catalog.pg_backend_pid() and {MAY_END};",
            self.leaving,
            literal(self.name),
            self.coming,
            literal(self.from),
        )
    }

    async fn keep_ending(&self, maintenance: &Client, cancel: &Cancel) -> std::convert::Infallible {
        let sql = self.end_sessions();
        // What goes wrong here, goes wrong with the transaction too, or does no harm: then nobody is ended.
        if let Ok(mut session) = Session::start(maintenance, cancel).await {
            while session.ask(&sql, cancel).await.is_ok() {
                tokio::time::sleep(EVERY).await;
            }
        }
        std::future::pending().await
    }

    /// Asks whom the name leads to, for at most `limit` while the server cannot be asked, and at least once.
    async fn holder(&self, maintenance: &Client, limit: Duration) -> Option<Holder> {
        let query = format!("select oid::bigint from pg_catalog.pg_database where datname = {};", literal(self.name));
        let begin = Instant::now();
        // Also when cancelled: it must be known what was done.
        let cancel = Cancel::new();
        loop {
            match maintenance.query(&query, &cancel).await {
                Ok(oid) if oid.trim() == self.leaving.to_string() => return Some(Holder::Leaving),
                Ok(oid) if oid.trim() == self.coming.to_string() => return Some(Holder::Coming),
                Ok(_) => return Some(Holder::Other),
                Err(_) if begin.elapsed() < limit => tokio::time::sleep(EVERY).await,
                Err(_) => return None,
            }
        }
    }
}

/// Whether the role may end session `a` of pg_stat_activity. Workers of the server have no role; renaming ends those of
/// autovacuum by itself.
pub(super) const MAY_END: &str = "((select m.rolsuper from pg_catalog.pg_roles m where m.rolname = current_user) \
    or (a.usesysid is not null and not (select r.rolsuper from pg_catalog.pg_roles r where r.oid = a.usesysid) \
    and (pg_catalog.pg_has_role(a.usesysid, 'usage') or pg_catalog.pg_has_role('pg_signal_backend', 'usage'))))";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        assert_eq!(name_beside(Beside::Before, "shop", &id, 1), "shop_before_20261122T020000Z-7f3a");
        assert_eq!(name_beside(Beside::Undone, "shop", &id, 2), "shop_undone_20261122T020000Z-7f3a_2");
        for beside in [Beside::Before, Beside::Restored, Beside::Undone] {
            let long = name_beside(beside, &"ñ".repeat(31), &id, 12);
            assert!(long.len() <= LONGEST_NAME && long.ends_with("_20261122T020000Z-7f3a_12"), "{long}");
        }
    }
}
