//! What differs between two backups, as scripts and tables show it.

use serde::Serialize;

/// What is in the second backup only, in the first only, and in both but different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes<T> {
    /// In the second only.
    pub added: Vec<T>,
    /// In the first only.
    pub removed: Vec<T>,
    /// In both.
    pub changed: Vec<T>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new(), changed: Vec::new() }
    }
}

impl<T> Changes<T> {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// In what an object differs, in the words that scripts read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// The number of rows.
    Rows,
    /// As many rows, of which some are others.
    Contents,
    /// The columns.
    Columns,
    /// What the dump says in SQL.
    Definition,
    /// The owner.
    Owner,
    /// A sequence's value.
    Value,
    /// Who may do what.
    Privileges,
    /// An extension's version.
    Version,
    /// A property of the database itself.
    Property,
}

/// A table that is not the same in both backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// `schema.name`.
    pub name: String,
    /// The schema.
    pub schema: Option<String>,
    /// The name alone.
    pub table: String,
    /// In what it differs; nothing for one that is in one backup only.
    pub changes: Vec<Aspect>,
    /// Rows in the first backup; `None` where its rows are not part of it.
    pub rows_before: Option<u64>,
    /// Rows in the second.
    pub rows_after: Option<u64>,
    /// Columns of the rows that only the second has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns_added: Vec<String>,
    /// Columns of the rows that only the first has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns_removed: Vec<String>,
    /// The owner before, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_before: Option<String>,
    /// The owner after, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_after: Option<String>,
}

/// Something else that is not the same in both backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectChange {
    /// Its kind, as pg_dump names it; `DATABASE` for a property of the database itself.
    pub kind: String,
    /// Its schema, where it has one.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// In what it differs; nothing for one that is in one backup only.
    pub changes: Vec<Aspect>,
    /// The owner before, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_before: Option<String>,
    /// The owner after, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_after: Option<String>,
    /// What was, where that can be said in a word: a value, a version, a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What differs between two backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Tables.
    pub tables: Changes<TableChange>,
    /// Everything else.
    pub objects: Changes<ObjectChange>,
    /// How many tables and other objects are the same in both.
    pub same: u64,
    /// What was not compared, and why.
    pub notes: Vec<String>,
}

impl Differences {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.objects.is_empty()
    }
}
