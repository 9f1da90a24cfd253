//! SQL for what belongs to a database itself and plain pg_dump leaves out.

use super::{DatabaseProperties, Setting};
use crate::script::{literal, quote_identifier};

/// What of the properties is given to a new database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Without {
    /// Not the owner.
    pub owner: bool,
    /// Not the privileges.
    pub privileges: bool,
    /// Not the comment: that of a scratch database is its mark, until it gets its final name.
    pub comment: bool,
}

/// Settings whose value is a list of names, each quoted by itself: `GUC_LIST_QUOTE` in PostgreSQL's `guc_tables.c`.
const LISTS: [&str; 7] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
    "restrict_nonsystem_relation_kind",
];

impl DatabaseProperties {
    /// The statement that creates a database `name` with the recorded encoding and locale on a server of
    /// `version_num`.
    pub fn create_statement(&self, name: &str, version_num: u32) -> String {
        let mut sql = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {}",
            quote_identifier(name),
            literal(&self.encoding)
        );
        if !self.knows_locale() {
            // That of the server is the likeliest; but only the locale C goes with every encoding.
            let any = if self.encoding == "UTF8" { ";" } else { " LC_COLLATE 'C' LC_CTYPE 'C';" };
            sql.push_str(any);
            return sql;
        }
        sql.push_str(&format!(" LC_COLLATE {} LC_CTYPE {}", literal(&self.collate), literal(&self.ctype)));
        if version_num >= 150_000 {
            match (self.locale_provider.as_str(), &self.locale) {
                ("icu", Some(locale)) => {
                    sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale)));
                    if let Some(rules) = &self.icu_rules
                        && version_num >= 160_000
                    {
                        sql.push_str(&format!(" ICU_RULES {}", literal(rules)));
                    }
                }
                ("builtin", Some(locale)) if version_num >= 170_000 => {
                    sql.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", literal(locale)));
                }
                _ => sql.push_str(" LOCALE_PROVIDER libc"),
            }
        }
        sql.push(';');
        sql
    }

    /// Whether the locale is known.
    pub fn knows_locale(&self) -> bool {
        !self.collate.is_empty() && !self.ctype.is_empty()
    }

    /// Whether the owner is known.
    pub fn knows_owner(&self) -> bool {
        !self.owner.is_empty()
    }

    /// The statements that give the database `name` its other properties, one each.
    pub fn alter_statements(&self, name: &str, without: Without) -> Vec<String> {
        let database = quote_identifier(name);
        let mut statements = Vec::new();
        if !without.owner && self.knows_owner() {
            statements.push(format!("ALTER DATABASE {database} OWNER TO {};", quote_identifier(&self.owner)));
        }
        if !without.comment && self.comment.is_some() {
            statements.push(self.comment_statement(name));
        }
        if let Some(privileges) = &self.privileges
            && !without.privileges
        {
            statements.push(format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC;"));
            if !without.owner && self.knows_owner() {
                statements.push(format!("REVOKE ALL ON DATABASE {database} FROM {};", quote_identifier(&self.owner)));
            }
            for privilege in privileges {
                let grantee = privilege.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), quote_identifier);
                let option = if privilege.grantable { " WITH GRANT OPTION" } else { "" };
                let what = &privilege.privilege;
                statements.push(format!("GRANT {what} ON DATABASE {database} TO {grantee}{option};"));
            }
        }
        for setting in &self.settings {
            if setting.role.is_none() || !without.owner {
                statements.push(setting_statement(&database, setting));
            }
        }
        // Last: a limit of 0 would lock out whoever sets the rest.
        if self.connection_limit >= 0 {
            statements.push(format!("ALTER DATABASE {database} CONNECTION LIMIT {};", self.connection_limit));
        }
        statements
    }

    /// The statement that gives the database `name` its comment, or takes away one it has.
    pub fn comment_statement(&self, name: &str) -> String {
        let comment = self.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        format!("COMMENT ON DATABASE {} IS {comment};", quote_identifier(name))
    }

    /// The roles that [`DatabaseProperties::alter_statements`] names.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let settings = self.settings.iter().filter_map(|setting| setting.role.as_deref());
        let grantees = self.privileges.iter().flatten().filter_map(|privilege| privilege.grantee.as_deref());
        let owner = self.knows_owner().then_some(self.owner.as_str());
        owner.into_iter().chain(settings).chain(grantees)
    }
}

fn setting_statement(database: &str, setting: &Setting) -> String {
    let name = quote_setting(&setting.name);
    let value = if LISTS.contains(&setting.name.to_lowercase().as_str()) {
        let items: Vec<String> = list_items(&setting.value).iter().map(|item| literal(item)).collect();
        if items.is_empty() { "''".to_owned() } else { items.join(", ") }
    } else {
        literal(&setting.value)
    };
    match &setting.role {
        Some(role) => {
            format!("ALTER ROLE {} IN DATABASE {database} SET {name} TO {value};", quote_identifier(role))
        }
        None => format!("ALTER DATABASE {database} SET {name} TO {value};"),
    }
}

/// A setting's name; one of an extension has a dot, on whose sides identifiers stand.
fn quote_setting(name: &str) -> String {
    name.split('.').map(quote_identifier).collect::<Vec<_>>().join(".")
}

/// The items of a list of identifiers, some of them quoted: `"$user", public`.
fn list_items(value: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut item = String::new();
            let mut characters = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, character)) = characters.next() {
                if character != '"' {
                    item.push(character);
                } else if characters.next_if(|(_, next)| *next == '"').is_some() {
                    item.push('"');
                } else {
                    end = at + 1;
                    break;
                }
            }
            items.push(item);
            rest = &quoted[end..];
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            items.push(rest[..end].trim_end().to_owned());
            rest = &rest[end..];
        }
        rest = rest.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_database_is_left_to_the_server() {
        let unknown = |encoding: &str| DatabaseProperties {
            owner: String::new(),
            encoding: encoding.to_owned(),
            locale_provider: "libc".to_owned(),
            collate: String::new(),
            ctype: String::new(),
            locale: None,
            icu_rules: None,
            tablespace: "pg_default".to_owned(),
            connection_limit: -1,
            comment: None,
            settings: Vec::new(),
            privileges: None,
        };
        let statement = |encoding| unknown(encoding).create_statement("d", 170_000);
        assert_eq!(statement("UTF8"), "CREATE DATABASE \"d\" TEMPLATE template0 ENCODING 'UTF8';");
        assert!(statement("LATIN1").ends_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';"));
        assert!(unknown("UTF8").alter_statements("d", Without::default()).is_empty());
        assert_eq!(unknown("UTF8").roles().count(), 0);
    }

    fn setting(role: Option<&str>, name: &str, value: &str) -> String {
        let setting = Setting { role: role.map(str::to_owned), name: name.to_owned(), value: value.to_owned() };
        setting_statement("\"d\"", &setting)
    }

    #[test]
    fn lists_of_names_are_quoted_one_by_one_and_other_values_whole() {
        assert_eq!(
            setting(None, "search_path", r#""$user", public, "a, ""b""#),
            r#"ALTER DATABASE "d" SET "search_path" TO '$user', 'public', 'a, "b';"#
        );
        assert_eq!(setting(None, "search_path", ""), r#"ALTER DATABASE "d" SET "search_path" TO '';"#);
        assert_eq!(
            setting(Some("Bob"), "app.greeting", "it's, you"),
            r#"ALTER ROLE "Bob" IN DATABASE "d" SET "app"."greeting" TO 'it''s, you';"#
        );
    }
}
