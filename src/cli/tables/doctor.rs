//! What the doctor found, for people: subject by subject, how good each thing is, and below it how to mend it.

use super::table;
use crate::cli::words::{counted, printable};
use crate::destination::{Finding, Verdict};
use crate::ops::DoctorOutcome;

/// Everything that was found, and at the end how much needs to be mended.
pub(in crate::cli) fn doctor(outcome: &DoctorOutcome) -> String {
    let mut text = String::new();
    if !outcome.configuration.is_empty() {
        text.push_str(&subject("configuration", &outcome.configuration));
    }
    for destination in &outcome.destinations {
        let title = format!("destination {} ({})", destination.name, destination.kind);
        text.push_str(&subject(&title, &destination.findings));
    }
    for database in &outcome.databases {
        let title = match (database.database.as_str(), database.job.as_str()) {
            ("", job) => format!("job {job}"),
            (database, job) if database == job => format!("database {database}"),
            (database, job) => format!("database {database} (job {job})"),
        };
        text.push_str(&subject(&title, &database.findings));
    }
    let count = |verdict| outcome.findings().filter(|finding| finding.verdict == verdict).count() as u64;
    let (bad, warnings) = (count(Verdict::Bad), count(Verdict::Warning));
    text.push_str(&match (bad, warnings) {
        (0, 0) => "all is well\n".to_owned(),
        (0, warnings) => format!("{}: backups work, but should be seen to\n", counted(warnings, "warning", "warnings")),
        (bad, 0) => format!("{}: see the fixes above\n", counted(bad, "thing is bad", "things are bad")),
        (bad, warnings) => format!(
            "{}, {}: see the fixes above\n",
            counted(bad, "thing is bad", "things are bad"),
            counted(warnings, "warning", "warnings")
        ),
    });
    text
}

fn subject(title: &str, findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Warning => "WARNING",
            Verdict::Bad => "BAD",
        };
        rows.push(vec![mark.to_owned(), finding.what.clone(), finding.found.clone()]);
        if let Some(fix) = &finding.fix {
            rows.push(vec![String::new(), String::new(), format!("fix: {fix}")]);
        }
    }
    format!("{}\n{}\n", printable(title), table(&[], rows, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{DatabaseFindings, DestinationFindings};

    fn outcome(findings: Vec<Finding>) -> DoctorOutcome {
        DoctorOutcome {
            ok: false,
            destinations: vec![DestinationFindings { name: "office".into(), kind: "folder", findings }],
            databases: vec![DatabaseFindings {
                job: "nightly".into(),
                database: "sh\nop".into(),
                findings: vec![Finding::good("server", "PostgreSQL 17.6, the primary")],
            }],
            configuration: Vec::new(),
        }
    }

    #[test]
    fn each_subject_has_its_findings_and_fixes() {
        let findings = vec![
            Finding::good("writable", "yes"),
            Finding::warning("free space", "only 1.0 MB free", "make room there"),
        ];
        assert_eq!(
            doctor(&outcome(findings)),
            "destination office (folder)\n  \
               ok       writable    yes\n  \
               WARNING  free space  only 1.0 MB free\n                       \
                                    fix: make room there\n\n\
             database sh\\nop (job nightly)\n  \
               ok  server  PostgreSQL 17.6, the primary\n\n\
             1 warning: backups work, but should be seen to\n"
        );
    }

    #[test]
    fn the_end_says_how_much_is_to_be_done() {
        let end = |findings| doctor(&outcome(findings)).lines().last().unwrap_or_default().to_owned();
        assert_eq!(end(vec![Finding::note("disk", "in a container")]), "all is well");
        let bad = || Finding::bad("writable", "no", "let it");
        assert_eq!(end(vec![bad()]), "1 thing is bad: see the fixes above");
        assert_eq!(
            end(vec![bad(), bad(), Finding::warning("x", "y", "z")]),
            "2 things are bad, 1 warning: see the fixes above"
        );
    }
}
