//! What `pgkeep doctor` finds out about a bucket, by trying it.

use super::evidence::{crc_text, md5_of, md5_text};
use super::lifecycle::judge;
use super::pulse::with_date;
use super::{Place, Trouble};
use crate::destination::service::{Finding, Verdict};
use crate::error::{ErrorKind, Result};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, ChecksumAlgorithm, ChecksumType, ObjectLockEnabled};
use chrono::{DateTime, Utc};

/// From here on a clock is worth a word, in seconds. S3 refuses requests that are 15 minutes off.
const CLOCK_WARNING: i64 = 60;

fn finding(what: &str, verdict: Verdict, found: impl Into<String>) -> Finding {
    Finding { what: what.to_owned(), verdict, found: found.into(), fix: None }
}

fn mend(what: &str, verdict: Verdict, found: impl Into<String>, fix: &str) -> Finding {
    Finding { fix: Some(fix.to_owned()), ..finding(what, verdict, found) }
}

/// What the service does not tell, or the keys may not ask.
fn untold(what: &str, trouble: Trouble) -> Result<Finding> {
    if trouble.is_not_implemented() || trouble.status == 400 {
        return Ok(finding(what, Verdict::Note, "the service does not tell"));
    }
    if trouble.kind == ErrorKind::PermissionDenied {
        return Ok(finding(what, Verdict::Note, "these keys may not ask for it"));
    }
    Err(trouble.during(format!("cannot find out about {what}")))
}

/// What a clock `ahead` seconds ahead of the service's means.
fn clock(ahead: i64) -> Finding {
    if ahead.abs() < CLOCK_WARNING {
        return finding("clock", Verdict::Good, format!("within {CLOCK_WARNING} s of the service's"));
    }
    let way = if ahead > 0 { "ahead of" } else { "behind" };
    let fix = "set the clock of this computer, best with NTP; S3 refuses requests that are 15 minutes off";
    mend("clock", Verdict::Warning, format!("this computer's is {} s {way} the service's", ahead.abs()), fix)
}

impl Place {
    /// See [`crate::destination::Service::check_writable`].
    pub(super) async fn check_writable(&self) -> Result<()> {
        let doing = || format!("cannot write to {}", self.name);
        // Not HeadBucket: its answers have no body, so they could not say what is wrong.
        self.first_page().await.map_err(|trouble| trouble.during(doing()))?;
        // An upload that is begun and aborted leaves nothing, even where object lock keeps every object.
        self.begin_and_abort(None).await?.map_err(|trouble| trouble.during(doing()))?;
        Ok(())
    }

    async fn first_page(&self) -> Result<(), Trouble> {
        let listed = self.ask(|client| {
            client.list_objects_v2().bucket(&self.config.bucket).prefix(self.beginning(None)).max_keys(1).send()
        });
        listed.await.map(|_| ())
    }

