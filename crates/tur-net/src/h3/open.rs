//! Connects over QUIC and sets up HTTP/3.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{IdleTimeout, TransportConfig, VarInt};
use tur_core::{Alternative, Fault, Origin, TlsCause};

use crate::NetConfig;
use crate::dial::bare_host;
use crate::tls::Verdict;
use crate::way::Ways;
use crate::windows::Gauge;

use super::adapter::Quic;
use super::endpoint::Endpoints;
use super::faults;
use super::session::{H3Session, STREAMS_MAX};
use super::shared::{Pair, Shared};

/// What a session is made of.
pub(crate) struct Opening<'a> {
    pub(crate) origin: &'a Origin,
    /// Where it is served; `None` is the origin's own host and port.
    pub(crate) alternative: Option<&'a Alternative>,
    pub(crate) config: &'a NetConfig,
    pub(crate) user_agent: HeaderValue,
    pub(crate) ways: &'a Ways,
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) gauge: Gauge,
}

/// What came of an opening.
pub(crate) struct Opened {
    pub(crate) session: H3Session,
    pub(crate) address: SocketAddr,
    /// Drives the connection to its end, and says whether it broke: it was not closed from here, and not in good order.
    pub(crate) driver: Pin<Box<dyn Future<Output = bool> + Send>>,
}

/// Opens a session: the handshake has ended, the driver is to run from now on, the peer's SETTINGS are not waited for.
///
/// # Errors
/// `Resolve`, `AddressRefused`, `Connect`, `Offline`, `Exhausted`, `Tls` or `ProtocolUnavailable`; `Lost`, `Calm` or
/// `Malformed` if the peer ends the connection meanwhile. The limit of time is the caller's.
pub(crate) async fn open(opening: Opening<'_>) -> Result<Opened, Fault> {
    let config = opening.config;
    let (connection, address) = connect(&opening).await?;
    let spare = openable(&connection);
    let capacity = spare.len();
    opening.gauge.answered(connection.rtt());
    let shared = Shared::new(config.head_limit, opening.gauge, spare);
    let quic = Quic::new(connection.clone(), Arc::clone(&shared));
    let limit = u64::try_from(config.head_limit).unwrap_or(u64::MAX);
    let (mut driver, sender) = ::h3::client::builder()
        .send_grease(false)
        .max_field_section_size(limit)
        .build::<_, _, Bytes>(quic)
        .await
        .map_err(|error| faults::of_setup(&error))?;
    let session = H3Session {
        sender,
        connection,
        shared,
        user_agent: opening.user_agent,
        alt_used: opening
            .alternative
            .map(|alternative| alt_used(opening.origin, alternative))
            .transpose()?,
        interim_limit: config.interim_limit,
        capacity,
    };
    let (connection, shared) = (session.connection.clone(), Arc::clone(&session.shared));
    let driver = Box::pin(async move {
        let ended = poll_fn(|cx| driver.poll_close(cx)).await;
        tracing::debug!(%ended, "connection ended");
        let in_order = connection
            .close_reason()
            .is_some_and(|reason| faults::is_in_order(&reason));
        shared.was_cut() || (!shared.is_closed() && !in_order)
    });
    Ok(Opened {
        session,
        address,
        driver,
    })
}

/// Which alternative serves, for the requests there (RFC 7838, section 5).
fn alt_used(origin: &Origin, alternative: &Alternative) -> Result<HeaderValue, Fault> {
    let served = Origin {
        scheme: origin.scheme,
        host: alternative.host.as_ref().unwrap_or(&origin.host).clone(),
        port: alternative.port,
    };
    HeaderValue::from_str(&served.authority())
        .map_err(|_invalid| Fault::Malformed("the alternative cannot be named".to_owned()))
}

/// Shakes hands with the first address that answers.
async fn connect(opening: &Opening<'_>) -> Result<(quinn::Connection, SocketAddr), Fault> {
    let window = opening.gauge.window();
    let origin = opening.origin;
    let (dialer, trust) = opening.ways.by_udp(origin)?;
    let (tls, verdict) = trust.for_quic(origin, ALPN)?;
    let tls = QuicClientConfig::try_from(tls)
        .map_err(|error| Fault::Tls(TlsCause::Handshake(error.to_string())))?;
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport(opening.config, window)));
    let name = bare_host(&origin.host);
    let attempt = |address| {
        let begun = opening
            .endpoints
            .connect((address, name), dialer.local(), config.clone());
        let verdict = &verdict;
        async move {
            match begun?.await {
                Ok(connection) => Ok(Ok(connection)),
                Err(error) => refused(&error, verdict),
            }
        }
    };
    let (outcome, address) = dialer.race_to(origin, opening.alternative, attempt).await?;
    outcome.map(|connection| (connection, address))
}

/// A fault that was told ends the race; another address may do better than silence.
fn refused(
    error: &quinn::ConnectionError,
    verdict: &Verdict,
) -> io::Result<Result<quinn::Connection, Fault>> {
    if let Some(cause) = verdict.cause() {
        return Ok(Err(Fault::Tls(cause)));
    }
    match faults::of_handshake(error) {
        Some(fault) => Ok(Err(fault)),
        None => Err(io::Error::other(format!("QUIC: {}", faults::text(error)))),
    }
}

/// Opens as many request streams as the peer allows at first, and we use at most: there is no other way to learn how many
/// those are. Nothing is sent for them, and the session uses them first.
fn openable(connection: &quinn::Connection) -> VecDeque<Pair> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut spare = VecDeque::new();
    while spare.len() < STREAMS_MAX
        && let Poll::Ready(Ok(pair)) = pin!(connection.open_bi()).poll(&mut cx)
    {
        spare.push_back(pair);
    }
    spare
}

fn transport(config: &NetConfig, window: u32) -> TransportConfig {
    let idle = VarInt::from_u32(IDLE_MS);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(ONE_WAY_MAX))
        .stream_receive_window(VarInt::from_u32(config.h2_stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(Some(IdleTimeout::from(idle)))
        .keep_alive_interval(Some(KEEPALIVE))
        .datagram_receive_buffer_size(None);
    transport
}

/// The registered name (RFC 9114, section 11.1).
const ALPN: &[u8] = b"h3";
/// A connection of which nothing is heard for so long is gone: the fourth unanswered question is on its way then.
const IDLE_MS: u32 = 30_000;
/// Silence before the peer is asked whether it is there. Mappings of UDP in routers live for as little as 30 s.
const KEEPALIVE: Duration = Duration::from_secs(8);
/// Streams that a peer may have open: the three of HTTP/3, and some that mean nothing (RFC 9114, section 6.2.3).
const ONE_WAY_MAX: u32 = 16;
/// Requests have no bodies.
const SEND_WINDOW: u64 = 256 * 1024;
