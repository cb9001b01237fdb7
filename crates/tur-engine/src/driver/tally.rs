//! What a download counts for its report.

use std::collections::BTreeMap;
use std::time::Duration;

use tur_core::{Rate, Timestamp};
use tur_sched::Decision;

use crate::Metrics;

/// A window of the displayed speed.
const WINDOW: Duration = Duration::from_millis(400);

/// Counts of one download.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) connections: u32,
    pub(super) requests: u32,
    pub(super) lanes_max: u16,
    pub(super) wasted: u64,
    pub(super) resumed: u64,
    /// What was spoken last.
    spoken: &'static str,
    carried: BTreeMap<&'static str, Carried>,
    pub(super) unverifiable: bool,
    pub(super) metrics: Metrics,
    /// Bytes that were on their way at once on a connection, as was noted last.
    pub(super) product: Option<u32>,
    /// Lanes that may work, as last decided.
    pub(super) width: u16,
    meter: Meter,
}

/// What came over one protocol.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    bytes: u64,
    /// Of that, what came in a time that was measured, and that time, over all lanes.
    timed: u64,
    busy: Duration,
}

/// A speed for people.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    at: Timestamp,
    bytes: u64,
    rate: Option<Rate>,
}

impl Tally {
    /// The displayed speed of the whole.
    pub(super) fn rate(&mut self, now: Timestamp, landed: u64) -> Rate {
        self.meter.rate(now, landed)
    }

    /// Bytes that are there before the first one is received count for nothing.
    pub(super) fn start(&mut self, now: Timestamp, landed: u64) {
        self.meter = Meter::new(now, landed);
    }

    /// A request is sent.
    pub(super) fn request(&mut self, protocol: &'static str, reused: bool) {
        self.requests += 1;
        let counts = self.metrics.protocols.entry(protocol).or_default();
        if reused {
            counts.reused += 1;
        } else {
            counts.fresh += 1;
        }
    }

    /// A connection was made.
    pub(super) fn connection(&mut self, protocol: &'static str) {
        self.connections += 1;
        let counts = self.metrics.protocols.entry(protocol).or_default();
        counts.connections += 1;
    }

    /// A lane has a session.
    pub(super) fn speaks(&mut self, protocol: &'static str) {
        self.spoken = protocol;
    }

    /// A lane has brought bytes, in that time if it was measured.
    pub(super) fn carried(&mut self, protocol: &'static str, bytes: u64, busy: Option<Duration>) {
        let carried = self.carried.entry(protocol).or_default();
        carried.bytes += bytes;
        if let Some(busy) = busy {
            carried.timed += bytes;
            carried.busy += busy;
        }
    }

    /// The protocol that has carried most; the last one, if none has carried anything.
    pub(super) fn protocol(&self) -> &'static str {
        let most = self.carried.iter().max_by_key(|(_, carried)| carried.bytes);
        most.filter(|(_, carried)| carried.bytes > 0)
            .map_or(self.spoken, |(protocol, _)| protocol)
    }

    /// The rates of a lane over HTTP/3 and over TCP, as far as enough came to tell. They are measured anew from now on: the
    /// next origin is another one.
    pub(super) fn take_rates(&mut self) -> (Option<Rate>, Option<Rate>) {
        let rate = |http3: bool| {
            let all = self.carried.iter();
            let all = all.filter(|(protocol, _)| (**protocol == HTTP3) == http3);
            let sum = all.fold((0, Duration::ZERO), |(bytes, busy), (_, carried)| {
                (bytes + carried.timed, busy + carried.busy)
            });
            let (bytes, busy) = sum;
            (bytes >= TELLING).then(|| Rate::of(bytes, busy)).flatten()
        };
        let rates = (rate(true), rate(false));
        for carried in self.carried.values_mut() {
            (carried.timed, carried.busy) = (0, Duration::ZERO);
        }
        rates
    }

    /// The machine has decided something.
    pub(super) fn decision(&mut self, decision: &Decision) {
        let metrics = &mut self.metrics;
        match decision {
            Decision::Stole { len, .. } => {
                metrics.steals.tails += 1;
                metrics.steals.bytes += len;
            }
            Decision::Revoked { len, .. } => {
                metrics.steals.revoked += 1;
                metrics.steals.bytes += len;
            }
            Decision::Retrying { why, .. } => metrics.retry(why),
            Decision::Width { lanes } => {
                let before = self.width.max(1);
                metrics.lanes_added += u64::from(lanes.saturating_sub(before));
                metrics.lanes_dropped += u64::from(before.saturating_sub(*lanes));
                self.width = *lanes;
            }
            _ => {}
        }
    }

    /// The metrics, with what else was counted.
    pub(super) fn metrics(&mut self) -> &Metrics {
        self.metrics.wasted_bytes = self.wasted;
        self.metrics.resumed_bytes = self.resumed;
        self.metrics.lanes_max = self.lanes_max;
        for (protocol, carried) in &self.carried {
            let counts = self.metrics.protocols.entry(protocol).or_default();
            counts.bytes = carried.bytes;
        }
        &self.metrics
    }
}

