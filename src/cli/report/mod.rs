//! `pgkeep report`: a page that shows what backups and drills have come to, for people who were not there.
//!
//! `gather` reads it, `trend` finds where recovery times are going, `page` writes it as HTML with the plots of `plot`, all of
//! it through `markup`, which lets no text from outside become a tag.

mod gather;
mod markup;
mod page;
mod plot;
mod trend;

pub(super) use gather::{Asked, Report, gather};
pub(super) use page::page;

#[cfg(test)]
mod tests;
