//! `pgkeep restore` at a terminal, with somebody who answers: through a real pseudo-terminal.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{Configured, Outcome, Postgres, Stored, answering, assert_same_dump, pgkeep};

const SHOP: &str = "CREATE TABLE clients (id serial PRIMARY KEY, name text);
    INSERT INTO clients (name) SELECT 'client ' || n FROM generate_series(1, 300) n;";

const WHICH: &str = "Which one? Its number, or its id";
const INTO: &str = "Its number, or another new name";
const SURE: &str = "Restore? [y/N]";
const CTRL_C: &str = "\u{3}";
const END_OF_INPUT: &str = "\u{4}";

/// A server of its own, for new names are looked at; a database on it, and a backup of that.
struct Shop {
    server: Postgres,
    stored: Stored,
}

impl Shop {
    fn new() -> Self {
        let server = Postgres::start(17);
        server.psql("postgres", "CREATE DATABASE shop");
        server.psql("shop", SHOP);
        let stored = Stored::of(&server, "shop");
        Self { server, stored }
    }

    /// `pgkeep restore ARGS` at a terminal.
    fn restore<const A: usize, const N: usize>(&self, args: [&str; A], steps: [(&str, &str); N]) -> Outcome {
        let command = self.stored.pgkeep(&self.server, ["restore"]).args(args);
        command.env("TERM", "dumb").through(answering(steps)).run()
    }

    fn databases(&self) -> String {
        self.server.psql("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database")
    }

    fn new_name(&self) -> String {
        let id = self.stored.manifest()["id"].as_str().unwrap().to_owned();
        format!("shop_restored_{}", &id[..8])
    }

    /// Nothing was done.
    #[track_caller]
    fn assert_untouched(&self, outcome: &Outcome) {
        assert_eq!(self.databases(), "postgres shop template0 template1", "{outcome}");
    }
}

#[track_caller]
fn shows(outcome: &Outcome, texts: &[&str]) {
    for text in texts {
        assert!(outcome.stdout.contains(text), "{text:?} is not shown: {outcome}");
    }
}

