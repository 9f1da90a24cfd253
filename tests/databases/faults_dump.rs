//! What must be survived while taking the dump (faults 1, 3, 4, 6 to 9), and before it (13, 18): each time nothing is
//! left, older backups stay, and one clear line says why.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Disk, Postgres, Scene, Session};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_wrong_password_leaves_nothing() {
    let server = Postgres::start(17);
    server.psql("postgres", "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right'");
    let scene = Scene::new(&server, "password");
    let hba = server.socket_dir().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all app scram-sha-256\n{rules}")).unwrap();
    server.psql("postgres", "SELECT pg_reload_conf()");
    let url = |password: &str| server.url_as("app", &scene.db).replace("app@", &format!("app:{password}@"));
    crate::support::wait_until("the new rules", || {
        !server.client("psql", &scene.db).env("PGUSER", "app").args(["-wXc", ""]).output().unwrap().status.success()
    });
    let outcome = scene.now_of(&url("wrong")).fails(1);
    outcome.explains(&["password authentication failed for user \"app\""], "check user and password");
    assert!(!outcome.stderr.contains("wrong"), "{outcome}");
    scene.nothing_is_left();
    scene.now_of(&url("right")).ok();
}

#[test]
fn a_wrong_host_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "host");
    let url = format!("postgres://postgres@no-such-host.invalid/{}", scene.db);
    let outcome = scene.now_of(&url).fails(1);
    outcome.explains(&["no-such-host.invalid", "could not translate host name"], "check the host name");
    scene.nothing_is_left();
}

#[test]
fn a_server_that_does_not_run_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "down");
    let url = format!("postgres://postgres@/{}?host={}", scene.db, scene.tmp().display());
    scene.now_of(&url).fails(1).explains(&["Is the server running"], "check that the server runs");
    scene.nothing_is_left();
}

#[test]
fn a_wrong_database_name_leaves_nothing() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "named");
    let url = server.url(&format!("{}_typo", scene.db));
    let outcome = scene.now_of(&url).fails(1);
    outcome.explains(&[&format!("database \"{}_typo\" does not exist", scene.db)], "check the database's name");
    scene.nothing_is_left();
}

/// Its pg_dump writes `\.` after the rows that came, and only then exits with 1.
#[test]
fn a_backend_killed_in_mid_copy_leaves_nothing() {
    let server = Postgres::shared(17);
    let scene = Scene::with_megabytes(server, "terminated", 40);
    let running = scene.now().spawn();
    let victim = format!("datname = '{}' AND query LIKE 'COPY public.orders%' AND state = 'active'", scene.db);
    server.psql(
        "postgres",
        &format!(
            "DO $$ BEGIN
                 FOR attempt IN 1 .. 4000 LOOP
                     PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE {victim};
                     IF FOUND THEN RETURN; END IF;
                     PERFORM pg_sleep(0.005), pg_stat_clear_snapshot();
                 END LOOP;
                 RAISE 'the COPY was never seen';
             END $$"
        ),
    );
    let outcome = running.wait();
    assert_eq!(outcome.code, Some(1), "{outcome}");
    // A backend that is ended while it sends cannot always say why: libpq then sees the connection close only.
    outcome.explains(&["pg_dump failed", "contents of table \"orders\" failed"], "the server broke off");
    scene.nothing_is_left();
}

#[test]
fn a_pg_dump_killed_at_any_instant_leaves_nothing() {
    let server = Postgres::shared(17);
    let scene = Scene::with_megabytes(server, "killed", 48);
    let stored = |path: &PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
    let data = |path: &PathBuf| path.to_string_lossy().contains(".sql.gz.partial-");
    let whole = crate::support::everything_below(scene.folder()).iter().map(stored).max().unwrap();
    for percent in [None, Some(0), Some(1), Some(10), Some(20), Some(30), Some(40)] {
        let mut running = scene.now().spawn();
        crate::support::wait_until("the instant", || {
            assert!(!running.has_ended(), "ended before it could be killed: {}", running.stderr());
            let partials = crate::support::everything_below(scene.folder()).into_iter().filter(data);
            let written = partials.map(|path| stored(&path)).max();
            percent.is_none_or(|percent| written.is_some_and(|bytes| bytes * 100 > whole * percent))
                && victim(&scene.db).is_some()
        });
        let Some(pid) = victim(&scene.db) else { panic!("pg_dump ended before {percent:?} %") };
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let outcome = running.wait();
        assert_eq!(outcome.code, Some(1), "{percent:?} %: {outcome}");
        outcome.explains(&["pg_dump failed", "killed by SIGKILL"], "memory ran out");
        scene.nothing_is_left();
    }
}

/// The pg_dump of a backup; pg_dumpall asks another one for its version.
fn victim(db: &str) -> Option<i32> {
    let dumps = |process: &crate::support::Process| {
        process.name == "pg_dump" && process.command_line.contains("--lock-wait-timeout")
    };
    crate::support::processes_matching(db).into_iter().find(dumps).map(|process| process.pid)
}

