//! What needs no server: the code's shape, the documents, the command line, locks, catalogues and folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

#[path = "../contract/mod.rs"]
mod contract;
#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod catalogue;
mod cli;
mod destination_contract;
mod docs;
mod folder_faults;
mod lock;
mod unpack;
