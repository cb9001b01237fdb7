//! From a behaviour and a request to what happens: one pure function, [`play`], that all worlds share.

use std::time::Duration;

use bytes::Bytes;
use tur_core::ByteRange;

use crate::behaviour::{Behaviour, Deed, Framing, IfRange, Ranges, When};
use crate::content::content;
use crate::date::http_date;
use crate::gate::Gate;
use crate::play::{Act, Asked, Break, Head, Label, Play, Script, Source, Stop, Wanted};

/// What happens to a request for a path with this behaviour.
pub(crate) fn play(behaviour: &Behaviour, asked: &Asked) -> Play {
    let mut scene = Scene::new(behaviour.clone());
    for (when, deed) in &behaviour.rules {
        if when.matches(asked) {
            scene.apply(deed, asked);
        }
    }
    if let Some(deed) = &asked.turned_away {
        scene.apply(deed, asked);
        scene.apply(&Deed::Close, asked);
    }
    scene.finish(asked)
}

impl When {
    fn matches(&self, asked: &Asked) -> bool {
        match self {
            When::Always => true,
            When::First(k) => asked.number <= *k,
            When::After(k) => asked.number > *k,
            When::Only(k) => asked.number == *k,
            When::Every(k) => *k != 0 && asked.number.is_multiple_of(*k),
            When::Ranged => asked.range.is_some(),
            When::Plain => asked.range.is_none(),
            When::Conditional => asked.if_range.is_some(),
            When::Method(method) => asked.method == *method,
            When::Says(name, text) => asked.says(name, text),
            When::From(n) => matches!(asked.range, Some(Wanted::Range(r)) if r.start >= *n),
            When::OnConnection(k) => asked.connection == *k,
            When::OnEveryConnection(k) => {
                asked.connection > 0 && *k != 0 && asked.connection.is_multiple_of(*k)
            }
            When::Not(inner) => !inner.matches(asked),
            When::Both(one, other) => one.matches(asked) && other.matches(asked),
        }
    }
}

impl Asked {
    fn says(&self, name: &str, text: &str) -> bool {
        let contains = |value: &[u8]| String::from_utf8_lossy(value).contains(text);
        let mut fields = self.fields.iter();
        fields.any(|(n, value)| n == name && contains(value))
    }
}

/// A behaviour with the rules of one request applied.
struct Scene {
    behaviour: Behaviour,
    interim: u32,
    stop: Option<Stop>,
    extra: u64,
    page_length: Option<u64>,
    /// Instead of the usual page.
    page_text: Option<Bytes>,
    /// How that text is coded.
    page_coding: Option<String>,
    body_delay: Duration,
    gate: Option<Gate>,
    head_gate: Option<Gate>,
    instead: Option<Instead>,
}

/// What comes instead of the representation.
enum Instead {
    Act(Act),
    Status(Box<Head>),
    Page,
}

