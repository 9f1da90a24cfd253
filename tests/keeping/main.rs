//! pgkeep over years: retention, the catalogue as it grows, schedules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../services/mod.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod catalogue_races;
mod large_catalogue;
