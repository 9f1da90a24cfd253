//! What goes wrong with Google Drive, one fault a test: nothing half-stored, nothing twice, and an error that says what to do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use crate::services::{Drive, DriveFault, Wrong};
use bytes::Bytes;
use chrono::Utc;
use pgkeep::cancel::Cancel;
use pgkeep::config::DriveConfig;
use pgkeep::destination::{Backoff, Destination, Drive as Service, Key, Remote, Retrying, Stored, Verdict};
use pgkeep::error::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};
use std::time::Duration;

const CHUNK: usize = 256 << 10;

type Place = Remote<Retrying<Service>>;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// As pgkeep makes it, with the smallest chunks and little patience.
fn place(mut config: DriveConfig) -> Place {
    config.chunk_size = CHUNK as u64;
    config.patience.timeout = Duration::from_secs(2);
    let backoff = Backoff::new(Duration::from_secs(8), Cancel::new());
    Remote::new(Retrying::new(Service::new("drive", config, backoff.clone()), backoff))
}

fn shared(drive: &Drive) -> (Place, String) {
    let folder = drive.shared_folder();
    (place(drive.config(&folder)), folder)
}

fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into()
}

async fn upload(place: &Place, name: &str, bytes: &Bytes) -> Result<Stored> {
    let mut upload = place.upload(&key(name), 0).await?;
    for piece in bytes.chunks(100_000) {
        if let Err(error) = upload.write(Bytes::copy_from_slice(piece)).await {
            upload.abort().await?;
            return Err(error);
        }
    }
    upload.complete().await
}

/// The upload arrives, once, whole.
async fn arrives(drive: &Drive, bytes: usize) {
    let (place, folder) = shared(drive);
    let bytes = content(bytes);
    let stored = upload(&place, "job/data", &bytes).await.unwrap();
    assert_eq!(stored.bytes, bytes.len() as u64);
    assert_eq!(stored.sha256, hex::encode(Sha256::digest(&bytes)));
    let files: Vec<_> = drive.files(&folder).into_iter().filter(|file| !file.is_folder).collect();
    assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["job/data"]);
    assert_eq!(drive.bytes(&files[0].id), bytes);
    assert!(!drive.struck().is_empty(), "the fault never struck");
}

/// What is left in the folder. Empty folders go to the trash, whatever becomes of files: that counts as gone.
fn left(drive: &Drive, folder: &str) -> Vec<String> {
    let files = drive.files(folder).into_iter().filter(|file| !(file.is_folder && file.trashed));
    files.map(|file| file.path).collect()
}

/// The upload fails, and leaves nothing: no file, no folder, no session.
async fn leaves_nothing(drive: &Drive, bytes: usize) -> Error {
    let (place, folder) = shared(drive);
    let error = upload(&place, "job/data", &content(bytes)).await.unwrap_err();
    assert_eq!(left(drive, &folder), Vec::<String>::new());
    assert!(drive.sessions().is_empty(), "{:?}", drive.sessions());
    assert!(!drive.struck().is_empty(), "the fault never struck");
    assert!(!format!("{error:?}").contains("upload_id"), "{error:?}");
    error
}

fn on_chunk(wrong: Wrong) -> DriveFault {
    DriveFault::new(wrong).on("PUT", "upload_id=")
}

#[tokio::test]
async fn a_308_with_a_shorter_range_goes_on_from_there() {
    let drive = Drive::start();
    let mut config = drive.config(&drive.shared_folder());
    config.chunk_size = 1 << 20;
    drive.fault(on_chunk(Wrong::Keep(300 << 10)).nth(2));
    let backoff = Backoff::new(Duration::from_secs(8), Cancel::new());
    let place = Remote::new(Retrying::new(Service::new("drive", config, backoff.clone()), backoff));
    let bytes = content(5 << 20);
    upload(&place, "job/data", &bytes).await.unwrap();
    assert_eq!(place.read(&key("job/data"), 0..bytes.len() as u64).await.unwrap(), bytes);
    assert_eq!(drive.struck().len(), 1);
}

#[tokio::test]
async fn a_308_without_a_range_sends_the_first_chunk_again() {
    let drive = Drive::start();
    drive.fault(on_chunk(Wrong::ForgetAll));
    arrives(&drive, 3 * CHUNK + 5).await;
}

#[tokio::test]
async fn bytes_that_drive_loses_later_end_the_upload() {
    let drive = Drive::start();
    drive.fault(on_chunk(Wrong::ForgetAll).nth(3));
    let error = leaves_nothing(&drive, 5 * CHUNK).await;
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.hint_text().unwrap().contains("back up again"));
}

