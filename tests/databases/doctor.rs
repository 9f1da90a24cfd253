//! `pgkeep doctor` names whatever would keep backups and drills from working, with its fix, goes on after each of it, and
//! leaves nothing behind.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Configured, Disk, Pgkeep, Postgres, Session, pgkeep, temp_dir};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use tempfile::TempDir;

const MAJOR: u32 = 17;

/// A private folder on an ordinary disk: the system's folder for temporary files may be in memory, which is a finding.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("pgkeep-doctor-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A database with some rows on the shared server.
fn shop() -> (&'static Postgres, String) {
    let server = Postgres::shared(MAJOR);
    let db = server.create_db("shop");
    server.psql(&db, "CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS note FROM generate_series(1, 1000) i");
    (server, db)
}

/// `pgkeep doctor` of one database and one folder.
fn doctor(server: &Postgres, url: &str, folder: &Path) -> Pgkeep {
    pgkeep().server(server).env("DATABASE_URL", url).args(["doctor", "--to"]).arg(folder)
}

/// The findings that need to be mended, each `what: found | fix`.
fn ailing(report: &Value) -> Vec<String> {
    let one = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} | {}", text("what"), text("found"), text("fix"))
    };
    let worse = |finding: &&Value| ["warning", "bad"].contains(&finding["verdict"].as_str().unwrap());
    findings(report).into_iter().filter(worse).map(one).collect()
}

fn findings(report: &Value) -> Vec<&Value> {
    let places = report["destinations"].as_array().unwrap().iter().chain(report["databases"].as_array().unwrap());
    let of_places = places.flat_map(|one| one["findings"].as_array().unwrap());
    of_places.chain(report["configuration"].as_array().unwrap()).collect()
}

/// The finding about `what`, whose sentence holds `found`.
#[track_caller]
fn finding<'r>(report: &'r Value, what: &str, found: &str) -> &'r Value {
    let fits = |finding: &&Value| finding["what"] == what && finding["found"].as_str().unwrap().contains(found);
    findings(report).into_iter().find(fits).unwrap_or_else(|| panic!("no {what:?} with {found:?}: {report:#}"))
}

/// The report of a run that must end with 1 and name just this, with its fix; everything else is well.
#[track_caller]
fn names(doctor: Pgkeep, what: &str, found: &str, fix: &str) -> Value {
    let (report, code) = doctor.json_with_code();
    assert_eq!((code, &report["ok"]), (1, &Value::Bool(false)), "{report:#}");
    let told = finding(&report, what, found);
    assert!(told["fix"].as_str().unwrap_or_default().contains(fix), "{told:#}");
    let others: Vec<String> =
        ailing(&report).into_iter().filter(|one| !one.starts_with(&format!("{what}: "))).collect();
    assert!(others.is_empty(), "{others:#?}");
    report
}

#[track_caller]
fn is_empty(folder: &Path) {
    let left = crate::support::everything_below(folder);
    assert!(left.is_empty(), "left: {left:#?}");
}

