//! (being written)
/// Memory.
#[derive(Debug)]
pub struct Memory;
