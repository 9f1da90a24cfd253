//! The proof: what a restored database's own dump holds, compared with what the backup recorded. Pure.

mod changes;
mod compare;
mod diff;
mod difference;
mod pairs;
mod properties;

pub use changes::{Aspect, Changes, Differences, ObjectChange, TableChange};
pub use compare::{Comparison, Declared, compare};
pub use diff::{DiffScope, Wanted, diff};
pub use difference::Difference;
pub use pairs::Rules;
pub use properties::compare_properties;
