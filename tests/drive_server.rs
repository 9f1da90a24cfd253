//! The Drive server of the tests, held against Google's own client, and what it must refuse.
mod support;

#[test]
fn starts() {
    let drive = support::Drive::start();
    drop(drive.config(&drive.shared_folder()));
}
