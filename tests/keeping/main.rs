//! pgkeep over time: how long backups are kept, and when they are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../support/mod.rs"]
mod support;

mod aged;
mod guard;
mod pins;
mod prune;
mod prune_faults;
mod retention;
mod retention_years;
#[path = "../services/mod.rs"]
mod services;

mod examples;
mod service_install;
mod systemd;
mod windows_task;
mod adopt;
