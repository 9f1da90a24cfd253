//! `POST /upload/drive/v3/files`: uploads in one request, and the begin of those in many.

use axum::http::header;
use memchr::memmem;

use super::asked::{Asked, media_type, object};
use super::draft::Draft;
use super::refusal::{Answer, Refusal, empty_answer, json_answer};
use super::render::file_fields;
use super::server::{Server, measure};
use super::session::Session;

/// Larger files are for resumable uploads: 5 MB, says the documentation.
const SMALL: usize = 5 << 20;

pub(super) fn post(server: &Server, asked: Asked, body: &[u8], corrupt: bool) -> Answer {
    match asked.parameter("uploadType") {
        Some("resumable") => begin(server, asked, body),
        Some("media") => {
            let kind = asked.media_type();
            let kind = if kind.is_empty() { "application/octet-stream".to_owned() } else { kind };
            whole(server, &asked, &Draft::default(), &spoilt(body, corrupt), &kind)
        }
        Some("multipart") => {
            let (metadata, kind, content) = parts(&asked, body)?;
            whole(server, &asked, &metadata, &spoilt(content, corrupt), &kind)
        }
        _ => Err(Refusal::parameter("badRequest", "uploadType", "Bad Request")),
    }
}

/// What is stored of the content: all of it, or a byte wrong.
fn spoilt(content: &[u8], corrupt: bool) -> Vec<u8> {
    let mut bytes = content.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle).filter(|_| corrupt) {
        *byte ^= 0x20;
    }
    bytes
}

/// A file in one request.
pub(super) fn whole(server: &Server, asked: &Asked, draft: &Draft, bytes: &[u8], kind: &str) -> Answer {
    let fields = file_fields(asked)?;
    let mut world = server.world();
    let caller = super::oauth::caller(&world, asked)?;
    draft.check(&world, &caller, asked, Some(bytes.len() as u64))?;
    if bytes.len() > SMALL {
        return Err(Refusal::new(413, "uploadTooLarge", "Request Too Large"));
    }
    let path = server.new_path(&mut world);
    std::fs::write(&path, bytes).unwrap();
    let id = draft.create(&mut world, &caller, asked, Some(measure(path)), Some(kind))?;
    Ok(json_answer(&fields.pick(world.render(&caller, &world.files[&id]))))
}

fn begin(server: &Server, asked: Asked, body: &[u8]) -> Answer {
    let mut world = server.world();
    let caller = super::oauth::caller(&world, &asked)?;
    file_fields(&asked)?;
    let draft = Draft::read(object(&asked.media_type(), body)?, false)?;
    let total = match asked.header("x-upload-content-length") {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| Refusal::new(400, "invalid", "Invalid upload length"))?),
    };
    draft.check(&world, &caller, &asked, Some(total.unwrap_or(0)))?;
    let path = server.new_path(&mut world);
    std::fs::write(&path, []).unwrap();
    let id = format!("AEnB2U{}{}", world.random(40), world.random(40));
    // The server is asked where the client found it: a proxy may be between them.
    let host = asked.header("host").ok_or_else(|| Refusal::text(400, "Bad Request"))?;
    let mut location = format!("http://{host}/upload/drive/v3/files?uploadType=resumable");
    for name in ["supportsAllDrives", "fields"] {
        if let Some(value) = asked.parameter(name) {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            location.push_str(&format!("&{name}={value}"));
        }
    }
    location.push_str(&format!("&upload_id={id}"));
    let mut answer = empty_answer(200);
    answer.headers_mut().insert(header::LOCATION, location.parse().unwrap());
    answer.headers_mut().insert("x-guploader-uploadid", id.parse().unwrap());
    let media_type = asked.header("x-upload-content-type").map(str::to_owned);
    let session = Session {
        draft,
        caller,
        asked,
        media_type,
        total,
        stored: 0,
        path,
        done: None,
        dead: None,
        busy: std::sync::Arc::default(),
    };
    world.sessions.insert(id, session);
    Ok(answer)
}

/// The two parts of `multipart/related`: metadata and content with its type.
fn parts<'a>(asked: &Asked, body: &'a [u8]) -> Result<(Draft, String, &'a [u8]), Refusal> {
    let bad = || Refusal::new(400, "badContent", "Malformed multipart body.");
    if asked.media_type() != "multipart/related" {
        return Err(Refusal::new(400, "badContent", "Media type is not supported."));
    }
    let kind = asked.header("content-type").unwrap_or_default();
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary=")).ok_or_else(bad)?;
    let boundary = boundary.trim_matches('"');
    let opening = format!("--{boundary}");
    let closing = format!("\n{opening}");
    // The first part may begin without an empty line before its boundary.
    let mut rest = body.strip_prefix(opening.as_bytes()).ok_or_else(bad)?;
    let mut found = Vec::new();
    while !rest.starts_with(b"--") {
        let end = memmem::find(rest, closing.as_bytes()).ok_or_else(bad)?;
        let part = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        found.push(part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n")).ok_or_else(bad)?);
        rest = &rest[end + closing.len()..];
    }
    let [metadata, content] = found[..] else { return Err(bad()) };
    let (head, metadata) = head_and_rest(metadata).ok_or_else(bad)?;
    let metadata = Draft::read(object(&head, metadata)?, false)?;
    let (head, content) = head_and_rest(content).ok_or_else(bad)?;
    Ok((metadata, head, content))
}

/// A part's type and what comes after its headers.
fn head_and_rest(part: &[u8]) -> Option<(String, &[u8])> {
    let (end, length) = match (memmem::find(part, b"\r\n\r\n"), memmem::find(part, b"\n\n")) {
        (Some(end), None) => (end, 4),
        (Some(end), Some(plain)) if end < plain => (end, 4),
        (_, plain) => (plain?, 2),
    };
    let head = std::str::from_utf8(&part[..end]).ok()?;
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then(|| media_type(value))
    });
    Some((kind?, &part[end + length..]))
}
