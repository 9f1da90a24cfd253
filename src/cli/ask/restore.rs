//! What a restore must know and was not told: which job, which backup, into what.

use super::{Ask, number, until};
use crate::cli::tables;
use crate::cli::words::{age, counted, printable};
use crate::error::Result;
use crate::ops::ListedBackup;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// How many backups are shown to choose from.
const MOST_SHOWN: usize = 10;

/// What is shorter is no beginning of an id but a number that was mistyped: every id begins with a 2.
const SHORTEST_ID: usize = 4;

/// The longest name of a database, in bytes (`NAMEDATALEN` - 1).
const LONGEST_NAME: usize = 63;

/// The backups of the database that is chosen; all of them where there is only one. `backups` are the newest first.
pub(in crate::cli) async fn which_job(
    ask: &mut impl Ask,
    backups: Vec<ListedBackup>,
    now: DateTime<Utc>,
) -> Result<Option<Vec<ListedBackup>>> {
    let mut jobs: BTreeMap<(String, String), (u64, DateTime<Utc>)> = BTreeMap::new();
    for backup in &backups {
        let of_job = jobs.entry((backup.job.clone(), backup.database.clone())).or_insert((0, backup.started_at));
        of_job.0 += 1;
        of_job.1 = of_job.1.max(backup.started_at);
    }
    if jobs.len() < 2 {
        return Ok(Some(backups));
    }
    let jobs: Vec<_> = jobs.into_iter().collect();
    let names: Vec<String> = jobs.iter().map(|((job, database), _)| tables::backup_name(job, database)).collect();
    let rows = names.iter().zip(&jobs).enumerate().map(|(place, (name, (_, (count, newest))))| {
        let count = counted(*count, "backup", "backups");
        vec![(place + 1).to_string(), name.clone(), count, format!("newest {}", age(*newest, now))]
    });
    ask.say(&format!("\nThere are backups of\n{}\n", tables::choices(&[], rows)));
    let chosen = until(ask, "Which one? Its number or name", "", |answer| {
        let by_name = || names.iter().position(|name| name == answer);
        number(answer, names.len())
            .or_else(by_name)
            .ok_or_else(|| format!("A number from 1 to {}, or a name.", names.len()))
    });
    let Some(chosen) = chosen.await? else { return Ok(None) };
    let Some(((job, database), _)) = jobs.into_iter().nth(chosen) else { return Ok(None) };
    Ok(Some(backups.into_iter().filter(|one| one.job == job && one.database == database).collect()))
}

/// The place of the chosen one among `backups`, the newest first.
pub(in crate::cli) async fn which_backup(
    ask: &mut impl Ask,
    backups: &[ListedBackup],
    now: DateTime<Utc>,
    zone: Tz,
) -> Result<Option<usize>> {
    ask.say(&format!(
        "\nBackups, the newest first\n{}",
        tables::backup_choices(backups.iter().take(MOST_SHOWN), now, zone)
    ));
    if backups.len() > MOST_SHOWN {
        ask.say(&format!("  and {} older ones: `pgkeep backup list` shows them\n", backups.len() - MOST_SHOWN));
    }
    ask.say("\n");
    until(ask, "Which one? Its number, or its id or the beginning of it", "1", |answer| {
        if let Some(place) = number(answer, backups.len().min(MOST_SHOWN)) {
            return Ok(place);
        }
        if answer.len() < SHORTEST_ID {
            return Err(format!("There is no {} among them.", printable(answer)));
        }
        let mut found = backups.iter().enumerate().filter(|(_, backup)| backup.id.as_str().starts_with(answer));
        match (found.next(), found.next()) {
            (Some((place, _)), None) => Ok(place),
            (Some(_), Some(_)) => Err(format!("Several ids begin with {}: give more of it.", printable(answer))),
            (None, _) => Err(format!("There is no {} among them.", printable(answer))),
        }
    })
    .await
}

/// Where a restore can go.
pub(in crate::cli) struct Place<'a> {
    /// The server, for people.
    pub(in crate::cli) server: String,
    /// The names of its databases.
    pub(in crate::cli) there: &'a BTreeSet<String>,
    /// The database that was backed up.
    pub(in crate::cli) database: &'a str,
    /// The day of the backup, which ends the new name.
    pub(in crate::cli) taken_at: DateTime<Utc>,
    /// The name that a live database keeps when it is replaced.
    pub(in crate::cli) kept_as: String,
}

/// Where the restore goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Into {
    /// Into a new database.
    New(String),
    /// Into the place of the live one.
    Swap(String),
}

/// Asks into what. A new database is the default; the live one must be chosen by its number.
pub(in crate::cli) async fn which_place(ask: &mut impl Ask, place: &Place<'_>) -> Result<Option<Into>> {
    let new = new_name(place.database, place.taken_at, place.there);
    let live = place.there.contains(place.database).then_some(place.database);
    let mut rows = vec![vec!["1".to_owned(), new.clone(), "a new database beside what is there".to_owned()]];
    if let Some(live) = live {
        let what = format!("take the place of the live one, which stays as {}", place.kept_as);
        rows.push(vec!["2".to_owned(), live.to_owned(), what]);
    }
    let server = printable(&place.server);
    ask.say(&format!("\nInto which database of {server}?\n{}\n", tables::choices(&[], rows)));
    until(ask, "Its number, or another new name", "1", |answer| {
        match (answer, live) {
            ("1", _) => return Ok(Into::New(new.clone())),
            ("2", Some(live)) => return Ok(Into::Swap(live.to_owned())),
            _ => {}
        }
        let name = printable(answer);
        if answer.is_empty() || answer.bytes().all(|b| b.is_ascii_digit()) {
            Err("One of the numbers, or a name.".to_owned())
        } else if answer.contains("://") || answer.contains('=') {
            Err("A name of a database. For another server end here with Ctrl-C and give --into URL.".to_owned())
        } else if answer.len() > LONGEST_NAME {
            Err(format!("A name has at most {LONGEST_NAME} bytes."))
        } else if live == Some(answer) {
            Err(format!("{name} is the live one: answer 2 to replace it, or give another name."))
        } else if place.there.contains(answer) {
            Err(format!("A database {name} is there already: give another name."))
        } else {
            Ok(Into::New(answer.to_owned()))
        }
    })
    .await
}

