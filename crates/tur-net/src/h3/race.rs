//! The race of QUIC and TCP to an origin: whoever has shaken hands first serves.
//!
//! Read [`run`]. Whether there is a race at all is the [`Guide`]'s decision; this begins both, and tells it what came of QUIC
//! ([`Try`], [`Standing`]). A QUIC that was overtaken is let go on for a little in the background, so that it is known whether it
//! is slow or blocked.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tur_core::{Alternative, Approach, Fault, Http3News, Origin};

use crate::Spawner;

/// Decides before each connection to an `https` origin, where any protocol may be spoken and no proxy is in between, whether
/// HTTP/3 is tried, and hears what came of it.
pub trait Guide: Send + Sync {
    /// How the next connection begins.
    fn approach(&self, origin: &Origin) -> Approach;

    /// What became of a connection for which a race was wanted.
    fn told(&self, origin: &Origin, news: Http3News);
}

/// A guide that a transport asks.
#[derive(Clone)]
pub(crate) struct Asked(pub(crate) Arc<dyn Guide>);

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").finish_non_exhaustive()
    }
}

impl Asked {
    /// Where QUIC is spoken, how long TCP waits, and who is told; `None` for TCP alone.
    pub(crate) fn race_to(&self, origin: &Origin) -> Option<(Alternative, Duration, Try)> {
        match self.0.approach(origin) {
            Approach::Tcp => None,
            Approach::Race {
                alternative,
                head_start,
            } => {
                let of = Of {
                    guide: Arc::clone(&self.0),
                    origin: origin.clone(),
                };
                Some((alternative, head_start, Try { of, over: false }))
            }
        }
    }
}

struct Of {
    guide: Arc<dyn Guide>,
    origin: Origin,
}

impl Of {
    fn tell(&self, news: Http3News) {
        self.guide.told(&self.origin, news);
    }
}

/// A connection that is being tried. Dropped before it was told otherwise, it was given up.
pub(crate) struct Try {
    of: Of,
    over: bool,
}

impl Try {
    /// It stands.
    pub(crate) fn connected(mut self) -> Standing {
        self.over = true;
        self.of.tell(Http3News::Connected);
        let of = Of {
            guide: Arc::clone(&self.of.guide),
            origin: self.of.origin.clone(),
        };
        Standing(of)
    }

    /// It could not be made, for this reason. What this machine lacks says nothing of the way there.
    pub(crate) fn failed(mut self, fault: &Fault) {
        tracing::debug!(origin = %self.of.origin, %fault, "no HTTP/3");
        if !matches!(fault, Fault::Offline { .. } | Fault::Exhausted(_)) {
            self.over = true;
            self.of.tell(Http3News::Failed);
        }
    }

    /// What tells that TCP was faster.
    pub(crate) fn rival(&self) -> impl Fn() + use<> {
        let (guide, origin) = (Arc::clone(&self.of.guide), self.of.origin.clone());
        move || guide.told(&origin, Http3News::Overtaken)
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        if !self.over {
            self.of.tell(Http3News::GivenUp);
        }
    }
}

/// A connection that stands.
pub(crate) struct Standing(Of);

impl Standing {
    /// It is over.
    pub(crate) fn ended(self, broken: bool) {
        let Self(of) = self;
        of.tell(Http3News::Ended { broken });
    }
}

/// Begins `quic`, and `tcp` after the head start or when QUIC has failed. If both fail, TCP's fault counts. `overtaken` is called
/// if TCP connects while QUIC is still silent.
pub(crate) async fn run<T: Send + 'static>(
    (head_start, overtaken): (Duration, impl Fn()),
    quic: impl Future<Output = Result<T, Fault>> + Send + 'static,
    tcp: impl Future<Output = Result<T, Fault>>,
    spawner: &Spawner,
) -> Result<T, Fault> {
    let mut quic = Box::pin(quic);
    match tokio::time::timeout(head_start, quic.as_mut()).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(_told)) => return tcp.await,
        Err(_elapsed) => {}
    }
    let mut tcp = pin!(tcp);
    match first(quic.as_mut(), tcp.as_mut()).await {
        First::Quic(Ok(connection)) => Ok(connection),
        First::Quic(Err(_told)) => tcp.await,
        First::Tcp(Ok(connection)) => {
            overtaken();
            spawner.spawn(async move { drop(quic.await) });
            Ok(connection)
        }
        First::Tcp(Err(fault)) => quic.await.map_err(|_told| fault),
    }
}

enum First<T> {
    Quic(T),
    Tcp(T),
}

async fn first<T>(
    mut quic: Pin<&mut impl Future<Output = T>>,
    mut tcp: Pin<&mut impl Future<Output = T>>,
) -> First<T> {
    poll_fn(|cx| match quic.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(First::Quic(outcome)),
        Poll::Pending => tcp.as_mut().poll(cx).map(First::Tcp),
    })
    .await
}

/// A handshake of a race that takes longer is none: the first packet is sent twice again by then (RFC 9002, section 6.2).
pub(crate) const QUIC_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
