//! The language that says how an origin behaves: a representation, how it is served, and rules for what goes wrong.
//!
//! Read [`Behaviour`] first. It is plain data; the loopback origin and the simulated transport both play it.

use std::time::Duration;

use bytes::Bytes;
use tur_core::{ETag, Rate, RetryAfter, Wall};

use crate::gate::Gate;

/// How one path of an origin behaves.
///
/// The fields say what an answer is by default. Rules are applied to each request in their order, each one changing
/// what those before it left, so that deeds combine:
///
/// ```
/// use tur_testkit::{Behaviour, Deed, Framing, When};
///
/// let flaky = Behaviour::new(1_024_000)
///     .framing(Framing::Chunked)
///     .rule(When::First(3), Deed::CutAfter(512_000))
///     .rule(When::After(5).and(When::Ranged), Deed::Page);
/// # assert_eq!(flaky.rules.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Length of the representation in bytes.
    pub size: u64,
    /// Which content: see [`byte_at`](crate::byte_at).
    pub version: u8,
    /// These bytes instead, whatever the version.
    pub bytes: Option<Bytes>,
    /// `ETag`.
    pub etag: Option<ETag>,
    /// `Last-Modified`.
    pub last_modified: Option<Wall>,
    /// `Date`; a fixed one, so that nothing depends on the day of the test.
    pub date: Option<Wall>,
    /// `Content-Type`.
    pub media_type: Option<String>,
    /// `Content-Encoding`: a label only. The bytes stay as they are; see [`of`](Self::of).
    pub encoding: Option<String>,
    /// `Content-Disposition`, raw.
    pub disposition: Option<Vec<u8>>,
    /// Whether `Accept-Ranges: bytes` is announced, true or not.
    pub accept_ranges: bool,
    /// What is done with `Range`.
    pub ranges: Ranges,
    /// What is done with `If-Range`.
    pub if_range: IfRange,
    /// How the end of a body is told.
    pub framing: Framing,
    /// Rate of each connection's bodies; `None` is as fast as it goes.
    pub pace: Option<Rate>,
    /// Time between a request and the first byte of its answer.
    pub first_byte: Duration,
    /// False if the connection is closed after each answer.
    pub keep_alive: bool,
    /// Further fields of each answer. On a wire only: an [`Answer`](tur_core::Answer) has no room for them.
    pub fields: Vec<(String, Vec<u8>)>,
    /// What is different for which requests, in order.
    pub rules: Vec<(When, Deed)>,
}

impl Behaviour {
    /// An honest origin: version 0 with the strong entity tag `"v0"`, ranges, a length, keep-alive, full speed.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            version: 0,
            bytes: None,
            etag: Some(strong("v0")),
            last_modified: None,
            date: Some(TODAY),
            media_type: Some("application/octet-stream".to_owned()),
            encoding: None,
            disposition: None,
            accept_ranges: true,
            ranges: Ranges::Honest,
            if_range: IfRange::Honest,
            framing: Framing::Length,
            pace: None,
            first_byte: Duration::ZERO,
            keep_alive: true,
            fields: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// An honest origin of these very bytes.
    #[must_use]
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            bytes: Some(bytes.clone()),
            ..Self::new(bytes.len() as u64)
        }
    }

    /// Does `deed` to the requests that `when` names, after all earlier rules.
    #[must_use]
    pub fn rule(mut self, when: When, deed: Deed) -> Self {
        self.rules.push((when, deed));
        self
    }

    /// After `k` requests, another version of the same size with its own strong entity tag (`"vN"`) is served.
    #[must_use]
    pub fn changes_after(self, k: u64, version: u8) -> Self {
        let size = self.size;
        let etag = Some(strong(&format!("v{version}")));
        self.rule(
            When::After(k),
            Deed::Serve {
                version,
                etag,
                size,
            },
        )
    }

    /// Serves another version, with the strong entity tag `"vN"`.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self.etag = Some(strong(&format!("v{version}")));
        self
    }

    /// Sets the entity tag; see [`strong`] and [`weak`].
    #[must_use]
    pub fn etag(mut self, etag: Option<ETag>) -> Self {
        self.etag = etag;
        self
    }

    /// Sets `Last-Modified`.
    #[must_use]
    pub fn last_modified(mut self, at: Option<Wall>) -> Self {
        self.last_modified = at;
        self
    }

    /// Neither entity tag nor date.
    #[must_use]
    pub fn no_validators(mut self) -> Self {
        self.etag = None;
        self.last_modified = None;
        self
    }

    /// Sets `Date`.
    #[must_use]
    pub fn date(mut self, at: Option<Wall>) -> Self {
        self.date = at;
        self
    }

    /// Sets `Content-Type`.
    #[must_use]
    pub fn media_type(mut self, text: &str) -> Self {
        self.media_type = Some(text.to_owned());
        self
    }

    /// Labels the content with an encoding.
    #[must_use]
    pub fn encoding(mut self, text: &str) -> Self {
        self.encoding = Some(text.to_owned());
        self
    }

    /// Sets `Content-Disposition`.
    #[must_use]
    pub fn disposition(mut self, raw: &[u8]) -> Self {
        self.disposition = Some(raw.to_vec());
        self
    }

    /// Says whether `Accept-Ranges: bytes` is announced.
    #[must_use]
    pub fn accept_ranges(mut self, announced: bool) -> Self {
        self.accept_ranges = announced;
        self
    }

    /// Says what is done with `Range`.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = ranges;
        self
    }

    /// Says what is done with `If-Range`.
    #[must_use]
    pub fn if_range(mut self, if_range: IfRange) -> Self {
        self.if_range = if_range;
        self
    }

    /// Says how the end of a body is told.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Limits each connection's bodies to a rate, exactly and without bursts.
    #[must_use]
    pub fn pace(mut self, rate: Rate) -> Self {
        self.pace = Some(rate);
        self
    }

    /// Delays the first byte of each answer.
    #[must_use]
    pub fn first_byte(mut self, delay: Duration) -> Self {
        self.first_byte = delay;
        self
    }

    /// Closes the connection after each answer.
    #[must_use]
    pub fn no_keep_alive(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// Adds a field to each answer on a wire.
    #[must_use]
    pub fn field(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.push((name.to_owned(), value.to_vec()));
        self
    }
}

