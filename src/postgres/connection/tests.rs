//! Connection strings against what libpq itself makes of them, and the environment that programs get.

use super::*;
use crate::error::ErrorKind;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use std::ffi::OsString;

/// Answers of libpq 15.18 (`PQconninfoParse`): a string after `> `, then its parameters, or `!`.
const RECORDED: &str = include_str!("libpq15.txt");

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
}

fn connection(text: &str, variables: &[(&str, &str)]) -> Connection {
    Connection::parse_in(&Secret::new(text), environment(variables)).unwrap()
}

fn child(connection: &Connection) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let variables = connection.client_environment(dir.path()).unwrap();
    let text = |text: OsString| text.into_string().unwrap();
    variables.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn unescape(text: &str) -> String {
    text.replace("\\\\", "\u{1}").replace("\\t", "\t").replace('\u{1}', "\\")
}

fn exposed(parameters: parse::Parameters) -> BTreeMap<String, String> {
    parameters.values.into_iter().map(|(name, value)| (name.to_owned(), value.expose().to_owned())).collect()
}

fn compare_with(recorded: &str) -> usize {
    let mut compared = 0;
    for case in recorded.split("\n> ").skip(1) {
        let mut lines = case.lines();
        let text = unescape(lines.next().unwrap());
        let answer: Vec<&str> = lines.collect();
        let ours = parse::parse(&text);
        if answer == ["!"] {
            assert!(ours.is_err(), "libpq refuses {text:?}, we read {:?}", ours.map(exposed));
        } else {
            let theirs: BTreeMap<String, String> = answer
                .iter()
                .map(|line| line.split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), unescape(value)))
                .collect();
            match ours {
                Ok(parameters) => assert_eq!(exposed(parameters), theirs, "{text:?}"),
                // The differences that `parse` documents; a later value may have replaced the bad one.
                Err(error) => {
                    let why = error.to_string();
                    let bad_host = why.contains("second @") && text.matches('@').count() > 1;
                    let bad_port = why.contains("port is not") && text.contains([':', 'p']);
                    assert!(bad_host || bad_port, "{text:?}: {why}");
                }
            }
        }
        compared += 1;
    }
    compared
}

#[test]
fn strings_mean_what_they_mean_to_libpq() {
    assert!(compare_with(RECORDED) > 300);
}

#[test]
fn a_name_without_equals_is_a_database() {
    let named = connection("shop", &[("PGHOST", "db"), ("PGUSER", "app"), ("PGDATABASE", "other")]);
    assert_eq!(named.database(), Some("shop"));
    assert_eq!(named.describe(), "app@db:5432/shop");
    assert_eq!(child(&named)["PGDATABASE"], "shop");
}

#[test]
fn a_string_that_looks_like_a_url_is_no_database_name() {
    for text in [
        "POSTGRES://me:hunter2@h/d",
        " postgres://me:hunter2@h/d?x=y",
        "jdbc:postgresql://me:hunter2@h/d",
        "postgresql+psycopg2://me:hunter2@h/d?a=b",
        "",
    ] {
        let error = parse::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!error.one_line().contains("hunter2"));
        assert!(error.hint_text().unwrap().contains("postgres://"));
    }
}

#[test]
fn unknown_parameters_are_named_unless_they_may_be_part_of_a_password() {
    let told = |text: &str| parse::parse(text).unwrap_err().to_string();
    assert!(told("postgres://h/d?schema=public").contains("\"schema\""));
    assert!(told("host=h pgbouncer=true").contains("\"pgbouncer\""));
    assert!(!told("password=my hunter2=x").contains("hunter2"));
    assert!(!told("postgres://me/x?hunter2=b@h/d").contains("hunter2"));
}

