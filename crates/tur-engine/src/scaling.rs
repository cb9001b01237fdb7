//! How many lanes each origin gets, carried between its machine and the drivers.
//!
//! Read [`Scaling`]: one [`OriginLanes`] per origin decides, this brings it what drivers see and brings them its words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tur_core::{Origin, Timestamp};
use tur_sched::{Facts, LanesAction, LanesEvent, OriginLanes, Profile, ScalerConfig, ScalerNote};

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
    lanes_max: u16,
    origins: BTreeMap<Origin, Entry>,
    drivers: BTreeMap<u64, mpsc::UnboundedSender<Order>>,
}

struct Entry {
    lanes: OriginLanes,
    members: usize,
}

impl Scaling {
    /// Scalers of at most `lanes_max` lanes to an origin.
    pub(crate) fn new(lanes_max: u16) -> Self {
        let shared = Shared {
            lanes_max,
            origins: BTreeMap::new(),
            drivers: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
        }
    }

    /// Raises the number of lanes per origin to at least `n`, for origins that are met from now on.
    pub(crate) fn raise_limit(&self, n: u16) {
        let mut shared = self.lock();
        shared.lanes_max = shared.lanes_max.max(n);
    }

    /// Adds a driver. Its orders are few: one for each decision.
    pub(crate) fn enlist(&self, transfer: u64) -> mpsc::UnboundedReceiver<Order> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().drivers.insert(transfer, sender);
        receiver
    }

    /// A transfer now works at `origin`. Its first one begins with what is remembered of it.
    pub(crate) fn join(
        &self,
        now: Timestamp,
        origin: &Origin,
        event: LanesEvent,
        profile: Option<&Profile>,
    ) {
        let mut shared = self.lock();
        let config = ScalerConfig {
            lanes_max: shared.lanes_max,
            lanes_start: profile.map_or(1, |profile| profile.lanes),
            limit: profile.and_then(|profile| Some(profile.lanes_limit?.lanes)),
        };
        let entry = shared
            .origins
            .entry(origin.clone())
            .or_insert_with(|| Entry {
                lanes: OriginLanes::new(config, now),
                members: 0,
            });
        entry.members += 1;
        shared.tell(now, origin, event);
    }

    /// A transfer no longer works at `origin`. Returns what was measured there. With the last transfer the scaler goes
    /// too: what it knows is for the memory to keep.
    pub(crate) fn part(&self, now: Timestamp, origin: &Origin, transfer: u64) -> Option<Facts> {
        let mut shared = self.lock();
        shared.tell(now, origin, LanesEvent::Gone { transfer });
        let entry = shared.origins.get_mut(origin)?;
        let facts = entry.lanes.facts();
        entry.members = entry.members.saturating_sub(1);
        if entry.members == 0 {
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
                    for transfer in self.drivers.keys() {
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
