//! How many threads and members at once, so that memory stays below what is promised on any number of cores: 96 MiB.

/// How many threads pack or unpack at the most. Twelve pack a gigabyte of SQL a second, faster than sessions of one
/// server speak; more would cost memory only.
pub const MOST_THREADS: usize = 12;

/// How many members may be under way where `threads` threads work on them: one each, and a few that are read into, wait,
/// or are written. One thread is one of several that do the same, such as the sessions of a restore: three keep a stream
/// flowing, as one is worked on, one waits for that, and one is consumed.
pub(super) fn permits(threads: usize) -> usize {
    if threads <= 1 { 3 } else { threads + 4 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MEMBER_BYTES;
    use crate::destination::Pace;

    const LIMIT: usize = 96 << 20;

    /// The program, its runtime and the buffers of pipes, as measured, and what waits for a folder.
    const BASE: usize = (16 + 8) << 20;

    /// What a packer keeps at the default levels: libdeflate's tables and zstd's, as measured.
    const TABLES: usize = 1 << 20;

    #[test]
    fn packing_stays_below_the_limit_on_any_number_of_cores() {
        // Rows are packed to a seventh or to a third; four tenths leave room.
        let packed = MEMBER_BYTES * 4 / 10;
        for threads in 1..=MOST_THREADS {
            let members = permits(threads) * (MEMBER_BYTES + packed);
            let packers = threads * (TABLES + packed);
            assert!(BASE + members + packers <= LIMIT, "{threads} threads");
        }
    }

    #[test]
    fn unpacking_from_a_folder_stays_below_the_limit_on_any_number_of_cores() {
        let pace = Pace::default();
        // Batches being read, waiting, and being handed out; members under way hold on to as many again.
        let batches = (pace.at_once + 4) * (pace.bytes as usize + MEMBER_BYTES);
        for threads in 1..=MOST_THREADS {
            assert!(BASE + batches + permits(threads) * MEMBER_BYTES <= LIMIT, "{threads} threads");
        }
    }
}
