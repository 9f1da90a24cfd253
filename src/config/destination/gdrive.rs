//! Google Drive.

use super::{Patience, patience};
use crate::config::SecretRef;
use crate::config::reader::{Problems, Section};
use crate::config::resolve::Reading;
use crate::config::values::size;
use std::path::PathBuf;

/// What every chunk of an upload but the last must be a multiple of, in bytes: Drive's documentation of resumable uploads.
pub const CHUNK_UNIT: u64 = 256 << 10;

/// The environment variable that names the credentials file where no configuration does.
pub const DRIVE_CREDENTIALS_VARIABLE: &str = "PGKEEP_GDRIVE_CREDENTIALS";

/// Where the credentials are if nobody says so, and where `pgkeep auth gdrive` writes them: the file that
/// `PGKEEP_GDRIVE_CREDENTIALS` names, else `gdrive.json` beside the user's own `pgkeep.toml`. `None` where the environment
/// tells no home.
pub fn drive_credentials_file() -> Option<PathBuf> {
    let named = std::env::var_os(DRIVE_CREDENTIALS_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| Some(crate::config::load::user_folder()?.join("gdrive.json")))
}

/// A folder of Google Drive and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveConfig {
    /// The id of the folder, as its URL in the browser ends; of a shared drive for service accounts.
    pub folder_id: String,
    /// A service account's key or what `pgkeep auth gdrive` wrote, as JSON; `None` for that file's usual place.
    pub credentials: Option<SecretRef>,
    /// Deleted files go to Drive's trash for 30 days, where they still use space.
    pub trash: bool,
    /// The size of the pieces that are sent, a multiple of [`CHUNK_UNIT`]. Two of them are in memory.
    pub chunk_size: u64,
    /// Another server that speaks Drive's protocol: for tests.
    pub endpoint: Option<String>,
    /// When it gives up.
    pub patience: Patience,
}

impl DriveConfig {
    /// A folder with everything at its default.
    pub fn new(folder_id: impl Into<String>) -> Self {
        Self {
            folder_id: folder_id.into(),
            credentials: None,
            trash: false,
            chunk_size: 8 << 20,
            endpoint: None,
            patience: Patience::default(),
        }
    }

    /// What `gdrive://FOLDER_ID` means.
    pub(super) fn from_url(rest: &str) -> Result<Self, String> {
        Ok(Self::new(folder_id(rest.trim_end_matches('/'))?))
    }
}

fn folder_id(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.is_empty() || text.len() > 128 || !text.bytes().all(legal) {
        return Err("the folder's id is what its address in the browser ends with, letters and digits".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads the keys of `type = "gdrive"`.
pub(in crate::config) fn read(
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
    problems: &mut Problems<'_>,
) -> DriveConfig {
    section.require("folder_id", problems);
    let mut config = DriveConfig::new(section.parsed("folder_id", problems, folder_id).unwrap_or_default());
    let credentials = section.get("credentials");
    config.credentials = credentials.and_then(|value| reading.secret("credentials", value, problems));
    let trash = section.parsed("delete", problems, |text| match text {
        "forever" => Ok(false),
        "trash" => Ok(true),
        _ => Err("write \"forever\" or \"trash\"".to_owned()),
    });
    config.trash = trash.unwrap_or(false);
    let chunk = section.parsed("chunk_size", problems, |text| {
        size(text).and_then(|bytes| {
            let fits = bytes > 0 && bytes % CHUNK_UNIT == 0 && bytes <= 1 << 30;
            if fits { Ok(bytes) } else { Err("Drive takes multiples of 256KiB; at most 1GiB here".to_owned()) }
        })
    });
    config.chunk_size = chunk.unwrap_or(config.chunk_size);
    config.endpoint = section.parsed("endpoint", problems, |text| match text.strip_prefix("http://") {
        Some(host) if super::s3::is_loopback(host) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("only test servers on this computer, http://127.0.0.1:PORT".to_owned()),
    });
    config.patience = patience(section, problems);
    config
}
