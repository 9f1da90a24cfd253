//! One difference between what was dumped and what was restored or read again.

use serde::{Deserialize, Serialize};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Difference {
    /// What kind of thing differs, e.g. `rows`, `TABLE`, `INDEX`.
    pub kind: String,
    /// Its name, with its schema where it has one.
    pub name: String,
    /// What the backup has.
    pub expected: String,
    /// What was found instead.
    pub found: String,
}
