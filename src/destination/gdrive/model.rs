//! What Drive tells about files, as far as pgkeep asks, and how its queries are written.
//!
//! Source: the reference of the Drive API v3, resource `files`, and its guide to search queries.

use crate::error::{Error, ErrorKind, Result};
use chrono::{DateTime, Utc};
use md5::Md5;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The type of a folder.
pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";

/// The tag of everything that pgkeep creates, in `appProperties`.
pub(super) const TAG: &str = "pgkeep";

/// What is asked about every file.
pub(super) const FIELDS: &str = "id,name,mimeType,size,createdTime,modifiedTime,md5Checksum,sha256Checksum,trashed,\
                                 parents,appProperties,driveId";

/// A file or folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) mime_type: String,
    /// In bytes, as text. Google's own documents and folders have none.
    size: Option<String>,
    pub(super) created_time: Option<DateTime<Utc>>,
    pub(super) modified_time: Option<DateTime<Utc>>,
    pub(super) md5_checksum: Option<String>,
    pub(super) sha256_checksum: Option<String>,
    #[serde(default)]
    pub(super) trashed: bool,
    #[serde(default)]
    pub(super) parents: Vec<String>,
    #[serde(default)]
    pub(super) app_properties: BTreeMap<String, String>,
    /// The shared drive it is in, if it is in one.
    pub(super) drive_id: Option<String>,
    #[serde(default)]
    pub(super) capabilities: Capabilities,
}

/// What the account may do with a file or folder.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capabilities {
    pub(super) can_add_children: Option<bool>,
    pub(super) can_delete_children: Option<bool>,
    pub(super) can_trash_children: Option<bool>,
}

impl File {
    pub(super) fn is_folder(&self) -> bool {
        self.mime_type == FOLDER
    }

    /// Its size, where it has bytes of its own: Google's documents, shortcuts and folders have none.
    pub(super) fn bytes(&self) -> Option<u64> {
        if self.mime_type.starts_with("application/vnd.google-apps.") {
            return None;
        }
        self.size.as_deref()?.parse().ok()
    }

    /// The order among files of one name: the first is the one that counts.
    pub(super) fn rank(&self) -> (DateTime<Utc>, &str) {
        (self.created_time.unwrap_or(DateTime::<Utc>::MAX_UTC), &self.id)
    }

    /// When it was last written, by Drive's clock.
    pub(super) fn written(&self) -> Option<DateTime<Utc>> {
        self.modified_time.or(self.created_time)
    }

    /// Whether this account's pgkeep made it. The tag is visible to the app that set it alone.
    pub(super) fn is_ours(&self) -> bool {
        self.app_properties.contains_key(TAG)
    }
}

/// One page of a listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default)]
    pub(super) files: Vec<File>,
    pub(super) next_page_token: Option<String>,
    #[serde(default)]
    pub(super) incomplete_search: bool,
}

/// `text` as a string of a query: in single quotes, with `'` and `\` escaped.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The query for everything in one of `parents`.
pub(super) fn children_of(parents: &[&str]) -> String {
    let each: Vec<String> = parents.iter().map(|parent| format!("{} in parents", quote(parent))).collect();
    format!("({}) and trashed = false", each.join(" or "))
}

/// The query for folders, or for anything else, called `name` in `parent`.
pub(super) fn named(parent: &str, name: &str, folder: bool) -> String {
    let equals = if folder { "=" } else { "!=" };
    let (parent, name) = (quote(parent), quote(name));
    format!("{parent} in parents and name = {name} and mimeType {equals} '{FOLDER}' and trashed = false")
}

/// The digests of bytes on their way.
#[derive(Default)]
pub(super) struct Digests {
    sha256: Sha256,
    md5: Md5,
    bytes: u64,
}

/// The size and digests of bytes.
#[derive(Debug, Clone)]
pub(super) struct Sum {
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) md5: String,
}

impl Digests {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        md5::Digest::update(&mut self.md5, bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> Sum {
        let md5 = hex::encode(md5::Digest::finalize(self.md5));
        Sum { bytes: self.bytes, sha256: hex::encode(self.sha256.finalize()), md5 }
    }
}

impl Sum {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut digests = Digests::default();
        digests.update(bytes);
        digests.finish()
    }

