//! Google's OAuth: tokens for service accounts and users, and the page on which a user agrees.
//!
//! https://developers.google.com/identity/protocols/oauth2/service-account and .../native-app

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use axum::http::header;
use axum::response::Response;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::asked::{Asked, pairs};
use super::refusal::{Answer, Refusal, empty_answer, json_answer};
use super::world::{Caller, World};

const SCOPES: &str = "https://www.googleapis.com/auth/";
/// The id of the service account's key.
pub(super) const KEY_ID: &str = "3f1c0a9be1d24c7fb6a0c5d4e8f90a1b2c3d4e5f";

/// The key pair of all service accounts of these tests: making one takes a tenth of a second.
pub(super) struct Keys {
    pub private_pem: String,
    public_der: Vec<u8>,
}

impl Keys {
    pub(super) fn get() -> &'static Self {
        static KEYS: OnceLock<Keys> = OnceLock::new();
        KEYS.get_or_init(|| {
            let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            let text = BASE64_STANDARD.encode(der.as_ref());
            let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
            let lines = lines.collect::<Vec<_>>().join("\n");
            Self {
                private_pem: format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"),
                public_der: pair.public_key().as_ref().to_vec(),
            }
        })
    }
}

/// What was given out, and how it is given out.
pub(super) struct Tokens {
    access: HashMap<String, (Caller, Instant)>,
    refresh: HashMap<String, Caller>,
    codes: HashMap<String, Code>,
    pub client_id: String,
    pub client_secret: String,
    pub user: String,
    pub service: String,
    /// How long an access token lives.
    pub life: Duration,
    /// Using a refresh token gives another one, and ends the old one.
    pub rotate: bool,
    /// The user does not agree.
    pub denied: bool,
    /// The scopes that the user ticks, whatever the app asks for.
    pub ticked: Option<Vec<String>>,
}

struct Code {
    caller: Caller,
    redirect: String,
    challenge: String,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
            client_id: String::new(),
            client_secret: String::new(),
            user: String::new(),
            service: String::new(),
            life: Duration::from_secs(3599),
            rotate: false,
            denied: false,
            ticked: None,
        }
    }
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.access.clear();
    }

    pub(super) fn revoke(&mut self) {
        self.refresh.clear();
        self.access.clear();
    }

    pub(super) fn add_refresh(&mut self, token: String, scope: &str) {
        let caller = Caller { email: self.user.clone(), app: self.client_id.clone(), scopes: vec![scope.to_owned()] };
        self.refresh.insert(token, caller);
    }
}

/// Whose request is it? Without a token, or with one that is over, 401.
pub(super) fn caller(world: &World, asked: &Asked) -> Result<Caller, Refusal> {
    let value = asked.header("authorization").ok_or_else(|| Refusal::unauthorized(true))?;
    let token = value.strip_prefix("Bearer ").ok_or_else(|| Refusal::unauthorized(false))?;
    match world.tokens.access.get(token) {
        Some((caller, until)) if Instant::now() < *until => Ok(caller.clone()),
        _ => Err(Refusal::unauthorized(false)),
    }
}

