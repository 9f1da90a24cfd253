//! The configuration file as a whole: the sample of the documentation, and what is said about wrong ones.

use super::load::from_text;
use super::resolve::Origin;
use super::*;
use crate::error::ErrorKind;
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;

const SAMPLE: &str = r#"
timezone = "America/Bogota"
bin_dir = "pg/bin"

[destination.office]
type = "folder"
path = "/var/backups/pgkeep"

[destination.usb]
type = "folder"
path = "usb"

[job.zenzspa]
database_url = { env = "DATABASE_URL" }
destinations = ["office", "usb"]
require = "all"
schedule = "0 2 * * *"
compression = "gzip"
jobs = 1
retention = { within = "30d", daily = 0, weekly = 0, monthly = 12, yearly = 0, at_least = 3 }

[job.zenzspa.drill]
schedule = "0 4 * * 0"
scratch = "ephemeral"
max_duration = "1h"
[[job.zenzspa.drill.check]]
name = "bookings are recent"
sql = "select max(created_at) > now() - interval '2 days' from spa_appointment"
expect = "t"

[job.trader]
databases = "all"
exclude_databases = ["junk"]
destinations = ["office"]
require = 1
label = "nightly"
lock_wait_timeout = "5m"
compression = "zstd:19"
bin_dir = "/opt/pg"
drill.scratch = { url = { command = ["op", "read", "x"] } }
drill.backup = "random"
drill.copy = "office"
drill.level = "sample"
drill.sample_size = "64MiB"
"#;

fn read(text: &str) -> crate::error::Result<Config> {
    let origin = Origin { folder: Some(Path::new("/etc/pgkeep")), open_to_others: None };
    from_text(text, "pgkeep.toml", origin)
}

fn problem(text: &str) -> String {
    let error = read(text).expect_err(text);
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

/// A job in which `line` is the eighth line.
fn with_line(line: &str) -> String {
    format!(
        "[destination.office]\ntype = \"folder\"\npath = \"/b\"\n\n[job.shop]\ndestinations = [\"office\"]\n\n{line}\n"
    )
}

#[test]
fn the_sample_is_read() {
    let config = read(SAMPLE).unwrap();
    assert_eq!(config.timezone, chrono_tz::America::Bogota);
    assert_eq!(config.bin_dir.as_deref(), Some(Path::new("/etc/pgkeep/pg/bin")));
    assert_eq!(config.destinations["usb"], DestinationConfig::Folder { path: "/etc/pgkeep/usb".into() });
    assert_eq!(config.warnings, Vec::<String>::new());

    let job = &config.jobs["zenzspa"];
    assert_eq!(job.database_url, Some(SecretRef::Env("DATABASE_URL".into())));
    assert_eq!(job.databases, Databases::FromUrl);
    assert_eq!(job.destinations, ["office", "usb"]);
    assert_eq!(job.require, Require::All);
    assert_eq!(job.schedule.as_ref().map(Schedule::as_str), Some("0 2 * * *"));
    assert_eq!(job.compression.to_string(), "gzip:5");
    assert_eq!(job.lock_wait_timeout, Duration::from_secs(60));
    assert_eq!(job.jobs, 1);
    let retention = job.retention.unwrap();
    assert_eq!(
        (retention.within, retention.monthly, retention.at_least),
        (Some(Duration::from_secs(30 * 86400)), 12, 3)
    );
    let drill = job.drill.as_ref().unwrap();
    assert_eq!(drill.scratch, Scratch::Ephemeral);
    assert_eq!(drill.max_duration, Some(Duration::from_secs(3600)));
    assert_eq!(drill.checks[0].expect, "t");
    assert_eq!((drill.backup, &drill.copy), (DrilledBackup::Newest, &None));
    assert_eq!((drill.level, drill.sample_size), (DrillLevel::Prove, 1 << 30));

    let job = &config.jobs["trader"];
    assert_eq!(job.database_url, None);
    assert_eq!((&job.databases, job.exclude_databases.as_slice()), (&Databases::All, ["junk".to_owned()].as_slice()));
    assert_eq!(job.require, Require::AtLeast(1));
    assert_eq!(job.label.as_deref(), Some("nightly"));
    assert_eq!(job.lock_wait_timeout, Duration::from_secs(300));
    assert_eq!(job.bin_dir.as_deref(), Some(Path::new("/opt/pg")));
    let command = SecretRef::Command(vec!["op".into(), "read".into(), "x".into()]);
    let drill = job.drill.as_ref().unwrap();
    assert_eq!(drill.scratch, Scratch::Server(command));
    assert_eq!((drill.backup, drill.copy.as_deref()), (DrilledBackup::Random, Some("office")));
    assert_eq!((drill.level, drill.sample_size), (DrillLevel::Sample, 64 << 20));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read("").unwrap(), Config::default());
}

