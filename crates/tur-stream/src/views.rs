//! What the readers of one media look at, together: [`Views`].

use std::collections::BTreeMap;

use tur_engine::{ByteRange, RangeSet};

/// Where readers are and what else is waited for. What it makes of that is bounded by the number of readers, never by the
/// distance between them.
#[derive(Debug)]
pub(crate) struct Views {
    readers: BTreeMap<u64, View>,
    waits: BTreeMap<u64, ByteRange>,
    look_ahead: u64,
    next: u64,
}

/// One reader.
#[derive(Clone, Copy, Debug)]
struct View {
    at: u64,
    /// Where it is said to be: behind where it is by less than a part of the look-ahead.
    told: u64,
}

/// A reader that has moved by this part of the look-ahead is told anew: often enough that the lanes do not wait for it.
const STEP: u64 = 8;

impl Views {
    pub(crate) fn new(look_ahead: u64) -> Self {
        Self {
            readers: BTreeMap::new(),
            waits: BTreeMap::new(),
            look_ahead,
            next: 0,
        }
    }

    /// A reader at `at`.
    pub(crate) fn enter(&mut self, at: u64) -> u64 {
        self.next += 1;
        self.readers.insert(self.next, View { at, told: at });
        self.next
    }

    /// Somebody waits for a range.
    pub(crate) fn enter_wait(&mut self, range: ByteRange) -> u64 {
        self.next += 1;
        self.waits.insert(self.next, range);
        self.next
    }

    pub(crate) fn leave(&mut self, id: u64) {
        self.readers.remove(&id);
        self.waits.remove(&id);
    }

    /// The reader is at `at`. True if that is worth telling.
    pub(crate) fn moved(&mut self, id: u64, at: u64) -> bool {
        let step = self.look_ahead / STEP;
        let Some(view) = self.readers.get_mut(&id) else {
            return false;
        };
        let tells = at < view.told || at - view.told >= step;
        view.at = at;
        if tells {
            view.told = at;
        }
        tells
    }

    pub(crate) fn set_look_ahead(&mut self, bytes: u64) {
        self.look_ahead = bytes;
    }

    /// What is looked at; the beginning while nobody does.
    pub(crate) fn ahead(&self) -> RangeSet {
        let from = |at: u64| ByteRange::new(at, at.saturating_add(self.look_ahead));
        let readers = self.readers.values().map(|view| from(view.at));
        let looked_at: RangeSet = readers.chain(self.waits.values().copied()).collect();
        match looked_at.is_empty() {
            true => RangeSet::from_iter([from(0)]),
            false => looked_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ranges: &[(u64, u64)]) -> RangeSet {
        let ranges = ranges.iter().map(|(a, b)| ByteRange::new(*a, *b));
        ranges.collect()
    }

    #[test]
    fn each_reader_looks_ahead_of_itself() {
        let mut views = Views::new(80);
        assert_eq!(views.ahead(), set(&[(0, 80)]), "the beginning is opened");
        let (a, b) = (views.enter(0), views.enter(1000));
        assert_eq!(views.ahead(), set(&[(0, 80), (1000, 1080)]));
        assert!(!views.moved(a, 9), "not worth telling");
        assert!(views.moved(a, 10) && !views.moved(a, 12));
        assert!(views.moved(b, 999), "backwards it always is");
        assert_eq!(views.ahead(), set(&[(12, 92), (999, 1079)]));
        let wait = views.enter_wait(ByteRange::new(500, 501));
        views.leave(b);
        assert_eq!(views.ahead(), set(&[(12, 92), (500, 501)]));
        views.leave(wait);
        views.set_look_ahead(40);
        assert_eq!(views.ahead(), set(&[(12, 52)]), "from where it is by now");
    }
}
