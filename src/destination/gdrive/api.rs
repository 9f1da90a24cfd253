//! Requests to Drive: sent with a token, watched for silence, read with a limit, and renewed once where the token had died.

use super::auth::Tokens;
use super::failure::{nonsense, refused, silent, unanswered};
use crate::config::Patience;
use crate::error::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where Drive is.
pub(super) const GOOGLE: &str = "https://www.googleapis.com";

/// The longest JSON that is read, in bytes: a page of a thousand files is below one MiB.
const LARGEST_JSON: u64 = 32 << 20;

/// An HTTP client as all of this uses it. Redirects are not followed: 308 means something else to Drive, and a token must not
/// go elsewhere. `loopback` leaves the system's proxy aside.
pub(super) fn http_client(patience: Patience, loopback: bool) -> Result<Client> {
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(patience.timeout)
        .user_agent(concat!("pgkeep/", env!("CARGO_PKG_VERSION")));
    if loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|source| {
        Error::new(ErrorKind::Failed, "cannot prepare encrypted connections").caused_by(source.without_url())
    })
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// The answer, or the error that a status other than 2xx means.
    pub(super) fn success(self, doing: &str) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(refused(doing, self.status, &self.body)) }
    }

    /// The JSON of the answer.
    pub(super) fn json<T: DeserializeOwned>(&self, doing: &str) -> Result<T> {
        // Not the parser's own message: it may repeat what it read.
        serde_json::from_slice(&self.body).map_err(|source| {
            nonsense(doing, &format!("no such JSON at line {}, column {}", source.line(), source.column()))
        })
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Counts what of a request's body was taken, so that a slow upload is told from a dead one.
pub(super) type Taken = Arc<AtomicU64>;

/// The way to Drive.
pub(super) struct Api {
    client: Client,
    base: String,
    tokens: Tokens,
    timeout: Duration,
}

impl Api {
    pub(super) fn new(client: Client, base: String, tokens: Tokens, timeout: Duration) -> Self {
        Self { client, base, tokens, timeout }
    }

    /// The URL of `path` of the API, such as `files/ID`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/drive/v3/{path}", self.base)
    }

    /// The URL to which files are uploaded.
    pub(super) fn upload_url(&self) -> String {
        format!("{}/upload/drive/v3/files", self.base)
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whether a token may be sent to `url`: to where Drive is, or to another host of Google's.
    pub(super) fn trusts(&self, url: &str) -> bool {
        let (Ok(url), Ok(base)) = (reqwest::Url::parse(url), reqwest::Url::parse(&self.base)) else { return false };
        let google = url.scheme() == "https" && url.host_str().is_some_and(|host| host.ends_with(".googleapis.com"));
        url.origin() == base.origin() || (google && self.base == GOOGLE)
    }

    /// Sends what `build` makes; `doing` says so in errors. At most `limit` bytes of the answer are read. A token that Drive
    /// does not take is renewed, and the request sent again, once.
    pub(super) async fn send(
        &self,
        doing: &str,
        limit: u64,
        build: impl Fn(&Client, &Taken) -> RequestBuilder + Send + Sync,
    ) -> Result<Answer> {
        let token = self.tokens.get().await?;
        let answer = self.attempt(doing, limit, token.expose(), &build).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        self.tokens.reject(&token).await;
        let token = self.tokens.get().await?;
        self.attempt(doing, limit, token.expose(), &build).await
    }

    /// As [`Api::send`], for an answer that must be a success with JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        doing: &str,
        build: impl Fn(&Client) -> RequestBuilder + Send + Sync,
    ) -> Result<T> {
        self.send(doing, LARGEST_JSON, |client, _| build(client)).await?.success(doing)?.json(doing)
    }

    /// As [`Api::send`], for an answer that must be a success.
    pub(super) async fn done(
        &self,
        doing: &str,
        build: impl Fn(&Client) -> RequestBuilder + Send + Sync,
    ) -> Result<Answer> {
        self.send(doing, LARGEST_JSON, |client, _| build(client)).await?.success(doing)
    }

    async fn attempt(
        &self,
        doing: &str,
        limit: u64,
        token: &str,
        build: &(impl Fn(&Client, &Taken) -> RequestBuilder + Send + Sync),
    ) -> Result<Answer> {
        let taken = Taken::default();
        let request = build(&self.client, &taken).bearer_auth(token);
        let response = watched(doing, self.timeout, &taken, request).await?;
        read(doing, self.timeout, limit, response).await
    }
}

/// Sends `request` and waits for the head of its answer, as long as something moves: within `timeout` either bytes of the
/// body are taken, or the answer comes.
async fn watched(doing: &str, timeout: Duration, taken: &Taken, request: RequestBuilder) -> Result<Response> {
    let mut sending = std::pin::pin!(request.send());
    let mut seen = taken.load(Ordering::Relaxed);
    loop {
        if let Ok(answer) = tokio::time::timeout(timeout, sending.as_mut()).await {
            return answer.map_err(|error| unanswered(doing, error));
        }
        let now = taken.load(Ordering::Relaxed);
        if now == seen {
            return Err(silent(doing, timeout.as_secs()));
        }
        seen = now;
    }
}

/// Reads an answer of at most `limit` bytes; a longer one is an error.
pub(super) async fn read(doing: &str, timeout: Duration, limit: u64, mut response: Response) -> Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    loop {
        let piece = tokio::time::timeout(timeout, response.chunk()).await;
        let piece = piece.map_err(|_| silent(doing, timeout.as_secs()))?.map_err(|error| unanswered(doing, error))?;
        let Some(piece) = piece else { break };
        if body.len() as u64 + piece.len() as u64 > limit {
            return Err(nonsense(doing, &format!("more than {limit} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

/// Sends a request without a token: to an OAuth server.
pub(super) async fn plain(doing: &str, timeout: Duration, request: RequestBuilder) -> Result<Answer> {
    let response = watched(doing, timeout, &Taken::default(), request).await?;
    read(doing, timeout, 1 << 20, response).await
}
