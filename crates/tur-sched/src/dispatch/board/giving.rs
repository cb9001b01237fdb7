//! Permits that are to be given back: who is told, who keeps his, who goes to the end of his line, and whether the one
//! that it is for can have it.
//!
//! Read [`Board::close`].

use super::super::TicketId;
use super::super::lines::{Candidate, Room, SiteId, Slot};
use super::Board;

impl Board {
    /// A running ticket is told to give its permit back.
    pub(in super::super) fn close(&mut self, id: TicketId) {
        let Some(ticket) = self.tickets.get_mut(&id) else {
            return;
        };
        let Some(run) = ticket.run.as_mut().filter(|run| !run.closing) else {
            return;
        };
        run.closing = true;
        self.closing += 1;
        self.victims.remove(&id);
        if let Some(site) = self.sites.get_mut(&ticket.site) {
            site.closing += 1;
        }
    }

    /// A ticket that was told to give its permit back does not, and is not asked again.
    pub(in super::super) fn keep(&mut self, id: TicketId) {
        let Some(ticket) = self.tickets.get_mut(&id) else {
            return;
        };
        let Some(run) = ticket.run.as_mut().filter(|run| run.closing) else {
            return;
        };
        (run.closing, run.kept) = (false, true);
        self.closing -= 1;
        if let Some(site) = self.sites.get_mut(&ticket.site) {
            site.closing -= 1;
        }
    }

    /// What keeps prefetches for an origin from starting, if nothing is on its way back there: that origin, or none if it is
    /// the process. `None` if nothing does.
    pub(in super::super) fn full_for_prefetch(&self, id: SiteId) -> Option<Option<SiteId>> {
        let site = self.sites.get(&id)?;
        if self.room_at(id, site) != Room::Everybody {
            return (site.closing == 0).then_some(Some(id));
        }
        (!self.has_room(Slot::PREFETCH[0]) && self.closing == 0).then_some(None)
    }

    /// The peer of this ticket goes to the end of the lines of prefetches.
    pub(in super::super) fn step_back(&mut self, id: TicketId) {
        let Some(peer) = self.tickets.get(&id).map(|ticket| ticket.peer) else {
            return;
        };
        let turn = self.number();
        self.relist(peer, |peer| {
            for slot in Slot::PREFETCH {
                peer.turns[slot.0] = turn;
            }
        });
    }

    /// True if such a ticket waits.
    pub(in super::super) fn is_waiting(&self, id: TicketId) -> bool {
        let ticket = self.tickets.get(&id);
        ticket.is_some_and(|ticket| ticket.run.is_none())
    }

    /// A ticket that waits, if every cap lets it start.
    pub(in super::super) fn startable(&self, id: TicketId) -> Option<Candidate> {
        let ticket = self.tickets.get(&id).filter(|t| t.run.is_none())?;
        let peer = self.peers.get(&ticket.peer)?;
        let slot = peer.slot(ticket.command.now);
        let room = self.room_at(ticket.site, self.sites.get(&ticket.site)?);
        let has_room = match room {
            Room::Nobody => false,
            Room::Urgent => slot.is_urgent(),
            Room::Everybody => true,
        };
        (has_room && peer.room() > 0 && self.has_room(slot)).then_some(Candidate {
            ticket: id,
            peer: ticket.peer,
            site: ticket.site,
            slot,
        })
    }
}
