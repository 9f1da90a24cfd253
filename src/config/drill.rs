//! How a job's backups are drilled: which, from where, how much of it, and what is asked then.

use super::{Schedule, SecretRef};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How a job's backups are proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillConfig {
    /// When a drill is due.
    pub schedule: Option<Schedule>,
    /// Where the backup is restored to.
    pub scratch: Scratch,
    /// Which backup is drilled.
    pub backup: DrilledBackup,
    /// The destination whose copy is drilled, and no other's; `None` for the nearest one that is intact.
    pub copy: Option<String>,
    /// How much of it is restored and compared.
    pub level: DrillLevel,
    /// How many bytes of SQL [`DrillLevel::Sample`] restores of the tables' rows.
    pub sample_size: u64,
    /// A restore that takes longer is reported: the recovery-time objective.
    pub max_duration: Option<Duration>,
    /// A newest passed drill that is older than this is overdue, whatever the schedule says.
    pub overdue_after: Option<Duration>,
    /// Questions to the restored database.
    pub checks: Vec<Check>,
}

impl Default for DrillConfig {
    /// Everything of the newest backup, in a throwaway cluster, never by itself.
    fn default() -> Self {
        Self {
            schedule: None,
            scratch: Scratch::Ephemeral,
            backup: DrilledBackup::default(),
            copy: None,
            level: DrillLevel::default(),
            sample_size: SAMPLE_SIZE,
            max_duration: None,
            overdue_after: None,
            checks: Vec::new(),
        }
    }
}

/// What [`DrillConfig::sample_size`] is unless it is set: 1 GiB.
pub const SAMPLE_SIZE: u64 = 1 << 30;

/// Where drills restore to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scratch {
    /// A throwaway cluster on this computer.
    Ephemeral,
    /// A new database on the server of this connection string.
    Server(SecretRef),
}

/// A question to the restored database and its right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is checked, in the words of its author.
    pub name: String,
    /// A query that answers one value.
    pub sql: String,
    /// The answer as psql shows it.
    pub expect: String,
}

/// Which backup is drilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrilledBackup {
    /// The newest good one.
    #[default]
    Newest,
    /// A random older one, those first that were never drilled.
    Random,
}

impl FromStr for DrilledBackup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "newest" => Ok(Self::Newest),
            "random" => Ok(Self::Random),
            _ => Err(Error::new(ErrorKind::Config, format!("{text:?} is neither \"newest\" nor \"random\""))),
        }
    }
}

/// How much of a backup a drill restores and compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillLevel {
    /// Everything is restored; the rows of each table are counted, and nothing else is compared.
    Restore,
    /// All definitions are restored and the rows of some tables, and these are compared.
    Sample,
    /// Everything is restored and compared. So were all drills before there were levels.
    #[default]
    Prove,
}

impl DrillLevel {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Restore, Self::Sample, Self::Prove];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Sample => "sample",
            Self::Prove => "prove",
        }
    }
}

impl fmt::Display for DrillLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DrillLevel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Config, format!("{text:?} is none of \"restore\", \"sample\", \"prove\""));
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or_else(wrong)
    }
}
