//! The streaming scanner: from pg_dump's bytes to entries, row counts and fingerprints.

use super::elsewhere;
use super::entry::Header;
use super::foreign;
use super::lexer::{Lexer, Step};
use super::rows::Rows;
use super::statement::{self, Copy};
use super::{Adaptation, Adapted, Digest, Edit, Entries, Entry, Fingerprint, Omit, Section, Slice, TableData, text};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How many violations are described; more are only counted.
const DESCRIBED: usize = 10;

const BYTE_ORDER_MARK: [u8; 3] = *b"\xef\xbb\xbf";

/// For tables whose columns a restore has put in another order: the order to hash them in, by `(schema, table)`.
pub type ColumnOrder = BTreeMap<(String, String), Vec<String>>;

/// Something in a script that pg_dump does not write and psql must not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The line of the script, from 1.
    pub line: u64,
    /// What it is.
    pub what: String,
}

/// A setting that stands before the entries that need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageDefault {
    /// `default_tablespace`, as the statement writes its value.
    Tablespace(String),
    /// `default_table_access_method`, as the statement writes its value.
    AccessMethod(String),
}

/// What a whole script holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Its entries in order, then one of kind `LARGE OBJECT` for each large object.
    pub entries: Entries,
    /// Whether pg_dump's closing line was seen, outside everything else.
    pub complete: bool,
    /// Its size in bytes.
    pub sql_bytes: u64,
    /// Number of `TABLE DATA` entries, of a table in slices the first.
    pub tables: u64,
    /// Number of rows.
    pub rows: u64,
    /// Number of large objects.
    pub large_objects: u64,
    /// The roles that its statements name.
    pub roles: BTreeSet<String>,
    /// Those of them that grant without being the owner.
    pub grantors: BTreeSet<String>,
    /// The session settings at its head.
    pub settings: BTreeMap<String, String>,
    /// What must not be in it: the first ten.
    pub violations: Vec<Violation>,
    /// Where the tablespace or the access method changes that what follows is made with: the place behind the statement.
    pub defaults: Vec<(u64, StorageDefault)>,
    /// Byte ranges that a restore leaves out, in order.
    pub omitted: Vec<Range<u64>>,
    /// Byte ranges for which a restore writes something else, in order, none of them in [`Scan::omitted`].
    pub replaced: Vec<(Range<u64>, Vec<u8>)>,
    /// What becomes of entries that this leaves otherwise than they were, by [`Entry::start`].
    pub adapted: BTreeMap<u64, Adapted>,
    /// Why, with the number of statements.
    pub adaptations: BTreeMap<Adaptation, u64>,
    /// Byte ranges that [`Omit::elsewhere`] found, in order.
    pub cut: Vec<Range<u64>>,
    /// The statements about the database itself that are in [`Scan::cut`], the first thousand.
    pub about_database: Vec<String>,
    /// How many statements of [`Scan::cut`] drop what a new database does not have.
    pub drops: u64,
}

enum Mode {
    Sql,
    /// Behind the semicolon of a COPY; its newline comes next.
    BeforeRows(Copy),
    Rows(Copy, Box<Rows>, u64),
}

/// An entry whose end has not been seen.
struct Open {
    entry: Entry,
    hasher: Box<Xxh3>,
    slice: Option<Slice>,
    adapting: Option<Adapting>,
    /// How many of its statements, those of the digest, were read.
    statements: u64,
}

/// The digests of an entry as a restore makes it.
struct Adapting {
    hasher: Box<Xxh3>,
    /// How many statements are left of those read.
    statements: u64,
    unordered_digest: Option<Digest>,
}

impl Open {
    /// Its digests as a restore makes it, from here on others.
    fn adapting(&mut self) -> &mut Adapting {
        let (hasher, statements, unordered_digest) = (&self.hasher, self.statements, self.entry.unordered_digest);
        self.adapting.get_or_insert_with(|| Adapting { hasher: hasher.clone(), statements, unordered_digest })
    }
}

/// There may be millions, so it is kept small: 48 bytes.
#[derive(Debug, Default)]
struct LargeObject {
    /// Chained over the digests of its statements, each of which is hashed alone.
    digest: u128,
    start: u64,
    end: u64,
    line: u64,
    /// The number of its owner in [`Scanner::owners`]; 0 for none.
    owner: u32,
}

