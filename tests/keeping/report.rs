//! `pgkeep report`: a month of drills as a page that stands alone, read by another parser than ours.
#![cfg(unix)]

use super::aged::House;
use crate::services::python;
use crate::support::{Configured, Postgres};
use chrono::{DateTime, TimeDelta, Utc};
use pgkeep::catalogue::{CheckOutcome, DrillReceipt, DrillResult, Phases, RECEIPT_FORMAT, write_drill_receipt};
use pgkeep::config::DrillLevel;
use pgkeep::destination::{Folder, Key};
use pgkeep::event::Phase;
use pgkeep::proof::Difference;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const HOSTILE: &str = "</td><script src=//x>alert('&amp;')</script>\" onload=\"x";

/// What Python's parser finds in a page, which must be well formed and stand alone.
fn parsed(page: &Path) -> Value {
    let checker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keeping/checkers/html_page.py");
    let mut python = Command::new(python());
    let mut child = python.arg(checker).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(page).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser failed");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["problems"], &found["foreign"]), (&json!([]), &json!([])), "{found:#}");
    found
}

/// A job with a check that cannot pass, in a zone of its own; the objective is a minute.
fn house() -> House {
    let server = Postgres::shared(17);
    let db = server.create_db("report");
    server.psql(&db, "CREATE TABLE orders AS SELECT i, md5(i::text) AS note FROM generate_series(1, 100) i");
    let configured = Configured::new(
        "timezone = 'America/Bogota'\n[destination.office]\ntype = 'folder'\npath = 'office'\n\
         [destination.attic]\ntype = 'folder'\npath = 'attic'\n[job.shop]\ndatabase_url = { env = 'SHOP_URL' }\n\
         destinations = ['office', 'attic']\n[job.shop.drill]\nmax_duration = '1m'\n[[job.shop.drill.check]]\n\
         name = 'orders are many'\nsql = 'select count(*) > 1000 from orders'\nexpect = 't'\n",
    );
    House { server, db, configured }
}

/// The receipt of a drill that began then, written as pgkeep writes them.
fn drilled(house: &House, place: &str, days: i64, at: DateTime<Utc>, change: impl FnOnce(&mut DrillReceipt)) {
    let dir = house.dir(place, days);
    let id = house.id(place, days);
    let mut phases = Phases::default();
    let load = 30.0 + (30 - days) as f64 / 2.0;
    for (phase, took) in
        [(Phase::Fetch, 4.0), (Phase::Load, load), (Phase::Index, 6.0), (Phase::Analyze, 0.5), (Phase::Prove, 9.0)]
    {
        phases.add(phase, took);
    }
    let mut receipt = DrillReceipt {
        format: RECEIPT_FORMAT,
        backup: id.parse().unwrap(),
        started_at: at,
        finished_at: at,
        result: DrillResult::Passed,
        reason: None,
        destination: Some(place.to_owned()),
        level: DrillLevel::Prove,
        not_compared: Vec::new(),
        objects_compared: 3,
        tables_compared: 1,
        rows_compared: 100,
        differences: Vec::new(),
        differences_left_out: 0,
        checks: Vec::new(),
        phases,
        restore_seconds: load + 10.5,
        objective_seconds: Some(60),
        scratch: "ephemeral".to_owned(),
        written_by: "pgkeep 0.1.0".to_owned(),
        host: "office".to_owned(),
    };
    change(&mut receipt);
    let root = house.folder(place);
    let key: Key = dir.strip_prefix(&root).unwrap().to_str().unwrap().parse().unwrap();
    let write = async { write_drill_receipt(&Folder::new(place, &root), &key, &receipt).await };
    tokio::runtime::Runtime::new().unwrap().block_on(write).unwrap();
}

#[test]
fn a_month_of_drills_shows_times_by_phase_the_trend_and_a_failing_check_that_names_itself() {
    let house = house();
    house.fill(1..=29);
    let now = Utc::now();
    for days in 1..=29 {
        let at = now - TimeDelta::days(days);
        drilled(&house, if days % 2 == 0 { "attic" } else { "office" }, days, at, |receipt| match days {
            7 => {
                receipt.result = DrillResult::Failed;
                receipt.reason = Some(format!("check \"bookings are recent\" found {HOSTILE} instead of t"));
                let (expected, found) = (Some("t".to_owned()), Some(HOSTILE.to_owned()));
                let name = "bookings are recent".to_owned();
                receipt.checks.push(CheckOutcome { name, result: DrillResult::Failed, expected, found });
                let name = format!("public.{HOSTILE}");
                let (expected, found) = ("present".to_owned(), "missing".to_owned());
                receipt.differences.push(Difference { kind: "INDEX".to_owned(), name, expected, found });
            }
            8 => {
                receipt.result = DrillResult::CouldNotRun;
                receipt.reason = Some("the scratch server lacks extensions: postgis".to_owned());
                (receipt.phases, receipt.restore_seconds) = (Phases::default(), 0.0);
            }
            _ => {}
        });
    }
    // Two in one backup: the catalogue's list knows the newest of each only. And one that is too old.
    drilled(&house, "office", 3, now - TimeDelta::days(2) - TimeDelta::hours(5), |receipt| {
        receipt.level = DrillLevel::Sample;
    });
    drilled(&house, "office", 29, now - TimeDelta::days(45), |_| {});
    // And a real one, with a check that fails.
    house.pgkeep(["drill", "shop"]).fails(4);

    let file = house.folder("report.html");
    let told = house.pgkeep(["report", "-o", file.to_str().unwrap()]).ok();
    assert!(told.stdout.contains("28 passed, 2 failed, 1 could not run"), "{told}");
    let page = parsed(&file);
    let text = page["text"].as_str().unwrap();
    for words in [
        "28 passed, 2 FAILED, 1 could not run",
        "bookings are recent",
        "orders are many",
        "check \"orders are many\" found f instead of t",
        "lacks extensions: postgis",
        "Times are those of the time zone America/Bogota",
        "The objective of 1m 00s was kept every time.",
        "Level sample: ",
        HOSTILE,
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("a week."), "{text}");
    let count = |class: &str| page["classes"][class].as_u64().unwrap_or(0);
    // One key in the legend, and a bar for each drill that came so far.
    assert_eq!((count("index"), count("load"), count("fetch")), (31, 31, 31), "{page:#}");
    assert_eq!((count("objective"), count("trend"), count("curve")), (1, 1, 1), "{page:#}");
    assert_eq!(page["tags"]["circle"], 29, "{page:#}");
    assert_eq!(count("failure"), 3, "{page:#}");

    let report = house.pgkeep(["report", "shop", "--days", "10"]).json();
    let database = &report["jobs"][0]["databases"][0];
    assert_eq!(report["timezone"], "America/Bogota");
    assert_eq!(database["drills"].as_array().unwrap().len(), 11, "{report:#}");
    assert_eq!((database["backups"].as_array().unwrap().len(), &database["objective_seconds"]), (30, &json!(60)));
    let failed = database["drills"].as_array().unwrap().iter().filter(|drill| drill["result"] == "failed");
    let names: Vec<&str> = failed.map(|drill| drill["checks"][0]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bookings are recent", "orders are many"]);
}

#[test]
fn a_report_of_one_destination_tells_of_its_drills_only_and_one_that_is_away_is_said() {
    let house = house();
    house.fill([1]);
    for place in ["office", "attic"] {
        drilled(&house, place, 1, Utc::now() - TimeDelta::hours(if place == "attic" { 3 } else { 4 }), |_| {});
    }
    let drills = |args: &[&'static str]| {
        let report = house.pgkeep(["report"].into_iter().chain(args.iter().copied())).json();
        let drills = report["jobs"][0]["databases"][0]["drills"].as_array().unwrap().clone();
        drills.iter().map(|drill| drill["destination"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(drills(&[]), ["office", "attic"]);
    assert_eq!(drills(&["--at", "attic"]), ["attic"]);
    std::fs::rename(house.folder("office"), house.folder("elsewhere")).unwrap();
    std::fs::write(house.folder("office"), "no folder").unwrap();
    let file = house.folder("report.html");
    let outcome = house.pgkeep(["report", "-o", file.to_str().unwrap()]).ok();
    assert!(outcome.stderr.contains("office could not be read, and the report says so"), "{outcome}");
    assert!(parsed(&file)["text"].as_str().unwrap().contains("office could not be read: "));
}

#[test]
fn a_receipt_that_cannot_be_used_is_said_and_a_database_with_a_hostile_name_is_text() {
    let server = Postgres::shared(17);
    let db = server.create_db("<b>\"'&amp;<script>");
    server.psql(&db, "CREATE TABLE t AS SELECT 1 AS n");
    let configured = Configured::new(
        "[destination.office]\ntype = 'folder'\npath = 'office'\n[job.\"<i>job\"]\ndatabase_url = { env = 'SHOP_URL' }\n\
         destinations = ['office']\n",
    );
    let house = House { server, db, configured };
    house.pgkeep(["backup", "now", "<i>job"]).ok();
    let [dir] = crate::support::backup_dirs(house.folder("office")).try_into().unwrap();
    std::fs::create_dir(dir.join("drills")).unwrap();
    let stamp = (Utc::now() - TimeDelta::hours(1)).format("%Y%m%dT%H%M%SZ");
    std::fs::write(dir.join(format!("drills/{stamp}.json")), "{ <script> }").unwrap();
    let file = house.folder("report.html");
    house.pgkeep(["report", "-o", file.to_str().unwrap()]).ok();
    let page = parsed(&file);
    let text = page["text"].as_str().unwrap();
    assert!(text.contains("<b>\"'&amp;<script>") && text.contains("<i>job"), "{text}");
    assert!(text.contains("could not be read") && text.contains("cannot be used"), "{text}");
    let outcome = house.pgkeep(["report"]).fails(2);
    assert!(outcome.stderr.contains("write -o report.html"), "{outcome}");
}
