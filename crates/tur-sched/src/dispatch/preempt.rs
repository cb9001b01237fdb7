//! Whose permit is taken for urgent work, if anybody's.
//!
//! Read [`next`]. Permits that are free or on their way back are given, in thought, to the urgent tickets that wait; only
//! for one that is left over is a prefetch told to end.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use tur_core::Timestamp;

use super::board::{Board, Run, Ticket};
use super::lines::{SiteId, Slot};
use super::{Demand, PeerId, TicketId};

/// What is to be done for urgent work that waits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Preemption {
    /// The ticket that is to give its permit back.
    pub(super) ticket: Option<TicketId>,
    /// When the first of those can be preempted that are still spared.
    pub(super) grace_over: Option<Timestamp>,
}

/// A running prefetch.
struct Victim {
    id: TicketId,
    site: SiteId,
    spared: Option<Timestamp>,
}

/// Takes the permit of a prefetch, if an urgent ticket waits for which none is on its way back.
pub(super) fn next(board: &mut Board, now: Timestamp, demand: &dyn Demand) -> Preemption {
    if board.victims.is_empty() || !board.lines.is_urgent() {
        return Preemption::default();
    }
    let all = victims(board, demand).into_iter();
    let (spared, ready): (Vec<Victim>, Vec<Victim>) =
        all.partition(|victim| victim.spared.is_some_and(|until| now < until));
    let mut next = Preemption {
        ticket: None,
        grace_over: spared.iter().filter_map(|victim| victim.spared).min(),
    };
    if ready.is_empty() {
        return next;
    }
    let lawful = |full: &Option<SiteId>| {
        let mut ready = ready.iter();
        ready.find(|victim| full.is_none_or(|site| victim.site == site))
    };
    let victim = blocked(board).iter().find_map(lawful);
    if let Some(victim) = victim {
        board.close(victim.id);
        next.ticket = Some(victim.id);
    }
    next
}

/// Prefetches that run and were not told to close, the least valuable first.
fn victims(board: &Board, demand: &dyn Demand) -> Vec<Victim> {
    let runs = board.victims.iter().filter_map(|id| {
        let ticket = board.tickets.get(id)?;
        Some((*id, *ticket, ticket.run?))
    });
    let runs: Vec<(TicketId, Ticket, Run)> = runs.collect();
    let mut of_peers: BTreeMap<PeerId, usize> = BTreeMap::new();
    for (_, ticket, _) in &runs {
        *of_peers.entry(ticket.peer).or_default() += 1;
    }
    let victims = runs.iter().map(|(id, ticket, run)| {
        let slot = board.slot_now(*id, demand);
        let of_peer = of_peers.get(&ticket.peer).copied();
        let victim = Victim {
            id: *id,
            site: ticket.site,
            spared: run.spared,
        };
        (Reverse((slot, of_peer, run.started)), victim)
    });
    let mut victims: Vec<_> = victims.collect();
    victims.sort_by_key(|(worth, _)| *worth);
    victims.into_iter().map(|(_, victim)| victim).collect()
}

/// Where urgent tickets wait for which no permit is free or on its way back: the origin that is full, or none if it is
/// the process. Once for each peer, slot and origin.
fn blocked(board: &Board) -> Vec<Option<SiteId>> {
    let permits = board.config.permits;
    let mut permits = permits.saturating_sub(board.running.len()) + board.closing;
    let mut of_peers: BTreeMap<PeerId, usize> = BTreeMap::new();
    let mut of_sites: BTreeMap<SiteId, usize> = BTreeMap::new();
    let mut blocked = Vec::new();
    for slot in Slot::URGENT {
        for (id, row) in board.lines.rows(slot) {
            let at_site = of_sites.entry(id).or_insert_with(|| {
                let site = board.sites.get(&id).copied().unwrap_or_default();
                board.limit_at(id).saturating_sub(site.running) + site.closing
            });
            for who in row {
                let Some(peer) = board.peers.get(&who.peer) else {
                    continue;
                };
                let of_peer = of_peers.entry(who.peer).or_insert_with(|| peer.room());
                let wants = peer.waiting(slot, id).min(*of_peer);
                let gets = wants.min(*at_site).min(permits);
                *of_peer -= gets;
                *at_site -= gets;
                permits -= gets;
                if gets < wants {
                    blocked.push((*at_site == 0).then_some(id));
                }
            }
        }
    }
    blocked
}
