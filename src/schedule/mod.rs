//! When backups and drills are due.
//!
//! `crontab` answers when a schedule of the configuration is next due, and when it last was.

mod crontab;

pub use crontab::Crontab;
