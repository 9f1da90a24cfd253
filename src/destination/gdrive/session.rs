//! One session of a resumable upload: bytes are sent, and kept until Drive acknowledges them.
//!
//! Source: Google's guide "Upload file data", resumable uploads. The size is not known before the end: chunks say
//! `bytes a-b/*`, the last one `bytes a-b/N`. 308 names what Drive has; after anything doubtful it is asked (`bytes */*`) and
//! the rest is sent. The session's URI is a credential.

use super::api::{Api, Taken};
use super::failure::{nonsense, refused};
use super::files::Files;
use crate::config::CHUNK_UNIT;
use crate::destination::Backoff;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::ReaderStream;

/// The longest answer to a chunk that is read, in bytes.
const LARGEST_ANSWER: u64 = 1 << 20;

/// How much of a chunk goes out in one piece.
const PIECE: usize = 64 << 10;

/// How often a session that died before anything was acknowledged is replaced.
const REPLACEMENTS: u32 = 3;

/// See the module.
pub(super) struct Session {
    files: Arc<Files>,
    /// Names the file in errors.
    what: String,
    /// What the file will be: its id among it.
    metadata: Value,
    id: String,
    uri: Secret,
    /// How many bytes Drive has for certain; `held` begins there.
    base: u64,
    held: Bytes,
    /// The size is known, and was or may have been told.
    ending: bool,
    doubtful: bool,
    replaced: u32,
}

/// What Drive said about a session.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It has this many bytes.
    Has(u64),
    /// The file exists.
    Complete,
    /// It does not know the session any more.
    Gone,
}

/// How sending ended.
enum Sent {
    Taken,
    /// The session died, and what it had is not here any more.
    Dead,
}

impl Session {
    /// Begins a session for a new file of `metadata`, once.
    pub(super) async fn start(files: Arc<Files>, what: String, id: String, metadata: Value) -> Result<Self> {
        let uri = begin(&files.api, &what, &metadata).await?;
        Ok(Self {
            files,
            what,
            metadata,
            id,
            uri,
            base: 0,
            held: Bytes::new(),
            ending: false,
            doubtful: false,
            replaced: 0,
        })
    }

    /// The id that the file will have, or has.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether the file may exist: the size was told.
    pub(super) fn may_exist(&self) -> bool {
        self.ending
    }

