//! Keeping the catalogue's indexes up to date, at the end of whatever changed backups.

use super::{Backup, Context};
use crate::catalogue;
use crate::destination::{Destination, Key};
use crate::event::Event;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Brings the indexes of the databases of `backups` up to date, wherever these have copies. To be called once at the end
/// of a command that wrote receipts, pinned, removed or copied. What keeps it from being done is a note: listings take longer
/// then, and are as true.
pub async fn consolidate<'b>(ctx: &Context, backups: impl IntoIterator<Item = &'b Backup>) {
    let mut databases: BTreeMap<(String, Key), Arc<dyn Destination>> = BTreeMap::new();
    for backup in backups {
        let manifest = &backup.manifest;
        for copy in &backup.copies {
            let database = database_of(&manifest.job, &manifest.database);
            databases.insert((copy.name().to_owned(), database), Arc::clone(copy));
        }
    }
    for ((_, database), destination) in databases {
        consolidate_at(ctx, [&destination], &database).await;
    }
}

/// The folder of a database, `JOB/DATABASE`.
pub(super) fn database_of(job: &str, database: &str) -> Key {
    Key::encode(job).join(database)
}

/// The same for the folder `database`, `JOB/DATABASE`, at each of `destinations`.
pub(super) async fn consolidate_at<'d>(
    ctx: &Context,
    destinations: impl IntoIterator<Item = &'d Arc<dyn Destination>>,
    database: &Key,
) {
    if ctx.cancel.is_cancelled() {
        return;
    }
    let one = async |destination: &Arc<dyn Destination>| {
        if let Err(error) = catalogue::consolidate(destination, database, ctx.clock.now()).await {
            let name = destination.name();
            ctx.tell(&Event::Note(format!("the index of {database} at {name} was not renewed: {}", error.one_line())));
        }
    };
    join_all(destinations.into_iter().map(one)).await;
}
