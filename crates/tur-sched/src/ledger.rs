//! Who owns which byte of a transfer.
//!
//! Read [`Ledger`]: every byte of the extent is in exactly one place: landed, the unlanded rest of one lease, or a hole.
//! The extent is what is to be had of the representation: all of it, or a span, clipped to the total once that is known.

use alloc::collections::BTreeMap;

use tur_core::{ByteRange, RangeSet};

use crate::{LaneId, LeaseId};

/// A range granted to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lane.
    pub lane: LaneId,
    /// What is not landed yet: from the lane's cursor to the lease's end.
    pub rest: ByteRange,
    /// Where the bytes of the running request end; what lies behind has not been asked for.
    pub asked: u64,
}

/// Owns every byte: holes, leases and what has landed.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What is wanted; open-ended from 0 for the whole.
    span: ByteRange,
    /// Where a stream that cannot begin at the span begins instead: what lies between is had, and of no use.
    front: u64,
    total: Option<u64>,
    /// While the total is unknown: at least so many bytes were told of.
    total_min: u64,
    landed: RangeSet,
    holes: RangeSet,
    leases: BTreeMap<LeaseId, Lease>,
    next: u32,
}

impl Ledger {
    /// A ledger of an unknown number of bytes, none landed.
    #[must_use]
    pub fn new() -> Self {
        Self::of(ByteRange::from(0))
    }

    /// A ledger of the bytes in `span`, as far as there are that many, none landed.
    #[must_use]
    pub fn of(span: ByteRange) -> Self {
        Self {
            span,
            front: span.start,
            total: None,
            total_min: 0,
            landed: RangeSet::new(),
            holes: [span].into_iter().collect(),
            leases: BTreeMap::new(),
            next: 0,
        }
    }

    /// A ledger of the bytes in `span` of a representation of `total` bytes, of which `landed` are there.
    #[must_use]
    pub fn resumed(span: ByteRange, total: u64, landed: &RangeSet) -> Self {
        let mut ledger = Self::of(span);
        ledger.landed = landed.intersect(span.intersect(ByteRange::new(0, total)));
        ledger.holes = ledger.landed.gaps(span);
        ledger.set_total(total);
        ledger
    }

    /// Forgets everything but the numbering of leases. Only without leases.
    pub fn restart(&mut self) {
        assert!(
            self.leases.is_empty(),
            "a restart comes after every lease has ended"
        );
        *self = Self {
            next: self.next,
            ..Self::of(self.span)
        };
    }

    /// What is wanted; open-ended from 0 for the whole.
    #[must_use]
    pub fn span(&self) -> ByteRange {
        self.span
    }

    /// What is to be had, as far as is known: the span, with what comes before it if a stream has to begin at 0, up to
    /// the total.
    #[must_use]
    pub fn extent(&self) -> ByteRange {
        let wanted = ByteRange::new(self.front, self.span.end);
        wanted.intersect(ByteRange::new(0, self.total.unwrap_or(ByteRange::OPEN)))
    }

    /// The bytes before the span have to be had too, because no stream can begin behind them. Only without leases.
    pub fn lead_in(&mut self) {
        assert!(
            self.leases.is_empty(),
            "a stream from 0 comes after every lease has ended"
        );
        let lead = ByteRange::new(0, self.front);
        self.front = 0;
        self.holes
            .insert(lead.intersect(ByteRange::new(0, self.total.unwrap_or(ByteRange::OPEN))));
    }

    /// Total length, once known.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The total is at least this: an answer told of bytes up to here.
    #[must_use]
    pub fn total_min(&self) -> u64 {
        self.total.unwrap_or(self.total_min)
    }

    /// An answer tells of bytes up to `end`.
    pub fn reaches(&mut self, end: u64) {
        if end != ByteRange::OPEN {
            self.total_min = self.total_min.max(end);
        }
    }

