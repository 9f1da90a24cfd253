//! Scripts that try to slip a command past the scanner, given to real psqls: whatever one of them runs, the scanner must
//! have refused.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::doc_markdown)]

use crate::support::{MAJORS, Postgres};
use pgkeep::script::{Scan, Scanner};

fn scan(script: &[u8]) -> Scan {
    let mut scanner = Scanner::default();
    scanner.feed(script);
    scanner.finish()
}

/// What the attacker does, and the script. `~` stands for `\echo HACKED` and a newline.
const ATTACKS: &[(&str, &str)] = &[
    ("a_command_alone", "~"),
    ("a_command_behind_a_statement", "SELECT 1; ~"),
    ("a_command_within_a_statement", "SELECT 1 ~;"),
    ("a_command_behind_restrict", "\\restrict abc \\\\ ~"),
    ("a_string_continued_on_the_next_line", "COMMENT ON SCHEMA public IS E'a'\n'\\'; ~--';\n"),
    ("a_string_continued_behind_a_comment", "COMMENT ON SCHEMA public IS E'a' -- c\n -- d\n'\\'; ~--';\n"),
    ("a_string_continued_behind_a_carriage_return", "COMMENT ON SCHEMA public IS E'a'\r'\\'; ';~--';\n"),
    ("a_doubled_quote_in_an_escape_string", "COMMENT ON SCHEMA public IS E'a''\\'b'; ~--';\n"),
    ("a_bit_string_with_standard_strings_off", "SET standard_conforming_strings = off;\nSELECT B'\\'; ~--';\n"),
    ("a_hex_string_with_standard_strings_off", "SET standard_conforming_strings = off;\nSELECT X'\\'; ~--';\n"),
    ("a_unicode_string_with_standard_strings_off", "SET standard_conforming_strings = off;\nSELECT U&'\\'; ~--';\n"),
    ("standard_strings_off_in_lower_case", "set standard_conforming_strings=off;\nSELECT 'a\\'; ';~--';\n"),
    ("standard_strings_off_by_false", "SET standard_conforming_strings = false;\nSELECT 'a\\' , ';~--';\n"),
    (
        "standard_strings_off_by_a_function",
        "select pg_catalog.set_config('standard_conforming_strings', 'off', false);\nSELECT 'a\\' , $$\n~$$';\n",
    ),
    (
        "standard_strings_off_by_a_block",
        "DO 'BEGIN SET standard_conforming_strings = off; END';\nCOMMENT ON SCHEMA public IS 'a\\' , ';\n~--';\n",
    ),
    ("standard_strings_taken_back", "BEGIN;\nSET standard_conforming_strings = off;\nROLLBACK;\nSELECT 'a\\'; ~--';\n"),
    ("an_encoding_whose_characters_hold_quotes", "SET client_encoding = 'SJIS';\nSELECT '\u{1}'; ';~--';\n"),
    (
        "a_name_that_psql_takes_for_a_body",
        "CREATE FUNCTION pg_temp.begin() RETURNS int LANGUAGE sql AS 'select 1';\n\
      CREATE TABLE public.lines (a text);\nCOPY public.lines (a) FROM stdin;\nEND;\n$x$\n\\.\n~-- $x$;\n",
    ),
    (
        "rows_behind_a_label_named_case",
        "CREATE TABLE public.lines2 (a text);\nCREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 AS case; END; \
      COPY public.lines2 (a) FROM stdin; END;\n$x$\n\\.\n~-- $x$;\n",
    ),
    (
        "a_byte_order_mark_that_hides_create",
        "\u{feff}CREATE FUNCTION pg_temp.begin() RETURNS int LANGUAGE sql AS 'select 1';\nCREATE TABLE public.l3 (a text);\n\
      COPY public.l3 (a) FROM stdin;\n~",
    ),
    (
        "an_end_of_rows_with_a_carriage_return",
        "CREATE TABLE public.rows1 (a text);\nCOPY public.rows1 (a) FROM stdin;\n\\.\r\n~\\.\n",
    ),
    ("rows_in_lower_case", "create table public.rows2 (a text);\ncopy public.rows2 from stdin;\n$$\n\\.\n~ $$;\n"),
    (
        "rows_behind_a_comment",
        "CREATE TABLE public.rows3 (a text);\n/* c */ COPY /* c */ public.rows3 FROM stdin;\n$$\n\\.\n~ $$;\n",
    ),
    ("rows_ended_early", "CREATE TABLE public.rows4 (a text);\nCOPY public.rows4 (a) FROM stdin;\n1\n\\.\n~2\n\\.\n"),
    (
        "a_command_behind_copy_on_its_line",
        "CREATE TABLE public.rows5 (a text);\nCOPY public.rows5 (a) FROM stdin; ~1\n\\.\n",
    ),
    ("a_nul_that_hides_a_quote", "SELECT 1 \0 $$ \n; ~ -- $$;\n"),
    ("a_nul_in_rows", "CREATE TABLE public.rows6 (a text);\nCOPY public.rows6 (a) FROM stdin;\nx\0\n\n\\.\n~"),
    ("a_variable_before_a_dollar_quote", "SELECT ('{1}'::int[])[1:abc$$]; ~--$$];\n"),
    ("a_variable_before_an_escape_string", "SELECT ('{1}'::int[])[1:e'\\']; ~--'];\n"),
    ("a_variable_of_psql", "SELECT :VERSION;\n~"),
    ("a_number_before_an_escape_string", "SELECT 1e'\\'; ~--';\n"),
    ("a_parameter_before_an_escape_string", "SELECT $1e'\\'; ~--';\n"),
    ("a_number_before_a_dollar_quote", "SELECT 1$$; ~--$$;\n"),
    (
        "a_number_before_begin",
        "CREATE FUNCTION pg_temp.g() RETURNS int LANGUAGE sql COST 1begin atomic select 1; end;\n~",
    ),
    ("a_comment_ended_by_a_carriage_return", "-- comment\r~"),
    ("a_comment_in_an_operator", "SELECT 1 +--'\n1; ~--';\n"),
    ("a_nested_comment", "/* /* */ ' */ ~ -- '\n"),
    ("a_comment_opened_by_slash_star_slash", "SELECT 1 /*/ ' /*/ */ */; ~ -- '\n"),
    ("a_tag_within_a_tag", "SELECT $a$ $b$a$ $a$; ~ -- $a$\n"),
    ("an_identifier_with_dollars", "SELECT 1 AS a$$; ~ -- $$\n"),
    ("an_identifier_with_a_quote", "SELECT 1 AS \"a\"\"'\"; ~ -- '\n"),
    ("a_unicode_identifier", "SELECT 1 AS U&\"\\0061\"; ~ -- \"\n"),
    ("a_form_feed", "\u{c}~"),
    ("a_forced_semicolon", "\\; SELECT 1 \\; ~;\n"),
    ("a_restrict_in_a_statement", "SELECT\n\\restrict abc\n1;~"),
    ("a_conditional", "\\if true\n~\\endif\n"),
    ("commands_behind_the_closing_line", "--\n-- PostgreSQL database dump complete\n--\n\n~"),
];

