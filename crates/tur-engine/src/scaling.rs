//! How many lanes each origin gets, carried between its machine and the drivers.
//!
//! Read [`Scaling`]: one [`OriginLanes`] per origin decides, this brings it what drivers see and brings them its words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tur_core::{Origin, Timestamp};
use tur_sched::{Facts, LanesAction, LanesEvent, OriginLanes, ScalerConfig, ScalerNote};

/// What a scaler says to a driver.
#[derive(Debug)]
pub(crate) enum Order {
    /// So many lanes may work.
    Width(u16),
    /// A decision.
    Note(ScalerNote),
}

/// The scalers of a downloader. Clones share them.
#[derive(Clone)]
pub(crate) struct Scaling {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    origins: BTreeMap<Origin, Entry>,
    drivers: BTreeMap<u64, mpsc::UnboundedSender<Order>>,
}

struct Entry {
    lanes: OriginLanes,
    members: BTreeSet<u64>,
}

impl Scaling {
    /// No scaler yet.
    pub(crate) fn new() -> Self {
        let shared = Shared {
            origins: BTreeMap::new(),
            drivers: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Adds a driver. Its orders are few: one for each decision.
    pub(crate) fn enlist(&self, transfer: u64) -> mpsc::UnboundedReceiver<Order> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().drivers.insert(transfer, sender);
        receiver
    }

    /// A transfer now works at `origin`: the event is its `Join`. The first one brings the scaler's beginning.
    pub(crate) fn join(
        &self,
        now: Timestamp,
        origin: &Origin,
        event: LanesEvent,
        config: ScalerConfig,
    ) {
        let mut shared = self.lock();
        let entry = shared
            .origins
            .entry(origin.clone())
            .or_insert_with(|| Entry {
                lanes: OriginLanes::new(config, now),
                members: BTreeSet::new(),
            });
        if let LanesEvent::Join { transfer, .. } = event {
            entry.members.insert(transfer);
        }
        // A download with more lanes than the others may have raised what an origin can have.
        let lanes = config.lanes_max;
        shared.tell(now, origin, LanesEvent::Room { lanes });
        shared.tell(now, origin, event);
    }

    /// A transfer no longer works at `origin`. Returns what was measured there. With the last transfer the scaler goes
    /// too: what it knows is for the memory to keep.
    pub(crate) fn part(&self, now: Timestamp, origin: &Origin, transfer: u64) -> Option<Facts> {
        let mut shared = self.lock();
        shared.tell(now, origin, LanesEvent::Gone { transfer });
        let entry = shared.origins.get_mut(origin)?;
        let facts = entry.lanes.facts();
        entry.members.remove(&transfer);
        if entry.members.is_empty() {
            shared.origins.remove(origin);
        }
        Some(facts)
    }

    /// Removes a driver.
    pub(crate) fn discharge(&self, transfer: u64) {
        self.lock().drivers.remove(&transfer);
    }

    /// Tells the origin's scaler what happened.
    pub(crate) fn tell(&self, now: Timestamp, origin: &Origin, event: LanesEvent) {
        self.lock().tell(now, origin, event);
    }

    /// When the origin's scaler wants a tick.
    pub(crate) fn next_wakeup(&self, origin: &Origin) -> Option<Timestamp> {
        self.lock().origins.get(origin)?.lanes.next_wakeup()
    }

    /// True if no transfer works anywhere, and none listens.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let shared = self.lock();
        shared.origins.is_empty() && shared.drivers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Each step leaves every machine whole, so a panic elsewhere spoils nothing.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn tell(&mut self, now: Timestamp, origin: &Origin, event: LanesEvent) {
        let Some(entry) = self.origins.get_mut(origin) else {
            return;
        };
        entry.lanes.handle(now, event);
        while let Some(action) = entry.lanes.poll_action() {
            match action {
                LanesAction::Width { transfer, lanes } => {
                    say(&self.drivers, transfer, Order::Width(lanes));
                }
                LanesAction::Note(note) => {
                    for transfer in &entry.members {
                        say(&self.drivers, *transfer, Order::Note(note));
                    }
                }
            }
        }
    }
}

/// A driver that has ended needs no more orders.
fn say(drivers: &BTreeMap<u64, mpsc::UnboundedSender<Order>>, transfer: u64, order: Order) {
    if let Some(driver) = drivers.get(&transfer) {
        drop(driver.send(order));
    }
}
