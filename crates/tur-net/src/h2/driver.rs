//! Runs a connection: reads and writes frames while nobody awaits one of its streams.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::client::Connection;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tur_core::{Fault, Wait};

use crate::stream::Stream;
use crate::tls::refused;

use super::faults;
use super::session::STREAMS_MAX;
use super::shared::{Life, Parked, Shared};

/// A stream as the h2 crate sees it: each read passes the meter.
pub(crate) struct Metered {
    stream: Stream,
    shared: Arc<Shared>,
}

impl Metered {
    pub(crate) fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        Self { stream, shared }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.shared.may_read() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        // The h2 crate keeps the text of an error alone.
        if let Some(cause) = read.as_ref().err().and_then(refused) {
            self.shared.condemn(Fault::Tls(cause));
        }
        read?;
        let allowed = self.shared.received(&buf.filled()[before..]);
        Poll::Ready(if allowed {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        })
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Drives one connection until its session is dropped, its last stream has ended after it took no more requests, the peer
/// closes, or the peer's SETTINGS do not come in time.
pub(crate) struct Driver {
    connection: Connection<Metered, Bytes>,
    shared: Arc<Shared>,
    parked: Vec<Parked>,
    /// Bytes that were taken from parked streams: the peer may send as many more for the others.
    forgone: u32,
    limit: Duration,
    /// Until the peer's SETTINGS hold.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Driver {
    /// The peer's SETTINGS have to come within `limit`.
    pub(crate) fn new(
        connection: Connection<Metered, Bytes>,
        shared: Arc<Shared>,
        limit: Duration,
    ) -> Self {
        Self {
            connection,
            shared,
            parked: Vec::new(),
            forgone: 0,
            limit,
            deadline: Some(sleep(limit)),
        }
    }

    /// Runs to the end.
    pub(crate) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let orders = self.shared.drive(cx);
        if orders.stop {
            return Poll::Ready(());
        }
        self.parked.extend(orders.parked);
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.shared
                .condemn(Fault::TimedOut(Wait::Connect, self.limit));
            return Poll::Ready(());
        }
        let polled = Pin::new(&mut self.connection).poll(cx);
        let breach = match &polled {
            Poll::Ready(Err(error)) => faults::breach(error),
            _ => None,
        };
        if let Some(breach) = breach {
            // Who waits for its SETTINGS is told, and who comes later.
            self.shared.condemn(breach);
        } else if self.deadline.is_some() {
            let streams = self.connection.max_concurrent_send_streams();
            if self.shared.settle(streams.clamp(1, STREAMS_MAX)) {
                self.deadline = None;
            }
        }
        if let Poll::Ready(ended) = polled {
            if let Err(error) = ended {
                tracing::debug!(error = %error, "connection ended");
            }
            return Poll::Ready(());
        }
        self.drain(cx);
        Poll::Pending
    }

    /// Drops what comes for parked streams. Their own windows are not opened again, so each costs at most one of them; the
    /// connection's is, so that the other streams do not starve.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let before = self.forgone;
        let parked = std::mem::take(&mut self.parked);
        for mut stream in parked {
            let (kept, bytes) = drained(&mut stream, cx);
            self.forgone = self.forgone.saturating_add(bytes);
            if kept {
                self.parked.push(stream);
            }
        }
        if self.forgone != before {
            let target = self.shared.gauge().window().saturating_add(self.forgone);
            self.connection
                .set_target_window_size(target.min(WINDOW_MAX));
        }
    }
}

impl Drop for Driver {
    /// The socket is closed next, and streams that wait are told.
    fn drop(&mut self) {
        self.shared.advance(Life::Over);
    }
}

/// Takes what is there. False if the stream has ended; and how many bytes were taken.
fn drained(parked: &mut Parked, cx: &mut Context<'_>) -> (bool, u32) {
    if let Parked::Head(head) = parked {
        while let Poll::Ready(Some(Ok(_interim))) = head.poll_informational(cx) {}
        match Pin::new(head).poll(cx) {
            Poll::Pending => return (true, 0),
            Poll::Ready(Err(_ended)) => return (false, 0),
            Poll::Ready(Ok(answer)) => *parked = Parked::Body(answer.into_body()),
        }
    }
    let Parked::Body(body) = parked else {
        return (false, 0);
    };
    let mut bytes = 0u32;
    loop {
        match body.poll_data(cx) {
            Poll::Pending => return (true, bytes),
            Poll::Ready(Some(Ok(data))) => {
                bytes = bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Poll::Ready(Some(Err(_)) | None) => return (false, bytes),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the preface of the peer is part of connecting"
)]
fn sleep(limit: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(limit))
}

/// RFC 9113, section 6.9.1.
const WINDOW_MAX: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use tokio::net::TcpStream;
    use tur_core::{Origin, Scheme};

    use super::super::meter::MeterLimits;
    use super::super::shared::{TURN_BYTES, Terms};
    use super::*;
    use crate::carrier::Carrier;
    use crate::recent::Recent;
    use crate::windows::{Gauge, Known, Windows};

    /// More than two turns.
    const SENT: usize = 1 << 20;
    const READ: usize = 64 << 10;

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A stream on which a peer has sent the beginning of one long frame.
    async fn metered() -> Metered {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            // SETTINGS, whose content nobody looks at here.
            let mut bytes = vec![0xff, 0xff, 0xff, 4, 0, 0, 0, 0, 0];
            bytes.resize(SENT, 0);
            // Who has read enough hangs up.
            peer.write_all(&bytes).ok();
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let origin = Origin {
            scheme: Scheme::Https,
            host: "h".to_owned(),
            port: 1,
        };
        let limits = MeterLimits {
            head: 1_000,
            interim: 1,
        };
        let terms = Terms {
            prior_knowledge: false,
            alone: false,
            legacy: Recent::default().note(&origin),
            setbacks: Recent::default().note(&origin),
            streams: Recent::default().note(&origin),
            allowed: None,
        };
        let window = Windows::new().share(1 << 20, Known::default());
        let shared = Shared::new(limits, terms, Gauge::new(window, None));
        Metered::new(Stream::Plain(Carrier::Tcp(stream)), shared)
    }

    fn read(wire: &mut Metered, cx: &mut Context<'_>) -> Poll<usize> {
        let mut bytes = [0; READ];
        let mut buf = ReadBuf::new(&mut bytes);
        let read = Pin::new(wire).poll_read(cx, &mut buf);
        read.map(|read| {
            read.unwrap();
            buf.filled().len()
        })
    }

    #[tokio::test]
    async fn a_turn_reads_so_much_and_the_next_one_as_much_again() {
        let mut wire = metered().await;
        let shared = Arc::clone(&wire.shared);
        for turn in 0..2 {
            shared.drive(&mut Context::from_waker(Waker::noop()));
            let mut came = 0;
            while came < TURN_BYTES {
                let read = poll_fn(|cx| read(&mut wire, cx)).await;
                assert!(read > 0, "turn {turn}: {came} bytes");
                came += read;
            }
            assert!(came < TURN_BYTES + READ);
            // There is more, and it is not waited for: the driver comes back at once.
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&woken));
            assert!(read(&mut wire, &mut Context::from_waker(&waker)).is_pending());
            assert!(woken.0.load(Ordering::Relaxed));
        }
    }
}
