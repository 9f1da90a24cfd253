//! The plan of a restore, and what there is to choose from, for people.

use super::backups::{drilled, name, places, verified};
use super::{line, table};
use crate::cli::words::{age, bytes, counted, moment, seconds};
use crate::ops::{ListedBackup, RestoreEstimate, RestorePlan, TargetState};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// Backups to choose from by number, in the order given.
pub(in crate::cli) fn backup_choices<'a>(
    backups: impl Iterator<Item = &'a ListedBackup>,
    now: DateTime<Utc>,
    zone: Tz,
) -> String {
    let rows = backups.enumerate().map(|(place, backup)| {
        vec![
            (place + 1).to_string(),
            backup.started_at.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string(),
            age(backup.started_at, now),
            bytes(backup.stored_bytes),
            verified(backup, now),
            drilled(backup, now),
            backup.id.to_string(),
            backup.label.clone().unwrap_or_default(),
        ]
    });
    choices(&["", "taken", "age", "size", "verified", "drilled", "id", "label"], rows)
}

/// Things to choose from.
pub(in crate::cli) fn choices(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    table(header, rows, 2)
}

/// What a restore would do.
pub(in crate::cli) fn restore_plan(plan: &RestorePlan, now: DateTime<Utc>, zone: Tz) -> String {
    let backup = &plan.backup;
    let mut text = format!("plan: restore {} into {}\n", backup.id, super::printable(&plan.database));
    let mut add = |name: &str, value: &str| text.push_str(&line(name, value));
    add("backup", &format!("{}, taken {}", name(&backup.job, &backup.database), moment(backup.started_at, now, zone)));
    let (tables, rows) = (counted(backup.tables, "table", "tables"), counted(backup.rows, "row", "rows"));
    let (sql, stored) = (bytes(backup.sql_bytes), bytes(backup.stored_bytes));
    add("contents", &format!("{tables}, {rows}, {sql} of SQL in {stored}"));
    add("from", &places(backup));
    add("verified", &verified(backup, now));
    add("drilled", &drilled(backup, now));
    add("target", &format!("{}, PostgreSQL {}", plan.target, plan.server_version));
    add("there now", &there(plan));
    if plan.refusal.is_none() {
        for step in will(plan) {
            add("will", &step);
        }
        add("will not", &will_not(plan));
    }
    if !plan.missing_roles.is_empty() {
        add("lacks", &format!("roles: {}", plan.missing_roles.join(", ")));
    }
    if !plan.missing_extensions.is_empty() {
        add("lacks", &format!("extensions: {}", plan.missing_extensions.join(", ")));
    }
    for note in &plan.notes {
        add("note", note);
    }
    add("time", &time(plan.estimate.as_ref(), now, zone));
    text
}

fn there(plan: &RestorePlan) -> String {
    let size = plan.size_bytes.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    let sessions = match plan.sessions {
        0 => ", nobody connected".to_owned(),
        number => format!(", {} connected", counted(number, "session", "sessions")),
    };
    match plan.state {
        TargetState::Absent => "no database of this name".to_owned(),
        TargetState::Empty => format!("an empty database{sessions}"),
        TargetState::InUse => format!("a database in use{size}{sessions}"),
        TargetState::Source => format!("the very database that was backed up{size}{sessions}"),
    }
}

fn will(plan: &RestorePlan) -> Vec<String> {
    let new = plan.state == TargetState::Absent || plan.swap;
    let mut steps = vec!["check every byte of the backup before it is loaded".to_owned()];
    steps.push(match (new, plan.no_owner, plan.no_privileges) {
        (true, ..) => "load it into a new database with a name of its own, and ANALYZE".to_owned(),
        (false, ..) => "load it into the empty database that is there, and ANALYZE".to_owned(),
    });
    if plan.prove {
        steps.push("prove it: dump what was restored and compare every object and row with the backup".to_owned());
    }
    match &plan.kept_as {
        Some(kept) => {
            let proved = if plan.prove { "if the proof passed, " } else { "" };
            steps.push(format!(
                "{proved}end the sessions on {0} and exchange the names at one moment; what is {0} now stays as {kept}",
                plan.database
            ));
        }
        None if new => steps.push(format!("give it the name {}", plan.database)),
        None => {}
    }
    steps
}