/// A pg_dump whose output goes through `filter`, and which always exits with 0.
fn with_filtered_dump(scene: &Scene, filter: &str) -> crate::support::Outcome {
    let script = format!("case \"$*\" in *--version*) exec \"$REAL\" \"$@\";; esac\n\"$REAL\" \"$@\" | {filter}");
    let bin = crate::support::fake_bin_dir(scene.server.bin_dir(), [("pg_dump", script.as_str())]);
    scene.now().bin_dir(bin.path()).fails(1)
}

#[test]
fn a_dump_without_its_closing_line_leaves_nothing_though_pg_dump_exited_with_0() {
    let scene = Scene::new(Postgres::shared(17), "closing");
    let outcome = with_filtered_dump(&scene, "sed '/^-- PostgreSQL database dump complete/d'");
    outcome.explains(&["before its closing line"], "nothing was stored");
    scene.nothing_is_left();
}

#[test]
fn a_dump_cut_in_mid_row_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "cut");
    with_filtered_dump(&scene, "head -c 20000").explains(&["before its closing line"], "nothing was stored");
    scene.nothing_is_left();
}

#[test]
fn an_empty_dump_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "empty");
    with_filtered_dump(&scene, "cat >/dev/null").explains(&["before its closing line"], "nothing was stored");
    scene.nothing_is_left();
}

#[test]
fn a_closing_line_inside_data_does_not_close_a_dump() {
    let rows = "CREATE TABLE orders (note text); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ select 1;\n--\n\
                -- PostgreSQL database dump complete\n--\n$$; INSERT INTO orders VALUES \
                ('--'), ('-- PostgreSQL database dump complete'), ('--')";
    let scene = Scene::with(Postgres::shared(17), "imitated", rows);
    let drop_the_last = "tac | awk '!done && /^-- PostgreSQL database dump complete/ { done = 1; next } 1' | tac";
    with_filtered_dump(&scene, drop_the_last).explains(&["before its closing line"], "nothing was stored");
    scene.nothing_is_left();
}

#[test]
fn garbage_after_the_closing_line_leaves_nothing() {
    let scene = Scene::new(Postgres::shared(17), "garbage");
    for garbage in ["DROP TABLE orders;", "\\! id", "COPY orders FROM stdin;", "$$"] {
        with_filtered_dump(&scene, &format!("{{ cat; echo '{garbage}'; }}"));
        scene.nothing_is_left();
    }
}

#[test]
fn a_locked_table_is_not_waited_for_for_ever_and_its_blocker_is_named() {
    let server = Postgres::shared(17);
    let scene = Scene::new(server, "locked");
    let config = scene.work().join("pgkeep.toml");
    let text = format!(
        "[destination.office]\ntype = \"folder\"\npath = \"{}\"\n[job.{}]\ndatabase_url = {{ env = \"SHOP_URL\" }}\n\
         destinations = [\"office\"]\nlock_wait_timeout = \"1s\"\n",
        scene.folder().display(),
        scene.db
    );
    std::fs::write(&config, text).unwrap();
    let blocker = Session::hold(server, &scene.db, "LOCK TABLE orders");
    let run = || scene.pgkeep().env("SHOP_URL", server.url(&scene.db)).arg("--config").arg(&config);
    let outcome = run().args(["backup", "now", &scene.db]).fails(1);
    outcome.explains(&["LOCK TABLE public.orders"], &format!("public.orders is locked by pid {}", blocker.pid));
    drop(blocker);
    scene.nothing_is_left();
}

#[test]
fn row_level_security_never_hides_rows_from_a_backup() {
    let server = Postgres::start(17);
    let scene = Scene::new(&server, "policy");
    server.psql(
        &scene.db,
        "CREATE ROLE clerk LOGIN; GRANT SELECT ON orders TO clerk; ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY mine ON orders TO clerk USING (id < 10)",
    );
    let outcome = scene.now_of(&server.url_as("clerk", &scene.db)).fails(1);
    outcome.explains(&["row-level security policy for table \"orders\""], "BYPASSRLS");
    scene.nothing_is_left();
}

#[test]
fn a_table_that_the_role_may_not_read_is_named_with_the_grant_to_run() {
    let server = Postgres::start(17);
    let scene = Scene::new(&server, "grant");
    server
        .psql(&scene.db, "CREATE ROLE clerk LOGIN; GRANT SELECT ON orders TO clerk; CREATE TABLE \"Pay roll\" (a int)");
    let outcome = scene.now_of(&server.url_as("clerk", &scene.db)).fails(1);
    outcome.explains(&["permission denied"], "GRANT SELECT ON public.\"Pay roll\" TO \"clerk\";");
    scene.nothing_is_left();
    server.psql(&scene.db, "GRANT SELECT ON public.\"Pay roll\" TO clerk;");
    scene.now_of(&server.url_as("clerk", &scene.db)).ok();
    scene.all_intact(2);
}

