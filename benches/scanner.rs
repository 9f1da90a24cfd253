//! How fast a dump is scanned: statements told apart, rows counted and fingerprinted. `cargo bench --bench scanner`.

mod data;

use criterion::Throughput;
use pgkeep::script::Scanner;
use std::hint::black_box;

fn main() {
    let mut criterion = data::criterion();
    let mut group = criterion.benchmark_group("scanner");
    for dump in data::dumps() {
        group.throughput(Throughput::Bytes(dump.sql.len() as u64));
        group.bench_function(dump.shape, |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::default();
                // As much as a wide pipe holds.
                dump.sql.chunks(1 << 20).for_each(|piece| scanner.feed(piece));
                let scan = scanner.finish();
                assert!(scan.complete, "the dump is whole");
                black_box(scan.rows)
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
