//! Which fault is worth another attempt: one exhaustive match on a typed fault.
//!
//! Read [`remedy`]. `docs/retry.md` shows it as a table, and the test below keeps the two equal.

use core::time::Duration;

use tur_core::{Fault, RetryAfter};

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Another attempt after a backoff.
    Again,
    /// Another attempt at once; after a second one in a row that failed, as `Again`.
    AtOnce,
    /// The origin (or this machine) takes fewer connections: another attempt with fewer lanes.
    Fewer,
    /// The URL may have expired: ask the user's URL again if this one was derived from it; else it is final.
    Resolve,
    /// Worth another attempt only if the origin has already answered well.
    IfProven,
    /// The network is away. If the origin has already answered well, wait for the network without using up an
    /// attempt; else another attempt after a backoff.
    Await,
    /// Final.
    Never,
}

impl Remedy {
    /// The word for it in `docs/retry.md`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Remedy::Again => "again",
            Remedy::AtOnce => "at once",
            Remedy::Fewer => "fewer",
            Remedy::Resolve => "resolve",
            Remedy::IfProven => "if proven",
            Remedy::Await => "await",
            Remedy::Never => "never",
        }
    }
}

/// The table of faults and remedies. `NotAdmitted` is not final here: what a refused answer means depends on the
/// transfer, which decides before it asks; what it leaves undecided is tried again.
#[must_use]
pub fn remedy(fault: &Fault) -> Remedy {
    match fault {
        Fault::Lost(_) | Fault::Truncated(_) | Fault::TimedOut(..) => Remedy::Again,
        Fault::NotAdmitted(_) => Remedy::Again,
        // Nothing was done about the request, so nothing speaks against making it again.
        Fault::StreamRefused(_) => Remedy::AtOnce,
        // Asking again changes nothing about who asks; another way to the file may.
        Fault::Challenged(_) => Remedy::Resolve,
        // An origin that refuses a connection while it serves others has had enough of them.
        Fault::Connect { .. }
        | Fault::ProxyFailed { .. }
        | Fault::Exhausted(_)
        | Fault::Calm(_) => Remedy::Fewer,
        Fault::Resolve { .. } | Fault::Malformed(_) | Fault::ProxyRefused { .. } => {
            Remedy::IfProven
        }
        Fault::Offline { .. } => Remedy::Await,
        Fault::Status { status, .. } => match status {
            429 | 503 => Remedy::Fewer,
            // 421 is answered to a connection, not to a request; 425 asks for another try (RFC 8470, section 5.2).
            408 | 421 | 425 | 500 | 502 | 504 | 520..=524 => Remedy::Again,
            401 | 403 | 404 | 410 => Remedy::Resolve,
            _ => Remedy::Never,
        },
        Fault::Tls(_)
        | Fault::ProtocolUnavailable(_)
        | Fault::HeadTooLarge { .. }
        | Fault::TooManyInterim { .. }
        | Fault::Undecodable(_)
        | Fault::Inflated { .. }
        | Fault::RedirectRefused(_)
        | Fault::AddressRefused { .. }
        | Fault::AddressUnchecked { .. }
        | Fault::TooManyRedirects { .. } => Remedy::Never,
        // Faults added later are final until a line here says otherwise.
        _ => Remedy::Never,
    }
}

