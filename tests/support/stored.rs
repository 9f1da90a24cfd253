//! A backup that pgkeep took into a private folder, and what scripts and people can see of it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{Pgkeep, Postgres, backup_dirs, pgkeep, temp_dir};

/// The one backup in a folder of its own.
pub struct Stored {
    folder: TempDir,
}

impl Stored {
    /// Backs up `db`.
    pub fn of(server: &Postgres, db: &str) -> Self {
        Self::with(server, db, [])
    }

    /// Backs up `db` with more arguments of `backup now`.
    pub fn with<'a>(server: &Postgres, db: &str, args: impl IntoIterator<Item = &'a str>) -> Self {
        let folder = temp_dir();
        let now = pgkeep().server(server).env("DATABASE_URL", server.url(db)).args(["backup", "now", "--to"]);
        now.arg(folder.path()).args(args).ok();
        Self { folder }
    }

    /// The destination.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the backup itself.
    pub fn dir(&self) -> PathBuf {
        let [dir] = backup_dirs(self.path()).try_into().expect("one backup");
        dir
    }

    /// What its manifest says.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.dir().join("manifest.json")).unwrap()).unwrap()
    }

    /// The file with pg_dump's SQL.
    pub fn data(&self) -> PathBuf {
        let manifest = self.manifest();
        let file = manifest["files"].as_array().unwrap().iter().find(|file| file["kind"] == "data").unwrap();
        self.dir().join(file["name"].as_str().unwrap())
    }

    /// Every entry of `contents.json.gz`.
    pub fn entries(&self) -> Vec<Value> {
        let mut text = String::new();
        let file = std::fs::File::open(self.dir().join("contents.json.gz")).unwrap();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        let contents: Value = serde_json::from_str(&text).unwrap();
        let files = contents["files"].as_array().unwrap();
        files.iter().flat_map(|file| file["entries"].as_array().unwrap().clone()).collect()
    }

    /// `pgkeep ARGS --at FOLDER` with `server`'s programs and its database `postgres` as `DATABASE_URL`.
    pub fn pgkeep<'a>(&self, server: &Postgres, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        let command = pgkeep().server(server).env("DATABASE_URL", server.url("postgres")).args(args);
        command.arg("--at").arg(self.path())
    }

    /// The SQL, unpacked by the machine's own gunzip.
    pub fn gunzip(&self) -> Vec<u8> {
        let output = Command::new("gunzip").arg("-c").arg(self.data()).output().expect("gunzip");
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

/// The lines of a dump without the random keys of `\restrict` and `\unrestrict`.
pub fn dump_lines(dump: &[u8]) -> Vec<Vec<u8>> {
    let lines = dump.split(|byte| *byte == b'\n');
    let random = |line: &&[u8]| line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ");
    lines.filter(|line| !random(line)).map(<[u8]>::to_vec).collect()
}

/// Fails, showing where, unless both dumps have the same lines but for the keys of `\restrict`.
#[track_caller]
pub fn assert_same_dump(expected: &[u8], found: &[u8]) {
    let (expected, found) = (dump_lines(expected), dump_lines(found));
    let differs = expected.iter().zip(&found).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| expected.len().min(found.len()));
    let show = |lines: &[Vec<u8>]| lines.get(at).map(|line| String::from_utf8_lossy(line).into_owned());
    assert!(expected == found, "line {}: expected {:?}, found {:?}", at + 1, show(&expected), show(&found));
}

/// What a shell prints for `script`, run in `folder` with libpq's variables for `server`. Panics if it fails.
pub fn shell(server: &Postgres, folder: &Path, script: &str) -> String {
    let path = format!("{}:/usr/bin:/bin", server.bin_dir().display());
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").envs(server.env("postgres")).env_remove("PGDATABASE");
    let output = shell.args(["-c", script]).current_dir(folder).stdin(Stdio::null()).output().expect("/bin/sh");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A configuration file that only its owner can read, in a folder of its own that holds what its relative paths name.
pub struct Configured {
    folder: TempDir,
}

impl Configured {
    /// Writes `text` as `pgkeep.toml`.
    pub fn new(text: &str) -> Self {
        let folder = temp_dir();
        // Scratch servers, which run as another user when the tests run as root, must reach what is in it.
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        std::fs::write(folder.path().join("pgkeep.toml"), text).unwrap();
        std::fs::set_permissions(folder.path().join("pgkeep.toml"), PermissionsExt::from_mode(0o600)).unwrap();
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `pgkeep --config FILE ARGS`.
    pub fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        pgkeep().arg("--config").arg(self.path().join("pgkeep.toml")).args(args)
    }
}
