//! What the doctor is told about a folder: room, who else may write there, and what kind of disk it is on.

use super::{PROBE, os};
use crate::destination::remains::temp_name;
use crate::destination::{Finding, MANIFEST_NAME, Object, size_in_words};
use crate::error::{Context, Result};
use crate::id::BackupId;
use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::Path;

/// Less free space than this is too little for anybody, in bytes.
const FLOOR: u64 = 1 << 30;

/// Folders that a program on this computer keeps the same as a folder in a cloud, by the beginnings of their names.
const SYNCED: [&str; 8] =
    ["OneDrive", "Dropbox", "Google Drive", "GoogleDrive", "My Drive", "iCloud", "Nextcloud", "pCloud"];

/// The kinds of disk that matter to backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// Nothing is known that would matter.
    Ordinary,
    /// Gone when the computer is switched off.
    #[cfg_attr(windows, allow(dead_code))]
    Memory,
    /// Takes no files of 4 GiB.
    #[cfg_attr(windows, allow(dead_code))]
    Fat,
    /// The upper layer of a container, which goes with it.
    #[cfg_attr(windows, allow(dead_code))]
    Container,
    /// Another computer's, or made by a program, reached in this way.
    Network(&'static str),
}

/// Who may do what in a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    /// The permission bits, the sticky one among them.
    pub(super) mode: u32,
    /// Whether the folder belongs to this user or to root.
    pub(super) trusted_owner: bool,
}

/// Looks at the folder at `root`, which holds `objects`.
pub(super) fn examine(root: &Path, objects: &[Object]) -> Result<Vec<Finding>> {
    let doing = || format!("cannot examine {}", root.display());
    let mut findings = Vec::new();
    if let Some(free) = os::free_bytes(root).doing(doing)? {
        findings.push(room(free, newest_backups(objects)));
    }
    let disk = os::disk(root).doing(doing)?;
    // FAT and shares show modes that the mount made up.
    if let (Disk::Ordinary | Disk::Memory | Disk::Container, Some(access)) = (disk, os::access(root).doing(doing)?) {
        findings.push(permissions(root, access));
    }
    findings.extend(kind(disk));
    findings.extend(locks(root));
    findings.extend(synced(root));
    Ok(findings)
}

/// The bytes of the newest backup of every job and database.
fn newest_backups(objects: &[Object]) -> u64 {
    // By job and database, then by id: the bytes, and whether there is a manifest.
    let mut backups: BTreeMap<_, BTreeMap<&str, (u64, bool)>> = BTreeMap::new();
    for object in objects {
        let mut segments = object.key.segments();
        if let (Some(job), Some(database), Some(id), Some(name)) =
            (segments.next(), segments.next(), segments.next(), segments.next())
            && id.parse::<BackupId>().is_ok()
        {
            let (bytes, whole) = backups.entry((job, database)).or_default().entry(id).or_default();
            *bytes += object.bytes;
            *whole |= name == MANIFEST_NAME;
        }
    }
    let newest =
        |ids: &BTreeMap<&str, (u64, bool)>| ids.values().rev().find(|(_, whole)| *whole).map_or(0, |(bytes, _)| *bytes);
    backups.values().map(newest).sum()
}

fn room(free: u64, needed: u64) -> Finding {
    let what = "free space";
    let fix = "make room there, or point the destination at another disk";
    let shown = size_in_words(free);
    if free < needed {
        let found = format!("{shown} free, and the newest backups there hold {}", size_in_words(needed));
        return Finding::warning(what, found, fix);
    }
    if free < FLOOR {
        return Finding::warning(what, format!("only {shown} free"), fix);
    }
    let held =
        if needed > 0 { format!("; the newest backups there hold {}", size_in_words(needed)) } else { String::new() };
    Finding::good(what, format!("{shown} free{held}"))
}

fn permissions(root: &Path, access: Access) -> Finding {
    let what = "permissions";
    let mode = access.mode & 0o777;
    if access.mode & 0o002 != 0 && access.mode & 0o1000 == 0 {
        let found =
            format!("every user of this computer may rename and remove what is in the folder (mode {mode:03o})");
        return Finding::warning(what, found, format!("run: chmod 700 {}", root.display()));
    }
    if !access.trusted_owner {
        let found = "the folder belongs to another user, who may rename and remove what is in it";
        return Finding::note(what, found).advice("give it to the user that runs pgkeep, if that one is not trusted");
    }
    if access.mode & 0o022 != 0 {
        return Finding::note(what, format!("its group or others may write into the folder (mode {mode:03o})"))
            .advice(format!("to keep it for yourself: chmod 700 {}", root.display()));
    }
    if mode & 0o055 != 0 {
        let found = format!("others may see the names of jobs (mode {mode:03o}); the backups are private");
        return Finding::good(what, found);
    }
    Finding::good(what, format!("the folder is private (mode {mode:03o})"))
}

