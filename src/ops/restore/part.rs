//! Restoring some tables (`--table`), or rows alone (`--data-only`): only the definitions and the rows that are wanted are
//! read, and everything happens in one transaction.

use super::Restorer;
use super::place::Place;
use crate::archive::{Contents, SqlReader};
use crate::config::Codec;
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Phase, Progress};
use crate::ops::check::{check_against, intact_copy};
use crate::ops::dump::dump_part_scanned;
use crate::ops::outcome::{PartsOutcome, Proof, RestoreOutcome};
use crate::ops::prove::{Prover, worded_otherwise};
use crate::ops::ready::{Ready, damaged, index, readers};
use crate::ops::{Backup, Context};
use crate::postgres::{Client, Without};
use crate::proof::{Comparison, Declared, Rules, compare};
use crate::restore::{
    ACCESS_METHOD, Definitions, Part, Pattern, Schema, Selection, TableRows, definitions, existing, filled,
    foreign_keys, has, has_definitions, in_order, names_there, relations_there, shown, target_tables,
};
use crate::script::{ColumnOrder, Entry, Omit, Relation, TableData, literal, quote_identifier};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// So many tables can be named to pg_dump; the dump of more is that of the whole database.
const NAMED: usize = 1000;

/// What of a backup is to be restored.
#[derive(Debug, Clone, Default)]
pub struct PartRequest {
    /// Only the tables that fit one of these patterns; all if there is none.
    pub tables: Vec<String>,
    /// Definitions alone.
    pub schema_only: bool,
    /// Rows and values of sequences alone.
    pub data_only: bool,
    /// Without the rows of the tables that fit one of these patterns.
    pub exclude_table_data: Vec<String>,
    /// Into this schema instead of the tables' own; with `tables` only.
    pub into_schema: Option<String>,
}

impl PartRequest {
    /// Whether everything is wanted.
    pub(super) fn is_all(&self) -> bool {
        self.tables.is_empty() && !self.schema_only && !self.data_only && self.exclude_table_data.is_empty()
    }

    /// Whether tables are chosen one by one, or rows alone are wanted.
    pub fn is_some(&self) -> bool {
        !self.tables.is_empty() || self.data_only
    }
}

pub(super) fn patterns(texts: &[String]) -> Result<Vec<Pattern>> {
    texts.iter().map(|text| Pattern::parse(text)).collect()
}

/// The definitions of all files of a backup that was made ready.
pub(super) async fn all_definitions(
    ctx: &Context,
    backup: &Backup,
    ready: &Ready,
    omit: &Omit,
) -> Result<Vec<Definitions>> {
    let (_, mut readers) = readers(ctx, backup, ready.contents(), &Arc::default())?;
    for reader in &mut readers {
        reader.source = ready.source();
    }
    read_definitions(ctx, &readers, ready.contents(), omit).await
}

async fn read_definitions(
    ctx: &Context,
    readers: &[SqlReader],
    contents: &Contents,
    omit: &Omit,
) -> Result<Vec<Definitions>> {
    let mut found = Vec::new();
    for (reader, file) in readers.iter().zip(&contents.files) {
        // A file of nothing but rows is not read, unless there is no other: the first tells how a session begins.
        if found.is_empty() || has_definitions(&file.entries) {
            found.push(definitions(reader, &file.entries, omit.clone(), &ctx.cancel).await?);
        }
    }
    Ok(found)
}

/// A backup of which parts can be read.
struct Source {
    contents: Contents,
    readers: Vec<SqlReader>,
}

/// What was chosen, and everything that follows from it.
struct Chosen<'a> {
    schema: &'a Schema<'a>,
    selection: Selection,
    /// Tables whose rows are loaded.
    filled: BTreeSet<Relation>,
    /// Schemas that must be made.
    schemas: Vec<String>,
    into: Option<&'a str>,
    data_only: bool,
    /// Whether the database was there before.
    is_theirs: bool,
}