#[test]
fn all_is_well() {
    let ((server, db), folder) = (shop(), folder());
    let temp = temp_dir();
    std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let run = || doctor(server, &server.url(&db), folder.path()).env("TMPDIR", temp.path());
    let (report, code) = run().json_with_code();
    assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report:#}");
    let [destination] = report["destinations"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!(destination["name"], folder.path().to_str().unwrap());
    assert_eq!(destination["type"], "folder");
    let [database] = report["databases"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
    assert_eq!((database["job"].as_str(), database["database"].as_str()), (Some(db.as_str()), Some(db.as_str())));
    for finding in findings(&report) {
        let mut keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["fix", "found", "verdict", "what"], "{finding:#}");
        assert!(["good", "note"].contains(&finding["verdict"].as_str().unwrap()), "{finding:#}");
    }
    for what in ["writable", "claims", "write-once", "listing", "reads", "uploads", "deletes", "clock", "free space"] {
        assert_eq!(finding(&report, what, "")["verdict"], "good", "{what}");
    }
    finding(&report, "connection", &db);
    finding(&report, "server", "PostgreSQL 17");
    finding(&report, "client programs", server.bin_dir().to_str().unwrap());
    finding(&report, "TLS", "not needed on this computer");
    finding(&report, "drills", "has every extension");
    finding(&report, "size", "by rule of thumb");
    finding(&report, "copies", "one place only");
    let told = run().ok();
    assert!(told.stdout.ends_with("all is well\n") && told.stderr.is_empty(), "{told}");
    is_empty(folder.path());
    is_empty(temp.path());
}

#[test]
fn an_older_backup_tells_how_large_the_next_will_be() {
    let ((server, db), folder) = (shop(), folder());
    let url = server.url(&db);
    pgkeep().server(server).args(["backup", "now", "--database-url", &url, "--to"]).arg(folder.path()).ok();
    let before = crate::support::everything_below(folder.path());
    let report = doctor(server, &url, folder.path()).json();
    finding(&report, "size", "as the newest one is compressed");
    assert_eq!(crate::support::everything_below(folder.path()), before);
}

#[test]
fn a_database_that_cannot_be_reached_keeps_nothing_else_from_being_looked_at() {
    let folder = folder();
    let nowhere = temp_dir();
    let url = format!("postgres://postgres:geheim@/shop?host={}", nowhere.path().display());
    let run = || doctor(Postgres::shared(MAJOR), &url, folder.path());
    let report = names(run(), "connection", "Is the server running", "check that the server runs");
    assert_eq!(finding(&report, "deletes", "")["verdict"], "good");
    let told = run().fails(1);
    assert!(told.stdout.contains("BAD") && told.stdout.contains("fix: check that the server runs"), "{told}");
    assert!(told.stdout.ends_with("1 thing is bad: see the fixes above\n"), "{told}");
    assert!(!told.stdout.contains("geheim") && !report.to_string().contains("geheim"), "{told}");
    is_empty(folder.path());
}

#[test]
fn a_wrong_password_is_named_and_not_told() {
    let (server, folder) = (Postgres::start(MAJOR), folder());
    server.psql("postgres", "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right'");
    let hba = server.socket_dir().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all app scram-sha-256\n{rules}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    crate::support::wait_until("the new rules", || {
        !server.client("psql", "postgres").env("PGUSER", "app").args(["-wXc", ""]).output().unwrap().status.success()
    });
    let url = server.url_as("app", "postgres").replace("app@", "app:kanarienvogel@");
    let run = || doctor(&server, &url, folder.path());
    let report = names(run(), "connection", "password authentication failed", "check user and password");
    let told = run().fails(1);
    for text in [&report.to_string(), &told.stdout, &told.stderr] {
        assert!(!text.contains("kanarienvogel"), "{text}");
    }
    // The right one is not told either.
    let right = doctor(&server, &url.replace("kanarienvogel", "right"), folder.path()).ok();
    assert!(!right.stdout.contains("right@") && !right.stdout.contains(":right"), "{right}");
}

#[test]
fn unreadable_tables_and_hidden_rows_are_named_with_the_statements_to_run() {
    let (server, folder) = (Postgres::start(MAJOR), folder());
    let db = server.create_db("shop");
    server.psql(
        &db,
        "CREATE ROLE clerk LOGIN; CREATE TABLE \"Pay roll\" (a int); CREATE TABLE orders (a int); \
         GRANT SELECT ON orders TO clerk; ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY mine ON orders TO clerk USING (a < 10); CREATE EXTENSION pgkeep_config; \
         GRANT SELECT ON pgkeep_settings TO clerk",
    );
    let run = || doctor(&server, &server.url_as("clerk", &db), folder.path());
    let (report, code) = run().json_with_code();
    assert_eq!(code, 1, "{report:#}");
    let tables = finding(&report, "tables", "public.\"Pay roll\"");
    assert_eq!(tables["verdict"], "bad");
    assert!(tables["fix"].as_str().unwrap().starts_with("run: GRANT pg_read_all_data TO \"clerk\";"), "{tables:#}");
    assert!(tables["found"].as_str().unwrap().contains("pgkeep_rates"), "its rows are dumped: {tables:#}");
    let hidden = finding(&report, "row-level security", "public.orders");
    assert_eq!(hidden["verdict"], "bad");
    assert!(hidden["fix"].as_str().unwrap().contains("ALTER ROLE \"clerk\" BYPASSRLS;"), "{hidden:#}");
    assert_eq!(finding(&report, "role", "clerk")["verdict"], "note");
    assert_eq!(ailing(&report).len(), 2, "{report:#}");
    server.psql(&db, "GRANT pg_read_all_data TO \"clerk\"; ALTER ROLE \"clerk\" BYPASSRLS;");
    run().ok();
    // What the doctor says of the role, a backup confirms.
    let now = pgkeep().server(&server).args(["backup", "now", "--database-url", &server.url_as("clerk", &db), "--to"]);
    now.arg(folder.path()).ok();
}

#[test]
fn tables_of_extensions_that_are_not_dumped_need_not_be_readable() {
    let (server, folder) = (Postgres::start(MAJOR), folder());
    let db = server.create_db("postal");
    server.psql(&db, "CREATE ROLE clerk LOGIN; CREATE EXTENSION pgkeep_config; CREATE TABLE private (a int);");
    // A table of the extension's that it does not ask to be dumped.
    server.psql(
        &db,
        "ALTER EXTENSION pgkeep_config ADD TABLE private; GRANT SELECT ON pgkeep_settings, pgkeep_rates, \
                      pgkeep_rates_id_seq TO clerk",
    );
    let url = server.url_as("clerk", &db);
    doctor(&server, &url, folder.path()).ok();
    pgkeep().server(&server).args(["backup", "now", "--database-url", &url, "--to"]).arg(folder.path()).ok();
}

#[test]
fn a_lock_that_is_held_is_noted_and_not_waited_for() {
    let ((server, db), folder) = (shop(), folder());
    let blocker = Session::hold(server, &db, "LOCK TABLE orders");
    let (report, code) = doctor(server, &server.url(&db), folder.path()).json_with_code();
    assert_eq!(code, 0, "{report:#}");
    let told = finding(&report, "locks", &format!("public.orders is locked by pid {}", blocker.pid));
    assert_eq!(told["verdict"], "note");
}

#[test]
fn programs_older_than_the_server_are_named_with_the_package_to_install() {
    let (server, folder) = (Postgres::shared(18), folder());
    let old = crate::support::bin_dir("16");
    let url = server.url("postgres");
    let run = || doctor(server, &url, folder.path()).bin_dir(&old);
    let (report, code) = run().json_with_code();
    assert_eq!(code, 1, "{report:#}");
    let told = finding(&report, "client programs", "needs pg_dump 18 or newer");
    assert_eq!(told["verdict"], "bad");
    assert!(told["found"].as_str().unwrap().contains(old.to_str().unwrap()), "{told:#}");
    assert!(told["fix"].as_str().unwrap().contains("18"), "{told:#}");
    // Drills need the server's own version, too; the tables could be asked all the same.
    assert_eq!(finding(&report, "drills", "PostgreSQL 18")["verdict"], "warning");
    finding(&report, "tables", "may read all");
}

#[test]
fn programs_from_before_restrict_are_noted() {
    let ((server, folder), old) = ((Postgres::shared(16), folder()), crate::support::bin_dir("16.2"));
    let url = server.url("postgres");
    let (report, code) = doctor(server, &url, folder.path()).bin_dir(&old).json_with_code();
    assert_eq!(code, 0, "{report:#}");
    finding(&report, "client programs", "before August 2025");
}

#[test]
fn no_programs_at_all_are_named() {
    let ((server, db), folder, none) = (shop(), folder(), temp_dir());
    let run = doctor(server, &server.url(&db), folder.path()).bin_dir(none.path());
    names(run, "client programs", "pg_dump and psql were not found", "install");
}

#[test]
fn an_extension_that_drills_would_lack_is_named() {
    // The server that comes with the old clients has no such extension.
    let (server, folder) = (Postgres::shared(16), folder());
    let db = server.create_db("with_config");
    server.psql(&db, "CREATE EXTENSION pgkeep_config");
    let run = doctor(server, &server.url(&db), folder.path()).bin_dir(&crate::support::bin_dir("16.2"));
    names(run, "drills", "lacks extensions: pgkeep_config", "install them there");
}

#[test]
fn a_scratch_server_that_cannot_serve_is_named() {
    let (server, folder, target) = (Postgres::shared(MAJOR), folder(), Postgres::start(16));
    let db = server.create_db("scratched");
    target.psql("postgres", "CREATE ROLE humble LOGIN");
    let config = |scratch: &str| {
        Configured::new(&format!(
            "[destination.office]\ntype = 'folder'\npath = '{}'\n[job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\n\
             destinations = ['office']\n[job.shop.drill]\nscratch = {{ url = {{ env = '{scratch}' }} }}\n",
            folder.path().display()
        ))
    };
    let configured = [config("SCRATCH"), config("NOT_SET")];
    let run =
        |config: &Configured, url: &str| config.pgkeep(["doctor"]).env("SHOP_URL", server.url(&db)).env("SCRATCH", url);
    let [set, not_set] = &configured;
    let newer = server.url("postgres");
    run(set, &newer).ok();
    names(run(set, &target.url("postgres")), "drills", "older than the database's 17", "PostgreSQL 17");
    names(run(set, &target.url_as("humble", "postgres")), "drills", "may create no databases", "CREATEDB");
    names(run(not_set, ""), "drills", "NOT_SET is not set", "");
}

/// 127.1 is 127.0.0.1 to the system, and not to pgkeep: a remote host.
#[test]
fn a_remote_server_without_tls_is_named() {
    let ((server, db), folder) = (shop(), folder());
    let url = format!("postgres://postgres@127.1:{}/{db}", crate::support::tcp_port_of(server));
    let run = |url: &str| doctor(server, url, folder.path());
    names(run(&format!("{url}?sslmode=prefer")), "TLS", "in the clear", "sslmode=require");
    // Nobody said anything about TLS: pgkeep asks for it, and the server has none.
    names(run(&url), "connection", "does not support SSL", "sslmode=prefer");
}

#[test]
fn a_read_only_folder_is_named_and_the_database_still_looked_at() {
    let (server, db) = shop();
    let disk = Disk::new("size=8m,mode=0700");
    disk.make_read_only();
    let (report, code) = doctor(server, &server.url(&db), disk.path()).json_with_code();
    assert_eq!(code, 1, "{report:#}");
    let told = finding(&report, "writable", "Read-only file system");
    assert_eq!(told["verdict"], "bad");
    assert!(told["fix"].as_str().unwrap().contains("let the user that runs pgkeep write there"), "{told:#}");
    finding(&report, "listing", "works");
    finding(&report, "disk", "in memory");
    finding(&report, "tables", "may read all");
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let (server, db) = shop();
    let folder = folder();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o555)).unwrap();
    let mut run = doctor(server, &server.url(&db), &locked);
    if Uid::effective().is_root() {
        // Root may write everywhere.
        chown(run.home(), Some(65534), Some(65534)).unwrap();
        run = run.through(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    let (report, code) = run.json_with_code();
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(finding(&report, "writable", "Permission denied")["verdict"], "bad");
}

#[test]
fn a_full_disk_is_named() {
    let (server, db) = shop();
    let disk = Disk::new("size=1m");
    std::fs::write(disk.path().join("mine"), vec![7; 2 << 20]).unwrap_err();
    let (report, code) = doctor(server, &server.url(&db), disk.path()).json_with_code();
    assert_eq!(code, 1, "{report:#}");
    let told = finding(&report, "writable", "No space left on device");
    assert!(told["fix"].as_str().unwrap().contains("free some space"), "{told:#}");
    assert_eq!(finding(&report, "free space", "only 0 B free")["verdict"], "warning");
    assert_eq!(finding(&report, "room for the next backups", "0 B are free")["verdict"], "warning");
    assert_eq!(crate::support::everything_below(disk.path()), [disk.path().join("mine")]);
}

#[test]
fn a_disk_that_becomes_full_in_the_middle_is_named_and_left_clean() {
    let (server, db) = shop();
    // Room for the small write, not for the upload.
    let disk = Disk::new("size=512k");
    let (report, code) = doctor(server, &server.url(&db), disk.path()).json_with_code();
    assert_eq!(code, 1, "{report:#}");
    assert_eq!(finding(&report, "uploads", "No space left on device")["verdict"], "bad");
    assert_eq!(finding(&report, "reads", "whole and in part")["verdict"], "good");
    assert_eq!(finding(&report, "deletes", "gone again")["verdict"], "good");
    is_empty(disk.path());
}

#[test]
fn a_folder_that_everybody_may_change_is_a_warning() {
    let ((server, db), folder) = (shop(), folder());
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let run = doctor(server, &server.url(&db), folder.path());
    names(run, "permissions", "every user of this computer", &format!("chmod 700 {}", folder.path().display()));
}

#[test]
fn a_folder_that_is_gone_is_named() {
    let ((server, db), folder) = (shop(), folder());
    let gone = folder.path().join("unmounted/backups");
    names(doctor(server, &server.url(&db), &gone), "writable", "cannot be created", "mount its disk, or create it");
    is_empty(folder.path());
}

/// Two jobs, two destinations of which one is good, and a job whose variable is not set.
#[test]
fn all_jobs_and_destinations_of_the_configuration_are_looked_at() {
    let (server, db) = shop();
    let other = server.create_db("crm");
    let folder = folder();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let configured = Configured::new(&format!(
        "[destination.office]\ntype = 'folder'\npath = '{}'\n[destination.cellar]\ntype = 'folder'\npath = '{}'\n\
         [destination.attic]\ntype = 'folder'\npath = '{}'\n\
         [job.shop]\ndatabase_url = {{ env = 'SHOP_URL' }}\ndestinations = ['office', 'cellar']\nrequire = 'any'\n\
         databases = ['{db}', '{other}', 'not_there']\n\
         [job.broken]\ndatabase_url = {{ env = 'NOT_SET' }}\ndestinations = ['office']\n",
        place("office"),
        place("no/cellar"),
        place("attic"),
    ));
    let run = |args: &[&str]| {
        let doctor = configured.pgkeep(["doctor"]).args(args).server(server);
        doctor.env("SHOP_URL", server.url("postgres"))
    };
    let (report, code) = run(&[]).json_with_code();
    assert_eq!(code, 1, "{report:#}");
    let names = |report: &Value, list: &str, key: &str| {
        let all = report[list].as_array().unwrap().iter();
        all.map(|one| one[key].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&report, "destinations", "name"), ["attic", "cellar", "office"]);
    assert_eq!(names(&report, "databases", "job"), ["broken", "shop", "shop", "shop"]);
    assert_eq!(names(&report, "databases", "database"), ["", &db, &other, "not_there"]);
    assert_eq!(finding(&report, "connection", "NOT_SET is not set")["verdict"], "bad");
    assert_eq!(finding(&report, "connection", "\"not_there\" does not exist")["verdict"], "bad");
    assert_eq!(finding(&report, "writable", "cannot be created")["verdict"], "bad");
    finding(&report, "destinations", "no job stores anything in attic");
    finding(&report, "copies", "job shop: all 2 destinations are folders on one disk");
    assert_eq!(ailing(&report).len(), 3, "{:#?}", ailing(&report));
    // One job: its own destinations alone.
    let report = run(&["shop"]).json();
    assert_eq!(names(&report, "destinations", "name"), ["office", "cellar"]);
    let report = run(&["shop", "--at", "attic"]).json();
    assert_eq!(names(&report, "destinations", "name"), ["attic"]);
}

#[test]
fn a_password_in_the_configuration_is_a_warning_and_not_told() {
    let (server, folder) = (Postgres::shared(MAJOR), folder());
    let url = server.url("postgres").replace("postgres@", "postgres:kanarienvogel@");
    let configured = Configured::new(&format!(
        "[destination.office]\ntype = 'folder'\npath = '{}'\n[job.shop]\ndatabase_url = '{url}'\n\
         destinations = ['office']\n",
        folder.path().display(),
    ));
    let report = names(configured.pgkeep(["doctor"]).server(server), "secrets", "keeps it out", "");
    assert!(!report.to_string().contains("kanarienvogel"), "{report:#}");
}

#[test]
fn destinations_alone_and_databases_alone_can_be_looked_at() {
    let ((server, db), folder) = (shop(), folder());
    let report = pgkeep().args(["doctor", "--at"]).arg(folder.path()).json();
    assert_eq!((&report["ok"], report["databases"].as_array().unwrap().len()), (&Value::Bool(true), 0), "{report:#}");
    let report = pgkeep().server(server).args(["doctor", "--database-url", &server.url(&db)]).json();
    assert_eq!(
        (&report["ok"], report["destinations"].as_array().unwrap().len()),
        (&Value::Bool(true), 0),
        "{report:#}"
    );
    let nothing = pgkeep().args(["doctor"]).fails(2);
    assert!(nothing.stderr.contains("hint: name a database and a folder"), "{nothing}");
}

#[test]
fn a_stop_leaves_nothing() {
    let (server, folder) = (Postgres::shared(MAJOR), folder());
    let db = server.create_db("stopped");
    // Its psql waits, so that the stop comes in the middle; the folder has been looked at by then or not.
    let waits = r#"case "$*" in --version) exec "$REAL" "$@" ;; esac; touch "$0.began"; exec sleep 600"#;
    let bin = crate::support::fake_bin_dir(server.bin_dir(), [("psql", waits)]);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let began = bin.path().join("psql.began");
        let mut running = doctor(server, &server.url(&db), folder.path()).bin_dir(bin.path()).spawn();
        crate::support::wait_until("psql", || began.exists());
        running.kill(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(code), "{outcome}");
        std::fs::remove_file(began).unwrap();
        is_empty(folder.path());
        crate::support::wait_until_gone(&db);
    }
}

#[test]
fn what_a_killed_doctor_left_the_next_one_removes() {
    let ((server, db), folder) = (shop(), folder());
    // As it is in the middle: a claimed folder with files in it, of yesterday.
    let left = folder.path().join("pgkeep-doctor/0a1b2c3d/20261122T020000Z-7f3a");
    std::fs::create_dir_all(&left).unwrap();
    let bystander = folder.path().join("pgkeep-doctor/notes.txt");
    std::fs::write(&bystander, "mine").unwrap();
    for name in ["database.sql", "probe_20261122_020000.sql.gz"] {
        let file = std::fs::File::create(left.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600)).unwrap();
    }
    let day_before = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    std::fs::File::open(&left).unwrap().set_modified(day_before).unwrap();
    doctor(server, &server.url(&db), folder.path()).ok();
    assert_eq!(crate::support::everything_below(folder.path()), [bystander.parent().unwrap().to_path_buf(), bystander]);
}
