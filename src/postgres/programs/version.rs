//! Versions of PostgreSQL's programs and servers.

use std::fmt;

/// The version of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The major version, 17 of 17.6.
    pub major: u32,
    /// The minor version, 6 of 17.6; 0 for betas and builds from source.
    pub minor: u32,
    /// The version as the program says it, `15.18 (Debian 15.18-0+deb12u1)`.
    pub text: String,
}

impl Version {
    /// Reads what `--version` prints, `pg_dump (PostgreSQL) 17.6`.
    pub fn parse(output: &str) -> Option<Self> {
        let line = output.lines().next()?;
        let (program, text) = line.split_once(") ")?;
        // Forks put their own name between the brackets.
        program.split_once(" (")?;
        let text = text.trim();
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let minor = if text[digits..].starts_with('.') { numbers.next()?.parse().ok()? } else { 0 };
        Some(Self { major, minor, text: text.to_owned() })
    }

    /// Whether psql of this version knows `\restrict`, which dumps begin with since August 2025: older ones stop there.
    pub fn supports_restrict(&self) -> bool {
        match self.major {
            0..13 => false,
            13 => self.minor >= 22,
            14 => self.minor >= 19,
            15 => self.minor >= 14,
            16 => self.minor >= 10,
            17 => self.minor >= 6,
            18 => !["18devel", "18beta1", "18beta2"].iter().any(|early| self.text.starts_with(early)),
            _ => true,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.split(' ').next().unwrap_or_default())
    }
}

/// The major version of a server from its `server_version_num`: 17 of 170006, 9 of 90624.
pub fn server_major(server_version_num: u32) -> u32 {
    server_version_num / 10000
}

/// A server's version for people, from its `server_version_num`: 17.6 of 170006, 9.6.24 of 90624.
pub fn server_version(server_version_num: u32) -> String {
    let (major, rest) = (server_version_num / 10000, server_version_num % 10000);
    if major >= 10 { format!("{major}.{rest}") } else { format!("{major}.{}.{}", rest / 100, rest % 100) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(output: &str) -> Option<(u32, u32, String)> {
        Version::parse(output).map(|version| (version.major, version.minor, version.to_string()))
    }

    #[test]
    fn what_programs_print_is_read() {
        for (output, major, minor, shown) in [
            ("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", 15, 18, "15.18"),
            ("postgres (PostgreSQL) 17.6\r\n", 17, 6, "17.6"),
            ("psql (PostgreSQL) 17beta1", 17, 0, "17beta1"),
            ("pg_dump (PostgreSQL) 18devel", 18, 0, "18devel"),
            ("pg_dump (PostgreSQL) 9.6.24", 9, 6, "9.6.24"),
            ("pg_dump (PostgreSQL) 16.10 (Homebrew)", 16, 10, "16.10"),
            ("pg_dump (EnterpriseDB) 16.1.0", 16, 1, "16.1.0"),
        ] {
            assert_eq!(version(output), Some((major, minor, shown.to_owned())), "{output}");
        }
        for output in ["", "pg_dump", "pg_dump (PostgreSQL)", "pg_dump (PostgreSQL) x", "15.18", "sh: not found"] {
            assert_eq!(version(output), None, "{output}");
        }
    }

    #[test]
    fn restrict_came_with_the_minors_of_august_2025() {
        let knows = |text: &str| Version::parse(&format!("psql (PostgreSQL) {text}")).unwrap().supports_restrict();
        for text in [
            "13.22",
            "14.19",
            "15.14",
            "15.18 (Debian)",
            "16.10",
            "17.6",
            "18.0",
            "18beta3",
            "18rc1",
            "19devel",
            "20.1",
        ] {
            assert!(knows(text), "{text}");
        }
        for text in
            ["9.6.24", "12.22", "13.21", "14.18", "15.13", "16.9", "17.5", "17beta3", "18devel", "18beta1", "18beta2"]
        {
            assert!(!knows(text), "{text}");
        }
    }

    #[test]
    fn server_numbers_are_shown_as_people_say_them() {
        assert_eq!((server_version(170_006), server_major(170_006)), ("17.6".to_owned(), 17));
        assert_eq!((server_version(90_624), server_major(90_624)), ("9.6.24".to_owned(), 9));
    }

    proptest! {
        #[test]
        fn no_output_breaks_the_parser(output in "(pg_dump \\(PostgreSQL\\) )?\\PC{0,20}") {
            let _ = Version::parse(&output);
        }
    }
}
