//! A database, a folder with one older backup of it, and a strict look at what a failed run left.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};

use tempfile::TempDir;

use super::files::{backup_dirs, everything_below, temp_dir};
use super::postgres::Postgres;
use super::processes::{wait_until, wait_until_gone};
use super::program::{Outcome, Pgkeep, pgkeep};

/// See the module.
pub struct Scene<'s> {
    pub server: &'s Postgres,
    /// The database; its name is in the environment of every program that works on it, and of no other.
    pub db: String,
    work: TempDir,
    folder: PathBuf,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl<'s> Scene<'s> {
    /// A database with a table `orders` of a thousand rows, backed up once.
    pub fn new(server: &'s Postgres, hint: &str) -> Self {
        Self::with(
            server,
            hint,
            "CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 1000) i",
        )
    }

    /// The same with a table `orders` of about this many million bytes of SQL, which compress badly.
    pub fn with_megabytes(server: &'s Postgres, hint: &str, megabytes: u32) -> Self {
        let row = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 32) j)";
        let rows = megabytes * 1000;
        Self::with(
            server,
            hint,
            &format!("CREATE TABLE orders AS SELECT i AS id, {row} AS note FROM generate_series(1, {rows}) i"),
        )
    }

    /// A database made by `sql`, backed up once.
    pub fn with(server: &'s Postgres, hint: &str, sql: &str) -> Self {
        let work = temp_dir();
        let folder = work.path().join("backups");
        Self::build(server, hint, sql, work, folder)
    }

    /// The same with another folder, such as one on a small disk, which gets an older backup too.
    pub fn with_folder(server: &'s Postgres, hint: &str, sql: &str, folder: &Path) -> Self {
        Self::build(server, hint, sql, temp_dir(), folder.to_path_buf())
    }

    fn build(server: &'s Postgres, hint: &str, sql: &str, work: TempDir, folder: PathBuf) -> Self {
        let db = server.create_db(hint);
        server.psql(&db, sql);
        std::fs::create_dir(work.path().join("tmp")).unwrap();
        let mut scene = Self { server, db, work, folder, before: BTreeMap::new() };
        scene.now().ok();
        scene.remember();
        scene
    }

    /// From now on the folder is to stay as it is.
    pub fn remember(&mut self) {
        self.before = self.contents();
    }

    /// The private folder that everything here lies in.
    pub fn work(&self) -> &Path {
        self.work.path()
    }

    /// The destination.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Where this scene's runs put temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.work.path().join("tmp")
    }

    /// pgkeep with this scene's server programs, temporary files and state.
    pub fn pgkeep(&self) -> Pgkeep {
        pgkeep().server(self.server).env("TMPDIR", self.tmp()).env("PGKEEP_STATE_DIR", self.work.path().join("state"))
    }

    /// `pgkeep backup now` of the database into the folder.
    pub fn now(&self) -> Pgkeep {
        self.now_of(&self.server.url(&self.db))
    }

    /// `pgkeep backup now` of a connection string into the folder.
    pub fn now_of(&self, url: &str) -> Pgkeep {
        self.pgkeep().args(["backup", "now", "--database-url", url, "--to"]).arg(self.folder())
    }

    /// `pgkeep ARGS --at` the folder.
    pub fn at<const N: usize>(&self, args: [&str; N]) -> Pgkeep {
        self.pgkeep().args(args).arg("--at").arg(self.folder())
    }

    /// Fails unless the folder is as it was, bit for bit, hidden files too, its backup listed and intact, no temporary
    /// file is left, and nothing works on the database.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        wait_until_gone(&self.db);
        let (before, now) = (&self.before, self.contents());
        assert!(*before == now, "before: {:#?}\nnow: {:#?}", before.keys(), now.keys());
        let tmp = everything_below(self.tmp());
        assert!(tmp.is_empty(), "left in the temporary folder: {tmp:#?}");
        let older = backup_dirs(self.folder()).len();
        let list = self.at(["backup", "list"]).json();
        assert_eq!(list["backups"].as_array().map(Vec::len), Some(older), "{list}");
        self.all_intact(older);
    }

    /// Fails unless the folder holds `count` backups, all intact.
    #[track_caller]
    pub fn all_intact(&self, count: usize) {
        let (verified, code) = self.at(["backup", "verify", "--all"]).json_with_code();
        let backups = verified["backups"].as_array().unwrap();
        assert!(code == 0 && backups.len() == count, "{count} backups expected: {verified:#}");
        assert!(backups.iter().all(|backup| backup["result"] == "intact"), "{verified:#}");
    }

    /// Every path in the folder with its bytes; folders have none. Receipts of `verify`, which the look itself leaves, do
    /// not count, nor do the marks of changes: whoever takes back a backup that somebody may have seen announces it first.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let read = |path: PathBuf| {
            let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            (path, bytes)
        };
        let paths = everything_below(self.folder()).into_iter();
        let own = |part: &OsStr| part == "verified" || part.to_string_lossy().contains(".changed-");
        paths.filter(|path| !path.iter().any(own)).map(read).collect()
    }
}

impl Outcome {
    /// Fails unless stderr holds one error, that says `why`, and ends with a hint that says `hint`; and unless stdout,
    /// which is for results, holds no backup.
    #[track_caller]
    pub fn explains(&self, why: &[&str], hint: &str) -> &Self {
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one error expected: {self}");
        for why in why {
            assert!(self.stderr.contains(why), "{why:?} is not said: {self}");
        }
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: ") && last.contains(hint), "no hint with {hint:?} at the end: {self}");
        self
    }
}

/// Another session that keeps a transaction open; ended when dropped.
pub struct Session {
    pub pid: String,
    child: Child,
    _stdin: ChildStdin,
}

impl Session {
    /// Runs `sql`, such as a LOCK TABLE, in a transaction and stays in it.
    pub fn hold(server: &Postgres, db: &str, sql: &str) -> Self {
        // Its name is not the database's: it is no remains of pgkeep.
        let note = temp_dir();
        let file = note.path().join("pid");
        let mut client = server.client("psql", "postgres");
        let mut child = client.args(["-XqAt", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).spawn().expect("psql");
        let mut stdin = child.stdin.take().unwrap();
        let connect = db.replace('\\', "\\\\").replace('\'', "\\'");
        let script =
            format!("\\connect '{connect}'\nBEGIN;\n{sql};\n\\o {}\nSELECT pg_backend_pid();\n\\o\n", file.display());
        stdin.write_all(script.as_bytes()).unwrap();
        stdin.flush().unwrap();
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        wait_until("the other session", || read().ends_with('\n'));
        Self { pid: read().trim().to_owned(), child, _stdin: stdin }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