/// Which requests a rule is for. Requests are numbered from 1 for each path, connections in the order in which the
/// origin took them. A swap of the behaviour starts both anew: connections from before it have the number 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// All.
    Always,
    /// Number 1 to k.
    First(u64),
    /// Number k + 1 and later.
    After(u64),
    /// Number k alone.
    Only(u64),
    /// Each number that k divides.
    Every(u64),
    /// Requests with a `Range`.
    Ranged,
    /// Requests without a `Range`.
    Plain,
    /// Requests with an `If-Range`.
    Conditional,
    /// Requests with this method.
    Method(String),
    /// Requests with this field (its name in lower case) whose value contains this text. A simulated request has only
    /// the fields that its caller set.
    Says(String, String),
    /// Requests whose first byte asked for is `n` or later.
    From(u64),
    /// Requests on connection number k alone.
    OnConnection(u64),
    /// Requests on each connection whose number k divides.
    OnEveryConnection(u64),
    /// Requests that the rule inside does not match.
    Not(Box<When>),
    /// Requests that both match.
    Both(Box<When>, Box<When>),
}

impl When {
    /// Both this and `other`.
    #[must_use]
    pub fn and(self, other: When) -> When {
        When::Both(Box::new(self), Box::new(other))
    }

    /// Anything else.
    #[must_use]
    pub fn negate(self) -> When {
        When::Not(Box::new(self))
    }
}

/// What is different for the requests of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Another representation is served: it changed.
    Serve {
        /// Its content.
        version: u8,
        /// Its entity tag.
        etag: Option<ETag>,
        /// Its length in bytes.
        size: u64,
    },
    /// Another `Last-Modified`.
    Modified(Option<Wall>),
    /// Another way with `Range`.
    Ranges(Ranges),
    /// Another way with `If-Range`.
    IfRange(IfRange),
    /// Another framing.
    Framing(Framing),
    /// Another rate.
    Pace(Rate),
    /// Another delay before the first byte of the answer.
    FirstByte(Duration),
    /// A delay between the head and the first byte of the body.
    BodyAfter(Duration),
    /// Body bytes at and behind the gate wait until it is opened.
    Hold(Gate),
    /// The head waits until the gate is opened at all.
    HoldHead(Gate),
    /// The connection closes in good order after so many bytes of the body, if there would be more.
    CutAfter(u64),
    /// The connection, or over HTTP/2 the stream (`INTERNAL_ERROR`), is reset after so many bytes of the body, if there
    /// would be more.
    ResetAfter(u64),
    /// Nothing more comes after so many bytes of the body, and the connection stays, if there would be more.
    StallAfter(u64),
    /// Answers with a status and a short HTML body instead.
    Status {
        /// Status code; the reason phrase is the registered one, or empty.
        status: u16,
        /// `Retry-After`.
        retry_after: Option<RetryAfter>,
    },
    /// Answers with a status and this reason phrase instead.
    Reason(u16, String),
    /// 401 with a `WWW-Authenticate` challenge instead.
    Challenge,
    /// 429 instead, while more than `limit` requests for this path (this one counted) are being answered.
    Busy {
        /// How many are served at a time.
        limit: u64,
        /// `Retry-After`.
        retry_after: Option<RetryAfter>,
    },
    /// A redirect instead.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// `Location` as it is sent.
        location: String,
    },
    /// 200 with an HTML page instead: a login page or captive portal.
    Page,
    /// Answers with this status and this HTML page instead.
    Html(u16, String),
    /// The page that comes instead has this `Content-Encoding`, and these bytes as it is sent.
    PageCoded(String, Vec<u8>),
    /// The body of a page, status or redirect that comes instead has so many bytes, which are no HTML.
    PageLength(u64),
    /// So many interim answers (103, 102 and 100 in turn) come first.
    Interim(u32),
    /// So many bytes follow the end of the body; then the connection closes.
    Extra(u64),
    /// The connection closes after this answer; over HTTP/2 it says GOAWAY, and streams that run go on.
    Close,
    /// The stream is reset with this code (RFC 9113, section 7) instead of an answer. Over HTTP/1 the connection closes.
    ResetStream(u32),
    /// GOAWAY with this code instead of an answer, and every stream of the connection ends. Over HTTP/1 it closes.
    GoAway(u32),
    /// The connection closes before the answer.
    Hangup,
    /// No answer ever comes.
    BlackHole,
    /// Bytes that are not HTTP come instead.
    NotHttp,
    /// A head without end comes instead (64 MiB of it at most).
    EndlessHead,
    /// One more field, on a wire only.
    Field(String, Vec<u8>),
}

