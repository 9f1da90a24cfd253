//! The proof: what a restored database's own dump holds, compared with what the backup recorded. Pure.

mod compare;
mod difference;
mod pairs;
mod properties;

pub use compare::{Comparison, Declared, compare};
pub use difference::Difference;
pub use pairs::Rules;
pub use properties::compare_properties;
