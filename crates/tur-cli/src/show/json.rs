//! Events as JSON, one object a line: a promise to scripts.
//!
//! Keys come in a fixed order, numbers are integers, times are in milliseconds, and every line has `event`, `id` and
//! `t_ms`. New keys and events may be added; none changes its meaning.

use std::time::Duration;

use serde_json::{Value, json};
use tur_engine::{
    Completed, Error, Event, LaneView, OriginRecord, Progress, Rate, WaitsFor, What, printable,
};

use crate::console::inert;
use crate::plan::Detail;

/// Makes the lines of one download.
pub(super) struct Lines {
    detail: Detail,
    /// Number of the download and time of its latest event.
    id: u64,
    t: Duration,
}

impl Lines {
    /// Lines for this level of detail.
    pub(super) const fn new(detail: Detail) -> Self {
        Self {
            detail,
            id: 0,
            t: Duration::ZERO,
        }
    }

    /// The line of an event; `None` for those that have none, and for the last one, whose line is [`end`](Lines::end).
    pub(super) fn event(&mut self, event: &Event) -> Option<String> {
        // An event about missed events is not the download's: it has no number and no time of its own.
        if !matches!(event.what, What::Lagged(_)) {
            (self.id, self.t) = (event.id, event.t);
        }
        let (name, keys) = self.keys(&event.what)?;
        Some(self.line(name, keys))
    }

    /// The last line.
    pub(super) fn end(&self, outcome: &Result<Completed, Error>) -> String {
        match outcome {
            Ok(done) => self.line("done", completed(done)),
            Err(error) => self.line("error", failed(error)),
        }
    }

    /// The line that says that it begins anew later, because its target is in use.
    pub(super) fn again(&self, why: &Error) -> String {
        let why = why.to_string();
        let what = What::Retrying {
            why,
            after: Duration::ZERO,
            attempt: 1,
        };
        let (name, keys) = self.keys(&what).expect("this event has a line");
        self.line(name, keys)
    }

    fn keys(&self, what: &What) -> Option<(&'static str, Keys)> {
        Some(match what {
            What::Started { url } => ("start", vec![("url", json!(url))]),
            What::Opened {
                len,
                name,
                validator,
                protocol,
                resumed_bytes,
            } => (
                "opened",
                vec![
                    ("len", json!(len)),
                    ("name", json!(name)),
                    ("validator", json!(validator)),
                    ("protocol", json!(protocol)),
                    ("resumed_bytes", json!(resumed_bytes)),
                ],
            ),
            What::Progress(progress) => ("progress", standing(progress)),
            What::Retrying {
                why,
                after,
                attempt,
            } => (
                "retry",
                vec![
                    ("why", json!(printable(why))),
                    ("after_ms", ms(*after)),
                    ("attempt", json!(attempt)),
                ],
            ),
            What::Slow => ("slow", vec![]),
            What::Stalled {
                lane,
                waits_for,
                lasted,
            } => (
                "stalled",
                vec![
                    ("lane", json!(lane)),
                    ("waits_for", json!(waits_for.map(WaitsFor::as_str))),
                    ("lasted_ms", ms(*lasted)),
                ],
            ),
            What::Resumed { at } => ("resumed", vec![("at", json!(at))]),
            What::Challenge { kind } => ("challenge", vec![("kind", json!(kind.as_str()))]),
            What::Restarted { why } => ("restarted", vec![("why", json!(printable(why)))]),
            What::Paused => ("paused", vec![]),
            What::Unpaused => ("unpaused", vec![]),
            What::Verifying => ("verifying", vec![]),
            What::DiskLow { available, missing } => (
                "disk_low",
                vec![("available", json!(available)), ("missing", json!(missing))],
            ),
            What::Lanes(lanes) if self.detail >= Detail::Lanes => {
                ("lanes", vec![("lanes", lanes.iter().map(lane).collect())])
            }
            What::Decision(text) if self.detail >= Detail::Decisions => {
                ("decision", vec![("text", json!(printable(text)))])
            }
            _ if self.detail >= Detail::Lanes => return detailed(what),
            // Notes go to standard error; the last event has its own line; later versions of the engine may tell more.
            _ => return None,
        })
    }

