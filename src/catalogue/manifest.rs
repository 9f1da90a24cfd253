//! The manifest: what a backup is, written last. A backup exists if and only if its manifest exists.

use crate::destination::{Key, MANIFEST_NAME};
use crate::error::{Error, ErrorKind, Result};
use crate::id::BackupId;
use crate::postgres::{DatabaseProperties, Extension, Server};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The format that this program writes and reads. A higher number is refused with a hint to update.
pub const FORMAT: u32 = 1;

/// The largest manifest that is read, in bytes: a hostile one shall not fill memory.
pub const LARGEST_MANIFEST: u64 = 4 << 20;

/// What the manifest records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The program that wrote it, e.g. `pgkeep 0.1.0`.
    pub written_by: String,
    /// The backup's id.
    pub id: BackupId,
    /// The job's name.
    pub job: String,
    /// The database's name, as the server spells it.
    pub database: String,
    /// What the user called the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Never deleted by retention.
    #[serde(default)]
    pub pinned: bool,
    /// Kept by retention until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<DateTime<Utc>>,
    /// The due time that the scheduler took it for; `None` for backups that were taken by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<DateTime<Utc>>,
    /// The name of the file of another script that it was taken over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<String>,
    /// When the run began; of one that was taken over, when the file was dumped.
    pub started_at: DateTime<Utc>,
    /// When the last byte was stored; of one that was taken over, the same as `started_at`, for that is not known.
    pub finished_at: DateTime<Utc>,
    /// The server that was dumped.
    pub server: Server,
    /// The pg_dump that dumped it, e.g. `17.5`.
    pub pg_dump_version: String,
    /// How the files are compressed: `gzip` or `zstd`.
    pub codec: String,
    /// Number of tables with data entries (partitions count one by one).
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of entries of the dump, of all kinds.
    pub entries: u64,
    /// Number of large objects.
    pub large_objects: u64,
    /// Bytes of SQL.
    pub sql_bytes: u64,
    /// Bytes of all the files named here.
    pub stored_bytes: u64,
    /// The properties of the database itself.
    pub properties: DatabaseProperties,
    /// Settings of the session that change how values are written, such as `bytea_output`.
    #[serde(default)]
    pub output_settings: std::collections::BTreeMap<String, String>,
    /// Extensions and their versions at the time.
    pub extensions: Vec<Extension>,
    /// Roles that the dump names, for restores that must find them.
    pub roles: Vec<String>,
    /// What became of the globals.
    pub globals: Globals,
    /// The files, in the order in which they are restored; the manifest itself is not among them.
    pub files: Vec<File>,
    /// What the user should know, in whole sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What became of roles and tablespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Globals {
    /// Stored with the roles' passwords.
    WithPasswords,
    /// Stored without passwords: the role may not read them.
    WithoutPasswords,
    /// Not stored.
    Missing {
        /// Why.
        reason: String,
    },
}

/// What a file of a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// pg_dump's SQL, or one numbered piece of it.
    Data,
    /// Roles and tablespaces.
    Globals,
    /// The database's own properties.
    Database,
    /// The index of entries, tables and members.
    Contents,
    /// How to restore by hand.
    Instructions,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name in the backup's folder: one segment.
    pub name: Key,
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256, lowercase hexadecimal.
    pub sha256: String,
    /// Its size unpacked, in bytes; equal to `bytes` for files that are not compressed.
    pub unpacked_bytes: u64,
}

impl Manifest {
    /// The folder of the backup at every destination: `JOB/DATABASE/ID`.
    pub fn dir(&self) -> Key {
        backup_dir(&self.job, &self.database, &self.id)
    }

    /// The files of `kind`, in order.
    pub fn files_of(&self, kind: FileKind) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.kind == kind)
    }

    /// The manifest as it is stored.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::new(ErrorKind::Failed, "cannot write the manifest as JSON").caused_by(source))?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads a manifest that was found in `dir`, refusing whatever is damaged, hostile, or from a newer pgkeep.
    pub fn from_json(json: &[u8], dir: &Key) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |why: String| {
            Error::new(ErrorKind::Damaged, format!("the manifest of {dir} cannot be used: {why}"))
                .hint("the archive beside it can still be restored by hand: see RESTORE.txt in the same folder")
        };
        let version: Version = serde_json::from_slice(json).map_err(|source| damaged(source.to_string()))?;
        if version.format != FORMAT {
            return Err(Error::new(
                ErrorKind::Version,
                format!("the manifest of {dir} has format {}; this pgkeep reads {FORMAT}", version.format),
            )
            .hint("update pgkeep; the archive beside it can be restored by hand meanwhile: see RESTORE.txt"));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|source| damaged(source.to_string()))?;
        if manifest.dir() != *dir {
            return Err(damaged(format!("it describes {}", manifest.dir())));
        }
        for file in &manifest.files {
            let digest = file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_hexdigit());
            let name = file.name.as_str();
            if file.name.segments().count() != 1 || name.starts_with('.') || name == MANIFEST_NAME || !digest {
                return Err(damaged(format!("its file {} is not described as pgkeep does", file.name)));
            }
        }
        if manifest.files_of(FileKind::Data).next().is_none() {
            return Err(damaged("it names no data".to_owned()));
        }
        // Written into statements as it stands, for it is a keyword.
        let keyword = |what: &str| !what.is_empty() && what.bytes().all(|b| b.is_ascii_uppercase());
        if let Some(odd) = manifest.properties.privileges.iter().flatten().find(|one| !keyword(&one.privilege)) {
            return Err(damaged(format!("{:?} is no privilege on a database", odd.privilege)));
        }
        let mut names: Vec<&Key> = manifest.files.iter().map(|file| &file.name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        if names.len() != all {
            return Err(damaged("it names a file twice".to_owned()));
        }
        Ok(manifest)
    }
}

/// The folder of a backup at every destination.
pub fn backup_dir(job: &str, database: &str, id: &BackupId) -> Key {
    Key::encode(job).join(database).join(id.as_str())
}
