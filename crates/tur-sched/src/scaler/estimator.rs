//! Measures what the lanes of an origin bring together, and how much they differ.
//!
//! Read [`Estimator`]. It divides bytes by the time in which lanes were busy with them, so that reports which come in
//! batches, and lanes that wait for a limiter or a disk, do not look like a slow network.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use tur_core::{Rate, Timestamp};

use crate::Asker;

/// A lane that is silent for longer than this, and than lanes are now and then, has brought nothing in that time.
const SILENCE: Duration = Duration::from_millis(250);
/// Reports come every 50 ms where bytes flow: one that covers more than this tells of a silence.
const GAP_MIN: Duration = Duration::from_millis(100);
/// A silence is remembered for so long after it ended.
const GAP_MEMORY: Duration = Duration::from_secs(10);
/// Longer silences are stalls, and not in the nature of the origin.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Samples that the variation of goodput is taken of.
const SAMPLES_MAX: usize = 10;
/// A fall of goodput to less than this share is a change of the path: what was learned about it is void.
const FALL: f64 = 0.6;

/// One lane within a window.
#[derive(Clone, Copy, Debug)]
struct Meter {
    bytes: u64,
    busy: Duration,
    last: Timestamp,
}

/// What has come since a window began.
#[derive(Clone, Debug)]
pub(crate) struct Estimator {
    since: Timestamp,
    lanes: BTreeMap<Asker, Meter>,
    /// The longest silence of a lane, and when it ended.
    gap: (Duration, Timestamp),
}

impl Estimator {
    /// An empty window that begins at `now`.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            since: now,
            lanes: BTreeMap::new(),
            gap: (Duration::ZERO, now),
        }
    }

    /// A new window begins; what was measured is forgotten. Windows decay by this alone: there is no all-time peak.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        *self = Self {
            gap: self.gap,
            ..Self::new(now)
        };
    }

    /// The silence that is in the nature of the origin: one that paces its bodies sends bursts with silence between, and
    /// only a window over several of them tells its rate.
    pub(crate) fn gap(&self, now: Timestamp) -> Duration {
        let open = self.lanes.values().map(|meter| meter.last).max();
        let open = open.map_or(Duration::ZERO, |last| now.since(last).min(GAP_MAX));
        let longest = self.usual(now).max(open);
        if longest < GAP_MIN {
            Duration::ZERO
        } else {
            longest
        }
    }

    /// The longest silence that ended lately.
    fn usual(&self, now: Timestamp) -> Duration {
        if now.since(self.gap.1) > GAP_MEMORY {
            Duration::ZERO
        } else {
            self.gap.0
        }
    }

    /// When the window began.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// A lane was busy with `bytes` for `busy`, up to `now`. What was before the window does not count.
    pub(crate) fn landed(&mut self, now: Timestamp, lane: Asker, bytes: u64, busy: Duration) {
        if busy > GAP_MIN && (busy >= self.gap.0 || now.since(self.gap.1) > GAP_MEMORY) {
            self.gap = (busy.min(GAP_MAX), now);
        }
        let within = busy.min(now.since(self.since));
        if busy.is_zero() || within.is_zero() {
            return;
        }
        let share = u128::from(bytes) * within.as_micros() / busy.as_micros().max(1);
        let meter = self.lanes.entry(lane).or_insert(Meter {
            bytes: 0,
            busy: Duration::ZERO,
            last: now,
        });
        meter.bytes = meter
            .bytes
            .saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
        meter.busy += within;
        meter.last = now;
    }

    /// Forgets the lanes of a transfer that has gone.
    pub(crate) fn forget(&mut self, transfer: u64) {
        self.lanes.retain(|lane, _| lane.transfer != transfer);
    }

    /// What each lane that has brought something brings.
    pub(crate) fn rates(&self, now: Timestamp) -> impl Iterator<Item = Rate> + '_ {
        self.lanes.values().filter_map(move |meter| {
            let silence = now.since(meter.last);
            let idle = if silence > SILENCE.max(self.usual(now)) {
                silence
            } else {
                Duration::ZERO
            };
            Rate::of(meter.bytes, meter.busy + idle)
        })
    }

    /// What all lanes bring together.
    pub(crate) fn goodput(&self, now: Timestamp) -> Rate {
        let sum = self.rates(now).map(Rate::bytes_per_second);
        Rate::per_second(sum.fold(0, u64::saturating_add))
    }

    /// The median of the lanes' rates.
    pub(crate) fn typical(&self, now: Timestamp) -> Option<Rate> {
        let mut rates: alloc::vec::Vec<Rate> = self.rates(now).collect();
        rates.sort_unstable();
        rates.get(rates.len() / 2).copied()
    }

    /// Lanes that have brought something.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Coefficient of variation of the lanes' rates: standard deviation over mean. `None` for fewer than two.
    pub(crate) fn variation(&self, now: Timestamp) -> Option<f64> {
        let rates: alloc::vec::Vec<f64> = self
            .rates(now)
            .map(|rate| number(rate.bytes_per_second()))
            .collect();
        variation(&rates)
    }
}

