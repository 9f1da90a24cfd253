//! Connection strings, read as libpq reads them (`fe-connect.c`: `conninfo_parse`, `conninfo_uri_parse_options`).
//!
//! No error here repeats the string or a value in it: a password with an unquoted blank or slash ends up in the oddest
//! places. Differences from libpq, all on the safe side: ports must be numbers at once; a host with an `@` left in it is
//! refused, because it holds the end of a password; blanks around the parts of a URL are dropped, as libpq 18 does;
//! values must be UTF-8.

use super::keywords;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

const ENCODE_HINT: &str =
    "percent-encode the characters : / ? # [ ] @ % and blanks in the password, for example @ as %40";

/// The parameters of a connection string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The values by libpq's keyword.
    pub(super) values: BTreeMap<&'static str, Secret>,
    /// How secret values were written, where that differs from the values.
    pub(super) as_written: Vec<Secret>,
}

/// Reads a URL, a keyword/value string, or a plain database name.
pub(super) fn parse(text: &str) -> Result<Parameters> {
    if text.is_empty() {
        // libpq would connect to whatever its defaults say: never what somebody who wrote a job meant.
        return Err(invalid("it is empty").hint("write postgres://USER:PASSWORD@HOST/DATABASE"));
    }
    if let Some(rest) = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        return parse_uri(rest);
    }
    let before_equals = text.split('=').next().unwrap_or_default();
    if before_equals.contains("://") {
        // To libpq this is a database name or a broken keyword string; either would show the URL in its messages.
        return Err(invalid("it looks like a URL but does not begin with postgres:// or postgresql://")
            .hint("write postgres://USER:PASSWORD@HOST/DATABASE, with nothing before it"));
    }
    if text.contains('=') {
        return parse_keywords(text);
    }
    let mut parameters = Parameters::default();
    parameters.store("dbname", text.to_owned(), text, true)?;
    Ok(parameters)
}

pub(super) fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the connection string cannot be used: {why}"))
}

impl Parameters {
    /// Sets a parameter; a later value replaces an earlier one. `may_name` says whether an unknown keyword may be shown.
    fn store(&mut self, name: &str, value: String, written: &str, may_name: bool) -> Result<()> {
        // What libpq 7.4 had instead of sslmode is still understood.
        if name == "requiressl" {
            let mode = if value.starts_with('1') { "require" } else { "prefer" };
            return self.store("sslmode", mode.to_owned(), mode, true);
        }
        let Some(keyword) = keywords::find(name) else {
            let showable =
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty() && name.len() <= 40;
            let what = if may_name && showable {
                format!("libpq has no parameter {name:?}")
            } else {
                "it has a parameter that libpq does not know".to_owned()
            };
            return Err(invalid(&what)
                .hint(format!("remove parameters that belong to other libraries; quote or {ENCODE_HINT}")));
        };
        if value.contains('\0') {
            return Err(invalid(&format!("the value of {name:?} holds a NUL")));
        }
        if name == "port" {
            check_ports(&value)?;
        }
        if keyword.secret && written != value {
            self.as_written.push(Secret::new(written));
        }
        self.values.insert(keyword.name, Secret::new(value));
        Ok(())
    }
}

/// Refuses ports that are no numbers: in a URL they are mostly the beginning of a password with a slash in it.
pub(super) fn check_ports(ports: &str) -> Result<()> {
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    if ports.split(',').all(|port| is_port(port.trim_ascii())) {
        Ok(())
    } else {
        Err(invalid("a port is not a number from 1 to 65535").hint(ENCODE_HINT))
    }
}

