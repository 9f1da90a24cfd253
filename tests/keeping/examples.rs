//! The files of `examples/` that other programs read: the crontab, the CronJob of Kubernetes and the Containerfile.

use crate::services::python;
use crate::support::{pgkeep, temp_dir};
use pgkeep::config::Schedule;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)).unwrap()
}

/// What cron would run: the schedule and the command of each line.
fn crontab_lines(text: &str) -> Vec<(Schedule, String)> {
    let is_variable = |line: &str| {
        line.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let jobs = lines.filter(|line| !is_variable(line));
    jobs.map(|line| {
        let fields: Vec<&str> = line.splitn(6, ' ').collect();
        let schedule = fields[..5].join(" ").parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        // cron ends the command at a bare percent sign and hands the rest to it as input.
        assert!(!fields[5].contains('%'), "{line}");
        (schedule, fields[5].to_owned())
    })
    .collect()
}

#[test]
fn the_crontab_takes_backups_drills_and_looks_after_them() {
    let lines = crontab_lines(&read("crontab"));
    assert_eq!(
        lines.iter().map(|(schedule, _)| schedule.as_str()).collect::<Vec<_>>(),
        ["0 2 * * *", "0 4 * * 0", "0 8 * * *"]
    );
    for ((_, command), words) in lines.iter().zip(["backup now", "drill", "status --check"]) {
        assert!(command.contains("/usr/local/bin/pgkeep ") && command.contains(words), "{command}");
    }
    assert!(read("crontab").contains("\nMAILTO="), "what fails must reach somebody");
}

/// The documents of a YAML file, as another parser reads them.
fn yaml(text: &str) -> Result<Vec<Value>, String> {
    let script = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.argv[1])), sys.stdout)";
    let output = Command::new(python()).args(["-c", script, text]).output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("ModuleNotFoundError"), "run scripts/test.sh --setup: {said}");
        Err(said)
    }
}

#[test]
fn the_cron_jobs_of_kubernetes_never_overlap_and_hold_no_secret() {
    assert!(yaml("a: [1\nb: 2\n").is_err(), "the parser finds mistakes");
    let documents = yaml(&read("kubernetes-cronjob.yaml")).unwrap();
    let of_kind = |kind: &str| documents.iter().filter(|document| document["kind"] == kind).collect::<Vec<_>>();
    let jobs = of_kind("CronJob");
    assert_eq!(jobs.len(), 2, "a backup and a drill");
    for job in jobs {
        assert_eq!(
            (&job["apiVersion"], &job["spec"]["concurrencyPolicy"]),
            (&Value::from("batch/v1"), &Value::from("Forbid"))
        );
        job["spec"]["schedule"].as_str().unwrap().parse::<Schedule>().unwrap();
        assert!(job["spec"]["timeZone"].is_string() && job["spec"]["startingDeadlineSeconds"].is_u64());
        let spec = &job["spec"]["jobTemplate"]["spec"];
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        // Another run that holds the lock (6) is no failure; wrong configuration (2) is not tried again.
        let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
        let code =
            |action: &str| rules.iter().find(|rule| rule["action"] == action).unwrap()["onExitCodes"]["values"].clone();
        assert_eq!((code("FailJob"), code("Ignore")), (serde_json::json!([2]), serde_json::json!([6])));
        let container = &pod["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let secret = &variable["valueFrom"]["secretKeyRef"];
            let named = secret["name"].is_string() && secret["key"].is_string();
            assert!(named || variable["value"].as_str().is_some_and(|value| value.starts_with('/')), "{variable}");
        }
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let args: Vec<&str> = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect();
        let command: Vec<&str> =
            args.iter().copied().take_while(|arg| !arg.starts_with("--") && *arg != "shop").collect();
        pgkeep().args(command).arg("--help").ok();
    }
    // The configuration in it is one.
    let map = of_kind("ConfigMap");
    let home = temp_dir();
    let path = home.path().join("pgkeep.toml");
    std::fs::write(&path, map[0]["data"]["pgkeep.toml"].as_str().unwrap()).unwrap();
    let list = pgkeep().arg("--config").arg(&path).args(["backup", "list", "--at"]).arg(home.path()).ok();
    assert_eq!((list.stdout.as_str(), list.stderr.as_str()), ("no backups\n", ""));
    assert!(of_kind("Secret").is_empty(), "a secret does not belong into a file of the repository");
}

/// The instructions of a Containerfile: lines that end in a backslash go on.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let words = joined.lines().map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line}")));
    words.map(|(name, rest)| (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))).collect()
}

#[test]
fn the_container_runs_as_a_user_and_says_whether_it_is_well() {
    let all = instructions(&read("Containerfile"));
    let known = ["FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "HEALTHCHECK", "ENTRYPOINT", "CMD", "ARG"];
    let stages: Vec<&str> = all
        .iter()
        .filter(|(name, _)| name == "FROM")
        .filter_map(|(_, rest)| rest.split_once(" AS "))
        .map(|(_, stage)| stage)
        .collect();
    for (name, rest) in &all {
        assert!(known.contains(&name.as_str()), "{name}");
        if let Some(stage) = rest.strip_prefix("--from=").and_then(|rest| rest.split(' ').next()) {
            assert!(stages.contains(&stage), "{rest}: there is no stage {stage}");
        }
        for word in rest
            .split(' ')
            .filter(|_| name == "COPY" && !rest.starts_with("--from"))
            .filter(|word| !word.starts_with('-'))
        {
            let there = word == "./" || Path::new(env!("CARGO_MANIFEST_DIR")).join(word).exists();
            assert!(there, "COPY {rest}: the repository has no {word}");
        }
    }
    let last = |wanted: &str| all.iter().rev().find(|(name, _)| name == wanted).map(|(_, rest)| rest.clone()).unwrap();
    assert!(last("HEALTHCHECK").ends_with("CMD [\"pgkeep\", \"status\", \"--check\"]"), "{}", last("HEALTHCHECK"));
    assert_eq!((last("ENTRYPOINT"), last("CMD")), ("[\"pgkeep\"]".to_owned(), "[\"run\"]".to_owned()));
    assert!(!["root", "0", "0:0"].contains(&last("USER").as_str()));
    let from = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let rest = &all[from..];
    assert!(rest.iter().any(|(name, rest)| name == "RUN" && rest.contains("postgresql")), "pg_dump is missing");
    // The compiler that is asked for can build pgkeep.
    let rust = all[0].1.strip_prefix("docker.io/library/rust:").unwrap().split('-').next().unwrap().to_owned();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(minor(&rust) >= minor(env!("CARGO_PKG_RUST_VERSION")), "{rust}");
}
