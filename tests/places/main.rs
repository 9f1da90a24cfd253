//! pgkeep with real services: S3, Google Drive and rclone, and the servers that stand for them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../contract/mod.rs"]
mod contract;
#[path = "../drive_client/mod.rs"]
mod drive_client;
#[path = "../services/mod.rs"]
mod services;
#[path = "../support/mod.rs"]
mod support;

mod drive_auth;
mod drive_contract;
mod drive_faults;
mod drive_server;
mod drive_server_faults;
mod drive_server_refuses;
mod everywhere;
mod faults_rclone;
mod faults_s3;
mod faults_s3_runs;
mod fixture_proxy;
mod fixture_servers;
mod parts_s3;
mod rclone_contract;
mod s3_cluster;
mod s3_contract;
mod s3_random_faults;
mod secrets_places;
