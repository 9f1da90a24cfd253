//! What the configuration says, as plain values that were checked.

use crate::config::{Compression, DestinationConfig, DrillConfig, Schedule, SecretRef};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The whole configuration. The default is that of a pgkeep without any file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it came from.
    pub path: Option<PathBuf>,
    /// The time zone of schedules and of times shown to people; UTC unless it is set.
    pub timezone: chrono_tz::Tz,
    /// The destinations by name.
    pub destinations: BTreeMap<String, DestinationConfig>,
    /// The jobs by name.
    pub jobs: BTreeMap<String, JobConfig>,
    /// The only folder in which PostgreSQL's programs are looked for, where it is set.
    pub bin_dir: Option<PathBuf>,
    /// The retention of the destinations that have their own, by name: it goes before that of jobs.
    pub destination_retention: BTreeMap<String, Retention>,
    /// How `pgkeep run` works.
    pub run: RunConfig,
    /// Where locks are kept, and what the scheduler remembers of failed runs.
    pub state_dir: Option<PathBuf>,
    /// Where temporary files and scratch clusters go.
    pub temp_dir: Option<PathBuf>,
    /// What is allowed but unwise, one line each.
    pub warnings: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: None,
            timezone: chrono_tz::UTC,
            destinations: BTreeMap::new(),
            jobs: BTreeMap::new(),
            bin_dir: None,
            destination_retention: BTreeMap::new(),
            run: RunConfig::default(),
            state_dir: None,
            temp_dir: None,
            warnings: Vec::new(),
        }
    }
}

/// What is backed up, where to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobConfig {
    /// The job's name.
    pub name: String,
    /// The connection string; without one libpq's own environment (`PGHOST`, `PGSERVICE`, ...) decides.
    pub database_url: Option<SecretRef>,
    /// Which databases of the server.
    pub databases: Databases,
    /// Databases that [`Databases::All`] leaves out.
    pub exclude_databases: Vec<String>,
    /// Names of configured destinations, in the order written; at least one.
    pub destinations: Vec<String>,
    /// How many of them must succeed.
    pub require: Require,
    /// How archives are compressed.
    pub compression: Compression,
    /// A label for every backup of the job.
    pub label: Option<String>,
    /// How long to wait for a lock that another session holds; never zero.
    pub lock_wait_timeout: Duration,
    /// Overrides [`Config::bin_dir`] for this job.
    pub bin_dir: Option<PathBuf>,
    /// How many processes dump at once, 1 to 64. Kept for the parallel dump that uses it.
    pub jobs: u32,
    /// The restores that prove the job's backups.
    pub drill: Option<DrillConfig>,
    /// How long backups are kept; `None` for [`Retention::default`].
    pub retention: Option<Retention>,
    /// When a backup is due.
    pub schedule: Option<Schedule>,
    /// Backups and drills of the job begin up to so much later than they are due, by an amount that each due time fixes:
    /// hundreds of jobs shall not begin in the same second.
    pub jitter: Option<Duration>,
    /// A newest good backup that is older than this is overdue, whatever the schedule says.
    pub overdue_after: Option<Duration>,
}

/// How `pgkeep run` works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunConfig {
    /// How many backups and drills run at once, 1 to 64.
    pub concurrent_jobs: u32,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { concurrent_jobs: 2 }
    }
}

/// Which databases of a server a job backs up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Databases {
    /// The one that the connection string names.
    FromUrl,
    /// These.
    Named(Vec<String>),
    /// All that allow connections and are no templates.
    All,
}

/// How many destinations must hold a backup for the run to count as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// Every one.
    All,
    /// One of them.
    Any,
    /// So many, from 1 to the number of destinations.
    AtLeast(usize),
}

impl Require {
    /// Whether `stored` of `all` destinations are enough. Nothing stored is never enough.
    pub fn is_met(self, stored: usize, all: usize) -> bool {
        stored > 0
            && match self {
                Self::All => stored >= all,
                Self::Any => true,
                Self::AtLeast(least) => stored >= least,
            }
    }
}

/// How long backups are kept: whatever any of the rules keeps stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Everything younger than this.
    pub within: Option<Duration>,
    /// The last one of each of so many hours.
    pub hourly: u32,
    /// The last one of each of so many days.
    pub daily: u32,
    /// The last one of each of so many weeks.
    pub weekly: u32,
    /// The last one of each of so many months.
    pub monthly: u32,
    /// The last one of each of so many years.
    pub yearly: u32,
    /// Never fewer good backups than this, however old; at least 1.
    pub at_least: u32,
}

impl Default for Retention {
    /// 30 days, and never fewer than three good backups.
    fn default() -> Self {
        let within = Some(Duration::from_secs(30 * 24 * 3600));
        Self { within, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, at_least: 3 }
    }
}

impl Config {
    /// How long the backups of `job` (perhaps one that is not configured) are kept at `destination`: what the destination
    /// says, else what the job says, else the default.
    pub fn retention(&self, job: &str, destination: &str) -> Retention {
        let of_job = || self.jobs.get(job).and_then(|job| job.retention);
        self.destination_retention.get(destination).copied().or_else(of_job).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stored_is_never_enough() {
        for require in [Require::All, Require::Any, Require::AtLeast(1)] {
            assert!(!require.is_met(0, 0));
            assert!(!require.is_met(0, 2));
            assert!(require.is_met(2, 2));
        }
        assert!(!Require::All.is_met(1, 2));
        assert!(Require::Any.is_met(1, 2));
        assert!(!Require::AtLeast(2).is_met(1, 3));
        assert!(Require::AtLeast(2).is_met(2, 3));
    }
}
