//! A person's permission to use their Drive: the address at which they give it, the answer, and what pgkeep keeps of it.
//!
//! Source: RFC 6749, RFC 7636 (PKCE), RFC 8252, and Google's guide "OAuth 2.0 for Mobile & Desktop Apps".

use super::api::{Api, GOOGLE, http_client, plain};
use super::auth::Tokens;
use super::credentials::{self, Credentials, Person, TOKEN_URI, is_safe};
use super::files::{Files, no_root};
use super::grant::SCOPE_OWN_FILES;
use super::loopback::{Loopback, code_of, read_redirect};
use super::model::{FOLDER, quote};
use crate::config::{Patience, SecretRef};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::secret::Secret;
use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, RequestTokenError, Scope, TokenResponse, TokenUrl,
};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Google's page of permissions.
const AUTH_URI: &str = "https://accounts.google.com/o/oauth2/v2/auth";

/// The folder that is made for backups.
const FOLDER_NAME: &str = "pgkeep backups";

/// More than any file of an app's client.
const LARGEST_FILE: u64 = 64 << 10;

/// Where Google is; tests have one of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The page on which a person gives permission.
    pub auth: String,
    /// Where codes become tokens.
    pub token: String,
    /// Where Drive is, without a slash at its end.
    pub api: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self { auth: AUTH_URI.to_owned(), token: TOKEN_URI.to_owned(), api: GOOGLE.to_owned() }
    }
}