    /// Sends `chunk` after what was sent before, and with it the size if it is the `last`. What Drive cannot take alone, less
    /// than its unit, waits for the next one.
    pub(super) async fn send(&mut self, backoff: &Backoff, chunk: Bytes, last: bool) -> Result<()> {
        self.held = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::from(&self.held[..]);
            joined.extend_from_slice(&chunk);
            joined.freeze()
        };
        let what = self.what.clone();
        let session = tokio::sync::Mutex::new(self);
        match backoff.run(|_| async { session.lock().await.attempt(last).await }).await? {
            Sent::Taken => Ok(()),
            Sent::Dead => Err(Error::new(
                ErrorKind::Unavailable,
                format!("Google Drive gave up the upload of {what} in the middle"),
            )
            .hint("what was sent before is gone, so it cannot go on; back up again")),
        }
    }

    async fn attempt(&mut self, last: bool) -> Result<Sent> {
        if self.doubtful {
            let state = self.ask().await?;
            if let Some(sent) = self.learn(state, last).await? {
                return Ok(sent);
            }
        }
        loop {
            let length = sendable(self.held.len(), last);
            if length == 0 && !last {
                return Ok(Sent::Taken);
            }
            let before = (self.base, self.replaced);
            self.doubtful = true;
            self.ending |= last;
            let state = self.put(self.held.slice(..length), last).await?;
            if let Some(sent) = self.learn(state, last).await? {
                return Ok(sent);
            }
            if before == (self.base, self.replaced) {
                return Err(Error::new(ErrorKind::Unavailable, format!("Drive takes no more of {}", self.what)));
            }
        }
    }

    /// Draws the consequences of what Drive said; `Some` where nothing is left to send.
    async fn learn(&mut self, state: State, last: bool) -> Result<Option<Sent>> {
        match state {
            State::Has(has) => {
                self.held = acknowledged(self.base, &self.held, has).ok_or_else(|| self.lost(has))?;
                self.base = has;
                self.doubtful = false;
                Ok(None)
            }
            State::Complete if last && self.ending => {
                self.base += self.held.len() as u64;
                self.held = Bytes::new();
                self.doubtful = false;
                Ok(Some(Sent::Taken))
            }
            State::Complete => {
                Err(Error::new(ErrorKind::Damaged, format!("Drive ended the upload of {} before its end", self.what)))
            }
            State::Gone => {
                // A session dies when its file is complete, too: then the answer that said so was lost.
                if self.ending && self.files.find_id(&self.what, &self.id).await?.is_some() {
                    return Ok(Some(Sent::Taken));
                }
                if self.base > 0 || self.replaced >= REPLACEMENTS {
                    return Ok(Some(Sent::Dead));
                }
                self.uri = begin(&self.files.api, &self.what, &self.metadata).await?;
                self.replaced += 1;
                self.doubtful = false;
                Ok(None)
            }
        }
    }

    fn lost(&self, has: u64) -> Error {
        let (from, to) = (self.base, self.base + self.held.len() as u64);
        Error::new(
            ErrorKind::Damaged,
            format!("Drive lost a part of {}: it had {from} bytes, was sent up to {to}, and has {has} now", self.what),
        )
        .hint("what was sent before is not here any more, so it cannot go on; back up again")
    }

    /// Sends `piece` from `base` on.
    async fn put(&self, piece: Bytes, last: bool) -> Result<State> {
        let doing = format!("cannot send bytes {} and following of {}", self.base, self.what);
        let range = content_range(self.base, piece.len() as u64, last);
        self.request(&doing, &range, piece).await
    }

    /// Asks what Drive has.
    async fn ask(&self) -> Result<State> {
        self.request(&format!("cannot ask how much of {} has arrived", self.what), "bytes */*", Bytes::new()).await
    }

    async fn request(&self, doing: &str, range: &str, piece: Bytes) -> Result<State> {
        let answer = self
            .files
            .api
            .send(doing, LARGEST_ANSWER, |client, taken| {
                let body = Piece { bytes: piece.clone(), taken: Taken::clone(taken) };
                let request = client.put(self.uri.expose()).header(CONTENT_RANGE, range);
                let request = request.header(CONTENT_LENGTH, piece.len());
                if piece.is_empty() {
                    return request;
                }
                request.body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(body, PIECE)))
            })
            .await?;
        match answer.status.as_u16() {
            200 | 201 => Ok(State::Complete),
            308 => Ok(State::Has(received(answer.header("range")).map_err(|why| nonsense(doing, why))?)),
            404 | 410 => Ok(State::Gone),
            _ => Err(refused(doing, answer.status, &answer.body)),
        }
    }

    /// Gives the session up. That Drive does not know it is success; Drive says 499 where it did.
    pub(super) async fn cancel(&self) -> Result<()> {
        let doing = format!("cannot give up the upload of {}", self.what);
        let answer = self
            .files
            .api
            .send(&doing, LARGEST_ANSWER, |client, _| client.delete(self.uri.expose()).header(CONTENT_LENGTH, 0))
            .await?;
        match answer.status.as_u16() {
            200..=299 | 404 | 410 | 499 => Ok(()),
            _ => Err(refused(&doing, answer.status, &answer.body)),
        }
    }
}

/// Begins a session and returns its URI.
async fn begin(api: &Api, what: &str, metadata: &Value) -> Result<Secret> {
    let doing = format!("cannot begin the upload of {what}");
    let answer = api
        .done(&doing, |client| {
            client
                .post(api.upload_url())
                .query(&[("uploadType", "resumable"), ("supportsAllDrives", "true"), ("fields", "id")])
                .header("X-Upload-Content-Type", "application/octet-stream")
                .header(CONTENT_TYPE, "application/json; charset=UTF-8")
                .body(metadata.to_string())
        })
        .await?;
    let uri = answer.header("location").ok_or_else(|| nonsense(&doing, "it names no session"))?;
    if !api.trusts(uri) {
        return Err(nonsense(&doing, "its session is on a host that is not Google's"));
    }
    Ok(Secret::new(uri))
}

