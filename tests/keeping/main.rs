//! pgkeep over time: how long backups are kept, and when they are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../services/mod.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod aged;
mod examples;
mod guard;
mod pins;
mod prune;
mod prune_faults;
mod retention;
mod retention_years;
mod run_month;
mod run_real;
mod service_install;
mod systemd;
mod windows_task;
