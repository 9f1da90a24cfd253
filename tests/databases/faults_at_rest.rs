//! Rows 27 and 28 of what must be survived: bytes that change at rest, and manifests and indexes that cannot be trusted.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{Forged, Numbers, Postgres};
use pgkeep::archive::Contents;
use pgkeep::catalogue::FileKind;
use serde_json::{Value, json};

const SAMPLE: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text);
    INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 500) n;
    CREATE TABLE ledger (id int PRIMARY KEY, entry text);
    INSERT INTO ledger SELECT n, md5(n::text) || md5((-n)::text) FROM generate_series(1, 60000) n;
    CREATE TABLE visits (id int PRIMARY KEY, customer int REFERENCES customers);
    INSERT INTO visits SELECT n, 1 + n % 500 FROM generate_series(1, 900) n;
    CREATE VIEW loyal AS SELECT customer, count(*) FROM visits GROUP BY 1;";

/// One backup that every test here copies.
fn sample() -> Forged {
    static SAMPLE_BACKUP: OnceLock<Forged> = OnceLock::new();
    let made = SAMPLE_BACKUP.get_or_init(|| {
        let server = Postgres::shared(17);
        let db = server.create_db("sample");
        server.psql(&db, SAMPLE);
        Forged::back_up(server, &db)
    });
    made.copy()
}

/// Verifies; gives result and problems of the one copy, and the exit code.
fn verify(stored: &Forged, more: &[&str]) -> (String, String, i32) {
    let (answer, code) = stored.pgkeep(&["backup", "verify", "latest"]).args(more).json_with_code();
    let one = &answer["backups"][0];
    (one["result"].as_str().unwrap_or_default().to_owned(), one["problems"].to_string(), code)
}

fn flip(file: &Path, at: usize, mask: u8) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= mask;
    std::fs::write(file, bytes).unwrap();
}

#[track_caller]
fn assert_damaged(stored: &Forged, named: &str, what: &str) {
    for more in [&[] as &[&str], &["--quick"]] {
        let (result, problems, code) = verify(stored, more);
        assert_eq!((result.as_str(), code), ("damaged", 4), "{what} {more:?}: {problems}");
        assert!(problems.contains(named), "{what} {more:?}: {named} is not named in {problems}");
    }
}

#[test]
fn a_byte_that_changed_anywhere_is_found_and_its_file_named() {
    let stored = sample();
    let files: Vec<_> = stored.manifest().files.iter().map(|file| stored.dir().join(file.name.as_str())).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    let mut numbers = Numbers(0x5eed);
    let data = stored.file(FileKind::Data);
    let size = std::fs::metadata(&data).unwrap().len() as usize;
    let mut places = vec![(data.clone(), 3), (data.clone(), 9), (data.clone(), size / 2), (data, size - 5)];
    for file in &files {
        for _ in 0..=(36 / files.len()) {
            let size = std::fs::metadata(file).unwrap().len();
            places.push((file.clone(), numbers.below(size) as usize));
        }
    }
    assert!(places.len() >= 40);
    for (file, at) in places {
        let mask = 1 << numbers.below(8);
        flip(&file, at, mask);
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_damaged(&stored, name, &format!("byte {at} of {name} with {mask:#x}"));
        flip(&file, at, mask);
    }
    assert_eq!(verify(&stored, &[]), ("intact".to_owned(), "[]".to_owned(), 0));
}

#[test]
fn damage_in_the_middle_of_the_archive_names_the_table() {
    let stored = sample();
    let contents = stored.contents();
    assert!(contents.files[0].members.len() > 2, "the archive is to have a middle");
    let stored_bytes: Vec<u64> = contents.files[0].members.iter().map(|member| member.stored_bytes).collect();
    let second = stored_bytes[0] + stored_bytes[1] / 2;
    flip(&stored.file(FileKind::Data), second as usize, 0x10);
    let (result, problems, code) = verify(&stored, &[]);
    assert_eq!((result.as_str(), code), ("damaged", 4));
    assert!(problems.contains("public.ledger") && !problems.contains("visits"), "{problems}");
}

