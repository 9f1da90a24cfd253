//! From pg_dump's output to stored chunks and their index, in one pass.
//!
//! The streams of a parallel dump are packed by one set of [`Compressors`].

use super::bounds::permits;
use super::codec::{MEMBER_BYTES, Packer};
use super::members::{DIGESTED_TOGETHER, Member, MemberDigest, Members};
use super::ordered::{Feeder, Pool, Results};
use crate::config::Compression;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::Progress;
use crate::script::{Scan, Scanner};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Threads that compress, for as many streams at once as they were started for.
pub struct Compressors {
    pool: Pool<Chunk, Compressed>,
    permits: usize,
}

impl Compressors {
    /// Starts `threads` threads that compress for `streams` streams at once.
    pub fn start(compression: Compression, threads: usize, streams: usize) -> Result<Self> {
        let pool = Pool::start("pgkeep-pack", threads, || {
            let mut packer = Packer::new(compression)?;
            Ok(move |chunk: Chunk| {
                let packed = packer.pack(&chunk.buffer[..chunk.length]).map(Bytes::copy_from_slice);
                (chunk, packed)
            })
        })?;
        // Three keep a stream flowing: one is packed, one waits for that, one is written.
        let permits = (permits(threads) / streams.max(1)).max(3);
        Ok(Self { pool, permits })
    }
}

/// Packs one stream of SQL.
pub struct Packing<'a> {
    /// What compresses.
    pub compressors: &'a Compressors,
    /// Raised as bytes and rows pass.
    pub progress: Arc<Progress>,
}

/// A packed stream.
pub struct Packed {
    /// What the SQL held.
    pub scan: Scan,
    /// The members in order.
    pub members: Members,
    /// Members that end within a line, by number from 0.
    pub broken_lines: Vec<u64>,
    /// Size of all members in bytes.
    pub stored_bytes: u64,
    /// SHA-256 over all members, lowercase hexadecimal.
    pub sha256: String,
}

/// SQL on its way to the compressors: `buffer[..length]`.
struct Chunk {
    buffer: Vec<u8>,
    length: usize,
}

/// The SQL, and what it became.
type Compressed = (Chunk, Result<Bytes>);

/// The writer's half of what is known at the end.
struct Written {
    members: Members,
    stored_bytes: u64,
    sha256: String,
}

impl Packing<'_> {
    /// Reads `source` to its end and hands the stored bytes to `deliver` in order; blocks meanwhile. An error of
    /// `deliver` stops everything. Whether the script was complete is for the caller to check: [`Scan::complete`].
    pub fn run(self, source: impl Read, deliver: impl FnMut(Bytes) -> Result<()> + Send) -> Result<Packed> {
        let (recycle, recycled) = unbounded();
        let (feeder, results) = self.compressors.pool.lane(self.compressors.permits);
        std::thread::scope(|scope| {
            let progress = Arc::clone(&self.progress);
            let writer = scope.spawn(move || write(results, &recycle, &progress, deliver));
            let cut = self.cut(source, feeder, &recycled);
            let written = writer.join().map_err(|_| Error::new(ErrorKind::Failed, "the archive's writer panicked"))?;
            // Where both failed, the writer was first: the cutter only found it gone.
            let Written { members, stored_bytes, sha256 } = written?;
            let (scan, broken_lines) = cut?;
            // A compressor that died took its member with it.
            if members.iter().map(|member| member.sql_bytes).sum::<u64>() != scan.sql_bytes {
                return Err(Error::new(ErrorKind::Failed, "a part of the dump was lost while it was compressed")
                    .hint("nothing was stored; this is a fault of pgkeep's: please report it"));
            }
            Ok(Packed { scan, members, broken_lines, stored_bytes, sha256 })
        })
    }

    /// Reads, scans, and cuts into chunks at line ends.
    fn cut(
        &self,
        mut source: impl Read,
        mut feeder: Feeder<Chunk, Compressed>,
        recycled: &Receiver<Vec<u8>>,
    ) -> Result<(Scan, Vec<u64>)> {
        let mut scanner = Scanner::default();
        let mut broken_lines = Vec::new();
        let mut chunks = 0u64;
        let mut buffer = vec![0; MEMBER_BYTES];
        let mut filled = 0;
        let mut rows = 0;
        let mut table = None;
        loop {
            let read = match source.read(&mut buffer[filled..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.doing(|| "cannot read the dump".to_owned())?,
            };
            scanner.feed(&buffer[filled..filled + read]);
            filled += read;
            self.progress.advance(read as u64, scanner.rows() - rows);
            rows = scanner.rows();
            if scanner.table() != table.as_ref().map(|(s, t): &(String, String)| (s.as_str(), t.as_str())) {
                table = scanner.table().map(|(schema, table)| (schema.to_owned(), table.to_owned()));
                self.progress.set_table(&table.as_ref().map(|(s, t)| format!("{s}.{t}")).unwrap_or_default());
            }
            if filled < buffer.len() && read > 0 {
                continue;
            }
            if filled > 0 {
                let whole =
                    if read == 0 { Some(filled) } else { memchr::memrchr(b'\n', &buffer[..filled]).map(|at| at + 1) };
                if whole.is_none() {
                    broken_lines.push(chunks);
                }
                let length = whole.unwrap_or(filled);
                let mut next = recycled.try_recv().unwrap_or_else(|_| vec![0; MEMBER_BYTES]);
                next[..filled - length].copy_from_slice(&buffer[length..filled]);
                filled -= length;
                feeder.feed(Chunk { buffer: std::mem::replace(&mut buffer, next), length })?;
                chunks += 1;
            }
            if read == 0 {
                return Ok((scanner.finish(), broken_lines));
            }
        }
    }
}

