//! What one connection is seen to bring, and how much its peer may send ahead.
//!
//! Read [`Gauge`]. How much that is over HTTP/2 was said when the connection began. QUIC can change it while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tur_core::port::Window;

use super::Share;
use super::flow::Flow;
use super::products::Measuring;

/// The measurement of one connection, and its share of the memory that peers may fill.
pub(crate) struct Gauge {
    born: Instant,
    state: Mutex<State>,
    /// To say what was on its way at once; `None` on a connection that is to be slow.
    measuring: Option<Measuring>,
}

struct State {
    flow: Flow,
    window: Share,
    /// Age of the connection when something came last.
    heard: Duration,
}

impl Gauge {
    /// Of a connection that begins.
    pub(crate) fn new(window: Share, measuring: Option<Measuring>) -> Self {
        let flow = Flow::default();
        Self {
            born: now(),
            state: Mutex::new(State {
                flow,
                window,
                heard: Duration::ZERO,
            }),
            measuring,
        }
    }

    /// How long the connection has been there.
    pub(crate) fn age(&self) -> Duration {
        now().saturating_duration_since(self.born)
    }

    /// The window of the connection, in bytes.
    pub(crate) fn window(&self) -> u32 {
        self.state().window.bytes()
    }

    /// A round trip takes so long.
    pub(crate) fn answered(&self, trip: Duration) {
        self.state().flow.answered(trip);
    }

    /// Bytes have come.
    pub(crate) fn received(&self, bytes: u64) {
        let age = self.age();
        let mut state = self.state();
        state.heard = age;
        state.flow.received(age, bytes);
    }

    /// True if nothing has come for so long that one stream, which brings nothing, is not the only one: it is the connection.
    pub(crate) fn is_silent(&self) -> bool {
        let age = self.age();
        age.saturating_sub(self.state().heard) >= SILENCE
    }

    /// How large the window is to be from now on, if it is to be another one.
    #[cfg(any(feature = "http3", test))]
    pub(crate) fn grow(&self) -> Option<u32> {
        let mut state = self.state();
        let product = state.flow.product()?;
        let grown = state.window.grow(product)?;
        tracing::debug!(window = grown, product, "the window grows");
        Some(grown)
    }

    /// A request has ended; `idle` if it was the last one that ran.
    pub(crate) fn ended(&self, idle: bool) {
        let mut state = self.state();
        if idle {
            state.flow.rests();
        }
        if let (Some(measuring), Some(bytes)) = (&self.measuring, state.flow.product()) {
            measuring.tell(bytes);
        }
    }

    /// The window, what it was chosen by, and what was measured.
    pub(crate) fn facts(&self) -> Window {
        let state = self.state();
        Window {
            bytes: state.window.bytes(),
            source: state.window.source(),
            product: state.flow.product().filter(|_| self.measuring.is_some()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shorter than any time after which a stream is given up, and longer than pauses of a connection that brings something for
/// others.
const SILENCE: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "the age of a connection, and its silence, are measured where it lives"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use tur_core::port::WindowSource;
    use tur_core::{Origin, Scheme};

    use super::super::{Known, Products, Windows};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_brings_much_gets_a_larger_window_and_says_so() {
        let (windows, products) = (Windows::new(), Products::default());
        let origin = Origin {
            scheme: Scheme::Https,
            host: "h".to_owned(),
            port: 1,
        };
        let lanes = Some(15);
        let share = windows.share(
            32 << 20,
            Known {
                product: None,
                lanes,
            },
        );
        let gauge = Gauge::new(share, Some(products.measuring(&origin)));
        assert_eq!(gauge.window(), 4 << 20);
        gauge.answered(Duration::from_millis(100));
        for _ in 0..20 {
            assert_eq!(gauge.grow(), None, "nothing is known");
            tokio::time::advance(Duration::from_millis(10)).await;
            gauge.received(400_000);
        }
        for _ in 0..40 {
            tokio::time::advance(Duration::from_millis(10)).await;
            gauge.received(400_000);
        }
        assert!(!gauge.is_silent());
        tokio::time::advance(SILENCE).await;
        assert!(gauge.is_silent());
        gauge.received(1);
        assert!(!gauge.is_silent());
        // 40 MB/s at 100 ms.
        let facts = gauge.facts();
        let product = facts.product.expect("enough came");
        assert!((3_900_000..=4_100_000).contains(&product), "{product}");
        assert_eq!(facts.source, WindowSource::Default);
        assert_eq!(gauge.grow(), Some(product * 3));
        assert_eq!(gauge.facts().source, WindowSource::Measured);
        assert_eq!(products.of(&origin).product, None);
        gauge.ended(true);
        let told = products.of(&origin).product.map(|told| told.bytes);
        assert_eq!(told, Some(product));
    }
}
