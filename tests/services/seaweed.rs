//! SeaweedFS, a real S3 server: one node for most tests, and a cluster whose volume servers can be killed. What it holds is
//! asked through Amazon's own client for Python, so that no bug of pgkeep's can hide itself.

mod client;
mod cluster;
mod whole;

pub use cluster::SeaweedCluster;
pub use whole::s3_destination;

use super::tools::{Served, free_ports, tool};
use client::Client;
use pgkeep::config::{S3Config, S3Keys, SecretRef};
use pgkeep::secret::Secret;
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The keys that may do everything.
pub const ACCESS_KEY: &str = "AKPGKEEPTEST";
/// Their secret.
pub const SECRET_KEY: &str = "secret-of-the-pgkeep-tests";

/// How often a server is started again whose ports were taken in the meantime.
const STARTS: u32 = 5;

/// A bucket's owner: where its objects are, and what they are.
pub struct Seaweed {
    port: u16,
    client: Mutex<Client>,
    /// Master, volume servers, filer and S3, in this order; of a single node all in one.
    servers: Vec<Served>,
}

impl Seaweed {
    /// The server that all tests of one test program share. Make buckets of your own on it.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Seaweed> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    /// Starts a server for one test.
    pub fn start() -> Self {
        (0..STARTS).find_map(|_| Self::try_single()).expect("a SeaweedFS that keeps its ports")
    }

    fn try_single() -> Option<Self> {
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = free_ports();
        let mut command = weed("server");
        command.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=.", "-master.volumeSizeLimitMB=1024"]);
        command.args(["-volume.max=10000", "-volume.preStopSeconds=0", "-filer", "-s3", "-s3.iam=false"]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.config=s3.json", "-s3.allowEmptyFolder=false"]);
        command.args([format!("-master.port={master}"), format!("-master.port.grpc={master_grpc}")]);
        command.args([format!("-volume.port={volume}"), format!("-volume.port.grpc={volume_grpc}")]);
        command.args([format!("-filer.port={filer}"), format!("-filer.port.grpc={filer_grpc}")]);
        command.args([format!("-s3.port={s3}"), format!("-s3.port.grpc={s3_grpc}")]);
        let server = Served::start(folder(), &command);
        server.wait_until_ready(|| answers(s3, "/healthz") && answers(filer, "/healthz")).then_some(())?;
        Self::wait_until_it_stores(s3, vec![server])
    }

    /// Health is reported before the first volume can be written: only a write tells.
    fn wait_until_it_stores(port: u16, servers: Vec<Served>) -> Option<Self> {
        let seaweed = Self { port, client: Mutex::new(Client::new(port)), servers };
        let bucket = seaweed.bucket();
        let stores = || {
            let put = json!([bucket, "ready", ""]);
            seaweed.servers.iter().all(Served::is_running) && seaweed.client().ask("put", &put).is_ok()
        };
        let ready = seaweed.servers.last()?.wait_until_ready(stores);
        ready.then_some(seaweed)
    }

    /// The URL, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address for a proxy in front of it, `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A new, empty bucket.
    pub fn bucket(&self) -> String {
        self.make_bucket(false)
    }

    /// A new bucket that keeps old versions.
    pub fn versioned_bucket(&self) -> String {
        let bucket = self.bucket();
        self.ask("version", &json!([bucket]));
        bucket
    }

    /// A new bucket with object lock, and so with versions.
    pub fn locked_bucket(&self) -> String {
        self.make_bucket(true)
    }

    fn make_bucket(&self, lock: bool) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let bucket = format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ask("create", &json!([bucket, lock]));
        bucket
    }

    /// How pgkeep reaches `bucket`.
    pub fn s3_config(&self, bucket: &str) -> S3Config {
        Self::s3_config_at(&self.endpoint(), bucket)
    }

    /// How pgkeep reaches `bucket` by another way, such as a [`super::Proxy`]'s endpoint.
    pub fn s3_config_at(endpoint: &str, bucket: &str) -> S3Config {
        let secret = |text: &str| SecretRef::Literal(Secret::new(text));
        let mut config = S3Config::new(bucket);
        config.endpoint = Some(endpoint.to_owned());
        config.path_style = true;
        config.region = Some("us-east-1".to_owned());
        config.keys = Some(S3Keys {
            access_key_id: secret(ACCESS_KEY),
            secret_access_key: secret(SECRET_KEY),
            session_token: None,
        });
        config
    }

    /// The lines of a `[destination.NAME]` for `bucket`, reached at `endpoint`; the caller may add keys below them.
    pub fn toml_at(endpoint: &str, bucket: &str) -> String {
        Self::toml_with(endpoint, bucket, [ACCESS_KEY, SECRET_KEY])
    }

