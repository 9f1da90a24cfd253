//! `pgkeep backup diff`.

use super::{Session, catalog_for};
use crate::cli::args::DiffArgs;
use crate::cli::{exit, tables};
use crate::error::Result;
use crate::ops;
use crate::proof::{DiffScope, Wanted};
use crate::script::NamePattern;

/// The code of a difference, where `--exit-code` asks for one: that of a verification that found one.
const DIFFERENT: u8 = 4;

/// Says what differs between two backups.
pub(super) async fn diff(args: &DiffArgs, session: &Session<'_>) -> Result<u8> {
    let scope = scope(args.tables.as_deref(), args.objects.as_deref());
    let catalog = catalog_for(&args.a, &args.at.at, session).await?;
    let a = &catalog.find(session.ctx, &args.a).await?;
    let catalog = catalog_for(&args.b, &args.at.at, session).await?;
    let b = &catalog.find(session.ctx, &args.b).await?;
    let outcome = ops::diff(session.ctx, a, b, &scope).await?;
    session.display.pause();
    let (now, zone) = (session.ctx.clock.now(), session.ctx.config.timezone);
    session.output.text(&tables::diff(&outcome, (a, b), now, zone))?;
    session.output.json(&outcome)?;
    Ok(if args.exit_code && !outcome.differences.is_empty() { DIFFERENT } else { exit::DONE })
}

/// Naming one sort leaves the other out.
fn scope(tables: Option<&str>, objects: Option<&str>) -> DiffScope {
    let wanted = |of: Option<&str>, other: Option<&str>| match (of, other) {
        (Some("*"), _) | (None, None) => Wanted::All,
        (Some(pattern), _) => Wanted::Like(NamePattern::new(pattern)),
        (None, Some(_)) => Wanted::None,
    };
    DiffScope { tables: wanted(tables, objects), objects: wanted(objects, tables) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sort_that_is_named_leaves_the_other_out() {
        let like = || Wanted::Like(NamePattern::new("o*"));
        for (tables, objects, wanted) in [
            (None, None, (Wanted::All, Wanted::All)),
            (Some("*"), None, (Wanted::All, Wanted::None)),
            (Some("o*"), None, (like(), Wanted::None)),
            (None, Some("o*"), (Wanted::None, like())),
            (Some("o*"), Some("*"), (like(), Wanted::All)),
        ] {
            let scope = scope(tables, objects);
            assert_eq!((scope.tables, scope.objects), wanted);
        }
    }
}
