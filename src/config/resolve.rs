//! The sections and keys of the configuration file, and what each may hold.

use super::destination::{TYPES, expand_home, gdrive, rclone, s3};
use super::job::Job;
use super::reader::{Problems, Section, Value, did_you_mean, string};
use super::values;
use crate::config::{Config, DestinationConfig, RunConfig, SecretRef};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use toml::de::DeTable;

/// What the file is, besides its text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin<'p> {
    /// The folder that relative paths start from: the file's own, so that cron and a shell mean the same.
    pub(super) folder: Option<&'p Path>,
    /// The file's mode, where others can read or write it.
    pub(super) open_to_others: Option<u32>,
}

impl Origin<'_> {
    /// A path of the file.
    pub(super) fn path(self, text: &str) -> PathBuf {
        let path = expand_home(text);
        self.folder.map_or_else(|| path.clone(), |folder| folder.join(&path))
    }
}

/// What reading a destination needs besides its section.
pub(super) struct Reading<'r> {
    pub(super) name: &'r str,
    pub(super) origin: Origin<'r>,
    pub(super) warnings: &'r mut Vec<String>,
}

impl Reading<'_> {
    /// The secret that `value`, the value of `key`, describes.
    pub(super) fn secret(&mut self, key: &str, value: &Value<'_>, problems: &mut Problems<'_>) -> Option<SecretRef> {
        let owner = format!("destination {:?}", self.name);
        values::secret(key, value, &owner, self.origin, self.warnings, problems)
    }
}

/// Reads the whole file. The answer means something only while `problems` stays empty.
pub(super) fn resolve(table: &DeTable<'_>, origin: Origin<'_>, problems: &mut Problems<'_>) -> Config {
    let mut config = Config::default();
    let mut root = Section::new("the file", 0..0, table);
    if let Some(zone) = root.parsed("timezone", problems, |text| {
        let near = || did_you_mean(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        chrono_tz::Tz::from_str(text).map_err(|_| format!("no time zone is named {text:?}{}", near()))
    }) {
        config.timezone = zone;
    }
    config.bin_dir = root.string("bin_dir", problems).map(|text| origin.path(text));
    config.state_dir = root.string("state_dir", problems).map(|text| origin.path(text));
    config.temp_dir = root.string("temp_dir", problems).map(|text| origin.path(text));

    if let Some(mut run) = root.get("run").and_then(|value| Section::of("[run]", value, problems)) {
        let default = RunConfig::default().concurrent_jobs;
        config.run.concurrent_jobs = run.integer("concurrent_jobs", 1..=64, problems).unwrap_or(default);
        run.finish(problems);
    }
    let mut declared = BTreeSet::new();
    if let Some(all) = root.get("destination").and_then(|value| Section::of("[destination]", value, problems)) {
        for (name, at, value) in all.entries() {
            check_name("a destination", name, &at, problems);
            declared.insert(name);
            if let Some(mut section) = Section::of(format!("[destination.{name}]"), value, problems) {
                let own = section.get("retention").and_then(|value| values::retention(value, problems));
                config.destination_retention.extend(own.map(|own| (name.to_owned(), own)));
                let reading = &mut Reading { name, origin, warnings: &mut config.warnings };
                if let Some(destination) = destination(section, reading, problems) {
                    config.destinations.insert(name.to_owned(), destination);
                }
            }
        }
    }
    if let Some(all) = root.get("job").and_then(|value| Section::of("[job]", value, problems)) {
        for (name, at, value) in all.entries() {
            check_name("a job", name, &at, problems);
            if let Some(other) = config.jobs.keys().find(|other| other.to_lowercase() == name.to_lowercase()) {
                let message = format!("the jobs {other:?} and {name:?} would share a folder on Windows and macOS");
                problems.add(&at, message);
            }
            if let Some(section) = Section::of(format!("[job.{name}]"), value, problems) {
                let mut reader = Job { name, origin, declared: &declared, warnings: &mut config.warnings, problems };
                let job = reader.read(section);
                config.jobs.insert(name.to_owned(), job);
            }
        }
    }
    if let Some(value) = root.get("notify") {
        match value.get_ref().as_table() {
            Some(all) if !all.is_empty() => {
                for (name, _) in all {
                    let message = format!("[notify.{}] is not available in this version of pgkeep", name.get_ref());
                    problems.add(&name.span(), message);
                }
            }
            _ => problems.add(&value.span(), "[notify] is not available in this version of pgkeep"),
        }
    }
    root.finish(problems);
    config
}

fn check_name(what: &str, name: &str, at: &Range<usize>, problems: &mut Problems<'_>) {
    if name.is_empty() || name.chars().any(char::is_control) {
        problems.add(at, format!("the name of {what} must not be empty, nor hold control characters"));
    }
}

fn destination(
    mut section: Section<'_>,
    reading: &mut Reading<'_>,
    problems: &mut Problems<'_>,
) -> Option<DestinationConfig> {
    let value = section.require("type", problems)?;
    let text = string("type", value, problems)?;
    let found = match text {
        "folder" => {
            let path = section.require("path", problems).and_then(|value| string("path", value, problems));
            path.map(|path| DestinationConfig::Folder { path: reading.origin.path(path) })
        }
        "s3" => Some(DestinationConfig::S3(Box::new(s3::read(&mut section, reading, problems)))),
        "gdrive" => Some(DestinationConfig::Drive(gdrive::read(&mut section, reading, problems))),
        "rclone" => Some(DestinationConfig::Rclone(rclone::read(&mut section, reading, problems))),
        _ => {
            let near = did_you_mean(text, TYPES);
            let message = format!("no destination has type {text:?}, there are {}{near}", TYPES.join(", "));
            problems.add(&value.span(), message);
            return None;
        }
    };
    section.finish(problems);
    found
}