/// How many of `held` bytes can be sent now: all at the end, before it whole units.
fn sendable(held: usize, last: bool) -> usize {
    if last { held } else { held - held % CHUNK_UNIT as usize }
}

/// The header of a request that sends `length` bytes from `from` on.
fn content_range(from: u64, length: u64, last: bool) -> String {
    let end = from + length;
    match (length, last) {
        (0, _) => format!("bytes */{end}"),
        (_, true) => format!("bytes {from}-{}/{end}", end - 1),
        (_, false) => format!("bytes {from}-{}/*", end - 1),
    }
}

/// How many bytes the `Range` of a 308 says have arrived: `bytes=0-41` are 42, none is none.
fn received(range: Option<&str>) -> std::result::Result<u64, &'static str> {
    let Some(range) = range else { return Ok(0) };
    let wrong = "its Range is none";
    let text = range.trim();
    let text = text.strip_prefix("bytes").map_or(text, |rest| rest.trim_start_matches(['=', ' ']));
    let (first, last) = text.split_once('-').ok_or(wrong)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if first != "0" || !digits(last) {
        return Err(wrong);
    }
    last.parse::<u64>().ok().and_then(|last| last.checked_add(1)).ok_or(wrong)
}

/// What is left of `held`, which begins at `base`, when Drive has `has` bytes; `None` if that cannot be.
fn acknowledged(base: u64, held: &Bytes, has: u64) -> Option<Bytes> {
    let taken = usize::try_from(has.checked_sub(base)?).ok()?;
    (taken <= held.len()).then(|| held.slice(taken..))
}

/// A body that counts what was taken of it.
struct Piece {
    bytes: Bytes,
    taken: Taken,
}

impl AsyncRead for Piece {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let length = buffer.remaining().min(self.bytes.len());
        let piece = self.bytes.split_to(length);
        buffer.put_slice(&piece);
        self.taken.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_much_has_arrived() {
        for (range, bytes) in [
            (None, Ok(0)),
            (Some("bytes=0-0"), Ok(1)),
            (Some("bytes=0-262143"), Ok(262_144)),
            (Some("0-42"), Ok(43)),
            (Some("bytes 0-42"), Ok(43)),
        ] {
            assert_eq!(received(range), bytes, "{range:?}");
        }
        for wrong in
            ["", "bytes=", "bytes=1-5", "bytes=0-", "bytes=0--1", "bytes=0-5,7-9", "bytes=0-18446744073709551615", "x"]
        {
            assert!(received(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn requests_say_what_they_send() {
        assert_eq!(content_range(0, 262_144, false), "bytes 0-262143/*");
        assert_eq!(content_range(262_144, 10, true), "bytes 262144-262153/262154");
        assert_eq!(content_range(262_144, 0, true), "bytes */262144");
        assert_eq!(content_range(0, 0, true), "bytes */0");
    }

    #[test]
    fn before_the_end_only_whole_units_are_sent() {
        let unit = CHUNK_UNIT as usize;
        for (held, last, sent) in [
            (0, false, 0),
            (unit - 1, false, 0),
            (unit, false, unit),
            (3 * unit + 5, false, 3 * unit),
            (5, true, 5),
            (0, true, 0),
        ] {
            assert_eq!(sendable(held, last), sent, "{held} {last}");
        }
    }

    #[test]
    fn only_what_is_acknowledged_is_forgotten() {
        let held = Bytes::from_static(b"0123456789");
        for (has, left) in [
            (100, Some(&b"0123456789"[..])),
            (104, Some(&b"456789"[..])),
            (110, Some(&b""[..])),
            (99, None),
            (111, None),
        ] {
            assert_eq!(acknowledged(100, &held, has).as_deref(), left, "{has}");
        }
    }
}
