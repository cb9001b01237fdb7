//! The scaler against origins that can be written in a line.

use std::vec::Vec;

use super::*;
use crate::Asker;
use crate::LaneId;

const MS: Duration = Duration::from_millis(1);
const MIB: u64 = 1 << 20;

/// An origin whose lanes bring what `rate` says of their number.
struct Origin {
    scaler: Scaler,
    now: Timestamp,
    /// Lanes that receive; new ones come after a set-up.
    streaming: u16,
    wanted: u16,
    useful: u16,
    allowed: u16,
    rate: fn(u16, Timestamp) -> u64,
    widths: Vec<u16>,
}

impl Origin {
    fn new(config: ScalerConfig, rate: fn(u16, Timestamp) -> u64) -> Self {
        Self {
            scaler: Scaler::new(config, Timestamp::ZERO),
            now: Timestamp::ZERO,
            streaming: 0,
            wanted: 1,
            useful: 1_000,
            allowed: u16::MAX,
            rate,
            widths: Vec::new(),
        }
    }

    fn tell(&mut self, event: ScalerEvent) {
        self.scaler.handle(self.now, event);
        while let Some(action) = self.scaler.poll_action() {
            if let ScalerAction::Width(n) = action {
                self.widths.push(n);
                self.wanted = n;
            }
        }
    }

    /// Lets `ms` pass in beats of 50 ms, in which every lane reports.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now = self.now + 50 * MS;
            let per_lane = (self.rate)(self.streaming, self.now) / u64::from(self.streaming.max(1));
            for n in 0..self.streaming {
                let lane = Asker {
                    transfer: 1,
                    lane: LaneId(n),
                };
                let (bytes, busy) = (per_lane / 20, 50 * MS);
                self.tell(ScalerEvent::Landed { lane, bytes, busy });
            }
            let refused = self.wanted.saturating_sub(self.allowed);
            self.streaming = self.wanted.min(self.allowed).min(self.useful);
            let (streaming, useful) = (self.streaming, self.useful);
            self.tell(ScalerEvent::Lanes { streaming, useful });
            for _ in 0..refused {
                self.tell(ScalerEvent::Refused);
            }
            if let Some(at) = self.scaler.next_wakeup()
                && at <= self.now
            {
                self.tell(ScalerEvent::Tick);
            }
            let next = self.scaler.next_wakeup();
            assert!(
                next.is_none_or(|at| at > self.now),
                "a tick that changes nothing: {:?}",
                self.scaler
            );
        }
    }
}

#[test]
fn a_cap_on_each_connection_is_climbed_to_the_ceiling() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, _| u64::from(n) * 4 * MIB);
    origin.run(2_000);
    assert_eq!(origin.widths, [1, 4, 8, 16, 32]);
    origin.run(60_000);
    assert_eq!(origin.scaler.width(), 32);
}

#[test]
fn one_lane_that_fills_the_path_stays_alone() {
    let mut origin = Origin::new(ScalerConfig::default(), |_, _| 100 * MIB);
    origin.run(2_000);
    assert_eq!(origin.widths, [1, 4, 1]);
    origin.run(120_000);
    let probes = origin.widths.len() - 3;
    assert!(probes <= 14, "{probes} changes in two minutes");
    assert_eq!(origin.scaler.measurements().lanes, 1);
}

#[test]
fn a_shared_limit_is_met_and_not_passed() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, _| {
        (u64::from(n) * 4).min(40) * MIB
    });
    origin.run(3_000);
    assert!(
        (10..=11).contains(&origin.scaler.width()),
        "{:?}",
        origin.widths
    );
    origin.run(30_000);
    assert!(
        (10..=12).contains(&origin.scaler.measurements().lanes),
        "{:?}",
        origin.widths
    );
}

#[test]
fn a_limit_of_the_origin_is_kept_and_tried_again_much_later() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, _| u64::from(n) * 4 * MIB);
    origin.allowed = 6;
    origin.run(5_000);
    assert_eq!(origin.scaler.width(), 6, "{:?}", origin.widths);
    assert_eq!(origin.scaler.measurements().limit, Some(6));
    origin.widths.clear();
    origin.run(50_000);
    assert_eq!(origin.widths, [], "not again within a minute");
    origin.allowed = 20;
    origin.run(120_000);
    assert!(origin.scaler.width() > 6, "{:?}", origin.widths);
}

#[test]
fn a_learned_width_is_where_it_begins() {
    let config = ScalerConfig {
        lanes_start: 16,
        ..ScalerConfig::default()
    };
    let mut origin = Origin::new(config, |n, _| (u64::from(n) * 4).min(64) * MIB);
    assert_eq!(origin.scaler.width(), 16);
    origin.run(20_000);
    assert_eq!(
        origin.scaler.measurements().lanes,
        16,
        "{:?}",
        origin.widths
    );
}

#[test]
fn a_path_that_changes_is_measured_anew() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, now| {
        let each = if now < Timestamp::from_micros(10_000_000) {
            8
        } else {
            1
        };
        (u64::from(n) * each).min(32) * MIB
    });
    origin.run(9_000);
    assert_eq!(origin.scaler.measurements().lanes, 4, "{:?}", origin.widths);
    origin.run(60_000);
    assert!(origin.scaler.width() > 16, "{:?}", origin.widths);
}

#[test]
fn a_pause_is_not_taken_for_a_slow_path() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, _| u64::from(n) * 4 * MIB);
    origin.run(3_000);
    assert_eq!(origin.scaler.width(), 32);
    origin.useful = 0;
    origin.run(60_000);
    origin.useful = 1_000;
    origin.run(10_000);
    assert_eq!(origin.scaler.width(), 32, "{:?}", origin.widths);
}

#[test]
fn bounds_that_the_user_sets_hold_at_once() {
    let mut origin = Origin::new(ScalerConfig::default(), |n, _| u64::from(n) * 4 * MIB);
    origin.run(3_000);
    origin.tell(ScalerEvent::AtMost(2));
    assert_eq!(origin.scaler.width(), 2);
    origin.run(30_000);
    assert_eq!(origin.scaler.width(), 2);
    let mut full = Origin::new(ScalerConfig::default(), |_, _| 100 * MIB);
    full.tell(ScalerEvent::AtLeast(8));
    full.run(30_000);
    assert!(full.scaler.width() >= 8);
}
