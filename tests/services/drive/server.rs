//! The server itself: takes requests, lets them go wrong as was planned, answers, and keeps the log.

use std::io::Read;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::response::Response;
use sha2::Digest as _;
use tempfile::TempDir;

use super::asked::{Asked, pairs};
use super::faults::Wrong;
use super::log::Logged;
use super::refusal::{Answer, Refusal};
use super::wire::{End, Line, Lines};
use super::world::{Content, World};
use super::{api, listing, oauth, session, upload};

pub(super) struct Server {
    world: Mutex<World>,
    pub folder: TempDir,
}

impl Server {
    pub(super) fn new(world: World) -> Self {
        Self { world: Mutex::new(world), folder: crate::support::temp_dir() }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // A test that failed while it looked must not fail all requests after it.
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A path for new content.
    pub(super) fn new_path(&self, world: &mut World) -> PathBuf {
        self.folder.path().join(format!("content-{}", world.random(20)))
    }
}

/// Serves until the future is dropped.
pub(super) async fn serve(server: Arc<Server>, listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let router = Router::new().fallback(handle).with_state(server);
    let service = router.into_make_service_with_connect_info::<Line>();
    axum::serve(Lines(listener), service).await.unwrap();
}

/// The size and the checksums of a file.
pub(super) fn measure(path: PathBuf) -> Content {
    let mut file = std::fs::File::open(&path).unwrap();
    let (mut md5, mut sha256, mut size) = (md5::Md5::default(), sha2::Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        md5::Digest::update(&mut md5, &buffer[..count]);
        sha256.update(&buffer[..count]);
        size += count as u64;
    }
    Content { path, size, md5: hex::encode(md5::Digest::finalize(md5)), sha256: hex::encode(sha256.finalize()) }
}

/// A request's body as it arrives.
pub(super) struct Incoming {
    body: Body,
    /// How much of it still arrives before the connection is cut.
    left: Option<u64>,
    count: u64,
}

impl Incoming {
    /// The next bytes; `Err` when the rest will not come.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, ()>> {
        loop {
            if self.left == Some(0) {
                return Some(Err(()));
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
            let Ok(frame) = frame else { return Some(Err(())) };
            let Ok(mut bytes) = frame.into_data() else { continue };
            if let Some(left) = &mut self.left {
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
            }
            self.count += bytes.len() as u64;
            return Some(Ok(bytes));
        }
    }

    /// All of it, for small requests.
    async fn whole(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await {
            let bytes = bytes.map_err(|()| Refusal::text(400, "Bad Request"))?;
            all.extend_from_slice(&bytes);
            if all.len() > 64 << 20 {
                return Err(Refusal::text(413, "Request Too Large"));
            }
        }
        Ok(all)
    }

    /// Reads what is left: a client that still sends would not see the answer.
    async fn drain(&mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

async fn handle(State(server): State<Arc<Server>>, ConnectInfo(line): ConnectInfo<Line>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = pairs(parts.uri.query().unwrap_or_default());
    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let asked = Asked { method: parts.method, path, query, headers: parts.headers };
    let (wrong, entry) = {
        let mut world = server.world();
        let wrong = world.faults.strike(asked.method.as_str(), &target);
        world.log.push(Logged::new(asked.method.as_str(), &asked.path, &asked.query, asked.header("content-range")));
        (wrong, world.log.len() - 1)
    };
    let left = if let Some(Wrong::CutDuring(bytes)) = wrong { Some(bytes) } else { None };
    let mut incoming = Incoming { body, left, count: 0 };
    match &wrong {
        Some(Wrong::CutBefore) => {
            line.end_after(0, End::Cut);
            return Response::new(Body::empty());
        }
        Some(Wrong::StallBefore) => std::future::pending().await,
        Some(Wrong::ExpireTokens) => server.world().tokens.expire(),
        _ => {}
    }
    let answer = match wrong.as_ref().and_then(Wrong::refusal) {
        Some(refusal) => Err(refusal),
        None => route(&server, asked, &mut incoming, wrong.as_ref()).await,
    };
    incoming.drain().await;
    server.world().log[entry].bytes_in = incoming.count;
    match wrong {
        Some(Wrong::CutAfter | Wrong::CutDuring(_)) => {
            line.end_after(0, End::Cut);
            return Response::new(Body::empty());
        }
        Some(Wrong::StallAfter) => std::future::pending().await,
        Some(Wrong::CutReply(bytes)) => line.end_after(bytes, End::Cut),
        Some(Wrong::StallReply(bytes)) => line.end_after(bytes, End::Freeze),
        _ => {}
    }
    let reason = answer.as_ref().err().and_then(Refusal::reason).map(str::to_owned);
    let response = answer.unwrap_or_else(Refusal::into_response);
    let mut world = server.world();
    let logged = &mut world.log[entry];
    logged.status = Some(response.status().as_u16());
    logged.reason = reason;
    logged.bytes_out = length(&response);
    response
}

fn length(response: &Response) -> u64 {
    let header = response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    header.or_else(|| response.body().size_hint().exact()).unwrap_or(0)
}

async fn route(server: &Server, asked: Asked, incoming: &mut Incoming, wrong: Option<&Wrong>) -> Answer {
    let path = asked.path.clone();
    let segments = path.trim_start_matches('/').split('/').collect::<Vec<_>>();
    let method = asked.method.clone();
    let corrupt = wrong == Some(&Wrong::CorruptReply);
    match (&method, &segments[..]) {
        (&Method::PUT, ["upload", "drive", "v3", "files"]) => session::put(server, &asked, incoming, wrong).await,
        (&Method::DELETE, ["upload", "drive", "v3", "files"]) => session::cancel(&mut server.world(), &asked),
        (&Method::POST, ["upload", "drive", "v3", "files"]) => {
            let body = incoming.whole().await?;
            upload::post(server, asked, &body, wrong == Some(&Wrong::Corrupt))
        }
        (&Method::GET, ["auth"]) => oauth::consent(&mut server.world(), &asked),
        (&Method::POST, ["token"]) => {
            let body = incoming.whole().await?;
            if wrong == Some(&Wrong::InvalidGrant) {
                return Err(oauth::invalid_grant("Token has been expired or revoked."));
            }
            oauth::token(&mut server.world(), &asked, &body)
        }
        (&Method::GET, ["drive", "v3", "about"]) => api::about(&server.world(), &asked),
        (&Method::GET, ["drive", "v3", "drives", id]) => api::drive(&server.world(), &asked, id),
        (&Method::GET, ["drive", "v3", "files"]) => {
            listing::list(&mut server.world(), &asked, wrong == Some(&Wrong::Incomplete))
        }
        (&Method::POST, ["drive", "v3", "files"]) => {
            let body = incoming.whole().await?;
            api::create(server, &asked, &body)
        }
        (&Method::GET, ["drive", "v3", "files", "generateIds"]) => api::generate_ids(&mut server.world(), &asked),
        (&Method::GET, ["drive", "v3", "files", id]) => api::get(server, &asked, id, corrupt).await,
        (&Method::PATCH, ["drive", "v3", "files", id]) => {
            let body = incoming.whole().await?;
            api::update(&mut server.world(), &asked, id, &body)
        }
        (&Method::DELETE, ["drive", "v3", "files", id]) => api::delete(&mut server.world(), &asked, id),
        _ => Err(Refusal::text(404, format!("Not Found: this test server has no {method} {path}"))),
    }
}