fn kind(disk: Disk) -> Option<Finding> {
    let what = "disk";
    Some(match disk {
        Disk::Ordinary => return None,
        Disk::Memory => Finding::warning(
            what,
            "the folder is in memory: the backups are gone when the computer is switched off",
            "choose a folder on a disk",
        ),
        Disk::Fat => Finding::warning(
            what,
            "the disk is formatted with FAT, which takes no file of 4 GiB or more",
            "format it with exFAT, NTFS or ext4, or choose another disk",
        ),
        Disk::Container => Finding::note(what, "the folder is in the layer of a container, and is gone with it")
            .advice("mount a volume there"),
        Disk::Network(by) => Finding::note(
            what,
            format!("the folder is reached through {by}: other computers that write there are told apart by age only"),
        ),
    })
}

/// Whether files can be locked: what an interrupted run left is then known at once. Says nothing where no file can be
/// made, which is told elsewhere.
fn locks(root: &Path) -> Option<Finding> {
    let path = root.join(temp_name(PROBE).ok()?);
    let file = os::create_file(&path).ok()?;
    let locked = file.try_lock();
    drop(file);
    // One that cannot be removed is seen as a leftover of the probe, and swept when it is old.
    let _ = std::fs::remove_file(&path);
    match locked {
        Err(TryLockError::Error(error)) => Some(Finding::note(
            "locks",
            format!(
                "files cannot be locked there ({error}): what an interrupted run leaves is removed after a day only"
            ),
        )),
        Ok(()) | Err(TryLockError::WouldBlock) => None,
    }
}

fn synced(root: &Path) -> Option<Finding> {
    let by = root.components().find_map(|part| {
        let name = part.as_os_str().to_str()?;
        SYNCED.into_iter().find(|known| name.starts_with(known))
    })?;
    let found =
        format!("the folder seems to be kept in step with a cloud by {by}: what is removed there is removed here");
    Some(
        Finding::note("synced folder", found)
            .advice("a destination of type \"rclone\" or \"gdrive\" stores in the cloud itself, and checks it there"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::Verdict;

    fn object(key: &str, bytes: u64) -> Object {
        Object { key: key.parse().unwrap(), bytes, modified: chrono::Utc::now() }
    }

    #[test]
    fn the_newest_whole_backup_of_each_database_counts() {
        let objects = [
            object("shop/shop/20261121T020000Z-7f3a/a.sql.gz", 1),
            object("shop/shop/20261121T020000Z-7f3a/manifest.json", 1),
            object("shop/shop/20261122T020000Z-7f3a/a.sql.gz", 100),
            object("shop/shop/20261122T020000Z-7f3a/manifest.json", 10),
            object("shop/shop/20261123T020000Z-7f3a/a.sql.gz", 9999),
            object("shop/crm/20261121T020000Z-7f3a/manifest.json", 1000),
            object("photos/2026/may/a.jpg", 5555),
        ];
        assert_eq!(newest_backups(&objects), 1110);
        assert_eq!(newest_backups(&[]), 0);
    }

    #[test]
    fn too_little_room_is_a_warning() {
        let verdict = |free, needed| room(free, needed).verdict;
        assert_eq!(verdict(5 << 30, 1 << 30), Verdict::Good);
        assert_eq!(verdict(5 << 30, 6 << 30), Verdict::Warning);
        assert_eq!(verdict(FLOOR - 1, 0), Verdict::Warning);
        assert!(room(FLOOR - 1, 0).fix.is_some());
    }

    #[test]
    fn a_folder_that_others_may_change_is_told() {
        let verdict = |mode, trusted_owner| permissions(Path::new("/b"), Access { mode, trusted_owner }).verdict;
        for (mode, trusted, expected) in [
            (0o700, true, Verdict::Good),
            (0o755, true, Verdict::Good),
            (0o775, true, Verdict::Note),
            (0o777, true, Verdict::Warning),
            (0o1777, true, Verdict::Note),
            (0o700, false, Verdict::Note),
        ] {
            assert_eq!(verdict(mode, trusted), expected, "{mode:o}");
        }
    }

    #[test]
    fn disks_that_lose_backups_and_folders_that_are_synced_are_told() {
        assert_eq!(kind(Disk::Ordinary), None);
        for disk in [Disk::Memory, Disk::Fat] {
            let finding = kind(disk).unwrap();
            assert!(finding.verdict == Verdict::Warning && finding.fix.is_some(), "{finding:?}");
        }
        assert_eq!(kind(Disk::Network("NFS")).unwrap().verdict, Verdict::Note);
        assert!(synced(Path::new("/home/ana/OneDrive - Zenz/backups")).unwrap().found.contains("OneDrive"));
        assert_eq!(synced(Path::new("/var/backups/drive")), None);
    }

    #[tokio::test]
    async fn a_folder_is_examined_and_nothing_stays_in_it() {
        use crate::destination::{Destination, Folder};
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("office", dir.path());
        let findings = folder.examine().await.unwrap();
        let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert!(!what.contains(&"locks"), "{findings:?}");
        #[cfg(unix)]
        assert_eq!(what[..2], ["free space", "permissions"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(Folder::new("gone", dir.path().join("gone")).examine().await.unwrap(), []);
    }
}