#[test]
fn truncated_extended_emptied_and_missing_files_are_found() {
    let intact = sample();
    for file in &intact.manifest().files {
        let path = |stored: &Forged| stored.dir().join(file.name.as_str());
        let bytes = std::fs::read(path(&intact)).unwrap();
        let damages: [Damage<'_>; 4] = [
            ("truncated", &|path| std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap()),
            ("extended", &|path| std::fs::write(path, [&bytes[..], b"\0"].concat()).unwrap()),
            ("emptied", &|path| std::fs::write(path, b"").unwrap()),
            ("missing", &|path| std::fs::remove_file(path).unwrap()),
        ];
        for (what, damage) in damages {
            let stored = intact.copy();
            damage(&path(&stored));
            for more in [&[] as &[&str], &["--quick"]] {
                let (result, problems, code) = verify(&stored, more);
                let expected = if what == "missing" { "missing" } else { "damaged" };
                assert_eq!((result.as_str(), code), (expected, 4), "{} {what}: {problems}", file.name);
                assert!(problems.contains(file.name.as_str()), "{} {what}: {problems}", file.name);
            }
        }
    }
}

#[test]
fn a_damaged_backup_is_neither_restored_nor_drilled() {
    let server = Postgres::shared(17);
    let stored = sample();
    let data = stored.file(FileKind::Data);
    flip(&data, std::fs::metadata(&data).unwrap().len() as usize / 2, 1);
    let note = crate::support::temp_dir();
    let loaded = note.path().join("loaded");
    let script =
        format!(r#"case "$*" in *VERBOSITY=verbose*) echo loading >'{}';; esac; exec "$REAL" "$@""#, loaded.display());
    let bin = crate::support::fake_bin_dir(server.bin_dir(), [("psql", script.as_str())]);
    let target = format!("damaged_{}", std::process::id());
    let outcome = stored.restore(server, &target).bin_dir(bin.path()).fails(4);
    assert!(outcome.stderr.contains("is damaged") && outcome.stderr.contains(&stored.id()), "{outcome}");
    let (answer, code) = stored.pgkeep(&["drill", "latest"]).bin_dir(bin.path()).json_with_code();
    assert_eq!((answer["result"].as_str(), code), (Some("failed"), 4), "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains("is damaged"), "{answer}");
    assert!(!loaded.exists(), "psql was given something to load");
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{target}'");
    assert_eq!(server.psql("postgres", &there), "0");
    // The same psql does load an intact one, so that the check above means something.
    sample().restore(server, &target).bin_dir(bin.path()).ok();
    assert!(loaded.exists());
}

#[test]
fn a_restore_goes_on_from_the_other_copy_and_says_so() {
    let server = Postgres::shared(17);
    let (near, far) = (sample(), sample());
    let data = near.file(FileKind::Data);
    flip(&data, std::fs::metadata(&data).unwrap().len() as usize / 3, 4);
    let target = format!("other_copy_{}", std::process::id());
    let outcome = near.restore(server, &target).arg("--at").arg(far.root()).ok();
    assert!(outcome.stderr.contains("cannot be used") && outcome.stderr.contains("has changed"), "{outcome}");
    assert_eq!(server.psql(&target, "SELECT count(*) FROM ledger"), "60000");
    let file = crate::support::temp_dir();
    let out = file.path().join("out.sql.gz");
    let fetch = near.pgkeep(&["backup", "fetch", "latest"]).arg("--at").arg(far.root()).arg("-o").arg(&out).ok();
    assert!(fetch.stderr.contains("cannot be used"), "{fetch}");
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(far.file(FileKind::Data)).unwrap());
}

/// What is done to a file.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path));

/// A change of the manifest's JSON and a word of the reason for which it is refused.
type Hostility = (&'static str, fn(&mut Value), &'static str);

const HOSTILE: [Hostility; 14] = [
    ("newer", |m| m["format"] = json!(2), "format 2"),
    ("no format", |m| drop(m.as_object_mut().unwrap().remove("format")), "format"),
    ("climbing", |m| m["files"][0]["name"] = json!("../../../etc/passwd"), "name"),
    ("dots", |m| m["files"][0]["name"] = json!(".."), "name"),
    ("absolute", |m| m["files"][0]["name"] = json!("/etc/passwd"), "name"),
    ("windows", |m| m["files"][0]["name"] = json!("C:\\x"), "name"),
    ("below", |m| m["files"][0]["name"] = json!("a/b"), "not described"),
    ("hidden", |m| m["files"][0]["name"] = json!(".ssh"), "not described"),
    ("twice", |m| m["files"][1] = m["files"][0].clone(), "twice"),
    ("other job", |m| m["job"] = json!("other"), "describes other"),
    ("other database", |m| m["database"] = json!("../other"), "describes"),
    ("digest", |m| m["files"][0]["sha256"] = json!("00"), "not described"),
    ("nothing", |m| m["files"] = json!([]), "no data"),
    (
        "statement",
        |m| m["properties"]["privileges"] = json!([{"grantor": "x", "privilege": "ALL;\n\\! id\n"}]),
        "privilege",
    ),
];

/// A second backup beside the hostile one must not be affected.
fn assert_refused(stored: &Forged, id: &str, what: &str, reason: &str) {
    let server = Postgres::shared(17);
    let list = stored.pgkeep(&["backup", "list"]).json();
    assert_eq!(list["backups"].as_array().unwrap().len(), 1, "{what}: {list}");
    let problems = list["problems"].to_string();
    assert!(problems.contains(reason) && problems.contains(id), "{what}: {problems}");
    let verify = stored.pgkeep(&["backup", "verify", id]).run();
    assert!(matches!(verify.code, Some(1 | 4)), "{what}: {verify}");
    let said = format!("{}{}", verify.stdout, verify.stderr);
    assert!(said.contains(reason), "{what}: {verify}");
    let target = format!("hostile_{}", std::process::id());
    let url = server.url("postgres");
    let restore = stored.pgkeep(&["restore", id, "--database-url", &url, "--into", &target]).run();
    assert!(restore.code != Some(0) && restore.stderr.contains(reason), "{what}: {restore}");
}

#[test]
fn hostile_and_newer_manifests_are_refused_with_the_reason_and_harm_no_other_backup() {
    let server = Postgres::shared(17);
    let intact = sample();
    let (db, id) = (intact.manifest().database, intact.id());
    let both = intact.copy();
    let url = server.url(&db);
    crate::support::pgkeep()
        .server(server)
        .args(["backup", "now", "--database-url", &url, "--to"])
        .arg(both.root())
        .ok();
    let manifest = intact.dir().join("manifest.json").strip_prefix(intact.root()).unwrap().to_owned();
    let text = std::fs::read(both.root().join(&manifest)).unwrap();
    for (what, change, reason) in HOSTILE {
        let mut json: Value = serde_json::from_slice(&text).unwrap();
        change(&mut json);
        std::fs::write(both.root().join(&manifest), json.to_string()).unwrap();
        assert_refused(&both, &id, what, reason);
    }
    let half = &text[..text.len() / 2];
    let huge = [&text[..], " ".repeat(5 << 20).as_bytes()].concat();
    let deep = "[".repeat(1 << 20);
    for (what, bytes, reason) in [
        ("empty", &b""[..], "cannot be used"),
        ("half", half, "cannot be used"),
        ("huge", &huge, "at most"),
        ("deep", deep.as_bytes(), "cannot be used"),
        ("binary", b"\xff\xfe\0", "cannot be used"),
    ] {
        std::fs::write(both.root().join(&manifest), bytes).unwrap();
        assert_refused(&both, &id, what, reason);
    }
    // The other one, newest and intact.
    let newest = both.pgkeep(&["backup", "verify", "latest"]).json_with_code();
    assert_eq!((newest.0["backups"][0]["result"].as_str(), newest.1), (Some("intact"), 0), "{}", newest.0);
}

#[test]
fn an_older_backup_in_place_of_a_newest_one_that_cannot_be_used_is_said() {
    let server = Postgres::shared(17);
    let stored = sample();
    let (db, first) = (stored.manifest().database, stored.id());
    let url = server.url(&db);
    let run = crate::support::pgkeep().server(server).args(["backup", "now", "--database-url", &url, "--to"]);
    let second = run.arg(stored.root()).json()["backups"][0]["id"].as_str().unwrap().to_owned();
    let newest = stored.dir().parent().unwrap().join(&second).join("manifest.json");
    std::fs::write(newest, "{").unwrap();
    let target = format!("passed_over_{}", std::process::id());
    let outcome = stored.restore(server, &target).ok();
    assert!(outcome.stderr.contains(&second) && outcome.stderr.contains("passed over"), "{outcome}");
    assert!(outcome.stdout.contains(&first), "{outcome}");
}

#[test]
fn without_a_manifest_there_is_no_backup_and_the_archive_restores_by_hand() {
    let server = Postgres::shared(17);
    let stored = sample();
    let (archive, manifest) = (stored.file(FileKind::Data), stored.dir().join("manifest.json"));
    std::fs::remove_file(manifest).unwrap();
    assert_eq!(stored.pgkeep(&["backup", "list"]).json()["backups"], json!([]));
    stored.pgkeep(&["backup", "verify", "latest"]).fails(1);
    let gunzip = Command::new("gunzip").arg("-c").arg(&archive).output().unwrap();
    assert!(gunzip.status.success());
    let db = server.create_db("by_hand");
    server.load(&db, &gunzip.stdout);
    assert_eq!(server.psql(&db, "SELECT count(*), (SELECT count(*) FROM loyal) FROM ledger"), "60000|500");
}

#[test]
fn indexes_that_cannot_be_trusted_are_refused_with_the_reason() {
    let server = Postgres::shared(17);
    let intact = sample();
    let index: Value = serde_json::to_value(intact.contents()).unwrap();
    let gzip = |json: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, json).unwrap();
        encoder.finish().unwrap()
    };
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut index = index.clone();
        change(&mut index);
        index.to_string().into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("newer", changed(&|i| i["format"] = json!(2)), "format 2"),
        ("no files", changed(&|i| i["files"] = json!([])), "describes 0 data files"),
        ("files twice", changed(&|i| i["files"] = json!([i["files"][0], i["files"][0]])), "describes 2 data files"),
        ("other name", changed(&|i| i["files"][0]["name"] = json!("other")), "does not fit"),
        ("climbing", changed(&|i| i["files"][0]["name"] = json!("../x")), "name"),
        ("absurd member", changed(&|i| i["files"][0]["members"][0] = json!([1u64 << 40, 10])), "larger than"),
        ("absurd stored", changed(&|i| i["files"][0]["members"][0] = json!([10, u64::MAX])), "larger than"),
        ("fewer members", changed(&|i| drop(i["files"][0]["members"].as_array_mut().unwrap().pop())), "archive"),
        ("outside", changed(&|i| i["files"][0]["entries"][0]["end"] = json!(1u64 << 50)), "outside"),
        ("backwards", changed(&|i| i["files"][0]["entries"][0]["start"] = json!(1u64 << 50)), "outside"),
        ("no entries", changed(&|i| i["files"][0]["entries"] = json!([])), "entries"),
        ("no JSON", b"{".to_vec(), "cannot be used"),
        ("nothing", Vec::new(), "cannot be used"),
    ];
    let target = format!("index_{}", std::process::id());
    for (what, json, reason) in cases {
        let stored = intact.copy();
        stored.forge_file(FileKind::Contents, &gzip(&json), json.len() as u64);
        let (result, problems, code) = verify(&stored, &[]);
        assert_eq!((result.as_str(), code), ("damaged", 4), "{what}: {problems}");
        assert!(problems.contains(reason), "{what}: {problems}");
        let restore = stored.restore(server, &target).fails(4);
        assert!(restore.stderr.contains(reason), "{what}: {restore}");
    }
    let listed = intact.pgkeep(&["backup", "list"]).json();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1);
}

#[test]
fn a_manifest_that_counts_otherwise_than_its_index_is_damaged() {
    let changes: [fn(&mut pgkeep::catalogue::Manifest); 3] = [|m| m.rows += 1, |m| m.tables -= 1, |m| m.entries = 0];
    for change in changes {
        let stored = sample();
        stored.change_manifest(change);
        let (result, problems, code) = verify(&stored, &[]);
        assert_eq!((result.as_str(), code), ("damaged", 4));
        assert!(problems.contains("the manifest counts"), "{problems}");
    }
}

#[test]
fn a_manifest_that_names_another_codec_is_damaged() {
    let stored = sample();
    let contents: Contents = stored.contents();
    stored.forge_contents(&contents);
    assert_eq!(verify(&stored, &[]).2, 0);
    stored.change_manifest(|manifest| manifest.codec = "zstd".to_owned());
    assert_eq!(verify(&stored, &[]).2, 4);
    stored.change_manifest(|manifest| manifest.codec = "rot13".to_owned());
    let (_, problems, code) = verify(&stored, &[]);
    assert!(code == 4 && problems.contains("codec"), "{problems}");
}
