//! The text form of a run: one line for each event and what the machine made of it.
//!
//! ```text
//! line    = time " " speaker " " event [" -> " action *("; " action)]
//! time    = seconds "." six digits
//! speaker = "d" number of the download | "world"
//! event   = "granted" lane handshake-us | "denied" lane "(" fault ")"
//!         | "opened" lease place tag total "part"|"whole"
//!         | "refused" lease "(" fault ")" session | "moved" lease url session
//!         | "landed" lease upto busy-us | "ended" lease at "clean"|"cut"|"(" fault ")" session
//!         | "cut-at" lease at | "lost" range | "pause" | "unpause" | "tick" | "start"
//! action  = "want" lane origin | "yield" lane | "fetch" lane lease grant ask url *flag
//!         | "cut" lease at | "extend" lease end | "abort" lease | "restart (" why ")"
//!         | "forget" range | "note (" decision ")" | "complete" total | "fail" kind "(" message ")"
//! lease   = "#" number
//! range   = start ".." [end]
//! session = "open" | "closed"
//! ```
//!
//! What the world itself does (`world …`) stands between, for the reader; a replay compares every line.

use core::fmt::Write as _;

use tur_core::{Ask, ETag, RangeSet};
use tur_sched::{Action, Ended, Event, LeaseId};

/// Lines of a run, if anybody wants them.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<Vec<String>>,
    open: bool,
}

impl Trace {
    /// Keeps nothing, and costs nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Keeps every line.
    #[must_use]
    pub fn on() -> Self {
        Self {
            lines: Some(Vec::new()),
            open: false,
        }
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    pub(crate) fn event(&mut self, now: u64, download: usize, event: &Event) {
        self.line(now, |text| {
            write!(text, "d{download} ")?;
            event_text(text, event)
        });
    }

    /// A line of the world itself, or of a beginning.
    pub(crate) fn line(
        &mut self,
        now: u64,
        write_to: impl FnOnce(&mut String) -> core::fmt::Result,
    ) {
        let Some(lines) = &mut self.lines else { return };
        let mut text = format!("{}.{:06} ", now / 1_000_000, now % 1_000_000);
        write_to(&mut text).expect("a String takes every text");
        lines.push(text);
        self.open = true;
    }

    pub(crate) fn action(&mut self, action: &Action) {
        let Some(line) = self.lines.as_mut().and_then(|lines| lines.last_mut()) else {
            return;
        };
        line.push_str(if std::mem::take(&mut self.open) {
            " -> "
        } else {
            "; "
        });
        action_text(line, action).expect("a String takes every text");
    }
}

fn session(open: bool) -> &'static str {
    if open { "open" } else { "closed" }
}

fn lease(id: LeaseId) -> String {
    format!("#{}", id.0)
}

fn tag(etag: Option<&ETag>) -> String {
    etag.map_or_else(
        || "-".to_owned(),
        |tag| {
            let weak = if tag.weak { "W/" } else { "" };
            format!("{weak}{}", String::from_utf8_lossy(&tag.opaque))
        },
    )
}

fn parts(text: &mut String, word: &str, parts: &RangeSet) -> core::fmt::Result {
    text.write_str(word)?;
    parts.iter().try_for_each(|part| write!(text, " {part}"))
}

fn event_text(text: &mut String, event: &Event) -> core::fmt::Result {
    match event {
        Event::Granted { lane, handshake } => {
            write!(text, "granted {} {}", lane.0, handshake.as_micros())
        }
        Event::Streams(streams) => write!(text, "streams {streams}"),
        Event::Denied { lane, fault } => write!(text, "denied {} ({fault})", lane.0),
        Event::Opened {
            lease: id,
            place,
            identity,
            partial,
        } => {
            let part = if *partial { "part" } else { "whole" };
            let total = identity
                .total
                .map_or_else(|| "*".to_owned(), |n| n.to_string());
            let tag = tag(identity.etag.as_ref());
            write!(text, "opened {} {place} {tag} {total} {part}", lease(*id))
        }
        Event::Refused {
            lease: id,
            fault,
            session: open,
        } => write!(text, "refused {} ({fault}) {}", lease(*id), session(*open)),
        Event::Gone { lane } => write!(text, "gone {}", lane.0),
        Event::Again {
            lease: id,
            session: open,
        } => write!(text, "again {} {}", lease(*id), session(*open)),
        Event::Moved {
            lease: id,
            target,
            session: open,
        } => write!(text, "moved {} {target} {}", lease(*id), session(*open)),
        Event::Landed {
            lease: id,
            upto,
            busy,
        } => write!(text, "landed {} {upto} {}", lease(*id), busy.as_micros()),
        Event::Ended {
            lease: id,
            at,
            how,
            session: open,
        } => {
            write!(text, "ended {} {at} ", lease(*id))?;
            match how {
                Ended::Clean => text.write_str("clean")?,
                Ended::Cut => text.write_str("cut")?,
                Ended::Fault(fault) => write!(text, "({fault})")?,
            }
            write!(text, " {}", session(*open))
        }
        Event::Differs { lease: id, at } => write!(text, "differs {} {at}", lease(*id)),
        Event::Decoded => text.write_str("decoded"),
        Event::CutAt { lease: id, at } => write!(text, "cut-at {} {at}", lease(*id)),
        Event::Lost { range } => write!(text, "lost {range}"),
        Event::Held { lease: id } => write!(text, "held {}", lease(*id)),
        Event::Released { lease: id } => write!(text, "released {}", lease(*id)),
        Event::Width(lanes) => write!(text, "width {lanes}"),
        Event::Ceiling(lanes) => write!(text, "ceiling {lanes}"),
        Event::Demand(range) => write!(text, "demand {range}"),
        Event::Withdrawn(range) => write!(text, "withdrawn {range}"),
        Event::Ahead(ranges) => parts(text, "ahead", ranges),
        Event::Window(Some(window)) => parts(text, "window", window),
        Event::Window(None) => text.write_str("window none"),
        Event::Pause => text.write_str("pause"),
        Event::Unpause => text.write_str("unpause"),
        Event::Tick => text.write_str("tick"),
    }
}

fn action_text(text: &mut String, action: &Action) -> core::fmt::Result {
    match action {
        Action::Want { lane, origin } => write!(text, "want {} {origin}", lane.0),
        Action::Yield { lane } => write!(text, "yield {}", lane.0),
        Action::Fetch(order) => {
            let ask = match order.ask {
                Ask::Whole => "whole".to_owned(),
                Ask::Range(range) => range.to_string(),
            };
            let flags = [
                (order.if_range, " if-range"),
                (order.no_cache, " no-cache"),
                (order.compare, " compare"),
            ];
            let flags: String = flags
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, t)| *t)
                .collect();
            let (lane, grant, target) = (order.lane.0, order.grant, &order.target);
            write!(
                text,
                "fetch {lane} {} {grant} {ask} {target}{flags}",
                lease(order.lease)
            )
        }
        Action::Cut { lease: id, at } => write!(text, "cut {} {at}", lease(*id)),
        Action::Extend { lease: id, end } => write!(text, "extend {} {end}", lease(*id)),
        Action::Abort { lease: id } => write!(text, "abort {}", lease(*id)),
        Action::Restart { why } => write!(text, "restart ({why})"),
        Action::Forget { range } => write!(text, "forget {range}"),
        Action::Note(decision) => write!(text, "note ({decision})"),
        Action::Complete { total } => write!(text, "complete {total}"),
        Action::Fail(failure) => write!(text, "fail {} ({failure})", failure.kind),
    }
}
