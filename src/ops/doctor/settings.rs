//! What the configuration, or what was chosen without one, leaves to chance.

use super::DoctorJob;
use crate::config::{DestinationConfig, DestinationRef, Require};
use crate::destination::Finding;
use crate::ops::{BackupRequest, Context};
use std::collections::BTreeSet;

/// What can be said of the choice of jobs and destinations.
pub(super) fn examine(ctx: &Context, jobs: &[DoctorJob], destinations: &[DestinationRef]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(path) = &ctx.config.path {
        findings.push(Finding::good("file", format!("{} can be read as a whole", path.display())));
    }
    for warning in &ctx.config.warnings {
        findings.push(Finding::warning("secrets", warning.clone(), "write the secret as the message says"));
    }
    for job in jobs {
        let Ok(backup) = &job.backup else { continue };
        let subject = job.name.as_ref().map_or_else(String::new, |name| format!("job {name}: "));
        findings.extend(copies(&subject, backup));
    }
    if jobs.is_empty() && destinations.is_empty() {
        findings.push(Finding::note("jobs", "there is neither a job nor a destination"));
    }
    findings.extend(unused(ctx));
    findings
}

/// Three copies, on two kinds of storage, one of them elsewhere: the database itself is one.
fn copies(subject: &str, backup: &BackupRequest) -> Option<Finding> {
    let all = backup.destinations.len();
    let what = "copies";
    let fix = "add a destination elsewhere: another computer or disk, s3, gdrive or rclone";
    if all == 1 {
        return Some(Finding::note(what, format!("{subject}backups go to one place only")).advice(fix));
    }
    if all > 1 && on_one_disk(&backup.destinations) {
        let found = format!("{subject}all {all} destinations are folders on one disk, and are lost with it");
        return Some(Finding::note(what, found).advice(fix));
    }
    let least = match backup.require {
        Require::All => all,
        Require::Any => 1,
        Require::AtLeast(least) => least,
    };
    if least < all {
        let found =
            format!("{subject}a backup in {least} of {all} destinations counts as done; the others are only warned of");
        return Some(Finding::note("require", found));
    }
    None
}

#[cfg(unix)]
fn on_one_disk(destinations: &[DestinationRef]) -> bool {
    use std::os::unix::fs::MetadataExt;
    let disk = |reference: &DestinationRef| match &reference.config {
        // One that will be created is on the disk of the folder above it.
        DestinationConfig::Folder { path } => {
            let path = std::path::absolute(path).ok()?;
            path.ancestors().find_map(|folder| std::fs::metadata(folder).ok()).map(|found| found.dev())
        }
        _ => None,
    };
    let disks: Vec<Option<u64>> = destinations.iter().map(disk).collect();
    disks.first().is_some_and(|first| first.is_some() && disks.iter().all(|disk| disk == first))
}

/// The letter of the drive, or the share.
#[cfg(not(unix))]
fn on_one_disk(destinations: &[DestinationRef]) -> bool {
    let disk = |reference: &DestinationRef| match &reference.config {
        DestinationConfig::Folder { path } => {
            let path = std::path::absolute(path).ok()?;
            path.components().next().map(|prefix| prefix.as_os_str().to_ascii_uppercase())
        }
        _ => None,
    };
    let disks: Vec<_> = destinations.iter().map(disk).collect();
    disks.first().is_some_and(|first| first.is_some() && disks.iter().all(|disk| disk == first))
}

/// Configured destinations in which no job stores anything.
fn unused(ctx: &Context) -> Option<Finding> {
    let config = &ctx.config;
    let used: BTreeSet<&String> = config.jobs.values().flat_map(|job| &job.destinations).collect();
    let unused: Vec<&str> =
        config.destinations.keys().filter(|name| !used.contains(name)).map(String::as_str).collect();
    if unused.is_empty() || config.jobs.is_empty() {
        return None;
    }
    let found = format!("no job stores anything in {}", unused.join(", "));
    Some(Finding::note("destinations", found).advice("name them in destinations of a job, or remove them"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Connection;
    use crate::secret::Secret;
    use std::path::Path;

    fn backup(folders: &[&Path], require: Require) -> BackupRequest {
        let folder = |path: &&Path| DestinationRef {
            name: path.display().to_string(),
            config: DestinationConfig::Folder { path: path.to_path_buf() },
        };
        let connection = Connection::parse(&Secret::new("postgres://ana@localhost/shop")).unwrap();
        BackupRequest { require, ..BackupRequest::ad_hoc(connection, folders.iter().map(folder).collect()) }
    }

    fn found(backup: &BackupRequest) -> String {
        copies("", backup).map(|finding| finding.found).unwrap_or_default()
    }

    #[test]
    fn one_place_and_one_disk_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        assert_eq!(found(&backup(&[&a], Require::All)), "backups go to one place only");
        assert!(found(&backup(&[&a, &b], Require::All)).contains("on one disk"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_counts_as_done_with_less_is_told() {
        let dir = tempfile::tempdir().unwrap();
        // procfs is a disk of its own everywhere.
        let two = [dir.path(), Path::new("/proc")];
        assert_eq!(found(&backup(&two, Require::All)), "");
        assert!(found(&backup(&two, Require::Any)).starts_with("a backup in 1 of 2 destinations counts as done"));
        assert_eq!(found(&backup(&two, Require::AtLeast(2))), "");
    }
}
