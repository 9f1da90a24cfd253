//! What the rules of a bucket's lifecycle mean for backups. Pure.

use crate::destination::service::{Finding, Verdict};
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

/// What the `rules` do to what lies below `root`, the beginning of all names of this destination. In a `versioned` bucket
/// deleted backups stay until a rule removes old versions.
pub(super) fn judge(rules: &[LifecycleRule], root: &str, versioned: bool) -> Vec<Finding> {
    let ours: Vec<&LifecycleRule> =
        rules.iter().filter(|rule| rule.status() == &ExpirationStatus::Enabled && touches(rule, root)).collect();
    let mut findings = vec![unfinished_uploads(&ours, root)];
    let deleting: Vec<&str> =
        ours.iter().filter(|rule| deletes(rule)).map(|rule| rule.id().unwrap_or("unnamed")).collect();
    if !deleting.is_empty() {
        findings.push(Finding {
            what: "lifecycle".to_owned(),
            verdict: Verdict::Warning,
            found: format!("the bucket's own rules delete backups behind pgkeep's back: {}", deleting.join(", ")),
            fix: Some(
                "end these rules, or keep them off the prefix; pgkeep deletes what its retention says".to_owned(),
            ),
        });
    }
    if versioned && !ours.iter().any(|rule| rule.noncurrent_version_expiration().is_some()) {
        findings.push(Finding {
            what: "old versions".to_owned(),
            verdict: Verdict::Warning,
            found: "the bucket keeps old versions, and no rule removes them: deleted backups are paid for for ever"
                .to_owned(),
            fix: Some("add a lifecycle rule that expires noncurrent versions".to_owned()),
        });
    }
    findings
}

fn unfinished_uploads(ours: &[&LifecycleRule], root: &str) -> Finding {
    let covers = |rule: &&&LifecycleRule| root.starts_with(prefix_of(rule)) && !by_tags(rule);
    let days = ours
        .iter()
        .filter(covers)
        .filter_map(|rule| rule.abort_incomplete_multipart_upload()?.days_after_initiation())
        .min();
    let what = "unfinished uploads".to_owned();
    match days {
        Some(days) => Finding {
            what,
            verdict: Verdict::Good,
            found: format!("a lifecycle rule removes them after {days} days"),
            fix: None,
        },
        None => Finding {
            what,
            verdict: Verdict::Note,
            found: "no lifecycle rule removes them; pgkeep sweeps its own after a day, when it next runs".to_owned(),
            fix: None,
        },
    }
}

/// What the names begin with that `rule` is about.
fn prefix_of(rule: &LifecycleRule) -> &str {
    let filter = rule.filter();
    let filtered = filter.and_then(|filter| filter.prefix().or_else(|| filter.and().and_then(|and| and.prefix())));
    #[allow(deprecated, reason = "rules from before filters still have it")]
    let plain = rule.prefix();
    filtered.or(plain).unwrap_or_default()
}

/// Whether `rule` is about objects with certain tags only.
fn by_tags(rule: &LifecycleRule) -> bool {
    let tagged = |filter: &aws_sdk_s3::types::LifecycleRuleFilter| {
        filter.tag().is_some() || filter.and().is_some_and(|and| !and.tags().is_empty())
    };
    rule.filter().is_some_and(tagged)
}

fn touches(rule: &LifecycleRule, root: &str) -> bool {
    let prefix = prefix_of(rule);
    root.starts_with(prefix) || prefix.starts_with(root)
}

fn deletes(rule: &LifecycleRule) -> bool {
    rule.expiration().is_some_and(|expiration| expiration.days().is_some() || expiration.date().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{
        AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleFilter, NoncurrentVersionExpiration,
    };

    fn rule(prefix: &str) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(prefix).filter(filter).status(ExpirationStatus::Enabled)
    }

    fn expiring(prefix: &str) -> LifecycleRule {
        rule(prefix).expiration(LifecycleExpiration::builder().days(30).build()).build().unwrap()
    }

    fn warned(rules: &[LifecycleRule], versioned: bool) -> Vec<String> {
        let findings = judge(rules, "pg/prod/", versioned);
        findings.into_iter().filter(|finding| finding.verdict == Verdict::Warning).map(|finding| finding.what).collect()
    }

    #[test]
    fn rules_that_delete_backups_are_told_and_others_are_not() {
        for prefix in ["", "pg/", "pg/prod/", "pg/prod/job/"] {
            assert_eq!(warned(&[expiring(prefix)], false), ["lifecycle"], "{prefix}");
        }
        for prefix in ["logs/", "pg/production/"] {
            assert_eq!(warned(&[expiring(prefix)], false), Vec::<String>::new(), "{prefix}");
        }
        let disabled = rule("").status(ExpirationStatus::Disabled);
        let disabled = disabled.expiration(LifecycleExpiration::builder().days(1).build()).build().unwrap();
        assert_eq!(warned(&[disabled], false), Vec::<String>::new());
        let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
        assert_eq!(warned(&[rule("").expiration(markers).build().unwrap()], false), Vec::<String>::new());
    }

    #[test]
    fn old_versions_need_a_rule() {
        assert_eq!(warned(&[], true), ["old versions"]);
        let old = NoncurrentVersionExpiration::builder().noncurrent_days(7).build();
        assert_eq!(
            warned(&[rule("pg/").noncurrent_version_expiration(old).build().unwrap()], true),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_rule_for_unfinished_uploads_is_found() {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build();
        let rule = rule("").abort_incomplete_multipart_upload(abort).build().unwrap();
        let finding = judge(&[rule], "pg/", false).remove(0);
        assert_eq!((finding.verdict, finding.found.contains("3 days")), (Verdict::Good, true));
        assert_eq!(judge(&[], "pg/", false).remove(0).verdict, Verdict::Note);
    }
}
