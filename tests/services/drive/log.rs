//! What was asked of the server, for tests to look at; without anything secret.

/// One request.
#[derive(Debug, Clone)]
pub struct Logged {
    pub method: String,
    pub path: String,
    /// The parameters, decoded; those that are credentials are masked.
    pub query: Vec<(String, String)>,
    /// `None` as long as it is under way, and for ever when the connection was cut or is stalled.
    pub status: Option<u16>,
    /// The `reason` of a refusal by the API.
    pub reason: Option<String>,
    /// The `Content-Range` of an upload's request.
    pub range: Option<String>,
    /// The bytes of the request's body that arrived.
    pub bytes_in: u64,
    /// The bytes of the answer's body.
    pub bytes_out: u64,
}

impl Logged {
    pub(super) fn new(method: &str, path: &str, query: &[(String, String)], range: Option<&str>) -> Self {
        let secret = ["upload_id", "code", "access_token", "code_challenge", "state"];
        let mask = |(key, value): &(String, String)| {
            let value = if secret.contains(&key.as_str()) { "***" } else { value };
            (key.clone(), value.to_owned())
        };
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.iter().map(mask).collect(),
            status: None,
            reason: None,
            range: range.map(str::to_owned),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
