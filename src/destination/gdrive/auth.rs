//! Tokens for requests: kept in memory, renewed a minute before they expire, one renewal for everybody who waits.

use super::credentials::{Credentials, replace_refresh_token};
use super::grant::{self, Access};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use chrono::{TimeDelta, Utc};
use reqwest::Client;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long before its end a token is renewed.
const EARLY: TimeDelta = TimeDelta::seconds(60);

/// The tokens of one account.
pub(super) struct Tokens {
    client: Client,
    timeout: Duration,
    /// Where the credentials came from, if from a file.
    file: Option<PathBuf>,
    service_account: Option<String>,
    state: Mutex<State>,
}

struct State {
    credentials: Credentials,
    access: Option<Access>,
}

impl Tokens {
    pub(super) fn new(client: Client, timeout: Duration, credentials: Credentials, file: Option<PathBuf>) -> Self {
        let service_account = credentials.service_account().map(str::to_owned);
        Self { client, timeout, file, service_account, state: Mutex::new(State { credentials, access: None }) }
    }

    /// The service account's e-mail address, if it is one.
    pub(super) fn service_account(&self) -> Option<&str> {
        self.service_account.as_deref()
    }

    /// A token that is good for a minute at least.
    pub(super) async fn get(&self) -> Result<Secret> {
        // Held while a token is asked for: all others wait for that one.
        let mut state = self.state.lock().await;
        if let Some(access) = state.access.as_ref().filter(|access| Utc::now() + EARLY < access.until) {
            return Ok(access.token.clone());
        }
        let grant = grant::request(&self.client, self.timeout, &state.credentials).await?;
        let token = grant.access.token.clone();
        state.access = Some(grant.access);
        if let (Some(new), Credentials::Person(person)) = (grant.refresh_token, &mut state.credentials)
            && new != person.refresh_token
        {
            person.refresh_token = new.clone();
            self.keep(new).await?;
        }
        Ok(token)
    }

    /// Forgets `token`, which Drive did not take, unless it was replaced since.
    pub(super) async fn reject(&self, token: &Secret) {
        let mut state = self.state.lock().await;
        if state.access.as_ref().is_some_and(|access| access.token == *token) {
            state.access = None;
        }
    }

    /// Keeps a refresh token that replaced the old one: the old one may be dead.
    async fn keep(&self, token: Secret) -> Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || replace_refresh_token(&file, &token)).await;
        let written = written.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Failed, "writing the credentials panicked").caused_by(panic))
        });
        written.map_err(|error| {
            let kind = error.kind();
            Error::new(kind, "Google replaced the refresh token, and the new one cannot be kept").caused_by(error)
        })
    }
}
