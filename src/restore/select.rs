//! What of a backup's definitions belongs to the tables that were chosen, and what they need besides.

use super::choose::shown;
use super::definitions::Definitions;
use super::load::label;
use super::plan::Statements;
use crate::script::{
    Entry, Lexer, Made, Named, Relation, Scanner, Step, Subject, made, names, reword_schemas, subject,
};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of definitions that are left out where what they need is not there; all others are part of the table.
const MAY_BE_LEFT_OUT: [&str; 5] = ["FK CONSTRAINT", "TRIGGER", "RULE", "POLICY", "STATISTICS"];

/// What a dump to be compared with [`Schema::entries_alone`] is to begin with.
pub const ACCESS_METHOD: &[u8] = b"SET default_table_access_method = heap;\n";

/// All definitions of a backup, and what each is about.
pub struct Schema<'a> {
    all: Vec<Definition<'a>>,
    /// Every table, by the number of its definition.
    tables: BTreeMap<Relation, usize>,
    /// The partitions of partitioned tables.
    partitions: BTreeMap<Relation, Vec<Relation>>,
    sequences: BTreeSet<Relation>,
    /// The tables that own sequences.
    owners: BTreeMap<Relation, Relation>,
    /// The names of schemas in the backup.
    schemas: BTreeSet<String>,
    /// What is defined in the backup, whatever it is.
    defined: BTreeSet<Relation>,
}

struct Definition<'a> {
    statements: &'a Statements,
    subject: Option<Subject>,
    /// The sequence, index or statistics object that it makes.
    makes: Option<Relation>,
    names: Vec<Named>,
}

/// What was chosen of a [`Schema`].
#[derive(Debug, Default, Clone)]
pub struct Selection {
    /// The tables, with the partitions of partitioned ones.
    pub tables: BTreeSet<Relation>,
    /// Sequences; whether one of the tables owns them.
    pub sequences: BTreeMap<Relation, bool>,
    /// Indexes, those of keys among them, and statistics objects.
    pub others: BTreeSet<Relation>,
    /// What was left out of what belongs to the tables, in words.
    pub left_out: Vec<String>,
    /// The numbers of the definitions, in order.
    definitions: Vec<usize>,
    /// What was left out of each table: its kind and name.
    without: BTreeSet<(Relation, &'static str, String)>,
}

/// The statements of an entry, one by one.
fn statements(sql: &[u8]) -> Vec<&[u8]> {
    let mut lexer = Lexer::new();
    let (mut at, mut found) = (0, Vec::new());
    while at < sql.len() {
        let (read, step) = lexer.advance(sql.get(at..).unwrap_or_default());
        at += read.max(1);
        if step == Step::Statement {
            let begin = at.saturating_sub(usize::try_from(lexer.length()).unwrap_or(usize::MAX));
            found.push(sql.get(begin..at).unwrap_or_default());
        }
    }
    found
}

impl<'a> Definition<'a> {
    fn of(statements_of: &'a Statements) -> Self {
        let all = statements(&statements_of.sql);
        let entry = &statements_of.entry;
        let subject = all.iter().find_map(|one| subject(one));
        let makes = match entry.kind.as_str() {
            "INDEX" | "CONSTRAINT" => all.iter().find_map(|one| made(one)).and_then(|made| match made {
                Made::Index { table, name } | Made::Key { table, name } => Some((table.0, name)),
                Made::ForeignKey { .. } | Made::Attached { .. } => None,
            }),
            "STATISTICS" => subject.as_ref().and_then(|subject| subject.other.clone()),
            "SEQUENCE" => subject.as_ref().map(|subject| subject.other.clone().unwrap_or_else(|| subject.on.clone())),
            _ => None,
        };
        Self { statements: statements_of, subject, makes, names: all.iter().flat_map(|one| names(one)).collect() }
    }

    fn entry(&self) -> &'a Entry {
        &self.statements.entry
    }

    fn on(&self) -> Option<&Relation> {
        self.subject.as_ref().map(|subject| &subject.on)
    }

    fn other(&self) -> Option<&Relation> {
        self.subject.as_ref().and_then(|subject| subject.other.as_ref())
    }
}

