//! HTTP/1.1 as far as a proxy has to know it: heads, and where bodies end (RFC 9112).

use std::io::{Error, ErrorKind, Read, Result};
use std::net::TcpStream;

/// The longest head that is taken, in bytes.
const LONGEST_HEAD: usize = 256 << 10;

/// The head of a request or an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// As it came, with the empty line.
    pub(super) raw: Vec<u8>,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// The first line as it came.
    line: String,
    /// Names are in lower case.
    pub(super) headers: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// After so many bytes.
    Fixed(u64),
    /// With an empty chunk.
    Chunked,
    /// With the connection.
    ToEnd,
}

impl Head {
    fn parse(raw: Vec<u8>) -> Result<Self> {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        if line.is_empty() {
            return Err(Error::new(ErrorKind::InvalidData, "no HTTP"));
        }
        Ok(Self { raw, method, path, query, line, headers })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn stated(&self) -> Option<Length> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Some(Length::Chunked);
        }
        self.header("content-length").and_then(|value| value.parse().ok()).map(Length::Fixed)
    }

    pub(super) fn request_length(&self) -> Length {
        self.stated().unwrap_or(Length::Fixed(0))
    }

    pub(super) fn response_length(&self, method: &str, status: u16) -> Length {
        if method == "HEAD" || status == 204 || status == 304 {
            return Length::Fixed(0);
        }
        self.stated().unwrap_or(Length::ToEnd)
    }

    pub(super) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// What comes from a connection, heads and bodies.
pub(super) struct Incoming {
    stream: TcpStream,
    ahead: Vec<u8>,
    buffer: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(stream: &TcpStream) -> Result<Self> {
        Ok(Self { stream: stream.try_clone()?, ahead: Vec::new(), buffer: vec![0; 64 << 10] })
    }

    /// The next head; `None` where the connection ends before one.
    pub(super) fn head(&mut self) -> Result<Option<Head>> {
        loop {
            if let Some(at) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.ahead.split_off(at + 4);
                return Head::parse(std::mem::replace(&mut self.ahead, rest)).map(Some);
            }
            if self.ahead.len() > LONGEST_HEAD {
                return Err(Error::new(ErrorKind::InvalidData, "a head without end"));
            }
            if !self.fill()? {
                return if self.ahead.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// A line with its end.
    pub(super) fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(at) = self.ahead.windows(2).position(|window| window == b"\r\n") {
                let rest = self.ahead.split_off(at + 2);
                return Ok(std::mem::replace(&mut self.ahead, rest));
            }
            if self.ahead.len() > LONGEST_HEAD || !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Up to `limit` bytes; none at the end of the connection.
    pub(super) fn some(&mut self, limit: u64) -> Result<Vec<u8>> {
        if self.ahead.is_empty() {
            self.fill()?;
        }
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(self.ahead.len());
        let rest = self.ahead.split_off(length);
        Ok(std::mem::replace(&mut self.ahead, rest))
    }

    fn fill(&mut self) -> Result<bool> {
        let count = self.stream.read(&mut self.buffer)?;
        self.ahead.extend_from_slice(&self.buffer[..count]);
        Ok(count > 0)
    }
}

/// What S3 calls a request in path style.
pub fn operation(method: &str, path: &str, query: &str) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let object = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    match (method, object) {
        ("PUT", true) if has("uploadId") => "UploadPart",
        ("PUT", true) if has("tagging") || has("retention") || has("legal-hold") || has("acl") => "PutObjectSetting",
        ("PUT", true) => "PutObject",
        ("PUT", false) => "PutBucketSetting",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
        ("POST", false) if has("delete") => "DeleteObjects",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("HEAD", true) => "HeadObject",
        ("HEAD", false) => "HeadBucket",
        ("GET", true) if has("uploadId") => "ListParts",
        ("GET", true) if has("attributes") => "GetObjectAttributes",
        ("GET", true) => "GetObject",
        ("GET", false) if has("uploads") => "ListMultipartUploads",
        ("GET", false) if has("list-type") => "ListObjectsV2",
        ("GET", false) if has("versions") => "ListObjectVersions",
        ("GET", false) if query.is_empty() || has("prefix") => "ListObjects",
        ("GET", false) => "GetBucketSetting",
        _ => "other",
    }
}
