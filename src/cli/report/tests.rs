//! The page with hostile names, and a month of drills.

use super::gather::{DatabaseReport, JobReport, Report, Unread};
use super::page;
use crate::catalogue::{CheckOutcome, DrillReceipt, DrillResult, Phases, RECEIPT_FORMAT};
use crate::cli::samples;
use crate::config::DrillLevel;
use crate::event::Phase;
use crate::proof::Difference;
use crate::schedule::{Problem, ProblemKind};
use chrono::{DateTime, TimeDelta, Utc};

const NOW: &str = "2026-11-22T12:00:00Z";

const HOSTILE: &str = "\"><script>alert('1')</script>&amp;<img src=x onerror=y>\u{202e}\u{7}";

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

fn drill(days_ago: i64, load: f64, result: DrillResult) -> DrillReceipt {
    let started_at = now() - TimeDelta::days(days_ago);
    let mut phases = Phases::default();
    for (phase, took) in [(Phase::Fetch, 2.0), (Phase::Load, load), (Phase::Analyze, 0.5), (Phase::Prove, 3.0)] {
        phases.add(phase, took);
    }
    DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: samples::listed().id,
        started_at,
        finished_at: started_at,
        result,
        reason: None,
        destination: Some("office".into()),
        level: DrillLevel::Prove,
        not_compared: Vec::new(),
        objects_compared: 40,
        tables_compared: 12,
        rows_compared: 3_200_000,
        differences: Vec::new(),
        differences_left_out: 0,
        checks: Vec::new(),
        phases,
        restore_seconds: load + 2.5,
        objective_seconds: Some(60),
        scratch: "ephemeral".into(),
        written_by: "pgkeep 0.1.0".into(),
        host: "office".into(),
    }
}

fn report(name: &str, drills: Vec<DrillReceipt>) -> Report {
    let mut backup = samples::listed();
    backup.destinations = vec![name.to_owned()];
    let database =
        DatabaseReport { database: name.to_owned(), objective_seconds: Some(60), backups: vec![backup], drills };
    let problem = Problem { kind: ProblemKind::DrillFailed, message: name.to_owned() };
    let job = JobReport { job: name.to_owned(), problems: vec![problem], databases: vec![database] };
    Report {
        generated_at: now(),
        timezone: "America/Bogota".into(),
        days: 30,
        since: now() - TimeDelta::days(30),
        jobs: vec![job],
        unreadable: vec![Unread { destination: name.into(), folder: None, error: name.into() }],
    }
}

fn html(report: &Report) -> String {
    page(report, chrono_tz::America::Bogota)
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let mut failed = drill(1, 10.0, DrillResult::Failed);
    failed.reason = Some(HOSTILE.into());
    failed.destination = Some(HOSTILE.into());
    let all = || HOSTILE.to_owned();
    failed.differences.push(Difference { kind: all(), name: all(), expected: all(), found: all() });
    let (expected, found) = (Some(all()), Some(all()));
    failed.checks.push(CheckOutcome { name: all(), result: DrillResult::Failed, expected, found });
    failed.phases = serde_json::from_value(serde_json::json!([{ "phase": HOSTILE, "seconds": 3.0 }])).unwrap();
    let page = html(&report(HOSTILE, vec![failed]));
    for markup in ["<script", "<img", "alert('1')", "\u{202e}", "\u{7}"] {
        assert!(!page.contains(markup), "{markup}: {page}");
    }
    assert!(page.matches("&lt;script&gt;alert(&#39;1&#39;)").count() > 10, "{page}");
    // Attributes hold no more quotes than they have themselves.
    for tag in page.split('<').filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains(" onerror=") && !tag.contains(" onclick="), "{tag}");
    }
}

#[test]
fn a_failing_check_and_a_difference_name_themselves() {
    let mut failed = drill(2, 10.0, DrillResult::Failed);
    let (expected, found) = (Some("t".into()), Some("f".into()));
    failed.checks.push(CheckOutcome {
        name: "bookings are recent".into(),
        result: DrillResult::Failed,
        expected,
        found,
    });
    failed.checks.push(CheckOutcome { name: "fine".into(), result: DrillResult::Passed, expected: None, found: None });
    for number in 0..25 {
        failed.differences.push(Difference {
            kind: "INDEX".into(),
            name: format!("public.i{number}"),
            expected: "present".into(),
            found: "missing".into(),
        });
    }
    failed.differences_left_out = 7;
    let page = html(&report("shop", vec![failed]));
    assert!(page.contains("<td>bookings are recent</td>") && !page.contains("<td>fine</td>"), "{page}");
    assert!(page.contains("<td>public.i19</td>") && !page.contains("public.i20"), "{page}");
    assert!(page.contains("and 12 more differences"), "{page}");
}

#[test]
fn a_month_shows_its_phases_its_trend_and_the_objective() {
    let month: Vec<DrillReceipt> = (0..30).map(|day| drill(29 - day, 20.0 + day as f64, DrillResult::Passed)).collect();
    let page = html(&report("shop", month));
    for phase in ["fetch", "load", "analyze", "prove"] {
        assert_eq!(page.matches(&format!("<rect class=\"{phase}\"")).count(), 30, "{phase}");
    }
    assert_eq!(page.matches("<circle").count(), 30);
    assert!(page.contains("class=\"objective\"") && page.contains("class=\"trend\""), "{page}");
    let told = "22.5 s at least, 51.5 s at most. The objective of 1m 00s was kept every time. It grows by 7.0 s a week. If that \
                goes on, the objective is reached in 8 days.";
    assert!(page.contains(told), "{page}");
    assert!(page.contains("2026-11-22 07:00:00 -05") && page.contains("time zone America/Bogota"), "{page}");
}

#[test]
fn a_sample_is_no_recovery_and_a_lower_level_is_explained() {
    let of = |level, result| DrillReceipt { level, ..drill(1, 10.0, result) };
    let page = html(&report("shop", vec![of(DrillLevel::Sample, DrillResult::Passed)]));
    assert!(!page.contains("<circle") && page.contains("Level sample: "), "{page}");
    let page = html(&report("shop", vec![of(DrillLevel::Restore, DrillResult::CouldNotRun)]));
    assert!(page.contains("Level restore: ") && page.contains("could not run"), "{page}");
}

#[test]
fn a_job_without_backups_and_no_job_at_all_are_pages_too() {
    let mut empty = report("shop", Vec::new());
    assert!(html(&empty).contains("No backup was drilled in the last 30 days."));
    empty.jobs[0].databases.clear();
    assert!(html(&empty).contains("There is no backup."));
    empty.jobs.clear();
    assert!(html(&empty).contains("There are no jobs and no backups."));
}
