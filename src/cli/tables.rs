//! Outcomes in the form that people read: blocks of lines, and plain tables without lines or colours.

mod backups;
mod diff;
mod doctor;
mod keeping;
mod objects;
mod proofs;
mod restore_plan;
mod status;

pub(super) use backups::{adopted, backup, copied, fetched, list, name as backup_name, show};
pub(super) use diff::diff;
pub(super) use doctor::doctor;
pub(super) use keeping::{pinned, plan, pruned};
pub(super) use objects::objects;
pub(super) use proofs::{drilled, restored, swapped_back, verified};
pub(super) use restore_plan::{backup_choices, choices, restore_plan};
pub(super) use status::status;

use super::words::printable;
use crate::proof::Difference;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

/// How many differences are shown.
const MOST_DIFFERENCES: usize = 20;

/// How many characters of one side of a difference are shown: a function's body is no help in a table.
const LONGEST_SIDE: usize = 120;

/// A table of columns that stand two blanks apart, with `indent` blanks before the first.
///
/// An empty `header` shows none. Where stdout is a terminal, wide cells are wrapped to fit it; elsewhere every row is one line, for `grep`.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, indent: u16) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // A terminal that does not know its width: a serial console, or one in a container.
    if table.width() == Some(0) {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    if !header.is_empty() {
        table.set_header(header.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { indent } else { 0 }, 2));
    }
    // An id that is broken over two lines cannot be copied.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// The first differences, and how many more there are.
fn differences(all: &[Difference]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let rows = all.iter().take(MOST_DIFFERENCES).map(|difference| {
        vec![difference.kind.clone(), difference.name.clone(), side(&difference.expected), side(&difference.found)]
    });
    let mut text = table(&["kind", "name", "expected", "found"], rows, 2);
    if all.len() > MOST_DIFFERENCES {
        let more = format!("  and {} more\n", all.len() - MOST_DIFFERENCES);
        text.push_str(&more);
    }
    text
}

fn side(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SIDE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `  name: value`, for each line that has a value.
fn line(name: &str, value: &str) -> String {
    format!("  {:<11} {}\n", format!("{name}:"), printable(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_plain_text_with_one_line_a_row() {
        let rows = [vec!["a".to_owned(), "one\ntwo".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&["id", "what"], rows, 2), "  id    what\n  a     one\\ntwo\n  long\n");
    }

    #[test]
    fn twenty_differences_are_shown_and_the_rest_counted() {
        let one = |number: usize| Difference {
            kind: "rows".into(),
            name: format!("t{number}"),
            expected: "1".into(),
            found: "x".repeat(500),
        };
        let all: Vec<Difference> = (0..23).map(one).collect();
        let text = differences(&all);
        assert_eq!(text.lines().count(), 22);
        assert!(text.ends_with("  and 3 more\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 170));
        assert_eq!(differences(&[]), "");
    }
}
