//! What every use-case needs: configuration, time, somebody who listens, and a way to be stopped.

use crate::archive::MOST_THREADS;
use crate::cancel::Cancel;
use crate::clock::Clock;
use crate::config::Config;
use crate::event::{Event, Observer, Phase, Progress};
use crate::postgres::Search;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What every use-case needs.
#[derive(Clone)]
pub struct Context {
    /// The configuration; the default one where there is no file.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whoever listens.
    pub observer: Arc<dyn Observer>,
    /// The way to be stopped.
    pub cancel: Cancel,
}

impl Context {
    /// Where PostgreSQL's programs are looked for; `bin_dir` of a job overrides the configuration's.
    pub fn search(&self, bin_dir: Option<&Path>) -> Search {
        Search::new(bin_dir.or(self.config.bin_dir.as_deref()))
    }

    /// Where temporary files go, if not where the system puts them.
    pub fn temp_dir(&self) -> Option<&Path> {
        self.config.temp_dir.as_deref()
    }

    /// Where locks are kept.
    pub fn state_dir(&self) -> PathBuf {
        crate::lock::state_dir(self.config.state_dir.as_deref())
    }

    /// How many threads pack or unpack: one for each core, up to [`MOST_THREADS`].
    pub fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS)
    }

    pub(super) fn tell(&self, event: &Event) {
        self.observer.observe(event);
    }

    pub(super) fn warn(&self, warning: impl Into<String>) {
        self.tell(&Event::Warning(warning.into()));
    }

    /// Announces a step that passes `expected_sql_bytes` bytes (0 if unknown), and returns its counters.
    pub(super) fn phase(&self, phase: Phase, expected_sql_bytes: u64) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        progress.expected_sql_bytes.store(expected_sql_bytes, Ordering::Relaxed);
        self.tell(&Event::Phase { phase, progress: Arc::clone(&progress) });
        progress
    }
}
