//! Google Drive in this process: a strict server for tests, as no emulator of it exists.
//!
//! ```ignore
//! let drive = services::Drive::start();
//! let folder = drive.shared_folder();                      // on a shared drive, for the service account
//! let config = drive.config(&folder);                      // what pgkeep needs to go there
//! drive.fault(DriveFault::new(Wrong::Refused(503, "backendError")).on("PUT", "upload_id=").nth(2));
//! ...
//! assert_eq!(drive.files(&folder).len(), 1);
//! ```
//!
//! It refuses whatever the real service would refuse, says so in the same form, and stops when it is dropped.
//! `tests/drive_server.rs` holds it against Google's own client. What it does on purpose, because Drive does it too: names
//! are not unique; listings have no order of their own, and pages may be short; files of shared drives do not exist for
//! requests without `supportsAllDrives`; service accounts can store nothing but in shared drives; with the scope
//! `drive.file` an app sees only what it made and what was opened with it.

mod api;
mod asked;
mod draft;
mod faults;
mod fields;
mod inspect;
mod listing;
mod log;
mod oauth;
mod refusal;
mod render;
mod server;
mod session;
mod terms;
mod upload;
mod wire;
mod world;

use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pgkeep::config::{DriveConfig, SecretRef};
use serde_json::json;
use tokio::sync::oneshot;

pub use faults::{DriveFault, Wrong};
pub use inspect::{DriveFile, OpenSession};
pub use log::Logged;
use server::Server;
use world::{Item, World};