/// `POST /token`.
pub(super) fn token(world: &mut World, asked: &Asked, body: &[u8]) -> Answer {
    if asked.media_type() != "application/x-www-form-urlencoded" {
        return Err(invalid_request("Bad content type."));
    }
    let form = pairs(std::str::from_utf8(body).map_err(|_| invalid_request("Bad encoding."))?);
    let get = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let needed = |name: &str| {
        get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| invalid_request(&format!("Missing parameter: {name}")))
    };
    match needed("grant_type")? {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
            let caller = assertion(world, asked, needed("assertion")?)?;
            Ok(grant(world, caller, None))
        }
        "refresh_token" => {
            client(world, asked, &get)?;
            let old = needed("refresh_token")?;
            let caller = world.tokens.refresh.get(old).cloned();
            let caller = caller.ok_or_else(|| invalid_grant("Token has been expired or revoked."))?;
            let fresh = world.tokens.rotate.then(|| {
                world.tokens.refresh.remove(old);
                refresh_token(world, &caller)
            });
            Ok(grant(world, caller, fresh))
        }
        "authorization_code" => {
            client(world, asked, &get)?;
            // Whatever is wrong with it: a code is good for one try.
            let code = world.tokens.codes.remove(needed("code")?);
            let code = code.ok_or_else(|| invalid_grant("Malformed auth code."))?;
            if needed("redirect_uri")? != code.redirect {
                return Err(Refusal::oauth(400, "redirect_uri_mismatch", "Bad Request"));
            }
            let verifier = get("code_verifier").ok_or_else(|| invalid_grant("Missing code verifier."))?;
            let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
            if challenge != code.challenge || !(43..=128).contains(&verifier.len()) {
                return Err(invalid_grant("Invalid code verifier."));
            }
            let fresh = refresh_token(world, &code.caller);
            Ok(grant(world, code.caller, Some(fresh)))
        }
        other => Err(Refusal::oauth(400, "unsupported_grant_type", &format!("Invalid grant_type: {other}"))),
    }
}

pub(super) fn invalid_grant(description: &str) -> Refusal {
    Refusal::oauth(400, "invalid_grant", description)
}

fn invalid_request(description: &str) -> Refusal {
    Refusal::oauth(400, "invalid_request", description)
}

fn refresh_token(world: &mut World, caller: &Caller) -> String {
    let token = format!("1//{}", world.random(40));
    world.tokens.refresh.insert(token.clone(), caller.clone());
    token
}

fn grant(world: &mut World, caller: Caller, refresh: Option<String>) -> Response {
    let token = format!("ya29.{}", world.random(43));
    let scopes = caller.scopes.iter().map(|scope| format!("{SCOPES}{scope}")).collect::<Vec<_>>().join(" ");
    let life = world.tokens.life;
    world.tokens.access.insert(token.clone(), (caller, Instant::now() + life));
    let mut answer =
        json!({"access_token": token, "expires_in": life.as_secs(), "token_type": "Bearer", "scope": scopes});
    if let Some(refresh) = refresh {
        answer["refresh_token"] = json!(refresh);
    }
    json_answer(&answer)
}

/// The app says who it is, in the form or with basic authentication.
fn client<'a>(world: &World, asked: &Asked, get: &impl Fn(&str) -> Option<&'a str>) -> Result<(), Refusal> {
    let basic = asked.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let basic = basic.and_then(|text| String::from_utf8(BASE64_STANDARD.decode(text).ok()?).ok());
    let (id, secret) = match basic.as_deref().and_then(|text| text.split_once(':')) {
        Some((id, secret)) => (Some(id), Some(secret)),
        None => (get("client_id"), get("client_secret")),
    };
    if id != Some(world.tokens.client_id.as_str()) {
        return Err(Refusal::oauth(401, "invalid_client", "The OAuth client was not found."));
    }
    match secret {
        None => Err(invalid_request("client_secret is missing.")),
        Some(secret) if secret == world.tokens.client_secret => Ok(()),
        Some(_) => Err(Refusal::oauth(401, "invalid_client", "The provided client secret is invalid.")),
    }
}

