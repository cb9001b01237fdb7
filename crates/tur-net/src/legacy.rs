//! Origins that said they want HTTP/1.1, remembered for as long as the transport lives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tur_core::Origin;

/// Origins that answered `HTTP_1_1_REQUIRED` (RFC 9113, section 7): the last [`ORIGINS_MAX`] of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy(Arc<Mutex<VecDeque<Origin>>>);

impl Legacy {
    /// True if `origin` wants HTTP/1.1.
    pub(crate) fn contains(&self, origin: &Origin) -> bool {
        let Self(origins) = self;
        let origins = origins.lock().unwrap_or_else(PoisonError::into_inner);
        origins.contains(origin)
    }

    /// A way to say it of one origin.
    pub(crate) fn note(&self, origin: &Origin) -> LegacyNote {
        LegacyNote {
            legacy: self.clone(),
            origin: origin.clone(),
        }
    }
}

/// Says of one origin that it wants HTTP/1.1.
#[derive(Debug)]
pub(crate) struct LegacyNote {
    legacy: Legacy,
    origin: Origin,
}

impl LegacyNote {
    pub(crate) fn set(&self) {
        let Legacy(origins) = &self.legacy;
        let mut origins = origins.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.contains(&self.origin) {
            return;
        }
        if origins.len() >= ORIGINS_MAX {
            origins.pop_front();
        }
        origins.push_back(self.origin.clone());
    }
}

/// Few servers say it, mostly for client certificates.
const ORIGINS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use tur_core::Scheme;

    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let origin = |port| Origin {
            scheme: Scheme::Https,
            host: "h".to_owned(),
            port,
        };
        let legacy = Legacy::default();
        for port in 0..100 {
            legacy.note(&origin(port)).set();
            legacy.note(&origin(port)).set();
        }
        assert!(!legacy.contains(&origin(35)));
        assert!((36..100).all(|port| legacy.contains(&origin(port))));
    }
}
