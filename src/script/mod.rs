//! Reading pg_dump's plain SQL as it streams past, in chunks of any size: a real lexer for quotes, dollar quotes, nested
//! comments and COPY data finds the entries of the dump; rows are counted and fingerprinted on the way.
//!
//! ```text
//! bytes ──► Lexer ──► statements, comments ──► Scanner ──► Entry (kind, name, range, digest)
//!                     COPY rows ──► RowPrint ───────────► TableData (rows, fingerprint)
//! ```
//!
//! Nothing here keeps more than one statement in memory, and of that no more than a mebibyte.

mod adapt;
mod digest;
mod elsewhere;
mod entries;
mod entry;
mod foreign;
#[cfg(test)]
mod generate;
mod globals;
mod lexer;
mod link;
mod name_pattern;
mod names;
mod pattern;
mod qualified;
mod reword;
mod rows;
mod scanner;
mod statement;
mod subject;
mod target;
mod words;

pub use adapt::{Adaptation, Adapted, Edit, Omit};
pub use digest::Digest;
pub use entries::{Entries, EntriesIter};
pub use entry::{Entry, Section, Slice, TableData};
pub use globals::{GlobalRoles, Membership, RoleAttributes};
pub use lexer::{Lexer, Step};
pub use link::{Link, TableName, first_statement};
pub use name_pattern::NamePattern;
pub use names::identifier;
pub use pattern::EntryPattern;
pub use qualified::{Named, names, reword_schemas};
pub use reword::reword;
pub use rows::Fingerprint;
pub use scanner::{ColumnOrder, Scan, Scanner, StorageDefault, Violation};
pub use statement::{Copy, is_owner_change, literal, quote_identifier};
pub use subject::{Subject, subject};
pub use target::{Made, Relation, made};

/// Text of unknown encoding as a string: UTF-8 where it is UTF-8, otherwise each byte as the character of its number, so
/// that different bytes stay different.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
