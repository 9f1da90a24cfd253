//! Facts about a server and a database that a backup records, as they stand in manifests.

use serde::{Deserialize, Serialize};

/// A server, as it was when it was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// As it calls itself, e.g. `17.5 (Debian 17.5-1)`.
    pub version: String,
    /// `server_version_num`, e.g. 170005.
    pub version_num: u32,
    /// The cluster's system identifier, where the role may read it.
    pub system_identifier: Option<String>,
    /// The database's oid.
    pub database_oid: u32,
    /// The name of the bootstrap superuser (oid 10).
    pub bootstrap_role: String,
    /// Whether the dump was taken from a standby.
    pub standby: bool,
}

impl Server {
    /// The major version, e.g. 17.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// What belongs to the database itself and plain pg_dump leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    /// The owner's name; empty where it is not known, of a backup that was taken over from a file.
    pub owner: String,
    /// The encoding's name, e.g. `UTF8`.
    pub encoding: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// `LC_COLLATE`; empty where the locale is not known.
    pub collate: String,
    /// `LC_CTYPE`; empty where the locale is not known.
    pub ctype: String,
    /// The ICU or builtin locale.
    #[serde(default)]
    pub locale: Option<String>,
    /// ICU tailoring rules.
    #[serde(default)]
    pub icu_rules: Option<String>,
    /// The tablespace's name.
    pub tablespace: String,
    /// `-1` for none.
    pub connection_limit: i64,
    /// `COMMENT ON DATABASE`.
    #[serde(default)]
    pub comment: Option<String>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// The privileges, or `None` for the defaults.
    #[serde(default)]
    pub privileges: Option<Vec<Privilege>>,
}

/// One setting of a database, or of a role in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// The role, or `None` for everybody.
    #[serde(default)]
    pub role: Option<String>,
    /// The parameter.
    pub name: String,
    /// Its value as `pg_db_role_setting` holds it.
    pub value: String,
}

/// One privilege on a database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Privilege {
    /// Who granted it.
    pub grantor: String,
    /// The role, or `None` for PUBLIC.
    #[serde(default)]
    pub grantee: Option<String>,
    /// `CREATE`, `CONNECT` or `TEMPORARY`.
    pub privilege: String,
    /// With grant option.
    #[serde(default)]
    pub grantable: bool,
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}