/// Goodput of the last seconds, smoothed the more, the less it varies by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    samples: VecDeque<f64>,
    pub(crate) rate: f64,
}

impl Recent {
    /// Everything before is forgotten.
    pub(crate) fn restart(&mut self, rate: f64) {
        self.samples.clear();
        self.samples.push_back(rate);
        self.rate = rate;
    }

    /// Adds a sample. True if it shows that the path is not what it was: then the past is forgotten.
    pub(crate) fn add(&mut self, sample: f64) -> bool {
        if sample < FALL * self.rate || sample * FALL > self.rate {
            self.restart(sample);
            return true;
        }
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        let cv = variation(self.samples.make_contiguous()).unwrap_or(0.0);
        let weight = (0.5 - 0.4 * cv).clamp(0.1, 0.5);
        self.rate += weight * (sample - self.rate);
        false
    }
}

/// Coefficient of variation; `None` for fewer than two numbers or a mean of nothing.
pub(crate) fn variation(numbers: &[f64]) -> Option<f64> {
    let n = number(u64::try_from(numbers.len()).unwrap_or(u64::MAX));
    let mean = numbers.iter().sum::<f64>() / n;
    let square = numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    (numbers.len() >= 2 && mean >= 1.0).then(|| libm::sqrt(square) / mean)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates are compared to a few per cent"
)]
pub(crate) fn number(n: u64) -> f64 {
    n as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a rate is not negative"
)]
pub(crate) fn as_u64(x: f64) -> u64 {
    x as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LaneId;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(ms * 1_000)
    }

    fn lane(n: u16) -> Asker {
        Asker {
            transfer: 1,
            lane: LaneId(n),
        }
    }

    #[test]
    fn batched_reports_of_lanes_add_up_to_the_rate() {
        let mut estimator = Estimator::new(at(0));
        for n in 0..4 {
            for beat in 1..=4 {
                estimator.landed(at(50 * beat + u64::from(n)), lane(n), 50_000, 50 * MS);
            }
        }
        assert_eq!(estimator.goodput(at(204)), Rate::per_second(4_000_000));
        assert_eq!(estimator.variation(at(204)), Some(0.0));
    }

    #[test]
    fn what_came_before_the_window_counts_in_part() {
        let mut estimator = Estimator::new(at(75));
        estimator.landed(at(100), lane(0), 100_000, 100 * MS);
        assert_eq!(estimator.goodput(at(100)), Rate::per_second(1_000_000));
        assert_eq!(estimator.lanes[&lane(0)].bytes, 25_000);
    }

    #[test]
    fn a_lane_that_falls_silent_fades() {
        let mut estimator = Estimator::new(at(0));
        estimator.landed(at(100), lane(0), 100_000, 100 * MS);
        assert_eq!(estimator.goodput(at(300)), Rate::per_second(1_000_000));
        assert_eq!(estimator.goodput(at(1_000)), Rate::per_second(100_000));
    }

    #[test]
    fn time_that_a_lane_was_not_busy_does_not_count() {
        let mut estimator = Estimator::new(at(0));
        estimator.landed(at(100), lane(0), 10_000, 10 * MS);
        estimator.landed(at(200), lane(0), 10_000, 10 * MS);
        assert_eq!(estimator.goodput(at(200)), Rate::per_second(1_000_000));
    }

    #[test]
    fn variation_is_that_of_the_population() {
        assert_eq!(variation(&[1.0]), None);
        assert_eq!(variation(&[0.0, 0.0]), None);
        let cv = variation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("eight numbers");
        assert!((cv - 0.4).abs() < 1e-9, "{cv}");
    }
}
