//! What a file keeps of HTTP/3 at one origin: [`Http3Record`].

use serde::{Deserialize, Serialize};
use tur_core::{Alternative, Origin, Rate, Scheme, Wall};
use tur_sched::{Http3, Offered};

/// One origin. Dates in seconds since 1970, rates in bytes per second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Http3Record {
    https: bool,
    host: String,
    port: u16,
    offer: Option<OfferRecord>,
    worked: Option<i64>,
    failures: u8,
    not_before: Option<i64>,
    rate: Option<u64>,
    tcp_rate: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct OfferRecord {
    host: Option<String>,
    port: u16,
    until: i64,
    persist: bool,
}

impl Http3Record {
    pub(super) fn new(origin: &Origin, known: &Http3) -> Self {
        let offer = known.offer.as_ref().map(|offer| OfferRecord {
            host: offer.alternative.host.clone(),
            port: offer.alternative.port,
            until: offer.until.unix_secs(),
            persist: offer.persist,
        });
        Self {
            https: origin.scheme == Scheme::Https,
            host: origin.host.clone(),
            port: origin.port,
            offer,
            worked: known.worked.map(Wall::unix_secs),
            failures: known.failures,
            not_before: known.not_before.map(Wall::unix_secs),
            rate: known.rate.map(Rate::bytes_per_second),
            tcp_rate: known.tcp_rate.map(Rate::bytes_per_second),
        }
    }
}

impl From<Http3Record> for (Origin, Http3) {
    fn from(record: Http3Record) -> Self {
        let origin = Origin {
            scheme: match record.https {
                true => Scheme::Https,
                false => Scheme::Http,
            },
            host: record.host,
            port: record.port,
        };
        let offer = record.offer.map(|offer| Offered {
            alternative: Alternative {
                host: offer.host,
                port: offer.port,
            },
            until: Wall::from_unix_secs(offer.until),
            persist: offer.persist,
        });
        let known = Http3 {
            offer,
            worked: record.worked.map(Wall::from_unix_secs),
            failures: record.failures,
            not_before: record.not_before.map(Wall::from_unix_secs),
            rate: record.rate.map(Rate::per_second),
            tcp_rate: record.tcp_rate.map(Rate::per_second),
        };
        (origin, known)
    }
}
