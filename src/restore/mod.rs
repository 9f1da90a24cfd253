//! Restoring: looking at the target first, loading into a database that is not in use, exchanging names at the end.

mod analyze;
mod database;
mod graph;
mod load;
mod outline;
mod parallel;
mod plan;
mod relations;
mod session;
mod swap;
mod target;

pub use analyze::analyze;
pub use database::{Scratch, create_database, sweep_databases};
pub use load::{LoadPart, load};
pub use outline::{Held, Outline, outline};
pub use parallel::{LoadTimes, Loading};
pub use plan::RestoreFile;
pub use swap::{kept_name, rename, swap};
pub use target::{Existing, Missing, existing, missing_in_target, settings_unknown_to};
