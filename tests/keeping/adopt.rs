//! Files of old scripts become backups like any other, or are refused with the reason and leave nothing behind.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Configured, Pgkeep, Postgres, backup_dirs, bin_dir, dump_lines, everything_below, peak_memory, pgkeep, shell, sql,
    temp_dir,
};

/// A database, and a folder with files of an old script of it.
struct Old {
    server: &'static Postgres,
    db: String,
    work: TempDir,
}

impl Old {
    /// A database with a bit of everything.
    fn hard(major: u32) -> Self {
        let old = Self::with(major, "");
        old.server.load(&old.db, &std::fs::read(sql("hard.sql")).unwrap());
        old
    }

    fn with(major: u32, script: &str) -> Self {
        let server = Postgres::shared(major);
        let db = server.create_db("old");
        server.psql(&db, script);
        Self { server, db, work: temp_dir() }
    }

    /// A database with one table of a thousand rows.
    fn small(major: u32) -> Self {
        Self::with(major, "CREATE TABLE t AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 1000) i")
    }

    fn dump<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
        self.server.pg_dump(&self.db, args)
    }

    /// Writes a file into the folder.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.work.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn backups(&self) -> PathBuf {
        self.work.path().join("backups")
    }

    /// `pgkeep backup adopt --job shop --database DB --to FOLDER FILES`.
    fn adopt<'f>(&self, files: impl IntoIterator<Item = &'f Path>) -> Pgkeep {
        self.pgkeep(["backup", "adopt", "--job", "shop", "--database", &self.db])
            .args(files)
            .arg("--to")
            .arg(self.backups())
    }

    fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        pgkeep().server(self.server).env("DATABASE_URL", self.server.url("postgres")).args(args)
    }

    /// Fails unless the file is refused with `why` and nothing at all is left of it.
    #[track_caller]
    fn refuses(&self, file: &Path, why: &str) {
        let before = std::fs::read(file).unwrap();
        let outcome = self.adopt([file]).fails(1);
        assert!(outcome.stderr.contains(why), "{why:?} is not said: {outcome}");
        assert!(outcome.stderr.lines().last().unwrap_or_default().starts_with("hint: "), "{outcome}");
        assert_eq!(everything_below(self.backups()), Vec::<PathBuf>::new());
        assert!(std::fs::read(file).unwrap() == before, "the file was touched");
    }

    /// Fails unless the backup `id` is listed, verifies, drills and restores, with pgkeep and by hand, to what `db` is.
    #[track_caller]
    fn is_like_any_other(&self, id: &str) {
        let at = |args: &[&str]| self.pgkeep(args.iter().copied()).arg("--at").arg(self.backups());
        let list = at(&["backup", "list"]).json();
        assert!(list["backups"].as_array().unwrap().iter().any(|backup| backup["id"] == id), "{list:#}");
        let verified = at(&["backup", "verify", id]).ok();
        assert!(verified.stdout.contains("intact"), "{verified}");
        let (drilled, code) = at(&["drill", id]).json_with_code();
        assert_eq!((code, &drilled["differences"]), (0, &json!([])), "{drilled:#}");
        let expected = self.dump([]);
        let restored = format!("{}_r", self.db);
        at(&["restore", id, "--into", &restored]).ok();
        assert_same(&expected, &self.server.pg_dump(&restored, []));
        self.server.psql("postgres", &format!("DROP DATABASE \"{restored}\""));
        let [dir] = backup_dirs(self.backups())
            .into_iter()
            .filter(|dir| dir.ends_with(id))
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let text = std::fs::read_to_string(dir.join("RESTORE.txt")).unwrap();
        // One index of tests/sql/hard.sql cannot be analyzed, in its source neither.
        let steps = text.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.contains("ANALYZE"));
        let steps: Vec<&str> = steps.collect();
        let steps = steps.join("\n").replace("restored", &restored);
        shell(self.server, &dir, &format!("set -e\n{steps}"));
        assert_same(&expected, &self.server.pg_dump(&restored, []));
        self.server.psql("postgres", &format!("DROP DATABASE \"{restored}\""));
    }
}

