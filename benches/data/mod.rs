//! What the benches read: dumps of made-up rows in several shapes, the same at every run.

use criterion::Criterion;
use std::fmt::Write;
use std::time::Duration;

/// Few and short measurements: the benches compare, they do not rank.
pub(super) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args()
}

/// About how large each dump is, in bytes.
const DUMP_BYTES: usize = 8 << 20;

/// A dump of one table and what its rows look like.
pub(crate) struct Dump {
    pub(crate) shape: &'static str,
    pub(crate) sql: Vec<u8>,
}

/// One dump of each shape.
pub(crate) fn dumps() -> Vec<Dump> {
    vec![
        dump("order lines", "id, orders, part, quantity, price, discount, shipped, mode, comment", order_line),
        dump("json events", "id, at, payload", event),
        dump("prose", "id, title, body", prose),
        dump("hexadecimal", "id, digest", digest),
    ]
}

fn dump(shape: &'static str, columns: &str, row: fn(&mut Random, usize, &mut String)) -> Dump {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut sql = format!(
        "--\n-- PostgreSQL database dump\n--\n\nSET standard_conforming_strings = on;\n\n\
         COPY public.rows ({columns}) FROM stdin;\n"
    );
    let mut number = 0;
    while sql.len() < DUMP_BYTES {
        number += 1;
        row(&mut random, number, &mut sql);
        sql.push('\n');
    }
    sql.push_str("\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
    Dump { shape, sql: sql.into_bytes() }
}

fn order_line(random: &mut Random, number: usize, row: &mut String) {
    const MODES: [&str; 7] = ["AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"];
    let (order, part, quantity) = (number / 4 + 1, random.below(200_000), random.below(50) + 1);
    let (price, discount) = (random.below(9_000_000) + 90_000, random.below(11));
    let (month, day, mode) = (random.below(12) + 1, random.below(28) + 1, random.of(&MODES));
    let _ = write!(
        row,
        "{number}\t{order}\t{part}\t{quantity}\t{}.{:02}\t0.{discount:02}\t1997-{month:02}-{day:02}\t{mode}\t",
        price / 100,
        price % 100
    );
    let count = random.below(6) + 2;
    words(random, count, row);
}

fn event(random: &mut Random, number: usize, row: &mut String) {
    const KINDS: [&str; 5] = ["page_view", "cart_added", "checkout", "payment_failed", "login"];
    let (kind, user, seconds) = (random.of(&KINDS), random.below(50_000), number % 86_400);
    let (first, second) = (random.next(), random.next());
    let _ = write!(
        row,
        "{number}\t2026-11-20 {:02}:{:02}:{:02}.{:06}+00\t{{\"kind\": \"{kind}\", \"user\": {user}, \"session\": \"{first:016x}\", \
         \"path\": \"/products/{}\", \"tags\": [\"a{}\", \"b{}\"], \"referrer\": null, \"agent\": \"Mozilla/5.0\", \"trace\": \"{second:016x}\"}}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        random.below(1_000_000),
        random.below(2_000),
        random.below(9),
        random.below(9)
    );
}

fn prose(random: &mut Random, number: usize, row: &mut String) {
    let _ = write!(row, "{number}\t");
    words(random, 5, row);
    row.push('\t');
    for _ in 0..=random.below(8) {
        let count = random.below(80) + 20;
        words(random, count, row);
        row.push_str("\\n");
    }
}

fn digest(random: &mut Random, number: usize, row: &mut String) {
    let _ = write!(row, "{number}\t\\\\x");
    for _ in 0..64 {
        let _ = write!(row, "{:016x}", random.next());
    }
}

fn words(random: &mut Random, count: usize, row: &mut String) {
    const WORDS: [&str; 24] = [
        "the",
        "of",
        "regular",
        "carefully",
        "final",
        "accounts",
        "deposits",
        "sleep",
        "quickly",
        "furiously",
        "ironic",
        "packages",
        "requests",
        "bold",
        "silent",
        "pending",
        "across",
        "theodolites",
        "instructions",
        "above",
        "express",
        "even",
        "slyly",
        "foxes",
    ];
    for word in 0..count {
        row.push_str(if word == 0 { "" } else { " " });
        row.push_str(random.of(&WORDS));
    }
}

/// xorshift64*: the same numbers everywhere, and no crate for it.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}