impl Chosen<'_> {
    /// A name as it is in the target.
    fn moved(&self, name: &Relation) -> Relation {
        (self.into.map_or_else(|| name.0.clone(), str::to_owned), name.1.clone())
    }

    fn moved_all<'n>(&self, names: impl IntoIterator<Item = &'n Relation>) -> BTreeSet<Relation> {
        names.into_iter().map(|name| self.moved(name)).collect()
    }

    fn is_rows(&self, table: &TableData) -> bool {
        self.filled.contains(&(table.schema.clone(), table.table.clone()))
    }

    /// Whether an entry sets a sequence that was chosen.
    fn sets(&self, entry: &Entry) -> Option<&Relation> {
        if entry.kind != "SEQUENCE SET" {
            return None;
        }
        // A header has blanks where names have newlines.
        let same = |name: &str, listed: &str| name.replace(['\n', '\r'], " ") == listed;
        let mut sequences = self.selection.sequences.keys();
        sequences
            .find(|(schema, name)| same(schema, entry.schema.as_deref().unwrap_or_default()) && same(name, &entry.name))
    }
}

fn qualified((schema, name): &Relation) -> String {
    format!("{}.{}", quote_identifier(schema), quote_identifier(name))
}

fn is_or_are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn listed<'n>(names: impl IntoIterator<Item = &'n Relation>) -> String {
    let all: Vec<String> = names.into_iter().map(shown).collect();
    let first = all.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > 10 { format!("{first} and {} more", all.len() - 10) } else { first }
}

