//! How fast a stored archive is unpacked in order: by one thread, member by member, and by all that pgkeep would start,
//! read from a folder. `cargo bench --bench unpacker`.
#![allow(clippy::unwrap_used)]

mod data;

use criterion::Throughput;
use pgkeep::archive::{MEMBER_BYTES, MOST_THREADS, Member, Members, Packer, Unpacking, unpack_member};
use pgkeep::cancel::Cancel;
use pgkeep::config::Compression;
use pgkeep::destination::{Destination, Folder, Key};
use std::hint::black_box;
use std::sync::Arc;

/// How often the dump stands in the archive, so that there is something to read ahead.
const COPIES: usize = 4;

fn main() {
    let mut criterion = data::criterion();
    let dumps = data::dumps();
    for text in ["gzip", "zstd"] {
        let compression: Compression = text.parse().unwrap();
        let mut group = criterion.benchmark_group(format!("unpacker {text}"));
        for dump in &dumps {
            let mut packer = Packer::new(compression).unwrap();
            let packed: Vec<(Vec<u8>, u64)> = dump
                .sql
                .chunks(MEMBER_BYTES)
                .map(|sql| (packer.pack(sql).unwrap().to_vec(), sql.len() as u64))
                .collect();
            group.throughput(Throughput::Bytes(dump.sql.len() as u64));
            group.bench_function(format!("{}, one thread", dump.shape), |bencher| {
                bencher.iter(|| {
                    for (stored, sql_bytes) in &packed {
                        black_box(unpack_member(compression.codec(), stored, *sql_bytes).unwrap());
                    }
                });
            });
            group.throughput(Throughput::Bytes((COPIES * dump.sql.len()) as u64));
            group.bench_function(format!("{}, in order from a folder", dump.shape), |bencher| {
                let archive = Archive::of(&packed);
                bencher.iter(|| archive.unpack(compression));
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

struct Archive {
    folder: tempfile::TempDir,
    members: Members,
    runtime: tokio::runtime::Runtime,
}

impl Archive {
    fn of(packed: &[(Vec<u8>, u64)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stored: Vec<u8> = packed.iter().flat_map(|(stored, _)| stored).copied().collect();
        std::fs::write(folder.path().join("archive"), stored.repeat(COPIES)).unwrap();
        let member = |(stored, sql_bytes): &(Vec<u8>, u64)| Member {
            sql_bytes: *sql_bytes,
            stored_bytes: stored.len() as u64,
            digest: None,
        };
        let members: Vec<Member> = packed.iter().map(member).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        Self { folder, members: members.repeat(COPIES).into_iter().collect(), runtime }
    }

    fn unpack(&self, compression: Compression) {
        let destination: Arc<dyn Destination> = Arc::new(Folder::new("here", self.folder.path()));
        let unpacking = Unpacking {
            destination,
            key: Key::encode("archive"),
            codec: compression.codec(),
            members: self.members.clone(),
            first: 0,
            digest: true,
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST_THREADS),
            progress: Arc::default(),
        };
        let consume = |sql: &[u8]| {
            black_box(sql);
            Ok(())
        };
        let unpacked = self.runtime.block_on(unpacking.run(&Cancel::new(), consume)).unwrap();
        assert!(unpacked.broken.is_empty());
    }
}