/// An app that Google knows: pgkeep, registered by whoever uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its client id.
    pub client_id: String,
    /// Its client secret, which for an app on people's computers is none that could be kept.
    pub client_secret: Secret,
    /// Where Google is.
    pub endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Console {
    installed: Option<Client>,
    web: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Client {
    client_id: String,
    client_secret: String,
    auth_uri: Option<String>,
    token_uri: Option<String>,
}

impl App {
    /// Reads the JSON file that Google's console gives for an OAuth client of the type "Desktop app". Blocks.
    pub fn from_console(path: &Path) -> Result<Self> {
        let doing = || format!("cannot read the client {}", path.display());
        let wrong = |why: &str| {
            Error::new(ErrorKind::Config, format!("{} cannot be used: {why}", path.display())).hint(
                "in Google's console, under Clients, create an OAuth client of the type \"Desktop app\" and download its JSON",
            )
        };
        let missing =
            |error: Error| error.hint("name the JSON file of the client that Google's console let you download");
        if std::fs::metadata(path).doing(doing).map_err(missing)?.len() > LARGEST_FILE {
            return Err(wrong("it is too large for a client"));
        }
        let text = Secret::new(std::fs::read_to_string(path).doing(doing).map_err(missing)?);
        // The parser's own message may repeat the secret.
        let console: Console = serde_json::from_str(text.expose()).map_err(|_| wrong("it is no JSON of a client"))?;
        let client = match (console.installed, console.web) {
            (Some(client), _) => client,
            (None, Some(_)) => return Err(wrong("its client is a web application")),
            (None, None) => return Err(wrong("it holds no client")),
        };
        let mut endpoints = Endpoints::default();
        endpoints.auth = client.auth_uri.unwrap_or(endpoints.auth);
        endpoints.token = client.token_uri.unwrap_or(endpoints.token);
        Ok(Self { client_id: client.client_id, client_secret: Secret::new(client.client_secret), endpoints })
    }

    /// The app of a permission that was written to `path` before; `None` if there is none. Blocks.
    pub fn from_permission(path: &Path) -> Result<Option<Self>> {
        let text = match SecretRef::File(path.to_owned()).resolve() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let Credentials::Person(person) = Credentials::parse(&text)? else { return Ok(None) };
        let endpoints = Endpoints { token: person.token_uri, ..Endpoints::default() };
        Ok(Some(Self { client_id: person.client_id, client_secret: person.client_secret, endpoints }))
    }
}

/// A request for permission that was not answered yet.
pub struct Waiting {
    app: App,
    url: Secret,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
    redirect: RedirectUrl,
    loopback: Option<Loopback>,
}

impl Waiting {
    /// Makes a request. With a browser on this computer its answer is heard on a port of its own; without one (`browser` is
    /// false) the answer is the address to which a browser elsewhere was sent, and failed to load.
    pub async fn begin(app: App, browser: bool) -> Result<Self> {
        for url in [&app.endpoints.auth, &app.endpoints.token, &app.endpoints.api] {
            if !is_safe(url) {
                return Err(Error::new(
                    ErrorKind::Config,
                    "an address of the client is neither https nor of this computer",
                )
                .hint("take the JSON of the client from Google's console as it is"));
            }
        }
        let loopback = if browser { Some(Loopback::listen().await?) } else { None };
        // Nobody listens there. A port that browsers do not refuse, and that nothing else usually has.
        let nowhere = || Ok(format!("http://127.0.0.1:{}", 49_152 + u32::from(crate::id::random_u16()? % 16_000)));
        let uri = loopback.as_ref().map_or_else(nowhere, |loopback| Ok(loopback.uri()))?;
        let redirect = RedirectUrl::new(uri).map_err(wrong_url)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = BasicClient::new(ClientId::new(app.client_id.clone()))
            .set_auth_uri(AuthUrl::new(app.endpoints.auth.clone()).map_err(wrong_url)?)
            .set_redirect_uri(redirect.clone())
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new(SCOPE_OWN_FILES.to_owned()))
            .set_pkce_challenge(challenge)
            // Only so there is a refresh token, and always.
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent")
            .url();
        Ok(Self { app, url: Secret::new(String::from(url)), state, verifier, redirect, loopback })
    }

    /// The address to open. It holds nothing that helps anybody else: what makes its answer worth something stays here.
    pub fn url(&self) -> &str {
        self.url.expose()
    }

    /// Waits for the browser's answer on this computer, and makes it a permission.
    pub async fn answered(self) -> Result<Permission> {
        let loopback = self.loopback.as_ref();
        let loopback = loopback.ok_or_else(|| Error::new(ErrorKind::Failed, "nobody listens for an answer"))?;
        let redirect = loopback.redirect(self.state.secret()).await?;
        let code = code_of(redirect, self.state.secret())?;
        self.exchange(code).await
    }

    /// Takes the address that was pasted, and makes it a permission.
    pub async fn pasted(self, url: &str) -> Result<Permission> {
        let redirect = read_redirect(url).ok_or_else(|| {
            Error::new(ErrorKind::Usage, "what was pasted is not the address to which Google sent the browser")
                .hint("it begins with http://127.0.0.1 and holds code=...; run `pgkeep auth gdrive --no-browser` again")
        })?;
        let code = code_of(redirect, self.state.secret())?;
        self.exchange(code).await
    }

    async fn exchange(self, code: String) -> Result<Permission> {
        let doing = "cannot exchange the code for a permission";
        let patience = Patience::default();
        let http = http_client(patience, is_local(&self.app.endpoints.token))?;
        let send = |request: oauth2::HttpRequest| {
            let http = http.clone();
            async move {
                let request = reqwest::Request::try_from(request)
                    .map_err(|error| Error::new(ErrorKind::Failed, doing).caused_by(error.without_url()))?;
                let request = reqwest::RequestBuilder::from_parts(http, request);
                let answer = plain(doing, patience.timeout, request).await?;
                let mut response = oauth2::HttpResponse::new(answer.body.to_vec());
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                Ok::<_, Error>(response)
            }
        };
        let token = BasicClient::new(ClientId::new(self.app.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.app.client_secret.expose().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::new(self.app.endpoints.token.clone()).map_err(wrong_url)?)
            .set_redirect_uri(self.redirect)
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(self.verifier)
            .request_async(&send)
            .await
            .map_err(|error| not_exchanged(doing, error))?;
        let granted = token.scopes().is_none_or(|scopes| scopes.iter().any(|scope| scope.as_str() == SCOPE_OWN_FILES));
        if !granted {
            return Err(Error::new(ErrorKind::PermissionDenied, "the permission does not hold Google Drive")
                .hint("run `pgkeep auth gdrive` again, and tick the box for Google Drive on Google's page"));
        }
        let refresh_token = token.refresh_token().ok_or_else(|| {
            Error::new(ErrorKind::Failed, "Google gave a permission for an hour only, without a refresh token")
                .hint("take pgkeep's permission away at https://myaccount.google.com/permissions, then try again")
        })?;
        Permission::new(
            Person {
                client_id: self.app.client_id,
                client_secret: self.app.client_secret,
                refresh_token: Secret::new(refresh_token.secret().clone()),
                token_uri: self.app.endpoints.token,
            },
            &self.app.endpoints.api,
        )
    }
}

fn is_local(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| credentials::is_loopback(&url))
}

