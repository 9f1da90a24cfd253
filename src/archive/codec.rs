//! One member: packed and unpacked in memory, in one piece.

use crate::config::{Codec, Compression};
use crate::error::{Error, ErrorKind, Result};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

/// Where members are cut: at the last line end before so many bytes of SQL.
pub const MEMBER_BYTES: usize = 2 << 20;

/// The largest member that is read, in bytes of SQL or stored: an index that claims more is damaged or hostile. Several are
/// in memory at once.
pub const LARGEST_MEMBER: u64 = 4 * MEMBER_BYTES as u64;

/// What zstd's default level does otherwise here: one table of hashes, over seven bytes each, instead of two. Of rows of a
/// dump this makes as little as level 3 itself in three quarters of its time (docs/codecs.md). Other levels are
/// zstd's own; the frames are standard ones in any case.
const FOR_ROWS: [CParameter; 3] =
    [CParameter::Strategy(Strategy::ZSTD_fast), CParameter::HashLog(16), CParameter::MinMatch(7)];

/// Packs members; one for each thread, for it keeps its tables and its buffer.
pub struct Packer {
    engine: Engine,
    buffer: Vec<u8>,
}

enum Engine {
    Gzip(Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Packer {
    /// A packer for `compression`.
    pub fn new(compression: Compression) -> Result<Self> {
        let level = i32::from(compression.level());
        let no_level = || Error::new(ErrorKind::Config, format!("{compression} is no level of its codec"));
        let engine = match compression.codec() {
            Codec::Gzip => Engine::Gzip(Compressor::new(CompressionLvl::new(level).map_err(|_| no_level())?)),
            Codec::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(level).map_err(|_| no_level())?;
                // A checksum of the content, as gzip has one: damage then shows when a frame is unpacked alone.
                let parameters = [CParameter::ChecksumFlag(true)].into_iter();
                let tuned = FOR_ROWS.iter().filter(|_| compression.level() == Codec::Zstd.default_level());
                for parameter in parameters.chain(tuned.copied()) {
                    let set = compressor.set_parameter(parameter);
                    set.map_err(|source| Error::io("cannot set up zstd", source))?;
                }
                Engine::Zstd(compressor)
            }
        };
        Ok(Self { engine, buffer: Vec::new() })
    }

    /// Packs `sql` as one member, readable alone and as part of a concatenation.
    pub fn pack(&mut self, sql: &[u8]) -> Result<&[u8]> {
        let bound = match &mut self.engine {
            Engine::Gzip(engine) => engine.gzip_compress_bound(sql.len()),
            Engine::Zstd(_) => zstd::zstd_safe::compress_bound(sql.len()),
        };
        if self.buffer.len() < bound {
            // Not resized: fresh zeros cost no memory until they are written to, and most members need a quarter.
            self.buffer = vec![0; bound];
        }
        let packed = match &mut self.engine {
            Engine::Gzip(engine) => {
                engine.gzip_compress(sql, &mut self.buffer).map_err(|e| std::io::Error::other(e.to_string()))
            }
            Engine::Zstd(engine) => engine.compress_to_buffer(sql, self.buffer.as_mut_slice()),
        };
        let length = packed.map_err(|source| Error::io("cannot compress", source))?;
        Ok(&self.buffer[..length])
    }
}

/// Unpacks a member that must hold exactly `sql_bytes` bytes; its checksum is checked. A member that would unpack to more
/// is refused without being unpacked: memory is bounded by what the index says, and that by [`LARGEST_MEMBER`].
pub fn unpack_member(codec: Codec, stored: &[u8], sql_bytes: u64) -> Result<Vec<u8>> {
    let mut sql = Vec::new();
    unpack_into(codec, stored, sql_bytes, &mut sql)?;
    Ok(sql)
}

/// The same into `sql`, whatever that held; after an error it holds anything.
pub(super) fn unpack_into(codec: Codec, stored: &[u8], sql_bytes: u64, sql: &mut Vec<u8>) -> Result<()> {
    let damaged = |why: String| Error::new(ErrorKind::Damaged, format!("a member cannot be unpacked: {why}"));
    let wrong = || damaged("its bytes or its checksum are wrong".to_owned());
    if sql_bytes > LARGEST_MEMBER {
        return Err(damaged(format!("the index says that it holds {sql_bytes} bytes")));
    }
    sql.resize(sql_bytes as usize, 0);
    let length = match codec {
        Codec::Gzip => Decompressor::new().gzip_decompress(stored, sql).map_err(|_| wrong())?,
        Codec::Zstd => zstd::bulk::decompress_to_buffer(stored, sql.as_mut_slice()).map_err(|_| wrong())?,
    };
    if length as u64 != sql_bytes {
        return Err(damaged(format!("it holds {length} bytes instead of {sql_bytes}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn members_of_either_codec_come_back_alone_and_concatenated() {
        for text in ["gzip", "gzip:1", "gzip:12", "zstd", "zstd:19"] {
            let compression: Compression = text.parse().unwrap();
            let mut packer = Packer::new(compression).unwrap();
            let first = packer.pack(b"hello\n").unwrap().to_vec();
            let empty = packer.pack(b"").unwrap().to_vec();
            let last = packer.pack(&b"x".repeat(100_000)).unwrap().to_vec();
            assert_eq!(unpack_member(compression.codec(), &first, 6).unwrap(), b"hello\n");
            let all = [first, empty, last].concat();
            let mut sql = Vec::new();
            match compression.codec() {
                Codec::Gzip => flate2::read::MultiGzDecoder::new(&all[..]).read_to_end(&mut sql).unwrap(),
                Codec::Zstd => zstd::stream::read::Decoder::new(&all[..]).unwrap().read_to_end(&mut sql).unwrap(),
            };
            assert_eq!(sql.len(), 100_006, "{text}");
        }
    }

    #[test]
    fn bombs_and_lies_are_refused() {
        for text in ["gzip", "zstd"] {
            let compression: Compression = text.parse().unwrap();
            let bomb = Packer::new(compression).unwrap().pack(&vec![0; 50 << 20]).unwrap().to_vec();
            for claim in [0, 1000, (50 << 20) + 1, u64::MAX] {
                let error = unpack_member(compression.codec(), &bomb, claim).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "{text} {claim}");
            }
        }
    }
}
