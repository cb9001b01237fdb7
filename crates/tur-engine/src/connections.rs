//! Where connections with many streams run: on the data thread, beside the downloads.

use tur_net::Spawner;

/// Runs what drives a connection on the runtime where it is opened.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine owns the runtime that a connection lives on"
)]
pub(crate) fn spawner() -> Spawner {
    // The handle is dropped: a driver ends with its session.
    Spawner::new(|driver| drop(tokio::spawn(driver)))
}
