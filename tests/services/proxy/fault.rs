//! What goes wrong, and with which requests.

use super::message::{Head, operation};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What happens to a request, or to a connection that is not understood. Offsets count bytes of the body.
#[derive(Clone)]
pub(super) enum Effect {
    CutRequest(u64),
    CutResponse(u64),
    StallRequest(u64),
    StallResponse(u64),
    DropReply,
    Late(Duration),
    Slow(u64),
    CorruptRequest(u64),
    CorruptResponse(u64),
    Answer(Answer),
    Replace(Answer),
    Edit(Arc<dyn Fn(Answer) -> Answer + Send + Sync>),
}

impl Effect {
    pub(super) fn suits_tcp(&self) -> bool {
        !matches!(self, Self::Answer(_) | Self::Replace(_) | Self::Edit(_))
    }
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutRequest(n) => write!(f, "cut the request after {n}"),
            Self::CutResponse(n) => write!(f, "cut the response after {n}"),
            Self::StallRequest(n) => write!(f, "stall the request after {n}"),
            Self::StallResponse(n) => write!(f, "stall the response after {n}"),
            Self::DropReply => write!(f, "drop the reply"),
            Self::Late(by) => write!(f, "arrive {by:?} late"),
            Self::Slow(n) => write!(f, "{n} bytes a second"),
            Self::CorruptRequest(n) => write!(f, "corrupt the request at {n}"),
            Self::CorruptResponse(n) => write!(f, "corrupt the response at {n}"),
            Self::Answer(answer) => write!(f, "answer {}", answer.status),
            Self::Replace(answer) => write!(f, "replace the answer by {}", answer.status),
            Self::Edit(_) => write!(f, "edit the answer"),
        }
    }
}

/// An answer of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `503`.
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a body of text.
    pub fn new(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    /// What S3 says where something is wrong: `Answer::s3(503, "SlowDown")`.
    pub fn s3(status: u16, code: &str) -> Self {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>injected</Message>\
             <RequestId>TEST</RequestId></Error>"
        );
        Self::new(status, &text).header("content-type", "application/xml")
    }

    /// The same with another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Injected\r\n", self.status).into_bytes();
        let own = ["content-length", "transfer-encoding"];
        for (name, value) in self.headers.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
            bytes.extend(format!("{name}: {value}\r\n").bytes());
        }
        bytes.extend(format!("content-length: {}\r\n\r\n", self.body.len()).bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// A fault, aimed at every request until one of the aiming methods says otherwise, and for one time only until
/// [`Fault::times`] or [`Fault::always`] say otherwise.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fault {
    effect: Effect,
    method: Option<String>,
    path: Option<String>,
    query: Option<String>,
    operation: Option<String>,
    nth: u32,
    times: u32,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self { effect, method: None, path: None, query: None, operation: None, nth: 1, times: 1 }
    }

    /// Passes `bytes` of the request on (never its last one), then closes both connections.
    pub fn cut_request_after(bytes: u64) -> Self {
        Self::new(Effect::CutRequest(bytes))
    }

    /// Passes `bytes` of the answer on (never its last one), then closes both connections.
    pub fn cut_response_after(bytes: u64) -> Self {
        Self::new(Effect::CutResponse(bytes))
    }

    /// Passes `bytes` of the request on (never its last one), then nothing more, without closing anything.
    pub fn stall_request_after(bytes: u64) -> Self {
        Self::new(Effect::StallRequest(bytes))
    }

    /// Passes `bytes` of the answer on (never its last one), then nothing more, without closing anything.
    pub fn stall_response_after(bytes: u64) -> Self {
        Self::new(Effect::StallResponse(bytes))
    }

    /// Passes the whole request on, waits for the whole answer, and closes the client's connection without it.
    pub fn drop_reply() -> Self {
        Self::new(Effect::DropReply)
    }

    /// Passes the request on, but its last byte only after this time, also if the client has given up by then: so the
    /// server does late what nobody waits for any more.
    pub fn late(by: Duration) -> Self {
        Self::new(Effect::Late(by))
    }

    /// Passes both directions on at this pace.
    pub fn slow(bytes_per_second: u64) -> Self {
        Self::new(Effect::Slow(bytes_per_second))
    }

    /// Changes the byte at this offset of the request, or its last one if it is shorter.
    pub fn corrupt_request_at(offset: u64) -> Self {
        Self::new(Effect::CorruptRequest(offset))
    }

    /// Changes the byte at this offset of the answer, or its last one if it is shorter.
    pub fn corrupt_response_at(offset: u64) -> Self {
        Self::new(Effect::CorruptResponse(offset))
    }

    /// Answers in the server's place, which never hears of the request.
    pub fn answer(answer: Answer) -> Self {
        Self::new(Effect::Answer(answer))
    }

    /// Answers with S3's error in the server's place: `Fault::s3(503, "SlowDown")`.
    pub fn s3(status: u16, code: &str) -> Self {
        Self::answer(Answer::s3(status, code))
    }

    /// Lets the server do what was asked, and gives the client another answer.
    pub fn replace(answer: Answer) -> Self {
        Self::new(Effect::Replace(answer))
    }

    /// Lets the server do what was asked, and gives the client the server's answer as `edit` changes it.
    pub fn edit(edit: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Self {
        Self::new(Effect::Edit(Arc::new(edit)))
    }

    /// Only requests with this method.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path, as it is sent, holds this.
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only requests whose query, as it is sent, holds this.
    pub fn query(mut self, part: &str) -> Self {
        self.query = Some(part.to_owned());
        self
    }

    /// Only requests that S3 calls so: see [`super::operation`].
    pub fn operation(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// From the `nth` matching request on; 1 is the first.
    pub fn nth(mut self, nth: u32) -> Self {
        self.nth = nth;
        self
    }

    /// So many matching requests in a row.
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Every matching request.
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    pub(super) fn aimed(self) -> Arc<Aimed> {
        Arc::new(Aimed {
            effect: self.effect.clone(),
            fault: self,
            seen: AtomicU32::new(0),
            happened: AtomicU32::new(0),
        })
    }
}

/// A fault at work.
pub(super) struct Aimed {
    pub(super) effect: Effect,
    fault: Fault,
    seen: AtomicU32,
    happened: AtomicU32,
}

impl Aimed {
    /// Whether this request is to have the fault; counts it.
    pub(super) fn takes(&self, head: &Head) -> bool {
        let fault = &self.fault;
        let suits = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        let matches = suits(&fault.method, &|method| head.method == method)
            && suits(&fault.path, &|part| head.path.contains(part))
            && suits(&fault.query, &|part| head.query.contains(part))
            && suits(&fault.operation, &|name| operation(&head.method, &head.path, &head.query) == name);
        if !matches {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let takes = number >= fault.nth && number - fault.nth < fault.times;
        if takes {
            self.happened.fetch_add(1, Ordering::SeqCst);
        }
        takes
    }
}

/// A fault that was injected, to ask how often it happened.
pub struct Injected(pub(super) Arc<Aimed>);

impl Injected {
    /// How many requests it was done to.
    pub fn happened(&self) -> u32 {
        self.0.happened.load(Ordering::SeqCst)
    }

    /// How many requests matched, whether or not it was their turn.
    pub fn seen(&self) -> u32 {
        self.0.seen.load(Ordering::SeqCst)
    }
}
