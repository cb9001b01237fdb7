//! The simulated transport: the same behaviours in memory, on tokio's clock, without a socket.
//!
//! Read [`SimTransport`] first. Under a paused clock whole downloads take no wall time.

mod body;
mod head;
mod machine;
mod session;

use std::sync::Arc;

use tokio::sync::watch;
use tur_core::port::{SessionFacts, Transport};
use tur_core::{Fault, Origin};

use crate::behaviour::{Behaviour, Link};
use crate::clock;
use crate::log::Seen;
use crate::stage::Stage;

use machine::Machine;

pub use body::SimBody;
pub use session::SimSession;

/// A world of origins in memory. Clones are the same world, so a test keeps one to look at.
///
/// Hosts resolve by being named: a behaviour under `/path` answers for every origin, one under `host:port/path` (the
/// port only where it is not the scheme's default) for that one alone.
#[derive(Clone, Debug)]
pub struct SimTransport {
    stage: Arc<Stage>,
    machine: Arc<Machine>,
}

impl SimTransport {
    /// A world without delay on its links. Keys are as for [`Loopback::start`](crate::Loopback::start).
    pub fn new<P: Into<String>>(behaviours: impl IntoIterator<Item = (P, Behaviour)>) -> Self {
        Self::with_link(Link::default(), behaviours)
    }

    /// A world with a link.
    pub fn with_link<P: Into<String>>(
        link: Link,
        behaviours: impl IntoIterator<Item = (P, Behaviour)>,
    ) -> Self {
        let behaviours = behaviours
            .into_iter()
            .map(|(path, behaviour)| (path.into(), behaviour));
        Self {
            stage: Stage::new(behaviours, link),
            machine: Arc::default(),
        }
    }

    /// A world where each path that nobody has named asks `choose` how it behaves, once, with `host/path?query`.
    pub fn from_fn(link: Link, choose: impl Fn(&str) -> Behaviour + Send + Sync + 'static) -> Self {
        Self {
            stage: Stage::choosing(link, Box::new(choose)),
            machine: Arc::default(),
        }
    }

    /// Gives a path a (new) behaviour from the next request on; its requests are numbered from 1 again.
    pub fn swap(&self, path: &str, behaviour: Behaviour) {
        self.stage.swap(path.to_owned(), behaviour);
    }

    /// Takes the network away, or brings it back: while it is away, each new session is `Offline`. Those that exist
    /// go on.
    pub fn set_away(&self, away: bool) {
        self.machine.set_away(away);
    }

    /// Allows so many sessions at a time from now on; further ones are `Exhausted`.
    pub fn set_sockets_max(&self, n: usize) {
        self.machine.set_sockets_max(n);
    }

    /// Sessions that exist now.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.machine.sockets().0
    }

    /// The most sessions that there were at once.
    #[must_use]
    pub fn sockets_peak(&self) -> usize {
        self.machine.sockets().1
    }

    /// All requests so far, in the order they came (the first 100 000).
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.stage.log.seen()
    }

    /// Number of requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.stage.log.requests()
    }

    /// Number of sessions asked for so far, refused ones too.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.stage.log.connections()
    }

    /// Body bytes handed to clients so far.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.stage.log.bytes()
    }

    /// Waits until `n` body bytes were handed out; never ends if they are not.
    pub async fn bytes_reach(&self, n: u64) {
        self.stage.log.bytes_reach(n).await;
    }
}

impl Transport for SimTransport {
    type Session = SimSession;

    async fn open(&self, origin: &Origin) -> Result<SimSession, Fault> {
        if self.machine.is_away() {
            return Err(Fault::Offline {
                host: origin.authority(),
                detail: "network unreachable".to_owned(),
            });
        }
        let Some(socket) = self.machine.socket() else {
            return Err(Fault::Exhausted("too many open files".to_owned()));
        };
        let link = &self.stage.link;
        let dead = link.dead.contains(&origin.authority());
        let seat = self.stage.connect().filter(|_| !dead);
        clock::pass(link.rtt).await;
        let Some(seat) = seat else {
            return Err(Fault::Connect {
                host: origin.authority(),
                detail: "connection refused".to_owned(),
            });
        };
        let facts = SessionFacts {
            protocol: "h1",
            address: "simulated".to_owned(),
            handshake: link.rtt,
            window: None,
        };
        let session = SimSession::new(self.stage.clone(), seat, facts);
        Ok(session.on(socket))
    }
}

/// Ends when the session was dropped.
async fn session_gone(session: &mut watch::Receiver<()>) {
    // Nothing is ever sent: a change is the end of the sender.
    while session.changed().await.is_ok() {}
}