fn parse_uri(text: &str) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    let mut rest = text;
    // Credentials come up to the first @, unless a slash comes before it.
    if let Some(end) = text.find(['@', '/']).filter(|end| text[*end..].starts_with('@')) {
        let (user, password) = text[..end].split_once(':').unwrap_or((&text[..end], ""));
        parameters.store_part("user", user)?;
        parameters.store_part("password", password)?;
        rest = &text[end + 1..];
    }
    let (mut hosts, mut ports) = (String::new(), String::new());
    loop {
        let host = if let Some(bracketed) = rest.strip_prefix('[') {
            let (address, after) =
                bracketed.split_once(']').ok_or_else(|| invalid("an IPv6 address lacks its closing bracket"))?;
            if address.is_empty() {
                return Err(invalid("an IPv6 address is empty"));
            }
            if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
                return Err(invalid("something follows the closing bracket of an IPv6 address").hint(ENCODE_HINT));
            }
            rest = after;
            address
        } else {
            take_until(&mut rest, &[':', '/', '?', ','])
        };
        if host.contains('@') {
            return Err(invalid("there is a second @ before the host").hint(ENCODE_HINT));
        }
        hosts.push_str(host);
        if let Some(after) = rest.strip_prefix(':') {
            rest = after;
            ports.push_str(take_until(&mut rest, &['/', '?', ',']));
        }
        let Some(after) = rest.strip_prefix(',') else { break };
        rest = after;
        hosts.push(',');
        ports.push(',');
    }
    parameters.store_part("host", &hosts)?;
    parameters.store_part("port", &ports)?;
    if let Some(after) = rest.strip_prefix('/') {
        rest = after;
        // An empty name is not set at all, so that PGDATABASE still counts.
        let database = take_until(&mut rest, &['?']);
        parameters.store_part("dbname", database)?;
    }
    if let Some(query) = rest.strip_prefix('?').filter(|query| !query.is_empty()) {
        // libpq takes one & at the end for nothing, and refuses empty parameters elsewhere.
        for parameter in query.strip_suffix('&').unwrap_or(query).split('&') {
            let Some((name, written)) = parameter.split_once('=') else {
                return Err(invalid("a parameter after the ? lacks its =").hint(ENCODE_HINT));
            };
            if written.contains('=') {
                return Err(invalid("a parameter after the ? has two =").hint("percent-encode = as %3D in values"));
            }
            let (name, value) = (decode(name)?, decode(written)?);
            // JDBC's way to say it.
            if name == "ssl" && value == "true" {
                parameters.store("sslmode", "require".to_owned(), "require", true)?;
            } else {
                parameters.store(&name, value, written, !written.contains('@'))?;
            }
        }
    }
    Ok(parameters)
}

impl Parameters {
    /// Sets a percent-encoded part of a URL, unless it is empty.
    fn store_part(&mut self, name: &str, written: &str) -> Result<()> {
        if written.is_empty() { Ok(()) } else { self.store(name, decode(written)?, written, true) }
    }
}

/// The text of `rest` up to the first of `ends`, which stays.
fn take_until<'t>(rest: &mut &'t str, ends: &[char]) -> &'t str {
    let (text, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    *rest = after;
    text
}

fn decode(written: &str) -> Result<String> {
    let written = written.trim_matches(' ');
    let bytes = written.as_bytes();
    for (at, _) in written.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(invalid("a % is not followed by two hexadecimal digits").hint("percent-encode % itself as %25"));
        }
        if digits == b"00" {
            return Err(invalid("it holds %00, which no value can"));
        }
    }
    let decoded = percent_decode_str(written).decode_utf8();
    Ok(decoded.map_err(|_| invalid("a percent-encoded value is not UTF-8"))?.into_owned())
}

fn parse_keywords(text: &str) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    let mut may_name = true;
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        let name = &rest[..rest.find(|c| c == '=' || is_blank(c)).unwrap_or(rest.len())];
        let after = rest[name.len()..].trim_start_matches(is_blank);
        let Some(after) = after.strip_prefix('=') else {
            return Err(
                invalid("a word in it lacks its =").hint("put values with blanks in them between single quotes")
            );
        };
        let after = after.trim_start_matches(is_blank);
        let (value, length) = take_value(after)?;
        parameters.store(name, value, &after[..length], may_name)?;
        // What follows an unquoted secret may be the rest of it.
        may_name = keywords::find(name).is_none_or(|keyword| !keyword.secret);
        rest = after[length..].trim_start_matches(is_blank);
    }
    Ok(parameters)
}

/// C's `isspace` in the C locale.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// The value at the beginning of `text`, and how many bytes it takes there. A backslash takes the next character as it
/// is; one at the very end stands for nothing.
fn take_value(text: &str) -> Result<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, at + 1)),
            c if !quoted && is_blank(c) => return Ok((value, at)),
            c => value.push(c),
        }
    }
    if quoted {
        return Err(invalid("a quoted value lacks its closing quote").hint("write a quote inside quotes as \\'"));
    }
    Ok((value, text.len()))
}
