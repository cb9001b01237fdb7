//! The one value that a decision and the hot path share: how far a lane has taken, and where it must stop.

use core::sync::atomic::{AtomicU64, Ordering};

/// The gate of one lease. Its lane takes bytes before each write; whoever decides moves the end. Two lanes never own
/// one byte: [`cut`](Gate::cut) answers with the end that holds from now on, and [`take`](Gate::take) never passes it.
///
/// Both sides store their own word before they load the other's (sequentially consistent), so at least one of two
/// racing calls sees the other. If both do, the lane takes less than the cut granted: bytes go to nobody, never to two.
#[derive(Debug)]
pub struct Gate {
    taken: AtomicU64,
    end: AtomicU64,
}

impl Gate {
    /// A gate for `[start, end)`.
    #[must_use]
    pub const fn new(start: u64, end: u64) -> Self {
        Self {
            taken: AtomicU64::new(start),
            end: AtomicU64::new(end),
        }
    }

    /// Takes up to `n` bytes at `at`, which must be where the last take ended, and returns how many are granted.
    pub fn take(&self, at: u64, n: u64) -> u64 {
        let wanted = at.saturating_add(n);
        self.taken.store(wanted, Ordering::SeqCst);
        let end = self.end.load(Ordering::SeqCst);
        if wanted <= end {
            return n;
        }
        let granted = end.max(at);
        self.taken.store(granted, Ordering::SeqCst);
        granted - at
    }

    /// Moves the end down to `at`, or to what has been taken if that is more, and returns where it now is. Never moves
    /// it up.
    pub fn cut(&self, at: u64) -> u64 {
        let old = self.end.load(Ordering::SeqCst);
        let wanted = at.min(old);
        self.end.store(wanted, Ordering::SeqCst);
        let taken = self.taken.load(Ordering::SeqCst);
        if taken > wanted {
            let end = taken.min(old);
            self.end.store(end, Ordering::SeqCst);
            return end;
        }
        wanted
    }

    /// Moves the end up to `end`. Only the decider calls this, and never while a cut is under way.
    pub fn extend(&self, end: u64) {
        self.end.fetch_max(end, Ordering::SeqCst);
    }

    /// How far the lane has taken. While it is not running, this is how far it has written.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Where the lane must stop.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn takes_up_to_the_end_and_no_further() {
        let gate = Gate::new(10, 100);
        assert_eq!(gate.take(10, 50), 50);
        assert_eq!(gate.cut(20), 60, "what is taken stays taken");
        assert_eq!(gate.take(60, 10), 0);
        gate.extend(70);
        assert_eq!(gate.take(60, 100), 10);
        assert_eq!(gate.cut(500), 70, "a cut never extends");
    }

    #[test]
    fn racing_cut_and_take_never_give_one_byte_to_two() {
        for round in 0..2_000u64 {
            let gate = Arc::new(Gate::new(0, 1_000));
            let lane = {
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    let mut at = 0;
                    while at < 1_000 {
                        let n = gate.take(at, 64);
                        if n == 0 {
                            break;
                        }
                        at += n;
                    }
                    at
                })
            };
            let cut = gate.cut(round % 1_000);
            let reached = lane.join().expect("the lane does not panic");
            assert!(
                reached <= cut,
                "lane wrote to {reached}, thief starts at {cut}"
            );
        }
    }
}
