//! Destinations as people write them: in the configuration, and after `--to` and `--at`.

use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// The types that the configuration may name, with whether this version has them.
pub(super) const TYPES: [(&str, bool); 4] = [("folder", true), ("s3", false), ("gdrive", false), ("rclone", false)];

/// A configured destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationConfig {
    /// A folder of this computer, or one that is mounted.
    Folder {
        /// The folder; absolute, unless the configuration did not come from a file.
        path: PathBuf,
    },
}

/// A destination that was named on the command line, found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRef {
    /// The configured name, or what was typed.
    pub name: String,
    /// What it is.
    pub config: DestinationConfig,
}

impl DestinationRef {
    /// Finds out what `text` means: a name of `config`, a folder, or a URL.
    ///
    /// A bare word that is neither a configured name nor a folder that exists is taken for a typing error wherever names
    /// are configured: a backup in a folder that nobody looks at would be worse than an error.
    pub fn parse(text: &str, config: &Config) -> Result<Self> {
        if let Some(found) = config.destinations.get(text) {
            return Ok(Self { name: text.to_owned(), config: found.clone() });
        }
        if text.is_empty() {
            return Err(
                Error::new(ErrorKind::Usage, "the destination is empty").hint("name a destination, or a folder")
            );
        }
        if let Some((scheme, _)) = text.split_once("://") {
            // Only the scheme is repeated: what follows may hold a key.
            return Err(match TYPES.iter().find(|(name, _)| *name == scheme) {
                Some((_, false)) => {
                    Error::new(ErrorKind::Usage, unavailable(scheme)).hint("use a folder, or a newer version")
                }
                _ => Error::new(ErrorKind::Usage, format!("{scheme:?} is no scheme of a destination"))
                    .hint("write a configured name or a folder"),
            });
        }
        let path = expand_home(text);
        let looks_like_a_path = text.contains(['/', '\\']) || text.starts_with(['.', '~']) || path.is_absolute();
        if !looks_like_a_path && !config.destinations.is_empty() && !path.is_dir() {
            let names: Vec<&str> = config.destinations.keys().map(String::as_str).collect();
            return Err(Error::new(ErrorKind::NotFound, format!("no destination is named {text:?}"))
                .hint(format!("configured are {}; for a folder of that name write ./{text}", names.join(", "))));
        }
        Ok(Self { name: text.to_owned(), config: DestinationConfig::Folder { path } })
    }
}

/// What is said about a type that this version does not have.
pub(super) fn unavailable(kind: &str) -> String {
    format!("type {kind:?} is not available in this version of pgkeep")
}

/// A path whose leading `~/` stands for the user's own folder: configuration files have no shell to expand it.
pub(super) fn expand_home(text: &str) -> PathBuf {
    let rest = text.strip_prefix("~/").or_else(|| if text == "~" { Some("") } else { None });
    match (rest, std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => Path::new(text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured() -> Config {
        let folder = DestinationConfig::Folder { path: "/backups".into() };
        Config { destinations: [("office".to_owned(), folder)].into(), ..Config::default() }
    }

    #[test]
    fn a_configured_name_comes_first() {
        let found = DestinationRef::parse("office", &configured()).unwrap();
        assert_eq!(found.config, DestinationConfig::Folder { path: "/backups".into() });
    }

    #[test]
    fn a_folder_needs_no_configuration() {
        for text in ["./backups", "/srv/backups", "backups", "../x"] {
            let found = DestinationRef::parse(text, &Config::default()).unwrap();
            assert_eq!(
                found,
                DestinationRef { name: text.into(), config: DestinationConfig::Folder { path: text.into() } }
            );
        }
    }

    #[test]
    fn a_mistyped_name_is_no_new_folder() {
        let error = DestinationRef::parse("offcie", &configured()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint_text().unwrap().contains("office"));
        assert!(DestinationRef::parse("./offcie", &configured()).is_ok());
    }

    #[test]
    fn schemes_of_later_versions_are_told_from_unknown_ones() {
        for scheme in ["s3", "gdrive", "rclone"] {
            let error = DestinationRef::parse(&format!("{scheme}://key:hunter2@x"), &configured()).unwrap_err();
            assert_eq!(error.to_string(), format!("type \"{scheme}\" is not available in this version of pgkeep"));
        }
        let error = DestinationRef::parse("ftp://me:hunter2@x/y", &configured()).unwrap_err();
        assert!(error.to_string().contains("ftp") && !error.to_string().contains("hunter2"));
        assert!(DestinationRef::parse("", &configured()).is_err());
    }
}
