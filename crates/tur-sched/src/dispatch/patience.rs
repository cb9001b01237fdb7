//! Whose permit is given on when prefetches have waited for too long behind prefetches that do not end.
//!
//! Read [`next`]. Ageing counts starts; where one peer has every permit and holds it for hours there are none. So time is
//! looked at too, and who has nothing gets one permit of who has most. It cannot go back and forth: one permit is nothing to
//! take, who has given goes to the end of its line, and what it gave is promised to the one for whom it was taken,
//! whatever else is asked for meanwhile.

use core::cmp::Reverse;

use tur_core::Timestamp;

use super::board::Board;
use super::lines::{Candidate, Slot};
use super::{Demand, LOOK_EVERY, PATIENCE, PeerId, TicketId};

/// A permit that is to be given on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gift {
    /// Who is to give it back.
    pub(super) from: TicketId,
    /// Who has waited for it.
    pub(super) to: TicketId,
}

/// Takes a permit for a peer that has waited for too long and has none, if there is one to take.
pub(super) fn next(board: &mut Board, now: Timestamp, demand: &dyn Demand) -> Option<Gift> {
    let gift = starved(board, now).find_map(|who| {
        let from = victim(board, now, demand, who)?;
        let to = who.ticket;
        Some(Gift { from, to })
    })?;
    board.close(gift.from);
    board.step_back(gift.from);
    Some(gift)
}

/// When this is to be looked at again, if anybody waits behind anybody.
pub(super) fn look_at(board: &Board, now: Timestamp) -> Option<Timestamp> {
    let waits = Slot::PREFETCH.iter().any(|slot| board.lines.waits(*slot));
    (waits && !board.victims.is_empty()).then(|| now + LOOK_EVERY)
}

/// The first ticket of each peer that waits for an origin, has waited for long, and has nothing there.
fn starved(board: &Board, now: Timestamp) -> impl Iterator<Item = Candidate> {
    let rows = Slot::PREFETCH
        .iter()
        .flat_map(|slot| board.lines.rows(*slot));
    rows.flat_map(|(_, row)| row.copied()).filter(move |who| {
        let ticket = board.tickets.get(&who.ticket);
        ticket.is_some_and(|ticket| now >= ticket.since() + PATIENCE)
    })
}

/// The least valuable prefetch of the peer that has most of them where this one is kept from starting.
fn victim(board: &Board, now: Timestamp, demand: &dyn Demand, who: Candidate) -> Option<TicketId> {
    let full = board.full_for_prefetch(who.site)?;
    let here = |ticket: &TicketId| {
        let ticket = board.tickets.get(ticket);
        ticket.is_some_and(|ticket| full.is_none_or(|site| ticket.site == site))
    };
    let held = |peer: PeerId| {
        let peer = board.peers.get(&peer);
        peer.map_or(0, |peer| peer.running.iter().filter(|id| here(id)).count())
    };
    if held(who.peer) > 0 {
        return None;
    }
    let ready = board.victims.iter().filter(|id| here(id)).filter_map(|id| {
        let ticket = board.tickets.get(id)?;
        let run = ticket
            .run
            .filter(|run| run.spared.is_none_or(|until| now >= until))?;
        let slot = board.slot_now(*id, demand)?;
        Some((
            (Reverse(held(ticket.peer)), Reverse((slot, run.started))),
            *id,
        ))
    });
    let (worth, id) = ready.min()?;
    (worth.0.0 >= 2).then_some(id)
}
