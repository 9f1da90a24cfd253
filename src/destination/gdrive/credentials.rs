//! The credentials file: a service account's key, or a person's permission as `pgkeep auth gdrive` or Google's own tools
//! write it. Read, and replaced in one moment.

use crate::config::{DriveConfig, SecretRef, drive_credentials_file};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The `type` of what `pgkeep auth gdrive` writes.
pub(super) const OWN_TYPE: &str = "pgkeep_gdrive_user";

/// Google's token endpoint.
pub(super) const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Whom Drive is to take us for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// An account that belongs to a project.
    Service(ServiceAccount),
    /// A person who gave permission.
    Person(Person),
}

/// A service account's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceAccount {
    pub(super) client_email: String,
    pub(super) private_key: Secret,
    pub(super) private_key_id: Option<String>,
    pub(super) token_uri: String,
}

/// A person's permission for an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_uri: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl Credentials {
    /// Reads the JSON of a credentials file. No error repeats any of it but its type.
    pub(super) fn parse(text: &Secret) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Config, format!("the credentials for Google Drive cannot be used: {why}"))
                .hint("give the JSON key of a service account, or run `pgkeep auth gdrive`")
        };
        let file: File =
            serde_json::from_str(text.expose()).map_err(|_| wrong("they are no JSON of the known form".to_owned()))?;
        let need = |name: &str, value: Option<String>| {
            value.filter(|value| !value.is_empty()).ok_or_else(|| wrong(format!("{name:?} is missing")))
        };
        let token_uri = file.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        if !is_safe(&token_uri) {
            return Err(wrong("\"token_uri\" is not https".to_owned()));
        }
        match file.kind.as_deref() {
            Some("service_account") => Ok(Self::Service(ServiceAccount {
                client_email: need("client_email", file.client_email)?,
                private_key: Secret::new(need("private_key", file.private_key)?),
                private_key_id: file.private_key_id,
                token_uri,
            })),
            Some(OWN_TYPE | "authorized_user") => Ok(Self::Person(Person {
                client_id: need("client_id", file.client_id)?,
                client_secret: Secret::new(need("client_secret", file.client_secret)?),
                refresh_token: Secret::new(need("refresh_token", file.refresh_token)?),
                token_uri,
            })),
            Some(other) => Err(wrong(format!("their type {other:?} is not known"))),
            None => Err(wrong("\"type\" is missing".to_owned())),
        }
    }

    /// What must not be repeated.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::Service(account) => vec![account.private_key.clone()],
            Self::Person(person) => vec![person.client_secret.clone(), person.refresh_token.clone()],
        }
    }

    /// The service account's e-mail address, with whom a folder must be shared.
    pub(super) fn service_account(&self) -> Option<&str> {
        match self {
            Self::Service(account) => Some(&account.client_email),
            Self::Person(_) => None,
        }
    }
}

/// Whether secrets may be sent to `url`: encrypted, or to this computer.
pub(super) fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))
}

/// Whether `url` is of this computer.
pub(super) fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The credentials that `config` means, and the file they are in if they are in one. Blocks.
pub(super) fn load(config: &DriveConfig) -> Result<(Credentials, Option<PathBuf>)> {
    let missing = "run `pgkeep auth gdrive`, or name the key of a service account: credentials = { file = \"...\" }";
    let reference =
        match &config.credentials {
            Some(reference) => reference.clone(),
            None => SecretRef::File(drive_credentials_file().ok_or_else(|| {
                Error::new(ErrorKind::Config, "there are no credentials for Google Drive").hint(missing)
            })?),
        };
    let text = reference.resolve().map_err(|error| match error.kind() {
        ErrorKind::NotFound => error.hint(missing),
        _ => error,
    })?;
    let file = if let SecretRef::File(path) = reference { Some(path) } else { None };
    Ok((Credentials::parse(&text)?, file))
}

/// The JSON file of a person's permission.
pub(super) fn document(person: &Person) -> Value {
    json!({
        "type": OWN_TYPE,
        "client_id": person.client_id,
        "client_secret": person.client_secret.expose(),
        "refresh_token": person.refresh_token.expose(),
        "token_uri": person.token_uri,
    })
}

