//! What is measured of fetches that come one after the other, together, late, or not at all.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Timestamp {
    Timestamp::ZERO + Duration::from_millis(n)
}

/// Fetches that bring `bytes` each at its end: `(begin, end, bytes)` in milliseconds.
fn measured(fetches: &[(u64, u64, u64)]) -> Bandwidth {
    let mut bandwidth = Bandwidth::new();
    let begins = fetches.iter().map(|&(begin, ..)| (begin, 1, 0));
    let ends = fetches.iter().map(|&(_, end, bytes)| (end, 0, bytes));
    let mut turns: Vec<(u64, u8, u64)> = begins.chain(ends).collect();
    turns.sort_unstable();
    for (now, begins, bytes) in turns {
        if begins == 1 {
            bandwidth.begin(ms(now));
        } else {
            bandwidth.landed(ms(now), bytes);
            bandwidth.end(ms(now));
        }
    }
    bandwidth
}

/// A link that brings `rate` bytes per second for `time`, told every 50 ms.
fn flow(bandwidth: &mut Bandwidth, now: &mut Timestamp, rate: u64, time: Duration) {
    bandwidth.begin(*now);
    for _ in 0..time.as_millis() / 50 {
        *now = *now + 50 * MS;
        bandwidth.landed(*now, rate / 20);
    }
    bandwidth.end(*now);
}

fn bytes_per_second(bandwidth: &Bandwidth, now: Timestamp) -> u64 {
    let rate = bandwidth.estimate(now).expect("evidence enough");
    rate.bytes_per_second()
}

/// Equal but for the rounding of floats.
fn assert_near(is: u64, should: u64) {
    assert!(is.abs_diff(should) <= should / 1_000 + 1, "{is}, {should}");
}

#[test]
fn e1_three_megabytes_one_a_second_are_eight_megabits() {
    let bandwidth = measured(&[
        (0, 1_000, 1_000_000),
        (1_000, 2_000, 1_000_000),
        (2_000, 3_000, 1_000_000),
    ]);
    let bits = 8 * bytes_per_second(&bandwidth, ms(3_000));
    assert!(bits >= 7_500_000, "{bits}");
    assert_near(bits, 8_000_000);
}

#[test]
fn e1_three_megabytes_within_one_second_are_three_times_that() {
    let together = measured(&[
        (0, 1_000, 1_000_000),
        (0, 1_000, 1_000_000),
        (0, 1_000, 1_000_000),
    ]);
    assert_near(bytes_per_second(&together, ms(1_000)), 3_000_000);
}

#[test]
fn e1_two_parallel_halves_are_the_whole() {
    let mut alone = Bandwidth::new();
    let mut halves = Bandwidth::new();
    alone.begin(ms(0));
    halves.begin(ms(0));
    halves.begin(ms(0));
    for beat in 1..=80 {
        alone.landed(ms(50 * beat), 50_000);
        // The lanes report at their own times.
        halves.landed(ms(50 * beat - 17), 25_000);
        halves.landed(ms(50 * beat), 25_000);
    }
    assert_near(bytes_per_second(&alone, ms(4_000)), 1_000_000);
    assert_near(bytes_per_second(&halves, ms(4_000)), 1_000_000);
}

#[test]
fn e1_what_is_told_late_came_in_the_time_before() {
    // The second one's beginning is told in the middle of the first one's bytes.
    let late = measured(&[(0, 1_000, 1_000_000), (900, 2_000, 1_000_000)]);
    assert_near(bytes_per_second(&late, ms(2_000)), 1_000_000);
}

#[test]
fn time_in_which_nothing_was_under_way_does_not_count() {
    let pauses = measured(&[
        (0, 1_000, 1_000_000),
        (61_000, 62_000, 1_000_000),
        (3_600_000, 3_601_000, 1_000_000),
    ]);
    assert_near(bytes_per_second(&pauses, ms(9_000_000)), 1_000_000);
}

#[test]
fn the_wait_for_the_first_byte_counts_unless_others_fill_it() {
    // 100 ms of waiting, then 100 ms at one megabyte per second.
    let alone: Vec<(u64, u64, u64)> = (0..20).map(|n| (200 * n, 200 * n + 200, 100_000)).collect();
    assert_near(bytes_per_second(&measured(&alone), ms(4_000)), 500_000);
    // The next request is sent as soon as this answer begins.
    let pipelined: Vec<(u64, u64, u64)> =
        (0..40).map(|n| (100 * n, 100 * n + 200, 100_000)).collect();
    let rate = bytes_per_second(&measured(&pipelined), ms(4_100));
    assert!((950_000..=1_000_000).contains(&rate), "{rate}");
}