impl Meter {
    /// A meter that has seen `bytes` come before.
    pub(super) fn new(now: Timestamp, bytes: u64) -> Self {
        Self {
            at: now,
            bytes,
            rate: None,
        }
    }

    /// Goes on at another place: the speed stays as it was shown.
    pub(super) fn go_on(&mut self, now: Timestamp, bytes: u64) {
        (self.at, self.bytes) = (now, bytes);
    }

    /// An average over windows, of which the last counts most.
    pub(super) fn rate(&mut self, now: Timestamp, landed: u64) -> Rate {
        if landed < self.bytes {
            *self = Self::new(now, landed);
        }
        if now.since(self.at) >= WINDOW
            && let Some(sample) = Rate::of(landed - self.bytes, now.since(self.at))
        {
            let old = self.rate.unwrap_or(sample).bytes_per_second();
            let rate = Rate::per_second(old / 2 + sample.bytes_per_second() / 2);
            *self = Self {
                at: now,
                bytes: landed,
                rate: Some(rate),
            };
        }
        let early = Rate::of(landed - self.bytes, now.since(self.at)).unwrap_or_default();
        self.rate.unwrap_or(early)
    }
}

/// The word for it in the facts of a session.
const HTTP3: &str = "h3";
/// Bytes that a rate is told of: what a slow start brings is no rate.
const TELLING: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tur_core::Fault;
    use tur_sched::LaneId;

    #[test]
    fn the_protocol_is_the_one_that_carried_most() {
        let mut tally = Tally::default();
        tally.speaks("h1");
        assert_eq!(tally.protocol(), "h1");
        let second = Duration::from_secs(1);
        tally.carried("h2", TELLING, Some(second));
        tally.carried("h1", TELLING, Some(second));
        tally.carried("h3", TELLING - 1, Some(second));
        tally.carried("h3", 2, None);
        assert_eq!(tally.protocol(), "h3");
        let both = Some(Rate::per_second(TELLING));
        assert_eq!(tally.take_rates(), (None, both), "one byte too few");
        assert_eq!(tally.take_rates(), (None, None));
        assert_eq!(tally.protocol(), "h3");
    }

    #[test]
    fn decisions_are_counted_by_kind() {
        let mut tally = Tally {
            width: 2,
            ..Tally::default()
        };
        let (from, lane) = (LaneId(1), LaneId(2));
        for decision in [
            Decision::Stole {
                from,
                at: 7,
                len: 30,
            },
            Decision::Stole {
                from,
                at: 5,
                len: 2,
            },
            Decision::Revoked { lane, len: 100 },
            Decision::Width { lanes: 6 },
            Decision::Width { lanes: 3 },
            Decision::Width { lanes: 4 },
            Decision::Retrying {
                lane,
                attempt: 1,
                after: Duration::ZERO,
                why: Fault::Lost(String::new()),
            },
            Decision::Stalled { lane },
        ] {
            tally.decision(&decision);
        }
        tally.request("h1", false);
        tally.request("h1", true);
        tally.request("h1", true);
        tally.connection("h1");
        let metrics = tally.metrics();
        let steals = metrics.steals;
        assert_eq!((steals.tails, steals.revoked, steals.bytes), (2, 1, 132));
        assert_eq!((metrics.lanes_added, metrics.lanes_dropped), (5, 3));
        assert_eq!(metrics.retries.get("lost"), Some(&1));
        assert_eq!((metrics.requests(), metrics.reused()), (3, 2));
        let counts = metrics.protocols["h1"];
        assert_eq!((counts.connections, counts.fresh, counts.reused), (1, 1, 2));
    }

    /// From lease to lease a lane writes at places far apart: its speed is not that of the jump.
    #[test]
    fn a_meter_that_goes_on_elsewhere_keeps_its_speed() {
        let at = |ms| Timestamp::ZERO + Duration::from_millis(ms);
        let mut meter = Meter::new(at(0), 0);
        assert_eq!(meter.rate(at(400), 400), Rate::per_second(1_000));
        meter.go_on(at(400), 1_000_000);
        assert_eq!(meter.rate(at(600), 1_000_000), Rate::per_second(1_000));
        assert_eq!(meter.rate(at(800), 1_000_400), Rate::per_second(1_000));
        meter.go_on(at(800), 5);
        assert_eq!(meter.rate(at(1_200), 5), Rate::per_second(500));
    }
}
