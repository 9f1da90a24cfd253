//! What Windows gets: the tasks against the Task Scheduler's schema, the batch file and the PowerShell script against other
//! people's parsers. Each checker must also find a mistake.

use crate::services::python;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("windows-task").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// Runs a checker of `tests/keeping/checkers` on `input`.
fn check(checker: &str, input: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keeping/checkers").join(checker);
    let mut command = Command::new(python());
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A checker that stops reading says why when it ends.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn is_fine(checker: &str, input: &str) -> bool {
    let output = check(checker, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // A checker that breaks off is no answer.
    assert!(!said.contains("Traceback"), "{checker}: run scripts/test.sh --setup: {said}");
    output.status.success() && said.is_empty()
}

#[test]
fn the_tasks_keep_to_the_schema() {
    for (name, schedule) in [("pgkeep-daily.xml", "<ScheduleByDay>"), ("pgkeep-weekly.xml", "<Sunday />")] {
        let task = read(name);
        assert!(is_fine("check_task.py", &task), "{name}: {:?}", check("check_task.py", &task));
        for part in [
            schedule,
            "T02:00:00</StartBoundary>",
            "<StartWhenAvailable>true<",
            "<LogonType>S4U<",
            "<MultipleInstancesPolicy>IgnoreNew<",
            "<DisallowStartIfOnBatteries>false<",
            "<ExecutionTimeLimit>PT24H<",
        ] {
            assert!(task.contains(part), "{name} lacks {part}");
        }
        // `schtasks` and `Register-ScheduledTask` hand on text, not bytes: it must not claim an encoding, nor need one.
        assert!(task.starts_with("<?xml version=\"1.0\"?>") && task.is_ascii(), "{name}");
    }
    // The first Sunday is one.
    let start = read("pgkeep-weekly.xml");
    let date = start.split_once("<StartBoundary>").unwrap().1.split_once('T').unwrap().0;
    let date: chrono::NaiveDate = date.parse().unwrap();
    assert_eq!(chrono::Datelike::weekday(&date), chrono::Weekday::Sun);
}

#[test]
fn a_task_that_breaks_a_rule_is_refused() {
    let task = read("pgkeep-weekly.xml");
    for (right, wrong) in [
        ("</Task>", ""),
        ("IgnoreNew", "IgnoreOld"),
        ("S4U", "S4u"),
        ("<StartWhenAvailable>true", "<StartWhenAvailable>yes"),
        ("<StartWhenAvailable>", "<StartWhenAvailible>"),
        ("PT24H", "24 hours"),
        ("<WeeksInterval>1", "<WeeksInterval>0"),
        ("<Sunday />", "<Sundae />"),
        ("Context=\"Author\"", "Context=\"Nobody\""),
        ("2026-01-04T02:00:00", "2026-01-04 02:00"),
        ("<Priority>7", "<Priority>70"),
        ("version=\"1.2\"", "version=\"12\""),
        ("/2004/02/mit/task", "/2005/02/mit/task"),
        ("<Command>%SystemRoot%\\System32\\cmd.exe</Command>", ""),
    ] {
        assert!(task.contains(right), "{right}");
        assert!(
            !is_fine("check_task.py", &task.replace(right, wrong)),
            "{wrong:?} in place of {right:?} was let through"
        );
    }
    // The order of a trigger's elements counts.
    let start = "      <StartBoundary>2026-01-04T02:00:00</StartBoundary>\n";
    assert!(task.contains(start));
    let moved =
        task.replace(start, "").replace("      </ScheduleByWeek>\n", &format!("      </ScheduleByWeek>\n{start}"));
    assert!(moved.contains(start) && !is_fine("check_task.py", &moved));
}

/// blinter's findings at `path`: the level and the code of each.
fn findings(path: &Path) -> Vec<(String, String)> {
    let mut command = Command::new(python());
    command.args(["-m", "blinter"]).arg(path).args(["--no-config", "--format", "json", "--fail-on", "none"]);
    let output = command.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("blinter: {error}: {output:?}: run scripts/test.sh --setup"));
    let text = |issue: &serde_json::Value, key: &str| issue[key].as_str().unwrap().to_owned();
    let issues = report["issues"].as_array().unwrap();
    issues.iter().map(|issue| (text(issue, "severity"), text(issue, "code"))).collect()
}

#[test]
fn the_batch_file_has_no_mistake() {
    let grave = |path: &Path| {
        let mut found = findings(path);
        // Style and speed are matters of taste. W028 would have it called .cmd, and people click on what they know.
        found.retain(|(level, code)| !matches!(level.as_str(), "Style" | "Performance") && code != "W028");
        found
    };
    let path = file("backup_database.bat");
    assert_eq!(grave(&path), []);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() == text.matches("\r\n").count(), "cmd wants CRLF at the end of every line");
    assert!(text.is_ascii(), "cmd reads the file in the code page of the computer");

    let dir = crate::support::temp_dir();
    for (right, wrong) in [("goto told\r\n", "goto lost\r\n"), ("exit /b %RESULT%", "del %1")] {
        let broken = dir.path().join("broken.bat");
        assert!(text.contains(right));
        std::fs::write(&broken, text.replace(right, wrong)).unwrap();
        assert_ne!(grave(&broken), [], "{wrong} was let through");
    }
}

#[test]
fn the_script_is_powershell() {
    let script = read("install-task.ps1");
    assert!(script.is_ascii(), "PowerShell 5 reads a file without a mark in the code page of the computer");
    assert!(is_fine("check_powershell.py", &script), "{:?}", check("check_powershell.py", &script));
    for (right, wrong) in [("\n}\n", "\n\n"), ("param(", "param((("), ("foreach ($path in", "foreach ($path of in")] {
        assert!(script.contains(right));
        assert!(!is_fine("check_powershell.py", &script.replacen(right, wrong, 1)), "{wrong:?} was let through");
    }
}

#[test]
fn no_task_holds_a_secret_and_both_ways_register_the_same() {
    let script = read("install-task.ps1");
    let line = "/d /s /c \"\"{0}\" --quiet --config \"{1}\" backup now >>\"{2}\" 2>&1\"";
    assert!(script.contains(line));
    let unescaped = read("pgkeep-daily.xml").replace("&gt;", ">").replace("&amp;", "&");
    let with_paths = line
        .replace("{0}", r"C:\Program Files\pgkeep\pgkeep.exe")
        .replace("{1}", r"C:\ProgramData\pgkeep\pgkeep.toml")
        .replace("{2}", r"C:\ProgramData\pgkeep\pgkeep.log");
    assert!(unescaped.contains(&format!("<Arguments>{with_paths}</Arguments>")));
    for name in ["pgkeep-daily.xml", "pgkeep-weekly.xml"] {
        assert!(!read(name).contains("://") || read(name).matches("://").count() == 1, "only the namespace is a URL");
    }
}
