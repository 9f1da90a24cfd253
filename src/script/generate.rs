//! Scripts like those of pg_dump, made at random together with what a scanner must find in them.

use super::{Fingerprint, Lexer, Scan, Scanner, Step};
use proptest::prelude::*;

/// Text that looks like the beginning or the end of everything.
const LURES: [&str; 12] = [
    "\n--\n-- Name: lure; Type: TABLE; Schema: public; Owner: eve\n--\n\n",
    "\n--\n-- Data for Name: lure; Type: TABLE DATA; Schema: public; Owner: eve\n--\n\nCOPY public.lure (a) FROM stdin;\n1\n\\.\n",
    "\n--\n-- PostgreSQL database dump complete\n--\n\n",
    "\n\\! touch lure\n",
    "\n\\.\n",
    "; BEGIN ATOMIC ",
    "\n\\restrict lure\n",
    "CASE WHEN END; ",
    "/* ( ",
    "-- ) */",
    "\u{e9}\u{1f4b6}",
    "\nSET standard_conforming_strings = off;\n",
];

/// A statement without its semicolon, in parts that any white space may stand between.
fn lure() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![prop::sample::select(&LURES[..]).prop_map(str::to_owned), "[ -~\n]{0,8}"], 0..4)
        .prop_map(|parts| parts.concat())
}

fn token() -> impl Strategy<Value = String> {
    let plain = lure().prop_map(|text| format!("'{}'", text.replace('\'', "''")));
    let escape =
        lure().prop_map(|text| format!("E'it''s \\' {}\\\\' ||", text.replace('\\', "\\\\").replace('\'', "\\'")));
    let quoted = lure().prop_map(|text| format!("\"{}\"", text.replace('"', "\"\"")));
    let dollar = ("([a-z_][a-z0-9_]{0,3})?", lure()).prop_map(|(tag, text)| {
        let tag = format!("${tag}$");
        // The text must not close the quote, not even together with the beginning of the closing tag.
        format!("{tag}{}{tag}", text.replace('$', "S"))
    });
    let comment = lure().prop_map(|text| format!("/* /* {} */ */", text.replace(['*', '/'], "")));
    let line = "[ -~]{0,10}".prop_map(|text| format!("--{text}\n"));
    let bits = "[01]{0,4}".prop_map(|bits| format!("B'{bits}'"));
    let word = prop::sample::select(
        &["e", "a$$b", "x::text", "1.5e-5", "- 1", "$1", "a[1:2]", "@#@", "(a; 'b;' ; c)", "/ 2"][..],
    );
    prop_oneof![plain, escape, quoted, dollar, comment, line, bits, word.prop_map(str::to_owned)]
}

fn statement() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        Just("CREATE TABLE public.t"),
        Just(
            "CREATE FUNCTION public.f() RETURNS integer LANGUAGE sql\nBEGIN ATOMIC\n SELECT CASE a WHEN 1 THEN ';' END; SELECT 2;\nEND"
        ),
        Just("CREATE OR REPLACE PROCEDURE public.p() AS"),
        Just("CREATE RULE r AS ON INSERT TO t DO ALSO ( SELECT 1; SELECT '('; )"),
        Just("COMMENT ON TABLE public.t IS"),
        Just("GRANT SELECT ON public.t TO bob"),
    ];
    (head, prop::collection::vec(token(), 0..5)).prop_map(|(head, tokens)| format!("{head} {};", tokens.join(" ")))
}

#[derive(Debug, Clone)]
enum Piece {
    Object { kind: &'static str, statements: Vec<String>, owner: bool, tablespace: bool },
    Rows { columns: usize, rows: Vec<String> },
    Sequence { value: u32, called: bool },
    Object14 { oid: u32 },
    Objects17 { first: u32 },
}

fn piece() -> impl Strategy<Value = Piece> {
    let kinds = prop::sample::select(&["TABLE", "FUNCTION", "INDEX", "ACL", "COMMENT", "VIEW"][..]);
    let row = prop_oneof![
        4 => "[a-z\t;'\"$-]{0,12}",
        1 => Just(String::new()),
        1 => Just("\\\\.".to_owned()),
        1 => Just("\\\\.\\r".to_owned()),
        1 => Just("--".to_owned()),
        1 => (1usize..5000).prop_map(|length| "x".repeat(length)),
    ];
    prop_oneof![
        4 => (kinds, prop::collection::vec(statement(), 1..4), any::<bool>(), any::<bool>())
            .prop_map(|(kind, statements, owner, tablespace)| Piece::Object { kind, statements, owner, tablespace }),
        3 => (0usize..4, prop::collection::vec(row, 0..8)).prop_map(|(columns, rows)| Piece::Rows { columns, rows }),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(value, called)| Piece::Sequence { value, called }),
        1 => (1u32..9).prop_map(|oid| Piece::Object14 { oid }),
        1 => (10u32..19).prop_map(|first| Piece::Objects17 { first }),
    ]
}

