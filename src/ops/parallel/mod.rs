//! A dump by several sessions at once, all of one moment: pg_dump writes definitions, small tables, sequences and large
//! objects; sessions of our own copy the large tables, split into ranges of pages, so that one huge table sets no pace.
//!
//! ```text
//! NAME.00.sql.gz       pg_dump --section=pre-data --section=data, without the rows of the large tables
//! NAME.01.sql.gz …     rows, one file a session
//! NAME.NN.sql.gz       pg_dump --section=post-data
//! ```
//!
//! Loaded in the order of their names they are one dump.

mod plan;
mod rows;

use super::dump::{Dumper, Started, explain_error};
use super::store::FanOut;
use crate::archive::Packed;
use crate::destination::Key;
use crate::error::{Error, ErrorKind, Result};
use crate::postgres::{Session, Snapshot, SourceTable};
use crate::script::Slice;
use futures_util::future::try_join_all;
use plan::{Plan, exclusion, plan};
use rows::{Queue, Rows};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often to begin again when somebody waits for a lock between the sessions.
const ATTEMPTS: usize = 3;

/// How long a session waits for a lock that the snapshot holds already: then somebody else waits before it, and for us.
const SHARED_LOCK_WAIT: Duration = Duration::from_secs(10);

/// One of the streams that make up the dump.
enum Stream {
    PgDump(Box<Started>),
    Rows(Box<Session>),
}

/// A parallel dump that is ready to begin: every session has its locks, and sees the same moment.
pub(super) struct Parallel {
    snapshot: Snapshot,
    plan: Plan,
    streams: Vec<Stream>,
}

impl Parallel {
    /// Takes the snapshot and opens the sessions of a dump with `jobs` streams of rows from a server of `version`.
    pub(super) async fn begin(dumper: &Dumper<'_>, version: u32, jobs: usize) -> Result<Self> {
        let Dumper { ctx, client, lock_wait, .. } = dumper;
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let snapshot = match Snapshot::hold(client, version, *lock_wait, &ctx.cancel).await {
                Ok(snapshot) => snapshot,
                Err(error) => return Err(explain_error(ctx, client, error).await),
            };
            match Self::open(dumper, snapshot, jobs).await {
                // An exclusive lock that is waited for keeps out who comes later, and waits for the snapshot to be given up.
                // That has just happened.
                Err(error) if attempts > 0 && is_lock_timeout(&error) => {
                    ctx.warn("another session waits for a lock between those of the dump: letting it go first, and beginning again");
                }
                opened => return opened,
            }
        }
    }

    async fn open(dumper: &Dumper<'_>, snapshot: Snapshot, jobs: usize) -> Result<Self> {
        let Dumper { ctx, client, lock_wait, .. } = dumper;
        let wait = SHARED_LOCK_WAIT.min(*lock_wait);
        let plan = plan(&snapshot.tables, snapshot.large_object_bytes, &snapshot.encoding, jobs);
        let names: Vec<&str> = plan.tables.iter().map(|table| table.quoted.as_str()).collect();
        let args = |sections: &[&str]| -> Vec<String> {
            let section = sections.iter().map(|section| format!("--section={section}"));
            section.chain([format!("--snapshot={}", snapshot.id)]).collect()
        };
        let mut first = args(&["pre-data", "data"]);
        first.extend(plan.tables.iter().map(|table| exclusion(table)));
        let import = |_| snapshot.import(client, &names, wait, &ctx.cancel);
        let (first, sessions, last) = tokio::try_join!(
            dumper.start_pg_dump(wait, first),
            try_join_all((0..plan.sessions).map(import)),
            dumper.start_pg_dump(wait, args(&["post-data"])),
        )?;
        let mut streams = vec![Stream::PgDump(Box::new(first))];
        streams.extend(sessions.into_iter().map(|session| Stream::Rows(Box::new(session))));
        streams.push(Stream::PgDump(Box::new(last)));
        Ok(Self { snapshot, plan, streams })
    }

    /// The largest number of streams that `jobs` streams of rows make.
    pub(super) fn most_streams(jobs: usize) -> usize {
        jobs + 2
    }

    /// How large each file is expected to be in SQL, in bytes: a plan for uploads.
    pub(super) fn expected(&self) -> Vec<u64> {
        let sessions = self.plan.sessions.max(1) as u64;
        let expect = |(place, stream): (usize, &Stream)| match stream {
            Stream::PgDump(_) if place == 0 => self.plan.rest_bytes,
            Stream::PgDump(_) => 0,
            Stream::Rows(_) => self.plan.bytes / sessions,
        };
        self.streams.iter().enumerate().map(expect).collect()
    }

    /// Dumps, each stream to its upload. Returns only what is whole, and of one moment.
    pub(super) async fn run(self, dumper: &Dumper<'_>, uploads: &mut [FanOut]) -> Result<Vec<Packed>> {
        let Self { snapshot, plan, streams } = self;
        let queue: Queue = Arc::new(Mutex::new(VecDeque::from(plan.pieces)));
        let encoding = snapshot.encoding.as_str();
        let one = async |(stream, upload): (Stream, &mut FanOut)| {
            let deliver = async |chunk| upload.write(&chunk).await;
            match stream {
                Stream::PgDump(started) => {
                    let Started { running, source } = *started;
                    dumper.carry("pg_dump", running, source, deliver).await
                }
                Stream::Rows(session) => {
                    let (running, pipes) = session.into_parts()?;
                    let rows = Rows::new(pipes, Arc::clone(&queue), encoding);
                    dumper.carry("psql", running, rows, deliver).await
                }
            }
        };
        // The first that fails ends the others: their programs are killed where they are dropped.
        let packed = try_join_all(streams.into_iter().zip(uploads).map(one)).await?;
        let tables = snapshot.tables.clone();
        snapshot.release(&dumper.ctx.cancel).await?;
        check_whole(&tables, &packed)?;
        Ok(packed)
    }
}

