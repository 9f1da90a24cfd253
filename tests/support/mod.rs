//! The fixture of the integration tests: real PostgreSQL servers, the pgkeep program, and a look at what is left behind.
//! Servers of storage are in `tests/services`.
//!
//! ```ignore
//! mod support;
//!
//! #[test]
//! fn a_backup_restores() {
//!     let server = support::Postgres::shared(17);          // one server for all tests of this file
//!     let db = server.create_db("shop");                   // a database for this test alone
//!     server.psql(&db, "CREATE TABLE t (a int)");
//!     let home = support::temp_dir();
//!     support::pgkeep().server(server).args(["backup", "now", "--to"]).arg(home.path())
//!         .args(["--database-url", &server.url(&db)]).ok();
//! }
//! ```
//!
//! Nothing here sleeps for a fixed time: every wait is for an event, looked for every few milliseconds, with a limit.

// Each test file uses a part of this.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub, missing_docs, clippy::doc_markdown)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod disk;
mod files;
mod forge;
pub(crate) mod postgres;
pub(crate) mod processes;
mod program;
mod scene;
mod stored;
mod tcp;
mod terminal;

pub use disk::Disk;
pub use files::{backup_dirs, everything_below, fake_bin_dir, sql, temp_dir};
pub use forge::{Forged, Numbers, SMALL_DATA, small_backups, small_manifest};
pub use postgres::{MAJORS, Postgres, bin_dir};
pub use processes::{Process, is_running, peak_memory, processes_matching, wait_until, wait_until_gone};
pub use program::{Outcome, Pgkeep, Running, pgkeep};
pub use scene::{Scene, Session};
pub use stored::{Configured, Stored, assert_same_dump, dump_lines, shell};
pub use tcp::tcp_port_of;
pub use terminal::answering;

/// One test for each major version, in a module of its own: `each_major!(a_promise, |major| ...)`.
macro_rules! each_major {
    ($promise:ident, $check:expr) => {
        mod $promise {
            #[allow(unused_imports)]
            use super::*;

            #[test]
            fn postgresql_14() {
                ($check)(14);
            }

            #[test]
            fn postgresql_15() {
                ($check)(15);
            }

            #[test]
            fn postgresql_16() {
                ($check)(16);
            }

            #[test]
            fn postgresql_17() {
                ($check)(17);
            }

            #[test]
            fn postgresql_18() {
                ($check)(18);
            }
        }
    };
}
pub(crate) use each_major;
