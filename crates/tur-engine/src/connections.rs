//! Where connections with many streams run: on the data thread, beside the downloads; and how many streams that will be.

use tur_core::port::Session as _;
use tur_net::{HttpSession, HttpTransport, Spawner};

use crate::sessions::Rooms;

/// Runs what drives a connection on the runtime where it is opened.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine owns the runtime that a connection lives on"
)]
pub(crate) fn spawner() -> Spawner {
    // The handle is dropped: a driver ends with its session.
    Spawner::new(|driver| drop(tokio::spawn(driver)))
}

/// What is known of sessions before there are any.
pub(crate) fn rooms(transport: &HttpTransport) -> Rooms {
    let transport = transport.clone();
    Box::new(move |origin| transport.room(origin))
}

/// What a session says of that, once there is one.
pub(crate) fn room_of(session: &HttpSession) -> usize {
    session.capacity()
}
