//! Which fault is worth another attempt: one exhaustive match on a typed fault.

use tur_core::Fault;

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt after a backoff.
    Again,
    /// The origin (or this machine) takes fewer connections: another attempt with fewer lanes.
    Fewer,
    /// The URL may have expired: ask the user's URL again if this one was derived from it; else it is final.
    Resolve,
    /// Worth another attempt only if the origin has already answered well.
    IfProven,
    /// Final.
    Never,
}

/// The table of faults and remedies. `NotAdmitted` is not in it: what a refused answer means depends on the transfer,
/// which decides before it asks here; what it leaves undecided is tried again.
#[must_use]
pub fn remedy(fault: &Fault) -> Remedy {
    match fault {
        Fault::Lost(_) | Fault::Truncated(_) | Fault::TimedOut(..) => Remedy::Again,
        Fault::NotAdmitted(_) => Remedy::Again,
        // An origin that refuses a connection while it serves others has had enough of them.
        Fault::Connect { .. } | Fault::Exhausted(_) => Remedy::Fewer,
        Fault::Resolve { .. } | Fault::Malformed(_) => Remedy::IfProven,
        Fault::Status { status, .. } => match status {
            429 | 503 => Remedy::Fewer,
            // 421 is answered to a connection, not to a request; 425 asks for another try (RFC 8470, section 5.2).
            408 | 421 | 425 | 500 | 502 | 504 | 520..=524 => Remedy::Again,
            401 | 403 | 404 | 410 => Remedy::Resolve,
            _ => Remedy::Never,
        },
        Fault::Tls(_)
        | Fault::HeadTooLarge { .. }
        | Fault::TooManyInterim { .. }
        | Fault::RedirectRefused(_)
        | Fault::TooManyRedirects { .. } => Remedy::Never,
        // Faults added later are final until a line here says otherwise.
        _ => Remedy::Never,
    }
}
