//! What pgkeep's files are called while they are written, and what an interrupted run may leave behind.
//!
//! Sweeping deletes, so these rules are narrow: a name that is not certainly pgkeep's is somebody else's.

use super::Key;
use crate::error::Result;
use crate::id::{BackupId, random_hex};
use chrono::{DateTime, TimeDelta, Utc};

/// The name of the file that makes a backup exist.
pub const MANIFEST_NAME: &str = "manifest.json";

/// The mark of a claimed folder.
pub(crate) const CLAIM_NAME: &str = ".in-progress";

/// The folders of receipts in a backup's folder.
pub(crate) const RECEIPT_FOLDERS: [&str; 3] = ["drills", "pins", "verified"];

const PARTIAL: &str = ".partial-";
const RANDOM_DIGITS: usize = 16;

const CHANGED: &str = ".changed-";
const INDEX: &str = "catalogue-";
const INDEX_END: &str = ".jsonl.gz";
const PASSING_DIGITS: usize = 8;

/// Whether a segment of `key` begins with a dot: marks and files that are being written.
pub(crate) fn is_hidden(key: &Key) -> bool {
    key.segments().any(|segment| segment.starts_with('.'))
}

/// The hidden name under which the file `name` is written: `.NAME.partial-RANDOM`, at most 230 bytes.
pub(crate) fn temp_name(name: &str) -> Result<String> {
    // A file's name may have 255 bytes, a key's segment 250: the end of a long one is left out.
    let name = name.get(..200).unwrap_or(name);
    Ok(format!(".{name}{PARTIAL}{}", random_hex(RANDOM_DIGITS / 2)?))
}

/// Whether `name` is one that [`temp_name`] gives.
pub(crate) fn is_temp(name: &str) -> bool {
    name.strip_prefix('.')
        .and_then(|rest| rest.rsplit_once(PARTIAL))
        .is_some_and(|(stem, random)| !stem.is_empty() && is_random(random, RANDOM_DIGITS))
}

/// Whether the file `relative` of the backup folder `id` is named as pgkeep names its files. `relative` has one segment,
/// or two for receipts.
pub(crate) fn is_ours(id: &BackupId, relative: &str) -> bool {
    let (folder, name) = relative.rsplit_once('/').map_or((None, relative), |(folder, name)| (Some(folder), name));
    if is_temp(name) {
        return folder.is_none_or(|folder| RECEIPT_FOLDERS.contains(&folder));
    }
    match folder {
        Some(folder) => RECEIPT_FOLDERS.contains(&folder) && receipt_order(name).is_some(),
        None => name == CLAIM_NAME || name == "RESTORE.txt" || is_archive_file(id, name),
    }
}

fn is_archive_file(id: &BackupId, name: &str) -> bool {
    let name = name.strip_suffix(".age").unwrap_or(name);
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    if matches!(plain, "globals.sql" | "database.sql" | "contents.json") {
        return true;
    }
    // Data files carry the second at which the backup was started: `DATABASE_20261122_020000.sql.gz`.
    let stamp = id.started_at().format("_%Y%m%d_%H%M%S").to_string();
    plain.strip_suffix(".sql").is_some_and(|stem| stem.find(&stamp).is_some_and(|at| at > 0))
}

/// The moment and number of a receipt named `20261123T040000Z.json` or, for further ones of that second,
/// `20261123T040000Z-2.json`; `None` for any other name.
pub(crate) fn receipt_order(name: &str) -> Option<(&str, u32)> {
    let stem = name.strip_suffix(".json")?;
    let (stamp, number) = match stem.split_once('-') {
        Some((stamp, number)) => (stamp, number.parse().ok().filter(|n: &u32| *n > 1 && n.to_string() == number)?),
        None => (stem, 1),
    };
    is_stamp(stamp).then_some((stamp, number))
}

/// If `key` is a receipt of the backup in the folder `dir`: its folder (`drills`, `pins` or `verified`), moment and number, which
/// sort by age within a folder.
pub fn is_receipt_of<'a>(dir: &Key, key: &'a Key) -> Option<(&'a str, &'a str, u32)> {
    let (folder, name) = key.as_str().strip_prefix(dir.as_str())?.strip_prefix('/')?.split_once('/')?;
    let (stamp, number) = receipt_order(name)?;
    RECEIPT_FOLDERS.contains(&folder).then_some((folder, stamp, number))
}

/// The mark of a change of the backup `id`, beside its folder: `ID.changed-RANDOM`. See `catalogue/index.rs`.
pub(crate) fn change_name(id: &BackupId) -> Result<String> {
    Ok(format!("{id}{CHANGED}{}", random_hex(PASSING_DIGITS / 2)?))
}

/// The backup that the mark of a change called `name` is about; `None` for any other name.
pub(crate) fn changed_by(name: &str) -> Option<BackupId> {
    let (id, random) = name.split_once(CHANGED)?;
    is_random(random, PASSING_DIGITS).then(|| id.parse().ok()).flatten()
}

