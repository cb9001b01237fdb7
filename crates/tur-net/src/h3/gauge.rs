//! How much the peer may send ahead on a connection, by what the connection was seen to bring.
//!
//! Read [`Gauge`]. It measures as over HTTP/2, and says when the window is to be larger: QUIC can change that of a connection
//! while it runs, and streams are let have all of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tur_core::port::Window;

use crate::h2::{Flow, Measuring, Share};

/// The measurement of one connection, and its share of the memory that peers may fill.
pub(super) struct Gauge {
    born: Instant,
    state: Mutex<State>,
    /// To say what was on its way at once; `None` on a connection that is to be slow.
    measuring: Option<Measuring>,
    /// The largest window, in bytes.
    most: u32,
}

struct State {
    flow: Flow,
    window: Share,
}

impl Gauge {
    /// Of a connection that begins, with `trip` for a round trip.
    pub(super) fn new(
        (window, most): (Share, u32),
        measuring: Option<Measuring>,
        trip: Duration,
    ) -> Self {
        let mut flow = Flow::default();
        flow.answered(trip);
        Self {
            born: now(),
            state: Mutex::new(State { flow, window }),
            measuring,
            most,
        }
    }

    /// A head came, and a round trip takes so long.
    pub(super) fn answered(&self, trip: Duration) {
        self.state().flow.answered(trip);
    }

    /// Bytes have come. Says how large the window is to be, if it is to be another one.
    pub(super) fn received(&self, bytes: u64) -> Option<u32> {
        let age = now().saturating_duration_since(self.born);
        let mut state = self.state();
        state.flow.received(age, bytes);
        let product = state.flow.product()?;
        let grown = state.window.grow(product, self.most)?;
        tracing::debug!(window = grown, product, "the window grows");
        Some(grown)
    }

    /// A request has ended; `idle` if it was the last one that ran.
    pub(super) fn ended(&self, idle: bool) {
        let mut state = self.state();
        if idle {
            state.flow.rests();
        }
        if let (Some(measuring), Some(bytes)) = (&self.measuring, state.flow.product()) {
            measuring.tell(bytes);
        }
    }

    /// The window, what it was chosen by, and what was measured.
    pub(super) fn facts(&self) -> Window {
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

#[expect(
    clippy::disallowed_methods,
    reason = "the age of a connection is measured where it lives; no decision of the engine is made of it"
)]
fn now() -> Instant {
    Instant::now()
}
