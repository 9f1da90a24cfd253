//! One moment of a database, held for several sessions: locks first, then an exported snapshot.
//!
//! A snapshot does not see what other transactions change later, but TRUNCATE and rewriting ALTER TABLEs empty a table for
//! every snapshot. So the tables are locked before the snapshot is taken, with the lock that only those (and other
//! changes of the table) conflict with, and stay locked for as long as it is held.

use super::session::Session;
use super::{Client, sqlstate};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many tables one LOCK TABLE names.
const LOCKED_AT_ONCE: usize = 200;

/// How often to begin again when a table was dropped between being listed and being locked.
const ATTEMPTS: usize = 3;

/// The oldest server that is dumped in parallel: partitions can be asked for their ancestors since 12.
const OLDEST: u32 = 120_000;

/// From this version on, the rows of a range of pages are read without reading the others (TID range scans).
const RANGES_SINCE: u32 = 140_000;

/// A table with rows of its own, as the snapshot sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SourceTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// `schema.name`, each quoted where SQL needs it.
    pub quoted: String,
    /// The columns that a dump holds, each quoted where SQL needs it: generated ones are left out.
    pub columns: Vec<String>,
    /// Size of its rows on disk in bytes, long values stored apart among them.
    pub bytes: u64,
    /// Number of its pages.
    pub pages: u64,
    /// Whether its rows can be read by COPY, apart from everything else, just as pg_dump would.
    pub separable: bool,
    /// Whether ranges of its pages can be read, so that several sessions share it.
    pub splittable: bool,
}

/// A snapshot that other sessions can import for as long as this value lives.
pub struct Snapshot {
    session: Session,
    /// What other sessions import.
    pub id: String,
    /// The tables whose rows are in the database.
    pub tables: Vec<SourceTable>,
    /// The size of the large objects in bytes.
    pub large_object_bytes: u64,
    /// The encoding in which the database's texts come.
    pub encoding: String,
}

/// Tables that pg_dump dumps and locks, and that this role may lock: `pg_dump` itself says which it may not read.
const LOCKABLE: &str = "c.relkind in ('r', 'p') and c.relpersistence <> 't' and n.nspname !~ '^pg_' \
     and n.nspname <> 'information_schema' and pg_catalog.has_table_privilege(c.oid, 'select') \
     and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
       and d.objid = c.oid and d.objsubid = 0 and d.deptype = 'e')";

