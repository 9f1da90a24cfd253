//! The bar on a terminal: a spinner, and a bar where it is known how much there is to do.

use super::sample::Sample;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where it is known how much there is to do.
const MEASURED: &str = "{spinner} {prefix} [{bar:20}] {percent:>3}% {wide_msg}";

/// Where it is not.
const UNMEASURED: &str = "{spinner} {prefix} {wide_msg}";

/// One line at the foot of the terminal. No colours.
#[derive(Default)]
pub(super) struct Bar {
    /// `None` while nothing is shown.
    bar: Option<ProgressBar>,
    measured: bool,
}

impl Bar {
    /// Shows `sample` of the work on `subject`.
    pub(super) fn show(&mut self, subject: &str, sample: &Sample) {
        // An estimate that was passed is no measure: a full bar that goes on would look like a hang.
        let measured = sample.expected > sample.sql_bytes && sample.sql_bytes > 0;
        if self.bar.is_none() || self.measured != measured {
            self.clear();
            self.bar = Some(drawn(measured));
            self.measured = measured;
        }
        let Some(bar) = &self.bar else { return };
        if measured {
            bar.set_length(sample.expected);
            bar.set_position(sample.sql_bytes);
        }
        bar.set_prefix(format!("{subject}: {}", sample.phase));
        bar.set_message(sample.details());
        bar.tick();
    }

    /// Takes the line away; the next [`Bar::show`] brings it back.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Writes something above the line.
    pub(super) fn around(&self, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn drawn(measured: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A template that cannot be read leaves indicatif's own: it is no reason to stop.
    if let Ok(style) = ProgressStyle::with_template(if measured { MEASURED } else { UNMEASURED }) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_can_be_read() {
        assert!(ProgressStyle::with_template(MEASURED).is_ok());
        assert!(ProgressStyle::with_template(UNMEASURED).is_ok());
    }
}
