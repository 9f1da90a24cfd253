//! `pgkeep guard`: a backup before a dangerous command, its exit code handed on, and the way back.

use crate::aged::House;
use crate::support::{Pgkeep, pgkeep, shell, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;

impl House {
    fn guard(&self, args: &[&str], script: &str) -> Pgkeep {
        self.pgkeep(["guard", "shop"]).args(args).args(["--", "/bin/sh", "-c", script])
    }
}

/// The lines of advice that are commands.
fn restore_lines(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(|line| line.strip_prefix("  pgkeep ")).map(|rest| format!("pgkeep {rest}")).collect()
}

#[test]
fn the_backup_is_pinned_and_labelled_and_the_command_has_its_own_output_and_code() {
    let house = House::new("");
    let done =
        house.guard(&["--label", "before 0042"], "echo migrated; echo careful >&2; echo $SHOP_URL >/dev/null").ok();
    assert_eq!(done.stdout, "migrated\n");
    assert!(
        done.stderr.contains("careful\n") && done.stderr.contains("shop") && !done.stderr.contains("pgkeep restore")
    );
    let list = house.pgkeep(["backup", "list"]).json();
    assert_eq!((&list["backups"][0]["label"], &list["backups"][0]["pinned"]), (&json!("before 0042"), &json!(true)));

    house.guard(&["--keep", "90d"], "true").ok();
    let list = house.pgkeep(["backup", "list"]).json();
    let kept = list["backups"].as_array().unwrap().iter().find(|one| one["keep_until"].is_string()).unwrap();
    assert_eq!((&kept["label"], &kept["pinned"]), (&json!("before sh"), &json!(false)));

    let (answer, code) = {
        let command = house.pgkeep(["--json", "guard", "shop", "--", "/bin/sh", "-c", "echo to stderr; exit 3"]).run();
        assert!(command.stderr.contains("to stderr\n"), "{command}");
        (serde_json::from_str::<serde_json::Value>(&command.stdout).unwrap(), command.code)
    };
    assert_eq!((code, &answer["exit_code"], &answer["backups"][0]["status"]), (Some(3), &json!(3), &json!("stored")));
    assert!(answer["restore"][0].as_str().unwrap().starts_with("pgkeep restore 20"), "{answer:#}");
}

#[test]
fn the_line_that_is_printed_restores_what_was_there_before() {
    let house = House::new("");
    let url = house.server.url(&house.db);
    let spoil = format!("{} -X -q -d '{url}' -c 'DELETE FROM orders'; exit 42", house.server.bin("psql").display());
    let odd = house.folder("it's a folder");
    std::fs::create_dir(&odd).unwrap();
    let by_job = house.guard(&[], &spoil).fails(42);
    house.server.psql(&house.db, "INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 100) i");
    let by_folder = house.guard(&["--to", odd.to_str().unwrap()], &spoil).fails(42);
    house.server.psql(&house.db, "INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 100) i");
    let by_url = pgkeep().server(house.server).args(["guard", "--database-url", &url, "--to"]).arg(&odd);
    let by_url = by_url.args(["--", "/bin/sh", "-c", &spoil]).fails(42);
    let pgkeep = std::path::Path::new(env!("CARGO_BIN_EXE_pgkeep")).parent().unwrap();
    for (failed, needs) in [(by_job, true), (by_folder, true), (by_url, false)] {
        assert!(failed.stderr.contains("the command ended with exit code 42"), "{failed}");
        let [line] = restore_lines(&failed.stderr).try_into().unwrap_or_else(|_| panic!("{failed}"));
        let into = line.split("--into ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let given = if needs { format!("export SHOP_URL='{url}'; ") } else { String::new() };
        let state = crate::support::temp_dir();
        let script = format!(
            "export PATH='{}':$PATH PGKEEP_BIN_DIR='{}' PGKEEP_STATE_DIR='{}' HOME='{}'; unset PGHOST PGPORT PGUSER; {given}{line}",
            pgkeep.display(),
            house.server.bin_dir().display(),
            state.path().display(),
            state.path().display()
        );
        shell(house.server, house.configured.path(), &script);
        assert_eq!(house.server.psql(&into, "SELECT count(*) FROM orders").trim(), "100", "{line}");
        house.server.psql("postgres", &format!("DROP DATABASE {into}"));
    }
    assert_eq!(
        house.server.psql(&house.db, "SELECT count(*) FROM orders").trim(),
        "0",
        "it stands beside the database"
    );
}

#[test]
fn a_password_is_not_printed() {
    let house = House::new("");
    let url = house.server.url(&house.db);
    let secret = if url.contains('?') { format!("{url}&password=hunter2") } else { format!("{url}?password=hunter2") };
    let to = house.folder("office");
    let failed = pgkeep().server(house.server).args(["guard", "--database-url", &secret, "--to"]).arg(&to);
    let failed = failed.args(["--", "/bin/sh", "-c", "exit 1"]).fails(1);
    assert!(!failed.stderr.contains("hunter2") && failed.stderr.contains("with DATABASE_URL set to"), "{failed}");
}

#[test]
fn without_a_backup_the_command_is_not_run() {
    let house = House::new("");
    let ran = house.folder("ran");
    let script = format!("touch '{}'", ran.display());
    let nowhere = house.guard(&[], &script).env("SHOP_URL", "postgres:///shop?host=/nowhere").fails(1);
    assert!(restore_lines(&nowhere.stderr).is_empty(), "{nowhere}");
    // Stored in one of two places is not what the job asks for.
    std::fs::write(house.folder("attic"), "a file").unwrap();
    let partly = house.guard(&[], &script).fails(3);
    assert!(partly.stderr.contains("the command was not run"), "{partly}");
    assert!(!ran.exists());
}

#[test]
fn old_backups_stay_until_the_danger_is_over() {
    let house = House::new("");
    house.fill([1, 2, 3, 40, 41]);
    house.guard(&[], "true").ok();
    assert_eq!(house.days("office"), [0, 0, 1, 2, 3, 40, 41]);
}

#[test]
fn a_command_that_cannot_be_started_or_is_killed_is_told_as_by_a_shell() {
    let house = House::new("");
    let missing = house.pgkeep(["guard", "shop", "--", "/nowhere/migrate"]).fails(127);
    assert!(missing.stderr.contains("/nowhere/migrate cannot be run"), "{missing}");
    let killed = house.guard(&[], "kill -KILL $$").fails(128 + 9);
    assert!(killed.stderr.contains("was ended by signal 9") && killed.stderr.contains("pgkeep restore"), "{killed}");
}

#[test]
fn signals_are_for_the_command_while_it_runs() {
    let house = House::new("");
    let go = house.folder("go");
    // SIGTERM is handed on, and the command decides what becomes of it.
    let wait = "trap 'echo heard; exit 7' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let mut running = house.guard(&[], wait).spawn();
    running.until_stderr("ready\n");
    running.kill(Signal::SIGTERM);
    let ended = running.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(7), "heard\n"), "{ended}");

    // Ctrl-C reaches the command from the terminal; pgkeep itself waits for it.
    let wait = format!("echo ready >&2; while [ ! -e '{}' ]; do sleep 0.05; done; exit 5", go.display());
    let mut running = house.guard(&[], &wait).spawn();
    running.until_stderr("ready\n");
    running.kill(Signal::SIGINT);
    running.kill(Signal::SIGINT);
    std::fs::write(&go, "").unwrap();
    wait_until("the end", || running.has_ended());
    let ended = running.wait();
    assert_eq!(ended.code, Some(5), "{ended}");
}
