//! What the outside may look at while the driver works: the latest progress, and the events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::{Event, Progress, What};

/// Events kept for a slow subscriber before it lags.
const EVENTS_MAX: usize = 1_024;

/// Shared by a handle and its driver. Only the driver writes.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    id: u64,
    progress: Arc<Mutex<Progress>>,
    events: broadcast::WeakSender<Event>,
}

impl Board {
    /// A board, the sender that keeps its events open, and the receiver that has seen none yet.
    pub(crate) fn new(id: u64) -> (Self, broadcast::Sender<Event>, broadcast::Receiver<Event>) {
        let (sender, receiver) = broadcast::channel(EVENTS_MAX);
        let board = Self {
            id,
            progress: Arc::default(),
            events: sender.downgrade(),
        };
        (board, sender, receiver)
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        // A snapshot is whole after any panic: each field is written by itself.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever listens; nobody has to.
    pub(crate) fn tell(&self, t: Duration, what: What) {
        if let Some(events) = self.events.upgrade()
            && events.receiver_count() > 0
        {
            drop(events.send(Event {
                id: self.id,
                t,
                what,
            }));
        }
    }

    /// Events from now on; a closed stream once the download is over.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }
}