impl Restorer<'_> {
    /// Restores what was asked for.
    pub(super) async fn run_part(&self) -> Result<RestoreOutcome> {
        let (ctx, request) = (self.ctx, &self.request.part);
        let wanted = patterns(&request.tables)?;
        let excluded = patterns(&request.exclude_table_data)?;
        if request.into_schema.as_deref() == Some("") {
            return Err(Error::new(ErrorKind::Usage, "--into-schema is empty")
                .hint("name a schema, as in --into-schema before"));
        }
        let there = existing(&self.maintenance, &self.name, self.manifest(), &ctx.cancel).await?;
        if request.data_only && there.is_none() {
            let message = format!("there is no database {} whose tables could be filled", self.name);
            return Err(Error::new(ErrorKind::NotFound, message).hint("restore with --schema-only first"));
        }
        let mut notes = Vec::new();
        let settings = self.server.unknown_settings();
        if !settings.is_empty() && self.manifest().server.major() * 10_000 > self.version {
            let names = settings.iter().cloned().collect::<Vec<_>>().join(", ");
            notes.push(format!("left out, for the target does not know it: SET {names}"));
        }
        let omit = Omit {
            owners: self.request.no_owner,
            privileges: self.request.no_privileges,
            settings,
            unknown_privileges: self.server.unknown_privileges(),
            ..Omit::default()
        };
        let clock = Instant::now();
        let source = self.open(&omit).await?;
        let files = read_definitions(ctx, &source.readers, &source.contents, &omit).await?;
        let schema = Schema::new(&files);
        let mut tables: BTreeSet<Relation> = BTreeSet::new();
        for pattern in &wanted {
            tables.extend(pattern.choose(schema.tables(), "table")?.into_iter().cloned());
        }
        if wanted.is_empty() {
            tables.extend(schema.tables().cloned());
        }
        let mut rowless = BTreeSet::new();
        for pattern in &excluded {
            rowless.extend(pattern.choose(schema.tables(), "table")?.into_iter().cloned());
        }
        let rowless = schema.select(rowless).tables;
        let selection = schema.select(tables);
        let filled = selection.tables.iter().filter(|table| !request.schema_only && !rowless.contains(*table));
        let mut chosen = Chosen {
            schema: &schema,
            filled: filled.cloned().collect(),
            selection,
            schemas: Vec::new(),
            into: request.into_schema.as_deref(),
            data_only: request.data_only,
            is_theirs: there.is_some(),
        };
        if !request.schema_only && !request.data_only {
            for (entry, why) in schema.foreign_keys_to(&rowless) {
                if schema.entries(&chosen.selection).any(|one| one == entry) {
                    chosen.selection.drop_entry(&schema, entry);
                    chosen.selection.left_out.push(why);
                }
            }
        }
        check_names(&chosen, files.first().and_then(|file| file.encoding.as_deref()))?;
        let place = self.make_place(there.as_ref()).await?;
        let database = match &place {
            Place::Ours(scratch) => scratch.name.as_str(),
            Place::Theirs => self.name.as_str(),
        };
        let client = self.maintenance.with_database(database);
        let restored = self.fill_part(&client, &place, &source, &files, chosen, clock, notes).await;
        if let (Err(_), Place::Ours(scratch)) = (&restored, &place) {
            // Also when cancelled: dropping must not be cancelled with it.
            if let Err(error) = scratch.drop(&self.maintenance, &crate::cancel::Cancel::new()).await {
                ctx.warn(format!("{} could not be dropped: {}", scratch.name, error.one_line()));
            }
        }
        restored
    }

    /// The way to the backup's bytes: one whose index has digests is read in parts, an older one is checked as a whole first.
    async fn open(&self, omit: &Omit) -> Result<Source> {
        let (ctx, backup) = (self.ctx, self.backup);
        let index = index(ctx, backup).await?;
        let digests = index.files.iter().all(|file| file.members.are_digested());
        let progress = ctx.phase(Phase::Check, 0);
        let problems = check_against(&backup.manifest, &index);
        if !problems.is_empty() {
            return Err(damaged(&backup.manifest, &problems));
        }
        backup.manifest.codec.parse::<Codec>()?;
        let (_, mut readers) = readers(ctx, backup, &index, &progress)?;
        if digests {
            return Ok(Source { contents: index, readers });
        }
        let intact = intact_copy(ctx, backup, omit).await?;
        for reader in &mut readers {
            reader.source = Arc::clone(&intact.source);
        }
        Ok(Source { contents: intact.contents, readers })
    }

    #[allow(clippy::too_many_arguments)]
    async fn fill_part(
        &self,
        client: &Client,
        place: &Place,
        source: &Source,
        files: &[Definitions],
        mut chosen: Chosen<'_>,
        clock: Instant,
        mut notes: Vec<String>,
    ) -> Result<RestoreOutcome> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let head = files.first().map(|file| file.head.clone()).unwrap_or_default();
        let mut part = Part::new(head);
        let order = if chosen.data_only {
            self.check_filling(client, source, files, &mut chosen, &mut part, &mut notes).await?
        } else {
            self.check_making(client, &mut chosen, &mut notes).await?;
            chosen.filled.iter().cloned().collect()
        };
        if !chosen.data_only {
            if let Some(into) = chosen.into.filter(|into| chosen.schemas.iter().any(|schema| schema == into)) {
                part.first = format!("create schema {};\n", quote_identifier(into));
            } else {
                let plain = chosen.schemas.iter().filter(|name| !chosen.schema.defines_schema(name));
                for name in plain {
                    part.first.push_str(&format!("create schema {};\n", quote_identifier(name)));
                }
            }
            let schemas = if chosen.into.is_some() { &[][..] } else { &chosen.schemas };
            part.define(chosen.schema, &chosen.selection, schemas, chosen.into);
        }
        if !self.request.part.schema_only {
            part.values = values(source, &chosen)?;
        }
        let expected: u64 = source
            .contents
            .entries()
            .filter_map(|entry| entry.table)
            .filter(|table| chosen.is_rows(table))
            .map(|table| table.end - table.start)
            .sum();
        let progress = ctx.phase(Phase::Load, expected);
        let readers = following(&source.readers, &progress);
        part.rows = rows(source, &readers, &chosen, &order);
        let scan = part.scan()?;
        let has_roles = has(client, &ctx.cancel).await?.roles;
        let roles: Vec<&String> = scan.roles.iter().filter(|role| !has_roles.contains(*role)).collect();
        if !roles.is_empty() {
            let create =
                roles.iter().map(|role| format!("CREATE ROLE {};", quote_identifier(role))).collect::<Vec<_>>();
            let names = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(ErrorKind::NotFound, format!("the target server lacks roles: {names}"))
                .hint(format!("create them ({}), or restore with --no-owner and --no-privileges", create.join(" "))));
        }
        let loaded = part.load(client, || drop(ctx.phase(Phase::Index, 0)), &ctx.cancel).await;
        loaded.map_err(|error| if chosen.is_theirs { explained(error) } else { error })?;
        ctx.phase(Phase::Analyze, 0);
        for table in &chosen.selection.tables {
            if let Err(error) =
                client.execute(&format!("analyze {};", qualified(&chosen.moved(table))), &ctx.cancel).await
            {
                ctx.cancel.check()?;
                notes.push(format!("no statistics were gathered for {}: {}", shown(table), error.one_line()));
            }
        }
        let restore_seconds = clock.elapsed().as_secs_f64();
        if matches!(place, Place::Ours(_)) {
            let without = Without { comment: true, ..self.without };
            notes.extend(
                super::fill::apply_properties(
                    ctx,
                    &self.maintenance,
                    manifest,
                    client.connection().database().unwrap_or(&self.name),
                    without,
                )
                .await?,
            );
        }
        let prove_clock = Instant::now();
        let (proof, differences) = if self.request.prove {
            let comparison = self.prove_part(client, source, &chosen, expected).await?;
            notes.extend(comparison.notes);
            let proof = if comparison.differences.is_empty() { Proof::Passed } else { Proof::Failed };
            (proof, comparison.differences)
        } else {
            (Proof::Skipped, Vec::new())
        };
        let prove_seconds = prove_clock.elapsed().as_secs_f64();
        let (database, kept_as) = self.take_name(place, None, proof, &mut notes).await?;
        let rows = source.contents.entries().filter_map(|entry| entry.table).filter(|table| chosen.is_rows(table));
        Ok(RestoreOutcome {
            backup: manifest.id.clone(),
            target: self.maintenance.with_database(&database).connection().describe(),
            database,
            tables: chosen.selection.tables.len() as u64,
            rows: rows.map(|table| table.rows).sum(),
            restore_seconds,
            prove_seconds,
            proof,
            differences,
            adaptations: Vec::new(),
            notes,
            kept_as,
            parts: Some(PartsOutcome {
                tables: chosen.selection.tables.iter().map(|table| shown(&chosen.moved(table))).collect(),
                left_out: if chosen.data_only { Vec::new() } else { chosen.selection.left_out.clone() },
            }),
        })
    }

    /// Whether the tables can be made in the target: nothing of their names is there, and what they need is.
    async fn check_making(&self, client: &Client, chosen: &mut Chosen<'_>, notes: &mut Vec<String>) -> Result<()> {
        let cancel = &self.ctx.cancel;
        let has = has(client, cancel).await?;
        // A sequence that none of the tables owns may serve others in the target: it is taken as it is there.
        let shared = chosen.selection.sequences.iter().filter(|(_, owned)| !**owned).map(|(sequence, _)| sequence);
        let shared: BTreeSet<Relation> = shared.cloned().collect();
        if chosen.into.is_none() && !shared.is_empty() {
            let there = relations_there(client, &shared, cancel).await?;
            for sequence in &there {
                notes.push(format!("the sequence {} is there already and stays as it is", shown(sequence)));
            }
            chosen.schema.without_sequences(&mut chosen.selection, &there);
        }
        let selection = &chosen.selection;
        let names: Vec<&Relation> =
            selection.tables.iter().chain(selection.sequences.keys()).chain(&selection.others).collect();
        let moved = chosen.moved_all(names.iter().copied());
        if moved.len() < names.iter().collect::<BTreeSet<_>>().len() {
            let message = "tables of several schemas have the same name, or the same names of indexes or sequences";
            return Err(
                Error::new(ErrorKind::Usage, message).hint("restore them one by one, each into a schema of its own")
            );
        }
        let there = relations_there(client, &moved, cancel).await?;
        if !there.is_empty() {
            let message = format!("{} {} there already in {}", listed(&there), is_or_are(there.len()), self.name);
            return Err(Error::new(ErrorKind::Refused, message)
                .hint("add --into-schema NAME to restore beside it, or --data-only to fill an empty table"));
        }
        let needs = chosen.schema.needs(&chosen.selection);
        let there = names_there(client, &needs, cancel).await?;
        let extensions: Vec<&str> = self
            .manifest()
            .extensions
            .iter()
            .map(|one| one.name.as_str())
            .filter(|name| !has.extensions.contains(*name))
            .collect();
        // A name that neither the backup defines nor the target has is an extension's, or no name of an object at all.
        let missing: BTreeSet<Relation> = needs
            .into_iter()
            .filter(|name| !there.contains(name) && (chosen.schema.defines(name) || !extensions.is_empty()))
            .collect();
        let cannot = chosen.schema.leave_out(&mut chosen.selection, &missing);
        if !cannot.is_empty() {
            let all: BTreeSet<&Relation> = cannot.iter().map(|(name, _)| name).collect();
            let by = cannot.first().map(|(_, by)| by.as_str()).unwrap_or_default();
            let message = format!("{} needs what is not in {}: {}", by, self.name, listed(all.iter().copied()));
            let foreign = all.iter().any(|name| !chosen.schema.defines(name));
            let hint = if foreign {
                format!("create the extensions of the backup that are missing first: {}", extensions.join(", "))
            } else {
                "restore with --schema-only into a new database first, then with --table and --data-only; or create it in the target".to_owned()
            };
            return Err(Error::new(ErrorKind::NotFound, message).hint(hint));
        }
        let wanted: BTreeSet<String> = moved.into_iter().map(|(schema, _)| schema).collect();
        chosen.schemas = wanted.into_iter().filter(|schema| !has.schemas.contains(schema)).collect();
        Ok(())
    }

    /// Whether the tables can be filled, and in which order.
    async fn check_filling(
        &self,
        client: &Client,
        source: &Source,
        files: &[Definitions],
        chosen: &mut Chosen<'_>,
        part: &mut Part<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Relation>> {
        let cancel = &self.ctx.cancel;
        let mut columns: BTreeMap<Relation, Vec<String>> = BTreeMap::new();
        for table in source.contents.entries().filter_map(|entry| entry.table).filter(|table| chosen.is_rows(table)) {
            columns.insert(chosen.moved(&(table.schema, table.table)), table.columns);
        }
        let tables: BTreeSet<Relation> = columns.keys().cloned().collect();
        let there = target_tables(client, &tables, cancel).await?;
        let missing: Vec<&Relation> = tables.iter().filter(|table| !there.contains_key(*table)).collect();
        if !missing.is_empty() {
            let message = format!("{} has no table {}", self.name, listed(missing.iter().copied()));
            return Err(Error::new(ErrorKind::NotFound, message)
                .hint("restore with --schema-only first, or without --data-only"));
        }
        for (table, columns) in &columns {
            let known = there.get(table).map(|table| &table.columns);
            let lacks: Vec<&String> =
                columns.iter().filter(|column| !known.is_some_and(|known| known.contains(*column))).collect();
            if !lacks.is_empty() {
                let names = lacks.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                let message = format!("{} in {} has no column {names}", shown(table), self.name);
                return Err(Error::new(ErrorKind::Refused, message)
                    .hint("restore with --into-schema and without --data-only, and copy what is needed"));
            }
        }
        let filled = filled(client, &tables, cancel).await?;
        if !filled.is_empty() {
            let message = format!("{} in {} {} not empty", listed(&filled), self.name, is_or_are(filled.len()));
            return Err(Error::new(ErrorKind::Refused, message)
                .hint("empty it first, or restore without --data-only and with --into-schema NAME, beside it"));
        }
        let order = in_order(&tables, &foreign_keys(client, cancel).await?).map_err(|circle| {
            Error::new(ErrorKind::Refused, format!("foreign keys go in a circle: {}", circle.join(", ")))
                .hint("make one of them deferrable (ALTER TABLE … ALTER CONSTRAINT … DEFERRABLE), then try again")
        })?;
        // Sequences that are not there, or serve others too, are left alone.
        let sequences: BTreeSet<Relation> = chosen.selection.sequences.keys().cloned().collect();
        let moved = chosen.moved_all(&sequences);
        let known = relations_there(client, &moved, cancel).await?;
        let chosen_alone = !self.request.part.tables.is_empty();
        let untouched: BTreeSet<Relation> = sequences
            .into_iter()
            .filter(|sequence| {
                let shared = chosen_alone && chosen.selection.sequences.get(sequence) == Some(&false);
                shared || !known.contains(&chosen.moved(sequence))
            })
            .collect();
        if !untouched.is_empty() {
            notes.push(format!(
                "sequences that were not set, for they serve other tables or are not there: {}",
                listed(&untouched)
            ));
        }
        chosen.schema.without_sequences(&mut chosen.selection, &untouched);
        if source.contents.entries().any(|entry| entry.kind == "LARGE OBJECT") && !chosen_alone {
            notes.push("large objects are not restored by --data-only".to_owned());
        }
        // What triggers do was done before the backup was taken.
        let encoding = files.first().and_then(|file| file.encoding.clone()).unwrap_or_else(|| "'UTF8'".to_owned());
        let (mut off, mut on) = (String::new(), String::new());
        for (table, target) in &there {
            for (trigger, enabled) in &target.triggers {
                let how = match enabled.as_str() {
                    "R" => "enable replica",
                    "A" => "enable always",
                    _ => "enable",
                };
                let (table, trigger) = (qualified(table), quote_identifier(trigger));
                off.push_str(&format!("alter table only {table} disable trigger {trigger};\n"));
                on.push_str(&format!("alter table only {table} {how} trigger {trigger};\n"));
            }
        }
        part.first = format!(
            "set constraints all deferred;\nset client_encoding = 'UTF8';\n{off}set client_encoding = {encoding};\n"
        );
        part.last = format!("set constraints all immediate;\nset client_encoding = 'UTF8';\n{on}");
        let back: BTreeMap<Relation, Relation> =
            chosen.filled.iter().map(|table| (chosen.moved(table), table.clone())).collect();
        Ok(order.iter().filter_map(|table| back.get(table).cloned()).collect())
    }

    /// Dumps what was restored and compares it with the index as far as it was chosen.
    async fn prove_part(
        &self,
        client: &Client,
        source: &Source,
        chosen: &Chosen<'_>,
        expected_bytes: u64,
    ) -> Result<Comparison> {
        let (ctx, manifest) = (self.ctx, self.manifest());
        let progress = ctx.phase(Phase::Prove, expected_bytes);
        let Prover { client, inspection, definitions } = Prover::of(ctx, client, &self.search, manifest).await?;
        let mut expected: Vec<Entry> = Vec::new();
        if !chosen.data_only {
            expected.extend(chosen.schema.entries_alone(&chosen.selection));
        }
        if !self.request.part.schema_only {
            let data = |entry: &Entry| {
                entry.table.as_ref().is_some_and(|table| chosen.is_rows(table)) || chosen.sets(entry).is_some()
            };
            expected.extend(source.contents.entries().filter(data));
        }
        for entry in &mut expected {
            if let Some(into) = chosen.into {
                entry.schema = entry.schema.as_ref().map(|_| into.to_owned());
                if let Some(table) = &mut entry.table {
                    into.clone_into(&mut table.schema);
                }
            }
        }
        // pg_dump leaves extended statistics out where it is told which tables to dump.
        let named = chosen.is_theirs;
        let compared = |entry: &Entry| {
            let of_schema = entry.kind == "SCHEMA" || entry.name.starts_with("SCHEMA ");
            let of_statistics = entry.kind == "STATISTICS" || entry.name.starts_with("STATISTICS ");
            let left_out = of_schema || (named && of_statistics) || entry.kind == "PUBLICATION TABLE";
            !left_out
        };
        let statistics = expected.len();
        expected.retain(compared);
        let statistics = statistics - expected.len();
        let tables: Vec<Relation> = chosen.selection.tables.iter().map(|table| chosen.moved(table)).collect();
        let sequences = chosen.selection.sequences.keys().map(|sequence| chosen.moved(sequence));
        let relations: Vec<Relation> = tables.into_iter().chain(sequences).collect();
        let mut args = Vec::new();
        if chosen.data_only {
            args.push("--section=data".to_owned());
        }
        let by_name = named && relations.len() <= NAMED;
        if by_name {
            args.extend(relations.iter().map(|relation| format!("--table={}", qualified(relation))));
        }
        let orders: ColumnOrder = source
            .contents
            .column_orders()
            .into_iter()
            .filter(|(table, _)| chosen.selection.tables.contains(table))
            .map(|(table, columns)| (chosen.moved(&table), columns))
            .collect();
        let scan = dump_part_scanned(ctx, &client, args, ACCESS_METHOD, orders, &progress).await?;
        let key = |entry: &Entry| match &entry.table {
            Some(table) => (entry.kind.clone(), table.schema.clone(), table.table.clone()),
            None => (entry.kind.clone(), entry.schema.clone().unwrap_or_default(), entry.name.clone()),
        };
        let keys: BTreeSet<_> = expected.iter().map(key).collect();
        let alone = (by_name || !named) && !chosen.data_only;
        let found: Vec<Entry> =
            scan.entries.iter().filter(|entry| compared(entry) && (alone || keys.contains(&key(entry)))).collect();
        let declared = Declared {
            entries: expected.iter().filter(|entry| entry.counts()).count() as u64,
            tables: expected.iter().filter(|entry| entry.kind == "TABLE DATA" && entry.counts()).count() as u64,
            rows: expected.iter().filter_map(|entry| entry.table.as_ref()).map(|table| table.rows).sum(),
            large_objects: 0,
        };
        let worded = definitions && chosen.into.is_none();
        let rules = Rules {
            owners: !self.without.owner,
            privileges: !self.without.privileges && !self.without.owner,
            definitions: worded,
        };
        let mut comparison = compare(expected, found, declared, rules);
        if !definitions && !chosen.data_only {
            comparison.notes.push(worded_otherwise(manifest, &client, &inspection));
        } else if !worded && !chosen.data_only {
            comparison
                .notes
                .push("definitions were compared by name, not by wording, for they are in another schema".to_owned());
        }
        if statistics > 0 {
            comparison.notes.push("extended statistics were restored and not compared".to_owned());
        }
        Ok(comparison)
    }
}

