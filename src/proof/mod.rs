//! The proof: what a restored database's own dump holds, compared with what the backup recorded. Pure.

mod compare;
mod difference;
mod properties;

pub use compare::{Comparison, Declared, Rules, compare};
pub use difference::Difference;
pub use properties::compare_properties;
