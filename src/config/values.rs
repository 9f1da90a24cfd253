//! Durations, sizes and secrets, as the configuration file writes them.

use super::reader::{Problems, Section, Value, kind, string};
use super::resolve::Origin;
use super::secret_ref::is_credential_name;
use crate::config::{Retention, SecretRef};
use crate::error::Error;
use crate::secret::Secret;
use std::time::Duration;

/// A duration that is longer than nothing.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("it must be longer than zero".to_owned()),
        Err(_) => Err(format!("{text:?} is no duration; write \"30d\", \"12h\", \"90s\"")),
    }
}

/// A number of bytes: digits and a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default() {
        "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let number = digits.trim().parse::<u64>().ok();
    let bytes = number.zip(shift).and_then(|(number, shift)| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{text:?} is no size; write \"64MiB\", \"1GiB\""))
}

/// The table of a retention.
pub(super) fn retention(value: &Value<'_>, problems: &mut Problems<'_>) -> Option<Retention> {
    let mut section = Section::of("\"retention\"", value, problems)?;
    let within = section.parsed("within", problems, duration);
    let mut number = |key| section.integer(key, 0..=u32::MAX, problems).unwrap_or(0);
    let (hourly, daily, weekly) = (number("hourly"), number("daily"), number("weekly"));
    let (monthly, yearly) = (number("monthly"), number("yearly"));
    let at_least = section.integer("at_least", 1..=u32::MAX, problems).unwrap_or(Retention::default().at_least);
    section.finish(problems);
    Some(Retention { within, hourly, daily, weekly, monthly, yearly, at_least })
}

/// An error's message and hint in one line.
#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(super) fn told(error: Error) -> String {
    error.hint_text().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}

/// The secret that `value` describes, the key `key` of `owner` (`job "shop"`).
pub(super) fn secret(
    key: &str,
    value: &Value<'_>,
    owner: &str,
    origin: Origin<'_>,
    warnings: &mut Vec<String>,
    problems: &mut Problems<'_>,
) -> Option<SecretRef> {
    if value.get_ref().is_str() {
        let text = string(key, value, problems)?;
        if let Some(mode) = origin.open_to_others {
            let message = format!(
                "{key:?} holds a password perhaps, and others can read this file (mode {mode:03o}): run chmod 600 on it, \
                 or write {{ env = \"NAME\" }} or {{ file = \"path\" }}"
            );
            problems.add(&value.span(), message);
        }
        warnings.push(format!(
            "{key:?} of {owner} is written in the configuration file; {{ env = \"NAME\" }} or {{ file = \"path\" }} keeps it out"
        ));
        return Some(SecretRef::Literal(Secret::new(text)));
    }
    if !value.get_ref().is_table() {
        let message = format!("{key:?} must be a table such as {{ env = \"NAME\" }}, not {}", kind(value));
        problems.add(&value.span(), message);
        return None;
    }
    let mut section = Section::of(format!("{key:?}"), value, problems)?;
    let env = section.string("env", problems).map(|name| SecretRef::Env(name.to_owned()));
    let file = section.string("file", problems).map(|path| SecretRef::File(origin.path(path)));
    let credential = section.parsed("credential", problems, |name| {
        let why = "a credential has the name of a file: ASCII without \"/\" and \":\"";
        if is_credential_name(name) { Ok(name.to_owned()) } else { Err(why.to_owned()) }
    });
    let command = section.strings("command", problems).map(|words| words.into_iter().map(|(word, _)| word).collect());
    let command = command.map(SecretRef::Command);
    let forms = ["env", "file", "credential", "command"];
    let found = forms.iter().filter(|name| section.entries().any(|(key, ..)| key == **name)).count();
    section.finish(problems);
    if found != 1 || command == Some(SecretRef::Command(Vec::new())) {
        problems.add(
            &value.span(),
            format!("{key:?} must hold one of env, file, credential, and command = [\"program\", ...]"),
        );
        return None;
    }
    env.or(file).or(credential.map(SecretRef::Credential)).or(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("64MiB", 64 << 20), ("5GiB", 5 << 30), ("1 TiB", 1 << 40), ("262144B", 262_144)] {
            assert_eq!(size(text).unwrap(), bytes);
        }
        for text in ["", "64", "64MB", "MiB", "-1MiB", "1.5GiB", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
