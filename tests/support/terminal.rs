//! A terminal with somebody at it: Python's pty module holds the other end and answers questions.

use super::postgres::cache;
use std::path::{Path, PathBuf};

const SCRIPT: &str = include_str!("terminal.py");

/// What goes before a program's name, for `Pgkeep::through`: it runs at a terminal, where each answer is typed once the
/// expected text has come. Both outputs come on stdout; a text that never comes is exit code 99.
pub fn answering<const N: usize>(steps: [(&str, &str); N]) -> Vec<String> {
    let steps = serde_json::to_string(&steps.to_vec()).unwrap();
    vec![python().display().to_string(), "-c".to_owned(), SCRIPT.to_owned(), steps]
}

fn python() -> PathBuf {
    let set = std::env::var_os("PGKEEP_TEST_PYTHON").map(PathBuf::from);
    let places =
        [cache(), Path::new("/var/cache/pgkeep-tests").to_owned()].map(|place| place.join("python/bin/python3"));
    let found = set.into_iter().chain(places).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no Python for the tests: run scripts/test.sh --setup, which installs it"))
}
