//! What a download counts for its report.

use std::time::Duration;

use tur_core::{Rate, Timestamp};

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
    pub(super) protocol: &'static str,
    pub(super) unverifiable: bool,
    meter: Meter,
}

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    at: Timestamp,
    bytes: u64,
    rate: Option<Rate>,
}

impl Tally {
    /// The displayed speed: an average over windows, of which the last counts most.
    pub(super) fn rate(&mut self, now: Timestamp, landed: u64) -> Rate {
        let meter = &mut self.meter;
        if landed < meter.bytes {
            *meter = Meter {
                at: now,
                bytes: landed,
                rate: None,
            };
        }
        if now.since(meter.at) >= WINDOW
            && let Some(sample) = Rate::of(landed - meter.bytes, now.since(meter.at))
        {
            let old = meter.rate.unwrap_or(sample).bytes_per_second();
            let rate = Rate::per_second(old / 2 + sample.bytes_per_second() / 2);
            *meter = Meter {
                at: now,
                bytes: landed,
                rate: Some(rate),
            };
        }
        let early = Rate::of(landed - meter.bytes, now.since(meter.at)).unwrap_or_default();
        meter.rate.unwrap_or(early)
    }

    /// Bytes that are there before the first one is received count for nothing.
    pub(super) fn start(&mut self, now: Timestamp, landed: u64) {
        self.meter = Meter {
            at: now,
            bytes: landed,
            rate: None,
        };
    }
}
