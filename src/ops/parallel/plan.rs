//! Which tables leave pg_dump's hands, in which pieces, and in what order. Pure.

use crate::postgres::SourceTable;
use crate::script::Slice;
use std::cmp::Reverse;
use std::sync::Arc;

/// How many pieces each session should get, so that none waits long for the last one.
const PIECES: u64 = 8;

/// The size of a piece in bytes on disk: below, asking for it costs more than sharing it saves.
const SMALLEST_PIECE: u64 = 4 << 20;

/// And above, a broken connection would lose too much time.
const LARGEST_PIECE: u64 = 1 << 30;

/// Smaller tables stay with pg_dump, in bytes on disk.
const SMALLEST_TABLE: u64 = 64 << 10;

/// How many bytes of arguments may tell pg_dump which tables to leave out. Windows passes 32 KiB, Linux 2 MiB.
const ARGUMENTS: usize = if cfg!(windows) { 24 << 10 } else { 192 << 10 };

/// Rows that one session reads in one go: a table, or a range of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) table: Arc<SourceTable>,
    /// The first page and the one behind the last; the last slice has no end, for a table grows while it is read.
    pub(super) pages: Option<(u64, Option<u64>)>,
    pub(super) slice: Option<Slice>,
    bytes: u64,
}

/// A parallel dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The largest first.
    pub(super) pieces: Vec<Piece>,
    /// The tables of the pieces.
    pub(super) tables: Vec<Arc<SourceTable>>,
    /// How many sessions read pieces.
    pub(super) sessions: usize,
    /// The size of the pieces on disk in bytes.
    pub(super) bytes: u64,
    /// The size of everything else.
    pub(super) rest_bytes: u64,
}

/// Plans for `jobs` streams of rows over a database in `encoding` with large objects of so many bytes.
pub(super) fn plan(tables: &[SourceTable], large_object_bytes: u64, encoding: &str, jobs: usize) -> Plan {
    let jobs = jobs.max(1);
    let total = tables.iter().map(|table| table.bytes).sum::<u64>();
    let size = (total / (PIECES * jobs as u64)).clamp(SMALLEST_PIECE, LARGEST_PIECE);
    let mut candidates: Vec<&SourceTable> = tables.iter().filter(|table| may_leave(table, encoding)).collect();
    // By name where sizes are equal, so that the same database is always dumped in the same way.
    candidates.sort_by(|a, b| (b.bytes, &a.quoted).cmp(&(a.bytes, &b.quoted)));
    let mut plan = Plan { pieces: Vec::new(), tables: Vec::new(), sessions: 0, bytes: 0, rest_bytes: total };
    let mut arguments = 0;
    for table in candidates {
        arguments += exclusion(table).len() + 1;
        // pg_dump is a stream too: when it has no more than a small share left, it is done first.
        let enough = plan.rest_bytes <= total / (4 * jobs as u64) && table.bytes < size;
        if table.bytes < SMALLEST_TABLE || arguments > ARGUMENTS || enough {
            break;
        }
        let table = Arc::new(table.clone());
        plan.pieces.extend(split(&table, size));
        plan.bytes += table.bytes;
        plan.rest_bytes -= table.bytes;
        plan.tables.push(table);
    }
    plan.rest_bytes += large_object_bytes;
    plan.pieces.sort_by_key(|piece| Reverse(piece.bytes));
    // Where pg_dump has a stream's work to do it is one of them.
    let busy = plan.rest_bytes > (total + large_object_bytes) / (2 * jobs as u64);
    let sessions = if busy { jobs.saturating_sub(1).max(1) } else { jobs };
    plan.sessions = sessions.min(plan.pieces.len());
    plan
}

/// Whether COPY reads the table just as pg_dump would, and its name can be told to pg_dump: arguments are UTF-8 (on Windows
/// not even that), and pg_dump takes them to be in the database's encoding.
fn may_leave(table: &SourceTable, encoding: &str) -> bool {
    let mut words = [&table.schema, &table.name, &table.owner].into_iter().chain(&table.columns);
    table.separable && (encoding == "UTF8" && !cfg!(windows) || words.all(|word| word.is_ascii()))
}

fn split(table: &Arc<SourceTable>, size: u64) -> Vec<Piece> {
    let wanted = if table.splittable { table.bytes.div_ceil(size) } else { 1 };
    let of = wanted.min(table.pages).clamp(1, u64::from(u32::MAX)) as u32;
    if of == 1 {
        return vec![Piece { table: Arc::clone(table), pages: None, slice: None, bytes: table.bytes }];
    }
    let border = |number: u32| (u128::from(table.pages) * u128::from(number) / u128::from(of)) as u64;
    let piece = |number: u32| Piece {
        table: Arc::clone(table),
        pages: Some((border(number - 1), (number < of).then(|| border(number)))),
        slice: Some(Slice { number, of }),
        bytes: table.bytes / u64::from(of),
    };
    (1..=of).map(piece).collect()
}

/// The argument that has pg_dump leave out a table's rows. Quotes make a pattern of pg_dump's a name.
pub(super) fn exclusion(table: &SourceTable) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    format!("--exclude-table-data={}.{}", quoted(&table.schema), quoted(&table.name))
}

impl Piece {
    /// What psql is told in order to write the rows and, behind them, the line that ends them. No row is that line: COPY
    /// writes a backslash as two.
    pub(super) fn command(&self) -> String {
        let SourceTable { quoted, columns, .. } = &*self.table;
        let columns = columns.join(", ");
        let copy = match self.pages {
            None => format!("copy {quoted} ({columns}) to stdout;"),
            Some((first, end)) => {
                let end = end.map(|end| format!(" and ctid < '({end},0)'::pg_catalog.tid")).unwrap_or_default();
                format!(
                    "copy (select {columns} from only {quoted} where ctid >= '({first},0)'::pg_catalog.tid{end}) to stdout;"
                )
            }
        };
        format!("{copy}\nselect '\\.';\n")
    }

