//! Copying a body from one connection to the other, with what is done to it on the way.

use super::fault::Effect;
use super::message::{Incoming, Length};
use std::io::{ErrorKind, Result, Write};
use std::time::Duration;

/// What is done to the bytes of one direction; offsets in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    pub(super) cut_after: Option<u64>,
    pub(super) stall_after: Option<u64>,
    pub(super) corrupt_at: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
    /// How long the last byte of a body of known length is held back.
    pub(super) late: Option<Duration>,
}

/// How copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    Whole,
    Cut,
    Stalled,
}

impl Plan {
    /// What an effect means for the request and for the answer.
    pub(super) fn both(effect: Option<&Effect>) -> [Self; 2] {
        let none = Self::default;
        match effect {
            Some(Effect::CutRequest(n)) => [Self { cut_after: Some(*n), ..none() }, none()],
            Some(Effect::CutResponse(n)) => [none(), Self { cut_after: Some(*n), ..none() }],
            Some(Effect::StallRequest(n)) => [Self { stall_after: Some(*n), ..none() }, none()],
            Some(Effect::StallResponse(n)) => [none(), Self { stall_after: Some(*n), ..none() }],
            Some(Effect::CorruptRequest(n)) => [Self { corrupt_at: Some(*n), ..none() }, none()],
            Some(Effect::CorruptResponse(n)) => [none(), Self { corrupt_at: Some(*n), ..none() }],
            Some(Effect::Late(by)) => [Self { late: Some(*by), ..none() }, none()],
            Some(Effect::Slow(rate)) => [(); 2].map(|()| Self { bytes_per_second: Some(*rate), ..none() }),
            // Of a connection that is not understood.
            Some(Effect::DropReply) => [none(), Self { cut_after: Some(0), ..none() }],
            _ => [none(), none()],
        }
    }

    /// Whether it ends the copying, and so has to happen also where there is nothing to copy.
    pub(super) fn needs_a_body(&self) -> bool {
        self.cut_after.is_some() || self.stall_after.is_some()
    }

    /// The same for a body of `length` bytes: nothing lies beyond its last byte.
    fn within(&self, length: u64) -> Self {
        let last = length.saturating_sub(1);
        let limited = |offset: Option<u64>| offset.map(|offset| offset.min(last));
        Self {
            cut_after: limited(self.cut_after),
            stall_after: limited(self.stall_after),
            corrupt_at: limited(self.corrupt_at),
            bytes_per_second: self.bytes_per_second,
            late: self.late,
        }
    }
}

/// Copies one body. `counted` is told the bytes before they are passed on.
pub(super) fn copy_body(
    from: &mut Incoming,
    to: &mut impl Write,
    length: Length,
    plan: &Plan,
    counted: &mut dyn FnMut(u64),
) -> Result<Copied> {
    let plan = if let Length::Fixed(length) = length { plan.within(length) } else { plan.clone() };
    let mut pipe = Pipe { to, plan, passed: 0, counted };
    match length {
        Length::Fixed(length) => {
            let Some(late) = pipe.plan.late.filter(|_| length > 0) else { return pipe.exactly(from, length) };
            let copied = pipe.exactly(from, length - 1)?;
            // The last byte is taken at once, so that it is there when the client has gone.
            let last = from.some(1)?;
            std::thread::sleep(late);
            if copied == Copied::Whole { pipe.pass(last) } else { Ok(copied) }
        }
        Length::ToEnd => loop {
            let bytes = from.some(u64::MAX)?;
            if bytes.is_empty() {
                return Ok(Copied::Whole);
            }
            let copied = pipe.pass(bytes)?;
            if copied != Copied::Whole {
                return Ok(copied);
            }
        },
        Length::Chunked => loop {
            let line = from.line()?;
            let size = String::from_utf8_lossy(&line).trim().split(';').next().unwrap_or_default().to_owned();
            let size = u64::from_str_radix(&size, 16).map_err(|_| std::io::Error::from(ErrorKind::InvalidData))?;
            if size == 0 {
                if let Some(early) = pipe.at_the_end() {
                    return Ok(early);
                }
                return pipe.trailers(from, line);
            }
            pipe.to.write_all(&line)?;
            let copied = pipe.exactly(from, size)?;
            if copied != Copied::Whole {
                return Ok(copied);
            }
            let end = from.line()?;
            pipe.to.write_all(&end)?;
        },
    }
}

struct Pipe<'p, W> {
    to: &'p mut W,
    plan: Plan,
    passed: u64,
    counted: &'p mut dyn FnMut(u64),
}

impl<W: Write> Pipe<'_, W> {
    fn exactly(&mut self, from: &mut Incoming, mut left: u64) -> Result<Copied> {
        while left > 0 {
            let bytes = from.some(left)?;
            if bytes.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            left -= bytes.len() as u64;
            let copied = self.pass(bytes)?;
            if copied != Copied::Whole {
                return Ok(copied);
            }
        }
        Ok(Copied::Whole)
    }

    fn pass(&mut self, mut bytes: Vec<u8>) -> Result<Copied> {
        let end = self.passed + bytes.len() as u64;
        let inside = |offset: Option<u64>| offset.filter(|offset| *offset < end && *offset >= self.passed);
        if let Some(at) = inside(self.plan.corrupt_at) {
            bytes[(at - self.passed) as usize] ^= 0x55;
        }
        let (cut, stall) = (inside(self.plan.cut_after), inside(self.plan.stall_after));
        if let Some(at) = cut.or(stall) {
            bytes.truncate((at - self.passed) as usize);
        }
        (self.counted)(bytes.len() as u64);
        self.passed = end;
        self.write(&bytes)?;
        Ok(match (cut, stall) {
            (Some(_), _) => Copied::Cut,
            (None, Some(_)) => Copied::Stalled,
            (None, None) => Copied::Whole,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(rate) = self.plan.bytes_per_second else { return self.to.write_all(bytes) };
        // Twenty pieces a second.
        for piece in bytes.chunks((rate / 20).max(1) as usize) {
            self.to.write_all(piece)?;
            std::thread::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64));
        }
        Ok(())
    }

    /// What was planned for an offset that a body of unknown length did not reach.
    fn at_the_end(&self) -> Option<Copied> {
        match (self.plan.cut_after, self.plan.stall_after) {
            (Some(_), _) => Some(Copied::Cut),
            (None, Some(_)) => Some(Copied::Stalled),
            (None, None) => None,
        }
    }

    fn trailers(&mut self, from: &mut Incoming, mut line: Vec<u8>) -> Result<Copied> {
        self.to.write_all(&line)?;
        loop {
            line = from.line()?;
            self.to.write_all(&line)?;
            if line == b"\r\n" {
                return Ok(Copied::Whole);
            }
        }
    }
}
