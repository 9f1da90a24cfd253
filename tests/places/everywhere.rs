//! The main job against every kind of destination, alone and all in one pass: S3 (two servers of different makers), Google
//! Drive, rclone to SFTP and to WebDAV, a folder. What is stored is read again by somebody else's program.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::services::{Drive, Fault, Proxy, S3s, Seaweed, Sftp, Webdav};
use crate::support::{Configured, Pgkeep, Postgres, assert_same_dump};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const MAJOR: u32 = 17;

/// Reads the file of a key by somebody else's program.
type Stranger = Box<dyn Fn(&str) -> Vec<u8>>;

/// A destination, and how a stranger reads it.
struct Place {
    name: &'static str,
    /// The keys of its section.
    toml: String,
    stranger: Stranger,
    /// Whatever must live as long.
    _keep: Option<Box<dyn std::any::Any>>,
}

fn seaweed() -> Place {
    let server = Seaweed::shared();
    let bucket = server.bucket();
    let toml = Seaweed::toml_at(&server.endpoint(), &bucket);
    // boto3, in a process of its own.
    let stranger = Box::new(move |key: &str| server.get(&bucket, key));
    Place { name: "seaweed", toml, stranger, _keep: None }
}

fn s3s() -> Place {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(S3s::on_files());
    let config = server.config();
    let toml = Seaweed::toml_with(&config.endpoint.unwrap(), &config.bucket, S3s::secrets());
    // This one keeps objects as plain files.
    let root = server.root().join(&config.bucket);
    let stranger = Box::new(move |key: &str| std::fs::read(root.join(key)).unwrap());
    Place { name: "s3s", toml, stranger, _keep: Some(Box::new((server, runtime))) }
}

fn drive(work: &Path) -> Place {
    let server = Drive::start();
    let folder = server.shared_folder();
    let credentials = work.join("drive.json");
    private(&credentials, server.service_account_json().as_bytes());
    let toml = format!(
        "type = 'gdrive'\nfolder_id = '{folder}'\nendpoint = '{}'\ncredentials = {{ file = '{}' }}\n",
        server.endpoint(),
        credentials.display()
    );
    let endpoint = server.endpoint().to_owned();
    // Google's own client, in a process of its own.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/drive_get.py");
    let stranger = Box::new(move |key: &str| {
        printed(
            Command::new(crate::services::python()).args([script, &endpoint]).arg(&credentials).args([&folder, key]),
        )
    });
    Place { name: "drive", toml, stranger, _keep: Some(Box::new(server)) }
}

fn sftp() -> Place {
    let server = Sftp::start();
    let toml = rclone_toml(&server.remote(), &server.config());
    let stranger = rclone_cat(&server.remote(), &server.config());
    Place { name: "sftp", toml, stranger, _keep: Some(Box::new(server)) }
}

fn webdav() -> Place {
    let server = Webdav::start();
    let toml = rclone_toml(&server.remote(), &server.config());
    let stranger = rclone_cat(&server.remote(), &server.config());
    Place { name: "webdav", toml, stranger, _keep: Some(Box::new(server)) }
}

fn folder(work: &Path) -> Place {
    let root = work.join("office");
    let toml = format!("type = 'folder'\npath = '{}'\n", root.display());
    Place {
        name: "office",
        toml,
        stranger: Box::new(move |key: &str| std::fs::read(root.join(key)).unwrap()),
        _keep: None,
    }
}

/// rclone itself, with a configuration of its own.
fn rclone_cat(remote: &str, config: &Path) -> Stranger {
    let (remote, config) = (remote.to_owned(), config.to_owned());
    Box::new(move |key: &str| {
        let mut command = Command::new(crate::services::rclone());
        printed(command.arg("--config").arg(&config).args(["cat", &format!("{remote}/{key}")]))
    })
}

