//! Between the transport that tries HTTP/3 and what decides whether it does: [`Http3Guide`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use tur_core::{Approach, Http3News, Origin};
use tur_net::Guide;
use tur_sched::Racing;

use crate::clock::Clock;
use crate::origins::Origins;

/// Asks tur-sched by what is remembered of origins, and remembers what came of it.
pub(crate) struct Http3Guide {
    origins: Origins,
    racing: Mutex<Racing>,
}

impl Http3Guide {
    pub(crate) fn new(origins: Origins) -> Self {
        Self {
            origins,
            racing: Mutex::default(),
        }
    }

    fn racing(&self) -> MutexGuard<'_, Racing> {
        // Each step leaves the counts whole, so a panic elsewhere spoils nothing.
        self.racing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guide for Http3Guide {
    fn approach(&self, origin: &Origin) -> Approach {
        let known = self.origins.http3(origin);
        self.racing()
            .approach(origin, known.as_ref(), Clock::wall())
    }

    fn told(&self, origin: &Origin, news: Http3News) {
        tracing::debug!(%origin, ?news, "HTTP/3");
        let fact = self.racing().told(origin, news);
        if let Some(fact) = fact {
            self.origins.note_http3(origin, fact);
        }
    }
}