/// Reads a script in pieces of any size; see the module's documentation.
pub struct Scanner {
    lexer: Lexer,
    mode: Mode,
    offset: u64,
    line: u64,
    /// Where the statement or comment being read began, at the latest.
    open: Option<Open>,
    /// Where a line of two dashes stands, if it was the last thing read: a header may follow.
    dashes: Option<(u64, u64)>,
    section: Section,
    tablespace: String,
    /// What a restore sets instead, where that is something else.
    adapted_tablespace: Option<String>,
    access_method: String,
    large_objects: BTreeMap<u32, LargeObject>,
    /// Who owns large objects, numbered from 1.
    owners: BTreeMap<String, u32>,
    current_object: Option<u32>,
    /// The schemas seen so far whose names make headers ambiguous.
    odd_schemas: BTreeSet<String>,
    orders: ColumnOrder,
    omit: Omit,
    violations: u64,
    /// Whether the statements being read are about the database itself; see [`Omit::elsewhere`].
    of_database: bool,
    /// Whether the script began with a byte order mark, as far as it was read.
    mark: bool,
    scan: Scan,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new(ColumnOrder::new(), Omit::default())
    }
}

impl Scanner {
    /// A scanner that hashes the tables in `orders` in the given column order and notes where what `omit` says stands.
    pub fn new(orders: ColumnOrder, omit: Omit) -> Self {
        Self {
            lexer: Lexer::new(),
            mode: Mode::Sql,
            offset: 0,
            line: 1,
            open: None,
            dashes: None,
            section: Section::PreData,
            // What a session begins with: a file of a parallel dump may hold constraints before the first SET.
            tablespace: "''".to_owned(),
            adapted_tablespace: None,
            access_method: String::new(),
            large_objects: BTreeMap::new(),
            owners: BTreeMap::new(),
            current_object: None,
            odd_schemas: BTreeSet::new(),
            orders,
            omit,
            violations: 0,
            of_database: false,
            mark: true,
            scan: Scan::default(),
        }
    }

    /// Reads the next piece.
    pub fn feed(&mut self, mut input: &[u8]) {
        self.check_bytes(input);
        while !input.is_empty() {
            let read = match &mut self.mode {
                Mode::Sql => self.feed_sql(input),
                Mode::BeforeRows(_) => self.begin_rows(input[0]),
                Mode::Rows(_, rows, _) => {
                    let before = rows.count;
                    let end = rows.feed(input);
                    let passed = rows.count - before;
                    self.line += passed;
                    self.scan.rows += passed;
                    let read = end.unwrap_or(input.len());
                    self.offset += read as u64;
                    let odd = std::mem::take(&mut rows.odd_end);
                    if odd {
                        self.violate("an end of rows that only psql takes for one");
                    }
                    if end.is_some() {
                        self.line += 1;
                        self.end_rows();
                    }
                    read
                }
            };
            input = &input[read..];
        }
    }

    /// Passes over the `bytes` bytes of rows that come next, as the index tells of them, without having seen them. Behind them
    /// the end of the rows must be fed. Does nothing, and tells so, unless the rows of a table have just begun.
    pub fn pass_rows(&mut self, bytes: u64, count: u64, fingerprint: Fingerprint) -> bool {
        let Mode::Rows(_, rows, start) = &mut self.mode else { return false };
        if *start != self.offset {
            return false;
        }
        (rows.count, rows.fingerprint) = (count, fingerprint);
        self.offset += bytes;
        self.line += count;
        self.scan.rows += count;
        true
    }

    /// The table whose rows are being read.
    pub fn table(&self) -> Option<(&str, &str)> {
        match &self.mode {
            Mode::Rows(copy, ..) => Some((&copy.schema, &copy.table)),
            Mode::Sql | Mode::BeforeRows(_) => None,
        }
    }

    /// How many rows have been read.
    pub fn rows(&self) -> u64 {
        match &self.mode {
            Mode::Rows(..) | Mode::Sql | Mode::BeforeRows(_) => self.scan.rows,
        }
    }

