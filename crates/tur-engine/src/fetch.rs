//! One small fetch: what is asked for, what comes of it, and who takes the bytes.
//!
//! Read [`FetchJob`] and [`Taker`]. A fetch is a transfer of width one, driven like a download by the same loop
//! (`driver/fetch.rs`); it writes no file.

use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tur_core::port::Field;
use tur_core::{ByteRange, Target};
use tur_http::{RedirectPolicy, Terms};
use tur_sched::RetryPolicy;

use crate::passport::SignIn;

/// What to fetch and how.
#[derive(Clone, Debug)]
pub(crate) struct FetchJob {
    pub(crate) target: Target,
    /// For the first origin only: credentials and whatever else the peer adds.
    pub(crate) fields: Vec<Field>,
    pub(crate) sign_in: SignIn,
    /// Only these bytes, as far as there are that many; `None` is the whole. An empty span needs no request and has no
    /// head; one that begins behind the end fails with kind `Server` (416). See [`tur_sched::LEAD_MAX`] for origins
    /// without ranges.
    pub(crate) span: Option<ByteRange>,
    /// What answers must be.
    pub(crate) terms: Terms,
    pub(crate) retry: RetryPolicy,
    /// Hard time-out of an attempt: the first byte, and the silence of a body. What is waited for on this side, a rate
    /// limit or the taker, is not counted.
    pub(crate) read_timeout: Duration,
    /// Hard time-out of the whole, whatever is waited for.
    pub(crate) max_time: Option<Duration>,
    /// Soft time-out: silence of the origin, from the first wish for a connection on, after which the fetch is called
    /// slow, once, and goes on.
    pub(crate) slow_after: Duration,
    pub(crate) redirects: RedirectPolicy,
    pub(crate) seed: u64,
}

impl FetchJob {
    /// A fetch of `span` of `target` with the defaults of the program.
    #[cfg(test)]
    pub(crate) fn new(target: Target, span: Option<ByteRange>) -> Self {
        Self {
            target,
            fields: Vec::new(),
            sign_in: SignIn::default(),
            span,
            terms: Terms::default(),
            retry: RetryPolicy::default(),
            read_timeout: crate::bounds::READ_TIMEOUT,
            max_time: None,
            slow_after: crate::bounds::SLOW_AFTER,
            redirects: RedirectPolicy {
                allow_downgrade: false,
            },
            seed: 0,
        }
    }

    /// The span, or everything.
    pub(crate) fn wanted(&self) -> ByteRange {
        self.span.unwrap_or(ByteRange::from(0))
    }
}

/// Where the bytes of a fetch go. Called on the data thread, which everything waits for: whatever it does, it does at
/// once. A panic in it ends its fetch with kind `Other`, and it is not called again.
pub(crate) trait Taker: Send + 'static {
    /// The first admitted answer, before any byte. It may be refused with a reason, which ends the fetch with kind `Server`:
    /// no byte is taken, and nobody is asked again. Told once more if the file changes before a byte has come.
    fn head(&mut self, head: &Head) -> Result<(), String>;

    /// Ready when more bytes may come: at most [`FILL_MAX`](crate::region::FILL_MAX) of them until it is asked again. While
    /// it is not, nothing is read from the origin, and no time-out counts.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The bytes that come next: in order, each once. Never empty. An `Err` ends the fetch with kind `Limit`.
    fn take(&mut self, bytes: Bytes) -> Result<(), Full>;

    /// The soft time-out has passed. Told once; the fetch goes on.
    fn slow(&mut self);
}

/// More comes than so many bytes, which is all that is wanted.
#[derive(Debug)]
pub(crate) struct Full(pub(crate) u64);

/// What the first answer to a fetch says, before any byte of it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Where the bytes come from: the URL after redirects, without userinfo. Its query may be a signature.
    pub url: String,
    /// Length of the whole in bytes, if the origin told it.
    pub total: Option<u64>,
    /// The bytes that will be delivered: what was asked for, clipped to the total. Without a total they may turn out to be
    /// fewer, and are open-ended if no end was asked for.
    pub range: ByteRange,
    /// `Content-Type` without parameters, in lower case.
    pub media_type: Option<String>,
    /// `Content-Encoding` in lower case, of what is delivered: `None` for identity, and for what was decoded.
    pub encoding: Option<String>,
    /// Entity tag or date that every later answer must agree with.
    pub validator: Option<String>,
    /// The protocol of the connection: `h1`, `h2` or `h3`.
    pub protocol: &'static str,
}

impl fmt::Debug for Head {
    /// Without the query of the URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.split_once('?').map_or(&*self.url, |(url, _)| url);
        let mut shown = f.debug_struct("Head");
        shown.field("url", &url).field("total", &self.total);
        shown.field("range", &self.range);
        shown.field("media_type", &self.media_type);
        shown.field("encoding", &self.encoding);
        shown.field("validator", &self.validator);
        shown.field("protocol", &self.protocol).finish()
    }
}

/// A fetch that is complete.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Fetched {
    /// What the first answer said; `None` for an empty span, for which nobody is asked.
    pub head: Option<Head>,
    /// Bytes delivered.
    pub bytes: u64,
    /// Time it took in all.
    pub elapsed: Duration,
    /// Time until the first byte was delivered; `None` if there was none.
    pub first_byte: Option<Duration>,
    /// Requests sent.
    pub requests: u32,
    /// Connections opened.
    pub connections: u32,
    /// Bytes received and not delivered.
    pub wasted_bytes: u64,
    /// True if only the end of a connection told the length.
    pub unverifiable: bool,
}
