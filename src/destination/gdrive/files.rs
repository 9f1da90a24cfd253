//! What is done with files and folders of Drive by their ids: one request each, or one listing.
//!
//! Every request says that shared drives are known, without which Drive hides what is in them.

use super::api::Api;
use super::failure::nonsense;
use super::model::{FIELDS, FOLDER, File, Page, TAG};
use crate::error::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, RANGE};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Every request needs it to see shared drives.
const ALL_DRIVES: (&str, &str) = ("supportsAllDrives", "true");

/// How many ids are asked for at once.
const IDS: &str = "20";

/// The most files of one page.
const PAGE: &str = "1000";

/// See the module.
pub(super) struct Files {
    pub(super) api: Api,
    ids: Mutex<Vec<String>>,
}

#[derive(Deserialize)]
struct Ids {
    #[serde(default)]
    ids: Vec<String>,
}

/// Who asks, and how much room there is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct About {
    #[serde(default)]
    pub(super) user: User,
    #[serde(default)]
    pub(super) storage_quota: Quota,
}

/// Who asks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    #[serde(default)]
    pub(super) email_address: String,
}

/// How much room there is, in bytes, as text. Without a limit there is none to tell.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Quota {
    limit: Option<String>,
    usage: Option<String>,
}

impl Quota {
    /// How many bytes are free of how many, where there is a limit.
    pub(super) fn free(&self) -> Option<(u64, u64)> {
        let number = |text: &Option<String>| text.as_deref()?.parse::<u64>().ok();
        let limit = number(&self.limit)?;
        Some((limit.saturating_sub(number(&self.usage).unwrap_or(0)), limit))
    }
}

impl Files {
    pub(super) fn new(api: Api) -> Self {
        Self { api, ids: Mutex::default() }
    }

