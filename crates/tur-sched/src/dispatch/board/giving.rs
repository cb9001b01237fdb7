//! Permits that are to be given back: who is told, who keeps his, and who goes to the end of his line.
//!
//! Read [`Board::close`].

use super::super::TicketId;
use super::super::lines::{Room, SiteId, Slot};
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
}
