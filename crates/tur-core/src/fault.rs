//! Why something failed: causes, not places.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use thiserror::Error;

use crate::{ByteRange, Challenge, Wall};

/// What kind of failure the user sees: the stable word in events and the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anything else.
    Other,
    /// The caller asked for something that does not exist.
    Usage,
    /// A file: exists, not writable, vanished, cut.
    Local,
    /// Name resolution, connect, reset, time-out.
    Network,
    /// Certificate or handshake.
    Tls,
    /// Credentials are needed.
    Auth,
    /// Not valid HTTP.
    Protocol,
    /// The origin refused or could not.
    Server,
    /// No space, quota, file-size limit.
    DiskFull,
    /// A digest does not match.
    Checksum,
    /// The representation changed.
    Changed,
    /// Resuming was required and is impossible.
    NotResumable,
    /// Refused by policy.
    Policy,
    /// A bound was hit.
    Limit,
    /// Another process works on this target.
    Busy,
    /// Interrupted by the user.
    Signal,
}

impl Kind {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The exit code of the program. `signal` is 130 here; the program says 143 for SIGTERM.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        self.row().1
    }

    /// The one table of words and codes.
    const fn row(self) -> (&'static str, u8) {
        match self {
            Kind::Other => ("other", 1),
            Kind::Usage => ("usage", 2),
            Kind::Local => ("local", 3),
            Kind::Network => ("network", 4),
            Kind::Tls => ("tls", 5),
            Kind::Auth => ("auth", 6),
            Kind::Protocol => ("protocol", 7),
            Kind::Server => ("server", 8),
            Kind::DiskFull => ("disk full", 9),
            Kind::Checksum => ("checksum", 10),
            Kind::Changed => ("changed", 11),
            Kind::NotResumable => ("not resumable", 12),
            Kind::Policy => ("policy", 13),
            Kind::Limit => ("limit", 14),
            Kind::Busy => ("busy", 15),
            Kind::Signal => ("signal", 130),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// Seconds from now.
    Delay(Duration),
    /// A date.
    At(Wall),
}

/// Why TLS could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsCause {
    /// Nobody we trust vouches for the certificate.
    #[error("the certificate is not trusted ({0})")]
    Untrusted(String),
    /// The certificate is for another name.
    #[error("the certificate is for another name ({0})")]
    WrongName(String),
    /// Anything else in the handshake.
    #[error("TLS handshake failed ({0})")]
    Handshake(String),
}

/// What was waited for when time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// TCP connect and TLS handshake.
    Connect,
    /// The head of an answer.
    FirstByte,
    /// The next byte of a body.
    Body,
}

