//! Who hears what: scopes that carry events to those who listen, and never wait for them.
//!
//! Read [`Scope::publish`]. Scopes form a tree: the downloader's own at the root, one for each peer below it, one for each
//! download below its peer or the root. What is published in one is heard there and in all above it; siblings hear nothing
//! of one another. Each listener has a bounded queue, and what it did not take in time is counted and told as
//! [`What::Lagged`]. A [`Bus`] is the life of a scope: with its last clone, and those of all scopes below, its streams end.

use std::collections::VecDeque;
use std::fmt;
use std::iter::successors;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tur_core::Timestamp;

use crate::careful;
use crate::clock::Clock;
use crate::{Event, PeerNo, What};

/// Events kept for a listener that names no number.
pub(crate) const ROOM: usize = 1_024;

/// Keeps a scope's streams open. Clones share that.
#[derive(Clone, Debug)]
pub(crate) struct Bus(Arc<Life>);

#[derive(Debug)]
struct Life {
    scope: Scope,
    /// What is heard below is heard above: so the scope above lives as long.
    _above: Option<Arc<Life>>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.scope.close();
    }
}

impl Bus {
    /// The root of a tree; its events are timed by `clock`, from the clock's beginning.
    pub(crate) fn new(clock: Clock) -> Self {
        let root = Arc::new(Root {
            clock,
            published: Mutex::new(0),
        });
        Self::open(Node::new(root, None, None), None)
    }

    /// A scope below: that of a peer, or that of an item, which has the peer of the scope above.
    pub(crate) fn child(&self, peer: Option<PeerNo>) -> Self {
        let above = self.0.scope.clone();
        let peer = peer.or(above.0.peer);
        let node = Node::new(Arc::clone(&above.0.root), Some(above), peer);
        Self::open(node, Some(Arc::clone(&self.0)))
    }

    /// The scope, without its life.
    pub(crate) fn scope(&self) -> &Scope {
        &self.0.scope
    }

    fn open(node: Node, above: Option<Arc<Life>>) -> Self {
        Self(Arc::new(Life {
            scope: Scope(Arc::new(node)),
            _above: above,
        }))
    }
}

/// Where events are published and heard. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Scope(Arc<Node>);

#[derive(Debug)]
struct Node {
    root: Arc<Root>,
    above: Option<Scope>,
    peer: Option<PeerNo>,
    /// How many queues there are: read without the lock, so that an event nobody hears costs nothing.
    heard_by: AtomicUsize,
    queues: Mutex<Queues>,
}

#[derive(Debug)]
struct Root {
    clock: Clock,
    /// The number of the latest event. Held while an event goes into its queues: all of them have it in one order.
    published: Mutex<u64>,
}

#[derive(Debug, Default)]
struct Queues {
    open: Vec<Arc<Queue>>,
    closed: bool,
}

impl Scope {
    /// Tells whoever listens here or above what happened to the item `id`, `t` after it began. If nobody does, nothing is
    /// even built. Never waits: a full queue loses its oldest event.
    pub(crate) fn publish(&self, id: u64, t: Duration, what: impl FnOnce() -> What) {
        if !self.is_heard() {
            return;
        }
        let what = what();
        let mut wakers = Vec::new();
        {
            let root = &self.0.root;
            let mut seq = lock(&root.published);
            *seq += 1;
            let event = Arc::new(Event {
                peer: self.0.peer,
                id,
                seq: *seq,
                at: root.clock.now().since(Timestamp::ZERO),
                t,
                what,
            });
            for scope in self.upwards() {
                let queues = lock(&scope.0.queues);
                wakers.extend(queues.open.iter().filter_map(|queue| queue.push(&event)));
            }
        }
        // What a listener runs when it is woken may publish, listen or leave: no lock is held by now.
        wakers.into_iter().for_each(careful::wake);
    }

    /// True if an event that is published here is heard by anybody.
    pub(crate) fn is_heard(&self) -> bool {
        self.upwards()
            .any(|scope| scope.0.heard_by.load(Ordering::Relaxed) > 0)
    }

    /// Events from now on, of this scope and those below. So many are kept until they are taken, one at least.
    pub(crate) fn subscribe(&self, room: usize) -> Listener {
        let queue = Arc::new(Queue::default());
        queue.lock().room = room.max(1);
        let mut queues = lock(&self.0.queues);
        if queues.closed {
            queue.lock().closed = true;
        } else {
            queues.open.push(Arc::clone(&queue));
            self.0.heard_by.store(queues.open.len(), Ordering::Relaxed);
        }
        drop(queues);
        Listener {
            scope: self.clone(),
            queue,
        }
    }

