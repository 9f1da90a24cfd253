//! Statements that pg_dump does not write: those that could change how psql reads the rest of the script.

use super::statement::{Token, setting, tokens};

/// The encodings of databases, as pg_dump writes them. In the others a second byte may look like a quote or a backslash,
/// and psql then reads it as part of a character.
const SERVER_ENCODINGS: [&str; 35] = [
    "SQL_ASCII",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "UTF8",
    "MULE_INTERNAL",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1256",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "WIN1251",
    "WIN1252",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "WIN1250",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1257",
    "KOI8U",
];

/// What is wrong with a SET that pg_dump does not write, or not there: the two settings that decide how psql reads the
/// script may stand only at its head.
pub(super) fn foreign_setting(statement: &[u8], in_head: bool) -> Option<&'static str> {
    let own = |words: &[u8]| {
        // One name, whatever is in its quotes.
        let name = statement.strip_prefix(words).map(tokens).unwrap_or_default();
        matches!(name.as_slice(), [Token::Word(_) | Token::Quoted(_), Token::Symbol(b';')])
    };
    if own(b"SET SESSION AUTHORIZATION ") || own(b"SET ROLE ") {
        return None;
    }
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b"_.".contains(&b));
    let Some((name, value)) = setting(statement).filter(|(name, _)| plain(name)) else {
        return Some("a SET that is not one of pg_dump's");
    };
    let good = match name.as_str() {
        "standard_conforming_strings" => in_head && matches!(value.as_str(), "on" | "off"),
        "client_encoding" => {
            let encoding = value.trim_matches('\'').to_ascii_uppercase();
            in_head && SERVER_ENCODINGS.contains(&encoding.as_str())
        }
        _ => true,
    };
    (!good).then_some("a setting that changes how psql reads the script")
}

/// Whether a SELECT is one of those that pg_dump writes, whose arguments are constants.
pub(super) fn is_select(statement: &[u8], standard_strings: bool) -> bool {
    let statistics = b"SELECT * FROM pg_catalog.pg_restore_";
    if statement.starts_with(statistics) {
        let tokens = tokens(statement);
        let calls = tokens.iter().filter(|token| **token == Token::Symbol(b'(')).count();
        return standard_strings && calls == 1 && !tokens.iter().any(|token| token.is("e"));
    }
    let Some(call) = statement.strip_prefix(b"SELECT pg_catalog.").and_then(|rest| rest.strip_suffix(b");")) else {
        return false;
    };
    let Some(open) = call.iter().position(|&b| b == b'(') else {
        return false;
    };
    let (name, arguments) = (&call[..open], &call[open + 1..]);
    let digits = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    let quoted_number = |bytes: &[u8]| bytes.strip_prefix(b"'").and_then(|b| b.strip_suffix(b"'")).is_some_and(digits);
    match name {
        b"set_config" => arguments == b"'search_path', '', false",
        b"setval" => literal_end(arguments, standard_strings)
            .and_then(|end| arguments[end..].strip_prefix(b", "))
            .and_then(|rest| rest.strip_suffix(b", true").or_else(|| rest.strip_suffix(b", false")))
            .is_some_and(|value| digits(value.strip_prefix(b"-").unwrap_or(value))),
        b"lo_create" | b"lo_unlink" => quoted_number(arguments),
        b"lo_open" => arguments.strip_suffix(b", 131072").is_some_and(quoted_number),
        b"lo_close" => arguments == b"0",
        b"lowrite" => arguments
            .strip_prefix(b"0, '")
            .and_then(|rest| rest.strip_suffix(b"'"))
            .and_then(|rest| rest.strip_prefix(b"\\\\x").or_else(|| rest.strip_prefix(b"\\x")))
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        _ => false,
    }
}

/// Where the string at the beginning of `text` ends.
fn literal_end(text: &[u8], standard_strings: bool) -> Option<usize> {
    let blank = text.iter().take_while(|&&b| b == b' ').count();
    let escape = text.get(blank) == Some(&b'E');
    let escapes = escape || !standard_strings;
    let mut at = blank + usize::from(escape);
    if text.get(at) != Some(&b'\'') {
        return None;
    }
    at += 1;
    loop {
        match text.get(at)? {
            b'\\' if escapes => at += 2,
            b'\'' if text.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
}