type FoundEntry = (String, String, u64, Option<(usize, u64, Fingerprint)>);

/// What a scanner must find: of each entry its kind, its name, where it begins, and of its rows number and fingerprint.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    entries: Vec<FoundEntry>,
    statements: Vec<String>,
}

#[derive(Debug)]
struct Script {
    sql: Vec<u8>,
    wanted: Found,
    closing: usize,
}

fn script(pieces: &[Piece]) -> Script {
    let mut sql = String::from("--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n");
    let mut wanted = Found { entries: Vec::new(), statements: Vec::new() };
    let say = |sql: &mut String, wanted: &mut Found, statement: &str| {
        sql.push_str(statement);
        sql.push_str("\n\n");
        wanted.statements.push(statement.to_owned());
    };
    for setting in ["SET client_encoding = 'UTF8';", "SET standard_conforming_strings = on;"] {
        say(&mut sql, &mut wanted, setting);
    }
    for (number, piece) in pieces.iter().enumerate() {
        let name = format!("n{number}; Type: X");
        let header = |sql: &mut String, wanted: &mut Found, data: &str, name: &str, kind: &str, rows| {
            wanted.entries.push((kind.to_owned(), name.to_owned(), sql.len() as u64, rows));
            sql.extend([format!("--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: bob\n--\n\n")]);
        };
        match piece {
            Piece::Object { kind, statements, owner, tablespace } => {
                if *tablespace {
                    say(&mut sql, &mut wanted, "SET default_tablespace = '';");
                }
                header(&mut sql, &mut wanted, "", &name, kind, None);
                for statement in statements {
                    say(&mut sql, &mut wanted, statement);
                }
                if *owner {
                    say(&mut sql, &mut wanted, "ALTER TABLE public.t OWNER TO bob;");
                }
            }
            Piece::Rows { columns, rows } => {
                let mut fingerprint = Fingerprint::default();
                for row in rows {
                    fingerprint.add(row.as_bytes());
                }
                let found = Some((*columns, rows.len() as u64, fingerprint));
                header(&mut sql, &mut wanted, "Data for ", &name, "TABLE DATA", found);
                let names: Vec<_> = (0..*columns).map(|n| format!("\"c\"\"{n};\"")).collect();
                let names = if names.is_empty() { String::new() } else { format!("({})", names.join(", ")) };
                let copy = format!("COPY public.t{number} {names} FROM stdin;");
                sql.push_str(&copy);
                sql.push('\n');
                wanted.statements.push(copy);
                sql.extend(rows.iter().flat_map(|row| [row.as_str(), "\n"]));
                sql.push_str("\\.\n\n\n");
            }
            Piece::Sequence { value, called } => {
                header(&mut sql, &mut wanted, "", &name, "SEQUENCE SET", None);
                say(&mut sql, &mut wanted, &format!("SELECT pg_catalog.setval('public.\"s'';\"', {value}, {called});"));
            }
            Piece::Object14 { oid } => {
                header(&mut sql, &mut wanted, "", &oid.to_string(), "BLOB", None);
                say(&mut sql, &mut wanted, &format!("SELECT pg_catalog.lo_create('{oid}');"));
                say(&mut sql, &mut wanted, &format!("ALTER LARGE OBJECT {oid} OWNER TO bob;"));
            }
            Piece::Objects17 { first } => {
                let name = format!("{first}..{}", first + 1);
                header(&mut sql, &mut wanted, "", &name, "BLOB METADATA", None);
                for oid in [*first, first + 1] {
                    say(&mut sql, &mut wanted, &format!("SELECT pg_catalog.lo_create('{oid}');"));
                    say(&mut sql, &mut wanted, &format!("ALTER LARGE OBJECT {oid} OWNER TO bob;"));
                }
                header(&mut sql, &mut wanted, "Data for ", &name, "BLOBS", None);
                say(&mut sql, &mut wanted, "BEGIN;");
                for oid in [*first, first + 1] {
                    say(&mut sql, &mut wanted, &format!("SELECT pg_catalog.lo_open('{oid}', 131072);"));
                    say(&mut sql, &mut wanted, "SELECT pg_catalog.lowrite(0, '\\x00ff');");
                    say(&mut sql, &mut wanted, "SELECT pg_catalog.lo_close(0);");
                }
                say(&mut sql, &mut wanted, "COMMIT;");
            }
        }
    }
    let closing = sql.len();
    sql.push_str("--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n");
    Script { sql: sql.into_bytes(), wanted, closing }
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Scan {
    let mut scanner = Scanner::default();
    pieces.into_iter().for_each(|piece| scanner.feed(piece));
    scanner.finish()
}

fn found(scan: &Scan, wanted: &Found) -> Found {
    let entries = scan.entries.iter().filter(|entry| entry.kind != "LARGE OBJECT");
    let entries = entries
        .map(|entry| {
            let rows = entry.table.as_ref().map(|data| (data.columns.len(), data.rows, data.fingerprint));
            (entry.kind.clone(), entry.name.clone(), entry.start, rows)
        })
        .collect();
    Found { entries, statements: wanted.statements.clone() }
}

/// The statements, by a lexer that is told where rows stand by the test, not by the scanner.
fn statements(sql: &[u8]) -> Vec<String> {
    let mut lexer = Lexer::new();
    let mut statements = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let (read, step) = lexer.advance(&sql[at..]);
        at += read;
        if step == Step::Statement {
            let statement = String::from_utf8(lexer.text().to_vec()).unwrap();
            if statement.starts_with("COPY") {
                at += memchr::memmem::find(&sql[at..], b"\n\\.\n").unwrap() + 4;
            }
            statements.push(statement);
        }
        assert_ne!(step, Step::Refused, "{}", lexer.reason());
    }
    statements
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_script_is_read_as_it_was_written_however_it_is_cut(
        pieces in prop::collection::vec(piece(), 0..7),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let Script { sql, wanted, closing } = script(&pieces);
        let whole = scan([&sql[..]]);
        prop_assert_eq!(&whole.violations, &[]);
        prop_assert!(whole.complete);
        prop_assert_eq!(found(&whole, &wanted), wanted);
        prop_assert_eq!(statements(&sql), found(&whole, &script(&pieces).wanted).statements);

        let listed: Vec<_> = whole.entries.iter().filter(|entry| entry.kind != "LARGE OBJECT").collect();
        for pair in listed.windows(2) {
            prop_assert_eq!(pair[0].end, pair[1].start);
        }
        if let Some(last) = listed.last() {
            prop_assert_eq!(last.end, closing as u64);
        }

        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(sql.len() + 1)).collect();
        places.extend([0, sql.len()]);
        places.sort_unstable();
        let cut = scan(places.windows(2).map(|pair| &sql[pair[0]..pair[1]]));
        prop_assert_eq!(format!("{cut:?}"), format!("{whole:?}"));
        let bytewise = scan(sql.chunks(1));
        prop_assert_eq!(format!("{bytewise:?}"), format!("{whole:?}"));

        // The closing line proper is the second of its three.
        let needed = closing + "--\n-- PostgreSQL database dump complete\n".len();
        for place in places {
            prop_assert!(!scan([&sql[..place.min(needed - 1)]]).complete);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_small_script_may_be_cut_anywhere(pieces in prop::collection::vec(piece(), 1..3)) {
        let Script { sql, .. } = script(&pieces);
        let sql = &sql[..sql.len().min(4000)];
        let whole = format!("{:?}", scan([sql]));
        for place in 0..=sql.len() {
            let (before, behind) = sql.split_at(place);
            prop_assert_eq!(&format!("{:?}", scan([before, behind])), &whole, "cut at {}", place);
        }
    }
}
