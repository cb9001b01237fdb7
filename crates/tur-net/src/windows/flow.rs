//! How many bytes of a connection are on their way at once: its best rate times its shortest round trip.
//!
//! Read [`Flow`]. It sends nothing of its own: a request and the head of its answer are a round trip (the time that the
//! server thinks makes it longer, and a window then a little too large).

use std::time::Duration;

/// The measurement of one connection. Times are ages of the connection.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    trip: Option<Duration>,
    /// Bytes so far.
    bytes: u64,
    /// The best rate of a stretch of time, in bytes per second.
    rate: u64,
    /// When the stretch that is being measured began, and what had come by then.
    since: Option<(Duration, u64)>,
}

impl Flow {
    /// A head came so long after its request.
    pub(crate) fn answered(&mut self, trip: Duration) {
        self.trip = Some(self.trip.map_or(trip, |shortest| shortest.min(trip)));
    }

    /// Bytes have come.
    pub(crate) fn received(&mut self, now: Duration, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        let Some((began, before)) = self.since else {
            self.since = Some((now, self.bytes));
            return;
        };
        let Some(trip) = self.trip else { return };
        let took = now.saturating_sub(began);
        if took >= STRETCH_MIN.max(trip * STRETCH_TRIPS) {
            let came = u128::from(self.bytes - before) * 1_000_000;
            let rate = came / took.as_micros().max(1);
            self.rate = self.rate.max(u64::try_from(rate).unwrap_or(u64::MAX));
            self.since = Some((now, self.bytes));
        }
    }

    /// Nothing is asked for just now: what comes next is another stretch.
    pub(crate) fn rests(&mut self) {
        self.since = None;
    }

    /// Bytes on their way at once; `None` until so many came that slow start is over.
    pub(crate) fn product(&self) -> Option<u32> {
        let trip = self.trip.filter(|_| self.bytes >= BYTES_MIN)?;
        let bytes = u128::from(self.rate) * trip.as_micros() / 1_000_000;
        (self.rate > 0).then(|| u32::try_from(bytes).unwrap_or(u32::MAX))
    }
}

/// A stretch has so many round trips: what is sent in bursts of one round trip is seen as one rate.
const STRETCH_TRIPS: u32 = 4;
/// No shorter stretch says anything.
const STRETCH_MIN: Duration = Duration::from_millis(100);
/// Less than this may come within slow start, and tells what was asked for, not what the path can bring.
const BYTES_MIN: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_product_is_the_best_rate_times_the_shortest_trip() {
        let mut flow = Flow::default();
        flow.answered(ms(80));
        flow.answered(ms(50));
        flow.answered(ms(300));
        for tick in 0..100 {
            assert_eq!(flow.product().is_some(), tick > 83, "{tick}");
            // 10 MB/s, and a pause that is no part of it.
            flow.received(ms(10 * tick), 100_000);
        }
        flow.rests();
        flow.received(ms(60_000), 100_000);
        let product = flow.product().expect("enough came");
        assert!((490_000..=510_000).contains(&product), "{product}");
    }

    #[test]
    fn a_burst_is_no_rate() {
        let mut flow = Flow::default();
        flow.answered(ms(100));
        flow.received(ms(0), 1);
        // All of a round trip at once, four times.
        for trip in 1..=4 {
            flow.received(ms(100 * trip), 4_000_000);
        }
        assert_eq!(flow.product(), Some(4_000_000));
    }

    #[test]
    fn nothing_is_said_without_a_trip_or_with_little() {
        let mut flow = Flow::default();
        for tick in 0..100 {
            flow.received(ms(tick * 100), 1 << 20);
        }
        assert_eq!(flow.product(), None);
        let mut flow = Flow::default();
        flow.answered(ms(1));
        flow.received(ms(0), 1 << 20);
        flow.received(ms(500), 1 << 20);
        assert_eq!(flow.product(), None);
    }
}
