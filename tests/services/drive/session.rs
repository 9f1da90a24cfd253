//! Resumable uploads: https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::header;
use axum::response::Response;

use super::asked::Asked;
use super::draft::Draft;
use super::faults::Wrong;
use super::refusal::{Answer, Refusal, empty_answer, json_answer};
use super::render::file_fields;
use super::server::{Incoming, Server, measure};
use super::world::{Caller, World};

/// What every chunk but the last is a multiple of, and what the server keeps of a broken one.
const UNIT: u64 = 256 << 10;

/// An upload that was begun.
pub(super) struct Session {
    pub draft: Draft,
    pub caller: Caller,
    /// The request that began it.
    pub asked: Asked,
    pub media_type: Option<String>,
    /// The size of the whole, once the client said it.
    pub total: Option<u64>,
    pub stored: u64,
    pub path: PathBuf,
    /// The file that came of it.
    pub done: Option<String>,
    /// It is gone, and answers with this.
    pub dead: Option<u16>,
    /// Requests for one session come one after the other.
    pub busy: Arc<tokio::sync::Mutex<()>>,
}

/// What `Content-Range` says.
#[derive(Debug, PartialEq)]
enum Range {
    /// No header: this is everything.
    Everything,
    /// `bytes */TOTAL`: how much is there?
    Query(Option<u64>),
    /// `bytes FIRST-LAST/TOTAL`, as first byte and length.
    Part(u64, u64, Option<u64>),
}

fn range(text: Option<&str>) -> Result<Range, Refusal> {
    let Some(text) = text else { return Ok(Range::Everything) };
    let parse = || {
        let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let total = if total == "*" { None } else { Some(total.parse::<u64>().ok()?) };
        if part == "*" {
            return Some(Range::Query(total));
        }
        let (first, last) = part.split_once('-')?;
        let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        let fits = first <= last && total.is_none_or(|total| last < total);
        fits.then(|| Range::Part(first, last - first + 1, total))
    };
    parse().ok_or_else(|| Refusal::text(400, "Failed to parse Content-Range header."))
}

fn incomplete(stored: u64) -> Response {
    let mut answer = empty_answer(308);
    if stored > 0 {
        answer.headers_mut().insert(header::RANGE, format!("bytes=0-{}", stored - 1).parse().unwrap());
    }
    answer
}

/// The session of this request, when it is alive.
fn alive<'a>(world: &'a mut World, asked: &Asked) -> Result<&'a mut Session, Refusal> {
    // The URI is a credential itself; but a token that comes with it must be good.
    if asked.header("authorization").is_some() {
        super::oauth::caller(world, asked)?;
    }
    let session = world.sessions.get_mut(asked.parameter("upload_id").unwrap_or_default());
    let session = session.ok_or_else(|| Refusal::text(404, "Not Found"))?;
    match session.dead {
        Some(status) => Err(Refusal::text(status, if status == 410 { "Gone" } else { "Not Found" })),
        None => Ok(session),
    }
}

/// `PUT` to a session.
pub(super) async fn put(server: &Server, asked: &Asked, incoming: &mut Incoming, wrong: Option<&Wrong>) -> Answer {
    let busy = Arc::clone(&alive(&mut server.world(), asked)?.busy);
    let turn = busy.lock().await;
    let answer = put_in_turn(server, asked, incoming, wrong).await;
    drop(turn);
    answer
}

