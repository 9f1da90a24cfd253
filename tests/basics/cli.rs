//! The command line from outside: what it refuses, in which words, with which exit code. No PostgreSQL is needed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// pgkeep in a private folder, with nothing of this computer's environment.
struct Sandbox {
    home: TempDir,
}

struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn config(self, text: &str) -> Self {
        std::fs::write(self.path().join("pgkeep.toml"), text).unwrap();
        self
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgkeep"));
        command.args(line.split_whitespace()).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("PGKEEP_STATE_DIR", self.path().join("state")).stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Answer {
        Answer::of(self.command(line).output().unwrap())
    }

    fn run_with(&self, line: &str, variable: &str, value: &str) -> Answer {
        Answer::of(self.command(line).env(variable, value).output().unwrap())
    }
}

impl Answer {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {:?}", self.stdout))
    }

    #[track_caller]
    fn refuses(&self, message: &str, hint: &str) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(self.stderr.contains(message), "{}", self.stderr);
        let last = self.stderr.lines().last().unwrap();
        assert!(last.starts_with("hint: ") && last.contains(hint), "{}", self.stderr);
        assert_eq!(self.stdout, "");
    }
}

const TWO_JOBS: &str = r#"
[destination.office]
type = "folder"
path = "office"

[job.shop]
database_url = { env = "SHOP_URL" }
destinations = ["office"]

[job.crm]
database_url = { env = "CRM_URL" }
destinations = ["office"]
"#;

