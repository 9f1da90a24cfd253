//! An S3 server in the test's own process: the protocol, signatures and XML are the crate `s3s`, the objects are in memory
//! where a test can look at them. It is strict (digests, conditions, part sizes, paging) unless a test makes it one of the
//! services that are not. `S3s::on_files` serves `s3s-fs` instead: other people's storage, which knows no conditions and
//! keeps no checksums.

use crate::support::temp_dir;
use axum::Router;
use axum::extract::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body::Body as _;
use md5::{Digest, Md5};
use pgkeep::config::{S3Config, S3Keys, SecretRef};
use pgkeep::secret::Secret;
use s3s::auth::SimpleAuth;
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

const ACCESS_KEY: &str = "AKIA0PGKEEP0TESTS";
const SECRET_KEY: &str = "s3cr3t/of+the/tests";
const BUCKET: &str = "backups";
const SMALLEST_PART: usize = 5 << 20;

/// In what a service differs from S3.
#[derive(Debug, Clone)]
pub struct Quirks {
    /// `If-None-Match` is ignored.
    pub no_conditions: bool,
    /// Checksums are neither checked nor kept.
    pub no_checksums: bool,
    /// ETags are not made of MD5s.
    pub own_etags: bool,
    /// Metadata of objects is not kept.
    pub no_metadata: bool,
    /// Uploads cannot be listed.
    pub no_listing_of_uploads: bool,
    /// A byte of what is stored changes, after checksums were made.
    pub damages: bool,
    /// The same, and the service makes its checksums only afterwards.
    pub damages_unnoticed: bool,
    /// How many entries a page of a listing has.
    pub page: usize,
    /// The second and every further page of a listing fail.
    pub listings_break: bool,
    /// A listing always says that it goes on, with the same token.
    pub listings_repeat: bool,
    /// Every n-th request for a part fails with `SlowDown`.
    pub slow_down_every: usize,
    /// The first object is stored, and the answer is an error all the same.
    pub loses_an_answer: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            no_conditions: false,
            no_checksums: false,
            own_etags: false,
            no_metadata: false,
            no_listing_of_uploads: false,
            damages: false,
            damages_unnoticed: false,
            page: 1000,
            listings_break: false,
            listings_repeat: false,
            slow_down_every: 0,
            loses_an_answer: false,
        }
    }
}

/// An object that the server holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub bytes: Bytes,
    pub modified: DateTime<Utc>,
    pub metadata: HashMap<String, String>,
    pub etag: String,
    pub crc: Option<String>,
    pub storage_class: Option<String>,
    pub tagging: Option<String>,
    pub lock: Option<String>,
    pub retain_until: Option<DateTime<Utc>>,
    pub held_for_good: bool,
    /// The sizes of its parts; none where it came in one request.
    pub parts: Vec<usize>,
}

#[derive(Debug)]
struct Open {
    key: String,
    started: DateTime<Utc>,
    like: Held,
    crc: bool,
    parts: BTreeMap<i32, (Bytes, String)>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Open>,
    quirks: Quirks,
    number: u64,
    in_flight: usize,
    most_in_flight: usize,
    asked: Asked,
}

/// How many requests of each kind were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    pub lists: usize,
    pub gets: usize,
    pub heads: usize,
}

