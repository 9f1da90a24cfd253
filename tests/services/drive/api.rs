//! Everything of the API about one file, and about the account; listings and uploads have files of their own.

use axum::body::Body;
use axum::http::{StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::asked::{Asked, object};
use super::draft::Draft;
use super::fields::{Fields, Kind};
use super::oauth::caller;
use super::refusal::{Answer, Refusal, empty_answer, json_answer};
use super::render::file_fields;
use super::server::Server;
use super::world::{FOLDER, World};

/// `files.create` without content.
pub(super) fn create(server: &Server, asked: &Asked, body: &[u8]) -> Answer {
    let caller = caller(&server.world(), asked)?;
    let fields = file_fields(asked)?;
    let draft = Draft::read(object(&asked.media_type(), body)?, false)?;
    if draft.mime_type.as_deref() != Some(FOLDER) {
        return super::upload::whole(server, asked, &draft, b"", "application/octet-stream");
    }
    let mut world = server.world();
    let id = draft.create(&mut world, &caller, asked, None, None)?;
    Ok(json_answer(&fields.pick(world.render(&caller, &world.files[&id]))))
}

/// `files.get`: the metadata, or the content with `alt=media`.
pub(super) async fn get(server: &Server, asked: &Asked, id: &str, corrupt: bool) -> Answer {
    let content = {
        let world = server.world();
        let caller = caller(&world, asked)?;
        let fields = file_fields(asked)?;
        let item = world.find(&caller, id, asked.flag("supportsAllDrives")?)?;
        match asked.parameter("alt") {
            None | Some("json") => return Ok(json_answer(&fields.pick(world.render(&caller, item)))),
            Some("media") => {}
            Some(_) => return Err(Refusal::invalid("alt")),
        }
        caller.needs(&["drive", "drive.file", "drive.readonly"])?;
        let message = "Only files with binary content can be directly downloaded. Use Export with Docs Editors files.";
        let content = item.content.clone().ok_or_else(|| Refusal::new(403, "fileNotDownloadable", message))?;
        (content, item.mime_type.clone())
    };
    let (content, kind) = content;
    let size = content.size;
    let (first, length, partial) = match asked.header("range") {
        None => (0, size, false),
        Some(text) => {
            let range = range(text, size).ok_or_else(|| {
                let refusal = Refusal::new(416, "requestedRangeNotSatisfiable", "Request range not satisfiable");
                refusal.header(header::CONTENT_RANGE, format!("bytes */{size}"))
            })?;
            (range.0, range.1, true)
        }
    };
    let mut file = tokio::fs::File::open(&content.path).await.unwrap();
    file.seek(std::io::SeekFrom::Start(first)).await.unwrap();
    let mut part = file.take(length);
    let body = if corrupt && length > 0 {
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).await.unwrap();
        bytes[length as usize / 2] ^= 0x20;
        Body::from(bytes)
    } else {
        Body::from_stream(ReaderStream::with_capacity(part, 64 << 10))
    };
    let mut answer = axum::response::Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
    headers.insert(header::CONTENT_LENGTH, length.into());
    if partial {
        let range = format!("bytes {first}-{}/{size}", first + length - 1);
        headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// First byte and length of `bytes=a-b`, `bytes=a-`, `bytes=-n`; `None` where nothing of the file is in it.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    (first < end).then(|| (first, end - first))
}

/// `files.update` of metadata.
pub(super) fn update(world: &mut World, asked: &Asked, id: &str, body: &[u8]) -> Answer {
    let caller = caller(world, asked)?;
    let fields = file_fields(asked)?;
    let all = asked.flag("supportsAllDrives")?;
    let draft = Draft::read(object(&asked.media_type(), body)?, true)?;
    let mut item = world.find(&caller, id, all)?.clone();
    world.may_write(&caller, &item)?;
    if draft.trashed.is_some_and(|trashed| trashed != item.trashed) {
        world.may_trash(&caller, &item)?;
    }
    draft.apply(&mut item, &caller)?;
    let (add, remove) = (asked.parameter("addParents"), asked.parameter("removeParents"));
    if let Some(add) = add {
        let folder = world.parent(&caller, Some(add), all)?;
        if remove.is_none() || remove != item.parent.as_deref() {
            let message = "Increasing the number of parents is not allowed";
            return Err(Refusal::new(403, "cannotAddParent", message));
        }
        if world.lineage(folder).any(|above| above.id == item.id) {
            return Err(Refusal::new(403, "circularReference", "A folder cannot be moved into itself."));
        }
        if folder.drive != item.drive {
            let message = "This test server does not move files between drives.";
            return Err(Refusal::new(403, "crossDomainMoveRestriction", message));
        }
        item.parent = Some(folder.id.clone());
    } else if remove.is_some() {
        let message = "A file must have at least one parent.";
        return Err(Refusal::new(403, "cannotRemoveParent", message));
    }
    let id = item.id.clone();
    world.put(item);
    Ok(json_answer(&fields.pick(world.render(&caller, &world.files[&id]))))
}

/// `files.delete`: for ever, with everything in it.
pub(super) fn delete(world: &mut World, asked: &Asked, id: &str) -> Answer {
    let caller = caller(world, asked)?;
    let item = world.find(&caller, id, asked.flag("supportsAllDrives")?)?;
    world.may_delete(&caller, item)?;
    let id = item.id.clone();
    world.remove(&id);
    Ok(empty_answer(204))
}

/// `files.generateIds`.
pub(super) fn generate_ids(world: &mut World, asked: &Asked) -> Answer {
    let caller = caller(world, asked)?;
    caller.needs(&["drive", "drive.file"])?;
    let fields = Fields::parse(asked.parameter("fields").unwrap_or("*"), Kind::Ids)?;
    let count =
        asked.parameter("count").unwrap_or("10").parse::<usize>().ok().filter(|count| (1..=1000).contains(count));
    let count = count.ok_or_else(|| Refusal::invalid("count"))?;
    if asked.parameter("space").is_some_and(|space| space != "drive") {
        return Err(Refusal::invalid("space"));
    }
    let ids = (0..count).map(|_| world.new_id()).collect::<Vec<_>>();
    world.ids.extend(ids.iter().map(|id| (id.clone(), caller.email.clone())));
    Ok(json_answer(&fields.pick(json!({"kind": "drive#generatedIds", "space": "drive", "ids": ids}))))
}

/// `about.get`.
pub(super) fn about(world: &World, asked: &Asked) -> Answer {
    let caller = caller(world, asked)?;
    let fields = asked.parameter("fields").ok_or_else(|| {
        Refusal::parameter("required", "fields", "The 'fields' parameter is required for this method.")
    })?;
    let fields = Fields::parse(fields, Kind::About)?;
    let account = world.account(&caller.email);
    let usage = world.usage(&caller.email, false).to_string();
    let trash = world.usage(&caller.email, true).to_string();
    let mut quota = json!({"usage": usage, "usageInDrive": usage, "usageInDriveTrash": trash});
    if let Some(limit) = account.quota {
        quota["limit"] = json!(limit.to_string());
    }
    Ok(json_answer(&fields.pick(json!({
        "kind": "drive#about",
        "user": {"kind": "drive#user", "displayName": account.email.split('@').next(), "me": true, "emailAddress": account.email},
        "storageQuota": quota,
        "canCreateDrives": !account.service,
        "appInstalled": true,
        "maxUploadSize": "5242880000000",
    }))))
}

/// `drives.get`; the scope drive.file does not do.
pub(super) fn drive(world: &World, asked: &Asked, id: &str) -> Answer {
    let caller = caller(world, asked)?;
    caller.needs(&["drive", "drive.readonly"])?;
    let fields = Fields::parse(asked.parameter("fields").unwrap_or("kind,id,name"), Kind::Drive)?;
    let role = world.account(&caller.email).role.as_deref();
    if id != world.drive || role.is_none() {
        return Err(Refusal::new(404, "notFound", format!("Shared drive not found: {id}")));
    }
    let writer = role != Some("reader");
    Ok(json_answer(&fields.pick(json!({
        "kind": "drive#drive",
        "id": world.drive,
        "name": "Team",
        "hidden": false,
        "capabilities": {
            "canAddChildren": writer,
            "canEdit": writer,
            "canListChildren": true,
            "canDeleteChildren": role == Some("organizer"),
            "canTrashChildren": matches!(role, Some("organizer" | "fileOrganizer")),
        },
    }))))
}