/// A service account's signed request.
fn assertion(world: &World, asked: &Asked, jwt: &str) -> Result<Caller, Refusal> {
    let header = jsonwebtoken::decode_header(jwt).map_err(|_| invalid_grant("Invalid JWT."))?;
    if header.alg != Algorithm::RS256 || header.kid.is_some_and(|kid| kid != KEY_ID) {
        return Err(invalid_grant("Invalid JWT Signature."));
    }
    let mut validation = Validation::new(Algorithm::RS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_rsa_der(&Keys::get().public_der);
    let data = jsonwebtoken::decode::<Value>(jwt, &key, &validation);
    let claims = data.map_err(|_| invalid_grant("Invalid JWT Signature."))?.claims;
    if claims["iss"] != world.tokens.service.as_str() {
        return Err(invalid_grant("Invalid grant: account not found"));
    }
    let audience = format!("http://{}/token", asked.header("host").unwrap_or_default());
    // Google's own client names the real service whatever `token_uri` says.
    if claims["aud"] != audience.as_str() && claims["aud"] != "https://oauth2.googleapis.com/token" {
        return Err(invalid_grant("Invalid JWT: Failed audience check."));
    }
    let now = chrono::Utc::now().timestamp();
    let (from, until) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    let timely = from
        .zip(until)
        .is_some_and(|(from, until)| from <= now + 300 && until > now && until > from && until - from <= 3600);
    if !timely {
        return Err(invalid_grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat \
             and exp values in the JWT claim.",
        ));
    }
    let scopes = scopes(claims["scope"].as_str().unwrap_or_default());
    let scopes = scopes
        .ok_or_else(|| Refusal::oauth(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."))?;
    Ok(Caller { email: world.tokens.service.clone(), app: world.tokens.service.clone(), scopes })
}

/// The scopes without their common start; `None` where one is unknown or there are none.
fn scopes(text: &str) -> Option<Vec<String>> {
    let known = ["drive", "drive.file", "drive.readonly", "drive.metadata.readonly", "drive.appdata"];
    let short = |scope: &str| {
        let short = scope.strip_prefix(SCOPES).filter(|scope| known.contains(scope));
        short.map(str::to_owned)
    };
    text.split(' ')
        .filter(|scope| !scope.is_empty())
        .map(short)
        .collect::<Option<Vec<_>>>()
        .filter(|all| !all.is_empty())
}

/// `GET /auth`: the user agrees at once, and the browser goes back to the app.
pub(super) fn consent(world: &mut World, asked: &Asked) -> Answer {
    let page = |error: &str| Refusal::text(400, format!("Error 400: {error}"));
    let redirect = asked.parameter("redirect_uri").ok_or_else(|| page("invalid_request: missing redirect_uri"))?;
    let local = ["http://127.0.0.1", "http://[::1]", "http://localhost"].iter().any(|start| {
        let rest = redirect.strip_prefix(start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    if !local || redirect.contains(['#', '?']) {
        return Err(page("redirect_uri_mismatch"));
    }
    if asked.parameter("client_id") != Some(world.tokens.client_id.as_str()) {
        return Err(page("invalid_client"));
    }
    if asked.parameter("response_type") != Some("code") {
        return Err(page("unsupported_response_type"));
    }
    let wanted = scopes(asked.parameter("scope").unwrap_or_default()).ok_or_else(|| page("invalid_scope"))?;
    // Drive would let an app get away without it; an app on somebody's computer must not (RFC 8252, section 8.1).
    let challenge = asked.parameter("code_challenge").filter(|text| text.len() == 43);
    let challenge = challenge.filter(|_| asked.parameter("code_challenge_method") == Some("S256"));
    let challenge = challenge.ok_or_else(|| page("invalid_request: code_challenge with S256 is needed"))?.to_owned();
    let encode =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let state = asked.parameter("state").map(|state| format!("state={}&", encode(state))).unwrap_or_default();
    let target = if world.tokens.denied {
        format!("{redirect}?{state}error=access_denied")
    } else {
        let code = format!("4/0A{}", world.random(40));
        let scopes = world.tokens.ticked.clone().unwrap_or(wanted);
        let granted = scopes.iter().map(|scope| format!("{SCOPES}{scope}")).collect::<Vec<_>>().join(" ");
        let caller = Caller { email: world.tokens.user.clone(), app: world.tokens.client_id.clone(), scopes };
        let target = format!("{redirect}?{state}code={}&scope={}", encode(&code), encode(&granted));
        world.tokens.codes.insert(code, Code { caller, redirect: redirect.to_owned(), challenge });
        target
    };
    let mut answer = empty_answer(302);
    answer.headers_mut().insert(header::LOCATION, target.parse().unwrap());
    Ok(answer)
}
