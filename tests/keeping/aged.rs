//! A job with two folders, and backups of it that look as if they had been taken long ago.

use crate::support::{Configured, Pgkeep, Postgres, backup_dirs};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A configuration with the folders `office` and `attic` and a database that jobs can be of.
pub(crate) struct House {
    pub(crate) server: &'static Postgres,
    pub(crate) db: String,
    pub(crate) configured: Configured,
}

impl House {
    /// The job `shop` with what `job` says more.
    pub(crate) fn new(job: &str) -> Self {
        Self::with("", "destinations = ['office', 'attic']", job)
    }

    /// The same, with `office` in the folder `office` and what `office` says more.
    pub(crate) fn with(office: &str, destinations: &str, job: &str) -> Self {
        let server = Postgres::shared(17);
        let db = server.create_db("shop");
        server.psql(&db, "CREATE TABLE orders AS SELECT i, md5(i::text) AS note FROM generate_series(1, 100) i");
        let configured = Configured::new(&format!(
            "[destination.office]\ntype = 'folder'\npath = 'office'\n{office}\n\
             [destination.attic]\ntype = 'folder'\npath = 'attic'\n\
             [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\n{destinations}\n{job}\n"
        ));
        Self { server, db, configured }
    }

    pub(crate) fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        self.configured.pgkeep(args).server(self.server).env("SHOP_URL", self.server.url(&self.db))
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.configured.path().join(name)
    }

    /// One backup now, and copies of it in all folders as of so many days ago.
    pub(crate) fn fill(&self, days: impl IntoIterator<Item = i64>) {
        self.pgkeep(["backup", "now", "shop", "--no-prune"]).ok();
        let days: Vec<i64> = days.into_iter().collect();
        for place in ["office", "attic"] {
            if let Some(newest) = backup_dirs(self.folder(place).join("shop")).last() {
                for ago in &days {
                    older(newest, *ago, |_| {});
                }
            }
        }
    }

    /// How many days old the backups in a folder are, the newest first.
    pub(crate) fn days(&self, place: &str) -> Vec<i64> {
        let mut days: Vec<i64> = backup_dirs(self.folder(place).join("shop")).iter().map(|dir| age(dir)).collect();
        days.sort_unstable();
        days
    }

    /// The id of the backup in `place` that is so many days old.
    pub(crate) fn id(&self, place: &str, days: i64) -> String {
        name(&self.dir(place, days)).to_owned()
    }

    pub(crate) fn dir(&self, place: &str, days: i64) -> PathBuf {
        let dirs = backup_dirs(self.folder(place).join("shop"));
        dirs.into_iter().find(|dir| age(dir) == days).unwrap_or_else(|| panic!("none of {days} days in {place}"))
    }
}

fn name(dir: &Path) -> &str {
    dir.file_name().unwrap().to_str().unwrap()
}

fn age(dir: &Path) -> i64 {
    let manifest = manifest(dir);
    let started: DateTime<Utc> = manifest["started_at"].as_str().unwrap().parse().unwrap();
    ((Utc::now() - started).num_minutes() + 12 * 60).div_euclid(24 * 60)
}

pub(crate) fn manifest(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap()
}

/// Puts a copy of the backup in `dir` beside it, as if taken so many days before it, with its manifest changed.
pub(crate) fn older(dir: &Path, days: i64, change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut manifest = manifest(dir);
    let started: DateTime<Utc> = manifest["started_at"].as_str().unwrap().parse().unwrap();
    let then = started - TimeDelta::days(days);
    let id = format!("{}{}", then.format("%Y%m%dT%H%M%SZ"), &name(dir)[16..]);
    let to = dir.parent().unwrap().join(&id);
    std::fs::create_dir(&to).unwrap();
    // Under their old names, which the index tells too: it can be restored as any other.
    for file in manifest["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        std::fs::copy(dir.join(name), to.join(name)).unwrap();
    }
    manifest["id"] = json!(id);
    manifest["started_at"] = json!(then);
    manifest["finished_at"] = json!(then);
    change(&mut manifest);
    std::fs::write(to.join("manifest.json"), manifest.to_string()).unwrap();
    to
}