/// Why each condition of `separable`: a partition that pg_dump writes through its parent (by the hash of an enum, whose
/// values a restore deals anew; expressions and domains are left to it as well) and what a standby has no rows of
/// (unlogged tables) are pg_dump's to decide. So is a name with a control character, which a header cannot hold as it is.
const TABLES: &str = "pg_catalog.json_build_object(
  'schema', n.nspname, 'name', c.relname, 'owner', pg_catalog.pg_get_userbyid(c.relowner),
  'quoted', pg_catalog.format('%I.%I', n.nspname, c.relname),
  'columns', coalesce(k.columns, '[]'), 'bytes', s.own + s.apart,
  'pages', s.own / pg_catalog.current_setting('block_size')::bigint,
  'separable', c.relpersistence = 'p' and k.columns is not null
     and pg_catalog.concat(n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner), k.columns::text) !~ '[[:cntrl:]]'
     and not (c.relispartition and exists (
       select from pg_catalog.pg_partition_ancestors(c.oid) p join pg_catalog.pg_partitioned_table t on t.partrelid = p.relid
       where t.partstrat = 'h' and (0 = any (t.partattrs::int2[]) or exists (
         select from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid
         where a.attrelid = t.partrelid and a.attnum = any (t.partattrs::int2[]) and y.typtype <> 'b')))),
  'splittable', m.amname = 'heap')
 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 left join pg_catalog.pg_am m on m.oid = c.relam
 cross join lateral (select coalesce(pg_catalog.pg_relation_size(c.oid), 0) as own,
   coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0) as apart) s
 cross join lateral (select pg_catalog.json_agg(pg_catalog.quote_ident(a.attname) order by a.attnum) as columns
   from pg_catalog.pg_attribute a
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') k";

impl Snapshot {
    /// Locks the tables of the database, waiting at most `lock_wait` for each, and takes a snapshot of it.
    pub async fn hold(client: &Client, version: u32, lock_wait: Duration, cancel: &Cancel) -> Result<Self> {
        if version < OLDEST {
            return Err(Error::new(
                ErrorKind::Version,
                format!("PostgreSQL {} is too old for a parallel dump", version / 10_000),
            )
            .hint("set jobs = 1; parallel dumps need PostgreSQL 12 or newer"));
        }
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match Self::try_hold(client, version, lock_wait, cancel).await {
                // 42P01: a table that was listed is gone.
                Err(error) if attempts > 0 && sqlstate(&error.one_line()) == Some("42P01") => {}
                held => return held,
            }
        }
    }

    async fn try_hold(client: &Client, version: u32, lock_wait: Duration, cancel: &Cancel) -> Result<Self> {
        let mut session = Session::start(client, cancel).await?;
        // A zero would mean no limit at all.
        let milliseconds = lock_wait.as_millis().max(1);
        let list = format!(
            "select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_catalog.pg_class c \
             join pg_catalog.pg_namespace n on n.oid = c.relnamespace where {LOCKABLE} \
             and pg_catalog.concat(n.nspname, c.relname) !~ '[[:cntrl:]]' order by c.oid;"
        );
        let before = session
            .ask(
                &format!(
                    "set search_path = ''; set lock_timeout = '{milliseconds}ms'; set client_encoding = 'UTF8';\n{list}"
                ),
                cancel,
            )
            .await?;
        let mut locked: BTreeSet<String> = lines(&before).map(str::to_owned).collect();
        session.ask("begin isolation level repeatable read, read only;", cancel).await?;
        lock(&mut session, &lines(&before).collect::<Vec<_>>(), cancel).await?;
        let id = session.ask("select pg_catalog.pg_export_snapshot();", cancel).await?;
        // What was created in between has no lock yet.
        let now = session.ask(&list, cancel).await?;
        let new: Vec<&str> = lines(&now).filter(|table| locked.insert((*table).to_owned())).collect();
        lock(&mut session, &new, cancel).await?;
        let answer = session
            .ask(&format!("select {TABLES} where c.relkind = 'r' and {LOCKABLE} order by c.oid;"), cancel)
            .await?;
        let unreadable = |source| {
            let subject = client.connection().describe();
            Error::new(ErrorKind::Failed, format!("{subject} listed its tables in a way that cannot be read"))
                .caused_by(source)
        };
        let mut tables: Vec<SourceTable> =
            lines(&answer).map(serde_json::from_str).collect::<Result<_, _>>().map_err(unreadable)?;
        if version < RANGES_SINCE {
            for table in &mut tables {
                table.splittable = false;
            }
        }
        let answer = session
            .ask(
                "select pg_catalog.json_build_array(pg_catalog.pg_encoding_to_char(encoding), \
                 pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')) from pg_catalog.pg_database \
                 where datname = pg_catalog.current_database();",
                cancel,
            )
            .await?;
        let (encoding, large_object_bytes) = serde_json::from_str(&answer).map_err(unreadable)?;
        Ok(Self { session, id, tables, large_object_bytes, encoding })
    }

    /// A session that sees what this snapshot sees, and writes values as pg_dump does: its settings are those of
    /// `setup_connection` in PostgreSQL's pg_dump.c. It locks `tables` (quoted names) at once: should somebody wait for a
    /// lock on one of them later, this session would have to wait behind them, and they for the snapshot to be released.
    pub async fn import(
        &self,
        client: &Client,
        tables: &[&str],
        lock_wait: Duration,
        cancel: &Cancel,
    ) -> Result<Session> {
        let mut session = Session::start(client, cancel).await?;
        let milliseconds = lock_wait.as_millis().max(1);
        session
            .ask(
                &format!(
                    "set client_encoding = '{}'; set datestyle = iso; set intervalstyle = postgres; set extra_float_digits = 3;\n\
                     set synchronize_seqscans = off; set row_security = off; set search_path = '';\n\
                     set lock_timeout = '{milliseconds}ms';\n\
                     set max_parallel_workers_per_gather = 0; set jit = off;\n\
                     begin isolation level repeatable read, read only; set transaction snapshot '{}';",
                    self.encoding, self.id
                ),
                cancel,
            )
            .await?;
        lock(&mut session, tables, cancel).await?;
        Ok(session)
    }

    /// Gives the locks back. An error means that the session that held them is gone: then nothing that was read by this
    /// snapshot can be trusted to be of one moment.
    pub async fn release(mut self, cancel: &Cancel) -> Result<()> {
        self.session.ask("commit;", cancel).await.map(drop).map_err(|source| {
            cancel.check().err().unwrap_or_else(|| {
                Error::new(ErrorKind::Failed, "the session that kept the tables as they were ended before the dump did")
                    .caused_by(source)
                    .hint("nothing was stored; keep connections open for as long as a dump takes, or set jobs = 1")
            })
        })
    }
}

fn lines(answer: &str) -> impl Iterator<Item = &str> {
    answer.lines().filter(|line| !line.is_empty())
}

async fn lock(session: &mut Session, tables: &[&str], cancel: &Cancel) -> Result<()> {
    for some in tables.chunks(LOCKED_AT_ONCE) {
        let named: Vec<String> = some.iter().map(|table| format!("only {table}")).collect();
        session.ask(&format!("lock table {} in access share mode;", named.join(", ")), cancel).await?;
    }
    Ok(())
}
