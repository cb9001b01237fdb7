//! From errors of h3 and quinn to faults: one table for heads, one for bodies, one for handshakes.

use std::sync::Arc;

use ::h3::error::{Code, ConnectionError, LocalError, StreamError};
use ::h3::quic::ConnectionErrorIncoming;
use rustls::AlertDescription;
use tur_core::{Fault, TlsCause};

use crate::tls::of_alert;

use super::meter::Breach;
use super::shared::Shared;

/// What an error says, whatever it interrupted.
enum Cause {
    /// Said already, by who saw it.
    Verdict(Fault),
    /// The request was not processed: it may be made again at once (RFC 9114, section 4.1.1).
    Refused(String),
    /// The peer has had enough.
    Calm(String),
    /// The connection broke, or the peer gave up the stream.
    Broken(String),
    /// The peer broke a rule of the connection.
    Rule(String),
    /// The peer broke a rule of the stream.
    Message(String),
    /// A header section is too large.
    Head,
}

/// The fault of a fetch; `id` is the number of its stream, if it has one.
pub(super) fn of_head(error: &StreamError, shared: &Shared, id: Option<u64>) -> Fault {
    match cause(error, shared) {
        Cause::Verdict(fault) => fault,
        Cause::Refused(text) => Fault::StreamRefused(text),
        Cause::Calm(text) => Fault::Calm(text),
        Cause::Broken(text) if id.is_some_and(|id| shared.is_unserved(id)) => {
            Fault::StreamRefused(text)
        }
        Cause::Broken(text) => Fault::Lost(text),
        Cause::Rule(text) | Cause::Message(text) => Fault::Malformed(text),
        Cause::Head => Fault::HeadTooLarge {
            limit: shared.head_limit(),
        },
    }
}

/// The fault of a body; `progress` says how far it came.
pub(super) fn of_body(error: &StreamError, shared: &Shared, progress: &str) -> Fault {
    match cause(error, shared) {
        // Hands were shaken, or there would be no body.
        Cause::Verdict(Fault::Tls(cause)) => Fault::Truncated(format!("{progress}, {cause}")),
        Cause::Verdict(fault) => fault,
        Cause::Calm(text) => Fault::Calm(text),
        Cause::Refused(text) | Cause::Broken(text) => {
            Fault::Truncated(format!("{progress}, {text}"))
        }
        Cause::Rule(text) | Cause::Message(text) => Fault::Malformed(format!("{text}: {progress}")),
        Cause::Head => Fault::Malformed(format!("the trailers are too large: {progress}")),
    }
}

/// The fault of a connection that h3 could not be set up on.
pub(super) fn of_setup(error: &ConnectionError) -> Fault {
    match of_connection(error) {
        Cause::Calm(text) => Fault::Calm(text),
        Cause::Rule(text) => Fault::Malformed(text),
        Cause::Refused(text) | Cause::Broken(text) => Fault::Lost(text),
        Cause::Verdict(fault) => fault,
        Cause::Message(_) | Cause::Head => Fault::Lost("the connection was closed".to_owned()),
    }
}

/// The fault of a handshake that somebody answered; `None` if nobody did, or the network broke.
pub(super) fn of_handshake(error: &quinn::ConnectionError) -> Option<Fault> {
    let alert = match error {
        quinn::ConnectionError::TransportError(error) => alert(error.code.into()),
        quinn::ConnectionError::ConnectionClosed(closed) => alert(closed.error_code.into()),
        quinn::ConnectionError::VersionMismatch => {
            let text = "the server speaks another version of QUIC";
            return Some(Fault::ProtocolUnavailable(text.to_owned()));
        }
        _ => None,
    }?;
    Some(match alert {
        AlertDescription::NoApplicationProtocol => Fault::ProtocolUnavailable(
            "HTTP/3 was asked for, and the server does not agree to it".to_owned(),
        ),
        other => Fault::Tls(TlsCause::Handshake(format!("{other:?}"))),
    })
}

