//! Where a restore goes: looking that nothing in use is written to, a database of our own, its name at the end.

use super::Restorer;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Phase;
use crate::ops::outcome::Proof;
use crate::restore::{Beside, Existing, Scratch, create_database, existing, name_beside, rename};

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
        let kept = name_beside(Beside::Before, &self.name, &self.manifest().id, 1);
        match existing(&self.maintenance, &kept, self.manifest(), &self.ctx.cancel).await? {
            None => Ok(kept),
            Some(_) => {
                Err(Error::new(ErrorKind::AlreadyExists, format!("a database {kept} is there from an earlier restore"))
                    .hint(
                    "put it back with `pgkeep restore --swap-back`, or drop or rename it if nobody needs it; then try again",
                ))
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
        let since = match properties.locale_provider.as_str() {
            "builtin" => 170_000,
            "icu" => 150_000,
            _ => 0,
        };
        if properties.knows_locale() && self.version < since {
            let why = format!("PostgreSQL {} is the first with locales of this kind", since / 10_000);
            return Err(self.lacks_locale(Error::new(ErrorKind::Version, why)));
        }
        let made = create_database(&self.maintenance, properties, self.version, now, cancel).await;
        made.map(Place::Ours).map_err(|error| {
            // It names what it could not find in one of these words, whatever language it speaks.
            let said = error.one_line();
            let of_locale =
                ["locale", "LC_COLLATE", "LC_CTYPE", "ICU", "collat"].iter().any(|word| said.contains(word));
            if of_locale && error.kind() == ErrorKind::Failed { self.lacks_locale(error) } else { error }
        })
    }

    fn lacks_locale(&self, cause: Error) -> Error {
        let properties = &self.manifest().properties;
        let locale = properties.locale.as_deref().filter(|_| properties.locale_provider != "libc");
        let message = format!(
            "the target server cannot make a database of locale {} ({}) and encoding {}",
            locale.unwrap_or(&properties.collate),
            properties.locale_provider,
            properties.encoding
        );
        Error::new(ErrorKind::NotFound, message).caused_by(cause).hint(
            "install the locale on the server's machine, or choose one that it has, as in --locale C.UTF-8 (text may then sort \
             otherwise)",
        )
    }

    /// The last step: the restored database gets its name. One whose proof failed never takes a live one's place.
    pub(super) async fn take_name(
        &self,
        place: &Place,
        there: Option<&Existing>,
        proof: Proof,
        notes: &mut Vec<String>,
    ) -> Result<(String, Option<String>)> {
        let Place::Ours(scratch) = place else { return Ok((self.name.clone(), None)) };
        let comment = self.manifest().properties.comment.as_deref();
        if self.request.swap && proof == Proof::Failed {
            let kept = self.keep_restored(scratch, Some(false)).await?;
            notes.push(format!(
                "{} was not replaced, for the proof failed; what was restored is database {kept}",
                self.name
            ));
            return Ok((kept, None));
        }
        if !self.request.swap {
            rename(&self.maintenance, &scratch.name, &self.name, comment, &self.ctx.cancel).await?;
            return Ok((self.name.clone(), None));
        }
        let kept = self.exchange(scratch, there, proof).await?;
        Ok((self.name.clone(), Some(kept)))
    }
}
