//! How fast one thread packs members, by codec and shape of rows. `cargo bench --bench packer`.
#![allow(clippy::unwrap_used)]

mod data;

use criterion::Throughput;
use pgkeep::archive::{MEMBER_BYTES, Packer};
use std::hint::black_box;

fn main() {
    let mut criterion = data::criterion();
    let dumps = data::dumps();
    for compression in ["gzip", "gzip:1", "zstd", "zstd:1"] {
        let mut group = criterion.benchmark_group(format!("packer {compression}"));
        for dump in &dumps {
            group.throughput(Throughput::Bytes(dump.sql.len() as u64));
            group.bench_function(dump.shape, |bencher| {
                let mut packer = Packer::new(compression.parse().unwrap()).unwrap();
                bencher.iter(|| {
                    for member in dump.sql.chunks(MEMBER_BYTES) {
                        black_box(packer.pack(member).unwrap());
                    }
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
