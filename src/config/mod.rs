//! The configuration file: found, read strictly with every problem reported at once, and turned into plain values.
//!
//! `load` finds and reads the file, `reader` walks the TOML tree and collects problems, `resolve` and `job` know the
//! sections and keys, `model` holds what comes out. Nothing here runs PostgreSQL or opens a destination.

mod compression;
mod destination;
mod drill;
mod job;
mod load;
mod model;
mod reader;
mod resolve;
mod schedule;
mod secret_ref;
#[cfg(test)]
mod tests;
mod values;

pub use compression::{Codec, Compression};
pub use destination::{
    CHUNK_UNIT, DRIVE_CREDENTIALS_VARIABLE, DestinationConfig, DestinationRef, DriveConfig, LARGEST_PART, Patience,
    RcloneConfig, S3Check, S3Checksums, S3Config, S3Encryption, S3Keys, S3Lock, SMALLEST_PART, drive_credentials_file,
};
pub use drill::{Check, DrillConfig, DrillLevel, DrilledBackup, SAMPLE_SIZE, Scratch};
#[cfg(target_os = "linux")]
pub(crate) use load::user_folder;
pub use load::{CONFIG_VARIABLE, FILE_NAME, candidates, find};
pub use model::{Config, Databases, JobConfig, Require, Retention, RunConfig};
pub use schedule::{Calendar, Due, Schedule};
pub use secret_ref::SecretRef;
pub(crate) use values::size;
