//! The first division of the work: how large a piece each lane starts with, and how much a request asks for.
//!
//! Whatever it says, lanes that are free take from lanes that are not (see `split`). So a plan only has to be good for
//! as long as nothing has been measured.

use core::time::Duration;

use tur_core::Rate;

/// Pieces begin and end on this many bytes, so that no two lanes share a page.
pub(crate) const ALIGN: u64 = 64 * 1024;
/// The unit of the Fibonacci sizes.
const FIBONACCI_UNIT: u64 = 1 << 20;

/// The geometry of the first division.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Every lane starts with the same share.
    #[default]
    Equal,
    /// 1, 2, 3, 5, 8, … MiB from the front, none larger than an equal share: what is in front arrives first.
    Fibonacci,
    /// Shares grow from the front as a geometric ramp whose largest is R times its smallest: R, the phi ratio, is
    /// learned from how much the lanes of the origin differ.
    Adaptive,
}

/// The sizes of the pieces of one plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    schedule: Schedule,
    /// Bytes divided.
    rest: u64,
    /// Lanes they were divided among, at least one.
    lanes: u16,
    /// Largest share divided by the smallest, at least 1.
    ratio: f64,
    /// Pieces given out so far.
    given: u32,
}

impl Geometry {
    /// Divides `rest` bytes among `lanes`.
    pub(crate) fn new(schedule: Schedule, rest: u64, lanes: u16, ratio: f64) -> Self {
        let ratio = if ratio.is_finite() {
            ratio.max(1.0)
        } else {
            1.0
        };
        Self {
            schedule,
            rest,
            lanes: lanes.max(1),
            ratio,
            given: 0,
        }
    }

    /// Size of the next piece, a positive multiple of [`ALIGN`]; `take` it to go on to the one after.
    pub(crate) fn next_len(&self) -> u64 {
        self.len_of(self.given)
    }

    /// The next piece has been given out.
    pub(crate) fn take(&mut self) {
        self.given = self.given.saturating_add(1);
    }

    /// An equal share, a multiple of [`ALIGN`].
    pub(crate) fn share(&self) -> u64 {
        align(self.rest.div_ceil(u64::from(self.lanes)))
    }

    /// How many leases a hole is good for, if none is larger than the next piece. Less than half a piece joins its
    /// neighbour: no lane is set up for crumbs.
    pub(crate) fn leases_of(&self, len: u64) -> u64 {
        let piece = self.next_len();
        (len.saturating_add(piece / 2) / piece).max(1)
    }

    fn len_of(&self, nth: u32) -> u64 {
        match self.schedule {
            Schedule::Equal => self.share(),
            Schedule::Fibonacci => fibonacci(nth).min(self.share()),
            Schedule::Adaptive => self.ramp(nth),
        }
    }

    /// `R^(i/(n-1))` of `n` shares, scaled so that all of them add up to the whole.
    fn ramp(&self, nth: u32) -> u64 {
        let steps = u32::from(self.lanes.saturating_sub(1));
        if steps == 0 {
            return self.share();
        }
        let weight = |i: u32| libm::pow(self.ratio, f64::from(i) / f64::from(steps));
        let sum: f64 = (0..=steps).map(weight).sum();
        let share = as_f64(self.rest) * weight(nth.min(steps)) / sum;
        align(as_u64(share))
    }
}

/// The nth of 1, 2, 3, 5, 8, … MiB.
fn fibonacci(nth: u32) -> u64 {
    let (mut a, mut b) = (1u64, 2u64);
    for _ in 0..nth.min(64) {
        (a, b) = (b, a.saturating_add(b));
    }
    a.saturating_mul(FIBONACCI_UNIT)
}

/// Up to a multiple of [`ALIGN`], and at least one.
fn align(len: u64) -> u64 {
    len.max(1)
        .checked_next_multiple_of(ALIGN)
        .unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of pieces are rounded to 64 KiB anyway"
)]
pub(crate) fn as_f64(n: u64) -> f64 {
    n as f64
}

/// Of a number that is not negative; the cast saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and what is cast is never negative"
)]
pub(crate) fn as_u64(x: f64) -> u64 {
    x as u64
}

/// How much of the `unasked` rest of a lease the next request asks for: half of it, or 30 round trips' worth, so that a
/// lease takes O(log n) requests and its tail stays free to be taken by another lane.
pub(crate) fn request_len(unasked: u64, rate: Option<Rate>, rtt: Duration) -> u64 {
    let trips = rate.map_or(0, |rate| rate.bytes_in(30 * rtt));
    let len = (unasked / 2)
        .max(trips)
        .max(ALIGN)
        .checked_next_multiple_of(ALIGN)
        .unwrap_or(u64::MAX);
    if unasked.saturating_sub(len) < ALIGN {
        unasked
    } else {
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn sizes(schedule: Schedule, rest: u64, lanes: u16, ratio: f64) -> Vec<u64> {
        let mut plan = Geometry::new(schedule, rest, lanes, ratio);
        (0..lanes)
            .map(|_| {
                let len = plan.next_len();
                plan.take();
                len
            })
            .collect()
    }

    #[test]
    fn equal_shares_are_equal() {
        assert_eq!(sizes(Schedule::Equal, 8 << 20, 8, 1.5), [1 << 20; 8]);
        assert_eq!(sizes(Schedule::Equal, 100, 8, 1.5), [ALIGN; 8]);
    }

    #[test]
    fn fibonacci_grows_from_the_front_up_to_an_equal_share() {
        let mib: Vec<u64> = sizes(Schedule::Fibonacci, 40 << 20, 8, 1.5)
            .iter()
            .map(|len| len >> 20)
            .collect();
        assert_eq!(mib, [1, 2, 3, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn the_ramp_ends_at_r_times_its_beginning_and_adds_up() {
        let pieces = sizes(Schedule::Adaptive, 800 << 20, 8, 2.0);
        assert!(
            pieces.windows(2).all(|pair| pair[0] < pair[1]),
            "{pieces:?}"
        );
        let ratio = as_f64(pieces[7]) / as_f64(pieces[0]);
        assert!((ratio - 2.0).abs() < 0.01, "{ratio}");
        let sum: u64 = pieces.iter().sum();
        assert!(
            (800 << 20..=(800 << 20) + 8 * ALIGN).contains(&sum),
            "{sum}"
        );
        assert_eq!(sizes(Schedule::Adaptive, 1 << 20, 1, f64::NAN), [1 << 20]);
    }

    #[test]
    fn requests_halve_and_end() {
        let (mut rest, mut requests) = (1u64 << 30, 0);
        while rest > 0 {
            let len = request_len(rest, None, Duration::ZERO);
            assert!(len > 0 && len <= rest);
            rest -= len;
            requests += 1;
        }
        assert!(requests <= 16, "{requests} requests for 1 GiB");
        let quick = request_len(
            1 << 30,
            Some(Rate::per_second(1 << 30)),
            Duration::from_secs(1),
        );
        assert_eq!(quick, 1 << 30, "thirty round trips hold all of it");
    }
}
