//! What a backup needs and the target lacks: said before anything is loaded.

use super::Restorer;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::programs::server_version;
use crate::restore::{Missing, missing_in_target};
use crate::script::quote_identifier;

impl Restorer<'_> {
    /// What the target lacks is said before anything is loaded.
    pub(super) async fn check_needs(&self) -> Result<Vec<String>> {
        let manifest = self.manifest();
        let Missing { mut roles, extensions } =
            missing_in_target(&self.maintenance, manifest, &self.ctx.cancel).await?;
        if !extensions.is_empty() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the target server lacks extensions: {}", extensions.join(", ")),
            )
            .hint("install them on the server, then try again"));
        }
        // Policies and user mappings name roles too, but without owners and grants most dumps need none.
        if self.request.no_owner && self.request.no_privileges {
            roles.clear();
        }
        if !roles.is_empty() {
            let create = roles.iter().map(|role| format!("CREATE ROLE {};", quote_identifier(role)));
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("the target server lacks roles: {}", roles.join(", ")),
            )
            .hint(format!(
                "create them ({}), or restore with --no-owner and --no-privileges",
                create.collect::<Vec<_>>().join(" ")
            )));
        }
        let mut notes = Vec::new();
        let psql = &self.maintenance.programs().version;
        if !psql.supports_restrict() {
            notes.push(format!(
                "psql {psql} is older than August 2025 and cannot be told to refuse commands hidden in a dump: update it before \
                 restoring backups that strangers could have written"
            ));
        }
        if manifest.server.major() * 10_000 > self.version {
            notes.push(format!(
                "the backup is of PostgreSQL {}, the target is {}: what only the newer one knows will stop the restore",
                server_version(manifest.server.version_num),
                server_version(self.version)
            ));
        }
        Ok(notes)
    }
}
