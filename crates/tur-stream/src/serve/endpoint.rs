//! The endpoint itself: [`Endpoint`], on a thread of its own.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::door;
use super::shelf::Shelf;
use crate::Media;

/// Serves media to players on this machine, at URLs that nobody can guess. Dropping it ends every connection.
///
/// ```no_run
/// # fn example(media: &tur_stream::Media) -> std::io::Result<()> {
/// use tur_stream::serve::{Endpoint, EndpointOptions};
///
/// let endpoint = Endpoint::open(EndpointOptions::new())?;
/// println!("mpv {}", endpoint.add(media)?);
/// # Ok(())
/// # }
/// ```
pub struct Endpoint {
    shelf: Arc<Shelf>,
    /// Its end is the word to close.
    open: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The bounds of an endpoint.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct EndpointOptions {
    pub(super) connections: usize,
    pub(super) head_wait: Duration,
}

/// Default of [`EndpointOptions::connections`]: several players, each of which may open a few, and strangers who ask for what
/// is not there.
const CONNECTIONS: usize = 64;
/// Default of [`EndpointOptions::head_wait`]: on one machine a head takes no time, and a player that is paused between two
/// requests connects anew.
const HEAD_WAIT: Duration = Duration::from_secs(15);

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            head_wait: HEAD_WAIT,
        }
    }
}

impl EndpointOptions {
    /// The defaults: 64 connections, 15 s for a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many connections are served at a time, at least one; more wait. Default: 64.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.clamp(1, CONNECTIONS_MAX);
        self
    }

    /// A connection on which no whole request has come for so long is closed, the first one as well as each later one.
    /// Default: 15 s; a day at most.
    pub fn head_wait(mut self, limit: Duration) -> Self {
        self.head_wait = limit.min(HEAD_WAIT_MAX);
        self
    }
}

/// No system has more ports for them.
const CONNECTIONS_MAX: usize = 1 << 16;
/// For ever, as far as a player is concerned. A date that no clock can tell would be a panic in hyper.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Endpoint {
    /// Opens one on the loopback interface, at a port that the system chooses. It needs no runtime: it has its own, on a
    /// thread of its own.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn open(options: EndpointOptions) -> io::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let shelf = Arc::new(Shelf::new(listener.local_addr()?));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (open, closed) = oneshot::channel::<()>();
        let kept = door::keep(listener, Arc::clone(&shelf), options);
        let thread = thread::Builder::new()
            .name("tur-serve".to_owned())
            .spawn(move || {
                runtime.spawn(kept);
                // Only its end is ever heard. What was spawned goes with the runtime.
                runtime.block_on(closed).ok();
            })?;
        Ok(Self {
            shelf,
            open: Some(open),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shelf.address
    }

    /// Serves a media from now on, for as long as the endpoint is open, and says its URL. It ends with the name that the file
    /// likely has: the origin may have another one.
    ///
    /// # Errors
    /// The system has no random bytes to make a URL of.
    pub fn add(&self, media: &Media) -> io::Result<String> {
        let path = self.shelf.add(media.clone())?;
        Ok(format!("http://{}{path}", self.address()))
    }

    /// How many requests are being answered. A client that is paused in the middle of an answer counts.
    #[must_use]
    pub fn clients(&self) -> usize {
        *self.shelf.visits().borrow()
    }

    /// Ready when nobody has been served for so long, counted from now on at the earliest. It waits in a runtime of tokio, with
    /// its time.
    pub async fn idle(&self, after: Duration) {
        let mut visits = self.shelf.visits();
        loop {
            let nobody = visits.wait_for(|count| *count == 0).await;
            drop(nobody.expect("the shelf is there as long as this is"));
            if timeout(after, visits.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        drop(self.open.take());
        if let Some(thread) = self.thread.take() {
            // It ends at once, unless a disk holds it up; if it has panicked, it is closed as well.
            thread.join().ok();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.address())
            .field("clients", &self.clients())
            .finish_non_exhaustive()
    }
}
