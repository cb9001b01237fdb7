//! An origin, honest or lying: what it answers to which request.
//!
//! Read [`Server`] (plain data) and [`Desk`], which answers. The words are those of the scripted origin in
//! tur-testkit: rules that name requests, and deeds that are done to them, in order.

use core::time::Duration;

use tur_core::{
    Answer, Asides, Ask, BodyKind, ByteRange, Content, ContentRange, ETag, Fault, Representation,
    RetryAfter, Target,
};

use crate::dice::Dice;

/// How an origin behaves.
#[derive(Clone, Debug)]
pub struct Server {
    /// Length of the representation.
    pub size: u64,
    /// What it says about which version it serves.
    pub tag: Tag,
    /// False if `Range` is ignored.
    pub ranges: bool,
    /// How the end of a body is told.
    pub framing: Framing,
    /// True if `Content-Range` names no total.
    pub starred: bool,
    /// Time from a request's arrival to the head of its answer.
    pub first_byte: Duration,
    /// False if a connection is closed after each answer.
    pub keep_alive: bool,
    /// How long an unused connection is kept.
    pub idle_max: Option<Duration>,
    /// Connections that are accepted at a time; others are refused.
    pub connections: Option<usize>,
    /// A connection is reset after every so many bytes that it carried.
    pub reset_every: Option<u64>,
    /// The file is served only by URLs that expire, to which the user's redirects.
    pub signed: Option<Signed>,
    /// What is different for which requests.
    pub rules: Vec<(When, Deed)>,
}

impl Server {
    /// An honest origin: strong tags, ranges, lengths, kept connections.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self {
            size,
            tag: Tag::Strong,
            ranges: true,
            framing: Framing::Length,
            starred: false,
            first_byte: Duration::ZERO,
            keep_alive: true,
            idle_max: None,
            connections: None,
            reset_every: None,
            signed: None,
            rules: Vec::new(),
        }
    }

    /// Does `deed` to the requests that `when` names.
    #[must_use]
    pub fn rule(mut self, when: When, deed: Deed) -> Self {
        self.rules.push((when, deed));
        self
    }
}

/// The entity tag that comes with each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `"vN"`.
    Strong,
    /// `W/"vN"`.
    Weak,
    /// None.
    Absent,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length,
    /// By a mark, as in the chunked coding.
    Marked,
    /// By the end of the connection.
    UntilClose,
}

/// URLs that expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// How long one is good.
    pub good_for: Duration,
    /// The status afterwards.
    pub status: u16,
    /// True if they are on another origin.
    pub elsewhere: bool,
}

/// Which requests a rule is for. They are numbered from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// So many in a thousand.
    PerMille(u64),
    /// Those that do not begin at byte 0.
    Later,
    /// Those that come while more than `k` requests (this one counted) are being answered.
    Over(usize),
}

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// This version is served, and so long it is.
    Version(u32, u64),
    /// A status instead, with so many seconds in `Retry-After`.
    Status(u16, Option<u64>),
    /// The whole comes in answer to a range.
    IgnoreRange,
    /// A 206 whose `Content-Range` begins so many bytes later.
    Shift(u64),
    /// A 206 without `Content-Range`.
    NoContentRange,
    /// A 206 that ends after so many bytes of what was asked, and says so.
    Shorten(u64),
    /// 416 without a total.
    Unsatisfiable,
    /// An HTML page instead.
    Page,
    /// No tag.
    NoTag,
    /// The body breaks after so many bytes.
    CutAfter(u64),
    /// The body comes in chunks; that of a part ends in good order after so many bytes, that of a whole breaks.
    EndAfter(u64),
    /// Nothing comes after so many bytes.
    StallAfter(u64),
    /// The head comes so much later, in milliseconds.
    Late(u64),
    /// No head comes.
    Mute,
    /// The connection is lost before the head.
    Hangup,
    /// Bytes of another version come under the name of this one: a lie that no client can see.
    WrongBytes,
}

/// The version that stands for an HTML page, and the page's length.
pub(crate) const PAGE: u32 = u32::MAX;
pub(crate) const PAGE_LEN: u64 = 5_000;
/// The version that stands for bytes that are wrong.
const WRONG: u32 = u32::MAX - 1;

/// A request as the origin sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) target: &'a Target,
    pub(crate) ask: Ask,
    pub(crate) if_range: Option<Vec<u8>>,
}

