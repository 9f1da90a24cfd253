//! S3 and what speaks like it.

use super::{Patience, patience};
use crate::config::SecretRef;
use crate::config::reader::{Problems, Section};
use crate::config::resolve::Reading;
use crate::config::values::{duration, size};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The smallest part but the last that S3 takes: 5 MiB.
pub const SMALLEST_PART: u64 = 5 << 20;

/// The largest part that S3 takes: 5 GiB.
pub const LARGEST_PART: u64 = 5 << 30;

/// A bucket, how to reach it, and how objects are stored in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// The folder in the bucket, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// The region; else the environment's or the profile's, and `us-east-1` where there is an endpoint.
    pub region: Option<String>,
    /// The service's URL where it is not AWS.
    pub endpoint: Option<String>,
    /// The bucket is named in the path (`https://host/bucket/key`) rather than in the host's name.
    pub path_style: bool,
    /// The profile of `~/.aws`.
    pub profile: Option<String>,
    /// Keys of its own; else the environment, the profile, a web identity or the instance's metadata give some.
    pub keys: Option<S3Keys>,
    /// A PEM file of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Plain HTTP is allowed to hosts that are not this one.
    pub allow_http: bool,
    /// The storage class, as the service calls it: `STANDARD_IA`, `GLACIER_IR`.
    pub storage_class: Option<String>,
    /// Encryption by the service.
    pub encryption: Option<S3Encryption>,
    /// Files cannot be deleted for a time.
    pub object_lock: Option<S3Lock>,
    /// Tags of every object.
    pub tags: BTreeMap<String, String>,
    /// When checksums are sent.
    pub checksums: S3Checksums,
    /// How a finished upload is checked.
    pub check: S3Check,
    /// Whether the service is asked to create only what is not there.
    pub create_only: bool,
    /// How many parts an upload may have, 2 to 10 000.
    pub max_parts: u32,
    /// The size of parts, at least; larger where a backup would not fit [`S3Config::max_parts`]. In bytes.
    pub part_size: u64,
    /// How many parts are sent at once, 1 to 64. So many and one more are in memory.
    pub concurrency: usize,
    /// When it gives up.
    pub patience: Patience,
}

/// Keys for S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// The access key id.
    pub access_key_id: SecretRef,
    /// The secret access key.
    pub secret_access_key: SecretRef,
    /// The session token of temporary keys.
    pub session_token: Option<SecretRef>,
}

/// Encryption by the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Encryption {
    /// With keys of the service's own, `AES256`.
    Aes256,
    /// With a key of the key service, `aws:kms`; `None` for the default one.
    Kms(Option<String>),
}

/// Object lock: how long nobody can delete a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Lock {
    /// Nobody at all, rather than those with a special permission.
    pub compliance: bool,
    /// For how long from the upload on.
    pub retain: Duration,
}

/// When checksums are sent beside what signatures already cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum S3Checksums {
    /// Wherever the protocol has one.
    #[default]
    WhenSupported,
    /// Only where the service insists: some services refuse the others.
    WhenRequired,
}

/// How a finished upload is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum S3Check {
    /// By the checksum that the service keeps; if it tells none, by reading the file again.
    #[default]
    Auto,
    /// By reading the file again.
    ReadBack,
}

impl S3Config {
    /// A bucket with everything at its default.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            profile: None,
            keys: None,
            ca_file: None,
            allow_http: false,
            storage_class: None,
            encryption: None,
            object_lock: None,
            tags: BTreeMap::new(),
            checksums: S3Checksums::default(),
            check: S3Check::default(),
            create_only: true,
            max_parts: 10_000,
            part_size: 8 << 20,
            concurrency: 4,
            patience: Patience::default(),
        }
    }

    /// What `s3://BUCKET/PREFIX?KEY=VALUE` means; the keys are `region`, `endpoint`, `profile`, `path_style` and
    /// `storage_class`. Keys to the service come from the environment.
    pub(super) fn from_url(rest: &str) -> Result<Self, String> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut config = Self::new(self::bucket(bucket)?);
        config.prefix = self::prefix(prefix)?;
        for (key, value) in url_pairs(query)? {
            match key.as_str() {
                "region" => config.region = Some(value),
                "endpoint" => {
                    config.path_style = true;
                    config.endpoint = Some(endpoint(&value)?);
                }
                "profile" => config.profile = Some(value),
                "storage_class" => config.storage_class = Some(value),
                "path_style" => config.path_style = value == "true",
                _ => {
                    return Err(format!(
                        "{key:?} is no key of an s3:// URL; there are region, endpoint, profile, path_style and \
                         storage_class, and everything else in pgkeep.toml"
                    ));
                }
            }
        }
        config.refuse_plain_http()?;
        Ok(config)
    }

    fn refuse_plain_http(&self) -> Result<(), String> {
        let plain = self.endpoint.as_deref().and_then(|url| url.strip_prefix("http://"));
        match plain {
            Some(host) if !self.allow_http && !is_loopback(host) => Err(
                "\"endpoint\" is plain HTTP to another host: anybody on the way can read it; use https, or set allow_http = true"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

/// Whether the host of `HOST[:PORT][/...]` is this computer.
pub(super) fn is_loopback(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The pairs of a URL's query, decoded.
fn url_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let decode = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        text.map(std::borrow::Cow::into_owned).map_err(|_| "the URL is not UTF-8".to_owned())
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| Ok((decode(k)?, decode(v)?))).collect()
}

fn bucket(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    if !(3..=255).contains(&text.len()) || !text.bytes().all(legal) {
        return Err(format!("{text:?} cannot be a bucket's name: 3 and more letters, digits, dots and hyphens"));
    }
    Ok(text.to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    let text = text.trim_matches('/');
    if text.split('/').any(|segment| segment == "." || segment == "..") || text.contains("//") || text.len() > 512 {
        return Err(format!("{text:?} cannot be a prefix: no empty parts, no \".\" and \"..\", at most 512 bytes"));
    }
    Ok(text.to_owned())
}

fn endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['@', '?', '#']) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("write it as https://HOST or https://HOST:PORT, without user and password".to_owned()),
    }
}