fn wrong_url(error: oauth2::url::ParseError) -> Error {
    Error::new(ErrorKind::Config, "an address of the client is no URL").caused_by(error)
}

/// Why a code became no permission; nothing that Google said is repeated but its word for it.
fn not_exchanged(
    doing: &str,
    error: RequestTokenError<Error, oauth2::StandardErrorResponse<BasicErrorResponseType>>,
) -> Error {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(answer) => {
            let word = answer.error().as_ref().to_owned();
            let hint = match answer.error() {
                BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => {
                    "the client's id or secret is wrong: take both from Google's console"
                }
                _ => "a code is good for some minutes, and once: run `pgkeep auth gdrive` again",
            };
            let cause = format!("Google answered {}", super::failure::printable(&word));
            Error::new(ErrorKind::PermissionDenied, doing).caused_by(cause).hint(hint)
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            Error::new(ErrorKind::Failed, doing).caused_by("Google's answer makes no sense")
        }
    }
}

/// A permission that was given.
pub struct Permission {
    person: Person,
    files: Files,
}

/// A folder of Drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriveFolder {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl Permission {
    fn new(person: Person, api: &str) -> Result<Self> {
        let patience = Patience::default();
        let http = http_client(patience, is_local(api))?;
        let tokens = Tokens::new(http.clone(), patience.timeout, Credentials::Person(person.clone()), None);
        let files = Files::new(Api::new(http, api.trim_end_matches('/').to_owned(), tokens, patience.timeout));
        Ok(Self { person, files })
    }

    /// The account's e-mail address.
    pub async fn account(&self) -> Result<String> {
        Ok(self.files.about().await?.0.user.email_address)
    }

    /// The folder `given`, which pgkeep must see; else the one that an earlier permission made, else a new one.
    pub async fn folder(&self, given: Option<&str>) -> Result<DriveFolder> {
        let folder = if let Some(id) = given {
            match self.files.get("the folder of --folder-id", id).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_root(error, None)),
                other => other?,
            }
        } else {
            // With this permission only what pgkeep made is seen: wherever it was moved, it is the one.
            let name = quote(FOLDER_NAME);
            let query = format!("name = {name} and mimeType = '{FOLDER}' and trashed = false");
            let mut found = self.files.list("cannot look for the folder of backups", &query, None).await?;
            found.retain(|folder| folder.is_ours() && folder.is_folder());
            found.sort_by(|a, b| a.rank().cmp(&b.rank()));
            match found.into_iter().next() {
                Some(folder) => folder,
                None => self.files.create_folder(&format!("{FOLDER_NAME:?}"), FOLDER_NAME, None).await?,
            }
        };
        if !folder.is_folder() || folder.trashed {
            return Err(Error::new(ErrorKind::Usage, "what --folder-id names is no folder, or is in the trash")
                .hint("without --folder-id a new folder is made"));
        }
        Ok(DriveFolder { id: folder.id, name: folder.name })
    }

    /// Writes the credentials file `path`.
    pub async fn save(&self, path: &Path, account: &str, folder: &DriveFolder) -> Result<()> {
        let mut document = credentials::document(&self.person);
        if let Some(entries) = document.as_object_mut() {
            entries.insert("account".to_owned(), Value::from(account));
            entries.insert("folder_id".to_owned(), Value::from(folder.id.as_str()));
        }
        let path: Arc<Path> = path.into();
        let written = tokio::task::spawn_blocking(move || credentials::save(&path, &document)).await;
        written.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Failed, "writing the credentials panicked").caused_by(panic))
        })
    }
}

/// Fails unless a permission can be written to `path` later: the folder is made, and what is there must be a permission that
/// may be replaced. Blocks.
pub fn check_place(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let doing = || format!("cannot write the credentials to {}", path.display());
    std::fs::create_dir_all(folder).doing(doing)?;
    drop(tempfile::Builder::new().prefix(".pgkeep-").tempfile_in(folder).doing(doing)?);
    match SecretRef::File(path.to_owned()).resolve() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(text) if matches!(Credentials::parse(&text), Ok(Credentials::Person(_))) => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        Ok(_) | Err(_) => Err(Error::new(ErrorKind::Refused, format!("{} holds something else", path.display()))
            .hint("name another file with --output, or move that one away")),
    }
}