    /// What the script held. It is incomplete if it ended inside anything.
    pub fn finish(mut self) -> Scan {
        self.close_entry(self.offset);
        self.scan.complete &= matches!(self.mode, Mode::Sql) && self.lexer.is_between();
        self.scan.sql_bytes = self.offset;
        self.scan.large_objects = self.large_objects.len() as u64;
        let owners: BTreeMap<u32, String> = self.owners.into_iter().map(|(owner, number)| (number, owner)).collect();
        for (oid, object) in self.large_objects {
            self.scan.entries.push(&Entry {
                kind: "LARGE OBJECT".to_owned(),
                name: oid.to_string(),
                schema: None,
                owner: owners.get(&object.owner).cloned(),
                section: Section::Data,
                start: object.start,
                end: object.end,
                line: object.line,
                digest: Digest(object.digest),
                table: None,
                value: None,
                unordered_digest: None,
            });
        }
        self.scan
    }

    fn violate(&mut self, what: impl Into<String>) {
        self.violations += 1;
        if self.violations <= DESCRIBED as u64 {
            self.scan.violations.push(Violation { line: self.line, what: what.into() });
        }
    }

    /// What psql reads in its own way wherever it stands: a NUL hides the rest of its line, a mark of the byte order at
    /// the beginning is no part of the first word.
    fn check_bytes(&mut self, input: &[u8]) {
        if memchr::memchr(0, input).is_some() {
            self.violate("a NUL byte");
        }
        for (place, byte) in (self.offset..3).zip(input) {
            self.mark &= BYTE_ORDER_MARK[place as usize] == *byte;
            if place == 2 && self.mark {
                self.violate("a byte order mark");
            }
        }
    }

    fn feed_sql(&mut self, input: &[u8]) -> usize {
        let (read, step) = self.lexer.advance(input);
        self.offset += read as u64;
        self.line += memchr::memchr_iter(b'\n', &input[..read]).count() as u64;
        let dashes = self.dashes;
        if step != Step::More {
            self.dashes = None;
        }
        match step {
            Step::More => {}
            Step::Comment => self.comment(dashes),
            Step::Statement => self.statement(),
            Step::Meta => self.meta(),
            Step::Refused => self.violate(self.lexer.reason()),
        }
        read
    }

    fn comment(&mut self, dashes: Option<(u64, u64)>) {
        let length = self.lexer.length();
        let comment = self.lexer.text();
        if comment == b"--\n" {
            self.dashes = Some((self.offset - length, self.line - 1));
        } else if comment.starts_with(b"-- TOC entry ") || comment.starts_with(b"-- Dependencies: ") {
            // With --verbose they stand between the dashes and the header.
            self.dashes = dashes;
        } else if comment == b"-- PostgreSQL database dump complete\n" {
            let end = dashes.map_or(self.offset - length, |(offset, _)| offset);
            self.close_entry(end);
            if std::mem::replace(&mut self.scan.complete, true) {
                self.violate("a second closing line");
            }
        } else if let Some((start, line)) = dashes
            && let Some(header) = Header::parse(comment, &self.odd_schemas)
        {
            if self.scan.complete {
                self.violate("an entry behind the closing line");
            }
            self.close_entry(start);
            self.section = header.section(self.section);
            if header.makes_odd_schema() {
                self.odd_schemas.insert(header.name.clone());
            }
            if self.omit.elsewhere && elsewhere::is_of_database(&header.kind, &header.name) {
                self.scan.cut.push(start..self.offset);
                self.of_database = true;
                return;
            }
            let entry = Entry {
                kind: header.kind,
                name: header.name,
                schema: header.schema,
                owner: header.owner,
                section: self.section,
                start,
                end: start,
                line,
                digest: Digest::default(),
                table: None,
                value: None,
                unordered_digest: None,
            };
            let hasher = self.begin_digest(&entry.kind, &self.tablespace);
            let adapted = self.adapted_tablespace.as_ref().map(|tablespace| self.begin_digest(&entry.kind, tablespace));
            let adapting = adapted.map(|hasher| Adapting { hasher, statements: 0, unordered_digest: None });
            if let Some(owner) = &entry.owner {
                self.scan.roles.insert(owner.clone());
            }
            self.open = Some(Open { entry, hasher, slice: header.slice, adapting, statements: 0 });
        }
    }

    /// The digest of an entry of `kind` before its first statement: the settings that stand before its header.
    fn begin_digest(&self, kind: &str, tablespace: &str) -> Box<Xxh3> {
        let mut hasher = Box::new(Xxh3::new());
        if matches!(kind, "TABLE" | "INDEX" | "MATERIALIZED VIEW" | "CONSTRAINT") {
            hasher.update(tablespace.as_bytes());
        }
        if matches!(kind, "TABLE" | "MATERIALIZED VIEW") {
            hasher.update(self.access_method.as_bytes());
        }
        hasher
    }

