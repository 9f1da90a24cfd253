//! Folders: private ones, what a backup left in one, and folders of fake PostgreSQL programs.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A private folder, removed when dropped.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("pgkeep-test-").tempdir().unwrap()
}

/// The path of `tests/sql/NAME`.
pub fn sql(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql").join(name)
}

/// Every finished backup below `root`: the folders that hold a manifest, in the order of their paths.
pub fn backup_dirs(root: impl AsRef<Path>) -> Vec<PathBuf> {
    let all = everything_below(root);
    let manifests = all.iter().filter(|path| path.file_name().is_some_and(|name| name == "manifest.json"));
    manifests.filter_map(|path| path.parent()).map(Path::to_path_buf).collect()
}

/// Every file and folder below `root`, hidden ones too, sorted. A `root` that does not exist holds nothing.
pub fn everything_below(root: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.as_ref().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => panic!("{}: {error}", folder.display()),
        };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// A folder with all programs of `real`, some of them replaced by shell scripts: `fakes` are names and scripts. In a
/// script `$REAL` is the program that it replaces; it runs under `/bin/sh`.
pub fn fake_bin_dir<'a>(real: &Path, fakes: impl IntoIterator<Item = (&'a str, &'a str)>) -> TempDir {
    let folder = temp_dir();
    // Scratch servers, which run as another user when the tests run as root, start from here too.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for program in std::fs::read_dir(real).unwrap() {
        let program = program.unwrap();
        symlink(program.path(), folder.path().join(program.file_name())).unwrap();
    }
    for (name, script) in fakes {
        let file = folder.path().join(name);
        assert!(std::fs::remove_file(&file).is_ok(), "there is no {name} in {}", real.display());
        std::fs::write(&file, format!("#!/bin/sh\nREAL='{}'\n{script}\n", real.join(name).display())).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    }
    folder
}
