//! Who may ask an origin for something now: tickets in, permits out.
//!
//! [`Permits`] puts [`Dispatch`] between the lanes of all transfers and the pools. A lane that wants a session takes a
//! ticket first; so does a command of a peer, whose transfer begins only with the permit. A permit comes back with the
//! session. A whole download is a peer of its own, so a reader's seek goes before a background mirror.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tur_core::{Origin, Timestamp};
use tur_sched::{
    Asker, Dispatch, DispatchAction, DispatchConfig, DispatchEvent, LaneId, PeerId, Priority,
    TicketId, Whose,
};

use self::book::{Book, Queued, State, Ticket};
use crate::command::Demand;

/// All peers are asked at most so often: with a thousand of them, asking takes as long as some fetches.
const ASK_MIN: Duration = Duration::from_millis(1);
/// And at least so often while somebody waits: half of the time in which urgent work is to begin.
const ASK_MAX: Duration = Duration::from_millis(50);

/// How urgent a peer is now. It is asked under a lock, so it must only look.
pub(crate) type Look = Box<dyn Fn() -> Priority + Send>;

/// Tickets and permits of all transfers.
pub(crate) struct Permits {
    dispatch: Dispatch<Origin>,
    book: Book,
    by_asker: BTreeMap<Asker, TicketId>,
    /// Whose transfers are not their own peers.
    callers: BTreeMap<u64, Caller>,
    /// Priority of downloads, as it was said before they began.
    declared: BTreeMap<u64, Priority>,
    /// Since when a lane waits that had to give way.
    aged: BTreeMap<Asker, Timestamp>,
    /// Tickets that wait, by origin.
    queued: Queued,
    /// When all peers were asked last.
    asked: Timestamp,
    next: u64,
    /// Permits that were given.
    started: u64,
    /// Told of what becomes of commands, and of who has another priority.
    news: Option<mpsc::UnboundedSender<News>>,
    /// True once somebody has looked at the numbers, until they change.
    watched: bool,
}

/// What those hear who keep the commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The command of this transfer has its permit.
    Granted(u64),
    /// A peer is urgent, or is not any more.
    Peer { peer: u64, urgent: bool },
    /// A command that waits is urgent, or is not any more.
    Command { transfer: u64, urgent: bool },
    /// The numbers are others than when they were looked at last.
    Depth,
}

/// How many tickets wait, how many have their permit, and how many ever had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    pub(crate) started: u64,
}

/// What a command was asked for with: it holds for each of its tickets.
#[derive(Clone, Copy)]
struct Caller {
    peer: PeerId,
    priority: Priority,
}

/// A command that waits for its turn.
pub(crate) struct Waiting {
    pub(crate) transfer: u64,
    pub(crate) peer: u64,
    pub(crate) origin: Origin,
    pub(crate) priority: Priority,
    pub(crate) demand: Option<Demand>,
}

/// What has been decided.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The lane's wish goes to the pool of this origin.
    Want(Asker, Origin),
    /// The lane gives back what it has from this origin for this ticket, or waits for, and asks again.
    GiveWay(Asker, TicketId, Origin),
}

impl Permits {
    pub(crate) fn new(config: DispatchConfig) -> Self {
        Self {
            dispatch: Dispatch::new(DispatchConfig {
                reserve: false,
                ..config
            }),
            book: Book::default(),
            by_asker: BTreeMap::new(),
            callers: BTreeMap::new(),
            declared: BTreeMap::new(),
            aged: BTreeMap::new(),
            queued: Queued::default(),
            asked: Timestamp::ZERO,
            next: 0,
            started: 0,
            news: None,
            watched: false,
        }
    }

    /// Where it is told what becomes of commands.
    pub(crate) fn tell_news(&mut self, news: mpsc::UnboundedSender<News>) {
        self.news = Some(news);
    }

    /// How things stand. The next change of that is told, once.
    pub(crate) fn watch_depth(&mut self) -> Depth {
        self.watched = true;
        Depth {
            waiting: self.dispatch.queued(),
            running: self.dispatch.running(),
            started: self.started,
        }
    }

    /// A peer with commands joins.
    pub(crate) fn register(
        &mut self,
        now: Timestamp,
        peer: u64,
        look: Look,
        per_peer: Option<usize>,
    ) {
        self.book.looks.insert(PeerId(peer), (look, per_peer));
        self.look_at(now, PeerId(peer));
        self.reserve(now);
    }

    /// Asks one peer.
    fn look_at(&mut self, now: Timestamp, peer: PeerId) {
        if let Some((look, per_peer)) = self.book.looks.get(&peer) {
            let event = DispatchEvent::Joined {
                peer,
                priority: look(),
                per_peer: *per_peer,
            };
            self.dispatch.handle(now, event);
        }
    }

