//! PostgreSQL's own programs: finding them, telling them which server to talk to, understanding their answers.
//!
//! All access goes through psql, pg_dump, pg_dumpall, initdb and postgres, so that everything libpq can do (service files,
//! TLS, channel binding, `.pgpass`) works the same everywhere.

mod client;
mod cluster;
pub mod connection;
mod convert;
mod diagnose;
mod facts;
pub mod programs;
mod properties;
mod server;
mod session;
mod snapshot;
mod temp;

pub use client::{Client, SESSION};
pub use cluster::{Cluster, ClusterOptions, sweep_clusters};
pub use connection::Connection;
pub(crate) use convert::refusal;
pub use convert::{ArchiveHeader, convert, read_header};
pub use diagnose::{diagnose, sqlstate, summary};
pub use facts::{DatabaseProperties, Extension, Privilege, Server, Setting};
pub use programs::{Programs, Search};
pub use properties::Without;
pub use server::{
    Blocker, Checkup, Inspection, available_extensions, blockers, checkup, databases, inspect, unreadable_tables,
    version_num,
};
pub use session::{Pipes, Session};
pub use snapshot::{Snapshot, SourceTable};
