//! The archive: pg_dump's SQL, byte for byte, in standard gzip members (or zstd frames), and the index beside it.
//!
//! ```text
//! pack      pipe ──► cut at line ends, scan ──► compressors ──► in order: digest, index ──► chunks for the uploads
//! unpack    ranges of the stored file ──► digest ──► decompressors ──► in order: whoever consumes the SQL
//! read      a range of the SQL ──► its members, each checked by its digest ──► decompressors ──► in order
//! ```
//!
//! Each member decompresses alone and, but for lines longer than a member, holds whole lines; the [`Contents`] tell where.
//! Every queue is bounded: a slow consumer slows the producer, whatever the size of the database.

mod bounds;
mod codec;
mod contents;
mod map;
mod members;
mod objects;
mod ordered;
mod pack;
mod proven;
mod reader;
mod unpack;

pub use bounds::MOST_THREADS;
pub use codec::{LARGEST_MEMBER, MEMBER_BYTES, Packer, unpack_member};
pub use contents::{Contents, FileContents, LARGEST_CONTENTS};
pub use map::{MemberMap, Place};
pub use members::{DIGESTED_TOGETHER, Member, MemberDigest, Members, MembersIter};
pub use objects::{Object, Objects, Rows, full_name};
pub use pack::{Compressors, Packed, Packing};
pub use proven::{Names, Proven, Told};
pub use reader::SqlReader;
pub use unpack::{Broken, Unpacked, Unpacking};
