//! The token endpoint: what is asked of it and what its answers mean (RFC 6749, RFC 7523, and Google's guides to both).

use super::api::plain;
use super::credentials::{Credentials, Person, ServiceAccount};
use super::failure::printable;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Client, StatusCode};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What pgkeep may do in a person's Drive: use what it created itself.
pub(super) const SCOPE_OWN_FILES: &str = "https://www.googleapis.com/auth/drive.file";

/// What a service account's token is good for: its folders were created by others.
const SCOPE_DRIVE: &str = "https://www.googleapis.com/auth/drive";

/// For how long a service account's request is valid; Google takes no more than an hour.
const VALID: TimeDelta = TimeDelta::hours(1);

/// A token and until when it is used.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) token: Secret,
    pub(super) until: DateTime<Utc>,
}

/// A token that was granted, and the refresh token where it was replaced.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) access: Access,
    pub(super) refresh_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default = "an_hour")]
    expires_in: u32,
    refresh_token: Option<String>,
}

fn an_hour() -> u32 {
    3600
}

#[derive(Debug, Default, Deserialize)]
struct Denied {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

/// Asks for a new token, once.
pub(super) async fn request(client: &Client, timeout: Duration, credentials: &Credentials) -> Result<Grant> {
    let doing = "cannot get access to Google Drive";
    let (uri, form) = match credentials {
        Credentials::Service(account) => {
            let assertion = assertion(account, Utc::now())?;
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
            (&account.token_uri, vec![("grant_type", grant), ("assertion", assertion)])
        }
        Credentials::Person(person) => (&person.token_uri, refresh_form(person)),
    };
    let answer = plain(doing, timeout, client.post(uri).form(&form)).await?;
    if !answer.status.is_success() {
        return Err(denied(doing, answer.status, &answer.body, credentials));
    }
    // Whatever the parser says may repeat a token.
    let granted: Granted = serde_json::from_slice(&answer.body)
        .map_err(|_| Error::new(ErrorKind::Failed, doing).caused_by("Google's answer holds no token"))?;
    Ok(Grant {
        access: Access {
            token: Secret::new(granted.access_token),
            until: Utc::now() + TimeDelta::seconds(i64::from(granted.expires_in)),
        },
        refresh_token: granted.refresh_token.map(Secret::new),
    })
}

fn refresh_form(person: &Person) -> Vec<(&'static str, String)> {
    vec![
        ("grant_type", "refresh_token".to_owned()),
        ("client_id", person.client_id.clone()),
        ("client_secret", person.client_secret.expose().to_owned()),
        ("refresh_token", person.refresh_token.expose().to_owned()),
    ]
}

/// The signed request of a service account.
fn assertion(account: &ServiceAccount, now: DateTime<Utc>) -> Result<String> {
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid.clone_from(&account.private_key_id);
    let claims = Claims {
        iss: &account.client_email,
        scope: SCOPE_DRIVE,
        aud: &account.token_uri,
        iat: now.timestamp(),
        exp: (now + VALID).timestamp(),
    };
    // The causes are left out: they come from the key.
    let wrong = || {
        Error::new(ErrorKind::Config, "the service account's key cannot be used: \"private_key\" is no RSA key in PEM")
            .hint("download a new JSON key in Google's console")
    };
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(account.private_key.expose().as_bytes()).map_err(|_| wrong())?;
    jsonwebtoken::encode(&header, &claims, &key).map_err(|_| wrong())
}

/// What a refusal of the token endpoint means.
fn denied(doing: &str, status: StatusCode, body: &[u8], credentials: &Credentials) -> Error {
    let told: Denied = serde_json::from_slice(body).unwrap_or_default();
    let mut cause = format!("Google answered {}", status.as_u16());
    for text in [&told.error, &told.error_description] {
        let text = crate::secret::scrub(&printable(text), &credentials.secrets());
        if !text.is_empty() {
            cause.push_str(&format!(", {text}"));
        }
    }
    let error = |kind| Error::new(kind, doing).caused_by(cause.clone());
    let transient = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
    match (told.error.as_str(), credentials) {
        _ if transient => error(ErrorKind::Unavailable),
        ("invalid_grant", Credentials::Person(_)) => error(ErrorKind::PermissionDenied).hint(
            "the permission was withdrawn or has expired: run `pgkeep auth gdrive` again; while Google's console lists the \
             app as Testing it expires after 7 days, so set the app to In production first",
        ),
        ("invalid_grant", Credentials::Service(_)) => error(ErrorKind::PermissionDenied)
            .hint("check this computer's clock, and that the service account and its key still exist"),
        ("invalid_client" | "unauthorized_client" | "deleted_client", _) => error(ErrorKind::PermissionDenied)
            .hint("the client of these credentials is not known to Google any more: make a new one in its console"),
        _ if matches!(status.as_u16(), 401 | 403) => error(ErrorKind::PermissionDenied),
        _ => error(ErrorKind::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person() -> Credentials {
        let json =
            r#"{"type": "authorized_user", "client_id": "c", "client_secret": "hunter2", "refresh_token": "1//rt"}"#;
        Credentials::parse(&Secret::new(json)).unwrap()
    }

    #[test]
    fn what_a_refusal_of_the_token_endpoint_means() {
        for (status, body, kind, hint) in [
            (
                400,
                r#"{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}"#,
                ErrorKind::PermissionDenied,
                "run `pgkeep auth gdrive` again",
            ),
            (401, r#"{"error": "invalid_client"}"#, ErrorKind::PermissionDenied, "console"),
            (400, r#"{"error": "invalid_request"}"#, ErrorKind::Failed, ""),
            (500, r#"{"error": "internal_failure"}"#, ErrorKind::Unavailable, ""),
            (429, "", ErrorKind::Unavailable, ""),
            (403, "<html>", ErrorKind::PermissionDenied, ""),
        ] {
            let error = denied("cannot", StatusCode::from_u16(status).unwrap(), body.as_bytes(), &person());
            assert_eq!(error.kind(), kind, "{body}");
            assert!(error.hint_text().unwrap_or_default().contains(hint), "{body}");
        }
    }

    #[test]
    fn a_refusal_that_repeats_a_secret_is_scrubbed() {
        let body = br#"{"error": "invalid_grant", "error_description": "hunter2 and 1//rt are wrong"}"#;
        let text = format!("{:?}", denied("cannot", StatusCode::BAD_REQUEST, body, &person()));
        assert!(!text.contains("hunter2") && !text.contains("1//rt"), "{text}");
    }

    #[test]
    fn a_key_that_is_none_is_not_repeated() {
        let json = r#"{"type": "service_account", "client_email": "a@b", "private_key": "hunter2"}"#;
        let Credentials::Service(account) = Credentials::parse(&Secret::new(json)).unwrap() else {
            panic!("no account")
        };
        let error = assertion(&account, Utc::now()).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && !error.one_line().contains("hunter2"), "{error:?}");
    }
}