/// Names beyond ASCII are known for certain only where the backup is in UTF-8.
fn check_names(chosen: &Chosen<'_>, encoding: Option<&str>) -> Result<()> {
    let encoding = encoding.unwrap_or("'UTF8'").trim_matches('\'');
    if encoding.eq_ignore_ascii_case("UTF8") {
        return Ok(());
    }
    let selection = &chosen.selection;
    let mut names = selection.tables.iter().chain(selection.sequences.keys());
    let odd = names.find(|(schema, name)| !schema.is_ascii() || !name.is_ascii());
    match (odd, chosen.into.filter(|into| !into.is_ascii())) {
        (None, None) => Ok(()),
        (odd, into) => {
            let name = odd.map(shown).or(into.map(str::to_owned)).unwrap_or_default();
            Err(Error::new(
                ErrorKind::Refused,
                format!("{name} cannot be restored by itself: the backup is in {encoding}"),
            )
            .hint("restore the whole backup, and take the table from there"))
        }
    }
}

/// The same readers, which tell `progress`.
fn following(readers: &[SqlReader], progress: &Arc<Progress>) -> Vec<SqlReader> {
    progress.set_table("");
    let follow = |reader: &SqlReader| SqlReader { progress: Arc::clone(progress), ..reader.clone() };
    readers.iter().map(follow).collect()
}