impl<'a> Schema<'a> {
    /// Of the definitions of all files.
    pub fn new(files: &'a [Definitions]) -> Self {
        let all: Vec<Definition<'a>> = files.iter().flat_map(|file| &file.statements).map(Definition::of).collect();
        let mut schema = Self {
            all,
            tables: BTreeMap::new(),
            partitions: BTreeMap::new(),
            sequences: BTreeSet::new(),
            owners: BTreeMap::new(),
            schemas: ["public".to_owned()].into(),
            defined: BTreeSet::new(),
        };
        for (number, definition) in schema.all.iter().enumerate() {
            let entry = definition.entry();
            schema.schemas.extend(entry.schema.clone());
            if !matches!(entry.kind.as_str(), "COMMENT" | "ACL" | "SECURITY LABEL") {
                let name = entry.name.split('(').next().unwrap_or_default().to_owned();
                schema.defined.extend(entry.schema.clone().map(|schema| (schema, name)));
                schema.defined.extend(definition.makes.clone());
            }
            match (entry.kind.as_str(), definition.on(), definition.other()) {
                ("SCHEMA", ..) => drop(schema.schemas.insert(entry.name.clone())),
                ("TABLE", Some(table), _) => {
                    schema.defined.insert(table.clone());
                    schema.tables.insert(table.clone(), number);
                }
                ("TABLE ATTACH", Some(parent), Some(child)) => {
                    schema.partitions.entry(parent.clone()).or_default().push(child.clone());
                }
                ("SEQUENCE", Some(table), Some(sequence)) => {
                    schema.sequences.insert(sequence.clone());
                    schema.owners.insert(sequence.clone(), table.clone());
                }
                ("SEQUENCE", Some(sequence), None) => drop(schema.sequences.insert(sequence.clone())),
                ("SEQUENCE OWNED BY", Some(sequence), Some(table)) => {
                    schema.owners.insert(sequence.clone(), table.clone());
                }
                _ => {}
            }
        }
        schema
    }

    /// Every table.
    pub fn tables(&self) -> impl Iterator<Item = &Relation> + Clone {
        self.tables.keys()
    }

    /// Whether the backup itself defines something of this name.
    pub fn defines(&self, name: &Relation) -> bool {
        self.defined.contains(name)
    }

    /// Whether the backup tells how a schema is made.
    pub fn defines_schema(&self, name: &str) -> bool {
        self.schema(name).is_some()
    }

    pub(super) fn schema(&self, name: &str) -> Option<&Statements> {
        let found = self.all.iter().find(|one| one.entry().kind == "SCHEMA" && one.entry().name == name);
        found.map(|definition| definition.statements)
    }

    /// `tables` with their partitions, sequences and everything else that is theirs.
    pub fn select(&self, tables: impl IntoIterator<Item = Relation>) -> Selection {
        let mut selection = Selection::default();
        let mut rest: Vec<Relation> = tables.into_iter().collect();
        while let Some(table) = rest.pop() {
            if selection.tables.insert(table.clone()) {
                rest.extend(self.partitions.get(&table).into_iter().flatten().cloned());
            }
        }
        for (sequence, _) in self.owners.iter().filter(|(_, table)| selection.tables.contains(table)) {
            selection.sequences.insert(sequence.clone(), true);
        }
        for definition in &self.all {
            let of_table = matches!(definition.entry().kind.as_str(), "TABLE" | "DEFAULT");
            if of_table && definition.on().is_some_and(|on| selection.tables.contains(on)) {
                let used = definition.names.iter().filter(|named| self.sequences.contains(&named.relation));
                for named in used {
                    selection.sequences.entry(named.relation.clone()).or_insert(false);
                }
            }
            if let (Some(makes), Some(on)) = (&definition.makes, definition.on())
                && definition.entry().kind != "SEQUENCE"
                && selection.tables.contains(on)
            {
                selection.others.insert(makes.clone());
            }
        }
        for number in 0..self.all.len() {
            self.decide(number, &mut selection);
        }
        selection
    }