/// What an origin does with `Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// As RFC 9110 says; 416 with the total where nothing can be served.
    Honest,
    /// Always 200 with everything.
    Ignored,
    /// Always 416, with the true total.
    Refused,
    /// Honest, but at most so many bytes in each answer.
    ShortAtMost(u64),
    /// The end is ignored: from the first byte asked for to the end, honestly labelled.
    LongToEnd,
    /// 206 with everything from 0, honestly labelled, whatever was asked.
    FromZero,
    /// 206 without `Content-Range`; the body is everything from 0.
    NoContentRange,
    /// 206 with one part of `multipart/byteranges`, honestly labelled inside. For small files: it is made in memory.
    Multipart,
    /// Honest, but the total is `*`.
    StarTotal,
    /// Honest, but the label names this total.
    WrongTotal(u64),
    /// Another range than the one asked for, moved by so many bytes, honestly labelled.
    Shifted(i64),
    /// The right bytes under this `Content-Range`, for values that cannot be read. A simulated transport finds none
    /// in it.
    Label(String),
}

/// What an origin does with `If-Range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRange {
    /// As RFC 9110, section 13.1.5 says: 200 unless it names the present strong tag or the present date.
    Honest,
    /// The range is served whatever it says.
    Ignored,
    /// 200 whatever it says.
    Never,
}

/// How the end of a body is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length`.
    Length,
    /// Chunked.
    Chunked,
    /// By closing the connection.
    UntilClose,
    /// `Content-Length` with this value, whatever the body is; the connection closes after the body.
    LyingLength(u64),
    /// One `Content-Length` field for each text, for values that nobody should take. A simulated transport finds
    /// them malformed.
    Lengths(Vec<String>),
}

/// What holds for all connections to an origin. Connections are numbered from 1.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Round-trip time, in a simulated world only: one to connect, one for each request.
    pub rtt: Duration,
    /// Rate that all bodies together may have.
    pub bottleneck: Option<Rate>,
    /// So many connections are refused first. The loopback origin can only reset them once they stand.
    pub refuse_first: u64,
    /// After so many connections further ones are refused.
    pub refuse_after: Option<u64>,
    /// How many connections may stand at a time.
    pub crowd: Option<Crowd>,
    /// Streams that an HTTP/2 connection may have at a time; `None` for the library's default.
    pub streams: Option<u32>,
    /// Bytes of the largest HTTP/2 DATA frame.
    pub frame: Option<u64>,
    /// Connections stand, and nothing is ever answered.
    pub black_hole: bool,
    /// Origins (`host`, or `host:port` where it is not the scheme's default) that refuse each connection. In a
    /// simulated world only; see [`Refusing`](crate::Refusing) for real ones.
    pub dead: Vec<String>,
}

/// How many connections an origin takes at a time, and what becomes of those beyond.
///
/// A connection is judged when it comes and stays what it was judged to be; one that was turned away takes no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Connections that may stand at a time.
    pub limit: u64,
    /// What a further one meets.
    pub beyond: Beyond,
}

/// What a connection beyond a [`Crowd`]'s limit meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// It is refused. The loopback origin can only reset it once it stands.
    Refuse,
    /// Its first request meets this deed, after all rules, and then it is closed: [`Deed::Status`] to say 429 or 503,
    /// [`Deed::Hangup`] to say nothing.
    Meet(Deed),
}

/// The `Date` that origins send: 2027-01-15 08:00:00 UTC.
pub const TODAY: Wall = Wall::from_unix_secs(1_800_000_000);

/// A strong entity tag; `text` without its quotes.
#[must_use]
pub fn strong(text: &str) -> ETag {
    ETag {
        weak: false,
        opaque: format!("\"{text}\"").into_bytes(),
    }
}

/// A weak entity tag; `text` without its quotes.
#[must_use]
pub fn weak(text: &str) -> ETag {
    ETag {
        weak: true,
        ..strong(text)
    }
}
