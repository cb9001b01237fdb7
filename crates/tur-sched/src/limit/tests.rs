//! The error bound of a bucket, by random lanes in virtual time.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

const CREDIT: Duration = Bucket::CREDIT;
const SEC: Duration = Duration::from_secs(1);
const START: Timestamp = Timestamp::from_micros(7_000_000);

fn bucket(rate: u64) -> Bucket {
    Bucket::new(START, Some(Rate::per_second(rate)))
}

/// 50 KB/s to 1 GB/s, each order of magnitude as likely.
fn rates() -> impl Strategy<Value = u64> {
    (0_u32..5, 5_u64..=50).prop_map(|(power, tens)| {
        let rate = 10_000 * tens * 10_u64.pow(power);
        rate.min(1_000_000_000)
    })
}

/// Lanes that take turns at one bucket, as those of the engine do.
struct Lanes {
    bucket: Bucket,
    now: Timestamp,
    /// Who is next: a lane that has drawn goes to the end.
    queue: VecDeque<usize>,
    drawn: Vec<u64>,
    log: Vec<(Timestamp, u64)>,
    waits: u32,
}

impl Lanes {
    fn new(rate: u64, lanes: usize) -> Self {
        Self {
            bucket: bucket(rate),
            now: START,
            queue: (0..lanes).collect(),
            drawn: std::vec![0; lanes],
            log: Vec::new(),
            waits: 0,
        }
    }

    /// The next lane waits, wakes up `late`, and draws what it should and `extra`.
    fn turn(&mut self, late: Duration, extra: u64) {
        let at = self.bucket.ready_at(self.now);
        if at > self.now {
            self.waits += 1;
            assert_eq!(
                self.bucket.ready_at(at),
                at,
                "a wait is followed by a draw, not by another wait"
            );
            self.now = at + late;
        }
        let bytes = self.bucket.quantum(self.now) + extra;
        self.bucket.debit(self.now, bytes);
        let lane = self.queue.pop_front().expect("there are lanes");
        self.queue.push_back(lane);
        self.drawn[lane] += bytes;
        self.log.push((self.now, bytes));
    }

    fn total(&self) -> u64 {
        self.drawn.iter().sum()
    }

    fn time(&self) -> Duration {
        self.now.since(START)
    }