#[test]
fn all_problems_are_told_at_once_with_their_places() {
    let text = "timezon = \"UTC\"\n[destination.office]\ntype = \"folder\"\npaht = \"/b\"\n\n[job.shop]\n  destinations = [\"ofice\"]\n\
                jobs = 65\ncompression = \"lz4\"\n";
    let expected = "6 problems in pgkeep.toml:\n  \
        line 1, column 1: unknown key \"timezon\" in the file; did you mean \"timezone\"?\n  \
        line 2, column 1: [destination.office] lacks \"path\"\n  \
        line 4, column 1: unknown key \"paht\" in [destination.office]; did you mean \"path\"?\n  \
        line 7, column 19: no section [destination.ofice] is in this file; did you mean \"office\"?\n  \
        line 8, column 8: \"jobs\" must be a whole number from 1 to 64\n  \
        line 9, column 15: \"compression\": \"lz4\" is no compression that pgkeep knows; write \"gzip\", \"gzip:1\" to \
        \"gzip:12\", \"zstd\", or \"zstd:1\" to \"zstd:19\"";
    assert_eq!(problem(text), expected);
}

#[test]
fn each_wrong_line_is_named_with_its_remedy() {
    for (line, expected) in [
        (
            "database_url = 5",
            "line 8, column 16: \"database_url\" must be a table such as { env = \"NAME\" }, not an integer",
        ),
        ("database_url = {}", "must hold one of env, file, credential, and command"),
        ("database_url = { env = \"A\", file = \"b\" }", "must hold one of env, file, credential, and command"),
        ("database_url = { evn = \"A\" }", "did you mean \"env\"?"),
        ("database_url = { credential = \"../shop\" }", "a credential has the name of a file"),
        ("database_url = { credential = \"a\", env = \"b\" }", "must hold one of env, file, credential, and command"),
        ("database_url = { command = [] }", "must hold one of env, file, credential, and command"),
        ("databases = []", "\"databases\" must be \"all\" or an array of names"),
        ("databases = \"shop\"", "\"databases\" must be \"all\" or an array of names"),
        ("databases = [\"a\", \"a\"]", "\"a\" is twice in \"databases\""),
        ("databases = [\"\"]", "must not be empty"),
        ("exclude_databases = [\"a\"]", "with databases = \"all\" only"),
        ("require = 0", "a number from 1 to 1"),
        ("require = 2", "a number from 1 to 1"),
        ("require = \"most\"", "\"require\" must be \"all\", \"any\""),
        ("schedule = \"0 2 * *\"", "it has 4 fields, not 5"),
        ("jobs = 0", "from 1 to 64"),
        ("label = \"a\\nb\"", "a label must not hold control characters"),
        ("jobs = 1.5", "from 1 to 64"),
        ("lock_wait_timeout = \"0s\"", "longer than zero"),
        ("lock_wait_timeout = \"25d\"", "24 days"),
        ("lock_wait_timeout = \"soon\"", "is no duration"),
        ("lock_wait_timeout = 60", "\"lock_wait_timeout\" must be a string, not an integer"),
        ("retention = { within = \"30\" }", "is no duration"),
        ("retention = { weekly = -1 }", "\"weekly\" must be a whole number from 0"),
        ("retention = { at_least = 0 }", "\"at_least\" must be a whole number from 1"),
        ("retention = { keep_daily = 1 }", "unknown key \"keep_daily\" in \"retention\""),
        ("retention = 30", "\"retention\" must be a table, not an integer"),
        ("[job.shop.drill]\nscratch = \"here\"", "{ url = { env = \"NAME\" } }"),
        ("[job.shop.drill]\nscratch = {}", "\"scratch\" lacks \"url\""),
        ("[job.shop.drill]\nbackup = \"oldest\"", "neither \"newest\" nor \"random\""),
        ("[job.shop.drill]\nlevel = \"all\"", "none of \"restore\", \"sample\", \"prove\""),
        ("[job.shop.drill]\nsample_size = \"1GB\"", "is no size"),
        ("[job.shop.drill]\ncopy = \"moon\"", "neither \"any\" nor one of the job's destinations"),
        ("[job.shop.drill]\nmax_durations = \"1h\"", "did you mean \"max_duration\"?"),
        ("[job.shop.drill.check]\nname = \"x\"", "[[job.shop.drill.check]]"),
        ("[[job.shop.drill.check]]\nname = \"x\"\nsql = \"y\"", "[[job.shop.drill.check]] lacks \"expect\""),
        ("[job.\"\"]\ndestinations = [\"office\"]", "must not be empty, nor hold control characters"),
        ("[job.\"a\\tb\"]\ndestinations = [\"office\"]", "must not be empty, nor hold control characters"),
        ("[job.Shop]\ndestinations = [\"office\"]", "would share a folder"),
        ("[job.x]", "[job.x] lacks \"destinations\""),
        ("[job.x]\ndestinations = []", "at least one"),
        ("[destination.x]\ntype = \"ftp\"", "no destination has type \"ftp\""),
        ("[destination.x]\npath = \"y\"", "[destination.x] lacks \"type\""),
        (
            "[notify.mail]\ntype = \"smtp\"",
            "line 8, column 9: [notify.mail] is not available in this version of pgkeep",
        ),
        ("[job.shop]", "duplicate key"),
        ("state_dirr = 1", "unknown key \"state_dirr\" in [job.shop]"),
    ] {
        let told = problem(&with_line(line));
        assert!(told.contains(expected), "{line}\n{told}");
    }
    assert!(problem("timezone = \"America/Bogotá\"").contains("did you mean \"America/Bogota\"?"));
}

