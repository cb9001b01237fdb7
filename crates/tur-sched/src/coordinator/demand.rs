//! What readers wait for, and the part of the file that may be fetched at all.
//!
//! Read [`Demands`]: a demand outranks the order of the file; a window bounds it.

use alloc::vec::Vec;

use tur_core::{ByteRange, RangeSet};

/// Demands remembered at once: more readers than this take turns.
const DEMANDS_MAX: usize = 16;

/// Ranges that readers wait for, newest first, and the window of an ordered reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    wanted: Vec<ByteRange>,
    window: Option<ByteRange>,
}

impl Demands {
    /// A reader waits for `range`.
    pub(crate) fn want(&mut self, range: ByteRange) {
        if range.is_empty() {
            return;
        }
        self.wanted.retain(|other| *other != range);
        self.wanted.insert(0, range);
        self.wanted.truncate(DEMANDS_MAX);
    }

    /// Only bytes in `window` may be fetched; `None` allows all.
    pub(crate) fn set_window(&mut self, window: Option<ByteRange>) {
        self.window = window;
    }

    /// True if bytes outside a window must wait.
    pub(crate) fn is_windowed(&self) -> bool {
        self.window.is_some()
    }

    /// Forgets what has come.
    pub(crate) fn served(&mut self, landed: &RangeSet) {
        self.wanted.retain(|range| !landed.covers(*range));
    }

    /// The most urgent byte that is in `missing`: the first missing one of the newest demand that lacks any.
    pub(crate) fn urgent(&self, missing: &RangeSet) -> Option<u64> {
        self.wanted
            .iter()
            .find_map(|range| missing.intersect(*range).iter().next().map(|gap| gap.start))
    }

    /// The part of the holes that may be granted next: from the most urgent byte on, else from the front.
    pub(crate) fn next_hole(&self, holes: &RangeSet) -> Option<ByteRange> {
        let allowed = |hole: ByteRange| match self.window {
            Some(window) => hole.intersect(window),
            None => hole,
        };
        let urgent = self.urgent(holes).and_then(|at| {
            let hole = holes.range_at(at)?;
            Some(allowed(ByteRange::new(at, hole.end)))
        });
        urgent
            .into_iter()
            .chain(holes.iter().map(allowed))
            .find(|hole| !hole.is_empty())
    }

    /// The holes that may be granted.
    pub(crate) fn allowed(&self, holes: &RangeSet) -> RangeSet {
        match self.window {
            Some(window) => holes.intersect(window),
            None => holes.clone(),
        }
    }

    /// The most that one of `lanes` may be granted: half of its share of the window, so that the window moves on.
    pub(crate) fn lease_max(&self, lanes: u16) -> u64 {
        self.window.map_or(u64::MAX, |window| {
            (window.len() / (2 * u64::from(lanes.max(1)))).max(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        ranges.iter().map(|(a, b)| ByteRange::new(*a, *b)).collect()
    }

    #[test]
    fn the_newest_demand_outranks_the_order_of_the_file() {
        let mut demands = Demands::default();
        let holes = set(&[(0, 100), (200, 300)]);
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(0, 100)));
        demands.want(ByteRange::new(50, 60));
        demands.want(ByteRange::new(150, 250));
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(200, 300)));
        demands.served(&set(&[(150, 250)]));
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(50, 100)));
    }

    #[test]
    fn a_window_bounds_what_is_granted() {
        let mut demands = Demands::default();
        demands.set_window(Some(ByteRange::new(40, 240)));
        let holes = set(&[(0, 100), (200, 300)]);
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(40, 100)));
        assert_eq!(demands.allowed(&holes), set(&[(40, 100), (200, 240)]));
        assert_eq!(demands.lease_max(5), 20);
        demands.want(ByteRange::new(260, 280));
        assert_eq!(
            demands.next_hole(&holes),
            Some(ByteRange::new(40, 100)),
            "what lies outside waits for the window"
        );
    }

    #[test]
    fn demands_are_bounded() {
        let mut demands = Demands::default();
        for i in 0..1_000 {
            demands.want(ByteRange::new(i, i + 1));
        }
        assert_eq!(demands.wanted.len(), DEMANDS_MAX);
    }
}
