//! pgkeep over time: how long backups are kept, when they are taken, and catalogues that grow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../services/mod.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod aged;
mod catalogue_races;
mod drill_choice;
mod examples;
mod guard;
mod large_catalogue;
mod pins;
mod prune;
mod prune_faults;
mod prune_locked;
mod report;
mod retention;
mod retention_years;
mod run_month;
mod run_real;
mod scale;
mod service_install;
mod systemd;
mod windows_task;