#[test]
fn services_are_configured_with_every_problem_told_at_once() {
    let text = r#"
[destination.cloud]
type = "s3"
bucket = "zenzspa-backups"
prefix = "/pg/"
region = "us-west-2"
access_key_id = { env = "ID" }
secret_access_key = { file = "key" }
object_lock = { mode = "governance", retain = "30d" }
sse = "aws:kms"
sse_kms_key_id = "alias/backups"
tags = { team = "ops" }
part_size = "16MiB"
retry_for = "10m"
[destination.drive]
type = "gdrive"
folder_id = "1AbC"
credentials = { credential = "drive.json" }
delete = "trash"
[destination.onedrive]
type = "rclone"
remote = "onedrive:Backups/"
"#;
    let config = from_text(text, "pgkeep.toml", Origin::default()).unwrap();
    let DestinationConfig::S3(s3) = &config.destinations["cloud"] else { panic!("no S3") };
    assert_eq!((s3.prefix.as_str(), s3.part_size, s3.path_style), ("pg", 16 << 20, false));
    assert_eq!(s3.keys.as_ref().unwrap().secret_access_key, SecretRef::File("key".into()));
    assert_eq!(s3.encryption, Some(S3Encryption::Kms(Some("alias/backups".into()))));
    assert!(s3.object_lock.is_some_and(|lock| !lock.compliance && lock.retain.as_secs() == 30 * 86400));
    assert_eq!(s3.patience.retry_for.as_secs(), 600);
    let DestinationConfig::Drive(drive) = &config.destinations["drive"] else { panic!("no Drive") };
    assert!(drive.trash);
    assert_eq!(drive.credentials, Some(SecretRef::Credential("drive.json".into())));
    let DestinationConfig::Rclone(rclone) = &config.destinations["onedrive"] else { panic!("no rclone") };
    assert_eq!(rclone.remote, "onedrive:Backups");

    let told = problem(
        "[destination.a]\ntype = \"s3\"\nbucket = \"x\"\nregoin = \"r\"\naccess_key_id = { env = \"A\" }\npart_size = \"1MiB\"\n\
         endpoint = \"http://s3.example.com\"\n[destination.b]\ntype = \"gdrive\"\nchunk_size = \"100KiB\"\n\
         [destination.c]\ntype = \"rclone\"\nremote = \":sftp,pass=x:\"\n[destination.d]\ntype = \"s4\"\n",
    );
    for expected in [
        "cannot be a bucket's name",
        "unknown key \"regoin\" in [destination.a]; did you mean \"region\"?",
        "belong together",
        "S3 takes parts of 5MiB to 5GiB",
        "plain HTTP",
        "[destination.b] lacks \"folder_id\"",
        "multiples of 256KiB",
        "NAME:FOLDER",
        "no destination has type \"s4\"",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_without_its_text() {
    let told = problem(&with_line("database_url = \"postgres://me:hunter2@h/d"));
    assert!(told.contains("line 8, column"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_bare_connection_string_is_warned_about() {
    let config = read(&with_line("database_url = \"postgres://me:hunter2@h/d\"")).unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[cfg(unix)]
#[test]
fn a_bare_connection_string_in_a_readable_file_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pgkeep.toml");
    std::fs::write(&path, with_line("database_url = \"postgres://me:hunter2@h/d\"")).unwrap();
    let outcome = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::read(&path)
    };
    assert_eq!(outcome(0o600).unwrap().path.as_deref(), Some(path.as_path()));
    for mode in [0o644, 0o640, 0o604] {
        let error = outcome(mode).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    std::fs::write(&path, with_line("database_url = { env = \"X\" }")).unwrap();
    assert!(Config::read(&path).is_ok(), "without a secret in it anybody may read the file");
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(lines in prop::collection::vec("[a-z_]{0,12} ?= ?(\"[a-z0-9 *:@/]{0,12}\"|[0-9.-]{1,6}|\\{[a-z =\"]{0,20}\\}|\\[[a-z\", ]{0,10}\\])|\\[{1,2}[a-z.\"]{0,20}\\]{1,2}|\\PC{0,30}", 0..12)) {
        let _ = read(&lines.join("\n"));
    }

    #[test]
    fn a_mistyped_key_is_always_reported(key in "[a-z]{1,20}_x") {
        let told = problem(&with_line(&format!("{key} = 1")));
        prop_assert!(told.contains("line 8, column 1: unknown key"), "{}", told);
    }
}
