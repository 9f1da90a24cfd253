//! Chance that comes again for the same seed, and odd names and texts drawn from it.

use std::collections::BTreeSet;

/// SplitMix64: as random as this needs, and the same on every machine.
pub(super) struct Chance {
    state: u64,
    used: BTreeSet<(String, String)>,
    count: u32,
}

/// Names that a careless program does not quote, or reads as something else.
const NAMES: [&str; 20] = [
    "orders",
    "select",
    "Table",
    "two words",
    "quo\"te",
    "it's",
    "ñandú ☃",
    "a.b",
    "back\\slash",
    "semi;colon --",
    "$1",
    ":name",
    " lead",
    "trail ",
    "percent%",
    "new\nline",
    "x; Type: VIEW; Schema: public; Owner: me",
    "/* open",
    "user",
    "🐘",
];

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed, used: BTreeSet::new(), count: 0 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these.
    pub(super) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// So many different numbers below `limit`, in any order; fewer if there are not so many.
    pub(super) fn some(&mut self, count: usize, limit: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..limit).collect();
        for place in 0..limit {
            let other = place + self.below(limit - place);
            all.swap(place, other);
        }
        all.truncate(count);
        all
    }

    /// A quoted name that is new everywhere.
    pub(super) fn fresh(&mut self) -> String {
        self.count += 1;
        let base = NAMES[self.below(NAMES.len())];
        quoted(&format!("{base} {}", self.count))
    }

    /// A quoted name that is new in `space` (a schema, or a table for its columns), 63 bytes long at most.
    pub(super) fn name(&mut self, space: &str) -> String {
        self.count += 1;
        let base = NAMES[self.below(NAMES.len())];
        let name = match self.below(10) {
            0..3 if !self.used.contains(&(space.to_owned(), base.to_owned())) => base.to_owned(),
            3 => {
                // 63 bytes, with a character of several bytes at the end.
                let short = format!("{}_long_", self.count);
                format!("{short}{}é", "x".repeat(61 - short.len()))
            }
            4..7 => format!("{base} {}", self.count),
            _ => format!("plain_{}", self.count),
        };
        self.used.insert((space.to_owned(), name.clone()));
        quoted(&name)
    }

    /// A literal that a careless parser trips over.
    pub(super) fn text(&mut self) -> String {
        let texts = [
            "plain",
            "it''s \\ \"odd\"",
            "two\nlines; -- and\n\\.\nmore",
            "--\n-- Name: ghost; Type: TABLE; Schema: public; Owner: postgres\n--\n\nCREATE TABLE ghost (a int);\n",
            "COPY public.ghost (a) FROM stdin;\n1\n\\.\n",
            "$$ $body$ $1 :name :''x'' %s",
            "ünïcode ☃ 🐘",
        ];
        format!("'{}'", self.pick(&texts))
    }
}

/// A name as an SQL identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