fn will_not(plan: &RestorePlan) -> String {
    let mut parts = Vec::new();
    parts.push(match (plan.swap, plan.state) {
        (true, _) => "delete or write into any database that is there",
        (false, TargetState::Absent) => "touch any database that is there",
        (false, _) => "touch any other database",
    });
    if plan.no_owner {
        parts.push("set owners");
    }
    if plan.no_privileges {
        parts.push("set privileges");
    }
    if !plan.prove {
        parts.push("prove that the result is the same");
    }
    parts.join("; ")
}

fn time(estimate: Option<&RestoreEstimate>, now: DateTime<Utc>, zone: Tz) -> String {
    let Some(estimate) = estimate else {
        return "not known: no drill of this job has passed yet".to_owned();
    };
    let place = if estimate.scratch == "ephemeral" { "a throwaway server" } else { estimate.scratch.as_str() };
    let host = if estimate.host.is_empty() { String::new() } else { format!(" on {}", estimate.host) };
    format!(
        "about {}, as the drill of {} took {} for {} of SQL with {place}{host}",
        seconds(estimate.seconds),
        moment(estimate.drilled_at, now, zone),
        seconds(estimate.drill_seconds),
        bytes(estimate.drill_sql_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn plan() -> RestorePlan {
        RestorePlan {
            backup: samples::listed(),
            target: "ana@db:5432/shop_2".into(),
            database: "shop_2".into(),
            server_version: "17.5".into(),
            state: TargetState::Absent,
            objects: 0,
            size_bytes: None,
            sessions: 0,
            swap: false,
            kept_as: None,
            prove: true,
            no_owner: false,
            no_privileges: false,
            missing_roles: vec!["ana".into(), "bob".into()],
            missing_extensions: Vec::new(),
            estimate: None,
            notes: Vec::new(),
            refused: None,
            refusal: None,
        }
    }

    fn told(plan: &RestorePlan) -> String {
        let now = plan.backup.started_at + chrono::TimeDelta::hours(3);
        restore_plan(plan, now, Tz::UTC)
    }

    #[test]
    fn a_plan_says_what_happens_and_what_does_not() {
        let text = told(&plan());
        for line in [
            "plan: restore 20261122T020000Z-7f3a into shop_2\n",
            "taken 2026-11-22 02:00:00 UTC (3h ago)\n",
            "  there now:  no database of this name\n",
            "  will:       give it the name shop_2\n",
            "  will not:   touch any database that is there\n",
            "  lacks:      roles: ana, bob\n",
            "  time:       not known: no drill of this job has passed yet\n",
        ] {
            assert!(text.contains(line), "{line:?} in:\n{text}");
        }
    }

    #[test]
    fn a_swap_says_what_becomes_of_the_live_database() {
        let text = told(&RestorePlan {
            state: TargetState::Source,
            swap: true,
            kept_as: Some("shop_2_before_X".into()),
            size_bytes: Some(1_500_000_000),
            sessions: 7,
            ..plan()
        });
        assert!(text.contains("the very database that was backed up, 1.5 GB, 7 sessions connected\n"), "{text}");
        assert!(text.contains("if the proof passed, end the sessions on shop_2 and exchange the names"), "{text}");
        assert!(text.contains("what is shop_2 now stays as shop_2_before_X\n"), "{text}");
    }

    #[test]
    fn an_estimate_says_where_it_comes_from() {
        let drilled_at = samples::listed().started_at;
        let estimate = RestoreEstimate {
            seconds: 120.0,
            drill_of: samples::listed().id,
            drilled_at,
            drill_seconds: 60.0,
            drill_sql_bytes: 750_000_000,
            scratch: "ephemeral".into(),
            host: "box".into(),
        };
        assert_eq!(
            time(Some(&estimate), drilled_at, Tz::UTC),
            "about 2m 00s, as the drill of 2026-11-22 02:00:00 UTC (just now) took 1m 00s for 750 MB of SQL with a throwaway \
             server on box"
        );
    }
}
