//! What the counters of a step say at one moment: how much has passed, how fast, how long it will take.

use crate::cli::words::{bytes, counted, printable, seconds};
use crate::event::{Phase, Progress};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Over how long the rate is averaged.
const WINDOW: Duration = Duration::from_secs(15);

/// A step that runs.
pub(super) struct Step {
    phase: Phase,
    progress: Arc<Progress>,
    began: Instant,
    /// The SQL bytes that had passed at some moments of the last [`WINDOW`], oldest first.
    passed: VecDeque<(Instant, u64)>,
}

impl Step {
    pub(super) fn new(phase: Phase, progress: Arc<Progress>, now: Instant) -> Self {
        let passed = [(now, progress.sql_bytes.load(Ordering::Relaxed))].into();
        Self { phase, progress, began: now, passed }
    }

    /// Remembers how much has passed, for the rate.
    pub(super) fn record(&mut self, now: Instant) {
        self.passed.push_back((now, self.progress.sql_bytes.load(Ordering::Relaxed)));
        // One that is older than the window stays, to measure from.
        while self.passed.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.passed.pop_front();
        }
    }

    pub(super) fn sample(&self, now: Instant) -> Sample {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let sql_bytes = load(&self.progress.sql_bytes);
        let (since, before) = self.passed.front().copied().unwrap_or((self.began, 0));
        Sample {
            phase: self.phase.name(),
            table: self.progress.table(),
            rows: load(&self.progress.rows),
            sql_bytes,
            stored_bytes: load(&self.progress.stored_bytes),
            expected: load(&self.progress.expected_sql_bytes),
            elapsed: now.duration_since(self.began).as_secs_f64(),
            rate: per_second(sql_bytes.saturating_sub(before), now.duration_since(since)),
        }
    }
}

fn per_second(amount: u64, time: Duration) -> f64 {
    if time < Duration::from_millis(100) { 0.0 } else { amount as f64 / time.as_secs_f64() }
}

/// One moment of a step.
pub(super) struct Sample {
    pub(super) phase: &'static str,
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) sql_bytes: u64,
    pub(super) stored_bytes: u64,
    /// The total of SQL bytes, an estimate; 0 while unknown.
    pub(super) expected: u64,
    /// Seconds since the step began.
    pub(super) elapsed: f64,
    /// SQL bytes a second, lately.
    pub(super) rate: f64,
}

impl Sample {
    /// Seconds until the end, where there is an estimate that still holds.
    fn left(&self) -> Option<f64> {
        let remaining = self.expected.checked_sub(self.sql_bytes).filter(|remaining| *remaining > 0)?;
        (self.rate >= 1.0).then(|| remaining as f64 / self.rate)
    }

    /// The step, then what [`Sample::details`] has.
    pub(super) fn line(&self) -> String {
        let details = self.details();
        let elapsed = seconds(self.elapsed);
        if details.is_empty() {
            format!("{}, {elapsed}", self.phase)
        } else {
            format!("{}, {elapsed}, {details}", self.phase)
        }
    }

    /// What there is to say besides the name of the step; empty if nothing.
    pub(super) fn details(&self) -> String {
        let mut parts = Vec::new();
        if !self.table.is_empty() {
            parts.push(printable(&self.table));
        }
        if self.rows > 0 {
            parts.push(counted(self.rows, "row", "rows"));
        }
        if self.sql_bytes > 0 {
            parts.push(format!("{} SQL", bytes(self.sql_bytes)));
        }
        if self.stored_bytes > 0 {
            parts.push(format!("{} stored", bytes(self.stored_bytes)));
        }
        if self.rate >= 1.0 {
            parts.push(format!("{}/s", bytes(self.rate as u64)));
        }
        if let Some(left) = self.left() {
            parts.push(format!("ETA {}", seconds(left)));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_phase_table_rows_bytes_rate_and_time_left() {
        let began = Instant::now();
        let progress = Arc::new(Progress::default());
        progress.expected_sql_bytes.store(3_000_000_000, Ordering::Relaxed);
        let mut step = Step::new(Phase::Dump, Arc::clone(&progress), began);
        assert_eq!(step.sample(began).line(), "dump, 0 ms");
        progress.set_table("public.orders");
        progress.advance(1_000_000_000, 3_200_000);
        progress.stored_bytes.store(210_000_000, Ordering::Relaxed);
        let now = began + Duration::from_secs(10);
        step.record(now);
        assert_eq!(
            step.sample(now).line(),
            "dump, 10.0 s, public.orders, 3.2 M rows, 1.0 GB SQL, 210 MB stored, 100 MB/s, ETA 20.0 s"
        );
        // More than was expected: the estimate says nothing any more.
        progress.advance(2_500_000_000, 0);
        assert!(!step.sample(now).line().contains("ETA"));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let began = Instant::now();
        let progress = Arc::new(Progress::default());
        let mut step = Step::new(Phase::Load, Arc::clone(&progress), began);
        progress.advance(1_000_000_000, 0);
        for tick in 1..=100 {
            step.record(began + Duration::from_secs(tick));
        }
        let now = began + Duration::from_secs(100);
        assert!(step.sample(now).rate < 1.0, "nothing has passed lately");
        assert!(step.passed.len() < 20);
    }
}
