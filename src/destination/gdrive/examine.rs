//! Finding out whether backups will work here, and what is worth knowing about the place.

use super::model::{File, Sum};
use super::publish::Publisher;
use super::session::Session;
use crate::destination::Key;
use crate::destination::service::{Finding, Verdict};
use crate::error::{Error, ErrorKind, Result};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;

/// The start of the name of what is begun, or stored for a moment, to find out.
const PROBE: &str = ".pgkeep-check-";

/// How far this computer's clock may be off before Google refuses a service account's requests.
const CLOCK: TimeDelta = TimeDelta::minutes(5);

/// See [`crate::destination::Service::check_writable`]. An upload is begun and given up again: that takes the same rights as
/// a backup, and leaves nothing whatever happens.
pub(super) async fn check_writable(publisher: &Arc<Publisher>) -> Result<()> {
    let root = publisher.tree.look_at_root().await?;
    if root.capabilities.can_add_children == Some(false) {
        return Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("this account may not add files to the folder of {}", publisher.tree.name()),
        )
        .hint(match publisher.files.api.tokens().service_account() {
            Some(email) => format!("make {email} Editor of the folder, or Content manager of the shared drive"),
            None => "make this account Editor of the folder, or Content manager of the shared drive".to_owned(),
        }));
    }
    if root.drive_id.is_none() {
        let (about, _) = publisher.files.about().await?;
        if let Some((0, limit)) = about.storage_quota.free() {
            return Err(no_room(publisher, limit));
        }
    }
    let probe: Key = format!("{PROBE}{}", crate::id::random_hex(8)?).parse()?;
    let (id, metadata) = publisher.plan(&probe).await?;
    let what = format!("a test at {}", publisher.tree.name());
    Session::start(Arc::clone(&publisher.files), what, id, metadata).await?.cancel().await
}

fn no_room(publisher: &Publisher, limit: u64) -> Error {
    let name = publisher.tree.name();
    let full = match limit {
        0 => format!("the account of {name} has no storage"),
        _ => format!("the {limit} bytes of storage of {name}'s account are full"),
    };
    let error = Error::new(ErrorKind::NoSpace, full);
    error.hint(match publisher.files.api.tokens().service_account() {
        Some(_) => "a service account owns no storage: use a folder of a shared drive, or pgkeep auth gdrive",
        None => "make room in Google Drive, its trash included",
    })
}

/// See [`crate::destination::Service::examine`].
pub(super) async fn examine(publisher: &Arc<Publisher>) -> Result<Vec<Finding>> {
    let root = publisher.tree.look_at_root().await?;
    let (about, date) = publisher.files.about().await?;
    let service_account = publisher.files.api.tokens().service_account();
    let mut findings = vec![good("account", account(&about.user.email_address, service_account))];
    findings.push(folder(&root, service_account.is_some()));
    findings
        .extend(about.storage_quota.free().filter(|_| root.drive_id.is_none()).map(|(free, limit)| room(free, limit)));
    findings.push(deleting(&root));
    findings.extend(date.as_deref().and_then(|date| clock(date, Utc::now())));
    findings.push(checksums(publisher).await?);
    Ok(findings)
}

fn good(what: &str, found: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), verdict: Verdict::Good, found: found.into(), fix: None }
}

fn account(email: &str, service_account: Option<&str>) -> String {
    match service_account {
        Some(email) => format!("the service account {email}"),
        None if email.is_empty() => "a person's account".to_owned(),
        None => email.to_owned(),
    }
}

fn folder(root: &File, service_account: bool) -> Finding {
    let place = if root.drive_id.is_some() { "in a shared drive" } else { "in My Drive" };
    let found = format!("{:?}, {place}", root.name);
    if service_account && root.drive_id.is_none() {
        return Finding {
            what: "folder".to_owned(),
            verdict: Verdict::Bad,
            found: format!("{found}; a service account owns no storage outside shared drives"),
            fix: Some("use a folder of a shared drive, or your own account: pgkeep auth gdrive".to_owned()),
        };
    }
    good("folder", found)
}

fn room(free: u64, limit: u64) -> Finding {
    let found = format!("{} of {} MiB are free", free >> 20, limit >> 20);
    // Below a twentieth a few backups more are all there is room for.
    if free < limit / 20 {
        let fix = Some("make room in Google Drive, its trash included, or keep fewer backups".to_owned());
        return Finding { what: "free space".to_owned(), verdict: Verdict::Warning, found, fix };
    }
    good("free space", found)
}