    /// A peer leaves. Its commands were withdrawn before; those that run still go on.
    pub(crate) fn unregister(&mut self, now: Timestamp, peer: u64) {
        let peer = PeerId(peer);
        self.book.looks.remove(&peer);
        self.dispatch.handle(now, DispatchEvent::Left { peer });
        self.reserve(now);
    }

    /// How urgent a download is among the peers, once it begins.
    pub(crate) fn declare(&mut self, transfer: u64, priority: Priority) {
        self.declared.insert(transfer, priority);
    }

    /// How urgent a download is from now on, which has begun.
    pub(crate) fn declare_anew(&mut self, now: Timestamp, transfer: u64, priority: Priority) {
        if !self.callers.contains_key(&transfer) {
            let event = DispatchEvent::Joined {
                peer: PeerId(transfer),
                priority,
                per_peer: None,
            };
            self.dispatch.handle(now, event);
        }
    }

    /// A transfer begins. One that no command stands for is a peer of its own.
    pub(crate) fn begin(&mut self, now: Timestamp, transfer: u64) {
        let priority = self.declared.remove(&transfer).unwrap_or(Priority::Low);
        if !self.callers.contains_key(&transfer) {
            let event = DispatchEvent::Joined {
                peer: PeerId(transfer),
                priority,
                per_peer: None,
            };
            self.dispatch.handle(now, event);
        }
    }

    /// A command waits for its turn.
    pub(crate) fn enqueue(&mut self, now: Timestamp, waiting: Waiting) {
        let asker = Asker {
            transfer: waiting.transfer,
            lane: LaneId(0),
        };
        // Who asks may do so because it has just become urgent.
        self.look_at(now, PeerId(waiting.peer));
        let caller = Caller {
            peer: PeerId(waiting.peer),
            priority: waiting.priority,
        };
        self.callers.insert(waiting.transfer, caller);
        if let Some(demand) = waiting.demand {
            self.book.demands.insert(waiting.transfer, demand);
            self.book.news.set(true);
        }
        let ticket = Ticket {
            asker,
            origin: waiting.origin,
            state: State::Queued,
            is_command: true,
            since: now,
            gives_way: false,
        };
        self.queue(now, ticket, caller);
    }

    /// A lane wants a session. True if it has its permit already.
    pub(crate) fn want(&mut self, now: Timestamp, asker: Asker, origin: &Origin) -> bool {
        if let Some(id) = self.by_asker.get(&asker).copied()
            && let Some(ticket) = self.book.tickets.get_mut(&id)
        {
            if ticket.state == State::Queued {
                return false;
            }
            if ticket.gives_way {
                self.end(now, id);
                self.queue_lane(now, asker, origin);
                return false;
            }
            ticket.state = State::Running;
            if ticket.origin != *origin {
                ticket.origin = origin.clone();
                let event = DispatchEvent::Moved {
                    ticket: id,
                    origin: origin.clone(),
                };
                self.dispatch.handle(now, event);
            }
            return true;
        }
        self.queue_lane(now, asker, origin);
        false
    }

    fn queue_lane(&mut self, now: Timestamp, asker: Asker, origin: &Origin) {
        let caller = self.callers.get(&asker.transfer).copied();
        let caller = caller.unwrap_or_else(|| {
            // Each download gets its first lane before others get their second.
            let first = self.askers(asker.transfer).is_empty();
            Caller {
                peer: PeerId(asker.transfer),
                priority: if first { Priority::High } else { Priority::Low },
            }
        });
        let ticket = Ticket {
            asker,
            origin: origin.clone(),
            state: State::Queued,
            is_command: false,
            since: self.aged.remove(&asker).unwrap_or(now),
            gives_way: false,
        };
        self.queue(now, ticket, caller);
    }

    /// The ticket of a lane.
    pub(crate) fn ticket(&self, asker: Asker) -> Option<TicketId> {
        self.by_asker.get(&asker).copied()
    }

    /// True if the lane's ticket waits for its turn.
    pub(crate) fn is_waiting(&self, asker: Asker) -> bool {
        let ticket = self.ticket(asker);
        let ticket = ticket.and_then(|id| self.book.tickets.get(&id));
        ticket.is_some_and(|ticket| ticket.state == State::Queued)
    }

    /// The lane may take another ticket, while its permit is still on its way back.
    pub(crate) fn detach(&mut self, asker: Asker) {
        self.by_asker.remove(&asker);
    }

    /// The lane wants again what is still on its way to it. True if so: this ticket, which was detached, is its own once more.
    pub(crate) fn attach(&mut self, asker: Asker, id: TicketId) -> bool {
        let detached = self.book.tickets.contains_key(&id) && !self.by_asker.contains_key(&asker);
        if detached {
            self.by_asker.insert(asker, id);
        }
        detached
    }

