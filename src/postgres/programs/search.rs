//! Where PostgreSQL's programs may be.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The environment variable that works like `bin_dir`.
pub const BIN_DIR_VARIABLE: &str = "PGKEEP_BIN_DIR";

/// Folders of which there is one for each major version: where they are, how their names begin, what comes below.
const VERSIONED: [(&str, &str, &str); 12] = [
    ("/usr/lib/postgresql", "", "bin"),                          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                                   // RPMs of postgresql.org
    ("/usr/lib", "postgresql", "bin"),                           // SUSE
    ("/usr/libexec", "postgresql", ""),                          // Alpine
    ("/usr/lib64", "postgresql-", "bin"),                        // Gentoo
    ("/opt/homebrew/opt", "postgresql@", "bin"),                 // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),                    // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@", "bin"),    // Homebrew, Linux
    ("/opt/homebrew/opt", "libpq", "bin"),                       // Homebrew's clients alone
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
    ("/Library/PostgreSQL", "", "bin"),                          // EDB's installer for macOS
    ("/usr/local", "pgsql", "bin"),                              // built from source
];

/// The folders to look in, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    folders: Vec<PathBuf>,
    looked_in: Vec<String>,
}

impl Search {
    /// In `bin_dir` alone if it is given, else in `$PGKEEP_BIN_DIR` alone if that is set; else in the folders of the
    /// usual packages and at last in `PATH`.
    pub fn new(bin_dir: Option<&Path>) -> Self {
        let variable = || std::env::var_os(BIN_DIR_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(folder) = bin_dir.map(Path::to_owned).or_else(variable) {
            return Self::in_folders([folder]);
        }
        let windows = std::env::var_os("PROGRAMFILES").filter(|_| cfg!(windows)).map(PathBuf::from);
        let mut patterns: Vec<(PathBuf, &str, &str)> = Vec::new();
        match windows {
            Some(programs) => patterns.push((programs.join("PostgreSQL"), "", "bin")),
            None => patterns
                .extend(VERSIONED.iter().map(|(parent, prefix, below)| (PathBuf::from(parent), *prefix, *below))),
        }
        let mut search = Self::in_folders([]);
        for (parent, prefix, below) in &patterns {
            search.folders.extend(versioned(parent, prefix, below));
            search.looked_in.push(parent.join(format!("{prefix}*")).join(below).display().to_string());
        }
        search.add_path(&std::env::var_os("PATH").unwrap_or_default());
        search
    }

    /// In `folders` alone.
    pub fn in_folders(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        let folders: Vec<PathBuf> = folders.into_iter().collect();
        let looked_in = folders.iter().map(|folder| folder.display().to_string()).collect();
        Self { folders, looked_in }
    }

    pub(super) fn add_path(&mut self, path: &OsStr) {
        // An empty or relative element means the working directory: no place to run programs from.
        let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
        self.folders.extend(folders.filter(|folder| !is_debian_wrapper(&program(folder, "pg_dump"))));
        self.looked_in.push("PATH".to_owned());
    }

    /// The folders that there are, each once.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let mut seen = Vec::new();
        let mut folders = Vec::new();
        for folder in &self.folders {
            // "latest" of Postgres.app and /bin of merged systems are links to folders that are there already.
            let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            if !seen.contains(&real) {
                seen.push(real);
                folders.push(folder.as_path());
            }
        }
        folders
    }

    /// The folders in words, for messages.
    pub(super) fn looked_in(&self) -> String {
        self.looked_in.join(", ")
    }
}

fn versioned(parent: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| if below.is_empty() { entry.path() } else { entry.path().join(below) })
        .filter(|folder| folder.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The path of a program in a folder.
pub(super) fn program(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Whether `file` is the Perl script that Debian puts in place of every client program (`pg_wrapper`). It picks a version
/// by rules of its own; the programs it picks from are found without it.
fn is_debian_wrapper(file: &Path) -> bool {
    if file.canonicalize().is_ok_and(|real| real.file_name().is_some_and(|name| name == "pg_wrapper")) {
        return true;
    }
    let mut beginning = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(4096).read_to_end(&mut beginning));
    let text = String::from_utf8_lossy(&beginning);
    let first = text.lines().next().unwrap_or_default();
    read.is_ok() && first.starts_with("#!") && first.contains("perl") && text.contains("PgCommon")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versioned_folders_are_found_by_their_prefix() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pgsql-15/bin", "pgsql-17/bin", "pgsql-16", "other/bin"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let expected = [dir.path().join("pgsql-15/bin"), dir.path().join("pgsql-17/bin")];
        assert_eq!(versioned(dir.path(), "pgsql-", "bin"), expected);
        assert_eq!(versioned(&dir.path().join("none"), "", "bin"), Vec::<PathBuf>::new());
    }

    #[cfg(unix)]
    #[test]
    fn debians_wrapper_in_path_is_passed_over_and_other_scripts_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            folder
        };
        let (linked, copied, script) = (folder("linked"), folder("copied"), folder("script"));
        std::fs::write(dir.path().join("pg_wrapper"), "#!/usr/bin/perl -wT\n").unwrap();
        std::os::unix::fs::symlink("../pg_wrapper", linked.join("pg_dump")).unwrap();
        std::fs::write(copied.join("pg_dump"), "#!/usr/bin/perl -wT\nuse PgCommon;\n").unwrap();
        std::fs::write(script.join("pg_dump"), "#!/bin/sh\n# not PgCommon, not perl\n").unwrap();
        let mut search = Search::in_folders([]);
        search.add_path(&std::env::join_paths([&linked, &copied, &script, &PathBuf::from("relative")]).unwrap());
        assert_eq!(search.folders(), [script.as_path()]);
    }
}