fn write(
    results: Results<Compressed>,
    recycle: &Sender<Vec<u8>>,
    progress: &Progress,
    mut deliver: impl FnMut(Bytes) -> Result<()>,
) -> Result<Written> {
    let mut digest = Sha256::new();
    let mut run = Sha256::new();
    let mut members = Members::new();
    let mut stored_bytes = 0;
    let mut results = results.peekable();
    while let Some((chunk, packed)) = results.next() {
        let packed = packed?;
        // The cutter may be through: then nobody needs the buffer.
        drop(recycle.send(chunk.buffer));
        digest.update(&packed);
        run.update(&packed);
        let sizes = (chunk.length as u64, packed.len() as u64);
        stored_bytes += sizes.1;
        progress.stored_bytes.fetch_add(sizes.1, Ordering::Relaxed);
        deliver(packed)?;
        let full = (members.len() as u64 + 1).is_multiple_of(DIGESTED_TOGETHER);
        let ends = full || results.peek().is_none();
        let digest = ends.then(|| MemberDigest::of(std::mem::take(&mut run)));
        members.push(Member { sql_bytes: sizes.0, stored_bytes: sizes.1, digest });
    }
    Ok(Written { members, stored_bytes, sha256: hex::encode(digest.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::unpack_member;
    use proptest::prelude::*;

    fn pack(sql: &[u8], threads: usize) -> (Packed, Vec<u8>) {
        let mut stored = Vec::new();
        let compressors = Compressors::start(Compression::default(), threads, 1).unwrap();
        let packing = Packing { compressors: &compressors, progress: Arc::default() };
        let packed = packing
            .run(sql, |bytes| {
                stored.extend_from_slice(&bytes);
                Ok(())
            })
            .unwrap();
        (packed, stored)
    }

    fn check(sql: &[u8], threads: usize) {
        let (packed, stored) = pack(sql, threads);
        let mut unpacked = Vec::new();
        // Nothing is packed as no member at all, which is no gzip file.
        if !stored.is_empty() {
            flate2::read::MultiGzDecoder::new(&stored[..]).read_to_end(&mut unpacked).unwrap();
        }
        assert!(unpacked == sql);
        assert_eq!(packed.stored_bytes, stored.len() as u64);
        assert_eq!(packed.sha256, hex::encode(Sha256::digest(&stored)));
        let mut at = 0;
        let mut alone = Vec::new();
        for (number, member) in packed.members.iter().enumerate() {
            let end = at + member.stored_bytes as usize;
            let piece = unpack_member(crate::config::Codec::Gzip, &stored[at..end], member.sql_bytes).unwrap();
            let last = number + 1 == packed.members.len();
            assert_eq!(piece.ends_with(b"\n") || last, !packed.broken_lines.contains(&(number as u64)));
            alone.extend(piece);
            at = end;
        }
        assert!(alone == sql && packed.members.are_digested());
    }

    #[test]
    fn lines_longer_than_a_member_and_nothing_at_all_are_packed() {
        check(b"", 2);
        check(&b"x".repeat(3 * MEMBER_BYTES + 5), 2);
        check(&[b"short\n".to_vec(), b"y".repeat(MEMBER_BYTES), b"\nend\n".to_vec()].concat(), 1);
    }

    #[test]
    fn a_failed_delivery_stops_the_packing() {
        let sql = b"line\n".repeat(8 << 20);
        let compressors = Compressors::start(Compression::default(), 2, 1).unwrap();
        let packing = Packing { compressors: &compressors, progress: Arc::default() };
        let error = packing.run(&sql[..], |_| Err(Error::new(ErrorKind::NoSpace, "full"))).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn what_is_packed_comes_back(lines in prop::collection::vec((0usize..5_000, 1usize..400), 0..60)) {
            let sql: Vec<u8> = lines.iter().flat_map(|&(length, times)| {
                let line = [vec![b'a' + (length % 26) as u8; length], vec![b'\n']].concat();
                line.repeat(times)
            }).collect();
            check(&sql, 2);
        }
    }
}
