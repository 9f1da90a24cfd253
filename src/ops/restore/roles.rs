//! Roles that a backup names and the target lacks: how its globals describe them, and making them.

use super::Restorer;
use crate::catalogue::FileKind;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::check::read_globals;
use crate::script::{GlobalRoles, Membership, RoleAttributes, quote_identifier};
use std::collections::BTreeSet;

/// Roles that the target lacks.
#[derive(Debug, Clone, Default)]
pub(super) struct NewRoles {
    /// Their names.
    pub(super) missing: Vec<String>,
    /// Those that only the server itself can have.
    pub(super) predefined: Vec<String>,
    /// The statements that make them, and members of each other.
    pub(super) statements: Vec<String>,
    /// What that comes to, in words.
    pub(super) told: Vec<String>,
}

impl Restorer<'_> {
    /// What is missing of the roles that the backup names, in the names of the target.
    pub(super) async fn missing_roles(&self) -> Result<NewRoles> {
        let (manifest, request) = (self.manifest(), self.request);
        // Policies and user mappings name roles too, but without owners and grants most dumps need none.
        if request.no_owner && request.no_privileges && !request.create_roles {
            return Ok(NewRoles::default());
        }
        let lacking = manifest.roles.iter().filter(|role| !self.server.roles.contains(*role)).cloned();
        let (predefined, missing): (Vec<String>, Vec<String>) = lacking.partition(|role| role.starts_with("pg_"));
        if missing.is_empty() {
            return Ok(NewRoles { predefined, ..NewRoles::default() });
        }
        let globals = self.globals().await?;
        let mut new = NewRoles { missing, predefined, ..NewRoles::default() };
        self.describe(&mut new, &globals);
        Ok(new)
    }

    /// The roles of the backup's globals, in the names of the target; none where globals were not stored.
    async fn globals(&self) -> Result<GlobalRoles> {
        let backup = &self.backup.manifest;
        let Some(file) = backup.files_of(FileKind::Globals).next() else { return Ok(GlobalRoles::default()) };
        let mut first = None;
        for copy in &self.backup.copies {
            match read_globals(&**copy, backup, file).await {
                Ok(sql) => {
                    let mut globals = GlobalRoles::parse(&sql);
                    for (old, new) in &self.request.roles {
                        if let Some(attributes) = globals.roles.get(old).cloned() {
                            globals.roles.entry(new.clone()).or_insert(attributes);
                        }
                    }
                    let map = |role: &mut String| {
                        if let Some(new) = self.request.roles.get(role) {
                            role.clone_from(new);
                        }
                    };
                    for membership in &mut globals.memberships {
                        map(&mut membership.role);
                        map(&mut membership.member);
                    }
                    return Ok(globals);
                }
                Err(error) => first = first.or(Some(error)),
            }
            self.ctx.cancel.check()?;
        }
        Err(first.unwrap_or_else(|| Error::new(ErrorKind::NotFound, format!("{} is nowhere", backup.dir()))))
    }

    fn describe(&self, new: &mut NewRoles, globals: &GlobalRoles) {
        let server = &self.server;
        // What only superusers can give, or who has it.
        let mut unwanted: Vec<&str> = Vec::new();
        if !server.superuser {
            unwanted.extend(["SUPERUSER", "REPLICATION", "BYPASSRLS"]);
        }
        if !server.superuser && !server.createdb {
            unwanted.push("CREATEDB");
        }
        let bare = RoleAttributes::default();
        for role in &new.missing {
            let attributes = globals.roles.get(role).unwrap_or(&bare);
            let statement = attributes.create_statement(role, &unwanted);
            let dropped: Vec<&str> =
                attributes.words.iter().map(String::as_str).filter(|word| unwanted.contains(word)).collect();
            let without = if dropped.is_empty() { String::new() } else { format!(", without {}", dropped.join(", ")) };
            let login = if attributes.words.iter().any(|word| word == "LOGIN") { ", without its password" } else { "" };
            new.told.push(format!("role created{login}{without}: {statement}"));
            new.statements.push(statement);
        }
        let created: BTreeSet<&String> = new.missing.iter().collect();
        let there = |role: &String| created.contains(role) || server.roles.contains(role);
        let mut done: BTreeSet<(&String, &String)> = BTreeSet::new();
        for membership in &globals.memberships {
            let Membership { role, member, .. } = membership;
            let concerns = created.contains(role) || (created.contains(member) && server.superuser);
            if concerns && role != member && there(role) && there(member) && done.insert((role, member)) {
                let statement = membership.grant_statement(server.version_num);
                new.told.push(format!("role granted: {statement}"));
                new.statements.push(statement);
            }
        }
        // Who makes a role may give objects to it only as a member.
        if !server.superuser && !self.request.no_owner {
            new.statements
                .extend(new.missing.iter().map(|role| format!("GRANT {} TO CURRENT_USER;", quote_identifier(role))));
        }
    }

    /// Makes all of them or none.
    pub(super) async fn create_roles(&self, roles: &NewRoles) -> Result<()> {
        if !self.server.superuser && !self.server.createrole {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("role {} may not create roles", self.server.me),
            )
            .hint(format!("have a superuser do it: {}", roles.statements.join(" "))));
        }
        let sql = format!("begin; {} commit;", roles.statements.join(" "));
        self.maintenance.execute(&sql, &self.ctx.cancel).await.map_err(|error| {
            Error::new(error.kind(), "the roles that the backup names could not be created").caused_by(error)
        })
    }
}
