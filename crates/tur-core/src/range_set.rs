//! A set of bytes, kept as disjoint ranges.

use alloc::vec::Vec;
use core::fmt;

use crate::ByteRange;

/// A set of bytes as sorted, disjoint, non-adjacent half-open ranges.
///
/// A download has few fragments (about one per lane), so a sorted vector beats a tree: every operation is a binary
/// search and at most one splice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Sorted by start; no two touch or overlap; none is empty.
    ranges: Vec<ByteRange>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds `range` and returns how many bytes were not in the set before.
    pub fn insert(&mut self, range: ByteRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        // All ranges that touch or overlap `range` are merged into one.
        let first = self.ranges.partition_point(|r| r.end < range.start);
        let last = self.ranges.partition_point(|r| r.start <= range.end);
        let mut merged = range;
        let mut had = 0;
        for r in &self.ranges[first..last] {
            had += r.intersect(range).len();
            merged.start = merged.start.min(r.start);
            merged.end = merged.end.max(r.end);
        }
        self.ranges.splice(first..last, [merged]);
        range.len() - had
    }

    /// Removes `range` and returns how many bytes left the set.
    pub fn remove(&mut self, range: ByteRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let first = self.ranges.partition_point(|r| r.end <= range.start);
        let last = self.ranges.partition_point(|r| r.start < range.end);
        let mut gone = 0;
        let mut left = [ByteRange::new(0, 0); 2];
        if first < last {
            let (head, tail) = (self.ranges[first], self.ranges[last - 1]);
            left = [
                ByteRange::new(head.start, range.start),
                ByteRange::new(range.end.max(head.start), tail.end),
            ];
            if head.start >= range.start {
                left[0] = ByteRange::new(0, 0);
            }
            if tail.end <= range.end {
                left[1] = ByteRange::new(0, 0);
            }
            gone = self.ranges[first..last]
                .iter()
                .map(|r| r.intersect(range).len())
                .sum();
        }
        self.ranges
            .splice(first..last, left.into_iter().filter(|r| !r.is_empty()));
        gone
    }

    /// Number of bytes in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(ByteRange::len).sum()
    }

    /// True if the set holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of disjoint ranges.
    #[must_use]
    pub fn fragments(&self) -> usize {
        self.ranges.len()
    }

    /// True if every byte of `range` is in the set (an empty range always is).
    #[must_use]
    pub fn covers(&self, range: ByteRange) -> bool {
        range.is_empty()
            || self
                .range_at(range.start)
                .is_some_and(|r| r.end >= range.end)
    }

    /// True if at least one byte of `range` is in the set.
    #[must_use]
    pub fn overlaps(&self, range: ByteRange) -> bool {
        let i = self.ranges.partition_point(|r| r.end <= range.start);
        self.ranges.get(i).is_some_and(|r| r.overlaps(range))
    }

    /// The range that holds byte `at`.
    #[must_use]
    pub fn range_at(&self, at: u64) -> Option<ByteRange> {
        let i = self.ranges.partition_point(|r| r.end <= at);
        self.ranges.get(i).copied().filter(|r| r.contains(at))
    }

    /// How far the set reaches from 0 without a gap: the frontier.
    #[must_use]
    pub fn frontier(&self) -> u64 {
        self.range_at(0).map_or(0, |r| r.end)
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = ByteRange> + ExactSizeIterator + '_ {
        self.ranges.iter().copied()
    }

    /// The bytes of `within` that are not in the set, in order.
    #[must_use]
    pub fn gaps(&self, within: ByteRange) -> RangeSet {
        let mut gaps = RangeSet::new();
        gaps.insert(within);
        let first = self.ranges.partition_point(|r| r.end <= within.start);
        for r in self.ranges[first..]
            .iter()
            .take_while(|r| r.start < within.end)
        {
            gaps.remove(*r);
        }
        gaps
    }

    /// The bytes that are in both.
    #[must_use]
    pub fn intersect(&self, within: ByteRange) -> RangeSet {
        self.iter()
            .map(|r| r.intersect(within))
            .filter(|r| !r.is_empty())
            .collect()
    }
}

impl FromIterator<ByteRange> for RangeSet {
    fn from_iter<T: IntoIterator<Item = ByteRange>>(iter: T) -> Self {
        let mut set = RangeSet::new();
        set.extend(iter);
        set
    }
}

impl Extend<ByteRange> for RangeSet {
    fn extend<T: IntoIterator<Item = ByteRange>>(&mut self, iter: T) {
        for range in iter {
            self.insert(range);
        }
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const SIZE: u64 = 96;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64, u64),
        Remove(u64, u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        (any::<bool>(), 0..SIZE, 0..SIZE).prop_map(|(add, a, b)| {
            let (a, b) = (a.min(b), a.max(b));
            if add {
                Op::Insert(a, b)
            } else {
                Op::Remove(a, b)
            }
        })
    }

    /// Applies `op` to both and checks every question the set can answer against the bitmap.
    fn check(set: &mut RangeSet, bits: &mut [bool], op: &Op) {
        let (range, add) = match *op {
            Op::Insert(a, b) => (ByteRange::new(a, b), true),
            Op::Remove(a, b) => (ByteRange::new(a, b), false),
        };
        let mut changed = 0;
        for at in range.start..range.end {
            changed += u64::from(bits[at as usize] != add);
            bits[at as usize] = add;
        }
        let told = if add {
            set.insert(range)
        } else {
            set.remove(range)
        };
        assert_eq!(told, changed, "{op:?}");
        assert_eq!(set.len(), bits.iter().filter(|b| **b).count() as u64);
        let ranges: Vec<_> = set.iter().collect();
        assert!(ranges.iter().all(|r| !r.is_empty()));
        assert!(
            ranges.windows(2).all(|w| w[0].end < w[1].start),
            "touching: {ranges:?}"
        );
        for at in 0..SIZE {
            assert_eq!(set.range_at(at).is_some(), bits[at as usize], "byte {at}");
        }
        let within = ByteRange::new(SIZE / 4, SIZE * 3 / 4);
        let gaps = set.gaps(within);
        for at in 0..SIZE {
            let expected = within.contains(at) && !bits[at as usize];
            assert_eq!(gaps.range_at(at).is_some(), expected, "gap at {at}");
        }
        assert_eq!(
            set.frontier(),
            bits.iter().take_while(|b| **b).count() as u64
        );
        assert_eq!(set.covers(range), range.is_empty() || add);
        assert_eq!(
            set.overlaps(within),
            (within.start..within.end).any(|at| bits[at as usize])
        );
        assert_eq!(set.intersect(within).len() + gaps.len(), within.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn agrees_with_a_naive_bitmap(ops in proptest::collection::vec(op(), 1..40)) {
            let mut set = RangeSet::new();
            let mut bits = vec![false; SIZE as usize];
            for op in &ops {
                check(&mut set, &mut bits, op);
            }
        }
    }

    #[test]
    fn an_open_range_is_a_range_like_any_other() {
        let mut set = RangeSet::new();
        set.insert(ByteRange::from(10));
        assert!(set.covers(ByteRange::new(1 << 60, 1 << 61)));
        set.remove(ByteRange::new(20, 30));
        assert_eq!(set.fragments(), 2);
        assert_eq!(set.gaps(ByteRange::from(0)).len(), 20);
    }
}