#[tokio::test]
async fn a_lost_final_answer_is_settled_by_asking() {
    for wrong in [Wrong::CutAfter, Wrong::StallAfter, Wrong::CutReply(20)] {
        let drive = Drive::start();
        drive.fault(on_chunk(wrong).nth(3));
        arrives(&drive, 2 * CHUNK + 5).await;
    }
}

/// The answer to the last chunk is lost, and when Drive is asked, it knows the session no more: the file is there.
#[tokio::test]
async fn a_session_that_ends_with_its_file_is_no_failure() {
    let drive = Drive::start();
    drive.fault(on_chunk(Wrong::CutAfter).nth(2));
    drive.fault(on_chunk(Wrong::KillSession(404)).nth(3));
    arrives(&drive, CHUNK + 5).await;
}

#[tokio::test]
async fn servers_that_stumble_and_connections_that_break_are_outlived() {
    for wrong in [
        Wrong::Refused(500, "internalError"),
        Wrong::Refused(503, "backendError"),
        Wrong::Refused(403, "userRateLimitExceeded"),
        Wrong::Refused(429, "rateLimitExceeded"),
        Wrong::CutBefore,
        Wrong::CutAfter,
        Wrong::CutDuring(100_000),
        Wrong::CutReply(10),
        Wrong::StallBefore,
        Wrong::StallReply(30),
        Wrong::ExpireTokens,
    ] {
        let drive = Drive::start();
        drive.fault(on_chunk(wrong).nth(2));
        arrives(&drive, 3 * CHUNK + 5).await;
    }
}

#[tokio::test]
async fn every_other_request_of_a_backup_may_be_lost() {
    for (method, part) in [
        ("POST", "/upload/drive/v3/files"),
        ("POST", "/drive/v3/files?"),
        ("GET", "/drive/v3/files?"),
        ("GET", "/drive/v3/files/"),
        ("GET", "generateIds"),
    ] {
        for wrong in [Wrong::CutBefore, Wrong::CutAfter, Wrong::Refused(503, "backendError")] {
            let drive = Drive::start();
            drive.fault(DriveFault::new(wrong).on(method, part));
            arrives(&drive, 5).await;
        }
    }
}

#[tokio::test]
async fn a_small_file_whose_answer_was_lost_is_stored_once() {
    for wrong in [Wrong::CutAfter, Wrong::StallAfter, Wrong::CutReply(50)] {
        let drive = Drive::start();
        let (place, folder) = shared(&drive);
        drive.fault(DriveFault::new(wrong).on("POST", "uploadType=multipart"));
        place.put(&key("manifest.json"), Bytes::from_static(b"{}")).await.unwrap();
        assert_eq!(drive.files(&folder).len(), 1);
        assert_eq!(drive.struck().len(), 1);
    }
}

#[tokio::test]
async fn a_session_that_dies_at_the_start_is_begun_again() {
    for status in [404, 410] {
        let drive = Drive::start();
        drive.fault(on_chunk(Wrong::KillSession(status)));
        arrives(&drive, 3 * CHUNK).await;
    }
}

