//! Loading a part of a backup: one psql and one transaction, so that at any failure nothing of it is left.

use super::load::Cut;
use super::parallel::run;
use super::plan::Statements;
use super::select::{Schema, Selection};
use super::session::{Piece, Session, Single, Stretch};
use crate::archive::SqlReader;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Client;
use crate::script::{ColumnOrder, Omit, Scan, Scanner, Section};
use std::ops::Range;

/// The rows of one table.
pub struct TableRows<'a> {
    /// Its name, for people.
    pub name: String,
    /// The COPY statement, with its newline.
    pub copy: Vec<u8>,
    /// Where its rows are.
    pub stretches: Vec<(&'a SqlReader, Range<u64>)>,
}

/// Everything that is loaded, in order.
pub struct Part<'a> {
    /// The settings that the session begins with.
    pub head: Vec<u8>,
    /// Statements of ours before everything else.
    pub first: String,
    /// The definitions.
    definitions: Vec<Statements>,
    /// Rows, between the definitions that stand before data and those behind.
    pub rows: Vec<TableRows<'a>>,
    /// Statements of ours behind the rows: values of sequences.
    pub values: Vec<Vec<u8>>,
    /// Statements of ours at the end.
    pub last: String,
}

impl Part<'_> {
    /// A part that begins with `head`.
    pub fn new(head: Vec<u8>) -> Self {
        Self {
            head,
            first: String::new(),
            definitions: Vec::new(),
            rows: Vec::new(),
            values: Vec::new(),
            last: String::new(),
        }
    }

    /// Adds the definitions of `selection`, in the schema `into` if one is given, after those of `schemas`.
    pub fn define(&mut self, schema: &Schema<'_>, selection: &Selection, schemas: &[String], into: Option<&str>) {
        self.definitions = schemas.iter().filter_map(|name| schema.schema(name)).cloned().collect();
        self.definitions.extend(schema.definitions(selection, into));
    }

    /// Scans everything that psql will see but rows, as psql reads it: what was reworded is no longer what was scanned when
    /// it was read.
    pub fn scan(&self) -> Result<Scan> {
        let mut scanner = Scanner::new(ColumnOrder::new(), Omit::default());
        scanner.feed(&self.head);
        for statements in &self.definitions {
            scanner.feed(&statements.sql);
        }
        scanner.feed(b"--\n-- Name: values; Type: SEQUENCE SET; Schema: -; Owner: -\n--\n\n");
        for value in &self.values {
            scanner.feed(value);
        }
        scanner.feed(b"\n--\n-- PostgreSQL database dump complete\n--\n\n");
        let scan = scanner.finish();
        if let Some(violation) = scan.violations.first() {
            return Err(Error::new(ErrorKind::Refused, format!("what would be loaded holds {}", violation.what))
                .hint("this is not what pg_dump writes; find out who changed the backup"));
        }
        if !scan.complete {
            return Err(Error::new(ErrorKind::Refused, "what would be loaded ends in the middle of a statement")
                .hint("this is not what pg_dump writes; find out who changed the backup"));
        }
        Ok(scan)
    }

    /// Loads it into the database of `client`: all of it, or nothing. `rows_loaded` is told when the last row is.
    pub async fn load(&self, client: &Client, rows_loaded: impl Fn(), cancel: &Cancel) -> Result<()> {
        let mut session = Session::start(client, &self.head, cancel).await?;
        let ours = |what: &str| Single(what.to_owned());
        session.run(format!("begin;\n{}", self.first).as_bytes(), &ours("the beginning"), cancel).await?;
        let behind = |statements: &&Statements| statements.entry.section == Section::PostData;
        for statements in self.definitions.iter().filter(|one| !behind(one)) {
            run(&mut session, statements, cancel).await?;
        }
        for rows in &self.rows {
            self.load_rows(&mut session, rows, cancel).await?;
        }
        for value in &self.values {
            session.run(value, &ours("the value of a sequence"), cancel).await?;
        }
        rows_loaded();
        for statements in self.definitions.iter().filter(behind) {
            run(&mut session, statements, cancel).await?;
        }
        session.run(format!("{}\ncommit;\n", self.last).as_bytes(), &ours("the end"), cancel).await?;
        session.finish().await
    }

    async fn load_rows(&self, session: &mut Session, rows: &TableRows<'_>, cancel: &Cancel) -> Result<()> {
        let mut pieces = vec![Piece::Text(rows.copy.clone())];
        for (reader, range) in &rows.stretches {
            reader.progress.set_table(&rows.name);
            let escaped = if session.ends_at_ctrl_z() { vec![range.clone()] } else { Vec::new() };
            let cut = Cut::new(range.start, Vec::new(), Vec::new(), escaped);
            pieces.push(Piece::Stretch(Stretch { reader, range: range.clone(), cut, rows: true }));
        }
        pieces.push(Piece::Text(b"\\.\n".to_vec()));
        session.stream(pieces, &Single(format!("TABLE DATA {}", rows.name)), cancel).await
    }
}