    fn meta(&mut self) {
        let line = self.lexer.text();
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let known = matches!(words.next(), Some(b"\\restrict" | b"\\unrestrict"));
        let key = words.next().is_some_and(|key| key.iter().all(u8::is_ascii_alphanumeric));
        if known && key && words.next().is_none() {
            let start = self.offset - self.lexer.length();
            self.scan.omitted.push(start..self.offset);
        } else if self.of_database && line.starts_with(b"\\connect ") {
            let start = self.offset - self.lexer.length();
            self.scan.cut.push(start..self.offset);
        } else {
            let shown = text(&line[..line.len().min(60)]);
            self.line -= 1;
            self.violate(format!("the psql command {:?}", shown.trim_end()));
            self.line += 1;
        }
    }

    fn statement(&mut self) {
        if self.scan.complete {
            self.violate("a statement after its closing line");
        }
        let length = self.lexer.length();
        let start = self.offset - length;
        let statement = self.lexer.text();
        let first = statement.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let word = statement[..first].to_ascii_uppercase();
        if self.omit.elsewhere && self.cut_out(&word, start) {
            return;
        }
        let statement = self.lexer.text();
        if let Some(what) = self.foreign(&word, statement) {
            self.violate(what);
        }
        let statement = self.lexer.text();
        if self.open.is_none() && statement.starts_with(b"SELECT pg_catalog.set_config(") {
            return;
        }
        let edit = self.edit();
        self.note(&edit, start);
        let statement = self.lexer.text();
        match word.as_slice() {
            b"COPY" => match Copy::parse(statement).filter(|_| self.lexer.is_whole()) {
                Some(copy) => {
                    self.hash_statement(&edit);
                    self.mode = Mode::BeforeRows(copy);
                    return;
                }
                None => self.violate("a COPY that is not one of pg_dump's"),
            },
            b"SET" => {
                if let Some((name, value)) = statement::setting(statement) {
                    self.set(&name, value, &edit);
                    return;
                }
            }
            b"ALTER" if statement::is_owner_change(statement) => {
                self.owner_change();
                return;
            }
            _ => {}
        }
        let kind = self.open.as_ref().map(|open| open.entry.kind.clone()).unwrap_or_default();
        match kind.as_str() {
            "ACL" | "DEFAULT ACL" if self.omit.privileges => {}
            "ACL" | "DEFAULT ACL" | "USER MAPPING" => {
                let roles = statement::roles(self.lexer.text());
                if word == b"SET" {
                    self.scan.grantors.extend(roles.iter().cloned());
                }
                self.scan.roles.extend(roles);
            }
            "BLOB" | "BLOB METADATA" | "BLOBS" => self.large_object(start),
            "SEQUENCE SET" => {
                let value = statement::sequence_value(self.lexer.text());
                if let Some(open) = &mut self.open {
                    open.entry.value = value.or(open.entry.value.take());
                }
            }
            "TABLE" | "POLICY" => {
                self.scan.roles.extend(statement::roles(self.lexer.text()));
                let unordered = unordered_digest(&kind, self.lexer.text());
                if let Some(open) = &mut self.open {
                    open.entry.unordered_digest = unordered.or(open.entry.unordered_digest.take());
                }
            }
            _ => {}
        }
        self.hash_statement(&edit);
    }

    /// What becomes of the statement that was read last.
    fn edit(&self) -> Edit {
        if !self.omit.edits() {
            return Edit::Keep;
        }
        let (kind, name) = self.open.as_ref().map_or(("", ""), |open| (&open.entry.kind, &open.entry.name));
        match self.omit.edit(kind, name, self.lexer.text()) {
            // Only its beginning is known.
            Edit::Reword(..) if !self.lexer.is_whole() => Edit::Keep,
            edit => edit,
        }
    }

    fn note(&mut self, edit: &Edit, start: u64) {
        let why = match edit {
            Edit::Keep => return,
            Edit::LeaveOut(why) => {
                self.scan.omitted.push(start..self.offset);
                std::slice::from_ref(why)
            }
            Edit::Reword(text, why) => {
                self.scan.replaced.push((start..self.offset, text.clone()));
                why
            }
        };
        for why in why {
            *self.scan.adaptations.entry(why.clone()).or_default() += 1;
        }
    }

