//! The `fields` parameter: which parts of an answer the client wants. Names that do not exist are refused, as Drive does.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// What to answer of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fields {
    All,
    Only(BTreeMap<String, Fields>),
}

/// What a file has; https://developers.google.com/workspace/drive/api/reference/rest/v3/files
const FILE: &str = "kind driveId fileExtension copyRequiresWriterPermission md5Checksum contentHints writersCanShare \
    viewedByMe mimeType exportLinks parents thumbnailLink iconLink shared lastModifyingUser owners headRevisionId \
    sharingUser webViewLink webContentLink size viewersCanCopyContent permissions hasThumbnail spaces folderColorRgb \
    id name description starred trashed explicitlyTrashed createdTime modifiedTime modifiedByMeTime viewedByMeTime \
    sharedWithMeTime quotaBytesUsed version originalFilename ownedByMe fullFileExtension properties appProperties \
    isAppAuthorized teamDriveId capabilities hasAugmentedPermissions trashingUser thumbnailVersion trashedTime \
    modifiedByMe permissionIds imageMediaMetadata videoMediaMetadata shortcutDetails contentRestrictions resourceKey \
    linkShareMetadata labelInfo sha1Checksum sha256Checksum inheritedPermissionsDisabled downloadRestrictions";

/// The kinds of answers, each with its names; `files` is a list of files.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    File,
    List,
    About,
    Drive,
    Ids,
}

impl Kind {
    fn has(self, name: &str) -> bool {
        let names = match self {
            Self::File => FILE,
            Self::List => "kind nextPageToken incompleteSearch files",
            Self::About => {
                "kind storageQuota driveThemes canCreateDrives importFormats exportFormats appInstalled user \
                 folderColorPalette maxImportSizes maxUploadSize teamDriveThemes canCreateTeamDrives"
            }
            Self::Drive => {
                "kind id name colorRgb backgroundImageLink backgroundImageFile capabilities themeId createdTime hidden \
                 restrictions orgUnitId"
            }
            Self::Ids => "kind space ids",
        };
        names.split_whitespace().any(|known| known == name)
    }
}

impl Fields {
    /// Reads `a,b(c,d),e/f`.
    pub(super) fn parse(text: &str, kind: Kind) -> Result<Self, Refusal> {
        let mut rest = text;
        let fields = list(&mut rest).filter(|_| rest.is_empty());
        let refuse =
            |what: &str| Refusal::parameter("invalidParameter", "fields", format!("Invalid field selection {what}"));
        let fields = fields.ok_or_else(|| refuse(text))?;
        match fields.unknown(kind) {
            Some(name) => Err(refuse(&name)),
            None => Ok(fields),
        }
    }

    fn unknown(&self, kind: Kind) -> Option<String> {
        let Self::Only(names) = self else { return None };
        names.iter().find_map(|(name, inner)| match (name.as_str(), kind) {
            ("files", Kind::List) => inner.unknown(Kind::File),
            ("*", _) => None,
            _ => (!kind.has(name)).then(|| name.clone()),
        })
    }

    /// Keeps of `value` what is wanted.
    pub(super) fn pick(&self, value: Value) -> Value {
        let Self::Only(names) = self else { return value };
        match value {
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.pick(item)).collect()),
            Value::Object(object) => {
                let star = names.get("*");
                let wanted = object.into_iter().filter_map(|(name, value)| {
                    let inner = names.get(&name).or(star)?;
                    Some((name, inner.pick(value)))
                });
                Value::Object(wanted.collect::<Map<_, _>>())
            }
            other => other,
        }
    }
}

fn list(rest: &mut &str) -> Option<Fields> {
    let mut names = BTreeMap::new();
    loop {
        let (name, fields) = one(rest)?;
        names.insert(name, fields);
        match rest.strip_prefix(',') {
            Some(more) => *rest = more,
            None => break,
        }
    }
    Some(if names.len() == 1 && names.get("*") == Some(&Fields::All) { Fields::All } else { Fields::Only(names) })
}

fn one(rest: &mut &str) -> Option<(String, Fields)> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '*').unwrap_or(rest.len());
    let name = rest[..end].to_owned();
    *rest = &rest[end..];
    if name.is_empty() {
        return None;
    }
    if let Some(inner) = rest.strip_prefix('/') {
        *rest = inner;
        let (inner, fields) = one(rest)?;
        let fields = if inner == "*" { Fields::All } else { Fields::Only(BTreeMap::from([(inner, fields)])) };
        return Some((name, fields));
    }
    if let Some(inner) = rest.strip_prefix('(') {
        *rest = inner;
        let fields = list(rest)?;
        *rest = rest.strip_prefix(')')?;
        return Some((name, fields));
    }
    Some((name, Fields::All))
}
