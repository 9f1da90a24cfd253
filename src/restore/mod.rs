//! Restoring: looking at the target first, loading into a database that is not in use, exchanging names at the end.

mod analyze;
mod beside;
mod choose;
mod database;
mod definitions;
mod graph;
mod live;
mod load;
mod outline;
mod parallel;
mod partial;
mod plan;
mod presence;
mod relations;
mod select;
mod server;
mod session;
mod swap;
mod target;

pub use analyze::analyze;
pub use beside::{BesideDatabase, BesideMark, SwapMark, databases_beside, free_name_beside};
pub use choose::{Pattern, shown};
pub use database::{Scratch, create_database, sweep_databases};
pub use definitions::{Definitions, definitions, has_definitions};
pub use live::{Live, Sessions, live};
pub use load::{LoadPart, load};
pub use outline::{Held, Outline, outline};
pub use parallel::{LoadTimes, Loading};
pub use partial::{Part, TableRows};
pub use plan::RestoreFile;
pub use presence::{
    ForeignKey, Has, TargetTable, filled, foreign_keys, has, in_order, names_there, relations_there, target_tables,
};
pub use select::{ACCESS_METHOD, Schema, Selection};
pub use server::{Asked, Obstacle, SETTINGS_WRITTEN, TargetServer, target_server};
pub use swap::{Beside, Exchange, name_beside, rename};
pub use target::{Existing, Missing, existing, missing_in_target};
