//! How much work is worth another lane: the equal plan, with a floor in time.

use core::time::Duration;

use tur_core::Rate;

/// Pieces begin and end on this many bytes, so that no two lanes share a page.
pub(crate) const ALIGN: u64 = 64 * 1024;

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanInput {
    /// Bytes that are to be divided.
    pub(crate) rest: u64,
    /// Lanes wanted.
    pub(crate) width: u16,
    /// True if that many are to start whatever the measurements say.
    pub(crate) forced: bool,
    /// Never split below this many bytes, if given.
    pub(crate) piece_min: Option<u64>,
    /// What one lane brings, if known.
    pub(crate) rate: Option<Rate>,
    /// What a new lane costs before its first byte: connect, handshake, request.
    pub(crate) setup: Duration,
}

/// A division of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Lanes, at least one.
    pub(crate) lanes: u16,
    /// Bytes of a piece: a multiple of [`ALIGN`].
    pub(crate) piece: u64,
}

/// Divides the work equally. No piece is smaller than `piece_min`, nor takes less than twice the cost of the lane that
/// fetches it: a file that one lane finishes sooner than a second could start is not split.
pub(crate) fn equal(input: PlanInput) -> Plan {
    let by_size = input.rest / input.piece_min.unwrap_or(ALIGN).max(1);
    let by_time = match input.rate {
        _ if input.forced => u64::MAX,
        Some(rate) => {
            let cost = (2 * input.setup).max(Duration::from_millis(1));
            u64::try_from(rate.time_for(input.rest).as_nanos() / cost.as_nanos())
                .unwrap_or(u64::MAX)
        }
        None => u64::MAX,
    };
    let lanes = u64::from(input.width).min(by_size).min(by_time).max(1);
    let piece = input.rest.div_ceil(lanes).next_multiple_of(ALIGN);
    Plan {
        lanes: u16::try_from(lanes).unwrap_or(u16::MAX),
        piece,
    }
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

    fn input(rest: u64) -> PlanInput {
        PlanInput {
            rest,
            width: 8,
            forced: false,
            piece_min: None,
            rate: None,
            setup: Duration::from_millis(50),
        }
    }

    #[test]
    fn a_piece_is_an_equal_share() {
        assert_eq!(
            equal(input(8 << 20)),
            Plan {
                lanes: 8,
                piece: 1 << 20
            }
        );
        assert_eq!(
            equal(input(100)),
            Plan {
                lanes: 1,
                piece: ALIGN
            }
        );
    }

    #[test]
    fn a_file_that_one_lane_finishes_soon_is_not_split() {
        let fast = PlanInput {
            rate: Some(Rate::per_second(100 << 20)),
            ..input(8 << 20)
        };
        assert_eq!(equal(fast).lanes, 1, "80 ms of work against 100 ms of cost");
        let slow = PlanInput {
            rate: Some(Rate::per_second(1 << 20)),
            ..input(8 << 20)
        };
        assert_eq!(equal(slow).lanes, 8);
        assert_eq!(
            equal(PlanInput {
                forced: true,
                ..fast
            })
            .lanes,
            8
        );
    }

    #[test]
    fn a_minimum_piece_holds_even_when_forced() {
        let plan = equal(PlanInput {
            piece_min: Some(3 << 20),
            forced: true,
            ..input(8 << 20)
        });
        assert_eq!(plan.lanes, 2);
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