fn is_lock_timeout(error: &Error) -> bool {
    let said = error.one_line();
    said.contains("due to lock timeout") || said.contains("due to statement timeout")
}

/// Every table that the snapshot saw must be there, whole and once: that nothing was forgotten or dumped twice depends on
/// pg_dump and us having the same tables in mind.
fn check_whole(tables: &[SourceTable], packed: &[Packed]) -> Result<()> {
    let mut found: BTreeMap<(String, String), Vec<Option<Slice>>> = BTreeMap::new();
    for data in packed.iter().flat_map(|packed| &packed.scan.entries).filter_map(|entry| entry.table) {
        found.entry((data.schema, data.table)).or_default().push(data.slice);
    }
    for table in tables.iter().filter(|table| table.separable) {
        let mut slices = found.remove(&(table.schema.clone(), table.name.clone())).unwrap_or_default();
        slices.sort_by_key(|slice| slice.map(|slice| slice.number));
        let whole = match slices.first() {
            None => false,
            Some(None) => slices.len() == 1,
            Some(Some(first)) => {
                let all = (1..=first.of).map(|number| Some(Slice { number, of: first.of }));
                slices.iter().copied().eq(all)
            }
        };
        if !whole {
            let what = if slices.is_empty() { "in no part" } else { "not once and whole" };
            let message = format!("the rows of {} are {what} of the parallel dump", table.quoted);
            return Err(Error::new(ErrorKind::Failed, message)
                .hint("nothing was stored; set jobs = 1 for this job, and please report it"));
        }
    }
    Ok(())
}

/// The name of file `number` of `of`: in the order of the names the files are one dump.
pub(super) fn numbered(name: &Key, number: usize, of: usize) -> Result<Key> {
    let width = of.saturating_sub(1).to_string().len().max(2);
    let text = name.as_str();
    let (stem, extension) = text.rfind(".sql.").map_or((text, ""), |at| text.split_at(at));
    format!("{stem}.{number:0width$}{extension}").parse()
}
