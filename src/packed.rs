//! Many small records in little memory: numbers in as few bytes as they need, in blocks that never move.
//!
//! A database of terabytes has millions of members and of entries. As values in a `Vec` they would take ten times as much,
//! and twice that while the `Vec` grows.

/// How large a block becomes; a larger record has one of its own.
const BLOCK_BYTES: usize = 64 << 10;

/// Records, one behind the other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Vec<u8>>,
}

impl Blocks {
    /// Appends what [`number`], [`wide`] and [`bytes`] wrote; tells where it stands.
    pub(crate) fn push(&mut self, record: &[u8]) -> Place {
        match self.blocks.last_mut() {
            Some(last) if last.len() + record.len() <= BLOCK_BYTES => last.extend_from_slice(record),
            Some(last) => {
                last.shrink_to_fit();
                let mut block = Vec::with_capacity(BLOCK_BYTES.max(record.len()));
                block.extend_from_slice(record);
                self.blocks.push(block);
            }
            None => self.blocks.push(record.to_vec()),
        }
        let end = self.blocks.last().map_or(0, Vec::len);
        Place { block: self.blocks.len() as u32 - 1, at: (end - record.len()) as u32 }
    }

    /// Reads from the first record on.
    pub(crate) fn reader(&self) -> Reader<'_> {
        self.reader_at(Place::default())
    }

    /// Reads from the record at `place` on.
    pub(crate) fn reader_at(&self, place: Place) -> Reader<'_> {
        let block = self.blocks.get(place.block as usize).map(Vec::as_slice).unwrap_or_default();
        Reader { blocks: self, block: place.block, rest: block.get(place.at as usize..).unwrap_or_default() }
    }
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    block: u32,
    at: u32,
}

/// Reads back what was written, in the same order. Behind the end there are zeros.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    blocks: &'a Blocks,
    block: u32,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Where the next record begins, as far as one was read to its end.
    pub(crate) fn place(&self) -> Place {
        let length = self.blocks.blocks.get(self.block as usize).map_or(0, Vec::len);
        Place { block: self.block, at: (length - self.rest.len()) as u32 }
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// Records do not reach from one block into the next, so that it begins where nothing is left.
    fn take(&mut self, count: usize) -> &'a [u8] {
        if self.rest.is_empty() {
            *self = self.blocks.reader_at(Place { block: self.block.saturating_add(1), at: 0 });
        }
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// What [`number`] wrote.
    pub(crate) fn number(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    /// What [`wide`] wrote.
    pub(crate) fn wide(&mut self) -> u128 {
        self.take(16).try_into().map(u128::from_le_bytes).unwrap_or_default()
    }

    /// What [`bytes`] wrote.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let length = self.number();
        if length == 0 { &[] } else { self.take(usize::try_from(length).unwrap_or(usize::MAX)) }
    }
}

/// Writes a number: seven bits a byte, the lowest first.
pub(crate) fn number(record: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        record.push(value as u8 | 0x80);
        value >>= 7;
    }
    record.push(value as u8);
}

/// Writes a digest, whose bytes are all needed.
pub(crate) fn wide(record: &mut Vec<u8>, value: u128) {
    record.extend_from_slice(&value.to_le_bytes());
}

/// Writes bytes of any length.
pub(crate) fn bytes(record: &mut Vec<u8>, value: &[u8]) {
    number(record, value.len() as u64);
    record.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            records in prop::collection::vec((any::<u64>(), any::<u128>(), 0usize..40_000, 0u32..64), 0..40),
        ) {
            let mut blocks = Blocks::default();
            for (small, large, length, shift) in &records {
                let mut record = Vec::new();
                bytes(&mut record, &vec![7; *length]);
                wide(&mut record, *large);
                number(&mut record, small >> shift);
                blocks.push(&record);
            }
            let mut reader = blocks.reader();
            for (small, large, length, shift) in records {
                reader = blocks.reader_at(reader.place());
                prop_assert_eq!(reader.bytes(), vec![7; length]);
                prop_assert_eq!(reader.wide(), large);
                prop_assert_eq!(reader.number(), small >> shift);
            }
            prop_assert_eq!((reader.number(), reader.wide(), reader.bytes().len()), (0, 0, 0));
        }
    }

    #[test]
    fn a_record_larger_than_a_block_is_whole() {
        let mut blocks = Blocks::default();
        for length in [3, 3 * BLOCK_BYTES, 5] {
            let mut record = Vec::new();
            bytes(&mut record, &vec![1; length]);
            blocks.push(&record);
        }
        let mut reader = blocks.reader();
        assert_eq!((reader.bytes().len(), reader.bytes().len(), reader.bytes().len()), (3, 3 * BLOCK_BYTES, 5));
    }
}
