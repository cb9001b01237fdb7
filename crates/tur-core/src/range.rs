//! One contiguous range of bytes.

use core::fmt;

/// A half-open range of bytes `[start, end)` of a representation.
///
/// Inclusive bounds exist only inside HTTP header fields; everywhere else `end` is one past the last byte. An open
/// end ("to wherever the representation ends") is [`ByteRange::OPEN`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte. Never below `start`.
    pub end: u64,
}

impl ByteRange {
    /// The end of a range whose length is not known yet.
    pub const OPEN: u64 = u64::MAX;

    /// `[start, end)`; a reversed pair is the empty range at `start`.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self {
            start,
            end: if end < start { start } else { end },
        }
    }

    /// Everything from `start` on.
    #[must_use]
    pub const fn from(start: u64) -> Self {
        Self {
            start,
            end: Self::OPEN,
        }
    }

    /// Number of bytes in the range.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// True if no byte is in the range.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// True if the end is not known.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.end == Self::OPEN
    }

    /// True if `at` lies inside.
    #[must_use]
    pub const fn contains(&self, at: u64) -> bool {
        self.start <= at && at < self.end
    }

    /// The bytes that are in both; empty (at the later start) if there are none.
    #[must_use]
    pub fn intersect(&self, other: ByteRange) -> ByteRange {
        let start = self.start.max(other.start);
        ByteRange::new(start, self.end.min(other.end))
    }

    /// True if at least one byte is in both.
    #[must_use]
    pub fn overlaps(&self, other: ByteRange) -> bool {
        !self.intersect(other).is_empty()
    }
}

impl fmt::Debug for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_open() {
            write!(f, "{}..", self.start)
        } else {
            write!(f, "{}..{}", self.start, self.end)
        }
    }
}
