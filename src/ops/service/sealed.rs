//! Files that pgkeep wrote and nobody has changed since: their first line holds the digest of all the others.

use crate::error::{Context, Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::io::{ErrorKind as Io, Write};
use std::path::Path;

const SEAL: &str = "# Written by `pgkeep service install`; a changed file is left alone. sha256 ";

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Absent,
    /// Exactly what would be written.
    Same,
    /// What some pgkeep wrote, and nobody has changed.
    Ours,
    /// Anything else.
    Foreign,
}

/// `text` below its seal.
pub(super) fn seal(text: &str) -> String {
    format!("{SEAL}{}\n{text}", digest(text))
}

/// What is at `path`, where `sealed` is to be written.
pub(super) fn look(path: &Path, sealed: &str) -> Result<Found> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == Io::NotFound => return Ok(Found::Absent),
        metadata => metadata.doing(|| format!("cannot look at {}", path.display()))?,
    };
    // A link is how an administrator masks a unit, or keeps it elsewhere.
    if !metadata.is_file() {
        return Ok(Found::Foreign);
    }
    let bytes = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(Found::Foreign) };
    if text == sealed {
        return Ok(Found::Same);
    }
    let is_whole = text.split_once('\n').is_some_and(|(first, rest)| first.strip_prefix(SEAL) == Some(&digest(rest)));
    Ok(if is_whole { Found::Ours } else { Found::Foreign })
}

/// Puts `text` at `path`, readable for everybody, in one step.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let doing = || format!("cannot write {}", path.display());
    let folder = path.parent().ok_or_else(|| Error::new(ErrorKind::Failed, doing()))?;
    let denied = |error: Error| match error.kind() {
        ErrorKind::PermissionDenied => error.hint("run it as root, or with --user for your own user alone"),
        _ => error,
    };
    std::fs::create_dir_all(folder).doing(doing).map_err(denied)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).doing(doing).map_err(denied)?;
    file.write_all(text.as_bytes()).doing(doing)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).doing(doing)?;
    file.as_file().sync_all().doing(doing)?;
    file.persist(path).map_err(|error| error.error).doing(doing)?;
    Ok(())
}

fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_ours_until_one_byte_of_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/pgkeep.service");
        let new = seal("[Unit]\nDescription=new\n");
        assert_eq!(look(&path, &new).unwrap(), Found::Absent);
        let old = seal("[Unit]\nDescription=old\n");
        write(&path, &old).unwrap();
        assert_eq!(look(&path, &old).unwrap(), Found::Same);
        assert_eq!(look(&path, &new).unwrap(), Found::Ours);
        for changed in
            [old.replace("old", "odd"), format!("{old}\n"), old.replacen("# Written", "#Written", 1), String::new()]
        {
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(look(&path, &new).unwrap(), Found::Foreign, "{changed}");
        }
        std::fs::write(&path, b"\xff\n").unwrap();
        assert_eq!(look(&path, &new).unwrap(), Found::Foreign);
    }

    #[test]
    fn a_masked_unit_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgkeep.service");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(look(&path, &seal("x")).unwrap(), Found::Foreign);
    }
}
