//! Reading from a pipe in big pieces, though its writer writes small ones.

use std::io::Read;
use std::time::Duration;

/// A read that brings less than this found the pipe nearly empty.
const LITTLE: usize = 256 << 10;

/// How long to let the pipe fill then. At 200 MB/s that is a fifth of a wide pipe, so that the writer never waits.
const PAUSE: Duration = Duration::from_millis(1);

/// A reader of a pipe that lets it fill before it reads again. One that is always waiting is woken by every few kilobytes
/// that pg_dump writes, and on a machine with all cores busy those wake-ups cost the dump a tenth of its speed.
pub struct Unhurried<R> {
    inner: R,
    nearly_empty: bool,
}

impl<R> Unhurried<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, nearly_empty: false }
    }
}

impl<R: Read> Read for Unhurried<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.nearly_empty {
            std::thread::sleep(PAUSE);
        }
        let read = self.inner.read(buffer)?;
        self.nearly_empty = read < buffer.len() && read < LITTLE;
        Ok(read)
    }
}