/// A Drive with one user, one service account and one shared drive of which both are managers.
pub struct Drive {
    server: Arc<Server>,
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drive {
    /// Starts one on a port of its own.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let nonce = u64::from_le_bytes(std::array::from_fn(|_| getrandom::u32().unwrap() as u8));
        let service = format!("pgkeep-{port}@tests.iam.gserviceaccount.com");
        let user = "somebody@example.com".to_owned();
        let mut world = World::new(nonce, &user, &service);
        world.tokens.client_id = format!("{port}-pgkeep.apps.googleusercontent.com");
        world.tokens.client_secret = format!("GOCSPX-{}", world.random(28));
        world.tokens.user = user;
        world.tokens.service = service;
        let server = Arc::new(Server::new(world));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&server);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = server::serve(served, listener) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { server, endpoint: format!("http://127.0.0.1:{port}"), stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`: the API is at `/drive/v3`, uploads at `/upload/drive/v3`, tokens at `/token`, the consent
    /// page at `/auth`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    // ---- credentials

    /// The key file of the service account.
    pub fn service_account_json(&self) -> String {
        let email = self.server.world().tokens.service.clone();
        let key = json!({
            "type": "service_account",
            "project_id": "tests",
            "private_key_id": oauth::KEY_ID,
            "private_key": oauth::Keys::get().private_pem,
            "client_email": email,
            "client_id": "104120000000000000000",
            "auth_uri": format!("{}/auth", self.endpoint),
            "token_uri": format!("{}/token", self.endpoint),
        });
        format!("{key:#}")
    }

    /// What a user who agreed has, in the form of Google's libraries (`authorized_user`); a new refresh token each time,
    /// with the scope drive.file.
    pub fn user_token_json(&self) -> String {
        let mut world = self.server.world();
        let token = format!("1//{}", world.random(40));
        world.tokens.add_refresh(token.clone(), "drive.file");
        let key = json!({
            "type": "authorized_user",
            "client_id": world.tokens.client_id,
            "client_secret": world.tokens.client_secret,
            "refresh_token": token,
            "auth_uri": format!("{}/auth", self.endpoint),
            "token_uri": format!("{}/token", self.endpoint),
        });
        format!("{key:#}")
    }

    /// The file that Google gives for an app on people's computers.
    pub fn client_json(&self) -> String {
        let world = self.server.world();
        let client = json!({"installed": {
            "client_id": world.tokens.client_id,
            "client_secret": world.tokens.client_secret,
            "project_id": "tests",
            "auth_uri": format!("{}/auth", self.endpoint),
            "token_uri": format!("{}/token", self.endpoint),
            "redirect_uris": ["http://localhost"],
        }});
        format!("{client:#}")
    }

    /// What pgkeep needs to store in this folder: as the service account in the shared drive, else as the user. The
    /// credentials are in a file of the server's own folder, which goes with it.
    pub fn config(&self, folder: &str) -> DriveConfig {
        let shared = self.server.world().files[folder].drive.is_some();
        let text = if shared { self.service_account_json() } else { self.user_token_json() };
        let name = format!("credentials-{}.json", self.server.world().random(20));
        let path = self.server.folder.path().join(name);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
        let mut config = DriveConfig::new(folder);
        config.credentials = Some(SecretRef::File(path));
        config.endpoint = Some(self.endpoint.clone());
        config
    }

    /// How long access tokens live that are given out from now on; in whole seconds to the client.
    pub fn tokens_live(&self, life: Duration) {
        self.server.world().tokens.life = life;
    }

    /// Every access token is over now.
    pub fn expire_tokens(&self) {
        self.server.world().tokens.expire();
    }

    /// The user takes the permission back: access and refresh tokens are over, `invalid_grant`.
    pub fn revoke(&self) {
        self.server.world().tokens.revoke();
    }

    /// From now on each use of a refresh token gives another one, and ends the old one.
    pub fn rotate_refresh_tokens(&self) {
        self.server.world().tokens.rotate = true;
    }

    /// Does the user agree on the consent page? Yes, from the start.
    pub fn user_agrees(&self, agrees: bool) {
        self.server.world().tokens.denied = !agrees;
    }

    /// The user ticks only these scopes, such as `drive.metadata.readonly`, whatever the app asks for.
    pub fn user_ticks(&self, scopes: &[&str]) {
        self.server.world().tokens.ticked = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
    }

    // ---- folders and rights

    /// The id of the shared drive, which is also that of its topmost folder.
    pub fn shared_drive(&self) -> String {
        self.server.world().drive.clone()
    }

    /// A new, empty folder that a person made on the shared drive.
    pub fn shared_folder(&self) -> String {
        let drive = self.shared_drive();
        self.add(Item::folder("", "Backups", Some(&drive), Some(&drive), "", ""))
    }

    /// A new, empty folder of the user's own, which was opened with the app: drive.file is enough for it.
    pub fn my_folder(&self) -> String {
        let id = self.strange_folder();
        let mut world = self.server.world();
        let client = world.tokens.client_id.clone();
        world.files.get_mut(&id).unwrap().opened.insert(client);
        id
    }

    /// A new, empty folder of the user's own that the app knows nothing of: with drive.file it does not exist.
    pub fn strange_folder(&self) -> String {
        let (user, root) = {
            let world = self.server.world();
            let user = world.tokens.user.clone();
            (user.clone(), world.account(&user).root.clone())
        };
        self.add(Item::folder("", "Backups", Some(&root), None, &user, ""))
    }

    /// The user lets the service account write this folder of the user's own: there it still has no storage.
    pub fn share_with_service_account(&self, id: &str) {
        let mut world = self.server.world();
        let service = world.tokens.service.clone();
        world.files.get_mut(id).unwrap().shared.insert(service);
    }

    /// What the service account may do in the shared drive: `organizer` (from the start), `fileOrganizer` (no deleting for
    /// ever), `writer` (no trash either), `reader`; `None`: it is no member.
    pub fn service_account_is(&self, role: Option<&str>) {
        let mut world = self.server.world();
        let service = world.tokens.service.clone();
        world.account_mut(&service).role = role.map(str::to_owned);
    }

    /// What the user may store in bytes, 15 GiB from the start.
    pub fn quota(&self, bytes: Option<u64>) {
        let mut world = self.server.world();
        let user = world.tokens.user.clone();
        world.account_mut(&user).quota = bytes;
    }

    // ---- what goes wrong

    /// Something goes wrong, see [`DriveFault`].
    pub fn fault(&self, fault: DriveFault) {
        self.server.world().faults.add(fault);
    }

    /// One of so many requests of the API goes wrong, `at_most` of them in all, chosen by the seed.
    pub fn random_faults(&self, seed: u64, one_in: u64, at_most: u64, wrongs: Vec<Wrong>) {
        self.server.world().faults.at_random(seed, one_in, at_most, wrongs);
    }

    /// Nothing goes wrong any more.
    pub fn no_faults(&self) {
        self.server.world().faults.clear();
    }

    /// The faults that struck: method, path, fault.
    pub fn struck(&self) -> Vec<(String, String, Wrong)> {
        self.server.world().faults.struck.clone()
    }

    /// All open sessions die with this status, 404 or 410.
    pub fn kill_sessions(&self, status: u16) {
        for session in self.server.world().sessions.values_mut() {
            session.dead = session.dead.or(Some(status));
        }
    }

    /// Pages of listings have at most so many files, whatever the client asks for; the first may have none at all.
    pub fn short_pages(&self, files: usize, empty_first: bool) {
        let mut world = self.server.world();
        (world.page_limit, world.empty_first_page) = (files, empty_first);
    }

    /// A person puts it into the trash.
    pub fn trash(&self, id: &str) {
        self.server.world().files.get_mut(id).unwrap().trashed = true;
    }

    /// A person removes it for ever, with everything in it.
    pub fn remove(&self, id: &str) {
        self.server.world().remove(id);
    }

    /// Another file with the same name, metadata and content, in the same folder.
    pub fn duplicate(&self, id: &str) -> String {
        let item = self.server.world().files[id].clone();
        let bytes = item.content.is_some().then(|| self.bytes(id));
        self.add_with(item, bytes.as_deref())
    }

    /// A person uploads a file; apps with drive.file do not see it.
    pub fn insert(&self, folder: &str, name: &str, bytes: &[u8]) -> String {
        let above = self.server.world().files[folder].clone();
        let item = Item::folder("", name, Some(folder), above.drive.as_deref(), &above.owner, "");
        self.add_with(Item { mime_type: "application/octet-stream".to_owned(), ..item }, Some(bytes))
    }

    /// A byte of the stored content changes; the checksums stay as they were.
    pub fn corrupt(&self, id: &str, at: u64) {
        let content = self.server.world().files[id].content.clone().expect("a file with content");
        let file = std::fs::OpenOptions::new().read(true).write(true).open(content.path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
    }

    fn add(&self, item: Item) -> String {
        self.add_with(item, None)
    }

    fn add_with(&self, mut item: Item, bytes: Option<&[u8]>) -> String {
        let mut world = self.server.world();
        item.id = world.new_id();
        item.content = bytes.map(|bytes| {
            let path = self.server.new_path(&mut world);
            std::fs::write(&path, bytes).unwrap();
            server::measure(path)
        });
        let id = item.id.clone();
        world.put(item);
        id
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        // A server that broke down is a test that failed, unless one fails already.
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the Drive server panicked");
        }
    }
}
