//! Who stands in line: the first ticket of each peer at each origin, in four slots, so that the next one is found without
//! looking at those that cannot start.
//!
//! Read [`Lines`]. A row is what waits in one slot for one origin, in the order of turns. The front of a slot has the
//! first of each row whose origin has room: an origin at its cap takes its rows out of the fronts at once, however many
//! wait for it.

use alloc::collections::{BTreeMap, BTreeSet};

use tur_core::Timestamp;

use super::{PeerId, Priority, TicketId};

/// An origin, numbered by the dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SiteId(pub(super) u64);

/// A slot, from 0 (first) to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) usize);

impl Slot {
    pub(super) const ALL: [Slot; 4] = [Slot(0), Slot(1), Slot(2), Slot(3)];
    pub(super) const URGENT: [Slot; 2] = [Slot(0), Slot(1)];
    pub(super) const PREFETCH: [Slot; 2] = [Slot(2), Slot(3)];

    pub(super) fn is_urgent(self) -> bool {
        self.0 < 2
    }
}

/// Since when a ticket waits, and its number among those of the same moment.
pub(super) type Age = (Timestamp, u64);

/// The order within a slot: the turn of the peer, then the age of the ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) turn: u64,
    pub(super) age: Age,
}

/// A ticket that stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) ticket: TicketId,
    pub(super) peer: PeerId,
    pub(super) site: SiteId,
    pub(super) slot: Slot,
}

/// For whom an origin has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Everybody,
    /// But not for prefetches.
    Urgent,
    Nobody,
}

type Row = BTreeMap<Place, Candidate>;

/// All four slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    rows: [BTreeMap<SiteId, Row>; 4],
    fronts: [BTreeMap<Place, Candidate>; 4],
    /// Origins without room for urgent work, and without room for prefetches.
    shut: [BTreeSet<SiteId>; 2],
}

impl Lines {
    pub(super) fn insert(&mut self, place: Place, who: Candidate) {
        self.change(who.slot, who.site, |row| {
            row.insert(place, who);
        });
    }

    pub(super) fn remove(&mut self, slot: Slot, site: SiteId, place: Place) {
        self.change(slot, site, |row| {
            row.remove(&place);
        });
    }

    /// Says for whom an origin has room.
    pub(super) fn set_room(&mut self, site: SiteId, room: Room) {
        let has = [room != Room::Nobody, room == Room::Everybody];
        for slot in Slot::ALL {
            let has_room = has[class(slot)];
            let was_shut = self.shut[class(slot)].contains(&site);
            if was_shut != has_room {
                continue;
            }
            let Some((place, who)) = self.head(slot, site) else {
                continue;
            };
            if has_room {
                self.fronts[slot.0].insert(place, who);
            } else {
                self.fronts[slot.0].remove(&place);
            }
        }
        for (shut, room) in self.shut.iter_mut().zip(has) {
            if room {
                shut.remove(&site);
            } else {
                shut.insert(site);
            }
        }
    }

    /// The first of a slot whose origin has room.
    pub(super) fn first(&self, slot: Slot) -> Option<Candidate> {
        self.fronts[slot.0].first_key_value().map(|(_, who)| *who)
    }

    /// The first of a slot for one origin, if that has room.
    pub(super) fn first_at(&self, slot: Slot, site: SiteId) -> Option<Candidate> {
        if self.shut[class(slot)].contains(&site) {
            return None;
        }
        self.head(slot, site).map(|(_, who)| who)
    }

    /// Every origin for which something waits in a slot, with the first ticket of each peer.
    pub(super) fn rows(
        &self,
        slot: Slot,
    ) -> impl Iterator<Item = (SiteId, impl Iterator<Item = &Candidate>)> {
        let rows = self.rows[slot.0].iter();
        rows.map(|(site, row)| (*site, row.values()))
    }

    /// Whether urgent tickets wait whose peers are below their caps.
    pub(super) fn is_urgent(&self) -> bool {
        Slot::URGENT.iter().any(|slot| self.waits(*slot))
    }

    /// Whether tickets of a slot wait whose peers are below their caps.
    pub(super) fn waits(&self, slot: Slot) -> bool {
        !self.rows[slot.0].is_empty()
    }

    fn head(&self, slot: Slot, site: SiteId) -> Option<(Place, Candidate)> {
        let row = self.rows[slot.0].get(&site)?;
        row.first_key_value().map(|(place, who)| (*place, *who))
    }

    /// Changes a row, and the front with it if another one comes to stand first.
    fn change(&mut self, slot: Slot, site: SiteId, change: impl FnOnce(&mut Row)) {
        let rows = &mut self.rows[slot.0];
        let row = rows.entry(site).or_default();
        let before = row.first_key_value().map(|(place, who)| (*place, *who));
        change(row);
        let after = row.first_key_value().map(|(place, who)| (*place, *who));
        if row.is_empty() {
            rows.remove(&site);
        }
        if before == after || self.shut[class(slot)].contains(&site) {
            return;
        }
        let front = &mut self.fronts[slot.0];
        if let Some((place, _)) = before {
            front.remove(&place);
        }
        if let Some((place, who)) = after {
            front.insert(place, who);
        }
    }
}

/// Slots 0 and 1 share a limit at each origin, and so do 2 and 3.
fn class(slot: Slot) -> usize {
    usize::from(!slot.is_urgent())
}

/// A ticket that is to wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) ticket: TicketId,
    pub(super) peer: PeerId,
    pub(super) priority: Priority,
    pub(super) live: bool,
    pub(super) since: Timestamp,
}

/// The peer's priority decides first.
pub(super) fn slot(peer: Priority, command: Priority) -> Slot {
    Slot(2 * usize::from(peer == Priority::Low) + usize::from(command == Priority::Low))
}