    fn decide(&self, number: usize, selection: &mut Selection) {
        let Some(definition) = self.all.get(number) else { return };
        let Some(on) = definition.on() else { return };
        let is_table = |name: &Relation| selection.tables.contains(name);
        let is_ours = |name: &Relation| {
            is_table(name) || selection.sequences.contains_key(name) || selection.others.contains(name)
        };
        let entry = definition.entry();
        let chosen = match (entry.kind.as_str(), definition.other()) {
            ("TABLE ATTACH", Some(child)) if is_table(child) && !is_table(on) => {
                let why = format!(
                    "{} is a partition of {} and comes back as a table of its own: attach it by ALTER TABLE … ATTACH PARTITION",
                    shown(child),
                    shown(on)
                );
                selection.left_out.push(why);
                false
            }
            ("PUBLICATION TABLE" | "PUBLICATION", _) if is_table(on) => {
                selection.left_out.push(format!("{} is in a publication, to which it is not added", shown(on)));
                false
            }
            ("FK CONSTRAINT", Some(references)) if is_table(references) && !is_table(on) => {
                let why = format!(
                    "the foreign key {} of {} is not made again, for that table was not chosen",
                    entry.name,
                    shown(on)
                );
                selection.left_out.push(why);
                false
            }
            ("TABLE ATTACH" | "INDEX ATTACH" | "SEQUENCE OWNED BY", Some(other)) => is_ours(on) && is_ours(other),
            ("SEQUENCE", _) => definition.makes.as_ref().is_some_and(is_ours),
            ("PUBLICATION TABLE" | "STATISTICS DATA", _) => false,
            _ => is_ours(on),
        };
        if chosen {
            selection.definitions.push(number);
        }
    }

    /// The names that the selection needs and that are not in it, in order.
    pub fn needs(&self, selection: &Selection) -> BTreeSet<Relation> {
        let definitions = selection.definitions.iter().filter_map(|number| self.all.get(*number));
        definitions.flat_map(|definition| self.needs_of(definition, selection)).collect()
    }

    fn needs_of(&self, definition: &Definition<'_>, selection: &Selection) -> BTreeSet<Relation> {
        let own = |named: &&Named| {
            let name = &named.relation;
            let relation = selection.tables.contains(name)
                || selection.sequences.contains_key(name)
                || selection.others.contains(name);
            relation && named.may_be_relation()
        };
        let names = definition.names.iter().filter(|named| !own(named) && self.schemas.contains(&named.relation.0));
        names.map(|named| named.relation.clone()).collect()
    }

    /// Takes back what needs something of `missing`, where a table can do without. Returns what it cannot do without: what
    /// is missing, and the definition that needs it, in words.
    pub fn leave_out(&self, selection: &mut Selection, missing: &BTreeSet<Relation>) -> Vec<(Relation, String)> {
        let mut cannot = Vec::new();
        let mut chosen = std::mem::take(&mut selection.definitions);
        chosen.retain(|number| {
            let Some(definition) = self.all.get(*number) else { return false };
            let entry = definition.entry();
            let lacks: Vec<Relation> =
                self.needs_of(definition, selection).into_iter().filter(|name| missing.contains(name)).collect();
            if lacks.is_empty() {
                return true;
            }
            if !MAY_BE_LEFT_OUT.contains(&entry.kind.as_str()) {
                cannot.extend(lacks.into_iter().map(|name| (name, label(entry))));
                return true;
            }
            if let Some(Subject { on, part: Some((kind, name)), .. }) = &definition.subject {
                selection.without.insert((on.clone(), kind, name.clone()));
            }
            if let Some(makes) = &definition.makes {
                selection.others.remove(makes);
            }
            let all = lacks.iter().map(shown).collect::<Vec<_>>().join(", ");
            selection.left_out.push(format!("{}: {all} is not there", label(entry)));
            false
        });
        // What was said of a part that is not there cannot be said.
        chosen.retain(|number| match self.all.get(*number).and_then(|one| one.subject.as_ref()) {
            Some(Subject { on, part: Some((kind, name)), .. }) => {
                !selection.without.contains(&(on.clone(), kind, name.clone()))
            }
            Some(Subject { on, .. }) => {
                selection.tables.contains(on) || selection.sequences.contains_key(on) || selection.others.contains(on)
            }
            None => false,
        });
        selection.definitions = chosen;
        cannot
    }