/// What the origin sends.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    /// From the request's arrival to the first byte leaving.
    pub(crate) after: Duration,
    pub(crate) feed: Feed,
    /// True if the connection can carry another request after a body that ended well.
    pub(crate) keeps: bool,
}

/// What comes first.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each request under way, and nearly all are answers"
)]
pub(crate) enum Head {
    Answer(Answer),
    /// The connection breaks.
    Broken(Fault),
    /// Nothing.
    Nothing,
}

/// What a body brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) version: u32,
    /// Bytes until it ends.
    pub(crate) len: u64,
    /// True if it ends as its framing says.
    pub(crate) clean: bool,
    /// Nothing comes after so many bytes.
    pub(crate) stall_after: Option<u64>,
}

/// An origin at work.
#[derive(Debug)]
pub(crate) struct Desk {
    server: Server,
    requests: u64,
    /// Requests being answered.
    pub(crate) answering: usize,
    /// Connections accepted and not seen closing.
    pub(crate) connected: usize,
    dice: Dice,
}

/// What the rules make of one request.
struct Turn {
    version: u32,
    size: u64,
    tag: Tag,
    ranges: bool,
    framing: Framing,
    late: Duration,
    shift: u64,
    shorten: Option<u64>,
    no_range: bool,
    page: bool,
    wrong: bool,
    cut: Option<(u64, bool)>,
    stall: Option<u64>,
    instead: Option<Head>,
}

