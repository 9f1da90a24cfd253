//! What a dump says of itself and of its database: the comments at its head, and the statements of `--create`.

use crate::postgres::DatabaseProperties;

/// How much of the head is looked at, in bytes.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// What the first comments say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The server's version, e.g. `16.2 (Debian 16.2-1)`.
    pub(super) server: Option<String>,
    /// pg_dump's version.
    pub(super) pg_dump: Option<String>,
    /// Whether it is the output of pg_dumpall, which holds every database of a server.
    pub(super) cluster: bool,
}

impl Head {
    /// Reads the comments before the first statement.
    pub(super) fn read(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut found = Self::default();
        for line in text.lines() {
            let value = |prefix: &str| line.strip_prefix(prefix).map(|value| value.trim().to_owned());
            found.cluster |= line == "-- PostgreSQL database cluster dump";
            found.server = found.server.or_else(|| value("-- Dumped from database version "));
            found.pg_dump = found.pg_dump.or_else(|| value("-- Dumped by pg_dump version "));
            if !(line.trim().is_empty() || line.starts_with("--") || line.starts_with('\\')) {
                break;
            }
        }
        found
    }
}

/// `server_version_num` of a version as people write it: 160002 of `16.2 (Debian)`, 90624 of `9.6.24`.
pub(super) fn version_num(text: &str) -> Option<u32> {
    let digits = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut numbers = digits.split('.').map(|number| number.parse::<u32>().ok().filter(|number| *number < 1000));
    let major = numbers.next()??;
    let mut next = || numbers.next().flatten().unwrap_or(0);
    Some(if major >= 10 { major * 10_000 + next() } else { major * 10_000 + next() * 100 + next() })
}

/// What the statements about the database itself say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    /// Its name.
    pub(super) name: Option<String>,
    owner: Option<String>,
    encoding: Option<String>,
    locale: Option<(String, String)>,
    /// Those that say something else: settings, privileges, a comment.
    pub(super) others: Vec<String>,
}

impl About {
    /// Reads `CREATE DATABASE` and `ALTER DATABASE … OWNER TO` among `statements`.
    pub(super) fn read(statements: &[String]) -> Self {
        let mut about = Self::default();
        for statement in statements {
            if let Some((name, rest)) = statement.strip_prefix("CREATE DATABASE ").and_then(identifier) {
                about.name = Some(name);
                let value = |key: &str| option(rest, key);
                about.encoding = value("ENCODING");
                let both = value("LOCALE").map(|locale| (locale.clone(), locale));
                let libc = !rest.contains("LOCALE_PROVIDER = ") || rest.contains("LOCALE_PROVIDER = libc");
                let locale = both.or_else(|| Some((value("LC_COLLATE")?, value("LC_CTYPE")?)));
                about.locale = locale.filter(|_| libc);
            } else if let Some((_, rest)) = statement.strip_prefix("ALTER DATABASE ").and_then(identifier)
                && let Some((owner, ";")) = rest.strip_prefix(" OWNER TO ").and_then(identifier)
            {
                about.owner = Some(owner);
            } else if !statement.starts_with("DROP DATABASE ") {
                about.others.push(statement.clone());
            }
        }
        about
    }

    /// The properties of the database, as far as they are known; `encoding` is the dump's own.
    pub(super) fn properties(&self, encoding: &str) -> DatabaseProperties {
        let (collate, ctype) = self.locale.clone().unwrap_or_default();
        DatabaseProperties {
            owner: self.owner.clone().unwrap_or_default(),
            encoding: self.encoding.clone().unwrap_or_else(|| encoding.to_owned()),
            locale_provider: "libc".to_owned(),
            collate,
            ctype,
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".to_owned(),
            connection_limit: -1,
            comment: None,
            settings: Vec::new(),
            privileges: None,
        }
    }
}

/// The identifier at the beginning of `text`, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(text.len());
        return (end > 0).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (piece, behind) = rest.split_once('"')?;
        name.push_str(piece);
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, behind)),
        }
    }
}

/// The value of ` KEY = 'value'` in the options of a `CREATE DATABASE`.
fn option(text: &str, key: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!(" {key} = '"))?;
    rest.split_once('\'').map(|(value, _)| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_the_versions() {
        let head = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\n-- Dumped from database version 15.4 (Debian 15.4-1)\n\
                     -- Dumped by pg_dump version 16.2\n\nSET a = 1;\n-- Dumped by pg_dump version 99\n";
        let found = Head::read(head);
        assert_eq!(found.server.as_deref(), Some("15.4 (Debian 15.4-1)"));
        assert_eq!((found.pg_dump.as_deref(), found.cluster), (Some("16.2"), false));
        assert!(Head::read(b"--\n-- PostgreSQL database cluster dump\n--\n").cluster);
        for (text, number) in [("15.4 (Debian)", 150_004), ("9.6.24", 90_624), ("18beta1", 180_000), ("10.23", 100_023)]
        {
            assert_eq!(version_num(text), Some(number), "{text}");
        }
        assert_eq!(version_num("x"), None);
    }

    #[test]
    fn the_statements_of_create_tell_owner_and_locale() {
        let statements = [
            "CREATE DATABASE \"my \"\"shop\" WITH TEMPLATE = template0 ENCODING = 'LATIN1' LOCALE_PROVIDER = libc LOCALE = 'C';",
            "ALTER DATABASE \"my \"\"shop\" OWNER TO \"the owner\";",
            "ALTER DATABASE \"my \"\"shop\" SET work_mem TO '5MB';",
        ];
        let about = About::read(&statements.map(str::to_owned));
        assert_eq!(about.name.as_deref(), Some("my \"shop"));
        assert_eq!(about.others, [statements[2]]);
        let properties = about.properties("UTF8");
        assert_eq!((properties.owner.as_str(), properties.encoding.as_str()), ("the owner", "LATIN1"));
        assert_eq!((properties.collate.as_str(), properties.ctype.as_str()), ("C", "C"));
        let icu = "CREATE DATABASE a WITH ENCODING = 'UTF8' LOCALE_PROVIDER = icu LOCALE = 'C' ICU_LOCALE = 'de';";
        assert!(!About::read(&[icu.to_owned()]).properties("UTF8").knows_locale());
        let old = "CREATE DATABASE a WITH ENCODING = 'UTF8' LC_COLLATE = 'es_ES' LC_CTYPE = 'C';";
        assert_eq!(About::read(&[old.to_owned()]).locale, Some(("es_ES".to_owned(), "C".to_owned())));
    }
}
