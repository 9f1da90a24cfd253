//! Progress on stderr: a bar on a terminal, a plain line every ten seconds elsewhere, nothing when it should be quiet.
//!
//! Events say which step runs and hand over its counters; one thread samples them until the run is over.

mod bar;
mod sample;

use super::voice;
use super::words::printable;
use crate::event::{Event, Observer};
use bar::Bar;
use sample::Step;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the bar moves.
const BAR_PERIOD: Duration = Duration::from_millis(200);

/// How often a line is written where there is no bar. Work that is shorter writes none.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// Shows events as they come.
pub(super) struct Display {
    quiet: bool,
    shared: Arc<Mutex<Shared>>,
    sampler: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

struct Shared {
    /// `None` where stderr is no terminal, or nothing is to be shown.
    bar: Option<Bar>,
    subject: String,
    step: Option<Step>,
    told: BTreeSet<String>,
}

impl Display {
    /// A display for this process's stderr.
    pub(super) fn new(quiet: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let bar = (!quiet && !dumb && std::io::stderr().is_terminal()).then(Bar::default);
        let shared = Shared { bar, subject: String::new(), step: None, told: BTreeSet::new() };
        Self { quiet, shared: Arc::new(Mutex::new(shared)), sampler: Mutex::new(None) }
    }

    /// Takes the bar away until the next event, so that something else can be written.
    pub(super) fn pause(&self) {
        lock(&self.shared).rest();
    }

    /// Whether `warning` was shown when it came.
    pub(super) fn has_told(&self, warning: &str) -> bool {
        lock(&self.shared).told.contains(warning)
    }

    /// Takes the bar away and ends the sampling.
    pub(super) fn end(&self) {
        let sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = sampler {
            drop(stop);
            // A sampler that panicked has nothing more to show; the work is not its business.
            drop(thread.join());
        }
        lock(&self.shared).rest();
    }

    fn start(&self) {
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        if self.quiet || sampler.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let period = if lock(&shared).bar.is_some() { BAR_PERIOD } else { LINE_PERIOD };
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(period) {
                lock(&shared).sample(Instant::now());
            }
        });
        // Without a thread to spare there is no progress, which is no reason to stop.
        *sampler = thread.ok().map(|thread| (stop, thread));
    }
}

impl Observer for Display {
    fn observe(&self, event: &Event) {
        if matches!(event, Event::Started { .. } | Event::Phase { .. }) {
            self.start();
        }
        lock(&self.shared).take(event, self.quiet);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn take(&mut self, event: &Event, quiet: bool) {
        match event {
            Event::Started { what, subject } => {
                self.subject = format!("{what} {}", printable(subject));
                self.step = None;
            }
            Event::Phase { phase, progress } => {
                let step = Step::new(*phase, Arc::clone(progress), Instant::now());
                if let Some(bar) = &mut self.bar {
                    bar.show(&self.subject, &step.sample(Instant::now()));
                }
                self.step = Some(step);
            }
            Event::Warning(warning) => {
                self.told.insert(warning.clone());
                self.write(|| voice::warn(warning));
            }
            Event::Note(note) if !quiet => self.write(|| voice::stderr(&format!("note: {}\n", printable(note)))),
            Event::Swept { destination, key } if !quiet => {
                let (key, destination) = (printable(key), printable(destination));
                let line = format!("removed what an interrupted run left at {destination}: {key}\n");
                self.write(|| voice::stderr(&line));
            }
            // The block on stdout tells it.
            Event::Stored { .. } | Event::Note(_) | Event::Swept { .. } => {}
            Event::Finished => self.rest(),
        }
    }

    /// Shows nothing until the next step.
    fn rest(&mut self) {
        self.step = None;
        if let Some(bar) = &mut self.bar {
            bar.clear();
        }
    }

    /// Writes to stderr without tearing the bar.
    fn write(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.around(write),
            None => write(),
        }
    }

    fn sample(&mut self, now: Instant) {
        let Some(step) = &mut self.step else { return };
        step.record(now);
        let sample = step.sample(now);
        match &mut self.bar {
            Some(bar) => bar.show(&self.subject, &sample),
            None => voice::stderr(&format!("{}: {}\n", self.subject, sample.line())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_that_was_told_is_remembered_and_ending_twice_is_harmless() {
        let display = Display::new(true);
        display.observe(&Event::Started { what: "backup", subject: "shop".into() });
        display.observe(&Event::Warning("no globals".into()));
        display.observe(&Event::Finished);
        assert!(display.has_told("no globals") && !display.has_told("other"));
        display.end();
        display.end();
    }
}
