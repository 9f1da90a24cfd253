//! PostgreSQL's own programs: finding them, and telling them which server to talk to.

pub mod connection;
pub mod programs;
