//! The ports: what a transport is.
//!
//! A [`Transport`] opens [`Session`]s to origins; a session fetches; a fetch answers with a head that has been read
//! ([`Answer`]) and a [`Body`] that is drawn in buffers. The conformance suite in tur-testkit says what every
//! implementation must keep.
//!
//! Rules for implementers:
//! * One attempt yields one [`Fault`]; nothing is retried inside, no redirect is followed.
//! * Dropping any of these futures or values cancels the work and frees its connection or stream.
//! * No time-out may look like an end: [`Fill::End`] is said only where the framing said so.
//! * Connect and TLS are bounded in time by the transport; every other deadline belongs to the caller.

use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use crate::{Answer, Ask, Chunks, Fault, Origin, Secret, Target};

/// One request. Conditional and range fields are derived from `ask` and `if_range`, never from `fields`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub target: Target,
    /// Which bytes.
    pub ask: Ask,
    /// Value of `If-Range`, sent only with a range.
    pub if_range: Option<Vec<u8>>,
    /// True after a change was seen: caches are told to ask the origin (`Cache-Control: no-cache`).
    pub no_cache: bool,
    /// Further fields, already chosen for this origin; a name that tur sends itself replaces ours.
    pub fields: Vec<Field>,
}

/// A request field. Its value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    /// Name, any case.
    pub name: String,
    /// Value.
    pub value: Secret,
}

impl core::fmt::Debug for Field {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

/// An answer with its body.
#[derive(Debug)]
pub struct Reply<B> {
    /// The head.
    pub answer: Answer,
    /// The body; empty for answers without one.
    pub body: B,
}

/// What is known about an established session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFacts {
    /// The protocol: `h1`, `h2` or `h3`.
    pub protocol: &'static str,
    /// The peer's address, for people.
    pub address: String,
    /// Time that connect and handshake took.
    pub handshake: Duration,
    /// How much the peer may send ahead, where the protocol has an account of its own for that.
    pub window: Option<Window>,
}

/// What is known of connections before there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Bytes that an earlier visit found on their way at once on one of them.
    pub product: Option<u32>,
    /// How many there will be at the beginning, if somebody has said so.
    pub lanes: Option<u16>,
}

/// How much a peer may send ahead on one connection, over all of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// In bytes.
    pub bytes: u32,
    /// What it was chosen by.
    pub source: WindowSource,
    /// Bytes that were on their way at once, at most: rate times round trip. `None` until enough came to tell.
    pub product: Option<u32>,
}

/// What the size of a window was chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowSource {
    /// Nothing: nobody had measured the path.
    Default,
    /// An earlier connection of this process.
    Measured,
    /// An earlier visit ([`Transport::expect`]).
    Remembered,
}

impl WindowSource {
    /// `default`, `measured` or `remembered`: stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Measured => "measured",
            Self::Remembered => "remembered",
        }
    }
}

/// Whether a body has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Something was appended; there may be more.
    More,
    /// The framing marked the end; what was appended is the last.
    End,
}

/// Opens sessions.
pub trait Transport: Send + Sync + 'static {
    /// An established connection.
    type Session: Session;

    /// Connections to `origin` that are to come may be sized by this. A hint, which a transport may ignore.
    fn expect(&self, _origin: &Origin, _expected: Expected) {}

    /// A download begins at `origin`, which its user has named. What is the user's own and belongs to a connection, such as a
    /// client's certificate, is shown to such origins, and never to one that is only led to.
    fn begin_at(&self, _origin: &Origin) {}

    /// Connects to `origin`: resolves, races addresses, shakes hands.
    ///
    /// # Errors
    /// `Resolve`, `AddressRefused`, `Connect`, `Tls`, `Exhausted`, `TimedOut(Connect)` or `ProtocolUnavailable`; where a
    /// protocol begins with words of the peer also `Lost` or `Malformed`.
    fn open(&self, origin: &Origin) -> impl Future<Output = Result<Self::Session, Fault>> + Send;
}

/// An established connection to one origin.
pub trait Session: Send + Sync + 'static {
    /// The body of a reply.
    type Body: Body;

    /// Sends one request and reads the head of its answer. As many fetches run at once as [`Session::capacity`] says; one
    /// beyond that waits, or is refused with `StreamRefused` before anything of it is sent. On a session that runs one at a
    /// time the next may begin when the body has said [`Fill::End`].
    ///
    /// # Errors
    /// `Lost`, `Malformed`, `HeadTooLarge` or `TooManyInterim`; of protocols with streams also `StreamRefused` or `Calm`.
    fn fetch(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Reply<Self::Body>, Fault>> + Send;

    /// What is known about the connection.
    fn facts(&self) -> SessionFacts;

    /// False once the session cannot take another request. Those that run may go on.
    fn is_open(&self) -> bool;

    /// How many requests it runs at once, those that run now among them; at least 1. It may change as the peer says.
    fn capacity(&self) -> usize {
        1
    }

    /// A body on it was given up, because nothing came of it for too long. A session of which others could still be had,
    /// that answers and yet brings nothing, may take no further request then.
    fn stalled(&self) {}

    /// No answer came in time. The same holds then, if it is not the answer alone that takes its time.
    fn unanswered(&self) {}
}

/// The body of a reply.
pub trait Body: Send + 'static {
    /// Waits until something is there, then appends what is ready, up to about `budget` bytes (one transport buffer
    /// more at most; less in small buffers, each of which costs memory too), without waiting for more.
    ///
    /// Cancel-safe: a dropped future has appended what it appended and lost nothing.
    ///
    /// # Errors
    /// `Lost`, `Truncated`, `Calm` or `Malformed`. Bytes appended before the error are good.
    fn fill(
        &mut self,
        chunks: &mut Chunks,
        budget: usize,
    ) -> impl Future<Output = Result<Fill, Fault>> + Send;
}
