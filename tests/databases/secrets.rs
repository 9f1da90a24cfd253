//! Secrets stay secret (fault 47), and what pgkeep writes stays private (48): a canary password is looked for in all that
//! pgkeep says, stores and passes on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Outcome, Pgkeep, Postgres, Scene};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// This test's password: alike in a URL and outside of one, nowhere by accident, and unlike that of the tests beside it.
fn canary() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local!(static CANARY: String = {
        format!("canary7Kq2Vx{:08x}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    });
    CANARY.with(String::clone)
}

/// Everything in `folder`, byte for byte, holds no canary.
fn not_below(folder: &Path) {
    let canary = canary();
    for path in crate::support::everything_below(folder).into_iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(&path).unwrap();
        let unpacked = match path.extension() {
            Some(extension) if extension == "gz" => {
                std::process::Command::new("gunzip").arg("-c").arg(&path).output().unwrap().stdout
            }
            _ => Vec::new(),
        };
        for bytes in [bytes, unpacked] {
            let found = String::from_utf8_lossy(&bytes).contains(&canary);
            assert!(!found, "the canary is in {}", path.display());
        }
    }
}

/// Runs pgkeep while every process of the machine is looked at: the canary is in no command line,
/// and in the environment of none but the libpq programs that need it.
fn watched(pgkeep: Pgkeep) -> Outcome {
    let canary = canary();
    let done = AtomicBool::new(false);
    let running = pgkeep.spawn();
    let me = running.pid();
    let outcome = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                for process in crate::support::processes_matching(&canary) {
                    assert!(!process.command_line.contains(&canary), "in a command line: {process:#?}");
                    // pg_dumpall asks for pg_dump's version through a shell.
                    let asks = process.name == "sh" && process.command_line.contains("pg_dump");
                    let of_libpq = asks || ["psql", "pg_dump", "pg_dumpall"].contains(&process.name.as_str());
                    // pgkeep itself, which was given it, or its child on the way to becoming one of them.
                    let held = process.name == "pgkeep" && (process.pid == me || process.parent == me);
                    assert!(of_libpq || held, "in the environment: {process:#?}");
                    seen += 1;
                }
            }
            seen
        });
        let outcome = running.wait();
        done.store(true, Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 0, "nothing was seen that holds the canary: {outcome}");
        outcome
    });
    silent(&outcome);
    outcome
}

#[track_caller]
fn silent(outcome: &Outcome) {
    let canary = canary();
    assert!(!outcome.stdout.contains(&canary) && !outcome.stderr.contains(&canary), "the canary is told: {outcome}");
}

/// A server where the role `app` needs the canary as its password.
fn server() -> Postgres {
    let canary = canary();
    let server = Postgres::start(17);
    server.psql("postgres", &format!("CREATE ROLE app LOGIN PASSWORD '{canary}'; GRANT pg_read_all_data TO app"));
    let hba = server.socket_dir().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all app scram-sha-256\n{rules}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    crate::support::wait_until("the new rules", || {
        !server.client("psql", "postgres").env("PGUSER", "app").args(["-wXc", ""]).output().unwrap().status.success()
    });
    server
}

fn url(scene: &Scene, password: &str) -> String {
    scene.server.url_as("app", &scene.db).replace("app@", &format!("app:{password}@"))
}

fn nowhere(scene: &Scene) {
    let canary = canary();
    crate::support::wait_until_gone(&canary);
    not_below(&scene.folder());
    not_below(&scene.tmp());
    not_below(&scene.work().join("state"));
}

