//! Every destination that needs no server, held to the contract.
#![allow(clippy::unwrap_used)]

use crate::contract::Any;
use pgkeep::cancel::Cancel;
use pgkeep::destination::{Backoff, Faulty, Flaky, Folder, Memory, Remote, Retrying};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let dirs = Mutex::new(Vec::new());
    crate::contract::holds(|| async {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("office", dir.path().join("backups"));
        dirs.lock().unwrap().push(dir);
        Arc::new(folder) as Any
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    crate::contract::holds(|| async { Arc::new(Memory::new("memory").destination()) as Any }).await;
}

#[tokio::test]
async fn a_faulty_destination_without_faults_keeps_the_contract() {
    crate::contract::holds(|| async {
        Arc::new(Faulty::new(Arc::new(Memory::new("memory").destination()), [])) as Any
    })
    .await;
}

/// Two of three operations fail, half of these after they were done: whoever tries again keeps the contract all the same.
#[tokio::test(start_paused = true)]
async fn a_flaky_service_that_is_asked_again_keeps_the_contract() {
    crate::contract::holds(|| async {
        let flaky = Flaky::new(Memory::new("memory"));
        Arc::new(Remote::new(Retrying::new(flaky, Backoff::new(Duration::from_secs(60), Cancel::new())))) as Any
    })
    .await;
}
