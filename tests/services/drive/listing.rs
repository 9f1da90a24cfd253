//! `files.list`: https://developers.google.com/workspace/drive/api/reference/rest/v3/files/list

use std::cmp::Ordering;

use serde_json::json;

use super::asked::Asked;
use super::fields::{Fields, Kind};
use super::oauth::caller;
use super::refusal::{Answer, Refusal, json_answer};
use super::render::DEFAULT;
use super::terms::{Flag, Op, Term, Text, Time};
use super::world::{Caller, FOLDER, Item, World};

/// Where a page token goes on: only for the very same question.
pub(super) struct Page {
    question: String,
    ids: Vec<String>,
}

pub(super) fn list(world: &mut World, asked: &Asked, incomplete: bool) -> Answer {
    let caller = caller(world, asked)?;
    let fields = match asked.parameter("fields") {
        Some(text) => Fields::parse(text, Kind::List)?,
        None => Fields::parse(&format!("kind,nextPageToken,incompleteSearch,files({DEFAULT})"), Kind::List)?,
    };
    let size =
        asked.parameter("pageSize").unwrap_or("100").parse::<usize>().ok().filter(|size| (1..=1000).contains(size));
    let size = size.ok_or_else(|| {
        let message = "Invalid value. Values must be within the range: [1, 1000]";
        Refusal::parameter("invalidParameter", "pageSize", message)
    })?;
    let question = ["q", "orderBy", "corpora", "driveId", "includeItemsFromAllDrives", "supportsAllDrives", "spaces"];
    let question = question.map(|name| asked.parameter(name).unwrap_or_default()).join("\n") + &caller.email;
    let (mut ids, first) = match asked.parameter("pageToken") {
        None => (search(world, &caller, asked)?, true),
        Some(token) => {
            let page = world.pages.get(token).filter(|page| page.question == question);
            (page.ok_or_else(|| Refusal::invalid("pageToken"))?.ids.clone(), false)
        }
    };
    let here = if first && world.empty_first_page { 0 } else { size.min(world.page_limit) };
    let rest = ids.split_off(here.min(ids.len()));
    if incomplete {
        ids.pop();
    }
    let files = ids.iter().filter_map(|id| world.files.get(id)).filter(|item| world.sees(&caller, item));
    let files = files.map(|item| world.render(&caller, item)).collect::<Vec<_>>();
    let mut answer = json!({"kind": "drive#fileList", "incompleteSearch": incomplete, "files": files});
    if !rest.is_empty() {
        let token = format!("~!!~{}", world.random(43));
        answer["nextPageToken"] = json!(token);
        world.pages.insert(token, Page { question, ids: rest });
    }
    Ok(json_answer(&fields.pick(answer)))
}

/// All that is found, in order.
fn search(world: &World, caller: &Caller, asked: &Asked) -> Result<Vec<String>, Refusal> {
    let include = asked.flag("includeItemsFromAllDrives")?;
    let supports = asked.flag("supportsAllDrives")?;
    let wrong = |name, message: &str| Err(Refusal::parameter("invalid", name, message));
    if include && !supports {
        return wrong("includeItemsFromAllDrives", "includeItemsFromAllDrives needs supportsAllDrives.");
    }
    let corpora = asked.parameter("corpora").unwrap_or("user");
    let drive = asked.parameter("driveId");
    match (corpora, drive) {
        ("drive", None) => {
            return wrong("driveId", "The driveId must be specified if and only if corpora is set to drive.");
        }
        ("drive" | "allDrives", _) if !include => {
            return wrong("corpora", "The specified corpora needs includeItemsFromAllDrives and supportsAllDrives.");
        }
        ("drive", Some(id)) if id != world.drive || world.account(&caller.email).role.is_none() => {
            return Err(Refusal::new(404, "notFound", format!("Shared drive not found: {id}")));
        }
        ("user" | "allDrives" | "domain", Some(_)) => {
            return wrong("driveId", "The driveId must be specified if and only if corpora is set to drive.");
        }
        ("user" | "domain" | "allDrives" | "drive", _) => {}
        _ => return Err(Refusal::invalid("corpora")),
    }
    match asked.parameter("spaces") {
        None | Some("drive") => {}
        Some("appDataFolder") => caller.needs(&["drive.appdata"])?,
        Some(_) => return Err(Refusal::invalid("spaces")),
    }
    let term = match asked.parameter("q") {
        None | Some("") => None,
        Some(text) => Some(Term::parse(text).ok_or_else(|| Refusal::invalid("q"))?),
    };
    let named = term.as_ref().map(Term::parents).unwrap_or_default();
    let root = &world.account(&caller.email).root;
    for id in named.iter().filter(|id| **id != "root" && *id != root) {
        // Drive does not say which.
        world.find(caller, id, supports).map_err(|_| Refusal::not_found(""))?;
    }
    let in_scope = |item: &&Item| match (&item.drive, corpora) {
        _ if item.parent.is_none() || !world.sees(caller, item) => false,
        (None, corpora) => corpora != "drive",
        (Some(_), _) if !include => false,
        (Some(_), "drive" | "allDrives") => true,
        // "By default, corpora is set to user. However, this can change depending on the filter": the files of shared
        // drives that a user never opened are found only by their folder.
        (Some(_), _) => item.parent.as_ref().is_some_and(|parent| named.contains(&parent.as_str())),
    };
    let found = world.files.values().filter(in_scope);
    let found = found.filter(|item| term.as_ref().is_none_or(|term| holds(world, caller, term, item)));
    // Without an order they come in none: their ids are random.
    let mut found = found.collect::<Vec<_>>();
    let keys = asked.parameter("orderBy").unwrap_or_default();
    for key in keys.split(',').filter(|key| !key.is_empty()).rev() {
        let (key, descending) = key.trim().strip_suffix(" desc").map_or((key.trim(), false), |key| (key, true));
        let compare = order(key).ok_or_else(|| Refusal::invalid("orderBy"))?;
        found.sort_by(|a, b| if descending { compare(b, a) } else { compare(a, b) });
    }
    Ok(found.into_iter().map(|item| item.id.clone()).collect())
}

