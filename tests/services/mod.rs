//! Storage services for the integration tests: real servers of S3, WebDAV and SFTP, a Google Drive as strict as the real
//! one, and a proxy for faults between. Apart from `tests/support`, so that only the tests that need them pay for them.
//!
//! Use it as `mod services; mod support;`. What is started here dies with its test.

// Each test file uses a part of this.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::doc_markdown)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

mod drive;
mod proxy;
mod rclone;
mod s3s;
mod seaweed;
mod tools;

pub use drive::{Drive, DriveFault, DriveFile, Logged, OpenSession, Wrong};
pub use proxy::{Answer, Fault, Injected, Proxy, Request};
pub use rclone::{PASSWORD, Serving, Sftp, Webdav, rclone};
pub use s3s::{Asked, Held, Quirks, S3s};
pub use seaweed::{ACCESS_KEY, SECRET_KEY, Seaweed, SeaweedCluster, s3_destination};
pub use tools::{free_ports, python, tool};
