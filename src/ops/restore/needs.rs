//! What a backup needs and the target lacks, or the role that restores may not do: said before anything is loaded.

use super::Restorer;
use super::roles::NewRoles;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::contents;
use crate::postgres::programs::server_version;
use crate::restore::{Asked, Existing};
use crate::script::Entry;

impl Restorer<'_> {
    /// Everything that is lacking is said at once; roles are created where that was asked for, last of all.
    pub(super) async fn check_needs(
        &self,
        there: Option<&Existing>,
        adaptations: &mut Vec<String>,
    ) -> Result<Vec<String>> {
        let (roles, notes) = self.look_for_needs(there).await?;
        if !roles.statements.is_empty() {
            self.create_roles(&roles).await?;
            adaptations.extend(roles.told);
        }
        Ok(notes)
    }

    /// The same without creating anything: the roles that would be created, and what is worth knowing.
    pub(super) async fn look_for_needs(&self, there: Option<&Existing>) -> Result<(NewRoles, Vec<String>)> {
        let named = |role: &&String| {
            self.backup.manifest.roles.contains(role)
                || self.backup.manifest.properties.roles().any(|named| named == *role)
        };
        if let Some(role) = self.request.roles.keys().find(|role| !named(role)) {
            let names = self.backup.manifest.roles.join(", ");
            return Err(Error::new(ErrorKind::Usage, format!("the backup names no role {role}"))
                .hint(format!("its roles are {names}")));
        }
        let roles = self.missing_roles().await?;
        let (lacking, hints) = self.lacking(&roles);
        if !lacking.is_empty() {
            let message = format!("the target server lacks {}", lacking.join("; "));
            return Err(Error::new(ErrorKind::NotFound, message).hint(hints.join("; ")));
        }
        let mut notes = Vec::new();
        self.check_rights(there, &roles, &mut notes).await?;
        let psql = &self.maintenance.programs().version;
        if !psql.supports_restrict() {
            notes.push(format!(
                "psql {psql} is older than August 2025 and cannot be told to refuse commands hidden in a dump: update it before \
                 restoring backups that strangers could have written"
            ));
        }
        let source = &self.manifest().server;
        if source.major() * 10_000 > self.version {
            notes.push(format!(
                "the backup is of PostgreSQL {}, the target is {}: what only the newer one knows will stop the restore",
                server_version(source.version_num),
                server_version(self.version)
            ));
        }
        Ok((roles, notes))
    }

    /// What is lacking, and what to do about each.
    fn lacking(&self, roles: &NewRoles) -> (Vec<String>, Vec<String>) {
        let (mut lacking, mut hints) = (Vec::new(), Vec::new());
        if !roles.missing.is_empty() && !self.request.create_roles {
            lacking.push(format!("roles: {}", roles.missing.join(", ")));
            hints.push(format!(
                "add --create-roles, or create them ({}), name others with --role OLD=NEW, or restore with --no-owner and \
                 --no-privileges",
                roles.statements.join(" ")
            ));
        }
        if !roles.predefined.is_empty() {
            lacking.push(format!("predefined roles: {}", roles.predefined.join(", ")));
            hints.push(format!(
                "name others, as in --role {}=NAME, or add --no-privileges",
                roles.predefined.join("=NAME --role ")
            ));
        }
        let wanted = |name: &str| !self.request.without.iter().any(|pattern| pattern.matches("EXTENSION", name));
        let extensions = self.manifest().extensions.iter().map(|extension| extension.name.as_str());
        let extensions: Vec<&str> =
            extensions.filter(|name| !self.server.extensions.contains_key(*name) && wanted(name)).collect();
        if let Some(first) = extensions.first() {
            lacking.push(format!("extensions: {}", extensions.join(", ")));
            hints.push(format!(
                "install the extensions on the server (on Debian often postgresql-contrib or postgresql-VERSION-NAME), or leave \
                 one out that nothing needs, as in --without extension:{first}"
            ));
        }
        (lacking, hints)
    }

    /// What a role that is no superuser may not restore. Managed services let theirs do some of it: there it is only said.
    async fn check_rights(&self, there: Option<&Existing>, roles: &NewRoles, notes: &mut Vec<String>) -> Result<()> {
        if self.server.superuser {
            return Ok(());
        }
        let (ctx, request) = (self.ctx, self.request);
        if !self.server.createdb && (there.is_none() || request.swap) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!("role {} may not create databases", self.server.me),
            )
            .hint("ALTER ROLE ... CREATEDB, or restore into an empty database that is there and belongs to it"));
        }
        let mut server = self.server.clone();
        server.mine.extend(roles.missing.iter().cloned());
        let index = contents(ctx, self.backup).await?;
        let mapped = |entry: Entry| {
            let owner = entry.owner.map(|owner| request.roles.get(&owner).cloned().unwrap_or(owner));
            Entry { owner, ..entry }
        };
        let asked =
            Asked { no_owner: request.no_owner, no_privileges: request.no_privileges, without: &request.without };
        let obstacles = server.obstacles(index.entries().map(mapped), &self.manifest().properties.owner, asked);
        if obstacles.is_empty() {
            return Ok(());
        }
        let what = obstacles.iter().map(|obstacle| obstacle.what.as_str()).collect::<Vec<_>>().join("; ");
        let options = obstacles.iter().map(|obstacle| obstacle.option.as_str()).collect::<Vec<_>>().join(" ");
        if server.managed() {
            notes.push(format!("should this server refuse it: {what}; then add {options}"));
            ctx.warn(format!("this server may refuse: {what}; if it does, add {options}"));
            return Ok(());
        }
        let message = format!("role {}, which is no superuser, may not restore all of this: {what}", server.me);
        Err(Error::new(ErrorKind::PermissionDenied, message).hint(format!("add {options}, or restore as a superuser")))
    }
}