/// What the peer thinks of our part of the handshake, if it closed the connection for that: the client has had its handshake by
/// then (RFC 9001, section 4.1.1).
pub(super) fn refused(error: &quinn::ConnectionError) -> Option<Fault> {
    let quinn::ConnectionError::ConnectionClosed(closed) = error else {
        return None;
    };
    let cause = alert(closed.error_code.into()).and_then(of_alert);
    cause.map(Fault::Tls)
}

/// The alert of TLS in a code of QUIC (RFC 9001, section 4.8).
fn alert(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(CRYPTO_ERROR)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}

fn cause(error: &StreamError, shared: &Shared) -> Cause {
    if let Some(verdict) = shared.verdict() {
        return Cause::Verdict(verdict);
    }
    match error {
        StreamError::StreamError { reason, .. } => Cause::Message(reason.to_lowercase()),
        StreamError::RemoteTerminate { code, .. } => of_code(*code, "stream reset"),
        StreamError::ConnectionError { 0: error, .. } => of_connection(error),
        StreamError::HeaderTooBig { .. } => Cause::Head,
        StreamError::RemoteClosing { .. } => {
            Cause::Refused("the server closes the connection".to_owned())
        }
        StreamError::Undefined { 0: error, .. } => match error.downcast_ref() {
            Some(Breach::Head) => Cause::Head,
            Some(breach @ Breach::Cut) => Cause::Broken(breach.to_string()),
            Some(breach) => Cause::Message(breach.to_string()),
            None => Cause::Broken(error.to_string()),
        },
        other => Cause::Broken(other.to_string()),
    }
}

fn of_connection(error: &ConnectionError) -> Cause {
    match error {
        ConnectionError::Local {
            error: LocalError::Application { code, .. },
            ..
        } if *code != Code::H3_NO_ERROR => {
            Cause::Rule(format!("the peer broke the rules of HTTP/3 ({code:?})"))
        }
        ConnectionError::Remote { 0: error, .. } => match error {
            ConnectionErrorIncoming::ApplicationClose { error_code } => {
                of_code(Code::from(*error_code), "connection closed")
            }
            ConnectionErrorIncoming::Undefined(error) => of_quic(error),
            other => Cause::Broken(other.to_string()),
        },
        ConnectionError::Timeout { .. } => Cause::Broken(SILENT.to_owned()),
        _ => Cause::Broken("the connection was closed".to_owned()),
    }
}

/// A code that the peer sent for a stream or the connection.
fn of_code(code: Code, what: &str) -> Cause {
    match code {
        Code::H3_REQUEST_REJECTED => Cause::Refused("H3_REQUEST_REJECTED".to_owned()),
        Code::H3_VERSION_FALLBACK => {
            Cause::Refused("the server does not serve it over HTTP/3".to_owned())
        }
        Code::H3_EXCESSIVE_LOAD => Cause::Calm("H3_EXCESSIVE_LOAD".to_owned()),
        code => Cause::Broken(format!("{what} ({code:?})")),
    }
}

fn of_quic(error: &Arc<dyn std::error::Error + Send + Sync>) -> Cause {
    match error.downcast_ref::<quinn::ConnectionError>() {
        Some(error) => refused(error).map_or_else(|| Cause::Broken(text(error)), Cause::Verdict),
        None => Cause::Broken(error.to_string()),
    }
}

/// True if the peer ended the connection and says that nothing is wrong (RFC 9114, section 8.1).
pub(super) fn is_in_order(error: &quinn::ConnectionError) -> bool {
    let quinn::ConnectionError::ApplicationClosed(closed) = error else {
        return false;
    };
    [0, Code::H3_NO_ERROR.value()].contains(&closed.error_code.into_inner())
}

/// A short text for people.
pub(super) fn text(error: &quinn::ConnectionError) -> String {
    match error {
        quinn::ConnectionError::TimedOut => SILENT.to_owned(),
        quinn::ConnectionError::Reset => "the peer has forgotten the connection".to_owned(),
        quinn::ConnectionError::LocallyClosed => "the connection was closed".to_owned(),
        other => other.to_string(),
    }
}

const SILENT: &str = "nothing was heard of the peer over UDP";
/// RFC 9000, section 20.1.
const CRYPTO_ERROR: u64 = 0x100;