#[test]
fn a_password_with_an_unencoded_character_is_an_error_that_does_not_show_it() {
    for text in [
        "postgres://me:hun/ter2@h/d",
        "postgres://me:hun@ter2@h/d",
        "postgres://me:hun%ter2@h/d",
        "password=hun ter2 host=h",
        "password='hunter2",
    ] {
        let error = parse::parse(text).unwrap_err();
        assert!(!error.one_line().contains("ter2") && !error.one_line().contains("hun"), "{error:?}");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn descriptions_and_debug_hold_no_secret() {
    let variables = [("PGUSER", "env"), ("PGPASSWORD", "swordfish")];
    for (text, expected) in [
        ("postgres://app:hunter2@db.example.com/shop", "app@db.example.com:5432/shop"),
        ("postgres://a:1,[::1]:3/d", "env@a:1,[::1]:3/d"),
        ("postgres://a,b:7/d?port=9", "env@a:9,b:9/d"),
        ("host=/run/pg dbname=d", "env@/run/pg:5432/d"),
        ("user=x sslpassword=hunter2", "x@local:5432/x"),
        ("hostaddr=10.0.0.1 dbname='a\nb'", "env@10.0.0.1:5432/a\\nb"),
    ] {
        let connection = connection(text, &variables);
        assert_eq!(connection.describe(), expected);
        let debug = format!("{connection:?}");
        assert!(!debug.contains("hunter2") && !debug.contains("swordfish"), "{debug}");
    }
}

#[test]
fn every_form_of_a_secret_is_scrubbed() {
    let connection = connection("postgres://app:h%7Einter%40@db/shop?sslpassword=key", &[("PGPASSWORD", "sword fish")]);
    let secrets: Vec<String> = connection.secrets().iter().map(|secret| secret.expose().to_owned()).collect();
    for text in ["h~inter@", "h%7Einter%40", "h%7Einter%40", "key", "sword fish", "sword%20fish"] {
        assert!(secrets.iter().any(|secret| secret == text), "{text} is not in {secrets:?}");
    }
    let own = Connection::socket(Path::new("/tmp/x"), 5433, "postgres", "postgres");
    assert_eq!(own.secrets(), Vec::new());
}

#[test]
fn remote_servers_are_asked_for_tls_and_it_is_said() {
    for (text, variables, local, defaulted) in [
        ("postgres://db.example.com/d", &[][..], false, true),
        ("postgres://db.example.com/d?sslmode=disable", &[], false, false),
        ("postgres://db.example.com/d", &[("PGSSLMODE", "verify-full")], false, false),
        ("postgres://db.example.com/d", &[("PGSSLMODE", "")], false, true),
        ("postgres://db.example.com/d", &[("PGREQUIRESSL", "1")], false, false),
        ("postgres://db.example.com/d?sslrootcert=system", &[], false, false),
        ("postgres://localhost/d", &[], true, false),
        ("postgres://127.3.2.1/d", &[], true, false),
        ("postgres://[::1]/d", &[], true, false),
        ("postgres://localhost,db.example.com/d", &[], false, true),
        ("host=localhost hostaddr=10.0.0.1", &[], false, true),
        ("host=db.example.com hostaddr=127.0.0.1", &[], true, false),
        ("host=/run/postgresql", &[], true, false),
        ("dbname=d", &[], true, false),
        ("dbname=d", &[("PGHOST", "db.example.com")], false, true),
        ("host='' dbname=d", &[("PGHOST", "db.example.com")], true, false),
    ] {
        let connection = connection(text, variables);
        assert_eq!((connection.is_local(), connection.tls_defaulted()), (local, defaulted), "{text}");
        let mode = child(&connection).get("PGSSLMODE").cloned();
        assert_eq!(mode.as_deref() == Some("require"), defaulted, "{text}");
    }
}

#[test]
fn the_child_gets_what_it_needs_and_nothing_else() {
    let variables = [
        ("PATH", "/bin"),
        ("HOME", "/home/ana"),
        ("KRB5CCNAME", "ccache"),
        ("LC_ALL", "es_CO.UTF-8"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("PGHOST", "other"),
        ("PGOPTIONS", "-c x=y"),
        ("PGDATABASE", "other"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGTZ", "UTC"),
        ("PGKEEP_BIN_DIR", "/x"),
    ];
    let shop = connection("postgres://app:p%40ss@127.0.0.1:5433/a=b", &variables);
    let expected = [
        ("HOME", "/home/ana"),
        ("KRB5CCNAME", "ccache"),
        ("LC_MESSAGES", "C"),
        ("PATH", "/bin"),
        ("PGAPPNAME", "pgkeep"),
        ("PGCONNECT_TIMEOUT", "15"),
        ("PGDATABASE", "a=b"),
        ("PGHOST", "127.0.0.1"),
        ("PGOPTIONS", "-c x=y"),
        ("PGPASSWORD", "p@ss"),
        ("PGPORT", "5433"),
        ("PGUSER", "app"),
    ];
    assert_eq!(child(&shop), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(!child(&shop.without_database()).contains_key("PGDATABASE"));
    assert_eq!(shop.without_database().database(), None);
    assert_eq!(child(&shop.with_database("-Fc \"ñ"))["PGDATABASE"], "-Fc \"ñ");
    let chosen = connection("application_name=a connect_timeout=3", &[]);
    assert_eq!((child(&chosen)["PGAPPNAME"].as_str(), child(&chosen)["PGCONNECT_TIMEOUT"].as_str()), ("a", "3"));
}

#[test]
fn a_url_in_pgdatabase_is_refused_without_showing_it() {
    let connection = connection("host=localhost", &[("PGDATABASE", "postgres://me:hunter2@h/d")]);
    let error = connection.client_environment(Path::new("/nowhere")).unwrap_err();
    assert!(!error.one_line().contains("hunter2"));
}

#[test]
fn a_throwaway_cluster_inherits_no_parameter() {
    let variables = [("PGHOSTADDR", "10.0.0.1"), ("PGSERVICE", "prod"), ("PGPASSWORD", "x"), ("PATH", "/bin")];
    let mut connection = Connection::socket(Path::new("/tmp/s"), 5433, "postgres", "scratch");
    connection.environment = environment(&variables).without_libpq();
    assert!(connection.is_local());
    assert_eq!(connection.describe(), "postgres@/tmp/s:5433/scratch");
    let names: Vec<String> = child(&connection).into_keys().collect();
    let expected =
        ["LC_MESSAGES", "PATH", "PGAPPNAME", "PGCONNECT_TIMEOUT", "PGDATABASE", "PGHOST", "PGPORT", "PGUSER"];
    assert_eq!(names, expected);
}

#[test]
fn parameters_without_a_variable_go_through_a_private_service_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("services");
    std::fs::write(&file, "[prod]\nhost=db\nuser=svc\nkeepalives_idle=7\nport=6000\n").unwrap();
    let variables = [("PGSERVICEFILE", file.to_str().unwrap()), ("PGUSER", "env")];
    let connection = connection("service=prod port=5433 sslpassword=hunter2", &variables);
    assert_eq!(connection.describe(), "svc@db:5433/svc");

    let private = tempfile::tempdir().unwrap();
    let child: BTreeMap<_, _> = connection.client_environment(private.path()).unwrap().into_iter().collect();
    assert_eq!(child[&OsString::from("PGSERVICE")], "pgkeep");
    assert_eq!(child[&OsString::from("PGUSER")], "svc");
    let written = Path::new(&child[&OsString::from("PGSERVICEFILE")]);
    assert!(written.starts_with(private.path()));
    assert_eq!(std::fs::read_to_string(written).unwrap(), "[pgkeep]\nkeepalives_idle=7\nsslpassword=hunter2\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(written).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let missing = Connection::parse_in(&Secret::new("service=none"), environment(&variables)).unwrap_err();
    assert!(missing.to_string().contains("\"none\""));
}

proptest! {
    #[test]
    fn no_string_breaks_the_parser(text in "(postgres://)?[a-z%@:/?=&,'\\\\ \\[\\]0-9ñ]{0,40}") {
        let _ = parse::parse(&text);
    }

    #[test]
    fn parameters_survive_both_notations(
        values in prop::collection::btree_map(
            prop::sample::select(vec!["user", "password", "dbname", "host", "options", "application_name", "sslpassword"]),
            "[^\u{0}]{1,12}", 1..6)
    ) {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
        let part = |name: &str| values.get(name).map(|value| encode(value)).unwrap_or_default();
        let mut url = String::from("postgresql://");
        if values.contains_key("user") || values.contains_key("password") {
            url = format!("{url}{}:{}@", part("user"), part("password"));
        }
        url = format!("{url}{}/{}?", part("host"), part("dbname"));
        let mut keywords = String::new();
        for (name, value) in &values {
            keywords = format!("{keywords} {name} = '{}' ", quote(value));
            if !["user", "password", "dbname", "host"].contains(name) {
                url = format!("{url}{name}={}&", encode(value));
            }
        }
        let expected: BTreeMap<String, String> =
            values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        prop_assert_eq!(exposed(parse::parse(&url).unwrap()), expected.clone());
        prop_assert_eq!(exposed(parse::parse(&keywords).unwrap()), expected);
    }

    #[test]
    fn no_error_shows_the_password(
        before in "[a-z@:/?=&%' ]{0,6}", after in "[a-z@:/?=&%' ]{0,6}", url in any::<bool>(), tail in "[a-z@:/?=&%' ]{0,12}"
    ) {
        // The tell-tale has capitals, which are in no message.
        let text = if url { format!("postgres://me:{before}QQZZ{after}@h/d{tail}") } else { format!("password={before}QQZZ{after} {tail}") };
        if let Err(error) = parse::parse(&text) {
            prop_assert!(!error.one_line().contains("QQZZ"), "{}", error.one_line());
            prop_assert!(!error.hint_text().unwrap_or_default().contains("QQZZ"));
        }
    }
}

#[test]
fn a_server_is_checked_where_its_certificate_is() {
    for (text, checked) in [
        ("postgres://h/d", false),
        ("postgres://h/d?sslmode=require", false),
        ("postgres://h/d?sslmode=verify-ca", true),
        ("postgres://h/d?sslmode=verify-full", true),
        ("postgres://h/d?sslrootcert=system", true),
    ] {
        assert_eq!(connection(text, &[]).checks_the_server(), checked, "{text}");
    }
    assert!(connection("postgres://h/d", &[("PGSSLMODE", "verify-full")]).checks_the_server());
}

#[test]
fn poolers_are_known_by_their_port_or_name() {
    for (text, pooled) in [
        ("postgres://h/d", false),
        ("postgres://h:5433/d", false),
        ("postgres://h:6432/d", true),
        ("postgres://aws-0-eu-west-1.pooler.supabase.com:6543/d", true),
        ("postgres://ep-cool-name-pooler.eu-central-1.aws.neon.tech/d", true),
    ] {
        assert_eq!(connection(text, &[]).looks_pooled(), pooled, "{text}");
    }
}
