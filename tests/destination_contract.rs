//! Every destination that needs no server, held to the contract.
#![allow(clippy::unwrap_used)]

mod contract;

use contract::Any;
use pgkeep::destination::{Faulty, Folder, Memory};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let dirs = Mutex::new(Vec::new());
    contract::holds(|| async {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("office", dir.path().join("backups"));
        dirs.lock().unwrap().push(dir);
        Arc::new(folder) as Any
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::holds(|| async { Arc::new(Memory::new("memory")) as Any }).await;
}

#[tokio::test]
async fn a_faulty_destination_without_faults_keeps_the_contract() {
    contract::holds(|| async { Arc::new(Faulty::new(Arc::new(Memory::new("memory")), [])) as Any }).await;
}