    /// The lane wants nothing any more.
    pub(crate) fn withdraw(&mut self, now: Timestamp, asker: Asker) {
        if let Some(id) = self.by_asker.get(&asker).copied() {
            self.rest(now, id);
        }
    }

    /// The session that this ticket was used for came back, or never came.
    pub(crate) fn rest(&mut self, now: Timestamp, id: TicketId) {
        let Some(ticket) = self.book.tickets.get_mut(&id) else {
            return;
        };
        let known = self.by_asker.get(&ticket.asker) == Some(&id);
        let fetches = self.callers.contains_key(&ticket.asker.transfer);
        if fetches && known && ticket.state == State::Running && !ticket.gives_way {
            ticket.state = State::Resting;
        } else {
            self.end(now, id);
        }
    }

    /// The wish, or the permit, of this ticket is taken back.
    fn end(&mut self, now: Timestamp, id: TicketId) {
        let Some(ticket) = self.book.tickets.remove(&id) else {
            return;
        };
        if self.by_asker.get(&ticket.asker) == Some(&id) {
            self.by_asker.remove(&ticket.asker);
        }
        let event = if ticket.state == State::Queued {
            self.queued.less(&ticket.origin);
            DispatchEvent::Withdrawn { ticket: id }
        } else {
            DispatchEvent::Ended { ticket: id }
        };
        self.dispatch.handle(now, event);
        self.depth_changed();
    }

    /// The lane would lose what it has, and keeps its permit: another one is to give way.
    pub(crate) fn keep(&mut self, now: Timestamp, id: TicketId) {
        if let Some(ticket) = self.book.tickets.get_mut(&id) {
            ticket.gives_way = false;
            self.aged.remove(&ticket.asker);
            self.dispatch
                .handle(now, DispatchEvent::Kept { ticket: id });
        }
    }

    /// Permits that are out.
    #[cfg(test)]
    pub(crate) fn out(&self) -> usize {
        self.dispatch.running()
    }

    /// True if the lane, or the command, has a permit.
    #[cfg(test)]
    pub(crate) fn has(&self, asker: Asker) -> bool {
        let id = self.by_asker.get(&asker);
        let ticket = id.and_then(|id| self.book.tickets.get(id));
        ticket.is_some_and(|ticket| ticket.state != State::Queued)
    }