#[test]
fn the_defaults_and_a_yes_restore_into_a_new_database() {
    let shop = Shop::new();
    let outcome = shop.restore([], [(WHICH, "\n"), (INTO, "\n"), (SURE, "yes\n")]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let new = shop.new_name();
    let id = shop.stored.manifest()["id"].as_str().unwrap().to_owned();
    shows(&outcome, &[&id, "never", &format!("into {new}"), "not known: no drill of this job", "proof:      passed"]);
    assert_eq!(shop.databases(), format!("postgres shop {new} template0 template1"));
    assert_same_dump(&shop.server.pg_dump("shop", []), &shop.server.pg_dump(&new, []));

    // The drill tells how long it takes; the name is taken by now; junk is asked again.
    shop.stored.pgkeep(&shop.server, ["drill"]).ok();
    let steps = [
        (WHICH, "7\n"),
        (WHICH, "2\n"),
        (WHICH, "1\n"),
        (INTO, "shop\n"),
        (INTO, "template1\n"),
        (INTO, "\n"),
        (SURE, "hm\n"),
        (SURE, "y\n"),
    ];
    let outcome = shop.restore([], steps);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    shows(&outcome, &["passed just now", "as the drill of", "Answer yes or no.", "There is no 7 among them."]);
    shows(&outcome, &["shop is the live one: answer 2", "A database template1 is there already"]);
    assert_same_dump(&shop.server.pg_dump("shop", []), &shop.server.pg_dump(&format!("{new}_2"), []));
}

#[test]
fn the_live_database_is_replaced_only_where_that_is_chosen() {
    let shop = Shop::new();
    shop.server.psql("shop", "DELETE FROM clients");
    let outcome = shop.restore(["latest"], [(INTO, "2\n"), (SURE, "s\n")]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    shows(&outcome, &["exchange the names", "the very database that was backed up"]);
    assert_eq!(shop.server.psql("shop", "SELECT count(*) FROM clients"), "300");
    let id = shop.stored.manifest()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.server.psql(&format!("shop_before_{id}"), "SELECT count(*) FROM clients"), "0");
}

#[test]
fn no_the_end_of_input_and_ctrl_c_leave_nothing() {
    let shop = Shop::new();
    for (answer, code) in [("n\n", 1), ("\n", 1), ("junk\nno\n", 1), (END_OF_INPUT, 1), (CTRL_C, 130)] {
        let outcome = shop.restore([], [(WHICH, "\n"), (INTO, "\n"), (SURE, answer)]);
        assert_eq!(outcome.code, Some(code), "{answer:?}: {outcome}");
        shop.assert_untouched(&outcome);
    }
    for (answer, code) in [(END_OF_INPUT, 1), (CTRL_C, 130)] {
        let outcome = shop.restore([], [(WHICH, answer)]);
        assert_eq!(outcome.code, Some(code), "{answer:?}: {outcome}");
        let outcome = shop.restore(["latest"], [(INTO, answer)]);
        assert_eq!(outcome.code, Some(code), "{answer:?}: {outcome}");
        shop.assert_untouched(&outcome);
    }
}

#[test]
fn only_what_is_missing_is_asked_for() {
    let shop = Shop::new();
    // Everything is said: nothing is asked, though somebody could answer.
    let outcome = shop.restore(["latest", "--into", "one"], []);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    shows(&outcome, &["plan: restore"]);
    assert!(!outcome.stdout.contains("Restore?"), "{outcome}");
    // The backup only, and no last question.
    let outcome = shop.restore(["--into", "two", "--yes"], [(WHICH, "1\n")]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.stdout.contains("Restore?") && !outcome.stdout.contains("Into which"), "{outcome}");
    // Looking only.
    let outcome = shop.restore(["latest", "--dry-run"], [(INTO, "three\n")]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(shop.databases(), "one postgres shop template0 template1 two", "{outcome}");
    // What a restore would refuse is refused before the question.
    let outcome = shop.restore(["--into", "shop"], [(WHICH, "1\n")]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    shows(&outcome, &["the very database that the backup was taken from"]);
    assert!(!outcome.stdout.contains("Restore?"), "{outcome}");
}

#[test]
fn of_several_jobs_one_is_chosen_first() {
    let shop = Shop::new();
    shop.server.psql("postgres", "CREATE DATABASE crm");
    let url = shop.server.url("crm");
    pgkeep().server(&shop.server).env("DATABASE_URL", url).args(["backup", "now", "--to"]).arg(shop.stored.path()).ok();
    let steps = [
        ("Its number or name", "3\n"),
        ("Its number or name", "shop\n"),
        (WHICH, "\n"),
        (INTO, "mine\n"),
        (SURE, "y\n"),
    ];
    let outcome = shop.restore([], steps);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(shop.server.psql("mine", "SELECT count(*) FROM clients"), "300");
}

#[test]
fn a_configuration_is_enough_for_somebody_in_trouble() {
    let shop = Shop::new();
    let toml = format!(
        "[destination.disk]\ntype = 'folder'\npath = '{}'\n[job.shop]\ndestinations = ['disk']\ndatabase_url = '{}'\n",
        shop.stored.path().display(),
        shop.server.url("shop")
    );
    let steps = [(WHICH, "\n"), (INTO, "\n"), (SURE, "yes\n")];
    let outcome = Configured::new(&toml).pgkeep(["restore"]).server(&shop.server).through(answering(steps)).run();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_same_dump(&shop.server.pg_dump("shop", []), &shop.server.pg_dump(&shop.new_name(), []));
}

#[test]
fn without_a_terminal_nothing_is_asked() {
    let shop = Shop::new();
    let restore = |args: &[&str]| shop.stored.pgkeep(&shop.server, ["restore"]).args(args);
    for args in [&[][..], &["latest"], &["--into", "x"], &["--yes"]] {
        let outcome = restore(args).fails(2);
        assert!(outcome.stderr.contains("required arguments were not provided"), "{outcome}");
        shop.assert_untouched(&outcome);
    }
    let (plan, code) = restore(&["latest", "--into", "x", "--plan"]).json_with_code();
    assert_eq!((code, plan["state"].as_str(), plan["database"].as_str()), (0, Some("absent"), Some("x")), "{plan:#}");
    let (plan, code) = restore(&["latest", "--into", "shop", "--dry-run"]).json_with_code();
    assert_eq!((code, plan["state"].as_str()), (1, Some("source")), "{plan:#}");
    assert!(plan["refused"].as_str().unwrap().contains("the very database"), "{plan:#}");
    // With all arguments the plan is told on stderr, and stdout is as ever.
    let outcome = restore(&["latest", "--into", "x"]).ok();
    assert!(outcome.stderr.contains("plan: restore") && !outcome.stdout.contains("plan:"), "{outcome}");
    let outcome = restore(&["latest", "--into", "y", "--quiet"]).ok();
    assert!(!outcome.stderr.contains("plan:"), "{outcome}");
}