/// Why one attempt on one lane failed. One attempt yields one fault; whether it is tried again is decided by
/// `tur_sched`'s retry table alone. Texts may hold bytes from the network: escape them before they reach a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The host name has no address.
    #[error("cannot resolve {host}: {detail}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// No address could be connected to.
    #[error("cannot connect to {host}: {detail}")]
    Connect {
        /// `host:port`.
        host: String,
        /// The last error.
        detail: String,
    },
    /// Nobody was asked: this machine has no way to the network, or to a resolver, at the moment. Says nothing about
    /// the origin.
    #[error("cannot reach {host}: {detail}")]
    Offline {
        /// `host:port`, or the name that could not be looked up.
        host: String,
        /// The last error.
        detail: String,
    },
    /// No descriptor, memory or port was left for a connection.
    #[error("no more connections can be opened: {0}")]
    Exhausted(String),
    /// TLS.
    #[error("{0}")]
    Tls(TlsCause),
    /// Reset or broken before the head of an answer was complete.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The origin refused a request before it did anything about it (RFC 9113, section 8.7): it may be made again at once,
    /// on another connection if this one ends.
    #[error("the request was refused: {0}")]
    StreamRefused(String),
    /// The origin says that it is asked too much (`ENHANCE_YOUR_CALM`; RFC 9113, section 7).
    #[error("the server asks for calm: {0}")]
    Calm(String),
    /// The protocol that was asked for is not spoken there.
    #[error("{0}; leave the choice of the protocol open to use another")]
    ProtocolUnavailable(String),
    /// The body ended before its declared or marked end.
    #[error("the body ended early: {0}")]
    Truncated(String),
    /// Time ran out.
    #[error("{}", wait_text(*.0, *.1))]
    TimedOut(Wait, Duration),
    /// Not valid HTTP.
    #[error("not a valid HTTP answer: {0}")]
    Malformed(String),
    /// The head is larger than we take.
    #[error("the header section is too large: over {limit} bytes, or too many fields")]
    HeadTooLarge {
        /// The bound, in bytes.
        limit: usize,
    },
    /// More interim (1xx) answers than we take, or too many bytes of them.
    #[error("too many interim answers: more than {limit}, or too many bytes")]
    TooManyInterim {
        /// The bound.
        limit: usize,
    },
    /// A status that is not the file.
    #[error("{status} {reason}")]
    Status {
        /// Status code.
        status: u16,
        /// Reason phrase as it came.
        reason: String,
        /// When to come back.
        retry_after: Option<RetryAfter>,
        /// True with an authentication challenge.
        challenge: bool,
    },
    /// A page that asks for something came instead of the file.
    #[error("{}", .0.advice())]
    Challenged(Challenge),
    /// An answer that was read and not admitted.
    #[error("{0}")]
    NotAdmitted(Refusal),
    /// A body whose content coding is damaged.
    #[error("{0}")]
    Undecodable(String),
    /// A body that grows without measure while it is decoded.
    #[error("decoded, the file has more than {limit} times the bytes that were sent")]
    Inflated {
        /// The bound.
        limit: u64,
    },
    /// A redirect that policy refuses.
    #[error("{0}")]
    RedirectRefused(String),
    /// No address of the host is public, and others are refused.
    #[error("refused: {host} is at {address}, which is not a public address")]
    AddressRefused {
        /// The name, or the address itself.
        host: String,
        /// The first of its addresses.
        address: String,
    },
    /// Whoever resolves the host is not this machine, and addresses were to be checked.
    #[error(
        "refused: the proxy {proxy} would look up {host}, so nothing here can tell that its address is public"
    )]
    AddressUnchecked {
        /// The name.
        host: String,
        /// The proxy, without credentials.
        proxy: String,
    },
    /// The proxy does not connect, and would say the same again.
    #[error("the proxy {proxy} {cause}")]
    ProxyRefused {
        /// The proxy, without credentials.
        proxy: String,
        /// Why.
        cause: ProxyRefusal,
    },
    /// The proxy could not connect, or went away meanwhile.
    #[error("the proxy {proxy} {detail}")]
    ProxyFailed {
        /// The proxy, without credentials.
        proxy: String,
        /// What it said or did.
        detail: String,
    },
    /// More redirects than we follow.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The bound.
        limit: usize,
    },
}

impl Fault {
    /// How the failure is reported if it is final.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Resolve { .. }
            | Fault::Connect { .. }
            | Fault::Offline { .. }
            | Fault::Exhausted(_)
            | Fault::Lost(_)
            | Fault::StreamRefused(_)
            | Fault::Calm(_)
            | Fault::Truncated(_)
            | Fault::ProxyFailed { .. }
            | Fault::TimedOut(..) => Kind::Network,
            Fault::Tls(_) => Kind::Tls,
            Fault::Malformed(_) | Fault::ProtocolUnavailable(_) | Fault::Undecodable(_) => {
                Kind::Protocol
            }
            Fault::HeadTooLarge { .. }
            | Fault::TooManyInterim { .. }
            | Fault::Inflated { .. }
            | Fault::TooManyRedirects { .. } => Kind::Limit,
            Fault::Status {
                status: 401 | 407, ..
            }
            | Fault::Status {
                status: 403,
                challenge: true,
                ..
            } => Kind::Auth,
            Fault::Challenged(Challenge::Login) => Kind::Auth,
            Fault::Status { .. } | Fault::Challenged(_) => Kind::Server,
            Fault::NotAdmitted(refusal) => refusal.kind(),
            Fault::ProxyRefused { cause, .. } => cause.kind(),
            Fault::RedirectRefused(_)
            | Fault::AddressRefused { .. }
            | Fault::AddressUnchecked { .. } => Kind::Policy,
        }
    }
}