#[test]
fn version_and_help_are_answers() {
    let sandbox = Sandbox::new();
    let version = sandbox.run("--version");
    assert_eq!((version.code, version.stdout), (Some(0), format!("pgkeep {}\n", env!("CARGO_PKG_VERSION"))));
    let help = sandbox.run("--help");
    assert_eq!(help.code, Some(0));
    for word in [
        "backup",
        "restore",
        "drill",
        "run",
        "status",
        "doctor",
        "auth",
        "demo",
        "report",
        "completions",
        "Exit codes",
        "DATABASE_URL",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    for later in ["prune", "__guard"] {
        assert!(!help.stdout.contains(later), "{later}: {}", help.stdout);
    }
    assert!(sandbox.run("backup now --help").stdout.contains("better set DATABASE_URL"));
}

#[test]
fn help_never_tells_the_database_url() {
    let answer = Sandbox::new().run_with("backup now --help", "DATABASE_URL", "postgres://ana:hunter2@h/d");
    assert!(!answer.stdout.contains("hunter2"));
}

#[test]
fn a_command_of_a_later_version_does_not_pretend() {
    for line in ["prune", "backup restore"] {
        let answer = Sandbox::new().run(line);
        assert_eq!(answer.code, Some(2), "{line}");
        assert!(answer.stderr.contains("unrecognized subcommand"), "{}", answer.stderr);
    }
}

#[test]
fn a_backup_without_a_database_says_how_to_name_one() {
    let sandbox = Sandbox::new();
    sandbox.run("backup now --to ./backups").refuses("which database is meant", "DATABASE_URL=postgres://");
    let empty = sandbox.run_with("backup now --to ./backups", "DATABASE_URL", "");
    empty.refuses("which database is meant", "DATABASE_URL=postgres://");
    assert!(!sandbox.path().join("backups").exists(), "nothing was begun");
}

#[test]
fn a_backup_without_a_destination_gives_an_example() {
    let sandbox = Sandbox::new();
    for variable in ["DATABASE_URL", "PGDATABASE"] {
        let answer = sandbox.run_with("backup now", variable, "shop");
        answer.refuses("where to store the backup", "pgkeep backup now --to ./backups");
    }
}

#[test]
fn a_url_that_cannot_be_read_is_refused_without_its_password() {
    let answer = Sandbox::new().run_with("backup now --to ./b", "DATABASE_URL", "mysql://ana:hunter2@h/d");
    assert_eq!(answer.code, Some(2), "{}", answer.stderr);
    assert!(answer.stderr.contains("DATABASE_URL") && !answer.stderr.contains("hunter2"), "{}", answer.stderr);
}

#[test]
fn a_url_where_something_else_belongs_is_not_repeated() {
    let sandbox = Sandbox::new();
    for line in [
        "backup now postgres://ana:hunter2@h/d --to ./b",
        "backup show postgres://ana:hunter2@h/d --at ./b",
        "backup list postgres://ana:hunter2@h/d --at ./b",
        "drill postgres://ana:hunter2@h/d --at ./b",
        "drill --at ./b --scratch mysql://ana:hunter2@h/d",
        "restore latest --into mysql://ana:hunter2@h/d --at postgres://ana:hunter2@h/d",
        "postgres://ana:hunter2@h/d",
        "--database-url=postgres://ana:hunter2@h/d",
    ] {
        let answer = sandbox.run(&format!("{line} --json"));
        assert_eq!(answer.code, Some(2), "{line}: {}", answer.stderr);
        assert!(!answer.stderr.contains("hunter2") && !answer.stdout.contains("hunter2"), "{line}: {}", answer.stderr);
    }
}

#[test]
fn options_that_make_no_sense_are_refused_with_a_hint() {
    let sandbox = Sandbox::new();
    let with_url = |line: &str| sandbox.run_with(line, "DATABASE_URL", "postgres://h/d");
    with_url("backup now --to ./b --compression lzma").refuses("\"lzma\" is no compression", "gzip");
    with_url("backup now --to ./b --compression gzip:13").refuses("no level 13", "1 to 12");
    with_url("backup now --to ./b --keep soon").refuses("--keep \"soon\" is no duration", "90d");
    with_url("backup now --to ./b --keep 0s").refuses("keeps nothing", "90d");
    with_url("drill --at ./b --scratch here").refuses("--scratch is neither", "ephemeral");
    with_url("backup now --to s4://bucket").refuses("no scheme of a destination", "s3://");
}

#[test]
fn looking_without_a_place_says_how_to_name_one() {
    let sandbox = Sandbox::new();
    for line in ["backup list", "backup show latest", "backup verify --all", "drill", "restore latest --into x"] {
        sandbox.run(line).refuses("where the backups are", "--at ./backups");
    }
}

#[test]
fn an_unknown_job_or_destination_names_those_there_are() {
    let sandbox = Sandbox::new().config(TWO_JOBS);
    sandbox.run("backup now shpo").refuses("no job is named \"shpo\"", "did you mean shop?");
    sandbox.run("backup now billing").refuses("no job is named \"billing\"", "crm, shop");
    let answer = sandbox.run("backup list --at offcie");
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("no destination is named \"offcie\""), "{}", answer.stderr);
    assert!(answer.stderr.contains("office"), "{}", answer.stderr);
}

#[test]
fn all_problems_of_the_configuration_come_at_once() {
    let sandbox = Sandbox::new().config("timezone = \"Bogota\"\n[job.shop]\ndestinatons = [\"office\"]\n");
    let answer = sandbox.run("backup list");
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("problems in ") && answer.stderr.contains("pgkeep.toml"), "{}", answer.stderr);
    for part in ["line 1, column ", "line 3, column 1", "did you mean \"destinations\"?", "\nhint: "] {
        assert!(answer.stderr.contains(part), "{part}: {}", answer.stderr);
    }
    let error = &sandbox.run("backup list --json").json()["error"];
    assert_eq!(error["kind"], "config");
    assert!(error["message"].as_str().unwrap().contains("line 3"));
}

#[test]
fn an_error_is_one_json_document_on_stdout_and_told_on_stderr() {
    let sandbox = Sandbox::new();
    for line in ["backup list --json", "--json backup now --to ./b"] {
        let answer = sandbox.run(line);
        let error = &answer.json()["error"];
        assert_eq!(error["kind"], "usage");
        assert!(error["message"].is_string() && error["hint"].is_string(), "{error}");
        assert!(answer.stderr.starts_with("error: ") && answer.stderr.contains("\nhint: "), "{}", answer.stderr);
    }
    let answer = sandbox.run("backup verify --json");
    assert_eq!(answer.code, Some(2));
    assert_eq!(answer.json()["error"]["kind"], "usage", "also where clap cannot read the command line");
}