/// What a program prints; it must succeed. One that crashed has not disagreed: it is asked again.
fn printed(command: &mut Command) -> Vec<u8> {
    let mut output = command.output().unwrap();
    for _ in 0..2 {
        if output.status.code().is_none() {
            output = command.output().unwrap();
        }
    }
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn rclone_toml(remote: &str, config: &Path) -> String {
    let program = crate::services::rclone();
    format!(
        "type = 'rclone'\nremote = '{remote}'\nconfig = '{}'\nprogram = '{}'\n",
        config.display(),
        program.display()
    )
}

fn private(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// A job that stores one database in some places.
struct Job<'s> {
    server: &'s Postgres,
    db: String,
    places: Vec<Place>,
    configured: Configured,
}

impl<'s> Job<'s> {
    fn new(server: &'s Postgres, db: &str, places: Vec<Place>) -> Self {
        let mut text = String::new();
        for place in &places {
            text.push_str(&format!("[destination.{}]\n{}\n", place.name, place.toml));
        }
        let names: Vec<&str> = places.iter().map(|place| place.name).collect();
        text.push_str(&format!("[job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = {names:?}\n"));
        Self { server, db: db.to_owned(), places, configured: Configured::new(&text) }
    }

    fn pgkeep<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Pgkeep {
        let command = self.configured.pgkeep(args).server(self.server).env("SHOP_URL", self.server.url(&self.db));
        command.env("DATABASE_URL", self.server.url("postgres"))
    }

    fn names(&self) -> Vec<&'static str> {
        self.places.iter().map(|place| place.name).collect()
    }

    /// `backup now`, which must be stored everywhere; the manifest's folder.
    fn back_up(&self) -> String {
        self.back_up_with([])
    }

    /// The same with more arguments.
    fn back_up_with<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> String {
        let (answer, code) = self.pgkeep(["backup", "now", "shop"]).args(args).json_with_code();
        assert_eq!((code, &answer["backups"][0]["status"]), (0, &json!("stored")), "{answer:#}");
        format!("shop/{}/{}", self.db, answer["backups"][0]["id"].as_str().unwrap())
    }

    /// Every copy is listed and intact.
    fn list_and_verify(&self) {
        let list = self.pgkeep(["backup", "list", "shop"]).json();
        let there = list["backups"][0]["destinations"].as_array().unwrap();
        let mut names = self.names();
        names.sort_unstable();
        let mut found: Vec<&str> = there.iter().map(|name| name.as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!((found, &list["backups"][0]["missing"]), (names, &json!([])), "{list:#}");
        let (verified, code) = self.pgkeep(["backup", "verify", "--all"]).json_with_code();
        let results = verified["backups"].as_array().unwrap();
        assert!(code == 0 && results.len() == self.places.len(), "{verified:#}");
        assert!(results.iter().all(|one| one["result"] == "intact" && one["problems"] == json!([])), "{verified:#}");
    }

    /// What a stranger reads at each place is what the manifest says, and restores with gunzip and psql.
    fn strangers_agree(&self, dir: &str) -> Vec<u8> {
        let mut archives: Vec<Vec<u8>> = Vec::new();
        for place in &self.places {
            let manifest: Value = serde_json::from_slice(&(place.stranger)(&format!("{dir}/manifest.json"))).unwrap();
            let mut archive = Vec::new();
            for file in manifest["files"].as_array().unwrap() {
                let bytes = (place.stranger)(&format!("{dir}/{}", file["name"].as_str().unwrap()));
                assert_eq!(json!(hex::encode(Sha256::digest(&bytes))), file["sha256"], "{} {file}", place.name);
                if file["kind"] == "data" {
                    archive.extend(bytes);
                }
            }
            archives.push(archive);
        }
        let first = archives.pop().expect("a place");
        assert!(!first.is_empty() && archives.iter().all(|other| *other == first));
        first
    }

    /// The archive restored by hand; its dump is the source's.
    fn restores_by_hand(&self, archive: &[u8]) {
        let work = crate::support::temp_dir();
        std::fs::write(work.path().join("a.sql.gz"), archive).unwrap();
        let db = self.server.create_db("by_hand");
        crate::support::shell(
            self.server,
            work.path(),
            &format!("gunzip -c a.sql.gz | psql -X -q -v ON_ERROR_STOP=1 -d {db} > /dev/null"),
        );
        assert_same_dump(&self.server.pg_dump(&self.db, []), &self.server.pg_dump(&db, []));
    }

    /// Restored from `at` into a new database, and proved.
    fn restores_from(&self, at: &str) {
        let target = format!("{}_from_{at}", self.db);
        let (restored, code) = self.pgkeep(["restore", "shop/latest", "--into", &target, "--at", at]).json_with_code();
        assert_eq!((code, &restored["proof"]), (0, &json!("passed")), "{at}: {restored:#}");
        self.server.psql("postgres", &format!("DROP DATABASE {target}"));
    }

    fn drills_from(&self, at: &str) {
        let (report, code) = self.pgkeep(["drill", "shop/latest", "--at", at]).json_with_code();
        assert_eq!((code, &report["result"], &report["destination"]), (0, &json!("passed"), &json!(at)), "{report:#}");
        let list = self.pgkeep(["backup", "list", "--at", at]).json();
        assert_eq!(list["backups"][0]["drill_result"], "passed", "the receipt is in {at}");
    }

    fn whole_job(&self) {
        let dir = self.back_up();
        self.list_and_verify();
        let archive = self.strangers_agree(&dir);
        self.restores_by_hand(&archive);
        for at in self.names() {
            let shown = self.pgkeep(["backup", "show", "shop/latest", "--at", at]).json();
            assert!(shown["tables"].as_array().is_some_and(|tables| !tables.is_empty()), "{at}: {shown:#}");
            let work = crate::support::temp_dir();
            let file = work.path().join("fetched.sql.gz");
            self.pgkeep(["backup", "fetch", "shop/latest", "--at", at, "--output"]).arg(&file).ok();
            assert!(std::fs::read(&file).unwrap() == archive, "{at}");
            self.restores_from(at);
            self.drills_from(at);
        }
    }
}

/// A folder for what a test writes, which scratch servers may pass through.
fn work() -> tempfile::TempDir {
    let work = crate::support::temp_dir();
    std::fs::set_permissions(work.path(), PermissionsExt::from_mode(0o711)).unwrap();
    work
}

/// A database with tables of all types.
fn shop(server: &Postgres) -> String {
    let db = server.create_db("shop");
    server.load_sql(&db, "wide.sql");
    db
}

#[test]
fn the_main_job_on_a_folder() {
    let (server, work) = (Postgres::shared(MAJOR), work());
    Job::new(server, &shop(server), vec![folder(work.path())]).whole_job();
}

#[test]
fn the_main_job_on_seaweedfs() {
    let server = Postgres::shared(MAJOR);
    Job::new(server, &shop(server), vec![seaweed()]).whole_job();
}

#[test]
fn the_main_job_on_another_s3_server() {
    let server = Postgres::shared(MAJOR);
    Job::new(server, &shop(server), vec![s3s()]).whole_job();
}

#[test]
fn the_main_job_on_google_drive() {
    let (server, work) = (Postgres::shared(MAJOR), work());
    Job::new(server, &shop(server), vec![drive(work.path())]).whole_job();
}

#[test]
fn the_main_job_through_rclone_to_sftp() {
    let server = Postgres::shared(MAJOR);
    Job::new(server, &shop(server), vec![sftp()]).whole_job();
}

#[test]
fn the_main_job_through_rclone_to_webdav() {
    let server = Postgres::shared(MAJOR);
    Job::new(server, &shop(server), vec![webdav()]).whole_job();
}

/// The files of a parallel dump are uploaded side by side, and fetched as one.
#[test]
fn a_parallel_dump_goes_to_every_kind_of_place_at_once() {
    let (server, work) = (Postgres::shared(MAJOR), work());
    let db = server.create_db("parallel");
    server.load_sql(&db, "large.sql");
    let job = Job::new(server, &db, vec![folder(work.path()), seaweed(), s3s(), drive(work.path()), sftp()]);
    let dir = job.back_up_with(["--jobs", "3"]);
    job.list_and_verify();
    let archive = job.strangers_agree(&dir);
    for at in job.names() {
        let file = work.path().join(format!("{at}.sql.gz"));
        job.pgkeep(["backup", "fetch", "shop/latest", "--at", at, "--output"]).arg(&file).ok();
        assert!(std::fs::read(&file).unwrap() == archive, "{at}");
        job.restores_from(at);
    }
    let by_hand = server.create_db("by_hand");
    let script = format!("gunzip -c office.sql.gz | psql -X -q -v ON_ERROR_STOP=1 -d {by_hand} > /dev/null");
    crate::support::shell(server, work.path(), &script);
    let sum = "SELECT count(*), sum(id), md5(string_agg(note, '' ORDER BY id)) FROM big";
    assert_eq!(server.psql(&by_hand, sum), server.psql(&db, sum));
    job.drills_from("seaweed");
}

/// 5,000 small tables and one of a gigabyte go to four places in one pass, in bounded memory.
#[test]
fn thousands_of_tables_and_a_large_one_to_four_places_at_once() {
    let (server, work) = (Postgres::shared(MAJOR), work());
    let db = server.create_db("large");
    let small = "DO $$ BEGIN FOR i IN 1..5000 LOOP EXECUTE format(\
                 'CREATE TABLE small_%s AS SELECT i AS id, %L || i AS note FROM generate_series(1, 3) i', i, i); \
                 IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$";
    server.psql(&db, small);
    let note = "repeat(md5(i::text), 32)";
    server
        .psql(&db, &format!("CREATE TABLE large AS SELECT i AS id, {note} AS note FROM generate_series(1, 1000000) i"));
    let places = vec![folder(work.path()), seaweed(), drive(work.path()), sftp()];
    let job = Job::new(server, &db, places);

    let mut running = job.pgkeep(["backup", "now", "shop", "--json"]).spawn();
    let peak = crate::support::peak_memory(&mut running);
    let outcome = running.wait();
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"));
    assert_eq!((outcome.code, &answer["backups"][0]["status"]), (Some(0), &json!("stored")), "{outcome}");
    assert_eq!(answer["backups"][0]["tables"], 5001);
    assert!(answer["backups"][0]["sql_bytes"].as_u64().unwrap() > 1_000_000_000, "{answer:#}");
    // docs/destinations.md: 128 MiB, and five parts of 8 MiB for S3, two chunks of 8 MiB for Drive.
    assert!(peak < (128 + 5 * 8 + 2 * 8) << 20, "{} MiB", peak >> 20);

    job.list_and_verify();
    job.restores_from("seaweed");
    job.drills_from("drive");
}

/// One of four places takes two megabytes a second: pg_dump waits for it, and what waits does not pile up.
#[test]
fn a_slow_destination_slows_the_dump_and_fills_no_memory() {
    let (server, work) = (Postgres::shared(MAJOR), work());
    let db = server.create_db("slow");
    let note = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 32) j)";
    server.psql(&db, &format!("CREATE TABLE t AS SELECT i AS id, {note} AS note FROM generate_series(1, 40000) i"));
    let slow = Seaweed::shared();
    let bucket = slow.bucket();
    let proxy = Proxy::to(&slow.address());
    let injected = proxy.inject(Fault::slow(2_000_000).operation("UploadPart").always());
    let far = Place {
        name: "far",
        toml: Seaweed::toml_at(&proxy.endpoint(), &bucket),
        stranger: Box::new(move |key: &str| slow.get(&bucket, key)),
        _keep: None,
    };
    let job = Job::new(server, &db, vec![folder(work.path()), drive(work.path()), webdav(), far]);
    let begin = std::time::Instant::now();
    let mut running = job.pgkeep(["backup", "now", "shop", "--json"]).spawn();
    let peak = crate::support::peak_memory(&mut running);
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let answer: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let stored = answer["backups"][0]["stored_bytes"].as_u64().unwrap();
    assert!(stored > 20_000_000 && injected.happened() >= 2, "{stored} bytes in {} parts", injected.happened());
    // Four parts go at two megabytes a second each.
    assert!(begin.elapsed().as_secs_f64() > stored as f64 / 8_000_000.0, "{:?}", begin.elapsed());
    assert!(peak < (128 + 5 * 8 + 2 * 8) << 20, "{} MiB", peak >> 20);
    job.list_and_verify();
}