    fn line(&self, name: &str, keys: Keys) -> String {
        let head = [
            ("event", json!(name)),
            ("id", json!(self.id)),
            ("t_ms", ms(self.t)),
        ];
        object(head.into_iter().chain(keys))
    }
}

/// Events that only those hear who want to know more: a script that reads all lines is not flooded.
fn detailed(what: &What) -> Option<(&'static str, Keys)> {
    Some(match what {
        What::Enqueued => ("enqueued", vec![]),
        What::FirstByte { at } => ("first_byte", vec![("at", json!(at))]),
        What::OriginLearned(origin) => ("origin_learned", learned(origin)),
        What::BudgetChanged {
            allowed,
            configured,
            why,
        } => (
            "budget_changed",
            vec![
                ("allowed", json!(allowed)),
                ("configured", json!(configured)),
                ("why", json!(why)),
            ],
        ),
        What::PriorityChanged { urgent } => ("priority_changed", vec![("urgent", json!(urgent))]),
        What::QueueDepth { waiting, running } => (
            "queue_depth",
            vec![("waiting", json!(waiting)), ("running", json!(running))],
        ),
        _ => return None,
    })
}

fn learned(origin: &OriginRecord) -> Keys {
    vec![
        ("origin", json!(origin.origin)),
        ("lanes", json!(origin.lanes)),
        ("lanes_limit", json!(origin.lanes_limit)),
        (
            "lane_rate",
            json!(origin.lane_rate.map(Rate::bytes_per_second)),
        ),
        ("rtt_ms", origin.rtt.map_or(Value::Null, ms)),
        ("handshake_ms", origin.handshake.map_or(Value::Null, ms)),
        ("window_bytes", json!(origin.window)),
        ("ranges", json!(origin.ranges)),
    ]
}