    /// What has landed.
    #[must_use]
    pub fn landed(&self) -> &RangeSet {
        &self.landed
    }

    /// What nobody owns.
    #[must_use]
    pub fn holes(&self) -> &RangeSet {
        &self.holes
    }

    /// The leases, in order of granting.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    /// One lease.
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// True if every byte has landed, and it is known where they end: a span has an end of its own.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let extent = self.extent();
        extent.is_empty() || !extent.is_open() && self.landed.covers(extent)
    }

    /// Fixes the total: holes and leases behind it vanish.
    pub fn set_total(&mut self, total: u64) {
        let behind = ByteRange::from(total);
        self.total = Some(total);
        self.holes.remove(behind);
        self.landed.remove(behind);
        for lease in self.leases.values_mut() {
            lease.rest = ByteRange::new(lease.rest.start.min(total), lease.rest.end.min(total));
            lease.asked = lease.asked.min(total);
        }
    }

    /// Grants `range`, which must be a hole, to `lane`.
    pub fn grant(&mut self, lane: LaneId, range: ByteRange) -> LeaseId {
        assert!(
            !range.is_empty() && self.holes.covers(range),
            "only a hole can be granted: {range}"
        );
        self.holes.remove(range);
        let id = LeaseId(self.next);
        self.next += 1;
        self.leases.insert(
            id,
            Lease {
                lane,
                rest: range,
                asked: range.start,
            },
        );
        id
    }

    /// Says how far the running request of a lease reaches.
    pub fn asked(&mut self, id: LeaseId, end: u64) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.asked = end.clamp(lease.rest.start, lease.rest.end);
        }
    }

    /// Bytes of a lease up to `upto` have landed. Returns how many are new.
    pub fn land(&mut self, id: LeaseId, upto: u64) -> u64 {
        let Some(lease) = self.leases.get_mut(&id) else {
            return 0;
        };
        assert!(
            upto <= lease.rest.end,
            "a lane wrote past its lease: {upto} > {}",
            lease.rest.end
        );
        let fresh = ByteRange::new(lease.rest.start, upto);
        lease.rest.start = lease.rest.start.max(upto);
        lease.asked = lease.asked.max(lease.rest.start);
        self.landed.insert(fresh)
    }

    /// Closes a lease: what has not landed is a hole again.
    pub fn end(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.holes.insert(lease.rest);
        Some(lease)
    }

    /// A lease now ends at `at`: what lies behind is a hole.
    pub fn shrink(&mut self, id: LeaseId, at: u64) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        let at = at.clamp(lease.rest.start, lease.rest.end);
        self.holes.insert(ByteRange::new(at, lease.rest.end));
        lease.rest.end = at;
        lease.asked = lease.asked.min(at);
    }

    /// A lease takes the hole that follows it. Returns its new end.
    pub fn extend(&mut self, id: LeaseId) -> Option<u64> {
        let lease = self.leases.get_mut(&id)?;
        let hole = self.holes.range_at(lease.rest.end)?;
        self.holes.remove(hole);
        lease.rest.end = hole.end;
        Some(hole.end)
    }

    /// Landed bytes in `range` are a hole again.
    pub fn forget(&mut self, range: ByteRange) {
        let gone = self.landed.intersect(range);
        self.landed.remove(range);
        self.holes.extend(gone.iter());
    }

    /// Panics if a byte is in two places, or in none.
    #[cfg(any(test, feature = "check"))]
    pub fn check(&self) {
        let extent = self.extent();
        let mut seen = RangeSet::new();
        let rests = self.leases.values().map(|lease| lease.rest);
        for range in self.landed.iter().chain(self.holes.iter()).chain(rests) {
            assert_eq!(
                seen.insert(range),
                range.len(),
                "owned twice: {range} in {self:?}"
            );
        }
        assert!(seen.covers(extent), "owned by nobody: {self:?}");
        assert_eq!(seen.len(), extent.len(), "outside: {self:?}");
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}