    /// This scope, then the one above it, up to the root.
    fn upwards(&self) -> impl Iterator<Item = &Scope> {
        successors(Some(self), |scope| scope.0.above.as_ref())
    }

    fn leave(&self, queue: &Arc<Queue>) {
        let mut queues = lock(&self.0.queues);
        queues.open.retain(|open| !Arc::ptr_eq(open, queue));
        self.0.heard_by.store(queues.open.len(), Ordering::Relaxed);
    }

    fn close(&self) {
        let closed = {
            let mut queues = lock(&self.0.queues);
            queues.closed = true;
            self.0.heard_by.store(0, Ordering::Relaxed);
            std::mem::take(&mut queues.open)
        };
        let wakers = closed.iter().filter_map(|queue| queue.close());
        wakers.for_each(careful::wake);
    }
}

impl Node {
    fn new(root: Arc<Root>, above: Option<Scope>, peer: Option<PeerNo>) -> Self {
        Self {
            root,
            above,
            peer,
            heard_by: AtomicUsize::new(0),
            queues: Mutex::default(),
        }
    }
}

/// One who listens. Its queue goes with it.
#[derive(Debug)]
pub(crate) struct Listener {
    scope: Scope,
    queue: Arc<Queue>,
}

impl Listener {
    /// The next event, or how many were missed before it; `None` once all are taken and the scope is closed.
    pub(crate) fn poll_take(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut held = self.queue.lock();
        if let Some(missed) = held.missed.take() {
            return Poll::Ready(Some(Event {
                peer: self.scope.0.peer,
                id: 0,
                seq: missed.seq,
                at: missed.at,
                t: Duration::ZERO,
                what: What::Lagged(missed.count),
            }));
        }
        if let Some(event) = held.waiting.pop_front() {
            drop(held);
            return Poll::Ready(Some(Arc::unwrap_or_clone(event)));
        }
        if held.closed {
            return Poll::Ready(None);
        }
        let known = |waker: &Waker| waker.will_wake(cx.waker());
        if !held.waker.as_ref().is_some_and(known) {
            held.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Hears of nothing else, now and from now on. Only the first wish counts.
    pub(crate) fn want(&self, wanted: Wanted) {
        if self.queue.wanted.set(wanted).is_ok() {
            let mut held = self.queue.lock();
            held.waiting.retain(|event| self.queue.wants(event));
        }
    }

    /// Keeps so many events from now on; those beyond are missed, the oldest first.
    pub(crate) fn set_room(&self, room: usize) {
        let mut held = self.queue.lock();
        held.room = room.max(1);
        held.shrink_to(room.max(1));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.scope.leave(&self.queue);
    }
}

/// True for what a listener wants to hear. It is asked while events are told, so it must only look.
pub(crate) type Wanted = Box<dyn Fn(&What) -> bool + Send + Sync>;

/// Between those who publish and one who takes.
#[derive(Default)]
struct Queue {
    held: Mutex<Held>,
    wanted: OnceLock<Wanted>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}

#[derive(Debug, Default)]
struct Held {
    waiting: VecDeque<Arc<Event>>,
    room: usize,
    missed: Option<Missed>,
    closed: bool,
    waker: Option<Waker>,
}

/// Events that were not taken in time, and when the last of them was.
#[derive(Clone, Copy, Debug)]
struct Missed {
    count: u64,
    seq: u64,
    at: Duration,
}

impl Queue {
    fn push(&self, event: &Arc<Event>) -> Option<Waker> {
        if !self.wants(event) {
            return None;
        }
        let mut held = self.lock();
        let room = held.room;
        held.shrink_to(room - 1);
        held.waiting.push_back(Arc::clone(event));
        held.waker.take()
    }

    fn close(&self) -> Option<Waker> {
        let mut held = self.lock();
        held.closed = true;
        held.waker.take()
    }

    /// Whose wish panics hears everything: nobody else is to suffer from it.
    fn wants(&self, event: &Event) -> bool {
        self.wanted.get().is_none_or(|wanted| {
            catch_unwind(AssertUnwindSafe(|| wanted(&event.what))).unwrap_or(true)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

impl Held {
    fn shrink_to(&mut self, most: usize) {
        let surplus = self.waiting.len().saturating_sub(most);
        for event in self.waiting.drain(..surplus) {
            let count = self.missed.map_or(0, |missed| missed.count) + 1;
            let (seq, at) = (event.seq, event.at);
            self.missed = Some(Missed { count, seq, at });
        }
    }
}

/// Each change leaves what a lock protects whole, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
