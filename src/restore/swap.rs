//! Exchanging names: the one moment in which a restored database takes the place of a live one.

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use crate::postgres::Client;
use crate::script::{literal, quote_identifier};
use std::time::Duration;

/// The longest name PostgreSQL keeps, in bytes.
const LONGEST_NAME: usize = 63;

/// How often the exchange is tried while applications reconnect in between.
const TRIES: u32 = 20;

/// The name under which the replaced database stays: `NAME_before_<id>`, NAME cut so that the whole fits.
pub fn kept_name(name: &str, id: &BackupId) -> String {
    let suffix = format!("_before_{id}");
    let mut end = name.len().min(LONGEST_NAME - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &name[..end])
}

/// Where commits are not waited for (`synchronous_commit = off`), a server that crashed now would forget that of a name, and
/// with it a restore that was said to be done. Flushing this one flushes all before it.
const DURABLE: &str = "do $$ begin if current_setting('synchronous_commit') = 'off' then set local synchronous_commit = local; \
    end if; end $$;";

/// Gives the scratch database `from` the name `to`, which must be free. `comment` is the statement that replaces its mark:
/// both happen at once, so that a scratch database never loses its mark and stays.
pub async fn rename(maintenance: &Client, from: &str, to: &str, comment: &str, cancel: &Cancel) -> Result<()> {
    let rename = format!("alter database {} rename to {};", quote_identifier(from), quote_identifier(to));
    maintenance.execute(&format!("begin; {DURABLE} {comment} {rename} commit;"), cancel).await
}

/// Renames `live` to `kept` and the scratch database `restored` to `live` in one transaction: at every instant the name
/// leads to one of them. Sessions on the live database are ended.
pub async fn swap(
    maintenance: &Client,
    live: &str,
    kept: &str,
    restored: &str,
    comment: &str,
    cancel: &Cancel,
) -> Result<()> {
    // Renaming locks the database against new sessions and waits five seconds for the old ones to go.
    let sql = format!(
        "begin; {DURABLE} select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity where datname in ({}, {}) \
         and pid <> pg_catalog.pg_backend_pid(); \
         {comment} alter database {} rename to {}; alter database {} rename to {}; commit;",
        literal(live),
        literal(restored),
        quote_identifier(live),
        quote_identifier(kept),
        quote_identifier(restored),
        quote_identifier(live),
    );
    let mut last = None;
    for _ in 0..TRIES {
        match maintenance.execute(&sql, cancel).await {
            Ok(()) => return Ok(()),
            Err(error) if error.one_line().contains("is being accessed by other users") => last = Some(error),
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let error =
        Error::new(ErrorKind::Unavailable, format!("{live} could not be renamed: applications keep reconnecting"))
            .hint("stop the applications, then run the restore again");
    Err(match last {
        Some(last) => error.caused_by(last),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        assert_eq!(kept_name("shop", &id), "shop_before_20261122T020000Z-7f3a");
        let long = kept_name(&"ñ".repeat(31), &id);
        assert!(long.len() <= LONGEST_NAME && long.ends_with("_before_20261122T020000Z-7f3a"));
    }
}