    /// Fails unless `file` holds what was summed, as far as Drive tells: size, SHA-256 or else MD5, not in the trash. `what`
    /// names it in errors. `Unavailable` where Drive has not computed a checksum yet.
    pub(super) fn check(&self, file: &File, what: &str) -> Result<()> {
        let damaged = |why: String| Err(Error::new(ErrorKind::Damaged, format!("{what} was stored wrongly: {why}")));
        if file.trashed {
            return Err(Error::new(ErrorKind::Failed, format!("{what} went straight to Drive's trash"))
                .hint("somebody put its folder into the trash meanwhile; restore the folder, and back up again"));
        }
        if file.bytes() != Some(self.bytes) {
            let has = file.bytes().map_or_else(|| "no size".to_owned(), |bytes| format!("{bytes} bytes"));
            return damaged(format!("{} bytes were sent, Drive has {has}", self.bytes));
        }
        let (name, has, sent) = match (&file.sha256_checksum, &file.md5_checksum) {
            (Some(sha256), _) => ("SHA-256", sha256, &self.sha256),
            (None, Some(md5)) => ("MD5", md5, &self.md5),
            (None, None) => {
                return Err(Error::new(ErrorKind::Unavailable, format!("Drive tells no checksum of {what}"))
                    .hint("Drive normally knows one at once; try again later"));
            }
        };
        if !has.eq_ignore_ascii_case(sent) {
            return damaged(format!("its {name} is {sent}, Drive has {has}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(value: serde_json::Value) -> File {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn quotes_and_backslashes_cannot_leave_a_query() {
        assert_eq!(quote("a"), "'a'");
        assert_eq!(quote("it's"), r"'it\'s'");
        assert_eq!(quote(r"a\"), r"'a\\'");
        assert_eq!(quote(r"\' or name != '"), r"'\\\' or name != \''");
        assert_eq!(children_of(&["x", "y"]), "('x' in parents or 'y' in parents) and trashed = false");
        assert!(named("x", "a'b", true).contains(r"name = 'a\'b' and mimeType = '"));
        assert!(named("x", "a", false).contains("mimeType != '"));
    }

    #[test]
    fn only_files_with_bytes_of_their_own_have_a_size() {
        assert_eq!(file(json!({"id": "1", "mimeType": "application/gzip", "size": "12"})).bytes(), Some(12));
        assert_eq!(
            file(json!({"id": "1", "mimeType": "application/vnd.google-apps.document", "size": "1"})).bytes(),
            None
        );
        assert_eq!(file(json!({"id": "1", "mimeType": "text/plain", "size": "-1"})).bytes(), None);
        assert_eq!(file(json!({"id": "1", "mimeType": FOLDER})).bytes(), None);
    }

    #[test]
    fn the_oldest_of_one_name_comes_first() {
        let old = file(json!({"id": "z", "createdTime": "2026-11-22T02:00:00.000Z"}));
        let new = file(json!({"id": "a", "createdTime": "2026-11-22T02:00:00.001Z"}));
        let same = file(json!({"id": "y", "createdTime": "2026-11-22T02:00:00.000Z"}));
        assert!(old.rank() < new.rank() && same.rank() < old.rank());
        assert!(old.rank() < file(json!({"id": "0"})).rank());
    }

    #[test]
    fn what_was_stored_is_compared_with_what_was_sent() {
        let sum = Sum::of(b"hello");
        let (md5, sha256) = ("5d41402abc4b2a76b9719d911017c592", sum.sha256.as_str());
        let check = |value| sum.check(&file(value), "a/b").map_err(|error| error.kind());
        let good = json!({"id": "1", "size": "5", "md5Checksum": md5, "sha256Checksum": sha256});
        assert_eq!(check(good), Ok(()));
        assert_eq!(check(json!({"id": "1", "size": "5", "md5Checksum": md5.to_uppercase()})), Ok(()));
        let wrong = [
            (json!({"id": "1", "size": "4", "md5Checksum": md5}), ErrorKind::Damaged),
            (json!({"id": "1", "md5Checksum": md5}), ErrorKind::Damaged),
            (json!({"id": "1", "size": "5", "md5Checksum": md5, "sha256Checksum": "00"}), ErrorKind::Damaged),
            (json!({"id": "1", "size": "5", "md5Checksum": "00"}), ErrorKind::Damaged),
            (json!({"id": "1", "size": "5"}), ErrorKind::Unavailable),
            (json!({"id": "1", "size": "5", "md5Checksum": md5, "trashed": true}), ErrorKind::Failed),
        ];
        for (value, kind) in wrong {
            assert_eq!(check(value.clone()), Err(kind), "{value}");
        }
    }
}
