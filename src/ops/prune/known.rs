//! What the listings of all destinations together tell of backups whose copies have the same bytes.

use super::PruneRequest;
use crate::catalogue::{self, DrillResult, Entry, Listing, PinReceipt};
use crate::destination::Key;
use crate::error::Result;
use crate::ops::Context;
use crate::ops::kept::{candidate, newer_pin, passed};
use crate::retention::Candidate;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// What all destinations together know of the backups, by their folders: the bytes of copies are the same.
pub(super) struct Known {
    pub(super) pins: BTreeMap<Key, PinReceipt>,
    passed: BTreeMap<Key, DateTime<Utc>>,
}

impl Known {
    pub(super) async fn gather(ctx: &Context, request: &PruneRequest, listed: &[Result<Listing>]) -> Self {
        let mut known = Self { pins: BTreeMap::new(), passed: BTreeMap::new() };
        let destinations = request.places.iter().map(|place| &place.destination).chain(&request.others);
        for (destination, listing) in destinations.zip(listed) {
            let Ok(listing) = listing else { continue };
            for entry in &listing.entries {
                let dir = entry.manifest.dir();
                if let Some(pin) = newer_pin(known.pins.remove(&dir), entry.pin.clone()) {
                    known.pins.insert(dir.clone(), pin);
                }
                let mut drilled = passed(entry.drilled.as_ref());
                if entry.drilled.as_ref().is_some_and(|drill| drill.result == DrillResult::CouldNotRun) {
                    // That one could not run says nothing: an older one may have passed.
                    let id = &entry.manifest.id;
                    match catalogue::newest_drill_that_ran(&**destination, &dir, id).await {
                        Ok(drill) => drilled = passed(drill.as_ref()),
                        Err(error) => ctx.warn(format!("the drills of {dir} are not known: {}", error.one_line())),
                    }
                }
                known.passed.extend(drilled.map(|at| (dir, at)));
            }
        }
        known
    }

    pub(super) fn candidate(&self, entry: &Entry) -> Candidate {
        let dir = entry.manifest.dir();
        let drilled = self.passed.get(&dir).copied();
        candidate(&entry.manifest, entry.verified.as_ref(), drilled, self.pins.get(&dir))
    }
}
