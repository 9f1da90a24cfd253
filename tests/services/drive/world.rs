//! What the server knows: accounts, files and folders, who sees what, and what may be done with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::faults::Faults;
use super::listing::Page;
use super::log::Logged;
use super::oauth::Tokens;
use super::refusal::Refusal;
use super::session::Session;

pub(super) const FOLDER: &str = "application/vnd.google-apps.folder";

/// A file or a folder.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub id: String,
    pub name: String,
    pub mime_type: String,
    /// The folder that it is in; `None` for the roots.
    pub parent: Option<String>,
    /// The shared drive that it is in.
    pub drive: Option<String>,
    /// The account that owns it and pays for it; empty in a shared drive.
    pub owner: String,
    /// The app that made it; empty for what people made in the browser.
    pub app: String,
    /// The apps that it was opened with, which see it with the scope drive.file.
    pub opened: BTreeSet<String>,
    /// The accounts that may write it, and what is in it, besides its owner.
    pub shared: BTreeSet<String>,
    /// In the trash itself, not only in a folder that is.
    pub trashed: bool,
    pub starred: bool,
    pub description: Option<String>,
    pub created: DateTime<Utc>,
    pub modified: DateTime<Utc>,
    /// `None` for folders, and for files without content.
    pub content: Option<Content>,
    /// By app.
    pub app_properties: BTreeMap<String, BTreeMap<String, String>>,
    pub properties: BTreeMap<String, String>,
}

/// Stored bytes, and what the server says of them.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub path: PathBuf,
    pub size: u64,
    pub md5: String,
    pub sha256: String,
}

pub(super) struct Account {
    pub email: String,
    pub service: bool,
    /// The id of its My Drive.
    pub root: String,
    /// What it may do in the shared drive: organizer, fileOrganizer, writer, reader; `None` is no member.
    pub role: Option<String>,
    /// What it may store in bytes; `None` is unlimited.
    pub quota: Option<u64>,
}

/// Who asks, through which app, with which scopes.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub email: String,
    pub app: String,
    pub scopes: Vec<String>,
}

pub(super) struct World {
    pub files: BTreeMap<String, Item>,
    pub accounts: Vec<Account>,
    pub drive: String,
    /// Ids from generateIds, and who got them.
    pub ids: HashMap<String, String>,
    /// Every id that ever was a file's.
    pub used: BTreeSet<String>,
    pub sessions: HashMap<String, Session>,
    pub pages: HashMap<String, Page>,
    pub tokens: Tokens,
    pub faults: Faults,
    pub log: Vec<Logged>,
    /// Pages of listings have at most so many files, whatever the client asks for.
    pub page_limit: usize,
    /// The first page of a listing has no files, but a token for the next one.
    pub empty_first_page: bool,
    nonce: u64,
    counter: u64,
}

impl World {
    pub(super) fn new(nonce: u64, user: &str, service: &str) -> Self {
        let mut world = Self {
            files: BTreeMap::new(),
            accounts: Vec::new(),
            drive: String::new(),
            ids: HashMap::new(),
            used: BTreeSet::new(),
            sessions: HashMap::new(),
            pages: HashMap::new(),
            tokens: Tokens::default(),
            faults: Faults::default(),
            log: Vec::new(),
            page_limit: 1000,
            empty_first_page: false,
            nonce,
            counter: 0,
        };
        world.drive = format!("0A{}Uk9PVA", world.random(11));
        let drive = world.drive.clone();
        world.put(Item::folder(&drive, "Drive", None, Some(&drive), "", ""));
        for (email, service) in [(user, false), (service, true)] {
            let root = format!("0A{}Uk9PVA", world.random(11));
            world.put(Item::folder(&root, "My Drive", None, None, email, ""));
            let quota = Some(if service { 0 } else { 15 << 30 });
            let role = Some("organizer".to_owned());
            world.accounts.push(Account { email: email.to_owned(), service, root, role, quota });
        }
        world
    }

