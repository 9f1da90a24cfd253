//! pgkeep over time: how long backups are kept, and when they are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../support/mod.rs"]
mod support;

mod run_month;
mod run_real;
