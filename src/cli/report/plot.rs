//! The plots of a report, as SVG within the page. Each bar and point tells its values when it is pointed at.

use super::markup::Markup;
use super::trend::Trend;
use crate::catalogue::{DrillReceipt, DrillResult};
use crate::cli::words::{bytes, seconds};
use crate::event::Phase;
use crate::ops::ListedBackup;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 210.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 26.0;

/// The most bars that a plot has room for.
const MOST_BARS: usize = 120;

/// How many moments are named below a plot.
const LABELS: usize = 8;

/// The steps that have a colour of their own, from the bottom of a bar to its top.
pub(super) const PHASES: [Phase; 6] =
    [Phase::Fetch, Phase::Prepare, Phase::Load, Phase::Index, Phase::Analyze, Phase::Prove];

/// The class of what none of [`PHASES`] is.
const OTHER: &str = "other";

/// The class of a step's colour; names of steps come from receipts.
pub(super) fn class_of(phase: &str) -> &'static str {
    PHASES.into_iter().map(Phase::name).find(|name| *name == phase).unwrap_or(OTHER)
}

/// The time of day as plots tell it.
fn moment(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

fn day(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%m-%d").to_string()
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// A frame with its scale; what is drawn goes between [`Frame::begin`] and [`Frame::end`].
struct Frame {
    largest: f64,
}

impl Frame {
    fn begin(markup: &mut Markup, label: &str, largest: f64, step: f64, unit: impl Fn(f64) -> String) -> Self {
        let frame = Self { largest: ((largest / step).ceil() * step).max(step) };
        let view = format!("0 0 {WIDTH} {HEIGHT}");
        markup.open("svg", &[("viewBox", &view), ("role", "img"), ("aria-label", label)]);
        let lines = (frame.largest / step).round() as u32;
        for line in 0..=lines {
            let value = f64::from(line) * step;
            let y = number(frame.y(value));
            let (left, right) = (number(LEFT), number(WIDTH - RIGHT));
            markup.empty("line", &[("class", "grid"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]);
            let (x, y) = (number(LEFT - 6.0), number(frame.y(value) + 4.0));
            markup.element("text", &[("x", &x), ("y", &y), ("text-anchor", "end")], &unit(value));
        }
        frame
    }

    fn end(markup: &mut Markup) {
        markup.close("svg");
    }

    fn y(&self, value: f64) -> f64 {
        let room = HEIGHT - TOP - BOTTOM;
        TOP + room * (1.0 - (value / self.largest).clamp(0.0, 1.0))
    }

    fn below(markup: &mut Markup, x: f64, text: &str) {
        let (x, y) = (number(x), number(HEIGHT - 8.0));
        markup.element("text", &[("x", &x), ("y", &y), ("text-anchor", "middle")], text);
    }
}

/// A step of a scale of seconds that makes at most six lines.
fn step_of_seconds(largest: f64) -> f64 {
    let steps = [
        0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0,
        7200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0,
    ];
    let day = 86_400.0;
    let fits = steps.into_iter().find(|step| largest / step <= 6.0);
    fits.unwrap_or_else(|| (largest / 6.0 / day).ceil() * day)
}

/// A step of a scale of bytes that makes at most six lines.
fn step_of_bytes(largest: f64) -> f64 {
    let mut power = 1.0;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if largest / (power * factor) <= 6.0 {
                return power * factor;
            }
        }
        power *= 10.0;
    }
}

/// Seconds below an axis: whole where they are.
fn axis_seconds(value: f64) -> String {
    if value > 0.0 && value < 60.0 && (value - value.round()).abs() < 1e-9 {
        return format!("{value:.0} s");
    }
    if value == 0.0 { "0".to_owned() } else { seconds(value) }
}

/// Bars that stand side by side in their order.
struct Bars {
    each: f64,
    width: f64,
}

impl Bars {
    fn of(count: usize) -> Self {
        let each = (WIDTH - LEFT - RIGHT) / count.max(1) as f64;
        Self { each, width: (each * 0.7).clamp(1.0, 26.0) }
    }

    fn middle(&self, place: usize) -> f64 {
        LEFT + self.each * (place as f64 + 0.5)
    }

    /// Whether the bar in this place is named below.
    fn is_named(place: usize, count: usize) -> bool {
        place.is_multiple_of(count.div_ceil(LABELS).max(1))
    }
}

/// The time of each step of each drill, one bar a drill. Returns how many of the oldest had no room.
pub(super) fn phases(markup: &mut Markup, drills: &[DrillReceipt], zone: Tz) -> usize {
    let timed: Vec<&DrillReceipt> = drills.iter().filter(|drill| !drill.phases.is_empty()).collect();
    let left_out = timed.len().saturating_sub(MOST_BARS);
    let timed = timed.get(left_out..).unwrap_or_default();
    let whole = |drill: &DrillReceipt| drill.phases.iter().map(|(_, seconds)| seconds).sum::<f64>();
    let largest = timed.iter().map(|drill| whole(drill)).fold(0.0, f64::max);
    let label = "the time of each step of each drill";
    let frame = Frame::begin(markup, label, largest, step_of_seconds(largest), axis_seconds);
    let bars = Bars::of(timed.len());
    for (place, drill) in timed.iter().enumerate() {
        let middle = bars.middle(place);
        markup.open("g", &[]);
        let told: Vec<String> = drill.phases.iter().map(|(name, took)| format!("{name} {}", seconds(took))).collect();
        let level = drill.level;
        let title = format!(
            "{}: {} of {} at level {level}: {}",
            moment(drill.started_at, zone),
            drill.result.name(),
            drill.backup,
            told.join(", ")
        );
        markup.element("title", &[], &title);
        let mut below = 0.0;
        let mut parts: Vec<(&str, f64)> = drill.phases.pairs();
        let rank = |name: &str| PHASES.iter().position(|phase| phase.name() == name).unwrap_or(PHASES.len());
        parts.sort_by_key(|(name, _)| rank(name));
        for (name, took) in parts {
            let (from, to) = (frame.y(below), frame.y(below + took));
            below += took;
            let (x, width) = (number(middle - bars.width / 2.0), number(bars.width));
            let (y, height) = (number(to), number((from - to).max(0.0)));
            let class = class_of(name);
            markup.empty("rect", &[("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
        }
        if drill.result != DrillResult::Passed {
            cross(markup, middle, frame.y(below) - 6.0);
        }
        markup.close("g");
        if Bars::is_named(place, timed.len()) {
            Frame::below(markup, middle, &day(drill.started_at, zone));
        }
    }
    Frame::end(markup);
    left_out
}

/// What marks a drill that did not pass: a form, for not everybody sees the colour.
fn cross(markup: &mut Markup, x: f64, y: f64) {
    let y = y.max(5.0);
    let (left, right, up, down) = (number(x - 4.0), number(x + 4.0), number(y - 4.0), number(y + 4.0));
    let path = format!("M{left} {up} L{right} {down} M{left} {down} L{right} {up}");
    markup.empty("path", &[("class", "failed"), ("d", &path)]);
}

/// Recovery times along time, with the objective and where they are going.
pub(super) fn recovery(
    markup: &mut Markup,
    recoveries: &[(DateTime<Utc>, f64, DrillResult)],
    objective: Option<f64>,
    trend: Option<Trend>,
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    zone: Tz,
) {
    let largest = recoveries.iter().map(|(_, took, _)| *took).chain(objective).fold(0.0, f64::max) * 1.05;
    let label = "the time of each recovery";
    let frame = Frame::begin(markup, label, largest, step_of_seconds(largest), axis_seconds);
    let whole = (until - since).num_seconds().max(1) as f64;
    let x_of = |days: f64| LEFT + (WIDTH - LEFT - RIGHT) * (days * 86_400.0 / whole).clamp(0.0, 1.0);
    let days = |at: DateTime<Utc>| days_between(since, at);
    let last = days(until);
    if let Some(objective) = objective {
        let y = number(frame.y(objective));
        let (left, right) = (number(LEFT), number(WIDTH - RIGHT));
        markup.empty("line", &[("class", "objective"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]);
        let told = format!("objective {}", axis_seconds(objective));
        let (x, y) = (number(WIDTH - RIGHT - 4.0), number(frame.y(objective) - 5.0));
        markup.element("text", &[("x", &x), ("y", &y), ("text-anchor", "end")], &told);
    }
    if let (Some(trend), Some((first, ..)), Some((latest, ..))) = (trend, recoveries.first(), recoveries.last()) {
        let (from, to) = (days(*first), days(*latest));
        let (x1, x2) = (number(x_of(from)), number(x_of(to)));
        let (y1, y2) = (number(frame.y(trend.at(from))), number(frame.y(trend.at(to))));
        markup.empty("line", &[("class", "trend"), ("x1", &x1), ("x2", &x2), ("y1", &y1), ("y2", &y2)]);
    }
    let point = |at: &DateTime<Utc>, took: &f64| format!("{},{}", number(x_of(days(*at))), number(frame.y(*took)));
    let points: Vec<String> = recoveries.iter().map(|(at, took, _)| point(at, took)).collect();
    markup.empty("polyline", &[("class", "curve"), ("points", &points.join(" "))]);
    for (at, took, result) in recoveries {
        let (x, y) = (x_of(days(*at)), frame.y(*took));
        markup.open("g", &[]);
        let title = format!("{}: {}, {}", moment(*at, zone), seconds(*took), result.name());
        markup.element("title", &[], &title);
        markup.empty("circle", &[("class", "passed"), ("cx", &number(x)), ("cy", &number(y)), ("r", "3.5")]);
        if *result != DrillResult::Passed {
            cross(markup, x, y);
        }
        markup.close("g");
    }
    for part in 0..=LABELS {
        let at = since + (until - since) * part as i32 / LABELS as i32;
        Frame::below(markup, x_of(last * part as f64 / LABELS as f64).min(WIDTH - RIGHT - 12.0), &day(at, zone));
    }
    Frame::end(markup);
}

/// The days from `from` to `to`.
pub(super) fn days_between(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).num_milliseconds() as f64 / 86_400_000.0
}

/// The stored size of each backup; `backups` has the newest first. Returns how many of the oldest had no room.
pub(super) fn sizes(markup: &mut Markup, backups: &[ListedBackup], zone: Tz) -> usize {
    let left_out = backups.len().saturating_sub(MOST_BARS);
    let shown: Vec<&ListedBackup> = backups.iter().take(MOST_BARS).rev().collect();
    let largest = shown.iter().map(|backup| backup.stored_bytes as f64).fold(0.0, f64::max);
    let label = "the stored size of each backup";
    let frame = Frame::begin(markup, label, largest, step_of_bytes(largest), |value| bytes(value as u64));
    let bars = Bars::of(shown.len());
    for (place, backup) in shown.iter().enumerate() {
        let (middle, stored) = (bars.middle(place), backup.stored_bytes as f64);
        markup.open("g", &[]);
        let (when, sql) = (moment(backup.started_at, zone), bytes(backup.sql_bytes));
        let title = format!("{when}: {} stored, {sql} of SQL, {}", bytes(backup.stored_bytes), backup.id);
        markup.element("title", &[], &title);
        let (x, width) = (number(middle - bars.width / 2.0), number(bars.width));
        let (y, height) = (number(frame.y(stored)), number(frame.y(0.0) - frame.y(stored)));
        markup.empty("rect", &[("class", "size"), ("x", &x), ("y", &y), ("width", &width), ("height", &height)]);
        markup.close("g");
        if Bars::is_named(place, shown.len()) {
            Frame::below(markup, middle, &day(backup.started_at, zone));
        }
    }
    Frame::end(markup);
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scales_are_round() {
        for (largest, step) in [(0.0, 0.05), (0.9, 0.2), (11.0, 2.0), (59.0, 10.0), (61.0, 15.0), (3700.0, 1200.0)] {
            assert!((step_of_seconds(largest) - step).abs() < 1e-9, "{largest}");
        }
        for (largest, step) in [(0.0, 1.0), (6e9, 1e9), (7e9, 2e9)] {
            assert!((step_of_bytes(largest) - step).abs() < 1e-9, "{largest}");
        }
        let told: Vec<String> = [0.0, 0.2, 5.0, 90.0].into_iter().map(axis_seconds).collect();
        assert_eq!(told, ["0", "200 ms", "5 s", "1m 30s"]);
    }

    proptest! {
        #[test]
        fn a_scale_has_few_lines(largest in 0.0f64..1e12) {
            prop_assert!(largest / step_of_seconds(largest) <= 6.0);
            prop_assert!(largest / step_of_bytes(largest) <= 6.0);
        }
    }
}