    /// Letters and digits that nobody can guess and no other server of these tests gives.
    pub(super) fn random(&mut self, length: usize) -> String {
        self.counter += 1;
        let digest = Sha256::digest(format!("{}-{}", self.nonce, self.counter));
        BASE64_URL_SAFE_NO_PAD.encode(digest).chars().take(length).collect()
    }

    pub(super) fn new_id(&mut self) -> String {
        format!("1{}", self.random(32))
    }

    pub(super) fn put(&mut self, item: Item) {
        self.used.insert(item.id.clone());
        self.files.insert(item.id.clone(), item);
    }

    pub(super) fn account(&self, email: &str) -> &Account {
        self.accounts.iter().find(|account| account.email == email).unwrap()
    }

    pub(super) fn account_mut(&mut self, email: &str) -> &mut Account {
        self.accounts.iter_mut().find(|account| account.email == email).unwrap()
    }

    /// The item and the folders above it, from itself to the root.
    pub(super) fn lineage<'a>(&'a self, item: &'a Item) -> impl Iterator<Item = &'a Item> {
        std::iter::successors(Some(item), |item| self.files.get(item.parent.as_ref()?))
    }

    /// Is it in the trash, itself or with a folder above it?
    pub(super) fn is_trashed(&self, item: &Item) -> bool {
        self.lineage(item).any(|item| item.trashed)
    }

    pub(super) fn may_open(&self, caller: &Caller, item: &Item) -> bool {
        if item.drive.is_some() {
            return self.account(&caller.email).role.is_some();
        }
        item.owner == caller.email || self.lineage(item).any(|item| item.shared.contains(&caller.email))
    }

    /// Does this item exist for the caller?
    pub(super) fn sees(&self, caller: &Caller, item: &Item) -> bool {
        let app = caller.sees_everything() || item.app == caller.app || item.opened.contains(&caller.app);
        app && self.may_open(caller, item)
    }

    /// The item of this id as the caller may see it. What is in a shared drive does not exist for callers that do not
    /// say that they know of shared drives.
    pub(super) fn find(&self, caller: &Caller, id: &str, all_drives: bool) -> Result<&Item, Refusal> {
        let id = if id == "root" { &self.account(&caller.email).root } else { id };
        let item = self.files.get(id).filter(|item| self.sees(caller, item) && (all_drives || item.drive.is_none()));
        item.ok_or_else(|| Refusal::not_found(id))
    }

    /// The folder into which something new should go.
    pub(super) fn parent(&self, caller: &Caller, id: Option<&str>, all_drives: bool) -> Result<&Item, Refusal> {
        let root = &self.account(&caller.email).root;
        let folder = match id {
            // Every app may put something into My Drive itself.
            None | Some("root") => &self.files[root],
            Some(id) if id == root => &self.files[root],
            Some(id) => self.find(caller, id, all_drives)?,
        };
        if folder.mime_type != FOLDER {
            return Err(Refusal::new(403, "parentNotAFolder", "The specified parent is not a folder."));
        }
        self.may_write(caller, folder)?;
        Ok(folder)
    }

    pub(super) fn may_write(&self, caller: &Caller, item: &Item) -> Result<(), Refusal> {
        caller.needs(&["drive", "drive.file"])?;
        let role = self.account(&caller.email).role.as_deref();
        if item.drive.is_some() && role == Some("reader") { Err(insufficient_permissions()) } else { Ok(()) }
    }

    /// Into the trash: in a shared drive for its managers and content managers only.
    pub(super) fn may_trash(&self, caller: &Caller, item: &Item) -> Result<(), Refusal> {
        self.may_write(caller, item)?;
        let role = self.account(&caller.email).role.as_deref();
        let may = match item.drive {
            Some(_) => matches!(role, Some("organizer" | "fileOrganizer")),
            None => item.owner == caller.email,
        };
        if may && item.parent.is_some() { Ok(()) } else { Err(insufficient_permissions()) }
    }