    /// Takes back the sequences `there`, which the target has already.
    pub fn without_sequences(&self, selection: &mut Selection, there: &BTreeSet<Relation>) {
        selection.definitions.retain(|number| {
            self.all.get(*number).is_none_or(|definition| {
                let about = definition.makes.as_ref().or(definition.on());
                let of_sequence = about.is_some_and(|about| there.contains(about));
                !(of_sequence && definition.entry().kind != "DEFAULT")
            })
        });
        selection.sequences.retain(|sequence, _| !there.contains(sequence));
    }

    /// The definitions of a selection, in order, in the schema `into` if one is given.
    pub(super) fn definitions(&self, selection: &Selection, into: Option<&str>) -> Vec<Statements> {
        let moved = |named: &Named| {
            let name = &named.relation;
            let ours = selection.tables.contains(name)
                || selection.sequences.contains_key(name)
                || selection.others.contains(name);
            into.filter(|_| ours && named.may_be_relation()).map(str::to_owned)
        };
        let definitions = selection.definitions.iter().filter_map(|number| self.all.get(*number));
        definitions
            .map(|definition| {
                let mut sql = header(definition.entry(), into);
                for statement in statements(&definition.statements.sql) {
                    sql.extend_from_slice(&reword_schemas(statement, moved));
                    sql.extend_from_slice(b"\n\n");
                }
                Statements { sql, ..definition.statements.clone() }
            })
            .collect()
    }

    /// The entries of a selection.
    pub fn entries<'s>(&'s self, selection: &'s Selection) -> impl Iterator<Item = &'s Entry> {
        selection.definitions.iter().filter_map(|number| self.all.get(*number)).map(Definition::entry)
    }

    /// The entries of a selection with the digests that they have in a dump of nothing else, if that begins with
    /// [`ACCESS_METHOD`]. Before a partitioned table no access method is set: it counts with that of whatever table stands
    /// before it.
    pub fn entries_alone(&self, selection: &Selection) -> Vec<Entry> {
        let definitions = selection.definitions.iter().filter_map(|number| self.all.get(*number));
        definitions
            .map(|definition| {
                let mut entry = definition.entry().clone();
                if entry.kind == "TABLE"
                    && memchr::memmem::find(&definition.statements.sql, b"\nPARTITION BY ").is_some()
                {
                    let Statements { sql, storage, .. } = definition.statements;
                    let mut scanner = Scanner::default();
                    scanner.feed(ACCESS_METHOD);
                    scanner.feed(format!("SET default_tablespace = {};\n", storage.0).as_bytes());
                    scanner.feed(&header(&entry, None));
                    for statement in statements(sql) {
                        scanner.feed(statement);
                        scanner.feed(b"\n");
                    }
                    entry.digest = scanner.finish().entries.iter().next().map_or(entry.digest, |alone| alone.digest);
                }
                entry
            })
            .collect()
    }

    /// Foreign keys that would refer to rows of `tables`, which are left out: kind, schema and name of their entries, and
    /// what to say of them.
    pub fn foreign_keys_to(&self, tables: &BTreeSet<Relation>) -> Vec<(&Entry, String)> {
        let keys = self.all.iter().filter(|one| one.entry().kind == "FK CONSTRAINT");
        let to = keys.filter(|one| {
            one.other().is_some_and(|to| tables.contains(to)) && !one.on().is_some_and(|on| tables.contains(on))
        });
        to.map(|one| {
            let refers = one.other().map(shown).unwrap_or_default();
            (one.entry(), format!("{}: {refers} comes back without its rows", label(one.entry())))
        })
        .collect()
    }
}

impl Selection {
    /// Takes back one definition.
    pub fn drop_entry(&mut self, schema: &Schema<'_>, entry: &Entry) {
        self.definitions.retain(|number| schema.all.get(*number).is_none_or(|one| one.entry() != entry));
    }
}

/// A header as pg_dump's, which the scanner reads.
fn header(entry: &Entry, into: Option<&str>) -> Vec<u8> {
    let line = |text: &str| text.replace(['\n', '\r'], " ");
    let schema = entry.schema.as_deref().map_or("-", |schema| into.unwrap_or(schema));
    format!(
        "--\n-- Name: {}; Type: {}; Schema: {}; Owner: -\n--\n\n",
        line(&entry.name),
        line(&entry.kind),
        line(schema)
    )
    .into_bytes()
}
