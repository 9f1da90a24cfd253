//! Whatever the installed rclone reaches.

use super::{Patience, patience};
use crate::config::SecretRef;
use crate::config::reader::{Problems, Section};
use crate::config::resolve::Reading;
use std::path::PathBuf;

/// A remote of rclone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcloneConfig {
    /// The remote and the folder in it, as rclone writes them: `onedrive:Backups`.
    pub remote: String,
    /// rclone's configuration file, where it is not at its usual place.
    pub config: Option<PathBuf>,
    /// The password of rclone's configuration file, where that is encrypted.
    pub config_password: Option<SecretRef>,
    /// The program, where it is not found on the `PATH`.
    pub program: Option<PathBuf>,
    /// Further options for rclone, such as `--bwlimit=2M`.
    pub options: Vec<String>,
    /// When it gives up.
    pub patience: Patience,
}

impl RcloneConfig {
    /// A remote with everything at its default.
    pub fn new(remote: impl Into<String>) -> Self {
        Self {
            remote: remote.into(),
            config: None,
            config_password: None,
            program: None,
            options: Vec::new(),
            patience: Patience::default(),
        }
    }

    /// What `rclone://REMOTE/PATH` means: rclone's `REMOTE:PATH`.
    pub(super) fn from_url(rest: &str) -> Result<Self, String> {
        let (remote, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self::new(self::remote(&format!("{remote}:{path}"))?))
    }
}

/// A name of a remote, its colon, and a path. Remotes that are described on the spot (`:sftp,host=...:`) are refused: they
/// may hold passwords, and what names a destination is shown everywhere.
fn remote(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_alphanumeric() || " _-.+@".contains(c);
    match text.split_once(':') {
        Some((name, path)) if !name.is_empty() && name.chars().all(legal) && !name.starts_with('-') => {
            if path.split('/').any(|segment| segment == "..") || path.chars().any(char::is_control) {
                return Err("the path must not hold \"..\" or control characters".to_owned());
            }
            Ok(format!("{name}:{}", path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)))
        }
        _ => Err("write it as rclone does, NAME:FOLDER, with a name that `rclone listremotes` shows".to_owned()),
    }
}

/// Reads the keys of `type = "rclone"`.
pub(in crate::config) fn read(
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
    problems: &mut Problems<'_>,
) -> RcloneConfig {
    section.require("remote", problems);
    let mut config = RcloneConfig::new(section.parsed("remote", problems, remote).unwrap_or_default());
    config.config = section.string("config", problems).map(|text| reading.origin.path(text));
    let password = section.get("config_password");
    config.config_password = password.and_then(|value| reading.secret("config_password", value, problems));
    config.program = section.string("program", problems).map(|text| reading.origin.path(text));
    for (option, at) in section.strings("options", problems).unwrap_or_default() {
        if !option.starts_with("--") {
            problems.add(&at, format!("{option:?} is no option of rclone: write \"--name\" or \"--name=value\""));
        }
        config.options.push(option);
    }
    config.patience = patience(section, problems);
    config
}
