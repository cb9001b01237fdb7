//! What the outside may look at while the driver works: the latest progress, and the events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::bus::{Listener, Scope};
use crate::metrics::Shown;
use crate::{Progress, What};

/// Shared by a handle and its driver. Only the driver writes.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    id: u64,
    progress: Arc<Mutex<Progress>>,
    metrics: Shown,
    scope: Scope,
}

impl Board {
    /// A board whose events are told in `scope`.
    pub(crate) fn new(id: u64, scope: Scope) -> Self {
        Self {
            id,
            progress: Arc::default(),
            metrics: Shown::default(),
            scope,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        // A snapshot is whole after any panic: each field is written by itself.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was counted, as of the latest snapshot.
    pub(crate) fn metrics(&self) -> &Shown {
        &self.metrics
    }

    /// Tells whoever listens; nobody has to.
    pub(crate) fn tell(&self, t: Duration, what: What) {
        self.tell_with(t, || what);
    }

    /// Tells whoever listens what is made only for them.
    pub(crate) fn tell_with(&self, t: Duration, what: impl FnOnce() -> What) {
        self.scope.publish(self.id, t, what);
    }

    /// True if anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.scope.is_heard()
    }

    /// Events from now on, of which so many are kept; none once the download is over.
    pub(crate) fn subscribe(&self, room: usize) -> Listener {
        self.scope.subscribe(room)
    }
}
