//! One run at a time, and what is left of one that is killed.

use crate::support::{backup_dirs, processes_matching, wait_until};
use crate::wine::Wine;
use std::process::Stdio;

#[test]
fn a_second_run_is_refused_and_a_killed_one_leaves_nothing_listed() {
    let (wine, home) = (Wine::get(), r"C:\locked");
    wine.create_db("locked");
    // Held, so that pg_dump waits for it.
    let mut holder = wine.client("psql", "locked");
    let hold = "BEGIN; LOCK TABLE clientes; SELECT pg_sleep(600)";
    let mut holder = holder.args(["-Xq", "-c", hold]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let waiting = |what: &str| {
        wine.psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE datname = 'locked' AND {what}"))
    };
    wait_until("the lock", || waiting("wait_event = 'PgSleep'") == "1");

    let said = tempfile::NamedTempFile::new().unwrap();
    let mut first = wine.pgkeep(["backup", "now", "--to", home]);
    first.env("DATABASE_URL", wine.url("locked")).stdout(Stdio::null()).stderr(said.reopen().unwrap());
    let mut first = first.spawn().unwrap();
    let begun = crate::support::processes::wait_until_within(std::time::Duration::from_secs(120), || {
        waiting("wait_event_type = 'Lock'") == "1"
    });
    let said = || std::fs::read_to_string(said.path()).unwrap();
    assert!(begun, "pg_dump did not come to wait: {:?}\n{}", first.try_wait(), said());

    let second = wine.run("locked", ["backup", "now", "--to", home]).exits(6);
    assert!(second.stderr.contains("is locked by another run: backup, pid "), "{second:?}");

    // As the Task Manager does it.
    first.kill().unwrap();
    first.wait().unwrap();
    let dumping = || {
        let ours = format!("WINEPREFIX={}", wine.prefix().display());
        let found = processes_matching(&ours);
        found.iter().any(|process| {
            process.command_line.contains("pg_dump") && process.environment.iter().any(|line| line.contains("/locked"))
        })
    };
    wait_until("pg_dump to die with pgkeep", || !dumping());
    holder.kill().unwrap();
    holder.wait().unwrap();
    wine.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'locked'");

    assert!(backup_dirs(wine.path(home)).is_empty());
    let listed = wine.run("locked", ["backup", "list", "--at", home, "--json"]).exits(0).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["backups"].as_array().unwrap().len(), 0, "{listed}");

    // Its lock died with it, and what it had begun goes with the next run.
    wine.run("locked", ["backup", "now", "--to", home]).exits(0);
    assert_eq!(backup_dirs(wine.path(home)).len(), 1);
    let hidden = crate::support::everything_below(wine.path(home));
    let hidden: Vec<_> =
        hidden.iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
}
