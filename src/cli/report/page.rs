//! The page: one file, without a script and without anything from elsewhere.

use super::gather::{DatabaseReport, JobReport, Report};
use super::markup::Markup;
use super::plot;
use super::trend::Trend;
use crate::catalogue::{DrillReceipt, DrillResult};
use crate::cli::words::{age, bytes, counted, ratio, seconds};
use crate::config::DrillLevel;
use crate::event::Phase;
use crate::ops::ListedBackup;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// How many backups of a database are listed.
const MOST_BACKUPS: usize = 31;

/// How many differences of a drill are named.
const MOST_DIFFERENCES: usize = 20;

/// How many characters of one side of a difference are shown.
const LONGEST_SIDE: usize = 200;

/// What is left out where a browser would go and get something, or run it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page.
pub(in crate::cli) fn page(report: &Report, zone: Tz) -> String {
    let mut page = Page { markup: Markup::default(), now: report.generated_at, zone };
    page.markup.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.markup.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.markup.raw("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Backups and drills</title>\n<style>\n");
    page.markup.raw(include_str!("style.css"));
    page.markup.raw("</style>\n</head>\n<body>\n<h1>Backups and drills</h1>\n");
    let until = page.moment(report.generated_at);
    let about = format!(
        "As of {until}. Drills of the last {}, since {}. Times are those of the time zone {}.",
        counted(report.days.into(), "day", "days"),
        page.moment(report.since),
        report.timezone
    );
    page.markup.element("p", &[("class", "faint")], &about);
    for one in &report.unreadable {
        let folder = one.folder.as_ref().map(|folder| format!(" in {folder}")).unwrap_or_default();
        let told = format!("{}{folder} could not be read: {}", one.destination, one.error);
        page.markup.element("p", &[("class", "bad")], &told);
    }
    page.summary(report);
    for job in &report.jobs {
        page.job(job, report);
    }
    let by = format!("Written by pgkeep {}.", env!("CARGO_PKG_VERSION"));
    page.markup.element("footer", &[("class", "faint")], &by);
    page.markup.raw("</body>\n</html>\n");
    page.markup.finish()
}

struct Page {
    markup: Markup,
    now: DateTime<Utc>,
    zone: Tz,
}

