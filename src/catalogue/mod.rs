//! Which backups there are: publishing, listing, finding and removing them at a destination.
//!
//! The destination is the only state: a backup exists if and only if its manifest does, so publishing writes the manifest
//! last and removing deletes it first. An index beside the backups spares reading thousands of manifests; it is believed only
//! of what has not changed since ([`index`]).

mod drill;
mod find;
mod index;
mod list;
mod manifest;
mod phases;
mod publish;
mod receipt;
mod remove;

pub use drill::{CheckOutcome, DrillReceipt, DrillResult, drills_since, newest_drill_that_ran, write_drill_receipt};
pub use find::{Moment, Selector, select};
pub use index::{Change, WORTH_AN_INDEX, consolidate};
pub use list::{Entry, Listing, Problem, list, read_one};
pub use manifest::*;
pub use phases::{PhaseSeconds, Phases};
pub use publish::{CompletedBackup, Draft, publish};
pub use receipt::{
    LARGEST_RECEIPT, PinReceipt, RECEIPT_FORMAT, VerifyReceipt, VerifyResult, newest_pin, write_pin_receipt,
    write_verify_receipt,
};
pub use remove::{Removal, remove};
