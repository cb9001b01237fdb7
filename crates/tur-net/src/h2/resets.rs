//! How many streams of a connection may be given up: a pure account.

use std::time::Duration;

/// The account of one connection: [`RESETS_MAX`] in all, and a token each second, of which [`BURST`] may be saved up.
///
/// Servers count streams that a client resets, and take a client that does it often for an attack (CVE-2023-44487). What is
/// given up beyond the account is not reset: its connection takes no more requests, what still comes for it is dropped,
/// and the connection is closed once its other streams have ended.
#[derive(Debug)]
pub(crate) struct Resets {
    left: u32,
    tokens: u32,
    /// Time since the start of the connection, when `tokens` was right.
    counted_at: Duration,
}

impl Resets {
    pub(crate) fn new() -> Self {
        Self {
            left: RESETS_MAX,
            tokens: BURST,
            counted_at: Duration::ZERO,
        }
    }

    /// True if a stream may be reset at `now`, the age of the connection.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let whole = now.saturating_sub(self.counted_at).as_secs();
        self.counted_at += Duration::from_secs(whole);
        let earned = u32::try_from(whole).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(earned).min(BURST);
        if self.left == 0 || self.tokens == 0 {
            return false;
        }
        self.left -= 1;
        self.tokens -= 1;
        true
    }
}

/// Streams of one connection that are reset.
pub(crate) const RESETS_MAX: u32 = 20;
/// Streams that are reset at once: a download that ends gives up the lanes that still run.
const BURST: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_come_no_faster_than_one_a_second_and_end() {
        let at = |ms| Duration::from_millis(ms);
        let mut resets = Resets::new();
        assert!((0..BURST).all(|_| resets.take(at(0))));
        assert!(!resets.take(at(999)));
        assert!(resets.take(at(1_000)));
        assert!(!resets.take(at(1_999)));
        let rest = RESETS_MAX - BURST - 1;
        assert!((0..rest).all(|nth| resets.take(at(60_000 + 1_000 * u64::from(nth)))));
        assert!(!resets.take(at(600_000)), "{RESETS_MAX} in all");
    }
}