    /// The header and the COPY statement that stand before the rows, as pg_dump words them.
    pub(super) fn header(&self) -> String {
        let SourceTable { schema, name, owner, quoted, columns, .. } = &*self.table;
        let mark = self.slice.map(Slice::mark).unwrap_or_default();
        let columns = columns.join(", ");
        format!(
            "--\n-- Data for Name: {name}; Type: TABLE DATA; Schema: {schema}; Owner: {owner}{mark}\n--\n\n\
             COPY {quoted} ({columns}) FROM stdin;\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: u64 = 8192;

    fn table(name: &str, bytes: u64) -> SourceTable {
        SourceTable {
            schema: "public".to_owned(),
            name: name.to_owned(),
            owner: "bob".to_owned(),
            quoted: format!("public.{name}"),
            columns: vec!["id".to_owned(), "\"Note\"".to_owned()],
            bytes,
            pages: bytes / PAGE,
            separable: true,
            splittable: true,
        }
    }

    #[test]
    fn one_huge_table_keeps_every_session_busy() {
        let plan = plan(&[table("huge", 100 << 30), table("small", 1 << 20)], 0, "UTF8", 4);
        assert_eq!((plan.sessions, plan.tables.len()), (4, 1));
        assert!(
            plan.pieces.len() >= 4 * PIECES as usize && plan.pieces.iter().all(|piece| piece.bytes <= LARGEST_PIECE)
        );
        let last = plan.pieces.last().unwrap();
        assert_eq!(
            plan.pieces[1].command(),
            "copy (select id, \"Note\" from only public.huge where ctid >= '(131072,0)'::pg_catalog.tid and ctid < \
             '(262144,0)'::pg_catalog.tid) to stdout;\nselect '\\.';\n"
        );
        assert!(last.command().contains("::pg_catalog.tid) to stdout"), "the end is open: {}", last.command());
        assert!(plan.pieces[1].header().contains("; Owner: bob; Slice: 2/100\n"), "{}", plan.pieces[1].header());
        assert!(plan.pieces[1].header().ends_with("\nCOPY public.huge (id, \"Note\") FROM stdin;\n"));
    }

    #[test]
    fn what_pg_dump_must_decide_stays_with_it() {
        let odd = SourceTable { separable: false, ..table("odd", 1 << 30) };
        let whole = SourceTable { splittable: false, ..table("whole", 1 << 30) };
        let latin = table("caf\u{e9}", 1 << 30);
        let of = |encoding| plan(&[odd.clone(), whole.clone(), latin.clone()], 0, encoding, 2);
        let names = |plan: &Plan| plan.tables.iter().map(|table| table.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&of("LATIN1")), ["whole"]);
        assert_eq!(of("LATIN1").pieces.len(), 1);
        assert_eq!(names(&of("UTF8")).len(), if cfg!(windows) { 1 } else { 2 });
        // pg_dump has a third of the work or more: it is one of the two streams.
        assert_eq!((of("UTF8").sessions, of("UTF8").rest_bytes), (1, if cfg!(windows) { 2 << 30 } else { 1 << 30 }));
        assert_eq!(plan(&[table("a", 1 << 30)], 9 << 30, "UTF8", 2).sessions, 1, "large objects are pg_dump's");
        let nothing = plan(&[table("tiny", 8192)], 0, "UTF8", 8);
        assert_eq!((nothing.sessions, nothing.pieces.len(), nothing.rest_bytes), (0, 0, 8192));
    }

    #[test]
    fn a_name_is_a_name_whatever_it_holds() {
        let table = SourceTable { schema: "a.b".to_owned(), name: "x\"*$".to_owned(), ..table("", 0) };
        assert_eq!(exclusion(&table), "--exclude-table-data=\"a.b\".\"x\"\"*$\"");
    }

    proptest! {
        #[test]
        fn every_page_is_read_once_whatever_the_sizes(
            sizes in prop::collection::vec(0u64..6_000_000, 1..40),
            splittable in any::<bool>(),
            jobs in 1usize..65,
        ) {
            let tables: Vec<SourceTable> = sizes
                .iter()
                .enumerate()
                .map(|(n, kilobytes)| SourceTable { splittable, ..table(&format!("t{n}"), kilobytes << 10) })
                .collect();
            let plan = plan(&tables, 0, "UTF8", jobs);
            prop_assert!(plan.sessions <= jobs && (plan.sessions > 0) != plan.pieces.is_empty());
            prop_assert!(plan.pieces.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes));
            prop_assert_eq!(plan.bytes + plan.rest_bytes, tables.iter().map(|table| table.bytes).sum::<u64>());
            for taken in &plan.tables {
                let mut pieces: Vec<&Piece> = plan.pieces.iter().filter(|piece| piece.table == *taken).collect();
                pieces.sort_by_key(|piece| piece.slice.map(|slice| slice.number));
                if let [Piece { pages: None, slice: None, .. }] = pieces.as_slice() {
                    continue;
                }
                let mut next = Some(0);
                for (place, piece) in pieces.iter().enumerate() {
                    let (first, end) = piece.pages.unwrap();
                    prop_assert_eq!(Some(first), next);
                    prop_assert!(end.is_none_or(|end| end > first));
                    let slice = Slice { number: place as u32 + 1, of: pieces.len() as u32 };
                    prop_assert_eq!(piece.slice, Some(slice));
                    next = end;
                }
                prop_assert_eq!(next, None, "the last one has no end");
            }
        }
    }
}