    /// Whether a statement is one of those that `--create` and `--clean` add; it is then noted.
    fn cut_out(&mut self, word: &[u8], start: u64) -> bool {
        let statement = self.lexer.text();
        let drops = self.in_head() && elsewhere::is_drop(word, statement);
        let of_database = self.of_database && !matches!(word, b"SET" | b"SELECT" | b"COPY" | b"INSERT");
        if of_database && self.scan.about_database.len() < elsewhere::MOST_STATEMENTS {
            self.scan.about_database.push(text(statement));
        }
        if drops || of_database {
            self.scan.drops += u64::from(drops);
            self.scan.cut.push(start..self.offset);
        }
        drops || of_database
    }

    /// Whether no entry has been seen yet.
    fn in_head(&self) -> bool {
        self.open.is_none() && self.scan.entries.is_empty()
    }

    /// What is wrong with a statement that pg_dump does not write. The settings that say how psql reads strings and
    /// characters are the point: the rest of the script must be read as it will read them.
    fn foreign(&self, word: &[u8], statement: &[u8]) -> Option<&'static str> {
        let in_head = self.in_head();
        if self.scan.complete {
            return Some("a statement behind the closing line");
        }
        match word {
            b"SET" => foreign::foreign_setting(statement, in_head),
            b"SELECT" if !self.lexer.is_whole() || !foreign::is_select(statement, self.lexer.standard_strings()) => {
                Some("a SELECT that is not one of pg_dump's")
            }
            // Behind the grants of someone who is not the owner.
            b"RESET" if statement == b"RESET SESSION AUTHORIZATION;" => None,
            b"ALTER" | b"BEGIN" | b"COMMENT" | b"COMMIT" | b"COPY" | b"CREATE" | b"DROP" | b"GRANT" | b"INSERT"
            | b"REFRESH" | b"REVOKE" | b"SECURITY" | b"SELECT" => None,
            _ => Some("a statement that is not one of pg_dump's"),
        }
    }

    fn hash_statement(&mut self, edit: &Edit) {
        let Some(open) = &mut self.open else { return };
        let digest = self.lexer.digest().to_le_bytes();
        match edit {
            Edit::Keep => {
                if let Some(adapting) = &mut open.adapting {
                    adapting.hasher.update(&digest);
                    adapting.statements += 1;
                    adapting.unordered_digest = open.entry.unordered_digest;
                }
            }
            Edit::LeaveOut(_) => drop(open.adapting()),
            Edit::Reword(text, _) => {
                let unordered = unordered_digest(&open.entry.kind, text);
                let adapting = open.adapting();
                adapting.hasher.update(&xxh3_128(text).to_le_bytes());
                adapting.statements += 1;
                adapting.unordered_digest = unordered.or(adapting.unordered_digest);
            }
        }
        open.hasher.update(&digest);
        open.statements += 1;
    }

    /// Settings stand before the header of the entry that needs them; their values count with that entry.
    fn set(&mut self, name: &str, value: String, edit: &Edit) {
        match name {
            "standard_conforming_strings" => self.lexer.set_standard_strings(value != "off"),
            "default_tablespace" => {
                self.adapted_tablespace = match edit {
                    Edit::Reword(text, _) => statement::setting(text).map(|(_, value)| value),
                    Edit::Keep | Edit::LeaveOut(_) => None,
                };
                let used = self.adapted_tablespace.clone().unwrap_or_else(|| value.clone());
                self.scan.defaults.push((self.offset, StorageDefault::Tablespace(used)));
                self.tablespace.clone_from(&value);
            }
            "default_table_access_method" => {
                self.access_method.clone_from(&value);
                self.scan.defaults.push((self.offset, StorageDefault::AccessMethod(value.clone())));
            }
            _ => {}
        }
        if self.open.is_none() {
            self.scan.settings.insert(name.to_owned(), value);
        }
    }

    fn owner_change(&mut self) {
        let statement = self.lexer.text();
        let owner = statement::roles(statement).into_iter().next();
        let object =
            if statement.starts_with(b"ALTER LARGE OBJECT") { statement::large_object(statement) } else { None };
        if let Some(oid) = object {
            let next = self.owners.len() as u32 + 1;
            let number = owner.as_ref().map_or(0, |owner| *self.owners.entry(owner.clone()).or_insert(next));
            self.large_objects.entry(oid).or_default().owner = number;
        }
        self.scan.roles.extend(owner);
    }

    fn large_object(&mut self, start: u64) {
        let statement = self.lexer.text();
        let named = statement::large_object(statement);
        if let Some(oid) = named {
            self.current_object = Some(oid);
        }
        let Some(oid) = self.current_object else { return };
        let object = self.large_objects.entry(oid).or_default();
        object.digest = chain(object.digest, self.lexer.digest());
        if named.is_some() {
            object.start = start;
            object.line = self.line;
        }
        object.end = self.offset;
        if statement.starts_with(b"SELECT pg_catalog.lo_close(") {
            self.current_object = None;
        }
    }

    fn begin_rows(&mut self, byte: u8) -> usize {
        let Mode::BeforeRows(copy) = std::mem::replace(&mut self.mode, Mode::Sql) else {
            return 0;
        };
        if byte != b'\n' {
            self.violate("something behind a COPY on the same line");
        }
        let key = (copy.schema.clone(), copy.table.clone());
        let order = self.orders.get(&key).and_then(|wanted| column_places(&copy.columns, wanted));
        self.offset += 1;
        self.line += 1;
        self.mode = Mode::Rows(copy, Box::new(Rows::new(order)), self.offset);
        1
    }

    fn end_rows(&mut self) {
        let Mode::Rows(copy, rows, start) = std::mem::replace(&mut self.mode, Mode::Sql) else {
            return;
        };
        let Copy { schema, table, mut columns } = copy;
        if let Some(wanted) = self.orders.get(&(schema.clone(), table.clone()))
            && column_places(&columns, wanted).is_some()
        {
            columns.clone_from(wanted);
        }
        let end = self.offset - b"\\.\n".len() as u64;
        let slice = self.open.as_ref().and_then(|open| open.slice);
        let (rows, fingerprint) = (rows.count, rows.fingerprint);
        let data = TableData { schema, table, columns, rows, start, end, fingerprint, slice };
        match &mut self.open {
            Some(open) if open.entry.kind == "TABLE DATA" && open.entry.table.is_none() => {
                open.entry.table = Some(data);
            }
            _ => self.violate("rows outside an entry for them"),
        }
    }

    fn close_entry(&mut self, end: u64) {
        self.current_object = None;
        self.of_database = false;
        if let Some(Open { mut entry, hasher, adapting, statements, .. }) = self.open.take() {
            entry.end = end;
            entry.digest = Digest(hasher.digest128());
            if let Some(Adapting { hasher, statements: left, unordered_digest }) = adapting {
                let gone = left == 0 && statements > 0;
                let otherwise = Adapted::Otherwise(Digest(hasher.digest128()), unordered_digest);
                self.scan.adapted.insert(entry.start, if gone { Adapted::Gone } else { otherwise });
            }
            if entry.kind == "TABLE DATA" && entry.counts() {
                self.scan.tables += 1;
            }
            self.scan.entries.push(&entry);
        }
    }
}