#[test]
fn one_job_that_cannot_begin_keeps_no_other_from_its_turn() {
    let answer = Sandbox::new().config(TWO_JOBS).run("backup now --json");
    let backups = answer.json()["backups"].clone();
    let jobs: Vec<_> = backups.as_array().unwrap().iter().map(|one| one["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["crm", "shop"]);
    assert!(backups[0]["status"] == "failed" && backups[0]["error"].as_str().unwrap().contains("CRM_URL"));
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
}

#[test]
fn an_empty_folder_holds_no_backups_and_proves_nothing() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("backups")).unwrap();
    let list = sandbox.run("backup list --at ./backups");
    assert_eq!((list.code, list.stdout.as_str()), (Some(0), "no backups\n"), "{}", list.stderr);
    assert_eq!(sandbox.run("backup list --at ./backups --json").json(), serde_json::json!({ "backups": [] }));
    for line in ["backup verify --all", "drill", "backup show latest", "restore latest --into x"] {
        let answer = sandbox.run(&format!("{line} --at ./backups --json"));
        assert_eq!(answer.code, Some(1), "{line}: {}", answer.stderr);
        assert_eq!(answer.json()["error"]["kind"], "not_found", "{line}");
    }
}

#[test]
fn a_damaged_manifest_is_listed_as_a_problem_and_verified_as_damaged() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("backups/shop/shop/20261122T020000Z-7f3a");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), "{\"format\": 1, ").unwrap();
    let list = sandbox.run("backup list --at ./backups --json");
    assert_eq!(list.code, Some(0));
    assert_eq!(list.json()["problems"][0]["folder"], "shop/shop/20261122T020000Z-7f3a");
    assert_eq!(list.json()["problems"][0]["error"]["kind"], "damaged");
    assert!(list.stderr.starts_with("warning: shop/shop/20261122T020000Z-7f3a at ./backups: "), "{}", list.stderr);
    for which in ["--all", "20261122"] {
        let answer = sandbox.run(&format!("backup verify {which} --at ./backups --json"));
        assert_eq!(answer.code, Some(4), "{}", answer.stderr);
        let one = &answer.json()["backups"][0];
        assert!(one["result"] == "damaged" && one["job"] == "shop" && one["destination"] == "./backups", "{one}");
    }
}

#[test]
fn completions_are_printed_even_beside_a_bad_configuration() {
    let sandbox = Sandbox::new().config("nonsense");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let answer = sandbox.run(&format!("completions {shell}"));
        assert_eq!(answer.code, Some(0));
        assert!(answer.stdout.contains("pgkeep"));
    }
    assert_eq!(sandbox.run("completions dos").code, Some(2));
}

#[test]
fn a_reader_that_has_gone_away_is_a_quiet_end() {
    for line in ["completions bash", "--help"] {
        let mut child = Sandbox::new().command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once_whatever_is_being_waited_for() {
    use nix::sys::signal::{Signal, kill};
    use std::io::{BufRead, BufReader};
    // The command that fetches a secret hangs: it says that it runs, which is when signals are listened to.
    let config = "[destination.office]\ntype = \"folder\"\npath = \"office\"\n[job.shop]\ndestinations = [\"office\"]\n\
                  database_url = { command = [\"/bin/sh\", \"-c\", \"echo ready >&2; exec /bin/sleep 5\"] }\n";
    let sandbox = Sandbox::new().config(config);
    let mut child = sandbox.command("backup now").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(stderr.next().unwrap().unwrap(), "ready");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert!(stderr.next().unwrap().unwrap().starts_with("interrupted: stopping"));
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
