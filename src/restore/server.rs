//! The server that a backup is restored on: what it has, and what the role that restores may do there.

use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;
use crate::script::{Entry, EntryPattern};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The settings that pg_dump 14 to 18 writes at the head of a script, or between its entries.
pub const SETTINGS_WRITTEN: [&str; 12] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "client_encoding",
    "standard_conforming_strings",
    "check_function_bodies",
    "xmloption",
    "client_min_messages",
    "row_security",
    "default_tablespace",
    "default_table_access_method",
];

/// Roles that managed services make; theirs are not superusers, but may do some of what only superusers may elsewhere.
const MANAGED: [&str; 6] =
    ["rds_superuser", "cloudsqlsuperuser", "azure_pg_admin", "supabase_admin", "neon_superuser", "alloydbsuperuser"];

/// Kinds of entries that only superusers can create.
const OF_SUPERUSERS: [&str; 9] = [
    "ACCESS METHOD",
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "SUBSCRIPTION",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
];

/// What a server has, as the role that is connected sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct TargetServer {
    /// The role.
    pub me: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether it may create databases.
    pub createdb: bool,
    /// Whether it may create roles.
    pub createrole: bool,
    /// `server_version_num`.
    pub version_num: u32,
    /// All roles.
    pub roles: BTreeSet<String>,
    /// Those that the role may act as.
    pub mine: BTreeSet<String>,
    /// All tablespaces.
    pub tablespaces: BTreeSet<String>,
    /// Extensions that can be created, each with whether only a superuser can.
    pub extensions: BTreeMap<String, bool>,
    /// All settings.
    pub settings: BTreeSet<String>,
}

/// Asks the server of `client` what it has.
pub async fn target_server(client: &Client, cancel: &Cancel) -> Result<TargetServer> {
    let query = "select json_build_object('me', me.rolname, 'superuser', me.rolsuper, 'createdb', me.rolcreatedb, \
        'createrole', me.rolcreaterole, 'version_num', current_setting('server_version_num')::int, \
        'roles', (select json_agg(rolname) from pg_catalog.pg_roles), \
        'mine', (select json_agg(rolname) from pg_catalog.pg_roles where pg_catalog.pg_has_role(oid, \
           case when current_setting('server_version_num')::int >= 160000 then 'set' else 'member' end)), \
        'tablespaces', (select json_agg(spcname) from pg_catalog.pg_tablespace), \
        'extensions', (select coalesce(json_object_agg(e.name, coalesce(v.superuser and not v.trusted, false)), '{}') \
           from pg_catalog.pg_available_extensions e left join pg_catalog.pg_available_extension_versions v \
           on v.name = e.name and v.version = e.default_version), \
        'settings', (select json_agg(name) from pg_catalog.pg_settings)) \
        from pg_catalog.pg_roles me where me.rolname = current_user;";
    client.query_json(query, cancel).await
}

/// Something that the role may not restore, and the options that leave it out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle {
    /// What it is, in words.
    pub what: String,
    /// The options, as they are typed.
    pub option: String,
}

/// What a restore is asked to leave out, as far as that matters to who restores.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Changes of owner.
    pub no_owner: bool,
    /// Privileges.
    pub no_privileges: bool,
    /// Whole entries.
    pub without: &'a [EntryPattern],
}

impl TargetServer {
    /// Whether a service runs it whose roles may do more than their attributes tell.
    pub fn managed(&self) -> bool {
        MANAGED.iter().any(|role| self.roles.contains(*role))
    }

    /// The settings that pg_dump writes and the server does not know.
    pub fn unknown_settings(&self) -> BTreeSet<String> {
        let names = SETTINGS_WRITTEN.into_iter().filter(|name| !self.settings.contains(*name));
        names.map(str::to_owned).collect()
    }

    /// The privileges that dumps of newer servers name and this one does not know.
    pub fn unknown_privileges(&self) -> BTreeSet<String> {
        // PostgreSQL 17 made it.
        if self.version_num < 170_000 { ["MAINTAIN".to_owned()].into() } else { BTreeSet::new() }
    }

    /// What of `entries` the role may not restore. Their owners are those of the target.
    pub fn obstacles(
        &self,
        entries: impl Iterator<Item = Entry>,
        database_owner: &str,
        asked: Asked<'_>,
    ) -> Vec<Obstacle> {
        if self.superuser {
            return Vec::new();
        }
        let managed = self.managed();
        let mut owners: BTreeSet<String> = BTreeSet::new();
        let mut granting: BTreeSet<String> = BTreeSet::new();
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        let mut found: BTreeSet<Obstacle> = BTreeSet::new();
        // The owner of a database is a member of it, and the role owns the one it makes.
        let mine = |owner: &str| owner.is_empty() || owner == "pg_database_owner" || self.mine.contains(owner);
        if !mine(database_owner) {
            owners.insert(database_owner.to_owned());
        }
        for Entry { kind, name, owner, .. } in entries.filter(|entry| entry.kind != "TABLE DATA") {
            if asked.without.iter().any(|pattern| pattern.matches(&kind, &name)) {
                continue;
            }
            if let Some(owner) = owner.filter(|owner| !mine(owner)) {
                match kind.as_str() {
                    "DEFAULT ACL" => drop(granting.insert(owner)),
                    "ACL" | "COMMENT" | "SECURITY LABEL" => {}
                    _ => drop(owners.insert(owner)),
                }
            }
            if let Some(kind) = OF_SUPERUSERS.into_iter().find(|of| *of == kind) {
                let may = kind == "SUBSCRIPTION" && self.mine.contains("pg_create_subscription");
                *kinds.entry(kind).or_default() += u64::from(!may);
            }
            let whole = kind == "PUBLICATION TABLES IN SCHEMA";
            if whole {
                *kinds.entry("PUBLICATION").or_default() += 1;
            }
            if kind == "EXTENSION" && self.extensions.get(&name) == Some(&true) {
                let option = format!("--without extension:{name}");
                found.insert(Obstacle { what: format!("extension {name} needs a superuser"), option });
            }
            // Services let roles create extensions that then belong to somebody else.
            if let ("COMMENT", Some(extension), true) = (kind.as_str(), name.strip_prefix("EXTENSION "), managed) {
                let what = format!("the comment of extension {extension}, which may be somebody else's");
                found.insert(Obstacle { what, option: format!("--without 'comment:EXTENSION {extension}'") });
            }
        }
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        if !owners.is_empty() && !asked.no_owner {
            let what = format!("objects of {}, which {} may not act as", list(&owners), self.me);
            found.insert(Obstacle { what, option: "--no-owner".to_owned() });
        }
        if !granting.is_empty() && !asked.no_privileges {
            let what = format!("default privileges of {}, which {} may not act as", list(&granting), self.me);
            found.insert(Obstacle { what, option: "--no-privileges".to_owned() });
        }
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            let kind = kind.to_ascii_lowercase();
            let what = format!("{count} of kind {kind}, which only a superuser can create");
            found.insert(Obstacle { what, option: format!("--without {}", kind.replace(' ', "-")) });
        }
        found.into_iter().collect()
    }
}
