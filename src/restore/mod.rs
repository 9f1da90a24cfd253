//! Restoring: looking at the target first, loading into a database that is not in use, exchanging names at the end.

mod analyze;
mod database;
mod load;
mod swap;
mod target;

pub use analyze::analyze;
pub use database::{Scratch, create_database, sweep_databases};
pub use load::{LoadPart, load};
pub use swap::{kept_name, rename, swap};
pub use target::{Existing, Missing, existing, missing_in_target, settings_unknown_to};