/// A name that no database has: `shop_restored_20261122`, or with a number behind it.
fn new_name(database: &str, taken_at: DateTime<Utc>, there: &BTreeSet<String>) -> String {
    let mut suffix = taken_at.format("_restored_%Y%m%d").to_string();
    let day = suffix.clone();
    let mut further = 1u64;
    loop {
        let mut end = database.len().min(LONGEST_NAME - suffix.len());
        while !database.is_char_boundary(end) {
            end -= 1;
        }
        let name = format!("{}{suffix}", &database[..end]);
        if !there.contains(&name) {
            return name;
        }
        further += 1;
        suffix = format!("{day}_{further}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Script, now as done};
    use super::*;
    use crate::cli::samples;

    fn backup(job: &str, day: u32) -> ListedBackup {
        let id: crate::id::BackupId = format!("202611{day:02}T020000Z-7f3a").parse().unwrap();
        ListedBackup { job: job.into(), started_at: id.started_at(), id, ..samples::listed() }
    }

    fn noon() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-22T12:00:00Z").unwrap().to_utc()
    }

    #[test]
    fn one_job_is_not_asked_for() {
        let mut script = Script::new([]);
        let all = done(which_job(&mut script, vec![backup("shop", 22), backup("shop", 21)], noon())).unwrap().unwrap();
        assert_eq!((all.len(), script.said.as_str()), (2, ""));
    }

    #[test]
    fn a_job_is_chosen_by_number_or_name_and_junk_is_asked_again() {
        let all = || vec![backup("shop", 22), backup("crm", 22), backup("shop", 21)];
        for (answers, wanted) in
            [(["1", "", ""], 1), (["2", "", ""], 2), (["", "3", "shop/shop"], 0), (["x", "0", "2"], 2)]
        {
            let mut script = Script::new(answers);
            let chosen = done(which_job(&mut script, all(), noon())).unwrap();
            assert_eq!(chosen.map_or(0, |chosen| chosen.len()), wanted, "{answers:?}: {}", script.said);
        }
        let mut script = Script::new(["junk"]);
        assert!(done(which_job(&mut script, all(), noon())).unwrap().is_none(), "the end of input chooses nothing");
    }

    #[test]
    fn a_backup_is_chosen_by_number_or_id() {
        let all: Vec<ListedBackup> = (1..=22).rev().map(|day| backup("shop", day)).collect();
        let choose = |answers: [&'static str; 3]| {
            let mut script = Script::new(answers);
            (done(which_backup(&mut script, &all, noon(), Tz::UTC)).unwrap(), script.said)
        };
        let (newest, said) = choose(["", "", ""]);
        assert_eq!(newest, Some(0));
        assert!(said.contains("20261122T020000Z-7f3a") && said.contains("and 12 older ones"), "{said}");
        assert_eq!(choose(["2", "", ""]).0, Some(1));
        assert_eq!(choose(["20261105", "", ""]).0, Some(17));
        let (chosen, said) = choose(["99", "2026", "20261103T020000Z-7f3a"]);
        assert_eq!(chosen, Some(19));
        assert!(said.contains("There is no 99 among them.") && said.contains("Several ids begin with 2026"), "{said}");
    }

    fn place(answers: [&'static str; 3]) -> (Option<Into>, String) {
        let there = ["postgres", "shop", "shop_restored_20261122"].map(str::to_owned).into();
        let mut script = Script::new(answers);
        let place = Place {
            server: "ana@db:5432".into(),
            there: &there,
            database: "shop",
            taken_at: noon(),
            kept_as: "shop_before_X".into(),
        };
        (done(which_place(&mut script, &place)).unwrap(), script.said)
    }

    #[test]
    fn a_new_name_is_the_default_and_the_live_database_must_be_chosen_by_number() {
        assert_eq!(place(["", "", ""]).0, Some(Into::New("shop_restored_20261122_2".into())));
        assert_eq!(place(["mine", "", ""]).0, Some(Into::New("mine".into())));
        assert_eq!(place(["2", "", ""]).0, Some(Into::Swap("shop".into())));
        let (chosen, said) = place(["shop", "postgres", "7"]);
        assert_eq!(chosen, None);
        for why in ["shop is the live one: answer 2", "A database postgres is there already", "One of the numbers"] {
            assert!(said.contains(why), "{why}: {said}");
        }
        let (chosen, said) = place(["postgres://ana:hunter2@h/x", "ok", ""]);
        assert!(chosen == Some(Into::New("ok".into())) && said.contains("--into URL"), "{said}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters_before_its_day() {
        let name = new_name(&"ñ".repeat(31), noon(), &BTreeSet::new());
        assert!(name.len() <= LONGEST_NAME && name.ends_with("ñ_restored_20261122"), "{name}");
    }
}
