//! Loading by several sessions: definitions first, then every part of the plan as soon as it may begin, then the rest.

use super::graph::Schedule;
use super::load::{Cut, Object, entry_at};
use super::plan::{Plan, Planner, RestoreFile, Statements, Work};
use super::relations::Relations;
use super::session::{Located, Piece, Session, Stretch};
use crate::cancel::{Cancel, Cause};
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::Client;
use crate::script::{Entries, Entry, Section, TableData, first_statement};
use futures_util::future::join_all;
use serde::Deserialize;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How much memory the indexes that are being made may take together, in MiB, where the server does not say more.
const MAINTENANCE_MIB: u64 = 256;

/// Loads files that were outlined into an empty database.
pub struct Loading<'a> {
    /// The database.
    pub client: &'a Client,
    /// The files, in the order of the dump.
    pub files: &'a [RestoreFile],
    /// How many sessions load at once, at least 1.
    pub jobs: usize,
    /// Told once, when the last row is loaded.
    pub rows_loaded: &'a (dyn Fn() + Sync),
}

/// How long loading took.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadTimes {
    /// From the first definition to the last row.
    pub load: Duration,
    /// From the last row on: indexes, keys and whatever else comes behind the data.
    pub index: Duration,
}

/// The parts that are left, for all sessions.
struct Shared {
    schedule: Mutex<Schedule>,
    changed: Notify,
    /// How many parts with rows are left.
    rows: Mutex<usize>,
    last_row: Mutex<Option<Instant>>,
}

/// A stretch of a file, whose lines are those of the file.
struct InFile<'a> {
    entries: &'a Entries,
    /// The line of the file at which it begins.
    first: u64,
}

impl Located for InFile<'_> {
    fn at_line(&self, line: u64) -> Option<Object> {
        entry_at(self.entries, (line + self.first).saturating_sub(1)).map(Object::from)
    }
}

#[derive(Deserialize)]
struct Memory {
    /// `maintenance_work_mem` in KiB.
    maintenance: u64,
}

