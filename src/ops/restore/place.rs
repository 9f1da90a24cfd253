//! Where a restore goes: looking that nothing in use is written to, a database of our own, its name at the end.

use super::Restorer;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Phase;
use crate::ops::outcome::Proof;
use crate::restore::{Existing, Scratch, create_database, existing, kept_name, rename, swap};

/// Where the rows go.
pub(super) enum Place {
    /// Into a database of our own, which takes the target's name at the end.
    Ours(Scratch),
    /// Into the empty database that is there.
    Theirs,
}

impl Restorer<'_> {
    /// Nothing that is in use is ever written to.
    pub(super) fn guard(&self, there: Option<&Existing>) -> Result<()> {
        let (name, request) = (&self.name, self.request);
        match there {
            None if request.swap => Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no database {name} whose place the restored one could take"),
            )
            .hint("leave --swap out: the backup is then restored as a new database")),
            Some(_) if request.swap && self.maintenance.connection().database() == Some(name) => {
                Err(Error::new(ErrorKind::PermissionDenied, format!("{name} cannot be renamed while connected to it"))
                    .hint("give a role that may connect to the database postgres"))
            }
            Some(_) if request.swap => Ok(()),
            Some(existing) if existing.is_source => Err(Error::new(
                ErrorKind::Refused,
                format!("{name} is the very database that the backup was taken from"),
            )
            .hint(
                "restore into a new name, or add --swap to put the restored database in its place and keep the old one",
            )),
            Some(existing) if existing.objects > 0 => Err(Error::new(
                ErrorKind::Refused,
                format!("database {name} exists and is not empty"),
            )
            .hint(
                "restore into a new name, or add --swap to put the restored database in its place and keep the old one",
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The name under which the replaced database stays: it must be free, now and after hours of loading.
    pub(super) async fn check_kept_name(&self) -> Result<String> {
        let kept = kept_name(&self.name, &self.manifest().id);
        match existing(&self.maintenance, &kept, self.manifest(), &self.ctx.cancel).await? {
            None => Ok(kept),
            Some(_) => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("a database {kept} is there from an earlier restore"))
                    .hint("drop or rename it, then try again"))
            }
        }
    }

    pub(super) async fn make_place(&self, there: Option<&Existing>) -> Result<Place> {
        self.ctx.phase(Phase::Prepare, 0);
        if there.is_some() && !self.request.swap {
            return Ok(Place::Theirs);
        }
        let (now, cancel) = (self.ctx.clock.now(), &self.ctx.cancel);
        let properties = &self.manifest().properties;
        create_database(&self.maintenance, properties, self.version, now, cancel).await.map(Place::Ours)
    }

    /// The last step: the restored database gets its name. One whose proof failed never takes a live one's place.
    pub(super) async fn take_name(
        &self,
        place: &Place,
        proof: Proof,
        notes: &mut Vec<String>,
    ) -> Result<(String, Option<String>)> {
        let Place::Ours(scratch) = place else { return Ok((self.name.clone(), None)) };
        let (ctx, cancel) = (self.ctx, &self.ctx.cancel);
        let comment = self.manifest().properties.comment_statement(&scratch.name);
        if self.request.swap && proof == Proof::Failed {
            notes.push(format!("{} was not replaced, for the proof failed", self.name));
            return Ok((scratch.name.clone(), None));
        }
        if !self.request.swap {
            rename(&self.maintenance, &scratch.name, &self.name, &comment, cancel).await?;
            return Ok((self.name.clone(), None));
        }
        ctx.phase(Phase::Swap, 0);
        let kept = self.check_kept_name().await?;
        swap(&self.maintenance, &self.name, &kept, &scratch.name, &comment, cancel).await?;
        Ok((self.name.clone(), Some(kept)))
    }
}
