//! Overlapping runs (fault 33), with real processes: one wins, the others name it, and its lock dies with it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use pgkeep::error::ErrorKind;
use pgkeep::lock::acquire;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
#[ignore = "a process that another test starts"]
fn child_that_locks() {
    let dir = std::env::var_os("PGKEEP_TEST_ROOT").expect("run by another test");
    match acquire(Path::new(&dir), "zenzspa", "backup") {
        Ok(lock) => {
            println!("said: won");
            std::io::stdout().flush().unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
            drop(lock);
        }
        Err(error) => println!("said: {:?} {error}", error.kind()),
    }
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lock::child_that_locks", "--ignored", "--nocapture"])
        .env("PGKEEP_TEST_ROOT", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(child: &mut Child) -> String {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let mut said =
        lines.map(|line| line.unwrap()).filter_map(|line| line.split_once("said: ").map(|(_, s)| s.to_owned()));
    said.next().unwrap()
}

#[test]
fn of_twenty_processes_one_wins_and_the_others_name_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut children: Vec<Child> = (0..20).map(|_| start(dir.path())).collect();
    let answers: Vec<(u32, String)> = children.iter_mut().map(|child| (child.id(), said(child))).collect();
    let winners: Vec<u32> = answers.iter().filter(|(_, said)| said == "won").map(|(pid, _)| *pid).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for (pid, said) in answers.iter().filter(|(pid, _)| *pid != winners[0]) {
        assert!(said.starts_with("Locked") && said.contains(&format!("pid {},", winners[0])), "{pid}: {said}");
    }
    for mut child in children {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn a_killed_runs_lock_dies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(dir.path());
    assert_eq!(said(&mut child), "won");
    let error = acquire(dir.path(), "zenzspa", "drill").unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Locked, 6));
    assert!(error.to_string().contains(&format!("pid {}", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    acquire(dir.path(), "zenzspa", "drill").unwrap();
}