    /// For ever: in a shared drive for its managers only, elsewhere for the owner.
    pub(super) fn may_delete(&self, caller: &Caller, item: &Item) -> Result<(), Refusal> {
        self.may_trash(caller, item)?;
        let role = self.account(&caller.email).role.as_deref();
        if item.drive.is_some() && role != Some("organizer") { Err(insufficient_permissions()) } else { Ok(()) }
    }

    /// Is there room for so many bytes more in this folder?
    pub(super) fn has_room(&self, caller: &Caller, folder: &Item, bytes: u64) -> Result<(), Refusal> {
        let account = self.account(&caller.email);
        if folder.drive.is_some() {
            return Ok(());
        }
        if account.service {
            let message = "Service Accounts do not have storage quota. Leverage shared drives \
                           (https://developers.google.com/workspace/drive/api/guides/about-shareddrives), or use OAuth \
                           delegation (http://support.google.com/a/answer/7281227) instead.";
            return Err(Refusal::new(403, "storageQuotaExceeded", message));
        }
        match account.quota {
            Some(quota) if self.usage(&caller.email, false) + bytes > quota => {
                let message = "The user's Drive storage quota has been exceeded.";
                Err(Refusal::new(403, "storageQuotaExceeded", message))
            }
            _ => Ok(()),
        }
    }

    /// The bytes that an account pays for; of those in the trash only, if so asked.
    pub(super) fn usage(&self, email: &str, trash: bool) -> u64 {
        let owned = self.files.values().filter(|item| item.owner == email && (!trash || self.is_trashed(item)));
        owned.filter_map(|item| item.content.as_ref()).map(|content| content.size).sum()
    }

    /// Removes an item and everything below it, for ever.
    pub(super) fn remove(&mut self, id: &str) {
        let below = |item: &Item| self.lineage(item).any(|above| above.id == id);
        let gone = self.files.values().filter(|item| below(item)).map(|item| item.id.clone()).collect::<Vec<_>>();
        for id in gone {
            if let Some(content) = self.files.remove(&id).and_then(|item| item.content) {
                std::fs::remove_file(content.path).unwrap();
            }
        }
    }

    /// The names from the root to the item.
    pub(super) fn path(&self, item: &Item) -> String {
        let mut names = self.lineage(item).map(|item| item.name.as_str()).collect::<Vec<_>>();
        names.reverse();
        names.join("/")
    }
}

fn insufficient_permissions() -> Refusal {
    let message = "The user does not have sufficient permissions for this file.";
    Refusal::new(403, "insufficientFilePermissions", message)
}

impl Caller {
    fn sees_everything(&self) -> bool {
        self.scopes.iter().any(|scope| ["drive", "drive.readonly", "drive.metadata.readonly"].contains(&scope.as_str()))
    }

    /// Has its token one of these scopes?
    pub(super) fn needs(&self, scopes: &[&str]) -> Result<(), Refusal> {
        if self.scopes.iter().any(|scope| scopes.contains(&scope.as_str())) {
            return Ok(());
        }
        let message = "Request had insufficient authentication scopes.";
        Err(Refusal::new(403, "insufficientPermissions", message))
    }
}

impl Item {
    pub(super) fn folder(
        id: &str,
        name: &str,
        parent: Option<&str>,
        drive: Option<&str>,
        owner: &str,
        app: &str,
    ) -> Self {
        let now = Utc::now();
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            mime_type: FOLDER.to_owned(),
            parent: parent.map(str::to_owned),
            drive: drive.map(str::to_owned),
            owner: owner.to_owned(),
            app: app.to_owned(),
            opened: BTreeSet::new(),
            shared: BTreeSet::new(),
            trashed: false,
            starred: false,
            description: None,
            created: now,
            modified: now,
            content: None,
            app_properties: BTreeMap::new(),
            properties: BTreeMap::new(),
        }
    }
}