impl Scene {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour,
            interim: 0,
            stop: None,
            extra: 0,
            page_length: None,
            page_text: None,
            page_coding: None,
            body_delay: Duration::ZERO,
            gate: None,
            head_gate: None,
            instead: None,
        }
    }

    fn apply(&mut self, deed: &Deed, asked: &Asked) {
        let b = &mut self.behaviour;
        match deed {
            Deed::Serve {
                version,
                etag,
                size,
            } => {
                b.version = *version;
                b.bytes = None;
                b.etag.clone_from(etag);
                b.size = *size;
            }
            Deed::Modified(at) => b.last_modified = *at,
            Deed::Ranges(ranges) => b.ranges = ranges.clone(),
            Deed::IfRange(if_range) => b.if_range = *if_range,
            Deed::Framing(framing) => b.framing = framing.clone(),
            Deed::Pace(rate) => b.pace = Some(*rate),
            Deed::FirstByte(delay) => b.first_byte = *delay,
            Deed::BodyAfter(delay) => self.body_delay = *delay,
            Deed::Hold(gate) => self.gate = Some(gate.clone()),
            Deed::HoldHead(gate) => self.head_gate = Some(gate.clone()),
            Deed::CutAfter(n) => self.break_off(*n, Break::Cut),
            Deed::ResetAfter(n) => self.break_off(*n, Break::Reset),
            Deed::StallAfter(n) => self.break_off(*n, Break::Stall),
            Deed::Interim(n) => self.interim = *n,
            Deed::Extra(n) => self.extra = *n,
            Deed::Close => b.keep_alive = false,
            Deed::Field(name, value) => b.fields.push((name.clone(), value.clone())),
            Deed::PageLength(n) => self.page_length = Some(*n),
            Deed::PageCoded(coding, bytes) => {
                self.page_coding = Some(coding.clone());
                self.page_text = Some(Bytes::from(bytes.clone()));
            }
            Deed::Html(status, text) => {
                self.page_text = Some(Bytes::from(text.clone().into_bytes()));
                self.instead = Some(Instead::Status(Box::new(self.bare(*status))));
            }
            Deed::Page => self.instead = Some(Instead::Page),
            Deed::Hangup => self.instead = Some(Instead::Act(Act::Hangup)),
            Deed::BlackHole => self.instead = Some(Instead::Act(Act::BlackHole)),
            Deed::NotHttp => self.instead = Some(Instead::Act(Act::NotHttp)),
            Deed::ResetStream(code) => self.instead = Some(Instead::Act(Act::ResetStream(*code))),
            Deed::GoAway(code) => self.instead = Some(Instead::Act(Act::GoAway(*code))),
            Deed::EndlessHead => self.instead = Some(Instead::Act(Act::EndlessHead)),
            Deed::Busy { limit, .. } if asked.active <= *limit => {}
            Deed::Busy { .. }
            | Deed::Status { .. }
            | Deed::Reason(..)
            | Deed::Challenge
            | Deed::Redirect { .. } => self.refuse(deed),
        }
    }

    fn break_off(&mut self, at: u64, how: Break) {
        self.stop = Some(Stop { at, how });
    }

    /// The deeds that are a status of their own.
    fn refuse(&mut self, deed: &Deed) {
        let mut head = self.bare(200);
        match deed {
            Deed::Busy { retry_after, .. } => {
                (head.status, head.retry_after) = (429, *retry_after);
            }
            Deed::Status {
                status,
                retry_after,
            } => (head.status, head.retry_after) = (*status, *retry_after),
            Deed::Redirect { status, location } => {
                (head.status, head.location) = (*status, Some(location.clone()));
            }
            Deed::Challenge => (head.status, head.challenge) = (401, true),
            Deed::Reason(status, _) => head.status = *status,
            _ => return,
        }
        head.reason = match deed {
            Deed::Reason(_, text) => text.clone(),
            _ => reason(head.status).to_owned(),
        };
        self.instead = Some(Instead::Status(Box::new(head)));
    }

    fn finish(mut self, asked: &Asked) -> Play {
        let delay = self.behaviour.first_byte;
        let interim = self.interim;
        let gate = self.head_gate.take();
        let act = match self.instead.take() {
            Some(Instead::Act(act)) => act,
            Some(Instead::Status(head)) => self.page(*head),
            Some(Instead::Page) => {
                let head = self.bare(200);
                self.page(head)
            }
            None => self.serve(asked),
        };
        Play {
            delay,
            gate,
            interim,
            act,
        }
    }

    /// The answer with the representation, or a part of it, or 416.
    fn serve(&self, asked: &Asked) -> Act {
        let b = &self.behaviour;
        let whole = ByteRange::new(0, b.size);
        let wanted = asked.range.filter(|_| self.range_counts(asked));
        let (range, label) = match (wanted, &b.ranges) {
            (None, _) | (_, Ranges::Ignored) => (whole, None),
            (_, Ranges::Refused) => return self.unsatisfied(),
            (_, Ranges::FromZero) => (whole, Some(Label::Range(whole, Some(b.size)))),
            (_, Ranges::NoContentRange) => return self.content(206, whole, None),
            (Some(wanted), ranges) => {
                let range = placed(wanted, ranges, b.size);
                if range.is_empty() {
                    return self.unsatisfied();
                }
                if *ranges == Ranges::Multipart {
                    return self.multipart(range);
                }
                (range, Some(label(range, ranges, b.size)))
            }
        };
        let status = if label.is_some() { 206 } else { 200 };
        self.content(status, range, label)
    }

    /// Whether `If-Range` lets `Range` count.
    fn range_counts(&self, asked: &Asked) -> bool {
        let b = &self.behaviour;
        match (&asked.if_range, b.if_range) {
            (None, _) | (_, IfRange::Ignored) => true,
            (_, IfRange::Never) => false,
            (Some(said), IfRange::Honest) => {
                let tag = b
                    .etag
                    .as_ref()
                    .is_some_and(|tag| !tag.weak && tag.opaque == *said);
                let date = b
                    .last_modified
                    .is_some_and(|at| http_date(at).as_bytes() == said.as_slice());
                tag || date
            }
        }
    }

    fn content(&self, status: u16, range: ByteRange, label: Option<Label>) -> Act {
        let b = &self.behaviour;
        let source = match &b.bytes {
            Some(bytes) => {
                let at =
                    |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
                Source::Text(bytes.slice(at(range.start)..at(range.end)))
            }
            None => Source::Content {
                version: b.version,
                start: range.start,
            },
        };
        let mut head = self.bare(status);
        head.framing = b.framing.clone();
        head.label = label;
        head.etag.clone_from(&b.etag);
        head.last_modified = b.last_modified;
        head.media_type.clone_from(&b.media_type);
        head.encoding.clone_from(&b.encoding);
        head.disposition.clone_from(&b.disposition);
        head.accept_ranges = b.accept_ranges;
        self.answer(head, source, range.len())
    }

    /// One part in the form of RFC 9110, section 14.6.
    fn multipart(&self, range: ByteRange) -> Act {
        let b = &self.behaviour;
        let (last, size) = (range.end - 1, b.size);
        let mut text = format!(
            "--part\r\nContent-Range: bytes {}-{last}/{size}\r\n\r\n",
            range.start
        )
        .into_bytes();
        text.extend(content(b.version, range));
        text.extend(b"\r\n--part--\r\n");
        let mut head = self.bare(206);
        head.etag.clone_from(&b.etag);
        head.last_modified = b.last_modified;
        head.media_type = Some("multipart/byteranges; boundary=part".to_owned());
        let length = text.len() as u64;
        self.answer(head, Source::Text(text.into()), length)
    }

    fn unsatisfied(&self) -> Act {
        let mut head = self.bare(416);
        head.label = Some(Label::Unsatisfied(self.behaviour.size));
        head.accept_ranges = self.behaviour.accept_ranges;
        self.answer(head, Source::Text(Bytes::new()), 0)
    }

    fn page(&self, mut head: Head) -> Act {
        head.media_type = Some("text/html; charset=utf-8".to_owned());
        head.encoding.clone_from(&self.page_coding);
        if let Some(length) = self.page_length {
            let (version, start) = (0, 0);
            return self.answer(head, Source::Content { version, start }, length);
        }
        let own = self.page_text.clone();
        let text = own.unwrap_or_else(|| Bytes::from_static(PAGE));
        let length = text.len() as u64;
        self.answer(head, Source::Text(text), length)
    }

    fn answer(&self, head: Head, source: Source, length: u64) -> Act {
        let marked_later = head.framing != Framing::Length;
        let stop = self
            .stop
            .filter(|stop| stop.at < length || (stop.at == length && marked_later));
        let broken = matches!(
            head.framing,
            Framing::UntilClose | Framing::LyingLength(_) | Framing::Lengths(_)
        );
        Act::Answer(Box::new(Script {
            head,
            source,
            length,
            stop,
            extra: self.extra,
            pace: self.behaviour.pace,
            delay: self.body_delay,
            gate: self.gate.clone(),
            keep_alive: self.behaviour.keep_alive,
            used_up: broken || self.extra > 0,
        }))
    }

    /// A head that says nothing about a representation.
    fn bare(&self, status: u16) -> Head {
        Head {
            status,
            reason: reason(status).to_owned(),
            framing: Framing::Length,
            label: None,
            etag: None,
            last_modified: None,
            date: self.behaviour.date,
            media_type: None,
            encoding: None,
            disposition: None,
            accept_ranges: false,
            location: None,
            retry_after: None,
            challenge: false,
            fields: self.behaviour.fields.clone(),
        }
    }
}

