//! How large each part of an upload is. Pure.
//!
//! Parts are equal as long as the expectation holds, as some services want them all equal but the last. Beyond it they grow
//! by doubling, faster and faster, so that a stream of any length that a service takes at all is taken here too.

use crate::config::{LARGEST_PART, SMALLEST_PART};

const MIB: u64 = 1 << 20;

/// In flight at most, in bytes, once parts are larger than [`LARGE_PART`]; two parts always are.
const MOST_IN_FLIGHT: u64 = 256 * MIB;

/// Parts larger than this are sent fewer at a time, in bytes.
const LARGE_PART: u64 = 64 * MIB;

/// The sizes of an upload's parts, handed out one after the other.
///
/// With an expectation of E bytes, three quarters of all parts hold 1.5 E; without one, half of all parts have the configured
/// size. Every further part is the first's size times a power of two: the smallest that is four times what was written by
/// then, spread over the parts that are left. No part is larger than 5 GiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    first: u64,
    equal: u64,
    max_parts: u64,
    given: u64,
    planned: u64,
}

impl Plan {
    /// A plan for `expected` bytes (0: unknown) in at most `max_parts` parts of at least `part_size` bytes.
    pub(super) fn new(expected: u64, part_size: u64, max_parts: u32) -> Self {
        let max_parts = u64::from(max_parts).clamp(2, 10_000);
        let equal = if expected == 0 { max_parts / 2 } else { max_parts * 3 / 4 }.max(1);
        let wanted = expected.saturating_add(expected / 2).div_ceil(equal).next_multiple_of(MIB);
        let first = wanted.max(part_size).clamp(SMALLEST_PART, LARGEST_PART);
        Self { first, equal, max_parts, given: 0, planned: 0 }
    }

    /// The size of the next part, and counts it as written; `None` when there may be no further part.
    pub(super) fn next_part(&mut self) -> Option<u64> {
        let left = self.max_parts.checked_sub(self.given).filter(|left| *left > 0)?;
        let mut size = self.first;
        if self.given >= self.equal {
            let wanted = (self.planned / left).saturating_mul(4);
            while size < wanted && size < LARGEST_PART {
                size = size.saturating_mul(2).min(LARGEST_PART);
            }
        }
        self.given += 1;
        self.planned = self.planned.saturating_add(size);
        Some(size)
    }
}

/// How many parts of `part` bytes are sent at once where `concurrency` are allowed.
pub(super) fn at_once(part: u64, concurrency: usize) -> usize {
    if part <= LARGE_PART {
        return concurrency.max(1);
    }
    let fitting = (MOST_IN_FLIGHT / part).max(2);
    concurrency.clamp(1, usize::try_from(fitting).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;

    fn sizes(mut plan: Plan) -> Vec<u64> {
        std::iter::from_fn(|| plan.next_part()).collect()
    }

    fn capacity(expected: u64, part_size: u64, max_parts: u32) -> u64 {
        sizes(Plan::new(expected, part_size, max_parts)).iter().sum()
    }

    #[test]
    fn what_was_expected_and_half_as_much_again_goes_in_equal_parts() {
        for (expected, max_parts) in [(100 * GIB, 10_000), (3 * TIB, 10_000), (20 * GIB, 1_000), (900 * MIB, 20)] {
            let sizes = sizes(Plan::new(expected, 8 * MIB, max_parts));
            let equal: u64 = sizes.iter().take_while(|size| **size == sizes[0]).sum();
            assert!(equal >= expected + expected / 2, "{expected} in {max_parts}: {equal}");
            assert_eq!(sizes[0] % MIB, 0);
        }
        assert_eq!(Plan::new(GIB, 8 * MIB, 10_000).first, 8 * MIB);
        assert_eq!(Plan::new(100 * GIB, 8 * MIB, 10_000).first, 21 * MIB);
    }

    #[test]
    fn a_guess_may_be_wrong_tenfold() {
        for expected in [1, GIB, 80 * GIB, TIB] {
            assert!(capacity(expected, 8 * MIB, 10_000) >= 10 * expected, "{expected}");
            assert!(capacity(expected / 10 + 1, 8 * MIB, 10_000) >= expected);
        }
        assert!(capacity(10 * GIB, 8 * MIB, 1_000) >= 100 * GIB);
    }

    #[test]
    fn the_largest_and_the_unknown_fit() {
        let huge = sizes(Plan::new(40 * TIB, 8 * MIB, 10_000));
        assert!(huge.iter().sum::<u64>() >= 40 * TIB && huge.iter().all(|size| *size == LARGEST_PART));
        assert!(capacity(0, 8 * MIB, 10_000) >= 5 * TIB);
        assert!(capacity(0, SMALLEST_PART, 1_000) >= 500 * GIB);
        assert!(capacity(0, SMALLEST_PART, 20) >= 15 * GIB);
    }

    #[test]
    fn large_parts_are_sent_fewer_at_a_time() {
        assert_eq!((at_once(8 * MIB, 4), at_once(64 * MIB, 16), at_once(65 * MIB, 16)), (4, 16, 3));
        assert_eq!((at_once(100 * MIB, 64), at_once(GIB, 4), at_once(GIB, 1), at_once(5 * GIB, 64)), (2, 2, 1, 2));
    }

    proptest! {
        #[test]
        fn every_part_is_one_that_services_take(
            expected in prop_oneof![Just(0), 0..100 * MIB, 0..64 * TIB],
            part_size in SMALLEST_PART..LARGEST_PART,
            max_parts in 2..=10_000u32,
        ) {
            let all = sizes(Plan::new(expected, part_size, max_parts));
            prop_assert_eq!(all.len(), max_parts as usize);
            prop_assert!(all.iter().all(|size| (SMALLEST_PART..=LARGEST_PART).contains(size)));
            prop_assert!(all.is_sorted());
            // Whatever the service could hold at all of what was expected, or of 64 first parts, is taken.
            let possible = (u64::from(max_parts) * LARGEST_PART).min(expected);
            let capacity: u64 = all.iter().sum();
            prop_assert!(capacity >= possible, "{capacity} of {possible}");
            prop_assert!(capacity >= (u64::from(max_parts) * LARGEST_PART).min(all[0] * u64::from(max_parts)));
        }
    }
}