/// Why a proxy does not connect.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyRefusal {
    /// It wants credentials, or other ones.
    #[error("wants other credentials: {0}")]
    Credentials(String),
    /// Its rules are against it.
    #[error("refuses to connect: {0}")]
    Forbidden(String),
    /// What it says is not what such a proxy says.
    #[error("gave no valid answer: {0}")]
    Garbled(String),
    /// It says more than we take.
    #[error("answered with more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
}

impl ProxyRefusal {
    /// How the failure is reported if it is final.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            ProxyRefusal::Credentials(_) => Kind::Auth,
            ProxyRefusal::Forbidden(_) => Kind::Server,
            ProxyRefusal::Garbled(_) => Kind::Protocol,
            ProxyRefusal::TooLarge { .. } => Kind::Limit,
        }
    }
}

/// Why an answer was not admitted to the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another representation: restart or stop, by policy; never a mix.
    #[error("the file changed on the server: {0}")]
    Changed(String),
    /// 200 with equal identity where a range was asked.
    #[error("the server answered a range with the whole file")]
    RangeIgnored {
        /// True if the request carried `If-Range`: then it is asked once more without.
        if_range: bool,
    },
    /// 206 that starts after, or ends before, the first byte asked for.
    #[error("asked for {asked}, got {got}")]
    Misplaced {
        /// What was asked.
        asked: ByteRange,
        /// What came.
        got: ByteRange,
    },
    /// 206 without a usable `Content-Range`.
    #[error("206 without a usable Content-Range")]
    NoContentRange,
    /// 416 to a range that must exist, or that says nothing about the total.
    #[error("the server refuses ranges (416)")]
    Unsatisfiable,
    /// 416 to a request from exactly the known end, or to a first one from behind what it tells to be the end: there are
    /// no more bytes than these.
    #[error("the file ends at {total}")]
    AtEnd {
        /// Total length.
        total: u64,
    },
    /// A page where a file was: a login page or captive portal.
    #[error("an HTML page came instead of the file (a login page or captive portal?)")]
    Page,
    /// A validator that the identity has is missing.
    #[error("the answer lacks the validator that the file had ({0})")]
    ValidatorMissing(&'static str),
    /// Fields that contradict one another.
    #[error("contradictory answer: {0}")]
    Contradiction(String),
    /// A length was required, and only the end of the connection would end the file.
    #[error("the length is not told: only the end of the connection would end the file")]
    LengthUnknown,
    /// A media type that was not asked for.
    #[error("the server sends {got}, --accept-type asks for {wanted}")]
    TypeRefused {
        /// What comes.
        got: String,
        /// What was asked for.
        wanted: String,
    },
    /// It was to be decoded, and is in a coding that we have no decoder for.
    #[error(
        "the server sends the file coded ({0}), which cannot be decoded here; without --decode it is kept as it comes"
    )]
    CodingUnknown(String),
    /// It was to be decoded, and is a part: only the whole can be decoded.
    #[error("a part of a coded file cannot be decoded")]
    CodedPart,
    /// It was to be resumable, and is not.
    #[error("the download could not be resumed after a stop, as is required: {0}")]
    NotResumable(String),
}

impl Refusal {
    /// How the failure is reported if it is final.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Refusal::Changed(_) => Kind::Changed,
            Refusal::Page | Refusal::TypeRefused { .. } => Kind::Server,
            Refusal::LengthUnknown => Kind::Network,
            Refusal::NotResumable(_) => Kind::NotResumable,
            Refusal::RangeIgnored { .. }
            | Refusal::Misplaced { .. }
            | Refusal::NoContentRange
            | Refusal::Unsatisfiable
            | Refusal::AtEnd { .. }
            | Refusal::ValidatorMissing(_)
            | Refusal::CodingUnknown(_)
            | Refusal::CodedPart
            | Refusal::Contradiction(_) => Kind::Protocol,
        }
    }
}

fn wait_text(wait: Wait, limit: Duration) -> String {
    let what = match wait {
        Wait::Connect => "no connection",
        Wait::FirstByte => "no answer",
        Wait::Body => "no more data",
    };
    alloc::format!("{what} in {} s", limit.as_secs_f32())
}