/// The bytes that come where `wanted` was asked for; empty is 416.
fn placed(wanted: Wanted, ranges: &Ranges, size: u64) -> ByteRange {
    let range = wanted.of(size);
    match ranges {
        Ranges::ShortAtMost(n) => {
            ByteRange::new(range.start, range.end.min(range.start.saturating_add(*n)))
        }
        Ranges::LongToEnd if !range.is_empty() => ByteRange::new(range.start, size),
        Ranges::Shifted(by) => ByteRange::new(
            range.start.saturating_add_signed(*by).min(size),
            range.end.saturating_add_signed(*by).min(size),
        ),
        _ => range,
    }
}

fn label(range: ByteRange, ranges: &Ranges, size: u64) -> Label {
    match ranges {
        Ranges::StarTotal => Label::Range(range, None),
        Ranges::WrongTotal(total) => Label::Range(range, Some(*total)),
        Ranges::Label(text) => Label::Raw(text.clone()),
        _ => Label::Range(range, Some(size)),
    }
}

/// The registered reason phrase of the statuses that tests use.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        410 => "Gone",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        511 => "Network Authentication Required",
        _ => "",
    }
}

/// The page that comes where a file was expected.
const PAGE: &[u8] =
    b"<!doctype html><title>Sign in</title><p>This is a page and not the file.</p>\n";
