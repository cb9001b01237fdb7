//! How a transport lets a connection run by itself: through whoever owns the runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A future that drives one connection, or the UDP socket of many. It ends by itself: when the session is dropped, or the
/// peer closes; that of a socket when its transport and the last connection are gone.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what drives connections with many streams, which must move while nobody awaits one of them. Clones are the same.
///
/// It is called inside [`Transport::open`](tur_core::port::Transport::open), on the runtime that polls it, and is to let
/// the driver run on a tokio runtime with I/O and time, without waiting for it. A driver that is dropped closes its
/// connection. Nothing is handed to it for HTTP/1.1; for HTTP/3, three of them: quinn's for the socket and for the
/// connection, and one for the streams that carry no request.
#[derive(Clone)]
pub struct Spawner(Arc<dyn Fn(Driver) + Send + Sync>);

impl Spawner {
    /// Runs drivers with `spawn`, such as `|driver| drop(tokio::spawn(driver))`.
    #[must_use]
    pub fn new(spawn: impl Fn(Driver) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    pub(crate) fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        (self.0)(Box::pin(driver));
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spawner").finish_non_exhaustive()
    }
}
