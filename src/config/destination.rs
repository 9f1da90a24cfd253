//! Destinations as people write them: in the configuration, and after `--to` and `--at`.

pub(super) mod gdrive;
pub(super) mod rclone;
pub(super) mod s3;

pub use gdrive::{CHUNK_UNIT, DRIVE_CREDENTIALS_VARIABLE, DriveConfig, drive_credentials_file};
pub use rclone::RcloneConfig;
pub use s3::{LARGEST_PART, S3Check, S3Checksums, S3Config, S3Encryption, S3Keys, S3Lock, SMALLEST_PART};

use crate::config::Config;
use crate::config::reader::{Problems, Section};
use crate::config::values::duration;
use crate::error::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The types that the configuration may name.
pub(super) const TYPES: [&str; 4] = ["folder", "s3", "gdrive", "rclone"];

/// A configured destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationConfig {
    /// A folder of this computer, or one that is mounted.
    Folder {
        /// The folder; absolute, unless the configuration did not come from a file.
        path: PathBuf,
    },
    /// A bucket of S3 or of what speaks like it.
    S3(Box<S3Config>),
    /// A folder of Google Drive.
    Drive(DriveConfig),
    /// A remote of rclone.
    Rclone(RcloneConfig),
}

/// How patient a destination is with its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long one piece of work (a request, a part of an upload) is tried again before it counts as failed.
    pub retry_for: Duration,
    /// How long a connection may be silent before it counts as broken.
    pub timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retry_for: Duration::from_secs(300), timeout: Duration::from_secs(60) }
    }
}

/// Reads the keys that every service has.
fn patience(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Patience {
    let default = Patience::default();
    Patience {
        retry_for: section.parsed("retry_for", problems, duration).unwrap_or(default.retry_for),
        timeout: section.parsed("timeout", problems, duration).unwrap_or(default.timeout),
    }
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
        if let Some((scheme, rest)) = text.split_once("://") {
            // Only the scheme is repeated: what follows may hold a key.
            let read = match scheme {
                "s3" => S3Config::from_url(rest).map(|s3| DestinationConfig::S3(Box::new(s3))),
                "gdrive" => DriveConfig::from_url(rest).map(DestinationConfig::Drive),
                "rclone" => RcloneConfig::from_url(rest).map(DestinationConfig::Rclone),
                _ => {
                    return Err(Error::new(ErrorKind::Usage, format!("{scheme:?} is no scheme of a destination"))
                        .hint("write a configured name, a folder, or s3://, gdrive:// or rclone://"));
                }
            };
            let place = rest.split('?').next().unwrap_or_default();
            if place.contains('@') && scheme == "s3" {
                return Err(Error::new(ErrorKind::Usage, "an s3:// URL holds no keys: everybody could read them")
                    .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a pgkeep.toml"));
            }
            let config = read.map_err(|why| Error::new(ErrorKind::Usage, format!("the {scheme}:// URL: {why}")))?;
            return Ok(Self { name: format!("{scheme}://{place}"), config });
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
    fn urls_name_services_and_hold_no_keys() {
        let parse = |text: &str| DestinationRef::parse(text, &configured());
        let found = parse("s3://shop-backups/a/b/?region=eu-west-1&endpoint=https%3A%2F%2Fs3.example.com").unwrap();
        assert_eq!(found.name, "s3://shop-backups/a/b/");
        let DestinationConfig::S3(s3) = found.config else { panic!("no S3") };
        assert_eq!((s3.bucket.as_str(), s3.prefix.as_str()), ("shop-backups", "a/b"));
        assert_eq!((s3.region.as_deref(), s3.endpoint.as_deref()), (Some("eu-west-1"), Some("https://s3.example.com")));
        assert!(s3.path_style);
        let DestinationConfig::Drive(drive) = parse("gdrive://1AbC_d-E").unwrap().config else { panic!("no Drive") };
        assert_eq!(drive.folder_id, "1AbC_d-E");
        for (url, remote) in [("rclone://one/a/b", "one:a/b"), ("rclone://one", "one:"), ("rclone://s//srv", "s:/srv")]
        {
            let DestinationConfig::Rclone(rclone) = parse(url).unwrap().config else { panic!("no rclone") };
            assert_eq!(rclone.remote, remote);
        }
        for wrong in [
            "s3://key:hunter2@bucket/x",
            "s3://bucket?secret=hunter2",
            "s3://b?x",
            "s3://",
            "s3://bucket/../x",
            "s3://bucket?endpoint=http://hunter2.example.com",
            "gdrive://",
            "gdrive://a/b",
            "rclone:///x",
            "rclone://:sftp,pass=hunter2:/x",
            "ftp://me:hunter2@x/y",
            "",
        ] {
            let error = parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{wrong}");
            assert!(!error.one_line().contains("hunter2"), "{error:?}");
        }
        assert!(parse("s3://bucket?endpoint=http://127.0.0.1:9000").is_ok());
    }
}