fn deleting(root: &File) -> Finding {
    let capabilities = &root.capabilities;
    let finding = |verdict, found: &str, fix: Option<&str>| Finding {
        what: "deleting".to_owned(),
        verdict,
        found: found.to_owned(),
        fix: fix.map(str::to_owned),
    };
    // Outside shared drives whoever made a file may delete it.
    match (root.drive_id.is_some(), capabilities.can_delete_children, capabilities.can_trash_children) {
        (true, Some(false), Some(false)) => finding(
            Verdict::Warning,
            "this account may delete nothing: old backups will stay",
            Some("make the account Content manager of the shared drive"),
        ),
        (true, Some(false), _) => finding(
            Verdict::Note,
            "deleted files go to the shared drive's trash for 30 days: only its Managers may delete for ever",
            None,
        ),
        _ => finding(Verdict::Good, "this account may delete what pgkeep made", None),
    }
}

/// How far this computer's clock is from Google's; nothing where the answer had no date.
fn clock(date: &str, now: DateTime<Utc>) -> Option<Finding> {
    let theirs = DateTime::parse_from_rfc2822(date).ok()?.to_utc();
    let off = (now - theirs).abs();
    Some(if off > CLOCK {
        Finding {
            what: "clock".to_owned(),
            verdict: Verdict::Warning,
            found: format!("this computer's clock is {} s from Google's", off.num_seconds()),
            fix: Some("set the clock, best with NTP: names and ages of backups depend on it".to_owned()),
        }
    } else {
        good("clock", format!("within {} s of Google's", off.num_seconds() + 1))
    })
}

/// Stores a tiny hidden file, looks at the checksums that Drive tells, and deletes it.
async fn checksums(publisher: &Arc<Publisher>) -> Result<Finding> {
    let what = format!("a test at {}", publisher.tree.name());
    let probe: Key = format!("{PROBE}{}", crate::id::random_hex(8)?).parse()?;
    let (id, metadata) = publisher.plan(&probe).await?;
    let bytes = Bytes::from_static(b"pgkeep was here");
    let made = publisher.files.create(&what, &metadata, &bytes).await;
    publisher.backoff.run(|_| publisher.files.remove(&what, &id, false)).await?;
    let made = match made {
        Ok(made) => made,
        Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
        Err(error) => {
            let fix = error.hint_text().unwrap_or("give the account the right to write there, and room").to_owned();
            return Ok(Finding {
                what: "storing".to_owned(),
                verdict: Verdict::Bad,
                found: error.one_line(),
                fix: Some(fix),
            });
        }
    };
    let known: Vec<&str> = [("SHA-256", &made.sha256_checksum), ("MD5", &made.md5_checksum)]
        .into_iter()
        .filter_map(|(name, checksum)| checksum.as_ref().map(|_| name))
        .collect();
    Ok(match Sum::of(&bytes).check(&made, &what) {
        Ok(()) => good("checksums", format!("Drive tells {}, and it is right", known.join(" and "))),
        Err(error) => Finding {
            what: "checksums".to_owned(),
            verdict: Verdict::Bad,
            found: error.one_line(),
            fix: Some("something on the way changes what is sent; look at proxies and virus scanners".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn root(value: serde_json::Value) -> File {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_clock_that_is_off_is_found() {
        let now = DateTime::parse_from_rfc3339("2026-11-22T02:00:00Z").unwrap().to_utc();
        assert_eq!(clock("Sun, 22 Nov 2026 02:00:03 GMT", now).unwrap().verdict, Verdict::Good);
        let off = clock("Sun, 22 Nov 2026 01:50:00 GMT", now).unwrap();
        assert_eq!(
            (off.verdict, off.found.as_str()),
            (Verdict::Warning, "this computer's clock is 600 s from Google's")
        );
        assert_eq!(clock("yesterday", now), None);
    }

    #[test]
    fn a_service_account_needs_a_shared_drive() {
        assert_eq!(folder(&root(json!({ "id": "1" })), true).verdict, Verdict::Bad);
        assert_eq!(folder(&root(json!({ "id": "1", "driveId": "0A" })), true).verdict, Verdict::Good);
        assert_eq!(folder(&root(json!({ "id": "1" })), false).verdict, Verdict::Good);
    }

    #[test]
    fn rights_to_delete_are_told() {
        let verdict = |delete: bool, trash: bool, drive: Option<&str>| {
            let capabilities = json!({ "canDeleteChildren": delete, "canTrashChildren": trash });
            deleting(&root(json!({ "id": "1", "driveId": drive, "capabilities": capabilities }))).verdict
        };
        assert_eq!(verdict(true, true, Some("0A")), Verdict::Good);
        assert_eq!(verdict(false, true, Some("0A")), Verdict::Note);
        assert_eq!(verdict(false, false, Some("0A")), Verdict::Warning);
        assert_eq!(verdict(false, false, None), Verdict::Good);
    }

    #[test]
    fn little_room_is_a_warning() {
        assert_eq!(room(100 << 30, 1 << 40).verdict, Verdict::Good);
        assert_eq!(room(1 << 30, 1 << 40).verdict, Verdict::Warning);
    }
}