/// The name of an index of the catalogue: `catalogue-20261122T020000Z-RANDOM.jsonl.gz`.
pub(crate) fn index_name(at: DateTime<Utc>) -> Result<String> {
    let random = random_hex(PASSING_DIGITS / 2)?;
    Ok(format!("{INDEX}{}-{random}{INDEX_END}", at.format("%Y%m%dT%H%M%SZ")))
}

/// Whether `name` is one that [`index_name`] gives.
pub(crate) fn is_index(name: &str) -> bool {
    let between = name.strip_prefix(INDEX).and_then(|rest| rest.strip_suffix(INDEX_END));
    between
        .and_then(|between| between.split_once('-'))
        .is_some_and(|(stamp, random)| is_stamp(stamp) && is_random(random, PASSING_DIGITS))
}

/// Whether `key` is what the catalogue keeps beside backups for a while only: an index or the mark of a change, in
/// `JOB/DATABASE/`.
pub(crate) fn is_passing(key: &Key) -> bool {
    let name = key.file_name();
    key.segments().count() == 3 && (is_index(name) || changed_by(name).is_some())
}

/// Whether `name` is the hidden one of an index or a mark that was not written to its end.
pub(crate) fn is_passing_temp(name: &str) -> bool {
    let stem = name.strip_prefix('.').and_then(|rest| rest.rsplit_once(PARTIAL)).map(|(stem, _)| stem);
    is_temp(name) && stem.is_some_and(|stem| is_index(stem) || changed_by(stem).is_some())
}

fn is_random(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_stamp(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

/// Whether something last written at `modified` is older than what any run is still writing: 24 hours.
pub(crate) fn is_old(modified: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(modified) >= TimeDelta::hours(24)
}

/// The same for what bears the mark of a writer that cannot be seen from here: 7 days, as uploads of terabytes through a
/// thin line take longer than one.
pub(crate) fn is_ancient(modified: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(modified) >= TimeDelta::days(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temp_names_are_known_again_and_nothing_else_is() {
        for name in ["a", "zenzspa_20261122_020000.sql.gz", &"x".repeat(250)] {
            let temp = temp_name(name).unwrap();
            assert!(is_temp(&temp) && temp.len() <= 230, "{temp}");
        }
        for name in
            [".partial-0123456789abcdef", "a.partial-0123456789abcdef", ".a.partial-01", ".a.partial-0123456789ABCDEF"]
        {
            assert!(!is_temp(name), "{name}");
        }
    }

    #[test]
    fn indexes_and_marks_are_known_by_their_names_and_place() {
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        let (mark, index) = (change_name(&id).unwrap(), index_name(Utc::now()).unwrap());
        assert_eq!(changed_by(&mark), Some(id));
        assert!(is_index(&index) && !is_index(&mark) && changed_by(&index).is_none());
        for name in [&mark, &index] {
            let key = |folder: &str| format!("{folder}{name}").parse::<Key>().unwrap();
            assert!(is_passing(&key("job/app/")) && !is_passing(&key("job/")) && !is_passing(&key("job/app/x/")));
            assert!(is_passing_temp(&temp_name(name).unwrap()) && !is_passing_temp(name));
        }
        for name in [
            "20261122T020000Z-7f3a.changed-0123456",
            "20261122T020000Z-7f3a.changed-0123456G",
            "20261122T020000Z.changed-01234567",
            "notes.changed-01234567",
            "catalogue-20261122T020000Z-7f3a.jsonl.gz",
            "catalogue-yesterday-01234567.jsonl.gz",
            "my-catalogue-20261122T020000Z-01234567.jsonl.gz",
            "catalogue-20261122T020000Z-01234567.jsonl",
        ] {
            assert!(changed_by(name).is_none() && !is_index(name), "{name}");
        }
        assert!(!is_passing_temp(&temp_name("globals.sql.gz").unwrap()));
    }

    #[test]
    fn only_files_named_as_pgkeep_names_them_are_ours() {
        let id: BackupId = "20261122T020000Z-7f3a".parse().unwrap();
        for name in [
            "zenzspa_20261122_020000.sql.gz",
            "zenzspa_20261122_020000.0002.sql.zst",
            "zenzspa_20261122_020000.sql",
            "globals.sql.gz",
            "database.sql",
            "contents.json.gz",
            "RESTORE.txt",
            ".in-progress",
            ".globals.sql.gz.partial-0123456789abcdef",
            "drills/20261123T040000Z.json",
            "verified/20261123T040000Z-2.json",
            "pins/20261123T040000Z.json",
        ] {
            assert!(is_ours(&id, name), "{name}");
        }
        for name in [
            "zenzspa_20261121_020000.sql.gz",
            "_20261122_020000.sql.gz",
            "zenzspa_20261122_020000.sql.gz.bak",
            "notes.txt",
            "backup.sql",
            "photos/20261123T040000Z.json",
            "drills/notes.json",
            "drills/20261123T040000Z-1.json",
            "manifest.json",
        ] {
            assert!(!is_ours(&id, name), "{name}");
        }
    }
}
