//! Sets up HTTP/2 on a connected stream.

use std::future::poll_fn;
use std::sync::Arc;

use ::h2::client::{Builder, Connection, SendRequest};
use bytes::Bytes;
use http::HeaderValue;
use tur_core::Fault;

use crate::stream::Stream;
use crate::windows::Gauge;
use crate::{NetConfig, Spawner};

use super::driver::{Driver, Metered};
use super::meter::MeterLimits;
use super::session::{H2Session, STREAMS_MAX};
use super::shared::{Shared, Terms};
use super::{faults, resets};

/// What a session is made of.
pub(crate) struct Opening<'a> {
    pub(crate) stream: Stream,
    pub(crate) config: &'a NetConfig,
    pub(crate) user_agent: HeaderValue,
    pub(crate) spawner: &'a Spawner,
    pub(crate) gauge: Gauge,
    pub(crate) terms: Terms,
}

/// Opens a session: the driver runs from now on. A peer that agreed to HTTP/2 is not waited for, so that the first request
/// need not wait a round trip; the driver ends the connection if its SETTINGS do not come within the connect limit. From any
/// other they are waited for here.
///
/// # Errors
/// `Lost`, or `ProtocolUnavailable` or `Malformed` if the peer speaks something else. The limit of time is the caller's.
pub(crate) async fn open(opening: Opening<'_>) -> Result<H2Session, Fault> {
    let config = opening.config;
    let limits = MeterLimits {
        head: config.head_limit,
        interim: config.interim_limit,
    };
    let waits = opening.terms.prior_knowledge;
    let shared = Shared::new(limits, opening.terms, opening.gauge);
    let wire = Metered::new(opening.stream, Arc::clone(&shared));
    let (sender, connection): (SendRequest<Bytes>, Connection<Metered, Bytes>) =
        builder(config, &shared)
            .handshake(wire)
            .await
            .map_err(|error| faults::of_head(&error, &shared))?;
    let driver = Driver::new(connection, Arc::clone(&shared), config.connect_timeout);
    opening.spawner.spawn(driver.run());
    // Dropped while it waits, it closes the connection.
    let session = H2Session::new(
        sender,
        Arc::clone(&shared),
        opening.user_agent,
        config.interim_limit,
    );
    if waits && !poll_fn(|cx| shared.poll_settled(cx)).await {
        let closed = || Fault::Lost("the peer closed it before it said anything".to_owned());
        return Err(shared.verdict().unwrap_or_else(closed));
    }
    Ok(session)
}

fn builder(config: &NetConfig, shared: &Shared) -> Builder {
    let window = shared.gauge().window();
    let frame = match config.receive_buffer {
        Some(_small) => FRAME_MIN,
        None => FRAME_MAX,
    };
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(config.h2_stream_window.min(window))
        .initial_connection_window_size(window)
        .max_frame_size(frame)
        .max_header_list_size(section(config.head_limit, frame))
        .initial_max_send_streams(shared.allowed().unwrap_or(STREAMS_MAX))
        .max_concurrent_reset_streams(resets::RESETS_MAX as usize)
        .reset_stream_duration(REMEMBERED)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Bytes of a header section for the h2 crate. It reckons from them and the largest frame how many frames a section may have,
/// but peers send small ones, whatever is allowed: so it is told of as many frames of the least size. What is too large, the
/// meter and the session find.
fn section(limit: usize, frame: u32) -> u32 {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    limit.saturating_mul(frame / FRAME_MIN)
}

/// Largest DATA frame taken: beyond it a frame costs no less per byte, and each is read into one buffer.
const FRAME_MAX: u32 = 64 * 1024;
/// RFC 9113, section 4.2.
const FRAME_MIN: u32 = 16 * 1024;
/// Requests have no bodies.
const SEND_BUFFER: usize = 16 * 1024;
/// How long frames may still come for a stream that was reset: a few round trips on the slowest link.
const REMEMBERED: std::time::Duration = std::time::Duration::from_secs(5);
