//! The objects of a backup for people: one block a kind, one line an object, however many there are.

use super::backups::name as name_of_backup;
use crate::archive::{Object, full_name};
use crate::cli::words::{bytes, count, counted, printable};
use crate::ops::Backup;
use crate::script::Section;
use std::io::{self, Write};

/// A longer name pushes its own line only, not those of all others.
const WIDEST_NAME: usize = 60;

/// What a block needs to know before its first line.
struct Block {
    section: Section,
    kind: String,
    count: u64,
    name: usize,
    owner: usize,
}

impl Block {
    fn holds(&self, object: &Object) -> bool {
        self.section == object.section && self.kind == object.kind
    }
}

/// Writes the objects that `found` gives, which must be the same each time, those of one kind one after the other.
pub(in crate::cli) fn objects<I: Iterator<Item = Object>>(
    out: &mut dyn Write,
    backup: &Backup,
    found: impl Fn() -> I,
) -> io::Result<()> {
    let manifest = &backup.manifest;
    write(out, &format!("{}: {}", manifest.id, name_of_backup(&manifest.job, &manifest.database)), found)
}

fn write<I: Iterator<Item = Object>>(out: &mut dyn Write, title: &str, found: impl Fn() -> I) -> io::Result<()> {
    let mut blocks: Vec<Block> = Vec::new();
    for object in found() {
        let (name, owner) = (width(&shown(&object)), width(&owner(&object)));
        match blocks.last_mut() {
            Some(block) if block.holds(&object) => {
                block.count += 1;
                block.name = block.name.max(name.min(WIDEST_NAME));
                block.owner = block.owner.max(owner);
            }
            _ => blocks.push(Block {
                section: object.section,
                kind: object.kind,
                count: 1,
                name: name.min(WIDEST_NAME).max("name".len()),
                owner: owner.max("owner".len()),
            }),
        }
    }
    let all = blocks.iter().map(|block| block.count).sum();
    writeln!(out, "{title}: {}", counted(all, "object", "objects"))?;
    let mut blocks = blocks.iter().peekable();
    let mut current: Option<&Block> = None;
    for object in found() {
        if current.is_none_or(|block| !block.holds(&object)) {
            current = blocks.next();
            if let Some(block) = current {
                head(out, block)?;
            }
        }
        let Some(block) = current else { break };
        let (name, owner) = (shown(&object), owner(&object));
        let rest = match (&object.rows, &object.value) {
            (Some(rows), _) => format!(
                "{:>9}  {:>8}  {:>8}  {:>7}",
                count(rows.rows),
                bytes(rows.sql_bytes),
                bytes(rows.stored_bytes_estimate),
                rows.columns
            ),
            (None, Some(value)) => printable(value),
            (None, None) => String::new(),
        };
        let line = format!("  {name:<0$}  {owner:<1$}  {rest}", block.name, block.owner);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn head(out: &mut dyn Write, block: &Block) -> io::Result<()> {
    let section = match block.section {
        Section::PreData => "pre-data",
        Section::Data => "data",
        Section::PostData => "post-data",
    };
    writeln!(out, "\n{} ({section}): {}", printable(&block.kind), count(block.count))?;
    let more = match block.kind.as_str() {
        "TABLE" | "TABLE DATA" => format!("{:>9}  {:>8}  {:>8}  {:>7}", "rows", "SQL", "stored ~", "columns"),
        "SEQUENCE" | "SEQUENCE SET" => "value".to_owned(),
        _ => String::new(),
    };
    let line = format!("  {:<2$}  {:<3$}  {more}", "name", "owner", block.name, block.owner);
    writeln!(out, "{}", line.trim_end())
}

fn shown(object: &Object) -> String {
    printable(&object_name(&object.kind, object.schema.as_deref(), &object.name))
}

/// `schema.name`; what is said of another object has a name that begins with a kind, such as `TABLE orders in public`.
pub(super) fn object_name(kind: &str, schema: Option<&str>, name: &str) -> String {
    match schema.filter(|schema| !schema.is_empty()) {
        Some(schema) if matches!(kind, "ACL" | "DEFAULT ACL" | "COMMENT" | "SECURITY LABEL") => {
            format!("{name} in {schema}")
        }
        schema => full_name(schema, name),
    }
}

fn owner(object: &Object) -> String {
    object.owner.as_deref().map_or_else(|| "-".to_owned(), printable)
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Rows;

    fn object(section: Section, kind: &str, name: &str) -> Object {
        Object {
            kind: kind.into(),
            schema: Some("public".into()),
            name: name.into(),
            owner: Some("ana".into()),
            section,
            rows: None,
            value: None,
        }
    }

    #[test]
    fn each_kind_has_a_block_of_its_own() {
        let rows = Rows {
            rows: 12_345,
            sql_bytes: 1_500_000,
            stored_bytes_estimate: 300_000,
            columns: 7,
            fingerprint: "0".parse().unwrap(),
        };
        let all = [
            Object { value: Some("5, true".into()), ..object(Section::PreData, "SEQUENCE", "s") },
            Object { rows: Some(rows), ..object(Section::PreData, "TABLE", "orders") },
            object(Section::PreData, "TABLE", "parent"),
            Object { owner: None, ..object(Section::PostData, "INDEX", &"x".repeat(70)) },
            object(Section::PostData, "INDEX", "odd\n"),
        ];
        let mut out = Vec::new();
        write(&mut out, "ID: shop", || all.iter().cloned()).unwrap();
        let long = format!("public.{}", "x".repeat(70));
        let wanted = format!(
            "ID: shop: 5 objects\n\n\
             SEQUENCE (pre-data): 1\n  name      owner  value\n  public.s  ana    5, true\n\n\
             TABLE (pre-data): 2\n  name           owner       rows       SQL  stored ~  columns\n  \
             public.orders  ana       12.3 k    1.5 MB    300 kB        7\n  public.parent  ana\n\n\
             INDEX (post-data): 2\n  {:<60}  owner\n  {long}  -\n  {:<60}  ana\n",
            "name", "public.odd\\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
