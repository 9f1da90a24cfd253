//! What proves a backup: fingerprints of rows and objects, and their comparison.

mod difference;

pub use difference::Difference;