/// The rows of the tables in `order`; those of a table in slices together.
fn rows<'r>(source: &Source, readers: &'r [SqlReader], chosen: &Chosen<'_>, order: &[Relation]) -> Vec<TableRows<'r>> {
    let mut found: BTreeMap<Relation, TableRows<'r>> = BTreeMap::new();
    for (reader, file) in readers.iter().zip(&source.contents.files) {
        for table in file.entries.iter().filter_map(|entry| entry.table).filter(|table| chosen.is_rows(table)) {
            let name = (table.schema.clone(), table.table.clone());
            let rows = found.entry(name.clone()).or_insert_with(|| TableRows {
                name: table.name(),
                copy: copy_statement(&chosen.moved(&name), &table.columns).into_bytes(),
                stretches: Vec::new(),
            });
            rows.stretches.push((reader, table.start..table.end));
        }
    }
    order.iter().filter_map(|table| found.remove(table)).collect()
}

fn copy_statement(table: &Relation, columns: &[String]) -> String {
    let names = columns.iter().map(|column| quote_identifier(column)).collect::<Vec<_>>().join(", ");
    let list = if columns.is_empty() { String::new() } else { format!("({names})") };
    format!("COPY {} {list} FROM stdin;\n", qualified(table))
}

/// The statements that set the sequences.
fn values(source: &Source, chosen: &Chosen<'_>) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for entry in source.contents.entries() {
        let Some(sequence) = chosen.sets(&entry) else { continue };
        let value = entry.value.as_deref().and_then(|value| value.split_once(", "));
        let value = value.and_then(|(value, called)| Some((value.parse::<i64>().ok()?, called.parse::<bool>().ok()?)));
        let (value, called) = value.ok_or_else(|| {
            Error::new(ErrorKind::Damaged, format!("the index tells no value of the sequence {}", shown(sequence)))
        })?;
        let name = literal(&qualified(&chosen.moved(sequence)));
        found.push(format!("SELECT pg_catalog.setval({name}, {value}, {called});\n").into_bytes());
    }
    Ok(found)
}

/// Nothing is left of what failed, and that is worth knowing where a database is in use.
fn explained(error: Error) -> Error {
    let kept = "nothing of it was kept: the database is as it was before";
    match error.hint_text().map(str::to_owned) {
        Some(hint) => error.hint(format!("{kept}; {hint}")),
        None => error.hint(kept),
    }
}