#[test]
fn a_fall_is_seen_soon_and_a_burst_is_not_trusted() {
    let (mut bandwidth, mut now) = (Bandwidth::new(), ms(0));
    flow(&mut bandwidth, &mut now, 1_000_000, 60 * SECOND);
    flow(&mut bandwidth, &mut now, 200_000, 2 * SECOND);
    // Half of the way in one half-life of the fast average.
    assert_near(bytes_per_second(&bandwidth, now), 600_000);
    flow(&mut bandwidth, &mut now, 200_000, 60 * SECOND);
    flow(&mut bandwidth, &mut now, 1_000_000, 10 * SECOND);
    // And up in one of the slow one.
    let rate = bytes_per_second(&bandwidth, now);
    assert!((600_000..620_000).contains(&rate), "{rate}");
}

#[test]
fn a_short_beginning_is_not_pulled_to_zero() {
    let (mut bandwidth, mut now) = (Bandwidth::new(), ms(0));
    flow(&mut bandwidth, &mut now, 1_000_000, 150 * MS);
    assert_near(bytes_per_second(&bandwidth, now), 1_000_000);
}

#[test]
fn nothing_is_said_before_there_is_evidence() {
    assert_eq!(Bandwidth::new().estimate(ms(1_000)), None);
    let bytes = |n| measured(&[(0, 1_000, n)]).estimate(ms(1_000));
    assert_eq!(bytes(32 * 1_024 - 1), None);
    assert_eq!(bytes(32 * 1_024), Some(Rate::per_second(32 * 1_024)));
    let time = |n| measured(&[(0, n, 1_000_000)]).estimate(ms(n));
    assert_eq!(time(0), None);
    assert_eq!(time(9), None);
    assert_eq!(time(10), Some(Rate::per_second(100_000_000)));
}

#[test]
fn a_silence_counts_for_two_seconds_and_no_more() {
    let (mut bandwidth, mut now) = (Bandwidth::new(), ms(0));
    flow(&mut bandwidth, &mut now, 1_000_000, 60 * SECOND);
    bandwidth.begin(now);
    assert_near(bytes_per_second(&bandwidth, now + SECOND), 707_107);
    assert_near(bytes_per_second(&bandwidth, now + 2 * SECOND), 500_000);
    bandwidth.landed(now + SECOND, 0);
    assert_near(bytes_per_second(&bandwidth, now + 9 * SECOND), 500_000);
    // Withheld for ever, or the machine slept.
    let later = now + 28_800 * SECOND;
    assert_near(bytes_per_second(&bandwidth, later), 500_000);
    // Asked for again and again: still one silence.
    for n in 0..10 {
        bandwidth.end(later + 3 * n * SECOND);
        bandwidth.begin(later + 3 * n * SECOND);
    }
    let last = later + 60 * SECOND;
    assert_near(bytes_per_second(&bandwidth, last), 500_000);
    // A byte ends it, and the next one counts again.
    bandwidth.landed(last, 1);
    assert_near(bytes_per_second(&bandwidth, last + 2 * SECOND), 250_000);
}

#[test]
fn a_clock_that_stands_or_goes_back_does_no_harm() {
    let mut bandwidth = Bandwidth::new();
    bandwidth.begin(ms(5_000));
    for _ in 0..1_000 {
        bandwidth.landed(ms(5_000), u64::MAX / 2);
        assert_eq!(bandwidth.estimate(ms(5_000)), None);
    }
    bandwidth.landed(ms(5_010), 1);
    let all = bandwidth.estimate(ms(5_010));
    assert_eq!(all, Some(Rate::per_second(u64::MAX)));

    let mut bandwidth = Bandwidth::new();
    bandwidth.begin(ms(5_000));
    bandwidth.landed(ms(1_000), 50_000);
    assert_eq!(bandwidth.estimate(ms(1_000)), None);
    bandwidth.landed(ms(5_100), 50_000);
    // The four seconds by which it went back are not counted again.
    assert_near(bytes_per_second(&bandwidth, ms(5_100)), 1_000_000);
}

#[test]
fn bytes_without_a_fetch_and_ends_without_a_beginning_are_nothing() {
    let mut bandwidth = Bandwidth::new();
    bandwidth.landed(ms(0), 1 << 40);
    bandwidth.end(ms(500));
    bandwidth.landed(ms(1_000), 1 << 40);
    assert_eq!(bandwidth.estimate(ms(2_000)), None);
    bandwidth.begin(ms(2_000));
    bandwidth.landed(ms(3_000), 50_000);
    bandwidth.end(ms(3_000));
    bandwidth.landed(ms(3_000), 1 << 40);
    assert_near(bytes_per_second(&bandwidth, ms(9_000)), 50_000);
}
