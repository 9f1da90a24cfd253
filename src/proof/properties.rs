//! The properties of the database itself, compared one by one.

use super::{Comparison, Difference};
use crate::postgres::{DatabaseProperties, Privilege, Setting, Without};
use std::collections::BTreeSet;

/// Adds the differences between two databases' properties to `comparison`. Encoding and locale are compared only where
/// `locale` says so: a machine that lacks a locale restores with another, and says so. What is not known of the one that was backed up is not compared.
pub fn compare_properties(
    expected: &DatabaseProperties,
    found: &DatabaseProperties,
    without: Without,
    locale: bool,
    comparison: &mut Comparison,
) {
    let mut check = |name: &str, expected: String, found: String| {
        comparison.objects += 1;
        if expected != found {
            let (kind, name) = ("DATABASE".to_owned(), name.to_owned());
            comparison.differences.push(Difference { kind, name, expected, found });
        }
    };
    check("encoding", expected.encoding.clone(), found.encoding.clone());
    if locale && expected.knows_locale() {
        check("collate", expected.collate.clone(), found.collate.clone());
        check("ctype", expected.ctype.clone(), found.ctype.clone());
        check("locale provider", expected.locale_provider.clone(), found.locale_provider.clone());
    }
    if !without.owner && expected.knows_owner() {
        check("owner", expected.owner.clone(), found.owner.clone());
    }
    if !without.comment {
        let none = || "none".to_owned();
        check("comment", expected.comment.clone().unwrap_or_else(none), found.comment.clone().unwrap_or_else(none));
    }
    check("connection limit", expected.connection_limit.to_string(), found.connection_limit.to_string());
    let settings = |properties: &DatabaseProperties| {
        let given = properties.settings.iter().filter(|setting| setting.role.is_none() || !without.owner);
        list(given.map(describe_setting))
    };
    check("settings", settings(expected), settings(found));
    if !without.privileges && !without.owner {
        check("privileges", describe_privileges(expected), describe_privileges(found));
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: BTreeSet<String> = items.collect();
    if items.is_empty() { "none".to_owned() } else { items.into_iter().collect::<Vec<_>>().join("; ") }
}

fn describe_setting(setting: &Setting) -> String {
    let role = setting.role.as_ref().map(|role| format!(" for {role}")).unwrap_or_default();
    format!("{}={}{role}", setting.name, setting.value)
}

fn describe_privileges(properties: &DatabaseProperties) -> String {
    let Some(privileges) = &properties.privileges else { return "the defaults".to_owned() };
    list(privileges.iter().map(|Privilege { grantee, privilege, grantable, .. }| {
        let option = if *grantable { " with grant option" } else { "" };
        format!("{privilege} to {}{option}", grantee.as_deref().unwrap_or("PUBLIC"))
    }))
}
