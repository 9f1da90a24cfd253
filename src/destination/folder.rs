//! (being written)
/// A folder.
#[derive(Debug)]
pub struct Folder;