    /// The most by which any window of the log is over `rate` (Kadane's scan over all of them).
    fn excess(&self, rate: u64) -> u64 {
        let (mut most, mut here, mut last) = (0, 0_u64, START);
        for (at, bytes) in &self.log {
            let paid = Rate::per_second(rate).bytes_in(at.since(last));
            here = here.saturating_sub(paid) + bytes;
            most = most.max(here);
            last = *at;
        }
        most
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_window_has_more_than_the_rate_and_the_burst(
        rate in rates(),
        lanes in 1_usize..64,
        turns in prop::collection::vec((0_u64..60_000, 0_u64..32_768, 0_u64..40, 0_usize..4), 20..400),
    ) {
        let mut world = Lanes::new(rate, lanes);
        let (draw, mut largest) = (bucket(rate).quantum(START), 0);
        for (late, extra, idle, beside) in turns {
            // Now and then nobody wants anything for up to a minute.
            if idle == 0 {
                world.now = world.now + Duration::from_millis(late);
            }
            world.turn(Duration::from_micros(late), extra);
            // Others were let through with it, and draw although it has drawn.
            for _ in 0..beside.min(lanes - 1) {
                let bytes = world.bucket.quantum(world.now) + extra;
                world.bucket.debit(world.now, bytes);
                world.log.push((world.now, bytes));
            }
            largest = largest.max(draw + extra);
        }
        let burst = Rate::per_second(rate).bytes_in(CREDIT) + lanes.min(4) as u64 * largest;
        let excess = world.excess(rate);
        // A byte for each rounding down in this very sum.
        prop_assert!(excess <= burst + world.log.len() as u64, "{excess} of {burst}");
    }

    #[test]
    fn backlogged_lanes_get_the_rate_and_equal_shares(
        rate in rates(),
        lanes in 1_usize..33,
        seed in prop::collection::vec((0_u64..20_000, 0_u64..16_384), 50),
    ) {
        let mut world = Lanes::new(rate, lanes);
        let mut steps = seed.iter().cycle();
        while world.time() < 20 * SEC {
            let (late, extra) = steps.next().expect("it is endless");
            world.turn(Duration::from_micros(*late), *extra);
        }
        let most = Rate::per_second(rate).bytes_in(world.time());
        let largest = world.bucket.quantum(world.now) + 16_384;
        let (total, waits) = (world.total(), world.waits);
        prop_assert!(total >= most / 100 * 97, "{total} of {most}");
        prop_assert!(total <= most + most / 100 + 2 * largest, "{total} of {most}");
        prop_assert!(waits <= 20 * 1_000 / 5 + 1, "{waits} waits in 20 s");
        let (least, best) = (world.drawn.iter().min(), world.drawn.iter().max());
        let draws = world.log.len() / lanes + 1;
        // Each has drawn as often as any other, or once less; only what a draw brings differs.
        let (least, best) = (*least.expect("a lane"), *best.expect("a lane"));
        // A draw that comes late brings what was saved up until then.
        let late = Rate::per_second(rate).bytes_in(Duration::from_millis(20));
        let apart = draws as u64 * (16_384 + late) + largest;
        prop_assert!(best - least <= apart, "{least} and {best} in {draws} draws each");
    }

    #[test]
    fn a_change_never_makes_a_wait_longer_and_helps_at_once(
        old in rates(),
        new in rates(),
        bytes in 0_u64..4_000_000,
        after in 0_u64..500_000,
    ) {
        let mut bucket = bucket(old);
        bucket.debit(START, bytes);
        let now = START + Duration::from_micros(after);
        let before = bucket.ready_at(now);
        bucket.set_rate(now, Some(Rate::per_second(new)));
        let ready = bucket.ready_at(now);
        prop_assert!(ready <= before, "{ready:?} after {before:?}");
        let owed = Rate::per_second(old).bytes_in(before.since(now));
        let fair = Rate::per_second(new.max(old)).time_for(owed) + WAIT_MIN;
        prop_assert!(ready.since(now) <= fair, "{ready:?}");
        // And from then on the new rate holds.
        bucket.debit(ready, new);
        let next = bucket.ready_at(ready).since(ready);
        prop_assert!(next + CREDIT + Duration::from_micros(1) >= SEC && next <= SEC, "{next:?}");
    }

    #[test]
    fn rates_that_change_all_the_time_are_kept_on_the_whole(
        steps in prop::collection::vec((rates(), 50_u64..3_000), 1..20),
    ) {
        let mut world = Lanes::new(steps[0].0, 8);
        let (mut allowed, mut most, mut least) = (0, 0, u64::MAX);
        for (rate, millis) in &steps {
            let (from, until) = (world.now, world.now + Duration::from_millis(*millis));
            world.bucket.set_rate(from, Some(Rate::per_second(*rate)));
            while world.now < until {
                world.turn(Duration::from_millis(1), 0);
            }
            allowed += Rate::per_second(*rate).bytes_in(world.now.since(from));
            most = most.max(*rate);
            least = least.min(*rate);
        }
        // Each change may forgive what is owed, which is one draw, and the credit.
        let slack = (steps.len() as u64 + 1) * (DRAW_MAX + Rate::per_second(most).bytes_in(CREDIT));
        prop_assert!(world.total() <= allowed + slack, "{} of {allowed}", world.total());
        prop_assert!(world.total() + slack >= allowed, "{} of {allowed}", world.total());
    }
}

#[test]
fn nothing_is_lost_by_rounding() {
    // A byte at 3 B/s costs a third of a second: 333 333 µs and a rest that must not be dropped.
    let (mut one, mut many) = (bucket(3), bucket(3));
    one.debit(START, 90);
    for _ in 0..90 {
        many.debit(START, 1);
    }
    assert_eq!(one.ready_at(START), START + 30 * SEC);
    assert_eq!(many.ready_at(START), one.ready_at(START));
    let mut fast = bucket(1_000_000_007);
    for _ in 0..1_000_000 {
        fast.debit(START, 1_000);
    }
    let wait = fast.ready_at(START).since(START);
    assert!(
        wait >= Duration::from_micros(999_999) && wait <= SEC,
        "{wait:?}"
    );
}

#[test]
fn idle_time_is_worth_a_tenth_of_a_second_and_a_beginning_nothing() {
    let mut idle = bucket(1_000_000);
    let now = START + 3_600 * SEC;
    idle.debit(now, 100_000);
    assert_eq!(idle.ready_at(now), now, "the credit is spent, and no more");
    idle.debit(now, 100_000);
    assert_eq!(idle.ready_at(now), now + CREDIT);
    let mut fresh = bucket(1_000_000);
    fresh.debit(START, 100_000);
    assert_eq!(fresh.ready_at(START), START + CREDIT);
}

#[test]
fn asking_costs_nothing() {
    let mut bucket = bucket(1_000);
    bucket.debit(START, 5_000);
    for _ in 0..1_000 {
        assert_eq!(bucket.ready_at(START), START + 5 * SEC);
    }
}

#[test]
fn a_debt_is_bounded_and_no_input_overflows() {
    let mut bucket = bucket(1);
    bucket.debit(START, u64::MAX);
    assert_eq!(bucket.ready_at(START), START + Bucket::DEBT_MAX);
    let mut widest = Bucket::new(Timestamp::NEVER, Some(Rate::per_second(u64::MAX)));
    widest.debit(Timestamp::NEVER, u64::MAX);
    widest.debit(Timestamp::ZERO, u64::MAX);
    widest.set_rate(Timestamp::ZERO, Some(Rate::per_second(0)));
    assert_eq!(widest.rate(), Some(Rate::per_second(1)), "never is no rate");
    assert!(widest.ready_at(Timestamp::ZERO) <= Timestamp::ZERO + Bucket::DEBT_MAX);
}

#[test]
fn without_a_rate_there_is_no_limit_and_no_memory_of_one() {
    let mut bucket = bucket(1_000);
    bucket.debit(START, 50_000);
    bucket.set_rate(START, None);
    assert_eq!(
        (bucket.ready_at(START), bucket.quantum(START)),
        (START, u64::MAX)
    );
    bucket.debit(START, 1 << 40);
    bucket.set_rate(START, Some(Rate::per_second(1_000)));
    assert_eq!(
        bucket.ready_at(START),
        START,
        "what nobody counted is not owed"
    );
}

#[test]
fn a_draw_suits_the_rate() {
    for (rate, bytes) in [
        (1, 2 * 1024),
        (50_000, 2 * 1024),
        (500_000, 10_000),
        (5_000_000, 100_000),
        (100_000_000, 256 * 1024),
        (1_000_000_000, 256 * 1024),
    ] {
        assert_eq!(bucket(rate).quantum(START), bytes, "at {rate} B/s");
    }
}

#[test]
fn at_a_high_rate_many_draws_follow_one_wait() {
    let mut world = Lanes::new(1_000_000_000, 8);
    while world.time() < SEC {
        world.turn(Duration::ZERO, 0);
    }
    let (draws, waits) = (world.log.len(), world.waits);
    assert!(
        waits <= 200 && draws > 15 * waits as usize,
        "{draws} draws, {waits} waits"
    );
}