impl Desk {
    pub(crate) fn new(server: Server, dice: Dice) -> Self {
        Self {
            server,
            requests: 0,
            answering: 0,
            connected: 0,
            dice,
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// True if one more connection is accepted.
    pub(crate) fn accepts(&self) -> bool {
        self.server
            .connections
            .is_none_or(|max| self.connected < max)
    }

    /// Answers a request at `now`, in microseconds. The caller counts it as being answered already.
    pub(crate) fn answer(&mut self, now: u64, asked: &Asked<'_>) -> Reply {
        self.requests += 1;
        let turn = self.turn(asked);
        let after = self.server.first_byte + turn.late;
        let keeps = self.server.keep_alive && turn.framing != Framing::UntilClose;
        let head = turn.instead.clone().or_else(|| self.route(now, asked));
        let (head, feed) = match head {
            Some(head) => (head, Feed::none(turn.version)),
            None => turn.content(asked, self.server.starred),
        };
        Reply {
            head,
            after,
            feed,
            keeps,
        }
    }

    /// A redirect, or the refusal of a URL that has expired.
    fn route(&self, now: u64, asked: &Asked<'_>) -> Option<Head> {
        let signed = self.server.signed?;
        let Some(issued) = asked.target.path.strip_prefix("/signed/") else {
            let location = format!("/signed/{now}");
            return Some(Head::Answer(Answer::Moved {
                location,
                asides: Asides::default(),
            }));
        };
        let until = issued.parse::<u64>().unwrap_or(0) + micros(signed.good_for);
        (now >= until).then(|| Head::Answer(refused(signed.status, None)))
    }

    fn turn(&mut self, asked: &Asked<'_>) -> Turn {
        let mut turn = Turn {
            version: 0,
            size: self.server.size,
            tag: self.server.tag,
            ranges: self.server.ranges,
            framing: self.server.framing,
            late: Duration::ZERO,
            shift: 0,
            shorten: None,
            no_range: false,
            page: false,
            wrong: false,
            cut: None,
            stall: None,
            instead: None,
        };
        for (when, deed) in self.server.rules.clone() {
            if self.matches(when, asked) {
                turn.apply(deed);
            }
        }
        turn
    }

    fn matches(&mut self, when: When, asked: &Asked<'_>) -> bool {
        match when {
            When::Always => true,
            When::First(k) => self.requests <= k,
            When::After(k) => self.requests > k,
            When::Only(k) => self.requests == k,
            When::Every(k) => self.requests.is_multiple_of(k.max(1)),
            When::PerMille(k) => self.dice.chance(k),
            When::Later => asked.ask.range().start > 0,
            When::Over(k) => self.answering > k,
        }
    }
}

impl Turn {
    fn apply(&mut self, deed: Deed) {
        match deed {
            Deed::Version(version, size) => (self.version, self.size) = (version, size),
            Deed::Status(status, wait) => {
                self.instead = Some(Head::Answer(refused(status, wait)));
            }
            Deed::IgnoreRange => self.ranges = false,
            Deed::Shift(by) => self.shift = by,
            Deed::NoContentRange => self.no_range = true,
            Deed::Shorten(to) => self.shorten = Some(to.max(1)),
            Deed::Unsatisfiable => {
                self.instead = Some(Head::Answer(Answer::Unsatisfiable { total: None }));
            }
            Deed::Page => self.page = true,
            Deed::NoTag => self.tag = Tag::Absent,
            Deed::CutAfter(n) => self.cut = Some((n, false)),
            Deed::EndAfter(n) => (self.cut, self.framing) = (Some((n, true)), Framing::Marked),
            Deed::StallAfter(n) => self.stall = Some(n),
            Deed::Late(ms) => self.late += Duration::from_millis(ms),
            Deed::Mute => self.instead = Some(Head::Nothing),
            Deed::Hangup => {
                self.instead = Some(Head::Broken(Fault::Lost("reset".into())));
            }
            Deed::WrongBytes => self.wrong = true,
        }
    }

    /// The representation, or what the rules make of it.
    fn content(&self, asked: &Asked<'_>, starred: bool) -> (Head, Feed) {
        if self.page {
            return self.html();
        }
        let etag = tag(self.tag, self.version);
        let current = match (&asked.if_range, &etag) {
            (Some(sent), Some(tag)) => !tag.weak && *sent == tag.opaque,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let range = match asked.ask {
            Ask::Range(range) if self.ranges && current => range,
            _ => return self.whole(etag),
        };
        if range.start >= self.size {
            let total = (!starred).then_some(self.size);
            return (
                Head::Answer(Answer::Unsatisfiable { total }),
                Feed::none(self.version),
            );
        }
        let start = (range.start + self.shift).min(self.size - 1);
        let end = range.end.min(self.size).max(start + 1);
        let end = self.shorten.map_or(end, |to| end.min(start + to));
        let body = ByteRange::new(start, end);
        let told = ContentRange {
            range: body,
            total: (!starred).then_some(self.size),
        };
        let answer = Answer::Partial {
            range: (!self.no_range).then_some(told),
            content: self.labelled(etag, body.len(), "application/octet-stream"),
        };
        (Head::Answer(answer), self.feed(body.len(), true))
    }

    fn whole(&self, etag: Option<ETag>) -> (Head, Feed) {
        let content = self.labelled(etag, self.size, "application/octet-stream");
        (
            Head::Answer(Answer::Whole(content)),
            self.feed(self.size, false),
        )
    }

    fn html(&self) -> (Head, Feed) {
        let content = self.labelled(None, PAGE_LEN, "text/html");
        let feed = Feed {
            version: PAGE,
            ..self.feed(PAGE_LEN, false)
        };
        (Head::Answer(Answer::Whole(content)), feed)
    }

    fn labelled(&self, etag: Option<ETag>, len: u64, media_type: &str) -> Content {
        Content {
            representation: Representation {
                etag,
                media_type: Some(media_type.into()),
                ..Representation::default()
            },
            body: match self.framing {
                Framing::Length => BodyKind::Length(len),
                Framing::Marked => BodyKind::Marked,
                Framing::UntilClose => BodyKind::UntilClose,
            },
            asides: Asides::default(),
        }
    }

    fn feed(&self, len: u64, part: bool) -> Feed {
        let (len, clean) = match self.cut {
            // A connection that ends before the length it has told of is no clean end. A whole that ends well where it
            // should not is a lie that no client can see.
            Some((n, marked)) if n < len => (n, marked && part && self.framing == Framing::Marked),
            _ => (len, true),
        };
        let version = if self.wrong { WRONG } else { self.version };
        Feed {
            version,
            len,
            clean,
            stall_after: self.stall.filter(|n| *n < len),
        }
    }
}

impl Feed {
    fn none(version: u32) -> Self {
        Self {
            version,
            len: 0,
            clean: true,
            stall_after: None,
        }
    }
}

/// The tag of a version.
pub(crate) fn tag(tag: Tag, version: u32) -> Option<ETag> {
    (tag != Tag::Absent).then(|| ETag {
        weak: tag == Tag::Weak,
        opaque: format!("\"v{version}\"").into_bytes(),
    })
}

fn refused(status: u16, wait: Option<u64>) -> Answer {
    Answer::Refused {
        status,
        reason: String::new(),
        retry_after: wait.map(|secs| RetryAfter::Delay(Duration::from_secs(secs))),
        challenge: false,
        asides: Asides::default(),
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
