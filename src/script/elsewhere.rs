//! What `--create` and `--clean` add to a dump: statements that are about another database than the one being loaded into.

use super::statement::tokens;

/// How many statements about the database itself are kept: it has some settings, for some roles.
pub(super) const MOST_STATEMENTS: usize = 1000;

/// Whether an entry is about the database itself.
pub(super) fn is_of_database(kind: &str, name: &str) -> bool {
    match kind {
        "DATABASE" | "DATABASE PROPERTIES" => true,
        "COMMENT" | "SECURITY LABEL" | "ACL" => name.starts_with("DATABASE "),
        _ => false,
    }
}

/// Whether a statement before the first entry is one of those with which `--clean` takes away what a new database does
/// not have.
pub(super) fn is_drop(word: &[u8], statement: &[u8]) -> bool {
    match word {
        b"DROP" => true,
        b"SELECT" => statement.starts_with(b"SELECT pg_catalog.lo_unlink("),
        b"ALTER" => tokens(statement).iter().any(|token| ["drop", "disable", "detach"].iter().any(|one| token.is(one))),
        // Views that depend on each other lose their query first.
        b"CREATE" => statement.starts_with(b"CREATE OR REPLACE VIEW "),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Omit, Scan, Scanner};

    fn scan(script: &str, elsewhere: bool) -> Scan {
        let mut scanner = Scanner::new(super::super::ColumnOrder::new(), Omit { elsewhere, ..Omit::default() });
        scanner.feed(script.as_bytes());
        scanner.finish()
    }

    /// A dump made with `--create --clean --verbose`.
    const DUMP: &str = "\
--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\n-- Dumped from database version 16.2\n\n\
SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n\nDROP DATABASE shop;\n\
--\n-- TOC entry 1 (class 1262 OID 5)\n-- Name: shop; Type: DATABASE; Schema: -; Owner: ana\n--\n\n\
CREATE DATABASE shop WITH TEMPLATE = template0 ENCODING = 'UTF8';\n\n\nALTER DATABASE shop OWNER TO ana;\n\n\
\\unrestrict k\n\\connect shop\n\\restrict k\n\nSET client_encoding = 'UTF8';\n\
SET standard_conforming_strings = on;\n\n\
--\n-- TOC entry 2 (class 0 OID 0)\n-- Dependencies: 1\n-- Name: DATABASE shop; Type: COMMENT; Schema: -; Owner: ana\n--\n\n\
COMMENT ON DATABASE shop IS 'x';\n\n\nSET default_tablespace = fast;\n\n\
--\n-- TOC entry 3 (class 0 OID 0)\n-- Name: t; Type: TABLE; Schema: public; Owner: ana\n--\n\nCREATE TABLE public.t (a integer);\n\n\n\
--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: ana\n--\n\nCOPY public.t (a) FROM stdin;\n1\n\\.\n\n\n\
--\n-- Name: DATABASE shop; Type: ACL; Schema: -; Owner: ana\n--\n\nGRANT CONNECT ON DATABASE shop TO bob;\n\n\n\
-- Completed on 2026-11-22\n\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k\n\n";

    fn without(text: &str, scan: &Scan) -> String {
        let mut kept = String::new();
        let mut at = 0;
        for range in &scan.cut {
            kept.push_str(&text[at..range.start as usize]);
            at = range.end as usize;
        }
        kept + &text[at..]
    }

    #[test]
    fn what_is_about_the_database_itself_can_be_cut_out() {
        assert!(!scan(DUMP, false).violations.is_empty(), "as it stands it must not be restored");
        let found = scan(DUMP, true);
        assert_eq!((&found.violations[..], found.complete, found.drops), (&[][..], true, 1));
        assert_eq!(found.about_database.len(), 4);
        let kept = without(DUMP, &found);
        let clean = scan(&kept, false);
        assert!(clean.complete && clean.violations.is_empty(), "{:?}\n{kept}", clean.violations);
        assert!(!kept.contains("shop") && kept.contains("SET default_tablespace = fast;"), "{kept}");
        let kinds = |scan: &Scan| scan.entries.iter().map(|one| (one.kind.clone(), one.digest)).collect::<Vec<_>>();
        assert_eq!(kinds(&clean), kinds(&found));
        assert_eq!(kinds(&clean).iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(), ["TABLE", "TABLE DATA"]);
    }

    #[test]
    fn a_connection_elsewhere_stays_refused() {
        for hostile in ["\\connect other\n", "\\! true\n"] {
            let place = DUMP.find("CREATE TABLE").unwrap();
            let script = format!("{}{hostile}{}", &DUMP[..place], &DUMP[place..]);
            assert_eq!(scan(&script, true).violations.len(), 1, "{hostile}");
        }
        let script = DUMP.replace("COMMENT ON DATABASE", "\\! true\nCOMMENT ON DATABASE");
        assert_eq!(scan(&script, true).violations.len(), 1);
    }
}
