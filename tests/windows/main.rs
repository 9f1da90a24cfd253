//! pgkeep.exe, run under wine with PostgreSQL for Windows. `scripts/windows.sh` makes what this needs, `scripts/test.sh` runs
//! it; a plain `cargo test` does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]
#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
mod support;

mod backups;
mod batch;
mod drills;
mod places;
mod runs;
mod wine;