#[test]
fn whatever_a_psql_runs_the_scanner_has_refused() {
    for major in MAJORS {
        let server = Postgres::shared(major);
        let mut ran = 0;
        for (name, script) in ATTACKS {
            let mut script = script.replace('~', "\\echo HACKED\n").into_bytes();
            // The first byte of a two-byte character whose second is the quote.
            for byte in &mut script {
                if *byte == 1 {
                    *byte = 0x81;
                }
            }
            let db = server.create_db("attack");
            let mut said = Vec::new();
            for stop in ["1", "0"] {
                let file = crate::support::temp_dir();
                let path = file.path().join("script.sql");
                std::fs::write(&path, &script).unwrap();
                let output = server
                    .client("psql", &db)
                    .args(["-X", "-q", "-v", &format!("ON_ERROR_STOP={stop}"), "-f"])
                    .arg(&path)
                    .output()
                    .unwrap();
                said.extend(output.stdout);
            }
            let hacked = memchr::memmem::find(&said, b"HACKED").is_some();
            ran += usize::from(hacked);
            let scan = scan(&script);
            println!("{major} {name}: ran {hacked}, {:?}", scan.violations.first().map(|v| &v.what));
            assert!(!hacked || !scan.violations.is_empty(), "PostgreSQL {major}, {name}: not refused, but run");
            // The lexer must see it too, where no SELECT arouses suspicion.
            let comments = String::from_utf8_lossy(&script).replace("SELECT", "COMMENT");
            let seen = self::scan(comments.as_bytes()).violations;
            assert!(!hacked || !seen.is_empty(), "PostgreSQL {major}, {name}: only its SELECT was refused");
            let cut: Vec<_> = scan.violations;
            let mut bytewise = Scanner::default();
            script.chunks(1).for_each(|byte| bytewise.feed(byte));
            assert_eq!(bytewise.finish().violations.len(), cut.len(), "{name}: other pieces, other violations");
        }
        assert!(ran > 20, "PostgreSQL {major}: only {ran} of the attacks work at all");
    }
}