    /// An id for a new file. With it a request that is sent twice makes one file: the second one is refused with 409.
    pub(super) async fn new_id(&self) -> Result<String> {
        let spare = self.ids.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(id) = spare {
            return Ok(id);
        }
        let doing = "cannot get ids for new files from Google Drive";
        let url = self.api.url("files/generateIds");
        let query = [("count", IDS), ("space", "drive"), ("type", "files")];
        let mut new: Ids = self.api.json(doing, |client| client.get(&url).query(&query)).await?;
        let id = new.ids.pop().ok_or_else(|| nonsense(doing, "no ids"))?;
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).append(&mut new.ids);
        Ok(id)
    }

    /// The file or folder `id`; `what` names it in errors.
    pub(super) async fn get(&self, what: &str, id: &str) -> Result<File> {
        let url = self.api.url(&format!("files/{id}"));
        let fields = format!("{FIELDS},capabilities(canAddChildren,canDeleteChildren,canTrashChildren)");
        let query = [ALL_DRIVES, ("fields", fields.as_str())];
        self.api.json(&format!("cannot look at {what}"), |client| client.get(&url).query(&query)).await
    }

    /// As [`Files::get`]; `None` if there is no such file.
    pub(super) async fn find_id(&self, what: &str, id: &str) -> Result<Option<File>> {
        match self.get(what, id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Everything that `query` finds, in the shared drive `drive_id` if there is one: every page, or an error.
    pub(super) async fn list(&self, doing: &str, query: &str, drive_id: Option<&str>) -> Result<Vec<File>> {
        self.pages(doing, query, drive_id, PAGE).await
    }

    /// Whether `query` finds anything.
    pub(super) async fn finds(&self, doing: &str, query: &str, drive_id: Option<&str>) -> Result<bool> {
        Ok(!self.pages(doing, query, drive_id, "1").await?.is_empty())
    }

    /// Every page of `size` files; of one file each, the first that is not empty.
    async fn pages(&self, doing: &str, query: &str, drive_id: Option<&str>, size: &str) -> Result<Vec<File>> {
        let url = self.api.url("files");
        let fields = format!("nextPageToken,incompleteSearch,files({FIELDS})");
        let mut found: Vec<File> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next: Option<String> = None;
        loop {
            let mut pairs = vec![
                ALL_DRIVES,
                ("includeItemsFromAllDrives", "true"),
                ("q", query),
                ("fields", &fields),
                ("pageSize", size),
            ];
            pairs.extend(drive_id.map_or(vec![], |id| vec![("corpora", "drive"), ("driveId", id)]));
            pairs.extend(next.as_deref().map(|token| ("pageToken", token)));
            let page: Page = self.api.json(doing, |client| client.get(&url).query(&pairs)).await?;
            if page.incomplete_search {
                return Err(Error::new(ErrorKind::Unavailable, doing)
                    .caused_by("Drive searched only a part of its files, and says so"));
            }
            // What is written meanwhile may move a file from one page to the next.
            found.extend(page.files.into_iter().filter(|file| seen.insert(file.id.clone())));
            match page.next_page_token.filter(|token| !token.is_empty()) {
                None => return Ok(found),
                // Drive may give an empty page and a token for the next one.
                Some(_) if size != PAGE && !found.is_empty() => return Ok(found),
                Some(token) if next.as_ref() == Some(&token) => {
                    return Err(nonsense(doing, "a page names itself as the next one"));
                }
                token => next = token,
            }
        }
    }

    /// Creates a folder in `parent`, or in My Drive.
    pub(super) async fn create_folder(&self, what: &str, name: &str, parent: Option<&str>) -> Result<File> {
        let metadata = metadata(&self.new_id().await?, name, parent, FOLDER);
        let url = self.api.url("files");
        let query = [ALL_DRIVES, ("fields", FIELDS)];
        let doing = format!("cannot create the folder {what}");
        self.api.json(&doing, |client| client.post(&url).query(&query).json(&metadata)).await
    }

    /// Stores a small file in one request: its metadata and its bytes as two parts (multipart/related).
    pub(super) async fn create(&self, what: &str, metadata: &Value, bytes: &Bytes) -> Result<File> {
        let boundary = format!("pgkeep-{}", crate::id::random_hex(16)?);
        let mut body = BytesMut::new();
        let head = format!("--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{metadata}\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(format!("--{boundary}\r\nContent-Type: application/octet-stream\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let body = body.freeze();
        let kind = format!("multipart/related; boundary={boundary}");
        let query = [("uploadType", "multipart"), ALL_DRIVES, ("fields", FIELDS)];
        let url = self.api.upload_url();
        self.api
            .json(&format!("cannot store {what}"), |client| {
                client.post(&url).query(&query).header(CONTENT_TYPE, &kind).body(body.clone())
            })
            .await
    }

    /// The bytes of the file `id` in `range`, which is not empty.
    pub(super) async fn read(&self, what: &str, id: &str, range: &Range<u64>) -> Result<Bytes> {
        let doing = format!("cannot read {what}");
        let url = self.api.url(&format!("files/{id}"));
        let wanted = range.end - range.start;
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        let mut query = vec![("alt", "media"), ALL_DRIVES];
        let answer = loop {
            let answer = self
                .api
                .send(&doing, wanted.max(1 << 20), |client, _| client.get(&url).query(&query).header(RANGE, &bytes))
                .await?;
            // Drive takes compressed dumps for malware now and then. Its owner may have it all the same.
            let abusive = super::failure::reason(&answer.body) == "cannotDownloadAbusiveFile";
            if answer.status.as_u16() != 403 || !abusive || query.len() > 2 {
                break answer;
            }
            query.push(("acknowledgeAbuse", "true"));
        };
        let short = |why: String| Error::new(ErrorKind::Damaged, format!("{what} is not as long as it must be: {why}"));
        if answer.status.as_u16() == 416 {
            return Err(short(format!("it has no bytes {} to {}", range.start, range.end)));
        }
        let answer = answer.success(&doing)?;
        // 200 is the whole file: right only where the whole file was asked for.
        let starts = match (answer.status.as_u16(), answer.header("content-range")) {
            (206, Some(told)) => told.trim().starts_with(&format!("bytes {}-", range.start)),
            (200, _) => range.start == 0,
            _ => false,
        };
        if !starts {
            return Err(nonsense(&doing, "these are not the bytes that were asked for"));
        }
        if answer.body.len() as u64 != wanted {
            return Err(short(format!("{} bytes came where {wanted} were asked for", answer.body.len())));
        }
        Ok(answer.body)
    }

    /// Deletes the file or folder `id`, or puts it into the trash if `trash`. Deleting forever takes more rights than the
    /// trash does in a shared drive (Manager rather than Content manager): where they are missing, the trash has to do. That it
    /// is gone is success.
    pub(super) async fn remove(&self, what: &str, id: &str, trash: bool) -> Result<()> {
        let gone = |result: Result<()>| match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if trash {
            return gone(self.set_trashed(what, id).await);
        }
        match self.delete(what, id).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                gone(self.set_trashed(what, id).await).map_err(|_| error)
            }
            other => gone(other),
        }
    }

    async fn delete(&self, what: &str, id: &str) -> Result<()> {
        let url = self.api.url(&format!("files/{id}"));
        let doing = format!("cannot delete {what}");
        self.api.done(&doing, |client| client.delete(&url).query(&[ALL_DRIVES])).await.map(|_| ())
    }

    async fn set_trashed(&self, what: &str, id: &str) -> Result<()> {
        let url = self.api.url(&format!("files/{id}"));
        let doing = format!("cannot put {what} into the trash");
        let query = [ALL_DRIVES, ("fields", "id")];
        self.api
            .done(&doing, |client| client.patch(&url).query(&query).json(&json!({ "trashed": true })))
            .await
            .map(|_| ())
    }

    /// Who asks and how much room there is, and the server's time as it says it.
    pub(super) async fn about(&self) -> Result<(About, Option<String>)> {
        let doing = "cannot ask Google Drive about the account";
        let url = self.api.url("about");
        let query = [("fields", "user(emailAddress),storageQuota(limit,usage)")];
        let answer = self.api.done(doing, |client| client.get(&url).query(&query)).await?;
        let date = answer.header("date").map(str::to_owned);
        Ok((answer.json(doing)?, date))
    }
}

/// The metadata of a new file or folder of pgkeep's.
pub(super) fn metadata(id: &str, name: &str, parent: Option<&str>, mime_type: &str) -> Value {
    let mut metadata = json!({ "id": id, "name": name, "mimeType": mime_type, "appProperties": { TAG: "1" } });
    if let (Some(parent), Some(entries)) = (parent, metadata.as_object_mut()) {
        entries.insert("parents".to_owned(), json!([parent]));
    }
    metadata
}

/// The error for a `folder_id` that leads nowhere.
pub(super) fn no_root(error: Error, service_account: Option<&str>) -> Error {
    let hint = match service_account {
        Some(email) => format!("share the folder, or its shared drive, with {email}, and check folder_id"),
        None => {
            "pgkeep sees only folders that it created: use the folder_id that `pgkeep auth gdrive` printed".to_owned()
        }
    };
    Error::new(ErrorKind::PermissionDenied, "the folder of folder_id does not exist, or this account does not see it")
        .caused_by(error)
        .hint(hint)
}
