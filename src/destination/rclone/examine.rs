//! What is worth knowing about a remote, for `pgkeep doctor`.

use super::answers::{About, Features};
use super::place::Place;
use crate::destination::{Finding, Verdict};
use crate::error::{ErrorKind, Result};

/// Less than this is little for a backup, in bytes.
const LITTLE: u64 = 1 << 30;

/// Looks at `place`.
pub(super) async fn examine(place: &Place) -> Result<Vec<Finding>> {
    let found = format!("version {}, {}", place.program.version(), place.program.path().display());
    let mut findings = vec![good("rclone", found)];
    findings.extend(of_features(&place.features));
    findings.push(match place.about().await {
        Ok(about) => of_space(about),
        Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
        // Many remotes cannot tell.
        Err(_) => of_space(About::default()),
    });
    Ok(findings)
}

fn good(what: &str, found: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), verdict: Verdict::Good, found: found.into(), fix: None }
}

fn note(what: &str, found: impl Into<String>) -> Finding {
    Finding { verdict: Verdict::Note, ..good(what, found) }
}

fn warning(what: &str, found: impl Into<String>, fix: &str) -> Finding {
    Finding { verdict: Verdict::Warning, fix: Some(fix.to_owned()), ..good(what, found) }
}

fn of_features(features: &Features) -> Vec<Finding> {
    let publishing = "partial files";
    let mut findings = vec![
        if features.has("Move") {
            good(publishing, "files are written under a hidden name and renamed when they are whole")
        } else if features.has("Copy") {
            note(publishing, "files are written under a hidden name and copied within the remote when they are whole")
        } else {
            warning(
                publishing,
                "the remote can neither rename nor copy: a file can be seen before it is whole, and a run that is killed \
                 leaves it",
                "nothing, or another remote: a backup does not count before its manifest is there",
            )
        },
        note("create-only writes", "rclone has none: pgkeep looks before it writes"),
    ];
    findings.push(if features.has("PutStream") {
        good("streaming", "uploads need no space on this computer")
    } else {
        warning(
            "streaming",
            "the remote must know a file's size beforehand: rclone collects each file in its temp folder first",
            "keep as much space free there as a backup needs, or set options = [\"--temp-dir=/a/large/folder\"]",
        )
    });
    findings.push(match features.hash() {
        Some(hash) => good("checksums", format!("uploads are compared by their {}", hash.name().to_uppercase())),
        None => note("checksums", "the remote tells none that pgkeep knows: every upload is read back and compared"),
    });
    if !features.keeps_times() {
        findings.push(note("modification times", "the remote keeps none; what interrupted runs left may stay longer"));
    }
    findings
}

fn of_space(about: About) -> Finding {
    let what = "free space";
    let total = about.total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
    match (about.free, about.used) {
        (Some(free), _) if free < LITTLE => {
            warning(what, format!("{}{total}", size(free)), "free some space, or shorten how long backups are kept")
        }
        (Some(free), _) => good(what, format!("{}{total}", size(free))),
        (None, Some(used)) => note(what, format!("the remote does not tell; {} are used", size(used))),
        (None, None) => note(what, "the remote does not tell"),
    }
}

fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes < 1024.0 { format!("{mebibytes:.0} MiB") } else { format!("{:.1} GiB", mebibytes / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(features: &str) -> Vec<(String, Verdict)> {
        let found = of_features(&Features::parse(features.as_bytes()).unwrap());
        for finding in &found {
            let needs_fix = finding.verdict >= Verdict::Warning;
            assert_eq!(finding.fix.is_some(), needs_fix, "{finding:?}");
        }
        found.into_iter().map(|finding| (finding.what, finding.verdict)).collect()
    }

    #[test]
    fn what_a_remote_lacks_is_told() {
        let all = verdicts(r#"{"Hashes":["sha1"],"Features":{"Move":true,"PutStream":true}}"#);
        let expected = [
            ("partial files", Verdict::Good),
            ("create-only writes", Verdict::Note),
            ("streaming", Verdict::Good),
            ("checksums", Verdict::Good),
        ];
        assert_eq!(all, expected.map(|(what, verdict)| (what.to_owned(), verdict)));
        let none = verdicts(r#"{"Precision":3153600000000000000,"Features":{}}"#);
        let expected = [
            ("partial files", Verdict::Warning),
            ("create-only writes", Verdict::Note),
            ("streaming", Verdict::Warning),
            ("checksums", Verdict::Note),
            ("modification times", Verdict::Note),
        ];
        assert_eq!(none, expected.map(|(what, verdict)| (what.to_owned(), verdict)));
        assert_eq!(verdicts(r#"{"Features":{"Copy":true}}"#)[0].1, Verdict::Note);
    }

    #[test]
    fn little_space_is_a_warning() {
        let of = |free, total| of_space(About { free: Some(free), total, used: None });
        assert_eq!(of(5 << 20, None).verdict, Verdict::Warning);
        assert_eq!(of(5 << 30, Some(10 << 30)).found, "5.0 GiB of 10.0 GiB");
        assert_eq!(of_space(About::default()).verdict, Verdict::Note);
    }
}
