//! A plain HTTP client of the Drive server, for the tests of the server itself.
#![allow(clippy::unwrap_used, dead_code)]

use crate::services::Drive;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

pub(crate) const UNIT: usize = 256 << 10;
const DRIVE: &str = "https://www.googleapis.com/auth/drive";

/// A client that follows no redirect and tries nothing twice.
pub(crate) struct Client<'a> {
    drive: &'a Drive,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

impl<'a> Client<'a> {
    pub(crate) fn new(drive: &'a Drive) -> Self {
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never());
        Self { drive, http: http.build().unwrap(), token: String::new() }
    }

    pub(crate) async fn service(drive: &'a Drive) -> Self {
        let mut client = Self::new(drive);
        client.token = token(&client.assertion(&client.claims()).await.unwrap());
        client
    }

    pub(crate) async fn user(drive: &'a Drive) -> Self {
        let mut client = Self::new(drive);
        let key: Value = serde_json::from_str(&drive.user_token_json()).unwrap();
        client.token = token(&client.refresh(&key).await.unwrap());
        client
    }

    pub(crate) fn claims(&self) -> Value {
        let key: Value = serde_json::from_str(&self.drive.service_account_json()).unwrap();
        let now = chrono::Utc::now().timestamp();
        json!({"iss": key["client_email"], "aud": key["token_uri"], "scope": DRIVE, "iat": now, "exp": now + 3600})
    }

    pub(crate) async fn assertion(&self, claims: &Value) -> Result<Value, String> {
        let key: Value = serde_json::from_str(&self.drive.service_account_json()).unwrap();
        let key = EncodingKey::from_rsa_pem(key["private_key"].as_str().unwrap().as_bytes()).unwrap();
        let jwt = jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap();
        self.jwt(&jwt).await
    }

    pub(crate) async fn jwt(&self, jwt: &str) -> Result<Value, String> {
        self.grant(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", jwt)]).await
    }

    pub(crate) async fn refresh(&self, key: &Value) -> Result<Value, String> {
        let get = |name: &str| key[name].as_str().unwrap();
        let (id, secret, token) = (get("client_id"), get("client_secret"), get("refresh_token"));
        let form =
            [("grant_type", "refresh_token"), ("client_id", id), ("client_secret", secret), ("refresh_token", token)];
        self.grant(&form).await
    }

    /// The answer, or the error's name.
    pub(crate) async fn grant(&self, form: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}/token", self.drive.endpoint());
        let answer = self.http.post(url).form(form).send().await.unwrap();
        let good = answer.status() == 200;
        let answer: Value = answer.json().await.unwrap();
        if good { Ok(answer) } else { Err(answer["error"].as_str().unwrap().to_owned()) }
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.drive.endpoint())).bearer_auth(&self.token)
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    pub(crate) async fn ids(&self) -> String {
        let ids = good(self.get("/drive/v3/files/generateIds?count=1")).await;
        ids["ids"][0].as_str().unwrap().to_owned()
    }

    /// Begins an upload and gives the session's address.
    pub(crate) async fn begin(&self, metadata: &Value) -> String {
        let path = "/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true&fields=id,size,md5Checksum";
        let answer = self.ask(Method::POST, path).json(metadata).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Sends a piece to a session.
    pub(crate) fn put(&self, session: &str, range: &str, bytes: Vec<u8>) -> RequestBuilder {
        self.http.put(session).header("content-range", format!("bytes {range}")).body(bytes)
    }

    pub(crate) async fn file(&self, folder: &str, name: &str, bytes: &[u8]) -> String {
        let session = self.begin(&json!({"name": name, "parents": [folder]})).await;
        let range = if bytes.is_empty() { "*/0".to_owned() } else { format!("0-{}/{1}", bytes.len() - 1, bytes.len()) };
        good(self.put(&session, &range, bytes.to_vec())).await["id"].as_str().unwrap().to_owned()
    }
}

/// The access token that was given.
pub(crate) fn token(answer: &Value) -> String {
    answer["access_token"].as_str().unwrap().to_owned()
}

pub(crate) async fn good(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

pub(crate) async fn refused(request: RequestBuilder, status: u16, reason: &str) {
    let answer = request.send().await.unwrap();
    let got = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(error["error"]["code"], status, "{text}");
    assert_eq!(error["error"]["errors"][0]["reason"], reason, "{text}");
}

/// The status and the Range of an answer.
pub(crate) async fn said(request: RequestBuilder) -> (u16, Option<String>) {
    let answer: Response = request.send().await.unwrap();
    let range = answer.headers().get("range").map(|value| value.to_str().unwrap().to_owned());
    (answer.status().as_u16(), range)
}

pub(crate) fn stored(bytes: usize) -> (u16, Option<String>) {
    (308, Some(format!("bytes=0-{}", bytes - 1)))
}