/// Writes a configuration with this database_url; `mode` is that of the file.
fn config(scene: &Scene, database_url: &str, mode: u32) -> PathBuf {
    let path = scene.work().join("pgkeep.toml");
    let text = format!(
        "[destination.office]\ntype = \"folder\"\npath = \"{}\"\n[job.shop]\ndatabase_url = {database_url}\n\
         destinations = [\"office\"]\n",
        scene.folder().display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_password_is_nowhere_after_a_backup_whichever_way_it_came() {
    let canary = canary();
    let server = server();
    let scene = Scene::new(&server, "canary");
    let with_url = url(&scene, &canary);
    let file = scene.work().join("secret");
    std::fs::write(&file, &with_url).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let passfile = scene.work().join("pgpass");
    std::fs::write(&passfile, format!("*:*:*:app:{canary}\n")).unwrap();
    std::fs::set_permissions(&passfile, PermissionsExt::from_mode(0o600)).unwrap();
    let now = || scene.pgkeep().args(["--json", "backup", "now"]);
    let to_folder = |pgkeep: Pgkeep| pgkeep.arg("--to").arg(scene.folder());
    let shop = |database_url: String| now().arg("shop").arg("--config").arg(config(&scene, &database_url, 0o600));

    let mut runs = vec![
        to_folder(now()).env("DATABASE_URL", &with_url),
        to_folder(now()).env("DATABASE_URL", url(&scene, "").replace("app:@", "app@")).env("PGPASSWORD", &canary),
    ];
    for pgkeep in runs.drain(..) {
        let outcome = watched(pgkeep);
        assert_eq!(outcome.code, Some(0), "{outcome}");
    }
    for database_url in [
        "{ env = \"SHOP_URL\" }".to_owned(),
        format!("{{ file = \"{}\" }}", file.display()),
        format!("{{ command = [\"cat\", \"{}\"] }}", file.display()),
        format!("\"{with_url}\""),
    ] {
        let pgkeep = shop(database_url.clone());
        let pgkeep = if database_url.contains("env") { pgkeep.env("SHOP_URL", &with_url) } else { pgkeep };
        let outcome = watched(pgkeep);
        assert_eq!(outcome.code, Some(0), "{database_url}: {outcome}");
    }
    let by_passfile = to_folder(now()).env("DATABASE_URL", url(&scene, "").replace("app:@", "app@"));
    let outcome = by_passfile.env("PGPASSFILE", &passfile).ok();
    silent(&outcome);
    // Verbose answers about what is stored say nothing either.
    for args in [["backup", "list"], ["backup", "show"]] {
        let at = scene.pgkeep().args(args).args((args[1] == "show").then_some("shop/latest"));
        silent(&at.arg("--at").arg(scene.folder()).env("DATABASE_URL", &with_url).ok());
    }
    nowhere(&scene);
}

#[test]
fn a_password_is_in_no_error() {
    let canary = canary();
    let server = server();
    let scene = Scene::new(&server, "errors");
    let mut wrong = vec![
        // As the server's password, in every kind of connection string that cannot work.
        url(&scene, &canary).replace(&scene.db, "no_such_database"),
        format!("postgres://app:{canary}@no-such-host.invalid/x"),
        format!("postgres://app:{canary}@localhost:1/x"),
        format!("postgres://app:{canary}@localhost:port/x"),
        format!("postgres://app:{canary}@localhost/x?no_such_option=1"),
        format!("postgres://app:{canary}%zz@localhost/x"),
        format!("host=localhost password={canary} no_such_option=1"),
        format!("host=localhost password='{canary}"),
        format!("host=/nowhere user=app password={canary} dbname=x"),
        format!("host=/nowhere user=app sslpassword={canary} sslkey=/nowhere dbname=x"),
        format!("mysql://app:{canary}@localhost/x"),
    ];
    wrong.push(url(&scene, &format!("{canary}x")));
    for url in wrong {
        for format in ["", "--json"] {
            let format = (!format.is_empty()).then_some(format);
            let pgkeep = scene.pgkeep().args(format).args(["backup", "now", "--to"]).arg(scene.folder());
            let outcome = pgkeep.env("DATABASE_URL", &url).run();
            assert!(matches!(outcome.code, Some(1 | 2)), "{url}: {outcome}");
            silent(&outcome);
        }
    }
    nowhere(&scene);
    scene.nothing_is_left();
}

#[test]
fn a_program_that_tells_the_password_is_not_repeated() {
    let canary = canary();
    let server = server();
    let scene = Scene::new(&server, "chatty");
    let url = url(&scene, &canary);
    for program in ["pg_dump", "psql"] {
        let chatty = "case \"$*\" in *--version*) exec \"$REAL\" \"$@\";; esac\n\
                      echo \"$0: error: connection to postgres://app:$PGPASSWORD@db/x failed; $PGPASSWORD\" >&2\nexit 1";
        let bin = crate::support::fake_bin_dir(server.bin_dir(), [(program, chatty)]);
        for format in [None, Some("--json")] {
            let pgkeep = scene.pgkeep().bin_dir(bin.path()).args(format).args(["backup", "now", "--to"]);
            let outcome = pgkeep.arg(scene.folder()).env("DATABASE_URL", &url).fails(1);
            assert!(outcome.stderr.contains("connection to postgres://app:"), "{outcome}");
            silent(&outcome);
        }
    }
    nowhere(&scene);
    scene.nothing_is_left();
}

#[test]
fn the_key_password_is_gone_when_the_run_is() {
    let canary = canary();
    let scene = Scene::new(Postgres::shared(17), "sslpassword");
    let separator = if scene.server.url(&scene.db).contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}sslpassword={canary}", scene.server.url(&scene.db));
    let pgkeep = scene.pgkeep().args(["backup", "now", "--to"]).arg(scene.folder()).env("DATABASE_URL", url);
    let outcome = watched(pgkeep);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    nowhere(&scene);
    scene.all_intact(2);
}

#[test]
fn all_that_is_written_is_private_whatever_the_umask() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "umask");
    let folder = scene.work().join("open");
    let umask = ["sh", "-c", "umask 000; exec \"$@\"", "sh"];
    let url = server.url(&scene.db);
    let state = scene.work().join("new-state");
    let now = scene.pgkeep().through(umask).env("PGKEEP_STATE_DIR", &state);
    now.args(["backup", "now", "--database-url", &url, "--to"]).arg(&folder).ok();
    let verify = scene.pgkeep().through(umask).env("PGKEEP_STATE_DIR", &state);
    verify.args(["backup", "verify", "latest", "--at"]).arg(&folder).ok();
    let fetched = scene.work().join("fetched.sql.gz");
    let fetch = scene.pgkeep().through(umask).env("PGKEEP_STATE_DIR", &state);
    fetch.args(["backup", "fetch", "latest", "-o"]).arg(&fetched).arg("--at").arg(&folder).ok();
    let mut all = crate::support::everything_below(&folder);
    all.extend(crate::support::everything_below(&state));
    all.extend([folder, state, fetched]);
    assert!(all.len() > 10, "{all:?}");
    for path in all {
        let found = path.metadata().unwrap();
        let expected = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.permissions().mode() & 0o777, expected, "{}", path.display());
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused_or_warned_of() {
    let canary = canary();
    let server = server();
    let scene = Scene::new(&server, "readable");
    let file = scene.work().join("secret");
    std::fs::write(&file, url(&scene, &canary)).unwrap();
    let run = |database_url: &str, mode: u32| {
        let config = config(&scene, database_url, mode);
        scene.pgkeep().arg("--config").arg(config).args(["backup", "now"]).run()
    };
    for mode in [0o640, 0o604, 0o666] {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let outcome = run(&format!("{{ file = \"{}\" }}", file.display()), 0o644);
        assert_ne!(outcome.code, Some(0), "{outcome}");
        outcome.explains(&["is open to others"], &format!("chmod 600 {}", file.display()));
        silent(&outcome);
        let literal = run(&format!("\"{}\"", url(&scene, &canary)), mode);
        let warned = literal.stderr.contains("chmod 600") || literal.stderr.contains("warning: ");
        assert!(warned, "neither refused nor warned of: {literal}");
        silent(&literal);
    }
    nowhere(&scene);
}
