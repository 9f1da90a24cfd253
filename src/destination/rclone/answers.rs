//! What rclone prints: its version, what a remote can do, files, and free space.

use crate::destination::{Key, Object};
use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The oldest version that is known to work: Debian 12's. All that is used of rclone is there since 1.56 (`lsjson --stat`).
pub(super) const OLDEST: (u32, u32) = (1, 60);

/// What `Precision` says where a remote keeps no modification times: a hundred years (rclone's `fs.ModTimeNotSupported`).
const NO_TIMES: i64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// The version of `rclone v1.75.2`, as numbers and as text.
pub(super) fn version(stdout: &[u8]) -> Option<((u32, u32), String)> {
    let text = String::from_utf8_lossy(stdout);
    let version = text.lines().find_map(|line| line.strip_prefix("rclone v"))?.trim();
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    Some(((numbers.next()??, numbers.next()??), version.to_owned()))
}

/// A hash that rclone and pgkeep both know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashKind {
    Sha256,
    Sha1,
    Md5,
}

impl HashKind {
    /// The strongest first.
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha1, Self::Md5];

    /// As rclone calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
        }
    }
}

/// `rclone backend features`: what a remote can do.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Features {
    #[serde(default)]
    precision: i64,
    #[serde(default)]
    hashes: Option<Vec<String>>,
    features: BTreeMap<String, bool>,
}

impl Features {
    pub(super) fn parse(stdout: &[u8]) -> Result<Self> {
        serde_json::from_slice(stdout).map_err(|source| unreadable("what the remote can do", source))
    }

    /// Whether the remote has the feature, as rclone calls it.
    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.get(feature).copied().unwrap_or(false)
    }

    /// The strongest hash of what is stored that can be compared.
    pub(super) fn hash(&self) -> Option<HashKind> {
        let known = self.hashes.as_deref().unwrap_or_default();
        HashKind::ALL.into_iter().find(|hash| known.iter().any(|known| known == hash.name()))
    }

    /// Whether a file can be given its name after it was written.
    pub(super) fn can_rename(&self) -> bool {
        self.has("Move") || self.has("Copy")
    }

    /// Whether folders exist by themselves, and remain when they are empty.
    pub(super) fn has_folders(&self) -> bool {
        self.features.get("CanHaveEmptyDirectories").copied().unwrap_or(true)
    }

    /// Whether modification times are kept.
    pub(super) fn keeps_times(&self) -> bool {
        self.precision < NO_TIMES
    }
}

/// A file or folder as `rclone lsjson` tells it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    /// Below what was listed.
    pub(super) path: String,
    /// -1 where it is not known.
    pub(super) size: i64,
    mod_time: String,
    #[serde(default)]
    pub(super) is_dir: bool,
    #[serde(default)]
    hashes: Option<BTreeMap<String, String>>,
}

impl Entry {
    /// The one entry of `--stat`.
    pub(super) fn parse(stdout: &[u8]) -> Result<Self> {
        serde_json::from_slice(stdout).map_err(|source| unreadable("a file", source))
    }

    /// A listing.
    pub(super) fn parse_all(stdout: &[u8]) -> Result<Vec<Self>> {
        serde_json::from_slice(stdout).map_err(|source| unreadable("a listing", source))
    }

    /// Its hash, lowercase; `None` where the remote has none of this file.
    pub(super) fn hash(&self, kind: HashKind) -> Option<String> {
        let hash = self.hashes.as_ref()?.get(kind.name())?;
        (!hash.is_empty()).then(|| hash.to_lowercase())
    }

    /// The same as an object of pgkeep's. `now` stands for a time that the remote does not know, which rclone tells as the
    /// year 2000: what has no age must not be taken for old.
    pub(super) fn object(&self, key: Key, now: DateTime<Utc>) -> Result<Object> {
        let modified = DateTime::parse_from_rfc3339(&self.mod_time).map_err(|source| {
            Error::new(ErrorKind::Failed, format!("rclone gives {:?} as the age of {key}", self.mod_time))
                .caused_by(source)
        })?;
        let modified = Some(modified.with_timezone(&Utc)).filter(|time| time.year() > 2000).unwrap_or(now);
        let bytes = u64::try_from(self.size).map_err(|_| {
            Error::new(ErrorKind::Failed, format!("the remote does not tell the size of {key}"))
                .hint("use another remote: backups of unknown size cannot be checked")
        })?;
        Ok(Object { key, bytes, modified })
    }
}

