//! A whole schema in the making: statements sorted into stages, so that any table may refer to any other.

use super::columns::{Column, Kind};
use super::{Chance, others, relations, tables};

/// In which order statements run: all tables are there before rows, all rows before keys, all keys before foreign keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Types,
    Tables,
    Columns,
    Rows,
    Keys,
    Indexes,
    Foreign,
    Views,
    Rest,
    /// What would stand in the way of the others.
    Last,
}

/// Columns that no two rows have alike and that a foreign key may refer to.
pub(super) struct Key {
    pub(super) columns: Vec<Column>,
    pub(super) primary: bool,
}

pub(super) struct Table {
    pub(super) schema: String,
    /// Qualified and quoted.
    pub(super) name: String,
    /// Where its columns' names must be new: families share it.
    pub(super) space: String,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    pub(super) rows: usize,
    pub(super) partitioned: bool,
    pub(super) unlogged: bool,
    /// Of a partitioned one, those with rows.
    pub(super) leaves: Vec<String>,
}

impl Table {
    pub(super) fn new(schema: &str, name: &str, space: &str, columns: Vec<Column>, rows: usize) -> Self {
        let (schema, name, space) = (schema.to_owned(), name.to_owned(), space.to_owned());
        let (keys, leaves) = (Vec::new(), Vec::new());
        Self { schema, name, space, columns, keys, rows, partitioned: false, unlogged: false, leaves }
    }

    pub(super) fn of_kind(&self, kind: Kind) -> Option<&Column> {
        self.columns.iter().find(|column| column.kind == kind)
    }

    /// The one column of its primary key.
    pub(super) fn primary(&self) -> Option<&Column> {
        self.keys
            .iter()
            .filter(|key| key.primary)
            .find_map(|key| <&[Column; 1]>::try_from(&*key.columns).ok())
            .map(|[one]| one)
    }
}

pub(super) struct Maker {
    pub(super) chance: Chance,
    pub(super) major: u32,
    pub(super) schemas: Vec<String>,
    pub(super) tables: Vec<Table>,
    /// Types that were made, as type and value.
    pub(super) types: Vec<(String, String)>,
    /// An immutable function of a bigint and one of a text, and a trigger's that raises an error.
    pub(super) doubled: String,
    pub(super) fine: String,
    pub(super) raises: String,
    /// Some tables inherit: a restore puts inherited columns first.
    pub(super) family: bool,
    stages: Vec<(Stage, String)>,
}

pub(super) const ROLES: [&str; 3] = ["random_reader", "\"Random \"\"odd\"\" role\"", "random_writer"];

impl Maker {
    pub(super) fn make(seed: u64, major: u32) -> Self {
        let mut maker = Self {
            chance: Chance::new(seed),
            major,
            schemas: vec!["public".to_owned()],
            tables: Vec::new(),
            types: Vec::new(),
            doubled: String::new(),
            fine: String::new(),
            raises: String::new(),
            family: false,
            stages: Vec::new(),
        };
        for _ in 0..maker.chance.below(4) {
            let schema = maker.chance.name("schemas");
            maker.say(Stage::Types, format!("CREATE SCHEMA {schema}"));
            maker.remark(&format!("SCHEMA {schema}"));
            maker.schemas.push(schema);
        }
        others::functions(&mut maker);
        others::types(&mut maker);
        for _ in 0..2 + maker.chance.below(7) {
            tables::plain(&mut maker);
        }
        for _ in 0..maker.chance.below(3) {
            tables::partitioned(&mut maker);
        }
        if maker.chance.percent(40) {
            tables::family(&mut maker);
        }
        relations::foreign_keys(&mut maker);
        relations::rows(&mut maker);
        relations::indexes(&mut maker);
        others::views(&mut maker);
        others::rest(&mut maker);
        maker
    }

    /// The script.
    pub(super) fn sql(mut self) -> String {
        self.stages.sort_by_key(|(stage, _)| *stage);
        let statements: Vec<String> = self.stages.into_iter().map(|(_, sql)| format!("{sql};\n")).collect();
        format!("SET client_min_messages = error;\nSET check_function_bodies = on;\n{}", statements.concat())
    }

    pub(super) fn say(&mut self, stage: Stage, sql: impl Into<String>) {
        self.stages.push((stage, sql.into()));
    }

    /// Sometimes a comment on an object: `TABLE public.t`.
    pub(super) fn remark(&mut self, object: &str) {
        if self.chance.percent(25) {
            let text = self.chance.text();
            self.say(Stage::Rest, format!("COMMENT ON {object} IS {text}"));
        }
    }

    /// A schema, and a new name in it, qualified.
    pub(super) fn place(&mut self) -> (String, String) {
        let schema = self.schemas[self.chance.below(self.schemas.len())].clone();
        let name = self.chance.name(&schema);
        let qualified = format!("{schema}.{name}");
        (schema, qualified)
    }

    /// The schema of a qualified name.
    pub(super) fn schema_of(&self, name: &str) -> String {
        let inside = |schema: &&String| name.strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with(".\""));
        self.schemas.iter().find(inside).cloned().expect("a table lies in a schema")
    }

    pub(super) fn role(&mut self) -> &'static str {
        self.chance.pick(&ROLES)
    }

    /// Mostly few, sometimes none, rarely many.
    pub(super) fn rows(&mut self) -> usize {
        match self.chance.below(10) {
            0 | 1 => 0,
            2..8 => 1 + self.chance.below(60),
            8 => 100 + self.chance.below(400),
            _ => 500 + self.chance.below(1501),
        }
    }
}
