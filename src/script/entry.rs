//! Entries of the dump's table of contents, found by the header comment that pg_dump writes before each.

use super::{Digest, Fingerprint, text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The three sections of a dump, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Definitions that must be there before data: types, functions, tables.
    PreData,
    /// Rows, values of sequences, large objects.
    Data,
    /// Definitions that come after data: indexes, keys, triggers, policies.
    PostData,
}

/// One entry of the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its kind, as pg_dump names it: `TABLE`, `INDEX`, `TABLE DATA`, `ACL`, ….
    pub kind: String,
    /// Its name, as the header tells it: newlines are blanks there, functions carry their arguments.
    pub name: String,
    /// Its schema, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its owner, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The section it stands in.
    pub section: Section,
    /// Where it begins in the SQL, in bytes: the first dash of its header.
    pub start: u64,
    /// Where it ends: the beginning of the next one, or of the closing comment.
    pub end: u64,
    /// The line of the SQL at which it begins, from 1.
    pub line: u64,
    /// The digest of its statements, changes of owner and session settings left out.
    pub digest: Digest,
    /// The rows of a `TABLE DATA` entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableData>,
    /// What a `SEQUENCE SET` entry sets: the value and whether it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The digest with what a restore may reorder in a fixed order: columns of a `TABLE` with parents, roles of a `POLICY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unordered_digest: Option<Digest>,
}

/// The rows of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableData {
    /// The schema, from the COPY statement.
    pub schema: String,
    /// The name, from the COPY statement.
    pub table: String,
    /// The columns in the order of the rows.
    pub columns: Vec<String>,
    /// Number of rows.
    pub rows: u64,
    /// Where the rows begin in the SQL.
    pub start: u64,
    /// Where they end: the beginning of the closing `\.`.
    pub end: u64,
    /// Their order-independent fingerprint.
    pub fingerprint: Fingerprint,
    /// Which part of the table these rows are, where a parallel dump split it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<Slice>,
}

/// One part of a table that a parallel dump split: `number` of `of`, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Slice {
    /// Which, from 1.
    pub number: u32,
    /// Of how many.
    pub of: u32,
}

impl From<(u32, u32)> for Slice {
    fn from((number, of): (u32, u32)) -> Self {
        Self { number, of }
    }
}

impl From<Slice> for (u32, u32) {
    fn from(slice: Slice) -> Self {
        (slice.number, slice.of)
    }
}

impl Slice {
    /// What stands at the end of the header of a slice, which pg_dump never writes.
    const MARK: &'static str = "; Slice: ";

    /// The end of a header: `; Slice: 2/4`.
    pub fn mark(self) -> String {
        format!("{}{}/{}", Self::MARK, self.number, self.of)
    }

    /// Parts a header from its mark.
    fn split(header: &str) -> (&str, Option<Self>) {
        let slice = header.rsplit_once(Self::MARK).and_then(|(rest, mark)| {
            let (number, of) = mark.split_once('/')?;
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            (1 <= number && number <= of).then_some((rest, Self { number, of }))
        });
        slice.map_or((header, None), |(rest, slice)| (rest, Some(slice)))
    }
}

impl Entry {
    /// Whether this is an object of its own, and not a further slice of a table's rows: what is counted.
    pub fn counts(&self) -> bool {
        let slice = self.table.as_ref().and_then(|table| table.slice);
        slice.is_none_or(|slice| slice.number == 1)
    }
}

impl TableData {
    /// The name as headers tell it, where newlines are blanks.
    pub fn name_in_headers(&self) -> String {
        self.table.replace(['\n', '\r'], " ")
    }

    /// `schema.table`, for people.
    pub fn name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }
}

/// The header comment of an entry: `-- Name: …; Type: …; Schema: …; Owner: …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) schema: Option<String>,
    pub(super) owner: Option<String>,
    /// Of rows only.
    pub(super) slice: Option<Slice>,
}

impl Header {
    /// What stands before the kind.
    const TYPE: &'static str = "; Type: ";