#[tokio::test]
async fn a_session_that_dies_in_the_middle_fails_cleanly() {
    for status in [404, 410] {
        let drive = Drive::start();
        drive.fault(on_chunk(Wrong::KillSession(status)).nth(3));
        let error = leaves_nothing(&drive, 5 * CHUNK).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.hint_text().unwrap().contains("back up again"), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_stored_wrongly_is_deleted_and_said() {
    let drive = Drive::start();
    drive.fault(on_chunk(Wrong::Corrupt).nth(2));
    assert_eq!(leaves_nothing(&drive, 3 * CHUNK).await.kind(), ErrorKind::Damaged);
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    drive.fault(DriveFault::new(Wrong::Corrupt).on("POST", "uploadType=multipart"));
    let error = place.put(&key("manifest.json"), Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(left(&drive, &folder).is_empty());
}

#[tokio::test]
async fn limits_by_the_day_are_not_tried_again() {
    for (reason, hint) in [("dailyLimitExceeded", "tomorrow"), ("uploadLimitExceeded", "750 GB")] {
        let drive = Drive::start();
        drive.fault(on_chunk(Wrong::Refused(403, reason)).nth(2).always());
        let error = leaves_nothing(&drive, 3 * CHUNK).await;
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        assert_eq!(drive.struck().len(), 1);
    }
}

#[tokio::test]
async fn a_rate_limit_without_end_is_given_up_in_time() {
    let drive = Drive::start();
    drive.fault(on_chunk(Wrong::Refused(403, "userRateLimitExceeded")).nth(2).always());
    let error = leaves_nothing(&drive, 3 * CHUNK).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.hint_text().unwrap().contains("attempts"), "{error:?}");
}

#[tokio::test]
async fn a_service_account_without_storage_is_told_before_the_dump() {
    let drive = Drive::start();
    let folder = drive.my_folder();
    drive.share_with_service_account(&folder);
    let mut config = drive.config(&drive.shared_folder());
    config.folder_id = folder;
    let error = place(config).check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.hint_text().unwrap().contains("shared drive"), "{error:?}");
}

#[tokio::test]
async fn a_full_drive_is_told_and_nothing_is_left() {
    let drive = Drive::start();
    let folder = drive.my_folder();
    let place = place(drive.config(&folder));
    drive.quota(Some(CHUNK as u64));
    place.check_writable().await.unwrap();
    let error = upload(&place, "job/data", &content(2 * CHUNK)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(left(&drive, &folder).is_empty());
    drive.quota(Some(0));
    assert_eq!(place.check_writable().await.unwrap_err().kind(), ErrorKind::NoSpace);
}

#[tokio::test]
async fn a_permission_that_was_withdrawn_is_loud_and_at_once() {
    let drive = Drive::start();
    let place = place(drive.config(&drive.my_folder()));
    place.check_writable().await.unwrap();
    drive.revoke();
    let asked = drive.log().len();
    let error = place.list(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("pgkeep auth gdrive") && hint.contains("7 days"), "{error:?}");
    assert!(drive.log().len() <= asked + 2, "it asked again and again: {:?}", &drive.log()[asked..]);
}

#[tokio::test]
async fn a_token_is_renewed_once_for_all_who_wait() {
    let drive = Drive::start();
    let (place, _) = shared(&drive);
    place.put(&key("x"), Bytes::from_static(b"0123456789")).await.unwrap();
    let granted = |drive: &Drive| drive.log().iter().filter(|asked| asked.path == "/token").count();
    assert_eq!(granted(&drive), 1);
    drive.expire_tokens();
    let name = key("x");
    let read = || place.read(&name, 0..10);
    let answers = tokio::join!(read(), read(), read(), read(), read(), read());
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4, answers.5];
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(granted(&drive), 2);
}

#[tokio::test]
async fn a_token_is_renewed_a_minute_before_it_ends() {
    let drive = Drive::start();
    drive.tokens_live(Duration::from_secs(30));
    let (place, _) = shared(&drive);
    place.list(None).await.unwrap();
    place.list(None).await.unwrap();
    let refused = drive.log().iter().filter(|asked| asked.status == Some(401)).count();
    let granted = drive.log().iter().filter(|asked| asked.path == "/token").count();
    assert!(refused == 0 && granted >= 2, "{refused} {granted}");
}

#[tokio::test]
async fn a_refresh_token_that_was_replaced_is_kept_in_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let drive = Drive::start();
    drive.rotate_refresh_tokens();
    let config = drive.config(&drive.my_folder());
    let Some(pgkeep::config::SecretRef::File(file)) = config.credentials.clone() else { panic!("no file") };
    let before = std::fs::read_to_string(&file).unwrap();
    place(config.clone()).check_writable().await.unwrap();
    assert_ne!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    place(config).check_writable().await.unwrap();
}

