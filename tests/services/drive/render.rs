//! How a file looks in the API's answers.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::asked::Asked;
use super::fields::{Fields, Kind};
use super::refusal::Refusal;
use super::world::{Caller, FOLDER, Item, World};

/// The fields that are answered when nobody asks for any. Files of shared drives tell their drive as well.
pub(super) const DEFAULT: &str = "kind,id,name,mimeType,driveId,teamDriveId";

/// The fields that the request asks for.
pub(super) fn file_fields(asked: &Asked) -> Result<Fields, Refusal> {
    Fields::parse(asked.parameter("fields").unwrap_or(DEFAULT), Kind::File)
}

pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl World {
    /// Everything of a file that this caller may know.
    pub(super) fn render(&self, caller: &Caller, item: &Item) -> Value {
        let folder = item.mime_type == FOLDER;
        let (write, trash, delete) =
            (self.may_write(caller, item), self.may_trash(caller, item), self.may_delete(caller, item));
        let mut file = json!({
            "kind": "drive#file",
            "id": item.id,
            "name": item.name,
            "mimeType": item.mime_type,
            "starred": item.starred,
            "trashed": self.is_trashed(item),
            "explicitlyTrashed": item.trashed,
            "spaces": ["drive"],
            "version": "1",
            "createdTime": time(item.created),
            "modifiedTime": time(item.modified),
            "isAppAuthorized": item.app == caller.app || item.opened.contains(&caller.app),
            "shared": item.drive.is_some() || !item.shared.is_empty(),
            "quotaBytesUsed": item.content.as_ref().map_or(0, |content| content.size).to_string(),
            "capabilities": {
                "canEdit": write.is_ok(),
                "canRename": write.is_ok(),
                "canAddChildren": folder && write.is_ok(),
                "canListChildren": folder,
                "canDownload": !folder,
                "canTrash": trash.is_ok(),
                "canUntrash": trash.is_ok(),
                "canDelete": delete.is_ok(),
            },
        });
        if let Some(parent) = &item.parent {
            // A folder that the caller cannot see is not named to it.
            if self.files.get(parent).is_some_and(|parent| self.sees(caller, parent)) {
                file["parents"] = json!([parent]);
            }
        }
        if let Some(drive) = &item.drive {
            file["driveId"] = json!(drive);
            file["teamDriveId"] = json!(drive);
        } else {
            let user = json!({"kind": "drive#user", "emailAddress": item.owner, "me": item.owner == caller.email});
            file["owners"] = json!([user]);
            file["ownedByMe"] = json!(item.owner == caller.email);
        }
        if let Some(description) = &item.description {
            file["description"] = json!(description);
        }
        if let Some(content) = &item.content {
            file["size"] = json!(content.size.to_string());
            file["md5Checksum"] = json!(content.md5);
            file["sha256Checksum"] = json!(content.sha256);
            file["originalFilename"] = json!(item.name);
            file["headRevisionId"] = json!(format!("0B{}", &content.sha256[..40]));
        }
        if let Some(private) = item.app_properties.get(&caller.app).filter(|private| !private.is_empty()) {
            file["appProperties"] = json!(private);
        }
        if !item.properties.is_empty() {
            file["properties"] = json!(item.properties);
        }
        file
    }
}