/// How long the origin asked to wait before the next attempt: with 429 (RFC 6585, section 4) and with errors of the
/// server (RFC 9110, section 10.2.3). What comes with another status is not about trying again.
///
/// A machine has no wall clock: the engine turns dates into delays before it tells of a fault.
pub(crate) fn asked_wait(fault: &Fault) -> Option<Duration> {
    match fault {
        Fault::Status {
            status: 429 | 500..=599,
            retry_after: Some(RetryAfter::Delay(delay)),
            ..
        } => Some(*delay),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::string::String;
    use std::vec::Vec;

    use tur_core::{Challenge, ProxyRefusal, Refusal, TlsCause, Wait};

    use super::*;

    /// What the documentation says, and where faults are declared.
    const DOCS: &str = include_str!("../../../docs/retry.md");
    const FAULTS: &str = include_str!("../../tur-core/src/fault.rs");

    fn status(status: u16, retry_after: Option<RetryAfter>) -> Fault {
        Fault::Status {
            status,
            reason: "no".into(),
            retry_after,
            challenge: false,
        }
    }

    /// One of each, but for statuses.
    fn specimens() -> Vec<(&'static str, Fault)> {
        let (host, detail) = (String::from("h"), String::from("d"));
        let text = || String::from("t");
        [
            Fault::Resolve {
                host: host.clone(),
                detail: detail.clone(),
            },
            Fault::Connect {
                host: host.clone(),
                detail: detail.clone(),
            },
            Fault::Offline { host, detail },
            Fault::AddressRefused {
                host: text(),
                address: text(),
            },
            Fault::AddressUnchecked {
                host: text(),
                proxy: text(),
            },
            Fault::ProxyRefused {
                proxy: text(),
                cause: ProxyRefusal::Forbidden(text()),
            },
            Fault::ProxyFailed {
                proxy: text(),
                detail: text(),
            },
            Fault::Undecodable(text()),
            Fault::Inflated { limit: 1 },
            Fault::Exhausted(text()),
            Fault::Tls(TlsCause::Handshake(text())),
            Fault::Lost(text()),
            Fault::StreamRefused(text()),
            Fault::Calm(text()),
            Fault::ProtocolUnavailable(text()),
            Fault::Truncated(text()),
            Fault::TimedOut(Wait::Body, Duration::ZERO),
            Fault::Malformed(text()),
            Fault::HeadTooLarge { limit: 1 },
            Fault::TooManyInterim { limit: 1 },
            Fault::Challenged(Challenge::Captcha),
            Fault::NotAdmitted(Refusal::Page),
            Fault::RedirectRefused(text()),
            Fault::TooManyRedirects { limit: 1 },
        ]
        .into_iter()
        .map(|fault| (name(&fault), fault))
        .collect()
    }

    fn name(fault: &Fault) -> &'static str {
        let debug = std::format!("{fault:?}");
        let name = debug.split([' ', '(', '{']).next().expect("a name");
        declared()
            .into_iter()
            .find(|known| *known == name)
            .expect("it is declared")
    }

    /// The variants in the source: a new one cannot be forgotten here.
    fn declared() -> BTreeSet<&'static str> {
        let body = FAULTS
            .split_once("pub enum Fault {")
            .expect("the enum is there")
            .1;
        body.split_once("\n}")
            .expect("the enum ends")
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with(char::is_uppercase))
            .map(|line| line.split([' ', '(', ',']).next().expect("a name"))
            .collect()
    }

    /// Rows of the table: the code in the first column, the word in the second.
    fn rows() -> Vec<(Vec<&'static str>, &'static str)> {
        let rows = DOCS.lines().filter(|line| line.starts_with("| `"));
        rows.map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let codes = cells[1].split('`').skip(1).step_by(2).collect();
            (codes, cells[2])
        })
        .collect()
    }

    fn statuses(text: &str) -> Vec<u16> {
        let number = |text: &str| text.trim().parse().expect("a status");
        match text.split_once('-') {
            Some((from, to)) => (number(from)..=number(to)).collect(),
            None => std::vec![number(text)],
        }
    }

    #[test]
    fn every_fault_has_the_remedy_that_the_documentation_says() {
        let mut told = BTreeMap::new();
        for (codes, word) in rows() {
            for code in codes.into_iter().filter(|code| !code.starts_with("Status")) {
                assert!(told.insert(code, word).is_none(), "{code} is there twice");
            }
        }
        let built: BTreeMap<_, _> = specimens()
            .iter()
            .map(|(name, fault)| (*name, remedy(fault).as_str()))
            .collect();
        assert_eq!(told, built);
        let known: BTreeSet<_> = built.into_keys().chain(["Status"]).collect();
        assert_eq!(known, declared(), "every variant has a specimen");
    }

    #[test]
    fn every_status_has_the_remedy_that_the_documentation_says() {
        let (mut told, mut others) = (BTreeMap::new(), None);
        for (codes, word) in rows() {
            for code in codes {
                match code.strip_prefix("Status") {
                    Some("") => others = Some(word),
                    Some(numbers) => told.extend(
                        numbers
                            .split(',')
                            .flat_map(statuses)
                            .map(|number| (number, word)),
                    ),
                    None => {}
                }
            }
        }
        for number in 100..=999 {
            let word = told.get(&number).copied().or(others);
            assert_eq!(
                Some(remedy(&status(number, None)).as_str()),
                word,
                "{number}"
            );
        }
    }

    #[test]
    fn only_429_and_errors_of_the_server_ask_to_wait() {
        let hour = Duration::from_secs(3_600);
        for number in [
            301, 404, 408, 413, 421, 425, 429, 451, 499, 500, 503, 522, 599,
        ] {
            let asked = asked_wait(&status(number, Some(RetryAfter::Delay(hour))));
            let heard = number == 429 || number >= 500;
            assert_eq!(asked, heard.then_some(hour), "{number}");
        }
        assert_eq!(asked_wait(&status(503, None)), None);
    }
}
