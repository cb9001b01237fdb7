//! What readers wait for, and the part of the file that may be fetched at all.
//!
//! Read [`Demands`]: a demand outranks the order of the file; a window bounds it.

use alloc::vec::Vec;

use tur_core::{ByteRange, RangeSet};

/// Demands remembered at once: more readers than this take turns.
const DEMANDS_MAX: usize = 16;
/// No lease in a window is made shorter than this, in bytes.
const PIECE_MIN: u64 = 64 * 1024;

/// Ranges that readers wait for, newest first, and the window of an ordered reader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands {
    wanted: Vec<ByteRange>,
    window: Option<RangeSet>,
    ahead: RangeSet,
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

    /// A demand is taken back.
    pub(crate) fn withdraw(&mut self, range: ByteRange) {
        self.wanted.retain(|other| *other != range);
    }

    /// Only bytes in `window` may be fetched; `None` allows all.
    pub(crate) fn set_window(&mut self, window: Option<RangeSet>) {
        self.window = window;
    }

    /// What readers will want soon: it comes before the rest of the file.
    pub(crate) fn set_ahead(&mut self, ahead: RangeSet) {
        self.ahead = ahead;
    }

    /// True if bytes outside a window must wait.
    pub(crate) fn is_windowed(&self) -> bool {
        self.window.is_some()
    }

    /// Forgets what has come.
    pub(crate) fn served(&mut self, landed: &RangeSet) {
        self.wanted.retain(|range| !landed.covers(*range));
    }

    /// The bytes of `missing` that readers wait for, the most urgent first: of each demand that lacks any, the newest first,
    /// its rank and the first one.
    pub(crate) fn urgent(&self, missing: &RangeSet) -> impl Iterator<Item = (usize, u64)> {
        let first = |range: &ByteRange| Some(missing.intersect(*range).iter().next()?.start);
        let ranked = self.wanted.iter().enumerate();
        ranked.filter_map(move |(rank, range)| Some((rank, first(range)?)))
    }

    /// True if nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The newest demand for bytes of `range`: its rank, and where it ends there.
    pub(crate) fn newest_in(&self, range: ByteRange) -> Option<(usize, u64)> {
        let ranked = self.wanted.iter().enumerate();
        let mut served = ranked.filter(|(_, wanted)| wanted.overlaps(range));
        let (rank, wanted) = served.next()?;
        Some((rank, wanted.end.min(range.end)))
    }

    /// The part of the holes that may be granted next: from the most urgent byte on, else from what readers will want soon,
    /// else from the front.
    pub(crate) fn next_hole(&self, holes: &RangeSet) -> Option<ByteRange> {
        if self.window.is_none() && self.wanted.is_empty() && self.ahead.is_empty() {
            return holes.iter().next();
        }
        let allowed = self.allowed(holes);
        let urgent = self.urgent(&allowed).next().and_then(|(_, at)| {
            let hole = allowed.range_at(at)?;
            Some(ByteRange::new(at, hole.end))
        });
        let soon = || {
            let mut parts = self.ahead.iter();
            let at = parts.find_map(|part| Some(allowed.intersect(part).iter().next()?.start))?;
            let hole = allowed.range_at(at)?;
            Some(ByteRange::new(at, hole.end))
        };
        urgent.or_else(soon).or_else(|| allowed.iter().next())
    }

    /// The holes that may be granted.
    pub(crate) fn allowed(&self, holes: &RangeSet) -> RangeSet {
        let Some(window) = &self.window else {
            return holes.clone();
        };
        let parts = window
            .iter()
            .flat_map(|part| holes.intersect(part).iter().collect::<Vec<_>>());
        parts.collect()
    }

    /// The most that one of `lanes` may be granted: half of its share of the window, so that the window moves on, but no
    /// less than [`PIECE_MIN`]: a small window is one for few lanes, not one for many requests.
    pub(crate) fn lease_max(&self, lanes: u16) -> u64 {
        self.window.as_ref().map_or(u64::MAX, |window| {
            (window.len() / (2 * u64::from(lanes.max(1)))).max(PIECE_MIN)
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
        demands.set_window(Some(set(&[(40, 240)])));
        let holes = set(&[(0, 100), (200, 300)]);
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(40, 100)));
        assert_eq!(demands.allowed(&holes), set(&[(40, 100), (200, 240)]));
        demands.want(ByteRange::new(260, 280));
        assert_eq!(
            demands.next_hole(&holes),
            Some(ByteRange::new(40, 100)),
            "what lies outside waits for the window"
        );
    }

    #[test]
    fn a_window_of_several_parts_allows_nothing_between_them() {
        let mut demands = Demands::default();
        demands.set_window(Some(set(&[(0, 10), (200, 210)])));
        assert_eq!(
            demands.allowed(&set(&[(5, 205)])),
            set(&[(5, 10), (200, 205)])
        );
        demands.want(ByteRange::new(150, 203));
        assert_eq!(
            demands.next_hole(&set(&[(5, 205)])),
            Some(ByteRange::new(200, 205))
        );
        demands.withdraw(ByteRange::new(150, 203));
        assert_eq!(
            demands.next_hole(&set(&[(5, 205)])),
            Some(ByteRange::new(5, 10))
        );
    }

    #[test]
    fn what_is_wanted_soon_comes_after_what_is_waited_for() {
        let mut demands = Demands::default();
        let holes = set(&[(0, 100), (200, 300)]);
        demands.set_ahead(set(&[(150, 250)]));
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(200, 300)));
        demands.want(ByteRange::new(20, 30));
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(20, 100)));
        demands.set_ahead(set(&[(100, 200)]));
        demands.withdraw(ByteRange::new(20, 30));
        assert_eq!(demands.next_hole(&holes), Some(ByteRange::new(0, 100)));
    }

    #[test]
    fn a_lease_in_a_window_is_half_a_share_and_no_crumb() {
        let mut demands = Demands::default();
        assert_eq!(demands.lease_max(4), u64::MAX);
        demands.set_window(Some(set(&[(0, 8 << 20)])));
        assert_eq!(demands.lease_max(4), 1 << 20);
        assert_eq!(demands.lease_max(256), PIECE_MIN);
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
