//! Names of backups, such as `20261122T020000Z-7f3a`: they sort by time and are legal in every destination.

use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The id of a backup: the second (UTC) at which it was started and four random hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// The id of a backup started at `now`; `random` tells apart those of the same second.
    pub fn new(now: DateTime<Utc>, random: u16) -> Self {
        Self(format!("{}-{random:04x}", now.format(STAMP)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the backup was started, to the second.
    pub fn started_at(&self) -> DateTime<Utc> {
        parse_stamp(&self.0).unwrap_or_default()
    }
}

fn parse_stamp(text: &str) -> Option<DateTime<Utc>> {
    let (stamp, random) = text.split_once('-')?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if stamp.len() != 16 || random.len() != 4 || !random.chars().all(hex) {
        return None;
    }
    NaiveDateTime::parse_from_str(stamp, STAMP).ok().map(|at| at.and_utc())
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match parse_stamp(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(Error::new(ErrorKind::Usage, format!("{text:?} is not the id of a backup"))
                .hint("an id looks like 20261122T020000Z-7f3a; `pgkeep backup list` shows those there are")),
        }
    }
}

impl TryFrom<String> for BackupId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A random number from the operating system.
pub fn random_number() -> Result<u64> {
    getrandom::u64().map_err(|source| {
        Error::new(ErrorKind::Failed, format!("the operating system gives no random numbers: {source}"))
    })
}

/// Random bytes from the operating system, as lowercase hexadecimal of twice `bytes` digits.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0u8; bytes];
    getrandom::fill(&mut buffer).map_err(|source| {
        Error::new(ErrorKind::Failed, format!("the operating system gives no random numbers: {source}"))
    })?;
    Ok(hex::encode(buffer))
}

/// Sixteen random bits, for [`BackupId::new`].
pub fn random_u16() -> Result<u16> {
    let mut buffer = [0u8; 2];
    getrandom::fill(&mut buffer).map_err(|source| {
        Error::new(ErrorKind::Failed, format!("the operating system gives no random numbers: {source}"))
    })?;
    Ok(u16::from_le_bytes(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_knows_its_time() {
        let now = DateTime::from_timestamp(1_795_312_800, 0).unwrap();
        let id = BackupId::new(now, 0x7f3a);
        assert_eq!(id.as_str(), "20261122T020000Z-7f3a");
        assert_eq!(id.as_str().parse::<BackupId>().unwrap(), id);
        assert_eq!(id.started_at(), now);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "latest", "20261122T020000Z", "20261322T020000Z-7f3a", "../../etc", "20261122T020000Z-7F3A"] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }
}
