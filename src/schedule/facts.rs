//! What the catalogue tells of one job, as far as scheduling needs it: which slots are done, and what there is to drill. Pure.

use super::due::SKEW;
use crate::catalogue::{DrillResult, VerifyResult};
use crate::config::{Databases, DrillLevel, DrilledBackup};
use crate::ops::{Backup, Standing, choose};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// The newest drill with a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drilled {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How.
    pub result: DrillResult,
    /// How much it restored and compared.
    pub level: DrillLevel,
    /// Why, unless it passed.
    pub reason: Option<String>,
}

impl Drilled {
    /// Whether the backup was judged: a drill that could not run says nothing.
    pub fn is_answer(&self) -> bool {
        self.result != DrillResult::CouldNotRun
    }
}

/// One backup of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Its id.
    pub id: String,
    /// Its database.
    pub database: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// The slot that it was taken for.
    pub scheduled_for: Option<DateTime<Utc>>,
    /// Its newest verification found it damaged.
    pub damaged: bool,
    /// Its newest drill.
    pub drilled: Option<Drilled>,
    /// The destinations that hold it.
    pub places: Vec<String>,
    /// The destinations of the job that should, and do not.
    pub missing: Vec<String>,
}

impl Taken {
    /// Whether it does for `slot`. What is dated in the future was dated by a wrong clock, and does for nothing.
    pub fn covers(&self, slot: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let times = [Some(self.started_at), self.scheduled_for];
        times.into_iter().flatten().any(|at| slot <= at && at <= now + SKEW)
    }
}

impl Taken {
    fn standing(&self) -> Standing {
        let judged = self.drilled.as_ref().filter(|drill| drill.is_answer());
        Standing {
            started_at: self.started_at,
            damaged: self.damaged,
            drilled_at: judged.map(|drill| drill.started_at),
        }
    }
}

impl From<&Backup> for Taken {
    fn from(backup: &Backup) -> Self {
        let manifest = &backup.manifest;
        let drilled = backup.drilled().map(|receipt| Drilled {
            started_at: receipt.started_at,
            finished_at: receipt.finished_at,
            result: receipt.result,
            level: receipt.level,
            reason: receipt.reason.clone(),
        });
        Self {
            id: manifest.id.to_string(),
            database: manifest.database.clone(),
            started_at: manifest.started_at,
            scheduled_for: manifest.scheduled_for,
            damaged: backup.verified().is_some_and(|receipt| receipt.result == VerifyResult::Damaged),
            drilled,
            places: backup.copies.iter().map(|copy| copy.name().to_owned()).collect(),
            missing: backup.missing.clone(),
        }
    }
}

/// What the catalogue tells of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The backups, oldest first.
    pub taken: Vec<Taken>,
    /// Every destination of the job could be read.
    pub complete: bool,
}

impl Facts {
    /// The databases that have a backup that does for `slot`.
    pub fn covered(&self, slot: DateTime<Utc>, now: DateTime<Utc>) -> BTreeSet<&str> {
        self.taken.iter().filter(|taken| taken.covers(slot, now)).map(|taken| taken.database.as_str()).collect()
    }

    /// Whether every one of `databases` has a backup for `slot`. Which databases a server has only the server knows: of
    /// all of them one is enough here, and who begins the slot remembers that it was not finished.
    pub fn backup_done(&self, databases: &Databases, slot: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let covered = self.covered(slot, now);
        match databases {
            Databases::Named(names) => names.iter().all(|name| covered.contains(name.as_str())),
            Databases::FromUrl | Databases::All => !covered.is_empty(),
        }
    }

