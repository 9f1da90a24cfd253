//! A stored backup in a folder of its own, and ways to damage it or to forge it so that every size and digest fits.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pgkeep::archive::{Compressors, Contents, FileContents, Packed, Packing, unpack_member};
use pgkeep::catalogue::{FileKind, Manifest};
use pgkeep::config::Compression;
use pgkeep::destination::Key;
use pgkeep::event::Progress;
use pgkeep::id::BackupId;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Pgkeep, Postgres, backup_dirs, pgkeep, temp_dir};

/// A folder destination that holds one backup.
pub struct Forged {
    root: TempDir,
}

impl Forged {
    /// Backs up `db` into a folder of its own.
    pub fn back_up(server: &Postgres, db: &str) -> Self {
        let root = temp_dir();
        let url = server.url(db);
        let run = pgkeep().server(server).args(["backup", "now", "--database-url", &url, "--to"]).arg(root.path());
        run.ok();
        Self { root }
    }

    /// The same in another folder, to be damaged.
    pub fn copy(&self) -> Self {
        let root = temp_dir();
        let copied = Command::new("cp").arg("-a").arg(self.root.path().join(".")).arg(root.path()).status().unwrap();
        assert!(copied.success());
        Self { root }
    }

    /// The destination.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of the backup.
    pub fn dir(&self) -> PathBuf {
        let manifest = backup_dirs(self.root()).into_iter().next();
        manifest.unwrap_or_else(|| panic!("no backup in {}", self.root().display()))
    }

    /// The backup's id.
    pub fn id(&self) -> String {
        self.dir().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// `pgkeep COMMAND... --at` this destination.
    pub fn pgkeep(&self, command: &[&str]) -> Pgkeep {
        pgkeep().args(command).arg("--at").arg(self.root())
    }

    /// Restores the backup into `name` on `server`.
    pub fn restore(&self, server: &Postgres, name: &str) -> Pgkeep {
        let url = server.url("postgres");
        self.pgkeep(&["restore", "latest", "--database-url", &url, "--into", name]).server(server)
    }

    pub fn manifest(&self) -> Manifest {
        let dir = self.dir();
        let key = dir.strip_prefix(self.root()).unwrap().to_str().unwrap().parse().unwrap();
        Manifest::from_json(&std::fs::read(dir.join("manifest.json")).unwrap(), &key).unwrap()
    }

    /// Changes the manifest and leaves the rest.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        std::fs::write(self.dir().join("manifest.json"), manifest.to_json().unwrap()).unwrap();
    }

    /// The path of the first file of `kind`.
    pub fn file(&self, kind: FileKind) -> PathBuf {
        let manifest = self.manifest();
        let file = manifest.files_of(kind).next().unwrap_or_else(|| panic!("no {kind:?}"));
        self.dir().join(file.name.as_str())
    }

    pub fn contents(&self) -> Contents {
        let manifest = self.manifest();
        let file = manifest.files_of(FileKind::Contents).next().unwrap();
        Contents::from_gzip(&std::fs::read(self.file(FileKind::Contents)).unwrap(), file.unpacked_bytes).unwrap()
    }

    /// The archive's SQL.
    pub fn sql(&self) -> Vec<u8> {
        let stored = std::fs::read(self.file(FileKind::Data)).unwrap();
        let mut rest = stored.as_slice();
        let mut sql = Vec::new();
        for member in &self.contents().files[0].members {
            let (piece, after) = rest.split_at(member.stored_bytes as usize);
            sql.extend(unpack_member(pgkeep::config::Codec::Gzip, piece, member.sql_bytes).unwrap());
            rest = after;
        }
        sql
    }

    /// Puts `stored` in place of the first file of `kind`; the manifest then fits it.
    pub fn forge_file(&self, kind: FileKind, stored: &[u8], unpacked_bytes: u64) {
        std::fs::write(self.file(kind), stored).unwrap();
        self.change_manifest(|manifest| {
            let file = manifest.files.iter_mut().find(|file| file.kind == kind).unwrap();
            file.bytes = stored.len() as u64;
            file.unpacked_bytes = unpacked_bytes;
            file.sha256 = hex::encode(Sha256::digest(stored));
        });
    }