/// Keys and values in the order in which they are written.
type Keys = Vec<(&'static str, Value)>;

fn standing(progress: &Progress) -> Keys {
    vec![
        ("landed", json!(progress.landed)),
        ("total", json!(progress.total)),
        ("rate", json!(progress.rate.bytes_per_second())),
        ("lanes", json!(progress.lanes)),
    ]
}

fn lane(view: &LaneView) -> Value {
    json!({
        "lane": view.lane,
        "state": view.state.as_str(),
        "at": view.at,
        "end": view.end,
        "rate": view.rate.bytes_per_second(),
        "protocol": view.protocol,
        "address": view.address,
    })
}

fn completed(done: &Completed) -> Keys {
    let mut keys = vec![
        ("url", json!(done.url)),
        ("path", json!(done.path.to_string_lossy())),
        ("bytes", json!(done.bytes)),
        ("elapsed_ms", ms(done.elapsed)),
        ("verify_ms", ms(done.verify)),
        ("protocol", json!(done.protocol)),
        ("connections", json!(done.connections)),
        ("lanes_max", json!(done.lanes_max)),
        ("requests", json!(done.requests)),
        ("resumed_bytes", json!(done.resumed_bytes)),
        ("wasted_bytes", json!(done.wasted_bytes)),
        ("reused", json!(done.metrics.reused())),
        ("retries", json!(done.metrics.retried())),
        (
            "steals",
            json!(done.metrics.steals.tails + done.metrics.steals.revoked),
        ),
        ("stolen_bytes", json!(done.metrics.steals.bytes)),
    ];
    if let Some(sha256) = &done.sha256 {
        keys.push(("sha256", json!(sha256)));
    }
    keys
}

fn failed(error: &Error) -> Keys {
    let mut keys = vec![
        ("kind", json!(error.kind().as_str())),
        ("message", json!(printable(&error.to_string()))),
    ];
    if let Some(challenge) = error.challenge() {
        keys.push(("needs_browser", json!(challenge.needs_browser())));
        keys.push(("challenge", json!(challenge.as_str())));
    }
    if let Some(time) = error.retry_after() {
        // Rounded up: who comes back then does not come too early.
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        keys.push(("retry_after_s", json!(seconds)));
    }
    keys
}

fn ms(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// One line with an object in it.
pub(super) fn object(keys: impl IntoIterator<Item = (&'static str, Value)>) -> String {
    let keys = keys
        .into_iter()
        .map(|(key, value)| format!("\"{key}\":{value}"));
    inert(&format!("{{{}}}", keys.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tur_engine::LaneState;

    fn lines(detail: Detail, whats: Vec<What>) -> Vec<String> {
        let mut lines = Lines::new(detail);
        let told = |(i, what)| Event {
            peer: None,
            id: 7,
            seq: i,
            at: Duration::from_millis(i),
            t: Duration::from_millis(i),
            what,
        };
        let events = (1..).zip(whats).map(told);
        events.filter_map(|event| lines.event(&event)).collect()
    }

    #[test]
    fn events_have_their_keys_in_order() {
        let opened = What::Opened {
            len: None,
            name: "a\u{9b}2J\n\"b\u{202e}\u{e0041}".to_owned(),
            validator: Some("\"v0\"".to_owned()),
            protocol: "h1",
            resumed_bytes: 3,
        };
        let retrying = What::Retrying {
            why: "lost\u{1b}".to_owned(),
            after: Duration::from_micros(500_900),
            attempt: 1,
        };
        let progress = Progress {
            landed: 1,
            total: Some(2),
            rate: tur_engine::Rate::per_second(9),
            lanes: 3,
            ..Progress::default()
        };
        let whats = vec![
            What::Started {
                url: "http://h/a".to_owned(),
            },
            opened,
            What::Progress(progress),
            retrying,
            What::Stalled {
                lane: Some(4),
                waits_for: Some(WaitsFor::Body),
                lasted: Duration::from_secs(30),
            },
            What::Stalled {
                lane: None,
                waits_for: None,
                lasted: Duration::from_secs(60),
            },
            What::Verifying,
        ];
        assert_eq!(
            lines(Detail::Normal, whats),
            [
                r#"{"event":"start","id":7,"t_ms":1,"url":"http://h/a"}"#,
                r#"{"event":"opened","id":7,"t_ms":2,"len":null,"name":"a\u009b2J\n\"b\u202e\udb40\udc41","validator":"\"v0\"","protocol":"h1","resumed_bytes":3}"#,
                r#"{"event":"progress","id":7,"t_ms":3,"landed":1,"total":2,"rate":9,"lanes":3}"#,
                r#"{"event":"retry","id":7,"t_ms":4,"why":"lost\\u{1b}","after_ms":500,"attempt":1}"#,
                r#"{"event":"stalled","id":7,"t_ms":5,"lane":4,"waits_for":"body","lasted_ms":30000}"#,
                r#"{"event":"stalled","id":7,"t_ms":6,"lane":null,"waits_for":null,"lasted_ms":60000}"#,
                r#"{"event":"verifying","id":7,"t_ms":7}"#,
            ]
        );
    }

    #[test]
    fn details_come_only_when_asked_for() {
        let whats = || {
            let lane = LaneView {
                lane: 0,
                state: LaneState::Receiving,
                at: Some(5),
                end: None,
                rate: Rate::per_second(9),
                protocol: "h1",
                address: "h:1".to_owned(),
            };
            vec![
                What::Lanes(vec![lane]),
                What::Decision("d".to_owned()),
                What::Lagged(3),
                What::FirstByte { at: 3 },
            ]
        };
        let first = r#"{"event":"first_byte","id":7,"t_ms":4,"at":3}"#;
        let lane = r#"{"event":"lanes","id":7,"t_ms":1,"lanes":[{"address":"h:1","at":5,"end":null,"lane":0,"protocol":"h1","rate":9,"state":"receiving"}]}"#;
        let decision = r#"{"event":"decision","id":7,"t_ms":2,"text":"d"}"#;
        assert!(lines(Detail::Normal, whats()).is_empty());
        assert_eq!(lines(Detail::Lanes, whats()), [lane, first]);
        assert_eq!(lines(Detail::Decisions, whats()), [lane, decision, first]);
    }

    #[test]
    fn done_has_every_key() {
        let done = Completed {
            protocol: "h1",
            sha256: Some("00".to_owned()),
            path: "f".into(),
            ..Completed::default()
        };
        assert_eq!(
            Lines::new(Detail::Normal).end(&Ok(done)),
            r#"{"event":"done","id":0,"t_ms":0,"url":"","path":"f","bytes":0,"elapsed_ms":0,"verify_ms":0,"protocol":"h1","connections":0,"lanes_max":0,"requests":0,"resumed_bytes":0,"wasted_bytes":0,"reused":0,"retries":0,"steals":0,"stolen_bytes":0,"sha256":"00"}"#
        );
    }
}