    /// Reads a comment line; `None` if it is no header.
    ///
    /// Names and schemas may hold what separates the fields. Headers of data begin in a way of their own, which leaves one
    /// kind for them. Of the others the one is taken that leaves one of `odd_schemas`, the schemas of this script that look
    /// like fields; or else the last that looks like a kind, for schemas are the likelier to be plain.
    pub(super) fn parse(comment: &[u8], odd_schemas: &BTreeSet<String>) -> Option<Self> {
        let comment = comment.strip_suffix(b"\n").unwrap_or(comment);
        let (rest, of_data) = match comment.strip_prefix(b"-- Data for Name: ") {
            Some(rest) => (rest, true),
            None => (comment.strip_prefix(b"-- Name: ")?, false),
        };
        let rest = text(rest);
        let (rest, slice) = if of_data { Slice::split(&rest) } else { (rest.as_str(), None) };
        let (rest, owner) = rest.rsplit_once("; Owner: ")?;
        // Behind the owner there may be a tablespace.
        let owner = owner.split_once("; Tablespace: ").map_or(owner, |(owner, _)| owner);
        let candidates = rest.rmatch_indices(Self::TYPE).filter_map(|(at, separator)| {
            let (kind, schema) = rest[at + separator.len()..].split_once("; Schema: ")?;
            let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_uppercase() || b == b' ');
            let is_data = matches!(kind, "TABLE DATA" | "BLOBS" | "STATISTICS DATA");
            (is_kind && is_data == of_data).then_some((&rest[..at], kind, schema))
        });
        let is_odd = |(_, _, schema): &(&str, &str, &str)| odd_schemas.contains(*schema);
        let (name, kind, schema) = candidates.clone().find(is_odd).or_else(|| candidates.clone().next())?;
        let given = |field: &str| if field == "-" || field.is_empty() { None } else { Some(field.to_owned()) };
        Some(Self { kind: kind.to_owned(), name: name.to_owned(), schema: given(schema), owner: given(owner), slice })
    }

    /// Whether this makes a schema whose name, in a header, looks like fields.
    pub(super) fn makes_odd_schema(&self) -> bool {
        self.kind == "SCHEMA" && self.name.contains(Self::TYPE)
    }

    /// The section, given that of the entry before: kinds that appear in several follow their neighbours.
    pub(super) fn section(&self, before: Section) -> Section {
        let own = match self.kind.as_str() {
            "TABLE DATA" | "SEQUENCE SET" | "BLOBS" | "BLOB COMMENTS" | "LARGE OBJECT" => Section::Data,
            "INDEX"
            | "CONSTRAINT"
            | "FK CONSTRAINT"
            | "CHECK CONSTRAINT"
            | "TRIGGER"
            | "EVENT TRIGGER"
            | "RULE"
            | "INDEX ATTACH"
            | "POLICY"
            | "ROW SECURITY"
            | "PUBLICATION"
            | "PUBLICATION TABLE"
            | "PUBLICATION TABLES IN SCHEMA"
            | "SUBSCRIPTION"
            | "SUBSCRIPTION TABLE"
            | "MATERIALIZED VIEW DATA"
            | "STATISTICS"
            | "DEFAULT ACL" => Section::PostData,
            _ => Section::PreData,
        };
        own.max(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_even_with_odd_names() {
        let none = BTreeSet::new();
        let header =
            Header::parse(b"-- Name: f(integer, text); Type: FUNCTION; Schema: public; Owner: bob\n", &none).unwrap();
        assert_eq!((header.name.as_str(), header.kind.as_str()), ("f(integer, text)", "FUNCTION"));
        assert_eq!(header.schema.as_deref(), Some("public"));
        let odd = b"-- Name: x; Type: TABLE; Schema: public; Owner: me; Type: VIEW; Schema: s; Owner: you\n";
        let header = Header::parse(odd, &none).unwrap();
        assert_eq!((header.kind.as_str(), header.owner.as_deref()), ("VIEW", Some("you")));
        assert_eq!(header.name, "x; Type: TABLE; Schema: public; Owner: me");
        let data = b"-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: -; Tablespace: fast\n";
        assert_eq!(Header::parse(data, &none).unwrap().owner, None);
        let odd = b"-- Data for Name: t; Type: TABLE DATA; Schema: S; Type: TABLE; Schema: \"x\"; Owner: me\n";
        let header = Header::parse(odd, &none).unwrap();
        assert_eq!(
            (header.kind.as_str(), header.schema.as_deref()),
            ("TABLE DATA", Some("S; Type: TABLE; Schema: \"x\""))
        );
        assert_eq!(Header::parse(b"-- PostgreSQL database dump\n", &none), None);
        let slice = Slice { number: 2, of: 4 };
        let data = format!("-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: me{}\n", slice.mark());
        let header = Header::parse(data.as_bytes(), &none).unwrap();
        assert_eq!((header.owner.as_deref(), header.slice), (Some("me"), Some(slice)));
        let odd = b"-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: me; Slice: 5/4\n";
        assert_eq!(Header::parse(odd, &none).unwrap().owner.as_deref(), Some("me; Slice: 5/4"));
        let data = b"-- Data for Name: t; Type: TABLE DATA; Schema: s; Type: TABLE; Schema: x; Owner: me\n";
        let header = Header::parse(data, &none).unwrap();
        assert_eq!((header.kind.as_str(), header.name.as_str()), ("TABLE DATA", "t"));
        let schema = "x; Type: VIEW; Schema: public; Owner: me".to_owned();
        let odd = b"-- Name: t; Type: TABLE; Schema: x; Type: VIEW; Schema: public; Owner: me; Owner: you\n";
        let header = Header::parse(odd, &[schema.clone()].into()).unwrap();
        assert_eq!((header.name.as_str(), header.kind.as_str(), header.schema), ("t", "TABLE", Some(schema.clone())));
        let odd = format!("-- Name: {schema}; Type: SCHEMA; Schema: -; Owner: you\n");
        let header = Header::parse(odd.as_bytes(), &none).unwrap();
        assert!(header.makes_odd_schema() && header.name == schema, "{header:?}");
    }
}