    /// The databases that count: those that are named; of a connection string the one that was backed up last.
    pub fn databases<'f>(&'f self, databases: &'f Databases) -> Vec<&'f str> {
        match databases {
            Databases::Named(names) => names.iter().map(String::as_str).collect(),
            Databases::FromUrl => self.taken.last().map(|taken| taken.database.as_str()).into_iter().collect(),
            Databases::All => {
                self.taken.iter().map(|taken| taken.database.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    /// The newest backup of each of `databases` that is not known to be damaged; where all are, the newest.
    pub fn newest(&self, databases: &Databases) -> Vec<&Taken> {
        let mut newest: BTreeMap<&str, &Taken> = BTreeMap::new();
        for taken in &self.taken {
            let better = |other: &&Taken| other.damaged || !taken.damaged;
            if newest.get(taken.database.as_str()).is_none_or(better) {
                newest.insert(&taken.database, taken);
            }
        }
        self.databases(databases).into_iter().filter_map(|name| newest.get(name).copied()).collect()
    }

    /// Whether there was anything to drill when `slot` came.
    pub fn drillable(&self, slot: DateTime<Utc>) -> bool {
        self.taken.iter().any(|taken| taken.started_at <= slot)
    }

    /// The databases among `databases` that no drill since `slot` has judged.
    pub fn undrilled(&self, databases: &Databases, slot: DateTime<Utc>, now: DateTime<Utc>) -> Vec<&Taken> {
        let judged = |taken: &Taken| {
            taken
                .drilled
                .as_ref()
                .is_some_and(|drill| drill.is_answer() && slot <= drill.started_at && drill.started_at <= now + SKEW)
        };
        let drilled: BTreeSet<&str> =
            self.taken.iter().filter(|taken| judged(taken)).map(|taken| taken.database.as_str()).collect();
        self.newest(databases).into_iter().filter(|taken| !drilled.contains(taken.database.as_str())).collect()
    }

    /// The backup of `database` that a drill takes: the newest good one or, by the random number `draw`, an older one; with
    /// `copy` only of those that this destination holds.
    pub fn to_drill(&self, database: &str, which: DrilledBackup, copy: Option<&str>, draw: u64) -> Option<&Taken> {
        let held = |taken: &&Taken| copy.is_none_or(|copy| taken.places.iter().any(|place| place == copy));
        let all: Vec<&Taken> = self.taken.iter().filter(|taken| taken.database == database).filter(held).collect();
        match which {
            DrilledBackup::Newest => all.iter().rfind(|taken| !taken.damaged).or(all.last()).copied(),
            DrilledBackup::Random => choose(&all, |taken| taken.standing(), draw).copied(),
        }
    }

    /// The newest drill that judged a backup of `database`.
    pub fn last_drill(&self, database: &str) -> Option<&Drilled> {
        let of = self.taken.iter().filter(|taken| taken.database == database);
        of.filter_map(|taken| taken.drilled.as_ref())
            .filter(|drill| drill.is_answer())
            .max_by_key(|drill| drill.started_at)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::schedule) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(in crate::schedule) fn taken(database: &str, started_at: &str, scheduled_for: Option<&str>) -> Taken {
        Taken {
            id: format!("{database}-{started_at}"),
            database: database.to_owned(),
            started_at: at(started_at),
            scheduled_for: scheduled_for.map(at),
            damaged: false,
            drilled: None,
            places: vec!["office".to_owned()],
            missing: Vec::new(),
        }
    }

    pub(in crate::schedule) fn drilled(mut taken: Taken, started_at: &str, result: DrillResult) -> Taken {
        let (started_at, reason) = (at(started_at), Some("an index is missing".to_owned()));
        let level = DrillLevel::Prove;
        taken.drilled = Some(Drilled { started_at, finished_at: started_at, result, level, reason });
        taken
    }

    const SLOT: &str = "2026-11-22T02:00:00Z";
    const NOW: &str = "2026-11-22T10:00:00Z";

    #[test]
    fn a_slot_is_done_by_a_backup_for_it_or_after_it() {
        let done = |started_at, scheduled_for| {
            let facts = Facts { taken: vec![taken("shop", started_at, scheduled_for)], complete: true };
            facts.backup_done(&Databases::FromUrl, at(SLOT), at(NOW))
        };
        assert!(done("2026-11-22T02:00:05Z", Some(SLOT)));
        assert!(done("2026-11-22T03:15:00Z", None), "one that was taken by hand");
        assert!(done("2026-11-22T01:58:00Z", Some(SLOT)), "by a computer whose clock is behind");
        assert!(!done("2026-11-21T02:00:05Z", Some("2026-11-21T02:00:00Z")));
        assert!(!done("2027-11-22T02:00:00Z", Some("2027-11-22T02:00:00Z")), "by a clock that was a year ahead");
    }

    #[test]
    fn every_named_database_must_have_its_backup() {
        let named = Databases::Named(vec!["spa".into(), "desk".into()]);
        let mut facts = Facts { taken: vec![taken("spa", "2026-11-22T02:00:05Z", Some(SLOT))], complete: true };
        assert!(!facts.backup_done(&named, at(SLOT), at(NOW)));
        assert!(facts.backup_done(&Databases::All, at(SLOT), at(NOW)));
        facts.taken.push(taken("desk", "2026-11-22T02:00:09Z", Some(SLOT)));
        assert!(facts.backup_done(&named, at(SLOT), at(NOW)));
        assert_eq!(facts.covered(at(SLOT), at(NOW)).into_iter().collect::<Vec<_>>(), ["desk", "spa"]);
    }

    #[test]
    fn only_a_drill_that_judged_does_for_a_slot_and_the_newest_good_backup_is_drilled() {
        let day = |day: u32, result| drilled(taken("shop", &format!("2026-11-{day}T02:00:00Z"), None), NOW, result);
        let undrilled = |taken: Vec<Taken>| {
            let facts = Facts { taken, complete: true };
            let left = facts.undrilled(&Databases::FromUrl, at(SLOT), at(NOW));
            left.first().map(|taken| taken.id.clone())
        };
        assert_eq!(undrilled(vec![day(20, DrillResult::Passed), day(21, DrillResult::CouldNotRun)]), None);
        assert_eq!(undrilled(vec![day(21, DrillResult::Failed)]), None);
        let newest = "shop-2026-11-21T02:00:00Z";
        assert_eq!(undrilled(vec![day(21, DrillResult::CouldNotRun)]).as_deref(), Some(newest));
        let damaged = Taken { damaged: true, ..taken("shop", "2026-11-22T02:00:00Z", None) };
        assert_eq!(undrilled(vec![day(21, DrillResult::CouldNotRun), damaged.clone()]).as_deref(), Some(newest));
        assert_eq!(undrilled(vec![damaged]).as_deref(), Some("shop-2026-11-22T02:00:00Z"));
    }

    #[test]
    fn a_drill_takes_the_newest_good_one_or_an_older_one_that_the_copy_holds() {
        let day = |day: u32| taken("shop", &format!("2026-11-{day}T02:00:00Z"), None);
        let cloud = |taken: Taken| Taken { places: vec!["office".to_owned(), "cloud".to_owned()], ..taken };
        let judged = drilled(cloud(day(17)), NOW, DrillResult::Passed);
        let all = vec![judged, cloud(day(18)), cloud(day(19)), day(20), Taken { damaged: true, ..day(21) }];
        let facts = Facts { taken: all, complete: true };
        let days = |which, copy| {
            let of =
                |draw| facts.to_drill("shop", which, copy, draw).map(|taken| taken.started_at.format("%d").to_string());
            (0..5).filter_map(of).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(days(DrilledBackup::Newest, None), ["20"]);
        assert_eq!(days(DrilledBackup::Newest, Some("cloud")), ["19"]);
        assert_eq!(days(DrilledBackup::Random, None), ["18", "19"]);
        assert_eq!(days(DrilledBackup::Random, Some("cloud")), ["18"]);
        assert!(days(DrilledBackup::Random, Some("attic")).is_empty());
    }
}
