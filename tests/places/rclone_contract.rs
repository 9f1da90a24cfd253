//! rclone's remotes, held to the contract: real servers of SFTP and WebDAV, and remotes that lack what these have.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::contract::Any;
use crate::services::{Sftp, Webdav};
use pgkeep::cancel::Cancel;
use pgkeep::config::RcloneConfig;
use pgkeep::destination::{Backoff, Rclone, Remote, Retrying};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Holds the remote of `config` to the contract, a new folder below `remote` each time.
async fn holds(remote: &str, config: &Path, options: &[&str]) {
    let next = AtomicU32::new(0);
    crate::contract::holds(|| async {
        let folder = format!("{remote}/{}", next.fetch_add(1, Ordering::Relaxed));
        let mut described = RcloneConfig::new(folder);
        described.program = Some(crate::services::rclone());
        described.config = Some(config.to_owned());
        described.options = options.iter().map(|&option| option.to_owned()).collect();
        let backoff = Backoff::new(Duration::from_secs(60), Cancel::new());
        Arc::new(Remote::new(Retrying::new(Rclone::new("away", described, backoff.clone()), backoff))) as Any
    })
    .await;
}

#[tokio::test]
async fn sftp_keeps_the_contract() {
    let server = Sftp::start();
    holds(&server.remote(), &server.config(), &[]).await;
}

/// It knows no hashes, so that uploads are read back; and as with object stores, nothing is renamed, only copied and deleted.
#[tokio::test]
async fn webdav_that_can_only_copy_keeps_the_contract() {
    let server = Webdav::start();
    holds(&server.remote(), &server.config(), &["--disable=Move,DirMove"]).await;
}
