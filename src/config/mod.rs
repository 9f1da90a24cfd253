//! The configuration file: found, read strictly with every problem reported at once, and turned into plain values.
//!
//! `load` finds and reads the file, `reader` walks the TOML tree and collects problems, `resolve` and `job` know the
//! sections and keys, `model` holds what comes out. Nothing here runs PostgreSQL or opens a destination.

mod compression;
mod destination;
mod job;
mod load;
mod model;
mod reader;
mod resolve;
mod schedule;
mod secret_ref;
#[cfg(test)]
mod tests;

pub use compression::{Codec, Compression};
pub use destination::{DestinationConfig, DestinationRef};
pub use load::{CONFIG_VARIABLE, FILE_NAME, candidates, find};
pub use model::{Check, Config, Databases, DrillConfig, JobConfig, Require, Retention, Scratch};
pub use schedule::Schedule;
pub use secret_ref::SecretRef;
