//! What goes wrong, and when: by the count of requests that match, or at random from a seed.

use super::refusal::Refusal;

/// What goes wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is refused without being done, with this status and reason: `(403, "userRateLimitExceeded")`.
    Refused(u16, &'static str),
    /// The same with `Retry-After`, in seconds.
    RefusedFor(u16, &'static str, u64),
    /// The connection is cut before anything is done.
    CutBefore,
    /// It is done, and the connection is cut instead of an answer.
    CutAfter,
    /// The connection is cut after so many bytes of the request's body; an upload keeps what it can of them.
    CutDuring(u64),
    /// The connection is cut after so many bytes of the answer, those of headers included.
    CutReply(u64),
    /// Nothing is done, and no answer comes.
    StallBefore,
    /// It is done, and no answer comes.
    StallAfter,
    /// The answer stops after so many bytes, those of headers included, and the connection stays open.
    StallReply(u64),
    /// Of this chunk only so many bytes are kept, in whole units of 256 KiB; the answer is a 308 that says so.
    Keep(u64),
    /// Nothing of the whole upload is kept; the answer is a 308 without a range.
    ForgetAll,
    /// The upload's session dies, with 404 or 410.
    KillSession(u16),
    /// A byte of what this request brings is stored wrongly; the server's checksums are those of the wrong bytes.
    Corrupt,
    /// A byte of what this request downloads is wrong.
    CorruptReply,
    /// The listing says that it may lack files, and lacks the last one.
    Incomplete,
    /// Every access token expires just before this request.
    ExpireTokens,
    /// The token endpoint says `invalid_grant`.
    InvalidGrant,
}

/// A fault and when it strikes: by default once, at the first request of the API that comes.
#[derive(Debug, Clone)]
pub struct DriveFault {
    wrong: Wrong,
    method: Option<&'static str>,
    part: String,
    skip: u64,
    times: u64,
}

impl DriveFault {
    pub fn new(wrong: Wrong) -> Self {
        Self { wrong, method: None, part: String::new(), skip: 0, times: 1 }
    }

    /// Only at requests of this method whose `PATH?QUERY` holds this part, as in `("GET", "pageToken=")`.
    #[must_use]
    pub fn on(mut self, method: &'static str, part: impl Into<String>) -> Self {
        self.method = Some(method);
        self.part = part.into();
        self
    }

    /// At the nth of the matching requests, from 1 on, counted from when the fault was added.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.skip = nth - 1;
        self
    }

    /// At so many matching requests one after the other.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// At every matching request from then on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    fn strikes(&mut self, method: &str, target: &str) -> bool {
        if self.times == 0 || self.method.is_some_and(|only| only != method) || !target.contains(&self.part) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// Faults at random.
#[derive(Debug)]
struct Chance {
    state: u64,
    one_in: u64,
    left: u64,
    wrongs: Vec<Wrong>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<DriveFault>,
    chance: Option<Chance>,
    /// Those that struck, in order: method, path, fault.
    pub struck: Vec<(String, String, Wrong)>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: DriveFault) {
        self.planned.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
        self.chance = None;
    }

    pub(super) fn at_random(&mut self, seed: u64, one_in: u64, at_most: u64, wrongs: Vec<Wrong>) {
        assert!(one_in > 0 && !wrongs.is_empty());
        self.chance = Some(Chance { state: seed, one_in, left: at_most, wrongs });
    }

    /// What goes wrong with this request; every fault that matches counts it.
    pub(super) fn strike(&mut self, method: &str, target: &str) -> Option<Wrong> {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let mut struck = None;
        for fault in &mut self.planned {
            // Without a place, faults are for the API: those of the token endpoint name it.
            let place = !fault.part.is_empty() || path.contains("/drive/v3/");
            if struck.is_none() && place && fault.strikes(method, target) {
                struck = Some(fault.wrong.clone());
            }
        }
        if struck.is_none() && path.contains("/drive/v3/") {
            struck = self.chance.as_mut().and_then(Chance::draw);
        }
        if let Some(wrong) = &struck {
            self.struck.push((method.to_owned(), path, wrong.clone()));
        }
        struck
    }
}

impl Chance {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn draw(&mut self) -> Option<Wrong> {
        let strikes = self.next().is_multiple_of(self.one_in);
        let pick = self.next() as usize % self.wrongs.len();
        let bytes = self.next() % (1 << 20);
        if !strikes || self.left == 0 {
            return None;
        }
        self.left -= 1;
        Some(match &self.wrongs[pick] {
            Wrong::CutDuring(_) => Wrong::CutDuring(bytes),
            Wrong::CutReply(_) => Wrong::CutReply(bytes),
            Wrong::Keep(_) => Wrong::Keep(bytes),
            wrong => wrong.clone(),
        })
    }
}

impl Wrong {
    /// Everything that passes by itself, and that a client must outlive without a loss. The numbers of bytes are drawn
    /// anew each time.
    pub fn passing() -> Vec<Self> {
        vec![
            Self::Refused(403, "userRateLimitExceeded"),
            Self::Refused(403, "rateLimitExceeded"),
            Self::RefusedFor(429, "rateLimitExceeded", 0),
            Self::Refused(500, "internalError"),
            Self::Refused(502, "badGateway"),
            Self::Refused(503, "backendError"),
            Self::CutBefore,
            Self::CutAfter,
            Self::CutDuring(0),
            Self::CutReply(0),
            Self::Keep(0),
            Self::ForgetAll,
            Self::ExpireTokens,
        ]
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        let message = |status: u16| match status {
            403 => "User Rate Limit Exceeded. Rate of requests for user exceed configured project quota.",
            429 => "Too many requests.",
            _ => "Internal Error",
        };
        match self {
            Self::Refused(status, reason) => Some(Refusal::new(*status, reason, message(*status))),
            Self::RefusedFor(status, reason, seconds) => {
                let refusal = Refusal::new(*status, reason, message(*status));
                Some(refusal.header(axum::http::header::RETRY_AFTER, seconds.to_string()))
            }
            _ => None,
        }
    }
}
