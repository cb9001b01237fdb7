//! What is done to connections that stand, at a moment that a test chooses: the plays of single requests cannot say it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast::{self, error::RecvError};

/// What is done to a connection. Over HTTP/1 each of them closes it without good-bye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strike {
    /// The connection closes without good-bye.
    Cut,
    /// GOAWAY (`NO_ERROR`) that names the stream in the middle as the last one: those above it are not served, those up to
    /// it are, and then the connection closes.
    GoAway,
    /// GOAWAY (`ENHANCE_YOUR_CALM`), and every stream ends.
    Calm,
    /// Every second stream is reset (`CANCEL`), and the others go on.
    ResetHalf,
    /// Over HTTP/3 the server forgets all its connections, and answers what comes on them with a stateless reset. Elsewhere
    /// as `Cut`.
    Forget,
}

/// Tells all connections of an origin.
#[derive(Debug)]
pub(crate) struct Strikes {
    sender: broadcast::Sender<(Strike, u64)>,
    /// Who listens and is no connection.
    others: AtomicUsize,
}

/// Where one connection hears of it.
#[derive(Debug)]
pub(crate) struct Struck {
    strikes: broadcast::Receiver<(Strike, u64)>,
    connection: u64,
}

impl Strikes {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(ROOM),
            others: AtomicUsize::new(0),
        }
    }

    /// Strikes each connection whose number `every` divides; how many connections there are.
    pub(crate) fn strike(&self, strike: Strike, every: u64) -> usize {
        // An error says that nobody listens.
        let heard = self.sender.send((strike, every.max(1)));
        let others = self.others.load(Ordering::Relaxed);
        heard.unwrap_or_default().saturating_sub(others)
    }

    /// The ear of a connection.
    pub(crate) fn listen(&self, connection: u64) -> Struck {
        Struck {
            strikes: self.sender.subscribe(),
            connection,
        }
    }

    /// The ear of who is no connection, and hears of everything for as long as the origin lives.
    pub(crate) fn listen_to_all(&self) -> Struck {
        self.others.fetch_add(1, Ordering::Relaxed);
        // Any number divides it.
        self.listen(0)
    }
}

impl Struck {
    /// The next strike that is meant for this connection; never, if there is none.
    pub(crate) async fn next(&mut self) -> Strike {
        loop {
            match self.strikes.recv().await {
                Ok((strike, every)) if self.connection.is_multiple_of(every) => return strike,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Strikes that may wait to be heard.
const ROOM: usize = 64;