    /// True if it remembers nothing of anybody.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.book.tickets.is_empty()
            && self.book.demands.is_empty()
            && self.by_asker.is_empty()
            && self.callers.is_empty()
            && self.declared.is_empty()
            && self.aged.is_empty()
            && self.queued.waiting.is_empty()
            && self.dispatch.queued() + self.dispatch.running() == 0
    }

    /// The transfer is over, or its command is not wanted any more.
    pub(crate) fn forget(&mut self, now: Timestamp, transfer: u64) {
        for asker in self.askers(transfer) {
            if let Some(id) = self.ticket(asker) {
                self.end(now, id);
            }
        }
        self.aged.retain(|asker, _| asker.transfer != transfer);
        self.declared.remove(&transfer);
        self.book.demands.remove(&transfer);
        if self.callers.remove(&transfer).is_none() {
            let peer = PeerId(transfer);
            self.dispatch.handle(now, DispatchEvent::Left { peer });
        }
    }

    /// So many permits there are, and so many for one origin.
    pub(crate) fn set(&mut self, now: Timestamp, permits: usize, per_origin: usize) {
        self.dispatch.handle(now, DispatchEvent::Permits(permits));
        self.dispatch
            .handle(now, DispatchEvent::PerOrigin(per_origin));
    }

    /// So many permits there are for this origin, and not as many as for each other one; `None`: that is over.
    pub(crate) fn set_at(&mut self, now: Timestamp, origin: &Origin, permits: Option<usize>) {
        let origin = origin.clone();
        self.dispatch
            .handle(now, DispatchEvent::At { origin, permits });
    }

    /// The next decision that somebody has to hear of.
    pub(crate) fn decide(&mut self, now: Timestamp) -> Option<Turn> {
        if now >= self.asked + ASK_MIN {
            self.asked = now;
            self.book.news.set(true);
        }
        while let Some(action) = self.dispatch.poll_action(now, &self.book) {
            match action {
                DispatchAction::Start { ticket } => {
                    if let Some(turn) = self.start(ticket) {
                        return Some(turn);
                    }
                }
                DispatchAction::Preempt { ticket } => {
                    if let Some(turn) = self.preempt(now, ticket) {
                        return Some(turn);
                    }
                }
                DispatchAction::Dropped { ticket } => {
                    if let Some(ticket) = self.book.tickets.remove(&ticket) {
                        self.queued.less(&ticket.origin);
                        self.by_asker.remove(&ticket.asker);
                        self.depth_changed();
                    }
                }
                DispatchAction::PriorityChanged { whose, priority } => {
                    self.tell_priority(whose, priority == Priority::High);
                }
            }
        }
        None
    }

    fn preempt(&mut self, now: Timestamp, id: TicketId) -> Option<Turn> {
        let ticket = self.book.tickets.get_mut(&id)?;
        if ticket.state == State::Queued {
            return None;
        }
        self.aged.insert(ticket.asker, ticket.since);
        ticket.gives_way = true;
        match ticket.state {
            State::Running => Some(Turn::GiveWay(ticket.asker, id, ticket.origin.clone())),
            // It asks for another permit when it tries again.
            State::Resting => {
                self.end(now, id);
                None
            }
            // Its transfer has not begun: its first wish waits anew.
            State::Granted | State::Queued => None,
        }
    }

    /// When a tick is wanted. While anybody waits, peers are asked now and then although nothing happens: one may have become
    /// urgent and said nothing.
    pub(crate) fn next_wakeup(&self) -> Option<Timestamp> {
        let waits = !self.queued.waiting.is_empty() && !self.book.looks.is_empty();
        let ask = waits.then(|| self.asked + ASK_MAX);
        self.dispatch.next_wakeup().into_iter().chain(ask).min()
    }

    /// Something may have changed: all peers are asked anew.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.asked = now;
        self.book.news.set(true);
        self.dispatch.handle(now, DispatchEvent::Tick);
    }

    /// True if somebody waits for a permit for this origin.
    pub(crate) fn is_awaited(&self, origin: &Origin) -> bool {
        self.queued.waiting.contains_key(origin)
    }

    /// Origins that somebody waits for now and nobody did, or the other way round, since this was called last.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Origin> {
        std::mem::take(&mut self.queued.changed)
    }

    /// While nobody can become urgent, no permit is kept for who does.
    fn reserve(&mut self, now: Timestamp) {
        let reserve = !self.book.looks.is_empty();
        self.dispatch.handle(now, DispatchEvent::Reserve(reserve));
    }

    /// Somebody is urgent, or is not any more. Of a download's lanes nothing is told: they are never asked about.
    fn tell_priority(&self, whose: Whose, urgent: bool) {
        tracing::debug!(?whose, urgent, "another priority");
        let news = match whose {
            Whose::Peer(PeerId(peer)) => News::Peer { peer, urgent },
            Whose::Ticket(id) => match self.book.tickets.get(&id) {
                Some(ticket) if ticket.is_command => {
                    let transfer = ticket.asker.transfer;
                    News::Command { transfer, urgent }
                }
                _ => return,
            },
        };
        self.tell(news);
    }

    fn depth_changed(&mut self) {
        if std::mem::take(&mut self.watched) {
            self.tell(News::Depth);
        }
    }

    fn tell(&self, news: News) {
        if let Some(receiver) = &self.news {
            // Without anybody who begins a command, its permit comes back when it is forgotten; the rest is for people.
            receiver.send(news).ok();
        }
    }

    fn start(&mut self, id: TicketId) -> Option<Turn> {
        self.started += 1;
        self.depth_changed();
        let ticket = self.book.tickets.get_mut(&id)?;
        self.queued.less(&ticket.origin);
        if !ticket.is_command {
            ticket.state = State::Running;
            return Some(Turn::Want(ticket.asker, ticket.origin.clone()));
        }
        ticket.state = State::Granted;
        let transfer = ticket.asker.transfer;
        self.tell(News::Granted(transfer));
        None
    }

    fn queue(&mut self, now: Timestamp, ticket: Ticket, caller: Caller) {
        let id = TicketId(self.next);
        self.next += 1;
        let event = DispatchEvent::Enqueued {
            ticket: id,
            peer: caller.peer,
            origin: ticket.origin.clone(),
            priority: caller.priority,
            live: self.book.demands.contains_key(&ticket.asker.transfer),
            waited_since: Some(ticket.since),
        };
        self.queued.more(&ticket.origin);
        self.by_asker.insert(ticket.asker, id);
        self.book.tickets.insert(id, ticket);
        self.dispatch.handle(now, event);
        self.depth_changed();
    }

    fn askers(&self, transfer: u64) -> Vec<Asker> {
        let first = Asker {
            transfer,
            lane: LaneId(0),
        };
        let last = Asker {
            transfer,
            lane: LaneId(u16::MAX),
        };
        self.by_asker
            .range(first..=last)
            .map(|(asker, _)| *asker)
            .collect()
    }
}
