//! Errors in the forms that Google's servers give them: Drive's JSON, the token endpoint's JSON, the upload server's text.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

/// A request that is not done, and how the client hears of it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    reason: Option<String>,
    body: String,
    content_type: &'static str,
    headers: Vec<(HeaderName, String)>,
}

pub(super) type Answer = Result<Response, Refusal>;

const JSON: &str = "application/json; charset=UTF-8";

impl Refusal {
    /// Drive's own form: https://developers.google.com/workspace/drive/api/guides/handle-errors
    pub(super) fn new(status: u16, reason: &str, message: impl Into<String>) -> Self {
        Self::detailed(status, reason, &message.into(), &json!({}))
    }

    fn detailed(status: u16, reason: &str, message: &str, location: &Value) -> Self {
        let limits = ["userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded", "storageQuotaExceeded"];
        let domain = if limits.contains(&reason) { "usageLimits" } else { "global" };
        let mut error = json!({"message": message, "domain": domain, "reason": reason});
        for (key, value) in location.as_object().unwrap() {
            error[key] = value.clone();
        }
        let name = match status {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ALREADY_EXISTS",
            429 => "RESOURCE_EXHAUSTED",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        let body = json!({"error": {"code": status, "message": message, "errors": [error], "status": name}});
        Self {
            status,
            reason: Some(reason.to_owned()),
            body: format!("{body:#}"),
            content_type: JSON,
            headers: Vec::new(),
        }
    }

    /// A parameter of the query is wrong.
    pub(super) fn parameter(reason: &str, name: &str, message: impl Into<String>) -> Self {
        let location = json!({"locationType": "parameter", "location": name});
        Self::detailed(400, reason, &message.into(), &location)
    }

    pub(super) fn invalid(name: &str) -> Self {
        Self::parameter("invalid", name, "Invalid Value")
    }

    pub(super) fn not_found(id: &str) -> Self {
        let location = json!({"locationType": "parameter", "location": "fileId"});
        Self::detailed(404, "notFound", &format!("File not found: {id}."), &location)
    }

    pub(super) fn unauthorized(missing: bool) -> Self {
        let location = json!({"locationType": "header", "location": "Authorization"});
        let (reason, message) =
            if missing { ("required", "Login Required.") } else { ("authError", "Invalid Credentials") };
        let refusal = Self::detailed(401, reason, message, &location);
        refusal.header(header::WWW_AUTHENTICATE, "Bearer realm=\"https://accounts.google.com/\"")
    }

    /// The token endpoint's form, RFC 6749 section 5.2.
    pub(super) fn oauth(status: u16, error: &str, description: &str) -> Self {
        let body = json!({"error": error, "error_description": description});
        Self {
            status,
            reason: Some(error.to_owned()),
            body: format!("{body:#}"),
            content_type: JSON,
            headers: Vec::new(),
        }
    }

    /// What the server for uploads says of itself.
    pub(super) fn text(status: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            reason: None,
            body: message.into(),
            content_type: "text/plain; charset=utf-8",
            headers: Vec::new(),
        }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The API's reason, or the token endpoint's error.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
        }
        response
    }
}

/// A good answer.
pub(super) fn json_answer(value: &Value) -> Response {
    let mut response = Response::new(Body::from(format!("{value:#}")));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// An answer without a body.
pub(super) fn empty_answer(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}
