//! What happens during a run, told to whoever listens. The core knows no progress bar and no log format.

use crate::id::BackupId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The steps of long work, in the words that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Asking the server what there is.
    Inspect,
    /// `pg_dump` streams to the destinations.
    Dump,
    /// Files are made durable and the manifest is written.
    Publish,
    /// A backup goes from one destination to another.
    Copy,
    /// Stored bytes are read again and compared with the manifest.
    Check,
    /// A backup's bytes come from a destination and are checked.
    Fetch,
    /// The scratch cluster or database is made.
    Prepare,
    /// psql loads the dump.
    Load,
    /// Indexes and keys are made, and whatever else comes behind the rows.
    Index,
    /// Planner statistics are gathered.
    Analyze,
    /// The restored database is dumped and compared.
    Prove,
    /// Databases change names.
    Swap,
    /// The scratch is removed.
    Clean,
}

impl Phase {
    /// The word that is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Dump => "dump",
            Self::Publish => "publish",
            Self::Copy => "copy",
            Self::Check => "check",
            Self::Fetch => "fetch",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Index => "index",
            Self::Analyze => "analyze",
            Self::Prove => "prove",
            Self::Swap => "swap",
            Self::Clean => "clean",
        }
    }
}

/// Counters that the work raises and a display samples, without a lock on the way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of SQL that have passed.
    pub sql_bytes: AtomicU64,
    /// Stored (compressed) bytes that have passed.
    pub stored_bytes: AtomicU64,
    /// Rows that have passed.
    pub rows: AtomicU64,
    /// The total of SQL bytes, an estimate; 0 while unknown.
    pub expected_sql_bytes: AtomicU64,
    table: Mutex<String>,
}

impl Progress {
    /// Adds to the SQL bytes and rows that have passed.
    pub fn advance(&self, sql_bytes: u64, rows: u64) {
        self.sql_bytes.fetch_add(sql_bytes, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Says which table passes now.
    pub fn set_table(&self, name: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        name.clone_into(&mut table);
    }

    /// The table that passes now; empty between tables.
    pub fn table(&self) -> String {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Work on one database or backup begins.
    Started {
        /// What is being done, e.g. "backup".
        what: &'static str,
        /// To what: a database, a backup.
        subject: String,
    },
    /// A step begins; `progress` counts it.
    Phase {
        /// The step.
        phase: Phase,
        /// Its counters.
        progress: Arc<Progress>,
    },
    /// Something the user should know that is no failure.
    Warning(String),
    /// Something worth a line in the log.
    Note(String),
    /// Remains of an interrupted run were removed.
    Swept {
        /// Where.
        destination: String,
        /// What.
        key: String,
    },
    /// A backup was published everywhere it could be.
    Stored {
        /// Its id.
        id: BackupId,
    },
    /// The work begun by the last [`Event::Started`] is over.
    Finished,
}

/// Whoever listens to events. Must return quickly: the work waits.
pub trait Observer: Send + Sync {
    /// Takes notice of `event`.
    fn observe(&self, event: &Event);
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &Event) {}
}
