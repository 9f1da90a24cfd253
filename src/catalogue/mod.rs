//! Which backups there are: publishing, listing, finding and removing them at a destination.

mod manifest;

pub use manifest::*;