#[test]
fn timeouts_of_the_role_do_not_end_a_backup() {
    let server = Postgres::start(17);
    let scene = Scene::with_megabytes(&server, "impatient", 8);
    server.psql(
        "postgres",
        "CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET statement_timeout = '1ms'; ALTER ROLE hasty SET \
         idle_in_transaction_session_timeout = '1ms'; ALTER ROLE hasty SET default_transaction_read_only = on",
    );
    scene.now_of(&server.url_as("hasty", &scene.db)).ok();
    scene.all_intact(2);
}

#[test]
fn odd_names_stay_inside_the_folder() {
    let server = Postgres::shared(17);
    let long = "n".repeat(63 - 20);
    let hints = [
        "../../x",
        "/etc/x",
        "-Fc",
        "a=b",
        "o'neil \"x\"",
        "line\nfeed",
        "50%",
        "ñandú 💶",
        "con",
        "..",
        long.as_str(),
    ];
    for hint in hints {
        let scene = Scene::with(server, hint, "CREATE TABLE \"../../x\" AS SELECT 1 AS \"a b\"");
        let inside = [scene.folder(), scene.tmp(), scene.work().join("state")];
        for path in crate::support::everything_below(scene.work()) {
            assert!(inside.iter().any(|folder| path.starts_with(folder)), "{} is outside", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-%".contains(c);
            assert!(name.chars().all(plain) || !path.starts_with(scene.folder()), "{name:?}");
        }
        unpacks_as_written(&crate::support::backup_dirs(scene.folder())[0]);
        let list = scene.at(["backup", "list"]).json();
        assert_eq!(list["backups"][0]["database"], scene.db.as_str(), "{list}");
        scene.all_intact(1);
    }
}

/// Runs the command of RESTORE.txt that unpacks the archive, up to its psql.
fn unpacks_as_written(backup: &Path) {
    let text = std::fs::read_to_string(backup.join("RESTORE.txt")).unwrap();
    let line = text.lines().find(|line| line.contains("gunzip -c") && !line.contains("globals")).unwrap();
    let command = line.split('|').next().unwrap().trim();
    let output = Command::new("sh").args(["-c", command]).current_dir(backup).output().unwrap();
    assert!(output.stdout.starts_with(b"--\n-- PostgreSQL database dump"), "{command}: {output:?}");
}

/// A backup into `folder` fails before pg_dump begins, which a fake one would tell.
fn refused_before_dumping(scene: &Scene, folder: &Path, why: &str, hint: &str, wrapper: &[&str]) {
    let begun = scene.work().join("tmp/begun");
    let script = format!("case \"$*\" in *--version*) ;; *) touch '{}';; esac\nexec \"$REAL\" \"$@\"", begun.display());
    let bin = crate::support::fake_bin_dir(scene.server.bin_dir(), [("pg_dump", script.as_str())]);
    let pgkeep = scene.pgkeep().bin_dir(bin.path()).through(wrapper);
    if !wrapper.is_empty() {
        std::fs::set_permissions(scene.work(), PermissionsExt::from_mode(0o755)).unwrap();
        for own in [pgkeep.home(), &scene.tmp(), &scene.work().join("state"), &scene.work().join("state/locks")] {
            chown(own, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let url = scene.server.url(&scene.db);
    let outcome = pgkeep.args(["backup", "now", "--database-url", &url, "--to"]).arg(folder).fails(1);
    outcome.explains(&[why, folder.to_str().unwrap()], hint);
    assert!(!begun.exists(), "the dump was begun: {outcome}");
    scene.nothing_is_left();
}

/// The user that may do nothing.
const NOBODY: u32 = 65534;

#[test]
fn a_folder_that_is_gone_is_told_before_dumping() {
    let scene = Scene::new(Postgres::shared(17), "gone");
    let folder = scene.work().join("unmounted/backups");
    refused_before_dumping(&scene, &folder, "cannot be created", "mount its disk, or create it", &[]);
    assert!(!scene.work().join("unmounted").exists());
}

#[test]
fn a_file_in_place_of_the_folder_is_told_before_dumping() {
    let scene = Scene::new(Postgres::shared(17), "file");
    let file = scene.work().join("file");
    std::fs::write(&file, "mine").unwrap();
    refused_before_dumping(&scene, &file, "", "", &[]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
}

#[test]
fn a_read_only_folder_is_told_before_dumping() {
    let scene = Scene::new(Postgres::shared(17), "readonly");
    let disk = Disk::new("size=1m");
    disk.make_read_only();
    refused_before_dumping(&scene, disk.path(), "Read-only file system", "", &[]);
}

#[test]
fn a_folder_that_may_not_be_written_is_told_before_dumping() {
    let scene = Scene::new(Postgres::shared(17), "foreign");
    let folder = scene.work().join("foreign");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o555)).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    // Root may write everywhere.
    let wrapper: &[&str] = if Uid::effective().is_root() { &nobody } else { &[] };
    refused_before_dumping(&scene, &folder, "Permission denied", "", wrapper);
}
