//! Whether bytes of an earlier run may be joined with what the origin serves now.
//!
//! Read [`Proof`]. A strong validator proves it by itself. Without one (RFC 9110, section 13.1.5, allows no other to join
//! ranges) samples of what is there are asked for again and compared; until all agree nothing else is asked for, and
//! one that differs makes everything void.

use tur_core::{ByteRange, RangeSet};

use super::Transfer;
use crate::pace::draw;
use crate::{Decision, LeaseId};

/// Length of a sample: large enough that two files that share headers or padding differ in it.
const SAMPLE: u64 = 64 * 1024;
/// Samples beside the first and the last one. A change of a tenth of the bytes is missed by all of them in less than one
/// of two cases, a change of half of them in one of 64; two different files do not agree even once. What is missed
/// is what a digest is for.
const SAMPLES_BETWEEN: u32 = 6;

/// What has to show that the bytes of an earlier run belong to what the origin serves now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The same URL, and a strong validator: every answer confirms it. Without a strong one an overlap has to.
    Validator,
    /// The same URL, which has no strong validator: an overlap must be equal. If it is not, the file has changed.
    Overlap,
    /// Another URL: an overlap must be equal. If it is not, that is another file, and no change.
    OtherUrl,
}

/// An overlap that is being compared.
#[derive(Clone, Debug)]
pub(super) struct Proving {
    /// Samples that have not come yet.
    rest: RangeSet,
    /// All of them, in bytes.
    len: u64,
}

impl Transfer {
    /// Nothing of what has landed counts before samples of it were compared.
    pub(super) fn begin_proof(&mut self, stranger: bool) {
        let rest = samples(self.ledger.landed(), self.config.seed);
        for sample in rest.iter() {
            self.ledger.forget(sample);
        }
        let len = rest.len();
        self.note(Decision::Comparing { bytes: len });
        self.proving = Some(Proving { rest, len });
        self.stranger = stranger;
    }

    /// The sample to ask for next; `None` if nothing is to be proven.
    pub(super) fn next_sample(&self) -> Option<ByteRange> {
        let rest = &self.proving.as_ref()?.rest;
        let holes = rest
            .iter()
            .flat_map(|range| self.ledger.holes().intersect(range).iter().next());
        holes.min_by_key(|hole| hole.start)
    }

    /// Bytes that came were equal to those that are there.
    pub(super) fn agreed(&mut self, range: ByteRange) {
        let Some(proving) = &mut self.proving else {
            return;
        };
        proving.rest.remove(range);
        if proving.rest.is_empty() {
            let bytes = proving.len;
            self.proving = None;
            self.stranger = false;
            self.note(Decision::Agreed { bytes });
        }
    }

    /// Storage has lost them: they cannot be compared.
    pub(super) fn cannot_compare(&mut self, range: ByteRange) {
        if let Some(proving) = &mut self.proving {
            proving.rest.remove(range);
        }
        if self.proving.as_ref().is_some_and(|p| p.rest.is_empty()) {
            // Nothing is left that could prove anything.
            self.changed("the bytes to be compared were lost".into());
        }
    }

    /// The bytes at `at` are not those that are there. The fetch is over.
    pub(super) fn differs(&mut self, lease: LeaseId, at: u64) {
        let Some((_, fetch)) = self.close(lease, false) else {
            return;
        };
        if fetch.abort.is_none() {
            self.changed(alloc::format!(
                "the bytes from {at} on are not those of the part"
            ));
        }
    }

    /// True while it is not known whether what has landed belongs to what is served.
    pub(super) fn is_proving(&self) -> bool {
        self.proving.is_some()
    }

    /// Bytes of an earlier run that are there but still to be compared.
    pub(super) fn unproven(&self) -> u64 {
        self.proving.as_ref().map_or(0, |p| p.rest.len())
    }

    /// What was to be compared in `range` is given up with it. True if there was anything.
    pub(super) fn give_up_proof(&mut self, range: ByteRange) -> bool {
        self.proving.take_if(|p| p.rest.overlaps(range)).is_some()
    }
}

/// The first and the last bytes of what has landed, and some between, drawn at random.
fn samples(landed: &RangeSet, seed: u64) -> RangeSet {
    let mut samples = RangeSet::new();
    let (Some(first), Some(last)) = (landed.iter().next(), landed.iter().next_back()) else {
        return samples;
    };
    samples.insert(ByteRange::new(
        first.start,
        first.end.min(first.start.saturating_add(SAMPLE)),
    ));
    samples.insert(ByteRange::new(
        last.start.max(last.end.saturating_sub(SAMPLE)),
        last.end,
    ));
    let mut state = seed;
    for _ in 0..SAMPLES_BETWEEN {
        let mut nth = draw(&mut state) % landed.len();
        let Some(range) = landed.iter().find(|range| {
            let here = nth < range.len();
            nth = if here { nth } else { nth - range.len() };
            here
        }) else {
            continue;
        };
        let start = range.start + nth;
        samples.insert(ByteRange::new(
            start,
            range.end.min(start.saturating_add(SAMPLE)),
        ));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lie_in_what_has_landed_and_touch_both_ends() {
        for seed in 0..500 {
            let mut state = seed;
            let mut landed = RangeSet::new();
            for _ in 0..=draw(&mut state) % 5 {
                let start = draw(&mut state) % 4_000_000;
                let len = 1 + draw(&mut state) % 300_000;
                landed.insert(ByteRange::new(start, start + len));
            }
            let samples = samples(&landed, seed);
            assert!(samples.iter().all(|sample| landed.covers(sample)));
            let first = landed.iter().next().expect("not empty").start;
            let last = landed.iter().next_back().expect("not empty").end;
            assert!(samples.covers(ByteRange::new(first, first + 1)));
            assert!(samples.covers(ByteRange::new(last - 1, last)));
            assert!(samples.len() <= (2 + u64::from(SAMPLES_BETWEEN)) * SAMPLE);
        }
    }

    #[test]
    fn nothing_has_no_samples() {
        assert!(samples(&RangeSet::new(), 1).is_empty());
    }
}
