//! What tests look at: files, open uploads, the log.

use std::collections::BTreeMap;

use super::Drive;
use super::log::Logged;
use super::world::{FOLDER, Item};

/// A file or a folder as the server has it.
#[derive(Debug, Clone)]
pub struct DriveFile {
    pub id: String,
    pub name: String,
    /// The names from the folder that was looked into, parted by slashes.
    pub path: String,
    pub mime_type: String,
    pub is_folder: bool,
    /// In bytes; 0 for folders.
    pub size: u64,
    /// Itself or a folder above it.
    pub trashed: bool,
    pub app_properties: BTreeMap<String, String>,
}

/// An upload that was begun and neither finished nor given up.
#[derive(Debug, Clone)]
pub struct OpenSession {
    pub name: String,
    pub stored: u64,
    pub total: Option<u64>,
}

impl Drive {
    /// Everything below a folder, in the order of paths; what is in the trash as well.
    pub fn files(&self, folder: &str) -> Vec<DriveFile> {
        let world = self.server.world();
        let start = world.path(&world.files[folder]).len() + 1;
        let below = |item: &&Item| item.id != folder && world.lineage(item).any(|above| above.id == folder);
        let file = |item: &Item| DriveFile {
            id: item.id.clone(),
            name: item.name.clone(),
            path: world.path(item)[start..].to_owned(),
            mime_type: item.mime_type.clone(),
            is_folder: item.mime_type == FOLDER,
            size: item.content.as_ref().map_or(0, |content| content.size),
            trashed: world.is_trashed(item),
            app_properties: item.app_properties.values().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        };
        let mut files = world.files.values().filter(below).map(file).collect::<Vec<_>>();
        files.sort_by(|a, b| (&a.path, &a.id).cmp(&(&b.path, &b.id)));
        files
    }

    /// The content of a file.
    pub fn bytes(&self, id: &str) -> Vec<u8> {
        let content = self.server.world().files[id].content.clone().expect("a file with content");
        std::fs::read(content.path).unwrap()
    }

    /// The uploads that were begun and are neither finished nor dead.
    pub fn sessions(&self) -> Vec<OpenSession> {
        let world = self.server.world();
        let open = world.sessions.values().filter(|session| session.done.is_none() && session.dead.is_none());
        open.map(|session| OpenSession {
            name: session.draft.name.clone().unwrap_or_default(),
            stored: session.stored,
            total: session.total,
        })
        .collect()
    }

    /// Every request so far.
    pub fn log(&self) -> Vec<Logged> {
        self.server.world().log.clone()
    }
}
