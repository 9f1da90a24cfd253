//! pgkeep keeps PostgreSQL databases safe, and proves it.
//!
//! ```text
//! backup    source ──► scan ──► pack ──► fan out ──► publish
//!           pg_dump    entries,  gzip     N uploads   manifest, last
//!           stdout     rows,     members, each file
//!                      prints    sha256   checked
//!
//! restore   catalogue ──► fetch ──► check ──► unpack ──► load ──► prove ──► swap
//!           find          ranges    sha256    members    psql     re-scan   rename
//! ```
//!
//! Read the modules in the order in which they are listed below; imports run from later ones to earlier ones only
//! (`tests/basics/architecture.rs` checks it). `docs/architecture.md` says why things are as they are.

pub mod cancel;
pub mod clock;
pub mod error;
pub mod event;
pub mod id;
pub mod lock;
pub mod secret;

mod packed;

pub mod config;
pub mod process;

pub mod archive;
pub mod destination;
pub mod postgres;
pub mod proof;
pub mod script;

pub mod catalogue;
pub mod restore;
pub mod retention;

pub mod ops;

pub mod schedule;

pub mod cli;
