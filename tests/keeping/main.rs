//! pgkeep over time: how long backups are kept, and when they are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../services/mod.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod examples;
mod service_install;
mod systemd;
mod windows_task;