/// Puts another refresh token into the credentials file `path`; the rest stays. Blocks.
pub(super) fn replace_refresh_token(path: &Path, token: &Secret) -> Result<()> {
    let text = SecretRef::File(path.to_owned()).resolve()?;
    let mut document: Value = serde_json::from_str(text.expose())
        .map_err(|_| Error::new(ErrorKind::Config, format!("{} is no JSON any more", path.display())))?;
    if let Some(entries) = document.as_object_mut() {
        entries.insert("refresh_token".to_owned(), Value::from(token.expose()));
    }
    save(path, &document)
}

/// Writes `document` to `path`, for its owner alone, in one moment: whoever reads gets the old file or the new one, also
/// after a power cut. Blocks.
pub(super) fn save(path: &Path, document: &Value) -> Result<()> {
    let doing = || format!("cannot write the credentials to {}", path.display());
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|source| Error::new(ErrorKind::Failed, doing()).caused_by(source))?;
    text.push('\n');
    let text = Secret::new(text);
    // The file that a link points to is replaced, not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).doing(doing)?;
    // Only its owner may read it, from its first moment on: tempfile creates it so.
    let mut file = tempfile::Builder::new().prefix(".pgkeep-").tempfile_in(folder).doing(doing)?;
    file.write_all(text.expose().as_bytes()).doing(doing)?;
    file.as_file().sync_all().doing(doing)?;
    file.persist(&path).map_err(|error| error.error).doing(doing)?;
    sync_folder(folder).doing(doing)
}

/// Makes the new name durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Windows opens no folders, and writes names with the file.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value) -> Result<Credentials> {
        Credentials::parse(&Secret::new(value.to_string()))
    }

    #[test]
    fn the_known_forms_are_read() {
        let key = json!({
            "type": "service_account", "client_email": "b@p.iam.gserviceaccount.com", "private_key": "PEM",
            "private_key_id": "7", "token_uri": "https://oauth2.googleapis.com/token", "project_id": "p",
        });
        let Credentials::Service(account) = parse(&key).unwrap() else { panic!("no account") };
        assert_eq!((account.private_key.expose(), account.private_key_id.as_deref()), ("PEM", Some("7")));
        for kind in [OWN_TYPE, "authorized_user"] {
            let user = json!({ "type": kind, "client_id": "c", "client_secret": "s", "refresh_token": "r" });
            let Credentials::Person(person) = parse(&user).unwrap() else { panic!("no person") };
            assert_eq!((person.refresh_token.expose(), person.token_uri.as_str()), ("r", TOKEN_URI));
            assert_eq!(parse(&document(&person)).unwrap(), Credentials::Person(person));
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_and_not_repeated() {
        for value in [
            json!({ "type": "service_account", "private_key": "hunter2" }),
            json!({ "type": "service_account", "client_email": "a", "private_key": "" }),
            json!({ "type": "authorized_user", "client_id": "c", "client_secret": "hunter2" }),
            json!({ "type": "external_account", "secret": "hunter2" }),
            json!({ "client_secret": "hunter2" }),
            json!({ "installed": { "client_secret": "hunter2" } }),
            json!("hunter2"),
            json!({ "type": "authorized_user", "client_id": "c", "client_secret": "hunter2", "refresh_token": "r",
                    "token_uri": "http://hunter2.example.com/token" }),
        ] {
            let error = parse(&value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{value}");
            assert!(!error.one_line().contains("hunter2"), "{error:?}");
        }
        assert!(Credentials::parse(&Secret::new("hunter2")).is_err());
    }

    #[test]
    fn secrets_go_encrypted_or_to_this_computer() {
        for (url, safe) in [
            ("https://oauth2.googleapis.com/token", true),
            ("http://127.0.0.1:8080/token", true),
            ("http://[::1]:8080/token", true),
            ("http://localhost/token", true),
            ("http://oauth2.googleapis.com/token", false),
            ("http://127.0.0.1.example.com/token", false),
            ("http://localhost@example.com/", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(is_safe(url), safe, "{url}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_new_refresh_token_replaces_the_old_one_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/gdrive.json");
        save(&path, &json!({ "type": OWN_TYPE, "refresh_token": "old", "note": "mine" })).unwrap();
        let link = dir.path().join("link.json");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace_refresh_token(&link, &Secret::new("new")).unwrap();
        let read: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, json!({ "type": OWN_TYPE, "refresh_token": "new", "note": "mine" }));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temp file is left");
    }
}