/// The word for a result, and its class.
fn result(result: DrillResult) -> (&'static str, &'static str) {
    match result {
        DrillResult::Passed => ("passed", "good"),
        DrillResult::Failed => ("FAILED", "bad"),
        DrillResult::CouldNotRun => ("could not run", "unknown"),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SIDE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Page {
    fn moment(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }

    fn header(&mut self, names: &[&str]) {
        self.markup.raw("<div class=\"wide\"><table>\n<thead><tr>");
        for name in names {
            self.markup.element("th", &[("scope", "col")], name);
        }
        self.markup.raw("</tr></thead>\n<tbody>\n");
    }

    fn row(&mut self, cells: &[(&'static str, &str)]) {
        self.markup.raw("<tr>");
        for (class, text) in cells {
            let class: &[(&str, &str)] = if class.is_empty() { &[] } else { &[("class", class)] };
            self.markup.element("td", class, text);
        }
        self.markup.raw("</tr>\n");
    }

    fn end_table(&mut self) {
        self.markup.raw("</tbody></table></div>\n");
    }

    /// A line for each database: what is looked for first.
    fn summary(&mut self, report: &Report) {
        if report.jobs.is_empty() {
            self.markup.element("p", &[], "There are no jobs and no backups.");
            return;
        }
        self.header(&["job", "last backup", "stored", "backups", "last drill", "recovery", "objective", "drills"]);
        for job in &report.jobs {
            if job.databases.is_empty() {
                self.row(&[
                    ("", &job.job),
                    ("bad", "none"),
                    ("", ""),
                    ("", "0"),
                    ("", ""),
                    ("", ""),
                    ("", ""),
                    ("", ""),
                ]);
            }
            for one in &job.databases {
                let name = name(job, one);
                let newest = one.backups.first();
                let last = newest.map(|backup| age(backup.started_at, self.now)).unwrap_or_default();
                let stored = newest.map(|backup| bytes(backup.stored_bytes)).unwrap_or_default();
                let (drill, class) = match one.drills.last() {
                    Some(drill) => {
                        let (word, class) = result(drill.result);
                        (format!("{word} {}", age(drill.started_at, self.now)), class)
                    }
                    None => ("none in this time".to_owned(), "unknown"),
                };
                let recovery = one.recoveries().last().map(|(_, took, _)| seconds(*took)).unwrap_or_default();
                let objective = one.objective_seconds.map(|limit| seconds(limit as f64)).unwrap_or_default();
                let (count, drills) = (one.backups.len().to_string(), told_drills(one));
                self.row(&[
                    ("", &name),
                    ("t", &last),
                    ("t", &stored),
                    ("", &count),
                    (class, &drill),
                    ("t", &recovery),
                    ("t", &objective),
                    ("", &drills),
                ]);
            }
        }
        self.end_table();
    }

    fn job(&mut self, job: &JobReport, report: &Report) {
        self.markup.element("h2", &[], &job.job);
        if !job.problems.is_empty() {
            self.markup.raw("<ul>\n");
            for problem in &job.problems {
                self.markup.element("li", &[("class", "bad")], &problem.message);
            }
            self.markup.raw("</ul>\n");
        }
        if job.databases.is_empty() {
            self.markup.element("p", &[], "There is no backup.");
        }
        for one in &job.databases {
            let title = format!("Database {}", one.database);
            self.markup.element("h3", &[], &title);
            self.drills(one, report);
            self.backups(one);
        }
    }

    fn drills(&mut self, one: &DatabaseReport, report: &Report) {
        self.markup.raw("<h4>Drills</h4>\n");
        if one.drills.is_empty() {
            let none = format!("No backup was drilled in the last {}.", counted(report.days.into(), "day", "days"));
            self.markup.element("p", &[("class", "unknown")], &none);
            return;
        }
        let told = format!("{}: {}.", counted(one.drills.len() as u64, "drill", "drills"), told_drills(one));
        self.markup.element("p", &[], &told);
        self.recovery(one, report);
        if one.drills.iter().any(|drill| !drill.phases.is_empty()) {
            self.markup.raw("<h4>Times by phase</h4>\n<p class=\"faint\">");
            for phase in plot::PHASES.into_iter().map(Phase::name) {
                let class = format!("key {}", plot::class_of(phase));
                self.markup.element("span", &[("class", &class)], "");
                self.markup.text(phase);
            }
            self.markup.raw("</p>\n");
            let left_out = plot::phases(&mut self.markup, &one.drills, self.zone);
            self.left_out(left_out, "drills");
        }
        let failed: Vec<&DrillReceipt> =
            one.drills.iter().rev().filter(|drill| drill.result != DrillResult::Passed).collect();
        if !failed.is_empty() {
            self.markup.raw("<h4>What did not pass</h4>\n");
        }
        for drill in failed {
            self.failure(drill);
        }
        self.markup.raw("<h4>All drills</h4>\n");
        self.header(&["began", "backup", "copy", "level", "result", "recovery", "phases", "compared"]);
        for drill in one.drills.iter().rev() {
            let (word, class) = result(drill.result);
            let phases: Vec<String> =
                drill.phases.iter().map(|(name, took)| format!("{name} {}", seconds(took))).collect();
            let compared = format!(
                "{}, {}, {}",
                counted(drill.objects_compared, "object", "objects"),
                counted(drill.tables_compared, "table", "tables"),
                counted(drill.rows_compared, "row", "rows")
            );
            let recovery = drill.recovery_seconds().map(seconds).unwrap_or_default();
            let began = self.moment(drill.started_at);
            self.row(&[
                ("t", &began),
                ("id", drill.backup.as_str()),
                ("", drill.destination.as_deref().unwrap_or_default()),
                ("", drill.level.name()),
                (class, word),
                ("t", &recovery),
                ("", &phases.join(", ")),
                ("", &compared),
            ]);
        }
        self.end_table();
        self.less_than_all(&one.drills);
    }

    /// What the levels that were used do not see, so that nobody takes a pass for more than it is.
    fn less_than_all(&mut self, drills: &[DrillReceipt]) {
        let used = |level| drills.iter().any(|drill| drill.level == level);
        if used(DrillLevel::Restore) {
            let told = "Level restore: everything was restored, and the rows of each table counted; what they hold was not compared.";
            self.markup.element("p", &[("class", "faint")], told);
        }
        if used(DrillLevel::Sample) {
            let told = "Level sample: all definitions and the rows of some tables were restored and compared; these drills measure no recovery.";
            self.markup.element("p", &[("class", "faint")], told);
        }
    }

    fn recovery(&mut self, one: &DatabaseReport, report: &Report) {
        let recoveries = one.recoveries();
        if recoveries.is_empty() {
            return;
        }
        self.markup.raw("<h4>Recovery time</h4>\n");
        let day = |at| plot::days_between(report.since, at);
        let points: Vec<(f64, f64)> = recoveries.iter().map(|(at, took, _)| (day(*at), *took)).collect();
        let trend = Trend::through(&points);
        let objective = one.objective_seconds.map(|limit| limit as f64);
        let times = recoveries.iter().map(|(_, took, _)| *took);
        let (least, most) = (times.clone().fold(f64::MAX, f64::min), times.clone().fold(0.0, f64::max));
        let mut told = format!(
            "From the first byte read to a database that can be used: {} at least, {} at most.",
            seconds(least),
            seconds(most)
        );
        let mut kept = true;
        if let Some(objective) = objective {
            let over = times.filter(|took| *took > objective).count();
            kept = over == 0;
            let limit = seconds(objective);
            told.push_str(&match over {
                0 => format!(" The objective of {limit} was kept every time."),
                _ => format!(" The objective of {limit} was exceeded {over} of {} times.", recoveries.len()),
            });
        }
        if let (Some(trend), Some((last, _))) = (trend, points.last()) {
            let by = seconds(trend.slope.abs() * 7.0);
            told.push_str(&if trend.slope >= 0.0 {
                format!(" It grows by {by} a week.")
            } else {
                format!(" It shrinks by {by} a week.")
            });
            let years_away = 730.0;
            if let Some(days) = objective
                .filter(|_| kept)
                .and_then(|limit| trend.reaches(limit, *last))
                .filter(|days| *days < years_away)
            {
                told.push_str(&format!(" If that goes on, the objective is reached in {days:.0} days."));
            }
        }
        self.markup.element("p", &[], &told);
        plot::recovery(&mut self.markup, &recoveries, objective, trend, (report.since, report.generated_at), self.zone);
    }

    /// A drill that failed or could not run, and everything about it that has a name.
    fn failure(&mut self, drill: &DrillReceipt) {
        let (word, class) = result(drill.result);
        let outer = if drill.result == DrillResult::CouldNotRun { "failure could_not_run" } else { "failure" };
        self.markup.open("div", &[("class", outer)]);
        self.markup.raw("<p>");
        let place = drill.destination.as_deref().map(|place| format!(" from {place}")).unwrap_or_default();
        let title =
            format!("{}: backup {}{place}, level {}: ", self.moment(drill.started_at), drill.backup, drill.level);
        self.markup.text(&title);
        self.markup.element("span", &[("class", class)], word);
        self.markup.raw("</p>\n");
        if let Some(reason) = &drill.reason {
            self.markup.element("p", &[], reason);
        }
        let failed: Vec<_> = drill.checks.iter().filter(|check| check.result != DrillResult::Passed).collect();
        if !failed.is_empty() {
            self.header(&["check", "expected", "found"]);
            for check in failed {
                let side = |text: &Option<String>| short(text.as_deref().unwrap_or_default());
                self.row(&[("", &check.name), ("", &side(&check.expected)), ("", &side(&check.found))]);
            }
            self.end_table();
        }
        if !drill.differences.is_empty() {
            self.header(&["kind", "name", "expected", "found"]);
            for one in drill.differences.iter().take(MOST_DIFFERENCES) {
                let (expected, found) = (short(&one.expected), short(&one.found));
                self.row(&[("", &one.kind), ("", &one.name), ("", &expected), ("", &found)]);
            }
            self.end_table();
            let more = drill.differences.len().saturating_sub(MOST_DIFFERENCES) as u64;
            let more = more.saturating_add(drill.differences_left_out);
            if more > 0 {
                let told = format!("and {more} more {}", if more == 1 { "difference" } else { "differences" });
                self.markup.element("p", &[], &told);
            }
        }
        self.markup.close("div");
    }

    fn backups(&mut self, one: &DatabaseReport) {
        self.markup.raw("<h4>Backups</h4>\n");
        let (Some(newest), Some(oldest)) = (one.backups.first(), one.backups.last()) else { return };
        let count = counted(one.backups.len() as u64, "backup", "backups");
        let mut told = format!("{count}; the newest was taken {}", age(newest.started_at, self.now));
        if one.backups.len() > 1 {
            told.push_str(&format!(", the oldest {}", age(oldest.started_at, self.now)));
        }
        self.markup.element("p", &[], &told);
        let left_out = plot::sizes(&mut self.markup, &one.backups, self.zone);
        self.left_out(left_out, "backups");
        self.header(&["taken", "backup", "age", "stored", "SQL", "ratio", "rows", "where", "verified", "drilled"]);
        for backup in one.backups.iter().take(MOST_BACKUPS) {
            self.backup(backup);
        }
        self.end_table();
        self.left_out(one.backups.len().saturating_sub(MOST_BACKUPS), "backups");
    }

    fn backup(&mut self, backup: &ListedBackup) {
        let mut places = backup.destinations.join(", ");
        if !backup.missing.is_empty() {
            places.push_str(&format!(", missing in {}", backup.missing.join(", ")));
        }
        let (verified, verified_class) = match (backup.verified_at, backup.verify_result.as_deref()) {
            (Some(at), Some("intact") | None) => (age(at, self.now), ""),
            (Some(at), Some(other)) => (format!("{} {}", other.to_uppercase(), age(at, self.now)), "bad"),
            (None, _) => ("never".to_owned(), ""),
        };
        let level = backup.drill_level.filter(|level| *level != DrillLevel::Prove);
        let level = level.map(|level| format!(" ({level})")).unwrap_or_default();
        let (drilled, drilled_class) = match (backup.drilled_at, backup.drill_result.as_deref()) {
            (Some(at), Some("passed")) => (format!("passed{level} {}", age(at, self.now)), "good"),
            (Some(at), Some("failed")) => (format!("FAILED{level} {}", age(at, self.now)), "bad"),
            (Some(at), _) => (format!("could not run {}", age(at, self.now)), "unknown"),
            (None, _) => ("never".to_owned(), ""),
        };
        let (taken, id) = (self.moment(backup.started_at), backup.id.to_string());
        let (stored, sql) = (bytes(backup.stored_bytes), bytes(backup.sql_bytes));
        let (ratio, rows) = (ratio(backup.sql_bytes, backup.stored_bytes), counted(backup.rows, "row", "rows"));
        let age = age(backup.started_at, self.now);
        self.row(&[
            ("t", &taken),
            ("id", &id),
            ("t", &age),
            ("t", &stored),
            ("t", &sql),
            ("t", &ratio),
            ("t", &rows),
            ("", &places),
            (verified_class, &verified),
            (drilled_class, &drilled),
        ]);
    }

    fn left_out(&mut self, count: usize, what: &str) {
        if count > 0 {
            let told = format!("The oldest {count} {what} are not shown here.");
            self.markup.element("p", &[("class", "faint")], &told);
        }
    }
}

/// The job, and the database where that is called otherwise.
fn name(job: &JobReport, one: &DatabaseReport) -> String {
    if job.job == one.database { job.job.clone() } else { format!("{}/{}", job.job, one.database) }
}

/// `29 passed, 1 FAILED`, without what there was none of.
fn told_drills(one: &DatabaseReport) -> String {
    let all = [DrillResult::Passed, DrillResult::Failed, DrillResult::CouldNotRun];
    let told = all.into_iter().map(|kind| (one.count(kind), result(kind).0)).filter(|(count, _)| *count > 0);
    told.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}
