//! The machine that a simulated client runs on: its way to the network, and how many sockets it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What a client's own machine allows. Shared by all clones of a transport.
#[derive(Debug)]
pub(super) struct Machine {
    away: AtomicBool,
    sockets_max: AtomicUsize,
    sockets: AtomicUsize,
    sockets_peak: AtomicUsize,
}

impl Default for Machine {
    /// On the network, with sockets without end.
    fn default() -> Self {
        Self {
            away: AtomicBool::new(false),
            sockets_max: AtomicUsize::new(usize::MAX),
            sockets: AtomicUsize::new(0),
            sockets_peak: AtomicUsize::new(0),
        }
    }
}

impl Machine {
    pub(super) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::SeqCst)
    }

    pub(super) fn set_sockets_max(&self, n: usize) {
        self.sockets_max.store(n, Ordering::SeqCst);
    }

    /// Sockets that exist now, and the most that there were at once.
    pub(super) fn sockets(&self) -> (usize, usize) {
        (
            self.sockets.load(Ordering::SeqCst),
            self.sockets_peak.load(Ordering::SeqCst),
        )
    }

    /// One more socket, until it is dropped; `None` if there are as many as there may be.
    pub(super) fn socket(self: &Arc<Self>) -> Option<Socket> {
        let max = self.sockets_max.load(Ordering::SeqCst);
        let more = |n: usize| (n < max).then_some(n + 1);
        let before = self
            .sockets
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .ok()?;
        self.sockets_peak.fetch_max(before + 1, Ordering::SeqCst);
        Some(Socket(Arc::clone(self)))
    }
}

/// A socket of the machine.
#[derive(Debug)]
pub(super) struct Socket(Arc<Machine>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::SeqCst);
    }
}