impl Loading<'_> {
    /// Loads everything. On an error the database holds a part of it.
    pub async fn run(&self, cancel: &Cancel) -> Result<LoadTimes> {
        let begin = Instant::now();
        let Some(first) = self.files.first() else {
            return Err(Error::new(ErrorKind::Damaged, "the backup holds no data file"));
        };
        if self.jobs <= 1 {
            return self.in_order(cancel).await;
        }
        let mut head = first.head();
        head.extend_from_slice(self.settings(cancel).await?.as_bytes());
        self.definitions(&head, cancel).await?;
        let relations = Relations::ask(self.client, cancel).await?;
        let data = |file: &RestoreFile| -> Vec<Entry> {
            file.outline
                .scan
                .entries
                .iter()
                .filter(|e| e.section == Section::Data && e.kind != "LARGE OBJECT")
                .collect()
        };
        let entries: Vec<Vec<Entry>> = self.files.iter().map(data).collect();
        let Plan { graph, work, rest } = Planner::new(self.files, &relations, self.jobs).plan(&entries);
        drop(entries);
        let rows = work.iter().filter(|work| work.is_rows()).count();
        let sessions = self.jobs.min(graph.len()).max(1);
        let shared = Shared {
            schedule: Mutex::new(graph.schedule()),
            changed: Notify::new(),
            rows: Mutex::new(rows),
            last_row: Mutex::new(None),
        };
        if rows == 0 {
            shared.note_last_row(self);
        }
        // One that fails stops the others.
        let stop = cancel.child();
        let workers = (0..sessions).map(|_| async {
            let done = self.work(&head, &work, &shared, &stop).await;
            shared.changed.notify_waiters();
            done
        });
        let ended = join_all(workers).await;
        cancel.check()?;
        let failed = ended.into_iter().filter_map(Result::err);
        // Those that were stopped did not fail by themselves.
        if let Some(error) = failed.min_by_key(|error| error.kind() == ErrorKind::Terminated) {
            return Err(error);
        }
        let last_row =
            shared.last_row.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Instant::now);
        if !rest.is_empty() {
            let mut session = Session::start(self.client, &head, cancel).await?;
            for statements in &rest {
                run(&mut session, statements, cancel).await?;
            }
            session.finish().await?;
        }
        Ok(LoadTimes { load: last_row - begin, index: last_row.elapsed() })
    }

    /// The script as it stands, in one session.
    async fn in_order(&self, cancel: &Cancel) -> Result<LoadTimes> {
        let begin = Instant::now();
        let mut last_row = None;
        let mut session = Session::start(self.client, b"", cancel).await?;
        for file in self.files {
            let entries = &file.outline.scan.entries;
            let end = file.reader.map.sql_bytes();
            let behind =
                entries.iter().find(|entry| entry.section == Section::PostData).map_or(end, |entry| entry.start);
            let mut pieces = Vec::new();
            let mut at = 0;
            for table in entries.iter().filter_map(|entry| entry.table) {
                pieces.push(Self::stretch(&session, file, at..table.start, false));
                pieces.push(Self::stretch(&session, file, table.start..table.end, true));
                at = table.end;
            }
            pieces.push(Self::stretch(&session, file, at..behind, false));
            session.stream(pieces, &InFile { entries, first: 1 }, cancel).await?;
            if behind < end {
                last_row.get_or_insert_with(Instant::now);
                (self.rows_loaded)();
                let first = entries.iter().find(|entry| entry.start == behind).map_or(1, |entry| entry.line);
                let rest = Self::stretch(&session, file, behind..end, false);
                session.stream(vec![rest], &InFile { entries, first }, cancel).await?;
            }
        }
        session.finish().await?;
        let last_row = last_row.unwrap_or_else(Instant::now);
        Ok(LoadTimes { load: last_row - begin, index: last_row.elapsed() })
    }

    /// What makes loading fast and changes nothing of what is loaded.
    async fn settings(&self, cancel: &Cancel) -> Result<String> {
        let query = "select json_build_object('maintenance', \
                     (select setting::bigint from pg_catalog.pg_settings where name = 'maintenance_work_mem'));";
        let Memory { maintenance } = self.client.query_json(query, cancel).await?;
        let jobs = self.jobs.max(1) as u64;
        let memory = maintenance.max(MAINTENANCE_MIB * 1024 / jobs);
        // As many processes as there are sessions use the processors already.
        let workers = if self.jobs > 1 { 0 } else { 2 };
        Ok(format!(
            "\nset synchronous_commit = off; set maintenance_work_mem = '{memory}kB'; \
             set max_parallel_maintenance_workers = {workers};\n"
        ))
    }

    /// All definitions that stand before data, as they stand.
    async fn definitions(&self, head: &[u8], cancel: &Cancel) -> Result<()> {
        let mut session = Session::start(self.client, head, cancel).await?;
        for file in self.files {
            let entries = &file.outline.scan.entries;
            let mut before =
                entries.iter().filter(|entry| entry.section == Section::PreData && entry.kind != "LARGE OBJECT");
            let Some(end) = before.by_ref().map(|entry| entry.end).last() else { continue };
            let located = InFile { entries, first: 1 };
            let stretch = Self::stretch(&session, file, 0..end, false);
            session.stream(vec![stretch], &located, cancel).await?;
        }
        session.finish().await
    }

    fn stretch<'f>(session: &Session, file: &'f RestoreFile, range: Range<u64>, rows: bool) -> Piece<'f> {
        let escaped = match (session.ends_at_ctrl_z(), rows) {
            (false, _) => Vec::new(),
            (true, true) => vec![range.clone()],
            (true, false) => super::load::row_ranges(&file.outline.scan.entries),
        };
        let scan = &file.outline.scan;
        let cut = Cut::new(range.start, scan.omitted.clone(), scan.replaced.clone(), escaped);
        Piece::Stretch(Stretch { reader: &file.reader, range, cut, rows })
    }

    /// One session's work, until nothing is left. The session is gone then.
    async fn work(&self, head: &[u8], work: &[Work], shared: &Shared, cancel: &Cancel) -> Result<()> {
        let mut session: Option<Session> = None;
        let done = self.work_in(&mut session, head, work, shared, cancel).await;
        if done.is_err() {
            // Nobody goes on for long now.
            cancel.cancel(Cause::Terminate);
        }
        let ended = match session {
            Some(session) => session.finish().await,
            None => Ok(()),
        };
        done.and(ended)
    }

    async fn work_in(
        &self,
        session: &mut Option<Session>,
        head: &[u8],
        work: &[Work],
        shared: &Shared,
        cancel: &Cancel,
    ) -> Result<()> {
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            // From here on a change is heard of, also one that comes before the wait.
            changed.as_mut().enable();
            cancel.check()?;
            let next = {
                let mut schedule = shared.schedule.lock().unwrap_or_else(PoisonError::into_inner);
                if schedule.is_done() {
                    return Ok(());
                }
                schedule.begin()
            };
            let Some((id, part)) = next.and_then(|id| Some((id, work.get(id)?))) else {
                tokio::select! {
                    () = changed => {}
                    () = cancel.cancelled() => return Err(cancel.error()),
                }
                continue;
            };
            if session.is_none() {
                *session = Some(Session::start(self.client, head, cancel).await?);
            }
            if let Some(session) = session {
                self.part(session, part, cancel).await?;
            }
            if part.is_rows() {
                let mut rows = shared.rows.lock().unwrap_or_else(PoisonError::into_inner);
                *rows -= 1;
                if *rows == 0 {
                    shared.note_last_row(self);
                }
            }
            shared.schedule.lock().unwrap_or_else(PoisonError::into_inner).done(id);
            shared.changed.notify_waiters();
        }
    }

    async fn part(&self, session: &mut Session, work: &Work, cancel: &Cancel) -> Result<()> {
        match work {
            Work::Statements(all) => {
                for statements in all {
                    run(session, statements, cancel).await?;
                }
                Ok(())
            }
            Work::Stretch { file, range, what } => {
                let Some(file) = self.files.get(*file) else { return Ok(()) };
                file.reader.progress.set_table(what);
                let entries = &file.outline.scan.entries;
                let first = entries.iter().find(|entry| entry.start == range.start).map_or(1, |entry| entry.line);
                let stretch = Self::stretch(session, file, range.clone(), false);
                session.stream(vec![stretch], &InFile { entries, first }, cancel).await
            }
            Work::Rows { file, entry, copy, range, whole } => {
                let Some(file) = self.files.get(*file) else { return Ok(()) };
                file.reader.progress.set_table(&entry.table.as_ref().map(TableData::name).unwrap_or_default());
                let stretch = Self::stretch(session, file, range.clone(), true);
                let (before, after) = match frozen(copy).filter(|_| *whole) {
                    // Rows of a table that was made empty by the same transaction need no log where the server keeps
                    // none but for recovery, and are known to all at once.
                    Some(copy) => (copy, "\\.\ncommit;\n"),
                    None => (copy.clone(), "\\.\n"),
                };
                let pieces = vec![Piece::Text(before), stretch, Piece::Text(after.into())];
                session.stream(pieces, &**entry, cancel).await
            }
        }
    }
}

