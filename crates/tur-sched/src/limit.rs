//! Rate limits: a token bucket that is a date.
//!
//! Read [`Bucket`]. It counts no tokens and needs no refill: it holds the date at which everything that was taken is
//! paid for at the rate. Who wants bytes asks [`ready_at`](Bucket::ready_at), waits until then, draws, and debits what
//! really came. A refusal costs nothing, and a debit is never refused: what came too early moves the date.
//!
//! ```text
//!   paid ≤ now: draw, then debit          paid > now: wait
//!  ──────┬───────────────┬──────────────────────┬─────────────▶ time
//!    now − CREDIT       now                   paid
//!    (paid is never    ◀── what was taken too early ──▶
//!     left behind this)
//! ```
//!
//! How exact it is: in any time `w` at a constant rate, what is drawn is at most `rate × (w + CREDIT)`, and one draw of
//! each lane that had been let through beside the others. A lane that always has bytes loses nothing but the time by
//! which it wakes up later than [`CREDIT`](Bucket::CREDIT) allows. Two things are forgiven: debts beyond [`DEBT_MAX`](Bucket::DEBT_MAX), and what was
//! drawn at a higher rate before the rate was lowered.
//!
//! Limits are a hierarchy because a lane asks several buckets, and draws when all are ready; the engine does so and
//! sees to it that lanes take turns.

use core::time::Duration;

use tur_core::{Rate, Timestamp};

/// Who has to wait waits at least so long: at high rates many draws then follow one wait. Well below [`CREDIT`](Bucket::CREDIT), so
/// that nothing is lost by it.
const WAIT_MIN: Duration = Duration::from_millis(5);

/// What a draw is worth, in time at the rate, beside what is saved up: fifty draws a second flow smoothly and cost little.
const DRAW: Duration = Duration::from_millis(20);
/// Bounds of a draw, in bytes: less is not worth a call, and more is not written at a time.
const DRAW_MIN: u64 = 2 * 1024;
const DRAW_MAX: u64 = 256 * 1024;

/// One limit.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Option<Rate>,
    /// When what was taken is paid for.
    paid: Timestamp,
    /// What the debits have cost beyond whole microseconds: byte-microseconds, less than the rate.
    carry: u64,
}

impl Bucket {
    /// What may be saved up, in time at the rate. It makes good for timers and threads that come late (milliseconds, or
    /// some ten of them on a busy machine), and it is all that an idle time leaves: the burst is a tenth of a second.
    pub const CREDIT: Duration = Duration::from_millis(100);

    /// The farthest that the date lies ahead. At a rate so low that a single buffer of the transport takes longer, the
    /// limit is not kept, rather than a connection left silent for minutes: origins close such connections.
    pub const DEBT_MAX: Duration = Duration::from_secs(60);

    /// A bucket that allows `rate` from `now` on, with nothing saved up; without a rate it allows everything. A rate of
    /// zero counts as one byte per second: standing still is a pause, not a limit.
    #[must_use]
    pub fn new(now: Timestamp, rate: Option<Rate>) -> Self {
        Self {
            rate: rate.map(at_least_one),
            paid: now,
            carry: 0,
        }
    }

    /// The rate that is allowed; `None` if there is no limit.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        self.rate
    }

    /// When the next draw is allowed: `now` if at once, else a later time at which it is, unless somebody has drawn
    /// meanwhile.
    #[must_use]
    pub fn ready_at(&self, now: Timestamp) -> Timestamp {
        if self.rate.is_none() || self.paid <= now {
            now
        } else {
            self.paid.max(now + WAIT_MIN)
        }
    }

    /// How many bytes to draw: few at a low rate, so that it flows smoothly, many at a high one, so that counting costs
    /// nothing, and more by what is saved up, so that who had to wait for something else catches up in one draw.
    /// [`u64::MAX`] without a limit. More may come than was wanted: it is debited all the same.
    #[must_use]
    pub fn quantum(&self, now: Timestamp) -> u64 {
        let saved = now.since(self.paid).min(Self::CREDIT);
        self.rate.map_or(u64::MAX, |rate| {
            rate.bytes_in(DRAW + saved).clamp(DRAW_MIN, DRAW_MAX)
        })
    }

    /// `bytes` came. Never refused.
    pub fn debit(&mut self, now: Timestamp, bytes: u64) {
        let Some(rate) = self.rate else { return };
        let per_second = u128::from(rate.bytes_per_second());
        let cost = u128::from(bytes) * 1_000_000 + u128::from(self.carry);
        let micros = u64::try_from(cost / per_second).unwrap_or(u64::MAX);
        self.carry = u64::try_from(cost % per_second).unwrap_or(0);
        let from = self.paid.max(now - Self::CREDIT);
        self.paid = (from + Duration::from_micros(micros)).min(now + Self::DEBT_MAX);
    }

    /// Allows another rate from `now` on. What was saved up is gone. A debt is paid at the higher of the two rates, so
    /// that nobody waits longer by a change than without it.
    pub fn set_rate(&mut self, now: Timestamp, rate: Option<Rate>) {
        let (old, rate) = (self.rate, rate.map(at_least_one));
        if old == rate {
            return;
        }
        let debt = match (old, rate) {
            (Some(old), Some(new)) => {
                let owed = old.bytes_in(self.paid.since(now));
                new.max(old).time_for(owed)
            }
            _ => Duration::ZERO,
        };
        self.rate = rate;
        self.paid = now + debt;
        self.carry = 0;
    }
}

fn at_least_one(rate: Rate) -> Rate {
    rate.max(Rate::per_second(1))
}

#[cfg(test)]
mod tests;