    /// Begins an upload and aborts it; tells whether the service means to keep the checksum of the whole.
    async fn begin_and_abort(&self, checksum: Option<ChecksumAlgorithm>) -> Result<Result<bool, Trouble>> {
        let name = self.hidden_name("check")?;
        let kind = checksum.is_some().then_some(ChecksumType::FullObject);
        let begun = self.ask(|client| {
            let request = client.create_multipart_upload().bucket(&self.config.bucket).key(&name);
            request.set_checksum_algorithm(checksum).set_checksum_type(kind).send()
        });
        let begun = match begun.await {
            Ok(begun) => begun,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let kept = begun.checksum_algorithm() == Some(&ChecksumAlgorithm::Crc64Nvme)
            && begun.checksum_type() == Some(&ChecksumType::FullObject);
        let aborted = self.ask(|client| {
            let request = client.abort_multipart_upload().bucket(&self.config.bucket).key(&name);
            request.set_upload_id(begun.upload_id).send()
        });
        match aborted.await {
            Err(trouble) if trouble.kind != ErrorKind::NotFound => Ok(Err(trouble)),
            _ => Ok(Ok(kept)),
        }
    }

    /// See [`crate::destination::Service::examine`].
    pub(super) async fn examine(&self) -> Result<Vec<Finding>> {
        let (listed, date) = with_date(self.first_page()).await;
        listed.map_err(|trouble| trouble.during(format!("cannot examine {}", self.name)))?;
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        let mut findings = Vec::new();
        findings.extend(date.map(|date| clock((Utc::now() - date.to_utc()).num_seconds())));
        findings.push(self.examine_conditions().await?);
        findings.push(self.examine_digests().await?);
        if self.wants_checksums() {
            findings.push(self.examine_checksums().await?);
        }
        let (versioned, found) = self.examine_versioning().await?;
        findings.push(found);
        findings.push(self.examine_lock().await?);
        findings.extend(self.examine_lifecycle(versioned).await?);
        Ok(findings)
    }

    /// Stores a tiny object; gives its version.
    async fn try_put(&self, name: &str, text: &'static str, new: bool, crc: &str) -> Result<Option<String>, Trouble> {
        let checksums = self.wants_checksums();
        // `crc` is empty for the true one.
        let md5 = if crc.is_empty() { md5_text(md5_of(text.as_bytes())) } else { md5_text([7; 16]) };
        let put = self.ask(|client| {
            let request = client.put_object().bucket(&self.config.bucket).key(name);
            request
                .set_if_none_match(new.then(|| "*".to_owned()))
                .set_checksum_crc64_nvme((checksums && !crc.is_empty()).then(|| crc.to_owned()))
                .set_content_md5((!checksums).then_some(md5))
                .body(ByteStream::from_static(text.as_bytes()))
                .send()
        });
        Ok(put.await?.version_id)
    }

    /// Deletes what [`Place::try_put`] stored, its version too.
    async fn try_delete(&self, name: &str, version: Option<String>) -> Result<()> {
        let version = version.filter(|version| version != "null");
        let deleted = self
            .ask(|client| client.delete_object().bucket(&self.config.bucket).key(name).set_version_id(version).send());
        match deleted.await {
            Err(trouble) if trouble.kind != ErrorKind::NotFound => {
                Err(trouble.during(format!("cannot delete {name}, which was only a test, at {}", self.name)))
            }
            _ => Ok(()),
        }
    }

    async fn examine_conditions(&self) -> Result<Finding> {
        let what = "create-only writes";
        let name = self.hidden_name("doctor")?;
        let doing = || format!("cannot store a test object at {}", self.name);
        let first = match self.try_put(&name, "first", true, "").await {
            Ok(version) => version,
            Err(trouble) if trouble.is_not_implemented() && !self.config.create_only => {
                return Ok(finding(what, Verdict::Note, "the service has none; pgkeep looks before it writes"));
            }
            Err(trouble) if trouble.is_not_implemented() => {
                let fix = "set create_only = false: then pgkeep looks before it writes";
                return Ok(mend(what, Verdict::Bad, "the service refuses them", fix));
            }
            Err(trouble) => return Err(trouble.during(doing())),
        };
        let second = self.try_put(&name, "second", true, "").await;
        self.try_delete(&name, first).await?;
        match second {
            Err(trouble) if trouble.kind == ErrorKind::AlreadyExists && self.config.create_only => {
                Ok(finding(what, Verdict::Good, "the service never replaces a file"))
            }
            Err(trouble) if trouble.kind == ErrorKind::AlreadyExists => {
                let fix = "set create_only = true";
                Ok(mend(what, Verdict::Warning, "the service has them and pgkeep is told not to use them", fix))
            }
            Err(trouble) => Err(trouble.during(doing())),
            Ok(version) => {
                if version.is_some() {
                    self.try_delete(&name, version).await?;
                }
                if !self.config.create_only {
                    return Ok(finding(what, Verdict::Note, "the service has none; pgkeep looks before it writes"));
                }
                let fix = "set create_only = false: then pgkeep looks before it writes";
                Ok(mend(what, Verdict::Warning, "the service ignores that a file must be new, and replaces it", fix))
            }
        }
    }

    async fn examine_digests(&self) -> Result<Finding> {
        let name = self.hidden_name("doctor")?;
        match self.try_put(&name, "digest", false, &crc_text(7)).await {
            Ok(version) => {
                self.try_delete(&name, version).await?;
                let found = "the service stores what does not match its digest";
                Ok(mend(
                    "digests",
                    Verdict::Warning,
                    found,
                    "set check = \"read_back\": then each upload is read again",
                ))
            }
            Err(trouble) if (400..500).contains(&trouble.status) && trouble.kind != ErrorKind::PermissionDenied => {
                Ok(finding("digests", Verdict::Good, "the service refuses what does not match its digest"))
            }
            Err(trouble) => Err(trouble.during(format!("cannot store a test object at {}", self.name))),
        }
    }

    async fn examine_checksums(&self) -> Result<Finding> {
        let what = "checksums";
        match self.begin_and_abort(Some(ChecksumAlgorithm::Crc64Nvme)).await? {
            Ok(true) => Ok(finding(what, Verdict::Good, "the service keeps the CRC-64 of whole files")),
            Ok(false) => Ok(finding(
                what,
                Verdict::Note,
                "the service keeps no CRC-64 of files in parts: uploads are checked by their MD5s, or read again",
            )),
            Err(trouble) if trouble.is_not_implemented() || trouble.status == 400 => {
                let fix = "set checksums = \"when_required\"";
                Ok(mend(what, Verdict::Bad, "the service refuses uploads with a CRC-64", fix))
            }
            Err(trouble) => Err(trouble.during(format!("cannot begin a test upload to {}", self.name))),
        }
    }

    async fn examine_versioning(&self) -> Result<(bool, Finding)> {
        let what = "versioning";
        match self.ask(|client| client.get_bucket_versioning().bucket(&self.config.bucket).send()).await {
            Err(trouble) => Ok((false, untold(what, trouble)?)),
            Ok(answer) if answer.status() == Some(&BucketVersioningStatus::Enabled) => {
                Ok((true, finding(what, Verdict::Note, "on: what is deleted stays as an old version")))
            }
            Ok(_) => Ok((false, finding(what, Verdict::Note, "off: what is deleted is gone"))),
        }
    }

    async fn examine_lock(&self) -> Result<Finding> {
        let what = "object lock";
        let asked = self.ask(|client| client.get_object_lock_configuration().bucket(&self.config.bucket).send()).await;
        let on = match asked {
            Ok(answer) => answer.object_lock_configuration.and_then(|lock| lock.object_lock_enabled),
            Err(trouble) if trouble.code.starts_with("ObjectLockConfigurationNotFound") || trouble.status == 404 => {
                None
            }
            Err(trouble) => return untold(what, trouble),
        };
        match (on == Some(ObjectLockEnabled::Enabled), self.config.object_lock.is_some()) {
            (true, true) => {
                Ok(finding(what, Verdict::Good, "backups are kept from being deleted for the time configured"))
            }
            (true, false) => {
                Ok(finding(what, Verdict::Note, "the bucket has it; object_lock in pgkeep.toml would use it"))
            }
            (false, true) => {
                let fix = "turn object lock on for the bucket, or make a new one with it; or take object_lock out";
                Ok(mend(what, Verdict::Bad, "object_lock is configured and the bucket has none", fix))
            }
            (false, false) => Ok(finding(what, Verdict::Note, "off: who has these keys can delete every backup")),
        }
    }

    async fn examine_lifecycle(&self, versioned: bool) -> Result<Vec<Finding>> {
        let root = self.beginning(None);
        let asked = self.ask(|client| client.get_bucket_lifecycle_configuration().bucket(&self.config.bucket).send());
        match asked.await {
            Ok(answer) => Ok(judge(answer.rules(), &root, versioned)),
            Err(trouble) if trouble.code == "NoSuchLifecycleConfiguration" || trouble.status == 404 => {
                Ok(judge(&[], &root, versioned))
            }
            Err(trouble) => Ok(vec![untold("lifecycle", trouble)?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_with_its_direction() {
        assert_eq!(clock(5).verdict, Verdict::Good);
        assert!(clock(300).found.contains("300 s ahead of") && clock(-300).found.contains("300 s behind"));
        assert!(clock(300).fix.is_some());
    }
}