    pub fn forge_contents(&self, contents: &Contents) {
        let (stored, unpacked) = contents.to_gzip().unwrap();
        self.forge_file(FileKind::Contents, &stored, unpacked);
    }

    /// Puts an archive of `sql` in place: manifest and index fit it in every size, digest, row count and fingerprint.
    pub fn forge(&self, sql: &[u8]) {
        let mut stored = Vec::new();
        let compressors = Compressors::start(Compression::default(), 2, 1).unwrap();
        let packing = Packing { compressors: &compressors, progress: Arc::<Progress>::default() };
        let packed = packing.run(sql, |chunk| {
            stored.extend_from_slice(&chunk);
            Ok(())
        });
        let Packed { scan, members, broken_lines, .. } = packed.unwrap();
        self.forge_file(FileKind::Data, &stored, sql.len() as u64);
        let name = self.manifest().files_of(FileKind::Data).next().unwrap().name.clone();
        let (large_objects, entries) = (scan.large_objects, scan.entries.len() as u64);
        self.forge_contents(&Contents::new(vec![FileContents { name, members, broken_lines, entries: scan.entries }]));
        self.change_manifest(|manifest| {
            manifest.tables = scan.tables;
            manifest.rows = scan.rows;
            manifest.large_objects = large_objects;
            manifest.entries = entries - large_objects;
            manifest.sql_bytes = sql.len() as u64;
        });
    }

    /// As [`Forged::forge`], with the first `from` of the SQL replaced by `to`.
    pub fn forge_replacing(&self, from: &str, to: &[u8]) {
        let sql = self.sql();
        let at = memchr::memmem::find(&sql, from.as_bytes()).unwrap_or_else(|| panic!("no {from:?} in the archive"));
        self.forge(&[&sql[..at], to, &sql[at + from.len()..]].concat());
    }
}

/// The data file of every [`small_manifest`].
pub const SMALL_DATA: &[u8] = b"not really gzip";

/// The manifest of a backup that nobody took, with one data file of [`SMALL_DATA`]; a listing believes it.
pub fn small_manifest(job: &str, database: &str, started_at: DateTime<Utc>, random: u16) -> Manifest {
    let name = started_at.format("app_%Y%m%d_%H%M%S.sql.gz").to_string();
    let json = serde_json::json!({
        "format": 1, "written_by": "pgkeep 0.1.0", "id": BackupId::new(started_at, random), "job": job,
        "database": database, "pinned": false, "started_at": started_at, "finished_at": started_at,
        "server": {"version": "17.5 (Debian 17.5-1.pgdg120+1)", "version_num": 170_005, "system_identifier": "1",
                   "database_oid": 5, "bootstrap_role": "postgres", "standby": false},
        "pg_dump_version": "17.5", "codec": "gzip", "tables": 1, "rows": 2, "entries": 3, "large_objects": 0,
        "sql_bytes": 100, "stored_bytes": SMALL_DATA.len(),
        "properties": {"owner": "app", "encoding": "UTF8", "locale_provider": "libc", "collate": "C", "ctype": "C",
                       "tablespace": "pg_default", "connection_limit": -1},
        "extensions": [{"name": "plpgsql", "version": "1.0"}], "roles": ["app", "app_reader", "app_writer"],
        "globals": {"status": "missing", "reason": "no right to read them"},
        "files": [{"name": name, "kind": "data", "bytes": SMALL_DATA.len(),
                   "sha256": hex::encode(Sha256::digest(SMALL_DATA)), "unpacked_bytes": 100}],
    });
    serde_json::from_value(json).unwrap()
}

/// Keys and bytes.
pub type Files = Vec<(Key, Vec<u8>)>;

/// So many backups of `job/app`, one an hour, as objects: keys and bytes.
pub fn small_backups(job: &str, count: usize) -> Vec<(Manifest, Files)> {
    let first: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
    let backup = |n: usize| {
        let manifest = small_manifest(job, "app", first + TimeDelta::hours(n as i64), n as u16);
        let data = (manifest.dir().child(&manifest.files[0].name), SMALL_DATA.to_vec());
        let json = (manifest.dir().join("manifest.json"), manifest.to_json().unwrap());
        (manifest, vec![data, json])
    };
    (0..count).map(backup).collect()
}

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // xorshift64: Marsaglia, "Xorshift RNGs", 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
