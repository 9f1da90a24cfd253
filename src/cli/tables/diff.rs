//! What differs between two backups, for people.

use super::backups::name as name_of_backup;
use super::objects::object_name;
use super::{side, table};
use crate::cli::words::{self, counted, printable};
use crate::ops::{Backup, DiffOutcome};
use crate::proof::{Aspect, Changes, ObjectChange, TableChange};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

/// Two backups and what differs between them: `+` is in the second only, `-` in the first only, `~` in both.
pub(in crate::cli) fn diff(outcome: &DiffOutcome, (a, b): (&Backup, &Backup), now: DateTime<Utc>, zone: Tz) -> String {
    let head = [("-", a), ("+", b)].map(|(sign, backup)| {
        let manifest = &backup.manifest;
        vec![
            sign.to_owned(),
            manifest.id.to_string(),
            name_of_backup(&manifest.job, &manifest.database),
            words::moment(manifest.started_at, now, zone),
            counted(manifest.tables, "table", "tables"),
            counted(manifest.rows, "row", "rows"),
        ]
    });
    let mut text = table(&[], head, 0);
    let found = &outcome.differences;
    let of_tables = lines(&found.tables, |one| vec![printable(&one.name), table_words(one)]);
    if !of_tables.is_empty() {
        text.push_str(&format!("\ntables{}\n{}", sums(&found.tables), table(&[], of_tables, 2)));
    }
    let of_objects = lines(&found.objects, |one| {
        vec![one.kind.clone(), object_name(&one.kind, one.schema.as_deref(), &one.name), object_words(one)]
    });
    if !of_objects.is_empty() {
        text.push_str(&format!("\nother objects{}\n{}", sums(&found.objects), table(&[], of_objects, 2)));
    }
    text.push('\n');
    for note in &found.notes {
        text.push_str(&format!("note: {}\n", printable(note)));
    }
    let same = counted(found.same, "object is", "objects are");
    text.push_str(&if found.is_empty() {
        format!("no differences: {same} the same\n")
    } else {
        format!("{same} the same\n")
    });
    text
}

fn sums<T>(changes: &Changes<T>) -> String {
    let parts = [(&changes.added, "added"), (&changes.removed, "removed"), (&changes.changed, "changed")];
    let told: Vec<String> =
        parts.iter().filter(|(all, _)| !all.is_empty()).map(|(all, word)| format!("{} {word}", all.len())).collect();
    format!(": {}", told.join(", "))
}

fn lines<T>(changes: &Changes<T>, cells: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    let signed = [("+", &changes.added), ("-", &changes.removed), ("~", &changes.changed)];
    let line = |sign: &str, one: &T| {
        let mut line = vec![sign.to_owned()];
        line.extend(cells(one));
        line
    };
    signed
        .into_iter()
        .flat_map(|(sign, all)| all.iter().map(move |one| (sign, one)))
        .map(|(s, one)| line(s, one))
        .collect()
}

fn rows(number: Option<u64>) -> String {
    number.map_or_else(|| "no data".to_owned(), |number| number.to_string())
}

fn arrow(before: Option<&str>, after: Option<&str>) -> String {
    format!("{} -> {}", side(before.unwrap_or("nothing")), side(after.unwrap_or("nothing")))
}

fn table_words(one: &TableChange) -> String {
    let told = one.changes.iter().map(|aspect| match aspect {
        Aspect::Rows => format!("rows: {} -> {}", rows(one.rows_before), rows(one.rows_after)),
        Aspect::Contents => {
            format!("{}, other contents", counted(one.rows_after.unwrap_or(0), "row", "rows"))
        }
        Aspect::Columns => {
            let signed = |sign: char, names: &[String]| -> Vec<String> {
                names.iter().map(|name| format!("{sign}{name}")).collect()
            };
            let columns = [signed('+', &one.columns_added), signed('-', &one.columns_removed)].concat();
            format!("columns: {}", side(&columns.join(" ")))
        }
        Aspect::Owner => format!("owner: {}", arrow(one.owner_before.as_deref(), one.owner_after.as_deref())),
        other => word(*other).to_owned(),
    });
    let told: Vec<String> = told.collect();
    match (told.is_empty(), one.rows_after.or(one.rows_before)) {
        (true, Some(rows)) => counted(rows, "row", "rows"),
        _ => told.join("; "),
    }
}

fn word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Rows => "other rows",
        Aspect::Contents => "other contents",
        Aspect::Columns => "other columns",
        Aspect::Definition => "definition changed",
        Aspect::Owner => "owner",
        Aspect::Value => "value",
        Aspect::Privileges => "privileges changed",
        Aspect::Version => "version",
        Aspect::Property => "changed",
    }
}

fn object_words(one: &ObjectChange) -> String {
    let told = one.changes.iter().map(|aspect| match aspect {
        Aspect::Owner => format!("owner: {}", arrow(one.owner_before.as_deref(), one.owner_after.as_deref())),
        Aspect::Value | Aspect::Version => {
            format!("{}: {}", word(*aspect), arrow(one.before.as_deref(), one.after.as_deref()))
        }
        Aspect::Property => arrow(one.before.as_deref(), one.after.as_deref()),
        other => word(*other).to_owned(),
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_in_words() {
        let table = TableChange {
            name: "public.orders".into(),
            changes: vec![Aspect::Rows, Aspect::Columns, Aspect::Definition, Aspect::Owner],
            rows_before: Some(1000),
            rows_after: Some(1010),
            columns_added: vec!["note".into()],
            columns_removed: vec!["old".into(), "older".into()],
            owner_before: Some("bob".into()),
            ..TableChange::default()
        };
        let words = "rows: 1000 -> 1010; columns: +note -old -older; definition changed; owner: bob -> nothing";
        assert_eq!(table_words(&table), words);
        let table = TableChange { changes: vec![Aspect::Contents], rows_after: Some(7), ..TableChange::default() };
        assert_eq!(table_words(&table), "7 rows, other contents");
        assert_eq!(table_words(&TableChange { rows_before: Some(1), ..TableChange::default() }), "1 row");
        let sequence = ObjectChange {
            kind: "SEQUENCE".into(),
            changes: vec![Aspect::Owner, Aspect::Value],
            owner_before: Some("bob".into()),
            owner_after: Some("ana".into()),
            before: Some("5, true".into()),
            after: Some("9, true".into()),
            ..ObjectChange::default()
        };
        assert_eq!(object_words(&sequence), "owner: bob -> ana; value: 5, true -> 9, true");
    }

    #[test]
    fn a_sign_tells_in_which_backup_an_object_is() {
        let one = |name: &str| TableChange { name: name.into(), ..TableChange::default() };
        let changes = Changes { added: vec![one("a")], removed: vec![one("b"), one("c")], changed: vec![one("d")] };
        assert_eq!(sums(&changes), ": 1 added, 2 removed, 1 changed");
        let lines = lines(&changes, |one| vec![one.name.clone()]);
        assert_eq!(lines, [["+", "a"], ["-", "b"], ["-", "c"], ["~", "d"]]);
    }
}
