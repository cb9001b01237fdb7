//! From an error of the h2 crate to a fault: one table for heads, one for bodies.

use std::io;

use ::h2::{Error, Reason};
use tur_core::Fault;

use crate::stream::io_text;

use super::shared::Shared;

/// What an error says, whatever it interrupted.
enum Cause {
    /// Said by the meter, by TLS or by the deadline of the preface, or about the protocol.
    Verdict(Fault),
    /// The request was not processed: another connection may take it at once (RFC 9113, section 8.7).
    Refused(String),
    /// The peer has had enough.
    Calm(String),
    /// The connection broke, or the peer gave up the stream.
    Broken(String),
    /// The peer broke a rule of the connection.
    Rule(Reason),
    /// The peer broke a rule of the stream.
    Message,
    /// We asked for what cannot be sent.
    Ours(String),
}

/// The fault of a fetch.
pub(crate) fn of_head(error: &Error, shared: &Shared) -> Fault {
    match cause(error, shared) {
        Cause::Verdict(fault) => fault,
        Cause::Refused(text) => Fault::StreamRefused(text),
        Cause::Calm(text) => Fault::Calm(text),
        Cause::Broken(text) => Fault::Lost(text),
        Cause::Rule(reason) => rule(reason),
        // The h2 crate says the same of a section that is too large. Coded, it has no less than half of its bytes.
        Cause::Message if shared.last_section() >= shared.head_limit() / 2 => Fault::HeadTooLarge {
            limit: shared.head_limit(),
        },
        Cause::Message => Fault::Malformed("bad header section".to_owned()),
        Cause::Ours(text) => Fault::Malformed(text),
    }
}

/// The fault of a body; `progress` says how far it came.
pub(crate) fn of_body(error: &Error, shared: &Shared, progress: &str) -> Fault {
    match cause(error, shared) {
        // Another stream's head was bad.
        Cause::Verdict(fault @ (Fault::HeadTooLarge { .. } | Fault::TooManyInterim { .. })) => {
            Fault::Truncated(format!("{progress}, the connection was closed: {fault}"))
        }
        // Hands were shaken, or there would be no body.
        Cause::Verdict(Fault::Tls(cause)) => Fault::Truncated(format!("{progress}, {cause}")),
        Cause::Verdict(fault) => fault,
        Cause::Calm(text) => Fault::Calm(text),
        Cause::Refused(text) | Cause::Broken(text) | Cause::Ours(text) => {
            Fault::Truncated(format!("{progress}, {text}"))
        }
        Cause::Rule(reason) => rule(reason),
        Cause::Message => {
            Fault::Malformed(format!("the body is not as long as was told: {progress}"))
        }
    }
}

/// As [`of_body`], where all bytes that were told have come.
pub(crate) fn behind_body(error: &Error, shared: &Shared, progress: &str) -> Fault {
    match cause(error, shared) {
        Cause::Message => Fault::Malformed(format!(
            "the body goes on behind the length that was told: {progress}"
        )),
        _ => of_body(error, shared, progress),
    }
}

fn cause(error: &Error, shared: &Shared) -> Cause {
    if let Some(verdict) = shared.verdict() {
        return Cause::Verdict(verdict);
    }
    let Some(reason) = error.reason() else {
        return match error.get_io() {
            Some(io) => Cause::Broken(broken(io)),
            None => Cause::Ours(error.to_string()),
        };
    };
    if !error.is_remote() {
        return if error.is_reset() {
            Cause::Message
        } else {
            Cause::Rule(reason)
        };
    }
    match reason {
        Reason::ENHANCE_YOUR_CALM => Cause::Calm("ENHANCE_YOUR_CALM".to_owned()),
        Reason::HTTP_1_1_REQUIRED => Cause::Verdict(shared.wants_http1()),
        // The h2 crate tells it only to streams that the peer has not processed, and to requests that come later.
        reason if error.is_go_away() => {
            Cause::Refused(format!("the server closes the connection ({reason:?})"))
        }
        Reason::REFUSED_STREAM => Cause::Refused("REFUSED_STREAM".to_owned()),
        reason => Cause::Broken(format!("stream reset ({reason:?})")),
    }
}

/// The rule of the connection that the peer has broken, if that is why it ended.
pub(crate) fn breach(error: &Error) -> Option<Fault> {
    let reason = error.reason().filter(|_| !error.is_remote())?;
    Some(rule(reason))
}

fn rule(reason: Reason) -> Fault {
    Fault::Malformed(match reason {
        Reason::ENHANCE_YOUR_CALM => "a flood of HTTP/2 frames".to_owned(),
        reason => format!("the peer broke the rules of HTTP/2 ({reason:?})"),
    })
}

/// The h2 crate says "broken pipe" of a connection that the peer has closed in order.
fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe => "the peer closed the connection".to_owned(),
        _ => io_text(error),
    }
}
