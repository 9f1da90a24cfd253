//! The keys of a job and of its drill.

use super::reader::{Problems, Section, Value, did_you_mean, string, strings};
use super::resolve::Origin;
use super::values::{self, duration, size, told};
use crate::config::{
    Check, Compression, Databases, DrillConfig, DrillLevel, DrilledBackup, JobConfig, Require, SAMPLE_SIZE, Schedule,
    Scratch, SecretRef,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// pg_dump hands the time to the server as milliseconds in an `int`: 24 days fit.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(24 * 24 * 3600);

/// Reads one job.
pub(super) struct Job<'j, 't> {
    pub(super) name: &'j str,
    pub(super) origin: Origin<'j>,
    /// The names of all destinations in the file, those with problems too.
    pub(super) declared: &'j BTreeSet<&'j str>,
    pub(super) warnings: &'j mut Vec<String>,
    pub(super) problems: &'j mut Problems<'t>,
}

impl Job<'_, '_> {
    /// The job in `section`; complete only while there are no problems.
    pub(super) fn read(&mut self, mut section: Section<'_>) -> JobConfig {
        let database_url = section.get("database_url").and_then(|value| self.secret("database_url", value));
        let (databases, exclude_databases) = self.databases(&mut section);
        let destinations = self.destinations(&mut section);
        let require = self.require(&mut section, destinations.len());
        let problems = &mut *self.problems;
        let compression = section.parsed("compression", problems, |text| text.parse::<Compression>().map_err(told));
        let label = section.parsed("label", problems, |text| {
            let why = "a label must not hold control characters";
            if text.chars().any(char::is_control) { Err(why.to_owned()) } else { Ok(text.to_owned()) }
        });
        let lock_wait_timeout = section.parsed("lock_wait_timeout", problems, |text| {
            duration(text).and_then(|wait| {
                let why = "24 days is the longest that PostgreSQL can wait";
                if wait <= LONGEST_LOCK_WAIT { Ok(wait) } else { Err(why.to_owned()) }
            })
        });
        let bin_dir = section.string("bin_dir", problems).map(|text| self.origin.path(text));
        let jobs = section.integer("jobs", 1..=64, problems);
        let schedule = section.parsed("schedule", problems, |text| text.parse::<Schedule>().map_err(told));
        let retention = section.get("retention").and_then(|value| values::retention(value, problems));
        let jitter = section.parsed("jitter", problems, duration);
        let overdue_after = section.parsed("overdue_after", problems, duration);
        let drill = section.get("drill").and_then(|value| self.drill(value, &destinations));
        section.finish(self.problems);
        JobConfig {
            name: self.name.to_owned(),
            database_url,
            databases,
            exclude_databases,
            destinations,
            require,
            compression: compression.unwrap_or_default(),
            label,
            lock_wait_timeout: lock_wait_timeout.unwrap_or(Duration::from_secs(60)),
            bin_dir,
            jobs: jobs.unwrap_or(1),
            drill,
            retention,
            schedule,
            jitter,
            overdue_after,
        }
    }

    fn databases(&mut self, section: &mut Section<'_>) -> (Databases, Vec<String>) {
        let databases = match section.get("databases") {
            None => Databases::FromUrl,
            Some(value) if value.get_ref().as_str() == Some("all") => Databases::All,
            Some(value) => match value.get_ref().as_array() {
                Some(array) if !array.is_empty() => {
                    let names = strings("databases", value, self.problems).unwrap_or_default();
                    Databases::Named(self.different("databases", names))
                }
                _ => {
                    self.problems.add(&value.span(), "\"databases\" must be \"all\" or an array of names");
                    Databases::All
                }
            },
        };
        let excluded = section.strings("exclude_databases", self.problems).unwrap_or_default();
        if let (Some((_, at)), false) = (excluded.first(), databases == Databases::All) {
            self.problems.add(at, "\"exclude_databases\" means something with databases = \"all\" only");
        }
        (databases, self.different("exclude_databases", excluded))
    }

    /// The strings, reporting those that are there twice.
    fn different(&mut self, key: &str, strings: Vec<(String, Range<usize>)>) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for (text, at) in strings {
            if all.contains(&text) {
                self.problems.add(&at, format!("{text:?} is twice in {key:?}"));
            } else {
                all.push(text);
            }
        }
        all
    }

    fn destinations(&mut self, section: &mut Section<'_>) -> Vec<String> {
        let Some(value) = section.require("destinations", self.problems) else { return Vec::new() };
        let Some(names) = strings("destinations", value, self.problems) else { return Vec::new() };
        if names.is_empty() {
            self.problems.add(&value.span(), "\"destinations\" must name at least one destination");
        }
        for (name, at) in &names {
            if !self.declared.contains(name.as_str()) {
                let near = did_you_mean(name, self.declared.iter().copied());
                self.problems.add(at, format!("no section [destination.{name}] is in this file{near}"));
            }
        }
        self.different("destinations", names)
    }

    fn require(&mut self, section: &mut Section<'_>, destinations: usize) -> Require {
        let Some(value) = section.get("require") else { return Require::All };
        match value.get_ref().as_str() {
            Some("all") => return Require::All,
            Some("any") => return Require::Any,
            _ => {}
        }
        let number = value.get_ref().as_integer().and_then(|n| usize::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(least) if least >= 1 && (least <= destinations || destinations == 0) => Require::AtLeast(least),
            _ => {
                let most = destinations.max(1);
                let message = format!(
                    "\"require\" must be \"all\", \"any\", or a number from 1 to {most}, the job's destinations"
                );
                self.problems.add(&value.span(), message);
                Require::All
            }
        }
    }

    fn drill(&mut self, value: &Value<'_>, destinations: &[String]) -> Option<DrillConfig> {
        let mut section = Section::of(format!("[job.{}.drill]", self.name), value, self.problems)?;
        let scratch = section.get("scratch").and_then(|value| self.scratch(value)).unwrap_or(Scratch::Ephemeral);
        let problems = &mut *self.problems;
        let schedule = section.parsed("schedule", problems, |text| text.parse::<Schedule>().map_err(told));
        let backup = section.parsed("backup", problems, |text| text.parse::<DrilledBackup>().map_err(told));
        let copy = section.parsed("copy", problems, |text| copy(text, destinations));
        let level = section.parsed("level", problems, |text| text.parse::<DrillLevel>().map_err(told));
        let sample_size = section.parsed("sample_size", problems, size);
        let max_duration = section.parsed("max_duration", problems, duration);
        let overdue_after = section.parsed("overdue_after", problems, duration);
        let mut checks: Vec<Check> = Vec::new();
        if let Some(value) = section.get("check") {
            let Some(array) = value.get_ref().as_array() else {
                problems.add(&value.span(), format!("write each check as [[job.{}.drill.check]]", self.name));
                return None;
            };
            for item in array {
                if let Some(check) = self.check(item) {
                    if checks.iter().any(|other| other.name == check.name) {
                        self.problems.add(&item.span(), format!("two checks are named {:?}", check.name));
                    }
                    checks.push(check);
                }
            }
        }
        section.finish(self.problems);
        Some(DrillConfig {
            schedule,
            scratch,
            backup: backup.unwrap_or_default(),
            copy: copy.flatten(),
            level: level.unwrap_or_default(),
            sample_size: sample_size.unwrap_or(SAMPLE_SIZE),
            max_duration,
            overdue_after,
            checks,
        })
    }

    fn scratch(&mut self, value: &Value<'_>) -> Option<Scratch> {
        if value.get_ref().as_str() == Some("ephemeral") {
            return Some(Scratch::Ephemeral);
        }
        if !value.get_ref().is_table() {
            let message = "\"scratch\" must be \"ephemeral\", or { url = { env = \"NAME\" } } for a server";
            self.problems.add(&value.span(), message);
            return None;
        }
        let mut section = Section::of("\"scratch\"", value, self.problems)?;
        let url = section.require("url", self.problems).and_then(|value| self.secret("url", value));
        section.finish(self.problems);
        Some(Scratch::Server(url?))
    }

    fn check(&mut self, value: &Value<'_>) -> Option<Check> {
        let problems = &mut *self.problems;
        let mut section = Section::of(format!("[[job.{}.drill.check]]", self.name), value, problems)?;
        let mut text = |key| Some(string(key, section.require(key, problems)?, problems)?.to_owned());
        let (name, sql, expect) = (text("name"), text("sql"), text("expect"));
        section.finish(problems);
        Some(Check { name: name?, sql: sql?, expect: expect? })
    }

    fn secret(&mut self, key: &str, value: &Value<'_>) -> Option<SecretRef> {
        let owner = format!("job {:?}", self.name);
        values::secret(key, value, &owner, self.origin, self.warnings, self.problems)
    }
}

/// The destination whose copy is drilled, which must be one of the job's; `any` for whichever is nearest.
fn copy(text: &str, destinations: &[String]) -> Result<Option<String>, String> {
    if text == "any" {
        return Ok(None);
    }
    if destinations.iter().any(|name| name == text) {
        return Ok(Some(text.to_owned()));
    }
    let near = did_you_mean(text, destinations.iter().map(String::as_str).chain(["any"]));
    Err(format!("{text:?} is neither \"any\" nor one of the job's destinations{near}"))
}