/// Reads the keys of `type = "s3"`.
pub(in crate::config) fn read(
    section: &mut Section<'_>,
    reading: &mut Reading<'_>,
    problems: &mut Problems<'_>,
) -> S3Config {
    section.require("bucket", problems);
    let mut config = S3Config::new(section.parsed("bucket", problems, bucket).unwrap_or_default());
    config.prefix = section.parsed("prefix", problems, prefix).unwrap_or_default();
    config.region = section.string("region", problems).map(str::to_owned);
    config.endpoint = section.parsed("endpoint", problems, endpoint);
    config.path_style = section.boolean("path_style", problems).unwrap_or(config.endpoint.is_some());
    config.profile = section.string("profile", problems).map(str::to_owned);
    config.keys = keys(section, reading, problems);
    config.ca_file = section.string("ca_file", problems).map(|text| reading.origin.path(text));
    config.allow_http = section.boolean("allow_http", problems).unwrap_or(false);
    config.storage_class = section.string("storage_class", problems).map(str::to_owned);
    config.encryption = encryption(section, problems);
    config.object_lock = object_lock(section, problems);
    config.tags = tags(section, problems);
    let checksums = section.parsed("checksums", problems, |text| match text {
        "when_supported" => Ok(S3Checksums::WhenSupported),
        "when_required" => Ok(S3Checksums::WhenRequired),
        _ => Err("write \"when_supported\" or \"when_required\"".to_owned()),
    });
    config.checksums = checksums.unwrap_or_default();
    let check = section.parsed("check", problems, |text| match text {
        "auto" => Ok(S3Check::Auto),
        "read_back" => Ok(S3Check::ReadBack),
        _ => Err("write \"auto\" or \"read_back\"".to_owned()),
    });
    config.check = check.unwrap_or_default();
    config.create_only = section.boolean("create_only", problems).unwrap_or(true);
    config.max_parts = section.integer("max_parts", 2..=10_000, problems).unwrap_or(config.max_parts);
    let part_size = section.parsed("part_size", problems, |text| {
        size(text).and_then(|bytes| {
            let fits = (SMALLEST_PART..=LARGEST_PART).contains(&bytes);
            if fits { Ok(bytes) } else { Err("S3 takes parts of 5MiB to 5GiB".to_owned()) }
        })
    });
    config.part_size = part_size.unwrap_or(config.part_size);
    config.concurrency = section.integer("concurrency", 1..=64, problems).unwrap_or(4) as usize;
    config.patience = patience(section, problems);
    if let Err(why) = config.refuse_plain_http() {
        problems.add(&section.at, why);
    }
    config
}

fn keys(section: &mut Section<'_>, reading: &mut Reading<'_>, problems: &mut Problems<'_>) -> Option<S3Keys> {
    let mut secret = |key| section.get(key).and_then(|value| reading.secret(key, value, problems));
    let (id, key, token) = (secret("access_key_id"), secret("secret_access_key"), secret("session_token"));
    match (id, key) {
        (Some(access_key_id), Some(secret_access_key)) => {
            Some(S3Keys { access_key_id, secret_access_key, session_token: token })
        }
        (None, None) if token.is_none() => None,
        _ => {
            problems.add(&section.at, "\"access_key_id\" and \"secret_access_key\" belong together");
            None
        }
    }
}

fn encryption(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<S3Encryption> {
    let key = section.string("sse_kms_key_id", problems).map(str::to_owned);
    let kind = section.parsed("sse", problems, |text| match text {
        "AES256" => Ok(S3Encryption::Aes256),
        "aws:kms" => Ok(S3Encryption::Kms(key.clone())),
        _ => Err("write \"AES256\" or \"aws:kms\"".to_owned()),
    });
    if key.is_some() && !matches!(kind, Some(S3Encryption::Kms(_))) {
        problems.add(&section.at, "\"sse_kms_key_id\" means something with sse = \"aws:kms\" only");
    }
    kind
}

fn object_lock(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<S3Lock> {
    let value = section.get("object_lock")?;
    let mut inner = Section::of("\"object_lock\"", value, problems)?;
    inner.require("mode", problems);
    inner.require("retain", problems);
    let compliance = inner.parsed("mode", problems, |text| match text {
        "governance" => Ok(false),
        "compliance" => Ok(true),
        _ => Err("write \"governance\" or \"compliance\"".to_owned()),
    });
    let retain = inner.parsed("retain", problems, duration);
    inner.finish(problems);
    Some(S3Lock { compliance: compliance?, retain: retain? })
}

fn tags(section: &mut Section<'_>, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let Some(value) = section.get("tags") else { return BTreeMap::new() };
    let Some(inner) = Section::of("\"tags\"", value, problems) else { return BTreeMap::new() };
    let mut tags = BTreeMap::new();
    for (name, at, value) in inner.entries() {
        if let Some(text) = crate::config::reader::string(name, value, problems) {
            tags.insert(name.to_owned(), text.to_owned());
        }
        if tags.len() > 10 {
            problems.add(&at, "S3 takes at most 10 tags of an object");
        }
    }
    tags
}
