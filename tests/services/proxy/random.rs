//! Random faults that come again with their seed.

use super::fault::{Answer, Effect};
use super::message::{Head, Length, operation};

/// The longest answer that a random offset is chosen for, in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A stream of faults.
pub(super) struct Random {
    state: u64,
    probability: f64,
}

impl Random {
    pub(super) fn new(seed: u64, probability: f64) -> Self {
        Self { state: seed, probability }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// What happens to this request, if anything.
    pub(super) fn effect(&mut self, head: &Head) -> Option<Effect> {
        // Always three draws, so that one request's luck does not depend on what the ones before it were.
        let (luck, which, place) = (self.next(), self.below(22), self.next());
        if (luck >> 11) as f64 / (1_u64 << 53) as f64 >= self.probability {
            return None;
        }
        let body = if let Length::Fixed(length) = head.request_length() { length } else { LONGEST_ANSWER };
        let operation = operation(&head.method, &head.path, &head.query);
        let (in_body, in_answer) = (place % body.max(1), place % LONGEST_ANSWER);
        // Nothing but TLS protects what the service says about itself: there, only what objects hold is corrupted.
        let corrupt = match operation {
            "PutObject" | "UploadPart" if body > 0 => Effect::CorruptRequest(in_body),
            "GetObject" => Effect::CorruptResponse(in_answer),
            _ => Effect::DropReply,
        };
        Some(match which {
            0..=3 => Effect::CutRequest(in_body),
            4..=5 => Effect::CutResponse(in_answer % 400),
            6 => Effect::StallRequest(in_body),
            7 => Effect::StallResponse(in_answer % 400),
            8..=11 => Effect::DropReply,
            12 => Effect::Answer(Answer::s3(500, "InternalError")),
            13..=14 => Effect::Answer(Answer::s3(503, "SlowDown")),
            15 => Effect::Answer(Answer::s3(429, "TooManyRequests").header("retry-after", "1")),
            16 => Effect::Replace(Answer::s3(500, "InternalError")),
            17..=19 => corrupt,
            // What no patience helps against, and so has to be cleaned up after.
            _ => match operation {
                "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" | "PutObject" => {
                    Effect::Answer(Answer::s3(403, "AccessDenied"))
                }
                _ => Effect::DropReply,
            },
        })
    }
}
