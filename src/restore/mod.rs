//! Restoring: looking at the target first, loading into a database that is not in use, exchanging names at the end.

mod analyze;
mod beside;
mod database;
mod graph;
mod live;
mod load;
mod outline;
mod parallel;
mod plan;
mod relations;
mod server;
mod session;
mod swap;
mod target;

pub use analyze::analyze;
pub use beside::{BesideDatabase, BesideMark, SwapMark, databases_beside, free_name_beside};
pub use database::{Scratch, create_database, sweep_databases};
pub use live::{Live, Sessions, live};
pub use load::{LoadPart, load};
pub use outline::{Held, Outline, outline};
pub use parallel::{LoadTimes, Loading};
pub use plan::RestoreFile;
pub use server::{Asked, Obstacle, SETTINGS_WRITTEN, TargetServer, target_server};
pub use swap::{Beside, Exchange, name_beside, rename};
pub use target::{Existing, Missing, existing, missing_in_target};