fn chain(before: u128, next: u128) -> u128 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&before.to_le_bytes());
    both[16..].copy_from_slice(&next.to_le_bytes());
    xxh3_128(&both)
}

/// For each wanted column its place in `columns`; `None` if they are the same already, or not the same set.
fn column_places(columns: &[String], wanted: &[String]) -> Option<Vec<usize>> {
    if columns == wanted || columns.len() != wanted.len() {
        return None;
    }
    let places: BTreeMap<&String, usize> = columns.iter().enumerate().map(|(place, name)| (name, place)).collect();
    wanted.iter().map(|name| places.get(name).copied()).collect()
}

/// The digest of a statement whose parts come back in another order: the columns of a table with parents, for a restore
/// puts inherited ones first, and the roles of a policy.
fn unordered_digest(kind: &str, statement: &[u8]) -> Option<Digest> {
    let normal = if kind == "POLICY" {
        statement::policy_in_order(statement)?
    } else {
        memchr::memmem::find(statement, b"\nINHERITS (")?;
        let strip = |line: &[u8]| line.strip_suffix(b",").unwrap_or(line).to_vec();
        let mut lines: Vec<Vec<u8>> = statement.split(|&b| b == b'\n').map(strip).collect();
        lines.sort();
        lines.join(&b'\n')
    };
    Some(Digest(xxh3_128(&normal)))
}
