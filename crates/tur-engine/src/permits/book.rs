//! What permits remember: tickets, how those who have them are asked, and how many wait where.
//!
//! Read [`Book`], which the dispatch asks while it decides.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use tur_core::{Origin, Timestamp};
use tur_sched::{Asker, Demand as LiveDemand, PeerId, Priority, TicketId};

use super::Look;
use crate::command::Demand;

/// What the dispatch may ask while it decides.
#[derive(Default)]
pub(super) struct Book {
    pub(super) tickets: BTreeMap<TicketId, Ticket>,
    /// How peers are asked, and how many permits each may have.
    pub(super) looks: BTreeMap<PeerId, (Look, Option<usize>)>,
    /// True if peers are to be asked in the next round.
    pub(super) news: Cell<bool>,
    /// By transfer: a command is asked for as long as it is known, however often its lane waits.
    pub(super) demands: BTreeMap<u64, Demand>,
}

/// How many tickets wait for each origin, and for which this has become another matter.
#[derive(Default)]
pub(super) struct Queued {
    pub(super) waiting: BTreeMap<Origin, usize>,
    pub(super) changed: BTreeSet<Origin>,
}

pub(super) struct Ticket {
    pub(super) asker: Asker,
    pub(super) origin: Origin,
    pub(super) state: State,
    /// True for a command, whose transfer begins with the permit.
    pub(super) is_command: bool,
    /// Since when it has waited: what has to give way keeps its age.
    pub(super) since: Timestamp,
    /// True once it was told to give way.
    pub(super) gives_way: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It waits for its turn.
    Queued,
    /// It has its permit; its transfer has not asked for a session yet.
    Granted,
    /// A lane has, or waits for, a session.
    Running,
    /// A fetch has its permit and no session, between two attempts: the permit is its own until it is over. Else fetches
    /// that fail would make room for ever more of them.
    Resting,
}

impl LiveDemand for Book {
    fn has_news(&self) -> bool {
        self.news.take()
    }

    fn peer(&self, peer: PeerId) -> Option<Priority> {
        self.looks.get(&peer).map(|(look, _)| look())
    }

    fn ticket(&self, ticket: TicketId) -> Option<Priority> {
        let transfer = self.tickets.get(&ticket)?.asker.transfer;
        let demand = self.demands.get(&transfer)?;
        demand().then_some(Priority::High)
    }
}

impl Queued {
    /// One ticket more waits for the origin.
    pub(super) fn more(&mut self, origin: &Origin) {
        let n = self.waiting.entry(origin.clone()).or_default();
        *n += 1;
        if *n == 1 {
            self.changed.insert(origin.clone());
        }
    }

    /// One ticket less.
    pub(super) fn less(&mut self, origin: &Origin) {
        if let Some(n) = self.waiting.get_mut(origin) {
            *n -= 1;
            if *n == 0 {
                self.waiting.remove(origin);
                self.changed.insert(origin.clone());
            }
        }
    }
}