/// Fails unless both dumps hold the same lines, in any order. Of the one table whose columns come back in another order
/// tests/sql/hard.sql tells.
#[track_caller]
fn assert_same(expected: &[u8], found: &[u8]) {
    let set = |dump: &[u8]| dump_lines(dump).into_iter().collect::<BTreeSet<_>>();
    let (a, b) = (set(expected), set(found));
    let reordered = ["COPY hard.late_child (", "own\t3\t", "same\t4\t", "3\tl\t3\town", "4\tsame\t4\tsame"];
    let text = |line: &Vec<u8>| String::from_utf8(line.clone()).unwrap();
    let differ = a.symmetric_difference(&b).map(text).filter(|line| !reordered.iter().any(|one| line.starts_with(one)));
    assert_eq!(differ.collect::<Vec<_>>(), Vec::<String>::new());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The one adopted backup in an answer.
#[track_caller]
fn only(answer: &Value) -> &Value {
    let backups = answer["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 1, "{answer:#}");
    &backups[0]
}

#[track_caller]
fn adopted(old: &Old, file: &Path) -> Value {
    let before = std::fs::read(file).unwrap();
    let (answer, code) = old.adopt([file]).json_with_code();
    let backup = only(&answer).clone();
    assert_eq!((code, &backup["status"]), (0, &json!("stored")), "{answer:#}");
    assert_eq!(backup["adopted_from"], file.file_name().unwrap().to_str().unwrap());
    assert!(std::fs::read(file).unwrap() == before, "the file was touched");
    backup
}

fn every_format(major: u32) {
    let old = Old::hard(major);
    let plain = old.dump([]);
    let (first, second) = plain.split_at(plain.len() / 2);
    let files = [
        ("a_20261101_020000.sql", plain.clone()),
        ("b_20261102_020000.sql.gz", [gzip(first), gzip(second)].concat()),
        ("c_20261103_020000.whatever", zstd::encode_all(&plain[..], 1).unwrap()),
        ("d_20261104_020000.dump", old.dump(["-Fc"])),
        ("e_20261105_020000.tar", old.dump(["-Ft"])),
        ("f_20261106_020000.sql", old.dump(["--create", "--clean", "--if-exists", "--verbose"])),
    ];
    for (name, bytes) in files {
        let backup = adopted(&old, &old.file(name, &bytes));
        old.is_like_any_other(backup["id"].as_str().unwrap());
        // Both archives tell the second in which they were made, and may be of the same.
        std::fs::remove_dir_all(old.backups()).unwrap();
    }
}

#[test]
fn every_format_becomes_a_backup_like_any_other_in_15() {
    every_format(15);
}

#[test]
fn every_format_becomes_a_backup_like_any_other_in_17() {
    every_format(17);
}

#[test]
fn a_dump_without_owners_grants_or_some_rows_passes_its_drill() {
    let old = Old::small(17);
    old.server
        .psql(&old.db, "CREATE TABLE log AS SELECT 1 AS a; CREATE ROLE old_reader; GRANT SELECT ON t TO old_reader");
    let args = ["--no-owner", "--no-privileges", "--exclude-table-data=log"];
    let backup = adopted(&old, &old.file("app_20261120_020000.sql", &old.dump(args)));
    let at = |args: [&str; 2]| old.pgkeep(args).arg("--at").arg(old.backups());
    let (drilled, code) = at(["drill", backup["id"].as_str().unwrap()]).json_with_code();
    assert_eq!((code, &drilled["result"]), (0, &json!("passed")), "{drilled:#}");
}

/// pg_dump 16.2 knows no `\restrict`; the server and the proof are of a newer minor version.
#[test]
fn a_dump_of_an_old_client_passes_its_drill() {
    let old = Old::hard(16);
    let mut command = old.server.client("pg_dump", &old.db);
    let output = Command::new(bin_dir("16.2").join("pg_dump")).envs(command_env(&mut command)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout[..200].windows(9).any(|some| some == b"\\restrict"));
    let backup = adopted(&old, &old.file("app-2026-11-20.sql.gz", &gzip(&output.stdout)));
    old.is_like_any_other(backup["id"].as_str().unwrap());
    let show = old.pgkeep(["backup", "show", "latest", "--at"]).arg(old.backups()).ok();
    for words in ["pg_dump:    16.2", "adopted:    from app-2026-11-20.sql.gz", "owner:      not known"] {
        assert!(show.stdout.contains(words), "{words}: {show}");
    }
}

fn command_env(command: &mut Command) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

#[test]
fn what_create_tells_of_the_database_is_kept() {
    let old = Old::with(17, "CREATE TABLE t AS SELECT 1 AS a");
    let db = &old.db;
    old.server.psql("postgres", &format!("ALTER DATABASE {db} SET work_mem TO '5MB'"));
    let dump = old.dump(["-Fc"]);
    let file = old.file("20261120.dump", &dump);
    let (answer, code) =
        old.pgkeep(["backup", "adopt", "--job", "shop"]).arg(&file).arg("--to").arg(old.backups()).json_with_code();
    assert_eq!((code, &only(&answer)["database"]), (0, &json!(db)), "{answer:#}");
    assert_eq!(only(&answer)["database_from"], "the archive");
    let [dir] = backup_dirs(old.backups()).try_into().unwrap();
    let manifest: Value = serde_json::from_slice(&std::fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["properties"]["owner"], "postgres");
    assert_eq!(manifest["properties"]["collate"], "C.UTF-8");
    assert_eq!(manifest["started_at"], only(&answer)["taken_at"]);
    let properties = std::fs::read_to_string(dir.join("database.sql")).unwrap();
    assert!(properties.contains(&format!("-- ALTER DATABASE {db} SET work_mem TO '5MB';")), "{properties}");
}

/// The server's clock stands in Madrid, and so pg_dump wrote moments in its time.
#[test]
fn moments_written_in_another_time_zone_pass_the_proof() {
    let old = Old::with(17, "CREATE TABLE t (id int, at timestamptz, \"user\" text)");
    let db = &old.db;
    old.server.psql(db, "INSERT INTO t SELECT i, '2026-01-01'::timestamptz + i * interval '7 hours', 'x' FROM generate_series(1, 2000) i");
    old.server.psql("postgres", &format!("ALTER DATABASE {db} SET timezone TO 'Europe/Madrid'"));
    let mut command = old.server.client("pg_dump", db);
    let dump = command.env_remove("PGTZ").output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&dump).contains("+02\tx\n"));
    let backup = adopted(&old, &old.file("app_20261120.sql", &dump));
    let (drilled, code) =
        old.pgkeep(["drill", backup["id"].as_str().unwrap(), "--at"]).arg(old.backups()).json_with_code();
    assert_eq!(
        (code, &drilled["result"], &drilled["rows_compared"]),
        (0, &json!("passed"), &json!(2000)),
        "{drilled:#}"
    );
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_refused_and_leaves_nothing() {
    let old = Old::hard(17);
    let plain = old.dump([]);
    let close = memchr::memmem::rfind(&plain, b"-- PostgreSQL database dump complete").unwrap();
    let (custom, tar) = (old.dump(["-Fc"]), old.dump(["-Ft"]));
    let zipped = gzip(&plain);
    for seed in 1..=4usize {
        // Anywhere, but different in every run of the test.
        let random =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos() as usize;
        let cut = |length: usize| (random * seed * 7919) % (length - 600) + 600;
        old.refuses(&old.file("app_20261120.sql", &plain[..cut(close)]), "is cut off: it ends after");
        old.refuses(&old.file("app_20261120.sql.gz", &zipped[..cut(zipped.len())]), "is cut off: it ends after");
        old.refuses(&old.file("app_20261120.tar", &tar[..cut(tar.len() - 1024)]), "is cut off: it ends after");
        old.refuses(&old.file("app_20261120.dump", &custom[..cut(custom.len())]), "cannot read app_20261120.dump");
    }
    old.refuses(&old.file("app_20261120.sql", &plain[..close]), "before pg_dump's closing line");
    old.refuses(&old.file("app_20261120.sql", b""), "is empty");
    let mut damaged = zipped.clone();
    damaged[zipped.len() / 2] ^= 0x55;
    old.refuses(&old.file("app_20261120.sql.gz", &damaged), "app_20261120.sql.gz");
}

#[test]
fn what_is_no_dump_of_one_database_is_refused_with_the_reason() {
    let old = Old::small(17);
    let text = String::from_utf8(old.dump([])).unwrap();
    let close = "--\n-- PostgreSQL database dump complete";
    let with = |line: &str| text.replace(close, &format!("{line}\n{close}"));
    let dumpall = old.server.client("pg_dumpall", &old.db).output().unwrap().stdout;
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    for (bytes, why) in [
        (with("\\! touch /tmp/pgkeep-was-here").into_bytes(), "the psql command"),
        (with("\\connect postgres").into_bytes(), "the psql command"),
        (with("DO $$BEGIN END$$;").into_bytes(), "a statement that is not one of pg_dump's"),
        (with("\\i other.sql").into_bytes(), "the psql command"),
        (dumpall, "was made by pg_dumpall"),
        (utf16, "is UTF-16"),
        (old.dump(["--inserts"]), "as INSERT statements"),
        (old.dump(["--schema-only"]), "without their rows"),
        (old.dump(["--data-only"]), "without their tables"),
        (b"-- MySQL dump 10.13\nSELECT 1;\n".to_vec(), "is no dump of pg_dump"),
        ([old.dump([]), old.dump([])].concat(), "app_20261120.sql holds"),
    ] {
        old.refuses(&old.file("app_20261120.sql", &bytes), why);
    }
}

#[test]
fn the_same_file_twice_is_one_backup_and_another_day_is_another() {
    let old = Old::small(15);
    let plain = old.dump([]);
    let first = old.file("app_20261120_020000.sql", &plain);
    let id = adopted(&old, &first)["id"].clone();
    let again = old.file("app_20261120_020000.sql.gz", &gzip(&plain));
    for file in [&first, &again] {
        let (answer, code) = old.adopt([file.as_path()]).json_with_code();
        let backup = only(&answer);
        assert_eq!((code, &backup["status"], &backup["id"]), (0, &json!("there"), &id), "{answer:#}");
    }
    let told = old.adopt([first.as_path()]).ok();
    assert!(told.stdout.contains("adopted already"), "{told}");
    assert_eq!(backup_dirs(old.backups()).len(), 1);
    adopted(&old, &old.file("app_20261121_020000.sql", &plain));
    assert_eq!(backup_dirs(old.backups()).len(), 2);
    // Also within one command line.
    let (a, b) = (old.file("app_20261122_000000.sql", &plain), old.file("app_20261122_000000.sql.gz", &gzip(&plain)));
    let (answer, code) = old.adopt([a.as_path(), b.as_path()]).json_with_code();
    let status = |n: usize| answer["backups"][n]["status"].clone();
    assert_eq!((code, status(0), status(1)), (0, json!("stored"), json!("there")), "{answer:#}");
}

#[test]
fn one_bad_file_keeps_no_other_from_being_adopted() {
    let old = Old::small(17);
    let good = old.dump([]);
    let files = [
        old.file("app_20261118.sql", &good),
        old.file("app_20261119.sql", &good[..good.len() / 2]),
        old.file("app_20261120.sql", &good),
    ];
    let (answer, code) = old.adopt(files.iter().map(PathBuf::as_path)).json_with_code();
    let status = |n: usize| answer["backups"][n]["status"].as_str().unwrap().to_owned();
    assert_eq!(
        (code, [status(0), status(1), status(2)].join(" ")),
        (3, "stored failed stored".to_owned()),
        "{answer:#}"
    );
    assert!(answer["backups"][1]["error"].as_str().unwrap().contains("in the rows of public.t"), "{answer:#}");
    assert_eq!(backup_dirs(old.backups()).len(), 2);
}

#[test]
fn the_time_is_told_by_option_archive_name_or_file_and_where_it_came_from_is_said() {
    let old = Old::small(17);
    let configured =
        Configured::new("timezone = 'Europe/Madrid'\n[destination.disk]\ntype = 'folder'\npath = 'disk'\n");
    let (plain, custom) = (old.dump([]), old.dump(["-Fc"]));
    let asked = |file: &Path, args: &[&str]| {
        let command = configured.pgkeep(["backup", "adopt", "--job", "shop", "--to", "disk", "--dry-run"]);
        let (answer, code) = command.server(old.server).args(args).arg(file).json_with_code();
        let backup = only(&answer).clone();
        let text = |name: &str| backup[name].as_str().unwrap_or_default().to_owned();
        (code, text("taken_at"), text("taken_at_from"), text("database"), text("status"))
    };
    let answer = |at: &str, from: &str, database: &str| {
        (0, at.to_owned(), from.to_owned(), database.to_owned(), "planned".to_owned())
    };
    let name = "the name of the file";
    let file = old.file("app_20251120_020000.sql.gz", &gzip(&plain));
    assert_eq!(asked(&file, &[]), answer("2025-11-20T01:00:00Z", name, "app"));
    assert_eq!(asked(&file, &["--taken-at", "2025-07-01 12:00"]), answer("2025-07-01T10:00:00Z", "--taken-at", "app"));
    let taken = ["--taken-at", "2025-07-01T12:00:00-05:00", "--database", "b"];
    assert_eq!(asked(&file, &taken), answer("2025-07-01T17:00:00Z", "--taken-at", "b"));
    let file = old.file("crm-2025-07-20.sql", &plain);
    assert_eq!(asked(&file, &[]), answer("2025-07-19T22:00:00Z", name, "crm"));
    let file = old.file("crm.sql", &plain);
    let written = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_760_000_000);
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(written).unwrap();
    assert_eq!(asked(&file, &[]), answer("2025-10-09T08:53:20Z", "the time the file was last written", "crm"));
    let archive = asked(&old.file("app_20251120_020000.dump", &custom), &[]);
    assert_eq!((archive.0, archive.2.as_str(), archive.3.as_str()), (0, "the archive", old.db.as_str()));
    let (code, _, _, _, status) = asked(&old.file("backup_20251120.sql", &plain), &[]);
    assert_eq!((code, status.as_str()), (1, "failed"), "no name of a database");
    let (code, _, _, _, status) = asked(&old.file("app_21501120.sql", &plain), &[]);
    assert_eq!((code, status.as_str()), (1, "failed"), "in the future");
    assert_eq!(everything_below(configured.path().join("disk")), Vec::<PathBuf>::new());

    let file = old.file("app_20251120_020000.sql", &plain);
    let both = [file.as_path(), file.as_path()];
    let outcome = old.adopt(both).args(["--taken-at", "2025-01-01"]).fails(2);
    assert!(outcome.stderr.contains("--taken-at is for one file"), "{outcome}");
    let outcome = old.adopt([file.as_path()]).args(["--taken-at", "yesterday"]).fails(2);
    assert!(outcome.stderr.contains("is no time"), "{outcome}");
}

#[test]
fn a_job_label_and_pin_are_as_with_any_backup() {
    let old = Old::small(17);
    let configured = Configured::new(
        "[destination.disk]\ntype = 'folder'\npath = 'disk'\n[destination.attic]\ntype = 'folder'\npath = 'attic'\n\
         [job.shop]\ndatabases = ['sales']\ndestinations = ['disk', 'attic']\ncompression = 'zstd'\n",
    );
    let file = old.file("backup_20251120.sql", &old.dump([]));
    let command = configured.pgkeep(["backup", "adopt", "--job", "shop", "--label", "old", "--pin"]).server(old.server);
    command.arg(&file).ok();
    let list = configured.pgkeep(["backup", "list"]).json();
    let backup = only(&list);
    assert_eq!((&backup["label"], &backup["pinned"], &backup["job"]), (&json!("old"), &json!(true), &json!("shop")));
    assert_eq!((&backup["database"], &backup["destinations"]), (&json!("sales"), &json!(["attic", "disk"])));
    let outcome = configured.pgkeep(["backup", "adopt", "--job", "crm"]).arg(&file).fails(2);
    assert!(outcome.stderr.contains("no job is named"), "{outcome}");
}

/// Whatever the size of the file, it is streamed.
#[test]
fn a_large_file_is_adopted_in_little_memory() {
    let old = Old::with(17, "CREATE TABLE t (id int, note text)");
    let dump = String::from_utf8(old.dump([])).unwrap();
    let (head, tail) = dump.split_once("FROM stdin;\n").unwrap();
    let path = old.work.path().join("app_20261120.sql.gz");
    let mut out = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
    writeln!(out, "{head}FROM stdin;").unwrap();
    for block in 0..230u32 {
        let mut rows = String::new();
        while rows.len() < 1 << 20 {
            rows.push_str(&format!(
                "{}\t{:032x}{}\n",
                block,
                u128::from(block) << 64 | rows.len() as u128,
                "x".repeat(900)
            ));
        }
        out.write_all(rows.as_bytes()).unwrap();
    }
    out.write_all(tail.as_bytes()).unwrap();
    out.finish().unwrap();
    let mut running = old.adopt([path.as_path()]).arg("--json").spawn();
    let peak = peak_memory(&mut running);
    let outcome = running.wait();
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    assert_eq!(only(&answer)["status"], "stored", "{outcome}");
    assert!(only(&answer)["sql_bytes"].as_u64().unwrap() > 230 << 20, "{answer:#}");
    assert!(peak < 128 << 20, "{} MiB", peak >> 20);
    old.pgkeep(["backup", "verify", "latest", "--at"]).arg(old.backups()).ok();
}