/// `rclone about`, in bytes; what the remote does not know is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct About {
    pub(super) total: Option<u64>,
    pub(super) used: Option<u64>,
    pub(super) free: Option<u64>,
}

impl About {
    pub(super) fn parse(stdout: &[u8]) -> Result<Self> {
        serde_json::from_slice(stdout).map_err(|source| unreadable("the free space", source))
    }
}

fn unreadable(what: &str, source: serde_json::Error) -> Error {
    Error::new(ErrorKind::Failed, format!("rclone's answer about {what} cannot be read")).caused_by(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_releases_and_of_distributions_are_read() {
        assert_eq!(version(b"rclone v1.75.2\n- os/version: debian 12.11\n"), Some(((1, 75), "1.75.2".into())));
        assert_eq!(version(b"rclone v1.60.1-DEV\n"), Some(((1, 60), "1.60.1-DEV".into())));
        assert_eq!(version(b"rclone v2.0\n").unwrap().0, (2, 0));
        for other in [&b"rsync  version 3.2.7"[..], b"", b"rclone vx", b"\xff"] {
            assert_eq!(version(other), None);
        }
    }

    #[test]
    fn features_tell_what_a_remote_can_do() {
        let sftp = br#"{"Name":"sftp","Precision":1000000000,"Hashes":["md5","sha1"],"MetadataInfo":null,
            "Features":{"Copy":false,"Move":true,"PutStream":true,"CanHaveEmptyDirectories":true}}"#;
        let sftp = Features::parse(sftp).unwrap();
        assert!(sftp.has("Move") && !sftp.has("Copy") && !sftp.has("New") && sftp.can_rename() && sftp.has_folders());
        assert!(sftp.keeps_times());
        assert_eq!(sftp.hash(), Some(HashKind::Sha1));
        let box_like =
            br#"{"Precision":3153600000000000000,"Hashes":null,"Features":{"CanHaveEmptyDirectories":false}}"#;
        let box_like = Features::parse(box_like).unwrap();
        assert!(!box_like.can_rename() && !box_like.has_folders() && !box_like.keeps_times());
        assert_eq!(box_like.hash(), None);
        assert_eq!(Features::parse(b"{}").unwrap_err().kind(), ErrorKind::Failed);
    }

    #[test]
    fn entries_become_objects() {
        let now = Utc::now();
        let key: Key = "a/x%2E".parse().unwrap();
        let entry = Entry::parse(
            br#"{"Path":"x%2E","Name":"x%2E","Size":6,"MimeType":"text/plain","ModTime":"2026-11-22T10:50:30+02:00",
                "IsDir":false,"Hashes":{"md5":"B1946AC92492D2347C6235B4D2611184","sha1":""}}"#,
        )
        .unwrap();
        let object = entry.object(key.clone(), now).unwrap();
        assert_eq!((object.bytes, object.modified.to_rfc3339().as_str()), (6, "2026-11-22T08:50:30+00:00"));
        assert_eq!(entry.hash(HashKind::Md5).unwrap(), "b1946ac92492d2347c6235b4d2611184");
        assert_eq!(entry.hash(HashKind::Sha1), None);
        let ageless = br#"[{"Path":"x","Size":-1,"ModTime":"2000-01-01T00:00:00.000000000Z","IsDir":false}]"#;
        let mut ageless = Entry::parse_all(ageless).unwrap().remove(0);
        assert!(ageless.object(key.clone(), now).is_err(), "the size is not known");
        ageless.size = 0;
        assert_eq!(ageless.object(key, now).unwrap().modified, now);
        assert!(Entry::parse_all(b"[\n").is_err(), "a listing that breaks off");
    }

    #[test]
    fn space_is_told_as_far_as_it_is_known() {
        assert_eq!(About::parse(b"{}").unwrap(), About::default());
        let about = About::parse(br#"{"total": 10, "used": 4, "free": 6, "trashed": 1}"#).unwrap();
        assert_eq!(about, About { total: Some(10), used: Some(4), free: Some(6) });
    }
}
