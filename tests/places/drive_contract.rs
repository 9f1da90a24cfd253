//! Google Drive, as the strict server of the tests speaks it, held to the contract of destinations.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::contract::Any;
use crate::services::{Drive, Wrong};
use pgkeep::cancel::Cancel;
use pgkeep::config::DriveConfig;
use pgkeep::destination::{Backoff, Drive as Service, Remote, Retrying};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A destination as pgkeep makes it, with small chunks so that uploads have many.
fn destination(mut config: DriveConfig) -> Any {
    config.chunk_size = 1 << 20;
    let backoff = Backoff::new(Duration::from_secs(60), Cancel::new());
    Arc::new(Remote::new(Retrying::new(Service::new("drive", config, backoff.clone()), backoff)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_drive_keeps_the_contract_for_a_service_account() {
    let drive = Drive::start();
    crate::contract::holds(|| async { destination(drive.config(&drive.shared_folder())) }).await;
    assert_eq!(
        drive.sessions().iter().map(|session| session.name.as_str()).collect::<Vec<_>>(),
        ["x"],
        "the dropped one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn my_drive_keeps_the_contract_for_a_person_who_lets_pgkeep_see_its_own_files() {
    let drive = Drive::start();
    crate::contract::holds(|| async { destination(drive.config(&drive.my_folder())) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_keeps_the_contract() {
    let drive = Drive::start();
    crate::contract::holds(|| async {
        let mut config = drive.config(&drive.shared_folder());
        config.trash = true;
        destination(config)
    })
    .await;
}

/// A content manager may delete nothing for ever: what is deleted goes to the trash.
#[tokio::test(flavor = "multi_thread")]
async fn a_content_manager_keeps_the_contract() {
    let drive = Drive::start();
    drive.service_account_is(Some("fileOrganizer"));
    crate::contract::holds(|| async { destination(drive.config(&drive.shared_folder())) }).await;
}

/// Pages of two files, and first ones of none.
#[tokio::test(flavor = "multi_thread")]
async fn short_pages_keep_the_contract() {
    let drive = Drive::start();
    drive.short_pages(2, true);
    crate::contract::holds(|| async { destination(drive.config(&drive.shared_folder())) }).await;
}

/// One of twelve requests fails, before or after it was done, is cut, or is refused for its rate.
#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_outlived() {
    let drive = Drive::start();
    let folders = Mutex::new(0);
    // An upload of which Drive forgets everything cannot go on; its own test says what happens then.
    let wrongs: Vec<Wrong> = Wrong::passing().into_iter().filter(|wrong| *wrong != Wrong::ForgetAll).collect();
    drive.random_faults(20_261_122, 12, 150, wrongs);
    crate::contract::holds(|| async {
        *folders.lock().unwrap() += 1;
        destination(drive.config(&drive.shared_folder()))
    })
    .await;
    let struck = drive.struck().len();
    assert!(struck > 20, "only {struck} faults in {} folders", folders.lock().unwrap());
}