    /// The same for another server, with its keys.
    pub fn toml_with(endpoint: &str, bucket: &str, keys: [&str; 2]) -> String {
        let [id, key] = keys;
        format!(
            "type = \"s3\"\nbucket = \"{bucket}\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\n\
             access_key_id = \"{id}\"\nsecret_access_key = \"{key}\"\n"
        )
    }

    /// Every object of `bucket` with its size in bytes, in the order of their keys.
    pub fn objects(&self, bucket: &str) -> Vec<(String, u64)> {
        pairs(self.ask("objects", &json!([bucket])))
    }

    /// The keys of [`Seaweed::objects`].
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.objects(bucket).into_iter().map(|(key, _)| key).collect()
    }

    /// Every version of every object with its size in bytes.
    pub fn versions(&self, bucket: &str) -> Vec<(String, u64)> {
        pairs(self.ask("versions", &json!([bucket])))
    }

    /// Every multipart upload of `bucket` that was begun and not ended: key and upload id.
    pub fn open_uploads(&self, bucket: &str) -> Vec<(String, String)> {
        pairs(self.ask("uploads", &json!([bucket])))
    }

    /// The sizes of an open upload's parts in bytes.
    pub fn parts(&self, bucket: &str, key: &str, upload: &str) -> Vec<u64> {
        serde_json::from_value(self.ask("parts", &json!([bucket, key, upload]))).unwrap()
    }

    /// The bytes of an object.
    pub fn get(&self, bucket: &str, key: &str) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        self.ask("get", &json!([bucket, key, file.path()]));
        std::fs::read(file.path()).unwrap()
    }

    /// What the server tells about an object without its bytes, as boto3 names it: `ETag`, `Metadata`, `StorageClass`.
    pub fn head(&self, bucket: &str, key: &str) -> Value {
        self.ask("head", &json!([bucket, key]))
    }

    /// Stores an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        self.ask("put", &json!([bucket, key, hex::encode(bytes)]));
    }

    /// Stores the same bytes under many keys.
    pub fn put_many(&self, bucket: &str, keys: &[String], bytes: &[u8]) {
        self.ask("put_many", &json!([bucket, keys, hex::encode(bytes)]));
    }

    /// Begins a multipart upload with one part, and leaves it; its id.
    pub fn begin_upload(&self, bucket: &str, key: &str, bytes: &[u8]) -> String {
        self.ask("begin", &json!([bucket, key, hex::encode(bytes)])).as_str().unwrap().to_owned()
    }

    /// Gives up an upload.
    pub fn abort_upload(&self, bucket: &str, key: &str, upload: &str) {
        self.ask("abort", &json!([bucket, key, upload]));
    }

    /// Deletes an object.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.ask("delete", &json!([bucket, key]));
    }

    /// Stores an object as soon as the server is able to; for after a volume server was killed.
    pub fn put_when_possible(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let put = json!([bucket, key, hex::encode(bytes)]);
        crate::support::wait_until("the cluster to store", || self.client().ask("put", &put).is_ok());
    }

    /// The servers' processes.
    pub fn pids(&self) -> Vec<i32> {
        self.servers.iter().map(|server| server.pid().expect("it was started")).collect()
    }

    /// The servers' folders.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.servers.iter().map(|server| server.path().to_owned()).collect()
    }

    /// The servers' logs.
    pub fn log(&self) -> String {
        self.servers.iter().map(Served::log).collect()
    }

    fn client(&self) -> std::sync::MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, what: &str, with: &Value) -> Value {
        let answer = self.client().ask(what, with);
        answer.unwrap_or_else(|error| panic!("{what} {with}: {error}"))
    }
}

fn weed(what: &str) -> Command {
    let mut command = Command::new(tool("weed"));
    command.arg(what);
    // One volume a bucket rather than seven: there are many buckets.
    for copies in 1..=2 {
        command.env(format!("WEED_MASTER_VOLUME_GROWTH_COPY_{copies}"), "1");
    }
    command
}

/// A server's folder with who may use it.
fn folder() -> PathBuf {
    let folder = Served::folder();
    let identity = json!({
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    });
    std::fs::write(folder.join("s3.json"), json!({"identities": [identity]}).to_string()).unwrap();
    folder
}

fn answers(port: u16, path: &str) -> bool {
    fetch(port, path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The answer to a plain GET, head and body.
fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").ok()?;
    std::io::read_to_string(stream).ok()
}

fn pairs<T: serde::de::DeserializeOwned>(value: Value) -> Vec<T> {
    serde_json::from_value(value).unwrap()
}