async fn put_in_turn(server: &Server, asked: &Asked, incoming: &mut Incoming, wrong: Option<&Wrong>) -> Answer {
    let id = asked.parameter("upload_id").unwrap_or_default();
    let length = asked.header("content-length").and_then(|text| text.parse::<u64>().ok());
    let (first, declared, total, path, before) = {
        let mut world = server.world();
        let session = alive(&mut world, asked)?;
        if let Some(Wrong::KillSession(status)) = wrong {
            session.dead = Some(*status);
            alive(&mut world, asked)?;
            unreachable!("the session was killed");
        }
        if session.done.is_some() {
            return finished(&world, id);
        }
        let stored = session.stored;
        let (first, declared, total) = match range(asked.header("content-range"))? {
            Range::Everything => {
                let length = length.ok_or_else(|| Refusal::text(411, "Length Required"))?;
                (0, length, Some(length))
            }
            Range::Query(total) => {
                if length.is_some_and(|length| length > 0) {
                    return Err(Refusal::text(400, "Failed to parse Content-Range header."));
                }
                agrees(session, total)?;
                if total != Some(stored) {
                    return Ok(incomplete(stored));
                }
                (stored, 0, total)
            }
            Range::Part(first, declared, total) => (first, declared, total),
        };
        agrees(session, total)?;
        if length.is_some_and(|length| length != declared) {
            return Err(Refusal::text(400, "Failed to parse Content-Range header."));
        }
        if first > stored {
            return Err(Refusal::text(
                503,
                format!(
                    "Invalid request.  According to the Content-Range header, the upload offset is {first} byte(s), which \
                     exceeds already uploaded size of {stored} byte(s)."
                ),
            ));
        }
        if total != Some(first + declared) && declared % UNIT != 0 {
            return Err(Refusal::text(
                400,
                format!(
                    "Invalid request.  The number of bytes uploaded is required to be equal or greater than 262144, except \
                     for the final request (it's recommended to be the exact multiple of 262144).  The received request \
                     contained {declared} bytes, which does not meet this requirement."
                ),
            ));
        }
        session.total = session.total.or(total);
        (first, declared, total, session.path.clone(), stored)
    };

    // What is stored already is not stored again.
    let file = std::fs::OpenOptions::new().write(true).read(true).open(&path).unwrap();
    let mut at = first;
    let mut broken = false;
    while at < first + declared {
        let Some(Ok(bytes)) = incoming.next().await else {
            broken = true;
            break;
        };
        let skip = (before.saturating_sub(at) as usize).min(bytes.len());
        file.write_all_at(&bytes[skip..], at + skip as u64).unwrap();
        at += bytes.len() as u64;
        store(server, id, |stored| stored.max(at / UNIT * UNIT));
    }
    if broken {
        return Err(Refusal::text(400, "Bad Request"));
    }
    match wrong {
        Some(Wrong::Corrupt) if at > before => {
            let middle = before.midpoint(at - 1);
            let mut byte = [0];
            file.read_exact_at(&mut byte, middle).unwrap();
            file.write_all_at(&[byte[0] ^ 0x20], middle).unwrap();
        }
        Some(Wrong::Keep(bytes)) if declared > 0 => {
            let keep = (first + bytes.min(&declared)) / UNIT * UNIT;
            return Ok(incomplete(store(server, id, |_| before.max(keep))));
        }
        Some(Wrong::ForgetAll) => return Ok(incomplete(store(server, id, |_| 0))),
        _ => {}
    }
    let stored = store(server, id, |stored| stored.max(at).max(before));
    if total != Some(stored) {
        return Ok(incomplete(stored));
    }
    file.set_len(stored).unwrap();
    let content = tokio::task::spawn_blocking(move || measure(path)).await.unwrap();
    let mut world = server.world();
    let mut session = world.sessions.remove(id).ok_or_else(|| Refusal::text(404, "Not Found"))?;
    let made =
        session.draft.create(&mut world, &session.caller, &session.asked, Some(content), session.media_type.as_deref());
    session.done = made.as_ref().ok().cloned();
    world.sessions.insert(id.to_owned(), session);
    made?;
    finished(&world, id)
}

/// A size that was said once stays.
fn agrees(session: &Session, total: Option<u64>) -> Result<(), Refusal> {
    match (session.total, total) {
        (Some(known), Some(said)) if known != said => {
            Err(Refusal::text(400, "Invalid request.  The total size of the upload changed."))
        }
        _ if total.is_some_and(|said| said < session.stored) => {
            Err(Refusal::text(400, "Invalid request.  More bytes are uploaded than the total says."))
        }
        _ => Ok(()),
    }
}

fn store(server: &Server, id: &str, change: impl FnOnce(u64) -> u64) -> u64 {
    let mut world = server.world();
    let session = world.sessions.get_mut(id).unwrap();
    session.stored = change(session.stored);
    session.stored
}

/// The file that came of the session, as often as it is asked for.
fn finished(world: &World, id: &str) -> Answer {
    let session = &world.sessions[id];
    let item = session.done.as_ref().and_then(|file| world.files.get(file));
    let item = item.ok_or_else(|| Refusal::text(404, "Not Found"))?;
    Ok(json_answer(&file_fields(&session.asked)?.pick(world.render(&session.caller, item))))
}

/// `DELETE` of a session.
pub(super) fn cancel(world: &mut World, asked: &Asked) -> Answer {
    let session = alive(world, asked)?;
    if session.done.is_none() {
        std::fs::remove_file(&session.path).unwrap();
    }
    session.dead = Some(404);
    Ok(empty_answer(499))
}
