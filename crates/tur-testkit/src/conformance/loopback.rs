//! The loopback origin as the suite's rig: for every transport that has sockets.
//!
//! Read [`LoopbackRig`].

use std::sync::atomic::{AtomicU64, Ordering};

use tur_core::{Origin, Scheme, Target};

use super::Rig;
use crate::behaviour::Behaviour;
use crate::loopback::{Loopback, Refusing};

/// A loopback origin, each behaviour under a number of its own.
#[derive(Debug)]
pub struct LoopbackRig {
    /// The origin itself.
    pub loopback: Loopback,
    refusing: Refusing,
    next: AtomicU64,
}

impl LoopbackRig {
    /// Serves at an origin that was started.
    ///
    /// # Panics
    /// If the machine has no loopback port to give.
    #[must_use]
    pub fn new(loopback: Loopback) -> Self {
        Self {
            loopback,
            refusing: Refusing::start(),
            next: AtomicU64::new(0),
        }
    }

    fn origin(&self) -> Origin {
        let (scheme, host) = match self.loopback.ca_pem() {
            None => (Scheme::Http, "127.0.0.1"),
            Some(_) => (Scheme::Https, "localhost"),
        };
        Origin {
            scheme,
            host: host.to_owned(),
            port: self.loopback.port(),
        }
    }
}

impl Rig for LoopbackRig {
    fn serve(&self, behaviour: Behaviour) -> Target {
        let path = format!("/{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.loopback.swap(&path, behaviour);
        Target {
            origin: self.origin(),
            path,
        }
    }

    fn connections(&self) -> u64 {
        self.loopback.connections()
    }

    fn dead_origin(&self) -> Origin {
        Origin {
            scheme: self.origin().scheme,
            host: "127.0.0.1".to_owned(),
            port: self.refusing.port(),
        }
    }
}
