//! The metadata that a client sends: what a new file should be, and what of an old one should change.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::asked::Asked;
use super::refusal::Refusal;
use super::terms;
use super::world::{Caller, Content, FOLDER, Item, World};

/// Metadata, checked for its form.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    pub id: Option<String>,
    pub name: Option<String>,
    pub mime_type: Option<String>,
    parents: Option<Vec<String>>,
    pub trashed: Option<bool>,
    starred: Option<bool>,
    description: Option<String>,
    created: Option<DateTime<Utc>>,
    modified: Option<DateTime<Utc>>,
    app_properties: BTreeMap<String, Option<String>>,
    properties: BTreeMap<String, Option<String>>,
}

fn wrong(field: &str) -> Refusal {
    Refusal::new(400, "invalid", format!("Invalid value for: {field}"))
}

fn not_writable(message: &str) -> Refusal {
    Refusal::new(403, "fieldNotWritable", message)
}

impl Draft {
    pub(super) fn read(object: Map<String, Value>, update: bool) -> Result<Self, Refusal> {
        let mut draft = Self::default();
        for (key, value) in object {
            let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong(&key));
            let flag = || value.as_bool().ok_or_else(|| wrong(&key));
            let time = || value.as_str().and_then(terms::time).ok_or_else(|| wrong(&key));
            match key.as_str() {
                "id" if !update => draft.id = Some(text()?),
                "name" => draft.name = Some(text()?),
                "mimeType" => draft.mime_type = Some(text()?),
                "description" => draft.description = Some(text()?),
                "starred" => draft.starred = Some(flag()?),
                "trashed" if update => draft.trashed = Some(flag()?),
                "createdTime" if !update => draft.created = Some(time()?),
                "modifiedTime" => draft.modified = Some(time()?),
                "appProperties" => draft.app_properties = properties(&key, &value)?,
                "properties" => draft.properties = properties(&key, &value)?,
                "parents" if update => {
                    return Err(not_writable(
                        "The parents field is not directly writable in update requests. Use the addParents and \
                         removeParents parameters instead.",
                    ));
                }
                "parents" => {
                    let list = value.as_array().ok_or_else(|| wrong(&key))?;
                    let ids = list.iter().map(|id| id.as_str().map(str::to_owned).ok_or_else(|| wrong(&key)));
                    draft.parents = Some(ids.collect::<Result<_, _>>()?);
                }
                "originalFilename" | "kind" => drop(text()?),
                _ => return Err(not_writable("The resource body includes fields which are not directly writable.")),
            }
        }
        Ok(draft)
    }

    /// The only parent there may be; `None` is My Drive.
    fn parent(&self) -> Result<Option<&str>, Refusal> {
        match self.parents.as_deref().unwrap_or_default() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(Refusal::new(400, "invalid", "A file cannot have more than one parent.")),
        }
    }

    /// Could a file be made of this, with so many bytes? Says what is wrong as early as Drive does.
    pub(super) fn check(
        &self,
        world: &World,
        caller: &Caller,
        asked: &Asked,
        bytes: Option<u64>,
    ) -> Result<(), Refusal> {
        caller.needs(&["drive", "drive.file"])?;
        let folder = world.parent(caller, self.parent()?, asked.flag("supportsAllDrives")?)?;
        if let Some(id) = &self.id {
            if world.ids.get(id) != Some(&caller.email) {
                return Err(Refusal::new(400, "invalid", "The provided file ID is not usable."));
            }
            if world.used.contains(id) {
                return Err(Refusal::new(409, "fileIdInUse", "A file already exists with the provided ID."));
            }
        }
        if bytes.is_some() && self.mime_type.as_deref() == Some(FOLDER) {
            return Err(Refusal::new(400, "badRequest", "Bad Request"));
        }
        check_properties(self.app_properties.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))))?;
        check_properties(self.properties.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))))?;
        bytes.map_or(Ok(()), |bytes| world.has_room(caller, folder, bytes))
    }

    /// Makes the file; it was checked before, but much may have happened since.
    pub(super) fn create(
        &self,
        world: &mut World,
        caller: &Caller,
        asked: &Asked,
        content: Option<Content>,
        media_type: Option<&str>,
    ) -> Result<String, Refusal> {
        self.check(world, caller, asked, content.as_ref().map(|content| content.size))?;
        let folder = world.parent(caller, self.parent()?, asked.flag("supportsAllDrives")?)?;
        let (parent, drive) = (folder.id.clone(), folder.drive.clone());
        let owner = if drive.is_some() { "" } else { caller.email.as_str() };
        let id = self.id.clone().unwrap_or_else(|| world.new_id());
        let name = self.name.as_deref().unwrap_or("Untitled");
        let mut item = Item::folder(&id, name, Some(&parent), drive.as_deref(), owner, &caller.app);
        let media_type = media_type.unwrap_or("application/octet-stream");
        item.mime_type = self.mime_type.clone().unwrap_or_else(|| media_type.to_owned());
        // A file without content is an empty file.
        item.content = content;
        item.created = self.created.unwrap_or(item.created);
        self.apply(&mut item, caller)?;
        item.modified = self.modified.unwrap_or(item.modified);
        world.put(item);
        Ok(id)
    }

    /// Changes an item.
    pub(super) fn apply(&self, item: &mut Item, caller: &Caller) -> Result<(), Refusal> {
        let private = item.app_properties.entry(caller.app.clone()).or_default();
        merge(private, &self.app_properties)?;
        merge(&mut item.properties, &self.properties)?;
        if let Some(name) = &self.name {
            item.name.clone_from(name);
        }
        if let Some(mime_type) = &self.mime_type {
            item.mime_type.clone_from(mime_type);
        }
        if let Some(description) = &self.description {
            item.description = Some(description.clone());
        }
        item.starred = self.starred.unwrap_or(item.starred);
        item.trashed = self.trashed.unwrap_or(item.trashed);
        // The trash is no change of the file.
        let touched = self.name.is_some() || self.mime_type.is_some() || !self.app_properties.is_empty();
        item.modified = self.modified.unwrap_or(if touched { Utc::now() } else { item.modified });
        Ok(())
    }
}

fn properties(key: &str, value: &Value) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    let object = value.as_object().ok_or_else(|| wrong(key))?;
    let one = |(name, value): (&String, &Value)| match value {
        Value::Null => Ok((name.clone(), None)),
        Value::String(text) => Ok((name.clone(), Some(text.clone()))),
        _ => Err(wrong(key)),
    };
    object.iter().map(one).collect()
}

fn merge(old: &mut BTreeMap<String, String>, new: &BTreeMap<String, Option<String>>) -> Result<(), Refusal> {
    let mut merged = old.clone();
    for (key, value) in new {
        match value {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    check_properties(merged.iter())?;
    *old = merged;
    Ok(())
}

/// At most 124 bytes of key and value, and 30 of them of one app:
/// https://developers.google.com/workspace/drive/api/guides/properties
fn check_properties<'a>(all: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), Refusal> {
    let mut count = 0;
    for (key, value) in all {
        count += 1;
        if key.is_empty() || key.len() + value.len() > 124 {
            return Err(Refusal::new(
                400,
                "invalid",
                "Invalid value for: Property value exceeds the limit of 124 bytes",
            ));
        }
    }
    if count > 30 {
        return Err(Refusal::new(400, "invalid", "Too many properties"));
    }
    Ok(())
}
