//! The shape of the code: imports run one way, from the command line down to the leaves, and what draws on a terminal or
//! reads a command line stays with the command line (`src/lib.rs` and `docs/architecture.md` say why).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms; each may use those before it, and none after it.
const ORDER: [&str; 21] = [
    // Leaves: what everybody may use, and which know nothing of backups.
    "error",
    "secret",
    "clock",
    "cancel",
    "id",
    "event",
    "lock",
    "packed",
    "config",
    "process",
    // What a dump says, without any connection.
    "script",
    // Bytes and where they are.
    "destination",
    "archive",
    "postgres",
    // The proof reads the properties of databases as `postgres` tells them.
    "proof",
    // Receipts hold what a proof found.
    "catalogue",
    // Which backups are kept, decided without any destination.
    "retention",
    "restore",
    "ops",
    "schedule",
    "cli",
];

/// Every source file with the room it belongs to. The root and `main.rs` only join the rooms.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                let room = first.trim_end_matches(".rs").to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                if !["lib", "main"].contains(&room.as_str()) {
                    found.push((room, inside.to_owned(), text));
                }
            }
        }
    }
    assert!(found.len() > 50, "only {} source files", found.len());
    found
}

/// The text without comments: prose may name any room.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms that `code` names, in `use crate::…` and in paths; also those of a group, `use crate::{a, b::C}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let Some(group) = rest.strip_prefix('{') else {
            named.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let end = group.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0
        });
        let mut depth = 0;
        let parts = group[..end.expect("a group that ends")].split(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        });
        named.extend(parts.map(|part| word(part.trim())).filter(|name| !name.is_empty()));
    }
    named
}

#[test]
fn imports_run_one_way() {
    let place = |room: &str| ORDER.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        let Some(own) = place(&room) else {
            wrong.push(format!("{}: the room {room} has no place in ORDER", file.display()));
            continue;
        };
        for other in rooms_named(&code(&text)) {
            match place(&other) {
                Some(theirs) if theirs <= own => {}
                Some(_) => wrong.push(format!("{}: {room} uses {other}, which stands above it", file.display())),
                None => wrong.push(format!("{}: {room} uses crate::{other}, which is no room", file.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_exists() {
    let rooms: BTreeSet<String> = sources().into_iter().map(|(room, ..)| room).collect();
    let known: BTreeSet<String> = ORDER.iter().map(|&room| room.to_owned()).collect();
    assert_eq!(rooms, known);
}

#[test]
fn the_terminal_belongs_to_the_command_line() {
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (room, _, text) in sources() {
        for package in ["clap", "clap_complete", "indicatif", "comfy_table"] {
            let code = code(&text);
            if code.contains(&format!("{package}::")) || code.contains(&format!("use {package}")) {
                users.entry(package).or_default().insert(room.clone());
            }
        }
    }
    let only: BTreeSet<String> = ["cli".to_owned()].into();
    assert_eq!(users.len(), 4, "{users:?}");
    assert!(users.values().all(|rooms| *rooms == only), "{users:?}");
}

#[test]
fn the_check_itself_finds_what_it_looks_for() {
    let code = "use crate::error::Error;\nuse crate::{ops, cli::{a, b}, id::X};\nlet x = crate::lock::acquire();";
    let expected: BTreeSet<String> = ["error", "ops", "cli", "id", "lock"].map(str::to_owned).into();
    assert_eq!(rooms_named(code), expected);
}