#[tokio::test]
async fn a_listing_that_may_lack_files_is_an_error() {
    let drive = Drive::start();
    let (place, _) = shared(&drive);
    place.put(&key("a"), Bytes::from_static(b"x")).await.unwrap();
    drive.fault(DriveFault::new(Wrong::Incomplete).on("GET", "/drive/v3/files?").always());
    assert_eq!(place.list(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    drive.no_faults();
    drive.short_pages(1, false);
    place.put(&key("b"), Bytes::from_static(b"x")).await.unwrap();
    drive.fault(DriveFault::new(Wrong::Refused(400, "badRequest")).on("GET", "pageToken="));
    assert!(place.list(None).await.is_err(), "half a listing");
    assert_eq!(place.list(None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn of_several_files_of_one_name_the_oldest_counts_and_all_are_deleted() {
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    place.put(&key("a/x"), Bytes::from_static(b"first")).await.unwrap();
    let parent = drive.files(&folder).into_iter().find(|file| file.is_folder).unwrap().id;
    // Drive tells milliseconds; of files of the same one the id decides, which is random.
    let made = Utc::now().timestamp_millis();
    crate::support::wait_until("the next millisecond", || Utc::now().timestamp_millis() > made);
    drive.insert(&parent, "x", b"a second one");
    drive.insert(&parent, "X", b"another name");
    assert_eq!(place.head(&key("a/x")).await.unwrap().bytes, 5);
    assert_eq!(place.read(&key("a/x"), 0..5).await.unwrap(), "first");
    let keys: Vec<String> = place.list(None).await.unwrap().iter().map(|object| object.key.to_string()).collect();
    assert_eq!(keys, ["a/X", "a/x"]);
    place.delete(&key("a/x")).await.unwrap();
    assert_eq!(place.head(&key("a/x")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(place.head(&key("a/X")).await.unwrap().bytes, 12);
}

/// Two computers may make a folder at the same time: both are one folder to pgkeep.
#[tokio::test]
async fn several_folders_of_one_name_are_one() {
    let drive = Drive::start();
    let folder = drive.shared_folder();
    let (one, two) = (place(drive.config(&folder)), place(drive.config(&folder)));
    one.put(&key("job/a"), Bytes::from_static(b"a")).await.unwrap();
    let first = drive.files(&folder).into_iter().find(|file| file.is_folder).unwrap().id;
    let second = drive.duplicate(&first);
    drive.insert(&second, "b", b"bb");
    let keys: Vec<String> = two.list(Some(&key("job"))).await.unwrap().iter().map(|o| o.key.to_string()).collect();
    assert_eq!(keys, ["job/a", "job/b"]);
    assert_eq!(two.read(&key("job/b"), 0..2).await.unwrap(), "bb");
    assert_eq!(two.put(&key("job/b"), Bytes::from_static(b"x")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    two.delete(&key("job/a")).await.unwrap();
    two.delete(&key("job/b")).await.unwrap();
    assert!(two.list(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_in_the_trash_is_not_there() {
    let drive = Drive::start();
    let folder = drive.shared_folder();
    let place_of = || place(drive.config(&folder));
    place_of().put(&key("a/x"), Bytes::from_static(b"old")).await.unwrap();
    let file = drive.files(&folder).into_iter().find(|file| !file.is_folder).unwrap();
    drive.trash(&file.id);
    let place = place_of();
    assert!(place.list(None).await.unwrap().is_empty());
    assert_eq!(place.head(&key("a/x")).await.unwrap_err().kind(), ErrorKind::NotFound);
    place.put(&key("a/x"), Bytes::from_static(b"newer")).await.unwrap();
    assert_eq!(place.read(&key("a/x"), 0..5).await.unwrap(), "newer");
}

/// Somebody puts a folder into the trash, or deletes it, while it is remembered.
#[tokio::test]
async fn folders_that_vanish_are_made_again() {
    for vanish in [Drive::trash as fn(&Drive, &str), Drive::remove] {
        let drive = Drive::start();
        let (place, folder) = shared(&drive);
        place.put(&key("a/b/x"), Bytes::from_static(b"x")).await.unwrap();
        let a = drive.files(&folder).into_iter().find(|file| file.path == "a").unwrap();
        vanish(&drive, &a.id);
        // The first upload into a folder in the trash is found out at its end, and fails cleanly.
        let first = upload(&place, "a/b/y", &content(10)).await;
        if let Err(error) = first {
            assert_eq!(error.kind(), ErrorKind::Failed, "{error:?}");
            assert!(error.hint_text().unwrap().contains("trash"), "{error:?}");
            upload(&place, "a/b/y", &content(10)).await.unwrap();
        }
        let keys: Vec<String> = place.list(None).await.unwrap().iter().map(|o| o.key.to_string()).collect();
        assert_eq!(keys, ["a/b/y"]);
    }
}

#[tokio::test]
async fn strangers_files_are_listed_if_pgkeep_could_have_named_them_and_never_harmed() {
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    drive.insert(&folder, "holiday photo's.jpg", b"x");
    drive.insert(&folder, "notes.txt", b"xy");
    place.put(&key("a/x"), Bytes::from_static(b"x")).await.unwrap();
    let keys: Vec<String> = place.list(None).await.unwrap().iter().map(|o| o.key.to_string()).collect();
    assert_eq!(keys, ["a/x", "notes.txt"]);
    place.delete(&key("a/x")).await.unwrap();
    let left = left(&drive, &folder);
    assert_eq!(left, ["holiday photo's.jpg", "notes.txt"]);
}

#[tokio::test]
async fn a_folder_that_is_not_seen_says_with_whom_to_share_it() {
    let drive = Drive::start();
    let mut config = drive.config(&drive.shared_folder());
    config.folder_id = drive.strange_folder();
    let error = place(config).check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.hint_text().unwrap().contains("@tests.iam.gserviceaccount.com"), "{error:?}");
    let error = place(drive.config(&drive.strange_folder())).check_writable().await.unwrap_err();
    assert!(error.hint_text().unwrap().contains("pgkeep auth gdrive"), "{error:?}");
    let folder = drive.shared_folder();
    drive.trash(&folder);
    let error = place(drive.config(&folder)).check_writable().await.unwrap_err();
    assert!(error.to_string().contains("trash"), "{error:?}");
}

#[tokio::test]
async fn a_reader_may_not_write_and_is_told_so() {
    let drive = Drive::start();
    let (place, _) = shared(&drive);
    drive.service_account_is(Some("reader"));
    let error = place.check_writable().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.hint_text().unwrap().contains("Content manager"), "{error:?}");
}

#[tokio::test]
async fn hundreds_of_backups_are_listed_with_few_requests() {
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    place.put(&key("job/app/0/manifest.json"), Bytes::from_static(b"{}")).await.unwrap();
    let app = drive.files(&folder).into_iter().find(|file| file.path == "job/app").unwrap().id;
    let first = drive.files(&folder).into_iter().find(|file| file.path == "job/app/0").unwrap().id;
    for _ in 0..300 {
        let backup = drive.duplicate(&first);
        drive.insert(&backup, "manifest.json", b"{}");
    }
    // Duplicates have one name, and count as one folder: their files are one as well.
    let before = drive.log().len();
    assert_eq!(place.list(None).await.unwrap().len(), 1);
    let asked = drive.log().len() - before;
    assert!(asked <= 12, "{asked} requests for 300 folders in {app}");
}

#[tokio::test]
async fn reading_a_large_file_in_pieces_does_not_look_for_it_each_time() {
    let drive = Drive::start();
    let (place, _) = shared(&drive);
    place.put(&key("x"), content(100_000)).await.unwrap();
    let before = drive.log().len();
    for piece in 0..20 {
        place.read(&key("x"), piece * 5000..(piece + 1) * 5000).await.unwrap();
    }
    assert_eq!(drive.log().len() - before, 20);
}

#[tokio::test]
async fn a_download_that_breaks_off_is_asked_for_again() {
    for wrong in [Wrong::CutReply(50_000), Wrong::StallReply(50_000), Wrong::Refused(500, "internalError")] {
        let drive = Drive::start();
        let (place, _) = shared(&drive);
        let bytes = content(1 << 20);
        place.put(&key("x"), bytes.clone()).await.unwrap();
        drive.fault(DriveFault::new(wrong).on("GET", "alt=media"));
        assert_eq!(place.read(&key("x"), 0..1 << 20).await.unwrap(), bytes);
        assert_eq!(drive.struck().len(), 1);
    }
}

#[tokio::test]
async fn an_abort_gives_the_session_up_even_in_the_middle_of_a_chunk() {
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    drive.fault(on_chunk(Wrong::StallBefore));
    let mut upload = place.upload(&key("job/data"), 0).await.unwrap();
    upload.write(content(CHUNK + 1)).await.unwrap();
    assert_eq!(drive.sessions().len(), 1);
    upload.abort().await.unwrap();
    assert!(drive.sessions().is_empty() && left(&drive, &folder).is_empty());
}

#[tokio::test]
async fn an_examination_tells_what_there_is_and_leaves_nothing() {
    let drive = Drive::start();
    let (place, folder) = shared(&drive);
    let findings = place.examine().await.unwrap();
    assert!(findings.iter().all(|finding| finding.verdict <= Verdict::Note), "{findings:?}");
    for what in ["account", "folder", "deleting", "clock", "checksums"] {
        assert!(findings.iter().any(|finding| finding.what == what), "{what}: {findings:?}");
    }
    assert!(left(&drive, &folder).is_empty() && drive.sessions().is_empty());
    let mine = drive.my_folder();
    drive.share_with_service_account(&mine);
    let mut config = drive.config(&folder);
    config.folder_id = mine;
    let findings = self::place(config).examine().await.unwrap();
    let bad: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).collect();
    assert!(bad.iter().any(|finding| finding.what == "folder") && bad.iter().any(|finding| finding.what == "storing"));
    assert!(bad.iter().all(|finding| finding.fix.is_some()), "{bad:?}");
}
