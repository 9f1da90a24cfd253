//! The documents against the program: both READMEs keep step, their commands exist, and the example configuration loads.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

fn pgkeep(args: &[&str], home: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgkeep"));
    command.args(args).current_dir(home).env_clear().env("HOME", home).stdin(Stdio::null());
    command.output().unwrap()
}

/// A document's headings, by their level, and its code blocks: the language and the lines.
#[derive(Default)]
struct Document {
    headings: Vec<usize>,
    blocks: Vec<(String, Vec<String>)>,
}

fn document(name: &str) -> Document {
    let mut document = Document::default();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in read(name).lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => document.blocks.extend(open.take()),
            (Some(language), None) => open = Some((language.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) if line.starts_with('#') => {
                document.headings.push(line.chars().take_while(|c| *c == '#').count());
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a code block is not closed");
    document
}

/// The line without its comment, which alone is translated.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices('#').map(|(at, _)| at).find(|at| *at == 0 || line[..*at].ends_with(' '));
    line[..comment.unwrap_or(line.len())].trim_end()
}

#[test]
fn the_readmes_keep_step() {
    let (english, spanish) = (document("README.md"), document("README.es.md"));
    assert_eq!(english.headings, spanish.headings);
    assert_eq!(english.blocks.len(), spanish.blocks.len());
    for ((language, lines), (other_language, other_lines)) in english.blocks.iter().zip(&spanish.blocks) {
        assert_eq!(language, other_language, "{lines:?}");
        let strip = |lines: &[String]| lines.iter().map(|line| without_comment(line).to_owned()).collect::<Vec<_>>();
        assert_eq!(strip(lines), strip(other_lines));
    }
}

/// The words of each `pgkeep …` in the code blocks that people type or schedule.
fn command_lines(name: &str) -> Vec<Vec<String>> {
    let typed = |language: &str| matches!(language, "sh" | "bat" | "crontab");
    let blocks = document(name).blocks;
    let lines = blocks.iter().filter(|(language, _)| typed(language)).flat_map(|(_, lines)| lines);
    let mut found = Vec::new();
    for line in lines {
        let mut words = without_comment(line).split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned());
        if words.any(|word| word == "pgkeep" || word == "pgkeep.exe") {
            let words: Vec<String> = words.take_while(|word| !word.starts_with(['>', '|'])).collect();
            found.push(words);
        }
    }
    found
}

#[test]
fn every_command_in_the_readme_exists() {
    let home = tempfile::tempdir().unwrap();
    let lines = command_lines("README.md");
    assert!(lines.len() > 15, "{lines:?}");
    for words in lines {
        // `/TN pgkeep` names a task, not a command.
        if words.first().is_some_and(|word| word.starts_with('/')) {
            assert!(words.iter().any(|word| word == "now"), "{words:?}");
            continue;
        }
        let commands: BTreeSet<&str> = [
            "backup", "now", "list", "show", "diff", "verify", "fetch", "copy", "prune", "pin", "unpin", "guard",
            "restore", "drill", "doctor", "auth", "gdrive", "adopt", "run", "status", "service", "install",
        ]
        .into();
        let mut path: Vec<&str> = Vec::new();
        for word in &words {
            if (path.is_empty() || ["backup"] == *path || ["auth"] == *path || ["service"] == *path)
                && commands.contains(word.as_str())
            {
                path.push(word);
            }
        }
        let help = pgkeep(&[path.as_slice(), &["--help"]].concat(), home.path());
        assert!(help.status.success() && !path.is_empty(), "{words:?}");
        let help = String::from_utf8(help.stdout).unwrap();
        for option in words.iter().filter(|word| word.starts_with("--")) {
            let there = help.split_whitespace().any(|word| word.trim_end_matches(',') == option);
            assert!(there, "`pgkeep {}` has no {option}: {words:?}", path.join(" "));
        }
    }
}

#[test]
fn the_links_of_the_documents_lead_somewhere() {
    for name in [
        "README.md",
        "README.es.md",
        "CONTRIBUTING.md",
        "docs/configuration.md",
        "docs/architecture.md",
        "docs/destinations.md",
        "docs/retention.md",
        "docs/faults.md",
        "docs/scheduling.md",
        "windows-task/README.md",
        "docs/adopting.md",
        "docs/restoring.md",
        "docs/codecs.md",
        "docs/scale.md",
        "docs/benchmarks.md",
    ] {
        let text = read(name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = root().join(name).parent().unwrap().join(target.split('#').next().unwrap());
            assert!(target.starts_with("https://") || path.exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn every_example_configuration_loads() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let mut loaded = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let example = entry.unwrap().path();
        if example.extension().is_some_and(|extension| extension == "toml") {
            let args = ["--config", example.to_str().unwrap(), "backup", "list", "--at", folder.to_str().unwrap()];
            let list = pgkeep(&args, home.path());
            assert_eq!(String::from_utf8_lossy(&list.stderr), "", "{}", example.display());
            assert_eq!(String::from_utf8_lossy(&list.stdout), "no backups\n");
            loaded += 1;
        }
    }
    assert!(loaded >= 4, "only {loaded} configurations in examples/");
}

#[test]
fn the_example_configuration_is_complete() {
    // Every key of the reference is in the example, if only as a comment.
    let example = read("examples/pgkeep.toml");
    let mut keys = 0;
    for line in read("docs/configuration.md").lines() {
        if let Some((key, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`'))
            && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            let there = |line: &str| {
                let mut words = line.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
                words.any(|word| word == key)
            };
            assert!(example.lines().any(there), "the example has no {key}");
            keys += 1;
        }
    }
    assert!(keys > 60, "only {keys} keys are described");
}