/// A running server. It ends when it is dropped.
pub struct S3s {
    port: u16,
    state: Arc<Mutex<State>>,
    root: Option<tempfile::TempDir>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for S3s {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl S3s {
    /// A strict server.
    pub async fn start() -> Self {
        Self::with(Quirks::default()).await
    }

    /// A server with `quirks`.
    pub async fn with(quirks: Quirks) -> Self {
        let state = Arc::new(Mutex::new(State { quirks, ..State::default() }));
        Self::serve(Backend(Arc::clone(&state)), state, None).await
    }

    /// A server of files: `s3s-fs`.
    pub async fn on_files() -> Self {
        let root = temp_dir();
        std::fs::create_dir(root.path().join(BUCKET)).unwrap();
        let files = s3s_fs::FileSystem::new(root.path()).unwrap();
        Self::serve(files, Arc::default(), Some(root)).await
    }

    async fn serve(s3: impl S3, state: Arc<Mutex<State>>, root: Option<tempfile::TempDir>) -> Self {
        let mut builder = S3ServiceBuilder::new(s3);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = Arc::new(builder.build());
        let answer = move |request: Request| {
            let service = Arc::clone(&service);
            async move {
                let answer = service.call(request.map(Body::http_body_unsync)).await;
                answer.expect("the server answers").map(axum::body::Body::new)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().unwrap().port();
        let app = Router::new().fallback(answer);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, state, root, server }
    }

    /// How pgkeep reaches its bucket.
    pub fn config(&self) -> S3Config {
        let secret = |text: &str| SecretRef::Literal(Secret::new(text));
        let mut config = S3Config::new(BUCKET);
        config.endpoint = Some(format!("http://127.0.0.1:{}", self.port));
        config.path_style = true;
        config.region = Some("us-east-1".to_owned());
        config.keys = Some(S3Keys {
            access_key_id: secret(ACCESS_KEY),
            secret_access_key: secret(SECRET_KEY),
            session_token: None,
        });
        config
    }

    /// The keys that no message may show.
    pub fn secrets() -> [&'static str; 2] {
        [ACCESS_KEY, SECRET_KEY]
    }

    /// Where `s3s-fs` keeps its files.
    pub fn root(&self) -> &Path {
        self.root.as_ref().expect("a server of files").path()
    }

    /// The names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// The object `name`.
    pub fn held(&self, name: &str) -> Held {
        self.state().objects.get(name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// How many uploads were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// How many parts were on their way at once, at the most.
    pub fn most_in_flight(&self) -> usize {
        self.state().most_in_flight
    }

    /// How many requests there were since this was asked last.
    pub fn asked(&self) -> Asked {
        std::mem::take(&mut self.state().asked)
    }

    /// Puts a legal hold on the object `name`.
    pub fn hold(&self, name: &str) {
        self.state().objects.get_mut(name).unwrap_or_else(|| panic!("no {name}")).held_for_good = true;
    }

    /// Stores an object behind pgkeep's back.
    pub fn insert(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let held = Held::of(Bytes::copy_from_slice(bytes.as_ref()));
        self.state().objects.insert(name.to_owned(), held);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Held {
    fn of(bytes: Bytes) -> Self {
        Self {
            etag: md5_hex(&bytes),
            bytes,
            modified: Utc::now(),
            metadata: HashMap::new(),
            crc: None,
            storage_class: None,
            tagging: None,
            lock: None,
            retain_until: None,
            held_for_good: false,
            parts: Vec::new(),
        }
    }
}

fn md5_hex(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

fn crc_of(bytes: &[u8]) -> String {
    STANDARD.encode(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

fn etag(text: &str) -> String {
    format!("\"{text}\"")
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp::from(std::time::SystemTime::from(at))
}

fn moment(time: &Timestamp) -> DateTime<Utc> {
    let mut text = Vec::new();
    time.format(TimestampFormat::DateTime, &mut text).unwrap();
    String::from_utf8(text).unwrap().parse().unwrap()
}

async fn collect(blob: Option<StreamingBlob>) -> Bytes {
    let Some(blob) = blob else { return Bytes::new() };
    let mut body = Body::from(blob);
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.unwrap().into_data() {
            all.extend_from_slice(&data);
        }
    }
    all.into()
}

fn damaged(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}

struct Backend(Arc<Mutex<State>>);

impl Backend {
    fn state(&self, bucket: &str) -> S3Result<MutexGuard<'_, State>> {
        if bucket != BUCKET {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"));
        }
        Ok(self.0.lock().unwrap())
    }
}

impl State {
    fn check(&self, bytes: &[u8], crc: Option<&String>, md5: Option<&String>) -> S3Result<()> {
        if self.quirks.no_checksums {
            return Ok(());
        }
        if crc.is_some_and(|crc| *crc != crc_of(bytes)) {
            return Err(s3_error!(BadDigest, "the CRC64NVME does not match"));
        }
        if md5.is_some_and(|md5| *md5 != STANDARD.encode(Md5::digest(bytes))) {
            return Err(s3_error!(BadDigest, "the Content-MD5 does not match"));
        }
        Ok(())
    }

    fn refuse_existing(&self, key: &str, condition: Option<&String>) -> S3Result<()> {
        let asked = condition.is_some_and(|condition| condition == "*") && !self.quirks.no_conditions;
        if asked && self.objects.contains_key(key) {
            return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
        }
        Ok(())
    }

    fn store(&mut self, key: String, mut held: Held) -> S3Result<Held> {
        if self.quirks.damages_unnoticed {
            held.bytes = damaged(&held.bytes);
            held.etag = format!("{}{}", md5_hex(&held.bytes), held.etag.get(32..).unwrap_or_default());
            held.crc = held.crc.map(|_| crc_of(&held.bytes));
        }
        if self.quirks.damages {
            held.bytes = damaged(&held.bytes);
        }
        if self.quirks.own_etags {
            self.number += 1;
            held.etag = format!("{:032x}", self.number);
        }
        if self.quirks.no_metadata {
            held.metadata.clear();
        }
        if self.quirks.no_checksums {
            held.crc = None;
        }
        self.objects.insert(key, held.clone());
        if std::mem::take(&mut self.quirks.loses_an_answer) {
            return Err(s3_error!(InternalError, "We encountered an internal error. Please try again."));
        }
        Ok(held)
    }
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let bytes = collect(input.body).await;
        let mut state = self.state(&input.bucket)?;
        state.check(&bytes, input.checksum_crc64nvme.as_ref(), input.content_md5.as_ref())?;
        state.refuse_existing(&input.key, input.if_none_match.as_ref())?;
        let mut held = Held::of(bytes);
        held.metadata = input.metadata.unwrap_or_default();
        held.crc = input.checksum_crc64nvme;
        held.storage_class = input.storage_class.map(|class| class.as_str().to_owned());
        held.tagging = input.tagging;
        held.lock = input.object_lock_mode.map(|mode| mode.as_str().to_owned());
        held.retain_until = input.object_lock_retain_until_date.map(|until| moment(&until));
        if held.lock.is_some() && held.crc.is_none() && input.content_md5.is_none() {
            return Err(s3_error!(InvalidRequest, "Content-MD5 or a checksum is required with object lock"));
        }
        let held = state.store(input.key, held)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(etag(&held.etag)),
            checksum_crc64nvme: held.crc,
            ..PutObjectOutput::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let mut state = self.state(&req.input.bucket)?;
        state.asked.gets += 1;
        let held = state.objects.get(&req.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let all = held.bytes.len() as u64;
        let range = match req.input.range {
            Some(range) => range.check(all)?,
            None => 0..all,
        };
        let bytes = held.bytes.slice(range.start as usize..range.end as usize);
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(bytes.len() as i64),
            content_range: req.input.range.map(|_| format!("bytes {}-{}/{all}", range.start, range.end - 1)),
            body: Some(StreamingBlob::from(Body::from(bytes))),
            e_tag: Some(etag(&held.etag)),
            last_modified: Some(timestamp(held.modified)),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let mut state = self.state(&req.input.bucket)?;
        state.asked.heads += 1;
        let held = state.objects.get(&req.input.key).ok_or_else(|| s3_error!(NoSuchKey))?;
        let asked = req.input.checksum_mode.is_some();
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(held.bytes.len() as i64),
            e_tag: Some(etag(&held.etag)),
            last_modified: Some(timestamp(held.modified)),
            metadata: Some(held.metadata.clone()),
            object_lock_retain_until_date: held.retain_until.map(timestamp),
            object_lock_legal_hold_status: held
                .held_for_good
                .then(|| ObjectLockLegalHoldStatus::from_static(ObjectLockLegalHoldStatus::ON)),
            checksum_crc64nvme: held.crc.clone().filter(|_| asked),
            checksum_type: (asked && held.crc.is_some()).then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            ..HeadObjectOutput::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.state(&req.input.bucket)?.objects.remove(&req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let mut state = self.state(&input.bucket)?;
        state.asked.lists += 1;
        let state = state;
        if input.continuation_token.is_some() && state.quirks.listings_break {
            return Err(s3_error!(InternalError, "the second page is lost"));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = if state.quirks.listings_repeat { None } else { input.continuation_token.clone() };
        let limit = state.quirks.page.min(input.max_keys.map_or(1000, |keys| keys as usize));
        // The names of objects and, with a delimiter, of what they are rolled up to, in one order; a page counts both.
        let common = |name: &str| {
            let delimiter = input.delimiter.as_deref()?;
            let end = name.get(prefix.len()..)?.find(delimiter)? + prefix.len() + delimiter.len();
            name.get(..end).map(str::to_owned)
        };
        let (mut contents, mut folders): (Vec<Object>, Vec<String>) = (Vec::new(), Vec::new());
        let (mut last, mut more) = (None, false);
        for (name, held) in state.objects.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix)) {
            let folder = common(name);
            let place = folder.clone().unwrap_or_else(|| name.clone());
            if after.as_ref().is_some_and(|after| place <= *after)
                || folder.is_some() && folders.last() == folder.as_ref()
            {
                continue;
            }
            if contents.len() + folders.len() == limit {
                more = true;
                break;
            }
            last = Some(place);
            match folder {
                Some(folder) => folders.push(folder),
                None => contents.push(Object {
                    key: Some(name.clone()),
                    size: Some(held.bytes.len() as i64),
                    last_modified: Some(timestamp(held.modified)),
                    ..Object::default()
                }),
            }
        }
        let folders = folders.into_iter().map(|folder| CommonPrefix { prefix: Some(folder) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more),
            contents: Some(contents),
            common_prefixes: Some(folders),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let mut state = self.state(&input.bucket)?;
        state.number += 1;
        let id = format!("upload-{}", state.number);
        let crc = !state.quirks.no_checksums
            && input.checksum_algorithm.as_ref().is_some_and(|name| name.as_str() == ChecksumAlgorithm::CRC64NVME)
            && input.checksum_type.as_ref().is_some_and(|kind| kind.as_str() == ChecksumType::FULL_OBJECT);
        let mut like = Held::of(Bytes::new());
        like.metadata = input.metadata.unwrap_or_default();
        like.storage_class = input.storage_class.map(|class| class.as_str().to_owned());
        like.tagging = input.tagging;
        like.lock = input.object_lock_mode.map(|mode| mode.as_str().to_owned());
        let open = Open { key: input.key, started: Utc::now(), like, crc, parts: BTreeMap::new() };
        state.uploads.insert(id.clone(), open);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm.filter(|_| crc),
            checksum_type: input.checksum_type.filter(|_| crc),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        {
            let mut state = self.state(&input.bucket)?;
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            state.number += 1;
        }
        let bytes = collect(input.body).await;
        let mut state = self.state(&input.bucket)?;
        state.in_flight -= 1;
        let every = state.quirks.slow_down_every as u64;
        if every > 0 && state.number % every == 0 {
            return Err(s3_error!(SlowDown, "Please reduce your request rate"));
        }
        state.check(&bytes, input.checksum_crc64nvme.as_ref(), input.content_md5.as_ref())?;
        let etag_of = if state.quirks.own_etags { format!("{:032x}", state.number) } else { md5_hex(&bytes) };
        let open = state.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        open.parts.insert(input.part_number, (bytes, etag_of.clone()));
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(etag(&etag_of)),
            checksum_crc64nvme: input.checksum_crc64nvme.filter(|_| open.crc),
            ..UploadPartOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let mut state = self.state(&input.bucket)?;
        state.refuse_existing(&input.key, input.if_none_match.as_ref())?;
        let open = state.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let (mut bytes, mut md5s, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, part) in named.iter().enumerate() {
            let number = part.part_number.unwrap_or_default();
            let known = open.parts.get(&number).filter(|(_, known)| part.e_tag.as_ref() == Some(&etag(known)));
            let Some((part, _)) = known else { return Err(s3_error!(InvalidPart)) };
            if part.len() < SMALLEST_PART && at + 1 < named.len() {
                return Err(s3_error!(EntityTooSmall));
            }
            bytes.extend_from_slice(part);
            md5s.extend_from_slice(&Md5::digest(part));
            sizes.push(part.len());
        }
        if !named.is_sorted_by_key(|part| part.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        state.check(&bytes, input.checksum_crc64nvme.as_ref(), None)?;
        let crc = open.crc;
        let mut held = Held { bytes: bytes.into(), modified: Utc::now(), ..open.like.clone() };
        held.crc = crc.then(|| crc_of(&held.bytes));
        held.etag = format!("{}-{}", md5_hex(&md5s), sizes.len());
        held.parts = sizes;
        state.uploads.remove(&input.upload_id);
        let held = state.store(input.key, held)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            e_tag: Some(etag(&held.etag)),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let mut state = self.state(&req.input.bucket)?;
        state.uploads.remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let state = self.state(&req.input.bucket)?;
        let open = state.uploads.get(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let parts = open.parts.keys().map(|number| Part { part_number: Some(*number), ..Part::default() }).collect();
        Ok(S3Response::new(ListPartsOutput { parts: Some(parts), ..ListPartsOutput::default() }))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let state = self.state(&input.bucket)?;
        if state.quirks.no_listing_of_uploads {
            return Err(s3_error!(NotImplemented));
        }
        let prefix = input.prefix.unwrap_or_default();
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        let mut all: Vec<(&String, &Open)> = state.uploads.iter().collect();
        all.sort_by_key(|(id, open)| (&open.key, *id));
        all.retain(|(id, open)| open.key.starts_with(&prefix) && (&open.key, *id) > (&after.0, &after.1));
        let more = all.len() > state.quirks.page;
        all.truncate(state.quirks.page);
        let last = all.last().map(|(id, open)| (open.key.clone(), (*id).clone())).filter(|_| more);
        let uploads = all.iter().map(|(id, open)| MultipartUpload {
            key: Some(open.key.clone()),
            upload_id: Some((*id).clone()),
            initiated: Some(timestamp(open.started)),
            ..MultipartUpload::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            is_truncated: Some(more),
            next_key_marker: last.clone().map(|(key, _)| key),
            next_upload_id_marker: last.map(|(_, id)| id),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}