type Compare = fn(&Item, &Item) -> Ordering;

fn order(key: &str) -> Option<Compare> {
    Some(match key {
        "name" | "name_natural" => |a, b| a.name.to_lowercase().cmp(&b.name.to_lowercase()),
        "createdTime" => |a, b| a.created.cmp(&b.created),
        "modifiedTime" | "modifiedByMeTime" | "recency" => |a, b| a.modified.cmp(&b.modified),
        "folder" => |a, b| (a.mime_type != FOLDER).cmp(&(b.mime_type != FOLDER)),
        "quotaBytesUsed" => |a, b| size_of(a).cmp(&size_of(b)),
        "starred" => |a, b| a.starred.cmp(&b.starred),
        _ => return None,
    })
}

fn size_of(item: &Item) -> u64 {
    item.content.as_ref().map_or(0, |content| content.size)
}

fn holds(world: &World, caller: &Caller, term: &Term, item: &Item) -> bool {
    match term {
        Term::And(a, b) => holds(world, caller, a, item) && holds(world, caller, b, item),
        Term::Or(a, b) => holds(world, caller, a, item) || holds(world, caller, b, item),
        Term::Not(a) => !holds(world, caller, a, item),
        Term::InParents(id) => {
            let id = if id == "root" { &world.account(&caller.email).root } else { id };
            item.parent.as_ref() == Some(id)
        }
        Term::Flag { field: Flag::Trashed, value } => world.is_trashed(item) == *value,
        Term::Flag { field: Flag::Starred, value } => item.starred == *value,
        Term::Time { field: Time::Created, op, value } => op.holds(&item.created, value),
        Term::Time { field: Time::Modified, op, value } => op.holds(&item.modified, value),
        Term::Has { private: true, key, value } => {
            item.app_properties.get(&caller.app).and_then(|all| all.get(key)) == Some(value)
        }
        Term::Has { private: false, key, value } => item.properties.get(key) == Some(value),
        // Names are compared without regard to case, as rclone's authors found; and `contains` looks at the begin of words.
        Term::Text { field: Text::Name, op, value } => {
            let (name, value) = (item.name.to_lowercase(), value.to_lowercase());
            match op {
                Op::Contains => {
                    let begins = name.match_indices(&value).map(|(at, _)| at);
                    let before = |at: usize| name[..at].chars().next_back();
                    begins.into_iter().any(|at| before(at).is_none_or(|char| !char.is_alphanumeric()))
                }
                op => op.holds(&name, &value),
            }
        }
        Term::Text { field: Text::MimeType, op: Op::Contains, value } => item.mime_type.starts_with(value.as_str()),
        Term::Text { field: Text::MimeType, op, value } => op.holds(&item.mime_type, value),
    }
}