impl Shared {
    fn note_last_row(&self, loading: &Loading<'_>) {
        *self.last_row.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        (loading.rows_loaded)();
    }
}

impl Work {
    fn is_rows(&self) -> bool {
        matches!(self, Self::Rows { .. } | Self::Stretch { .. })
    }
}

/// Runs the statements of one entry with the tablespace and access method that it is made with.
pub(super) async fn run(session: &mut Session, statements: &Statements, cancel: &Cancel) -> Result<()> {
    let (tablespace, access_method) = &statements.storage;
    let mut sql = Vec::with_capacity(statements.sql.len());
    if session.storage != statements.storage {
        let empty = |value: &String, none: &str| if value.is_empty() { none.to_owned() } else { value.clone() };
        sql.extend_from_slice(format!("SET default_tablespace = {};", empty(tablespace, "DEFAULT")).as_bytes());
        let method = empty(access_method, "DEFAULT");
        sql.extend_from_slice(format!(" SET default_table_access_method = {method};\n").as_bytes());
        session.storage = statements.storage.clone();
    }
    sql.extend_from_slice(&statements.sql);
    session.run(&sql, &statements.entry, cancel).await
}

/// The text before the rows of a whole table, so that they are loaded into a table made empty by the same transaction.
fn frozen(copy: &[u8]) -> Option<Vec<u8>> {
    // It ends with its semicolon; a newline and the rows come next.
    let (end, text) = first_statement(copy)?;
    let (comment, statement) = copy.split_at_checked(end.checked_sub(text.len())?)?;
    let name = relation(statement.strip_prefix(b"COPY ")?)?;
    let head = statement.strip_suffix(b" FROM stdin;\n")?;
    let mut text = b"begin; truncate table only ".to_vec();
    text.extend_from_slice(name);
    text.extend_from_slice(b";");
    text.extend_from_slice(b"\n");
    text.extend_from_slice(comment);
    text.extend_from_slice(head);
    text.extend_from_slice(b" FROM stdin WITH (FREEZE);\n");
    Some(text)
}

/// The name of a relation at the beginning of `text`, as it stands there.
fn relation(text: &[u8]) -> Option<&[u8]> {
    let first = identifier(text)?;
    let dot = text.get(first..)?.strip_prefix(b".")?;
    text.get(..first + 1 + identifier(dot)?)
}

/// How long the identifier at the beginning of `text` is.
fn identifier(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        let length = text.iter().position(|b| matches!(b, b' ' | b'.' | b'(' | b'\n')).unwrap_or(text.len());
        return (length > 0).then_some(length);
    }
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', text.get(at..)?)? + 1;
        if text.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_table_is_loaded_in_a_transaction_that_emptied_it() {
        let text = |copy: &str| frozen(format!("--\n-- Data for Name: x\n--\n\n{copy}").as_bytes());
        let some = text("COPY public.\"a\"\".b COPY (\" (id, \"x y\") FROM stdin;\n").unwrap();
        assert_eq!(
            String::from_utf8(some).unwrap(),
            "begin; truncate table only public.\"a\"\".b COPY (\";\n--\n-- Data for Name: x\n--\n\nCOPY public.\"a\"\".b COPY (\" (id, \
             \"x y\") FROM stdin WITH (FREEZE);\n"
        );
        assert!(text("COPY public.t  FROM stdin;\n").unwrap().starts_with(b"begin; truncate table only public.t;\n"));
        let odd = text("COPY public.\"x\nCOPY public.victim (\" (\"\nCOPY public.t \") FROM stdin;\n").unwrap();
        assert!(odd.starts_with(b"begin; truncate table only public.\"x\nCOPY public.victim (\";\n"));
        assert_eq!(text("COPY t (id) FROM stdin;\n"), None);
        assert_eq!(text("COPY public.\"t (id) FROM stdin;\n"), None);
    }
}
